#!/usr/bin/env python3
"""No circles of includes between files: a .c and its .h are one thing, a public header is another. A header without a .c
belongs to the file whose name it continues (layout_parts.h: layout).

Two files that need each other are one file in two halves. Where that is so on purpose, a comment at the top of each says
it: "together with OTHER", where OTHER is the file that it includes (several with commas). circles.py SOURCE"""
import os
import re
import sys


def owner_of(stem, stems_of_sources):
    """The file that a header without a .c continues, or itself."""
    parts = stem
    while '_' in os.path.basename(parts):
        parts = parts[:parts.rindex('_')]
        if parts in stems_of_sources:
            return parts
    return stem


def nodes_of(root):
    """Each name without .c or .h, with the paths that it stands for."""
    nodes, names = {}, {}
    for top in ('include', 'fs', 'tools', 'bench'):
        for folder, _, files in os.walk(os.path.join(root, top)):
            for name in files:
                if name.endswith(('.c', '.h')):
                    path = os.path.relpath(os.path.join(folder, name), root)
                    nodes.setdefault(path[:-2], []).append(path)
    sources = {node for node, paths in nodes.items() if node + '.c' in paths}
    for node in [n for n in nodes if n not in sources and not n.startswith('include/')]:
        owner = owner_of(node, sources)
        if owner != node:
            nodes[owner].extend(nodes[node])
            names[node] = owner
            del nodes[node]
    return nodes, names


def edges_of(root, nodes, names):
    edges = {node: set() for node in nodes}
    for node, paths in nodes.items():
        for path in paths:
            with open(os.path.join(root, path), encoding='utf-8') as file:
                text = file.read()
            for kind, name in re.findall(r'^#include ([<"])([\w/]+)\.h[>"]', text, re.M):
                places = ['include/' + name] if kind == '<' else [os.path.dirname(path) + '/' + name, 'fs/' + name]
                places = [names.get(place, place) for place in places]
                edges[node].update(place for place in places if place in nodes and place != node)
    return edges


def reach(edges, start):
    seen, todo = set(), [start]
    while todo:
        for node in edges[todo.pop()] - seen:
            seen.add(node)
            todo.append(node)
    return seen


def says(root, paths, other):
    """Does the first comment of one of the files name the other?"""
    for path in paths:
        with open(os.path.join(root, path), encoding='utf-8') as file:
            comment = re.match(r'\s*/\*(.*?)\*/', file.read(), re.S)
        words = re.sub(r'[\s*]+', ' ', comment.group(1)) if comment else ''
        for names in re.findall(r'together with ((?:[\w/.]+(?:,? and |, )?)+)', words, re.I):
            if re.search(r'(^|[\s/])%s\.[ch]\b' % re.escape(os.path.basename(other)), names):
                return True
    return False


def main():
    root = sys.argv[1]
    nodes, names = nodes_of(root)
    edges = edges_of(root, nodes, names)
    reached = {node: reach(edges, node) for node in edges}
    bad = 0
    for node in sorted(edges):
        for other in sorted(edges[node]):
            if node in reached[other] and not says(root, nodes[node], other):
                print(f'{node} includes {other}, which needs {node} again; no "together with {os.path.basename(other)}.h"'
                      ' stands at its top')
                bad = 1
    return bad


if __name__ == '__main__':
    sys.exit(main())
