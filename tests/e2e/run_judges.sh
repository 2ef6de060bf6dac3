#!/bin/sh
# A committed image runs: in runc with the mount as its root, in podman, in buildah.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/rootfs.sh"
need_root
need_fuse
need python3 skopeo umoci
make_rootfs "$T/root"
tar --numeric-owner --owner=0 --group=0 -C "$T/root" -cf "$T/base.tar" .
mkdir -p "$T/b/opt/app"
echo 'hello from the stage' >"$T/b/opt/app/message"
tar --numeric-owner --owner=0 --group=0 -C "$T/b" -cf "$T/builder.tar" opt
image "$T/stage:base" gzip:"$T/base.tar" >/dev/null
image "$T/stage:builder" gzip:"$T/base.tar" zstd:"$T/builder.tar" >/dev/null
"$STAGEFS" commit -q --base "oci:$T/stage:base" --from "oci:$T/stage:builder" --copy /opt/app --chown app -t "oci:$T/out:x" >/dev/null
ran=""

mkdir "$T/mnt"
"$STAGEFS" mount --dev "oci:$T/out:x" "$T/mnt"
got=$(chroot "$T/mnt" /bin/sh -c 'cat /opt/app/message; stat -c %U /opt/app/message')
[ "$got" = "hello from the stage
app" ] || fail "chroot into the mount: $got"
if command -v runc >/dev/null && command -v jq >/dev/null; then
    mkdir "$T/runc"
    (cd "$T/runc" && runc spec)
    jq --arg root "$T/mnt" '.root.path = $root | .root.readonly = true | .process.terminal = false | .process.args = ["/bin/cat", "/opt/app/message"]
        | .linux.namespaces |= map(select(.type != "cgroup"))' "$T/runc/config.json" >"$T/runc/c" && mv "$T/runc/c" "$T/runc/config.json"
    if runc --root "$T/runc-state" run -b "$T/runc" stagefs-e2e-$$ >"$T/stdout" 2>"$T/stderr"; then
        [ "$(cat "$T/stdout")" = "hello from the stage" ] || fail "runc: $(cat "$T/stdout")"
        ran="$ran runc"
    else
        echo "runc does not run here: $(tail -1 "$T/stderr")"
    fi
fi
"$STAGEFS" umount "$T/mnt"

skopeo --insecure-policy copy -q "oci:$T/out:x" "docker-archive:$T/out.tar:example.com/x:1"
if command -v podman >/dev/null; then
    podman_here() { podman --root "$T/p" --runroot "$T/pr" --storage-driver vfs --runtime runc --cgroup-manager=cgroupfs --events-backend=file "$@"; }
    podman_here load -q -i "$T/out.tar" >/dev/null 2>"$T/stderr" || fail "podman load: $(cat "$T/stderr")"
    if podman_here run --rm --ulimit nofile=1024:1024 --ulimit nproc=1000:1000 --network=none example.com/x:1 /bin/cat /opt/app/message >"$T/stdout" 2>"$T/stderr"; then
        [ "$(cat "$T/stdout")" = "hello from the stage" ] || fail "podman: $(cat "$T/stdout")"
        ran="$ran podman"
    else
        echo "podman loads, but runs nothing here: $(tail -1 "$T/stderr")"
    fi
fi
if command -v buildah >/dev/null; then
    buildah_here() { buildah --root "$T/bu" --runroot "$T/bur" --storage-driver vfs "$@"; }
    container=$(buildah_here from "oci:$T/out:x" 2>"$T/stderr") || fail "buildah from: $(cat "$T/stderr")"
    if buildah_here run --isolation chroot "$container" /bin/cat /opt/app/message >"$T/stdout" 2>"$T/stderr"; then
        [ "$(cat "$T/stdout")" = "hello from the stage" ] || fail "buildah: $(cat "$T/stdout")"
        ran="$ran buildah"
    else
        echo "buildah does not run here: $(tail -1 "$T/stderr")"
    fi
fi
echo "ran in:$ran"
