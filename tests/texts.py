#!/usr/bin/env python3
"""What the sources say about themselves is true: paths that comments and documents name exist, and each prototype in a
header of include/ or fs/ has a comment, of its own or for the group that it stands in (lines without an empty one between).

    texts.py SOURCE [BUILD]     ends with 1 and one line for each that is wrong
    texts.py --shrink SOURCE    takes out of tests/texts_known.txt what is right by now

texts_known.txt lists prototypes that still lack a comment. It only gets shorter."""
import os
import re
import sys

KNOWN = 'tests/texts_known.txt'
TEXTS = ('.c', '.h', '.md', '.sh', '.py', '.1', '.build', '')
# Files of others: BuildKit's, the kernel's.
FOREIGN = re.compile(r'linux/|(frontend|instructions)/.*\.go$|frontend/dockerfile/\w+$')
# Documents that are on their way.
COMING = {'docs/architecture.md'}


def read(path):
    with open(path, encoding='utf-8', errors='replace') as file:
        return file.read()


def files_of(root):
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(d for d in folders if not d.startswith(('build', '__')) and (d[0] != '.' or d == '.ci') and
                            os.path.relpath(os.path.join(folder, d), root) != 'tests/data')
        for name in sorted(names):
            yield os.path.relpath(os.path.join(folder, name), root)


# ---- paths

def comments_of(path, text):
    """The comments of a program, with line numbers; all of a document."""
    if path.endswith(('.c', '.h', '.go')):
        for match in re.finditer(r'/\*.*?\*/|//[^\n]*|"(?:[^"\\\n]|\\.)*"', text, re.S):
            if not match.group().startswith('"'):
                yield text.count('\n', 0, match.start()) + 1, match.group()
    elif path.endswith(('.md', '.1')):
        yield 1, text
    else:
        for number, line in enumerate(text.split('\n'), 1):
            if re.match(r'\s*#', line):
                yield number, line


NAMED = re.compile(r'''(?<![\w/.*$<{}@:-])(
    (?:[\w-]+/)*[\w-]*[a-z][\w-]*\.(?:c|h|md|sh|py|go|1)         # what looks like a source file or a document
    | (?:include|fs|tools|bench|dist|examples|tests|docs)/[\w./-]*\w  # or begins with a folder of ours
    )(?![\w*<{$-]|/[\w*<{])''', re.X)


def wrong_paths(root, paths):
    everything = set(paths)
    ends = set()
    for path in paths:
        parts = path.split('/')
        for i in range(len(parts)):
            for j in range(i + 1, len(parts) + 1):
                ends.add('/'.join(parts[i:j]))
    for path in paths:
        if not path.endswith(TEXTS) or path.endswith('.tar'):
            continue
        text = read(os.path.join(root, path))
        if '\0' in text or path == 'tests/texts.py':
            continue
        for line, comment in comments_of(path, text):
            comment = re.sub(r'(?<=\w/)(\n\s*\*?\s*)(?=\w)', '', comment)
            for match in NAMED.finditer(comment):
                name = match.group(1)
                if 'NAME' in name or name in everything or name in ends or name in COMING or FOREIGN.match(name) or \
                        os.path.exists(os.path.join(root, name)):
                    continue
                yield f'{path}:{line + comment.count(chr(10), 0, match.start())}: there is no {name}'


# ---- prototypes

def without_comment(text):
    """Names of the functions that a header declares where no comment stands above them."""
    text = re.sub(r'(?m)^#.*(?:\\\n.*)*', '#', text)
    commented, depth, statement = False, 0, ''
    position = 0
    for token in re.finditer(r'/\*.*?\*/|\n[ \t]*\n|[{};]|[^/{};\n]+|[/\n]', text, re.S):
        piece = token.group()
        if piece.startswith('/*'):
            commented = commented or depth == 0
        elif re.fullmatch(r'\n[ \t]*\n', piece):
            if depth == 0 and not statement.strip():
                commented = False
        elif piece == '{':
            depth += 1
            statement += piece
        elif piece == '}':
            depth -= 1
            statement += piece
            if depth == 0 and ')' in statement.split('{')[0] and '=' not in statement.split('{')[0]:
                statement = ''  # the body of an inline function
        elif piece == ';' and depth == 0:
            name = re.search(r'(?:^|[\s*])(\w+)\s*\((?!\s*\*)', statement)
            plain = statement.strip().lstrip('#').strip()
            if name and '{' not in statement and not plain.startswith(('typedef', '_Static_assert', 'struct_')) and not commented:
                yield name.group(1)
            statement = ''
        else:
            statement += piece if depth == 0 else ''


def lacking(root, paths):
    for path in paths:
        if path.startswith(('include/', 'fs/')) and path.endswith('.h'):
            for name in without_comment(read(os.path.join(root, path))):
                yield f'{path}: {name}'


def main():
    shrink = sys.argv[1] == '--shrink'
    root = sys.argv[2 if shrink else 1]
    paths = list(files_of(root))
    known_file = os.path.join(root, KNOWN)
    known = [line for line in read(known_file).split('\n') if line] if os.path.exists(known_file) else []
    found = list(lacking(root, paths))
    if shrink:
        with open(known_file, 'w', encoding='utf-8') as file:
            file.writelines(line + '\n' for line in known if line in found)
        return 0
    wrong = list(wrong_paths(root, paths))
    wrong += [f'{line} has no comment' for line in found if line not in known]
    for line in wrong:
        print(line)
    gone = [line for line in known if line not in found]
    if gone:
        print(f'{len(gone)} lines of {KNOWN} are no longer needed: tests/texts.py --shrink .')
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())
