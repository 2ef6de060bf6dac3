#!/bin/sh
# SOCI's tables of contents: where an image has them, nothing of its layers is read before somebody wants it, and all is as
# without them; one that says otherwise than the layer gives EIO, or is refused in a line, and never other bytes.
. "$(dirname "$0")/lib.sh"
need docker-registry python3 jq fusermount3 tar setfattr
need_fuse
. "$HERE/registry_lib.sh"
export HOME="$T/home"
mkdir -p "$HOME" "$T/tree/dir/sub" "$T/tree/opaque" "$T/mnt"
soci() { python3 "$HERE/soci.py" "$@" >"$T/soci" || fail "soci.py $*"; }

for i in $(seq 60); do seq "$i" $((i * 20)) >"$T/tree/dir/f$i"; done
: >"$T/tree/dir/empty"
ln -s f3 "$T/tree/dir/link"
ln "$T/tree/dir/f7" "$T/tree/dir/hard7"
ln "$T/tree/dir/f8" "$T/tree/aaa-linked-before"
chmod 4755 "$T/tree/dir/f9"
touch -d '2001-02-03 04:05:06.789' "$T/tree/dir/f10"
seq 1000 >"$T/tree/dir/sub/last"
head -c 2000000 /dev/urandom >"$T/tree/big"
seq 900000 >"$T/tree/numbers"
echo long >"$T/tree/dir/$(printf 'n%.0s' $(seq 150))"
setfattr -n user.note -v hello "$T/tree/dir/f5" 2>/dev/null || skip "no extended attributes in $T"
tar -C "$T/tree" --sort=name --xattrs --format=posix -cf "$T/layer.tar" .
: >"$T/tree/dir/.wh.f60"
: >"$T/tree/opaque/.wh..wh..opq"
mkdir "$T/small" && echo small >"$T/small/file"
mkfifo "$T/tree/pipe"
tar -C "$T/tree" --format=gnu -cf "$T/marks.tar" dir/.wh.f60 opaque pipe
tar -C "$T/small" --format=ustar -cf "$T/small.tar" .
rm "$T/tree/dir/.wh.f60" "$T/tree/opaque/.wh..wh..opq" "$T/tree/pipe"
cp -p "$T/small/file" "$T/tree/"
listing() { "$STAGEFS" ls -lAR "$1" / 2>"$T/words"; }

# --- a layout: gzip in one member and in many, plain, whiteouts; the small layer has no table
image "$T/plain:x" gzip:"$T/layer.tar" pigz:"$T/layer.tar" tar:"$T/layer.tar" gzip:"$T/small.tar" gzip:"$T/marks.tar" >"$T/layers"
listing "oci:$T/plain:x" >"$T/want"
for zinfo in 1 2; do
    cp -a "$T/plain" "$T/layout-$zinfo"
    soci v2 "$T/layout-$zinfo:x" span=300000 zinfo=$zinfo
    export STAGEFS_CACHE_DIR="$T/cache-layout-$zinfo"
    listing "oci:$T/layout-$zinfo:x" >"$T/got"
    [ ! -s "$T/words" ] || fail "a warning: $(cat "$T/words")"
    same "zinfo $zinfo" "$T/want" "$T/got"
    for file in big numbers dir/f5 dir/hard7 aaa-linked-before dir/link; do
        "$STAGEFS" cat "oci:$T/layout-$zinfo:x" "/$file" | cmp - "$T/tree/$file" || fail "other bytes of $file"
    done
    while read -r layer; do
        "$STAGEFS" cache ls | grep -q "^index  *$layer " && fail "$layer was read: $("$STAGEFS" cache ls)"
    done <"$T/layers"
    expect 0 "$STAGEFS" ls --index-trust none "oci:$T/layout-$zinfo:x" /
    "$STAGEFS" cache ls | grep -q "^index  *$(head -1 "$T/layers") " || fail "--index-trust none: a table was used"
done

# --- a registry
image "$T/one:x" gzip:"$T/layer.tar" gzip:"$T/small.tar" >"$T/layers"
layer=$(head -1 "$T/layers")
small=$(tail -1 "$T/layers")
start_registry plain
R=127.0.0.1:$port
offer() { # VERSION TAG [OPTION...]: puts the image with tables there
    version=$1 tag=$2
    shift 2
    rm -rf "$T/offered"
    cp -a "$T/one" "$T/offered"
    soci "$version" "$T/offered:x" span=300000 least=100000 "$@"
    cp "$T/soci" "$T/soci-made"
    soci push "$T/offered:x" "$R" "some/$tag" one
    REF=docker://$R/some/$tag:one
}
found_same() { found=$(python3 "$HERE/same_or_eio.py" "$T/tree" "$T/mnt" "$@") || fail "$found: $(cat "$T/words")"; }
all_same() {
    found_same
    [ "$found" = 0 ] || fail "$1: $found files cannot be read: $(cat "$T/words")"
}
was_read() { "$STAGEFS" cache ls | grep -q "^index  *$1 "; } # LAYER: it has an index that a pass made
size=$(stat -c %s "$T/one/blobs/sha256/${layer#sha256:}")

for version in v1 v2; do
    offer $version $version
    mount_it $version
    grep -q 'of no use' "$T/words" && fail "$version: refused: $(cat "$T/words")"
    stat "$T/mnt/dir/f3" "$T/mnt/numbers" >/dev/null
    cmp "$T/tree/dir/f3" "$T/mnt/dir/f3"
    "$STAGEFS" stats --json "$T/mnt" >"$T/stats"
    fetched=$(jq .registry.fetched "$T/stats")
    [ "$fetched" -lt $((size / 2)) ] || fail "$version: $fetched of $size bytes were fetched for one small file"
    all_same $version
    [ "$T/mnt/dir/f7" -ef "$T/mnt/dir/hard7" ] || fail "$version: the hard link is none"
    [ "$(getfattr --only-values -n user.note "$T/mnt/dir/f5" 2>/dev/null)" = hello ] || fail "$version: no attribute"
    unmount_it
    was_read "$layer" && fail "$version: the layer was streamed"
    was_read "$small" || fail "$version: the small layer has no table, and was not streamed"
    # The second time nothing is asked for but the tag, and no table is read.
    before=$(grep -ac 'blobs/' "$T/plain/log")
    mount_it $version
    all_same "$version again"
    unmount_it
    [ "$(grep -ac 'blobs/' "$T/plain/log")" = "$before" ] || fail "$version: the second mount read blobs"
    mount_it "$version-none" --index-trust none
    all_same "$version none"
    unmount_it
    was_read "$layer" || fail "$version: --index-trust none used a table"
    mount_it "$version-manifest" --index-trust manifest
    all_same "$version manifest"
    unmount_it
    case $version in
    v1) was_read "$layer" || fail "a referrer was used with --index-trust manifest" ;;
    v2) was_read "$layer" && fail "what the manifest vouches for was not used" ;;
    esac
done
# A command without a mount goes the same way; and a list whose entries lack the type serves as well.
offer v1 untyped untyped=1
STAGEFS_CACHE_DIR="$T/cache-cat" expect 0 "$STAGEFS" cat "$REF" /dir/f5
cmp -s "$T/stdout" "$T/tree/dir/f5" || fail "cat gives other bytes"
STAGEFS_CACHE_DIR="$T/cache-cat" was_read "$layer" && fail "cat had the layer streamed"

# --- an index of stagefs beside the image goes first
offer v1 both
STAGEFS_CACHE_DIR="$T/cache-push" expect 0 "$STAGEFS" index --push "oci:$T/one:x" "$REF"
mount_it both
all_same both
unmount_it
while read -r table; do
    grep -a '"GET /v2/some/both/' "$T/plain/log" | grep -aq "$table" && fail "SOCI's table was read although an own index is there"
done <"$T/soci-made"

# --- forged: EIO and a line that names the layer; or refused in one line, and the layer read whole
for version in v1 v2; do
    case $version in v1) kinds="names digests omit" ;; v2) kinds="mode xattr" ;; esac
    for kind in $kinds; do
        offer $version "$version-$kind" forge=$kind
        mount_it "$version-$kind"
        missing=
        [ "$kind" = omit ] && missing=big # the second file with bytes
        found_same $missing
        unmount_it
        [ "$found" -gt 0 ] || fail "$version $kind: all could be read: $(cat "$T/words")"
        grep -q 'layer 0 (sha256:' "$T/words" || fail "$version $kind: no line names the layer: $(cat "$T/words")"
        STAGEFS_CACHE_DIR="$T/cache-$version-$kind" expect 0 "$STAGEFS" cat --index-trust none "$REF" /dir/f5
        cmp -s "$T/stdout" "$T/tree/dir/f5" || fail "$version $kind: other bytes with --index-trust none"
    done
done
# Once the layer is whole and has an index that was made here, a table that left a name out is told of; an honest one is not.
for kind in none omit; do
    offer v2 "fill-$kind" $([ $kind = none ] || echo forge=$kind)
    mount_it "fill-$kind" --fill
    for _ in $(seq 60); do
        was_read "$layer" && break
        sleep 1
    done
    was_read "$layer" || fail "not filled up after a minute: $(cat "$T/words")"
    sleep 1
    unmount_it
    told=$(grep -c "layer 0 (.*is not what the layer holds" "$T/words" || true)
    [ "$kind $told" = "none 0" ] || [ "$kind $told" = "omit 1" ] || fail "fill $kind: $(cat "$T/words")"
done
# What is written for others is compared, too, where gzip blocks could be copied as they are.
offer v2 commit forge=names
for source in one offered; do
    STAGEFS_CACHE_DIR="$T/cache-$source" "$STAGEFS" commit --index-trust manifest --compression gzip \
        --from "oci:$T/$source:x" --copy /dir:/copied --copy /big -t "oci:$T/committed-$source:x" >"$T/stdout" 2>"$T/stderr" && got=0 || got=$?
    [ "$source $got" = "one 0" ] || [ "$source $got" = "offered 1" ] || fail "commit of $source: $got $(cat "$T/stderr")"
done
grep -q 'forged or of another layer' "$T/stderr" || fail "commit does not say why: $(cat "$T/stderr")"
for kind in beyond file-beyond order sizes bits few-digests; do
    offer v2 "bad-$kind" forge=$kind
    mount_it "bad-$kind"
    all_same "$kind"
    unmount_it
    [ "$(grep -c "SOCI's table is of no use, so the layer is read whole" "$T/words")" = 1 ] || fail "$kind: not one line: $(cat "$T/words")"
done
# Whoever serves a table cannot change one that the manifest vouches for; one that nobody vouches for is not looked at.
offer v1 windows forge=windows
mount_it windows --index-trust manifest
all_same windows
unmount_it
for kind in cut flip noise; do
    offer v2 "struck-$kind"
    hex=$(sed -n '1s/^sha256://p' "$T/soci-made")
    stored=$T/plain/store/docker/registry/v2/blobs/sha256/$(echo "$hex" | cut -c1-2)/$hex/data
    cp "$stored" "$T/stored"
    soci strike "$stored" "$kind"
    mount_it "struck-$kind" --index-trust manifest
    all_same "struck $kind"
    unmount_it
    cp "$T/stored" "$stored"
    [ "$(grep -c "SOCI's table is of no use" "$T/words")" = 1 ] || fail "struck $kind: not one line: $(cat "$T/words")"
done
