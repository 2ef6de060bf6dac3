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
sections = [struct.unpack_from('<QQ', head, 160 + 16 * i) for i in range(8)]
entries = sections[1][1]
places = struct.unpack_from(f'<{entries}Q', head, sections[7][0])  # behind the file's part: where each name's header is
assert len(head) == sections[7][0] + 8 * entries, 'a place for each entry'
assert any(place != 2**64 - 1 for place in places), 'some place'
assert file_size == sections[7][0] + len(windows), 'size of the file'
assert head[32:64] == hashlib.sha256(blob).digest(), 'digest of the layer'
blob_size, copy_size, codec, seek_codec, check, flags, in_size = struct.unpack_from('<QQIIIIQ', head, 96)
assert blob_size == len(blob) and copy_size == 0 and check == 3, 'sizes and check'
assert head[144:160] == bytes(16), 'no key goes out'
points_at, points = sections[4]
tags_at, tags = sections[5]
windows_at, windows_size = sections[7]
assert windows_size <= len(windows) and tags == 32 * points, 'sections'
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
