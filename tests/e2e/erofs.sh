#!/bin/sh
# With the kernel's EROFS in front a mount shows what it shows without.
. "$(dirname "$0")/lib.sh"
need_root
need_fuse
need python3
mkdir "$T/tars" "$T/mnt" "$T/up" "$T/upper" "$T/work"
python3 "$HERE/layers.py" "$T/tars"
image "$T/layout:x" gzip:"$T/tars/0.tar" gzip:"$T/tars/1.tar" zstd:"$T/tars/2.tar" >/dev/null
"$STAGEFS" mount --erofs "oci:$T/layout:x" "$T/mnt" 2>"$T/why" || {
    grep -q -- '--erofs: ' "$T/why" || fail "$(cat "$T/why")"
    skip "$(cat "$T/why")"
}
[ "$(stat -f -c %T "$T/mnt")" = erofs ] || fail "the mount is not EROFS: $(stat -f -c %T "$T/mnt")"
findmnt -n -o SOURCE "$T/mnt" | grep -q -- '-layout:x' || fail "mountinfo does not tell the stage"
findmnt -n -o OPTIONS "$T/mnt" | grep -q nosuid || fail "setuid programs work without --suid"
expect 1 "$STAGEFS" mount "oci:$T/layout:x" "$T/mnt"
says "$T/mnt is already mounted"
"$STAGEFS" stats --json "$T/mnt" | python3 -c 'import json, sys; json.load(sys.stdin)["requests"]["read"]'
"$STAGEFS" umount "$T/mnt"
expect 1 "$STAGEFS" stats "$T/mnt"

# compare IMAGE OPTION...: the same with and without.
compare() {
    "$STAGEFS" mount --dev --suid "$@" "$T/mnt"
    list "$T/mnt" >"$T/want"
    "$STAGEFS" umount "$T/mnt"
    [ "$(wc -l <"$T/want")" -gt 300 ] || fail "the plain mount shows too little"
    "$STAGEFS" mount --erofs --dev --suid "$@" "$T/mnt"
    list "$T/mnt" >"$T/got"
    same "$*" "$T/want" "$T/got"
    echo 3 >/proc/sys/vm/drop_caches
    list "$T/mnt" >"$T/got"
    same "$*, again without caches" "$T/want" "$T/got"
    "$STAGEFS" umount "$T/mnt"
}
compare "oci:$T/layout:x"
image "$T/layout:y" gzip:"$T/tars/0.tar" zstd:"$T/tars/0.tar" >/dev/null
compare --layers "oci:$T/layout:y"

# An overlay on top is written to as on any other file system.
"$STAGEFS" mount --erofs "oci:$T/layout:x" "$T/mnt"
mount -t overlay -o "lowerdir=$T/mnt,upperdir=$T/upper,workdir=$T/work" none "$T/up"
echo more >>"$T/up/etc/passwd"
[ "$(tail -1 "$T/up/etc/passwd")" = more ] || fail "the overlay does not write"
"$STAGEFS" umount "$T/mnt" # the overlay holds it on
echo 3 >/proc/sys/vm/drop_caches
list "$T/up/usr" >"$T/got" || fail "the overlay cannot be read any more"
umount "$T/up"

# Whenever it is killed, nothing of it waits for itself.
for i in $(seq 30); do
    "$STAGEFS" mount --foreground -q --erofs "oci:$T/layout:x" "$T/mnt" 2>/dev/null &
    sleep "0.0$((i % 30))"
    kill -KILL $! 2>/dev/null
    timeout 5 tail --pid=$! -f /dev/null || fail "killed after $((i % 30))0 ms, it does not end"
    wait $! 2>/dev/null || true
    while grep -q " $T/mnt " /proc/self/mounts; do umount -l "$T/mnt"; done
done

# EROFS does not tell holes: with large ones the mount is FUSE's, with a word.
truncate -s 1G "$T/sparse" && printf x >>"$T/sparse"
tar -C "$T" -cSf "$T/tars/sparse.tar" sparse
image "$T/layout:sparse" gzip:"$T/tars/sparse.tar" >/dev/null
expect 0 "$STAGEFS" mount --erofs "oci:$T/layout:sparse" "$T/mnt"
says 'mounted without --erofs: EROFS would count '
[ "$(stat -c %b "$T/mnt/sparse")" -lt 100 ] || fail "holes count as blocks"
cp "$T/mnt/sparse" "$T/copy"
[ "$(stat -c %b "$T/copy")" -lt 1000 ] || fail "a copy has lost the holes"
cmp "$T/copy" "$T/sparse" || fail "a copy of a sparse file is another"
"$STAGEFS" umount "$T/mnt"

expect 2 "$STAGEFS" mount --erofs --trace "$T/trace" "oci:$T/layout:x" "$T/mnt"
says '--erofs'
