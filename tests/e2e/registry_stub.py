#!/usr/bin/env python3
"""registry_stub.py LAYOUT PORT STORAGE_PORT LOG: a registry that misbehaves.

It serves the image of an OCI layout under any name; the name says how: /v2/FAULT/manifests/REF, /v2/FAULT/blobs/DIGEST.
A name of two parts, FAULT/N, has its own counters. The storage at STORAGE_PORT is where redirects lead; it answers 400
to any Authorization, as signed URLs do. Each request is a line of LOG: which server, method, path, range, and whether
and what was sent as Authorization."""
import base64
import email.utils
import json
import os
import socket
import struct
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

layout, port, storage_port, log_path = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
lock = threading.Lock()
counts = {}
tokens = {}  # token: how often it may still be used
log = open(log_path, 'a', buffering=1)


def count(*key):
    """How often this was asked before."""
    with lock:
        counts[key] = counts.get(key, 0) + 1
        return counts[key] - 1


def blob(digest):
    path = os.path.join(layout, 'blobs/sha256', digest.removeprefix('sha256:'))
    with open(path, 'rb') as file:
        return file.read()


def manifest_digest():
    with open(os.path.join(layout, 'index.json')) as file:
        return json.load(file)['manifests'][0]['digest']


class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *args):
        pass

    def handle_one_request(self):
        # TLS is not spoken here: without this, its first message would be read until a line ends.
        if self.rfile.peek(1)[:1] == b'\x16':
            self.close_connection = True
            return
        super().handle_one_request()

    def note(self):
        with lock:
            log.write(f'{self.server.label} {self.command} {self.path} {self.headers.get("Range", "-")} '
                      f'{self.headers.get("Authorization", "-")}\n')

    def answer(self, status, headers=(), body=b''):
        self.send_response(status)
        names = [name.lower() for name, _ in headers]
        for name, value in headers:
            self.send_header(name, value)
        if 'content-length' not in names and 'transfer-encoding' not in names:
            self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(body)

    def reset(self):
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        self.connection.close()
        self.close_connection = True

    def range(self, size):
        """(first, last) of the header, or None."""
        text = self.headers.get('Range')
        if not text:
            return None
        first, last = text.removeprefix('bytes=').split('-')
        return int(first), min(int(last), size - 1)

    def send_bytes(self, data, fault='', more=()):
        """A blob, or its range, with the fault."""
        wanted = None if fault in ('whole', 'wholebreak', 'wholewaits') else self.range(len(data))
        headers, status, body = list(more), 200, data
        if wanted:
            first, last = wanted
            total, shown = len(data), first
            if fault == 'wrongoffset':
                shown, first, last = first + 1, first + 1, last + 1
            if fault == 'wrongtotal':
                total += 1
            if fault == 'hugetotal':
                total = 1 << 63
            last += fault == 'longer'
            status, body = 206, data[first:last + 1]
            if fault == 'flipped':
                body = bytes([body[0] ^ 1]) + body[1:]
            headers.append(('Content-Range', f'bytes {shown}-{last}/{total}'))
            if fault == 'tworanges':
                headers.append(('Content-Range', 'bytes 0-0/1'))
        if fault == 'gzip':
            headers.append(('Content-Encoding', 'gzip'))
        if fault == 'hugelength':
            headers.append(('Content-Length', str((1 << 63) + 5)))
        if fault == 'wholewaits':
            return self.send_when_asked_again(body)
        breaks = fault in ('reset', 'wholebreak') and count(self.path, 'reset') < 3
        if not breaks:
            return self.answer(status, headers, body)
        self.send_response(status)
        for name, value in headers + [('Content-Length', str(len(body)))]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:len(body) // 3])
        time.sleep(0.1)
        self.reset()
        return None


    def send_when_asked_again(self, body):
        """The end comes once eight have asked, so that all of them meet while one transfer is on its way."""
        count(self.path, 'asked')
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body[:len(body) // 3])
        deadline = time.time() + 20
        while counts[(self.path, 'asked')] < 8 and time.time() < deadline:
            time.sleep(0.01)
        self.wfile.write(body[len(body) // 3:])


class Storage(Handler):
    def do_GET(self):
        self.note()
        if self.headers.get('Authorization'):
            return self.answer(400, [], b'<Error>Only one auth mechanism allowed</Error>')
        url = urllib.parse.urlsplit(self.path)
        until = float(urllib.parse.parse_qs(url.query).get('until', ['9e9'])[0])
        if time.time() > until:
            return self.answer(403, [], b'<Error>Request has expired: secret-signature</Error>')
        return self.send_bytes(blob(url.path.rsplit('/', 1)[1]))


class Registry(Handler):
    def do_HEAD(self):
        if '/nohead/' in self.path:
            self.note()
            return self.answer(405)
        return self.do_GET()

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get('Content-Length', 0))).decode()
        self.note()
        form = urllib.parse.parse_qs(body)
        if form.get('refresh_token') != ['identity'] or form.get('grant_type') != ['refresh_token']:
            return self.answer(401)
        return self.issue(form['scope'][0])

    def issue(self, scope):
        fault = scope.split(':')[1].split('/')[0]
        token = f'token{count("token")}-{scope.replace(":", "_").replace(" ", "+")}'
        tokens[token] = 3 if fault == 'mid401' else 1 << 30
        name = 'access_token' if fault == 'oauthname' else 'token'
        self.answer(200, [('Content-Type', 'application/json')], json.dumps({name: token}).encode())

    def do_GET(self):
        self.note()
        url = urllib.parse.urlsplit(self.path)
        query = urllib.parse.parse_qs(url.query)
        if url.path == '/token':
            return self.token(query)
        if url.path == '/v2/':
            return self.answer(401, [('WWW-Authenticate', 'Basic realm="x"')])
        if url.path.endswith('/tags/list'):
            return self.answer(404)
        _, _, *name, kind, what = url.path.split('/')
        fault, key = name[0], '/'.join(name)
        if not self.is_welcome(fault, key):
            return None
        return self.early(fault, key) or (self.manifest if kind == 'manifests' else self.blob)(fault, key, what)

    def token(self, query):
        login = self.headers.get('Authorization', '')
        wanted = 'Basic ' + base64.b64encode(b'user:password').decode()
        scope = query['scope'][0]
        if scope.startswith('repository:private') and login != wanted:
            return self.answer(401, [], b'{"details":"incorrect username or password"}')
        if scope.startswith('repository:tokenhtml'):
            return self.answer(200, [('Content-Type', 'text/html')], b'<html>')
        return self.issue(' '.join(query['scope']))

    def is_welcome(self, fault, key):
        """Asks for a login where the fault is about one."""
        sent = self.headers.get('Authorization', '')
        here = f'http://127.0.0.1:{port}/token'
        realms = {'realmlinklocal': 'http://169.254.169.254/token', 'realmprivate': 'http://10.1.2.3/token',
                  'realmfile': 'file:///etc/passwd'}
        if fault == 'pingme' and not sent:
            self.answer(401)
        elif fault == 'pingme':
            return True
        elif fault in ('mid401', 'private', 'oauthname', 'tokenhtml', 'scoped', *realms):
            token = sent.removeprefix('Bearer ')
            with lock:
                left = tokens.get(token, 0)
                tokens[token] = left - 1
            lacks = fault == 'scoped' and left > 0 and 'extra' not in token
            if left > 0 and not lacks:
                return True
            scope = 'repository:scoped:pull,extra' if lacks else f'repository:{key}:pull'
            error = ',error="insufficient_scope"' if lacks else ''
            self.answer(401, [('WWW-Authenticate', 'Negotiate'),
                              ('WWW-Authenticate', f'Bearer realm="{realms.get(fault, here)}",service="s",scope="{scope}"{error}')],
                        b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}')
        else:
            return True
        return False

    def early(self, fault, key):
        """Faults of any request. True: it was answered."""
        here, seen = f'http://127.0.0.1:{port}', count(key)
        if fault == 'busyseconds' and seen == 0:
            self.answer(429, [('Retry-After', '1')])
        elif fault == 'busydate' and seen == 0:
            self.answer(429, [('Retry-After', email.utils.formatdate(time.time() + 2, usegmt=True))])
        elif fault == 'busyalways':
            self.answer(429, [], b'{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}')
        elif fault == 'burst' and seen < 3:
            self.answer(503)
        elif fault == 'down':
            self.answer(503, [], b'<html>proxy error</html>')
        elif fault == 'endless':
            self.answer(307, [('Location', f'{self.path}x')])
        elif fault == 'nowhere':
            self.answer(307, [('Location', 'http://')])
        elif fault == 'tofile':
            self.answer(307, [('Location', 'file:///etc/passwd')])
        elif fault == 'tolinklocal':
            self.answer(307, [('Location', 'http://169.254.169.254/latest')])
        elif fault == 'loris':
            try:
                for byte in b'HTTP/1.1 200 OK\r\nX-Long: ' + b'x' * 1000:
                    self.wfile.write(bytes([byte]))
                    time.sleep(1)
            except OSError:
                pass
            self.close_connection = True
        elif fault == 'silent':
            time.sleep(60)
            self.close_connection = True
        elif fault == 'headers':
            self.answer(200, [('X-%d' % i, 'x' * 1000) for i in range(200)])
        elif fault == 'together':
            return self.together()
        elif fault == 'denied':
            self.answer(403, [], b'{"errors":[{"code":"DENIED","message":"requested access is denied"}]}')
        else:
            return False
        return True

    def together(self):
        """Blobs come once the list of referrers was asked for, and that once the tag was that has it, too. True: it was answered."""
        if '/referrers/' in self.path:
            count('listed')
            self.wait_for('tagged')
            self.answer(404)
            return True
        if '/manifests/sha256-' in self.path:
            count('tagged')
        if '/blobs/' in self.path:
            self.wait_for('listed')
        return False

    def wait_for(self, what):
        deadline = time.time() + 3
        while not counts.get((what,)) and time.time() < deadline:
            time.sleep(0.01)
        if not counts.get((what,)):
            with lock:
                log.write('together not %s\n' % what)

    def manifest(self, fault, _key, what):
        digest = manifest_digest()
        body = blob(digest)
        kind, claim = json.loads(body).get('mediaType', 'application/vnd.oci.image.manifest.v1+json'), digest
        if what == 'none':
            return self.answer(404, [], b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}')
        if fault == 'html':
            return self.answer(200, [('Content-Type', 'text/html; charset=utf-8')], b'<html>log in</html>')
        if fault == 'notjson':
            body, claim = b'words', None
        if fault == 'wrongtype':
            body = json.dumps({**json.loads(body), 'mediaType': 'application/vnd.oci.image.index.v1+json'}).encode()
            claim = None
        if fault == 'schema1':
            body, claim = b'{"schemaVersion":1,"name":"x"}', None
        if fault == 'manifestbytes':
            body += b' '
        if fault == 'bigmanifest':
            body, claim = b'{' + b' ' * (5 << 20) + b'}', None
        headers = [('Content-Type', kind)] + ([('Docker-Content-Digest', claim)] if claim else [])
        if fault == 'gzip':
            headers.append(('Content-Encoding', 'gzip'))
        return self.answer(200, headers, body)

    def blob(self, fault, key, what):
        if fault == 'slow':
            with lock:
                counts['now'] = counts.get('now', 0) + 1
                log.write(f'together {counts["now"]}\n')
            time.sleep(0.3)
            with lock:
                counts['now'] -= 1
        there = f'http://127.0.0.1:{storage_port}/storage/{what}'
        if fault == 'redirect':
            return self.answer(307, [('Location', f'{there}?X-Signature=secret-signature')])
        if fault == 'expires':
            return self.answer(307, [('Location', f'{there}?until={time.time() + 1}')])
        if fault == 'expired':
            return self.answer(307, [('Location', f'{there}?until=1')])
        return self.send_bytes(blob(what), fault)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *args):
        pass  # clients go away when they have seen enough


for label, at, kind in (('registry', port, Registry), ('storage', storage_port, Storage)):
    server = Server(('127.0.0.1', at), kind)
    server.label = label
    threading.Thread(target=server.serve_forever).start()
