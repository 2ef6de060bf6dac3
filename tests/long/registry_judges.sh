#!/bin/sh
# What `stagefs push` and `commit -t docker://` write, and what is put beside an image, read by other programs: skopeo, podman,
# crane and oras; at registries without the referrers API (docker-registry) and with it (registry_writes.py, and the one of
# go-containerregistry).
#
#   STAGEFS=build/tools/stagefs [ORAS=oras] [CRANE_SOURCE=DIR] tests/long/registry_judges.sh
#
# ORAS: of Debian 13 (1.2). CRANE_SOURCE: a checkout of go-containerregistry with its vendor folder that the Go here builds
# (v0.16 for Debian 12); Debian has no package of it. What is missing is left out, with a word. A minute.
STAGEFS=$(realpath "${STAGEFS:?the stagefs program}")
. "$(dirname "$0")/../e2e/lib.sh"
LONG=$HERE
HERE=$LONG/../e2e
need docker-registry skopeo podman umoci jq python3 tar
. "$HERE/registry_lib.sh"
ORAS=$(command -v "${ORAS:-oras}") || echo "left out: oras"
export HOME="$T/home" SOURCE_DATE_EPOCH=1700000000 TMPDIR="$T"
unset http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY all_proxy ALL_PROXY XDG_CONFIG_HOME
mkdir -p "$HOME" "$T/a/etc" "$T/b/opt"
crane=
if [ -n "${CRANE_SOURCE:-}" ]; then
    cp -a "$CRANE_SOURCE" "$T/gcr"
    mkdir "$T/gcr/cmd/referrers_registry"
    cp "$LONG/referrers_registry.go" "$T/gcr/cmd/referrers_registry/main.go"
    (cd "$T/gcr" && GOCACHE="${GOCACHE:-$T/gocache}" GOFLAGS=-mod=vendor go build -p 2 -o "$T/" ./cmd/crane ./cmd/referrers_registry)
    crane=$T/crane
else
    echo "left out: crane, and its registry (CRANE_SOURCE)"
fi
export GOCACHE="$T/gocache"

# --- an image of two layers, one with links and attributes
seq 50000 >"$T/a/etc/numbers"
ln "$T/a/etc/numbers" "$T/a/etc/hard"
ln -s numbers "$T/a/etc/soft"
head -c 6000000 /dev/urandom >"$T/b/opt/data"
tar -C "$T/a" -cf "$T/0.tar" .
tar -C "$T/b" -cf "$T/1.tar" .
image "$T/layout:x" gzip:"$T/0.tar" gzip:"$T/1.tar" >/dev/null
digest=$(skopeo inspect --format '{{.Digest}}' "oci:$T/layout:x")

# judged NAME DIGEST: each judge reads all of the image, and finds the same names and bytes.
judged() {
    [ "$(skopeo inspect --no-tags --tls-verify=false --format '{{.Digest}}' "docker://$1")" = "$2" ] || fail "skopeo: $1 has another digest"
    rm -rf "$T/copied"
    skopeo copy -q --src-tls-verify=false --preserve-digests "docker://$1" "oci:$T/copied:x" || fail "skopeo does not copy $1"
    "$STAGEFS" ls -lR "oci:$T/copied:x" >"$T/want"
    "$STAGEFS" ls -lR "docker://$1" >"$T/got"
    same "$1" "$T/want" "$T/got"
    podman --root "$T/p" --runroot "$T/r" --storage-driver vfs pull -q --tls-verify=false "$1" >/dev/null || fail "podman does not pull $1"
    "$STAGEFS" verify -q "containers-storage:[vfs@$T/p]$1" >/dev/null || fail "podman has something else of $1"
    # (Two files of eStargz's own are names like others where the layer is a plain tar, as they are to podman.)
    "$STAGEFS" ls -lR "containers-storage:[vfs@$T/p]$1" | grep -v -e ' \.no\.prefetch\.landmark$' -e ' stargz\.index\.json$' >"$T/got"
    same "podman's $1" "$T/want" "$T/got"
    podman --root "$T/p" --runroot "$T/r" --storage-driver vfs rmi -f "$1" >/dev/null
    if [ -n "$crane" ]; then
        [ "$("$crane" digest --insecure "$1")" = "$2" ] || fail "crane: $1 has another digest"
        # (Its validate takes all layers for gzip; pull compares the digests of all blobs, and looks into none.)
        case $1 in
        *:zstd*) ;;
        *) "$crane" validate --insecure --remote "$1" >"$T/log" 2>&1 || fail "crane: $(cat "$T/log")" ;;
        esac
        "$crane" pull --insecure --format oci "$1" "$T/by-crane" >"$T/log" 2>&1 || fail "crane does not pull $1: $(cat "$T/log")"
        rm -rf "$T/by-crane"
    fi
    if [ -n "$ORAS" ]; then
        [ "$("$ORAS" manifest fetch --plain-http --descriptor "$1" | jq -r .digest)" = "$2" ] || fail "oras: $1 has another digest"
        "$ORAS" copy --from-plain-http "$1" --to-oci-layout "$T/by-oras:x" >/dev/null || fail "oras does not copy $1"
        rm -rf "$T/by-oras"
    fi
}

# beside HOST: profiles and an index beside HOST/some/name:x, seen by oras, and oras' own artifact beside ours.
beside() {
    [ -n "$ORAS" ] || return 0
    printf 'read /etc/numbers 0+10\n' >"$T/first.profile"
    profile=$("$STAGEFS" profile push --workload first "$T/first.profile" "docker://$1/some/name:x")
    index=$("$STAGEFS" index -q --push "oci:$T/layout:x" "docker://$1/some/name:x" 2>/dev/null)
    echo something >"$T/something"
    (cd "$T" && "$ORAS" attach --plain-http --artifact-type application/x-other "$1/some/name:x" something >/dev/null)
    second=$("$STAGEFS" profile push --workload second "$T/first.profile" "docker://$1/some/name:x")
    "$ORAS" discover --plain-http --format json "$1/some/name:x" | jq -r '.manifests[] | .artifactType + " " + .digest' | sort >"$T/all"
    grep vnd.stagefs "$T/all" >"$T/got" || true
    printf 'application/vnd.stagefs.%s\n' "profile.v1 $profile" "profile.v1 $second" "index.v1 $index" | sort >"$T/want"
    same "oras discover at $1" "$T/want" "$T/got"
    # (Under which type is the registry's to say: that of go-containerregistry 0.16 takes the config's.)
    [ "$(grep -vc vnd.stagefs "$T/all")" = 1 ] || fail "what oras put there is gone: $(cat "$T/all")"
    [ "$("$STAGEFS" profile ls "docker://$1/some/name:x" | wc -l)" = 2 ] || fail "profile ls: not two"
    rm -rf "$T/pulled"
    "$ORAS" pull --plain-http -o "$T/pulled" "$1/some/name@$profile" >/dev/null
    cmp "$T/pulled/start.profile" "$T/first.profile" || fail "oras pull: another profile"
    "$ORAS" pull --plain-http -o "$T/pulled" "$1/some/name@$index" >/dev/null
    for file in "$T"/pulled/*.index.zst; do zstd -q -t "$file" || fail "oras pull: $file"; done
    # oras takes image and artifacts to another place; there they are found again
    "$ORAS" copy -r --from-plain-http --to-plain-http "$1/some/name:x" "$1/other/name:x" >/dev/null
    [ "$("$STAGEFS" profile ls "docker://$1/other/name:x" | wc -l)" = 2 ] || fail "oras cp -r: profiles are not found"
    # twenty writers at once, each as on a machine of its own
    pids=
    for i in $(seq 20); do
        printf 'read /%s\n' "$i" >"$T/$i.profile"
        STAGEFS_CACHE_DIR=$T/cache-$i "$STAGEFS" profile push --workload "$i" "$T/$i.profile" "docker://$1/some/name:x" >/dev/null 2>"$T/err-$i" &
        pids="$pids $!"
    done
    for pid in $pids; do wait "$pid" || fail "a writer failed: $(cat "$T"/err-*)"; done
    count=$("$ORAS" discover --plain-http --format json "$1/some/name:x" | jq '.manifests | length')
    [ "$count" = 24 ] || fail "after 20 writers at $1, oras sees $count entries, not 24"
    echo "$1: oras sees all 24 entries"
}

# all HOST: what is pushed and committed there.
all() {
    expect 0 "$STAGEFS" push -q "oci:$T/layout:x" "docker://$1/some/name:x"
    judged "$1/some/name:x" "$digest"
    for compression in gzip zstd zstd:chunked estargz; do
        tag=$(echo $compression | tr : -)
        expect 0 "$STAGEFS" commit -q --base "docker://$1/some/name:x" --from "oci:$T/layout:x" --copy /opt/data:/srv/data --compression $compression -t "docker://$1/other/of:$tag"
        judged "$1/other/of:$tag" "$(cat "$T/stdout")"
    done
    beside "$1"
    echo "$1: done"
}

start_registry plain
all "127.0.0.1:$port"
# (It ends connections that begin with TLS, which crane tries first, and again for ten seconds each time.)
kept=$crane crane=
start_writes
all "127.0.0.1:$port"
crane=$kept
if [ -n "$crane" ]; then
    port=$(free_port)
    "$T/referrers_registry" "$port" >"$T/log.referrers" 2>&1 &
    registry_pids="$registry_pids $!"
    wait_for_port "$port"
    all "127.0.0.1:$port"
fi
