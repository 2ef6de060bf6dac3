# Sourced after lib.sh. Registries of the tests: they listen on 127.0.0.1, and are ended by their process ids.
# What this machine sets is not meant for them.
unset http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY all_proxy ALL_PROXY XDG_CONFIG_HOME
registry_pids=
stop_registries() {
    status=$?
    for pid in $registry_pids; do kill "$pid" 2>/dev/null || true; done
    set +e # else the next line ends the shell before it has cleaned up
    (exit $status)
    cleanup
}
trap stop_registries EXIT INT TERM

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# wait_for_port PORT: until somebody listens there.
wait_for_port() {
    for _ in $(seq 100); do
        python3 -c "import socket; socket.create_connection(('127.0.0.1', $1), 1)" 2>/dev/null && return
        sleep 0.1
    done
    fail "nobody listens at port $1"
}

# start_registry NAME [FILE]: docker-registry on a free port, its files in $T/NAME. FILE: more of its configuration; what
# it says of "http:" is indented below addr. Sets $port and $pid.
start_registry() {
    port=$(free_port)
    mkdir -p "$T/$1"
    cat >"$T/$1/config.yml" <<CONFIG
version: 0.1
log: {level: info, accesslog: {disabled: false}}
storage:
  filesystem: {rootdirectory: $T/${STORE:-$1}/store}
  redirect: {disable: false}
  delete: {enabled: true}
${MORE:-}
http:
  addr: 127.0.0.1:$port
  secret: of-the-tests
${HTTP_MORE:-}
CONFIG
    env -i PATH="$PATH" HOME="$T" docker-registry serve "$T/$1/config.yml" >"$T/$1/log" 2>&1 &
    pid=$!
    registry_pids="$registry_pids $pid"
    wait_for_port "$port"
}

# make_layout DIR: an OCI layout with one image, tag "one", whose layer has some megabytes.
make_layout() {
    umoci init --layout "$1" >/dev/null 2>&1
    umoci new --image "$1:one" >/dev/null 2>&1
    mkdir -p "$T/tree"
    head -c 3000000 /dev/urandom >"$T/tree/big"
    seq 100000 >"$T/tree/numbers"
    umoci insert --image "$1:one" "$T/tree" / >/dev/null 2>&1
}

# push LAYOUT:TAG NAME [skopeo's options]: NAME is HOST:PORT/NAME:TAG.
push() {
    from=$1 to=$2
    shift 2
    skopeo copy -q --dest-tls-verify=false "$@" "oci:$from" "docker://$to"
}

# start_writes: registry_writes.py on free ports. Sets $port and $writes_log.
start_writes() {
    port=$(free_port)
    storage=$(free_port)
    writes_log=$T/writes.log
    : >"$writes_log"
    python3 "$HERE/registry_writes.py" "$port" "$storage" "$writes_log" &
    registry_pids="$registry_pids $!"
    wait_for_port "$port"
    wait_for_port "$storage"
}

# mount_it NAME [OPTION...]: mounts $REF on $T/mnt, with the cache directory of that name; its words go to $T/words. Sets $mounted.
mount_it() {
    export STAGEFS_CACHE_DIR="$T/cache-$1"
    shift
    "$STAGEFS" mount -v --foreground "$@" "$REF" "$T/mnt" >"$T/words" 2>&1 &
    mounted=$!
    for _ in $(seq 200); do
        mountpoint -q "$T/mnt" && return
        kill -0 "$mounted" 2>/dev/null || fail "no mount: $(cat "$T/words")"
        sleep 0.05
    done
    fail "no mount after 10 seconds: $(cat "$T/words")"
}
unmount_it() {
    "$STAGEFS" umount "$T/mnt"
    wait "$mounted" || fail "the mount ended with $?: $(cat "$T/words")"
}
