#!/usr/bin/env python3
"""Writes an OCI layout out of tar files, for tests: image.py LAYOUT:TAG CODEC:TAR...
CODEC: tar, gzip, pigz (independent members), zstd (one frame), zstds (a frame each 100 kB, skippable frames between);
ready-gzip, ready-zstd: the file is a blob as it is.
Media types are OCI's; docker-CODEC writes Docker's. Prints the layers' digests."""
import gzip, hashlib, json, os, subprocess, sys, zlib

def compress(codec, data):
    if codec == 'tar':
        return data
    if codec == 'gzip':
        return gzip.compress(data, 6, mtime=0)
    if codec == 'pigz':
        parts = [data[i:i + 300000] for i in range(0, len(data), 300000)] or [b'']
        return b''.join(gzip.compress(p, 6, mtime=0) for p in parts)
    zstd = lambda d: subprocess.run(['zstd', '-q', '-3', '-c'], input=d, stdout=subprocess.PIPE, check=True).stdout
    if codec == 'zstd':
        return zstd(data)
    if codec == 'zstds':
        skippable = b'\x5a\x2a\x4d\x18\x05\x00\x00\x00hello'
        return skippable + skippable.join(zstd(data[i:i + 100000]) for i in range(0, max(len(data), 1), 100000)) + skippable
    sys.exit('unknown codec ' + codec)

def plain(codec, data):
    return subprocess.run([codec, '-dc'], input=data, stdout=subprocess.PIPE, check=True).stdout

layout, tag = sys.argv[1].rsplit(':', 1)
os.makedirs(layout + '/blobs/sha256', exist_ok=True)

def blob(data):
    digest = hashlib.sha256(data).hexdigest()
    with open(layout + '/blobs/sha256/' + digest, 'wb') as f:
        f.write(data)
    return 'sha256:' + digest

layers, diff_ids = [], []
for spec in sys.argv[2:]:
    codec, path = spec.split(':', 1)
    docker = codec.startswith('docker-')
    codec = codec[7:] if docker else codec
    ready = codec.startswith('ready-')
    codec = codec[6:] if ready else codec
    with open(path, 'rb') as f:
        tar = f.read()
    suffix = {'tar': '', 'gzip': 'gzip', 'pigz': 'gzip', 'zstd': 'zstd', 'zstds': 'zstd'}[codec]
    if docker:
        media = 'application/vnd.docker.image.rootfs.diff.tar' + ('.' + suffix if suffix else '')
    else:
        media = 'application/vnd.oci.image.layer.v1.tar' + ('+' + suffix if suffix else '')
    data = tar if ready else compress(codec, tar)
    tar = plain(codec, data) if ready else tar
    layers.append({'mediaType': media, 'digest': blob(data), 'size': len(data)})
    diff_ids.append('sha256:' + hashlib.sha256(tar).hexdigest())
    print(layers[-1]['digest'])

config = json.dumps({'architecture': {'x86_64': 'amd64', 'aarch64': 'arm64'}.get(os.uname().machine, os.uname().machine),
                     'os': 'linux', 'config': {'Env': ['PATH=/usr/bin:/bin'], 'Cmd': ['/bin/sh']},
                     'rootfs': {'type': 'layers', 'diff_ids': diff_ids}, 'history': []}).encode()
manifest = json.dumps({'schemaVersion': 2, 'mediaType': 'application/vnd.oci.image.manifest.v1+json',
                       'config': {'mediaType': 'application/vnd.oci.image.config.v1+json', 'digest': blob(config),
                                  'size': len(config)}, 'layers': layers}).encode()
with open(layout + '/oci-layout', 'w') as f:
    f.write('{"imageLayoutVersion":"1.0.0"}')
try:
    index = json.load(open(layout + '/index.json'))
except FileNotFoundError:
    index = {'schemaVersion': 2, 'manifests': []}
index['manifests'] = [m for m in index['manifests'] if m.get('annotations', {}).get('org.opencontainers.image.ref.name') != tag]
index['manifests'].append({'mediaType': 'application/vnd.oci.image.manifest.v1+json', 'digest': blob(manifest),
                           'size': len(manifest), 'annotations': {'org.opencontainers.image.ref.name': tag}})
with open(layout + '/index.json', 'w') as f:
    json.dump(index, f)
