//! Methods, targets and fields: which pass, which fall out, which are re-made.

use crate::bench::{Bench, LEGS, Setup, Version, keeping, last};
use crate::common::inside;
use crate::server::Call;

#[test]
fn methods_targets_and_bodies_arrive_as_they_were_sent() {
    inside(|| {
        let (seen, script) = keeping(&[]);
        let bench = Bench::new(script);
        bench.each(|dial| {
            let seen = seen.clone();
            async move {
                let mut agent = dial.connect().await;
                for (method, target, body) in [
                    ("GET", "/a?b=c&d=%20", ""),
                    ("POST", "/post", "some data"),
                    ("PUT", "/put", "put"),
                    ("PATCH", "/patch", "patch"),
                    ("DELETE", "/delete", ""),
                    ("DELETE", "/delete-this", "which"),
                    ("OPTIONS", "*", ""),
                    ("OPTIONS", "/options", ""),
                ] {
                    let answered = agent.exchange(method, target, &[], body.as_bytes()).await;
                    let (head, echo) = answered.unwrap();
                    assert_eq!(head.status, 200, "{method}");
                    assert_eq!(echo, format!("{method} {target}").into_bytes());
                    let got = last(&seen);
                    assert_eq!((got.method.as_str(), got.target.as_str()), (method, target));
                    assert_eq!(got.body, body.as_bytes());
                    assert_eq!(got.authority, dial.host);
                    assert_eq!(got.version, dial.legs.server);
                }
            }
        });
    });
}

#[test]
fn a_body_of_no_bytes_is_declared_where_the_method_wants_one() {
    inside(|| {
        let (seen, script) = keeping(&[]);
        let bench = Bench::new(script);
        bench.each(|dial| {
            let seen = seen.clone();
            async move {
                use crate::h1::Framing;
                let mut agent = dial.connect().await;
                for framing in [Framing::Length(0), Framing::Chunked] {
                    agent.ask("POST", "/", &[], framing).await.unwrap();
                    agent.end(&[]).await.unwrap();
                    assert_eq!(agent.head().await.unwrap().status, 200);
                    assert_eq!(agent.rest().await.unwrap(), b"POST /");
                    let got = last(&seen);
                    assert_eq!(got.body, b"");
                    if framing == Framing::Length(0) {
                        assert_eq!(got.header("content-length"), Some("0"), "{framing:?}");
                    }
                }
            }
        });
    });
}

#[test]
fn responses_without_a_body_leave_the_connection_in_step() {
    inside(|| {
        let bench = Bench::new(|mut call: Call| async move {
            use crate::h1::Framing;
            call.rest().await?;
            let (status, headers): (u16, &[(&str, &str)]) = match call.target.as_str() {
                "/head" => (200, &[("content-length", "11")]),
                "/head-chunked" if call.version == Version::H1 => {
                    (200, &[("transfer-encoding", "chunked")])
                }
                "/204" => (204, &[("etag", "\"x\"")]),
                "/304" => (304, &[("content-length", "11")]),
                _ => return call.reply(200, &[], b"with a body").await,
            };
            call.answer(status, headers, Framing::Nothing).await?;
            call.end(&[]).await
        });
        bench.each(|dial| async move {
            let mut agent = dial.connect().await;
            for (method, target, status, length) in [
                ("HEAD", "/head", 200, Some("11")),
                ("HEAD", "/head-chunked", 200, None),
                ("GET", "/204", 204, None),
                ("GET", "/304", 304, Some("11")),
                ("HEAD", "/304", 304, Some("11")),
            ] {
                let answered = agent.exchange(method, target, &[], b"").await;
                let (head, body) = answered.unwrap();
                assert_eq!((head.status, body.as_slice()), (status, &b""[..]));
                if target != "/head-chunked" {
                    assert_eq!(head.header("content-length"), length, "{target}");
                }
                let (head, body) = agent.get("/").await.unwrap();
                assert_eq!((head.status, body.as_slice()), (200, &b"with a body"[..]));
            }
        });
    });
}

#[test]
fn what_concerns_the_servers_hop_does_not_reach_the_agent() {
    inside(|| {
        let bench = Bench::new(|mut call: Call| async move {
            call.rest().await?;
            let mut headers = vec![
                ("alt-svc", "h3=\":443\""),
                ("proxy-status", "theirs; error=dns_error"),
                ("proxy-authenticate", "Basic"),
                ("set-cookie", "a=1"),
                ("set-cookie", "b=2"),
                ("x-kept", "yes"),
            ];
            if call.version == Version::H1 {
                headers.extend([
                    ("connection", "keep-alive, x-named"),
                    ("x-named", "by Connection"),
                    ("keep-alive", "timeout=5"),
                    ("upgrade", "h2c"),
                ]);
            }
            call.reply(200, &headers, b"").await
        });
        bench.each(|dial| async move {
            let (head, _) = dial.connect().await.get("/").await.unwrap();
            for name in [
                "alt-svc",
                "proxy-status",
                "proxy-authenticate",
                "connection",
                "x-named",
                "keep-alive",
                "upgrade",
            ] {
                assert_eq!(head.header(name), None, "{name}");
            }
            assert_eq!(head.header("x-kept"), Some("yes"));
            let cookies = head.headers.iter().filter(|(name, _)| name == "set-cookie");
            let values: Vec<_> = cookies.map(|(_, value)| value.as_str()).collect();
            assert_eq!(values, ["a=1", "b=2"]);
        });
    });
}

const COOKIES: &str = r#"
[[credential]]
name = "key"
secret = { env = "KEY" }
hosts = ["h1.test", "h2.test"]
attach = { header = "x-key" }
[[rule]]
name = "passing"
hosts = ["h1.test", "h2.test"]
paths = ["/pass"]
credential = "key"
cookies = "pass"
[[rule]]
name = "dropping"
hosts = ["h1.test", "h2.test"]
paths = ["/drop"]
credential = "key"
"#;

#[test]
fn cookies_are_dropped_where_a_credential_is_attached_unless_the_rule_passes_them() {
    inside(|| {
        let (seen, script) = keeping(&[("set-cookie", "session=1")]);
        let setup = Setup {
            rules: COOKIES,
            env: &[("KEY", "sesame")],
            ..Setup::default()
        };
        let bench = Bench::with(&setup, script);
        bench.each(|dial| {
            let seen = seen.clone();
            async move {
                let mut agent = dial.connect().await;
                for (target, cookie) in [
                    ("/pass", Some("session=1")),
                    ("/drop", None),
                    ("/other", Some("session=1")),
                ] {
                    let (head, _) = agent.get(target).await.unwrap();
                    assert_eq!(head.header("set-cookie"), cookie, "{target}");
                    let key = (target != "/other").then_some("sesame");
                    assert_eq!(last(&seen).header("x-key"), key, "{target}");
                }
            }
        });
    });
}

#[test]
fn fields_of_the_rule_are_set_and_removed() {
    inside(|| {
        let (seen, script) = keeping(&[]);
        let setup = Setup {
            all: "set_headers = { x-who = \"{agent} by {rule}\" }\nremove_headers = [\"x-tracking\"]\n",
            ..Setup::default()
        };
        let bench = Bench::with(&setup, script);
        bench.each(|dial| {
            let seen = seen.clone();
            async move {
                let fields = [
                    ("x-who", "somebody else"),
                    ("x-tracking", "1"),
                    ("x-tracking", "2"),
                    ("x-kept", "3"),
                ];
                let mut agent = dial.connect().await;
                agent.exchange("GET", "/", &fields, b"").await.unwrap();
                let got = last(&seen);
                let of = |name: &str| -> Vec<String> {
                    let all = got.headers.iter().filter(|(key, _)| key == name);
                    all.map(|(_, value)| value.clone()).collect()
                };
                assert_eq!(of("x-who"), ["builder by all"]);
                assert!(of("x-tracking").is_empty());
                assert_eq!(of("x-kept"), ["3"]);
            }
        });
    });
}

#[test]
fn what_concerns_the_agents_hop_does_not_reach_the_server() {
    inside(|| {
        let (seen, script) = keeping(&[]);
        let bench = Bench::new(script);
        bench.each(|dial| {
            let seen = seen.clone();
            async move {
                let mut fields = vec![
                    ("x-forwarded-for", "1.2.3.4"),
                    ("forwarded", "for=1.2.3.4"),
                    ("via", "1.1 me"),
                    ("proxy-authorization", "Basic x"),
                    ("x-kept", "yes"),
                ];
                if dial.legs.agent == Version::H1 {
                    fields.extend([
                        ("connection", "x-named, te, keep-alive"),
                        ("x-named", "by Connection"),
                        ("keep-alive", "timeout=5"),
                        ("te", "gzip"),
                    ]);
                }
                let mut agent = dial.connect().await;
                agent.exchange("GET", "/", &fields, b"").await.unwrap();
                let got = last(&seen);
                for (name, _) in fields.iter().filter(|(name, _)| *name != "x-kept") {
                    assert_eq!(got.header(name), None, "{name}");
                }
                assert_eq!(got.header("x-kept"), Some("yes"));
            }
        });
    });
}

#[test]
fn cookie_crumbs_are_put_together() {
    inside(|| {
        let (seen, script) = keeping(&[]);
        let bench = Bench::new(script);
        bench.some(&LEGS[2..], |dial| {
            let seen = seen.clone();
            async move {
                let crumbs = [("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")];
                let mut agent = dial.connect().await;
                agent.exchange("GET", "/", &crumbs, b"").await.unwrap();
                let got = last(&seen).headers;
                let cookies: Vec<_> = got.iter().filter(|(name, _)| name == "cookie").collect();
                assert_eq!(cookies.len(), 1, "{cookies:?}");
                assert_eq!(cookies[0].1, "a=1; b=2; c=3");
            }
        });
    });
}
