#!/usr/bin/env python3
"""registry_issuer.py PORT KEY CERTIFICATE LIFE: a token service for docker-registry.

It signs what is asked for: to "user:password" anything, to nobody what begins with "open/". LIFE: seconds that a token
lives (what is told is a minute at least)."""
import base64
import json
import sys
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, HTTPServer

import jwt

port, life = int(sys.argv[1]), int(sys.argv[4])
key = open(sys.argv[2]).read()
certificate = ''.join(line for line in open(sys.argv[3]).read().split('\n') if '-' not in line)


class Issuer(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        login = self.headers.get('Authorization', '')
        is_user = login == 'Basic ' + base64.b64encode(b'user:password').decode()
        if login and not is_user:
            self.send_response(401)
            self.end_headers()
            return
        access = []
        for scope in query.get('scope', []):
            kind, name, actions = scope.split(':')
            if is_user or name.startswith('open/'):
                access.append({'type': kind, 'name': name, 'actions': actions.split(',')})
        now = int(time.time())
        token = jwt.encode({'iss': 'issuer', 'sub': 'user', 'aud': query['service'][0], 'exp': now + life,
                            'nbf': now - 1, 'iat': now, 'jti': str(now), 'access': access},
                           key, algorithm='RS256', headers={'x5c': [certificate]})
        body = json.dumps({'token': token, 'expires_in': life}).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)


HTTPServer(('127.0.0.1', port), Issuer).serve_forever()
