#!/usr/bin/env python3
"""Writes three tar layers that hold what layers can hold: DIR/0.tar DIR/1.tar DIR/2.tar.
--plain: without what containers/storage (buildah, podman) refuses or changes: the same name twice in one layer, odd times."""
import io, os, random, struct, sys, tarfile

directory = sys.argv[1]
plain = '--plain' in sys.argv
random.seed(4)
PIL = b'\x01\x00\x00\x02' + struct.pack('<IIII', 0x2000, 0, 0, 0)  # security.capability, cap_net_raw=p

class Layer:
    def __init__(self, name, format=tarfile.PAX_FORMAT):
        self.tar = tarfile.open(os.path.join(directory, name), 'w', format=format)
        self.time = 1600000000
        self.made = {}

    def add(self, name, kind=tarfile.REGTYPE, mode=0o644, data=b'', link='', uid=0, gid=0, mtime=None, xattrs=None, dev=(0, 0)):
        info = tarfile.TarInfo(name)
        info.type, info.mode, info.linkname, info.uid, info.gid = kind, mode, link, uid, gid
        self.time += 1
        info.mtime = self.time if mtime is None else mtime
        if kind == tarfile.LNKTYPE and link in self.made: # as tar writes a hard link: with the file's own metadata
            info.mode, info.mtime = self.made[link].mode, self.made[link].mtime
            info.uid, info.gid = self.made[link].uid, self.made[link].gid
        self.made[name] = info
        info.devmajor, info.devminor = dev
        info.size = len(data)
        for key, value in (xattrs or {}).items():
            info.pax_headers['SCHILY.xattr.' + key] = value.decode('utf-8', 'surrogateescape')
        self.tar.addfile(info, io.BytesIO(data))

    def dir(self, name, mode=0o755, **kw):
        self.add(name, tarfile.DIRTYPE, mode, **kw)

    def close(self):
        self.tar.close()

def noise(size):
    words = [bytes(random.randrange(256) for _ in range(12)) for _ in range(200)]
    return b''.join(random.choice(words) for _ in range(size // 12 + 1))[:size]

a = Layer('0.tar')
a.dir('./')
for d in ('bin', 'etc', 'usr', 'usr/lib', 'usr/bin', 'opt', 'opt/app', 'opt/app/cache', 'tmp', 'var', 'var/data'):
    a.dir(d, 0o1777 if d == 'tmp' else 0o755)
a.add('etc/passwd', data=b'root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n')
a.add('etc/group', data=b'root:x:0:\nstaff:x:50:\n')
a.add('usr/bin/su', mode=0o4755, data=b'su' * 100)
a.add('usr/bin/wall', mode=0o2755, data=b'wall' * 100, gid=5)
a.add('usr/bin/ping', mode=0o755, data=b'ping' * 100, xattrs={'security.capability': PIL, 'user.note': b'h\xc3\xa9'})
a.add('usr/lib/big.so', mode=0o755, data=b'\x7fELF' + noise(9000000))
a.add('usr/lib/big.so.1', tarfile.LNKTYPE, link='usr/lib/big.so')
a.add('usr/lib/libc.so', tarfile.SYMTYPE, 0o777, link='big.so')
a.add('lib', tarfile.SYMTYPE, 0o777, link='usr/lib')
a.add('opt/app/run', mode=0o755, data=b'#!/bin/sh\n', uid=1000, gid=1001)
a.add('opt/app/cache/one', data=b'1')
a.add('opt/app/cache/two', data=b'2')
a.add('var/data/old', data=b'old')
a.add('var/data/peer', tarfile.LNKTYPE, link='var/data/old')
a.add('var/data/gone', data=b'gone')
a.add('var/pipe', tarfile.FIFOTYPE, 0o600)
a.add('var/null', tarfile.CHRTYPE, 0o666, dev=(1, 3))
a.add('var/disk', tarfile.BLKTYPE, 0o660, dev=(8, 1), gid=6)
a.add('var/' + 'n' * 255, data=b'long name')
for depth in range(1, 9):
    a.dir('/'.join(['var'] + ['d' * 50] * depth))
a.add('/'.join(['var'] + ['d' * 50] * 8) + '/deep', data=b'deep')
a.add('var/caf\u00e9', data=b'utf-8')
if not plain: # buildah makes 1970 of it, and rounds
    a.add('var/early', data=b'before 1970', mtime=-1000)
    a.add('var/precise', data=b'ns', mtime=1600000000.5)
a.add('var/empty', data=b'')
a.dir('swap-dir'); a.add('swap-dir/inner', data=b'x')
a.add('swap-file', data=b'y')
for i in range(300):
    a.add('usr/lib/m%03d' % i, data=noise(random.randrange(5000)))
a.close()

b = Layer('1.tar')
b.dir('opt'); b.dir('opt/app', 0o700, uid=7)
b.add('opt/app/.wh..wh..opq')
b.add('opt/app/new', data=b'only this')
b.add('var/data/.wh.gone')
b.made = a.made
b.add('var/link-to-lower', tarfile.LNKTYPE, link='usr/lib/m000')
b.add('.wh.swap-dir')
b.add('swap-dir', data=b'a file now')
b.dir('swap-file'); b.add('swap-file/inner', data=b'in a directory now')
b.add('./usr/lib/m001', data=b'replaced')
b.add('nowhere/near/parents', data=b'missing parents')
b.close()

c = Layer('2.tar', tarfile.GNU_FORMAT)
c.add('var/data/old', data=b'new content; peer keeps the old')
c.add('usr/lib/m000', data=b'replaced; the link of layer 1 keeps what it was')
if not plain:
    c.add('etc/dup', data=b'first')
c.add('etc/dup', mode=0o600, data=b'second wins')
c.add('usr/bin/.wh.wall')
c.dir('tmp', 0o1777)
c.close()
