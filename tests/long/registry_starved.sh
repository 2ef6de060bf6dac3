#!/bin/sh
# Starts from a registry on a machine that is too busy for them: each with an empty cache directory, with many readers that
# map files (a failed read is SIGBUS there) and compare all they see, with the index and a profile beside the image. The
# server gets little of a core or is stopped for longer than a reader has patience, the registry is stopped again and again,
# the disk has no room, two mounts share a cache directory and one of them is stopped, the line is slow. About 20 minutes.
#
#   tests/long/registry_starved.sh STAGEFS [CASE...]
#
# Takes root (for the mounts, and for a control group of its own; without the controller "cpu" the server runs at nice 19).
STAGEFS=${1:?the stagefs program}
shift
case $STAGEFS in /*) ;; *) STAGEFS=$PWD/$STAGEFS ;; esac
. "$(dirname "$0")/../e2e/lib.sh"
need docker-registry umoci python3
need_root
need_fuse
LONG=$HERE
HERE=$HERE/../e2e
. "$HERE/registry_lib.sh"
export HOME="$T/home"
mkdir -p "$HOME" "$T/ref/d"

python3 - "$T/ref/d" <<'PYTHON'
import random, sys
chance = random.Random(7)
for i in range(60):
    size, data = chance.choice([200_000, 900_000, 1_500_000, 4_000_000]), bytearray()
    while len(data) < size:
        data += chance.randbytes(3000) + bytes([i]) * 1096
    open(f'{sys.argv[1]}/f{i:02}', 'wb').write(data[:size])
PYTHON
umoci init --layout "$T/layout" >/dev/null 2>&1
umoci new --image "$T/layout:one" >/dev/null 2>&1
umoci insert --image "$T/layout:one" "$T/ref" / >/dev/null 2>&1
start_registry plain
registry=$pid R=127.0.0.1:$port
for file in "$T"/ref/d/*; do echo "read /d/${file##*/} 0+300000"; done >"$T/profile"
"$STAGEFS" push -q "oci:$T/layout:one" "docker://$R/a/b:one" >/dev/null
"$STAGEFS" index --push "oci:$T/layout:one" "docker://$R/a/b:one" >/dev/null
"$STAGEFS" profile push "$T/profile" "docker://$R/a/b:one" >/dev/null

# mount_starved NAME PERCENT [OPTIONS]: mounts on $T/NAME with so much of a core. Sets $server.
mount_starved() {
    name=$1 percent=$2 group=/sys/fs/cgroup/cpu/stagefs-starved-$$-$1
    shift 2
    mkdir -p "$T/$name"
    if [ -w /sys/fs/cgroup/cpu ] && mkdir "$group" 2>/dev/null; then
        groups="$groups $group"
        echo $((percent * 1000)) >"$group/cpu.cfs_quota_us"
        sh -c 'echo $$ >"$0/cgroup.procs"; exec "$@"' "$group" "$STAGEFS" mount --foreground "$@" "$T/$name" 2>"$T/$name.log" &
    else
        nice -n 19 "$STAGEFS" mount --foreground "$@" "$T/$name" 2>"$T/$name.log" &
    fi
    server=$!
    for _ in $(seq 600); do grep -q " $T/$name " /proc/mounts && return; sleep 0.1; done
    fail "$name: no mount: $(cat "$T/$name.log")"
}
groups=

# read_all NAME COUNT: so many readers at the same time.
read_all() {
    readers=
    for seed in $(seq "$2"); do
        timeout 900 python3 "$LONG/mapped_reader.py" "$T/$1/d" "$T/ref/d" "$seed" 2>>"$T/$1.log" &
        readers="$readers $!"
    done
    for reader in $readers; do
        wait "$reader" || fail "$1: a reader ended with $? (124: it hung, 135: SIGBUS): $(tail -5 "$T/$1.log")"
    done
}

# end NAME SERVER: the mount ends by itself, and soon.
end() {
    kill "$2"
    for _ in $(seq 900); do kill -0 "$2" 2>/dev/null || break; sleep 0.1; done
    if kill -0 "$2" 2>/dev/null; then
        ! command -v gdb >/dev/null || gdb -p "$2" -batch -ex 'thread apply all bt' >&2 2>/dev/null || true
        kill -9 "$2"
        fail "$1: the server does not end"
    fi
    for group in $groups; do rmdir "$group" 2>/dev/null || true; done
    rm -rf "$T/cache"
}

# again COUNT PID STOPPED RUNNING: stops a process again and again, so many seconds.
again() {
    for _ in $(seq "$1"); do kill -STOP "$2" && sleep "$3"; kill -CONT "$2"; sleep "$4"; done
}

one() { # NAME PERCENT READERS [OPTIONS]: the usual case
    name=$1 percent=$2 count=$3
    shift 3
    mount_starved "$name" "$percent" "$@" "docker://$R/a/b:one"
    read_all "$name" "$count"
    end "$name" "$server"
}

run_case() {
    case $1 in
    starved) one starved 2 8 ;;
    filling) one filling 2 8 --fill ;;
    no_room) one no_room 100 24 --cache-limit 64K && one no_room 3 16 --cache-limit 64K ;;
    stopped) # for longer than a minute
        mount_starved stopped 3 "docker://$R/a/b:one"
        (sleep 1; again 1 "$server" 70 0) &
        read_all stopped 8
        end stopped "$server"
        ;;
    registry_stops)
        mount_starved registry_stops 5 "docker://$R/a/b:one"
        again 6 "$registry" 6 0.3 &
        read_all registry_stops 8
        wait $!
        end registry_stops "$server"
        ;;
    two) # of one cache directory; the first is stopped while it holds what it fetches
        mount_starved first 5 --fill "docker://$R/a/b:one"
        first=$server
        mount_starved second 5 "docker://$R/a/b:one"
        (sleep 1; again 1 "$first" 80 0) &
        stopper=$!
        read_all second 8
        wait "$stopper"
        end first "$first"
        end second "$server"
        ;;
    slow) # what the profile asks for takes minutes, in requests of which each takes more than one: nobody fails meanwhile
        slow=$(free_port)
        python3 "$LONG/slow_line.py" "$slow" "$port" 60000 &
        registry_pids="$registry_pids $!"
        wait_for_port "$slow"
        mount_starved slow 100 "docker://127.0.0.1:$slow/a/b:one"
        readers=
        for seed in $(seq 10 17); do
            timeout 150 python3 "$LONG/mapped_reader.py" "$T/slow/d" "$T/ref/d" "$seed" 2>>"$T/slow.log" &
            readers="$readers $!"
        done
        for reader in $readers; do
            status=0
            wait "$reader" || status=$?
            [ $status = 124 ] || [ $status = 0 ] || fail "slow: a reader ended with $status: $(tail -5 "$T/slow.log")"
        done
        "$STAGEFS" stats "$T/slow" >"$T/stats"
        grep -q '^registry.failed  *0$' "$T/stats" || fail "slow: reads failed: $(cat "$T/slow.log")"
        end slow "$server"
        ;;
    *) fail "no case '$1'" ;;
    esac
    echo "$1: passed"
}
[ $# -gt 0 ] || set -- starved filling no_room stopped registry_stops two slow
for case; do
    rm -rf "$T/cache"
    run_case "$case"
done
