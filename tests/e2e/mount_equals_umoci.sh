#!/bin/sh
# The mount shows what umoci unpacks: for gzip, and for every other form of the same layers.
. "$(dirname "$0")/lib.sh"
need_root
need_fuse
need umoci python3 zstd
mkdir "$T/tars" "$T/mnt"
python3 "$HERE/layers.py" "$T/tars"
image "$T/layout:gzip" gzip:"$T/tars/0.tar" gzip:"$T/tars/1.tar" gzip:"$T/tars/2.tar" >/dev/null
umoci unpack --image "$T/layout:gzip" "$T/bundle" >/dev/null 2>&1
# umoci gives missing parents, and the directory it makes them in, the time of unpacking; stagefs gives them 0.
hide_implied() { awk -v now="$(date +%s)" '$1 == "." || ($2 == "d" && ($6 + 0 == 0 || $6 + 3600 > now)) { $6 = "time" } { print }'; }
list "$T/bundle/rootfs" | hide_implied >"$T/want"
[ "$(wc -l <"$T/want")" -gt 330 ] || fail "umoci unpacked too little"

for form in gzip pigz zstd zstds tar docker-gzip docker-zstd; do
    image "$T/layout:$form" "$form:$T/tars/0.tar" "$form:$T/tars/1.tar" "$form:$T/tars/2.tar" >/dev/null
    "$STAGEFS" mount --dev --suid "oci:$T/layout:$form" "$T/mnt"
    list "$T/mnt" | hide_implied >"$T/got"
    same "$form" "$T/want" "$T/got"
    "$STAGEFS" umount "$T/mnt"
done
