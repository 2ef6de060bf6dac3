#!/bin/sh
# Device code of other GPUs goes from a library that the linker made: the same bytes from the mount, from cat and in the
# committed image; and whoever asks for what is not there is told so in a sentence.
. "$(dirname "$0")/lib.sh"
need cc
need python3
mkdir -p "$T/base/opt" "$T/root/opt"
python3 "$HERE/fatbin.py" cubin:80 cubin:90 ptx:90 cubin:120 ptx:120 >"$T/fatbin"
python3 "$HERE/fatbin.py" ptx:75 ptx:80 >"$T/fatbin2"
cat >"$T/x.c" <<X
extern const char first[], second[];
__asm__(".section .nv_fatbin,\"a\"\n.balign 8\nfirst: .incbin \"$T/fatbin\"\n.balign 8\nsecond: .incbin \"$T/fatbin2\"\n.text");
struct wrapper { int magic, version; const void *data; void *unused; };
__attribute__((section(".nvFatBinSegment"))) struct wrapper wrappers[] = { { 0x466243b1, 1, first, 0 },
                                                                           { 0x466243b1, 1, second, 0 } };
int x(void) { return 7; }
X
cc -shared -fPIC -o "$T/root/opt/libx.so" "$T/x.c"
ln "$T/root/opt/libx.so" "$T/root/opt/libx.so.1"
cp "$T/root/opt/libx.so" "$T/base/opt/libbase.so"
cp "$T/root/opt/libx.so" "$T/root/opt/libold.so"
python3 - "$T/root/opt/libold.so" <<'X'
import sys
data = bytearray(open(sys.argv[1], 'rb').read())
data[data.index(b'\x50\xed\x55\xba') + 4] = 7
open(sys.argv[1], 'wb').write(data)
X
for i in base root; do
    tar -C "$T/$i" --sort=name --owner=0 --group=0 -cf "$T/$i.tar" .
    image "$T/layout:$i" gzip:"$T/$i.tar" >/dev/null
done
stage() { # stage COMMAND OPTION...
    command=$1
    shift
    "$STAGEFS" "$command" --base "oci:$T/layout:base" --from "oci:$T/layout:root" --copy /opt "$@"
}

# ---- what there is, and what goes
expect 0 stage du --device-code --gpu-arch sm_90
says "/opt/libold.so: its device code stays whole, since it is not understood: section .nv_fatbin: a fat binary is of version 7"
sed 's/  */ /g' "$T/stdout" | cut -d' ' -f1-3,5 >"$T/table"
cat >"$T/wanted" <<'X'
kind for pieces goes
cubin sm_80 1 40K
cubin sm_90 1 0
cubin sm_120 1 40K
ptx sm_75 1 32K
ptx sm_80 1 0
ptx sm_90 1 32K
ptx sm_120 1 32K
X
grep -v '^total' "$T/table" | diff "$T/wanted" - || fail "another table"

# ---- the same bytes everywhere
expect 0 stage cat --gpu-arch sm_90 /opt/libx.so
cp "$T/stdout" "$T/pruned.so"
cmp -s "$T/pruned.so" "$T/root/opt/libx.so" && fail "nothing went"
[ "$(wc -c <"$T/pruned.so")" = "$(wc -c <"$T/root/opt/libx.so")" ] || fail "another size"
expect 0 stage commit --gpu-arch sm_90 -t "oci:$T/out:a"
grep -q "device code .* is for other GPUs than sm_90 and became zeros" "$T/stderr" || fail "commit tells nothing: $(cat "$T/stderr")"
expect 0 "$STAGEFS" cat "oci:$T/out:a" /opt/libx.so.1
cmp "$T/stdout" "$T/pruned.so" || fail "commit writes something else"
expect 0 "$STAGEFS" cat "oci:$T/out:a" /opt/libold.so
cmp "$T/stdout" "$T/root/opt/libold.so" || fail "what is not understood was changed"
expect 0 "$STAGEFS" cat "oci:$T/out:a" /opt/libbase.so
cmp "$T/stdout" "$T/base/opt/libbase.so" || fail "the base was changed"
expect 0 "$STAGEFS" inspect --json "oci:$T/out:a"
grep -q '"io.stagefs.gpu-arch": "sm_90"' "$T/stdout" || fail "no label"
grep -q 'stagefs: --gpu-arch sm_90 --ptx needed' "$T/stdout" || fail "nothing in the history"
if [ -c /dev/fuse ]; then
    mkdir "$T/mnt"
    stage mount --gpu-arch sm_90 "$T/mnt" 2>/dev/null
    cmp "$T/mnt/opt/libx.so.1" "$T/pruned.so" || fail "the mount shows something else"
    cmp "$T/mnt/opt/libbase.so" "$T/base/opt/libbase.so" || fail "the mount shows another base"
    "$STAGEFS" umount "$T/mnt"
fi

# ---- the symbols are where they were
if command -v readelf >/dev/null; then
    readelf -Ws "$T/pruned.so" >"$T/symbols"
    readelf -Ws "$T/root/opt/libx.so" | diff - "$T/symbols" || fail "other symbols"
fi

# ---- again: nothing is left to do, and what is left is what was kept
expect 0 "$STAGEFS" du --device-code --gpu-arch sm_90 --json "oci:$T/out:a"
python3 - "$T/stdout" <<'X' || fail "a second run finds something"
import json, sys
rows = {(row['kind'], row['arch']): row for row in json.load(open(sys.argv[1]))}
assert set(rows) >= {('cubin', 'sm_90'), ('ptx', 'sm_80')}, rows
# libbase.so, of what is a base no more, is pruned now.
assert rows['cubin', 'sm_80']['pieces'] == 1, rows
X

# ---- symbols: the loader takes what is left, and strip finds nothing to do
cat >"$T/y.c" <<'X'
static int hidden(int a) { return a + 1; }
int (*seen)(int) = hidden;
const char filler[70000] = "a file that is large enough";
X
cc -g -shared -fPIC -o "$T/root/opt/liby.so" "$T/y.c"
echo 00 >"$T/root/opt/.libz.so.hmac"
cp "$T/root/opt/liby.so" "$T/root/opt/libz.so"
tar -C "$T/root" --sort=name --owner=0 --group=0 -cf "$T/root.tar" .
image "$T/layout:root" gzip:"$T/root.tar" >/dev/null
expect 0 stage commit --strip -t "oci:$T/out:b"
grep -q "symbols and debug information of 3 files, .* became zeros" "$T/stderr" || fail "commit tells nothing: $(cat "$T/stderr")"
expect 0 "$STAGEFS" cat "oci:$T/out:b" /opt/libz.so
cmp "$T/stdout" "$T/root/opt/libz.so" || fail "what has a checksum beside it was changed"
expect 0 "$STAGEFS" cat "oci:$T/out:b" /opt/liby.so
cp "$T/stdout" "$T/stripped.so"
[ "$(wc -c <"$T/stripped.so")" = "$(wc -c <"$T/root/opt/liby.so")" ] || fail "another size"
python3 - "$T/stripped.so" <<'X' || fail "it cannot be loaded"
import ctypes, sys
library = ctypes.CDLL(sys.argv[1])
assert ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int).in_dll(library, 'seen')(6) == 7
X
if command -v readelf >/dev/null; then
    readelf -SsW "$T/stripped.so" >"$T/sections" 2>"$T/complaints" || fail "readelf fails: $(cat "$T/complaints")"
    [ -s "$T/complaints" ] && fail "readelf complains: $(cat "$T/complaints")"
    grep -E "debug|symtab|hidden" "$T/sections" && fail "symbols are left"
    grep -q " seen$" "$T/sections" || fail "a symbol that the loader needs went"
fi
"$STAGEFS" cache ls | grep -q "^findings  sha256:" || fail "nothing is kept for the next command"

# ---- what is none
expect 2 stage ls --gpu-arch hopper
says "'hopper' is not a GPU's architecture"
expect 2 stage ls --gpu-arch sm_90 --ptx some
says "--ptx is needed, newest or all, not 'some'"
expect 2 stage ls --ptx all
says "--ptx goes with --gpu-arch"
expect 2 stage ls --bare-cubins
says "--bare-cubins goes with --gpu-arch"
expect 2 stage du --device-code /opt
says "--device-code is of the whole stage"
