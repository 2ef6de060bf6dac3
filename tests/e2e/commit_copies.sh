#!/bin/sh
# Frames that hold one file's bytes alone are copied into a layer of the same codec, not compressed again: the very bytes,
# read by other programs, the same on any number of threads and in any state of the cache. Hostile ones are not copied.
. "$(dirname "$0")/lib.sh"
need_root
need python3 skopeo gzip zstd
mkdir "$T/tars"
python3 "$HERE/layers.py" "$T/tars"
image "$T/in:plain" gzip:"$T/tars/0.tar" gzip:"$T/tars/1.tar" gzip:"$T/tars/2.tar" >/dev/null
image "$T/in:base" gzip:"$T/tars/0.tar" >/dev/null
export SOURCE_DATE_EPOCH=1700000000
CODECS="estargz gzip zstd:chunked zstd"
key() { "$STAGEFS" inspect --json "$1" | python3 -c 'import json, sys; print(json.load(sys.stdin)["layers"][-1]["digest"][7:])'; }
number() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$T/json" "$1"; }

for codec in $CODECS; do
    tag=${codec#zstd:}
    case $codec in gzip) level=2 ;; *) level= ;; esac # a level: or else blocks are copied, into few members (commit_splice.sh)
    "$STAGEFS" commit -q "oci:$T/in:plain" --compression $codec ${level:+--compression-level $level} -t "oci:$T/from:$tag" >/dev/null
    case $codec in estargz | gzip) ready=ready-gzip ;; *) ready=ready-zstd ;; esac
    image "$T/bare:$tag" "$ready:$T/from/blobs/sha256/$(key "oci:$T/from:$tag")" >/dev/null
done

take() { # FROM-TAG OPTION...: commits some of it on another base
    from=$1
    shift
    "$STAGEFS" commit -q --base "oci:$T/in:base" --from "oci:$T/from:$from" --copy /usr/lib:/opt/lib --copy /swap-dir:/swap-dir2 --json "$@" >"$T/json"
}
take estargz --compression none -t "oci:$T/out:none"
none="$T/out/blobs/sha256/$(key "oci:$T/out:none")"
tar -tvf "$none" >"$T/list"

for from in estargz gzip chunked zstd; do
    for codec in $CODECS; do
        tag=$from-${codec#zstd:}
        export STAGEFS_CACHE_DIR="$T/cache"
        for threads in 1 2 8; do
            take $from --threads $threads --compression $codec -t "oci:$T/out:$tag"
            number manifest >"$T/digest.$threads"
            cmp "$T/digest.1" "$T/digest.$threads" || fail "$tag: $threads threads give other bytes"
        done
        copied=$(number copied_bytes)
        # a cache that knows the blob by a pass over it, not by its table
        export STAGEFS_CACHE_DIR="$T/cache-bare"
        "$STAGEFS" ls "oci:$T/bare:$from" >/dev/null
        take $from --compression $codec -t "oci:$T/out:$tag"
        number manifest >"$T/digest.bare"
        cmp "$T/digest.1" "$T/digest.bare" || fail "$tag: other bytes where the blob was indexed without its table"
        [ "$copied" = "$(number copied_bytes)" ] || fail "$tag: another number of bytes was copied"
        export STAGEFS_CACHE_DIR="$T/cache"

        blob="$T/out/blobs/sha256/$(key "oci:$T/out:$tag")"
        case $from-$codec in
        estargz-estargz | estargz-gzip | gzip-estargz | gzip-gzip | chunked-zstd* | zstd-zstd*) [ "$copied" -gt 0 ] || fail "$tag: nothing was copied" ;;
        *) [ "$copied" = 0 ] || fail "$tag: copied from another codec" ;;
        esac
        "$STAGEFS" verify -q "oci:$T/out:$tag" >/dev/null || fail "$tag does not verify"
        case $codec in estargz | gzip) gzip -dc "$blob" >"$T/tar" ;; *) zstd -dcq "$blob" >"$T/tar" ;; esac || fail "$tag is not read"
        case $codec in
        estargz) tar -tvf "$T/tar" 2>/dev/null | grep -v 'landmark\|stargz.index' | cmp - "$T/list" || fail "$tag: the tar has other entries" ;;
        *) cmp "$T/tar" "$none" || fail "$tag: another tar" ;;
        esac
        skopeo --insecure-policy copy -q "oci:$T/out:$tag" "oci:$T/copy:$tag" || fail "skopeo does not read $tag"
        "$STAGEFS" diff "oci:$T/out:none" "oci:$T/out:$tag" >"$T/diff"
        grep -q '^0 added, 0 removed, 0 changed' "$T/diff" || fail "$tag: $(cat "$T/diff")"
        [ "$copied" -gt 0 ] || continue
        # a level that is asked for is what all of it gets
        take $from --compression $codec --compression-level 1 -t "oci:$T/out:level"
        [ "$(number copied_bytes)" = 0 ] || fail "$tag: --compression-level is not heeded"
    done
done

# Committed again as it is, a layer stays the same.
for codec in estargz zstd:chunked; do
    tag=${codec#zstd:}
    "$STAGEFS" commit -q "oci:$T/from:$tag" --compression $codec -t "oci:$T/again:$tag" >/dev/null
    [ "$(key "oci:$T/from:$tag")" = "$(key "oci:$T/again:$tag")" ] || fail "$codec: the same layer became another"
done

# Each chunk in the tables stands byte for byte in the source.
for tag in estargz chunked; do
    python3 - "$T/out/blobs/sha256/$(key "oci:$T/out:$tag-$tag")" "$T/from/blobs/sha256/$(key "oci:$T/from:$tag")" <<'END' || fail "$tag: a chunk was compressed again"
import gzip, io, json, subprocess, sys, tarfile
data, source = open(sys.argv[1], 'rb').read(), open(sys.argv[2], 'rb').read()
if data[:2] == b'\x1f\x8b':
    end = int(data[-35:-19], 16)
    table = json.load(tarfile.open(fileobj=io.BytesIO(gzip.decompress(data[end:]))).extractfile('stargz.index.json'))
else:
    at, size = (int.from_bytes(data[-64 + 8 * i:][:8], 'little') for i in range(2))
    end = at - 8
    table = json.loads(subprocess.run(['zstd', '-dc'], input=data[at:at + size], stdout=subprocess.PIPE, check=True).stdout)
starts = [e['offset'] for e in table['entries'] if e.get('offset')]
ends = {e.get('endOffset') for e in table['entries']}
found = 0
for e in table['entries']:
    if not e.get('offset'):
        continue
    if e.get('name') == '.no.prefetch.landmark':
        continue
    stop = min([s for s in starts if s > e['offset']] + [end])
    stop = min([s for s in ends if s and e['offset'] < s <= stop] + [stop])
    if data[:2] == b'\x1f\x8b': # the member ends before that: another has the padding and the next headers
        import zlib
        d = zlib.decompressobj(31)
        d.decompress(data[e['offset']:stop])
        assert d.eof
        stop -= len(d.unused_data)
    assert data[e['offset']:stop] in source, e
    found += 1
assert found > 10, found
END
done

# Hostile or odd: a frame with a large window, and one that holds more than the file. The last one is as it should be.
python3 - "$T/odd.zst" "$T/size" <<'END'
import io, random, subprocess, sys, tarfile
random.seed(1)
def zstd(data, *flags):
    return subprocess.run(['zstd', '-q', '-c', *flags], input=data, stdout=subprocess.PIPE, check=True).stdout
def header(name, size):
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.PAX_FORMAT)
files = [bytes(random.choice(b'abcdefgh') for _ in range(70 * 1024)) for _ in range(3)] # a multiple of 512
good = zstd(files[2])
blob = zstd(header('wide', len(files[0]))) + zstd(files[0], '--long=26')
blob += zstd(header('more', len(files[1]))) + zstd(files[1] + header('good', len(files[2]))) + good + zstd(bytes(1024))
open(sys.argv[1], 'wb').write(blob)
print(len(good), file=open(sys.argv[2], 'w'))
END
image "$T/odd:1" ready-zstd:"$T/odd.zst" >/dev/null
for codec in zstd zstd:chunked; do
    "$STAGEFS" commit -q "oci:$T/odd:1" --compression $codec -t "oci:$T/odd-out:1" --json >"$T/json"
    [ "$(number copied_bytes)" = "$(cat "$T/size")" ] || fail "$codec: copied $(number copied_bytes) bytes of frames, not $(cat "$T/size")"
    "$STAGEFS" verify -q "oci:$T/odd-out:1" >/dev/null
done

if command -v umoci >/dev/null; then
    for tag in estargz-estargz estargz-gzip gzip-gzip; do
        umoci unpack --image "$T/out:$tag" "$T/bundle-$tag" >/dev/null 2>&1 || fail "umoci does not unpack $tag"
        cmp "$T/bundle-$tag/rootfs/opt/lib/big.so" "$T/bundle-estargz-estargz/rootfs/opt/lib/big.so" || fail "umoci: other bytes in $tag"
    done
fi
