"""A controller and agents on a topology: started, enrolled, asked and ended as an operator would."""

import json
import os
import pathlib
import signal

import topology

TOP = pathlib.Path(__file__).resolve().parents[2]
# Role users by number, so that no account has to be made on the machine. Agents of several namespaces share them.
USERS = {"control": 64101, "network": 64102, "https": 64103}


class Fleet:
    """`folder` gets all state and logs: controller/, agents/HOST/, HOST.log."""

    def __init__(self, topo, folder, controller="controller", trust_domain="example.org", binaries=None):
        self.topology = topo
        self.folder = pathlib.Path(folder)
        self.bin = pathlib.Path(binaries or os.environ.get("TWOFOLD_BIN") or TOP / "build/bin")
        self.controller_host = topo[controller]
        self.endpoint = f"{self.controller_host.ipv4}:7443"
        self.state = self.folder / "controller"
        self.agents = {}
        self.controller = None
        self.folder.mkdir(parents=True, exist_ok=True)
        # The role users walk through these.
        os.chmod(self.folder, 0o755)
        topology.run(self.bin / "twofold-controller", "init", "--state", self.state, "--trust-domain", trust_domain,
                     "--listen", self.endpoint, "--name", "main")

    def start_controller(self):
        log = open(self.folder / "controller.log", "a")
        self.controller = self.controller_host.start(
            self.bin / "twofold-controller", "run", "--state", self.state, stderr=log)
        log.close()
        topology.wait_until("the controller answers", lambda: self.twofold("hosts", check=False).returncode == 0, 60, 0.2)

    def stop_controller(self, how=signal.SIGTERM):
        topology.stop(self.controller, how)

    def twofold(self, *argv, **options):
        """The command as an administrator runs it, beside the controller."""
        return self.controller_host.run(self.bin / "twofold", *argv, env={**os.environ, "TWOFOLD_CREDENTIALS": str(self.state / "admin")},
                                        **options)

    def ask(self, *argv, **options):
        return json.loads(self.twofold(*argv, "--json", **options).stdout)

    def token(self, name, labels, addresses):
        arguments = ["token", "create", "--host", name]
        for key, value in labels.items():
            arguments += ["--label", f"{key}={value}"]
        for address in addresses:
            arguments += ["--address", address]
        return self.ask(*arguments)["token"]

    def enrol(self, name, labels, addresses=None):
        host = self.topology[name]
        folder = self.folder / "agents" / name
        (folder / "run").mkdir(parents=True)
        token = self.token(name, labels, addresses or [host.ipv4, host.ipv6])
        host.run(self.bin / "twofold-agent", "enrol", "--controller", self.endpoint, "--token-file", "-", "--state", folder / "state",
                 *self.user_options(), input=token)

    @staticmethod
    def user_options():
        return [word for role, uid in USERS.items() for word in (f"--{role}-user", str(uid))]

    def start_agent(self, name, export=False):
        folder = self.folder / "agents" / name
        log = open(self.folder / f"{name}.log", "a")
        argv = [self.bin / "twofold-agent", "run", "--state", folder / "state", "--runtime", folder / "run", *self.user_options()]
        if export:
            argv += ["--export-secrets", folder / "export"]
        self.agents[name] = self.topology[name].start(*argv, stderr=log)
        log.close()

    def stop_agent(self, name, how=signal.SIGTERM):
        topology.stop(self.agents[name], how)

    def local(self, name, *argv, **options):
        """The command on a host, asking its local agent."""
        result = self.topology[name].run(self.bin / "twofold", *argv, "--socket", self.folder / "agents" / name / "run/agent.sock", "--json",
                                         **options)
        return json.loads(result.stdout) if result.returncode == 0 else None

    def wait_connected(self, names, seconds=60):
        def all_current():
            hosts = {h["host"]: h for h in self.ask("hosts")["hosts"]}
            return all(hosts.get(n, {}).get("connected") for n in names)
        topology.wait_until(f"{', '.join(names)} are connected", all_current, seconds, 0.3)

    def apply(self, policy, wait=30):
        return self.ask("policy", "apply", policy, "--wait", str(wait))

    def close(self):
        for process in [*self.agents.values(), self.controller]:
            if process is not None:
                topology.stop(process)
