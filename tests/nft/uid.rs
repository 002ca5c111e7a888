//! The topology of one host, where agents are its users.

use std::io::{self, ErrorKind::ConnectionRefused};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};

use portreeve::nft::{Settings, Topology};
use rustix::process::Uid;

use crate::common::{DEADLINE, Ns, inside_with_users, probe};
use crate::{answer_datagrams, apply, listen, settings};

const SOMEWHERE: [&str; 2] = ["198.51.100.7", "2001:db8::7"];
const LOOPBACK: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];
const OWN: &str = "10.9.0.2";
const AGENT: u32 = 65534;
const SOMEBODY_ELSE: u32 = 65533;

fn host() -> Ns {
    let ns = Ns::new("host");
    for name in ["all", "default"] {
        ns.sysctl(&format!("net.ipv6.conf.{name}.disable_ipv6"), "0");
    }
    ns.ip("link add out0 type veth peer name out1
         addr add 10.9.0.2/24 dev out0
         addr add fd09::2/64 dev out0 nodad
         link set out0 up
         link set out1 up
         route add default dev out0
         route add ::/0 dev out0");
    let settings = Settings {
        users: vec![AGENT.to_string()],
        local_ports: vec![5432],
        ..settings()
    };
    apply(&ns, Topology::Uid, &settings);
    ns
}

fn somewhere() -> [IpAddr; 2] {
    SOMEWHERE.map(|address| address.parse().unwrap())
}

/// Runs `call` on a thread that belongs to this user.
fn run_as<T: Send + 'static>(ns: &Ns, uid: u32, call: impl FnOnce() -> T + Send + 'static) -> T {
    ns.run(move || {
        rustix::thread::set_thread_uid(Uid::from_raw(uid)).unwrap();
        call()
    })
}

/// The error with which a user's connection attempt ends; none if it succeeds.
fn dial(ns: &Ns, uid: u32, to: (IpAddr, u16)) -> Option<io::ErrorKind> {
    let connect = move || TcpStream::connect_timeout(&SocketAddr::from(to), DEADLINE);
    run_as(ns, uid, connect).err().map(|error| error.kind())
}

/// Whether a user's datagram is answered by a datagram.
fn answered(ns: &Ns, uid: u32, to: (IpAddr, u16)) -> bool {
    run_as(ns, uid, move || probe::udp(to, b"?").is_ok())
}

#[test]
fn what_an_agents_user_opens_arrives_with_its_origin() {
    inside_with_users(|| {
        let ns = host();
        let (origins, _) = listen(&ns, 8443);
        let mut expected = Vec::new();
        for address in somewhere() {
            for port in [80, 443] {
                assert_eq!(dial(&ns, AGENT, (address, port)), None, "{address} {port}");
                expected.push(SocketAddr::from((address, port)));
            }
        }
        assert_eq!(origins.wait_count(4), expected);
        // DNS, whatever the resolver, the host's stub included.
        let (dns, _) = listen(&ns, 8053);
        for address in LOOPBACK {
            answer_datagrams(&ns, address, 8053, b"answer");
        }
        let stub: IpAddr = "127.0.0.53".parse().unwrap();
        for address in somewhere().into_iter().chain([stub]) {
            assert_eq!(dial(&ns, AGENT, (address, 53)), None, "{address}");
            assert!(answered(&ns, AGENT, (address, 53)), "{address}");
        }
        assert_eq!(dns.wait_count(3)[2], SocketAddr::from((stub, 53)));
    });
}

#[test]
fn i11_everything_else_of_that_user_is_refused_loopback_included() {
    inside_with_users(|| {
        let ns = host();
        let listeners = [443, 5000, 5432, 8443, 8053].map(|port| listen(&ns, port).0);
        for address in LOOPBACK {
            answer_datagrams(&ns, address, 9999, b"answer");
        }
        let own: IpAddr = OWN.parse().unwrap();
        for address in LOOPBACK.into_iter().chain([own]) {
            for port in [80, 443, 5000, 8443, 8053] {
                let refused = dial(&ns, AGENT, (address, port));
                assert_eq!(refused, Some(ConnectionRefused), "{address} {port}");
            }
            assert_eq!(dial(&ns, AGENT, (address, 5432)), None, "{address}");
            assert!(!answered(&ns, AGENT, (address, 9999)), "{address}");
        }
        for address in somewhere() {
            for port in [22, 8443, 5432] {
                let refused = dial(&ns, AGENT, (address, port));
                assert_eq!(refused, Some(ConnectionRefused), "{address} {port}");
            }
            for port in [443, 9999] {
                assert!(!answered(&ns, AGENT, (address, port)), "{address} {port}");
            }
        }
        let [_, _, local, proxy, dns] = listeners;
        assert_eq!(local.wait_count(3).len(), 3);
        assert_eq!((proxy.len(), dns.len()), (0, 0));
    });
}

#[test]
fn other_users_are_left_alone() {
    inside_with_users(|| {
        let ns = host();
        let (service, _) = listen(&ns, 5000);
        answer_datagrams(&ns, LOOPBACK[0], 9999, b"answer");
        for address in LOOPBACK {
            assert_eq!(dial(&ns, SOMEBODY_ELSE, (address, 5000)), None, "{address}");
        }
        assert!(answered(&ns, SOMEBODY_ELSE, (LOOPBACK[0], 9999)));
        assert_eq!(service.wait_count(2).len(), 2);
    });
}
