#!/bin/sh
# ls and du as coreutils': what they print for a stage is what the others print on its mount. And how sizes are told.
. "$(dirname "$0")/lib.sh"
need_fuse
need python3 script
mkdir -p "$T/tree/etc" "$T/tree/opt/a b" "$T/tree/opt/deep/er" "$T/tree/.hidden" "$T/mnt"
echo 'root:x:0:0::/root:/bin/sh
builder:x:1234:1234::/:/bin/sh' >"$T/tree/etc/passwd"
printf 'root:x:0:\nstaff of many:x:77:\n' >"$T/tree/etc/group"
# Sizes on both sides of each step of the unit.
for size in 0 1 511 513 1023 1024 1025 9999 10188 10189 10239 10240 10241 102400 1023999 1047552 1047553 1048575 1048576 1048577 5000000; do
    head -c "$size" /dev/zero | tr '\0' x >"$T/tree/opt/size-$size"
done
touch -d 2001-02-03T04:05:06 "$T/tree/opt/size-513" "$T/tree/opt/size-1"
touch -d 2030-01-01T00:00:00 "$T/tree/opt/deep"
touch "$T/tree/opt/.dot" "$T/tree/.hidden/x" "$T/tree/opt/$(printf 'new\nline')"
chmod 4755 "$T/tree/opt/size-1024"
ln "$T/tree/opt/size-9999" "$T/tree/opt/deep/linked"
mkdir "$T/tree/many"
(cd "$T/tree/many" && touch $(seq 95 130) a-name-that-is-longer-than-the-others $(seq -f x%g.so 7 20))
ln -s size-1 "$T/tree/opt/link"
ln -s opt "$T/tree/to-opt"
head -c 700000 /dev/urandom >"$T/tree/opt/deep/er/r"
head -c 10000 /dev/urandom >"$T/tree/opt/deep/er/holes"
truncate -s 3000000 "$T/tree/opt/deep/er/holes"
tar -C "$T/tree" --sparse --owner=0 --group=0 --numeric-owner -cf "$T/layer.tar" .
mkdir "$T/owned"
echo x >"$T/owned/mine"
tar -C "$T/owned" --owner=1234 --group=77 --numeric-owner -rf "$T/layer.tar" ./mine
tar -C "$T/owned" --transform s/mine/theirs/ --owner=99 --group=98 --numeric-owner -rf "$T/layer.tar" ./mine
image "$T/layout:x" gzip:"$T/layer.tar" >/dev/null
I=oci:$T/layout:x
"$STAGEFS" mount "$I" "$T/mnt"

# ---- the same text as coreutils' on the mount. It shows odd bytes raw, and this one as \ooo.
export LC_ALL=C TIME_STYLE=long-iso
odd() { python3 -c 'import sys; sys.stdout.write(sys.stdin.read().replace("new\nline", "new\\012line"))'; }
both() { # both PATH OPTION...
    path=$1
    shift
    (cd "$T/mnt" && ls "$@" "$path") | odd | sed '1{/^total /d}' >"$T/want"
    "$STAGEFS" ls "$@" "$I" "$path" >"$T/got" || fail "ls $* $path"
    same "ls $* $path" "$T/want" "$T/got"
}
for options in '' -a -A -1 -r -S -Sr -t -tr -d -ln -lnh -lnS -lnat -lnrS -lnd; do
    both opt $options
done
# Not on a terminal, -R tells every name, a path a line.
(cd "$T/mnt/opt" && find . -mindepth 1 -printf '%P\0') | python3 -c 'import sys
for path in sorted(sys.stdin.buffer.read().split(b"\0")[:-1]): print(path.decode().replace("\n", "\\012"))' >"$T/want"
"$STAGEFS" ls -R "$I" opt | sort >"$T/got"
same "ls -R" "$T/want" "$T/got"
both to-opt
both to-opt -ln
both to-opt/ -lnh
both etc/passwd -ln
both opt/size-1 -1
(cd "$T/mnt" && ls -ln opt/size-1 etc opt/link opt/deep) | sed '/^total /d' >"$T/want"
"$STAGEFS" ls -ln "$I" opt/size-1 etc opt/link opt/deep >"$T/got"
same "several paths" "$T/want" "$T/got"

# ---- owners by the names that the image gives them
"$STAGEFS" ls -l "$I" mine theirs etc/passwd >"$T/got"
grep -q '^-rw-r--r-- 1 builder staff of many ' "$T/got" || fail "no names of owners: $(cat "$T/got")"
grep -q '^-rw-r--r-- 1      99            98 ' "$T/got" || fail "owners without a name: $(cat "$T/got")"
grep -q '^-rw-r--r-- 1 root    root          ' "$T/got" || fail "root: $(cat "$T/got")"

# ---- what is not there does not keep the rest back
expect 1 "$STAGEFS" ls "$I" /no/such opt/size-1
says /no/such
[ "$(cat "$T/stdout")" = opt/size-1 ] || fail "the path that is there was not listed"
expect 1 "$STAGEFS" du -s "$I" /no/such opt/deep
says /no/such
grep -q 'opt/deep$' "$T/stdout" || fail "du: the path that is there was not told"
expect 2 "$STAGEFS" ls --color=sometimes "$I"
says "not 'sometimes'"
expect 2 "$STAGEFS" du --sort=often "$I"
says "not 'often'"
expect 2 "$STAGEFS" ls --long=1 "$I"
says "option '--long' takes no value"

# ---- JSON holds all names, whatever is asked of the text
"$STAGEFS" ls --json "$I" opt >"$T/got"
python3 - "$T/got" <<'P' || fail "ls --json: $(cat "$T/got")"
import json, sys
(path,) = json.load(open(sys.argv[1]))
names = [e['name'] for e in path['entries']]
assert path['path'] == 'opt' and '.dot' in names and names == sorted(names), names
P

# ---- du
for options in '' -a -s -c -S -b -h -k '-d 0' '-d 2' '--max-depth 5 -a' '-h -c -a' '-b -d 9' --apparent-size '-t 100K -a'; do
    case " $options " in *" -d "* | *" -s "* | *depth*) set -- $options ;; *) set -- -d 1 $options ;; esac
    case $options in -t*) coreutils=$(echo "$*" | sed 's/-t 100K/-t 102400/') ;; *) coreutils=$* ;; esac
    (cd "$T/mnt" && du $coreutils opt) | odd | sort >"$T/want"
    "$STAGEFS" du "$@" "$I" opt | sort >"$T/got"
    same "du $options" "$T/want" "$T/got"
done
(cd "$T/mnt" && du -d 1 .) | sed 's|\./|/|; s|\.$|/|' >"$T/want"
"$STAGEFS" du "$I" / >"$T/got"
# coreutils meets the names as the kernel gives them, which is in order too
same "du's order" "$T/want" "$T/got"
"$STAGEFS" du -a --sort size -b -d 3 "$I" | cut -f1 >"$T/got"
sort -n "$T/got" | cmp -s - "$T/got" || fail "--sort size does not sort"
"$STAGEFS" du -b --json "$I" / >"$T/got"
python3 - "$T/got" "$T/tree" <<'P' || fail "du --json: $(cat "$T/got")"
import json, os, stat, sys
answer = json.load(open(sys.argv[1]))
files = {}
for at, _, names in os.walk(sys.argv[2]):
    for name in names:
        st = os.lstat(at + '/' + name)
        if stat.S_ISREG(st.st_mode):
            files[st.st_ino] = st.st_size
assert answer['bytes'] == sum(files.values()) + 4, answer  # mine and theirs
assert answer['disk_bytes'] < answer['bytes'] < answer['apparent_bytes'], answer
P

# ---- on a terminal: columns, colours, sizes for people, the largest last
terminal() { # the last lines of what it shows there, and nothing of the terminal's own
    script -qec "stty cols 60; $*" /dev/null | tr -d '\r'
}
unset NO_COLOR LS_COLORS
terminal "$STAGEFS ls $I opt" >"$T/got"
[ "$(wc -l <"$T/got")" -lt 12 ] || fail "no columns: $(cat "$T/got")"
awk 'length($0) > 110 { exit 1 }' "$T/got" || fail "columns are wider than the terminal"
grep -q "$(printf '\033')\[01;34mdeep$(printf '\033')\[0m" "$T/got" || fail "no colours: $(cat "$T/got")"
NO_COLOR=1 terminal "$STAGEFS ls $I opt" >"$T/got"
grep -q "$(printf '\033')" "$T/got" && fail "NO_COLOR is not honoured"
for width in 20 59 200; do
    (cd "$T/mnt" && script -qec "stty cols $width; ls -C -T 0 --color=never many etc" /dev/null) | tr -d '\r' >"$T/want"
    NO_COLOR=1 script -qec "stty cols $width; $STAGEFS ls $I many etc" /dev/null | tr -d '\r' >"$T/got"
    [ -s "$T/want" ] || fail "nothing to compare with"
    same "columns of $width" "$T/want" "$T/got"
done
LS_COLORS='di=36:*.so=1;35' "$STAGEFS" ls --color "$I" / | grep -q "$(printf '\033')\[36metc" || fail "LS_COLORS is not honoured"
terminal "$STAGEFS du $I" >"$T/got"
tail -1 "$T/got" | grep -q '^[0-9.]*M	/$' || fail "du on a terminal: $(cat "$T/got")"
head -1 "$T/got" | grep -q '^[0-9.]*K*	/' || fail "du on a terminal does not sort: $(cat "$T/got")"

# ---- -h is a size here, and help where nothing is to be listed
for command in ls du; do
    expect 0 "$STAGEFS" $command -h
    grep -q '^Usage:' "$T/stdout" || fail "$command -h alone is not its help"
done

expect 0 "$STAGEFS" umount --help
grep -q -e '--memory\|--platform\|--threads' "$T/stdout" && fail "umount's help has options that say nothing to it"

# ---- an archive without its kind: a look into it tells which
tar -C "$T/layout" -cf "$T/saved.tar" .
mkdir "$T/docker"
echo '[]' >"$T/docker/manifest.json"
tar -C "$T/docker" -cf "$T/docker.tar" manifest.json
while read -r path kind; do
    expect 2 "$STAGEFS" ls "$T/$path"
    says "looks like $kind:$T/$path"
done <<'P'
saved.tar oci-archive
saved.tar:x oci-archive
docker.tar docker-archive
layout oci
tree dir
P
(cd "$T" && expect 2 "$STAGEFS" ls docker.tar:x)
says "looks like docker-archive:docker.tar:x"
expect 2 "$STAGEFS" ls "$T/tree/etc/passwd"
says "no archive of an image"
expect 2 "$STAGEFS" ls "$T/nothing.tar"
says "'$T/nothing.tar' is not there"

# ---- what made the layers, and sums
"$STAGEFS" commit -q --from "$I" --copy /opt:/opt -t "oci:$T/out:base" >/dev/null
"$STAGEFS" commit -q --base "oci:$T/out:base" --from "$I" --copy /etc:/opt/etc -t "oci:$T/out:two" >/dev/null

# ---- commit tells sizes before and after; standard output holds the digest alone
expect 0 "$STAGEFS" commit --base "oci:$T/out:base" --from "$I" --copy /etc:/opt/etc -t "oci:$T/out:two"
says ": base "
grep -qx 'wrote oci:[^ ]*/out:two: base [0-9.]*[KM] + new [0-9.]*K* = [0-9.]*[KM] (builder [0-9.]*[KM])' "$T/stderr" || fail "commit: $(cat "$T/stderr")"
grep -qx 'sha256:[0-9a-f]*' "$T/stdout" && [ "$(wc -l <"$T/stdout")" = 1 ] || fail "not the digest alone: $(cat "$T/stdout")"
expect 0 "$STAGEFS" commit --dry-run "$I" -t "oci:$T/out:dry"
grep -qx 'would write [^ ]*: new [0-9.]*[KM] ([^ ]* has [0-9.]*[KM])' "$T/stderr" || fail "dry run: $(cat "$T/stderr")"
echo 'FROM base
COPY --from=build /etc /etc' >"$T/Dockerfile"
expect 0 "$STAGEFS" commit -f "$T/Dockerfile" --build-context "base=oci:$T/out:base" --build-context "build=$I" --json -t "oci:$T/out:file"
python3 - "$T/stdout" "$T/layout" "$T/out" <<'P' || fail "commit --json: $(cat "$T/stdout")"
import json, os, sys
answer = json.load(open(sys.argv[1]))
def size(layout, manifest): return sum(l['size'] for l in json.load(open(f'{layout}/blobs/sha256/{manifest[7:]}'))['layers'])
index = json.load(open(sys.argv[2] + '/index.json'))
assert answer['builder_size'] == size(sys.argv[2], index['manifests'][0]['digest']), answer
assert answer['image_size'] == size(sys.argv[3], answer['manifest']) == answer['base_size'] + answer['layer_size'], answer
P
rm -r "$STAGEFS_CACHE_DIR"/index
"$STAGEFS" inspect "oci:$T/out:two" >"$T/got"
grep -q '^    0  sha256:[0-9a-f]*  gzip  .* -  .* -  .* -  COPY /opt /opt$' "$T/got" || fail "inspect: not what made it: $(cat "$T/got")"
grep -q '^total  .* -  .* -  .* -$' "$T/got" || fail "inspect: no total: $(cat "$T/got")"
"$STAGEFS" index -q "oci:$T/out:two"
"$STAGEFS" inspect "oci:$T/out:two" >"$T/got"
grep -q '[?-]  ' "$T/got" && fail "inspect of what is indexed: $(cat "$T/got")"
"$STAGEFS" inspect --json "oci:$T/out:two" >"$T/got"
python3 - "$T/got" <<'P' || fail "inspect --json: $(cat "$T/got")"
import json, sys
image = json.load(open(sys.argv[1]))
assert [l['created_by'] for l in image['layers']] == ['COPY /opt /opt # buildkit', 'COPY /etc /opt/etc # buildkit'], image
assert image['size'] == sum(l['size'] for l in image['layers'])
assert image['unpacked_size'] == sum(l['index']['unpacked_size'] for l in image['layers'])
P
"$STAGEFS" du --layers "oci:$T/out:two" >"$T/got"
grep -q '^    1 .*  sha256:[0-9a-f]*  COPY /etc /opt/etc$' "$T/got" || fail "du --layers: $(cat "$T/got")"
grep -q '^total ' "$T/got" || fail "du --layers: no total: $(cat "$T/got")"
