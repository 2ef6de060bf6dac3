#!/bin/sh
# What a program sees, and how a mount lives and ends, is the same with FUSE and with EROFS in front; and which of them is
# taken where nobody says.
. "$(dirname "$0")/lib.sh"
need_root
need_fuse
need python3
mkdir "$T/tars" "$T/mnt" "$T/d" "$T/private" "$T/private/mnt"
chmod 0700 "$T/private"
python3 "$HERE/layers.py" "$T/tars"
image "$T/layout:x" gzip:"$T/tars/0.tar" gzip:"$T/tars/1.tar" zstd:"$T/tars/2.tar" >/dev/null
"$STAGEFS" mount --front erofs "oci:$T/layout:x" "$T/mnt" 2>"$T/why" || skip "$(cat "$T/why")"
"$STAGEFS" umount "$T/mnt"

# front WANTED WHY IMAGE [OPTION...] MOUNTPOINT: what is taken, and what statistics say of it.
front() {
    wanted=$1 why=$2
    shift 2
    "$STAGEFS" mount -v "$@" 2>"$T/stderr"
    for last; do :; done
    got=$(findmnt -n -o FSTYPE "$last")
    [ "$got" = "$wanted" ] || fail "mount $*: $got"
    "$STAGEFS" stats --json "$last" >"$T/json"
    python3 - "$T/json" "${wanted%.*}" "$why" <<'P' || fail "mount $*: $(cat "$T/json")"
import json, sys
told = json.load(open(sys.argv[1]))
assert told['front'] == sys.argv[2] and (sys.argv[3] in told['front_why']) and bool(sys.argv[3]) == bool(told['front_why'])
P
    [ -z "$why" ] || grep -qF -- "$why" "$T/stderr" || fail "-v does not say '$why': $(cat "$T/stderr")"
    "$STAGEFS" umount "$last"
}
front erofs '' --allow-other "oci:$T/layout:x" "$T/mnt"
front erofs '' "oci:$T/layout:x" "$T/private/mnt"
front fuse.stagefs 'other users' "oci:$T/layout:x" "$T/mnt"
front fuse.stagefs '' --front fuse --allow-other "oci:$T/layout:x" "$T/mnt"
front fuse.stagefs 'layers' --layers --allow-other "oci:$T/layout:x" "$T/mnt"
front fuse.stagefs 'recorded' --trace "$T/trace" --allow-other "oci:$T/layout:x" "$T/mnt"
front fuse.stagefs 'single pages' --no-read-ahead --allow-other "oci:$T/layout:x" "$T/mnt"
truncate -s 64K "$T/d/holes" && printf x >>"$T/d/holes"
tar -C "$T/d" -cSf "$T/tars/holes.tar" holes
image "$T/layout:holes" gzip:"$T/tars/holes.tar" >/dev/null
front fuse.stagefs 'sparse' --allow-other "oci:$T/layout:holes" "$T/mnt"
expect 2 "$STAGEFS" mount --front squashfs "oci:$T/layout:x" "$T/mnt"
says squashfs
expect 2 "$STAGEFS" mount --front fuse --erofs "oci:$T/layout:x" "$T/mnt"
says '--erofs'

# A mount of EROFS that fails leaves nothing, and FUSE is mounted: there is no place for the image's name here.
unshare -m sh -ec '
    mount -t tmpfs -o ro none /run
    "$1" mount -q --allow-other "$2" "$3"
    [ "$(findmnt -n -o FSTYPE "$3")" = fuse.stagefs ]
    [ "$(grep -c " $3 " /proc/self/mounts)" = 1 ]
    "$1" stats "$3" | grep -q "front_why.*/run"
    "$1" umount "$3"' - "$STAGEFS" "oci:$T/layout:x" "$T/mnt" || fail "what is done where EROFS cannot be mounted"
unshare -m sh -c 'mount -t tmpfs -o ro none /run; exec "$@"' - \
    "$STAGEFS" mount --front erofs "oci:$T/layout:x" "$T/mnt" 2>"$T/stderr" && fail "--front erofs mounts something else"
says /run

# The same questions to both.
cat >"$T/ask" <<'P'
import errno, fcntl, os, stat, sys
root = sys.argv[1]
def attempt(name, action):
    try:
        print(name, action())
    except OSError as e:
        print(name, errno.errorcode[e.errno])
st = os.statvfs(root)
print('df', (st.f_blocks * st.f_frsize + 4095) // 4096, st.f_bfree, st.f_bavail, st.f_namemax)
seen = {}
for dir, dirs, names in os.walk(root):
    dirs.sort()
    for name in sorted(dirs + names):
        path = os.path.join(dir, name)
        st = os.lstat(path)
        one_device = st.st_dev == os.lstat(root).st_dev
        again = os.lstat(path).st_ino == st.st_ino
        print(os.path.relpath(path, root), one_device, again, seen.setdefault(st.st_ino, path) if st.st_nlink > 1 and not
              stat.S_ISDIR(st.st_mode) else '')
        attempt(' xattrs', lambda: sorted(os.listxattr(path, follow_symlinks=False)))
        if not stat.S_ISREG(st.st_mode):
            continue
        print(' blocks', (st.st_blocks + 7) // 8) # FUSE tells bytes to 512, EROFS to 4096
        fd = os.open(path, os.O_RDONLY)
        for whence in (os.SEEK_DATA, os.SEEK_HOLE):
            for at in (0, st.st_size // 2, st.st_size, st.st_size + 1):
                attempt(' seek %d %d' % (whence, at), lambda: os.lseek(fd, at, whence))
        attempt(' behind', lambda: os.pread(fd, 10, st.st_size))
        attempt(' lock', lambda: fcntl.flock(fd, fcntl.LOCK_SH))
        os.close(fd)
file = os.path.join(root, 'etc/passwd')
attempt('write', lambda: os.open(file, os.O_RDWR))
attempt('make', lambda: os.open(root + '/new', os.O_CREAT | os.O_WRONLY))
attempt('truncate', lambda: os.truncate(file, 0))
attempt('unlink', lambda: os.unlink(file))
attempt('rename', lambda: os.rename(file, file + '2'))
attempt('link', lambda: os.link(file, file + '2'))
attempt('chmod', lambda: os.chmod(file, 0))
attempt('setxattr', lambda: os.setxattr(file, 'user.x', b'1'))
attempt('none', lambda: os.stat(root + '/none'))
attempt('long', lambda: os.stat(root + '/' + 'x' * 256))
attempt('below a file', lambda: os.stat(file + '/x'))
P
image "$T/layout:y" gzip:"$T/tars/0.tar" tar:"$T/tars/1.tar" >/dev/null
for kind in fuse erofs; do
    "$STAGEFS" mount --front $kind --allow-other "oci:$T/layout:y" "$T/mnt"
    python3 "$T/ask" "$T/mnt" >"$T/$kind" 2>&1
    "$STAGEFS" umount "$T/mnt"
done
[ "$(wc -l <"$T/fuse")" -gt 300 ] || fail "the questions show too little: $(tail -3 "$T/fuse")"
same "both fronts" "$T/fuse" "$T/erofs"

# Damage is EIO in both, of the damaged file alone; so is what is told of it.
head -c 3000000 /dev/urandom >"$T/d/bad" && printf ok >"$T/d/good"
tar -C "$T/d" -cf "$T/tars/bad.tar" good bad
image "$T/layout:bad" gzip:"$T/tars/bad.tar" >"$T/digest"
"$STAGEFS" index -q "oci:$T/layout:bad"
blob=$(ls -S "$T"/layout/blobs/sha256/* | while read -r f; do [ "$(stat -c %s "$f")" -gt 2900000 ] && echo "$f" && break; done)
printf 'damage' | dd of="$blob" bs=1 seek=1500000 conv=notrunc status=none
for kind in fuse erofs; do
    "$STAGEFS" mount --front $kind --allow-other "oci:$T/layout:bad" "$T/mnt" 2>/dev/null
    got=0
    cat "$T/mnt/bad" >/dev/null 2>"$T/$kind" || got=$?
    [ "$got" = 1 ] && grep -q 'Input/output error' "$T/$kind" || fail "$kind: damage is read: $(cat "$T/$kind")"
    "$STAGEFS" stats "$T/mnt" | grep '^read_errors' | grep -qv ' 0$' || fail "$kind: damage is not counted"
    "$STAGEFS" umount "$T/mnt"
done

# Life and end. gone WHAT: nothing is left of the mount.
gone() {
    for _ in $(seq 100); do
        grep -q " $T/mnt " /proc/self/mounts || kill -0 "$server" 2>/dev/null || break
        sleep 0.05
    done
    ! kill -0 "$server" 2>/dev/null || fail "$kind: after $1 the server is there"
    ! grep -q " $T/mnt " /proc/self/mounts || fail "$kind: after $1 it is mounted"
    ! ls /run/stagefs 2>/dev/null | grep -qF -- "$(printf %s "$T" | tr / -)" || fail "$kind: after $1 a name is left"
}
# up: mounts in the foreground; "$server" serves.
up() {
    mkfifo "$T/ready"
    "$STAGEFS" mount --foreground --front $kind --allow-other --ready-fd 9 "oci:$T/layout:x" "$T/mnt" 9>"$T/ready" &
    server=$!
    read -r _ <"$T/ready"
    rm "$T/ready"
    [ -f "$T/mnt/etc/passwd" ] || fail "$kind: --ready-fd speaks before the mount answers"
}
# What a server that was killed has left goes with the next mount; what a living one has does not.
mkdir -p /run/stagefs
sh -c 'exit 0' & dead=$!
wait "$dead"
space=$(stat -L -c %i /proc/self/ns/pid)
ln -s none "/run/stagefs/oci:-dead.$dead-$space"
ln -s none "/run/stagefs/oci:-alive.$$-$space"
kind=erofs
up && umount "$T/mnt" && wait "$server"
[ ! -L "/run/stagefs/oci:-dead.$dead-$space" ] || fail "the name of a dead server stays"
rm "/run/stagefs/oci:-alive.$$-$space" || fail "the name of a living process is gone"
for kind in fuse erofs; do
    up && umount "$T/mnt" && wait "$server" && gone umount
    up && umount -l "$T/mnt" && wait "$server" && gone 'umount -l'
    up && kill -TERM "$server" && wait "$server" && gone SIGTERM
    up && exec 8<"$T/mnt/etc/passwd"
    expect 1 "$STAGEFS" umount "$T/mnt"
    says "$T/mnt is in use"
    umount -l "$T/mnt"
    [ -n "$(cat <&8)" ] || fail "$kind: an open file cannot be read after umount -l"
    exec 8<&-
    wait "$server" && gone 'the last file was closed'
    up && kill -KILL "$server" && { wait "$server" || true; }
    "$STAGEFS" umount "$T/mnt" && gone SIGKILL
done
