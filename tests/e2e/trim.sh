#!/bin/sh
# A stage is trimmed to what a profile uses: a program and its libraries, a Python package and scripts, with ldd, find,
# tar and the program itself as judges.
. "$(dirname "$0")/lib.sh"
need cc
need python3
need readelf

# ---- a base with a shell's passwd, and a builder with an application
mkdir -p "$T/base/etc" "$T/root/app/bin" "$T/root/app/lib/sub" "$T/root/app/share" "$T/root/etc/ssl/certs"
echo root:x:0:0::/:/bin/sh >"$T/base/etc/passwd"
echo other >"$T/base/etc/unused"
echo weak >"$T/base/etc/upgraded"
echo strong and longer >"$T/root/etc/upgraded"
cat >"$T/b.c" <<'X'
int b(void) { return 7; }
X
cat >"$T/a.c" <<'X'
int b(void);
int a(void) { return b(); }
X
cat >"$T/main.c" <<'X'
int a(void);
int main(void) { return a() - 7; }
X
L=$T/root/app/lib
cc -shared -fPIC -o "$L/libb.so.1.0" -Wl,-soname,libb.so.1 "$T/b.c"
ln -s libb.so.1.0 "$L/libb.so.1"
cc -shared -fPIC -o "$L/sub/liba.so" -Wl,-soname,liba.so -Wl,-rpath,'$ORIGIN/..' "$T/a.c" "$L/libb.so.1.0"
cc -o "$T/root/app/bin/main" -Wl,-rpath,'$ORIGIN/../lib/sub' "$T/main.c" "$L/sub/liba.so" -Wl,-rpath-link,"$L"
ln -s bin/main "$T/root/app/start"
cp "$L/libb.so.1.0" "$L/libunused.so"
printf '#!/usr/bin/env -S py3\nprint(1)\n' >"$T/root/app/bin/script"
chmod 755 "$T/root/app/bin/script"
mkdir -p "$T/root/usr/bin"
echo "a program" >"$T/root/usr/bin/env"
chmod 755 "$T/root/usr/bin/env"
ln -s env "$T/root/usr/bin/py3"
head -c 300000 /dev/urandom >"$T/root/app/share/big"
echo cert >"$T/root/etc/ssl/certs/x.pem"
S=$T/root/app/lib/python3.12/site-packages
mkdir -p "$S/pkg/data" "$S/other"
echo 'x = 1' >"$S/pkg/__init__.py"
echo 'y = 2' >"$S/pkg/mod.py"
echo 'z = 3' >"$S/other/__init__.py"
echo data >"$S/pkg/data/table"
mkdir "$S/Late_Lock" "$S/late_deep"
echo 'import late_deep.it' >"$S/Late_Lock/__init__.py"
touch "$S/late_deep/__init__.py"
echo 'a = 4' >"$S/late_deep/it.py"
(cd "$S" && python3 -m compileall -q pkg other)
for d in pkg other Late_Lock late_deep; do
    mkdir "$S/$d-1.dist-info"
    printf 'Name: %s\nVersion: 1\n' $d >"$S/$d-1.dist-info/METADATA"
    (cd "$S" && find "$d" -name '*.py' -o -name table | sed 's/$/,,/') >"$S/$d-1.dist-info/RECORD"
done
cat >>"$S/pkg-1.dist-info/METADATA" <<'X'
Requires-Dist: late-lock>=1; python_version >= "3"
Requires-Dist: other; extra == "more"
X
echo 'Requires-Dist: late.deep' >>"$S/Late_Lock-1.dist-info/METADATA"
printf 'import pkg\nextra\n' >"$S/site.pth"
mkdir "$S/extra"
for i in base root; do
    tar -C "$T/$i" --sort=name --owner=0 --group=0 -cf "$T/$i.tar" .
    image "$T/layout:$i" gzip:"$T/$i.tar" >/dev/null
done
pyc=$(cd "$T/root" && ls app/lib/python3.12/site-packages/pkg/__pycache__/mod.*.pyc)
cat >"$T/profile" <<X
# by hand
read /app/bin/main 0+100
link /app/start
open /app/bin/script
read /$pyc 0+10
stat /etc/passwd
none /app/share/other
X
set -- --base "oci:$T/layout:base" --from "oci:$T/layout:root" --copy /:/ --trim "$T/profile"

# ---- what is kept
"$STAGEFS" du --why --json "$@" / >"$T/why.json"
kept() { python3 -c '
import json, sys
rows = {r["path"]: r for r in json.load(open(sys.argv[1]))}
print(rows[sys.argv[2]]["reason"] if sys.argv[2] in rows else "-")' "$T/why.json" "$1"; }
is() { [ "$(kept "$1")" = "$2" ] || fail "$1 is '$(kept "$1")', not '$2'"; }
is /app/bin/main used
is /app/start used
is /app/lib/sub/liba.so library
is /app/lib/libb.so.1.0 library
is /app/lib/libb.so.1 link
is /app/lib/libunused.so -
is /usr/bin/env interpreter
is /usr/bin/py3 link
is /etc/upgraded changed
is /app/lib/python3.12/site-packages/late_deep/it.py -
is /app/share/big -
is /app/share -
is /etc/ssl/certs/x.pem system
is /app/lib/python3.12/site-packages/pkg/mod.py python
is /app/lib/python3.12/site-packages/pkg/__init__.py python
is /app/lib/python3.12/site-packages/site.pth python
is /app/lib/python3.12/site-packages/extra python
is /app/lib/python3.12/site-packages/pkg-1.dist-info/METADATA metadata
is /app/lib/python3.12/site-packages/other/__init__.py -
is /app/lib/python3.12/site-packages/pkg/data/table -

# ---- ls, cat, du and diff show the same
"$STAGEFS" ls "$@" /app/lib >"$T/ls"
printf 'libb.so.1\nlibb.so.1.0\npython3.12\nsub\n' | cmp - "$T/ls" || fail "ls shows $(cat "$T/ls")"
"$STAGEFS" ls "$@" /etc | grep -qx unused || fail "what the base has is gone"
expect 1 "$STAGEFS" cat "$@" /app/share/big
says "/app/share/big"
"$STAGEFS" diff "oci:$T/layout:base" "$@" | grep -q ' app/share/big\| /app/share/big' && fail "diff shows what was left out"
[ "$("$STAGEFS" du -s -b "$@" /app | cut -f1)" -lt 250000 ] || fail "du counts what was left out"

# ---- committed and extracted, the program finds its libraries, and nothing else is there
"$STAGEFS" commit "$@" -t "oci:$T/out:x" >/dev/null
"$STAGEFS" commit "$@" -t "dir:$T/extracted" >/dev/null
[ ! -e "$T/extracted/app/share" ] || fail "a directory of which nothing is kept was written"
"$T/extracted/app/start" || fail "the program lacks something: $(ldd "$T/extracted/app/bin/main")"
(cd "$T/extracted/app/lib/python3.12/site-packages" && python3 -c 'import pkg.mod; print(pkg.mod.y)') | grep -qx 2 ||
    fail "the module cannot be imported"
cmp "$T/root/$pyc" "$T/extracted/$pyc"
cmp "$T/root/etc/upgraded" "$T/extracted/etc/upgraded" || fail "an upgrade of the base was taken back"
[ "$(stat -c %Y "$T/root/app/lib/python3.12/site-packages/pkg/mod.py")" = \
    "$(stat -c %Y "$T/extracted/app/lib/python3.12/site-packages/pkg/mod.py")" ] || fail "the source has another time"
(cd "$T/extracted" && find . -type f -o -type l) | sed 's/^\.//' | sort >"$T/written"
python3 -c '
import json, sys
print("\n".join(sorted(r["path"] for r in json.load(open(sys.argv[1])))))' "$T/why.json" >"$T/told"
comm -23 "$T/written" "$T/told" | grep -v '^/etc/\(passwd\|unused\)$' >"$T/untold" || true
[ ! -s "$T/untold" ] || fail "written without a reason: $(cat "$T/untold")"
"$STAGEFS" inspect --json "oci:$T/out:x" >"$T/inspect"
grep -q '# trimmed to [0-9]* of [0-9]* files"' "$T/inspect" || fail "the history does not tell: $(cat "$T/inspect")"
grep -q "$T/profile" "$T/inspect" && fail "a path of this machine is in the image"

# ---- policies, --keep and --drop
"$STAGEFS" ls "$@" --policy package /app/lib/python3.12/site-packages/pkg/data | grep -qx table || fail "package data lacks"
"$STAGEFS" ls "$@" --policy package /app/lib/python3.12/site-packages | grep -qx other && fail "a package too many"
"$STAGEFS" commit "$@" --policy package -t "dir:$T/packages" >/dev/null
(cd "$T/packages/app/lib/python3.12/site-packages" && python3 -c 'import pkg.mod, Late_Lock') ||
    fail "what a package requires, and imports only later, is left out"
cat "$T/packages/app/lib/python3.12/site-packages/Late_Lock-1.dist-info/METADATA" >/dev/null || fail "its metadata lacks"
"$STAGEFS" ls "$@" --policy directory /app/bin >"$T/ls"
printf 'main\nscript\n' | cmp - "$T/ls" || fail "the directory shows $(cat "$T/ls")"
"$STAGEFS" ls "$@" --keep /app/share /app/share | grep -qx big || fail "--keep does not keep"
expect 1 "$STAGEFS" ls "$@" --keep /app/share --drop '**/big' /app/share/big
says "big"
expect 0 "$STAGEFS" ls "$@" --keep /nothing/here /app
says "--keep /nothing/here matches nothing in the stage"
"$STAGEFS" ls --drop '/app/**' "oci:$T/layout:root" / | grep -qx etc || fail "--drop alone drops more"

# ---- what does not fit
echo 'open /not/here' >"$T/foreign"
expect 1 "$STAGEFS" ls "$@" --trim "$T/foreign" /
says "none of the 1 paths that it uses is a file of the stage"
{ cat "$T/profile" "$T/foreign"; } >"$T/half"
expect 0 "$STAGEFS" ls --base "oci:$T/layout:base" --from "oci:$T/layout:root" --copy /:/ --trim "$T/half" /
says "1 of the 6 paths that it uses is not in the stage (the first is /not/here)"
expect 2 "$STAGEFS" ls "$@" --policy some /
says "--policy is exact, package or directory, not 'some'"
expect 2 "$STAGEFS" du --why "oci:$T/layout:root"
says "--why goes with --trim"
expect 1 "$STAGEFS" du --why "$@" /no/such
says "no"

# ---- an ELF file that is cut is kept, and told of
head -c 500 "$L/sub/liba.so" >"$T/cut"
cp "$T/cut" "$L/sub/liba.so"
tar -C "$T/root" --sort=name -cf "$T/cut.tar" .
image "$T/layout:cut" gzip:"$T/cut.tar" >/dev/null
grep -v passwd "$T/profile" >"$T/without"
expect 0 "$STAGEFS" ls --trim "$T/without" "oci:$T/layout:cut" /app/lib/sub
says "1 file is kept without what it may need, as it is cut or damaged: /app/lib/sub/liba.so"
grep -qx liba.so "$T/stdout" || fail "the cut library was left out"

# ---- mounted: the same names
if [ -c /dev/fuse ] && [ "$(id -u)" = 0 ]; then
    mkdir "$T/mnt"
    "$STAGEFS" mount "$@" "$T/mnt"
    (cd "$T/mnt" && find . -type f -o -type l) | sed 's/^\.//' | sort >"$T/mounted"
    "$STAGEFS" umount "$T/mnt"
    diff -u "$T/written" "$T/mounted" || fail "mount shows other names than commit writes"
fi

# ---- run: what the profile lacks is not there
if [ -c /dev/fuse ] && [ "$(id -u)" = 0 ] && cc -static -o "$T/probe" "$T/main.c" "$T/a.c" "$T/b.c" 2>/dev/null &&
    { command -v runc || command -v crun || command -v bwrap; } >/dev/null 2>&1; then
    mkdir "$T/static"
    cp "$T/probe" "$T/static/used"
    cp "$T/probe" "$T/static/unused"
    tar -C "$T/static" --sort=name -cf "$T/static.tar" .
    image "$T/layout:static" gzip:"$T/static.tar" >/dev/null
    echo 'read /used 0+10' >"$T/of-used"
    expect 0 "$STAGEFS" run --trim "$T/of-used" "oci:$T/layout:static" -- /used
    expect 127 "$STAGEFS" run --trim "$T/of-used" "oci:$T/layout:static" -- /unused
    # a trace of a trimmed stage is a profile of the whole one
    expect 0 "$STAGEFS" trace --trim "$T/of-used" "oci:$T/layout:static" -o "$T/again" -- /used
    expect 0 "$STAGEFS" ls --trim "$T/again" "oci:$T/layout:static"
    grep -qx used "$T/stdout" || fail "the second trace keeps $(cat "$T/stdout")"
fi
exit 0
