//! The audit log: one record for each connection or request, and the thread that writes it.
//!
//! Whoever is about to let something out first reserves a [`Slot`]; without one nothing
//! goes. At the end the slot takes the [`Record`], which never blocks and never fails. The
//! file holds one JSON object a line; [`keys`] lists the keys.
//!
//! No record is lost silently: records are numbered, a number that is missing is a lost
//! record, and a gap record says how many and why. While the file cannot be written, new
//! requests are refused (or, if the operator chose so, pass uncounted by the file but
//! counted), and what still runs keeps its place in the queue.

mod draft;
mod file;
mod json;
pub mod keys;
mod kind;
mod log;
mod queue;
mod record;
mod state;
mod writer;

pub use self::draft::Draft;
pub use self::keys::KEYS;
pub use self::kind::{Gap, GapCause, Kind};
pub use self::log::{Log, Settings, Slot, Unwritten};
pub use self::record::{Detection, Messages, Record, id_at};
pub use self::state::{State, WhenUnwritable};
