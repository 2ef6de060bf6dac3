#!/usr/bin/env python3
"""registry_h2.py LAYOUT PORT CERTIFICATE KEY LOG: a registry that speaks HTTP/2 and ends connections and streams as busy
servers do. /v2/FAULT/blobs/DIGEST:
  fine      answers
  goaway    each connection serves one request; the next one on it is told to go away
  refused   the first two requests are refused
  broken    any request over HTTP/2 is cut off; HTTP/1.1 works
LOG gets a line for each request: the protocol and the path."""
import os
import socket
import ssl
import sys
import threading

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import RequestReceived

layout, port, certificate, key, log_path = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
context.set_alpn_protocols(['h2', 'http/1.1'])
refused = []


def blob(path):
    with open(os.path.join(layout, 'blobs/sha256', path.rsplit(':', 1)[1]), 'rb') as file:
        return file.read()


def note(protocol, path):
    with open(log_path, 'a') as log:
        log.write(f'{protocol} {path}\n')


def part(data, text):
    first, last = (int(n) for n in text.removeprefix('bytes=').split('-'))
    return data[first:last + 1], f'bytes {first}-{last}/{len(data)}'


def speak_one(connection):
    text = b''
    while b'\r\n\r\n' not in text:
        more = connection.recv(4096)
        if not more:
            return
        text += more
    lines = text.decode().split('\r\n')
    path = lines[0].split()[1]
    wanted = [line.split(':', 1)[1].strip() for line in lines if line.lower().startswith('range:')][0]
    note('1', path)
    body, shown = part(blob(path), wanted)
    connection.sendall(f'HTTP/1.1 206 OK\r\nContent-Length: {len(body)}\r\nContent-Range: {shown}\r\n'
                       'Connection: close\r\n\r\n'.encode() + body)


def answer(h2, stream, headers):
    """Returns what is left to send."""
    fields = {name.decode() if isinstance(name, bytes) else name:
              value.decode() if isinstance(value, bytes) else value for name, value in headers}
    body, shown = part(blob(fields[':path']), fields['range'])
    h2.send_headers(stream, [(':status', '206'), ('content-length', str(len(body))), ('content-range', shown)])
    return body


def send(h2, bodies):
    for stream in list(bodies):
        while bodies[stream]:
            room = min(h2.local_flow_control_window(stream), h2.max_outbound_frame_size)
            if room <= 0:
                break
            h2.send_data(stream, bodies[stream][:room])
            bodies[stream] = bodies[stream][room:]
        if not bodies[stream]:
            h2.end_stream(stream)
            del bodies[stream]


def speak_two(connection):
    h2, bodies, served, leaving = H2Connection(H2Configuration(client_side=False)), {}, 0, False
    h2.initiate_connection()
    connection.sendall(h2.data_to_send())
    while data := connection.recv(65536):
        for event in h2.receive_data(data):
            if not isinstance(event, RequestReceived):
                continue
            path = dict((str(n, 'ascii') if isinstance(n, bytes) else n, str(v, 'ascii') if isinstance(v, bytes) else v)
                        for n, v in event.headers)[':path']
            note('2', path)
            fault = path.split('/')[2]
            if fault == 'broken':
                return
            if fault == 'goaway' and served:
                h2.reset_stream(event.stream_id, ErrorCodes.REFUSED_STREAM)
                leaving = True
                continue
            if fault == 'refused' and len(refused) < 2:
                refused.append(path)
                h2.reset_stream(event.stream_id, ErrorCodes.REFUSED_STREAM)
                continue
            bodies[event.stream_id] = answer(h2, event.stream_id, event.headers)
            served += 1
        send(h2, bodies)
        if leaving and not bodies:
            h2.close_connection(ErrorCodes.NO_ERROR)
            connection.sendall(h2.data_to_send())
            return
        connection.sendall(h2.data_to_send())


def serve(connection):
    try:
        with context.wrap_socket(connection, server_side=True) as encrypted:
            (speak_two if encrypted.selected_alpn_protocol() == 'h2' else speak_one)(encrypted)
    except OSError:
        pass


listener = socket.create_server(('127.0.0.1', port), backlog=64)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
