//! A secret as servers may write it, made here independently of the gateway.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

/// Texts that a server might send with `secret` in them, each with what in it tells.
pub fn echoes(secret: &str) -> Vec<(&'static str, String)> {
    let bytes = secret.as_bytes();
    let each =
        |form: &dyn Fn(u8) -> String| bytes.iter().map(|&byte| form(byte)).collect::<String>();
    let escape = |kept: &str, form: &dyn Fn(u8) -> String| {
        each(&|byte| {
            let keep = byte.is_ascii_alphanumeric() || kept.as_bytes().contains(&byte);
            if keep {
                char::from(byte).to_string()
            } else {
                form(byte)
            }
        })
    };
    let json = serde_json::to_string(secret).unwrap();
    let json = json.trim_matches('"').to_owned();
    vec![
        ("raw", secret.to_owned()),
        ("base64", STANDARD.encode(secret)),
        (
            "base64, second offset",
            STANDARD.encode(format!("x{secret}yz")),
        ),
        (
            "base64, third offset",
            STANDARD.encode(format!("xy{secret}z")),
        ),
        ("base64url", URL_SAFE.encode(secret)),
        (
            "base64url, second offset",
            URL_SAFE.encode(format!("\u{7f}{secret}~")),
        ),
        ("hex", each(&|byte| format!("{byte:02x}"))),
        ("HEX", each(&|byte| format!("{byte:02X}"))),
        ("percent", escape("-_.~", &|byte| format!("%{byte:02X}"))),
        (
            "percent, lower",
            escape("-_.~", &|byte| format!("%{byte:02x}")),
        ),
        ("percent, all", each(&|byte| format!("%{byte:02X}"))),
        ("JSON", json.clone()),
        ("JSON, slashes", json.replace('/', "\\/")),
        ("JSON, all", each(&|byte| format!("\\u{byte:04x}"))),
        (
            "JSON, as Go",
            escape("-/+=\"", &|byte| format!("\\u{byte:04x}")).replace('"', "\\\""),
        ),
        ("HTML", secret.replace('&', "&amp;").replace('"', "&quot;")),
        (
            "HTML, numbers",
            secret.replace('&', "&amp;").replace('"', "&#34;"),
        ),
        ("HTML, all", each(&|byte| format!("&#{byte};"))),
        ("HTML, all hex", each(&|byte| format!("&#x{byte:x};"))),
    ]
}

/// Fails if `bytes` have `secret` in any form of [`echoes`].
pub fn assert_clean(what: &str, bytes: &[u8], secret: &str) {
    for (form, text) in echoes(secret) {
        // Characters at the edges of base64 also hold bits of what is beside.
        let inner = if form.starts_with("base64") {
            &text.as_bytes()[3..text.len() - 5]
        } else {
            text.as_bytes()
        };
        let found = bytes.windows(inner.len()).any(|window| window == inner);
        assert!(!found, "{what}: {form} in {}", bytes.escape_ascii());
    }
}
