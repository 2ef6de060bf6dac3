#!/bin/sh
# Each destination holds what was committed, as other programs read it, and is there whole or not at all.
. "$(dirname "$0")/lib.sh"
need_root
need python3 skopeo
mkdir "$T/tars"
python3 "$HERE/layers.py" "$T/tars"
image "$T/stage:builder" gzip:"$T/tars/0.tar" gzip:"$T/tars/1.tar" gzip:"$T/tars/2.tar" >/dev/null
image "$T/stage:base" gzip:"$T/tars/0.tar" >/dev/null
export SOURCE_DATE_EPOCH=1700000000
commit() {
    "$STAGEFS" commit -q --base "oci:$T/stage:base" --from "oci:$T/stage:builder" --copy /usr/lib:/opt/lib --env A=1 "$@"
}
no_traces() {
    left=$(find "$T" -name '.stagefs-tmp-*' -not -path "$T/cache/*")
    [ -z "$left" ] || fail "temporary files are left: $left"
}
digest=$(commit -t "oci:$T/out:x")
"$STAGEFS" ls -lAR "oci:$T/out:x" / >"$T/wanted"

# archives: the same image, byte for byte
for kind in "oci-archive:$T/o.tar:x" "docker-archive:$T/d.tar:example.com/x:1" "oci-archive:$T/no-tag.tar"; do
    [ "$(commit -t "$kind")" = "$digest" ] || fail "$kind: another digest"
    "$STAGEFS" ls -lAR "$kind" / >"$T/got"
    same "$kind" "$T/wanted" "$T/got"
    skopeo --insecure-policy copy -q "$kind" "oci:$T/back:x" || fail "skopeo does not read $kind"
    "$STAGEFS" ls -lAR "oci:$T/back:x" / >"$T/got"
    same "$kind by skopeo" "$T/wanted" "$T/got"
    rm -r "$T/back"
done
[ "$(skopeo --insecure-policy inspect --format '{{.Digest}}' "oci-archive:$T/o.tar:x")" = "$digest" ] || fail "oci-archive: skopeo tells another digest"
tar -tvf "$T/d.tar" >/dev/null || fail "GNU tar does not read the archive"
cp "$T/d.tar" "$T/d2.tar"
commit -t "docker-archive:$T/d.tar:example.com/x:1" >/dev/null # replaces
cmp "$T/d.tar" "$T/d2.tar" || fail "the same archive has other bytes"

# a base out of each archive
for kind in "oci-archive:$T/o.tar:x" "docker-archive:$T/d.tar"; do
    for to in "oci-archive:$T/on.tar:x" "docker-archive:$T/on.tar:x:1"; do
        "$STAGEFS" commit -q --base "$kind" --from "oci:$T/stage:builder" --copy /swap-dir:/more -t "$to" >/dev/null
        skopeo --insecure-policy copy -q "$to" "oci:$T/back:x" || fail "$to on $kind"
        "$STAGEFS" verify -q "oci:$T/back:x" >/dev/null || fail "$to on $kind does not verify"
        rm -r "$T/back"
    done
done

expect 2 "$STAGEFS" commit -q "oci:$T/stage:base" --compression zstd -t "docker-archive:$T/z.tar:x"
says "zstd"
commit --compression zstd -t "oci:$T/out:z" >/dev/null
expect 1 "$STAGEFS" commit -q --base "oci:$T/out:z" --from "oci:$T/stage:builder" --copy /swap-dir:/more -t "docker-archive:$T/z.tar:x"
says "zstd"
[ ! -e "$T/z.tar" ] || fail "a refused archive is there"
expect 2 "$STAGEFS" commit -q "oci:$T/stage:base" -t "oci-archive:$T/stage"
says "not a file"

# pipes and devices are written to, and the digest does not stand among the bytes
for kind in oci docker; do
    "$STAGEFS" commit -q "oci:$T/stage:base" -t "$kind-archive:/dev/stdout:example.com/x:1" 2>"$T/told" | cat >"$T/piped.tar"
    tar -tf "$T/piped.tar" >"$T/want"
    "$STAGEFS" commit -q "oci:$T/stage:base" -t "$kind-archive:/dev/fd/3:example.com/x:1" 3>&1 >"$T/digest" | tar -t >"$T/got"
    [ "$(wc -l <"$T/want")" -gt 4 ] && [ "$(wc -l <"$T/want")" = "$(wc -l <"$T/got")" ] || fail "$kind-archive: a pipe lacks members"
    grep -qx 'sha256:[0-9a-f]*' "$T/told" && grep -qx 'sha256:[0-9a-f]*' "$T/digest" || fail "$kind-archive: the digest is not told apart"
    skopeo --insecure-policy inspect --config "$kind-archive:$T/piped.tar:example.com/x:1" >/dev/null || fail "$kind-archive: skopeo reads none of the pipe"
    mkfifo "$T/fifo"
    tar -t <"$T/fifo" >"$T/got" &
    "$STAGEFS" commit -q "oci:$T/stage:base" -t "$kind-archive:$T/fifo" >/dev/null
    wait $!
    [ -p "$T/fifo" ] && grep -q oci-layout "$T/got" || fail "$kind-archive: the FIFO got no archive"
    rm "$T/fifo"
    { echo before && "$STAGEFS" commit -q "oci:$T/stage:base" -t "$kind-archive:/dev/stdout" 2>/dev/null; } >"$T/appended"
    tail -c +8 "$T/appended" | tar -t >/dev/null || fail "$kind-archive: a file that is standard output is written from its position on"
    expect 1 "$STAGEFS" commit -q "oci:$T/stage:base" -t "$kind-archive:/dev/full"
    says "/dev/full: No space left"
done

# a directory
commit -t "dir:$T/tree"
list "$T/tree" >"$T/got"
skopeo --insecure-policy copy -q "oci:$T/out:x" "oci:$T/alone:x"
if command -v umoci >/dev/null; then
    umoci unpack --image "$T/alone:x" "$T/bundle" >/dev/null 2>&1 || fail "umoci"
    list "$T/bundle/rootfs" >"$T/wanted-tree"
    same "dir: and umoci" "$T/wanted-tree" "$T/got"
fi
"$STAGEFS" diff "oci:$T/out:x" "dir:$T/tree" >"$T/diff"
grep -q '^0 added, 0 removed, 0 changed' "$T/diff" || fail "dir: differs: $(cat "$T/diff")"
expect 1 "$STAGEFS" commit -q "oci:$T/stage:base" -t "dir:$T/tree"
says "not empty"
mkdir "$T/empty"
commit -t "dir:$T/empty"
[ -d "$T/empty/opt/lib" ] || fail "an empty directory is not taken"

# A file system without extended attributes takes the rest, and each kind that it refuses is told of once.
mkdir "$T/plain"
if mount -t ramfs none "$T/plain" && python3 -c "import os; os.mkdir('$T/marked'); [open(f'$T/marked/f{i}', 'w') for i in range(3)]
for i in range(3): os.setxattr(f'$T/marked/f{i}', 'user.note', b'x'); os.setxattr(f'$T/marked/f{i}', 'trusted.note', b'x')"; then
    expect 0 "$STAGEFS" commit "dir:$T/marked" -t "dir:$T/plain/tree"
    [ -f "$T/plain/tree/f2" ] || fail "a file is not there"
    grep -q '3 extended attributes user\.\* were not kept, such as of f0:' "$T/stderr" || fail "user.* was lost in silence: $(cat "$T/stderr")"
    [ "$(grep -c 'trusted\.\*' "$T/stderr")" = 1 ] || fail "trusted.* is not told of once: $(cat "$T/stderr")"
    umount "$T/plain"
fi

# a tar
commit -t - >"$T/layer.tar"
diff_id=$(commit --json -t "oci:$T/out:x" | python3 -c 'import json, sys; print(json.load(sys.stdin)["diff_id"])')
[ "sha256:$(sha256sum <"$T/layer.tar" | cut -d' ' -f1)" = "$diff_id" ] || fail "-t - gives another tar"
commit --compression gzip -t - | gzip -dc | cmp - "$T/layer.tar" || fail "-t - with gzip"
tar -tf "$T/layer.tar" | grep -q '^opt/lib/big.so$' || fail "the tar lacks a file"
expect 2 "$STAGEFS" commit --json "oci:$T/stage:base" -t -
says "standard output"
expect 1 sh -c "\"$STAGEFS\" commit -q 'oci:$T/stage:base' -t - >/dev/full"
says "No space left"

# an archive that cannot be finished leaves the one that was there
head -c 3000 "$T/d2.tar" >"$T/cut.tar"
before=$(sha256sum <"$T/o.tar")
expect 1 "$STAGEFS" commit -q --base "oci:$T/stage:base" --from "docker-archive:$T/cut.tar" --copy / -t "oci-archive:$T/o.tar:x"
[ "$before" = "$(sha256sum <"$T/o.tar")" ] || fail "a failed commit changed the archive"
no_traces

# podman reads both archives, and containers-storage is written
need podman
cat >"$T/storage.conf" <<END
[storage]
driver = "vfs"
graphroot = "$T/graph"
runroot = "$T/runroot"
END
export CONTAINERS_STORAGE_CONF="$T/storage.conf" TMPDIR="$T"
podman info >/dev/null 2>&1 || skip "podman does not run here"
podman load -q -i "$T/d.tar" >"$T/log" 2>&1 || fail "podman load of the docker-archive: $(cat "$T/log")"
podman image exists example.com/x:1 || fail "the docker-archive lost its name: $(podman images)"
podman load -q -i "$T/o.tar" >"$T/log" 2>&1 || fail "podman load of the oci-archive: $(cat "$T/log")"
[ "$(commit -t containers-storage:example.com/y:2)" = "$digest" ] || fail "containers-storage: another digest"
podman image exists example.com/y:2 || fail "containers-storage: the image is not there"
[ "$(podman image inspect --format '{{.Digest}}' example.com/y:2)" = "$digest" ] || fail "containers-storage changed the digest"
expect 1 env PATH=/nowhere "$STAGEFS" commit -q "oci:$T/stage:base" -t containers-storage:x
says "skopeo"
no_traces
