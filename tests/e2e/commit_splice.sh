#!/bin/sh
# Blocks of a gzip layer are copied into a gzip layer, not compressed again: read by everyone's gzip, the same bytes on any
# number of threads and with any index, and never out of a blob that was changed.
. "$(dirname "$0")/lib.sh"
need_root
need python3 skopeo gzip
export SOURCE_DATE_EPOCH=1700000000
number() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$T/json" "$1"; }
blob() { echo "$1/blobs/sha256/$("$STAGEFS" inspect --json "oci:$1:$2" | python3 -c 'import json, sys; print(json.load(sys.stdin)["layers"][-1]["digest"][7:])')"; }
take() { # SOURCE OPTION...
    from=$1
    shift
    "$STAGEFS" commit -q --from "oci:$T/$from" --copy /opt:/opt --json "$@" >"$T/json"
}

# Files of programs and libraries, of text, of zeros and of noise, small ones between.
python3 - "$T/in.tar" <<'END'
import glob, io, os, random, sys, tarfile
random.seed(1)
def programs(size):
    data = b''
    for path in sorted(glob.glob('/usr/lib/x86_64-linux-gnu/*.so.*') + glob.glob('/usr/bin/*')):
        if os.path.isfile(path) and len(data) < size:
            data += open(path, 'rb').read()
    return data
libs = programs(24 << 20)
files = {'libone.so': libs[:9000001], 'small': b'x', 'libtwo.so': libs[9000001:13 << 20], 'zeros': bytes(7 << 20),
         'text': b''.join(b'%d %s\n' % (i, bytes(random.choices(b'etaoin ', k=30))) for i in range(60000)),
         'noise': random.randbytes(3 << 20), 'half': libs[:1 << 20], 'libthree.so': libs[13 << 20:]}
tar = tarfile.open(sys.argv[1], 'w')
for name, data in files.items():
    info = tarfile.TarInfo('opt/lib/' + name)
    info.size, info.mtime = len(data), 1
    tar.addfile(info, io.BytesIO(data))
    for i in range(30):
        info = tarfile.TarInfo('opt/lib/%s.d/%d.py' % (name, i))
        info.size = i * 100
        tar.addfile(info, io.BytesIO(b'p' * info.size))
END
image "$T/in:gzip" gzip:"$T/in.tar" >/dev/null
sources=in:gzip
if command -v pigz >/dev/null; then
    pigz -6 -n -c "$T/in.tar" >"$T/in.gz"
    image "$T/in:pigz" ready-gzip:"$T/in.gz" >/dev/null
    sources="$sources in:pigz"
fi
take in:gzip --compression none -t "oci:$T/out:none"
none=$(blob "$T/out" none)

check() { # SOURCE
    for threads in 1 2 8; do
        STAGEFS_CACHE_DIR="$T/cache-$threads" take "$1" --threads $threads -t "oci:$T/out:x"
        number manifest >"$T/digest.$threads"
        cmp "$T/digest.1" "$T/digest.$threads" || fail "$1: $threads threads and another index give other bytes"
    done
    taken=$(blob "$T/out" x)
    size=$(wc -c <"$taken")
    [ "$(number copied_bytes)" -gt $((size / 3 * 2)) ] || fail "$1: only $(number copied_bytes) of $size bytes were copied"
    for reader in gzip igzip pigz; do
        command -v $reader >/dev/null || continue
        $reader -dc <"$taken" | cmp - "$none" || fail "$1: $reader reads other bytes"
    done
    python3 -c 'import gzip, sys; sys.exit(gzip.open(sys.argv[1]).read() != open(sys.argv[2], "rb").read())' "$taken" "$none" || fail "$1: zlib reads other bytes"
    if command -v bsdtar >/dev/null; then
        bsdtar -cf "$T/by-bsdtar" --format ustar "@$taken" && bsdtar -cf "$T/wanted" --format ustar "@$none"
        cmp "$T/by-bsdtar" "$T/wanted" || fail "$1: bsdtar reads other bytes"
    fi
    rm -rf "$T/by-skopeo"
    skopeo --insecure-policy copy -q --dest-decompress "oci:$T/out:x" "dir:$T/by-skopeo" || fail "$1: skopeo does not read it"
    cmp "$T/by-skopeo/$(sha256sum <"$none" | cut -d' ' -f1)" "$none" || fail "$1: skopeo reads other bytes"
    "$STAGEFS" verify -q "oci:$T/out:x" >/dev/null || fail "$1 does not verify"
}
for source in $sources; do check "$source"; done

# Out of what was copied so, too.
"$STAGEFS" commit -q "oci:$T/out:x" -t "oci:$T/again:first" >/dev/null
check again:first

# A part of it, and a level that is asked for.
"$STAGEFS" commit -q --from "oci:$T/in:gzip" --copy /opt/lib/libtwo.so:/two --json -t "oci:$T/out:two" >"$T/json"
[ "$(number copied_bytes)" -gt 500000 ] || fail "of one file, $(number copied_bytes) bytes were copied"
gzip -dc "$(blob "$T/out" two)" | tar -xO two >"$T/two"
tar -xOf "$T/in.tar" opt/lib/libtwo.so | cmp - "$T/two" || fail "one file: other bytes"
take in:gzip --compression-level 6 -t "oci:$T/out:level"
[ "$(number copied_bytes)" = 0 ] || fail "--compression-level is not heeded"

# A blob that is changed behind the index.
source=$(blob "$T/in" gzip)
python3 - "$source" <<'END'
import os, sys
with open(sys.argv[1], 'r+b') as f:
    f.seek(os.path.getsize(sys.argv[1]) // 2)
    byte = f.read(1)
    f.seek(-1, 1)
    f.write(bytes([byte[0] ^ 1]))
END
touch -r "$T/in.tar" "$source"
export STAGEFS_CACHE_DIR="$T/cache-1"
expect 1 "$STAGEFS" commit -q --from "oci:$T/in:gzip" --copy /opt:/opt -t "oci:$T/out:damaged"
"$STAGEFS" ls "oci:$T/out:damaged" >/dev/null 2>&1 && fail "a damaged source was committed"
exit 0
