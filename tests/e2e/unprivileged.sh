#!/bin/sh
# An unprivileged user mounts through fusermount3.
. "$(dirname "$0")/lib.sh"
need_fuse
need python3 fusermount3
as_user() { "$@"; }
if [ "$(id -u)" = 0 ]; then
    need setpriv
    [ -r /dev/fuse ] && setpriv --reuid=65534 --regid=65534 --clear-groups test -w /dev/fuse || skip "/dev/fuse is for root alone"
    as_user() { HOME=$T/home setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
fi
mkdir "$T/tars" "$T/mnt" "$T/home"
python3 "$HERE/layers.py" "$T/tars"
image "$T/layout:x" gzip:"$T/tars/0.tar" >/dev/null
[ "$(id -u)" = 0 ] && chown -R 65534:65534 "$T"
as_root() { STAGEFS_CACHE_DIR=$T/of-root "$@"; } # the other cache is the user's
as_user "$STAGEFS" mount "oci:$T/layout:x" "$T/mnt"
as_user cat "$T/mnt/etc/passwd" | grep -q '^app:' || fail "the user cannot read his mount"
if [ "$(id -u)" = 0 ]; then # root is one of the others here
    expect 1 "$STAGEFS" stats "$T/mnt"
    says "--allow-other"
    expect 1 as_root "$STAGEFS" mount "oci:$T/layout:x" "$T/mnt"
    says "already mounted"
fi
as_user "$STAGEFS" umount "$T/mnt"
grep -q " $T/mnt " /proc/self/mounts && fail "still mounted"
pgrep -f "mount .*$T/mnt" >/dev/null && fail "umount leaves the user's server behind"
if [ "$(id -u)" = 0 ]; then # who mounted it may unmount it
    as_root "$STAGEFS" mount --allow-other "oci:$T/layout:x" "$T/mnt"
    expect 1 as_user "$STAGEFS" umount "$T/mnt"
    says "$T/mnt was mounted by root: only root may unmount it"
    "$STAGEFS" umount "$T/mnt"
    command -v unshare >/dev/null || exit 0
    as_user "$STAGEFS" mount "oci:$T/layout:x" "$T/mnt"
    mkdir "$T/etc"
    export T
    # shellcheck disable=SC2016
    expect 1 unshare --mount sh -euc '
        mount --bind "$T/etc" /etc
        setpriv --reuid=65534 --regid=65534 --clear-groups "$STAGEFS" umount "$T/mnt"'
    says "ln -s /proc/self/mounts /etc/mtab"
    as_user "$STAGEFS" umount "$T/mnt"
fi
exit 0
