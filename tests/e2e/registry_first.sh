#!/bin/sh
# What a start reads first of an image's layers: put beside its profile, fetched together with the index by which it would be
# found out later, and of no harm whatever stands there.
. "$(dirname "$0")/lib.sh"
need docker-registry skopeo umoci jq python3
need_fuse
. "$HERE/registry_lib.sh"
export HOME="$T/home"
mkdir -p "$HOME" "$T/mnt"

make_layout "$T/layout"
manifest=$(jq -r '.manifests[0].digest' "$T/layout/index.json")
layer=$(jq -r '.layers[0].digest' "$T/layout/blobs/sha256/${manifest#sha256:}")
start_registry plain
R=127.0.0.1:$port
F=some/first
REF=docker://$R/$F:one
expect 0 "$STAGEFS" push "oci:$T/layout:one" "$REF"
raw() { skopeo inspect --raw --tls-verify=false "docker://$R/$F@$1"; }

# --- it is told where the layers have an index; zlib tells whether it is that
first_of() { raw "$(cat "$T/stdout")" | jq '.layers[0].annotations["dev.stagefs.profile.first"] // "" | fromjson? // empty'; }
printf 'read /big 1000000+500000\n' >"$T/first.profile"
STAGEFS_CACHE_DIR=$T/cache-without expect 0 "$STAGEFS" profile push -v "$T/first.profile" "$REF"
says "there is no index"
[ -z "$(first_of)" ] || fail "nobody has an index: $(first_of)"
skopeo delete --tls-verify=false "docker://$R/$F:$(echo "$manifest" | tr : -)"
expect 0 "$STAGEFS" index --push "oci:$T/layout:one" "$REF"
windows=$(raw "$(cat "$T/stdout")" | jq '.layers[1].size')
STAGEFS_CACHE_DIR=$T/cache-first expect 0 "$STAGEFS" profile push "$T/first.profile" "$REF"
first_of >"$T/first"
[ "$(du -s "$T/cache-first" | cut -f1)" -lt 1000 ] || fail "the layer was fetched for it"
python3 - "$T/first" "$T/layout/blobs/sha256/${layer#sha256:}" "$layer" "$windows" <<'PY' || fail "other bytes: $(cat "$T/first")"
import json, sys, tarfile, zlib
[item], blob = json.load(open(sys.argv[1])), open(sys.argv[2], 'rb').read()
begin = next(member for member in tarfile.open(sys.argv[2]) if member.name == 'big').offset_data + 1000000
[[offset, size]] = item['ranges']
assert item['layer'] == sys.argv[3]
assert len(zlib.decompressobj(31).decompress(blob[:offset])) <= begin
assert len(zlib.decompressobj(31).decompress(blob[:offset + size])) >= begin + 500000
assert size < 1600000
[[offset, size]] = item['windows']
assert 0 < size < int(sys.argv[4]) and offset + size <= int(sys.argv[4])
PY
# What was indexed here gives the same.
expect 0 "$STAGEFS" profile push "$T/first.profile" "$REF"
first_of | cmp - "$T/first" || fail "the index of this host tells of other bytes: $(first_of)"

# --- a mount has it fetched by that alone
fetched() { "$STAGEFS" stats --json "$T/mnt" | jq .registry.fetched; }
first() { python3 "$HERE/forge_first.py" "$R" "$F" "$manifest" "$1"; }
first "[{\"layer\":\"$layer\",\"windows\":[[0,100]],\"ranges\":[[2000000,700000]]}]"
mount_it by-first
for _ in $(seq 50); do [ "$(fetched)" -ge 1200000 ] && break; sleep 0.1; done
[ "$(fetched)" -ge 1200000 ] || fail "only $(fetched) bytes came of 500000 and 700000"
[ "$(fetched)" -lt 1900000 ] || fail "$(fetched) bytes came"
cmp "$T/tree/big" "$T/mnt/big"
unmount_it

# --- hostile lists: the same bytes, and no word
huge=9223372036854775807
number=0
for text in '[' '7' "$(head -c 30000 /dev/zero | tr '\0' '[')" "$(head -c 40000 /dev/zero | tr '\0' ' ')[]" \
    "[1,[],{},{\"layer\":1},{\"layer\":\"$layer\"},{\"layer\":\"sha256:0\",\"ranges\":[[0,9]]},
    {\"layer\":\"$layer\",\"windows\":7,\"ranges\":[[-1,5]]},{\"layer\":\"$layer\",\"ranges\":[[5,-5],[7]]},
    {\"layer\":\"$layer\",\"windows\":[[$huge,$huge]],\"ranges\":[[$huge,$huge]]},
    {\"layer\":\"$layer\",\"windows\":[[$huge,1000],[0,60000000]],\"ranges\":[[$huge,1000],[3000000,1000000],[5],7,[\"a\",\"b\"]]}]"; do
    number=$((number + 1))
    first "$text"
    mount_it "hostile-$number"
    cmp "$T/tree/big" "$T/mnt/big" || fail "other bytes beside $text"
    unmount_it
    grep -v 'without EROFS in front\|fetches what 1 start profile' "$T/words" >"$T/rest" && fail "it is told of $text: $(cat "$T/rest")"
done
exit 0
