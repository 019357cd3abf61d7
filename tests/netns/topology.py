"""Hosts as network namespaces on one underlay: a bridge in a namespace of its own, a veth pair to each host.

Names carry a prefix of this process, so that several topologies live side by side; close() removes all of it.
"""

import os
import signal
import subprocess
import time


def run(*argv, check=True, **options):
    """Runs a command to its end; its output is in the result as text."""
    options.setdefault("timeout", 120)
    result = subprocess.run([str(a) for a in argv], capture_output=True, text=True, **options)
    if check and result.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, argv))}: exit {result.returncode}\n{result.stdout}{result.stderr}")
    return result


class Host:
    """One namespace with one interface, `eth0`, on the underlay."""

    def __init__(self, topology, name, number):
        self.name = name
        self.namespace = f"{topology.prefix}-{name}"
        self.ipv4 = f"192.0.2.{number}"
        self.ipv6 = f"2001:db8::{number}"
        self.processes = []
        run("ip", "netns", "add", self.namespace)
        # Not more than 15 bytes; the process id keeps it unique.
        outer = f"v{os.getpid() % 1000000}n{number}"
        run("ip", "link", "add", outer, "netns", topology.underlay, "type", "veth", "peer", "name", "eth0", "netns", self.namespace)
        run("ip", "-n", topology.underlay, "link", "set", outer, "master", "br0", "up")
        self.ip("link", "set", "lo", "up")
        self.run("sysctl", "-qw", "net.ipv6.conf.eth0.accept_dad=0", "net.ipv6.conf.eth0.accept_ra=0", check=False)
        self.ip("link", "set", "eth0", "up")
        self.ip("addr", "add", f"{self.ipv4}/24", "dev", "eth0")
        self.ip("addr", "add", f"{self.ipv6}/64", "dev", "eth0", "nodad")

    def ip(self, *argv):
        return run("ip", "-n", self.namespace, *argv)

    def argv(self, *argv):
        return ["ip", "netns", "exec", self.namespace, *map(str, argv)]

    def run(self, *argv, **options):
        return run(*self.argv(*argv), **options)

    def start(self, *argv, **options):
        """Starts a process in a session of its own; close() ends it."""
        process = subprocess.Popen(self.argv(*argv), start_new_session=True, text=True, **options)
        self.processes.append(process)
        return process

    def close(self):
        for process in self.processes:
            stop(process)
        # What has left its session: everything that still lives in the namespace.
        for pid in run("ip", "netns", "pids", self.namespace, check=False).stdout.split():
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                pass
        run("ip", "netns", "del", self.namespace, check=False)


def stop(process, how=signal.SIGTERM, patience=5):
    """Ends a process and its session, and waits for it."""
    for number in (how, signal.SIGKILL):
        if process.poll() is not None:
            break
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            pass
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
    return process.returncode


def wait_until(what, condition, seconds=30, every=0.1):
    """Polls until the condition is true and returns its value; raises with `what` when time is up."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds} s in vain until {what}")
        time.sleep(every)


class Topology:
    def __init__(self, names, first_number=10):
        self.prefix = f"tf{os.getpid()}"
        self.underlay = f"{self.prefix}-underlay"
        self.hosts = {}
        run("ip", "netns", "add", self.underlay)
        try:
            run("ip", "-n", self.underlay, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
            run("ip", "-n", self.underlay, "link", "set", "lo", "up")
            run("ip", "netns", "exec", self.underlay, "sysctl", "-qw", "net.ipv6.conf.br0.disable_ipv6=1", check=False)
            run("ip", "-n", self.underlay, "link", "set", "br0", "up", "promisc", "on")
            for number, name in enumerate(names, first_number):
                self.hosts[name] = Host(self, name, number)
        except BaseException:
            self.close()
            raise

    def __getitem__(self, name):
        return self.hosts[name]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for host in self.hosts.values():
            host.close()
        run("ip", "netns", "del", self.underlay, check=False)


class Capture:
    """What crosses the underlay, each frame once, as pcapng."""

    def __init__(self, topology, path):
        self.path = path
        self.log = open(f"{path}.log", "w+")
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", topology.underlay, "dumpcap", "-q", "-i", "br0", "-B", "64", "-w", str(path)],
            stderr=self.log, start_new_session=True)
        wait_until("the capture runs", lambda: os.path.exists(path) and os.path.getsize(path) > 0, 60)

    def stop(self):
        # A little time for what is still in the ring.
        time.sleep(0.5)
        stop(self.process, signal.SIGINT, 20)
        self.log.close()
