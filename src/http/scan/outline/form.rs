//! The fields of a form (WHATWG URL §5.1).

use memchr::{memchr, memchr2};
use percent_encoding::percent_decode;

use super::{Name, Spot, Turn};

/// Where in a form the reader is.
#[derive(Debug, Default)]
pub(super) struct Form {
    begun: bool,
    in_value: bool,
    name: Name,
}

impl Form {
    pub(super) fn push(&mut self, bytes: &[u8], at: u64, turn: Turn<'_>) {
        let mut next = 0;
        if !self.begun {
            self.begun = true;
            turn(at, Spot::FormName);
        }
        while let Some(rest) = bytes.get(next..).filter(|rest| !rest.is_empty()) {
            let found = if self.in_value {
                memchr(b'&', rest)
            } else {
                memchr2(b'=', b'&', rest)
            };
            let until = found.unwrap_or(rest.len());
            if !self.in_value {
                self.name.push(rest.get(..until).unwrap_or_default());
            }
            next += until + 1;
            let here = at.saturating_add(next as u64);
            match rest.get(until) {
                Some(b'=') => {
                    self.in_value = true;
                    let name = std::mem::take(&mut self.name);
                    turn(here, Spot::Form(decoded(name)));
                }
                Some(_) => {
                    self.in_value = false;
                    self.name = Name::default();
                    turn(here, Spot::FormName);
                }
                None => {}
            }
        }
    }
}

/// In which parameter of a query, which is read as a form is, the byte at `at` stands.
pub(in crate::http::scan) fn parameter(query: &[u8], at: u64) -> Spot {
    let mut spot = Spot::Outside;
    Form::default().push(query, 0, &mut |from, new| {
        if from <= at {
            spot = new;
        }
    });
    spot
}

/// The name as its reader will have it.
fn decoded(name: Name) -> Name {
    let bytes = name.bytes.get(..usize::from(name.length));
    let bytes: Vec<u8> = percent_decode(bytes.unwrap_or_default()).collect();
    Name {
        over: name.over,
        ..Name::of(&bytes)
    }
}
