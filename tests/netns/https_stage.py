"""A stage for tests of the https role: web -> api in namespaces, api's applications, and a small runner of cases."""

import hashlib
import http.server
import os
import pathlib
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback

import topology
from https_hosts import Ca, Role, Server, connect, inside, peer_line
from topology import wait_until

BODY = b"the page of api\n"
MIB = 1 << 20
def check(condition, text):
    if not condition:
        raise AssertionError(text)


def reset_on_close(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


# ---- applications of api

class Pages(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *_):
        pass


def serve_pages(host, address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET

    class Pager(http.server.ThreadingHTTPServer):
        address_family = family
        daemon_threads = True
        request_queue_size = 512

    with inside(host):
        server = Pager((address, 80), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def hash_until_end(connection):
    digest = hashlib.sha256()
    while part := connection.recv(1 << 16):
        digest.update(part)
    connection.sendall(digest.hexdigest().encode())


def greet(connection):
    connection.sendall(b"220 ready\r\n")
    connection.recv(1)


def reset_after_a_byte(connection):
    connection.recv(1)
    reset_on_close(connection)


class Watcher:
    """Notes how connections end."""

    def __init__(self):
        self.ends = []

    def __call__(self, connection):
        try:
            while connection.recv(1 << 16):
                pass
            self.ends.append("fin")
        except ConnectionResetError:
            self.ends.append("rst")


class Flood:
    """Sends without an end and counts."""

    def __init__(self):
        self.sent = 0

    def __call__(self, connection):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        while True:
            self.sent += connection.send(bytes(65536))


def echo(connection):
    while part := connection.recv(1 << 16):
        connection.sendall(part)


class Stage:
    """web -> api, one underlay, both roles, api's applications."""

    def __init__(self, folder, web_limits=None, api_limits=None):
        self.folder = pathlib.Path(folder)
        self.topology = topology.Topology(["web", "api", "other"])
        try:
            self.open(web_limits, api_limits)
        except BaseException:
            self.topology.close()
            raise

    def open(self, web_limits, api_limits):
        self.web_host, self.api_host, self.other = (self.topology[n] for n in ("web", "api", "other"))
        self.ca = Ca(self.folder / "ca")
        self.web = Role(self.web_host, self.ca, self.folder / "web", captured=[self.api_host, self.other], limits=web_limits)
        self.api = Role(self.api_host, self.ca, self.folder / "api", captured=[self.web_host], limits=api_limits)
        serve_pages(self.api_host, self.api_host.ipv4)
        serve_pages(self.api_host, self.api_host.ipv6)
        self.watcher = Watcher()
        self.flood = Flood()
        for port, serve in {7: echo, 13: greet, 81: greet, 2000: reset_after_a_byte, 2001: self.watcher, 2002: self.flood,
                            2003: lambda c: time.sleep(1000), 2004: hash_until_end}.items():
            Server(self.api_host, port, serve)
        self.allow()

    def allow(self, ports="tcp/7 tcp/13 tcp/80 tcp/82 tcp/2000-2009", layers="https"):
        for role, direction, peer, slot in ((self.web, "out", self.api_host, 2), (self.api, "in", self.web_host, 1)):
            answer = role.slice(peer_line(peer, slot) + f"rule web-to-api {direction} ports {ports} layers {layers} peers {peer.name}\n")
            check(answer["ok"], answer["reason"])

    def reset(self):
        """As a case expects it, whatever the one before left."""
        for role in (self.web, self.api):
            role.ask("sas")
        self.allow()

    def curl(self, *argv):
        return topology.run(*self.web_host.argv("curl", "-sS", "--max-time", "20", *argv), check=False)

    def connect(self, port, address=None):
        return connect(self.web_host, address or self.api_host.ipv4, port)

    def settle(self):
        for role in (self.web, self.api):
            wait_until("no flow is live", lambda: not [f for f in role.flows() if f["ended"] == 0], 20)

    def close(self):
        codes = [role.close() for role in (self.web, self.api)]
        self.topology.close()
        return codes


def run_cases(name, cases, wanted, **limits):
    """Runs the cases on one stage; how many passed and how many failed."""
    passed = failed = 0
    with tempfile.TemporaryDirectory(prefix="twofold-https-") as folder:
        os.chmod(folder, 0o755)
        stage = Stage(folder, **limits)
        try:
            for function in cases:
                if wanted and function.__name__ not in wanted:
                    continue
                start = time.monotonic()
                try:
                    stage.reset()
                    function(stage)
                    passed += 1
                    print(f"ok   {function.__name__} ({time.monotonic() - start:.1f} s)", flush=True)
                except Exception as error:
                    failed += 1
                    print(f"FAIL {function.__name__}: {error}", flush=True)
                    traceback.print_exc()
        finally:
            codes = stage.close()
        if codes != [1, 1]:  # a neighbour is gone: that is how a role ends here
            failed += 1
            print(f"FAIL {name}: the roles ended with {codes}")
            for host in ("web", "api"):
                print(open(f"{folder}/{host}.log").read()[-4000:])
        if failed and os.environ.get("KEEP"):
            subprocess.run(["cp", "-r", folder, os.environ["KEEP"]], check=False)
    return passed, failed


def need_root(name):
    if os.geteuid() != 0:
        print(f"{name}: skipped: needs root for network namespaces")
        sys.exit(77)
