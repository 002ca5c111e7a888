//! Methods as rules write them.

use http::Method;

use super::nearest::nearest;
use super::units::Complaint;
use crate::policy::method::{KNOWN, NEVER};

/// A method, and whether it is registered; if not, which one may be meant.
pub(super) fn method(text: &str) -> Result<(Method, Result<(), Option<&'static str>>), Complaint> {
    let upper = text.to_ascii_uppercase();
    if NEVER.contains(&upper.as_str()) {
        return Err(Complaint::new(format!("`{text}` is never passed on")).help("leave it out"));
    }
    let bad = || Complaint::new(format!("`{}` is no method", text.escape_debug()));
    if text == "*" {
        return Err(bad().help("leave `methods` out for all methods"));
    }
    let method = Method::from_bytes(text.as_bytes())
        .map_err(|_| bad().help("write each method by itself, like `GET`"))?;
    if upper != text {
        return Err(Complaint::new(format!(
            "`{text}` is not in upper case, and methods are case-sensitive"
        ))
        .help(format!("did you mean `{upper}`?")));
    }
    if KNOWN.contains(&text) {
        return Ok((method, Ok(())));
    }
    Ok((method, Err(nearest(text, KNOWN.iter().copied()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods() {
        assert!(matches!(method("GET"), Ok((Method::GET, Ok(())))));
        assert_eq!(method("PSOT").unwrap().1, Err(Some("POST")));
        assert_eq!(method("FROBNICATE").unwrap().1, Err(None));
        for text in [
            "", "get", "Get", "GET POST", "*", "CONNECT", "trace", "PRI", "G\u{e9}T",
        ] {
            assert!(method(text).is_err(), "{text}");
        }
        assert_eq!(
            method("get").unwrap_err().help.as_deref(),
            Some("did you mean `GET`?")
        );
    }
}
