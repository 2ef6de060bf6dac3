#!/bin/sh
# What a mount learns of starts, as its users meet it (test_learner.c has what is kept and what is forgotten).
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/rootfs.sh"
need_root
need_fuse
need python3
make_rootfs "$T/root"
for i in $(seq 40); do echo "module $i" >"$T/root/home/app/m$i"; done
head -c 6000000 /dev/urandom >"$T/root/home/app/large"
tar --numeric-owner --owner=0 --group=0 -C "$T/root" -cf "$T/base.tar" .
image "$T/layout:gzip" gzip:"$T/base.tar" >/dev/null
image "$T/layout:zstd" zstd:"$T/base.tar" >/dev/null
mkdir "$T/mnt"
starts() { find "$STAGEFS_CACHE_DIR/start" -type f ! -name '.*' 2>/dev/null | wc -l; }
number() { "$STAGEFS" stats --json "$T/mnt" | python3 -c "import json, sys; print(json.load(sys.stdin)['learned']['$1'])"; }
# When umount returns, the server has written what it learned, and has ended.
ended() {
    "$STAGEFS" umount "$T/mnt"
    ! pgrep -f "mount .*$T/mnt" >/dev/null || fail "umount leaves the server behind"
}
use() { cat "$T/mnt/home/app/"* >/dev/null; }

# ---- who looks around teaches nothing, nor does who said so
"$STAGEFS" mount "oci:$T/layout:gzip" "$T/mnt"
ls -lR "$T/mnt" >/dev/null
ended
"$STAGEFS" mount --no-learn "oci:$T/layout:gzip" "$T/mnt"
use
ended
[ "$(starts)" = 0 ] || fail "something was learned: $("$STAGEFS" cache ls)"

# ---- a start, and the next one, of the same files in another compression, too
"$STAGEFS" mount "oci:$T/layout:gzip" "$T/mnt"
[ "$(number paths)" = 0 ] || fail "the first start knows something"
use
ended
[ "$(starts)" = 1 ] || fail "one start is to be kept: $("$STAGEFS" cache ls)"
"$STAGEFS" cache ls | grep -q '^start  *sha256:' || fail "cache ls: $("$STAGEFS" cache ls)"
[ "$(stat -c %a "$STAGEFS_CACHE_DIR/start/"*)" = 600 ] || fail "others may read it"
grep -q '^read /home/app/large 0+' "$STAGEFS_CACHE_DIR/start/"* || fail "it does not tell what was read"
"$STAGEFS" mount "oci:$T/layout:zstd" "$T/mnt"
[ "$(number paths)" -gt 40 ] || fail "the second start knows $(number paths) paths"
use
ended
[ "$(starts)" = 1 ] || fail "the same files have two starts"

# ---- a profile that is given wins; what was learned is one, too
cp "$STAGEFS_CACHE_DIR/start/"* "$T/profile"
cp "$T/profile" "$T/before"
"$STAGEFS" mount --profile "$T/profile" "oci:$T/layout:gzip" "$T/mnt"
[ "$(number paths)" = 0 ] || fail "a mount with a profile uses what was learned"
use
ended
cmp -s "$T/before" "$STAGEFS_CACHE_DIR/start/"* || fail "a mount with a profile changes what was learned"

# ---- behind the kernel's EROFS the same is learned
if "$STAGEFS" mount --erofs "oci:$T/layout:gzip" "$T/mnt" 2>"$T/why"; then
    [ "$(number paths)" -gt 40 ] || fail "with EROFS nothing is known"
    use
    ended
    "$STAGEFS" cache prune >/dev/null
    "$STAGEFS" mount --erofs "oci:$T/layout:gzip" "$T/mnt"
    use
    ended
    grep -q '^read /home/app/m7 0+' "$STAGEFS_CACHE_DIR/start/"* || fail "with EROFS nothing is learned"
fi

# ---- EROFS reads the pack by itself, and yet it is seen what is used of what was left to be asked for
mkdir "$T/wide"
head -c 40000000 /dev/urandom >"$T/wide/known"
head -c 6000000 /dev/urandom >"$T/wide/new-all"
head -c 6000000 /dev/urandom >"$T/wide/new-little"
tar -C "$T/wide" -cf "$T/wide.tar" .
image "$T/layout:wide" gzip:"$T/wide.tar" >/dev/null
is_packed() { [ -n "$(find "$STAGEFS_CACHE_DIR/pack" -name '*.pack' 2>/dev/null)" ]; }
has_checked() { [ "$(number checked)" -gt 0 ]; }
if "$STAGEFS" mount --erofs "oci:$T/layout:wide" "$T/mnt" 2>"$T/why"; then
    cat "$T/mnt/known" >/dev/null
    wait_for is_packed || fail "no pack was made of what was learned"
    ended
    for part in all little; do
        "$STAGEFS" mount --erofs "oci:$T/layout:wide" "$T/mnt"
        cmp -n "$([ $part = all ] && echo 40000000 || echo 8)" "$T/mnt/known" "$T/wide/known" || fail "other bytes"
        cat "$T/mnt/new-$part" >/dev/null # so that it counts as a start
        wait_for has_checked || fail "$part: nothing is looked at: $("$STAGEFS" stats "$T/mnt")"
        [ $part = little ] || [ "$(number used)" = "$(number checked)" ] || fail "what was used is taken for unused"
        [ $part = all ] || [ "$(number wasted)" -gt 0 ] || fail "what was not used is taken for used"
        ended
    done
fi

# ---- run
if command -v runc >/dev/null || command -v crun >/dev/null || command -v bwrap >/dev/null; then
    "$STAGEFS" cache prune >/dev/null
    expect 0 "$STAGEFS" run --no-learn "oci:$T/layout:gzip" -- /bin/cat /home/app/m1
    [ "$(starts)" = 0 ] || fail "run --no-learn learns"
    expect 0 "$STAGEFS" run "oci:$T/layout:gzip" -- /bin/cat /home/app/m1
    grep -q '^read /home/app/m1 0+' "$STAGEFS_CACHE_DIR/start/"* || fail "run does not learn"
    expect 0 "$STAGEFS" run "oci:$T/layout:gzip" -- /bin/cat /home/app/m2
    grep -q '^read /home/app/m1 0+' "$STAGEFS_CACHE_DIR/start/"* || fail "the next run spoils what the first one taught"
    grep -q '^read /home/app/m2 0+' "$STAGEFS_CACHE_DIR/start/"* || fail "the next run adds nothing"
fi

# ---- of a start that nobody knows, what lies near what is read is guessed and counted; of a known one nothing is
near() { "$STAGEFS" stats --json "$T/mnt" | python3 -c "import json, sys; print(json.load(sys.stdin)['guesses']['near']['$1'])"; }
backwards() {
    python3 - "$T/mnt/known" "$T/wide/known" <<'EOF'
import os, sys
mounted, plain = (os.open(path, os.O_RDONLY) for path in sys.argv[1:])
for at in range(38 << 20, 4 << 20, -(256 << 10)):
    if os.pread(mounted, 5000, at) != os.pread(plain, 5000, at):
        sys.exit("other bytes at %d" % at)
EOF
}
"$STAGEFS" cache prune >/dev/null
"$STAGEFS" mount --front fuse "oci:$T/layout:wide" "$T/mnt"
backwards
[ "$(near bytes)" = 0 ] || fail "FUSE has blocks, and guesses $(near bytes) besides"
ended
"$STAGEFS" cache prune >/dev/null
if "$STAGEFS" mount --front erofs "oci:$T/layout:wide" "$T/mnt" 2>"$T/why"; then
    backwards
    [ "$(near used_bytes)" -gt 4000000 ] || fail "of $(near bytes) that were guessed $(near used_bytes) were used"
    ended
    "$STAGEFS" mount --front erofs "oci:$T/layout:wide" "$T/mnt"
    backwards
    [ "$(near bytes)" = 0 ] || fail "a start that is known guesses $(near bytes)"
    ended
fi

# ---- a stage is known by its trees, wherever its layers come from
stage="--base oci:$T/layout:gzip --from oci:$T/layout:zstd --copy /home/app:/opt"
"$STAGEFS" cache prune >/dev/null
for _ in 1 2; do
    "$STAGEFS" mount $stage "$T/mnt"
    known=$(number paths)
    cat "$T/mnt/opt/"* >/dev/null
    ended
done
[ "$known" -gt 40 ] || fail "a stage is not known again: $known"

# ---- damage, and a full disk: as if nothing were known
printf 'read /home' | dd of="$(find "$STAGEFS_CACHE_DIR/start" -type f)" conv=notrunc 2>/dev/null
"$STAGEFS" mount $stage "$T/mnt" 2>"$T/stderr"
[ "$(number paths)" = 0 ] || fail "damage is taken for what was learned"
[ ! -s "$T/stderr" ] || fail "damage is told: $(cat "$T/stderr")"
ended
mkdir "$T/small"
if mount -t tmpfs -o size=1m tmpfs "$T/small"; then
    cp -r "$STAGEFS_CACHE_DIR/index" "$T/small/"
    chmod -R go= "$T/small"
    dd if=/dev/zero of="$T/small/filler" bs=4k 2>/dev/null || true
    STAGEFS_CACHE_DIR="$T/small" "$STAGEFS" mount "oci:$T/layout:gzip" "$T/mnt"
    use
    ended
    [ -z "$(find "$T/small/start" -type f 2>/dev/null)" ] || fail "a full disk keeps a start: $(ls -la "$T/small/start")"
    umount "$T/small"
fi

"$STAGEFS" cache prune >/dev/null
[ "$(starts)" = 0 ] || fail "prune leaves what was learned"
