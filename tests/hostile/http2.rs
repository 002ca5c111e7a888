//! Header blocks of HTTP/2 that no library sends.

use crate::common::{World, inside};
use crate::frames::{HEADERS, Raw};
use crate::lab::{Agents, Alice, config, echo, good, h1};
use crate::table;

const RULES: &str = r#"
[[rule]]
name = "open"
agents = ["alice"]
hosts = ["good.test"]
paths = ["/open"]
"#;

/// Whether a stream was answered with 200: the index of `:status: 200` in the static table.
pub fn is_ok(raw: &mut Raw<'_>, stream: u32) -> bool {
    let fate = raw.fate(stream);
    fate.is_some_and(|frame| frame.kind == HEADERS && frame.payload.first() == Some(&0x88))
}

/// Name and value of every field, parted by ` ; ` and by the first `=` after the name's first
/// character.
fn block(bytes: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut fields = Vec::new();
    let mut rest = bytes;
    loop {
        let end = crate::common::wire::find(rest, b" ; ");
        let field = &rest[..end.unwrap_or(rest.len())];
        let at = field.iter().position(|byte| *byte == b'=').unwrap();
        fields.push((field[..at].to_vec(), field[at + 1..].to_vec()));
        match end {
            Some(end) => rest = &rest[end + 3..],
            None => return fields,
        }
    }
}

#[test]
fn i7_an_h2_head_with_two_readings_is_refused() {
    inside(|| {
        let world = World::new();
        let (server, other) = (good(&world), h1(&world, echo));
        let gateway = world.gateway_process(&config("", ""), &[("rules.toml", RULES)]);
        let agents = Agents::new(&world, &gateway);
        let mut passed = 0;
        for row in table("http2_heads") {
            let mut raw = Raw::new(&agents, Alice, "good.test");
            let block = block(&row.bytes);
            let block: Vec<(&[u8], &[u8])> = block
                .iter()
                .map(|(name, value)| (name.as_slice(), value.as_slice()))
                .collect();
            raw.headers(1, &block, true);
            let passes = row.expect == "pass";
            assert_eq!(is_ok(&mut raw, 1), passes, "{}", row.line);
            passed += usize::from(passes);
            assert_eq!(server.requests().len(), passed, "{}", row.line);
        }
        assert!(passed > 0);
        assert!(other.connections().is_empty());
    });
}
