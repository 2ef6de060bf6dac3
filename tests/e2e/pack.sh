#!/bin/sh
# The pack of a start: made once a mount with a profile is quiet, read by the next one instead of the layers; and whatever
# becomes of it, nobody ever reads other bytes than the image's.
. "$(dirname "$0")/lib.sh"
need_root
need_fuse
need python3
mkdir "$T/dir" "$T/dir/d" "$T/mnt"
head -c 3000000 /dev/urandom >"$T/dir/d/big"
head -c 300000 /dev/urandom >"$T/dir/d/middle"
echo hello >"$T/dir/d/small"
tar -C "$T/dir" -cf "$T/layer.tar" .
image "$T/layout:x" gzip:"$T/layer.tar" >/dev/null
cat >"$T/profile" <<'END'
read /d/small 0+6
read /d/big 100000+70000 2000000+1
read /d/middle 0+300000
END
number() { "$STAGEFS" stats "$T/mnt" | awk -v k="$1" '$1 == k { print $2 }'; }
up() { "$STAGEFS" mount --profile "$T/profile" "$@" "oci:$T/layout:x" "$T/mnt"; }
down() { "$STAGEFS" umount "$T/mnt"; }
right() { # the mount shows the image's bytes
    for file in small big middle; do
        cmp "$T/mnt/d/$file" "$T/dir/d/$file" || fail "$1: $file has other bytes"
    done
}
made() { [ "$(number pack.made)" -gt 0 ]; }
# (EROFS reads the pack by itself, after it was checked.)
is_brought() { [ $(($(number bytes_stored) + $(number bytes_read) + $(number pack.checked))) -ge "$1" ]; }
erofs=
pack() { ls "$STAGEFS_CACHE_DIR"/pack/*.pack 2>/dev/null; }

# The first start has none, and makes one.
up
right "the first start"
wait_for made || fail "no pack was made: $("$STAGEFS" stats "$T/mnt")"
[ "$(number pack.size)" = 0 ] || fail "the first start had a pack"
down
[ "$(stat -c %a "$(pack)")" = 600 ] || fail "others can read the pack"
"$STAGEFS" cache ls | grep -q '^pack  *sha256:' || fail "cache ls does not list it: $("$STAGEFS" cache ls)"
name=$(pack)
cp "$name" "$T/good"

# The second reads it, and decodes nothing. (big: 18 pages, and one; the end of middle is in its last piece.)
served() { # served OPTION...
    up "$@"
    wait_for is_brought 377830 || fail "$*: the pack was not brought: $("$STAGEFS" stats "$T/mnt")"
    dd if="$T/mnt/d/big" bs=70000 count=1 skip=100000 iflag=skip_bytes of="$T/part" 2>/dev/null
    tail -c +100001 "$T/dir/d/big" | head -c 70000 | cmp - "$T/part" || fail "$*: other bytes"
    cmp "$T/mnt/d/middle" "$T/dir/d/middle" || fail "$*: other bytes"
    if [ "$*" = --erofs ]; then # which may read a little more than it is asked for, by itself
        [ "$(number pack.checked)" -ge 377830 ] || fail "of the pack $(number pack.checked) bytes were checked"
        [ "$(number bytes_read)" -lt 150000 ] || fail "EROFS asked for $(number bytes_read) bytes: it does not read the pack"
    else
        [ "$(number pack.lent)" -ge 377830 ] || fail "$*: the pack lent $(number pack.lent) bytes"
        [ "$(number cache.served)" = 0 ] || fail "$*: something was decoded: $("$STAGEFS" stats "$T/mnt")"
    fi
    right "$*"
    down
}
served
if "$STAGEFS" mount --erofs "oci:$T/layout:x" "$T/mnt" 2>/dev/null; then
    down
    served --erofs
    erofs=--erofs
fi
up --no-pack
right "without it"
[ "$(number pack.size)" = 0 ] || fail "--no-pack reads it"
down

# A damaged one gives nothing from where the damage is found on.
damaged_before() { # damaged_before OPTION WORDS FAILED
    up $1
    [ "$1" = "$erofs" ] || wait_for is_brought 377830 || fail "$2: what the profile names was not brought"
    right "$1 $2"
    [ "$(number pack.failed)" = "$3" ] || fail "$1 $2: $(number pack.failed) pieces failed, not $3"
    down
}
damaged() { # damaged WORDS FAILED: with either front
    cp "$name" "$T/damaged"
    damaged_before --front=fuse "$@"
    if [ -n "$erofs" ]; then
        cp "$T/damaged" "$name"
        damaged_before "$erofs" "$@"
    fi
}
size=$(stat -c %s "$T/good")
for at in 0 8 16 40 60 80 300 600 $((size / 3)) $((size / 2)) $((size - 40000)); do
    cp "$T/good" "$name"
    printf 'XYZ' | dd of="$name" bs=1 seek="$at" conv=notrunc 2>/dev/null
    [ "$at" -lt "$size" ] || fail "the pack is too small for this test"
    damaged "three other bytes at $at" "$([ "$at" -lt 4096 ] && echo 0 || echo 1)"
    # What was found while it was read is removed, so that the next start makes another.
    [ "$at" -lt 4096 ] || [ ! -f "$name" ] || fail "a damaged pack stays"
done
# Who maps the last page of a file sees what stands behind its end.
if [ -n "$erofs" ]; then
    cp "$T/good" "$name"
    printf 'XYZ' | dd of="$name" bs=1 seek=4200 conv=notrunc 2>/dev/null # `small` has 6 bytes, from 4096 on
    damaged_before "$erofs" "other bytes behind a file's end" 1
fi
for cut in 0 10 72 500 8192 $((size / 2)) $((size - 1)); do
    head -c "$cut" "$T/good" >"$name"
    damaged "cut to $cut bytes" 0
done
cp "$T/good" "$name"
truncate -s +4096 "$name"
damaged "longer than it was" 0

# One of another image under this one's name: no file of it is what this tree has.
head -c 3000000 /dev/urandom >"$T/dir/d/big"
tar -C "$T/dir" -cf "$T/other.tar" .
image "$T/other:x" gzip:"$T/other.tar" >/dev/null
"$STAGEFS" index -q --profile "$T/profile" "oci:$T/other:x" >/dev/null
[ "$(pack | wc -l)" = 2 ] || fail "index --profile made no pack"
for other in $(pack); do
    [ "$other" = "$name" ] || mv "$other" "$T/foreign"
done
cp "$T/foreign" "$name"
tar -C "$T/dir" -xf "$T/layer.tar"
damaged "of another image" 0

# Another user's is not opened.
cp "$T/good" "$name"
chown 12345 "$name"
up
right "another user's"
[ "$(number pack.size)" = 0 ] || fail "another user's pack is read"
down

# Unmounted or killed while the pack is brought, the server ends.
cp "$T/good" "$name"
ended() { timeout 10 tail --pid="$1" -f /dev/null || fail "$2: the server does not end"; }
for option in '' $erofs; do
    for i in 0 1 2 3 4 5 6 7; do
        "$STAGEFS" mount --foreground -q $option --profile "$T/profile" "oci:$T/layout:x" "$T/mnt" &
        server=$!
        if [ $((i % 2)) = 0 ]; then
            wait_for mountpoint -q "$T/mnt" || fail "it does not mount"
            umount "$T/mnt" 2>/dev/null || "$STAGEFS" umount "$T/mnt"
        else
            sleep "0.0$i"
            kill -KILL "$server" 2>/dev/null || true
        fi
        ended "$server" "mount $option, $i"
        wait "$server" 2>/dev/null || true
        while grep -q " $T/mnt " /proc/self/mounts; do umount -l "$T/mnt"; done
    done
done

# index --profile makes the same, again and again; without room there is none, and the start is as without it.
rm -f "$name"
"$STAGEFS" index -q --profile "$T/profile" "oci:$T/layout:x" >/dev/null
[ -f "$name" ] || fail "index --profile names its pack in another way than mount does"
expect 1 "$STAGEFS" index -q --cache-limit 300K --profile "$T/profile" "oci:$T/layout:x"
says "larger than what may be kept"
served
mkdir "$T/full"
mount -t tmpfs -o size=300k none "$T/full"
mkdir -m 0700 "$T/full/cache"
cp -r "$STAGEFS_CACHE_DIR/index" "$T/full/cache/"
(
    export STAGEFS_CACHE_DIR="$T/full/cache"
    expect 1 "$STAGEFS" index -q --profile "$T/profile" "oci:$T/layout:x"
    says "No space left on device"
    [ -z "$(find "$T/full" -name '*.pack' -o -name '.stagefs-tmp-*' -size +0)" ] || fail "a full disk leaves something"
    up
    right "with a full disk"
    down
)
umount -l "$T/full" # the server may still be about to end

# Killed while it writes: what is left is swept, and not taken for a pack.
rm -f "$name"
for i in $(seq 20); do
    "$STAGEFS" index -q --profile "$T/profile" "oci:$T/layout:x" >/dev/null 2>&1 &
    sleep "0.0$((i % 10))"
    kill -KILL $! 2>/dev/null || true
    wait $! 2>/dev/null || true
    [ ! -f "$name" ] || cmp -n 8 "$name" "$T/good" || fail "a killed one leaves half a pack"
done
up
right "after it was killed"
down
[ -z "$(find "$STAGEFS_CACHE_DIR/pack" -name '.stagefs-tmp-*')" ] || fail "what was left was not swept"
is_pruned() { "$STAGEFS" cache prune >/dev/null && [ -z "$(pack)" ]; }
wait_for is_pruned || fail "cache prune leaves the pack" # the server may have it open for a moment
exit 0
