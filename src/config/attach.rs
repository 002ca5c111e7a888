//! The methods of attaching that say more than one word, and the limits of a credential.

use toml::Spanned;

use super::check::Check;
use super::credentials::query_key;
use super::fields::credential_field;
use super::methods::method;
use super::rule_target::path;
use super::units::Complaint;
use super::upstream::pin;
use super::written::{self, Text, WordOrList};
use crate::credential::placeholder::{Like, Spot};
use crate::credential::{Attach, Claim, Limits, Pinning, Spec};
use crate::tls::Pin;

impl Check<'_> {
    /// Tells what stands beside a method that it does not go with.
    pub(super) fn companions(&mut self, attach: &written::Attach) -> bool {
        let pairs = [
            (
                "format",
                attach.format.as_ref(),
                "header",
                attach.header.is_some(),
            ),
            (
                "like",
                attach.like.as_ref(),
                "placeholder",
                attach.placeholder.is_some(),
            ),
            (
                "key_id",
                attach.key_id.as_ref(),
                "sigv4",
                attach.sigv4.is_some(),
            ),
            (
                "region",
                attach.region.as_ref(),
                "sigv4",
                attach.sigv4.is_some(),
            ),
            (
                "service",
                attach.service.as_ref(),
                "sigv4",
                attach.sigv4.is_some(),
            ),
        ];
        let mut fine = true;
        for (key, text, with, there) in pairs {
            if let (Some(text), false) = (text, there) {
                let message = format!("`{key}` goes with `{with}` only");
                self.error(text.span(), message, "leave it out");
                fine = false;
            }
        }
        fine
    }

    /// The methods beyond those of a single header field, cookie or key.
    pub(super) fn further_attach(&mut self, attach: &written::Attach) -> Option<Attach> {
        if let Some(spots) = &attach.placeholder {
            let like = attach.like.as_ref();
            let like = like.and_then(|text| self.parse_hidden(text, read_like));
            let spots = self.list("placeholder", spots, spot);
            return Some(Attach::Placeholder {
                spots,
                like,
                value: None,
            });
        }
        if let Some(flag) = &attach.sigv4 {
            self.only_true("sigv4", flag);
            let mut optional =
                |text: &Option<Text>, read: fn(&str) -> Result<String, Complaint>| {
                    let text = text.as_ref()?;
                    self.parse_hidden(text, read)
                };
            let key_id = optional(&attach.key_id, aws_key_id);
            let region = optional(&attach.region, aws_word);
            let service = optional(&attach.service, aws_word);
            return Some(Attach::Sigv4 {
                key_id,
                region,
                service,
            });
        }
        let chain = attach.client_certificate.as_ref()?;
        let chain = self.path("client_certificate", chain)?;
        Some(Attach::ClientCertificate { chain })
    }

    /// `methods` and `paths` of a credential.
    pub(super) fn credential_limits(&mut self, credential: &written::Credential) -> Limits {
        let methods = credential.methods.as_ref();
        let paths = credential.paths.as_ref();
        Limits {
            methods: methods.map(|list| {
                self.list("methods", list, |text| {
                    method(text).map(|(method, _)| method)
                })
            }),
            paths: paths.map(|list| self.list("paths", list, path)),
        }
    }

    /// `upstream_identity`
    pub(super) fn pinning(&mut self, written: Option<&Spanned<WordOrList>>) -> Pinning {
        let Some(written) = written else {
            return Pinning::Any;
        };
        if matches!(written.get_ref(), WordOrList::Word(word) if word == "remember") {
            return Pinning::Remember;
        }
        let texts = WordOrList::texts(written);
        self.not_empty(
            "upstream_identity",
            &Spanned::new(written.span(), texts.clone()),
        );
        let pins = texts.iter().filter_map(|text| self.parse(text, identity));
        Pinning::These(pins.collect())
    }

    /// Tells credentials of one rule that would set the same.
    pub(super) fn conflicts(&mut self, written: &[(Text, Option<&Spec>)]) {
        for (index, (text, spec)) in written.iter().enumerate() {
            let before = written.iter().take(index);
            for (other, known) in before {
                if other.get_ref() == text.get_ref() {
                    let message = format!("`{}` stands twice in `credential`", text.get_ref());
                    self.error(text.span(), message, "leave one of them out");
                } else if let Some(claim) = spec.zip(*known).and_then(|(one, two)| clash(one, two))
                {
                    let message = format!(
                        "the credentials `{}` and `{}` both set {claim}",
                        other.get_ref(),
                        text.get_ref()
                    );
                    let help = "name one of them, or limit them to different `methods`";
                    self.error(text.span(), message, help);
                }
            }
        }
    }
}

/// What two credentials would both set on one request.
fn clash(one: &Spec, two: &Spec) -> Option<Claim> {
    if one.limits.exclude(&two.limits) {
        return None;
    }
    let others = two.attach.claims();
    one.attach
        .claims()
        .into_iter()
        .find(|claim| others.contains(claim))
}

/// `kind:name`
fn spot(text: &str) -> Result<Spot, Complaint> {
    let (kind, name) = text.split_once(':').unwrap_or((text, ""));
    match (kind, name) {
        ("header", name) => credential_field(name).map(Spot::Header),
        ("basic", "user") => Ok(Spot::BasicUser),
        ("basic", "password") => Ok(Spot::BasicPassword),
        ("query", key) => query_key(key).map(|key| Spot::Query(key.clone())),
        ("form", key) => query_key(key).map(|key| Spot::Form(key.clone())),
        ("json", path) if is_member_path(path) => Ok(Spot::Json(members(path))),
        ("websocket", "text") => Ok(Spot::MessageText),
        ("websocket", rest) => match rest.strip_prefix("json:") {
            Some(path) if is_member_path(path) => Ok(Spot::MessageJson(members(path))),
            Some(_) | None => Err(no_spot(text)),
        },
        _ => Err(no_spot(text)),
    }
}

fn no_spot(text: &str) -> Complaint {
    Complaint::new(format!("`{}` is no place for a stand-in", text.escape_debug())).help(
        "`header:NAME`, `basic:user`, `basic:password`, `query:KEY`, `form:KEY`, `json:MEMBER.MEMBER`, `websocket:text` or `websocket:json:MEMBER.MEMBER`",
    )
}

fn members(path: &str) -> Vec<String> {
    path.split('.').map(ToOwned::to_owned).collect()
}

fn is_member_path(path: &str) -> bool {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\');
    let member = |name: &str| (1..=64).contains(&name.len()) && name.chars().all(plain);
    path.split('.').count() <= 8 && path.split('.').all(member)
}

fn read_like(text: &str) -> Result<Like, Complaint> {
    Like::parse(text).map_err(|why| {
        Complaint::new(format!("`like` does not read: {why}"))
            .help("write it like `like = \"sk-test-[A-Za-z0-9]{40}\"`")
    })
}

fn aws_key_id(text: &str) -> Result<String, Complaint> {
    let plain = |c: char| c.is_ascii_alphanumeric();
    if (16..=128).contains(&text.len()) && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    Err(Complaint::new("`key_id` is no id of an AWS key")
        .help("it begins with `AKIA`; the secret access key goes into `secret`"))
}

fn aws_word(text: &str) -> Result<String, Complaint> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    if (1..=64).contains(&text.len()) && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    Err(
        Complaint::new(format!("`{}` is no region or service", text.escape_debug()))
            .help("as in a signature, such as `eu-central-1` and `s3`"),
    )
}

fn identity(text: &str) -> Result<Pin, Complaint> {
    pin(text).map_err(|complaint| complaint.help(
        "`\"remember\"`, or a list of `sha256/` and the base64 of the SHA-256 of a SubjectPublicKeyInfo, of the server or a CA",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_stand_ins() {
        for text in [
            "header:Authorization",
            "basic:user",
            "basic:password",
            "query:key",
            "form:client_secret",
            "json:a",
            "json:auth.api_key",
            "websocket:text",
            "websocket:json:auth.token",
        ] {
            assert!(spot(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "header",
            "header:",
            "header:host",
            "basic",
            "basic:x",
            "query:",
            "json:",
            "json:a..b",
            "json:a\"b",
            "body",
            "cookie:a",
            "websocket",
            "websocket:",
            "websocket:binary",
            "websocket:json:",
        ] {
            assert!(spot(text).is_err(), "{text}");
        }
    }
}
