//! The commands, word for word: a stranger who follows them gets what is promised.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::block;
use crate::common::events::Events;
use crate::common::world::{Pair, tool};
use crate::common::{Answer, Ns, Request, Upstream, World, inside};

const BINARY: &str = env!("CARGO_BIN_EXE_portreeve");
/// Where the world's internet has all servers: no reserved address, or the gateway would not
/// dial it.
const SERVERS: Pair = [
    IpAddr::V4(Ipv4Addr::new(93, 184, 215, 14)),
    IpAddr::V6(Ipv6Addr::new(0x2606, 0x2800, 0, 0, 0, 0, 0, 0x14)),
];
/// The resolver of everybody in the world, an agent included.
const RESOLVER: &str = "203.0.113.2";

/// A clone after `cargo build --release`, as far as the commands need one.
fn clone_into(folder: &Path) -> PathBuf {
    let clone = folder.join("clone");
    fs::create_dir_all(clone.join("target/release")).unwrap();
    fs::copy(BINARY, clone.join("target/release/portreeve")).unwrap();
    for name in ["rules", "systemd"] {
        fs::create_dir(clone.join(name)).unwrap();
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                fs::copy(entry.path(), clone.join(name).join(entry.file_name())).unwrap();
            }
        }
    }
    clone
}

/// Puts empty folders in place of those that the commands write to; the mount namespace of
/// the test is its own. What is copied to the new `/etc` is what commands need to run at all.
/// Nothing of the real folders is mounted in the test's: what clears up must not find it.
fn fresh_machine(folder: &Path) {
    let script = format!(
        "mkdir {etc}
        for name in passwd group nsswitch.conf ld.so.cache ld.so.conf ld.so.conf.d alternatives
        do
            if [ -e /etc/$name ]; then cp -RP /etc/$name {etc}/; fi
        done
        mount -t tmpfs -o mode=0755 tmpfs /etc
        cp -RP {etc}/. /etc/
        echo 'nameserver {RESOLVER}' > /etc/resolv.conf
        for folder in /usr/local /var/lib /run
        do
            mount -t tmpfs -o mode=0755 tmpfs $folder
        done
        mkdir /usr/local/bin",
        etc = folder.join("etc").display()
    );
    let output = shell(&script).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-eu", "-c", script])
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
        .env("TMPDIR", std::env::temp_dir())
        .stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Answers every A and AAAA query with the servers' address, until the test ends.
fn resolver(internet: &Ns) {
    let socket = internet.run(|| UdpSocket::bind((RESOLVER, 53)).unwrap());
    thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, peer)) = socket.recv_from(&mut query) {
            let _ = socket.send_to(&reply(&query[..length]), peer);
        }
    });
}

/// RFC 1035 §4.1: the query's id and question, and one answer.
fn reply(query: &[u8]) -> Vec<u8> {
    let name = query[12..].iter().position(|byte| *byte == 0).unwrap();
    let question = &query[12..12 + name + 5];
    let v6 = question[name + 2] == 28;
    let mut reply = query[..2].to_vec();
    reply.extend([0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    reply.extend(question);
    reply.extend([0xc0, 12, 0, if v6 { 28 } else { 1 }, 0, 1, 0, 0, 0, 60, 0]);
    match SERVERS[usize::from(v6)] {
        IpAddr::V4(ip) => reply.extend([&[4], &ip.octets()[..]].concat()),
        IpAddr::V6(ip) => reply.extend([&[16], &ip.octets()[..]].concat()),
    }
    reply
}

/// Whether these commands are here; where not, says so. CI skips nothing.
fn has(commands: &[&str]) -> bool {
    let missing: Vec<_> = commands
        .iter()
        .filter(|name| !tool(name).is_absolute())
        .collect();
    assert!(
        missing.is_empty() || std::env::var_os("CI").is_none(),
        "{missing:?} is not installed, and CI skips nothing"
    );
    if !missing.is_empty() {
        println!("skipped: {missing:?} is not installed");
    }
    missing.is_empty()
}

/// A person at the box, or at the agent.
struct Stranger<'w> {
    ns: &'w Ns,
    clone: PathBuf,
    /// Stands for the system's list of CAs.
    roots: PathBuf,
}

impl Stranger<'_> {
    fn command(&self, name: &str) -> Command {
        let mut command = shell(&block(name));
        command
            .current_dir(&self.clone)
            .env("SSL_CERT_FILE", &self.roots);
        command
    }

    fn follows(&self, name: &str) -> Output {
        let output = self.ns.output(self.command(name));
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{name}:\n{out}{err}");
        output
    }

    fn starts(&self, name: &str) -> (Child, Events<String>) {
        let mut command = self.command(name);
        command.stderr(Stdio::piped());
        let mut child = self.ns.spawn(command);
        let (log, sink) = (Events::new(), child.stderr.take().unwrap());
        let lines = log.clone();
        thread::spawn(move || {
            for line in BufReader::new(sink).lines().map_while(Result::ok) {
                lines.push(line);
            }
            lines.end();
        });
        (child, log)
    }
}

fn records(log: &Path) -> Vec<Value> {
    let text = fs::read_to_string(log).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The servers that the README's commands ask, and a resolver that knows them.
fn internet(world: &World) -> Upstream {
    let [v4, v6] = SERVERS;
    world.internet.ip(&format!(
        "addr add {v4}/32 dev net0\naddr add {v6}/128 dev net0 nodad\n"
    ));
    resolver(&world.internet);
    let names = ["example.com", "example.org", "api.anthropic.com"];
    let tls = world.ca.server(&names);
    Upstream::https(&world.internet, SERVERS, 443, tls, |request| {
        let name = request.sni.clone().unwrap_or_default();
        Answer::ok(format!("hello from {name}\n"))
    })
}

#[test]
fn whoever_follows_the_box_section_gets_a_working_gateway() {
    inside(|| {
        if !has(&["curl", "setpriv", "sysctl", "install"]) {
            return;
        }
        let world = World::new();
        fresh_machine(world.folder());
        let servers = internet(&world);
        let roots = world.path("roots.pem");
        fs::write(&roots, world.ca.pem()).unwrap();
        let clone = clone_into(world.folder());
        let operator = Stranger {
            ns: &world.gateway,
            clone: clone.clone(),
            roots,
        };
        let agent = Stranger {
            ns: &world.agent,
            clone,
            roots: "/nonexistent".into(),
        };

        operator.follows("box install");
        operator.follows("box redirect");
        let (mut gateway, log) = operator.starts("box run");
        let is_ready = |lines: &[String]| lines.iter().any(|line| line.contains(" ready "));
        log.wait(|lines| is_ready(lines).then_some(()))
            .unwrap_or_else(|| panic!("{}", log.all().join("\n")));
        operator.follows("box export");
        let seen = text(&agent.follows("box agent").stdout);

        agent_sees_and_servers_get(&seen, &servers.requests());
        assert_eq!(world.leaked(), 0);
        kill_process(Pid::from_child(&gateway), Signal::TERM).unwrap();
        let ended = gateway.wait().unwrap();
        assert!(ended.success(), "{}", log.all().join("\n"));
        let records = records(Path::new("/var/lib/portreeve/audit.jsonl"));
        assert_eq!(records.last().unwrap()["portreeve.record.kind"], "stop");
        same_keys_as_the_example(&records);
    });
}

/// Two requests arrive, one of them with the key that the agent does not have; the third is
/// refused with its reason.
fn agent_sees_and_servers_get(seen: &str, requests: &[Request]) {
    for expected in [
        "hello from example.com\n",
        "hello from api.anthropic.com\n",
        "no rule allows agent builder to reach example.org",
    ] {
        assert!(seen.contains(expected), "{expected}:\n{seen}");
    }
    let keys = requests
        .iter()
        .map(|request| (request.sni.as_deref().unwrap(), request.header("x-api-key")));
    let received: Vec<_> = keys.collect();
    let key = Some("YOUR-KEY");
    assert_eq!(
        received,
        [("example.com", None), ("api.anthropic.com", key)]
    );
}

/// The README's example is of the request with the credential.
fn same_keys_as_the_example(records: &[Value]) {
    let example: Value = serde_json::from_str(&block("record")).unwrap();
    let credential = "portreeve.credential";
    let record = records
        .iter()
        .find(|record| record[credential] == example[credential])
        .unwrap();
    let keys = |value: &Value| {
        value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(keys(record), keys(&example));
    for key in [
        "portreeve.agent",
        "portreeve.rule",
        "portreeve.rule.place",
        "url.path",
        "http.request.body.size",
    ] {
        assert_eq!(record[key], example[key], "{key}");
    }
}

#[test]
fn the_first_command_shows_what_the_readme_prints() {
    inside(|| {
        if !has(&["curl"]) {
            return;
        }
        let first = block("first");
        assert!(
            first.ends_with("target/release/portreeve demo\n"),
            "{first}"
        );
        let folder = tempfile::tempdir().unwrap();
        let output = shell("ip link set lo up && target/release/portreeve demo")
            .current_dir(clone_into(folder.path()))
            .output()
            .unwrap();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{out}{err}");
        assert_eq!(masked(&out), masked(&block("demo")));
    });
}

/// The transcript without what differs from run to run: ids, and spaces at line ends.
fn masked(transcript: &str) -> String {
    let line = |line: &str| {
        let line = line.trim_end();
        match line.split_once("\"record\":\"") {
            Some((before, id)) => format!("{before}\"record\":{}", &id[36..]),
            None => line.to_owned(),
        }
    };
    transcript.lines().map(|text| line(text) + "\n").collect()
}
