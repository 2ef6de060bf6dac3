#!/bin/sh
# Indexes and profiles beside an image at its registry: they are found and used; and an index that says otherwise than the
# layer never gives other bytes than the layer has.
. "$(dirname "$0")/lib.sh"
need docker-registry skopeo umoci jq python3 zstd fusermount3
need_fuse
. "$HERE/registry_lib.sh"
export HOME="$T/home"
mkdir -p "$HOME/.config/containers" "$T/tree/dir/sub" "$T/tree/bin" "$T/mnt"

for i in $(seq 200); do seq "$i" $((i * 20)) >"$T/tree/dir/f$i"; done
: >"$T/tree/dir/empty"
ln -s f3 "$T/tree/dir/link"
ln "$T/tree/dir/f7" "$T/tree/dir/hard7"
seq 1000 >"$T/tree/dir/sub/last"
head -c 3000000 /dev/urandom >"$T/tree/big"
seq 900000 >"$T/tree/numbers"
cp "$T/tree/dir/f9" "$T/tree/bin/su"
chmod 4755 "$T/tree/bin/su"
umoci init --layout "$T/layout" >/dev/null 2>&1
umoci new --image "$T/layout:one" >/dev/null 2>&1
umoci insert --image "$T/layout:one" "$T/tree" / >/dev/null 2>&1
manifest=$(jq -r '.manifests[0].digest' "$T/layout/index.json")
layer=$(jq -r '.layers[0].digest' "$T/layout/blobs/sha256/${manifest#sha256:}")
start_registry plain
R=127.0.0.1:$port
REF=docker://$R/some/name:one
expect 0 "$STAGEFS" push "oci:$T/layout:one" "$REF"
expect 0 "$STAGEFS" index --push "oci:$T/layout:one" "$REF"
requests() { grep -ac '"\(GET\|HEAD\) /v2/' "$T/plain/log" || true; }

all_same() {
    found=$(python3 "$HERE/same_or_eio.py" "$T/tree" "$T/mnt") || fail "$1: $found"
    [ "$found" = 0 ] || fail "$1: $found files cannot be read: $(cat "$T/words")"
}

# --- found and used: nothing of the layer is read for a stat, and everything is right; then no request at all
before=$(requests)
mount_it used
stat "$T/mnt/dir/f3" >/dev/null
used=$(($(requests) - before))
[ "$used" -le 10 ] || fail "$used requests up to the first stat"
grep -a "blobs/$layer" "$T/plain/log" | tail -n +2 | grep -aq '"GET' && fail "the layer was read for a stat"
all_same "with the index of the registry"
[ -u "$T/mnt/bin/su" ] || fail "the setuid bit is not shown"
[ "$T/mnt/dir/f7" -ef "$T/mnt/dir/hard7" ] || fail "the hard link is none"
unmount_it
before=$(requests)
REF=docker://$R/some/name@$manifest mount_it used
all_same "from the cache directory"
unmount_it
[ "$(requests)" = "$before" ] || fail "the second mount asked for something"
REF=docker://$R/some/name:one
for trust in none manifest; do
    mount_it "trust-$trust" --index-trust "$trust"
    grep -aq "GET /v2/some/name/blobs/$layer" "$T/plain/log" || fail "the layer was not read with --index-trust $trust"
    all_same "--index-trust $trust"
    unmount_it
done
expect 2 "$STAGEFS" ls --index-trust everybody "$REF"
says "--index-trust is registry, manifest or none"

# --- a profile beside the image is used as --profile is, unless one is given
printf 'read /numbers\nread /dir/f100\n' >"$T/start.profile"
expect 0 "$STAGEFS" profile push --workload start "$T/start.profile" "$REF"
printf 'no profile at all\n' >"$T/bad"
mount_it profile
grep -q 'fetches what 1 start profile beside the image tells' "$T/words" || fail "no profile: $(cat "$T/words")"
all_same "with a profile"
unmount_it
# A day later there is another one, and the first cannot be had: what is known of it still counts, and is not asked for.
printf 'read /dir/f100\n' >"$T/other.profile"
expect 0 "$STAGEFS" profile push --workload other "$T/other.profile" "$REF"
sed -i 's/"asked":[0-9]*/"asked":1/' "$T"/cache-profile/name/*
first=$(skopeo inspect --raw --tls-verify=false "docker://$R/some/name:sha256-${manifest#sha256:}" |
    jq -r '[.manifests[] | select(.artifactType == "application/vnd.stagefs.profile.v1")][0].digest')
mv "$T/plain/store/docker/registry/v2/repositories/some/name/_manifests/revisions/sha256/${first#sha256:}" "$T/hidden"
mount_it profile
grep -q 'fetches what 2 start profiles beside the image tell' "$T/words" || fail "what was known is forgotten: $(cat "$T/words")"
grep -a "GET /v2/some/name/manifests/$first" "$T/plain/log" | tail -n +2 | grep -q . && fail "what is known is asked for"
unmount_it
mv "$T/hidden" "$T/plain/store/docker/registry/v2/repositories/some/name/_manifests/revisions/sha256/${first#sha256:}"
mount_it profile --no-profile
grep -q 'start profile' "$T/words" && fail "--no-profile: $(cat "$T/words")"
unmount_it
mount_it profile --profile "$T/start.profile"
grep -q 'start profile' "$T/words" && fail "--profile: $(cat "$T/words")"
unmount_it

# --- one that names most of the image: the rest is fetched, too, and that is told
printf 'read /numbers\nread /big 0+3000000\nread /dir/f100\nread /numbers 0+9000000\n' >"$T/most.profile"
mount_it eager --profile "$T/most.profile"
grep -q 'the profile names [0-9]* % of the image' "$T/words" || fail "not eager: $(cat "$T/words")"
for _ in $(seq 100); do
    "$STAGEFS" stats --json "$T/mnt" >"$T/stats"
    [ "$(jq .registry.fetched "$T/stats")" -ge "$(stat -c %s "$T/layout/blobs/sha256/${layer#sha256:}")" ] && break
    sleep 0.1
done
[ "$(jq .registry.fetched "$T/stats")" -ge "$(stat -c %s "$T/layout/blobs/sha256/${layer#sha256:}")" ] || fail "not all: $(cat "$T/stats")"
unmount_it
mount_it lazy --profile "$T/start.profile"
grep -q 'of the image' "$T/words" && fail "eager for little: $(cat "$T/words")"
unmount_it

# --- a start that a profile tells of: nothing is read around what is used, and no miss is widened, until it is quiet
bdi() { cat "/sys/class/bdi/$(findmnt -rno MAJ:MIN "$T/mnt")/read_ahead_kb"; }
printf 'read /big 1000000+4096\n' >"$T/little.profile"
mount_it little --profile "$T/little.profile"
cmp -n 4096 -i 1000000 "$T/tree/big" "$T/mnt/big" || fail "other bytes"
cmp -n 1 -i 2600000 "$T/tree/big" "$T/mnt/big" || fail "other bytes"
# The spans of 256 KiB of both, and those of the header that is compared; and once a megabyte, when all of the profile is here.
"$STAGEFS" stats --json "$T/mnt" >"$T/stats"
[ "$(jq .registry.fetched "$T/stats")" -le 2000000 ] || fail "too much: $(cat "$T/stats")"
if [ -w "/sys/class/bdi/$(findmnt -rno MAJ:MIN "$T/mnt")/read_ahead_kb" ]; then
    [ "$(bdi)" = 4 ] || fail "a read-ahead of $(bdi) KiB while a profile is fetched"
    for _ in $(seq 100); do [ "$(bdi)" = 4 ] || break; sleep 0.1; done
    [ "$(bdi)" = 128 ] || fail "a read-ahead of $(bdi) KiB when the start is over"
fi
unmount_it
mount_it unknown --no-profile
[ "$(bdi)" = 128 ] || fail "a read-ahead of $(bdi) KiB where nothing is known of the start"
unmount_it

# --- forged: EIO and a line that names the layer, or the index is refused and the layer read whole; never other bytes
forge() { python3 "$HERE/forge_index.py" "$R" some/name "$manifest" "$1" || fail "forging $1"; }
real() {
    STAGEFS_CACHE_DIR="$T/cache" expect 0 "$STAGEFS" index --push "oci:$T/layout:one" "$REF"
    python3 "$HERE/forge_index.py" "$R" some/name "$manifest" none || fail "forging nothing"
}
real
mount_it none
grep -q 'of no use' "$T/words" && fail "what was not changed is refused: $(cat "$T/words")"
all_same "nothing forged"
unmount_it
# The rest of them takes a minute: tests/long/registry_forgeries.sh.
noticed="swap setuid target omit" others="shift raw-cut"
[ "${FORGERIES:-}" != all ] || noticed="$noticed swap-places owner size hardlink rename add-behind point-out no-places"
[ "${FORGERIES:-}" != all ] || others="$others add other-layer many-names raw-huge raw-noise raw-windows point-in"
for kind in $noticed; do
    real
    forge "$kind"
    mount_it "$kind"
    missing=
    [ "$kind" = omit ] && missing=dir/sub/last
    [ "$kind" = rename ] && missing=dir/f199
    found=$(python3 "$HERE/same_or_eio.py" "$T/tree" "$T/mnt" $missing) || fail "$kind: $found"
    unmount_it
    [ "$found" -gt 0 ] || fail "$kind: all could be read: $(cat "$T/words")"
    grep -q "layer 0 (sha256:" "$T/words" || fail "$kind: no line names the layer: $(cat "$T/words")"
    STAGEFS_CACHE_DIR="$T/cache-$kind" expect 0 "$STAGEFS" cat --index-trust none "$REF" /dir/f5
    cmp -s "$T/stdout" "$T/tree/dir/f5" || fail "$kind: other bytes with --index-trust none"
done
for kind in $others; do
    real
    forge "$kind"
    mount_it "$kind"
    found=$(python3 "$HERE/same_or_eio.py" "$T/tree" "$T/mnt") || fail "$kind: $found"
    unmount_it
    echo "$kind $found $(grep -c 'of no use' "$T/words")" >>"$T/told"
done

# --- filled up: the whole layer is here, compared with its digest, and has an index that was made here, which is what counts then
filled() { # NAME: waits for that
    for _ in $(seq 60); do
        "$STAGEFS" cache ls | grep -q "^index  *$layer " && return
        sleep 1
    done
    fail "$1: not filled up after a minute: $("$STAGEFS" cache ls) $(cat "$T/words")"
}
real
forge omit
mount_it fill --fill
filled fill
sleep 1
unmount_it
grep -q "layer 0 (.*is not what the layer holds" "$T/words" || fail "a forged index was not told of: $(cat "$T/words")"
"$STAGEFS" cache ls | grep -q "^blob  *$layer " || fail "not whole: $("$STAGEFS" cache ls)"
mount_it fill
all_same "once it is filled up"
unmount_it
# It ends at once when it is unmounted before.
mount_it unfilled --fill
began=$(date +%s)
unmount_it
[ $(($(date +%s) - began)) -le 5 ] || fail "unmounting waited for the fill"

# --- bytes that are not the layer's: a corrupted span, another blob in its place
real
stored=$T/plain/store/docker/registry/v2/blobs/sha256/$(echo "${layer#sha256:}" | cut -c1-2)/${layer#sha256:}/data
cp "$stored" "$T/stored"
for kind in corrupt swapped; do
    case $kind in
    corrupt) printf 'xyzzy' | dd of="$stored" bs=1 seek=1500000 conv=notrunc status=none ;;
    swapped) head -c "$(stat -c %s "$T/stored")" /dev/urandom >"$stored" ;;
    esac
    mount_it "$kind"
    found=$(python3 "$HERE/same_or_eio.py" "$T/tree" "$T/mnt") || fail "$kind: $found"
    unmount_it
    [ "$found" -gt 0 ] || fail "$kind: all could be read"
    grep -q "layer 0 (sha256:" "$T/words" || fail "$kind: no line names the layer: $(cat "$T/words")"
    cp "$T/stored" "$stored"
done
# Those that no honest machine makes are refused before anything is shown; the layer is then read whole.
for kind in add other-layer many-names raw-cut raw-huge raw-noise; do
    ! grep -q "^$kind " "$T/told" || grep -q "^$kind 0 1$" "$T/told" || fail "not refused: $(grep "^$kind " "$T/told")"
done
for kind in shift point-in; do
    ! grep -q "^$kind " "$T/told" || grep -q "^$kind [1-9]" "$T/told" || fail "not noticed: $(grep "^$kind " "$T/told")"
done
