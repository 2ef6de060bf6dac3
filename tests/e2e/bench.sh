#!/bin/sh
# The harness on a stage: what is touched, a mount that dies, and itself: the same directory twice, a sleep put in.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/rootfs.sh"
need_root
need_fuse
need python3
need gcc
HARNESS=$(dirname "$STAGEFS")/../bench/stagefs-bench
[ -x "$HARNESS" ] || skip "stagefs-bench is not where the build puts it"
mkdir -p "$T/dir/lib" "$T/tmp"
export TMPDIR="$T/tmp"

# 8 MB of which loading takes its head, relocations and one page at 4 MB that its initializer reads.
cat >"$T/lib.c" <<'C'
static const char data[8 << 20] __attribute__((aligned(4096))) = { [4 << 20] = 1, [(8 << 20) - 1] = 1 };
volatile int sum;
__attribute__((constructor)) static void start(void) { sum = *(volatile const char *)&data[4 << 20]; }
C
gcc -O1 -shared -fPIC -o "$T/dir/lib/libbig.so" "$T/lib.c"
echo '#include <unistd.h>
__attribute__((constructor)) static void start(void) { usleep(10000); }' >"$T/slow.c"
gcc -O1 -shared -fPIC -o "$T/dir/lib/libslow.so" "$T/slow.c"
tar -C "$T/dir" -cf "$T/layer.tar" .
image "$T/layout:x" gzip:"$T/layer.tar" >/dev/null
gone() { # nothing of a bench is left behind
    grep -q "$T/tmp" /proc/self/mounts && fail "a mount is left: $(grep "$T/tmp" /proc/self/mounts)"
    [ -z "$(ls "$T/tmp")" ] || fail "files are left: $(ls "$T/tmp")"
}

# ---- what is touched: less than a tenth, and what a cold run brings is no less
expect 0 "$STAGEFS" bench "oci:$T/layout:x" --lib libbig.so --lib libnone.so --against dir --cold --runs 2 --json --html "$T/page"
python3 - "$T/stdout" <<'P' || fail "what was touched: $(cat "$T/stdout")"
import json, sys
report = json.load(open(sys.argv[1]))
big, none = report['benchmarks']
assert 'libnone.so' in none['failed']
lib, = big['touched']['libraries']
load = lib['load']
assert lib['path'] == 'lib/libbig.so' and lib['size'] > 8 << 20 and lib['run'] is None
assert load['bytes'] == sum(n for _, n in load['ranges']) and 0 < load['share'] < 0.1, load
assert any(o > 3 << 20 and n == 4096 for o, n in load['ranges']), load  # the page, and nothing around it
if not report['left_out']:
    assert all(lib['brought'][label]['bytes'] >= load['bytes'] for label in ('stagefs', 'dir')), lib
P
grep -q 'class="strip used"' "$T/page" || fail "the page has no strip"
gone

# ---- a mount that dies while it is measured: its rows say so, the directory is measured to the end
"$STAGEFS" bench "oci:$T/layout:x" --lib libbig.so --lib libslow.so --against dir --runs 200 --json >"$T/died" 2>"$T/stderr" &
bench=$!
for _ in $(seq 200); do
    pid=$(pgrep -P "$bench" -x stagefs | head -1) && pgrep -P "$bench" -x stagefs-bench >/dev/null && break
    sleep 0.05
done
sleep 1.2 # the first library is done, the second one takes 4 s
kill -9 "$pid"
status=0
wait "$bench" || status=$?
[ "$status" = 0 ] || fail "ended with $status: $(cat "$T/stderr")"
python3 - "$T/died" <<'P' || fail "a mount that died: $(head -c 3000 "$T/died")"
import json, sys
report = json.load(open(sys.argv[1]))
rows = [row for job in report['benchmarks'] if job['kind'] == 'library' for row in job['rows']]
for label in 'stagefs', 'dir':
    last = [r for r in rows[-1]['results'] if r['directory'] == label][0]
    assert ('failed' in last) == (label == 'stagefs') and (label == 'stagefs' or len(last['samples']) == 200), last
P
gone

# ---- the harness against itself
expect 0 "$HARNESS" --dir "a=$T/dir" --dir "dir=$T/dir" --lib libbig.so --runs 15 --json
cp "$T/stdout" "$T/same"
expect 0 "$HARNESS" --dir "a=$T/dir" --dir "dir=$T/dir" --lib libbig.so --runs 15 --delay a=50 --json
python3 - "$T/same" "$T/stdout" <<'P' || fail "the harness against itself: $(cat "$T/same" "$T/stdout")"
import json, sys
a, b = ([r for r in json.load(open(f))['benchmarks'][0]['rows'][0]['results'] if r['directory'] == 'a'][0] for f in sys.argv[1:])
assert a['verdict'] == 'not significant' and a['ratio_interval'][0] <= 1 <= a['ratio_interval'][1], a
assert b['verdict'] == 'slower' and b['median'] > 0.05, b
P
