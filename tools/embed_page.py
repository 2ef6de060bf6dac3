#!/usr/bin/env python3
"""embed_page.py PAGE.html FILE.S: an assembler file with the page's text before and behind its data.

The page's policy allows the one style and the one script that stand in it, by their digests, and nothing else."""
import base64, hashlib, re, sys

page = open(sys.argv[1], encoding='utf-8').read()
for element, mark in (('style', '@STYLE@'), ('script', '@SCRIPT@')):
    text, = re.findall(f'<{element}>(.*?)</{element}>', page, re.S)
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    assert page.count(mark) == 1
    page = page.replace(mark, f"'sha256-{digest}'")
head, tail = page.split('@DATA@')

with open(sys.argv[2], 'w') as out:
    out.write('    .section .rodata\n')
    for name, text in (('head', head), ('tail', tail)):
        out.write(f'    .globl survey_page_{name}\nsurvey_page_{name}:\n')
        data = text.encode() + b'\0'
        for at in range(0, len(data), 32):
            out.write('    .byte ' + ','.join(map(str, data[at:at + 32])) + '\n')
    out.write('    .section .note.GNU-stack,"",%progbits\n')
