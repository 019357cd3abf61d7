#!/usr/bin/python3
"""64-byte exchanges: exchange.py serve ADDRESS PORT, exchange.py echo ADDRESS PORT COUNT, exchange.py connect ADDRESS PORT SECONDS.

`echo` prints p50 and p99 of a round trip on one connection in microseconds, `connect` new connections with one exchange a second,
as JSON.
"""

import json
import socket
import sys
import threading
import time


def serve(address, port):
    listener = socket.create_server((address, port), backlog=1024)

    def answer(connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection:
            while block := connection.recv(64):
                connection.sendall(block)

    while True:
        threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()


def echo(address, port, count):
    connection = socket.create_connection((address, port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    times = []
    for _ in range(int(count)):
        began = time.perf_counter()
        connection.sendall(b"x" * 64)
        connection.recv(64, socket.MSG_WAITALL)
        times.append((time.perf_counter() - began) * 1e6)
    times.sort()
    print(json.dumps({"echo_p50": times[len(times) // 2], "echo_p99": times[len(times) * 99 // 100]}))


def connect(address, port, seconds):
    end, done = time.monotonic() + float(seconds), 0
    while time.monotonic() < end:
        with socket.create_connection((address, port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(b"x" * 64)
            connection.recv(64, socket.MSG_WAITALL)
            done += 1
    print(json.dumps({"new_flows": done / float(seconds)}))


{"serve": serve, "echo": echo, "connect": connect}[sys.argv[1]](sys.argv[2], int(sys.argv[3]), *sys.argv[4:])
