//! Every case of the public suite h2spec that concerns a server, frame by frame, against the
//! gateway: its own table of what is sent and what must come of it.
//!
//! The numbers are those of the suite (its sections are those of RFC 7540 and RFC 7541). As
//! there, a connection error is a GOAWAY with one of the codes or the end of the connection,
//! and a stream error may also be answered by a connection error. A request that is malformed
//! may be answered with 400 before anything else (RFC 9113 §8.1.1); the server never gets it.

// A test may give up.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::unwrap_used
)]

mod common;

#[path = "h2spec/cases.rs"]
mod cases;
#[allow(dead_code, reason = "also used by others")]
#[path = "holding/frames.rs"]
mod frames;
#[allow(dead_code, unused_imports, reason = "also used by others")]
#[path = "holding/lab.rs"]
mod lab;
#[path = "h2spec/link.rs"]
mod link;
#[allow(dead_code, reason = "also used by others")]
#[path = "holding/seen.rs"]
mod seen;

use common::{World, inside};
use lab::{Agents, Alice, good, start};
use link::{Expect, Link};

/// One case: its number in the suite, what is sent, what must come of it.
struct Case {
    id: &'static str,
    send: fn(&mut Link<'_>),
    expect: Expect,
    /// Where the library does otherwise than the suite expects: why that is safe.
    unlike: Option<&'static str>,
}

#[test]
fn i9_every_server_case_of_h2spec() {
    inside(|| {
        let world = World::new();
        let server = good(&world);
        let gateway = start(&world, "");
        let agents = Agents::new(&world, &gateway);
        let mut failures = Vec::new();
        let cases = cases::all();
        for case in &cases {
            let mut link = Link::new(&agents, case.id);
            (case.send)(&mut link);
            if let Err(saw) = link.outcome(&case.expect, case.unlike.is_some()) {
                failures.push(format!(
                    "{}: expected {:?}, saw {saw}",
                    case.id, case.expect
                ));
            }
            let arrived = server.requests().iter().any(|r| r.target == link.path);
            if arrived && matches!(case.expect, Expect::Refused(_)) {
                failures.push(format!("{}: the server got it", case.id));
            }
            let forged = |(name, _): &(String, String)| name.starts_with(':');
            let mut arrivals = server.requests().into_iter();
            let forged = arrivals.any(|r| r.method == "200" || r.trailers.iter().any(forged));
            assert!(!forged, "after {}", case.id);
            // Whatever one connection does, others go on.
            if case.id.ends_with("/1") {
                let served = agents.h2(Alice, "good.test").get("/well").unwrap();
                assert_eq!(served.status, 200, "after {}", case.id);
            }
        }
        assert!(failures.is_empty(), "{}", failures.join("\n"));
        println!("{} cases", cases.len());
        assert!(cases.len() >= 146, "{} cases", cases.len());
    });
}
