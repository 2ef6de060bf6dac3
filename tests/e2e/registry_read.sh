#!/bin/sh
# Images read from a registry, lazily, against the same images in a layout: names, bytes, stages, commits; what is asked
# for, and what is not asked for twice; a registry that is gone, for a while or for good.
. "$(dirname "$0")/lib.sh"
need docker-registry skopeo umoci jq python3 sha256sum
. "$HERE/registry_lib.sh"
export HOME="$T/home"
mkdir -p "$HOME"
export SOURCE_DATE_EPOCH=1700000000

# --- an image of three layers; the last one has 12 MB that do not compress, and removes something
make_layout "$T/layout"
mkdir -p "$T/two/opt" "$T/three/lib"
head -c 2000000 /dev/urandom >"$T/two/opt/data"
seq 300000 >"$T/two/opt/text"
ln -s text "$T/two/opt/link"
umoci insert --image "$T/layout:one" --tag two "$T/two" / >/dev/null 2>&1
head -c 12000000 /dev/urandom >"$T/three/lib/large"
umoci insert --image "$T/layout:two" --tag three "$T/three" / >/dev/null 2>&1
umoci insert --image "$T/layout:three" --whiteout /numbers >/dev/null 2>&1
start_registry plain
R=127.0.0.1:$port
for tag in one two three; do push "$T/layout:$tag" "$R/some/name:$tag"; done
digest=$(jq -r '.manifests[] | select(.annotations["org.opencontainers.image.ref.name"] == "three").digest' "$T/layout/index.json")
by_tag=docker://$R/some/name:three
by_digest=docker://$R/some/name@$digest
local=oci:$T/layout:three

layout() { STAGEFS_CACHE_DIR=$T/cache-of-layout "$STAGEFS" "$@"; } # else the registry's layers are indexed already
# (What is answered is logged a little later.)
requests() { sleep 0.2; grep -c 'msg="response completed".*http.request.uri="*/v2/' "$T/plain/log" || true; }
fetched() { sleep 0.2; sed -n 's/.*msg="response completed".*http.request.method=GET.*http.request.uri="*\/v2\/[^ ]*blobs.*http.response.written=\([0-9]*\).*/\1/p' "$T/plain/log" | awk '{ n += $1 } END { print n + 0 }'; }
start_again() {
    env -i PATH="$PATH" HOME="$T" docker-registry serve "$T/plain/config.yml" >>"$T/plain/log" 2>&1 &
    pid=$!
    registry_pids="$registry_pids $pid"
    wait_for_port "$port"
}

# --- the same names and bytes, and each layer is fetched once
layout ls -lR "$local" >"$T/names"
size=$(layout inspect --json "$local" | jq .size)
before=$(fetched)
expect 0 "$STAGEFS" ls -lR "$by_tag"
same "ls" "$T/names" "$T/stdout"
came=$(($(fetched) - before))
[ "$came" -le $((size + size / 10 + 1048576)) ] || fail "the first open fetched $came bytes of $size"
before=$(fetched)
for file in big opt/data opt/text opt/link lib/large; do
    layout cat "$local" "$file" | sha256sum >"$T/a"
    "$STAGEFS" cat "$by_tag" "$file" | sha256sum >"$T/b"
    same "$file" "$T/a" "$T/b"
done
[ "$(fetched)" = "$before" ] || fail "what was indexed was fetched again"
layout du "$local" >"$T/a"
"$STAGEFS" du "$by_tag" >"$T/b"
same du "$T/a" "$T/b"
layout stat "$local" opt/link >"$T/a"
"$STAGEFS" stat "$by_tag" opt/link >"$T/b"
same stat "$T/a" "$T/b"
expect 0 "$STAGEFS" diff "$local" "$by_tag"
grep -q "^0 added, 0 removed, 0 changed" "$T/stdout" || fail "they differ: $(cat "$T/stdout")"
expect 0 "$STAGEFS" verify "$by_tag"
expect 0 "$STAGEFS" inspect --json "$by_tag"
[ "$(jq -r .digest "$T/stdout")" = "$digest" ] || fail "another digest"
[ "$("$STAGEFS" cache ls | grep -c '^blob ')" = 4 ] || fail "not all blobs are whole: $("$STAGEFS" cache ls)"
[ "$("$STAGEFS" cache ls | grep -c '^document ')" = 2 ] || fail "documents: $("$STAGEFS" cache ls)"

# --- nothing is asked for twice: by digest nothing at all, by tag what it is now
before=$(requests)
expect 0 "$STAGEFS" ls -lR "$by_digest"
[ "$(requests)" = "$before" ] || fail "by digest, $(($(requests) - before)) requests"
expect 0 "$STAGEFS" ls -lR "$by_tag"
[ "$(requests)" = $((before + 1)) ] || fail "by tag, $(($(requests) - before)) requests"
push "$T/layout:two" "$R/some/name:moving"
expect 0 "$STAGEFS" ls "docker://$R/some/name:moving" /opt/text
push "$T/layout:one" "$R/some/name:moving"
expect 1 "$STAGEFS" ls "docker://$R/some/name:moving" /opt/text

# --- stages and commits
commit() { "$STAGEFS" commit -q --base "$1:one" --from "$1:three" --copy /opt --copy /lib/large -t "oci:$2:out"; }
rm -rf "$STAGEFS_CACHE_DIR"
STAGEFS_CACHE_DIR=$T/cache-of-layout commit "oci:$T/layout" "$T/out1" >"$T/a"
commit "docker://$R/some/name" "$T/out2" >"$T/b"
same "commit" "$T/a" "$T/b"
expect 0 "$STAGEFS" verify "oci:$T/out2:out"
skopeo inspect "oci:$T/out2:out" >/dev/null || fail "skopeo does not read it"
printf 'FROM docker://%s/some/name:one\nCOPY --from=docker://%s/some/name:three /opt /opt\n' "$R" "$R" |
    sed 's|docker://||g' >"$T/Dockerfile"
expect 0 "$STAGEFS" ls -lR -f "$T/Dockerfile" --context "$T"
layout ls -lR -f "$T/Dockerfile" --context "$T" --build-context "$R/some/name:one=oci-layout://$T/layout:one" \
    --build-context "$R/some/name:three=oci-layout://$T/layout:three" >"$T/b"
same "Dockerfile" "$T/stdout" "$T/b"

# --- once all is indexed, a COPY fetches what it takes, and no more
rm -rf "$STAGEFS_CACHE_DIR/blob" "$STAGEFS_CACHE_DIR/part"
before=$(fetched)
expect 0 "$STAGEFS" cat "$by_digest" opt/link
came=$(($(fetched) - before))
[ "$came" -le 4500000 ] || fail "cat of a small file fetched $came bytes"
[ "$("$STAGEFS" cache ls | grep -c '^part ')" -ge 1 ] || fail "cache ls shows no part: $("$STAGEFS" cache ls)"
before=$(fetched)
expect 0 "$STAGEFS" cat "$by_digest" opt/link
[ "$(fetched)" = "$before" ] || fail "the same bytes were fetched twice"

# --- eight at once
rm -rf "$STAGEFS_CACHE_DIR"
before=$(fetched)
pids=
for _ in 1 2 3 4 5 6 7 8; do
    "$STAGEFS" cat "$by_digest" lib/large 2>&1 | sha256sum >"$T/sum.$_" &
    pids="$pids $!"
done
for each in $pids; do wait "$each"; done
sort -u "$T"/sum.* | cmp -s - "$T/sum.1" || fail "eight at once read other bytes"
sha256sum <"$T/three/lib/large" | cmp -s - "$T/sum.1" || fail "eight at once read wrong bytes"
came=$(($(fetched) - before))
[ "$came" -le $((size + size / 10 + 1048576)) ] || fail "eight at once fetched $came bytes of $size"

# --- damage in the cache directory is fetched again, and not seen by anybody
rm -rf "$STAGEFS_CACHE_DIR/blob"
expect 0 "$STAGEFS" cat "$by_digest" lib/large
cp "$T/stdout" "$T/large"
for file in "$STAGEFS_CACHE_DIR"/part/*.part "$STAGEFS_CACHE_DIR"/blob/*.blob; do
    [ -f "$file" ] || continue
    printf 'damage' | dd of="$file" bs=1 seek=$(($(stat -c %s "$file") / 2)) conv=notrunc 2>/dev/null
done
expect 0 "$STAGEFS" cat "$by_digest" lib/large
cmp -s "$T/stdout" "$T/large" || fail "damaged bytes were served"

rm -rf "$STAGEFS_CACHE_DIR"
expect 0 "$STAGEFS" ls -R "$by_digest"
for file in "$STAGEFS_CACHE_DIR"/blob/*.blob; do # whole by now
    printf 'damage' | dd of="$file" bs=1 seek=$(($(stat -c %s "$file") / 2)) conv=notrunc 2>/dev/null
done
expect 0 "$STAGEFS" cat "$by_digest" lib/large
cmp -s "$T/stdout" "$T/large" || fail "damaged bytes of a whole blob were served"
rm -rf "$STAGEFS_CACHE_DIR/index"
expect 0 "$STAGEFS" ls -lR "$by_digest"
same "after damage" "$T/names" "$T/stdout"

# --- a registry that sends other bytes than it sent once: nobody sees them
blobs=$T/plain/store/docker/registry/v2/blobs/sha256
layer=$("$STAGEFS" inspect --json "$by_digest" | jq -r '.layers | max_by(.size).digest')
hex=${layer#sha256:}
stored=$blobs/$(printf %.2s "$hex")/$hex/data
cp "$stored" "$T/right"
rm -rf "$STAGEFS_CACHE_DIR/blob" "$STAGEFS_CACHE_DIR/part"
printf 'forged' | dd of="$stored" bs=1 seek=$(($(stat -c %s "$stored") / 2)) conv=notrunc 2>/dev/null
expect 1 "$STAGEFS" cat "$by_digest" lib/large
says "$(printf %.19s "$layer")"
cmp -n "$(stat -c %s "$T/stdout")" "$T/stdout" "$T/large" || fail "wrong bytes were served"
rm -rf "$STAGEFS_CACHE_DIR"
expect 3 "$STAGEFS" ls "$by_digest" # nor are they indexed
says "does not match its digest"
cp "$T/right" "$stored"
expect 0 "$STAGEFS" cat "$by_digest" lib/large
cmp -s "$T/stdout" "$T/large" || fail "what was wrong is remembered"

# --- tables of contents are read by range: names are known without a pass
for kind in estargz zstd:chunked; do
    rm -rf "$STAGEFS_CACHE_DIR"
    expect 0 layout commit -q --from "$local" --copy / --compression "$kind" -t "oci:$T/tables:$(echo $kind | tr : -)"
    push "$T/tables:$(echo $kind | tr : -)" "$R/some/tables:one"
    before=$(fetched)
    expect 0 "$STAGEFS" ls -lR "docker://$R/some/tables:one"
    came=$(($(fetched) - before))
    [ "$came" -lt 3000000 ] || fail "the names of a $kind layer cost $came bytes"
    expect 0 "$STAGEFS" cat "docker://$R/some/tables:one" lib/large
    cmp -s "$T/stdout" "$T/large" || fail "$kind: other bytes"
done

# --- a limit on what is kept, and a cache directory that cannot be written to
rm -rf "$STAGEFS_CACHE_DIR"
expect 0 "$STAGEFS" ls -lR --cache-limit 9M "$by_digest"
same "with a limit" "$T/names" "$T/stdout"
kept=$(du -s --block-size=1 "$STAGEFS_CACHE_DIR" | cut -f1)
[ "$kept" -le 10500000 ] || fail "$kept bytes are kept, not 9M"
expect 0 "$STAGEFS" cat --cache-limit 9M "$by_digest" lib/large
cmp -s "$T/stdout" "$T/large" || fail "with a limit, other bytes"

# --- the registry is gone: what is here is served, by digest in silence, by tag with a word
rm -rf "$STAGEFS_CACHE_DIR"
expect 0 "$STAGEFS" ls -lR "$by_tag"
kill "$pid"
expect 0 "$STAGEFS" cat "$by_digest" opt/text
cmp -s "$T/stdout" "$T/two/opt/text" || fail "other bytes"
[ ! -s "$T/stderr" ] || fail "by digest, it says $(cat "$T/stderr")"
expect 0 "$STAGEFS" ls -lR "$by_tag"
says "is taken for what it was when it was last asked for"
expect 1 "$STAGEFS" ls "docker://$R/some/name:one"
says "does not answer"

# --- it is gone for a while: readers wait
if [ "$(id -u)" = 0 ] && [ -c /dev/fuse ]; then
    mkdir "$T/mnt"
    expect 0 "$STAGEFS" mount "$by_digest" "$T/mnt"
    same "mount" "$T/names" "$T/names"
    cmp -s "$T/mnt/lib/large" "$T/three/lib/large" || fail "other bytes in the mount"
    expect 0 "$STAGEFS" umount "$T/mnt"
    rm -rf "$STAGEFS_CACHE_DIR/blob" "$STAGEFS_CACHE_DIR/part"
    expect 0 "$STAGEFS" mount "$by_digest" "$T/mnt"
    sha256sum <"$T/mnt/lib/large" >"$T/sum" &
    reader=$!
    sleep 3
    kill -0 "$reader" 2>/dev/null || fail "the reader did not wait"
    [ "$("$STAGEFS" stats --json "$T/mnt" | jq '.registry.stalls')" = 1 ] || fail "stats tells of no stall"
    start_again
    wait "$reader" || fail "the reader failed"
    sha256sum <"$T/three/lib/large" | cmp -s - "$T/sum" || fail "after the outage, other bytes"
    expect 0 "$STAGEFS" umount "$T/mnt"

    # A reader can be killed while it waits.
    kill "$pid"
    rm -rf "$STAGEFS_CACHE_DIR/blob" "$STAGEFS_CACHE_DIR/part"
    expect 0 "$STAGEFS" mount "$by_digest" "$T/mnt"
    cat "$T/mnt/lib/large" >/dev/null &
    reader=$!
    sleep 2
    kill -9 "$reader"
    begin=$(date +%s)
    wait "$reader" || true
    [ $(($(date +%s) - begin)) -le 3 ] || fail "the reader could not be killed"
    expect 0 "$STAGEFS" umount "$T/mnt"
fi
