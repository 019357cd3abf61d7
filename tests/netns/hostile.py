"""What the tests of bad input share: a fleet with an honest flow that must go on, certificates of every wrong kind, and a client that
says to TLS, HTTP/2 and gRPC what no honest one would."""

import base64
import contextlib
import ctypes
import json
import os
import pathlib
import re
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback

import hpack

import topology
from fleet import USERS, Fleet
from topology import wait_until

DOMAIN = "example.org"
ECHO_PORT = 7000
CLONE_NEWNET = 0x40000000
RSS_LIMIT_KIB = 16 * 1024
libc = ctypes.CDLL(None, use_errno=True)


def check(condition, text):
    if not condition:
        raise AssertionError(text)


class Skip(Exception):
    """A case that cannot run here; the text says why."""


# ---- sockets in a host's namespace

@contextlib.contextmanager
def inside(host, uid=0):
    """Sockets that this thread makes inside the block belong to the host's namespace and, for nftables, to the user."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{host.namespace}", os.O_RDONLY)
    try:
        if libc.setns(there, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        libc.setfsuid(uid)
        yield
    finally:
        libc.setfsuid(0)
        libc.setns(home, CLONE_NEWNET)
        os.close(home)
        os.close(there)


def connect(host, address, port, timeout=10, source=None, uid=0):
    with inside(host, uid):
        return socket.create_connection((address, port), timeout, (source, 0) if source else None)


def serve(host, port, handle, address=None):
    """A TCP server in the host's namespace, a thread for each connection."""
    address = address or host.ipv4
    with inside(host):
        listener = socket.create_server((address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET, backlog=128)

    def one(connection):
        with connection, contextlib.suppress(OSError):
            handle(connection)

    def run():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(connection,), daemon=True).start()

    threading.Thread(target=run, daemon=True).start()
    return listener


def echo(connection):
    while part := connection.recv(65536):
        connection.sendall(part)


# ---- processes

def rss_kib(pid):
    """Resident memory; always 0 under AddressSanitizer, which gives nothing back."""
    if "libasan" in open(f"/proc/{pid}/maps").read():
        return 0
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    return 0


def is_alive(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def pid_of(host, *words):
    """The process in the host's namespace whose command line ends with these words, or has them in a row; None: there is none."""
    wanted = " ".join(words)
    for pid in topology.run("ip", "netns", "pids", host.namespace, check=False).stdout.split():
        with contextlib.suppress(OSError):
            if wanted in open(f"/proc/{pid}/cmdline").read().replace("\0", " "):
                return int(pid)
    return None


class Log:
    """A log file from here on."""

    def __init__(self, path):
        self.path = path
        self.start = os.path.getsize(path) if os.path.exists(path) else 0

    def text(self):
        with open(self.path, errors="replace") as file:
            file.seek(self.start)
            return file.read()

    def find(self, pattern):
        return re.search(pattern, self.text())

    def wait(self, pattern, seconds=5):
        try:
            return wait_until(f"the log says /{pattern}/", lambda: self.find(pattern), seconds, 0.05)
        except TimeoutError as error:
            raise AssertionError(f"{error}; it says:\n{self.text()[-1500:]}") from None


# ---- certificates

class Authority:
    """A CA from its two files, and openssl in its name."""

    def __init__(self, key, certificate, folder):
        self.key, self.certificate, self.folder = pathlib.Path(key), pathlib.Path(certificate), pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "index.txt").touch()

    @classmethod
    def fresh(cls, folder, name):
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True)
        topology.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-sha384", "-nodes", "-days", "10",
                     "-subj", f"/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign",
                     "-keyout", folder / "ca.key", "-out", folder / "ca.pem")
        return cls(folder / "ca.key", folder / "ca.pem", folder)

    def name(self):
        return topology.run("openssl", "x509", "-in", self.certificate, "-noout", "-subject", "-nameopt", "multiline").stdout.split("= ", 1)[1].strip()

    def issue(self, names, key="ec:P-384", begin=-3600, end=3600, ca=False, usage="clientAuth,serverAuth"):
        """Paths of key and certificate of a leaf with these alternative names, e.g. ["URI:spiffe://…", "IP:192.0.2.1"]."""
        folder = pathlib.Path(tempfile.mkdtemp(dir=self.folder))
        algorithm, _, option = key.partition(":")
        parameters = ["-newkey", f"rsa:{option}"] if algorithm == "rsa" else ["-newkey", "ec", "-pkeyopt", f"ec_paramgen_curve:{option}"]
        topology.run("openssl", "req", "-new", "-sha384", "-nodes", *parameters, "-subj", "/CN=hostile", "-keyout", folder / "leaf.key",
                     "-out", folder / "leaf.csr")
        extensions = [
            f"basicConstraints = critical, CA:{'TRUE' if ca else 'FALSE'}",
            f"keyUsage = critical, digitalSignature{', keyCertSign' if ca else ''}",
            "subjectKeyIdentifier = hash",
            "authorityKeyIdentifier = keyid",
        ]
        extensions += [f"extendedKeyUsage = {usage}"] if usage else []
        extensions += [f"subjectAltName = {','.join(names)}"] if names else []
        stamp = [time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + offset)) for offset in (begin, end)]
        (folder / "ca.cnf").write_text("\n".join([
            "[ca]", "default_ca = d", "[d]", f"database = {self.folder}/index.txt", "rand_serial = yes", f"new_certs_dir = {folder}",
            "default_md = sha384", "policy = p", "unique_subject = no", "x509_extensions = e", "[p]", "commonName = supplied", "[e]",
            *extensions, ""]))
        topology.run("openssl", "ca", "-batch", "-notext", "-config", folder / "ca.cnf", "-cert", self.certificate, "-keyfile", self.key,
                     "-startdate", stamp[0], "-enddate", stamp[1], "-in", folder / "leaf.csr", "-out", folder / "leaf.pem")
        return folder / "leaf.key", folder / "leaf.pem"


# ---- TLS

def tls_context(identity=None, alpn=("h2",), version=ssl.TLSVersion.TLSv1_3):
    """A client that believes any server. identity: (key, certificate)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if identity:
        context.load_cert_chain(identity[1], identity[0])
    return context


# ---- HTTP/2, frame by frame (RFC 9113)

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, ACK = 1, 4, 1
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
ENHANCE_YOUR_CALM = 11


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


class Stream:
    def __init__(self):
        self.headers = None
        self.trailers = {}
        self.data = b""
        self.reset = None
        self.ended = False

    @property
    def over(self):
        return self.ended or self.reset is not None

    def field(self, name):
        return self.trailers.get(name, (self.headers or {}).get(name))


class H2:
    """A client. It answers SETTINGS and PING unless it is told to be rude; the end of the connection is in `end`."""

    def __init__(self, connection, polite=True, settings=b"", preface=PREFACE):
        self.connection = connection
        self.polite = polite
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.streams = {}
        self.next_id = 1
        self.buffer = b""
        self.block = b""
        self.server_settings = False
        self.goaway = None  # (code, text)
        self.end = None     # what ended the connection, as text
        if preface:
            self.send(preface + frame(SETTINGS, 0, 0, settings))

    def send(self, data):
        if self.end is not None:
            return
        try:
            self.connection.sendall(data)
        except OSError as error:
            self.end = self.end or f"{type(error).__name__}: {error}"

    def request(self, headers, end=False):
        number, self.next_id = self.next_id, self.next_id + 2
        self.streams[number] = Stream()
        self.send(frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), number, self.encoder.encode(headers)))
        return number

    def data(self, number, payload=b"", end=False):
        for at in range(0, max(len(payload), 1), 16384):
            part = payload[at:at + 16384]
            last = at + 16384 >= len(payload)
            self.send(frame(DATA, END_STREAM if end and last else 0, number, part))

    def reset(self, number, code=8):
        self.send(frame(RST_STREAM, 0, number, struct.pack(">I", code)))

    def read(self, seconds):
        """One read's worth of frames; False when nothing came or the connection has ended."""
        if self.end is not None:
            return False
        self.connection.settimeout(max(seconds, 0.001))
        try:
            part = self.connection.recv(65536)
        except (TimeoutError, ssl.SSLWantReadError):
            return False
        except OSError as error:
            self.end = f"{type(error).__name__}: {error}"
            return True
        finally:
            self.connection.settimeout(10)
        if not part:
            self.end = "end of stream"
            return False
        self.buffer += part
        while len(self.buffer) >= 9:
            length = int.from_bytes(self.buffer[:3], "big")
            if len(self.buffer) < 9 + length:
                break
            kind, flags, stream = struct.unpack(">BBI", self.buffer[3:9])
            self.on_frame(kind, flags, stream & 0x7fffffff, self.buffer[9:9 + length])
            self.buffer = self.buffer[9 + length:]
        return True

    def on_frame(self, kind, flags, number, payload):
        stream = self.streams.setdefault(number, Stream())
        if kind == SETTINGS and not flags & ACK:
            self.server_settings = True
            if self.polite:
                self.send(frame(SETTINGS, ACK))
        elif kind == PING and not flags & ACK and self.polite:
            self.send(frame(PING, ACK, 0, payload))
        elif kind == GOAWAY:
            code = struct.unpack(">I", payload[4:8])[0]
            if self.goaway is None or code:
                self.goaway = (code, payload[8:].decode(errors="replace"))
        elif kind in (HEADERS, CONTINUATION):
            self.block += payload
            if flags & END_HEADERS:
                fields = {str(k): str(v) for k, v in self.decoder.decode(self.block)}
                self.block = b""
                if stream.headers is None:
                    stream.headers = fields
                else:
                    stream.trailers = fields
            stream.ended |= bool(flags & END_STREAM) if kind == HEADERS else False
        elif kind == DATA:
            stream.data += payload
            if self.polite and payload:
                self.send(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", len(payload))))
                self.send(frame(WINDOW_UPDATE, 0, number, struct.pack(">I", len(payload))))
            stream.ended |= bool(flags & END_STREAM)
        elif kind == RST_STREAM:
            stream.reset = struct.unpack(">I", payload)[0]

    def until(self, condition, seconds=5):
        """Reads until the condition holds; whether it does. The connection's end also ends it."""
        limit = time.monotonic() + seconds
        while not condition():
            if self.end is not None or time.monotonic() > limit:
                return False
            self.read(min(0.5, limit - time.monotonic()))
        return True

    def wait(self, number, seconds=5):
        self.until(lambda: self.streams[number].over, seconds)
        return self.streams[number]

    def wait_end(self, seconds=5):
        """Whether the server ended the connection, by GOAWAY or at once."""
        return self.until(lambda: self.goaway is not None or self.end is not None, seconds)

    def close(self):
        with contextlib.suppress(OSError):
            self.connection.close()


def h2_connect(host, address, port, identity=None, source=None, uid=0, **options):
    raw = connect(host, address, port, source=source, uid=uid)
    return H2(tls_context(identity).wrap_socket(raw), **options)


def attempt(host, address, port, context, source=None, uid=0):
    """Tries TLS and HTTP/2: how it ended, as text; None: the server talks HTTP/2 to us."""
    try:
        raw = connect(host, address, port, source=source, uid=uid)
        with context.wrap_socket(raw) as secure:
            client = H2(secure)
            client.until(lambda: client.server_settings, 3)
            if client.server_settings:
                # In TLS 1.3 the client is done before the server has seen its certificate.
                client.read(0.3)
            return client.end if client.end is not None or not client.server_settings else None
    except OSError as error:
        return f"{type(error).__name__}: {error}"


# HTTP/2 abuse: name -> function(client) that sends it. All of it is what a peer can do for nothing.

def rapid_reset(client, start):
    for _ in range(60):
        burst = b""
        for _ in range(100):
            number, client.next_id = client.next_id, client.next_id + 2
            burst += frame(HEADERS, END_HEADERS, number, client.encoder.encode(start)) + frame(RST_STREAM, 0, number, struct.pack(">I", 8))
        client.send(burst)
        client.read(0.001)


def ping_flood(client, _):
    for _ in range(40):
        client.send(frame(PING, 0, 0, b"12345678") * 250)
        client.read(0.001)


def settings_flood(client, _):
    for _ in range(40):
        client.send(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65535)) * 100)
        client.read(0.001)


def continuation_flood(client, _):
    number, client.next_id = client.next_id, client.next_id + 2
    client.send(frame(HEADERS, 0, number, b""))
    for _ in range(50):
        client.send(frame(CONTINUATION, 0, number, b"\x00\x01a\x01b" * 100) * 20)
        client.read(0.001)


def header_bomb(client, start):
    """One large field in the dynamic table, then references to it: 4 KB for each byte."""
    for _ in range(10):
        number, client.next_id = client.next_id, client.next_id + 2
        value = b"x" * 3900
        literal = b"\x40\x01a\x7f" + bytes([(len(value) - 127) % 128 | 0x80, (len(value) - 127) // 128]) + value
        client.send(frame(HEADERS, END_HEADERS, number, hpack.Encoder().encode(start) + literal + b"\xbe" * 12000))
        client.read(0.001)


def header_list(client, start):
    """Many distinct fields, more than anyone needs."""
    for _ in range(300):
        number, client.next_id = client.next_id, client.next_id + 2
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, number, hpack.Encoder().encode(start) + b"\x00\x04abcd\x04efgh" * 1400))
        client.read(0.001)


def empty_data_flood(client, start):
    number = client.request(start)
    for _ in range(40):
        client.send(frame(DATA, 0, number) * 250)
        client.read(0.001)


def priority_flood(client, _):
    for _ in range(40):
        client.send(frame(PRIORITY, 0, 1, struct.pack(">IB", 3, 16)) * 500)
        client.read(0.001)


def window_overflow(client, _):
    client.send(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0x7fffffff)) * 3)


def oversized_frame(client, _):
    client.send(frame(PING, 0, 0, b"x" * 70000))


def data_on_idle_stream(client, _):
    client.send(frame(DATA, 0, 99, b"x"))


ABUSES = [rapid_reset, ping_flood, settings_flood, continuation_flood, header_bomb, header_list, empty_data_flood, priority_flood, window_overflow,
          oversized_frame, data_on_idle_stream]


# ---- protobuf and gRPC

def varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number, value):
    """One field of a message: int, bytes or str."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def fields_of(message):
    """The fields of a message as (number, value), of wire types 0 and 2."""
    def read_varint(at):
        value = shift = 0
        while True:
            value |= (message[at] & 127) << shift
            shift, at = shift + 7, at + 1
            if message[at - 1] < 128:
                return value, at
    at, result = 0, []
    while at < len(message):
        tag, at = read_varint(at)
        value, at = read_varint(at)
        if tag & 7 == 2:
            value, at = message[at:at + value], at + value
        result.append((tag >> 3, value))
    return result


def grpc_frame(message, compressed=0, length=None):
    return struct.pack(">BI", compressed, len(message) if length is None else length) + message


def grpc_headers(path, content_type="application/grpc"):
    return [(":method", "POST"), (":scheme", "https"), (":path", path), (":authority", "controller"), ("te", "trailers"),
            ("content-type", content_type)]


ENROL = "/twofold.v1.Enrolment/Enrol"
RENEW = "/twofold.v1.Enrolment/Renew"
SESSION = "/twofold.v1.Control/Session"


def grpc_start(client, path):
    return client.request(grpc_headers(path))


def grpc_call(client, path, body, end=True, seconds=5):
    """One call with these raw bytes as its body: (status, text)."""
    number = grpc_start(client, path)
    client.data(number, body, end)
    stream = client.wait(number, seconds)
    return grpc_outcome(stream)


def grpc_outcome(stream):
    status = stream.field("grpc-status")
    return int(status) if status is not None else None, stream.field("grpc-message") or ""


# ---- a fleet with an honest flow

class HonestFlow:
    """A flow from web to api that is open all the time."""

    def __init__(self, source, address, port=ECHO_PORT):
        self.connection = connect(source, address, port)
        self.count = 0
        self.beat()

    def beat(self):
        """A byte there and back."""
        self.count += 1
        self.connection.sendall(b"x")
        check(self.connection.recv(1) == b"x", f"the honest flow ended after {self.count - 1} bytes")

    def close(self):
        self.connection.close()


POLICY = f"""version: 1
segments:
  web: {{labels: {{role: web}}}}
  api: {{labels: {{role: api}}}}
  evil: {{labels: {{role: evil}}}}
rules:
  - {{name: web-to-api, from: web, to: api, ports: [tcp/{ECHO_PORT}], layers: [https]}}
  - {{name: evil-to-api, from: evil, to: api, ports: [tcp/{ECHO_PORT}], layers: [https]}}
failsafe: []
"""


class Stage:
    """A controller; web and api with agents and an open flow; evil, enrolled and in an attacker's hand: no agent runs there; a stranger."""

    hosts = ["controller", "web", "api", "evil", "stranger"]

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.topology = topology.Topology(self.hosts)
        self.fleet = None
        self.flow = None
        try:
            self.open()
        except BaseException:
            self.close()
            raise

    def prepare(self):
        """Before the controller has any state."""

    def open(self):
        self.prepare()
        self.fleet = Fleet(self.topology, self.folder / "fleet")
        self.fleet.start_controller()
        self.controller, self.web, self.api = (self.topology[n] for n in ("controller", "web", "api"))
        for name in ("web", "api", "evil"):
            if name in self.topology.hosts:
                self.fleet.enrol(name, {"role": name})
        for name in ("web", "api"):
            self.fleet.start_agent(name)
        self.fleet.wait_connected(["web", "api"])
        self.apply(POLICY)
        serve(self.api, ECHO_PORT, echo)
        self.flow = HonestFlow(self.web, self.api.ipv4)

    def apply(self, text, name="policy.yaml"):
        path = self.folder / name
        path.write_text(text)
        return self.fleet.apply(path, 15)

    def controller_pid(self):
        return pid_of(self.controller, "twofold-controller run")

    def role_pid(self, host, role):
        return pid_of(self.topology[host], f"role {role}") or pid_of(self.topology[host], f"--role {role}")

    def log(self, name):
        return Log(self.fleet.folder / f"{name}.log")

    def audit(self):
        return self.fleet.ask("audit", "--limit", "1000")["entries"]

    def refused(self, host):
        return (self.fleet.local(host, "flows", "--verdict", "refused", "--limit", "1000") or {}).get("flows", [])

    def generation(self, host):
        return int(self.fleet.local(host, "status")["agent"]["generation"])

    def identity(self, host, role, name):
        """Key and certificate of a host's role, as a thief has them."""
        folder = self.fleet.folder / "agents" / host / "state" / role
        return folder / f"{name}.key", folder / f"{name}.pem"

    def authority(self, name):
        """One of the controller's CAs in wrong hands."""
        return Authority(self.fleet.state / f"{name}-ca.key", self.fleet.state / f"{name}-ca.pem", self.folder / f"{name}-ca")

    def new_flow(self):
        flow = HonestFlow(self.web, self.api.ipv4)
        flow.close()

    def close(self):
        if self.flow:
            self.flow.close()
        if self.fleet:
            self.fleet.close()
        self.topology.close()


class Runner:
    """Collects cases, runs them on one stage, and after each looks at what must go on."""

    def __init__(self, name, stage=Stage):
        self.name = name
        self.stage = stage
        self.cases = []

    def case(self, function):
        self.cases.append(function)
        return function

    def restarting(self, function):
        """A case that ends what is watched and starts it again."""
        function.restarts = True
        return self.case(function)

    def run(self, watch):
        """watch(stage): (name, pid) of the processes that are attacked: they live on, and do not grow."""
        if os.geteuid() != 0:
            print(f"{self.name}: needs root for network namespaces")
            return 77
        wanted, counts = sys.argv[1:], {"ok": 0, "FAIL": 0, "skip": 0}
        with tempfile.TemporaryDirectory(prefix="twofold-hostile-") as folder:
            os.chmod(folder, 0o755)
            stage = self.stage(folder)
            try:
                for function in self.cases:
                    if not wanted or function.__name__ in wanted:
                        counts[self.one(stage, function, watch)] += 1
            finally:
                stage.close()
            for path in sorted((stage.folder / "fleet").glob("*.log")):
                if report := re.search(r"(runtime error:|ERROR: \w+Sanitizer|Assertion .* failed)(.*\n){1,30}", path.read_text(errors="replace")):
                    print(f"FAIL {path.name}:\n{report[0]}")
                    counts["FAIL"] += 1
            if counts["FAIL"] and os.environ.get("KEEP"):
                shutil.copytree(folder, os.environ["KEEP"], dirs_exist_ok=True, ignore=lambda *_: ["agent.sock"])
        print(f"{self.name}: {counts['ok']} passed, {counts['FAIL']} failed, {counts['skip']} skipped")
        return 1 if counts["FAIL"] else 0

    def one(self, stage, function, watch):
        start = time.monotonic()
        label = function.__name__.replace("_", " ")
        try:
            before = {name: (pid, rss_kib(pid)) for name, pid in watch(stage).items()}
            function(stage)
            if hasattr(function, "restarts"):
                check(all(watch(stage).values()), f"not all runs again: {watch(stage)}")
                before = {}
            self.look(stage, before)
        except Skip as reason:
            print(f"skip {label}: {reason}", flush=True)
            return "skip"
        except Exception as error:
            print(f"FAIL {label}: {error}", flush=True)
            traceback.print_exc()
            return "FAIL"
        print(f"ok   {label} ({time.monotonic() - start:.1f} s)", flush=True)
        return "ok"

    @staticmethod
    def look(stage, before):
        for name, (pid, rss) in before.items():
            check(is_alive(pid), f"{name} died")
            # Memory of connections that have ended goes back at the end of a turn.
            wait_until(f"{name} (pid {pid}) has not grown by more than {RSS_LIMIT_KIB} KiB from {rss}",
                       lambda p=pid, r=rss: rss_kib(p) - r <= RSS_LIMIT_KIB, 3)
        if stage.flow:
            stage.flow.beat()
            stage.new_flow()
        if stage.controller_pid():
            # Agents come back with growing pauses from a controller that was away.
            wait_until("web and api have good sessions", lambda: sessions_are_good(stage), 3 if before else 45, 0.2)


def sessions_are_good(stage):
    hosts = {h["host"]: h for h in stage.fleet.ask("hosts")["hosts"]}
    return all(hosts[name]["connected"] and not hosts[name]["problem"] for name in ("web", "api"))
