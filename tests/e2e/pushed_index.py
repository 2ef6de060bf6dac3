#!/usr/bin/env python3
"""pushed_index.py HEAD WINDOWS BLOB: is HEAD (decompressed) with WINDOWS behind it a pushed index of the layer BLOB?

It reads the format anew from fs/layer/index.h and index_export.h, and digests every span. Prints how many there are."""
import hashlib
import struct
import sys

head = open(sys.argv[1], 'rb').read()
windows = open(sys.argv[2], 'rb').read()
blob = open(sys.argv[3], 'rb').read()
magic, version, header_size, file_size = struct.unpack_from('<8sIIQ', head)
assert magic == b'SFSINDEX' and version == 4 and header_size == 288, 'header'
assert file_size == len(head) + len(windows), 'size of the file'
assert head[32:64] == hashlib.sha256(blob).digest(), 'digest of the layer'
blob_size, copy_size, codec, seek_codec, check, flags, in_size = struct.unpack_from('<QQIIIIQ', head, 96)
assert blob_size == len(blob) and copy_size == 0 and check == 3, 'sizes and check'
assert head[144:160] == bytes(16), 'no key goes out'
sections = [struct.unpack_from('<QQ', head, 160 + 16 * i) for i in range(8)]
points_at, points = sections[4]
tags_at, tags = sections[5]
windows_at, windows_size = sections[7]
assert windows_at == len(head) and windows_size <= len(windows) and tags == 32 * points, 'sections'
all_points = []
for i in range(points):
    out, offset, window, packed, skip = struct.unpack_from('<QQQII', head, points_at + 32 * i)
    all_points.append((offset, window, packed & 0xffffff, packed >> 24, skip))
for i, (offset, window, window_size, bits, skip) in enumerate(all_points):
    assert skip == 0, 'this reader knows no shared input'
    end = all_points[i + 1][0] if i + 1 < points else in_size
    start = offset - (1 if bits & 7 else 0)
    digest = hashlib.sha256(windows[window:window + window_size] + blob[start:end]).digest()
    assert digest == head[tags_at + 32 * i:tags_at + 32 * i + 32], f'span {i}'
print(points)
