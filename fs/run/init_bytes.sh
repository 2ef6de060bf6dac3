#!/bin/sh
# init_bytes.sh PROGRAM FILE.S: an assembler file with the bytes of a program between two symbols.
cat >"$2" <<S
    .section .rodata
    .globl sfs_init_bytes, sfs_init_bytes_end
    .balign 16
sfs_init_bytes:
    .incbin "$(readlink -f "$1")"
sfs_init_bytes_end:
    .byte 0
    .section .note.GNU-stack,"",%progbits
S
