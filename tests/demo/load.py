#!/usr/bin/python3
"""Constant load with a count at both ends, as JSON on standard output when told to stop (SIGTERM).
Receivers say "ready" on a line before.

load.py udp-receive ADDRESS PORT          load.py udp-send ADDRESS PORT PER_SECOND
load.py tcp-receive ADDRESS PORT          load.py tcp-send ADDRESS PORT PER_SECOND
"""

import json
import signal
import socket
import struct
import sys
import time

stopping = False


def stop(*_):
    global stopping
    stopping = True


def tick(per_second):
    """Yields at a constant rate, without catching up in bursts of more than one."""
    due = time.monotonic()
    while not stopping:
        yield
        due = max(due + 1 / per_second, time.monotonic() - 1 / per_second)
        time.sleep(max(0, due - time.monotonic()))


def ready():
    """Tells the one who started us that the socket is bound."""
    print("ready", flush=True)


def receive_whole(connection, size):
    """Exactly `size` bytes, or less at the end of the stream."""
    block = b""
    while len(block) < size and (more := connection.recv(size - len(block))):
        block += more
    return block


def udp_send(address, port, per_second):
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sent = refused = 0
    for _ in tick(per_second):
        try:
            out.sendto(struct.pack("!Q", sent) + bytes(192), (address, port))
            sent += 1
        except OSError:
            refused += 1
    return {"sent": sent, "refused": refused}


def udp_receive(address, port):
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    listener.bind((address, port))
    listener.settimeout(0.2)
    ready()
    seen, duplicated, gap_ms, last = set(), 0, 0.0, None
    while not stopping:
        try:
            number = struct.unpack("!Q", listener.recv(2048)[:8])[0]
        except TimeoutError:
            continue
        now = time.monotonic()
        gap_ms = max(gap_ms, (now - last) * 1000) if last else 0.0
        last = now
        duplicated += number in seen
        seen.add(number)
    return {"received": len(seen), "duplicated": duplicated, "longest_gap_ms": round(gap_ms, 1)}


def tcp_send(address, port, per_second):
    out = socket.create_connection((address, port), timeout=30)
    sent = 0
    try:
        for _ in tick(per_second):
            out.sendall(struct.pack("!Q", sent) + bytes(1016))
            sent += 1
        out.shutdown(socket.SHUT_WR)
        out.settimeout(30)
        return {"sent": sent, "confirmed": struct.unpack("!Q", receive_whole(out, 8))[0]}
    except OSError as error:
        return {"sent": sent, "ended_by": str(error)}


def tcp_receive(address, port):
    listener = socket.create_server((address, port))
    listener.settimeout(0.2)
    ready()
    while not stopping:
        try:
            connection = listener.accept()[0]
        except TimeoutError:
            continue
        connection.settimeout(60)
        received, wrong = 0, 0
        while block := receive_whole(connection, 1024):
            wrong += len(block) != 1024 or struct.unpack("!Q", block[:8])[0] != received
            received += 1
        connection.sendall(struct.pack("!Q", received))
        return {"received": received, "out_of_order": wrong}
    return {"received": 0, "out_of_order": 0}


signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, stop)
run = {"udp-send": udp_send, "udp-receive": udp_receive, "tcp-send": tcp_send, "tcp-receive": tcp_receive}[sys.argv[1]]
arguments = [sys.argv[2], int(sys.argv[3])] + [float(a) for a in sys.argv[4:]]
print(json.dumps(run(*arguments)), flush=True)
