//! The four forms of a request target (RFC 9112 §3.2).

use http::Method;
use http::uri::Scheme;

use super::error::HeadError;

/// A request target: visible ASCII without `#`, otherwise as the agent sent it.
///
/// What a path may hold, and whether an authority is a name and a port, is judged later, by
/// the code that decides on them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestTarget {
    /// `/path?query`
    Origin(String),
    /// `http://authority/path?query`; its authority equals the `Host` field but for case.
    Absolute {
        /// `http` or `https`.
        scheme: Scheme,
        /// Never empty.
        authority: String,
        /// What an origin server is sent: begins with `/`, or is `*` for OPTIONS on an empty
        /// path (RFC 9112 §3.2.4).
        path: String,
    },
    /// `*`, only with OPTIONS.
    Asterisk,
    /// `name:port`, only with CONNECT.
    Authority(String),
}

impl RequestTarget {
    pub(super) fn parse(method: &Method, target: &[u8]) -> Result<Self, HeadError> {
        let clean = |byte: &u8| byte.is_ascii_graphic() && *byte != b'#';
        let text = std::str::from_utf8(target).map_err(|_| HeadError::Target)?;
        if text.is_empty() || !target.iter().all(clean) {
            return Err(HeadError::Target);
        }
        if method == Method::CONNECT {
            let authority = text.contains(':') && !text.contains(['/', '?']);
            return authority
                .then(|| Self::Authority(text.to_owned()))
                .ok_or(HeadError::Target);
        }
        if text.starts_with('/') {
            return Ok(Self::Origin(text.to_owned()));
        }
        if text == "*" {
            let options = method == Method::OPTIONS;
            return options.then_some(Self::Asterisk).ok_or(HeadError::Target);
        }
        Self::absolute(method, text)
    }

    fn absolute(method: &Method, text: &str) -> Result<Self, HeadError> {
        let (scheme, rest) = text.split_once("://").ok_or(HeadError::Target)?;
        let scheme = if scheme.eq_ignore_ascii_case("https") {
            Scheme::HTTPS
        } else if scheme.eq_ignore_ascii_case("http") {
            Scheme::HTTP
        } else {
            return Err(HeadError::Target);
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        if authority.is_empty() {
            return Err(HeadError::Target);
        }
        let path = match tail {
            "" if method == Method::OPTIONS => "*".to_owned(),
            "" => "/".to_owned(),
            query if query.starts_with('?') => format!("/{query}"),
            path => path.to_owned(),
        };
        Ok(Self::Absolute {
            scheme,
            authority: authority.to_owned(),
            path,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn absolute(scheme: Scheme, authority: &str, path: &str) -> RequestTarget {
        RequestTarget::Absolute {
            scheme,
            authority: authority.into(),
            path: path.into(),
        }
    }

    #[test]
    fn each_form() {
        let get = |target: &str| RequestTarget::parse(&Method::GET, target.as_bytes());
        let options = |target: &str| RequestTarget::parse(&Method::OPTIONS, target.as_bytes());
        let connect = |target: &str| RequestTarget::parse(&Method::CONNECT, target.as_bytes());
        assert_eq!(get("/a?b|c"), Ok(RequestTarget::Origin("/a?b|c".into())));
        assert_eq!(get("//x/y"), Ok(RequestTarget::Origin("//x/y".into())));
        assert_eq!(options("*"), Ok(RequestTarget::Asterisk));
        assert_eq!(connect("a:1"), Ok(RequestTarget::Authority("a:1".into())));
        assert_eq!(get("HTTP://a:1"), Ok(absolute(Scheme::HTTP, "a:1", "/")));
        assert_eq!(get("https://a?q"), Ok(absolute(Scheme::HTTPS, "a", "/?q")));
        assert_eq!(
            get("https://a/p?q://x"),
            Ok(absolute(Scheme::HTTPS, "a", "/p?q://x"))
        );
        assert_eq!(options("http://a"), Ok(absolute(Scheme::HTTP, "a", "*")));
        assert_eq!(options("http://a/"), Ok(absolute(Scheme::HTTP, "a", "/")));
    }

    #[test]
    fn nothing_else() {
        for target in [
            "",
            "*",
            "a",
            "a/b",
            "a:1",
            "ftp://a/",
            "http:///x",
            "http:/a",
            "/a#b",
            "/\u{e9}",
            "/a\tb",
            "/\u{7f}",
            "?q",
            "://a/",
        ] {
            let parsed = RequestTarget::parse(&Method::GET, target.as_bytes());
            assert_eq!(parsed, Err(HeadError::Target), "{target:?}");
        }
        for target in ["/", "a", "http://a:1/", "*"] {
            let parsed = RequestTarget::parse(&Method::CONNECT, target.as_bytes());
            assert_eq!(parsed, Err(HeadError::Target), "{target:?}");
        }
    }
}
