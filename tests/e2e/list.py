#!/usr/bin/env python3
"""Prints a directory tree, one line a name, with all that a container's file system can tell:
path, type, mode, uid, gid, mtime, size, link group, rdev, symlink target, xattrs, sha256.
Hard links: the group is named by its first path. --no-ns: mtime in seconds. --no-mtime, --no-dir-mtime.
--no-dir-links: without directories' link counts."""
import hashlib, os, stat, sys

options = {a for a in sys.argv[1:] if a.startswith('--')}
root = os.fsencode([a for a in sys.argv[1:] if not a.startswith('--')][0])
groups = {}

def show(b):
    return b.decode('utf-8', 'backslashreplace').replace('\n', '\\n').replace('\t', '\\t')

def digest(path):
    h = hashlib.sha256()
    with open(path, 'rb') as f:
        while True:
            block = f.read(1 << 20)
            if not block:
                return h.hexdigest()
            h.update(block)

def line(path, name):
    st = os.lstat(path)
    kind = {stat.S_IFDIR: 'd', stat.S_IFREG: '-', stat.S_IFLNK: 'l', stat.S_IFCHR: 'c', stat.S_IFBLK: 'b',
            stat.S_IFIFO: 'p', stat.S_IFSOCK: 's'}[stat.S_IFMT(st.st_mode)]
    out = [show(name), kind, '%04o' % stat.S_IMODE(st.st_mode), str(st.st_uid), str(st.st_gid)]
    if '--no-mtime' not in options and not (kind == 'd' and '--no-dir-mtime' in options):
        out.append('%d' % (st.st_mtime_ns // 10**9) if '--no-ns' in options else '%d.%09d' % divmod(st.st_mtime_ns, 10**9))
    if kind != 'd':
        out.append('nlink=%d' % st.st_nlink)
        out.append('group=' + show(groups.setdefault((st.st_dev, st.st_ino), name)) if st.st_nlink > 1 else '')
    elif '--no-dir-links' not in options:
        out.append('nlink=%d' % st.st_nlink)
    if kind in 'cb':
        out.append('dev=%d,%d' % (os.major(st.st_rdev), os.minor(st.st_rdev)))
    if kind == 'l':
        out.append('-> ' + show(os.readlink(path)))
    try:
        for x in sorted(os.listxattr(path, follow_symlinks=False)):
            if x not in ('security.selinux', 'user.rootlesscontainers'):
                out.append('%s=%s' % (x, os.getxattr(path, x, follow_symlinks=False).hex()))
    except OSError:
        pass
    if kind == '-':
        out += [str(st.st_size), digest(path)]
    print(' '.join(out))

def walk(path, name):
    line(path, name or b'.')
    if stat.S_ISDIR(os.lstat(path).st_mode):
        for child in sorted(os.listdir(path)):
            walk(path + b'/' + child, name + b'/' + child if name else child)

sys.setrecursionlimit(10000)
walk(root, b'')
