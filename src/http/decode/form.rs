//! Forms, as their reader will have them: `+` is a space, `%XX` a byte (WHATWG URL §5.1).

use std::io::{self, Write};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Sink, View};
use crate::http::scan::outline::{Kind, Outline, Spot};

/// Decodes a form into the view, and tells that where its fields are.
pub(super) struct Form {
    view: Arc<Mutex<View>>,
    next: Sink,
    outline: Outline,
    /// Of an escape that is not whole.
    escape: Vec<u8>,
}

impl Form {
    pub(super) fn new(view: Arc<Mutex<View>>) -> Self {
        Self {
            next: Sink(view.clone()),
            view,
            outline: Outline::new(&Kind::Form),
            escape: Vec::new(),
        }
    }

    fn byte(&mut self, byte: u8, decoded: &mut Vec<u8>) {
        if byte == b'%' {
            decoded.append(&mut self.escape);
            self.escape.push(byte);
            return;
        }
        if self.escape.is_empty() {
            decoded.push(if byte == b'+' { b' ' } else { byte });
            return;
        }
        self.escape.push(byte);
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let value = match *self.escape.as_slice() {
            [_, high] if digit(high).is_some() => return,
            [_, high, low] => digit(high).zip(digit(low)),
            _ => None,
        };
        let value = value.and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        match value {
            Some(value) => {
                self.escape.clear();
                decoded.push(value);
            }
            None => decoded.append(&mut self.escape),
        }
    }
}

impl Write for Form {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let mut turns: Vec<(u64, Spot)> = Vec::new();
        self.outline
            .push(data, 0, &mut |at, spot| turns.push((at, spot)));
        let mut turns = turns.into_iter().peekable();
        let mut decoded = Vec::with_capacity(data.len());
        let mut marks = Vec::new();
        for (at, byte) in (0_u64..).zip(data) {
            while let Some((_, spot)) = turns.next_if(|(turn, _)| *turn <= at) {
                marks.push((decoded.len() as u64, spot));
            }
            self.byte(*byte, &mut decoded);
        }
        marks.extend(turns.map(|(_, spot)| (decoded.len() as u64, spot)));
        self.view.lock().mark(marks);
        self.next.write_all(&decoded)?;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
