#!/bin/sh
# What commit writes is indexed by then, and as a pass over the blob would index it: names, attributes and bytes.
. "$(dirname "$0")/lib.sh"
need python3
mkdir "$T/tars" "$T/src"
python3 "$HERE/layers.py" "$T/tars"
image "$T/layout:many" gzip:"$T/tars/0.tar" gzip:"$T/tars/1.tar" gzip:"$T/tars/2.tar" >/dev/null
# A long member, whose blocks a gzip layer takes over: text, so that deflate has blocks to cut between.
python3 - "$T/src" <<'P'
import random, sys
random.seed(7)
words = [bytes(random.randrange(97, 123) for _ in range(random.randrange(2, 12))) for _ in range(3000)]
for name, count in ('large', 1200000), ('middle', 300000), ('small', 300):
    open(f'{sys.argv[1]}/{name}', 'wb').write(b' '.join(random.choices(words, k=count)))
P
tar -C "$T/src" -cf "$T/long.tar" .
image "$T/layout:long" gzip:"$T/long.tar" >/dev/null

tell() { # tell LAYOUT:TAG FILE: every name with its attributes, and what is in the files
    "$STAGEFS" ls -R --json "oci:$1" / >"$2"
    python3 - "$STAGEFS" "$1" "$2" >"$2.bytes" <<'P'
import hashlib, json, subprocess, sys
files = ['/' + e['name'] for e in json.load(open(sys.argv[3]))[0]['entries'] if e['type'] == 'file' and e['size'] > 0]
print(hashlib.sha256(subprocess.run([sys.argv[1], 'cat', 'oci:' + sys.argv[2]] + files, stdout=subprocess.PIPE, check=True).stdout).hexdigest())
P
}
state() { "$STAGEFS" inspect --json "oci:$1" | python3 -c 'import json, sys; print(json.dumps(json.load(sys.stdin)["layers"][-1]["index"]))'; }
for source in many long; do
    for form in gzip zstd none "gzip --compression-level 1" zstd:chunked estargz; do
        tag=$source-$(echo "$form" | tr -d ' :-')
        rm -rf "$STAGEFS_CACHE_DIR"
        "$STAGEFS" commit -q "oci:$T/layout:$source" --compression $form -t "oci:$T/out:$tag" >/dev/null
        case $form in
        zstd:chunked | estargz) ;; # brings its table itself
        *) [ "$(state "$T/out:$tag")" != null ] || fail "$tag is not indexed after commit" ;;
        esac
        tell "$T/out:$tag" "$T/$tag.made"
        spans=$(state "$T/out:$tag" | sed 's/.*"spans": \([0-9]*\).*/\1/')
        rm -rf "$STAGEFS_CACHE_DIR"
        tell "$T/out:$tag" "$T/$tag.read"
        same "$tag" "$T/$tag.read" "$T/$tag.made"
        same "$tag, bytes" "$T/$tag.read.bytes" "$T/$tag.made.bytes"
        read_spans=$(state "$T/out:$tag" | sed 's/.*"spans": \([0-9]*\).*/\1/')
        # (a pass also enters between the blocks of a member, which are 1 MiB where commit compresses)
        [ "$spans" -ge $((read_spans / 4)) ] || fail "$tag: $spans spans, where a pass finds $read_spans"
    done
done

# ---- a layer on a base, with whiteouts; in an archive; and where the cache takes nothing
"$STAGEFS" commit -q "oci:$T/layout:long" -t "oci:$T/out:base" >/dev/null
echo 'FROM base
COPY --from=many /etc /more
COPY --from=many /usr/bin /middle' >"$T/Dockerfile"
rm -rf "$STAGEFS_CACHE_DIR"
"$STAGEFS" commit -q -f "$T/Dockerfile" --build-context "base=oci:$T/out:base" --build-context "many=oci:$T/layout:many" -t "oci:$T/out:file" >/dev/null 2>&1 ||
    "$STAGEFS" commit -q --base "oci:$T/out:base" --from "oci:$T/layout:many" --copy /etc:/more -t "oci:$T/out:file" >/dev/null
"$STAGEFS" inspect --json "oci:$T/out:file" | grep -q '"index": null' && fail "a layer of an image on a base is not indexed"
"$STAGEFS" commit -q "oci:$T/layout:long" -t "oci-archive:$T/o.tar:x" >/dev/null
"$STAGEFS" inspect --json "oci-archive:$T/o.tar:x" | grep -q '"index": null' && fail "the layer of an archive is not indexed"
rm -rf "$STAGEFS_CACHE_DIR"
expect 0 "$STAGEFS" commit -q --dry-run "oci:$T/layout:long" -t "oci:$T/out:dry"
[ "$(ls "$STAGEFS_CACHE_DIR/index" | grep -c idx)" = 1 ] || fail "a dry run left the index of a layer that is nowhere"
