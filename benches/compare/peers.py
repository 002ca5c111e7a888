"""The gateways that are measured: how each is configured, started and named."""

import os
import shutil
import subprocess
from pathlib import Path

from world import fill, sh

DECRYPTS_ALL = {"h1", "post", "h2", "connect", "bulk", "idle", "paced"}


class Peer:
    """What they have in common. `rows` is what a gateway can do."""

    name = ""
    port = 0
    #: Where it is asked by CONNECT, if it cannot do without.
    proxy_port = 0
    rows = DECRYPTS_ALL
    #: Whether its configuration passes `streams.py`.
    has_streams = False
    note = ""

    def prepare(self, index, made, tools):
        self.made, self.tools = made, tools
        self.h1_address, self.h2_address = f"203.0.113.{10 + index}", f"203.0.113.{30 + index}"
        self.h1_name, self.h2_name = f"h1-{self.name}.bench.test", f"h2-{self.name}.bench.test"
        self.any_name = f"n{{}}-{self.name}.bench.test"
        if self.port:
            self.port = 8440 + index

    def find(self, command):
        """An installed command: beside `--tools` first."""
        local = Path(self.tools or "/nonexistent") / "bin" / command
        return str(local) if local.exists() else shutil.which(command)

    def is_installed(self):
        return True

    def version(self):
        return ""

    def start(self, world):
        self.folder = world.folder / self.name
        self.folder.mkdir()
        self.process = self.launch(world)

    def launch(self, world):
        raise NotImplementedError

    def write(self, template, target, **more):
        """The configuration from its template."""
        fill(template, self.folder / target, folder=self.folder.parent, port=self.port,
             h1_address=self.h1_address, h2_address=self.h2_address, h1_name=self.h1_name,
             h2_name=self.h2_name, **more)

    def processes(self):
        """All processes of this gateway that are there now."""
        parents = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    stat = (entry / "stat").read_text()
                except OSError:
                    continue
                parents.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry.name))
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            todo += parents.get(pid, [])
        return found

    def cpu_seconds(self):
        """User and system time so far, with that of children that ended."""
        ticks = [0, 0]
        for pid in self.processes():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            utime, stime, cutime, cstime = map(int, fields[11:15])
            ticks[0] += utime + cutime
            ticks[1] += stime + cstime
        per_second = os.sysconf("SC_CLK_TCK")
        return [count / per_second for count in ticks]

    def memory_kib(self):
        """What its processes keep in memory, each page counted once."""
        total = 0
        for pid in self.processes():
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
        return total


class Direct(Peer):
    """No gateway: what the load and the server take by themselves."""

    name = "direct"
    note = "no gateway: the latency that is there anyway"

    def launch(self, world):
        return None

    def cpu_seconds(self):
        return [0.0, 0.0]

    def memory_kib(self):
        return 0


class Portreeve(Peer):
    name = "portreeve"
    port = 1
    rows = DECRYPTS_ALL | {"names"}
    has_streams = True
    note = "rules, credential, detectors, echo scan, audit, metrics"

    def version(self):
        return sh([self.binary(), "--version"]).split()[-1]

    def binary(self):
        return self.made["portreeve"]

    def launch(self, world):
        self.write("portreeve.toml", "portreeve.toml", admin=self.port + 1000)
        self.write("rules.toml", "rules/90-bench.toml")
        self.other_rules(self.made.get("rules", 1) - 2)
        secret = self.folder / "secret"
        secret.write_text("bench-secret-0123456789abcdef0123456789abcdef")
        secret.chmod(0o600)
        (self.folder / "state").mkdir()
        under = ["valgrind", "--tool=callgrind", "--callgrind-out-file=callgrind.out"]
        return world.start_gateway([*(under if self.made.get("instructions") else []), self.binary(), "run",
                                    "--config", self.folder / "portreeve.toml"], self.folder)

    def other_rules(self, count):
        """Rules that stand before those of the measurement and do not match."""
        rules = [f'[[rule]]\nname = "other-{at}"\nagents = ["builder"]\nhosts = ["host-{at}.example.com"]\n'
                 f'methods = ["GET"]\npaths = ["/v1/{at}/**"]\n' for at in range(max(0, count))]
        (self.folder / "rules" / "10-others.toml").write_text("\n".join(rules))


class Before(Portreeve):
    """Another build of the gateway, to compare with."""

    name = "before"
    note = "another build: --before"

    def is_installed(self):
        return self.binary()

    def binary(self):
        return self.made.get("before")


class Envoy(Peer):
    name = "envoy"
    port = 1
    note = "static leaf, reverse proxy, no inspection"

    def is_installed(self):
        return self.find("envoy")

    def version(self):
        return sh([self.find("envoy"), "--version"]).split("version:")[1].split("/")[1]

    def launch(self, world):
        self.write("envoy.yaml", "envoy.yaml")
        return world.start_gateway([self.find("envoy"), "-c", "envoy.yaml", "--concurrency", self.made["processors"],
                                    "--log-level", "error", "--disable-hot-restart"], self.folder)


class Nginx(Peer):
    name = "nginx"
    port = 1
    note = "static leaf, reverse proxy, no inspection; HTTP/1.1 to the server"
    #: What it writes of requests, and attaches to them.
    access_log, attached = "off", ""

    def is_installed(self):
        return self.find("nginx")

    def version(self):
        return subprocess.run(["nginx", "-v"], capture_output=True, text=True).stderr.strip().split("/")[-1]

    def launch(self, world):
        self.write("nginx.conf", "nginx.conf", workers=self.made["processors"], access_log=self.access_log,
                   attached=self.attached)
        return world.start_gateway(["nginx", "-p", self.folder, "-c", self.folder / "nginx.conf", "-g", "user root;"],
                                   self.folder)


class NginxRecords(Nginx):
    """Some of what a gateway is there for."""

    name = "nginx-records"
    note = "as nginx; writes a line of each request, and attaches a header"
    access_log = "access.log record buffer=64k flush=1s"
    attached = 'proxy_set_header Authorization "Bearer bench-secret-0123456789abcdef0123456789abcdef";'


class Squid(Peer):
    name = "squid"
    port = 1
    rows = (DECRYPTS_ALL - {"h2"}) | {"names"}
    note = "ssl-bump, mints, no inspection; HTTP/1.1 only"

    def is_installed(self):
        return os.path.exists("/usr/lib/squid/security_file_certgen") and self.find("squid")

    def version(self):
        return sh(["squid", "-v"]).split()[3]

    def launch(self, world):
        self.write("squid.conf", "squid.conf", user="proxy")
        shutil.chown(self.folder, "proxy")
        # Its helpers run as this user and have to walk here.
        sh(["/usr/lib/squid/security_file_certgen", "-c", "-s", self.folder / "certificates", "-M", "64MB"])
        sh(["chown", "-R", "proxy", self.folder])
        return world.start_gateway(["squid", "-N", "-f", self.folder / "squid.conf"], self.folder)


class Mitmproxy(Peer):
    name = "mitmproxy"
    port = 1
    rows = DECRYPTS_ALL | {"names"}
    note = "mints, holds every body in memory"

    def is_installed(self):
        return self.find("mitmdump")

    def version(self):
        return sh([self.find("mitmdump"), "--version"]).split()[1]

    def launch(self, world):
        shutil.copy(world.folder / "ca-both.pem", self.folder / "mitmproxy-ca.pem")
        options = {"confdir": self.folder, "ssl_verify_upstream_trusted_ca": world.folder / "ca.pem",
                   "flow_detail": 0, "connection_strategy": "lazy", "termlog_verbosity": "error"}
        settings = [part for name, value in options.items() for part in ("--set", f"{name}={value}")]
        return world.start_gateway([self.find("mitmdump"), "--quiet", "--mode", f"transparent@{self.port}",
                                    *settings], self.folder)


class Hudsucker(Peer):
    """A package of its own in `hudsucker/`, measured where `--hudsucker` names its binary."""

    name = "hudsucker"
    port = 1
    rows = DECRYPTS_ALL | {"names"}
    note = ("mints, no inspection; asked by CONNECT, for wrk and h2load by a process that is not counted, is never apart, "
            "and receives over loopback, which is less for it than to send to an agent")

    def is_installed(self):
        return self.made.get("hudsucker")

    def version(self):
        lock = Path(__file__).parent / "hudsucker" / "Cargo.lock"
        return lock.read_text().split('name = "hudsucker"\nversion = "')[1].split('"')[0]

    def launch(self, world):
        self.proxy_port, binary = self.port + 1000, self.made["hudsucker"]
        own = f"0.0.0.0:{self.proxy_port}"
        world.start([binary, "front", f"0.0.0.0:{self.port}", f"127.0.0.1:{self.proxy_port}"], self.folder)
        return world.start_gateway([binary, "proxy", own, world.folder / "ca.pem", world.folder / "ca.key"], self.folder)


PEERS = [Portreeve, Before, Envoy, Nginx, NginxRecords, Squid, Mitmproxy, Hudsucker, Direct]
