#!/bin/sh
# Overlays on the mount: layers lie over one another as the merged tree has them, and with --upper it is written to.
# Mounts of its own: a sandbox that others start meanwhile would hold copies of them, and their processes, on.
[ "$(id -u)" != 0 ] || [ -n "${OWN_MOUNTS:-}" ] || exec env OWN_MOUNTS=1 unshare --mount "$0"
. "$(dirname "$0")/lib.sh"
need_root
need_fuse
need python3
mkdir "$T/tars" "$T/mnt" "$T/over" "$T/merged"
python3 "$HERE/layers.py" "$T/tars"
image "$T/layout:x" gzip:"$T/tars/0.tar" gzip:"$T/tars/1.tar" zstd:"$T/tars/2.tar" >/dev/null
image "$T/layout:y" gzip:"$T/tars/0.tar" >/dev/null
tree() { list --no-dir-links "$1" | sed 's/ nlink=[0-9]* [^ ]*//'; } # no overlay counts names of several layers

"$STAGEFS" mount --dev --suid "oci:$T/layout:x" "$T/mnt"
tree "$T/mnt" >"$T/want"
"$STAGEFS" umount "$T/mnt"
"$STAGEFS" mount --dev --suid --layers "oci:$T/layout:x" "$T/mnt"
mount -t overlay -o "lowerdir=$T/mnt/2:$T/mnt/1:$T/mnt/0" none "$T/over" || skip "no overlay can be mounted here"
tree "$T/over" >"$T/got"
umount "$T/over"
"$STAGEFS" umount "$T/mnt"
same "an overlay of the layers" "$T/want" "$T/got"

# ended: the process of the mount has ended.
ended() {
    for _ in $(seq 100); do
        pgrep -f "mount .*--upper $T/" >/dev/null || return 0
        sleep 0.1
    done
    fail "the process of an unmounted mount goes on"
}

# write_and_look OPTION...: the upper directory keeps what is written.
write_and_look() {
    "$STAGEFS" mount "$@" --upper "$T/up" "oci:$T/layout:x" "$T/mnt" 2>"$T/stderr" || fail "$(cat "$T/stderr")"
    [ "$(stat -f -c %T "$T/mnt")" = overlayfs ] || fail "there is no overlay"
    tree "$T/mnt" >"$T/got"
    same "an overlay $*" "$T/want" "$T/got"
    findmnt -n -o OPTIONS "$T/mnt" | grep -q nosuid,nodev || fail "setuid programs and devices work unasked"
    findmnt -n -o OPTIONS "$T/mnt" | grep -q "upperdir=$T/up/upper" || fail "mountinfo does not tell where it writes"
    echo new >"$T/mnt/new" && rm -r "$T/mnt/etc" && echo more >>"$T/mnt/usr/bin/tool" || fail "it cannot be written to"
    "$STAGEFS" stats --json "$T/mnt" | grep -q '"lookup"' || fail "no statistics"
    "$STAGEFS" stats "$T/mnt/new" >/dev/null || fail "no statistics by a file"
    expect 1 "$STAGEFS" mount "oci:$T/layout:x" "$T/mnt"
    says "already mounted"
    exec 9<"$T/mnt/new"
    expect 1 "$STAGEFS" umount "$T/mnt"
    says "in use"
    exec 9<&-
    "$STAGEFS" umount "$T/mnt"
    ! grep -q " $T/mnt " /proc/self/mountinfo || fail "something is still mounted"
    ended
    "$STAGEFS" mount "$@" --suid --dev --upper "$T/up" "oci:$T/layout:x" "$T/mnt"
    [ "$(cat "$T/mnt/new")" = new ] && [ ! -e "$T/mnt/etc" ] || fail "what was written is gone"
    ! findmnt -n -o OPTIONS "$T/mnt" | grep -q 'nosuid\|nodev' || fail "--suid --dev do not hold"
    umount "$T/mnt" # by anybody's program
    ended
    rm -r "$T/up"
}

write_and_look
if "$STAGEFS" mount --erofs "oci:$T/layout:x" "$T/mnt" 2>/dev/null; then
    "$STAGEFS" umount "$T/mnt"
    write_and_look --erofs
fi

# An odd name, a second mount of the same directory, one over another image, one that holds other things.
odd="$T/odd,:\\ name"
"$STAGEFS" mount --upper "$odd" "oci:$T/layout:x" "$T/mnt" 2>"$T/stderr" || fail "$(cat "$T/stderr")"
touch "$T/mnt/f" && [ -e "$odd/upper/f" ] || fail "an odd name is not written to"
expect 1 "$STAGEFS" mount --upper "$odd" "oci:$T/layout:x" "$T/merged"
says "another mount writes to it"
"$STAGEFS" umount "$T/mnt"
expect 1 "$STAGEFS" mount --upper "$odd" "oci:$T/layout:y" "$T/mnt"
says "oci:$T/layout:x"
expect 1 "$STAGEFS" mount --upper "$T/tars" "oci:$T/layout:x" "$T/mnt"
says "holds other things"
expect 2 "$STAGEFS" mount --upper "$T/mnt/up" "oci:$T/layout:x" "$T/mnt"
says "lie in one another"
rmdir "$T/mnt/up"
expect 2 "$STAGEFS" mount --layers --upper "$T/up" "oci:$T/layout:x" "$T/mnt"
says "--layers and --upper"
mkdir "$T/a" "$T/b" "$T/c"
mount -t overlay -o "lowerdir=$T/tars,upperdir=$T/a,workdir=$T/b" none "$T/over"
expect 1 "$STAGEFS" mount --upper "$T/over/up" "oci:$T/layout:x" "$T/mnt"
says "is on an overlay"
umount "$T/over"

# The process is killed: what is below is dead, and goes like any dead mount.
"$STAGEFS" mount --foreground --upper "$T/up" "oci:$T/layout:x" "$T/mnt" --ready-fd 8 8>"$T/ready" &
pid=$!
for _ in $(seq 100); do [ -s "$T/ready" ] && break; sleep 0.1; done
echo kept >"$T/mnt/kept"
exec 9<"$T/mnt/kept"
kill -KILL $pid
wait $pid 2>/dev/null || true
"$STAGEFS" umount "$T/mnt" || fail "a dead overlay is not unmounted"
exec 9<&-
"$STAGEFS" mount --upper "$T/up" "oci:$T/layout:x" "$T/mnt"
[ "$(cat "$T/mnt/kept")" = kept ] || fail "what was written before a crash is gone"
"$STAGEFS" umount "$T/mnt"

# A directory in which another user can put things: nothing is followed out of it, and nothing changed elsewhere.
mkdir -m 0700 "$T/elsewhere"
for part in upper upper.new work; do
    mkdir "$T/hostile"
    ln -s "$T/elsewhere" "$T/hostile/$part"
    cp "$T/up/stage" "$T/hostile/stage"
    expect 1 "$STAGEFS" mount --upper "$T/hostile" "oci:$T/layout:x" "$T/mnt"
    says "hostile/$part: Not a directory"
    [ "$(stat -c %a "$T/elsewhere")" = 700 ] && [ -z "$(ls "$T/elsewhere")" ] || fail "$part was followed"
    rm -r "$T/hostile"
done
mkdir "$T/hostile"
mkfifo "$T/hostile/stage"
expect 1 "$STAGEFS" mount --upper "$T/hostile" "oci:$T/layout:x" "$T/mnt"
rm "$T/hostile/stage"
chown 65534 "$T/hostile"
expect 1 "$STAGEFS" mount --upper "$T/hostile" "oci:$T/layout:x" "$T/mnt"
says "another user can write to it"
chown 0 "$T/hostile"
chmod 0777 "$T/hostile"
expect 1 "$STAGEFS" mount --upper "$T/hostile" "oci:$T/layout:x" "$T/mnt"
says "another user can write to it"
# In a directory of theirs one of root's is taken by a descriptor, whatever they put in its place.
mkdir "$T/of-theirs" "$T/of-theirs/up" && chown 65534 "$T/of-theirs"
"$STAGEFS" mount --upper "$T/of-theirs/up" "oci:$T/layout:x" "$T/mnt"
echo kept >"$T/mnt/kept"
"$STAGEFS" umount "$T/mnt"
[ -f "$T/of-theirs/up/upper/kept" ] || fail "nothing was written below another user's directory"

# An ordinary user hears how; in a namespace of their own it works.
command -v setpriv >/dev/null || exit 0
chmod 0755 "$T" && mkdir -m 0777 "$T/theirs" && chmod -R a+rX "$T/layout"
as_user() { setpriv --reuid 65534 --regid 65534 --clear-groups env STAGEFS_CACHE_DIR="$T/theirs/cache" HOME="$T/theirs" "$@"; }
mkdir -m 0777 "$T/theirs/mnt"
expect 1 as_user "$STAGEFS" mount --upper "$T/theirs/up" "oci:$T/layout:y" "$T/theirs/mnt"
says "unshare --user"
as_user unshare --user --map-root-user --mount sh -c 'test -r /dev/fuse' 2>/dev/null || exit 0
as_user unshare --user --map-root-user --mount sh -c "'$STAGEFS' mount --upper '$T/theirs/up' 'oci:$T/layout:y' '$T/theirs/mnt' &&
    echo new >'$T/theirs/mnt/new' && '$STAGEFS' umount '$T/theirs/mnt'" 2>"$T/stderr" || fail "in a user namespace: $(cat "$T/stderr")"
[ "$(cat "$T/theirs/up/upper/new")" = new ] || fail "nothing was written in a user namespace"
