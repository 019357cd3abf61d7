"""https roles in namespaces without the rest of the agent: tests/netns/https_host.c plays their control and network roles."""

import contextlib
import ctypes
import json
import os
import pathlib
import shutil
import socket
import subprocess
import threading

import topology

TOP = pathlib.Path(__file__).resolve().parents[2]
UID = 64103
TRUST_DOMAIN = "example.org"
CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


def program():
    """The driver, built by `make netns-programs`."""
    return os.environ.get("HTTPS_HOST", str(TOP / "build/obj/cc/netns/https_host"))


def identity(name):
    return f"spiffe://{TRUST_DOMAIN}/ns/default/sa/{name}"


@contextlib.contextmanager
def inside(host):
    """Sockets that this thread makes inside the block belong to the host's namespace."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{host.namespace}", os.O_RDONLY)
    try:
        if libc.setns(there, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        yield
    finally:
        libc.setns(home, CLONE_NEWNET)
        os.close(home)
        os.close(there)


class Ca:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        topology.run(program(), "ca", self.folder)

    def issue(self, folder, name, addresses, before=-3600, after=86400):
        topology.run(program(), "issue", self.folder, folder, identity(name), ",".join(addresses), before, after)
        return pathlib.Path(folder)


class Role:
    """The https role of one host, and the redirect that the network role would make."""

    def __init__(self, host, ca, folder, limits=None, export=None, captured=()):
        self.host = host
        self.folder = pathlib.Path(folder)
        self.log_path = f"{folder}.log"
        self.generation = 0
        self.lock = threading.Lock()
        if not self.folder.exists():
            ca.issue(self.folder, host.name, [host.ipv4, host.ipv6])
        for path in [self.folder, *self.folder.iterdir()]:
            shutil.chown(path, UID, UID)
        self.redirect(captured)
        with open(self.log_path, "a") as log:
            self.process = host.start(program(), "run", self.folder, UID, export or "-",
                                      *(f"{k}={v}" for k, v in (limits or {}).items()),
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        self.pid = self.ask("pid")["pid"]
        topology.wait_until(f"{host.name} serves", lambda: "https.serving" in open(self.log_path).read(), 20)

    def redirect(self, peers):
        rules = "".join(f"ip daddr {p.ipv4} tcp dport 1-15000 redirect to :15001\n"
                        f"ip6 daddr {p.ipv6} tcp dport 1-15000 redirect to :15001\n" for p in peers)
        self.host.run("nft", "-f", "-", input=f"""table inet https_test {{
            chain output {{ type nat hook output priority -100; policy accept;
                meta skuid {UID} return
                {rules}
            }}
        }}
        """)

    def ask(self, *words):
        with self.lock:
            self.process.stdin.write(" ".join(map(str, words)) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.host.name}: the role is gone\n{open(self.log_path).read()[-3000:]}")
        return json.loads(line)

    def slice(self, text):
        """Commits a slice; `text` has the lines behind the first one. The role's answer."""
        self.generation += 1
        path = f"{self.folder}.slice"
        with open(path, "w") as file:
            file.write(f"slice {self.host.name} generation {self.generation} trust-domain {TRUST_DOMAIN} rekey 3600"
                       f" independence reported\n{text}")
        return self.ask("slice", path)

    def flows(self, limit=10000):
        return self.ask("flows", limit)

    def flow(self, **wanted):
        """The newest flow with these fields; a reason needs only be part."""
        for flow in self.flows():
            if all(v in flow[k] if k == "reason" else flow[k] == v for k, v in wanted.items()):
                return flow
        return None

    def status(self):
        return self.ask("status")

    def memory_kib(self):
        """Resident; None under AddressSanitizer, which gives nothing back."""
        if "libasan" in open(f"/proc/{self.pid}/maps").read():
            return None
        for line in open(f"/proc/{self.pid}/status"):
            if line.startswith("VmRSS"):
                return int(line.split()[1])
        return 0

    def close(self):
        if self.process.poll() is None:
            self.process.stdin.close()
        return self.process.wait(20)


def peer_line(host, slot, name=None):
    return f"peer {host.name} slot {slot} addresses {host.ipv4} {host.ipv6} workloads {identity(name or host.name)}\n"


class Server:
    """A TCP server in a host's namespace: `serve(connection)` runs in a thread for each connection."""

    def __init__(self, host, port, serve, address=None):
        self.serve = serve
        self.accepted = 0
        address = address or host.ipv4
        with inside(host):
            self.socket = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.socket.bind((address, port))
            self.socket.listen(512)
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self.one, args=(connection,), daemon=True).start()

    def one(self, connection):
        with connection, contextlib.suppress(OSError):
            self.serve(connection)

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def connect(host, address, port, timeout=20):
    with inside(host):
        return socket.create_connection((address, port), timeout)


def read_all(connection):
    parts = []
    while part := connection.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)
