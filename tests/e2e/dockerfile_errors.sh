#!/bin/sh
# A Dockerfile that is wrong, or a RUN that fails, ends with 1 or 2 and one sentence that names the line, and leaves nothing behind.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/rootfs.sh"
need python3
make_rootfs "$T/root"
tar --numeric-owner --owner=0 --group=0 -C "$T/root" -cf "$T/base.tar" .
image "$T/stage:base" gzip:"$T/base.tar" >/dev/null
mkdir "$T/context"
echo a >"$T/context/a"

# wrong STATUS WORDS DOCKERFILE-TEXT [OPTION...]
wrong() {
    status=$1 words=$2
    printf "$3" >"$T/Dockerfile"
    shift 3
    expect "$status" "$STAGEFS" commit -q -f "$T/Dockerfile" --context "$T/context" --build-context "base=oci:$T/stage:base" "$@" -t "oci:$T/out:x"
    says "$words"
    [ ! -e "$T/out" ] || fail "an image was begun: $words"
    [ -z "$(ls -A "$STAGEFS_CACHE_DIR/run" 2>/dev/null)" ] || fail "left behind: $(ls "$STAGEFS_CACHE_DIR/run")"
}
wrong 2 "Dockerfile:2: CPOY: unknown instruction: CPOY (did you mean COPY?)" 'FROM base\nCPOY a b\n'
wrong 2 "Dockerfile:3: ENV: unexpected end of statement" 'FROM base\n\nENV A="b\n'
wrong 2 "Dockerfile:2: unterminated heredoc" 'FROM base\nCOPY <<EOT /x\nhello\n'
wrong 1 'Dockerfile:2: COPY: "/nothing": not found' 'FROM base\nCOPY nothing /x\n'
wrong 2 "circular dependency detected on stage" 'FROM base AS one\nCOPY --from=two a b\nFROM one AS two\n'
wrong 1 "--build-context debian:12=oci:DIR:TAG" 'FROM debian:12\n'
wrong 1 "--build-context x=$T/none: there is no such directory" 'FROM base\nCOPY --from=x a b\n' --build-context "x=$T/none"
wrong 1 "COPY: --build-context x" 'FROM base\nCOPY --from=x a b\n' --build-context "x=oci:$T/none"
wrong 2 "no ARG takes --build-arg X" 'FROM base\n' --strict --build-arg X=1
expect 1 "$STAGEFS" ls -f "$T/none" /
says "$T/none"
if [ "$(id -u)" = 0 ] && [ -c /dev/fuse ] && command -v runc >/dev/null; then
    printf 'FROM base\nRUN echo before && exit 3\n' >"$T/Dockerfile"
    expect 1 "$STAGEFS" commit -q -f "$T/Dockerfile" --build-context "base=oci:$T/stage:base" -t "oci:$T/out:x"
    grep -qx before "$T/stderr" || fail "the command's output did not pass through"
    grep -qx "stagefs: $T/Dockerfile:2: RUN: \"/bin/sh -c echo before && exit 3\" ended with status 3" "$T/stderr" || fail "$(cat "$T/stderr")"
    [ ! -e "$T/out" ] || fail "an image was begun"
    wrong 1 'Dockerfile:2: RUN: there is no /bin/sh in the stage' 'FROM scratch\nRUN true\n'
    wrong 2 "Dockerfile:3: RUN: there is no user 'nobody' in the stage's /etc/passwd" 'FROM base\nUSER nobody\nRUN true\n'
    wrong 1 'secret s: not found; give it with --secret id=s,src=FILE' 'FROM base\nRUN --mount=type=secret,id=s,required=true true\n'
    # No runtime.
    mkdir "$T/bin"
    ln -s "$(command -v true)" "$T/bin/true"
    printf 'FROM base\nRUN true\n' >"$T/Dockerfile"
    expect 1 env PATH="$T/bin" "$STAGEFS" commit -q -f "$T/Dockerfile" --build-context "base=oci:$T/stage:base" -t "oci:$T/out:x"
    says "Dockerfile:2: RUN: no runtime is installed to run commands in: install runc, crun or bubblewrap"
    # A signal while a command runs.
    printf 'FROM base\nRUN echo started && while :; do :; done\n' >"$T/Dockerfile"
    "$STAGEFS" commit -q -f "$T/Dockerfile" --build-context "base=oci:$T/stage:base" -t "oci:$T/out:x" 2>"$T/stderr" &
    pid=$!
    while ! grep -q started "$T/stderr"; do sleep 0.1; done
    kill -TERM $pid
    status=0
    wait $pid || status=$?
    [ "$status" = 1 ] || fail "SIGTERM: status $status: $(cat "$T/stderr")"
    grep -q "RUN: interrupted" "$T/stderr" || fail "SIGTERM: $(cat "$T/stderr")"
    [ -z "$(ls -A "$STAGEFS_CACHE_DIR/run")" ] || fail "SIGTERM left $(ls "$STAGEFS_CACHE_DIR/run")"
    # A killed one leaves a directory, which the next one sweeps.
    "$STAGEFS" commit -q -f "$T/Dockerfile" --build-context "base=oci:$T/stage:base" -t "oci:$T/out:x" 2>"$T/stderr2" &
    pid=$!
    while ! grep -q started "$T/stderr2"; do sleep 0.1; done
    kill -KILL $pid
    wait $pid 2>/dev/null || true
    ! grep -q "$T" /proc/self/mountinfo || fail "a mount was left"
    tries=0
    while pgrep -f 'echo started && while' >/dev/null; do
        tries=$((tries + 1))
        [ $tries -lt 100 ] || fail "the command outlived stagefs"
        sleep 0.1
    done
    printf 'FROM base\nRUN true\n' >"$T/Dockerfile"
    tries=0
    while :; do # until the runtime has cleaned up, which holds the lock as long
        expect 0 "$STAGEFS" ls -q --allow-run --no-cache -f "$T/Dockerfile" --build-context "base=oci:$T/stage:base" /
        [ -n "$(ls -A "$STAGEFS_CACHE_DIR/run")" ] || break
        tries=$((tries + 1))
        [ $tries -lt 100 ] || fail "not swept: $(ls "$STAGEFS_CACHE_DIR/run")"
        sleep 0.1
    done
fi
