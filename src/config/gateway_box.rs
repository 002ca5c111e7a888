//! `portreeve.toml`: the sections that make the box.

use std::net::SocketAddr;
use std::path::PathBuf;

use toml::Spanned;

use super::check::Check;
use super::locate::Env;
use super::settings::{Audit, Ca, Config, Listen, Redirect, WhenUnwritable};
use super::units::Complaint;
use super::written::{self, Text};
use crate::policy::Mode;

impl Check<'_> {
    /// Checks everything but `[[agent]]` and `rules`. `None` only without a place for state.
    pub(super) fn gateway_box(&mut self, written: &written::Box, env: &Env) -> Option<Config> {
        let state_dir = match &written.state_dir {
            Some(text) => self.path("state_dir", text),
            None => env.state_dir(),
        };
        let listen = self.listen(&written.listen);
        let redirect = self.redirect(&written.redirect);
        let upstream = self.upstream(&written.upstream);
        let dns = self.dns(&written.dns);
        let limits = self.limits(&written.limits);
        let timeouts = self.timeouts(&written.timeouts);
        // The sections below are checked whether or not there is a place for state.
        let state = state_dir.clone().unwrap_or_default();
        let audit = self.audit(&written.audit, &state);
        let ca = self.ca(&written.ca).unwrap_or_else(|| Ca::Made {
            folder: state.join("ca"),
        });
        Some(Config {
            rules: None,
            state_dir: state_dir?,
            listen,
            redirect,
            upstream,
            dns,
            limits,
            timeouts,
            audit,
            ca,
        })
    }

    /// Checks `mode`.
    pub(super) fn mode(&mut self, written: Option<&Text>) -> Mode {
        let words = [("enforce", Mode::Enforce), ("observe", Mode::Observe)];
        written
            .and_then(|text| self.word("mode", text, &words))
            .unwrap_or(Mode::Enforce)
    }

    /// A path as written in this file, made absolute.
    pub(super) fn path(&mut self, key: &str, text: &Text) -> Option<PathBuf> {
        let file = self.file;
        self.parse(text, |path| {
            if path.is_empty() || path.contains('\0') {
                return Err(Complaint::new(format!("`{key}` is no path")));
            }
            Ok(file.resolve(path))
        })
    }

    fn listen(&mut self, written: &written::Listen) -> Listen {
        let default = Listen::default();
        let transparent = written.transparent.as_ref().map(|text| {
            self.parse(text, |text| match text {
                "off" => Err(Complaint::new("without `transparent` there is no gateway")
                    .help("only `dns` and `admin` may be `off`")),
                _ => socket(text),
            })
        });
        let listen = Listen {
            transparent: transparent.flatten().unwrap_or(default.transparent),
            dns: self.socket_or_off(written.dns.as_ref(), default.dns),
            admin: self.socket_or_off(written.admin.as_ref(), default.admin),
        };
        let dns = ("dns", listen.dns, written.dns.as_ref());
        let admin = ("admin", listen.admin, written.admin.as_ref());
        let transparent = (
            "transparent",
            Some(listen.transparent),
            written.transparent.as_ref(),
        );
        for (one, other) in [(&transparent, &dns), (&transparent, &admin), (&dns, &admin)] {
            let taken = one
                .1
                .zip(other.1)
                .is_some_and(|(one, other)| collide(one, other));
            if let (true, Some(text)) = (taken, other.2.or(one.2)) {
                let message = format!("`{}` and `{}` listen on the same port", one.0, other.0);
                self.error(text.span(), message, "give each a port of its own");
            }
        }
        listen
    }

    fn socket_or_off(
        &mut self,
        written: Option<&Text>,
        default: Option<SocketAddr>,
    ) -> Option<SocketAddr> {
        match written {
            None => default,
            Some(text) if text.get_ref() == "off" => None,
            Some(text) => self.parse(text, |text| {
                socket(text).map_err(|complaint| Complaint {
                    help: complaint.help.map(|help| format!("{help}, or `off`")),
                    ..complaint
                })
            }),
        }
    }

    fn redirect(&mut self, written: &written::Redirect) -> Redirect {
        let mut redirect = Redirect::default();
        for text in written.interfaces.iter().flat_map(Spanned::get_ref) {
            redirect.interfaces.extend(self.parse(text, interface));
        }
        if let Some(ports) = &written.ports {
            let errors = self.findings.errors();
            let written = self.ports(ports);
            // Wrong ones are told here, not once more at every rule.
            if self.findings.errors() == errors {
                redirect.ports = written;
            }
            for port in ports.get_ref().iter().filter(|port| *port.get_ref() == 53) {
                let help = "leave 53 out; `[listen] dns` answers it";
                self.error(port.span(), "port 53 has a redirect of its own", help);
            }
        }
        for text in written.users.iter().flat_map(Spanned::get_ref) {
            redirect.users.extend(self.parse(text, user));
        }
        if let Some(ports) = &written.local_ports {
            redirect.local_ports = self.ports(ports);
        }
        redirect
    }

    fn audit(&mut self, written: &written::Audit, state: &std::path::Path) -> Audit {
        let file = written.file.as_ref().and_then(|text| {
            self.parse(text, |text| match text {
                "" => Err(Complaint::new("`file` is no path")),
                _ => Ok(text.to_owned()),
            })
        });
        let words = [
            ("deny", WhenUnwritable::Deny),
            ("continue", WhenUnwritable::Continue),
        ];
        let when_unwritable = written
            .when_unwritable
            .as_ref()
            .and_then(|text| self.word("when_unwritable", text, &words));
        Audit {
            file: state.join(file.as_deref().unwrap_or("audit.jsonl")),
            queue: self.count(written.queue.as_ref(), 32_768),
            when_unwritable: when_unwritable.unwrap_or(WhenUnwritable::Deny),
        }
    }

    /// The operator's own CA, if one is written.
    fn ca(&mut self, written: &written::Ca) -> Option<Ca> {
        let missing = match (&written.certificate, &written.key, &written.chain) {
            (Some(_), Some(_), _) => None,
            (None, Some(text), _) => Some((text, "certificate")),
            (Some(text), None, _) => Some((text, "key")),
            (None, None, Some(text)) => Some((text, "certificate` and `key")),
            (None, None, None) => return None,
        };
        if let Some((text, missing)) = missing {
            self.error(
                text.span(),
                format!("[ca] has no `{missing}`"),
                "write both `certificate` and `key` for a CA of your own, or leave [ca] out",
            );
            return None;
        }
        Some(Ca::Own {
            certificate: self.path("certificate", written.certificate.as_ref()?)?,
            key: self.path("key", written.key.as_ref()?)?,
            chain: written
                .chain
                .as_ref()
                .and_then(|text| self.path("chain", text)),
        })
    }
}

fn socket(text: &str) -> Result<SocketAddr, Complaint> {
    text.parse().map_err(|_| {
        Complaint::new(format!(
            "`{}` is no address with a port",
            text.escape_debug()
        ))
        .help("write it like `127.0.0.1:9464`, `[::]:8443`")
    })
}

/// Whether two TCP listeners cannot be bound together; `[::]` takes IPv4 too.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let same = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    same && one.port() == other.port() && one.port() != 0
}

/// A Linux interface name (`dev_valid_name` in the kernel), and nothing that an nft ruleset
/// would read otherwise.
pub(super) fn interface(text: &str) -> Result<String, Complaint> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    let dots = matches!(text, "." | "..");
    if (1..=15).contains(&text.len()) && text.chars().all(plain) && !dots {
        return Ok(text.to_owned());
    }
    Err(
        Complaint::new(format!("`{}` is no interface name", text.escape_debug()))
            .help("1 to 15 letters, digits, `-`, `_`, `.` and `@`, as `ip link` shows it"),
    )
}

/// A user of this host as `nft` takes it: a name, or a number.
fn user(text: &str) -> Result<String, Complaint> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let complaint = |what: &str| {
        Complaint::new(format!("`{}` {what}", text.escape_debug()))
            .help("the name or number of a user that agents run as, and the gateway does not")
    };
    if text == "root" || text.parse() == Ok(0_u32) {
        return Err(complaint("can change the table, so nothing holds it"));
    }
    if text.is_empty() || text.len() > 32 || !text.bytes().all(plain) {
        return Err(complaint("is no user"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces() {
        for text in ["lan0", "eth0.100", "br-0a1b2c3d4e5f", "veth_1"] {
            assert!(interface(text).is_ok(), "{text}");
        }
        for text in [
            "",
            ".",
            "..",
            "a b",
            "a/b",
            "a\"",
            "sixteencharacter",
            "lan*",
            "é",
        ] {
            assert!(interface(text).is_err(), "{text}");
        }
    }

    #[test]
    fn listeners_collide_on_one_port() {
        let collide =
            |one: &str, other: &str| collide(one.parse().unwrap(), other.parse().unwrap());
        assert!(collide("[::]:1", "127.0.0.1:1"));
        assert!(collide("127.0.0.1:1", "127.0.0.1:1"));
        assert!(!collide("127.0.0.1:1", "127.0.0.2:1"));
        assert!(!collide("127.0.0.1:0", "127.0.0.1:0"));
        assert!(!collide("127.0.0.1:1", "127.0.0.1:2"));
    }
}
