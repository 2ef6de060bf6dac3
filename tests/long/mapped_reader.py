#!/usr/bin/env python3
"""mapped_reader.py MOUNT REFERENCE SEED: maps the files of MOUNT, compares pages of them at random with those of REFERENCE,
and, by one seed of three, whole files. A read that fails behind a page fault is SIGBUS, the end of this program."""
import mmap
import os
import random
import sys

mount, reference, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
chance = random.Random(seed)


def mapped(directory, name):
    with open(os.path.join(directory, name), 'rb') as file:
        return mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)


names = os.listdir(reference)
chance.shuffle(names)
for name in names:
    ours, theirs = mapped(mount, name), mapped(reference, name)
    for _ in range(60):
        at = chance.randrange(len(theirs)) & ~4095
        if ours[at:at + 4096] != theirs[at:at + 4096]:
            sys.exit(f'{name} differs at {at}')
    if seed % 3 == 0 and ours[:] != theirs[:]:
        sys.exit(f'{name} differs')
