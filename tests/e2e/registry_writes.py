#!/usr/bin/env python3
"""registry_writes.py PORT STORAGE_PORT LOG: a registry in memory that takes pushes, and has the referrers API.

It keeps to the distribution specification 1.1, but for what the first part of a repository's name says: see FAULTS below.
Uploads go to /up/ID?_state=..., whose query has to stay; for "elsewhere" at the storage at STORAGE_PORT, which answers 400 to
any Authorization. Each request is a line of LOG: which server, status, method, path, and how many bytes came with it."""
import hashlib
import json
import socket
import struct
import sys
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

port, storage_port, log = int(sys.argv[1]), int(sys.argv[2]), open(sys.argv[3], 'a', buffering=1)
INDEX = 'application/vnd.oci.image.index.v1+json'
FAULTS = {
    'elsewhere': 'wants a login, and has uploads sent to another host',
    'breaks': 'breaks off the first two large PUTs',
    'pieces': 'breaks off each large PUT, and the first PATCH in the middle',
    'shy': 'the same, and never says more than "0-0" of what it has',
    'login': 'has the login run out at the first PUT of a blob',
    'nomount': 'fails at ?mount=',
    'nostream': 'takes no PATCH without Content-Range',
    'immutable': 'changes no tag',
    'norights': 'lets nobody push',
    'unknown': 'makes no repositories',
    'large': 'takes no blob over 100 bytes',
    'headeronly': 'says OCI-Subject, and has no referrers API',
    'page': 'answers with a web page for people where the referrers should be',
    'paged': 'gives one referrer a page, and does not filter',
    'etag': 'has no referrers API, and heeds If-Match',
}
lock = threading.RLock()
blobs, manifests, uploads, counts = {}, {}, {}, {}


def digest_of(data):
    return 'sha256:' + hashlib.sha256(data).hexdigest()


def count(*key):
    """How often this was asked before."""
    with lock:
        counts[key] = counts.get(key, 0) + 1
        return counts[key] - 1


class Broken(Exception):
    pass


class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *args):
        pass

    def handle_one_request(self):
        if self.rfile.peek(1)[:1] == b'\x16':  # TLS is not spoken here
            self.close_connection = True
            return
        super().handle_one_request()

    def answer(self, status, headers=(), body=b'', content_type=None):
        log.write(f'{self.server.label} {status} {self.command} {self.path} {len(self.data)}\n')
        self.send_response(status)
        if content_type:
            self.send_header('Content-Type', content_type)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(body)

    def refuse(self, status, code, message='no'):
        self.answer(status, body=json.dumps({'errors': [{'code': code, 'message': message}]}).encode(),
                    content_type='application/json')

    def reset(self):
        log.write(f'{self.server.label} - {self.command} {self.path} {len(self.data)}\n')
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        self.close_connection = True
        self.connection.close()

    def read_body(self, most=None):
        """most: breaks off after so many bytes."""
        data = bytearray()
        if self.headers.get('Transfer-Encoding') == 'chunked':
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return bytes(data)
        size = int(self.headers.get('Content-Length', 0))
        if most is not None and size > most:
            self.data = self.rfile.read(most)
            raise Broken
        return self.rfile.read(size)

    def do(self):
        self.data = b''
        url = urllib.parse.urlsplit(self.path)
        query = urllib.parse.parse_qs(url.query)
        try:
            if url.path.startswith('/up/'):
                return self.upload(url.path[4:], query)
            parts = url.path.split('/')
            for i, part in enumerate(parts):
                if part in ('blobs', 'manifests', 'referrers') and i >= 3:
                    name = '/'.join(parts[2:i])
                    return getattr(self, part)(name, name.split('/')[0], parts[i + 1:], query)
            self.answer(200 if url.path == '/v2/' else 404)
        except Broken:
            self.reset()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do

    # --- blobs

    def blobs(self, name, fault, rest, query):
        if fault == 'elsewhere' and 'Authorization' not in self.headers:
            self.data = self.read_body()
            return self.answer(401, [('WWW-Authenticate', 'Basic realm="x"')])
        if rest[0] != 'uploads':
            with lock:
                data = blobs.get((name, rest[0]))
            return self.answer(200, body=data) if data is not None else self.refuse(404, 'BLOB_UNKNOWN')
        if fault == 'norights':
            return self.refuse(403, 'DENIED', 'requested access to the resource is denied')
        if fault == 'unknown':
            return self.refuse(404, 'NAME_UNKNOWN', 'repository name not known to registry')
        if 'mount' in query:
            if fault == 'nomount':
                return self.refuse(500, 'UNKNOWN')
            with lock:
                source = blobs.get((query.get('from', [''])[0], query['mount'][0]))
                if source is not None:
                    blobs[(name, query['mount'][0])] = source
                    return self.answer(201, [('Location', '/v2/')])
        with lock:
            number = str(len(uploads))
            uploads[number] = {'name': name, 'fault': fault, 'data': bytearray(), 'step': 0}
        self.where(202, number, elsewhere=fault == 'elsewhere')

    def where(self, status, number, elsewhere=False, headers=()):
        state = f'/up/{number}?_state=a%2Bb{uploads[number]["step"]}'
        base = f'http://127.0.0.1:{storage_port}' if elsewhere else ''
        self.answer(status, [('Location', base + state), *headers])

    def upload(self, number, query):
        if self.server.label == 'storage' and 'Authorization' in self.headers:
            return self.answer(400)
        upload = uploads.get(number)
        if upload is None or query.get('_state') != [f'a+b{upload["step"]}']:
            self.data = self.read_body()
            return self.refuse(404, 'BLOB_UPLOAD_UNKNOWN')
        size, fault = int(self.headers.get('Content-Length', 0)), upload['fault']
        ranged = f'0-{len(upload["data"]) - 1}' if upload['data'] and fault != 'shy' else '0-0'
        if self.command == 'GET':
            return self.where(204, number, headers=[('Range', ranged)])
        if self.command == 'PATCH':
            return self.patch(number, upload, fault)
        breaks = size > 100000 and (fault in ('pieces', 'shy') or (fault == 'breaks' and count('breaks', upload['name']) < 2))
        if fault == 'login' and count('login', upload['name']) == 0:
            self.data = self.read_body()
            return self.answer(401, [('WWW-Authenticate', 'Basic realm="x"')])
        self.data = self.read_body(100000 if breaks else None)
        if fault == 'large' and size > 100:
            return self.answer(413, body=b'<html>too large</html>', content_type='text/html')
        with lock:
            whole = bytes(upload['data'] + self.data)
            if digest_of(whole) != query['digest'][0]:
                return self.refuse(400, 'DIGEST_INVALID', 'provided digest did not match uploaded content')
            blobs[(upload['name'], digest_of(whole))] = whole
        self.answer(201, [('Location', f'/v2/{upload["name"]}/blobs/{digest_of(whole)}')])

    def patch(self, number, upload, fault):
        ranged = self.headers.get('Content-Range')
        if fault == 'nostream' and not ranged:
            self.data = self.read_body()
            return self.refuse(405, 'UNSUPPORTED')
        if ranged and int(ranged.split('-')[0]) != len(upload['data']):
            self.data = self.read_body()
            return self.answer(416, [('Range', f'0-{len(upload["data"]) - 1}')])
        if fault in ('pieces', 'shy') and count(fault, upload['name'], 'patch') == 0:
            try:
                self.read_body(50000)
            except Broken:
                if fault == 'pieces':  # it stays
                    upload['data'] += self.data
                raise
        self.data = self.read_body()
        upload['data'] += self.data
        upload['step'] += 1
        self.where(202, number, headers=[('Range', f'0-{len(upload["data"]) - 1}' if fault != 'shy' else '0-0')])

    # --- manifests

    def manifests(self, name, fault, rest, query):
        if self.command in ('GET', 'HEAD'):
            with lock:
                kind, data = manifests.get((name, rest[0]), (None, None))
            if data is None:
                return self.refuse(404, 'MANIFEST_UNKNOWN')
            headers = [('Docker-Content-Digest', digest_of(data))]
            headers += [('ETag', f'"{digest_of(data)}"')] if fault == 'etag' else []
            return self.answer(200, headers, data, kind)
        self.data = self.read_body()
        with lock:
            return self.put_manifest(name, fault, rest[0])

    def put_manifest(self, name, fault, reference):
        kind, digest = self.headers['Content-Type'], digest_of(self.data)
        json_ = json.loads(self.data)
        there = manifests.get((name, reference))
        match = self.headers.get('If-Match')
        if fault == 'immutable' and there and there[1] != self.data:
            return self.refuse(400, 'TAG_INVALID', f"the image tag '{reference}' already exists, and the repository is immutable")
        if fault == 'etag' and match and (not there or match != f'"{digest_of(there[1])}"'):
            return self.answer(412)
        if json_.get('mediaType', kind) != kind or (':' in reference and reference != digest):
            return self.refuse(400, 'MANIFEST_INVALID')
        for part in [*json_.get('layers', []), *([json_['config']] if 'config' in json_ else [])]:
            if len(blobs.get((name, part['digest']), b'')) != part['size']:
                return self.refuse(404, 'MANIFEST_BLOB_UNKNOWN', part['digest'])
        manifests[(name, reference)] = manifests[(name, digest)] = (kind, self.data)
        headers = [('Location', f'/v2/{name}/manifests/{digest}'), ('Docker-Content-Digest', digest)]
        if 'subject' in json_ and fault not in ('page', 'etag'):
            headers.append(('OCI-Subject', json_['subject']['digest']))
        self.answer(201, headers)

    # --- referrers

    def referrers(self, name, fault, rest, query):
        if fault in ('headeronly', 'etag'):
            return self.answer(404)
        if fault == 'page':
            return self.answer(200, body=b'<html>log in, please</html>', content_type='text/html')
        found, kinds = [], query.get('artifactType')
        with lock:
            for (owner, reference), (kind, data) in manifests.items():
                json_ = json.loads(data)
                if owner != name or ':' not in reference or json_.get('subject', {}).get('digest') != rest[0]:
                    continue
                entry = {'mediaType': kind, 'digest': reference, 'size': len(data),
                         'artifactType': json_.get('artifactType') or json_['config']['mediaType']}
                if 'annotations' in json_:
                    entry['annotations'] = json_['annotations']
                found.append(entry)
        headers = []
        if fault == 'paged':
            page = int(query.get('page', ['0'])[0])
            if page + 1 < len(found):
                headers.append(('Link', f'</v2/{name}/referrers/{rest[0]}?page={page + 1}>; rel="next"'))
            found = found[page:page + 1]
        elif kinds:
            found = [entry for entry in found if entry['artifactType'] in kinds]
            headers.append(('OCI-Filters-Applied', 'artifactType'))
        self.answer(200, headers, json.dumps({'schemaVersion': 2, 'mediaType': INDEX, 'manifests': found}).encode(), INDEX)


servers = []
for label, number in (('registry', port), ('storage', storage_port)):
    server = ThreadingHTTPServer(('127.0.0.1', number), Handler)
    server.label = label
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # clients that are gone
    servers.append(server)
threading.Thread(target=servers[1].serve_forever, daemon=True).start()
servers[0].serve_forever()
