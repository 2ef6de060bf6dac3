#!/bin/sh
# What commit writes is read by umoci, skopeo and oci-image-tool, and is what buildah makes of the same COPY.
. "$(dirname "$0")/lib.sh"
need_root
need python3 umoci skopeo
mkdir "$T/tars"
python3 "$HERE/layers.py" "$T/tars"
image "$T/stage:builder" gzip:"$T/tars/0.tar" gzip:"$T/tars/1.tar" gzip:"$T/tars/2.tar" >/dev/null
image "$T/stage:base" gzip:"$T/tars/0.tar" >/dev/null
export SOURCE_DATE_EPOCH=1700000000
for codec in gzip zstd none; do
    digest=$("$STAGEFS" commit -q --base "oci:$T/stage:base" --from "oci:$T/stage:builder" --copy /usr/lib:/opt/lib --copy /swap-dir:/swap-dir2 \
        --exclude 'm1*' --chown 1000 --compression $codec -t "oci:$T/out:$codec")
    [ "$digest" = "$(skopeo --insecure-policy inspect --format '{{.Digest}}' "oci:$T/out:$codec")" ] || fail "$codec: skopeo tells another digest"
    "$STAGEFS" verify -q "oci:$T/out:$codec" >/dev/null
    "$STAGEFS" diff --base "oci:$T/stage:base" --from "oci:$T/stage:builder" --copy /usr/lib:/opt/lib --copy /swap-dir:/swap-dir2 \
        --exclude 'm1*' --chown 1000 "oci:$T/out:$codec" >"$T/diff"
    grep -q '^0 added, 0 removed, 0 changed' "$T/diff" || fail "$codec: what was committed is not what was shown: $(cat "$T/diff")"
done
umoci unpack --image "$T/out:gzip" "$T/bundle" >/dev/null 2>&1 || fail "umoci does not unpack it"
[ "$(stat -c '%u:%g' "$T/bundle/rootfs/opt/lib/big.so")" = 1000:1000 ] || fail "--chown"
[ "$(stat -c %h "$T/bundle/rootfs/opt/lib/big.so")" = 2 ] || fail "the hard link was lost"
[ ! -e "$T/bundle/rootfs/opt/lib/m100" ] || fail "--exclude"
if command -v oci-image-tool >/dev/null; then
    skopeo --insecure-policy copy -q "oci:$T/out:gzip" "oci:$T/alone:gzip" # it takes layouts of one image
    oci-image-tool validate --type image --ref name=gzip "$T/alone" >"$T/log" 2>&1 || fail "oci-image-tool: $(cat "$T/log")"
fi
# through docker-archive and back; docker's formats know no zstd, so that goes through an OCI archive
"$STAGEFS" ls -lAR "oci:$T/out:gzip" / >"$T/a"
skopeo --insecure-policy copy -q "oci:$T/out:gzip" "docker-archive:$T/docker.tar:example.com/x:1" || fail "skopeo to docker-archive"
skopeo --insecure-policy copy -q "docker-archive:$T/docker.tar" "oci:$T/back:gzip" || fail "skopeo back"
skopeo --insecure-policy copy -q "oci:$T/out:zstd" "oci-archive:$T/oci.tar:x" || fail "skopeo to oci-archive"
skopeo --insecure-policy copy -q "oci-archive:$T/oci.tar:x" "oci:$T/back:zstd" || fail "skopeo zstd back"
for codec in gzip zstd; do
    "$STAGEFS" ls -lAR "oci:$T/back:$codec" / >"$T/b"
    same "$codec, there and back" "$T/a" "$T/b"
done
# the same bytes again, on any number of threads
for threads in 1 2 8; do
    "$STAGEFS" commit -q --threads $threads --from "oci:$T/stage:builder" --copy / -t "oci:$T/again:$threads" >"$T/digest.$threads"
    cmp "$T/digest.1" "$T/digest.$threads" || fail "$threads threads give other bytes"
done
