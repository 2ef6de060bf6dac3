#!/bin/sh
# RUN is executed once, by who does more than look; its result is kept for all. Nothing of other users is touched.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/rootfs.sh"
need_root
need_fuse
need python3
command -v runc >/dev/null || command -v crun >/dev/null || command -v bwrap >/dev/null || skip "there is no runtime"
make_rootfs "$T/root"
tar --numeric-owner --owner=0 --group=0 -C "$T/root" -cf "$T/base.tar" .
image "$T/base:x" gzip:"$T/base.tar" >/dev/null
mkdir "$T/c" "$T/mnt"
echo one >"$T/c/in"
echo first >"$T/secret"
cat >"$T/Dockerfile" <<'D'
FROM base
COPY in /in
RUN --mount=type=secret,id=s --mount=type=cache,target=/k \
    cat /in >/out; cat /proc/sys/kernel/random/uuid >/once; cat /run/secrets/s >/dev/null; echo x >>/k/times; rm /etc/group
D
sf() {
    command=$1
    shift
    "$STAGEFS" "$command" -q -f "$T/Dockerfile" --context "$T/c" --build-context "base=oci:$T/base:x" \
        --secret "id=s,src=$T/secret" "$@"
}
TMPDIR=$T/tmp
export TMPDIR
mkdir -m 1777 "$TMPDIR"

# who only looks executes nothing
for command in ls du; do
    expect 1 sf $command
    says "Dockerfile:3: RUN: no result of it is kept"
    says "--allow-run"
done
expect 1 sf cat /out
[ ! -e "$STAGEFS_CACHE_DIR/run-cache" ] || fail "looking made a cache mount"
# once it has been built, it is looked at, with the secret gone and whoever looks
expect 0 sf commit -t "oci:$T/out:x"
rm "$T/secret"
expect 0 sf cat /out
[ "$(cat "$T/stdout")" = one ] || fail "cat tells $(cat "$T/stdout")"
expect 0 sf cat /once
cp "$T/stdout" "$T/once"
expect 0 sf ls /etc
grep -qx group "$T/stdout" && fail "what RUN removed is there"
"$STAGEFS" cat -q "oci:$T/out:x" /once | cmp - "$T/once" || fail "what was committed is not what is kept"
expect 0 sf mount "$T/mnt"
cmp "$T/mnt/once" "$T/once" || fail "the mount shows another run"
"$STAGEFS" umount "$T/mnt"
expect 0 sf run -- /bin/cat /once
cmp "$T/stdout" "$T/once" || fail "run sees another run"
expect 0 "$STAGEFS" cache ls
[ "$(head -1 "$T/stdout")" = "$STAGEFS_CACHE_DIR" ] || fail "cache ls does not begin with the directory: $(cat "$T/stdout")"
grep -q '^result  *sha256:' "$T/stdout" || fail "cache ls does not list it: $(cat "$T/stdout")"
[ -z "$(find "$STAGEFS_CACHE_DIR" -maxdepth 2 -perm /077 -not -path '*/run-cache/*')" ] || fail "the cache is open to others"
grep -r first "$STAGEFS_CACHE_DIR" "$T/out" && fail "the secret was written down"

# anew: when that is asked for, when what goes in has changed, when it was dropped, when it is damaged
echo second >"$T/secret"
expect 0 sf cat --allow-run --no-cache /once
cmp -s "$T/stdout" "$T/once" && fail "--no-cache took what is kept"
cp "$T/stdout" "$T/once"
echo two >"$T/c/in"
expect 1 sf cat /out
expect 0 sf cat --allow-run /out
[ "$(cat "$T/stdout")" = two ] || fail "a stale result: $(cat "$T/stdout")"
echo one >"$T/c/in"
expect 0 "$STAGEFS" cache prune
expect 1 sf cat /out
expect 0 sf commit -t "oci:$T/out:x"
for f in "$STAGEFS_CACHE_DIR"/result/*; do printf damaged | dd of="$f" bs=1 seek=700 conv=notrunc 2>/dev/null; done
expect 1 sf cat /out
expect 0 sf commit -t "oci:$T/out:x"
expect 0 sf cat /out

# two at once: one runs, the other takes what it made
expect 0 "$STAGEFS" cache prune
sf cat --allow-run /once >"$T/a" &
sf cat --allow-run /once >"$T/b"
wait $!
[ -s "$T/a" ] && cmp "$T/a" "$T/b" || fail "two builders made two results"

# one that was killed leaves nothing that is taken for a result, and its directory goes with the next
sed -i 's|cat /in|i=0; while [ $i -lt 900000 ]; do i=$((i + 1)); done; cat /in|' "$T/Dockerfile"
"$STAGEFS" commit -q -f "$T/Dockerfile" --context "$T/c" --build-context "base=oci:$T/base:x" \
    --secret "id=s,src=$T/secret" -t "oci:$T/out:y" >/dev/null 2>&1 &
for _ in $(seq 100); do
    [ -z "$(find "$TMPDIR/stagefs-0" -name config.json)" ] || break
    sleep 0.05
done
kill -KILL $!
wait $! || :
expect 1 sf cat /out
says "no result of it is kept"

# a disk that is full: what was asked for is done, one sentence tells that nothing is kept, and nothing half is
mkdir "$T/full"
mount -t tmpfs -o mode=700,size=2m tmpfs "$T/full"
printf 'FROM base\nRUN for i in 1 2 3 4; do cp -r /bin /more$i; done\n' >"$T/Large"
STAGEFS_CACHE_DIR="$T/full" expect 0 "$STAGEFS" ls --allow-run -f "$T/Large" --context "$T/c" --build-context "base=oci:$T/base:x" /more4/sh
says "the result of RUN in line 2 is not kept: writing a kept result: No space left on device"
[ -z "$(find "$T/full/result" -type f 2>/dev/null)" ] || fail "a full disk holds half of a result"
umount "$T/full"

# in a directory that all write to, links of others lead to nothing
mkdir "$T/victim"
echo keep >"$T/victim/file"
ln -s "$T/victim" "$TMPDIR/.stagefs-tmp-link"
mkdir -p "$TMPDIR/.stagefs-tmp-dir"
ln -s "$T/victim" "$TMPDIR/.stagefs-tmp-dir/link"
chown -hR 65534 "$TMPDIR/.stagefs-tmp-link" "$TMPDIR/.stagefs-tmp-dir"
expect 0 "$STAGEFS" run "oci:$T/base:x" -- /bin/true
[ -f "$T/victim/file" ] && [ -L "$TMPDIR/.stagefs-tmp-link" ] && [ -L "$TMPDIR/.stagefs-tmp-dir/link" ] ||
    fail "what belongs to another user was removed"
[ "$(stat -c %a "$TMPDIR/stagefs-0")" = 700 ] || fail "the work directory is open to others"
[ -z "$(ls -A "$TMPDIR/stagefs-0")" ] || fail "something is left in $TMPDIR/stagefs-0: $(ls -A "$TMPDIR/stagefs-0")"
exit 0
