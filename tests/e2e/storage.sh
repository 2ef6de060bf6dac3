#!/bin/sh
# Images in stores of podman (containers-storage:), of its drivers overlay and vfs, against the layout that they came from
# and against what podman itself mounts; commits and pushes of them; locks; another user's store.
. "$(dirname "$0")/lib.sh"
need_root
need podman skopeo python3 jq tar umoci
. "$HERE/registry_lib.sh"
export HOME="$T/home" TMPDIR="$T" SOURCE_DATE_EPOCH=1700000000
unset CONTAINERS_STORAGE_CONF STORAGE_DRIVER STORAGE_OPTS XDG_CONFIG_HOME XDG_DATA_HOME
mkdir -p "$HOME" "$T/a/usr/lib" "$T/a/etc" "$T/a/opt/old" "$T/b/opt/old" "$T/b/etc"

# --- two layers: links, devices, attributes, holes, a name that is not UTF-8; removed names
cd "$T"
head -c 700000 /dev/urandom >a/usr/lib/big
ln -s usr/lib a/lib
echo secret >a/etc/p
chown 5:6 a/etc/p
chmod 4640 a/etc/p
ln a/etc/p a/etc/hard
mkfifo a/etc/fifo
: >a/etc/empty
echo gone >a/opt/old/gone
echo x >"a/etc/$(printf 'n\377\376')"
truncate -s 3000000 a/sparse
python3 -c 'import os; os.setxattr("a/usr/lib/big", "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))'
touch b/opt/old/.wh..wh..opq b/etc/.wh.hard
echo new >b/opt/old/new
echo P >b/etc/p
tar --xattrs --xattrs-include='security.*' --format=pax --sort=name -C a -cf a.tar .
tar --sort=name -C b -cf b.tar .
image "$T/layout:x" gzip:a.tar gzip:b.tar >/dev/null
layout() { STAGEFS_CACHE_DIR=$T/cache-of-layout "$STAGEFS" "$@"; } # else the layers are indexed already
layout ls -lR "oci:$T/layout:x" >names
layout du "oci:$T/layout:x" >sizes
layout commit -q --base "oci:$T/layout:x" --from "oci:$T/layout:x" --copy /usr/lib:/opt/lib -t "oci:$T/wanted:x" >/dev/null

# Directories that podman made have its time; and an overlay's have one link.
hidden() { list --no-dir-mtime --no-dir-links "$1" | sed '1d'; }
mkdir mnt
done_with=
for driver in overlay vfs; do
    store="[$driver@$T/$driver/graph+$T/r]"
    ref=containers-storage:${store}example.com/some/name:1
    podman() { command podman --root "$T/$driver/graph" --runroot "$T/r" --storage-driver "$driver" "$@"; }
    skopeo copy -q "oci:$T/layout:x" "$ref" >log 2>&1 || {
        echo "left out: $driver: $(tail -1 log)"
        continue
    }
    done_with="$done_with $driver"
    rm -rf "$STAGEFS_CACHE_DIR"

    # --- the same names, sizes and digests
    expect 0 "$STAGEFS" ls -lR "$ref"
    same "ls, $driver" names stdout
    expect 0 "$STAGEFS" du "$ref"
    same "du, $driver" sizes stdout
    expect 0 "$STAGEFS" verify "$ref"
    [ "$(grep -c ' ok$' stdout)" = 5 ] || fail "$driver: verify does not see all: $(cat stdout)"
    expect 0 "$STAGEFS" diff "oci:$T/layout:x" "$ref"
    grep -q '^0 added, 0 removed, 0 changed' stdout || fail "$driver: they differ: $(cat stdout)"
    id=$(podman image inspect --format '{{.Id}}' example.com/some/name:1)
    expect 0 "$STAGEFS" stat "containers-storage:[$T/$driver/graph]@$id" /etc/p
    expect 1 "$STAGEFS" ls "containers-storage:[$T/$driver/graph]none"
    says "there are: example.com/some/name:1"

    # --- the mount is what podman mounts
    if [ -c /dev/fuse ]; then
        "$STAGEFS" mount --dev --suid "$ref" mnt
        hidden mnt >got
        "$STAGEFS" umount mnt
        hidden "$(podman image mount example.com/some/name:1)" >want
        podman image umount example.com/some/name:1 >/dev/null
        same "podman's mount, $driver" want got
    fi

    # --- commits: with the base's layers as tars; what is selected is the same
    expect 0 "$STAGEFS" commit -q --base "$ref" --from "$ref" --copy /usr/lib:/opt/lib -t "oci:$T/$driver.out:x"
    skopeo inspect --config "oci:$T/$driver.out:x" | jq -c .rootfs >got
    skopeo inspect --config "oci:$T/wanted:x" | jq -c .rootfs >want
    same "diff_ids of the commit, $driver" want got
    expect 0 "$STAGEFS" verify "oci:$T/$driver.out:x"

    # --- what was changed in the store is not shown
    # (vfs has a copy for each layer)
    for file in $(find "$driver/graph" -path '*usr/lib/big'); do
        printf 'changed' | dd of="$file" bs=1 seek=350000 conv=notrunc 2>/dev/null
    done
    expect 1 "$STAGEFS" cat "$ref" usr/lib/big
    says "layer 0"
    rm -rf "$STAGEFS_CACHE_DIR"
    expect 3 "$STAGEFS" ls "$ref"
    says "layer 0"
    for file in $(find "$driver/graph" -path '*usr/lib/big'); do cp a/usr/lib/big "$file"; done
    expect 0 "$STAGEFS" cat "$ref" usr/lib/big
    cmp -s stdout a/usr/lib/big || fail "$driver: other bytes"
done
[ -n "$done_with" ] || skip "podman's stores cannot be filled here"
driver=${done_with##* }
ref=containers-storage:[$T/$driver/graph]example.com/some/name:1

# --- what was built there is pushed with its own manifest; what was pulled, with layers that are compressed anew
if command -v docker-registry >/dev/null; then
    start_registry plain
    R=127.0.0.1:$port
    expect 0 "$STAGEFS" push "$ref" "docker://$R/pulled:x"
    skopeo inspect --tls-verify=false --config "docker://$R/pulled:x" | jq -c .rootfs >got
    skopeo inspect --config "oci:$T/layout:x" | jq -c .rootfs >want
    same "the pushed image" want got
    image "$T/layout:plain" tar:a.tar tar:b.tar >/dev/null
    skopeo copy -q --preserve-digests "oci:$T/layout:plain" "containers-storage:[$driver@$T/$driver/graph+$T/r]example.com/plain:1"
    expect 0 "$STAGEFS" push "containers-storage:[$T/$driver/graph]example.com/plain:1" "docker://$R/plain:x"
    [ "$(cat stdout)" = "$(skopeo inspect --format '{{.Digest}}' "oci:$T/layout:plain")" ] || fail "pushed under another digest"
    expect 0 "$STAGEFS" verify "docker://$R/plain:x"
fi

# --- storage.conf, and a store that is only read
printf '[storage]\ndriver = "%s"\ngraphroot = "%s/empty"\n[storage.options]\nadditionalimagestores = ["%s/%s/graph"]\n' \
    "$driver" "$T" "$T" "$driver" >storage.conf
mkdir -p "empty/$driver-images" "empty/$driver-layers"
expect 0 env CONTAINERS_STORAGE_CONF="$T/storage.conf" "$STAGEFS" ls -lR containers-storage:example.com/some/name:1
same "by storage.conf" names stdout
[ -z "$(find empty -type f)" ] || fail "something was written to the store: $(find empty -type f)"

# --- a layer of which the store has the files alone
if [ "${done_with#* overlay}" != "$done_with" ]; then
    cp -a overlay/graph bare
    rm bare/overlay-layers/*.tar-split.gz
    expect 0 "$STAGEFS" ls -R "containers-storage:[$T/bare]example.com/some/name:1"
    layout ls -R "oci:$T/layout:x" >want
    same "files alone" want stdout
    expect 1 "$STAGEFS" verify "containers-storage:[$T/bare]example.com/some/name:1"
    says "no digest to compare"
    expect 1 "$STAGEFS" commit -q --base "containers-storage:[$T/bare]example.com/some/name:1" --from "oci:$T/layout:x" --copy /etc -t "oci:$T/none:x"
    says "--squash"
    expect 1 "$STAGEFS" push "containers-storage:[$T/bare]example.com/some/name:1" "docker://127.0.0.1:1/x"
    says "kept as files alone"
fi

# --- without root: what may not be read is told, and how
if command -v setpriv >/dev/null; then
    find "$driver" -type d -exec chmod a+rx {} +
    chmod -R a+r "$driver/graph"
    chmod 0600 "$(find "$driver/graph" -path '*etc/p' | head -1)"
    mkdir -m 0777 cache-of-user
    expect 1 env STAGEFS_CACHE_DIR="$T/cache-of-user/c" TMPDIR=/tmp setpriv --reuid=65534 --regid=65534 --clear-groups "$STAGEFS" ls "$ref"
    says "podman unshare"
fi
