#!/bin/sh
# A mount ends cleanly by umount and SIGTERM, and a dead one is cleared.
. "$(dirname "$0")/lib.sh"
need_root
need_fuse
need python3
FRONT=${FRONT:-fuse}
mkdir "$T/tars" "$T/mnt"
python3 "$HERE/layers.py" "$T/tars"
image "$T/layout:x" gzip:"$T/tars/0.tar" >/dev/null
mounted() { grep -q " $T/mnt " /proc/self/mounts; }
server() { pgrep -f "mount .*oci:$T/layout" | head -1; }
gone() { # waits until no server is left
    for _ in $(seq 100); do
        [ -z "$(server)" ] && return 0
        sleep 0.05
    done
    fail "the server is still there after $1"
}

"$STAGEFS" mount --front "$FRONT" "oci:$T/layout:x" "$T/mnt"
mounted || fail "not mounted after mount returned"
[ -f "$T/mnt/etc/passwd" ] || fail "the mount does not answer"
expect 1 "$STAGEFS" mount --front "$FRONT" "oci:$T/layout:x" "$T/mnt"
says "$T/mnt"
umount "$T/mnt"
gone umount

"$STAGEFS" mount --front "$FRONT" "oci:$T/layout:x" "$T/mnt"
kill -TERM "$(server)"
gone SIGTERM
mounted && fail "still mounted after SIGTERM"

"$STAGEFS" mount --front "$FRONT" "oci:$T/layout:x" "$T/mnt"
kill -KILL "$(server)"
gone SIGKILL
# (What the kernel has read outlives its server where EROFS is in front.)
[ "$FRONT" = erofs ] || ! ls "$T/mnt" >/dev/null 2>&1 || fail "a dead mount answers"
"$STAGEFS" umount "$T/mnt"
mounted && fail "the dead mount is still there after umount"

"$STAGEFS" mount --front "$FRONT" "oci:$T/layout:x" "$T/mnt"
kill -KILL "$(server)"
gone SIGKILL
"$STAGEFS" mount --front "$FRONT" "oci:$T/layout:x" "$T/mnt"
[ -f "$T/mnt/etc/passwd" ] || fail "mounting over a dead mount does not answer"
"$STAGEFS" umount "$T/mnt"
expect 1 "$STAGEFS" umount "$T/mnt"
says "$T/mnt"

# killed while many read and pages are stored ahead: no reader waits for ever, nothing keeps the device open
mkdir "$T/big"
head -c 60000000 /dev/urandom >"$T/big/f"
"$STAGEFS" commit -q "dir:$T/big" -t "oci:$T/layout:big" >/dev/null
[ -z "$("$STAGEFS" mount --front "$FRONT" "oci:$T/layout:big" "$T/mnt")" ] || fail "mount says something"
python3 - "$T/mnt/f" <<'P' &
import os, sys, threading
def read(seed):
    at = seed
    try:
        while True:
            fd = os.open(sys.argv[1], os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            for i in range(20):
                at = (at * 1103515245 + 12345) % 59000000
                os.pread(fd, 131072, at)
            os.close(fd)
    except OSError:
        pass
for t in [threading.Thread(target=read, args=(i,)) for i in range(60)]: t.start()
P
readers=$!
sleep 1.5
kill -KILL "$(server)"
for _ in $(seq 200); do
    kill -0 $readers 2>/dev/null || break
    sleep 0.1
done
kill -0 $readers 2>/dev/null && fail "readers of a killed mount wait for ever"
wait $readers || :
gone SIGKILL
"$STAGEFS" umount "$T/mnt"

# --ready-fd and --foreground
mkfifo "$T/ready"
"$STAGEFS" mount --foreground --ready-fd 9 "oci:$T/layout:x" "$T/mnt" 9>"$T/ready" &
read -r _ <"$T/ready"
[ -f "$T/mnt/etc/passwd" ] || fail "ready before it answers"
"$STAGEFS" umount "$T/mnt"
wait $! || fail "the foreground mount did not end with 0"

# started with descriptors closed, as by cron: the mount is as any other
for closed in '<&- >&- 2>&-' '<&- >&-' '>&- 2>&-' '<&-'; do
    eval "\"\$STAGEFS\" mount \"oci:\$T/layout:x\" \"\$T/mnt\" $closed" || fail "with $closed: mount ends with $?"
    [ -f "$T/mnt/etc/passwd" ] || fail "with $closed: the mount does not answer"
    "$STAGEFS" umount "$T/mnt"
done
# what was asked for and cannot be written is told of
got=0
"$STAGEFS" ls "oci:$T/layout:x" >&- 2>/dev/null || got=$?
[ "$got" = 1 ] || fail "ls with standard output closed ends with $got, not 1"

# --layers
"$STAGEFS" mount --layers "oci:$T/layout:x" "$T/mnt"
[ -f "$T/mnt/0/etc/passwd" ] || fail "--layers shows no 0/etc/passwd"
"$STAGEFS" umount "$T/mnt"

# Little address space and few descriptors do with less; too few say so. (Sanitizers take all there is.)
if ! ldd "$STAGEFS" | grep -q asan; then
    for limit in '-v 200000' '-n 12'; do
        (ulimit $limit && "$STAGEFS" mount --front "$FRONT" "oci:$T/layout:x" "$T/mnt") || fail "with ulimit $limit it does not mount"
        cat "$T/mnt/usr/lib/big.so" >/dev/null || fail "with ulimit $limit it is not read"
        "$STAGEFS" umount "$T/mnt"
        gone "ulimit $limit"
    done
    expect 1 sh -c "ulimit -n 6; exec '$STAGEFS' mount 'oci:$T/layout:x' '$T/mnt'"
    says "Too many open files"
fi
soft=$(sh -c 'ulimit -Sn 64; exec "$@"' - "$STAGEFS" mount --front "$FRONT" "oci:$T/layout:x" "$T/mnt" &&
    awk '/Max open files/ { print $4 }' /proc/"$(server)"/limits)
[ "$soft" = "$(ulimit -Hn)" ] || fail "the soft limit of descriptors stays $soft"
"$STAGEFS" umount "$T/mnt"
