#!/bin/sh
# Large files that are read much are handed to the kernel, which then reads them without asking; and nobody sees a
# difference, whatever else happens to the mount and to the cache meanwhile.
. "$(dirname "$0")/lib.sh"
need_root
need_fuse
need python3 pgrep
mkdir "$T/dir" "$T/mnt" "$T/over" "$T/tmp"
head -c 6000000 /dev/urandom >"$T/dir/big"
head -c 3000000 /dev/urandom >"$T/dir/other"
echo hello >"$T/dir/small"
tar -C "$T/dir" -cf "$T/layer.tar" .
image "$T/layout:x" gzip:"$T/layer.tar" >/dev/null
number() { "$STAGEFS" stats "$T/mnt" | awk -v k="$1" '$1 == k { print $2 }'; }
up() { "$STAGEFS" mount --passthrough "$@" "oci:$T/layout:x" "$T/mnt" 2>"$T/words"; }
down() {
    "$STAGEFS" umount "$T/mnt"
    while pgrep -f "mount --passthrough .*$T/mnt" >/dev/null; do sleep 0.05; done
}
kept() { # N: that many files were written
    for _ in $(seq 200); do
        [ "$(number passthrough.files_kept)" -ge "$1" ] && return 0
        sleep 0.05
    done
    fail "$(number passthrough.files_kept) files kept, not $1"
}

# where it cannot be had, one line says why, and files are served as ever
expect 2 "$STAGEFS" mount --passthrough --trace "$T/trace" "oci:$T/layout:x" "$T/mnt"
says "no passthrough"
up
cmp "$T/mnt/big" "$T/dir/big"
if [ -s "$T/words" ]; then
    [ "$(wc -l <"$T/words")" = 1 ] || fail "not one sentence: $(cat "$T/words")"
    grep -q "no passthrough: " "$T/words" || fail "no reason given: $(cat "$T/words")"
    cmp "$T/mnt/big" "$T/dir/big"
    [ "$(number passthrough.files_kept)" = 0 ] || fail "a file was kept for nothing"
    skip "$(sed 's/.*no passthrough/no passthrough/' "$T/words")"
fi

# read once, it is kept; then the kernel reads it by itself, also with its caches dropped
kept 1
reads=$(number requests.read.count)
echo 3 >/proc/sys/vm/drop_caches
cmp "$T/mnt/big" "$T/dir/big"
[ "$(number passthrough.opens)" = 1 ] || fail "the open did not go through"
[ "$(number requests.read.count)" = "$reads" ] || fail "the mount was asked for bytes that it had handed over"
"$STAGEFS" cache ls | grep -q '^file ' || fail "cache ls does not show the file"
cp "$T/mnt/small" "$T/tmp/small" && cmp "$T/tmp/small" "$T/dir/small"

# an overlay on top, as containers have it
mkdir "$T/up" "$T/work"
mount -t overlay overlay -o "lowerdir=$T/mnt,upperdir=$T/up,workdir=$T/work" "$T/over"
cmp "$T/over/big" "$T/dir/big"
[ "$(number passthrough.opens)" = 2 ] || fail "the open below an overlay did not go through"
umount "$T/over"

# what is open stays whole when the cache is cleared; later opens are ordinary again
exec 5<"$T/mnt/big"
"$STAGEFS" cache prune >/dev/null
cmp /proc/self/fd/5 "$T/dir/big"
"$STAGEFS" cache ls | grep -q '^file ' || fail "a file in use was pruned"
exec 5<&-
sleep 0.2
"$STAGEFS" cache prune >/dev/null
"$STAGEFS" cache ls | grep -q '^file ' && fail "a file that is not in use was not pruned"
cmp "$T/mnt/big" "$T/dir/big"
kept 2
down

# the next mount finds it, also for users who may not see the cache; a file that is not whole is not taken
up --allow-other
if command -v setpriv >/dev/null; then
    setpriv --reuid 65534 --clear-groups cmp "$T/mnt/big" "$T/dir/big"
else
    cmp "$T/mnt/big" "$T/dir/big"
fi
[ "$(number passthrough.opens)" = 1 ] || fail "the next mount did not find the file"
down
truncate -s 5999999 "$T"/cache/file/*.bin
up
cmp "$T/mnt/big" "$T/dir/big"
[ "$(number passthrough.opens)" = 0 ] || fail "a file that is not whole was taken"
kept 1
cmp "$T/mnt/big" "$T/dir/big"

# 10,000 opens, mixed with others, from several sides at a time: no error, nothing left open
pid=$(pgrep -n -f "mount --passthrough .*$T/mnt")
nothing_left() { # neither here nor, by their locks, in the kernel
    sleep 0.2
    [ "$(find "/proc/$pid/fd" -lname "$T/cache/file/*" | wc -l)" = 0 ] || fail "files of the cache are left open"
    "$STAGEFS" cache prune >/dev/null
    "$STAGEFS" cache ls | grep -q '^file ' && fail "backing files are left registered"
    return 0
}
cat >"$T/many.py" <<'P'
import mmap, os, random, sys, threading
top, want, count = sys.argv[1], {n: open(sys.argv[2] + '/' + n, 'rb').read() for n in ('big', 'other')}, int(sys.argv[3])
bad = []
def work(seed):
    r = random.Random(seed)
    try:
        for i in range(count):
            name = r.choice(('big', 'other'))
            fd = os.open(top + '/' + name, os.O_RDONLY)
            at = r.randrange(len(want[name]) - 5000)
            if r.random() < 0.2:
                with mmap.mmap(fd, 0, prot=mmap.PROT_READ) as m:
                    got = m[at:at + 5000]
            else:
                got = os.pread(fd, 5000, at)
            os.close(fd)
            if got != want[name][at:at + 5000]:
                bad.append('wrong bytes of ' + name)
    except OSError as e:
        bad.append(str(e))
threads = [threading.Thread(target=work, args=(s,)) for s in range(4)]
for t in threads: t.start()
for t in threads: t.join()
sys.exit('; '.join(bad[:3]) if bad else 0)
P
python3 "$T/many.py" "$T/mnt" "$T/dir" 2500 || fail "many opens"
[ "$(number passthrough.opens)" -gt 1000 ] || fail "few opens went through: $(number passthrough.opens)"
nothing_left
cat "$T/mnt/big" "$T/mnt/other" >/dev/null
python3 "$T/many.py" "$T/mnt" "$T/dir" 1500 &
many=$!
while kill -0 $many 2>/dev/null; do
    "$STAGEFS" cache prune >/dev/null
    sleep 0.02
done
wait $many || fail "many opens while the cache is pruned"
nothing_left
down

# no more than allowed
"$STAGEFS" cache prune >/dev/null
up --passthrough-limit 7M
cmp "$T/mnt/big" "$T/dir/big"
kept 1
cmp "$T/mnt/other" "$T/dir/other"
kept 2
[ "$("$STAGEFS" cache ls | grep -c '^file ')" = 1 ] || fail "more is kept than allowed"
down

# a cache that lies on an overlay, and one that is full
mkdir "$T/lower" "$T/up2" "$T/work2" "$T/cache2" "$T/full"
mount -t overlay overlay -o "lowerdir=$T/lower,upperdir=$T/up2,workdir=$T/work2" "$T/cache2"
STAGEFS_CACHE_DIR="$T/cache2" up
grep -q "is on an overlay" "$T/words" || fail "no word of the overlay: $(cat "$T/words")"
cmp "$T/mnt/big" "$T/dir/big"
down
mount -t tmpfs -o size=4m,mode=700 tmpfs "$T/full"
export STAGEFS_CACHE_DIR="$T/full"
up
for _ in 1 2 3 4; do cmp "$T/mnt/big" "$T/dir/big"; done
sleep 0.3
[ ! -s "$T/words" ] || fail "words about a full disk: $(cat "$T/words")"
[ "$(number passthrough.opens)" = 0 ] || fail "a file that had no room went through"
[ -z "$(find "$T/full/file" -type f)" ] || fail "a part of a file was left"
down
exit 0
