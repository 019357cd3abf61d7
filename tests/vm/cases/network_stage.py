"""Two network roles with SAs between them, for the lab's cases: runs inside the lab (tests/vm/run)."""

import os
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "netns"))
import topology  # noqa: E402
from network_hosts import Relay, Role, check, peer, program  # noqa: E402
from topology import wait_until  # noqa: E402

PATIENCE = 120  # emulated
BOTH = ("rule app out ports tcp/8080 udp/9000 layers ipsec peers api\n", "rule app in ports tcp/8080 udp/9000 layers ipsec peers web\n")


class Stage:
    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="tf-network-")
        base = pathlib.Path(self.folder.name)
        os.chmod(base, 0o755)
        self.base = base
        self.hosts = topology.Topology(["web", "api", "other"])
        self.web_host, self.api_host, self.other = self.hosts["web"], self.hosts["api"], self.hosts["other"]
        topology.run(program(), "ca", base / "ca")
        self.relay = Relay()
        self.web = Role(self.web_host, 1, base / "web", base / "ca", self.relay, export=base / "web-export")
        self.api = Role(self.api_host, 2, base / "api", base / "ca", self.relay)

    def rules(self, web, api, rekey=3600):
        for role, far, text in ((self.web, self.api, web), (self.api, self.web, api)):
            answer = role.slice(peer(far.host, far.slot) + text if text else "", rekey)
            check(answer["ok"], answer)

    def up(self):
        wait_until("the pair is up on both", lambda: "api" in self.web.sas and "web" in self.api.sas, PATIENCE)

    def explain(self):
        for role in (self.web, self.api):
            print(role.log()[-3000:])
            print({k: v for k, v in role.xfrm_stat().items() if v})
            print(role.host.ip("xfrm", "state", "list", "nokeys").stdout.replace(" 00000000", ""))

    def close(self):
        self.hosts.close()
        self.folder.cleanup()


def deltas(before, after):
    return {k: v - before[k] for k, v in after.items() if v != before[k]}
