#!/usr/bin/env python3
"""registry_proxy.py PORT TARGET: a proxy whose CONNECT leads to 127.0.0.1:TARGET, whatever host is asked for; to
"refused.example" it answers 403."""
import socket
import sys
import threading


def copy(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    for end in (source, sink):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def serve(client):
    head = b''
    while b'\r\n\r\n' not in head and (data := client.recv(4096)):
        head += data
    if not head.startswith(b'CONNECT ') or b'refused.example' in head:
        client.sendall(b'HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n')
        client.close()
        return
    server = socket.create_connection(('127.0.0.1', int(sys.argv[2])))
    client.sendall(b'HTTP/1.1 200 Connected\r\n\r\n')
    threading.Thread(target=copy, args=(client, server), daemon=True).start()
    copy(server, client)


listener = socket.create_server(('127.0.0.1', int(sys.argv[1])), backlog=64)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
