#!/usr/bin/env python3
"""registry_files.py PORT LOG: the files of the current directory, by range, as a storage that registries lead to has
them. Answers 400 to any Authorization, which it writes to LOG with the status of each request."""
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Files(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *args):
        pass

    def do_GET(self):
        login, text = self.headers.get('Authorization'), self.headers.get('Range')
        path = '.' + self.path.split('?')[0]
        if login or not os.path.isfile(path):
            status, body = 400 if login else 404, b''
        else:
            with open(path, 'rb') as file:
                data = file.read()
            first, last = (int(n) for n in text.removeprefix('bytes=').split('-')) if text else (0, len(data) - 1)
            status, body = 206 if text else 200, data[first:last + 1]
        with open(sys.argv[2], 'a') as log:
            log.write(f'{status} {self.path} {"Authorization" if login else ""}\n')
        self.send_response(status)
        if status == 206:
            self.send_header('Content-Range', f'bytes {first}-{first + len(body) - 1}/{len(data)}')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), Files).serve_forever()
