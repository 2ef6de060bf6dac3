#!/bin/sh
# Bad input: one sentence that names the thing, the right status, nothing left behind.
. "$(dirname "$0")/lib.sh"
need python3 zstd
mkdir "$T/tars" "$T/mnt"
python3 "$HERE/layers.py" "$T/tars"
image "$T/layout:x" gzip:"$T/tars/0.tar" gzip:"$T/tars/1.tar" >"$T/digests"
image "$T/layout:y" zstd:"$T/tars/0.tar" >"$T/zdigest"
first=$(head -1 "$T/digests")
hex=${first#sha256:}
# Nothing of the bad layer, and no temporary file; other layers may be kept.
nothing_kept() { find "$T/cache" -type f 2>/dev/null | grep -e "$hex" -e stagefs-tmp && fail "the cache kept it" || :; }

expect 1 "$STAGEFS" ls "oci:$T/layout:nosuch"
says nosuch
expect 1 "$STAGEFS" ls "oci:$T/nolayout:x"
says "the directory $T/nolayout does not exist"
expect 2 "$STAGEFS" ls "ocl:$T/layout:x"
says ocl
expect 2 "$STAGEFS" lss "oci:$T/layout:x"
says lss
expect 2 "$STAGEFS" ls --nosuch "oci:$T/layout:x"
says nosuch
expect 1 "$STAGEFS" ls "oci:$T/layout:y" /no/such/path
says /no/such/path
"$STAGEFS" cache prune -q >/dev/null

# a digest that does not match
cp -a "$T/layout" "$T/flipped"
python3 - "$T/flipped/blobs/sha256/$hex" <<'PY'
import sys
f = open(sys.argv[1], 'r+b')
f.seek(5000)
b = f.read(1)
f.seek(5000)
f.write(bytes([b[0] ^ 1]))
PY
expect 3 "$STAGEFS" ls "oci:$T/flipped:x"
says "$hex"
nothing_kept
expect 3 "$STAGEFS" verify "oci:$T/flipped:x"
# a truncated layer
cp -a "$T/layout" "$T/short"
truncate -s -1000 "$T/short/blobs/sha256/$hex"
expect 3 "$STAGEFS" ls "oci:$T/short:x"
says "$hex"
nothing_kept
# a missing layer
cp -a "$T/layout" "$T/missing"
rm "$T/missing/blobs/sha256/$hex"
expect 1 "$STAGEFS" ls "oci:$T/missing:x"
says "$hex"
# a document that does not match its digest
cp -a "$T/layout" "$T/document"
for f in "$T/document/blobs/sha256/"*; do
    case $(head -c 20 "$f" | tr -d '\0') in '{"schemaVersion"'*) sed -i 's/"size": /"size":  /' "$f" ;; esac
done
expect 3 "$STAGEFS" ls "oci:$T/document:x"
# an unknown media type
cp -a "$T/layout" "$T/media"
python3 - "$T/media" <<'PY'
import hashlib, json, sys
layout = sys.argv[1]
index = json.load(open(layout + '/index.json'))
for m in index['manifests']:
    data = open(layout + '/blobs/' + m['digest'].replace(':', '/'), 'rb').read()
    data = data.replace(b'layer.v1.tar+gzip', b'layer.v1.tar+lzma')
    m['digest'] = 'sha256:' + hashlib.sha256(data).hexdigest()
    m['size'] = len(data)
    open(layout + '/blobs/' + m['digest'].replace(':', '/'), 'wb').write(data)
json.dump(index, open(layout + '/index.json', 'w'))
PY
expect 1 "$STAGEFS" ls "oci:$T/media:x"
says tar+lzma
# bytes that change after they were verified: EIO that names the layer
"$STAGEFS" index -q "oci:$T/layout:x" >/dev/null
cp -a "$T/layout" "$T/later"
python3 - "$T/later/blobs/sha256/$hex" <<'PY'
import os, sys
f = open(sys.argv[1], 'r+b')
size = os.path.getsize(sys.argv[1])
for at in range(2000, size, 1000):
    f.seek(at)
    b = f.read(1)
    f.seek(at)
    f.write(bytes([b[0] ^ 1]))
PY
expect 1 "$STAGEFS" cat "oci:$T/later:x" /usr/lib/big.so
says "$(echo "$hex" | cut -c1-12)"
if [ "$(id -u)" = 0 ] && [ -c /dev/fuse ]; then
    "$STAGEFS" mount "oci:$T/later:x" "$T/mnt" 2>/dev/null
    if cat "$T/mnt/usr/lib/big.so" >/dev/null 2>"$T/stderr"; then fail "changed bytes were served"; fi
    grep -q 'Input/output error' "$T/stderr" || fail "not EIO: $(cat "$T/stderr")"
    "$STAGEFS" umount "$T/mnt"
fi

# a read-only cache, when something must be written
if [ "$(id -u)" = 0 ]; then
    mkdir "$T/ro"
    mount -t tmpfs -o ro tmpfs "$T/ro"
    STAGEFS_CACHE_DIR=$T/ro/cache expect 1 "$STAGEFS" ls "oci:$T/layout:x"
    says "$T/ro"
    umount "$T/ro"
    # a full one
    mount -t tmpfs -o size=16k tmpfs "$T/ro"
    STAGEFS_CACHE_DIR=$T/ro/cache expect 1 "$STAGEFS" ls "oci:$T/layout:x"
    says "No space left"
    find "$T/ro" -type f | grep -e "$hex" -e stagefs-tmp && fail "a full cache kept part of it"
    # a full destination
    expect 1 "$STAGEFS" commit "oci:$T/layout:x" -t "oci:$T/ro/out:x"
    says "No space left"
    [ -z "$(find "$T/ro" -name '.stagefs-tmp-*')" ] || fail "a temporary file is left"
    expect 1 "$STAGEFS" ls "oci:$T/ro/out:x"
    umount "$T/ro"
fi
# a mountpoint that is not there
expect 1 "$STAGEFS" mount "oci:$T/layout:x" "$T/nomount"
says "$T/nomount"
expect 1 "$STAGEFS" mount "oci:$T/layout:x" "$T/digests"
says "$T/digests"
# what names something is not empty, as a variable is that nobody set
for command in "mount --upper" "mount --trace" "mount --profile" "commit --profile" "commit -t" "bench --html" "ls --file" "ls --context" "ls --copy" "ls --from"; do
    # shellcheck disable=SC2086
    expect 2 "$STAGEFS" $command '' "oci:$T/layout:x"
    says "is empty ("
done
expect 125 "$STAGEFS" run --rw '' "oci:$T/layout:x" -- /bin/true
says "the value of --rw is empty"
expect 2 "$STAGEFS" mount "oci:$T/layout:x" ''
says "the mountpoint's name is empty"
# words of others
while read -r option hint; do
    expect 125 "$STAGEFS" run "$option" "oci:$T/layout:x" /bin/true
    says "$hint"
done <<'HINTS'
--name has no name
-p this machine's network
-d in the foreground
--entrypoint the whole command
--volume=/tmp:/x --rw DIR:PATH
--mount --rw DIR:PATH
--gpus --gpu
HINTS
for place in "-v /tmp:/x oci:$T/layout:x" "oci:$T/layout:x -v /tmp:/x"; do
    # shellcheck disable=SC2086
    expect 125 "$STAGEFS" run $place /bin/true
    says "--rw /tmp:/x"
done
for command in version -v build images pull history cp exec ps; do
    expect 2 "$STAGEFS" "$command" x
    says "there is no command '$command': "
done
# usage
expect 2 "$STAGEFS" commit "oci:$T/layout:x"
for destination in my/out:1 out "$T/out"; do
    expect 2 "$STAGEFS" commit "oci:$T/layout:x" -t "$destination"
    says "'$destination' does not say where to write: oci:DIR[:TAG], "
done
expect 2 "$STAGEFS" commit "oci:$T/layout:x" -t "osi:$T/out:x"
says "did you mean oci:?"
expect 2 "$STAGEFS" commit --from "oci:$T/layout:x" --copy /etc -t "oci:$T/out:x" --compression lzma
says lzma
expect 1 "$STAGEFS" commit --from "oci:$T/layout:x" --copy /nosuch -t "oci:$T/out:x"
says nosuch
[ ! -e "$T/out" ] || [ -z "$(find "$T/out" -type f)" ] || fail "a failed commit wrote something"

# a base blob that was changed since it was indexed is not linked into the output, nor taken for right where it lies already
mkdir "$T/more"
echo more >"$T/more/file"
cp -a "$T/layout" "$T/changed"
"$STAGEFS" index -q "oci:$T/changed:x"
printf damaged | dd of="$T/changed/blobs/sha256/$hex" bs=1 seek=5000 conv=notrunc 2>/dev/null
for out in "$T/out" "$T/changed"; do
    expect 3 "$STAGEFS" commit -q --base "oci:$T/changed:x" --from "dir:$T/more" --copy /:/more -t "oci:$out:new"
    says "$hex"
done
[ ! -e "$T/out" ] || fail "a layout with a changed blob was left"

# libarchive is loaded when something needs it, and what needs it says so where it is missing
! ldd "$STAGEFS" | grep -E 'lib(archive|xml2|icu|curl)' >&2 || fail "libraries that few jobs need are loaded at each start"
mkdir "$T/broken" "$T/context"
echo 'no library' >"$T/broken/libarchive.so.13"
without() { env LD_LIBRARY_PATH="$T/broken" "$STAGEFS" "$@"; }
(cd "$T/more" && tar -cf "$T/context/t.tar" file && gzip -kn "$T/context/t.tar" && zstd -q "$T/context/t.tar")
printf 'FROM scratch\nADD t.tar t.tar.gz /\n' >"$T/Dockerfile"
expect 0 without commit -q -f "$T/Dockerfile" --context "$T/context" -t "oci:$T/plain:x"
printf 'FROM scratch\nADD t.tar.zst /\n' >"$T/Dockerfile"
expect 1 without commit -q -f "$T/Dockerfile" --context "$T/context" -t "oci:$T/packed:x"
says "read by libarchive, which is not installed (Debian has it in libarchive13): "
[ ! -e "$T/packed" ] || fail "an image was begun without libarchive"
python3 - "$T/acl.tar" <<'PY'
import sys, tarfile
with tarfile.open(sys.argv[1], 'w', format=tarfile.PAX_FORMAT) as t:
    f = tarfile.TarInfo('file')
    f.pax_headers['SCHILY.acl.access'] = 'user::rw-,user:7:r--,group::r--,mask::r--,other::r--'
    t.addfile(f)
PY
image "$T/acl:x" gzip:"$T/acl.tar" >/dev/null
expect 1 without ls "oci:$T/acl:x"
says "read by libarchive, which is not installed"
expect 0 "$STAGEFS" ls "oci:$T/acl:x"
expect 0 without ls "oci:$T/acl:x" # its index has the ACL by now
