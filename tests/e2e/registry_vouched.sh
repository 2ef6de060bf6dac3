#!/bin/sh
# commit --index: the manifest names the indexes of its layers, which are beside the image, so that who trusts the manifest
# alone reads nothing of a layer before its bytes are wanted. The same stage gives the same manifest.
. "$(dirname "$0")/lib.sh"
need docker-registry skopeo umoci jq python3 fusermount3
need_fuse
. "$HERE/registry_lib.sh"
export HOME="$T/home"
mkdir -p "$HOME" "$T/tree/dir" "$T/mnt"
for i in $(seq 100); do seq "$i" $((i * 20)) >"$T/tree/dir/f$i"; done
head -c 6000000 /dev/urandom >"$T/tree/big"
seq 500000 >"$T/tree/numbers"
tar -C "$T/tree" -cf "$T/tree.tar" .
image "$T/layout:one" gzip:"$T/tree.tar" >/dev/null
start_registry plain
R=127.0.0.1:$port
asked() { grep -ac "GET /v2/$1/blobs/$layer" "$T/plain/log" || true; }
write() { # write NAME:TAG OPTION...
    to=$1
    shift
    expect 0 "$STAGEFS" commit -q --timestamp 1000 "$@" "oci:$T/layout:one" -t "docker://$R/$to"
}

for form in gzip zstd none; do
    # Whatever the number of threads, and whatever index the host has for the layer: one that a pass made has other points.
    export STAGEFS_CACHE_DIR="$T/first"
    write "v/$form:1" --index --compression $form --threads 1
    digest=$(cat "$T/stdout")
    grep -ao '"PUT /v2/[^ ]*' "$T/plain/log" | tail -n 1 | grep -q "manifests/1$" || fail "$form: the tag is not the last that is written"
    raw=$(skopeo inspect --raw --tls-verify=false "docker://$R/v/$form:1")
    layer=$(echo "$raw" | jq -r '.layers[0].digest')
    vouched=$(echo "$raw" | jq -r '.layers[0].annotations["dev.stagefs.index"]')
    export STAGEFS_CACHE_DIR="$T/second"
    expect 0 "$STAGEFS" index -q "docker://$R/v/$form:1" --index-trust none
    write "v/$form:2" --index --compression $form --threads 3
    [ "$(cat "$T/stdout")" = "$digest" ] || fail "$form: another manifest: $(cat "$T/stdout")"

    # It names what is beside the image.
    skopeo inspect --raw --tls-verify=false "docker://$R/v/$form:sha256-${digest#sha256:}" >"$T/list"
    artifact=$(jq -r '.manifests[0].digest' "$T/list")
    [ "$(jq '.manifests | length' "$T/list")" = 1 ] || fail "$form: $(cat "$T/list")"
    skopeo inspect --raw --tls-verify=false "docker://$R/v/$form@$artifact" >"$T/artifact"
    jq -e --arg s "$digest" --arg h "$vouched" --arg l "$layer" '.subject.digest == $s and .layers[0].digest == $h and
        .layers[0].annotations["dev.stagefs.layer.digest"] == $l' "$T/artifact" >/dev/null || fail "$form: $(cat "$T/artifact")"
    skopeo copy -q --src-tls-verify=false "docker://$R/v/$form:1" "oci:$T/back-$form:x" || fail "skopeo cannot read it"

    # Nothing of the layer is read for names and attributes; and then all is right.
    export STAGEFS_CACHE_DIR="$T/empty-$form"
    before=$(asked "v/$form")
    "$STAGEFS" mount --index-trust manifest "docker://$R/v/$form:1" "$T/mnt"
    stat "$T/mnt/dir/f3" >/dev/null
    [ "$(asked "v/$form")" = "$before" ] || fail "$form: the layer was read for a stat"
    diff -r "$T/tree" "$T/mnt" || fail "$form: other bytes"
    "$STAGEFS" umount "$T/mnt"
done

# With a base: its layers, too. This host has the index that commit made of the base, another one that of a pass.
mkdir "$T/more"
seq 1000 >"$T/more/file"
tar -C "$T/more" -cf "$T/more.tar" .
image "$T/layout:more" gzip:"$T/more.tar" >/dev/null
build() {
    expect 0 "$STAGEFS" commit -q --timestamp 1000 --index --base "docker://$R/v/gzip:1" --from "oci:$T/layout:more" --copy /file -t "docker://$R/v/built:$1"
}
STAGEFS_CACHE_DIR="$T/first" build 1
digest=$(cat "$T/stdout")
STAGEFS_CACHE_DIR="$T/fresh" build 2
[ "$(cat "$T/stdout")" = "$digest" ] || fail "another manifest with another host's index of the base"
export STAGEFS_CACHE_DIR="$T/empty-built"
layers=$(skopeo inspect --raw --tls-verify=false "docker://$R/v/built:1" | jq -r '.layers[].digest')
before=$(for layer in $layers; do asked v/built; done)
"$STAGEFS" mount --index-trust manifest "docker://$R/v/built:1" "$T/mnt"
stat "$T/mnt/dir/f3" "$T/mnt/file" >/dev/null
[ "$(for layer in $layers; do asked v/built; done)" = "$before" ] || fail "a layer was read for a stat"
cmp "$T/mnt/file" "$T/more/file" && cmp "$T/mnt/big" "$T/tree/big" || fail "other bytes"
"$STAGEFS" umount "$T/mnt"

# An index that the manifest does not name does not count.
export STAGEFS_CACHE_DIR="$T/first"
write "v/other:1" --compression none
layer=$(skopeo inspect --raw --tls-verify=false "docker://$R/v/other:1" | jq -r '.layers[0].digest')
expect 0 "$STAGEFS" index -q --push "docker://$R/v/other:1"
export STAGEFS_CACHE_DIR="$T/empty-other"
before=$(asked v/other)
expect 0 "$STAGEFS" ls --index-trust manifest "docker://$R/v/other:1" /
[ "$(asked v/other)" -gt "$before" ] || fail "an index counts that the manifest does not name"

# Layers that bring a table of contents need none, and a warning says so.
export STAGEFS_CACHE_DIR="$T/first"
expect 0 "$STAGEFS" commit --index --compression zstd:chunked "oci:$T/layout:one" -t "docker://$R/v/toc:1"
grep -q "it brings a table of contents" "$T/stderr" || fail "nothing is said: $(cat "$T/stderr")"

# Elsewhere there is no place for it, and a dry run makes none.
expect 2 "$STAGEFS" commit --index "oci:$T/layout:one" -t "oci:$T/out:x"
says "only a registry"
expect 2 "$STAGEFS" commit --index --dry-run "oci:$T/layout:one" -t "docker://$R/v/dry:1"
says "exclude each other"
