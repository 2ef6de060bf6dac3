#!/bin/sh
# What run, trace and RUN promise of their sandbox (docs/security.md), seen from inside it, with every runtime that is
# here; podman on the same machine is the measure.
. "$(dirname "$0")/lib.sh"
need_root
need_fuse
need python3
export SANDBOX_PROBE="${SANDBOX_PROBE:?the program that looks from inside}"

runtimes=""
for runtime in runc crun bwrap; do command -v $runtime >/dev/null && runtimes="$runtimes $runtime"; done
[ -n "$runtimes" ] || skip "no runtime is installed"

# An image of the probe alone, with a device node, and one with a shell.
mkdir -p "$T/d/tmp" "$T/s/bin" "$T/s/etc" "$T/rw"
cp "$SANDBOX_PROBE" "$T/d/probe"
mknod -m 666 "$T/d/image-null" c 1 3
need busybox
cp "$(command -v busybox)" "$T/s/bin/busybox"
for name in sh cat echo id kill ls sleep stty trap tty; do ln -s busybox "$T/s/bin/$name"; done
chown -R 0:0 "$T/d" "$T/s"
host=$(for kind in pid mnt ipc uts net cgroup; do readlink /proc/self/ns/$kind; done)

# crun refuses some hosts, whatever it is to run.
works=""
for runtime in $runtimes; do
    if "$STAGEFS" run -q --runtime $runtime "dir:$T/d" -- /probe >"$T/stdout" 2>"$T/stderr"; then
        works="$works $runtime"
    elif [ $runtime = crun ]; then
        echo "crun does not run here: $(cat "$T/stderr")"
    else
        fail "$runtime: $(cat "$T/stderr")"
    fi
done

# ---- the same from inside, whatever starts it ----

# $host is words
# shellcheck disable=SC2086
probe() { "$SANDBOX_PROBE" keyring "$STAGEFS" "$@" -- /probe $host; }
printf 'FROM base\nRUN ["/probe"%s]\n' "$(for word in $host; do printf ', "%s"' "$word"; done)" >"$T/Dockerfile"
# Without control groups there is no limit of processes, and a note says so.
filter_limit() { cat; }
for runtime in $works; do
    "$STAGEFS" run -v --runtime $runtime "dir:$T/d" -- /probe >"$T/stdout" 2>"$T/stderr" || fail "$runtime: $(cat "$T/stderr")"
    if grep -q 'no limit of processes' "$T/stderr"; then
        cat "$T/stderr"
        filter_limit() { grep -v '^processes:'; }
    fi
done
for runtime in $works; do
    probe run -q --runtime $runtime --network none "dir:$T/d" >"$T/run.$runtime" || fail "run in $runtime"
    probe trace -q --runtime $runtime --network none "dir:$T/d" -o "$T/profile" >"$T/trace.$runtime" || fail "trace in $runtime"
    STAGEFS_RUNTIME=$runtime "$SANDBOX_PROBE" keyring "$STAGEFS" ls -q --allow-run --no-cache -f "$T/Dockerfile" --context "$T/rw" --network none \
        --build-context "base=dir:$T/d" >/dev/null 2>"$T/RUN.$runtime" || fail "RUN in $runtime: $(cat "$T/RUN.$runtime")"
    filter_limit >"$T/wanted" <<'WANTED'
descriptors:more closed
descriptors:of-the-host closed
device:/dev/fuse closed
device:/dev/kmsg closed
device:of-the-image closed
keyring:of-the-caller closed
keyring:of-the-user closed
mask:other-root closed
mask:umount closed
mask:umount-in-namespace closed
mknod:block/dev/probe-node closed
mknod:char/probe-node closed
mount:dev-of-the-host closed
mount:root-dev closed
mount:sys-write closed
namespace:ipc closed
namespace:mnt closed
namespace:net closed
namespace:pid closed
namespace:uts closed
new-privileges closed
processes:unlimited closed
read:/proc/kcore closed
unfiltered closed
works:/dev/null open
works:/dev/ptmx open
write:/proc/sys/kernel/core_pattern closed
write:/proc/sysrq-trigger closed
WANTED
    for what in run trace RUN; do
        grep -E ' (open|closed)$' "$T/$what.$runtime" | filter_limit | sort >"$T/is"
        [ -s "$T/is" ] || fail "$what in $runtime tells nothing: $(cat "$T/$what.$runtime")"
        join -v 1 -t '|' "$T/wanted" "$T/is" >"$T/diff"
        [ -s "$T/diff" ] && fail "$what in $runtime is not: $(cat "$T/diff")"
        [ -f "$T/first" ] || cp "$T/is" "$T/first"
        same "$what in $runtime and run in the first of$works" "$T/first" "$T/is"
    done
done
# 11 capabilities in three sets, and none inheritable or ambient
[ "$(grep -c '^Cap' "$T/first")" = 33 ] || fail "capabilities: $(grep '^Cap' "$T/first")"

# A tree of control groups without the controller of processes (as a chroot may have it on a host with version 1 beside
# it) costs the limit, and not the run.
if command -v unshare >/dev/null; then
    export T works
    unshare --mount sh -euc '
        mount --make-rprivate /
        mount -t cgroup2 none /sys/fs/cgroup 2>/dev/null || exit 0
        grep -qw pids /sys/fs/cgroup/cgroup.controllers && exit 0
        for runtime in $works; do
            "$STAGEFS" run --runtime $runtime "dir:$T/s" /bin/id >/dev/null 2>"$T/stderr"
            [ ! -s "$T/stderr" ]
            "$STAGEFS" run -v --runtime $runtime "dir:$T/s" /bin/id >/dev/null 2>"$T/stderr"
            grep -q "no limit of processes" "$T/stderr"
        done' || fail "without the controller of processes: $(cat "$T/stderr")"
fi

# ---- not weaker than podman ----

if command -v podman >/dev/null; then
    podman_here() { podman --root "$T/p" --runroot "$T/pr" --storage-driver vfs --runtime runc --cgroup-manager=cgroupfs --events-backend=file "$@"; }
    tar -C "$T/d" -cf "$T/d.tar" .
    podman_here import -q "$T/d.tar" probe >/dev/null 2>"$T/stderr" || fail "podman import: $(cat "$T/stderr")"
    # shellcheck disable=SC2086
    if "$SANDBOX_PROBE" keyring podman --root "$T/p" --runroot "$T/pr" --storage-driver vfs --runtime runc --cgroup-manager=cgroupfs \
        --events-backend=file run --rm --ulimit nofile=1024:1024 --ulimit nproc=1000:1000 --network=none probe /probe $host \
        >"$T/podman" 2>"$T/stderr"; then
        # what is open here, and closed or not there in podman
        grep ' open$' "$T/first" | sort >"$T/ours"
        grep ' open$' "$T/podman" | sort >"$T/theirs"
        join -v 1 -t '|' "$T/ours" "$T/theirs" >"$T/weaker"
        [ -s "$T/weaker" ] && fail "weaker than podman: $(cat "$T/weaker")"
        echo "closed here and open in podman: $(join -v 2 -t '|' "$T/ours" "$T/theirs" | cut -d' ' -f1 | tr '\n' ' ')"
    else
        echo "podman runs nothing here: $(tail -1 "$T/stderr")"
    fi
fi

# ---- machines without that list, or with one that is none: in a mount namespace where it is hidden ----

hidden() { # TEXT of /etc/containers/seccomp.json, COMMAND...
    text=$1
    shift
    unshare -m sh -c 'text=$1; shift
        mount -t tmpfs none /usr/share/containers && mount -t tmpfs none /etc/containers || exit 99
        [ -z "$text" ] || echo "$text" >/etc/containers/seccomp.json
        exec "$@"' sh "$text" "$@"
}
if command -v unshare >/dev/null && [ -d /etc/containers ] && [ -d /usr/share/containers ]; then
    expect 0 hidden "" "$STAGEFS" run -q --network none "dir:$T/d" -- /probe
    for name in call:bpf call:unshare-user call:unshare-mount call:open_by_handle_at call:userfaultfd socket:alg socket:vsock; do
        grep -qx "$name closed" "$T/stdout" || fail "by the list of stagefs: $(grep "^$name" "$T/stdout")"
    done
    expect 0 hidden "" "$STAGEFS" run -q "dir:$T/s" -- /bin/sh -c 'echo runs | cat'
    expect 125 hidden '{"defaultAction": 1}' "$STAGEFS" run -q "dir:$T/d" -- /probe
    says "/etc/containers/seccomp.json: not a list of system calls"
fi

# ---- hosts that hand core dumps to a program: none comes from a sandbox ----

piped() {
    unshare -m sh -c 'echo "|/bin/false %p" >"$1/pattern" && mount --bind "$1/pattern" /proc/sys/kernel/core_pattern || exit 99
        shift
        exec "$@"' sh "$T" "$@"
}
if command -v unshare >/dev/null; then
    for runtime in $works; do
        # whatever the limit is outside
        for limit in 0 unlimited; do
            # shellcheck disable=SC2016,SC3045
            expect 0 piped sh -c 'ulimit -S -c $0 && exec "$@"' $limit "$STAGEFS" run -q --runtime $runtime "dir:$T/d" -- /probe
            grep -qx 'call:core-limit closed' "$T/stdout" || fail "$runtime: the limit of core dumps can be set: $(cat "$T/stdout")"
        done
    done
fi

# ---- setuid programs only where they are asked for; users ----

for runtime in $works; do
    expect 0 "$STAGEFS" run -q --runtime $runtime -u 1234:77 "dir:$T/s" -- /bin/id
    grep -q '^uid=1234 gid=77' "$T/stdout" || fail "$runtime: $(cat "$T/stdout")"
    expect 0 "$STAGEFS" run -q --runtime $runtime -u 1234:77 "dir:$T/s" -- /bin/sh -c 'cat /proc/self/status'
    [ "$(grep -cE '^Cap(Eff|Prm|Inh|Amb):.0*$' "$T/stdout")" = 4 ] || fail "$runtime: a user has capabilities: $(cat "$T/stdout")"
    expect 0 "$STAGEFS" run -q --init --runtime $runtime "dir:$T/d" -- /probe
    grep -qx 'call:take-init closed' "$T/stdout" || fail "$runtime: the first process of --init can be reached"
    [ $runtime = bwrap ] && continue
    expect 0 "$STAGEFS" run -q --suid --runtime $runtime "dir:$T/d" -- /probe
    grep -qx 'new-privileges open' "$T/stdout" || fail "$runtime --suid: $(cat "$T/stdout")"
    grep -qx 'unfiltered closed' "$T/stdout" || fail "$runtime --suid is not filtered"
done

# ---- images that a sandbox cannot be made of: one sentence, nothing else tried ----

for name in proc sys dev; do
    rm -rf "$T/h" && cp -a "$T/s" "$T/h" && mkdir "$T/h/elsewhere" && ln -s elsewhere "$T/h/$name"
    expect 125 "$STAGEFS" run -q "dir:$T/h" -- /bin/echo ran
    says "/$name is a symbolic link"
    rm "$T/h/$name" && echo text >"$T/h/$name"
    expect 125 "$STAGEFS" run -q "dir:$T/h" -- /bin/echo ran
    says "/$name is no directory"
    rm "$T/h/$name"
done
ln -s loop2 "$T/h/loop1" && ln -s loop1 "$T/h/loop2" && ln -s /proc/sys "$T/h/in-proc" && ln -s ../../../../.. "$T/h/up" && ln -s /dev "$T/h/in-dev"
for target in /proc/version /proc/sys /sys/x /dev / /loop1/x /in-proc/kernel; do
    expect 125 "$STAGEFS" run -q --rw "$T/rw:$target" "dir:$T/h" -- /bin/echo ran
    says "$target cannot be mounted on"
done
for target in /up/a/b /in-dev/c /dev/shm/d /new/e; do
    expect 0 "$STAGEFS" run -q --rw "$T/rw:$target" "dir:$T/h" -- /bin/sh -c "echo x >$target/written"
    [ -e "$T/rw/written" ] || fail "--rw at $target: nothing came"
    rm "$T/rw/written"
done
# What a runtime would read inside the root, and wait for
for name in passwd group; do
    mv "$T/h/etc/$name" "$T/kept" 2>/dev/null || :
    for link in "" /dev/ptmx /proc/self/fd/0; do
        [ -n "$link" ] && ln -s $link "$T/h/etc/$name" || mkfifo "$T/h/etc/$name"
        expect 125 timeout 60 "$STAGEFS" run -q "dir:$T/h" -- /bin/echo ran
        says "/etc/$name is no regular file"
        rm "$T/h/etc/$name"
    done
    mv "$T/kept" "$T/h/etc/$name" 2>/dev/null || :
done
# Runtimes hide files of /proc behind /dev/null: an image cannot have another file there.
ln -s /dev/null "$T/h/etc/resolv.conf"
expect 125 "$STAGEFS" run -q "dir:$T/h" -- /bin/echo ran
says "it is a device of the sandbox"
rm "$T/h/etc/resolv.conf"
# A working directory that leads to a descriptor of the runtime's (CVE-2024-21626)
expect 126 "$STAGEFS" run -q -w /proc/self/fd/8/../.. "dir:$T/s" -- /bin/sh -c 'ls -d etc/../proc/1'
echo FROM base >"$T/Dockerfile"
echo 'RUN --mount=type=bind,target=/proc/version echo ran' >>"$T/Dockerfile"
expect 1 "$STAGEFS" ls -q --allow-run --no-cache -f "$T/Dockerfile" --context "$T/rw" --build-context "base=dir:$T/s"
says "/proc/version cannot be mounted on"
expect 125 env PATH="$T/nothing" "$STAGEFS" run -q "dir:$T/s" -- /bin/echo
says "no runtime is installed"

# ---- a Dockerfile reaches images and the build context, and no directory of the host ----

for line in "FROM dir:$T/s" "COPY --from=dir:$T/s /bin /bin" "RUN --mount=type=bind,from=dir:$T/s,target=/m ls /m"; do
    printf 'FROM base\n%s\n' "$line" >"$T/Dockerfile"
    expect 1 "$STAGEFS" ls -q --allow-run -f "$T/Dockerfile" --context "$T/rw" --build-context "base=dir:$T/s"
    says "dir:$T/s"
    says "--build-context"
done

# ---- overlay's own attributes are the image's to hold, not to use ----

python3 - "$T" <<'PY'
import os, sys
root = sys.argv[1] + '/s'
for name, attribute, value in (('meta', 'metacopy', b''), ('moved', 'redirect', b'/etc'), ('whole', 'opaque', b'y')):
    path = root + '/' + name
    if name == 'meta': open(path, 'w').write('text\n')
    else: os.mkdir(path); open(path + '/inside', 'w').write('text\n')
    os.setxattr(path, 'trusted.overlay.' + attribute, value)
    os.setxattr(path, 'user.overlay.' + attribute, value)
PY
expect 0 "$STAGEFS" run -q "dir:$T/s" -- /bin/sh -c 'cat /meta /moved/inside /whole/inside'
[ "$(cat "$T/stdout")" = "text
text
text" ] || fail "overlay's attributes: $(cat "$T/stdout")"

# What an overlay takes for a whiteout is a device file as any other.
mknod "$T/s/gone" c 0 0
tar -C "$T/s" -cf "$T/s.tar" .
image "$T/img:x" gzip:"$T/s.tar" >/dev/null
expect 0 "$STAGEFS" run -q "oci:$T/img:x" -- /bin/ls /gone
rm "$T/s/gone"

# ---- what is freed beside a command takes nothing from it, and follows no links ----

mkdir "$T/kept.d" && echo text >"$T/kept.d/file"
ln -s "$T/kept.d" "$STAGEFS_CACHE_DIR/run/.stagefs-tmp-aaaaaaaaaaaa"
: >"$T/stdout"
"$STAGEFS" run -q "oci:$T/img:x" -- /bin/sh -c 'echo runs; sleep 3; cat /moved/inside; ls /bin' >"$T/stdout" 2>"$T/stderr" &
pid=$!
for _ in $(seq 600); do
    [ -s "$T/stdout" ] && break
    sleep 0.1
done
"$STAGEFS" cache prune -q >/dev/null || fail "pruning beside a command"
wait $pid || fail "a command beside which was pruned: $(cat "$T/stderr")"
grep -qx text "$T/stdout" && grep -qx busybox "$T/stdout" || fail "a command lost files by pruning: $(cat "$T/stdout" "$T/stderr")"
[ -f "$T/kept.d/file" ] || fail "pruning followed a link"
rm -f "$STAGEFS_CACHE_DIR/run/.stagefs-tmp-aaaaaaaaaaaa"

# ---- statuses and signals ----

expect 127 "$STAGEFS" run -q "dir:$T/s" -- /bin/nothing
says "/bin/nothing"
expect 127 "$STAGEFS" run -q "dir:$T/s" -- nothing
expect 127 "$STAGEFS" run -q "dir:$T/s" -- ""
says "no name"
expect 126 "$STAGEFS" run -q "dir:$T/s" -- /etc
says "/etc cannot be executed"
expect 7 "$STAGEFS" run -q "dir:$T/s" -- /bin/sh -c 'exit 7'
expect 137 "$STAGEFS" run -q --init "dir:$T/s" -- /bin/sh -c 'kill -9 $$'

# ended SIGNAL ARGS...: the status of a command that is sent SIGNAL when it says that it runs
ended() {
    signal=$1
    shift
    : >"$T/stdout" # what another command said is no sign of this one
    "$STAGEFS" run -q "$@" >"$T/stdout" 2>"$T/stderr" &
    pid=$!
    for _ in $(seq 600); do
        [ -s "$T/stdout" ] && break
        sleep 0.1
    done
    [ -s "$T/stdout" ] || fail "a command that does not start within a minute: $*"
    kill -s "$signal" $pid
    got=0
    wait $pid || got=$?
}
for runtime in $works; do
    for extra in "" --init; do
        # a shell without a handler, as first process: the kernel would keep the signal from it
        # shellcheck disable=SC2086
        ended TERM --runtime $runtime $extra "dir:$T/s" -- /bin/sh -c 'echo runs; sleep 30; echo late'
        [ "$got" = 143 ] || fail "$runtime $extra: SIGTERM gave $got: $(cat "$T/stdout" "$T/stderr")"
        # shellcheck disable=SC2086
        ended TERM --runtime $runtime $extra "dir:$T/s" -- /bin/sh -c 'trap "echo taken; exit 9" TERM; echo runs; while :; do sleep 0.1; done'
        [ "$got" = 9 ] && grep -qx taken "$T/stdout" || fail "$runtime $extra: a handler: $got $(cat "$T/stdout" "$T/stderr")"
    done
    # Whatever ends stagefs ends the command, one that is no longer root as well.
    rm -f "$T/rw/alive"
    chmod 0777 "$T/rw"
    ended KILL --runtime $runtime -u 1234 --rw "$T/rw:/rw" "dir:$T/s" -- /bin/sh -c 'echo runs; while :; do echo x >/rw/alive; sleep 0.1; done'
    sleep 2
    rm -f "$T/rw/alive"
    sleep 1
    [ ! -e "$T/rw/alive" ] || fail "$runtime: the command lives longer than stagefs"
done
# Of control groups that stagefs makes (runc makes its own) nothing stays: what dies with its supervisor, which would have
# removed the group, leaves it to the next run.
is_left() { [ -n "$(find /sys/fs/cgroup -maxdepth 4 -name "$1" 2>/dev/null)" ]; }
for runtime in $works; do
    : >"$T/stdout"
    "$STAGEFS" run -q --runtime $runtime "dir:$T/s" -- /bin/sh -c 'cat /proc/self/cgroup; echo; sleep 100' >"$T/stdout" 2>"$T/stderr" &
    pid=$!
    for _ in $(seq 600); do
        grep -qx '' "$T/stdout" && break
        sleep 0.1
    done
    group=$(grep -o 'stagefs-run-[a-z0-9]*' "$T/stdout" | head -1) || :
    helpers=$(cat /proc/$pid/task/*/children)
    if [ -z "$group" ]; then
        kill $pid
        wait $pid || :
        continue
    fi
    is_left "$group" || fail "$runtime: $group is not to be found"
    kill -STOP $pid
    # shellcheck disable=SC2086
    kill -KILL $helpers $pid
    wait $pid || :
    sleep 1
    is_left "$group" || echo "$runtime: the group of what was killed was removed by a run of another test"
    expect 0 "$STAGEFS" run -q --runtime $runtime "dir:$T/s" -- /bin/echo swept
    ! is_left "$group" || fail "$runtime: $group is left"
done

# ---- standard streams: bytes go through, and neither files nor terminals of the host are in the command's hands ----

through() { expect 0 "$STAGEFS" run -q --runtime $runtime "$@"; }
for runtime in $works; do
    echo given >"$T/given" && chmod 600 "$T/given"
    through -u 1234 "dir:$T/s" -- /bin/sh -c 'cat; echo said >&2' <"$T/given"
    [ "$(cat "$T/stdout")$(cat "$T/stderr")" = givensaid ] || fail "$runtime: streams: $(cat "$T/stdout" "$T/stderr")"
    [ "$(stat -c %u "$T/given" "$T/stdout" "$T/stderr" | sort -u)" = 0 ] || fail "$runtime: a stream has another owner"
    through "dir:$T/s" -- /bin/sh -c 'echo changed >/proc/self/fd/0; :' <"$T/given"
    [ "$(cat "$T/given")" = given ] || fail "$runtime: standard input was written to: $(cat "$T/given")"
    expect 125 "$STAGEFS" run -q --runtime $runtime "dir:$T/s" -- /bin/sh -c 'ls -d /proc/self/fd/0/.. 2>/dev/null; cat' <"$T"
    says "Is a directory"
    expect 125 sh -c '"$@" >/dev/full' sh "$STAGEFS" run -q --runtime $runtime "dir:$T/s" -- /bin/echo lost
    says "No space left on device"
    # in order where both go to one place, if no runtime stands between; a command that ends before its input does
    "$STAGEFS" run -q --runtime $runtime "dir:$T/s" -- /bin/sh -c 'for i in 1 2 3; do echo $i; echo $i >&2; done' >"$T/both" 2>&1
    [ "$(tr -d '\n' <"$T/both")" = 112233 ] || [ $runtime = runc ] || fail "$runtime: the order: $(cat "$T/both")"
    head -c 10000000 /dev/zero >"$T/large"
    through "dir:$T/s" -- /bin/sh -c 'read -r x; :' <"$T/large"
    through "dir:$T/s" -- /bin/cat <"$T/large"
    cmp -s "$T/large" "$T/stdout" || fail "$runtime: what went through is not what was given"
    # at a terminal, with one of the streams elsewhere
    python3 -c 'import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)' sh -c '"$@" </dev/null' sh "$STAGEFS" run -q \
        --runtime $runtime "dir:$T/s" -- /bin/sh -c 'tty <&1; tty <&2; :' >"$T/tty" </dev/null || fail "$runtime: at a terminal: $(cat "$T/tty")"
    [ "$(grep -c 'not a tty' "$T/tty")" = 2 ] || fail "$runtime: the caller's terminal: $(cat "$T/tty")"
done

# ---- a terminal of its own ----

for runtime in $works; do
    for extra in "" --init; do
        python3 "$HERE/terminal.py" "$STAGEFS" run -q --runtime $runtime $extra "dir:$T/s" -- /bin/sh || fail "a terminal in $runtime $extra"
    done
done
expect 0 "$STAGEFS" run -q -i -t "dir:$T/s" -- /bin/tty
grep -q '^/dev/pts/0' "$T/stdout" || fail "-t: $(cat "$T/stdout")"
echo "looked into:$works"
