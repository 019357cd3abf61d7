#!/usr/bin/python3
"""The HTTPS layer alone: a pair of agents against a pair of nginx (stream module), mutual TLS 1.3 with AES-256-GCM, two hosts in namespaces,
the client captured transparently in both cases."""

import json
import pathlib
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE.parent / "netns"))

import measure  # noqa: E402
import topology  # noqa: E402
from fleet import Fleet  # noqa: E402

RUNS = 5
SECONDS = 4
BULK, ECHO = 5201, 7777
POLICY = """
version: 1
segments:
  client: {hosts: [client]}
  server: {hosts: [server]}
rules:
  - {name: bench, from: client, to: server, ports: [tcp/5201, tcp/7777], layers: [https]}
failsafe: []
"""


def make_certificates(folder):
    def openssl(*argv):
        topology.run("openssl", *argv, cwd=folder)

    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp384r1", "-nodes", "-keyout", "ca.key", "-out", "ca.pem",
            "-subj", "/CN=bench CA", "-days", "2")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp384r1", "-nodes", "-keyout", "leaf.key", "-out", "leaf.csr", "-subj", "/CN=leaf")
    openssl("x509", "-req", "-in", "leaf.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "leaf.pem", "-days", "2")


class Nginx:
    """client namespace: redirect -> nginx -> TLS -> nginx -> application."""

    def __init__(self, topo, folder):
        self.client, self.server = topo["client2"], topo["server2"]
        make_certificates(folder)
        servers = "".join(f"server {{ listen {15000 + n} ssl; proxy_pass {self.server.ipv4}:{port}; }}\n" for n, port in enumerate((BULK, ECHO)))
        tls = f"ssl_certificate {folder}/leaf.pem; ssl_certificate_key {folder}/leaf.key; ssl_client_certificate {folder}/ca.pem; ssl_verify_client on;" \
              " ssl_protocols TLSv1.3; ssl_conf_command Ciphersuites TLS_AES_256_GCM_SHA384; ssl_session_tickets off;"
        self.start(self.server, folder, "server", tls + servers)
        clients = "".join(f"server {{ listen {16000 + n}; proxy_pass {self.server.ipv4}:{15000 + n}; }}\n" for n in range(2))
        tls = f"proxy_ssl on; proxy_ssl_certificate {folder}/leaf.pem; proxy_ssl_certificate_key {folder}/leaf.key;" \
              f" proxy_ssl_trusted_certificate {folder}/ca.pem; proxy_ssl_verify on; proxy_ssl_name leaf; proxy_ssl_protocols TLSv1.3;" \
              " proxy_ssl_conf_command Ciphersuites TLS_AES_256_GCM_SHA384;"
        self.start(self.client, folder, "client", tls + clients)
        rules = "".join(f"ip daddr {self.server.ipv4} tcp dport {port} redirect to :{16000 + n}\n" for n, port in enumerate((BULK, ECHO)))
        self.client.run("nft", "-f", "-", input=f"table ip capture {{ chain output {{ type nat hook output priority -100;\n{rules}}}\n}}\n")

    @staticmethod
    def start(host, folder, name, body):
        path = folder / f"{name}.conf"
        module = "/usr/lib/nginx/modules/ngx_stream_module.so"
        load = f"load_module {module};" if pathlib.Path(module).exists() else ""
        path.write_text(f"{load} worker_processes 2; daemon off; pid {folder}/{name}.pid; error_log {folder}/{name}.log;\n"
                        f"events {{ worker_connections 8192; }}\nstream {{ tcp_nodelay on; {body} }}\n")
        host.start("nginx", "-p", folder, "-c", path, "-e", folder / f"{name}.log")


def applications(host):
    host.start("iperf3", "-s", "-B", host.ipv4, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    host.start("/usr/bin/python3", HERE / "exchange.py", "serve", host.ipv4, str(ECHO))


def measured(client, server):
    """One round of all metrics from one client to one server."""
    values = {}
    for metric, streams in (("bulk1", 1), ("bulk8", 8)):
        result = client.run("iperf3", "-c", server.ipv4, "-t", SECONDS, "-P", streams, "-J")
        values[metric] = json.loads(result.stdout)["end"]["sum_received"]["bits_per_second"] / 1e9
        time.sleep(0.5)
    for kind, amount in (("echo", 5000), ("connect", SECONDS)):
        values |= json.loads(client.run("/usr/bin/python3", HERE / "exchange.py", kind, server.ipv4, ECHO, amount).stdout)
    return values


def main():
    with tempfile.TemporaryDirectory(prefix="twofold-bench.") as name, \
            topology.Topology(["controller", "client", "server", "client2", "server2", "client3", "server3"]) as topo:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        fleet = Fleet(topo, folder / "fleet")
        fleet.start_controller()
        for host in ("client", "server"):
            fleet.enrol(host, {"role": host})
            fleet.start_agent(host)
        fleet.wait_connected(("client", "server"))
        (folder / "policy.yaml").write_text(POLICY)
        fleet.apply(folder / "policy.yaml")
        (folder / "nginx").mkdir(mode=0o755)
        Nginx(topo, folder / "nginx")
        for host in ("server", "server2", "server3"):
            applications(topo[host])
        time.sleep(1)
        contenders = {
            "twofold": lambda: measured(topo["client"], topo["server"]),
            "nginx": lambda: measured(topo["client2"], topo["server2"]),
            "plain veth": lambda: measured(topo["client3"], topo["server3"]),
        }
        try:
            values = measure.alternate(contenders, RUNS)
        finally:
            fleet.close()
        measure.report("https", {"bulk1": "Gb/s", "bulk8": "Gb/s", "echo_p50": "us", "echo_p99": "us", "new_flows": "1/s"}, values)


main()
