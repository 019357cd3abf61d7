"""network roles in namespaces without the rest of the agent: tests/netns/network_host.c plays their control and https roles, and this
module the controller, which relays bundles and acknowledgements."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import threading
import time

import topology
from topology import wait_until

TOP = pathlib.Path(__file__).resolve().parents[2]
CONTROL_UID, NETWORK_UID, HTTPS_UID = 64101, 64102, 64103


def program():
    """The driver, built by `make netns-programs`."""
    return os.environ.get("NETWORK_HOST", str(TOP / "build/obj/cc/netns/network_host"))


class Relay:
    """The controller's part: passes what roles say to the others, unless it is down."""

    def __init__(self):
        self.roles = {}
        self.up = True
        self.passed = 0

    def say(self, sender, message):
        if not self.up:
            return
        for name, role in list(self.roles.items()):
            if name != sender:
                self.passed += 1
                role.tell("message", message)


class Role:
    """The network role of one host, under a uid of its own with CAP_NET_ADMIN alone."""

    def __init__(self, host, slot, folder, ca, relay, export=None):
        self.host = host
        self.slot = slot
        self.folder = pathlib.Path(folder)
        self.export = export
        self.relay = relay
        self.log_path = f"{folder}.log"
        self.generation = 0
        self.sas = {}
        self.process = None
        self.asking = threading.Lock()
        topology.run(program(), "issue", ca, self.folder, host.name, slot, f"{host.ipv4},{host.ipv6}")
        for path in [self.folder, *self.folder.iterdir()]:
            shutil.chown(path, NETWORK_UID, NETWORK_UID)
        if export:
            os.makedirs(export, exist_ok=True)
            shutil.chown(export, NETWORK_UID, NETWORK_UID)
        self.start()

    def start(self):
        self.answers = []
        self.changed = threading.Condition()
        self.ended = False
        with open(self.log_path, "a") as log:
            self.process = self.host.start(
                "setpriv", "--reuid", NETWORK_UID, "--regid", NETWORK_UID, "--clear-groups", "--inh-caps", "-all,+net_admin",
                "--ambient-caps", "-all,+net_admin", "--bounding-set", "-all,+net_admin", "--no-new-privs",
                program(), "run", self.folder, CONTROL_UID, HTTPS_UID, self.export or "-",
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        self.reader = threading.Thread(target=self.read, args=(self.process,), daemon=True)
        self.reader.start()
        self.relay.roles[self.host.name] = self
        self.status()  # it serves: the floor, or what was there before, is in force

    def read(self, process):
        for line in process.stdout:
            value = json.loads(line)
            if "message" in value:
                self.relay.say(self.host.name, value["message"])
                continue
            with self.changed:
                if "sas" in value:
                    self.sas = value["sas"]
                else:
                    self.answers.append(value["answer"])
                self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def tell(self, *words):
        try:
            self.process.stdin.write(" ".join(map(str, words)) + "\n")
            self.process.stdin.flush()
        except (BrokenPipeError, ValueError):
            pass

    def ask(self, *words, seconds=60):
        with self.asking, self.changed:
            self.tell(*words)
            if not self.changed.wait_for(lambda: self.answers or self.ended, seconds) or not self.answers:
                raise RuntimeError(f"{self.host.name}: no answer to {words}\n{self.log()[-3000:]}")
            return self.answers.pop(0)

    def log(self):
        return open(self.log_path).read()

    def slice(self, text, rekey=3600):
        """Commits a slice; `text` has the lines behind the first one. The role's answer."""
        self.generation += 1
        path = f"{self.folder}.slice"
        with open(path, "w") as file:
            file.write(f"slice {self.host.name} generation {self.generation} trust-domain example.org rekey {rekey}"
                       f" independence reported\n{text}")
        return self.ask("slice", path)

    def status(self):
        return self.ask("status")

    def flows(self, limit=100):
        return self.ask("flows", limit)

    def flow(self, **wanted):
        for flow in self.flows():
            if all(v in flow[k] for k, v in wanted.items()):
                return flow
        return None

    def end(self, how="quit"):
        """The role's process ends; the kernel keeps what it holds."""
        self.relay.roles.pop(self.host.name, None)
        self.tell(how)
        self.process.wait(30)

    def policies(self):
        return self.host.ip("xfrm", "policy").stdout

    def states(self):
        return self.host.ip("xfrm", "state").stdout

    def spis(self):
        return sorted(re.findall(r"spi (0x[0-9a-f]+)", self.states()))

    def table(self):
        return self.host.run("nft", "list", "table", "inet", "twofold", check=False).stdout

    def xfrm_stat(self):
        text = self.host.run("cat", "/proc/net/xfrm_stat").stdout
        return {name: int(value) for name, value in (line.split() for line in text.splitlines())}


def peer(host, slot):
    return f"peer {host.name} slot {slot} addresses {host.ipv4} {host.ipv6} workloads spiffe://example.org/ns/default/sa/{host.name}\n"


def connect(host, address, port, seconds=3, uid=None):
    """"connected", or the name of the errno, as a program in the namespace finds it."""
    code = ("import socket,errno,sys\n"
            "try:\n"
            f"  s=socket.create_connection(({address!r},{port}),timeout={seconds}); print('connected')\n"
            "except OSError as e: print(errno.errorcode.get(e.errno,'timeout') if e.errno else 'timeout')\n")
    argv = ["python3", "-c", code]
    if uid is not None:
        argv = ["setpriv", "--reuid", uid, "--clear-groups", *argv]
    return host.run(*argv).stdout.strip()


def listen(host, port, both=True):
    """A listener that greets, on both families or on the loopback addresses."""
    addresses = [host.ipv4, host.ipv6] if both else ["127.0.0.1", "::1"]
    code = ("import socket,threading,sys\n"
            "def go(a):\n"
            "  s=socket.socket(socket.AF_INET6 if ':' in a else socket.AF_INET); s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1)\n"
            f"  s.bind((a,{port})); s.listen()\n"
            "  while True:\n"
            "    c,p=s.accept(); c.sendall(b'hello\\n'); c.close()\n"
            f"for a in {addresses!r}: threading.Thread(target=go,args=(a,)).start()\n"
            "print('listening',flush=True)\n")
    process = host.start("python3", "-c", code, stdout=subprocess.PIPE)
    process.stdout.readline()
    return process


def check(condition, text):
    if not condition:
        raise AssertionError(text)


def run_cases(cases, make_stage, names):
    """Each case with a stage of its own; prints one line each and the counts. The exit status."""
    passed = failed = 0
    for function in cases:
        if names and function.__name__ not in names:
            continue
        begin = time.monotonic()
        stage = make_stage()
        try:
            function(stage)
            passed += 1
            print(f"ok   {function.__name__} ({time.monotonic() - begin:.1f} s)", flush=True)
        except Exception as error:
            failed += 1
            print(f"FAIL {function.__name__}: {type(error).__name__}: {error}", flush=True)
            stage.explain()
        finally:
            stage.close()
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0
