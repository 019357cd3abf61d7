#!/usr/bin/python3
"""Judges the demo's recording with somebody else's code (tshark) and writes report.json: what was on the wire, what is inside ESP, what is
inside TLS. Exit status 1 when a claim failed.

prove.py FOLDER     FOLDER holds mission.json, wire.pcapng, esp_sa, tls-secrets.log
"""

import collections
import ipaddress
import json
import os
import pathlib
import subprocess
import sys

sys.dont_write_bytecode = True

PAGE = "Twofold demo page: these bytes crossed the wire inside two encryptions."
TUNNEL_PORT = "15008"
CONTROL_PORT = "7443"
ND_TYPES = {"133", "134", "135", "136", "137", "143"}


class Recording:
    def __init__(self, folder):
        self.folder = folder
        # tshark reads its table of SAs from a configuration folder.
        profile = folder / "tshark/wireshark"
        profile.mkdir(parents=True, exist_ok=True)
        (profile / "esp_sa").write_text((folder / "esp_sa").read_text())

    def fields(self, names, *options, condition=None):
        # Two passes (-2), so that a segment knows the record that it becomes a part of.
        argv = ["tshark", "-n", "-2", "-r", self.folder / "wire.pcapng", "-T", "fields", "-E", "occurrence=a", "-E", "aggregator=,"]
        for name in names:
            argv += ["-e", name]
        if condition:
            argv += ["-Y", condition]
        environment = {**os.environ, "XDG_CONFIG_HOME": str(self.folder / "tshark")}
        result = subprocess.run([*map(str, argv), *options], capture_output=True, text=True, env=environment, timeout=600)
        if result.returncode != 0:
            sys.exit(f"prove: tshark failed: {result.stderr.strip()}")
        for line in result.stdout.splitlines():
            yield dict(zip(names, (line.split("\t") + [""] * len(names))[:len(names)]))

    READ_ESP = ["-o", "esp.enable_encryption_decode:TRUE", "-d", f"tcp.port=={TUNNEL_PORT},tls"]
    DECODE_ESP = [*READ_ESP, "-o", "tcp.reassemble_out_of_order:TRUE"]
    # Around a retransmission either way of putting segments together loses packets, which ones is a matter of tshark's version.
    READINGS = [DECODE_ESP, [*READ_ESP, "-o", "tcp.reassemble_out_of_order:FALSE"]]

    def decode_tls(self):
        return [*self.DECODE_ESP, "-o", f"tls.keylog_file:{self.folder / 'tls-secrets.log'}"]


def kind(frame, controller):
    """What a frame of the underlay is, by name."""
    if frame["arp.opcode"]:
        return "ARP"
    if set(frame["icmpv6.type"].split(",")) & ND_TYPES:
        return "IPv6 neighbour discovery"
    if frame["esp.spi"]:
        return "ESP"
    ends = {frame["ip.src"], frame["ip.dst"], frame["ipv6.src"], frame["ipv6.dst"]}
    ports = {frame["tcp.srcport"], frame["tcp.dstport"]}
    if ends & controller and CONTROL_PORT in ports:
        return "control channel"
    return "other"


def judge_wire(recording, controller):
    names = ["arp.opcode", "icmpv6.type", "esp.spi", "ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "tcp.srcport", "tcp.dstport", "frame.protocols"]
    counts, others = collections.Counter(), []
    for frame in recording.fields(names):
        name = kind(frame, controller)
        counts[name] += 1
        if name == "other":
            others.append(frame["frame.protocols"])
    return {"id": "wire-esp-only", "name": "packets between the hosts that are not ESP, ARP, neighbour discovery or the control channel",
            "pass": counts["ESP"] > 100 and not others, "figure": len(others), "unit": "packets",
            "evidence": {"counts": dict(counts), "others": collections.Counter(others).most_common(10)}}


def inside_esp(frame):
    """What a frame of the underlay holds inside ESP, by name."""
    protocols = frame["frame.protocols"].split(":")
    inside = protocols[protocols.index("esp") + 1:]
    if not inside or inside[0] != "tcp" or TUNNEL_PORT not in frame["tcp.port"].split(","):
        return f"other: {':'.join(inside) or 'not decrypted'}"
    if frame["tcp.len"] == "0":
        return "TCP without payload"
    if frame["tls.ignored_unknown_record"]:
        return "other: no TLS record"
    if "tls" in inside or frame["tcp.reassembled_in"] or frame["tcp.segment"] or frame["tcp.analysis.flags"]:
        return "TLS"
    return f"other: {':'.join(inside)}"


def judge_inside_esp(recording):
    names = ["frame.number", "frame.protocols", "tcp.port", "tcp.len", "tcp.reassembled_in", "tcp.segment", "tcp.analysis.flags",
             "tls.ignored_unknown_record"]
    found = {}
    for reading in recording.READINGS:
        for frame in recording.fields(names, *reading, condition="esp"):
            number = frame["frame.number"]
            if found.get(number, "other").startswith("other"):
                found[number] = inside_esp(frame)
    counts = collections.Counter(found.values())
    hellos = [f["tls.handshake.extensions.supported_version"] for f in recording.fields(
        ["tls.handshake.extensions.supported_version"], *recording.DECODE_ESP, condition="tls.handshake.type == 2")]
    other = sum(count for name, count in counts.items() if name.startswith("other"))
    return {"id": "inside-esp-tls13-only", "name": "packets inside ESP that are not TLS 1.3, by tshark with the SA keys",
            "pass": counts["TLS"] > 0 and not other and hellos and all(h == "0x0304" for h in hellos), "figure": other, "unit": "packets",
            "evidence": {"counts": dict(counts), "tls13_handshakes": len(hellos)}}


def judge_inside_tls(recording):
    connects = collections.Counter()
    for frame in recording.fields(["http2.headers.authority"], *recording.decode_tls(), condition='http2.headers.method == "CONNECT"'):
        connects.update(frame["http2.headers.authority"].split(","))
    wanted = PAGE.encode().hex()
    found = sum(wanted in frame["http2.data.data"].replace(":", "").replace(",", "")
                for frame in recording.fields(["http2.data.data"], *recording.decode_tls(), condition="http2.data.data"))
    return [
        {"id": "inside-tls-connect", "name": "CONNECT requests inside TLS, by tshark with the TLS secrets", "pass": sum(connects.values()) > 0,
         "figure": sum(connects.values()), "unit": "requests", "evidence": {"authorities": dict(connects)}},
        {"id": "inside-tls-page", "name": "frames with the bytes of nginx's page inside both encryptions", "pass": found > 0, "figure": found,
         "unit": "frames", "evidence": {}},
    ]


def main():
    folder = pathlib.Path(sys.argv[1]).resolve()
    mission = json.loads((folder / "mission.json").read_text())
    controller = {str(ipaddress.ip_address(a)) for h in mission["hosts"] if h["name"] == "controller" for a in h["addresses"]}
    claims = mission["claims"]
    if (folder / "wire.pcapng").exists() and (folder / "esp_sa").exists():
        recording = Recording(folder)
        proofs = [judge_wire(recording, controller), judge_inside_esp(recording), *judge_inside_tls(recording)]
        for claim in proofs:
            claim["pass"] = bool(claim["pass"])
        claims = proofs + claims
    else:
        claims.insert(0, {"id": "wire-esp-only", "name": "there is a recording of the wire", "pass": False, "figure": 0, "unit": "packets"})
    hosts = [h for h in mission["hosts"] if h["name"] != "controller"]
    (folder / "report.json").write_text(json.dumps({"hosts": hosts, "claims": claims, "controller": sorted(controller)}, indent=1))
    print("\n== Proven")
    for claim in claims:
        print(f"{'pass' if claim['pass'] else 'FAIL'}  {claim['id']:24} {claim['name']}: {claim['figure']} {claim['unit']}")
    failed = [c for c in claims if not c["pass"]]
    print(f"\n{len(claims) - len(failed)} claims pass, {len(failed)} fail; the evidence is in {folder / 'report.json'}")
    sys.exit(1 if failed else 0)


main()
