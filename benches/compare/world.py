"""Three network namespaces, certificates, the server and a resolver."""

import ipaddress
import os
import resource
import string
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESOLVER = "203.0.113.2"


def sh(command, **options):
    """Runs a command; its output is shown only when it fails."""
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    if done.returncode != 0:
        raise SystemExit(f"{command}: {done.stdout}")
    return done.stdout


def fill(template, path, **values):
    """Writes a file from a template of this folder."""
    text = (HERE / "templates" / template).read_text()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(string.Template(text).substitute(values))


class World:
    """The gateways' namespace is the one this process is in."""

    def __init__(self, folder, peers, gateway_processor=None):
        self.folder, self.gateway_processor = Path(folder), gateway_processor
        self.processes = []
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.agent = self.namespace()
        self.internet = self.namespace()
        self.addresses(peers)
        self.redirect(peers)
        self.names(peers)
        self.certificates()
        self.server(peers)
        self.resolver()
        self.streams()

    def namespace(self):
        holder = subprocess.Popen(["unshare", "--net", "--", "sleep", "infinity"])
        self.processes.append(holder)
        own = os.readlink("/proc/self/ns/net")
        while True:
            try:
                if os.readlink(f"/proc/{holder.pid}/ns/net") != own:
                    return holder.pid
            except OSError:
                pass

    @staticmethod
    def within(namespace, command):
        return ["nsenter", "-t", str(namespace), "-n", "--", *command]

    def ip(self, namespace, *lines):
        command = ["ip", "-batch", "-"]
        command = command if namespace is None else self.within(namespace, command)
        sh(command, input="\n".join(lines))

    def addresses(self, peers):
        self.ip(None, "link set lo up",
                f"link add lan0 type veth peer name agent0 netns {self.agent}",
                f"link add wan0 type veth peer name net0 netns {self.internet}",
                "addr add 10.0.1.1/24 dev lan0", "link set lan0 up",
                "addr add 203.0.113.1/24 dev wan0", "link set wan0 up")
        self.ip(self.agent, "link set lo up", "addr add 10.0.1.2/24 dev agent0", "link set agent0 up",
                "route add default via 10.0.1.1")
        servers = [f"addr add {address}/24 dev net0" for peer in peers for address in (peer.h1_address, peer.h2_address)]
        self.ip(self.internet, "link set lo up", f"addr add {RESOLVER}/24 dev net0", "link set net0 up",
                *servers, "route add default via 203.0.113.1")
        # Not BBR, which some systems have: it paces by timers, charged to whoever runs just then.
        settings = {"net.ipv4.tcp_congestion_control": "reno", "net.ipv4.ip_forward": 1, "net.ipv4.ip_local_port_range": "1024 65535",
                    "net.ipv4.tcp_tw_reuse": 1, "net.core.somaxconn": 65535,
                    "net.ipv4.tcp_max_syn_backlog": 65535, "net.ipv4.tcp_fin_timeout": 5}
        for namespace in (None, self.agent, self.internet):
            for name, value in settings.items():
                command = ["sysctl", "-q", f"{name}={value}"]
                sh(command if namespace is None else self.within(namespace, command))

    def agents(self, first, count):
        """Gives the agents' namespace so many addresses more, of one network behind its first."""
        addresses = [ipaddress.ip_address(first) + at for at in range(count)]
        self.ip(None, f"route add {ipaddress.ip_network(f'{first}/16', strict=False)} via 10.0.1.2 dev lan0")
        self.ip(self.agent, *(f"addr add {address}/32 dev agent0" for address in addresses))

    def redirect(self, peers):
        """As the gateway's own table does it, only that here each address leads elsewhere."""
        ports = ", ".join(f"{address} : {peer.port}" for peer in peers if peer.port
                          for address in (peer.h1_address, peer.h2_address))
        sh(["nft", "-f", "-"], input=f"""table ip compare {{
            chain arrivals {{
                type nat hook prerouting priority dstnat
                iifname lan0 tcp dport 443 redirect to : ip daddr map {{ {ports} }}
            }}
        }}""" if ports else "")
        # Closed connections would fill the table of tracked ones within a few runs.
        for name in ("tcp_timeout_time_wait", "tcp_timeout_close", "tcp_timeout_fin_wait"):
            path = Path(f"/proc/sys/net/netfilter/nf_conntrack_{name}")
            if path.exists():
                path.write_text("2")

    def names(self, peers):
        lines = ["127.0.0.1 localhost"]
        lines += [f"{peer.h1_address} {peer.h1_name}\n{peer.h2_address} {peer.h2_name}" for peer in peers]
        for name, text in (("hosts", "\n".join(lines) + "\n"), ("resolv.conf", f"nameserver {RESOLVER}\n")):
            path = self.folder / name
            path.write_text(text)
            sh(["mount", "--bind", path, f"/etc/{name}"])

    def certificates(self):
        """One CA for the server and for all who mint, so that every client trusts every gateway."""
        new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
               "-nodes", "-days", "90"]
        sh([*new, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Bench CA",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign"], cwd=self.folder)
        sh([*new, "-keyout", "leaf.key", "-out", "leaf.pem", "-subj", "/CN=bench.test", "-CA", "ca.pem",
            "-CAkey", "ca.key", "-addext", "subjectAltName=DNS:*.bench.test,DNS:bench.test",
            "-addext", "basicConstraints=critical,CA:FALSE"], cwd=self.folder)
        both = (self.folder / "ca.key").read_text() + (self.folder / "ca.pem").read_text()
        (self.folder / "ca-both.pem").write_text(both)
        for name in ("ca.key", "ca-both.pem", "leaf.key"):
            os.chmod(self.folder / name, 0o600)

    def server(self, peers):
        """nginx: HTTP/1.1 on some addresses, HTTP/2 too on others; 1 KB and 10 MB."""
        folder = self.folder / "upstream"
        www = folder / "www"
        www.mkdir(parents=True)
        (www / "1k").write_bytes((b'{"id":"msg_01","role":"assistant","content":"' + b"plain text " * 93)[:1022] + b'"}')
        (www / "10m").write_bytes(os.urandom(10 << 20))
        listens = "\n".join(f"        listen {peer.h2_address}:443 ssl http2;" for peer in peers)
        fill("nginx-upstream.conf", folder / "nginx.conf", h2_listens=listens)
        self.start(["nginx", "-p", folder, "-c", folder / "nginx.conf", "-g", "user root;"],
                   folder, namespace=self.internet)

    def start_gateway(self, command, folder, **options):
        """On a processor of its own, where there is to be one."""
        own = self.gateway_processor
        return self.start([*([] if own is None else ["taskset", "--cpu-list", own]), *command], folder, **options)

    def start(self, command, folder, namespace=None, environment=None):
        """A process that ends with this one (its PID namespace does)."""
        command = [str(part) for part in command]
        log = open(Path(folder) / "output.log", "ab")
        process = subprocess.Popen(command if namespace is None else self.within(namespace, command),
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder,
                                   env={**os.environ, **(environment or {})})
        self.processes.append(process)
        return process

    def resolver(self):
        """Python, for it is not measured; `resolver.py` says what it answers."""
        self.start([sys.executable, HERE / "resolver.py", RESOLVER, self.folder / "hosts"], self.folder,
                   namespace=self.internet)

    def streams(self):
        """The server's other end of what lasts."""
        self.start([sys.executable, HERE / "streams.py", "serve", "8000"], self.folder, namespace=self.internet)
