//! The log as everybody else sees it: reserve a place, later write the record.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::file::{self, Sink, Tail};
use super::kind::Kind;
use super::queue::Queue;
use super::record::Record;
use super::state::{State, WhenUnwritable};
use super::writer::{Pace, Writer};
use crate::error::Refusal;

/// How much longer than the deadline of [`Log::close`] a write in progress may take.
const GRACE: Duration = Duration::from_millis(500);

/// What the operator chose.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The file; its folder exists.
    pub path: PathBuf,
    /// Places in the queue: as many connections and requests can run at a time as there
    /// are, since each holds one until its record is in the file. At least 1.
    pub queue: usize,
    /// What happens to new requests while the file cannot be written.
    pub when_unwritable: WhenUnwritable,
}

/// Records that were not in the file when the time to close was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the audit log was closed with {records} records unwritten")]
pub struct Unwritten {
    /// How many.
    pub records: usize,
}

/// The audit log. Cloning is cheap; when the last clone is dropped the log closes by itself.
#[derive(Clone)]
pub struct Log(Arc<Owner>);

struct Owner {
    queue: Arc<Queue>,
    path: PathBuf,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.queue.close(Instant::now());
    }
}

impl Log {
    /// Opens or creates the file and starts the writer. A file whose last record is no stop
    /// record belonged to a gateway that was killed: a gap record says so. Then a start
    /// record is written. If that fails the log is open, and its gate closed.
    ///
    /// Blocks for one write.
    ///
    /// # Errors
    /// The file cannot be opened or read; the text names it and a remedy.
    pub fn open(settings: Settings) -> io::Result<Self> {
        if settings.queue == 0 {
            let text = "the audit queue needs at least one place";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let file = file::open(&settings.path)?;
        let tail = file::tail(&file).map_err(|error| {
            let shown = settings.path.display();
            io::Error::new(
                error.kind(),
                format!("cannot read the audit log {shown}: {error}"),
            )
        })?;
        Self::start(settings, tail, Box::new(file), Pace::default())
    }

    fn start(settings: Settings, tail: Tail, sink: Box<dyn Sink>, pace: Pace) -> io::Result<Self> {
        let queue = Queue::new(settings.queue, settings.when_unwritable, tail.sequence);
        let queue = Arc::new(queue);
        if let Some(gap) = tail.gap {
            tracing::warn!(
                last_sequence = gap.last_sequence,
                torn = gap.torn,
                "the audit log does not end with a stop record"
            );
            queue.note(&mut Record::gap(gap));
        }
        queue.note(&mut Record {
            gateway_version: Some(env!("CARGO_PKG_VERSION")),
            ..Record::new(Kind::Start)
        });
        let writer = Writer::new(Arc::clone(&queue), sink, pace);
        thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || writer.run())?;
        queue.wait_tried();
        Ok(Self(Arc::new(Owner {
            queue,
            path: settings.path,
        })))
    }

    /// Takes a place for one record, before anything is dialled. Never blocks.
    ///
    /// # Errors
    /// [`AuditFull`](crate::error::Reason::AuditFull),
    /// [`AuditUnwritable`](crate::error::Reason::AuditUnwritable) (both only with
    /// [`WhenUnwritable::Deny`]) or [`Draining`](crate::error::Reason::Draining).
    pub fn reserve(&self) -> Result<Slot, Refusal> {
        let reserved = self.0.queue.reserve()?;
        Ok(Slot {
            queue: Some(Arc::clone(&self.0.queue)),
            reserved,
        })
    }

    /// Queues a record of the gateway itself, such as of a reload: these need no slot and
    /// are taken also while the file cannot be written.
    pub fn note(&self, mut record: Record) {
        self.0.queue.note(&mut record);
    }

    /// Goes on in a new file of the same path, after the old one was renamed.
    ///
    /// # Errors
    /// The new file cannot be opened; the old one stays in use.
    pub fn reopen(&self) -> io::Result<()> {
        let file = file::open(&self.0.path)?;
        self.0.queue.switch(Box::new(file));
        self.note(Record::new(Kind::Rotate));
        Ok(())
    }

    /// The log's numbers.
    #[must_use]
    pub fn state(&self) -> State {
        self.0.queue.state()
    }

    /// Refuses new slots, waits for those given out, writes everything and a stop record.
    /// At the end of `timeout` slots still out are given up, and the record before the stop
    /// record says how many. Blocks: not for a task of an async runtime.
    ///
    /// # Errors
    /// How many records are not in the file.
    pub fn close(&self, timeout: Duration) -> Result<(), Unwritten> {
        let deadline = Instant::now() + timeout;
        self.0.queue.close(deadline);
        match self.0.queue.wait_closed(deadline + GRACE) {
            0 => Ok(()),
            records => Err(Unwritten { records }),
        }
    }
}

/// A place for one record. Dropped without [`Slot::write`] it is free again, and counted as
/// [`State::abandoned`].
#[must_use = "a slot without a record is a request that nobody can find"]
pub struct Slot {
    /// `None` once written.
    queue: Option<Arc<Queue>>,
    reserved: bool,
}

impl Slot {
    /// Queues the record and gives it its number, and its time and id where it has none. Never
    /// blocks and never fails.
    pub fn write(mut self, record: &mut Record) {
        if let Some(queue) = self.queue.take() {
            queue.push(record, self.reserved);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(queue) = self.queue.take() {
            queue.abandon(self.reserved);
        }
    }
}

#[cfg(test)]
mod tests;
