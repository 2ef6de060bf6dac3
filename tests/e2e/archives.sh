#!/bin/sh
# The same image as layout, oci-archive and docker-archive, as skopeo writes them.
. "$(dirname "$0")/lib.sh"
need python3 skopeo
mkdir "$T/tars"
python3 "$HERE/layers.py" "$T/tars"
image "$T/layout:x" gzip:"$T/tars/0.tar" gzip:"$T/tars/1.tar" gzip:"$T/tars/2.tar" >/dev/null
skopeo --insecure-policy copy -q "oci:$T/layout:x" "oci-archive:$T/o.tar:x" || skip "skopeo cannot write an oci-archive here"
skopeo --insecure-policy copy -q "oci:$T/layout:x" "docker-archive:$T/d.tar:example.com/x:1"
"$STAGEFS" ls -lAR "oci:$T/layout:x" / >"$T/want"
"$STAGEFS" cat "oci:$T/layout:x" /usr/lib/big.so >"$T/tars/big"
for form in "oci-archive:$T/o.tar" "oci-archive:$T/o.tar:x" "docker-archive:$T/d.tar" "docker-archive:$T/d.tar:example.com/x:1"; do
    "$STAGEFS" ls -lAR "$form" / >"$T/got"
    same "$form" "$T/want" "$T/got"
    "$STAGEFS" cat "$form" /usr/lib/big.so >"$T/bytes"
    cmp "$T/bytes" "$T/tars/big" || fail "$form: other bytes"
    "$STAGEFS" verify "$form" >/dev/null || fail "verify $form"
done
mkdir "$T/plain"
tar -xf "$T/tars/0.tar" -C "$T/plain" --exclude='var/disk' --exclude='var/null' --no-same-owner 2>/dev/null || true
cmp "$T/plain/usr/lib/big.so" "$T/tars/big" || fail "not the bytes that tar extracts"
"$STAGEFS" ls -A "dir:$T/plain" usr/lib | grep -qx big.so || fail "dir: does not list the directory"
