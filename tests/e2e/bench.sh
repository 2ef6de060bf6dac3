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
# (1: one library that was asked for is not there)
expect 1 "$STAGEFS" bench "oci:$T/layout:x" --lib libbig.so --lib libnone.so --against dir --cold --runs 2 --json --html "$T/page"
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
    # three states of both, of two samples each: the second start is a mount's that has learned
    states = [(r['state'], r['directory'], len(r['samples'])) for r in big['rows'][0]['results']]
    assert states == [(s, d, 2) for s in ('first', 'second', 'warm') for d in ('stagefs', 'dir')], states
P
grep -q '<h2>Starts</h2>' "$T/page" || fail "the page does not tell the three starts"
grep -q 'class="strip used"' "$T/page" || fail "the page has no strip"
gone

# ---- where nothing matches, that alone is told: no words on columns that are not there
expect 1 "$STAGEFS" bench "oci:$T/layout:x" --lib libnone.so --lib 'libno*' --runs 1
[ "$(cat "$T/stdout")" = "libnone.so
  FAILED: no library matches libnone.so
libno*
  FAILED: no library matches libno*" ] || fail "no match: $(cat "$T/stdout")"
gone

# ---- a mount that dies while it is measured: its rows say so, the directory is measured to the end
# (with EROFS in front, what the kernel has read outlives it)
"$STAGEFS" bench --front fuse "oci:$T/layout:x" --lib libbig.so --lib libslow.so --against dir --runs 200 --json >"$T/died" 2>"$T/stderr" &
bench=$!
for _ in $(seq 200); do
    pid=$(pgrep -P "$bench" -x stagefs | head -1) && pgrep -P "$bench" -x stagefs-bench >/dev/null && break
    sleep 0.05
done
sleep 1.2 # the first library is done, the second one takes 4 s
kill -9 "$pid"
status=0
wait "$bench" || status=$?
[ "$status" = 1 ] || fail "ended with $status: $(cat "$T/stderr")"
python3 - "$T/died" <<'P' || fail "a mount that died: $(head -c 3000 "$T/died")"
import json, sys
report = json.load(open(sys.argv[1]))
rows = [row for job in report['benchmarks'] if job['kind'] == 'library' for row in job['rows']]
for label in 'stagefs', 'dir':
    last = [r for r in rows[-1]['results'] if r['directory'] == label][0]
    assert ('failed' in last) == (label == 'stagefs') and (label == 'stagefs' or len(last['samples']) == 200), last
P
gone

# ---- ended by a signal: what was measured by then is told, as text, JSON and page; nothing is left behind
ended() { # ended SIGNAL STATUS OPTION...: sends it once the first library is measured
    signal=$1 wanted=$2
    shift 2
    rm -f "$T/page"
    python3 - "$signal" "$STAGEFS" bench "oci:$T/layout:x" --lib libbig.so --lib libslow.so --against dir --runs 300 --html "$T/page" "$@" >"$T/ended" 2>"$T/stderr" <<'P' || status=$?
import signal, subprocess, sys, time
# SIGINT comes to a whole group, as from a terminal; SIGTERM to one process.
process = subprocess.Popen(sys.argv[2:], start_new_session=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
time.sleep(3.5)
import os
(os.killpg if sys.argv[1] == 'INT' else os.kill)(process.pid, getattr(signal, 'SIG' + sys.argv[1]))
sys.exit(process.wait(timeout=60))
P
    [ "${status:-0}" = "$wanted" ] || fail "ended by $signal with ${status:-0}, not $wanted: $(cat "$T/stderr")"
    status=0
    grep -q '</html>' "$T/page" || fail "ended by $signal: no page"
    gone
}
ended TERM 143 --json
python3 - "$T/ended" <<'P' || fail "ended, as JSON: $(head -c 2000 "$T/ended")"
import json, sys
report = json.load(open(sys.argv[1]))
assert report['ended_by'] == 'SIGTERM'
samples = [len(r['samples']) for job in report['benchmarks'] for row in job['rows'] for r in row['results']]
assert 0 < sum(samples) < 1200 and not any('failed' in r for job in report['benchmarks'] for row in job['rows'] for r in row['results']), samples
assert report['about']['image'].endswith('/layout:x') and report['about']['digest'].startswith('sha256:') and '--runs 300' in report['about']['command']
P
ended INT 130
grep -q '^lib/libbig.so (8' "$T/ended" && grep -q '^  dir  *warm ' "$T/ended" && grep -q '^Ended by SIGINT' "$T/ended" || fail "ended, as text: $(cat "$T/ended")"

# ---- rows come as soon as they are measured
mkfifo "$T/rows"
"$STAGEFS" bench "oci:$T/layout:x" --lib libbig.so --lib libslow.so --runs 20 >"$T/rows" 2>"$T/stderr" &
bench=$!
python3 - "$T/rows" <<'P' || fail "rows came late"
import sys, time
lines = [(time.monotonic(), line) for line in open(sys.argv[1])]
big = next(t for t, line in lines if line.startswith('  stagefs') and ' warm ' in line)
slow = [t for t, line in lines if line.startswith('  stagefs') and ' warm ' in line][1]
assert slow - big > 0.15, (big, slow)  # 21 runs of 10 ms and more
P
wait "$bench" || fail "ended with $?: $(cat "$T/stderr")"

# ---- only what is measured, and what it needs, is copied elsewhere
head -c 30000000 /dev/zero >"$T/dir/unneeded"
echo 'int below(void) { return 1; }' | gcc -shared -fPIC -Wl,-soname,libbelow.so -x c - -o "$T/dir/lib/libbelow.so"
echo 'int below(void); int above(void) { return below(); }' | gcc -shared -fPIC -x c - -o "$T/dir/lib/libabove.so.1" -L"$T/dir/lib" -lbelow
ln -s libabove.so.1 "$T/dir/lib/libabove.so"
make_rootfs "$T/dir"
printf '#!/bin/sh\necho "$WORD in $PWD"; test "$WORD" = said && test "$PWD" = /home/app && test ! -e /fails\n' >"$T/dir/bin/word"
chmod 755 "$T/dir/bin/word"
tar -C "$T/dir" -cf "$T/layer.tar" .
image "$T/plain:x" gzip:"$T/layer.tar" >/dev/null
"$STAGEFS" commit -q "oci:$T/plain:x" --env WORD=said --workingdir /home/app -t "oci:$T/layout:y" >/dev/null
"$STAGEFS" bench "oci:$T/layout:y" --lib libabove.so --lib libslow.so --against dir --runs 100 --json >"$T/copied" 2>"$T/stderr" &
bench=$!
for _ in $(seq 100); do
    [ -e "$T"/tmp/*/dir/lib/libabove.so.1 ] && [ -e "$T"/tmp/*/dir/lib/libslow.so ] && break
    sleep 0.05
done
copies=$(cd "$T"/tmp/*/dir && find . -type f | sort | tr '\n' ' ')
wait "$bench" || fail "ended with $?: $(cat "$T/stderr")"
[ "$copies" = './lib/libabove.so.1 ./lib/libbelow.so ./lib/libslow.so ' ] || fail "not what is needed was copied: $copies"
gone

# ---- commands find what the image's config gives them; 1 if one of them fails
expect 0 "$STAGEFS" bench "oci:$T/layout:y" --exec /bin/word --runs 1 --json
expect 1 "$STAGEFS" bench "oci:$T/layout:y" --exec /bin/word --exec 'no such command' --runs 1
grep -q 'FAILED: exit status 127' "$T/stdout" && grep -q '^  stagefs  *warm  *[0-9]' "$T/stdout" || fail "one that fails, and one that does not: $(cat "$T/stdout")"
printf 'root:x:0:\napp:x:1000:\nextra:x:77:app\n' >"$T/dir/etc/group"
tar -C "$T/dir" -cf "$T/layer.tar" .
image "$T/plain:x" gzip:"$T/layer.tar" >/dev/null
"$STAGEFS" commit -q "oci:$T/plain:x" --user app -t "oci:$T/layout:user" >/dev/null
expect 0 "$STAGEFS" bench "oci:$T/layout:user" --exec '[ "$(id -u):$(id -g):$(id -G)" = "1000:1000:1000 77" ]' --against dir --runs 1
"$STAGEFS" commit -q "oci:$T/plain:x" --user nobody-there -t "oci:$T/layout:user" >/dev/null
expect 2 "$STAGEFS" bench "oci:$T/layout:user" --exec true --runs 1
says nobody-there
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
