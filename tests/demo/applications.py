"""The real applications of the demo, each as its own user in its host's namespace."""

import os
import pathlib
import pwd
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "netns"))

import topology  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
PAGE = "Twofold demo page: these bytes crossed the wire inside two encryptions. "


ENVIRONMENT = {"PATH": os.environ["PATH"], "LC_ALL": "C"}


def programs():
    """The newest PostgreSQL's."""
    return sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1]


def make_cluster(data):
    """A stopped PostgreSQL cluster with pgbench's tables in the database `demo`."""
    def as_postgres(*argv):
        subprocess.run(list(map(str, argv)), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", env=ENVIRONMENT,
                       user="postgres", group=pwd.getpwnam("postgres").pw_gid, extra_groups=[])

    # In a folder that postgres can reach whatever lies above `data`, then moved.
    with tempfile.TemporaryDirectory(prefix="twofold-cluster.") as made:
        shutil.chown(made, "postgres")
        cluster = pathlib.Path(made) / "data"
        as_postgres(programs() / "initdb", "-D", cluster, "--no-sync", "-A", "trust", "-U", "demo")
        as_postgres(programs() / "pg_ctl", "-D", cluster, "-w", "-o", f"-k {made} -h '' -c fsync=off", "-l", f"{made}/log", "start")
        try:
            as_postgres("createdb", "-h", made, "-U", "demo", "demo")
            as_postgres("pgbench", "-h", made, "-U", "demo", "-i", "-q", "-s", "1", "demo")
        finally:
            as_postgres(programs() / "pg_ctl", "-D", cluster, "-w", "-m", "fast", "stop")
        shutil.move(cluster, data)


class Applications:
    def __init__(self, topo, folder, cluster=None):
        """`cluster`: of make_cluster, copied; made anew without one."""
        self.cluster = cluster
        self.web, self.api, self.db = topo["web"], topo["api"], topo["db"]
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        os.chmod(self.folder, 0o755)

    def start(self):
        self.start_postgresql()
        self.start_redis()
        self.start_service()
        self.start_nginx()
        self.start_iperf()

    def start_postgresql(self):
        data = self.folder / "postgresql"
        owner = pwd.getpwnam("postgres")
        if self.cluster:
            topology.run("cp", "-a", self.cluster, data)
        else:
            make_cluster(data)
        with open(data / "pg_hba.conf", "a") as rules:
            rules.write("host all all 192.0.2.0/24 trust\nhost all all 2001:db8::/64 trust\n")
        topology.run("chown", "-R", f"{owner.pw_uid}:{owner.pw_gid}", data)
        log = open(self.folder / "postgresql.log", "w")
        self.db.start("setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups", programs() / "postgres", "-D", data,
                      "-k", "", "-h", f"127.0.0.1,{self.db.ipv4},{self.db.ipv6}", "-c", "fsync=off", "-c", "shared_buffers=32MB",
                      stdout=log, stderr=log, cwd="/", env=ENVIRONMENT)
        log.close()
        topology.wait_until("PostgreSQL answers", lambda: self.db.run(
            "psql", "-h", "127.0.0.1", "-U", "demo", "-c", "SELECT 1", "demo", check=False).returncode == 0, 60, 0.3)

    def start_redis(self):
        self.db.start("setpriv", "--reuid", "redis", "--regid", "redis", "--clear-groups", "redis-server", "--port", "6379", "--bind",
                      "127.0.0.1", self.db.ipv4, self.db.ipv6, "--protected-mode", "no", "--save", "", "--appendonly", "no",
                      stdout=subprocess.DEVNULL, cwd="/")
        topology.wait_until("Redis answers",
                            lambda: self.db.run("redis-cli", "ping", check=False).stdout.strip() == "PONG", 30, 0.2)

    def start_service(self):
        log = open(self.folder / "service.log", "w")
        self.api.start("/usr/bin/python3", HERE / "service.py", self.db.ipv4, self.api.ipv4, stdout=log, stderr=log)
        log.close()

    def start_nginx(self):
        root = self.folder / "nginx"
        root.mkdir()
        (root / "page.html").write_text(PAGE * 64)
        (root / "nginx.conf").write_text(f"""
worker_processes 1;
daemon off;
pid {root}/nginx.pid;
error_log {root}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {root}/t1; proxy_temp_path {root}/t2; fastcgi_temp_path {root}/t3; uwsgi_temp_path {root}/t4; scgi_temp_path {root}/t5;
  server {{
    listen {self.web.ipv4}:80;
    listen [{self.web.ipv6}]:80;
    location = /page.html {{ root {root}; }}
    location / {{ proxy_pass http://{self.api.ipv4}:8080; proxy_buffering off; proxy_read_timeout 3600; }}
  }}
}}
""")
        self.web.start("nginx", "-p", root, "-c", root / "nginx.conf", "-e", root / "error.log")
        topology.wait_until("nginx answers", lambda: self.get(self.web, f"http://{self.web.ipv4}/page.html").startswith(PAGE), 30, 0.2)

    def start_iperf(self):
        self.db.start("iperf3", "-s", "-B", self.db.ipv4, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    @staticmethod
    def get(host, url, seconds=30):
        """The body, or an empty string."""
        return host.run("curl", "-sS", "--max-time", seconds, "--noproxy", "*", url, check=False).stdout

    def visit(self, seconds=30):
        """A visitor's request through nginx, the service, Redis and PostgreSQL; true when all answered."""
        return "accounts=100000" in self.get(self.web, f"http://{self.web.ipv4}/", seconds)


if __name__ == "__main__":
    # applications.py FOLDER: only makes the cluster there, for a run in the lab, where it would take half a minute.
    make_cluster(pathlib.Path(sys.argv[1]).resolve())
