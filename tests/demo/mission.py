#!/usr/bin/python3
"""The demo's mission: a controller and four hosts, real applications between them, and each claim tried. Leaves in the folder that is
its argument what tests/demo/prove.py judges: mission.json, wire.pcapng, esp_sa, tls-secrets.log.

Needs root and a kernel with ESP; tests/demo/run sees to both.
"""

import concurrent.futures
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE.parent / "netns"))

import topology  # noqa: E402
from applications import Applications  # noqa: E402
from fleet import USERS, Fleet  # noqa: E402

HOSTS = ("web", "api", "db", "intruder")
ROTATIONS = 20
OUTAGE_SECONDS = 60
started = time.monotonic()


def say(text):
    print(f"[{time.monotonic() - started:5.1f} s] {text}", flush=True)


def tell(text):
    print(f"\n== {text}", flush=True)


def xfrm_errors(host):
    """The counters of dropped packets, without those that are zero."""
    lines = host.run("cat", "/proc/net/xfrm_stat").stdout.splitlines()
    return {name: int(value) for name, value in map(str.split, lines) if int(value)}


def difference(before, after):
    return {name: value - before.get(name, 0) for name, value in after.items() if value != before.get(name, 0)}


def sa_spis(host):
    """The SPIs of the SAs in the kernel, by (source, destination)."""
    found, pair = {}, None
    for line in host.ip("xfrm", "state").stdout.splitlines():
        words = line.split()
        if words[:1] == ["src"]:
            pair = (words[1], words[3])
        elif "spi" in words:
            found.setdefault(pair, set()).add(words[words.index("spi") + 1])
    return found


def pinned_sas(policies):
    """The SAs that outbound policies send with, as ((source, destination), SPI): peers may share an SPI."""
    found, pair = set(), None
    for line in policies.splitlines():
        words = line.split()
        if words[:1] == ["src"]:
            pair = (words[1].split("/")[0], words[3].split("/")[0])
        elif "spi" in words:
            spi = words[words.index("spi") + 1].split("(")[0]
            if int(spi, 16):
                found.add((pair, spi))
    return found


class Mission:
    def __init__(self, folder):
        self.folder = folder
        # Databases and recordings on the machine's own file system; what the proof needs is copied at the end.
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="twofold-demo."))
        os.chmod(self.scratch, 0o755)
        self.claims = []
        self.topology = topology.Topology(["controller", *HOSTS, "stranger"])
        self.fleet = None
        self.applications = None

    def claim(self, identifier, name, passed, figure, unit, **evidence):
        say(f"{'pass' if passed else 'FAIL'}  {name}: {figure} {unit}")
        self.claims.append({"id": identifier, "name": name, "pass": bool(passed), "figure": figure, "unit": unit, "evidence": evidence})

    def host(self, name):
        return self.topology[name]

    # ---- the story

    def run(self):
        tell("A controller, four hosts, one wire between them")
        self.set_up()
        tell("Default deny: nobody may talk to anybody")
        self.deny()
        tell("Explain: which rule is missing?")
        self.explain()
        tell("Allow: one policy, enforced on every host")
        self.allow()
        tell("The applications work, and the wire is recorded")
        self.work()
        tell("Refused: intruder, wrong port, plaintext, no certificate")
        self.refuse()
        tell(f"{ROTATIONS} rotations of keys under constant load")
        self.rotate()
        tell(f"The controller is killed for {OUTAGE_SECONDS} s, and an agent with SIGKILL")
        self.outage()
        tell("Two layers that share nothing")
        self.independence()
        tell("Revoke a host that has a live flow")
        self.revoke()

    def set_up(self):
        self.fleet = Fleet(self.topology, self.scratch / "fleet")
        self.fleet.start_controller()
        say("controller runs, with a network CA and a workload CA of its own")
        self.applications = Applications(self.topology, self.scratch / "applications",
                                         self.folder / "cluster" if (self.folder / "cluster").exists() else None)
        # Side by side: both wait a lot.
        with concurrent.futures.ThreadPoolExecutor() as pool:
            tasks = [pool.submit(self.applications.start), *(pool.submit(self.join, name) for name in HOSTS)]
            for task in tasks:
                task.result()
        self.fleet.wait_connected(HOSTS)
        say(f"{', '.join(HOSTS)} have joined, each with a token that pinned the controller's CA")
        say("PostgreSQL and Redis on db, an HTTP service on api, nginx on web, iperf3 on db")

    def join(self, name):
        self.fleet.enrol(name, {"role": name})
        self.fleet.start_agent(name, export=True)

    def deny(self):
        self.fleet.apply(HERE / "policy-empty.yaml")
        began = time.monotonic()
        answer = self.applications.get(self.host("web"), f"http://{self.host('api').ipv4}:8080/", 5)
        self.claim("default-deny", "web cannot reach api before a rule allows it", answer == "", round(time.monotonic() - began, 2), "s to the refusal")

    def explain(self):
        answer = json.loads(
            self.fleet.twofold("explain", "web", "api", "8080", "--json", check=False).stdout)
        say(answer["reason"])
        self.claim("explain", "explain says that and why web may not talk to api:8080", answer["allowed"] is False and answer["reason"], 1, "answer",
                   reason=answer["reason"])

    def allow(self):
        # From here on the wire is recorded: the mission's own traffic.
        self.capture = topology.Capture(self.topology, self.scratch / "wire.pcapng")
        answer = self.fleet.apply(HERE / "policy.yaml")
        applied = [r for r in answer["results"] if r["applied"]]
        self.claim("policy-change", "a policy change is enforced on all hosts: from apply to the last acknowledgement",
                   len(applied) == len(HOSTS), answer["elapsed_ms"], "ms", results=answer["results"])
        self.wait_up()

    def wait_up(self, names=("web", "api", "db")):
        def up():
            for name in names:
                status = self.fleet.local(name, "status", check=False)
                peers = status["agent"]["peers"] if status else []
                if not peers or not all(p["ipsec_up"] for p in peers if p["ipsec_needed"]):
                    return False
            return True
        topology.wait_until("all SA pairs are installed", up, 60, 0.5)

    def work(self):
        topology.wait_until("a visit passes nginx, the service, Redis and PostgreSQL", self.applications.visit, 60, 0.5)
        say("a visit through nginx, the HTTP service, Redis and PostgreSQL was answered")
        page = self.applications.get(self.host("api"), f"http://{self.host('web').ipv4}/page.html")
        page6 = self.applications.get(self.host("api"), f"http://[{self.host('web').ipv6}]/page.html")
        self.claim("applications", "nginx's page arrives whole, over IPv4 and IPv6", page == page6 and len(page) > 4000, len(page), "bytes")
        bench = self.host("api").run("pgbench", "-h", self.host("db").ipv4, "-U", "demo", "-c", "2", "-T", "5", "-n", "demo", check=False)
        rate = next((float(line.split()[2]) for line in bench.stdout.splitlines() if line.startswith("tps")), 0.0)
        self.claim("postgresql", "pgbench runs over both layers", bench.returncode == 0 and rate > 0, rate, "transactions/s")
        bulk = self.host("web").run("iperf3", "-c", self.host("db").ipv4, "-n", "16M", "-J", check=False, timeout=180)
        report = json.loads(bulk.stdout) if bulk.returncode == 0 else {}
        received = report.get("end", {}).get("sum_received", {})
        # The server stops counting when the client says that it has sent all, so some bytes of the 16 MiB are still on their way.
        self.claim("bulk", "iperf3's bulk flow runs over both layers", received.get("bytes", 0) > 4 << 20,
                   round(received.get("bits_per_second", 0) / 1e6, 1), "Mb/s (emulated or not, as the machine is)")
        flows = self.fleet.local("web", "flows")["flows"]
        both = [f for f in flows if f["verdict"] == "allowed" and f["ipsec"] and f["https"]]
        self.claim("flows", "flows name rule, identities and both layers", both and all(
            f["rule"] and f["source_identity"].startswith("spiffe://") and f["destination_identity"].startswith("spiffe://") for f in both),
            len(both), "flows in both layers", example=both[:1])
        # Every session's secrets and every SA's key up to here, then the recording ends.
        self.capture.stop()
        shutil.copyfile(self.scratch / "wire.pcapng", self.folder / "wire.pcapng")
        self.collect_secrets()

    def collect_secrets(self):
        for role, name in (("network", "esp_sa"), ("https", "tls-secrets.log")):
            lines = []
            for host in HOSTS:
                part = self.fleet.folder / "agents" / host / "export" / role / name
                if part.exists():
                    lines += part.read_text().splitlines()
            (self.folder / name).write_text("".join(f"{line}\n" for line in dict.fromkeys(lines)))

    def refused(self, host, **want):
        """A refused flow of the local agent that has these values, with a reason."""
        flows = (self.fleet.local(host, "flows", "--verdict", "refused", check=False) or {"flows": []})["flows"]
        for flow in flows:
            if flow["reason"] and all(str(value) in str(flow[key]) for key, value in want.items()):
                return flow
        return None

    def refuse(self):
        web, api, intruder, stranger = map(self.host, ("web", "api", "intruder", "stranger"))
        tried = []

        def attempt(what, argv_host, argv, where, **want):
            result = argv_host.run(*argv, check=False, timeout=60)
            try:
                flow = topology.wait_until(f"`flows` on {where} explains: {what}", lambda: self.refused(where, **want), 15, 0.5)
            except TimeoutError:
                flow = None
            tried.append({"what": what, "refused": result.returncode != 0, "reason": flow and flow["reason"], "on": where})
            say(f"{what}: {'refused' if result.returncode else 'NOT REFUSED'}; {where} says: {flow and flow['reason']}")

        curl = ["curl", "-sS", "--max-time", "4"]
        attempt("the intruder asks api", intruder, [*curl, f"http://{api.ipv4}:8080/"], "intruder", destination=f"{api.ipv4}:8080")
        attempt("web asks a port that no rule names", web, [*curl, f"http://{api.ipv4}:9999/"], "web", destination=f"{api.ipv4}:9999")
        # A host that has thrown its agent's rules away sends plaintext.
        self.fleet.stop_agent("intruder", signal.SIGKILL)
        intruder.run("nft", "flush", "ruleset")
        intruder.ip("xfrm", "policy", "flush")
        attempt("plaintext straight to api's port", intruder, [*curl, f"http://{api.ipv4}:8080/"], "api", source=intruder.ipv4)
        attempt("a stranger opens a tunnel without IPsec", stranger, [*curl, "-k", f"https://{api.ipv4}:15008/"], "api", source=stranger.ipv4)
        attempt("a client without a certificate on 15008", web,
                ["setpriv", "--reuid", str(USERS["https"]), "--clear-groups", *curl, "-k", "--http2", f"https://{api.ipv4}:15008/"], "api",
                source=web.ipv4, reason="certificate")
        self.claim("refusals", "what no rule allows is refused, and flows says why", all(t["refused"] and t["reason"] for t in tried),
                   sum(bool(t["refused"] and t["reason"]) for t in tried), f"of {len(tried)} refused and explained", attempts=tried)

    def load(self, host, *argv):
        return host.start("/usr/bin/python3", HERE / "load.py", *argv, stdout=subprocess.PIPE)

    @staticmethod
    def finish(process):
        topology.stop(process, signal.SIGTERM, 45)
        text = process.stdout.read()
        return json.loads(text) if text.strip() else {}

    def start_load(self):
        web, db = self.host("web"), self.host("db")
        receivers = [self.load(db, "udp-receive", db.ipv4, "9000"), self.load(db, "tcp-receive", db.ipv4, "9001")]
        for receiver in receivers:
            if receiver.stdout.readline().strip() != "ready":
                raise RuntimeError("a load receiver did not start")
        return receivers, [self.load(web, "udp-send", db.ipv4, "9000", "200"), self.load(web, "tcp-send", db.ipv4, "9001", "100")]

    def end_load(self, receivers, senders):
        udp_sent, tcp_sent = [self.finish(s) for s in senders]
        time.sleep(1)
        udp, tcp = [self.finish(r) for r in receivers]
        lost = udp_sent.get("sent", 0) - udp.get("received", -1)
        return {"lost": lost, "duplicated": udp.get("duplicated", -1), "udp": {**udp_sent, **udp}, "tcp": {**tcp_sent, **tcp},
                "tcp_whole": tcp_sent.get("sent", -1) == tcp.get("received", -2) and tcp.get("out_of_order") == 0}

    def rekeys(self, name):
        status = self.fleet.local(name, "status", check=False)
        counters = self.roles(status)["network"]["counters"] if status else []
        return next((int(c["value"]) for c in counters if c["name"] == "keying.rekeys_done"), 0)

    @staticmethod
    def roles(status):
        return {role["role"]: role for role in status["agent"]["roles"]}

    def rotate(self):
        self.fleet.apply(HERE / "policy-rotation.yaml")
        self.wait_up()
        time.sleep(2)
        before = {name: xfrm_errors(self.host(name)) for name in ("web", "db")}
        spis, count = set(), self.rekeys("web")
        load = self.start_load()
        pair = (self.host("web").ipv4, self.host("db").ipv4)
        end = time.monotonic() + 8 * ROTATIONS
        # Each rotation of the pair shows as an outbound SPI that was not there before.
        while time.monotonic() < end and len(spis) <= ROTATIONS:
            spis |= sa_spis(self.host("web")).get(pair, set())
            time.sleep(0.5)
        outcome = self.end_load(*load)
        drops = {name: difference(before[name], xfrm_errors(self.host(name))) for name in before}
        done = len(spis) - 1
        self.claim("rotation-loss", f"packets lost in {done} rotations under constant UDP load",
                   done >= ROTATIONS and outcome["lost"] == 0 and outcome["udp"].get("sent", 0) > 1000, outcome["lost"], "packets",
                   rotations=done, rekeys_counted=self.rekeys("web") - count, **outcome["udp"])
        self.claim("rotation-duplicates", "packets duplicated meanwhile", outcome["duplicated"] == 0, outcome["duplicated"], "packets")
        self.claim("rotation-tcp", "the TCP flow arrived whole and in order meanwhile", outcome["tcp_whole"], outcome["tcp"].get("received", 0),
                   "KiB", **outcome["tcp"])
        self.claim("rotation-xfrm-stat", "the kernel's IPsec error counters grew by", not any(drops.values()),
                   sum(sum(d.values()) for d in drops.values()), "errors", deltas=drops)

    def outage(self):
        web, api, db = map(self.host, ("web", "api", "db"))
        load = self.start_load()
        stream = web.start("curl", "-sN", f"http://{web.ipv4}/stream", stdout=open(self.scratch / "stream.txt", "w"))
        time.sleep(2)
        self.fleet.stop_controller(signal.SIGKILL)
        gone = time.monotonic()
        say("controller killed")
        visits = [self.applications.visit()]
        lines = self.stream_lines()

        # An agent dies. Its IPsec layer goes on, nothing opens; it comes back without a controller and adopts its SAs.
        self.fleet.stop_agent("db", signal.SIGKILL)
        topology.wait_until("db's agent is gone", lambda: not self.fleet.local("db", "status", check=False), 10)
        say("db's agent killed")
        spis = sa_spis(db)
        policies = db.ip("xfrm", "policy").stdout
        time.sleep(3)
        # From web, which a rule lets reach other ports of db, and from the intruder, whose own agent is gone too.
        opened = [(host.name, port) for host in (web, self.host("intruder")) for port in (22, 5432, 6379)
                  if host.run("nc", "-z", "-w", "2", db.ipv4, port, check=False).returncode == 0]
        kept = sa_spis(db) == spis and db.ip("xfrm", "policy").stdout == policies
        self.fleet.start_agent("db", export=True)
        topology.wait_until("db's agent serves again", lambda: self.fleet.local("db", "status", check=False), 60, 0.5)
        adopted = {(pair, spi) for pair, held in sa_spis(db).items() for spi in held}
        sending = pinned_sas(policies)
        topology.wait_until("api reaches db again", lambda: self.applications.visit(10), 60, 1)
        back = time.monotonic() - gone
        self.claim("agent-killed", "an agent killed with SIGKILL: nothing opened, SAs and policies stayed", kept and not opened, len(opened),
                   "ports opened", opened=opened)
        self.claim("agent-adopts", "after its restart the SAs are adopted", len(sending) >= 2 and sending <= adopted,
                   len(sending & adopted), f"of {len(sending)} sending SAs adopted")
        say("the TCP flow to db ended with its agent, the UDP flow and the flow between web and api went on")
        say(f"db serves flows again {back:.0f} s into the controller's absence")
        while time.monotonic() < gone + OUTAGE_SECONDS:
            visits.append(self.applications.visit())
            time.sleep(4)
        more = self.stream_lines()
        self.fleet.start_controller()
        self.fleet.wait_connected(("web", "api", "db"))
        outcome = self.end_load(*load)
        topology.stop(stream)
        self.claim("controller-killed", f"controller away for {OUTAGE_SECONDS} s: new flows worked", all(visits), sum(visits), f"of {len(visits)} visits",
                   visits=visits)
        self.claim("controller-killed-flows", "the live flow web-api went on meanwhile", more > lines + 100, more - lines, "lines streamed")
        self.claim("controller-killed-loss", "UDP packets lost meanwhile, the agent's death included", outcome["lost"] == 0, outcome["lost"],
                   "packets", **outcome["udp"])

    def stream_lines(self):
        return (self.scratch / "stream.txt").read_text().count("tick")

    def independence(self):
        status = self.fleet.local("api", "status")
        roles, warnings = self.roles(status), status["agent"]["warnings"]
        network, https = roles["network"], roles["https"]
        facts = {}
        for what, key in (("CAs", "ca_sha384"), ("keys", "key_sha384"), ("uids", "uid"), ("processes", "pid"), ("cipher implementations", "cipher_code")):
            facts[what] = {"ipsec": network[key], "https": https[key], "differ": network[key] != https[key] and bool(network[key] and https[key])}
        # What the kernel says of the two processes, beside what they say of themselves.
        for layer, role in (("ipsec", network), ("https", https)):
            text = pathlib.Path(f"/proc/{role['pid']}/status").read_text()
            facts["processes"][f"{layer}_proc_uid"] = int(next(l for l in text.splitlines() if l.startswith("Uid:")).split()[1])
            facts["processes"][f"{layer}_seccomp"] = int(next(l for l in text.splitlines() if l.startswith("Seccomp:")).split()[1])
            facts["processes"][f"{layer}_capabilities"] = next(l for l in text.splitlines() if l.startswith("CapEff:")).split()[1]
        process = facts["processes"]
        proven = process["ipsec_proc_uid"] == network["uid"] and process["https_proc_uid"] == https["uid"] and int(process["https_capabilities"], 16) == 0 \
            and process["ipsec_seccomp"] == process["https_seccomp"] == 2
        for what, fact in facts.items():
            say(f"{what}: IPsec {str(fact['ipsec'])[:40]}, HTTPS {str(fact['https'])[:40]}")
        self.claim("independence", "the layers share no CA, key, uid, process or cipher code", proven and all(f["differ"] for f in facts.values()),
                   sum(f["differ"] for f in facts.values()), f"of {len(facts)} separate", facts=facts)
        self.claim("secrets-shown", "status shows that this run exports its secrets", any(r.get("secrets_exported") for r in roles.values()), 1, "warning",
                   warnings=warnings)

    def revoke(self):
        web, api, db = map(self.host, ("web", "api", "db"))
        stream = web.start("curl", "-sN", f"http://{api.ipv4}:8080/stream", stdout=subprocess.PIPE)
        time.sleep(2)
        live = stream.poll() is None
        ended = {}

        def watch():
            until = time.time() + 40
            while time.time() < until and len(ended) < 2:
                if "flow" not in ended and stream.poll() is not None:
                    ended["flow"] = time.time()
                if "sas" not in ended and not any(web.ipv4 in pair or web.ipv6 in pair for host in (api, db) for pair in sa_spis(host)):
                    ended["sas"] = time.time()
                time.sleep(0.02)

        threads = [threading.Thread(target=watch), threading.Thread(target=stream.stdout.read)]
        for thread in threads:
            thread.start()
        self.fleet.twofold("revoke", "web", "--reason", "the demo says so")
        threads[0].join()
        # The clock starts when the controller has recorded it.
        recorded = max(e["time_ms"] for e in self.fleet.ask("audit")["entries"] if e["action"] == "host.revoke") / 1000
        flow_s, sas_s = (ended.get(what, recorded + 99) - recorded for what in ("flow", "sas"))
        topology.stop(stream)
        threads[1].join()
        refused = self.applications.get(web, f"http://{api.ipv4}:8080/", 4) == ""
        self.claim("revocation", "revoking a host ends its live flows and SAs", live and refused and max(flow_s, sas_s) <= 2, round(max(flow_s, sas_s), 2), "s",
                   flow_s=round(flow_s, 2), sas_s=round(sas_s, 2))

    # ---- the end

    def save(self):
        hosts = [{"name": n, "addresses": [self.host(n).ipv4, self.host(n).ipv6]} for n in ("controller", *HOSTS)]
        (self.folder / "mission.json").write_text(json.dumps({"hosts": hosts, "claims": self.claims}, indent=1))

    def close(self):
        if self.fleet:
            self.fleet.close()
        self.topology.close()
        for log in [*self.scratch.glob("*/*.log"), *self.scratch.glob("*.log")]:
            shutil.copyfile(log, self.folder / log.name)
        shutil.rmtree(self.scratch, ignore_errors=True)


def main():
    mission = Mission(pathlib.Path(sys.argv[1]).resolve())
    try:
        mission.run()
    except (RuntimeError, TimeoutError, subprocess.SubprocessError) as error:
        mission.claim("mission", f"the mission ran to its end ({str(error)[:400]})", False, len(mission.claims), "claims tried before")
    finally:
        mission.save()
        mission.close()


signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
main()
