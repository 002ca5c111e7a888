//! The fields of JSON (RFC 8259), also of many texts one after the other.

use memchr::memchr2;

use super::{Name, Spot, Turn};

/// Deeper than this nothing has a name.
const DEPTH_MAX: usize = 32;

/// Where in a JSON text the reader is.
#[derive(Debug, Default)]
pub(super) struct Json {
    levels: Vec<Level>,
    /// Levels beyond those.
    beyond: u64,
    /// Whether a string that begins now is the name of a field.
    expects_name: bool,
    text: Text,
    name: Name,
}

#[derive(Clone, Copy, Debug)]
struct Level {
    object: bool,
    /// Of its field at hand.
    name: Name,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Text {
    /// Between strings.
    #[default]
    Not,
    Within,
    /// Behind a backslash.
    Escape,
}

impl Json {
    pub(super) fn push(&mut self, bytes: &[u8], at: u64, turn: Turn<'_>) {
        let mut next = 0;
        while let Some(rest) = bytes.get(next..).filter(|rest| !rest.is_empty()) {
            let from = at.saturating_add(next as u64);
            next += match self.text {
                Text::Not => self.between(rest, from, turn),
                Text::Within => self.within(rest, from, turn),
                Text::Escape => {
                    self.keep(rest.get(..1).unwrap_or_default());
                    self.text = Text::Within;
                    1
                }
            };
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.expects_name {
            self.name.push(bytes);
        }
    }

    /// Up to the end of a string, or to an escape in it.
    fn within(&mut self, rest: &[u8], at: u64, turn: Turn<'_>) -> usize {
        let Some(end) = memchr2(b'"', b'\\', rest) else {
            self.keep(rest);
            return rest.len();
        };
        self.keep(rest.get(..end).unwrap_or_default());
        if rest.get(end) == Some(&b'\\') {
            self.keep(b"\\");
            self.text = Text::Escape;
            return end + 1;
        }
        self.text = Text::Not;
        if self.expects_name {
            self.expects_name = false;
            let name = std::mem::take(&mut self.name);
            if let Some(level) = self.levels.last_mut() {
                level.name = name;
            }
            turn(at.saturating_add(end as u64 + 1), self.spot());
        }
        end + 1
    }

    /// Up to the beginning of a string.
    fn between(&mut self, rest: &[u8], at: u64, turn: Turn<'_>) -> usize {
        for (place, byte) in rest.iter().enumerate() {
            let here = at.saturating_add(place as u64);
            match byte {
                b'"' => {
                    self.text = Text::Within;
                    if self.expects_name {
                        turn(here, Spot::JsonName);
                    }
                    return place + 1;
                }
                b'{' | b'[' => self.open(*byte == b'{'),
                b'}' | b']' => {
                    self.close();
                    turn(here, self.spot());
                }
                b',' => {
                    let object = self.levels.last().is_some_and(|level| level.object);
                    self.expects_name = object && self.beyond == 0;
                }
                _ => {}
            }
        }
        rest.len()
    }

    fn open(&mut self, object: bool) {
        if self.levels.len() == DEPTH_MAX {
            self.beyond = self.beyond.saturating_add(1);
            self.expects_name = false;
            return;
        }
        // What stands in a list is what the list is.
        let name = self.levels.last().map(|level| level.name);
        let name = name.unwrap_or_default();
        self.levels.push(Level { object, name });
        self.expects_name = object;
    }

    fn close(&mut self) {
        self.expects_name = false;
        if self.beyond > 0 {
            self.beyond -= 1;
        } else {
            self.levels.pop();
        }
    }

    fn spot(&self) -> Spot {
        self.levels
            .last()
            .map_or(Spot::Outside, |level| Spot::Json(level.name))
    }
}
