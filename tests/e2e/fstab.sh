#!/bin/sh
# mount -t stagefs, as /etc/fstab has it.
. "$(dirname "$0")/lib.sh"
need_root
need_fuse
need python3 unshare
helper=${MOUNT_STAGEFS:?the helper of mount(8)}
mkdir "$T/tars" "$T/mnt" "$T/bin"
python3 "$HERE/layers.py" "$T/tars"
image "$T/layout:x" gzip:"$T/tars/0.tar" >/dev/null
ln -s "$STAGEFS" "$T/bin/stagefs"
export PATH="$T/bin:$PATH"
sed "s|^stagefs=.*|stagefs=$STAGEFS|" "$helper" >"$T/mount.stagefs"
chmod +x "$T/mount.stagefs"

"$T/mount.stagefs" "oci:$T/layout:x" "$T/mnt" -o rw,allow_other,nosuid,front=fuse,no_prefetch,memory=32M,x-systemd.automount
findmnt -n -o FSTYPE,SOURCE,OPTIONS "$T/mnt" | grep -q "^fuse.stagefs oci:$T/layout:x .*nosuid.*allow_other" || fail "$(findmnt "$T/mnt")"
[ -f "$T/mnt/etc/passwd" ] || fail "the mount does not answer"
expect 32 "$T/mount.stagefs" "oci:$T/layout:x" "$T/mnt" -o ro
says "already mounted"
umount "$T/mnt"
"$T/mount.stagefs" "oci:$T/layout:x" "$T/mnt" -o "suid,dev,upper=$T/up"
echo new >"$T/mnt/new"
umount "$T/mnt"
[ -f "$T/up/upper/new" ] || fail "upper= is not written to"
expect 1 "$T/mount.stagefs" "oci:$T/layout:x" "$T/mnt" -o noexec
says "noexec"
expect 0 "$T/mount.stagefs" "oci:$T/layout:x" "$T/mnt" -s -f -o noexec
! grep -q " $T/mnt " /proc/self/mounts || fail "a fake mount is there"

# By mount(8) itself: its helpers are looked for in /sbin alone. What an install puts there is put there for this process
# only.
installed=$(readlink -m "${MOUNT_STAGEFS_DIR:?where the helper is installed}")
case $installed in
"$(readlink -f /sbin)") ;;
/usr/* | /sbin*) fail "mount(8) does not find what is installed as $MOUNT_STAGEFS_DIR/mount.stagefs" ;;
*) installed=$(readlink -f /sbin) ;; # another prefix: its user makes a link
esac
export installed
mkdir "$T/sbin" "$T/over"
export T
unshare --mount sh -euc '
    sbin=$(readlink -f /sbin)
    mount -t tmpfs none "$T/over" && mkdir "$T/over/u" "$T/over/w" && mount -t overlay -o "lowerdir=$sbin,upperdir=$T/over/u,workdir=$T/over/w" none "$sbin"
    cp "$T/mount.stagefs" "$installed/mount.stagefs"
    echo "oci:$T/layout:x $T/mnt stagefs ro,allow_other,nofail 0 0" >"$T/fstab"
    mount -a -T "$T/fstab" && [ -f "$T/mnt/etc/passwd" ] && mount -a -T "$T/fstab" && [ "$(grep -c " $T/mnt " /proc/self/mounts)" = 1 ]
    umount "$T/mnt"' || fail "by mount(8) and a table"
