#!/bin/sh
# zstd:chunked as skopeo and podman write it: the same tree and bytes as from the gzip layer it was made of, without
# the layer being read; EIO where a chunk is wrong.
. "$(dirname "$0")/lib.sh"
need python3 skopeo
mkdir "$T/src" "$T/src/lib" "$T/src/etc"
python3 - "$T/src" <<'PY'
import os, random, sys
random.seed(7)
for name, size in ('lib/big.so', 5000000), ('lib/small.so', 3000), ('etc/conf', 40):
    open(f'{sys.argv[1]}/{name}', 'wb').write(random.randbytes(size))
open(f'{sys.argv[1]}/lib/zeros', 'wb').write(bytes(300000) + b'end')
open(f'{sys.argv[1]}/etc/text', 'w').write('\n'.join(map(str, range(200000))))
PY
ln -s lib "$T/src/lib64"
ln "$T/src/etc/conf" "$T/src/etc/conf.again"
: >"$T/src/etc/.wh.gone"
# One record, as Go writes tars: skopeo drops zeros behind the end, and with them the diff_id's truth.
tar -C "$T/src" -b 2 -cf "$T/layer.tar" .
image "$T/plain:x" gzip:"$T/layer.tar" >/dev/null
skopeo --insecure-policy copy -q --dest-compress-format zstd:chunked "oci:$T/plain:x" "oci:$T/first:x" &&
    grep -qr zstd-chunked.manifest-checksum "$T/first/blobs" || skip "skopeo cannot write zstd:chunked"

listing() { "$STAGEFS" ls -lAR "$1" / | grep -v '^total '; } # a table of contents knows of holes
listing "oci:$T/plain:x" >"$T/want"
compare() { # LAYOUT
    export STAGEFS_CACHE_DIR="$T/cache-$(basename "$1")"
    expect 0 "$STAGEFS" ls -lAR "oci:$1:x" /
    [ ! -s "$T/stderr" ] || fail "$1: a warning: $(cat "$T/stderr")"
    listing "oci:$1:x" >"$T/got"
    same "$1" "$T/want" "$T/got"
    for file in lib/big.so lib/small.so lib/zeros etc/conf etc/conf.again etc/text; do
        "$STAGEFS" cat "oci:$1:x" "/$file" | cmp - "$T/src/$file" || fail "$1: other bytes of $file"
    done
    "$STAGEFS" inspect --json "oci:$1:x" |
        python3 -c 'import json, sys; sys.exit(not json.load(sys.stdin)["layers"][0]["index"]["from_toc"])' ||
        fail "$1: the layer was read"
}
compare "$T/first"
if command -v podman >/dev/null && [ "$(id -u)" = 0 ]; then
    run=$(mktemp -d /tmp/sfs-XXXXXX) # podman takes 50 bytes for it at most
    storage="--root $T/storage --runroot $run --storage-driver vfs"
    if podman $storage pull -q "oci:$T/plain:x" >"$T/id" 2>"$T/stderr" &&
        podman $storage push -q --compression-format zstd:chunked "$(tail -1 "$T/id")" "oci:$T/second:x" 2>"$T/stderr"; then
        compare "$T/second"
    else
        echo "podman left out: $(tail -1 "$T/stderr")"
    fi
    rm -rf "$run"
fi

# A byte of the last chunk of big.so: other files are not touched by it.
export STAGEFS_CACHE_DIR="$T/cache-damaged"
python3 - "$T/first" <<'PY'
import glob, json, os, subprocess, sys
blobs = sys.argv[1] + '/blobs/sha256/'
manifest = next(m for m in (json.load(open(f)) for f in glob.glob(blobs + '*') if os.path.getsize(f) < 3000)
                if 'layers' in m)
layer = manifest['layers'][0]
path = blobs + layer['digest'][7:]
at, size = next(v for k, v in layer['annotations'].items() if k.endswith('manifest-position')).split(':')[:2]
with open(path, 'r+b') as f:
    f.seek(int(at))
    toc = subprocess.run(['zstd', '-dc'], input=f.read(int(size)), stdout=subprocess.PIPE, check=True).stdout
    entry = next(e for e in json.loads(toc)['entries'] if e['name'].endswith('big.so'))
    f.seek(entry['endOffset'] - 20)
    byte = f.read(1)[0]
    f.seek(-1, 1)
    f.write(bytes([byte ^ 1]))
PY
expect 0 "$STAGEFS" ls -lAR "oci:$T/first:x" /
grep -v '^total ' "$T/stdout" >"$T/got"
same "damaged" "$T/want" "$T/got"
"$STAGEFS" cat "oci:$T/first:x" /etc/text | cmp - "$T/src/etc/text" || fail "a whole file beside a damaged one"
expect 1 "$STAGEFS" cat "oci:$T/first:x" /lib/big.so
says "layer 0 (sha256:"
cmp -n "$(stat -c %s "$T/stdout")" "$T/stdout" "$T/src/lib/big.so" || fail "wrong bytes came out"
expect 3 "$STAGEFS" verify "oci:$T/first:x"
