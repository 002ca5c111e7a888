//! Where something was found, in words.

use http::{HeaderName, header};

use super::outline::{Name, Spot};
use crate::dlp::Finding;

/// Where something was found, as the agent and the record read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The name of the host.
    Host,
    /// The path.
    Path,
    /// The query.
    Query(Spot),
    /// A header field, the cookie field among them.
    Header(HeaderName),
    /// What a header or trailer field is called.
    FieldName,
    /// The body, so many bytes from its beginning.
    Body(Spot),
    /// The body as it is once decoded, so many bytes from its beginning.
    Decoded(Spot),
    /// A message of a gRPC call, so many bytes from its beginning once it is decoded.
    Call,
    /// A trailer field.
    Trailer(HeaderName),
    /// A message of a WebSocket, so many bytes from its beginning.
    Message,
}

impl Place {
    /// Where `finding` is. `name` is what the field or part is called, where that may be told.
    pub(super) fn at(&self, finding: &Finding, name: Option<&str>) -> String {
        let start = finding.start;
        let place = match self {
            Self::Host => "in the name of the host".to_owned(),
            Self::Path => "in the path".to_owned(),
            Self::Query(_) => match name {
                Some(name) => format!("in query parameter `{name}`"),
                None => "in the query".to_owned(),
            },
            Self::Header(name) => format!("in header `{name}`"),
            Self::FieldName => "in the name of a header".to_owned(),
            Self::Body(spot) => match spot.words(name) {
                Some(words) => format!("in {words} at byte {start}"),
                None => format!("in the body at byte {start}"),
            },
            Self::Decoded(spot) => match spot.words(name) {
                Some(words) => format!("in {words} at byte {start} of the decoded body"),
                None => format!("in the decoded body at byte {start}"),
            },
            Self::Call => format!("in a decoded gRPC message at byte {start}"),
            Self::Trailer(name) => format!("in trailer `{name}`"),
            Self::Message => format!("in a WebSocket message at byte {start}"),
        };
        match finding.coding.word() {
            Some(coding) => format!("{place}, in {coding}"),
            None => place,
        }
    }

    /// What the field or part is called, as the agent has it.
    pub(super) fn name(&self) -> Option<&Name> {
        let spot = match self {
            Self::Query(spot) => spot,
            _ => self.spot()?,
        };
        match spot {
            Spot::Json(name) | Spot::Form(name) | Spot::Part(name) | Spot::FileName(name) => {
                Some(name)
            }
            Spot::Outside | Spot::JsonName | Spot::FormName | Spot::PartHeader => None,
        }
    }

    fn spot(&self) -> Option<&Spot> {
        match self {
            Self::Body(spot) | Self::Decoded(spot) => Some(spot),
            Self::Host
            | Self::Path
            | Self::Query(_)
            | Self::Header(_)
            | Self::FieldName
            | Self::Call
            | Self::Trailer(_)
            | Self::Message => None,
        }
    }

    /// Whether the same data at both is one finding: what is decoded may stand as it is in
    /// the body or the query, too.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        if let (Self::Query(_), Self::Query(_)) = (self, other) {
            return true;
        }
        let named = |place: &Self| place.name().and_then(Name::text).is_some();
        self == other || named(self) && self.spot() == other.spot()
    }

    /// Whether it is made for telling who is asking.
    pub(super) fn authenticates(&self) -> bool {
        match self {
            Self::Header(name) => *name == header::AUTHORIZATION || *name == header::COOKIE,
            Self::Host
            | Self::Path
            | Self::Query(_)
            | Self::FieldName
            | Self::Body(_)
            | Self::Decoded(_)
            | Self::Call
            | Self::Trailer(_)
            | Self::Message => false,
        }
    }

    /// Whether data that belongs to the host may stand here: it authenticates there, while
    /// in a body it is content.
    pub(super) fn may_authenticate(&self) -> bool {
        match self {
            Self::Path | Self::Query(_) | Self::Header(_) => true,
            Self::Host
            | Self::FieldName
            | Self::Body(_)
            | Self::Decoded(_)
            | Self::Call
            | Self::Trailer(_)
            | Self::Message => false,
        }
    }
}

impl Spot {
    /// `None` outside of everything that has a name.
    fn words(&self, name: Option<&str>) -> Option<String> {
        let called = |what: &str| match name {
            Some(name) => format!("{what} `{name}`"),
            None => format!("a {what}"),
        };
        match self {
            Self::Outside => None,
            // A list that is no field's.
            Self::Json(name) if *name == Name::default() => None,
            Self::Json(_) => Some(called("JSON field")),
            Self::JsonName => Some("the name of a JSON field".to_owned()),
            Self::Form(_) => Some(called("form field")),
            Self::FormName => Some("the name of a form field".to_owned()),
            Self::Part(_) => Some(called("multipart part")),
            Self::FileName(_) => Some(format!("the file name of {}", called("multipart part"))),
            Self::PartHeader => Some("the header of a multipart part".to_owned()),
        }
    }
}
