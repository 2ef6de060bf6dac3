#!/usr/bin/env python3
"""registry_cut.py PORT TARGET COUNT: hands connections on to the port TARGET of this machine. Those from the second to the one
numbered COUNT are reset as soon as their client has said something, as busy servers and load balancers do with handshakes."""
import socket
import struct
import sys
import threading

port, target, count = (int(word) for word in sys.argv[1:4])


def pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    finally:
        try:
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def serve(client, is_cut):
    if is_cut:
        client.recv(1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        client.close()
        return
    server = socket.create_connection(('127.0.0.1', target))
    threading.Thread(target=pump, args=(client, server), daemon=True).start()
    pump(server, client)


listener = socket.create_server(('127.0.0.1', port), backlog=64)
number = 0
while True:
    number += 1
    threading.Thread(target=serve, args=(listener.accept()[0], 1 < number <= count), daemon=True).start()
