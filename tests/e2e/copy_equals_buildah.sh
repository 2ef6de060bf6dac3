#!/bin/sh
# The same COPY by buildah bud and by stagefs gives the same file tree.
. "$(dirname "$0")/lib.sh"
need_root
need python3 umoci buildah
mkdir "$T/tars" "$T/context"
python3 "$HERE/layers.py" "$T/tars" --plain
image "$T/stage:builder" gzip:"$T/tars/0.tar" gzip:"$T/tars/1.tar" gzip:"$T/tars/2.tar" >/dev/null
image "$T/stage:base" gzip:"$T/tars/0.tar" >/dev/null
buildah_here() { buildah --root "$T/store" --runroot "$T/runroot" --storage-driver vfs "$@"; }
count=0

# compare "COPY flags of buildah" SRC DST "flags of stagefs"
compare() {
    count=$((count + 1))
    printf 'FROM oci:%s AS build\nFROM oci:%s\nCOPY --from=build %s %s %s\n' "$T/stage:builder" "$T/stage:base" "$1" "$2" "$3" >"$T/context/Dockerfile"
    buildah_here bud --isolation chroot -t "case$count" "$T/context" >"$T/log" 2>&1 || fail "buildah: $(tail -3 "$T/log")"
    buildah_here push -q "case$count" "oci:$T/buildah:$count" >"$T/log" 2>&1 || fail "buildah push: $(cat "$T/log")"
    # shellcheck disable=SC2086
    "$STAGEFS" commit -q --base "oci:$T/stage:base" --from "oci:$T/stage:builder" --copy "$2:$3" $4 -t "oci:$T/ours:$count" >/dev/null
    umoci unpack --image "$T/buildah:$count" "$T/wanted$count" >/dev/null 2>&1
    umoci unpack --image "$T/ours:$count" "$T/made$count" >/dev/null 2>&1
    list --no-ns --no-dir-mtime "$T/wanted$count/rootfs" >"$T/a"
    list --no-ns --no-dir-mtime "$T/made$count/rootfs" >"$T/b"
    same "COPY $1 $2 $3" "$T/a" "$T/b"
    rm -rf "$T/wanted$count" "$T/made$count"
}
compare "" /usr/lib /opt/lib ""
compare "" /usr/lib/. /opt/lib/ ""
compare "--chown=1000" /usr/lib /opt/lib "--chown 1000"
compare "--chown=app:staff" /usr/lib /opt/x/y/z "--chown app:staff"
# Known difference: with --chmod, BuildKit (and stagefs) also gives the mode to directories that COPY makes; buildah
# 1.28 makes them 0755. So this one copies into a directory that is there.
compare "--chmod=0750" /opt/app /var/data "--chmod 0750"
compare "" /etc/passwd /etc/passwd2 ""
compare "" /etc/passwd /etc ""
compare "" /usr/bin /usr/bin ""
compare "" /usr/bin/ping /lib/ ""
compare "" '/usr/lib/m00*' /new/ ""
compare "" /var /var2 ""
compare "" /swap-file /swapped ""
compare "" /usr/lib/libc.so /opt/deref ""
echo "$count forms of COPY"
