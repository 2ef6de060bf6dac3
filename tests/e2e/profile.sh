#!/bin/sh
# A mount writes down what is used; another one fetches it, and then answers without being asked.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/rootfs.sh"
need_root
need_fuse
need python3
mkdir "$T/dir" "$T/dir/d" "$T/mnt"
head -c 3000000 /dev/urandom >"$T/dir/d/big"
echo hello >"$T/dir/d/a b"
echo unused >"$T/dir/d/unused"
ln -s "d/a b" "$T/dir/link"
tar -C "$T/dir" -cf "$T/layer.tar" .
image "$T/layout:x" gzip:"$T/layer.tar" >/dev/null
use() { # what a program might do
    ls "$T/mnt/d" >/dev/null
    cmp "$T/mnt/d/big" "$T/dir/d/big"
    cat "$T/mnt/link" >/dev/null
    [ ! -e "$T/mnt/d/nothing" ]
}
number() { "$STAGEFS" stats "$T/mnt" | awk -v k="$1" '$1 == k { print $2 }'; }
gone() {
    while grep -q " $T/mnt fuse" /proc/self/mounts; do sleep 0.05; done
    for _ in $(seq 100); do
        [ -s "$1" ] && return 0
        sleep 0.05
    done
    fail "$1 was not written"
}

# --trace, with a path that is relative to where the command was started
(cd "$T" && "$STAGEFS" mount --front fuse --trace first "oci:$T/layout:x" "$T/mnt")
use
"$STAGEFS" umount "$T/mnt"
gone "$T/first"
for line in 'list /d' 'read /d/big 0+3000000' 'link /link' 'read /d/a\040b 0+6' 'none /d/nothing'; do
    grep -qxF -- "$line" "$T/first" || fail "the trace lacks '$line': $(cat "$T/first")"
done
grep -q unused "$T/first" && fail "the trace has what was not used"

# the same use gives the same trace
"$STAGEFS" mount --front fuse --trace "$T/second" "oci:$T/layout:x" "$T/mnt"
use
"$STAGEFS" umount "$T/mnt"
gone "$T/second"
cmp "$T/first" "$T/second" || fail "two traces of the same use differ"

# --profile
"$STAGEFS" mount --front fuse --profile "$T/first" "oci:$T/layout:x" "$T/mnt"
for _ in $(seq 200); do
    [ "$(number bytes_stored)" -ge 3000006 ] && break
    sleep 0.05
done
[ "$(number bytes_stored)" = 3000006 ] || fail "stored $(number bytes_stored) bytes, not 3000006"
reads=$(number requests.read.count) lookups=$(number requests.lookup.count)
use
[ "$(number requests.read.count)" = "$reads" ] || fail "what was fetched was asked for again"
[ "$(number requests.lookup.count)" = "$lookups" ] || fail "names were asked for again"
"$STAGEFS" umount "$T/mnt"

# umount right after mounting
for _ in 1 2 3 4 5; do
    "$STAGEFS" mount --front fuse --profile "$T/first" "oci:$T/layout:x" "$T/mnt"
    umount "$T/mnt" || fail "a mount that fetches cannot be unmounted"
done

# what is not a profile, and what does not go together
echo nonsense >"$T/bad"
expect 1 "$STAGEFS" mount --front fuse --profile "$T/bad" "oci:$T/layout:x" "$T/mnt"
says "bad:1"
expect 2 "$STAGEFS" mount --front fuse --profile "$T/first" --trace "$T/third" "oci:$T/layout:x" "$T/mnt"
says "records or replays"
echo "read /gone 0+5" >"$T/gone"
"$STAGEFS" mount --front fuse --foreground --profile "$T/gone" "oci:$T/layout:x" "$T/mnt" 2>"$T/words" &
for _ in $(seq 100); do
    grep -q " $T/mnt fuse" /proc/self/mounts && break
    sleep 0.05
done
"$STAGEFS" umount "$T/mnt"
wait $!
grep -q "/gone" "$T/words" || fail "no word of a path that is not there: $(cat "$T/words")"

# a pipe or device is written to and stays
mkfifo "$T/pipe"
cat "$T/pipe" >"$T/piped" &
"$STAGEFS" mount --front fuse --trace "$T/pipe" "oci:$T/layout:x" "$T/mnt"
cat "$T/mnt/d/a b" >/dev/null
"$STAGEFS" umount "$T/mnt"
wait $!
[ -p "$T/pipe" ] || fail "--trace replaced a pipe"
grep -qxF 'read /d/a\040b 0+6' "$T/piped" || fail "the pipe got $(cat "$T/piped")"
expect 2 "$STAGEFS" mount --front fuse --trace - "oci:$T/layout:x" "$T/mnt"
says "--foreground"

# trace and run: the same through a command
if command -v runc >/dev/null 2>&1 || command -v crun >/dev/null 2>&1 || command -v bwrap >/dev/null 2>&1; then
    make_rootfs "$T/root"
    tar -C "$T/root" -cf "$T/root.tar" .
    image "$T/layout:b" gzip:"$T/root.tar" gzip:"$T/layer.tar" >/dev/null
    (cd "$T" && expect 3 "$STAGEFS" trace --pages "oci:$T/layout:b" -o traced -- /bin/sh -c 'cat "/d/a b"; exit 3')
    grep -q '^exec /bin/cat 0+' "$T/traced" || fail "the trace lacks the program: $(cat "$T/traced")"
    grep -qxF 'read /d/a\040b 0+6' "$T/traced" || fail "the trace lacks the file: $(cat "$T/traced")"
    grep -q unused "$T/traced" && fail "the trace has what was not used"
    # A profile that cannot be kept is no success, whatever became of the command.
    expect 125 "$STAGEFS" trace "oci:$T/layout:b" -o "$T" -- /bin/true
    says "'$T', which is no file"
    expect 125 "$STAGEFS" trace "oci:$T/layout:b" -o /dev/full -- /bin/true
    says "writing /dev/full"
    expect 125 "$STAGEFS" trace "oci:$T/layout:b" -o "" -- /bin/true
    says "--output"
    expect 0 "$STAGEFS" run --profile "$T/traced" "oci:$T/layout:b" -- /bin/cat "/d/a b"
    grep -qx hello "$T/stdout" || fail "run with a profile printed $(cat "$T/stdout")"
fi
exit 0
