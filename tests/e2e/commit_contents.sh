#!/bin/sh
# eStargz and zstd:chunked as commit writes them: ordinary layers for those who know no table of contents, and read by
# their table here. What containerd's and podman's own readers make of them is in docs/benchmarks-archive.md.
. "$(dirname "$0")/lib.sh"
need_root
need python3 skopeo
mkdir "$T/tars"
python3 "$HERE/layers.py" "$T/tars"
image "$T/stage:builder" gzip:"$T/tars/0.tar" gzip:"$T/tars/1.tar" gzip:"$T/tars/2.tar" >/dev/null
image "$T/stage:base" gzip:"$T/tars/0.tar" >/dev/null
export SOURCE_DATE_EPOCH=1700000000
set -- --base "oci:$T/stage:base" --from "oci:$T/stage:builder" --copy /usr/lib:/opt/lib --copy /swap-dir:/swap-dir2
blob() { # TAG: path of the last layer
    "$STAGEFS" inspect --json "oci:$T/out:$1" |
        python3 -c 'import json, sys; print(sys.argv[1] + json.load(sys.stdin)["layers"][-1]["digest"][7:])' "$T/out/blobs/sha256/"
}
"$STAGEFS" commit -q "$@" --compression none -t "oci:$T/out:plain" >/dev/null
"$STAGEFS" ls -lAR "oci:$T/out:plain" / >"$T/wanted"
for codec in estargz zstd:chunked; do
    tag=${codec#zstd:}
    export STAGEFS_CACHE_DIR="$T/cache-$tag"
    for threads in 1 2 8; do
        "$STAGEFS" commit -q "$@" --threads $threads --compression $codec -t "oci:$T/out:$tag" >"$T/digest.$threads"
        cmp "$T/digest.1" "$T/digest.$threads" || fail "$codec: $threads threads give other bytes"
    done
    "$STAGEFS" verify -q "oci:$T/out:$tag" >/dev/null || fail "$codec does not verify"

    # by the table
    "$STAGEFS" ls -lAR "oci:$T/out:$tag" / >"$T/got" 2>"$T/words"
    [ ! -s "$T/words" ] || fail "$codec: $(cat "$T/words")"
    same "$codec" "$T/wanted" "$T/got"
    "$STAGEFS" inspect --json "oci:$T/out:$tag" |
        python3 -c 'import json, sys; sys.exit(not json.load(sys.stdin)["layers"][-1]["index"]["from_toc"])' || fail "$codec: its table was not used"
    "$STAGEFS" commit -q "oci:$T/out:$tag" -t "dir:$T/by-table.$tag"
    "$STAGEFS" commit -q "oci:$T/out:plain" -t "dir:$T/plain.$tag"
    diff -r --no-dereference "$T/plain.$tag" "$T/by-table.$tag" | grep -v 'special file$\|is a fifo$' >"$T/diff" || true
    [ ! -s "$T/diff" ] || fail "$codec: other bytes by the table: $(head -3 "$T/diff")"

    # as an ordinary layer
    skopeo --insecure-policy copy -q "oci:$T/out:$tag" "oci:$T/copy:$tag" || fail "skopeo does not read $codec"
    case $codec in
    estargz) gzip -dc "$(blob $tag)" >"$T/$tag.tar" || fail "gzip does not read it" ;;
    *) zstd -dcq "$(blob $tag)" >"$T/$tag.tar" || fail "zstd does not read it" ;;
    esac
    tar -tvf "$T/$tag.tar" 2>"$T/words" | grep -v 'stargz.index.json\|prefetch.landmark' >"$T/list.$tag"
    tar -tvf "$(blob plain)" >"$T/list.plain"
    cmp "$T/list.plain" "$T/list.$tag" || fail "$codec: the tar has other entries"
done
# A table that is longer than a chunk: eStargz's readers take one gzip member, from where the footer points to.
python3 - "$T/many" <<'EOF'
import os, sys
os.mkdir(sys.argv[1])
for i in range(16000):
    open('%s/%05d-%s' % (sys.argv[1], i, 'n' * 230), 'w').close()
EOF
"$STAGEFS" commit -q --from "dir:$T/many" --copy /:/many --compression estargz -t "oci:$T/out:many" >/dev/null
python3 - "$(blob many)" <<'EOF' || fail "eStargz: a long table is not one gzip member"
import io, json, sys, tarfile, zlib
blob = open(sys.argv[1], 'rb').read()
at = int(blob[-51 + 16:-51 + 32], 16)
member = zlib.decompressobj(31)
tar = tarfile.open(fileobj=io.BytesIO(member.decompress(blob[at:])))
table = json.load(tar.extractfile(tar.next()))
size = tar.members[0].size
assert member.eof and size > 4 << 20 and len(table['entries']) > 16000, (member.eof, size, len(table['entries']))
EOF
"$STAGEFS" ls "oci:$T/out:many" /many | wc -l | grep -qx 16000 || fail "eStargz: names of a long table are missing"

cmp "$T/chunked.tar" "$(blob plain)" || fail "zstd:chunked: another tar"
if command -v umoci >/dev/null; then
    umoci unpack --image "$T/out:estargz" "$T/bundle" >/dev/null 2>&1 || fail "umoci does not unpack eStargz"
    [ -f "$T/bundle/rootfs/opt/lib/big.so" ] || fail "umoci: a file is missing"
fi
if command -v podman >/dev/null; then
    printf '[storage]\ndriver = "vfs"\ngraphroot = "%s"\nrunroot = "%s"\n' "$T/graph" "$T/runroot" >"$T/storage.conf"
    export CONTAINERS_STORAGE_CONF="$T/storage.conf"
    if podman info >/dev/null 2>&1; then
        for tag in estargz chunked; do
            podman pull -q "oci:$T/out:$tag" >"$T/log" 2>&1 || fail "podman does not pull $tag: $(cat "$T/log")"
        done
    fi
fi

# a profile: its files first, each behind its directories, and a landmark behind the last of them
printf 'read /opt/lib/big.so 0+1\nread /opt/lib/no-such-file 0+1\n' >"$T/start.profile"
for codec in none gzip zstd estargz zstd:chunked; do
    for threads in 1 2 8; do
        "$STAGEFS" commit -q "$@" --profile "$T/start.profile" --threads $threads --compression $codec -t "oci:$T/out:first" >"$T/digest.$threads"
        cmp "$T/digest.1" "$T/digest.$threads" || fail "$codec: $threads threads give other bytes"
    done
    case $codec in
    gzip | estargz) gzip -dc "$(blob first)" ;;
    zstd*) zstd -dcq "$(blob first)" ;;
    *) cat "$(blob first)" ;;
    esac >"$T/first.tar"
    tar -tf "$T/first.tar" >"$T/names"
    grep -v '^\./$\|/$' "$T/names" | head -1 | grep -qx opt/lib/big.so || fail "$codec: the profile's file is not the first: $(head -5 "$T/names")"
    [ "$codec" != estargz ] || grep -A1 -x opt/lib/big.so "$T/names" | grep -qx .prefetch.landmark || fail "no landmark behind the profile's file"
    [ "$codec" = estargz ] || ! grep -q landmark "$T/names" || fail "$codec: a landmark"
    "$STAGEFS" ls -lAR "oci:$T/out:first" / >"$T/got"
    same "$codec with a profile" "$T/wanted" "$T/got"
    # the same blob without its annotations: read whole, and shown alike
    case $codec in estargz) bare=ready-gzip ;; zstd:chunked) bare=ready-zstd ;; *) continue ;; esac
    image "$T/bare:$bare" gzip:"$T/tars/0.tar" "$bare:$(blob first)" >/dev/null
    STAGEFS_CACHE_DIR="$T/cache-bare" "$STAGEFS" ls -lAR "oci:$T/bare:$bare" / >"$T/got"
    same "$codec with a profile, without its annotations" "$T/wanted" "$T/got"
done
printf 'read opt\n' >"$T/bad.profile"
expect 1 "$STAGEFS" commit -q "$@" --profile "$T/bad.profile" -t "oci:$T/out:bad"
says "bad.profile:1"

# a name that JSON cannot hold
mkdir "$T/odd"
: >"$T/odd/$(printf 'a\377b')"
for codec in estargz zstd:chunked; do
    expect 1 "$STAGEFS" commit -q "dir:$T/odd" --compression $codec -t "oci:$T/out:odd"
    says "UTF-8"
done
