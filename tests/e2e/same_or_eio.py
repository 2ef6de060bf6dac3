#!/usr/bin/env python3
"""same_or_eio.py TREE MOUNT [MISSING]: has each file and link of TREE the same bytes, or the same target, in MOUNT, or EIO?

MISSING may be absent. What is in MOUNT alone must not be readable. Prints how many gave EIO."""
import errno
import os
import sys

tree, mount = sys.argv[1:3]
missing = sys.argv[3] if len(sys.argv) > 3 else None
failed = 0


def read(path):
    if os.path.islink(path):
        return os.readlink(path)
    with open(path, 'rb') as file:
        return file.read()


def names(top):
    for folder, folders, files in os.walk(top):
        for name in files + [f for f in folders if os.path.islink(os.path.join(folder, f))]:
            yield os.path.relpath(os.path.join(folder, name), top)


for name in sorted(set(names(tree)) | set(names(mount))):
    try:
        found = read(os.path.join(mount, name))
    except OSError as error:
        if error.errno == errno.ENOENT and name == missing:
            continue
        if error.errno != errno.EIO:
            sys.exit(f'{name}: {error}')
        failed += 1
        continue
    if not os.path.lexists(os.path.join(tree, name)) or found != read(os.path.join(tree, name)):
        sys.exit(f'{name}: other bytes')
print(failed)
