#!/usr/bin/env python3
"""forge_index.py HOST:PORT NAME SUBJECT KIND: puts a changed index in place of the one beside an image of one layer.

It takes the artifact from the fallback tag, unpacks the layer's index (fs/layer/index.h and index_export.h), changes it as KIND
says, makes its checksum right again, and has the tag name the new artifact alone. With KIND "none" only that is done."""
import hashlib
import json
import struct
import subprocess
import sys
import urllib.parse
import urllib.request

host, name, subject, kind = sys.argv[1:]
base = f'http://{host}/v2/{name}/'
tag = subject.replace(':', '-')
INODES, ENTRIES, EXTENTS, XATTRS, POINTS, TAGS, STRINGS, WINDOWS = range(8)
SIZES = [72, 16, 24, 16, 32, 1, 1, 1]
ENTRY, INODE, EXTENT, POINT = '<IHHII', '<QqIIIIIIIIIIIIQ', '<QQQ', '<QQQII'
NOWHERE = 2**64 - 1


def call(method, url, data=None, headers=None):
    request = urllib.request.Request(urllib.parse.urljoin(base, url), data=data, method=method, headers=headers or {})
    with urllib.request.urlopen(request) as answer:
        return answer.read(), answer.headers


def put_blob(data):
    digest = 'sha256:' + hashlib.sha256(data).hexdigest()
    place = call('POST', 'blobs/uploads/', b'')[1]['Location']
    call('PUT', place + ('&' if '?' in place else '?') + 'digest=' + digest, data, {'Content-Type': 'application/octet-stream'})
    return digest


def crc64(data):
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0xc96c5795d7870f42 if byte & 1 else 0)
        table.append(byte)
    crc = NOWHERE
    for byte in data:
        crc = table[(crc ^ byte) & 0xff] ^ crc >> 8
    return crc ^ NOWHERE


class Index:
    def __init__(self, head):
        self.head = bytearray(head[:288])
        at = [struct.unpack_from('<QQ', head, 160 + 16 * i) for i in range(8)]
        self.windows = at[WINDOWS][1]
        self.parts = [bytearray(head[a:a + n * size]) for (a, n), size in zip(at[:WINDOWS], SIZES)]
        entries = at[ENTRIES][1]
        self.places = list(struct.unpack_from(f'<{entries}Q', head, at[WINDOWS][0]))
        assert len(head) == at[WINDOWS][0] + 8 * entries

    def get(self, form, part, i):
        return list(struct.unpack_from(form, self.parts[part], SIZES[part] * i))

    def set(self, form, part, i, values):
        struct.pack_into(form, self.parts[part], SIZES[part] * i, *values)

    def count(self, part):
        return len(self.parts[part]) // SIZES[part]

    def find(self, wanted):
        for i in range(self.count(ENTRIES)):
            at, size = self.get(ENTRY, ENTRIES, i)[:2]
            if self.parts[STRINGS][at:at + size] == wanted.encode():
                return i
        raise SystemExit(f'there is no {wanted}')

    def add_text(self, text):
        at = len(self.parts[STRINGS])
        self.parts[STRINGS] += text.encode() + b'\0'
        return at

    def pack(self):
        body, offset = b'', 288
        for i, part in enumerate(self.parts):
            struct.pack_into('<QQ', self.head, 160 + 16 * i, offset, self.count(i))
            body += part + bytes(-len(part) % 8)
            offset = 288 + len(body)
        struct.pack_into('<QQ', self.head, 160 + 16 * WINDOWS, offset, self.windows)
        struct.pack_into('<Q', self.head, 16, offset + (self.windows + 7 & ~7))
        struct.pack_into('<Q', self.head, 24, crc64(bytes(self.head[32:]) + body))
        return bytes(self.head) + body + struct.pack(f'<{len(self.places)}Q', *self.places)


def add_name(index, extent, place):
    """A file behind the last name, which is in the last directory."""
    last = index.get(ENTRY, ENTRIES, index.count(ENTRIES) - 1)
    folder = index.get(ENTRY, ENTRIES, last[4])[3]
    inode = index.get(INODE, INODES, folder)
    inode[9] += 1
    index.set(INODE, INODES, folder, inode)
    index.parts[ENTRIES] += struct.pack(ENTRY, index.add_text('zzzz'), 4, 0, index.count(INODES), last[4])
    index.parts[INODES] += struct.pack(INODE, extent[2], 0, 0, 0o100644, 0, 0, 0, 0, index.count(EXTENTS), 1, 0, 0, 0, 1, 0)
    index.parts[EXTENTS] += struct.pack(EXTENT, *extent)
    index.places.append(place)


def leave_out(index):
    """The last name, whose inode and extent are the last ones, too."""
    last = index.get(ENTRY, ENTRIES, index.count(ENTRIES) - 1)
    folder = index.get(ENTRY, ENTRIES, last[4])[3]
    assert last[3] == index.count(INODES) - 1 and index.get(INODE, INODES, last[3])[9] == 1
    inode = index.get(INODE, INODES, folder)
    inode[9] -= 1
    index.set(INODE, INODES, folder, inode)
    for part in (ENTRIES, INODES, EXTENTS):
        del index.parts[part][-SIZES[part]:]
    index.places.pop()


def forge(index):
    if kind in ('swap', 'swap-places'):
        a, b = index.find('f3'), index.find('f4')
        x, y = index.get(ENTRY, ENTRIES, a), index.get(ENTRY, ENTRIES, b)
        x[3], y[3] = y[3], x[3]
        index.set(ENTRY, ENTRIES, a, x)
        index.set(ENTRY, ENTRIES, b, y)
        if kind == 'swap-places':
            index.places[a], index.places[b] = index.places[b], index.places[a]
    elif kind in ('setuid', 'owner', 'size', 'shift'):
        number = index.get(ENTRY, ENTRIES, index.find('f5'))[3]
        inode = index.get(INODE, INODES, number)
        extent = index.get(EXTENT, EXTENTS, inode[8])
        if kind == 'setuid':
            inode[3] |= 0o4000
        elif kind == 'owner':
            inode[4] += 1
        elif kind == 'size':
            inode[0] -= 1
            extent[2] -= 1
        else:
            inode[0] -= 8
            extent[1], extent[2] = extent[1] + 8, extent[2] - 8
        index.set(INODE, INODES, number, inode)
        index.set(EXTENT, EXTENTS, inode[8], extent)
    elif kind == 'target':
        number = index.get(ENTRY, ENTRIES, index.find('link'))[3]
        inode = index.get(INODE, INODES, number)
        inode[10] = index.add_text('f4')
        index.set(INODE, INODES, number, inode)
    elif kind == 'hardlink':  # another file's second name becomes this one's
        entry = index.find('hard7')
        rec = index.get(ENTRY, ENTRIES, entry)
        to = index.get(ENTRY, ENTRIES, index.find('f8'))[3]
        for number, more in ((rec[3], -1), (to, 1)):
            inode = index.get(INODE, INODES, number)
            inode[13] += more
            index.set(INODE, INODES, number, inode)
        rec[3] = to
        index.set(ENTRY, ENTRIES, entry, rec)
    elif kind == 'rename':
        entry = index.find('f199')
        at = index.get(ENTRY, ENTRIES, entry)[0]
        index.parts[STRINGS][at:at + 4] = b'f19:'
    elif kind == 'omit':
        leave_out(index)
    elif kind in ('add', 'add-behind'):
        extent = index.get(EXTENT, EXTENTS, index.get(INODE, INODES, index.get(ENTRY, ENTRIES, index.find('f6'))[3])[8])
        if kind == 'add':  # bytes of another file
            add_name(index, [0, extent[1], 5], extent[1] - 511)
        else:  # the zeros behind it
            add_name(index, [0, extent[1] + extent[2], 1], extent[1] - 511)
    elif kind == 'point-out':
        point = index.get(POINT, POINTS, 2)
        point[0] += 512
        index.set(POINT, POINTS, 2, point)
    elif kind == 'point-in':
        point = index.get(POINT, POINTS, 2)
        point[1] += 1
        index.set(POINT, POINTS, 2, point)
    elif kind == 'other-layer':
        index.head[32] ^= 1
    elif kind == 'no-places':
        index.places = [NOWHERE] * len(index.places)
    elif kind == 'many-names':
        struct.pack_into('<Q', index.head, 168, 2**40)
    elif kind != 'none' and not kind.startswith('raw-'):
        raise SystemExit(f'what is {kind}?')


listed = json.loads(call('GET', f'manifests/{tag}', headers={'Accept': 'application/vnd.oci.image.index.v1+json'})[0])
entry = [e for e in listed['manifests'] if e['artifactType'] == 'application/vnd.stagefs.index.v1'][-1]
manifest = json.loads(call('GET', f'manifests/{entry["digest"]}', headers={'Accept': 'application/vnd.oci.image.manifest.v1+json'})[0])
packed = call('GET', f'blobs/{manifest["layers"][0]["digest"]}')[0]
index = Index(subprocess.run(['zstd', '-dq'], input=packed, stdout=subprocess.PIPE, check=True).stdout)
forge(index)
data = index.pack()
if kind == 'many-names':
    data = data[:168] + struct.pack('<Q', 2**40) + data[176:]
if kind == 'raw-cut':
    data = data[:-100]
head = subprocess.run(['zstd', '-q', f'--stream-size={len(data)}'], input=data, stdout=subprocess.PIPE, check=True).stdout
if kind == 'raw-huge':  # a frame of 2^40 bytes, as it says
    head = b'\x28\xb5\x2f\xfd\xe0' + struct.pack('<Q', 2**40) + b'\x01\0\0'
elif kind == 'raw-noise':
    head = bytes(range(256)) * 16
manifest['layers'][0].update(digest=put_blob(head), size=len(head))
if kind == 'raw-windows':
    manifest['layers'][1]['size'] = 2**62
text = json.dumps(manifest).encode()
entry = dict(entry, digest='sha256:' + hashlib.sha256(text).hexdigest(), size=len(text))
call('PUT', f'manifests/{entry["digest"]}', text, {'Content-Type': 'application/vnd.oci.image.manifest.v1+json'})
listed['manifests'] = [entry]
call('PUT', f'manifests/{tag}', json.dumps(listed).encode(), {'Content-Type': 'application/vnd.oci.image.index.v1+json'})
