#!/bin/sh
# The client of registries, against Debian's docker-registry: manifests, tags, blobs by range, and what it says when
# something is not there.
. "$(dirname "$0")/lib.sh"
need docker-registry skopeo umoci jq python3 sha256sum
. "$HERE/registry_lib.sh"
probe() { "$REGISTRY_PROBE" "$@"; }
export HOME="$T/home"
mkdir -p "$HOME"

make_layout "$T/layout"
start_registry plain
R=127.0.0.1:$port
push "$T/layout:one" "$R/some/name:one"
manifest=$(jq -r '.manifests[0].digest' "$T/layout/index.json")
blobs=$T/layout/blobs/sha256
layer=$(jq -r '.layers[0].digest' "$blobs/${manifest#sha256:}")
size=$(jq -r '.layers[0].size' "$blobs/${manifest#sha256:}")

# --- manifests
expect 0 probe manifest "$R/some/name:one"
head -n 1 "$T/stdout" | grep -qx "application/vnd.oci.image.manifest.v1+json $manifest" || fail "$(head -n 1 "$T/stdout")"
tail -n +2 "$T/stdout" | cmp - "$blobs/${manifest#sha256:}" || fail "other bytes than were pushed"
expect 0 probe manifest "$R/some/name@$manifest"
expect 0 probe tag "$R/some/name:one"
grep -qx "$manifest" "$T/stdout" || fail "the tag has another digest"

# --- blobs
whole() { tail -c +$(($2 + 1)) "$blobs/${1#sha256:}" | head -c "$3"; }
for range in "0 $size" "0 1" "1000 5000" "$((size - 1)) 1" "0 0"; do
    # shellcheck disable=SC2086
    set -- $range
    expect 0 probe blob "$R/some/name" "$layer" "$size" "$1" "$2"
    whole "$layer" "$1" "$2" | cmp - "$T/stdout" || fail "bytes $1 and $2 behind are others"
done
expect 0 probe blob "$R/some/name" "$layer" "$size" 5 100000 20 16 # by 16 threads

# --- what is not there (2 ENOENT, 11 EAGAIN, 22 EINVAL, 74 EBADMSG)
expect 2 probe manifest "$R/some/name:none"
says "$R has no tag 'none' in 'some/name' (there are one)"
expect 2 probe manifest "$R/some/name:onne"
says "did you mean 'one'?"
expect 2 probe manifest "$R/no/such:one"
says "has no repository 'no/such'"
expect 2 probe blob "$R/some/name" "sha256:$(printf '%064d' 0)" 10 0 10
says "has no blob sha256:000"
expect 74 probe blob "$R/some/name" "$layer" $((size + 1)) 0 10
says "bytes 0-9/$((size + 1))"
expect 74 probe blob "$R/some/name" "$layer" $((size * 10)) $((size * 5)) 10
says "in another size"
expect 22 probe manifest "$R/Some/name"
says "lower case"
expect 11 probe manifest "127.0.0.1:$(free_port)/some/name"
says "does not answer"
expect 11 probe manifest "nowhere.invalid/some/name"
says "no host of the name nowhere.invalid is known"
