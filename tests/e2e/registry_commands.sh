#!/bin/sh
# Each command that takes an image takes docker://: what it tells, writes and ends with is what it does with the same image
# in a layout, on a cache directory that is empty before each. (ls, cat, mount and what is asked for: registry_read.sh.)
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/rootfs.sh"
need docker-registry skopeo umoci jq python3
. "$HERE/registry_lib.sh"
export HOME="$T/home" SOURCE_DATE_EPOCH=1700000000 TMPDIR="$T/tmp"
mkdir -p "$HOME" "$T/tmp" "$T/more/opt"

make_rootfs "$T/root"
seq 100000 >"$T/root/usr/numbers"
tar -C "$T/root" -cf "$T/0.tar" .
head -c 2000000 /dev/urandom >"$T/more/opt/data"
tar -C "$T/more" -cf "$T/1.tar" opt
image "$T/layout:base" gzip:"$T/0.tar" >/dev/null
image "$T/layout:builder" gzip:"$T/0.tar" zstd:"$T/1.tar" >/dev/null
start_registry plain
R=127.0.0.1:$port
for tag in base builder; do push "$T/layout:$tag" "$R/some/name:$tag" --preserve-digests; done
at=docker://$R/some/name
here=oci:$T/layout

# both STATUS ARGUMENTS: stagefs with these, in which $I is the layout or the repository, and $W a word that tells the two
# apart. Both end with STATUS, and print the same, in which $W is left out.
both() {
    wanted=$1 arguments=$2
    rm -rf "$STAGEFS_CACHE_DIR" "$T/cache-of-layout"
    for W in layout registry; do
        I=$here cache=$T/cache-of-layout
        [ $W = layout ] || I=$at cache=$STAGEFS_CACHE_DIR
        eval "set -- $arguments"
        status=0
        STAGEFS_CACHE_DIR=$cache "$STAGEFS" "$@" >"$T/out" 2>"$T/stderr" </dev/null || status=$?
        [ "$status" = "$wanted" ] || fail "'$*' ended with $status, not $wanted: $(cat "$T/stderr")"
        sed "s|$I|IMAGE|g; s|$W||g" "$T/out" >"$T/out.$W"
    done
    same "$arguments" "$T/out.layout" "$T/out.registry"
}

# --- what looks
both 0 'stat $I:builder /usr/numbers /opt/data'
both 1 'stat $I:builder /nothing'
both 0 'du --layers $I:builder'
both 0 'du --json --depth 2 $I:builder /'
both 0 'diff $I:base $I:builder'
both 0 'diff --json $I:builder $I:base'
both 0 'inspect --json $I:builder'
both 0 'inspect --platform linux/amd64 $I:base'
both 0 'index $I:builder'
both 0 'verify $I:builder'
both 0 'verify --json $I:base'
both 1 'inspect $I:none'

# --- what writes: an image on a base, one as a whole, and of a Dockerfile by each way of naming
printf 'FROM base\nCOPY --from=builder /opt /opt\nENV A=b\n' >"$T/Dockerfile"
printf 'FROM 127.0.0.1:%s/some/name:base\nCOPY --from=127.0.0.1:%s/some/name:builder /opt /opt\nENV A=b\n' "$port" "$port" >"$T/Dockerfile.names"
both 0 'commit -q --base $I:base --from $I:builder --copy /opt -t "oci:$T/to.$W:a"'
both 0 'commit -q --squash --base $I:base --from $I:builder --copy /opt -t "oci:$T/to.$W:b"'
both 0 'commit --json -q $I:builder --dry-run -t "oci:$T/to.$W:c"'
both 0 'commit -q -f "$T/Dockerfile" --context "$T" --build-context base=$I:base --build-context builder=$I:builder -t "oci:$T/to.$W:d"'
cp "$T/out.registry" "$T/of-contexts"
expect 0 "$STAGEFS" commit -q -f "$T/Dockerfile.names" --context "$T" -t "oci:$T/to.names:e"
same "FROM" "$T/of-contexts" "$T/stdout"
expect 0 "$STAGEFS" commit -q -f "$T/Dockerfile" --context "$T" --build-context "base=docker-image://$R/some/name:base" \
    --build-context "builder=docker-image://$R/some/name:builder" -t "oci:$T/to.names:f"
same "docker-image://" "$T/of-contexts" "$T/stdout"
expect 0 "$STAGEFS" verify "oci:$T/to.names:f"

# --- what executes
[ "$(id -u)" = 0 ] && [ -c /dev/fuse ] || skip "run, trace and bench take root and /dev/fuse (all else is right)"
command -v runc >/dev/null 2>&1 || command -v crun >/dev/null 2>&1 || command -v bwrap >/dev/null 2>&1 || skip "no runtime"
both 0 'run $I:builder -- /bin/sh -c "ls /opt; stat -c %s /opt/data; id -u"'
both 7 'run $I:builder -- /bin/sh -c "exit 7"'
both 127 'run $I:builder -- /bin/none'
both 125 'run $I:none -- /bin/true'
printf 'FROM base\nRUN echo made >/made\nCOPY --from=builder /opt /opt\n' >"$T/Dockerfile"
both 0 'commit -q -f "$T/Dockerfile" --context "$T" --allow-run --build-context base=$I:base --build-context builder=$I:builder --dry-run -t "oci:$T/to.$W:g"'
both 0 'trace -o "$T/profile.$W" $I:builder -- /bin/cat /opt/data'
same "trace" "$T/profile.layout" "$T/profile.registry"
both 0 'commit -q --base $I:base --from $I:builder --copy / --trim "$T/profile.registry" -t "oci:$T/to.$W:h"'
rm -rf "$STAGEFS_CACHE_DIR"
expect 0 "$STAGEFS" bench "$at:builder" --exec '/bin/cat /opt/data' --against dir --runs 2 --json
jq -e '[.. | .failed? // empty | select(length > 0)] == []' "$T/stdout" >/dev/null || fail "bench: $(cat "$T/stdout")"
mkdir "$T/mnt" "$T/layers"
expect 0 "$STAGEFS" mount --layers "$at:builder" "$T/layers"
[ "$(ls "$T/layers")" = "$(printf '0\n1')" ] || fail "mount --layers: $(ls "$T/layers")"
cmp "$T/layers/1/opt/data" "$T/more/opt/data" || fail "mount --layers: other bytes"
expect 0 "$STAGEFS" umount "$T/layers"
