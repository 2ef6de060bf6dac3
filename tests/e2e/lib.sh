# Sourced by the end-to-end tests. Each is one script: exit 0 passed, 77 skipped (with the reason on its last line), else
# failed. $STAGEFS is the program; everything lives in $T, which is unmounted and removed at the end.
set -eu
STAGEFS=${STAGEFS:?the stagefs program}
HERE=$(cd "$(dirname "$0")" && pwd)
T=${TMPDIR:-/tmp}/stagefs-e2e-$$-$(date +%s%N) # lower case: buildah asks for it
mkdir -m 0755 "$T"
export STAGEFS_CACHE_DIR="$T/cache" LC_ALL=C.UTF-8
export XDG_RUNTIME_DIR="$T/run"
mkdir -p "$T/run"

cleanup() {
    status=$?
    trap - EXIT INT TERM
    # Deepest first; a mount that a failing test left must not survive it.
    awk -v t="$T/" 'index($5, t) == 1 { print $5 }' /proc/self/mountinfo | sort -r | while read -r m; do
        umount -l "$m" 2>/dev/null || fusermount3 -uz "$m" 2>/dev/null || true
    done
    cd /
    chmod -R u+rwX "$T" 2>/dev/null || true
    # A mount that has just ended may still write down what it learned.
    for _ in 1 2 3 4 5; do rm -rf --one-file-system "$T" 2>/dev/null && break; sleep 1; done
    exit $status
}
trap cleanup EXIT INT TERM

skip() {
    echo "skipped: $*"
    exit 77
}
fail() {
    echo "FAILED: $*" >&2
    exit 1
}
need() {
    for tool; do command -v "$tool" >/dev/null 2>&1 || skip "$tool is not installed"; done
}
need_root() { [ "$(id -u)" = 0 ] || skip "takes root"; }
need_fuse() { [ -c /dev/fuse ] || skip "there is no /dev/fuse"; }

# expect STATUS COMMAND...: runs it, keeps its output in $T/out and $T/stderr, compares the status.
expect() {
    wanted=$1
    shift
    got=0
    "$@" >"$T/stdout" 2>"$T/stderr" || got=$?
    [ "$got" = "$wanted" ] || fail "'$*' ended with $got, not $wanted: $(cat "$T/stderr")"
}
# wait_for COMMAND...: runs it again and again, for half a minute at least, until it succeeds.
wait_for() {
    for _ in $(seq 600); do
        "$@" && return 0
        sleep 0.05
    done
    return 1
}
# says TEXT: the last expect's stderr is one line that holds TEXT.
says() {
    [ "$(wc -l <"$T/stderr")" = 1 ] || fail "not one sentence: $(cat "$T/stderr")"
    grep -qF -- "$1" "$T/stderr" || fail "does not name '$1': $(cat "$T/stderr")"
}
# same LABEL A B: two listings are equal.
same() {
    diff -u "$2" "$3" >"$T/diff" || {
        head -40 "$T/diff" >&2
        fail "$1: the trees differ"
    }
}
list() { python3 "$HERE/list.py" "$@"; }
image() { python3 "$HERE/image.py" "$@"; }
