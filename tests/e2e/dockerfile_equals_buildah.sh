#!/bin/sh
# dockerfile_equals_buildah.sh [PART PARTS]: every PARTSth case, from the PARTth on (default: all).
# The same Dockerfiles built by buildah bud and by stagefs give equal file trees and equal configs. What differs, and why:
# - Config fields are compared as docker inspect shows them, without those that tell of the builder: Image, Hostname, Domainname,
#   Attach*, Tty, OpenStdin, StdinOnce, label io.buildah.version.
# - ArgsEscaped: BuildKit sets it with CMD, buildah does not.
# - buildah keeps an image's CMD below a new ENTRYPOINT as an empty list, and empty lists where BuildKit leaves the field out.
# - PATH: BuildKit adds it where an image has none, buildah does not, so the base has one.
# - WorkingDir: FROM scratch has "/" in BuildKit and nothing in buildah.
# - OnBuild, Healthcheck, Shell are in buildah's docker form only, which is what is compared.
# - CMD in shell form below SHELL: BuildKit uses that shell, buildah /bin/sh -c. No case has both.
# - VOLUME: buildah makes the directories, BuildKit does not; the base has them.
# - What buildah mounts on for RUN (/run, /etc/hosts, ...) it leaves behind; the base has it.
# - A new hard link to a file of the base: buildah with the vfs driver writes two files. The case links a new file.
# - --chmod of a directory that COPY makes: BuildKit gives it to the directory itself too, buildah only to what is in it; the cases
#   copy onto one that is there.
# - mtimes: of directories that COPY makes, and of all that RUN makes, are the time of the build. Files of the context have
#   theirs in BuildKit and the time of the build in buildah.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/rootfs.sh"
need_root
need_fuse
need python3 umoci buildah jq xz bzip2
command -v runc >/dev/null || command -v crun >/dev/null || skip "no OCI runtime is installed"

make_rootfs "$T/root"
echo 'staff:x:50:' >>"$T/root/etc/group"
mkdir -p "$T/root/var/tree/sub" "$T/root/real" "$T/root/srv" "$T/root/run"
touch "$T/root/etc/hosts" "$T/root/etc/hostname" "$T/root/etc/resolv.conf"
chmod 1777 "$T/root/tmp"
echo bye >"$T/root/etc/remove-me"
for f in one two sub/three; do echo "$f" >"$T/root/var/tree/$f"; done
ln -s real "$T/root/lnk"
chown 1000:1000 "$T/root/home/app"
tar --numeric-owner -C "$T/root" -cf "$T/base.tar" .
b=$T/b/opt
mkdir -p "$b/app/sub" "$b/links" "$b/symlinks" "$b/modes" "$b/empty"
echo owned >"$b/app/owned"
echo deep >"$b/app/sub/deep"
ln -s owned "$b/app/link"
ln -s app "$b/to-app"
chown -R 100:200 "$b/app"
echo linked >"$b/links/a"
ln "$b/links/a" "$b/links/b"
mkdir "$b/links/sub" && ln "$b/links/a" "$b/links/sub/c"
ln -s /absolute/nowhere "$b/symlinks/dangling"
ln -s ../app "$b/symlinks/up"
echo x >"$b/modes/setuid" && chmod 4755 "$b/modes/setuid"
echo x >"$b/modes/none" && chmod 0000 "$b/modes/none"
mkdir "$b/modes/sticky" && chmod 1777 "$b/modes/sticky"
tar --numeric-owner -C "$T/b" -cf "$T/builder.tar" opt
# buildah counts history entries, so the images have one a layer.
buildah_here() { buildah --root "$T/store" --runroot "$T/runroot" --storage-driver vfs "$@"; }
printf 'FROM scratch\nADD base.tar /\nENV PATH=/usr/bin:/bin\n' >"$T/base.Dockerfile"
printf 'FROM oci:%s\nADD builder.tar /\n' "$T/stage:base" >"$T/builder.Dockerfile"
for i in base builder; do
    buildah_here bud -t "$i" -f "$T/$i.Dockerfile" "$T" >"$T/log" 2>&1 || fail "buildah: $(tail -3 "$T/log")"
    buildah_here push -q "$i" "oci:$T/stage:$i" >"$T/log" 2>&1 || fail "buildah push: $(cat "$T/log")"
done

c=$T/context
mkdir -p "$c/dir/sub" "$c/ignored/keep"
for f in a b x.txt y.txt z.txt "name with blanks" dir/one dir/sub/two ignored/no.log ignored/yes ignored/keep/this.log; do echo "$f" >"$c/$f"; done
ln -s a "$c/dir/link"
printf '**/*.log\n!ignored/keep/*.log\n' >"$c/.dockerignore"
mkdir -p "$T/tar/etc/deep" && echo in >"$T/tar/etc/deep/file" && ln -s file "$T/tar/etc/deep/sym" && ln "$T/tar/etc/deep/file" "$T/tar/hard" && chown -R 3:4 "$T/tar"
tar --numeric-owner -C "$T/tar" -cf "$c/t.tar" etc hard
gzip -k "$c/t.tar" && xz -k "$c/t.tar" && bzip2 -k "$c/t.tar"

# The config as docker inspect would show it, without what tells of the builder.
normal='del(.Image, .Hostname, .Domainname, .AttachStdin, .AttachStdout, .AttachStderr, .Tty, .OpenStdin, .StdinOnce, .ArgsEscaped, .Labels["io.buildah.version"])
  | .WorkingDir = (if .WorkingDir == "" or .WorkingDir == null then "/" else .WorkingDir end)
  | with_entries(select(.value != null and .value != "" and .value != [] and .value != {}))'
count=0 compared=0 part=${1:-1} parts=${2:-1}
compare() {
    count=$((count + 1))
    [ $(((count - part) % parts)) = 0 ] || return 0
    compared=$((compared + 1))
    name=$1 id=case$count
    sed "s|@BASE@|oci:$T/stage:base|; s|@BUILDER@|oci:$T/stage:builder|" "$T/case" >"$T/Dockerfile"
    # (newer ones raise limits, which is not allowed everywhere)
    buildah_here bud --format docker --isolation chroot --network host --ulimit nofile=1024:1024 --ulimit nproc=1000:1000 -t "$id" -f "$T/Dockerfile" "$c" >"$T/log" 2>&1 || fail "$name: buildah: $(tail -3 "$T/log")"
    buildah_here push -q "$id" "oci:$T/buildah:$id" >"$T/log" 2>&1 || fail "$name: buildah push: $(cat "$T/log")"
    "$STAGEFS" commit -q -f "$T/Dockerfile" --context "$c" -t "oci:$T/ours:$id" >/dev/null 2>"$T/log" || fail "$name: stagefs: $(cat "$T/log")"
    umoci unpack --image "$T/buildah:$id" "$T/wanted" >/dev/null 2>&1 || fail "$name: umoci of buildah's"
    umoci unpack --image "$T/ours:$id" "$T/made" >/dev/null 2>&1 || fail "$name: umoci of ours"
    times="--no-ns --no-dir-mtime"
    grep -Eq '^(RUN|ADD|COPY [^-]|COPY --ch)' "$T/case" && times=--no-mtime
    # shellcheck disable=SC2086
    list $times "$T/wanted/rootfs" >"$T/wanted.list"
    # shellcheck disable=SC2086
    list $times "$T/made/rootfs" >"$T/made.list"
    same "$name: trees" "$T/wanted.list" "$T/made.list"
    rm -rf "$T/wanted" "$T/made"
    buildah_here inspect --type image "$id" | jq -S ".Docker.config | $normal" >"$T/wanted.config"
    blob=$(jq -r --arg id "$id" '.manifests[] | select(.annotations["org.opencontainers.image.ref.name"] == $id) | .digest' "$T/ours/index.json")
    blob=$(jq -r .config.digest "$T/ours/blobs/sha256/${blob#sha256:}")
    jq -S ".config | $normal" "$T/ours/blobs/sha256/${blob#sha256:}" >"$T/made.config"
    same "$name: configs" "$T/wanted.config" "$T/made.config"
}
name=
: >"$T/case"
while IFS= read -r line; do
    case $line in
    '=== '*)
        [ -z "$name" ] || compare "$name"
        name=${line#=== }
        : >"$T/case"
        ;;
    *) [ -z "$name" ] || printf '%s\n' "$line" >>"$T/case" ;;
    esac
done <"$HERE/dockerfiles/cases"
compare "$name"
[ -z "$(ls -A "$STAGEFS_CACHE_DIR/run" 2>/dev/null)" ] || fail "something was left in $STAGEFS_CACHE_DIR/run"
echo "$compared Dockerfiles"
