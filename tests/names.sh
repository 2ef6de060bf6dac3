#!/bin/sh
# One name, one thing: no two files of the sources share a name (a .c and its .h do), no two headers a guard, no two
# types a tag, and each function of fs/ that other files may call begins with sfs_.
# names.sh SOURCE BUILD
cd "$1" || exit 2
bad=0
# twice WHAT: tells each line of standard input that stands there more than once.
twice() {
    lines=$(sort | uniq -d)
    [ -z "$lines" ] && return
    for line in $lines; do echo "two $1 have the name $line"; done
    bad=1
}
twice_in() { # WHAT, file of lines
    twice "$1" <"$2"
    rm -f "$2"
}
list=$(mktemp) || exit 2
find include fs tools bench tests -name '*.[ch]' | sed 's|.*/||' | grep '\.c$' >"$list"
twice_in "source files" "$list"
find fs tools bench tests -name '*.h' | sed 's|.*/||' >"$list"
twice_in headers "$list"
find include fs tools bench tests -name '*.h' -exec sed -n 's/^#ifndef \([A-Z_0-9]*_H\)$/\1/p' {} + >"$list"
twice_in "header guards" "$list"
find include fs tools bench -name '*.[ch]' -exec sed -n 's/^\(struct\|enum\|union\) \([a-z_0-9]*\) {.*/\2/p' {} + >"$list"
twice_in types "$list"
for library in "$2"/fs/*/*.a; do
    nm "$library" 2>/dev/null | sed -n 's/.* [TDBR] //p' | grep -v -e '^sfs_' -e '^__' | sed "s|^|a function without sfs_ in $(basename "$library"): |"
done >"$list"
if [ -s "$list" ]; then
    cat "$list"
    bad=1
fi
rm -f "$list"
exit $bad
