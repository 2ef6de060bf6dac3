#!/usr/bin/env python3
"""Writes a fat binary of cubins and PTX that hold nothing of meaning: fatbin.py [cubin:ARCH | ptx:ARCH]... >FILE"""
import struct, sys

def cubin(arch):
    ident = b'\x7fELF\x02\x01\x01\x41\x08' + bytes(7)
    head = ident + struct.pack('<HHIQQQIHHHHHH', 2, 190, 1, 0, 0, 0, arch << 8, 64, 0, 0, 0, 0, 0)
    return head + bytes((arch * i * i >> 3) & 255 for i in range(40000))

def ptx(arch):
    text = b'//\n.version 8.0\n.target sm_%d\n' % arch + b'ret; // nothing\n' * 2000
    return text + b'\n' * (-len(text) % 8)

entries = b''
for word in sys.argv[1:]:
    kind, arch = word.split(':')
    code = {'cubin': cubin, 'ptx': ptx}[kind](int(arch))
    entries += struct.pack('<HHIQIIHHIIIQQQ', {'cubin': 2, 'ptx': 1}[kind], 0x101, 64, len(code), 0, 0, 0, 0, int(arch), 0, 0,
                           0x11, 0, 0) + code
sys.stdout.buffer.write(struct.pack('<IHHQ', 0xBA55ED50, 1, 16, len(entries)) + entries)
