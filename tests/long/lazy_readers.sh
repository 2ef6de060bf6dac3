#!/bin/sh
# What lazy readers make of eStargz and zstd:chunked as commit writes and copies them: the file system of
# stargz-snapshotter, and podman 5, which fetches only files that it lacks. Some minutes.
#
#   tests/long/lazy_readers.sh STAGEFS IMAGE     IMAGE: oci:DIR:TAG of some MB to GB, such as bench/make-stage makes
#
# Installs docker-registry, skopeo, jq, golang-go and the snapshotter's sources from Debian's packages. Podman 5 is in
# Debian 13: TRIXIE=DIR names a chroot of it that is kept (but for its storage.conf), else one is made for this run.
STAGEFS=${1:?the stagefs program} image=${2:?an image}
. "$(dirname "$0")/../e2e/lib.sh"
need_root
apt-get install -y -q --no-install-recommends docker-registry skopeo jq curl golang-go debootstrap \
    golang-github-containerd-stargz-snapshotter-dev >"$T/apt" 2>&1 || fail "apt-get: $(tail -1 "$T/apt")"
export SOURCE_DATE_EPOCH=1700000000
names() { python3 "$HERE/../e2e/list.py" --no-dir-links "$1" | sort; }

for format in estargz zstd:chunked; do
    tag=${format#zstd:}
    "$STAGEFS" commit -q --squash "$image" --compression $format -t "oci:$T/out:$tag" >/dev/null
    "$STAGEFS" commit -q --squash "oci:$T/out:$tag" --compression $format --json -t "oci:$T/out:$tag-copied" >"$T/copied"
    [ "$(jq .copied_bytes "$T/copied")" -gt 0 ] || fail "$format: nothing was copied"
done
# The same without one directory: most files are in a store that has the other.
"$STAGEFS" commit -q --from "oci:$T/out:chunked" --copy /:/ --exclude usr/share --compression zstd:chunked \
    -t "oci:$T/out:chunked-less" >/dev/null

port=5055
printf 'version: 0.1\nstorage: {filesystem: {rootdirectory: %s/registry}}\nhttp: {addr: "127.0.0.1:%s"}\n' "$T" $port >"$T/registry.yml"
docker-registry serve "$T/registry.yml" >"$T/registry.log" 2>&1 &
registry=$! stargz='' root=''
stop() {
    status=$?
    set +e
    kill $registry $stargz 2>/dev/null
    [ -z "$root" ] || for dir in proc sys dev; do umount -R -l "$root/$dir" 2>/dev/null; done
    (exit $status)
    cleanup
}
trap stop EXIT INT TERM
until curl -s "http://127.0.0.1:$port/v2/" >/dev/null; do
    kill -0 $registry 2>/dev/null || fail "the registry: $(tail -1 "$T/registry.log")"
    sleep 0.1
done
for tag in estargz estargz-copied chunked chunked-copied chunked-less; do
    skopeo --insecure-policy copy -q --dest-tls-verify=false --preserve-digests "oci:$T/out:$tag" \
        "docker://127.0.0.1:$port/image:$tag" || fail "skopeo does not push $tag"
done
mkdir "$T/mnt" "$T/lazy"
mounted_list() { # TAG: as stagefs shows it
    "$STAGEFS" mount --dev --suid "oci:$T/out:$1" "$T/mnt"
    names "$T/mnt"
    "$STAGEFS" umount "$T/mnt"
}

# ---- stargz-snapshotter
mkdir -p "$T/go/src/stargz_mount"
cp "$HERE/stargz_mount.go" "$T/go/src/stargz_mount/main.go"
GO111MODULE=off GOCACHE="$T/gocache" GOPATH="$T/go:/usr/share/gocode" go build -o "$T/stargz_mount" stargz_mount ||
    fail "stargz_mount does not build"
for tag in estargz estargz-copied; do
    skopeo inspect --raw --tls-verify=false "docker://127.0.0.1:$port/image:$tag" >"$T/manifest"
    mkdir "$T/work-$tag"
    : >"$T/stargz.log"
    "$T/stargz_mount" "127.0.0.1:$port/image:$tag" "$(jq -r '.layers[-1].digest' "$T/manifest")" \
        "$(jq -r '.layers[-1].annotations["containerd.io/snapshot/stargz/toc.digest"]' "$T/manifest")" \
        "$T/lazy" "$T/work-$tag" >"$T/stargz.log" 2>&1 &
    stargz=$!
    until grep -q '^mounted' "$T/stargz.log"; do
        kill -0 $stargz 2>/dev/null || fail "stargz-snapshotter does not take $tag: $(grep -m1 failed "$T/stargz.log")"
        sleep 0.1
    done
    # The root is no entry of the table: its reader gives it another time.
    names "$T/lazy" | grep -v '^\. ' >"$T/theirs"
    kill -INT $stargz
    wait $stargz || true
    stargz=''
    mounted_list $tag | grep -v '^\. ' >"$T/ours"
    same "stargz-snapshotter, $tag" "$T/ours" "$T/theirs"
    echo "stargz-snapshotter, $tag: $(wc -l <"$T/ours") names equal, with the digests of all files"
done

# ---- podman 5
root=${TRIXIE:-$T/trixie}
[ -d "$root/usr" ] || debootstrap --variant=minbase trixie "$root" >"$T/debootstrap" 2>&1 || fail "debootstrap trixie: $(tail -1 "$T/debootstrap")"
for dir in proc sys dev; do mountpoint -q "$root/$dir" || { mount --rbind "/$dir" "$root/$dir" && mount --make-rslave "$root/$dir"; }; done
chroot "$root" sh -c 'command -v podman >/dev/null || { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q \
    --no-install-recommends podman ca-certificates uidmap; }' >"$T/apt" 2>&1 || fail "apt-get in the chroot: $(tail -1 "$T/apt")"
printf '[storage]\ndriver = "overlay"\ngraphroot = "/stagefs-graph"\nrunroot = "/stagefs-run"\n[storage.options]\npull_options = {enable_partial_images = "true"}\n' \
    >"$root/etc/containers/storage.conf"
rm -rf "$root/stagefs-graph" "$root/stagefs-run"
podman5() { chroot "$root" podman --events-backend=file --cgroup-manager=cgroupfs "$@" 2>&1; }
pull() { # TAG: what it says that it lacked
    podman5 --log-level debug pull --tls-verify=false "127.0.0.1:$port/image:$1" >"$T/pull"
    grep -q 'Retrieved partial blob' "$T/pull" || fail "podman does not take $1 by its table: $(tail -3 "$T/pull")"
    grep -o 'Missing [0-9]* bytes out of [0-9]*' "$T/pull" | tail -1
}
podman5 --version
pull chunked-copied
store=$(podman5 image mount "127.0.0.1:$port/image:chunked-copied" | tail -1)
# It gives directories and symlinks the time of pulling (also of its own images), and leaves out device nodes.
names "$root$store" | grep ' - ' >"$T/theirs"
podman5 image unmount -a >/dev/null
mounted_list chunked-copied | grep ' - ' >"$T/ours"
same "podman 5" "$T/ours" "$T/theirs"
echo "podman 5, chunked-copied: $(wc -l <"$T/ours") files equal, with their digests"
lacked=$(pull chunked-less)
echo "podman 5, chunked-less, after it: $lacked"
[ "${lacked#Missing 0 bytes}" != "$lacked" ] || fail "podman fetches files that it has: $lacked"
podman5 rmi -a -f >/dev/null
rm -rf "$root/stagefs-graph" "$root/stagefs-run"
