#!/bin/sh
# What is put beside an image at its registry: start profiles, and the indexes of its layers. At docker-registry, which has no
# API for that, under the fallback tag, where 20 writers at once lose no entry; and at a registry with the API
# (registry_writes.py).
. "$(dirname "$0")/lib.sh"
need docker-registry skopeo umoci jq python3 zstd
. "$HERE/registry_lib.sh"
export HOME="$T/home"
mkdir -p "$HOME/.config/containers"

make_layout "$T/layout"
manifest=$(jq -r '.manifests[0].digest' "$T/layout/index.json")
fallback=$(echo "$manifest" | tr : -)
start_registry plain
R=127.0.0.1:$port
expect 0 "$STAGEFS" push "oci:$T/layout:one" "docker://$R/some/name:one"
raw() { skopeo inspect --raw --tls-verify=false "docker://$1"; }

# --- profiles
printf 'read /a 0+10\nopen /b\nread /c 0+5\n' >"$T/a.profile"
printf 'read /c 5+5\nread /a 20+10\nstat /b\nread /d\n' >"$T/b.profile"
expect 0 "$STAGEFS" profile merge "$T/a.profile" "$T/b.profile"
printf 'read /a 0+10 20+10\nread /c 0+10\nopen /b\nread /d\n' >"$T/wanted"
grep -v '^#' "$T/stdout" | diff - "$T/wanted" || fail "merged to something else"
expect 0 "$STAGEFS" profile merge -o "$T/a.profile" "$T/a.profile" "$T/b.profile"
grep -v '^#' "$T/a.profile" | cmp - "$T/wanted" || fail "a profile cannot be merged into itself"
expect 1 "$STAGEFS" profile merge "$T/layout/index.json"
says "index.json:1:"
expect 2 "$STAGEFS" profile merge
expect 2 "$STAGEFS" profile ls "oci:$T/layout:one"
says "is not at a registry"
expect 0 "$STAGEFS" profile ls "docker://$R/some/name:one"
[ ! -s "$T/stdout" ] || fail "there is a profile already"
expect 1 "$STAGEFS" profile merge "docker://$R/some/name:one"
says "there is no profile beside"
expect 0 "$STAGEFS" profile push --workload train "$T/a.profile" "docker://$R/some/name:one"
first=$(cat "$T/stdout")
expect 0 "$STAGEFS" profile push --workload train "$T/a.profile" "docker://$R/some/name:one"
[ "$first" = "$(cat "$T/stdout")" ] || fail "the same profile became another artifact"
expect 0 "$STAGEFS" profile push --workload serve "$T/b.profile" "docker://$R/some/name@$manifest"
expect 0 "$STAGEFS" profile ls --json "docker://$R/some/name:one"
[ "$(jq -c '[.profiles[].workload]' "$T/stdout")" = '["train","serve"]' ] || fail "$(cat "$T/stdout")"
raw "$R/some/name@$first" >"$T/artifact"
jq -e --arg s "$manifest" '.subject.digest == $s and .artifactType == "application/vnd.stagefs.profile.v1" and
    .config.mediaType == .artifactType and .config.size == 2 and
    .layers[0].annotations["org.opencontainers.image.title"] == "start.profile"' "$T/artifact" >/dev/null || fail "$(cat "$T/artifact")"
raw "$R/some/name:$fallback" >"$T/list"
jq -e --arg d "$first" '(.manifests | length) == 2 and .manifests[0].digest == $d and .subject == null and
    .manifests[0].annotations["dev.stagefs.profile.workload"] == "train" and .manifests[0].artifactType != null' "$T/list" >/dev/null || fail "$(cat "$T/list")"
expect 0 "$STAGEFS" profile merge -o "$T/all.profile" "docker://$R/some/name:one" "$T/b.profile"
grep -q '^# 3 profiles$' "$T/all.profile" || fail "not three profiles: $(cat "$T/all.profile")"
grep -q '^read /a 0+10 20+10$' "$T/all.profile" || fail "$(cat "$T/all.profile")"

# --- 20 writers at once, each as on a machine of its own; then, as on one, by turns
writers() { # NAME: prints how many entries there are in the end
    count=$(raw "$R/some/name:$fallback" | jq '.manifests | length')
    pids=
    for i in $(seq 20); do
        cache=$T/cache
        [ "$1" = apart ] && cache=$T/cache-$i
        printf 'read /%s/%s\n' "$1" "$i" >"$T/$1-$i.profile"
        STAGEFS_CACHE_DIR=$cache "$STAGEFS" profile push --workload "$1-$i" "$T/$1-$i.profile" "docker://$R/some/name:one" >/dev/null 2>"$T/err-$i" &
        pids="$pids $!"
    done
    for pid in $pids; do wait "$pid" || fail "a writer failed: $(cat "$T"/err-*)"; done
    raw "$R/some/name:$fallback" >"$T/list"
    jq -e --argjson n $((count + 20)) '(.manifests | length) == $n and ([.manifests[].digest] | unique | length) == $n' "$T/list" >/dev/null ||
        fail "$1: $(jq '.manifests | length' "$T/list") entries in place of $((count + 20))"
}
writers apart
writers together

# --- indexes: of a layout, and of an image that is read at the registry; judged by a reader of their own
layer=$(jq -r '.layers[0].digest' "$T/layout/blobs/sha256/${manifest#sha256:}")
blob() { python3 -c 'import sys, urllib.request; sys.stdout.buffer.write(urllib.request.urlopen(sys.argv[1]).read())' "http://$R/v2/some/name/blobs/$1"; }
expect 2 "$STAGEFS" index --push "oci:$T/layout:one"
says "is not at a registry"
expect 0 "$STAGEFS" index --push "oci:$T/layout:one" "docker://$R/some/name:one"
index=$(cat "$T/stdout")
raw "$R/some/name@$index" >"$T/artifact"
jq -e --arg l "$layer" '.artifactType == "application/vnd.stagefs.index.v1" and .annotations["dev.stagefs.index.format"] == "5" and
    .layers[0].annotations["dev.stagefs.layer.digest"] == $l and .layers[0].annotations["dev.stagefs.layer.windows"] == .layers[1].digest' \
    "$T/artifact" >/dev/null || fail "$(cat "$T/artifact")"
blob "$(jq -r '.layers[0].digest' "$T/artifact")" | zstd -dq >"$T/head"
blob "$(jq -r '.layers[1].digest' "$T/artifact")" >"$T/windows"
spans=$(python3 "$HERE/pushed_index.py" "$T/head" "$T/windows" "$T/layout/blobs/sha256/${layer#sha256:}") || fail "not the index of the layer"
[ "$spans" -gt 1 ] || fail "only $spans span"
STAGEFS_CACHE_DIR=$T/cache-far expect 0 "$STAGEFS" index --json --push "docker://$R/some/name:one"
[ "$(jq .artifact_layers "$T/stdout")" = 1 ] || fail "$(cat "$T/stdout")"
expect 1 "$STAGEFS" index --push "oci:$T/layout:one" "docker://$R/some/name:$fallback"
says "is an artifact"
umoci new --image "$T/layout:two" >/dev/null 2>&1
umoci insert --image "$T/layout:two" "$T/a.profile" /a >/dev/null 2>&1
expect 2 "$STAGEFS" index --push "oci:$T/layout:two" "docker://$R/some/name:one"
says "is another image"
# A damaged layer gets no index that others would take for right.
cp -r "$T/layout" "$T/damaged"
printf damaged | dd of="$T/damaged/blobs/sha256/${layer#sha256:}" bs=1 seek=5000 conv=notrunc status=none
expect 3 "$STAGEFS" index --push "oci:$T/damaged:one" "docker://$R/some/name:one"

# --- at a registry with the API, and at those that say so, or keep writers apart
start_writes
W=127.0.0.1:$port
for name in fine headeronly page paged etag; do
    expect 0 "$STAGEFS" push "oci:$T/layout:one" "docker://$W/$name/x:one"
    expect 0 "$STAGEFS" profile push --workload a "$T/a.profile" "docker://$W/$name/x:one"
    expect 0 "$STAGEFS" index --push "oci:$T/layout:one" "docker://$W/$name/x:one"
    expect 0 "$STAGEFS" profile push --workload b "$T/b.profile" "docker://$W/$name/x:one"
    expect 0 "$STAGEFS" profile ls --json "docker://$W/$name/x:one"
    [ "$(jq -c '[.profiles[].workload]' "$T/stdout")" = '["a","b"]' ] || fail "$name: $(cat "$T/stdout")"
    tagged=$(grep -c " 201 PUT /v2/$name/x/manifests/$fallback " "$writes_log" || true)
    case $name in
    fine | paged) [ "$tagged" = 0 ] || fail "$name: the fallback tag was written beside the API" ;;
    *) [ "$tagged" = 3 ] || fail "$name: the fallback tag was written $tagged times" ;;
    esac
done
pids=
for i in $(seq 10); do
    STAGEFS_CACHE_DIR=$T/cache-$i "$STAGEFS" profile push "$T/apart-$i.profile" "docker://$W/etag/x:one" >/dev/null 2>"$T/err-$i" &
    pids="$pids $!"
done
for pid in $pids; do wait "$pid" || fail "a writer failed: $(cat "$T"/err-*)"; done
expect 0 "$STAGEFS" profile ls --json "docker://$W/etag/x:one"
[ "$(jq '.profiles | length' "$T/stdout")" = 12 ] || fail "$(jq '.profiles | length' "$T/stdout") profiles in place of 12"
