#!/usr/bin/env python3
"""Writes SOCI's tables of contents (zTOC) for gzip and plain layers of an OCI layout, for tests, with no code of SOCI's.

soci.py v2 LAYOUT:TAG [OPTION...]       annotates the manifest, and tags an index of it and of SOCI's index
soci.py v1 LAYOUT:TAG [OPTION...]       adds SOCI's index with the manifest as its subject; both print the tables' digests
soci.py push LAYOUT:TAG HOST:PORT NAME TAG   what the tag names and, under the fallback tag, what has it as its subject
soci.py strike FILE KIND                 changes a table in a file, as whoever serves it might

Options: span=BYTES (4194304), least=BYTES: layers below have no table; zinfo=1: without the first point, as SOCI once wrote it;
untyped=1: the list under the fallback tag does not say what SOCI's index is, only its config does;
forge=KIND: the table says otherwise than the layer, see forge()."""
import ctypes
import ctypes.util
import datetime
import hashlib
import io
import json
import os
import struct
import sys
import tarfile
import urllib.parse
import urllib.request
import zlib

V1, V2 = ('application/vnd.amazon.soci.index.v%d+json' % v for v in (1, 2))
MANIFEST, INDEX = ('application/vnd.oci.image.%s.v1+json' % w for w in ('manifest', 'index'))
WINDOW = 32768

# ---- FlatBuffers: a table is a list of fields, each None or (kind, value)

def write_flatbuffer(root):
    out = bytearray(4)
    later = []

    def align(size):
        out.extend(bytes(-len(out) % size))

    def name(at, value):  # what stands at `value` is written later, and named at `at`
        later.append((at, value))

    def write_table(fields):
        sizes = {'u8': 1, 'u32': 4, 'i64': 8}
        slots, size = [], 4
        for field in fields:
            width = 0 if field is None else sizes.get(field[0], 4)
            size += -size % max(width, 1)
            slots.append(size if width else 0)
            size += width
        align(8)
        vtable = len(out)
        out.extend(struct.pack('<HH%dH' % len(slots), 4 + 2 * len(slots), size, *slots))
        align(8)
        at = len(out)
        out.extend(bytes(size))
        struct.pack_into('<i', out, at, at - vtable)
        for field, slot in zip(fields, slots):
            if field is None:
                continue
            kind, value = field
            if kind in sizes:
                struct.pack_into({'u8': '<B', 'u32': '<I', 'i64': '<q'}[kind], out, at + slot, value)
            else:
                name(at + slot, (kind, value))
        return at

    def write(kind, value):
        if kind == 'table':
            return write_table(value)
        align(4)
        at = len(out)
        out.extend(struct.pack('<I', len(value)))
        if kind == 'text':
            out.extend(value + b'\0')
        elif kind == 'bytes':
            out.extend(value)
        else:  # 'tables' or 'texts'
            for item in value:
                name(len(out), (kind[:-1], item))
                out.extend(bytes(4))
        return at

    name(0, ('table', root))
    while later:
        at, value = later.pop(0)
        struct.pack_into('<I', out, at, write(*value) - at)
    return bytes(out)

# ---- where a gzip stream can be entered

class Stream(ctypes.Structure):
    _fields_ = [('next_in', ctypes.c_void_p), ('avail_in', ctypes.c_uint), ('total_in', ctypes.c_ulong),
                ('next_out', ctypes.c_void_p), ('avail_out', ctypes.c_uint), ('total_out', ctypes.c_ulong),
                ('msg', ctypes.c_char_p), ('state', ctypes.c_void_p), ('zalloc', ctypes.c_void_p),
                ('zfree', ctypes.c_void_p), ('opaque', ctypes.c_void_p), ('data_type', ctypes.c_int),
                ('adler', ctypes.c_ulong), ('reserved', ctypes.c_ulong)]

def find_points(data, span):
    """(in, out, bits, window) of a block's start where the last one is more than `span` decoded bytes behind."""
    libz = ctypes.CDLL(ctypes.util.find_library('z') or 'libz.so.1')
    libz.zlibVersion.restype = ctypes.c_char_p
    stream, room = Stream(), ctypes.create_string_buffer(1 << 20)
    source = ctypes.create_string_buffer(data, len(data))
    assert libz.inflateInit2_(ctypes.byref(stream), 47, libz.zlibVersion(), ctypes.sizeof(stream)) == 0
    stream.next_in, stream.avail_in = ctypes.addressof(source), len(data)
    points, window, out, last = [], bytes(WINDOW), 0, 0
    while stream.avail_in:
        stream.next_out, stream.avail_out = ctypes.addressof(room), len(room) - 1
        result = libz.inflate(ctypes.byref(stream), 5)  # Z_BLOCK
        got = room.raw[:len(room) - 1 - stream.avail_out]
        window, out = (window + got)[-WINDOW:], out + len(got)
        if result == 1:
            libz.inflateReset(ctypes.byref(stream))
            continue
        assert result in (0, -5), result
        if stream.data_type & 128 and not stream.data_type & 64 and (out == 0 or out - last > span):
            points.append((len(data) - stream.avail_in, out, stream.data_type & 7, window))
            last = out
    libz.inflateEnd(ctypes.byref(stream))
    return points

# ---- one table

def text(value):
    return ('text', value.encode('utf-8', 'surrogateescape') if isinstance(value, str) else value)

def time_of(info):
    seconds, _, rest = info.pax_headers.get('mtime', str(int(info.mtime))).partition('.')
    when = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=int(seconds))
    rest = rest[:9].rstrip('0')
    return when.strftime('%Y-%m-%dT%H:%M:%S') + ('.' + rest if rest else '') + 'Z'

def member(info):
    kinds = {tarfile.LNKTYPE: 'hardlink', tarfile.SYMTYPE: 'symlink', tarfile.DIRTYPE: 'dir', tarfile.CHRTYPE: 'char',
             tarfile.BLKTYPE: 'block', tarfile.FIFOTYPE: 'fifo'}
    kind = kinds.get(info.type, 'reg')
    records = [[text(key), text(value)] for key, value in sorted(info.pax_headers.items())]
    return {'name': info.name + ('/' if kind == 'dir' else ''), 'type': kind, 'offset': info.offset_data,
            'size': info.size if kind == 'reg' else 0, 'link': info.linkname, 'mode': info.mode, 'uid': info.uid,
            'gid': info.gid, 'uname': info.uname, 'gname': info.gname, 'time': time_of(info), 'major': info.devmajor,
            'minor': info.devminor, 'records': records}

def pack_member(m):
    return [text(m['name']), text(m['type']), ('i64', m['offset']), ('i64', m['size']), text(m['link']), ('i64', m['mode']),
            ('u32', m['uid']), ('u32', m['gid']), text(m['uname']), text(m['gname']), text(m['time']), ('i64', m['major']),
            ('i64', m['minor']), ('tables', m['records'])]

def forge(kind, members, points, digests, sizes):
    """Makes the table say otherwise than the layer."""
    files = [m for m in members if m['type'] == 'reg' and m['size'] > 0]
    if kind == 'names':
        files[0]['name'], files[1]['name'] = files[1]['name'], files[0]['name']
    elif kind == 'mode':
        for m in files:
            m['mode'] = 0o6755
    elif kind == 'owner':
        for m in files:
            m['uid'] = 4711
    elif kind == 'xattr':
        for m in files:
            m['records'] = [[text('SCHILY.xattr.user.forged'), text('x')]]
    elif kind == 'omit':
        members.remove(files[1])
    elif kind == 'digests':
        digests[:] = ['sha256:' + 64 * 'a'] * len(digests)
    elif kind == 'windows':
        points[:] = [(i, o, b, bytes(x ^ 1 for x in w) if o else w) for i, o, b, w in points]
    elif kind == 'beyond':
        points[-1] = (sizes[0] + 1000,) + points[-1][1:]
    elif kind == 'file-beyond':
        members[-1]['offset'] = sizes[1] + 512
    elif kind == 'order':
        points.reverse()
    elif kind == 'sizes':
        sizes[0] += 1
    elif kind == 'bits':
        points[-1] = points[-1][:2] + (9,) + points[-1][3:]
    elif kind == 'few-digests':
        digests.pop()
    elif kind:
        sys.exit('unknown forgery ' + kind)

def digest_of(data):
    return 'sha256:' + hashlib.sha256(data).hexdigest()

def pack_gzip(points, span, version):
    head = struct.pack('<iq', len(points), span)
    return head + b''.join(struct.pack('<qqB', i, o, b) + w for i, o, b, w in points[1 if version == 1 else 0:])

def make_table(blob, media_type, options):
    span, kind = int(options.get('span', 4 << 20)), options.get('forge')
    is_gzip = 'gzip' in media_type
    plain = unpack(blob) if is_gzip else blob
    archive = tarfile.open(fileobj=io.BytesIO(plain), errors='surrogateescape')
    members = [member(info) for info in archive]
    sizes = [len(blob), archive.offset + 1024]  # Go reads two blocks of zeros, and stops
    points = find_points(blob, span) if is_gzip else [(at, at, 0, b'') for at in range(0, len(blob), span)]
    starts = [i - (1 if b else 0) for i, o, b, w in points]
    ends = [i for i, o, b, w in points[1:]] + [len(blob)]
    digests = [digest_of(blob[a:b]) for a, b in zip(starts, ends)]
    forge(kind, members, points, digests, sizes)
    data = (pack_gzip(points, span, int(options.get('zinfo', 2))) if is_gzip else
            write_flatbuffer([('u32', 2), ('i64', span), ('i64', len(blob))]))
    info = [('u8', 1 if is_gzip else 2), ('u32', len(points) - 1), ('texts', [d.encode() for d in digests]), ('bytes', data)]
    toc = [('tables', [pack_member(m) for m in members])]
    return write_flatbuffer([text('0.9'), text('tests'), ('i64', sizes[0]), ('i64', sizes[1]), ('table', toc),
                             ('table', info)])

def unpack(blob):
    out = b''
    while blob[:2] == b'\x1f\x8b':
        machine = zlib.decompressobj(31)
        out += machine.decompress(blob)
        blob = machine.unused_data
    return out

def strike(path, kind):
    data = bytearray(open(path, 'rb').read())
    if kind == 'cut':
        del data[len(data) // 2:]
    elif kind == 'flip':
        data[len(data) // 2] ^= 1
    elif kind == 'noise':
        data = bytearray(os.urandom(len(data)))
    else:
        sys.exit('unknown ' + kind)
    open(path, 'wb').write(data)

# ---- layouts

class Layout:
    def __init__(self, path):
        self.path = path
        self.index = json.load(open(path + '/index.json'))

    def read(self, digest):
        return open(self.path + '/blobs/' + digest.replace(':', '/'), 'rb').read()

    def add(self, data, **rest):
        data = data if isinstance(data, bytes) else json.dumps(data).encode()
        digest = digest_of(data)
        open(self.path + '/blobs/' + digest.replace(':', '/'), 'wb').write(data)
        return {'digest': digest, 'size': len(data), **rest}

    def find(self, tag):
        name = 'org.opencontainers.image.ref.name'
        return next(m for m in self.index['manifests'] if m.get('annotations', {}).get(name) == tag)

    def save(self):
        json.dump(self.index, open(self.path + '/index.json', 'w'))

def make_index(layout, manifest, version, options):
    layers = []
    for layer in manifest['layers']:
        if layer['size'] < int(options.get('least', 0)):
            continue
        table = make_table(layout.read(layer['digest']), layer['mediaType'], options)
        layers.append(layout.add(table, mediaType='application/octet-stream', annotations={
            'com.amazon.soci.image-layer-digest': layer['digest'],
            'com.amazon.soci.image-layer-mediaType': layer['mediaType']}))
    config = layout.add(b'{}', mediaType=version)
    return {'schemaVersion': 2, 'mediaType': MANIFEST, 'config': config, 'layers': layers,
            'annotations': {'com.amazon.soci.build-tool-identifier': 'tests'}}

def convert(layout, tag, version, options):
    entry = layout.find(tag)
    manifest = json.loads(layout.read(entry['digest']))
    index = make_index(layout, manifest, version, options)
    if version == V1:
        index['subject'] = {key: entry[key] for key in ('mediaType', 'digest', 'size')}
        kind = {} if options.get('untyped') else {'artifactType': V1}
        layout.index['manifests'].append(layout.add(index, mediaType=MANIFEST, **kind))
    else:
        config = json.loads(layout.read(manifest['config']['digest']))
        platform = {'os': config['os'], 'architecture': config['architecture']}
        found = layout.add(index, mediaType=MANIFEST, artifactType=V2, platform=platform)
        manifest.setdefault('annotations', {})['com.amazon.soci.index-digest'] = found['digest']
        image = layout.add(manifest, mediaType=MANIFEST, platform=platform)
        top = layout.add({'schemaVersion': 2, 'mediaType': INDEX, 'manifests': [found, image]})
        entry.update(top, mediaType=INDEX)
    layout.save()
    print(*[layer['digest'] for layer in index['layers']], sep='\n')

# ---- registries

class Registry:
    def __init__(self, host, name):
        self.base = f'http://{host}/v2/{name}/'

    def call(self, method, url, data=None, **headers):
        request = urllib.request.Request(urllib.parse.urljoin(self.base, url), data, headers, method=method)
        return urllib.request.urlopen(request)

    def put_blob(self, data):
        place = self.call('POST', 'blobs/uploads/', b'').headers['Location']
        mark = '&' if '?' in place else '?'
        self.call('PUT', place + mark + 'digest=' + digest_of(data), data, **{'Content-Type': 'application/octet-stream'})

    def put_manifest(self, data, media_type, name=None):
        self.call('PUT', 'manifests/' + (name or digest_of(data)), data, **{'Content-Type': media_type})

    def put_all(self, layout, descriptor, name=None):
        data = layout.read(descriptor['digest'])
        document = json.loads(data)
        for below in document.get('manifests', []):
            self.put_all(layout, below)
        for blob in document.get('layers', []) + ([document['config']] if 'config' in document else []):
            self.put_blob(layout.read(blob['digest']))
        self.put_manifest(data, descriptor['mediaType'], name)

def push(layout, tag, host, name, to):
    registry, image = Registry(host, name), layout.find(tag)
    registry.put_all(layout, image, to)
    beside = []
    for entry in layout.index['manifests']:
        document = json.loads(layout.read(entry['digest']))
        if document.get('subject', {}).get('digest') == image['digest']:
            registry.put_all(layout, entry)
            beside.append({key: entry[key] for key in ('mediaType', 'digest', 'size', 'artifactType') if key in entry})
    if beside:
        listed = json.dumps({'schemaVersion': 2, 'mediaType': INDEX, 'manifests': beside}).encode()
        registry.put_manifest(listed, INDEX, image['digest'].replace(':', '-'))

def main(what, where, *rest):
    if what == 'strike':
        return strike(where, rest[0])
    path, tag = where.rsplit(':', 1)
    if what == 'push':
        return push(Layout(path), tag, *rest)
    return convert(Layout(path), tag, {'v1': V1, 'v2': V2}[what], dict(option.split('=', 1) for option in rest))

main(*sys.argv[1:])
