//! The one thread that writes the log.
//!
//! Records gather for ten milliseconds and go out in one write. A write that fails is
//! tried again, with growing pauses, from the byte at which it failed; nothing new is taken
//! meanwhile, so that memory stays within the queue's capacity. What was written is made
//! durable once a second and at the end: a killed gateway loses what gathered in these
//! milliseconds, and what the file has not taken; a power failure up to a second.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::file::Sink;
use super::kind::{Gap, GapCause};
use super::queue::{Due, Queue, Work};
use super::record::Record;

/// A buffer that grew beyond this for once is given back.
const BUFFER: usize = 1024 * 1024;

/// How long things take that need not be done at once.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    /// Records gather so long before they are written.
    pub(super) gather: Duration,
    /// Written records become durable after so long.
    pub(super) sync: Duration,
    /// First pause after a failure; each further one is twice as long.
    pub(super) retry_first: Duration,
    /// Longest pause.
    pub(super) retry_most: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            gather: Duration::from_millis(10),
            sync: Duration::from_secs(1),
            retry_first: Duration::from_millis(100),
            retry_most: Duration::from_secs(5),
        }
    }
}

pub(super) struct Writer {
    queue: Arc<Queue>,
    sink: Box<dyn Sink>,
    pace: Pace,
    /// Whole lines, of which the first `done` bytes are in the file.
    pending: Vec<u8>,
    done: usize,
    retry: Option<Instant>,
    pause: Duration,
    /// There is something to make durable then.
    sync: Option<Instant>,
    /// The last sync failed.
    unsynced: bool,
}

/// Says that the writer is gone, also if it panics: the gate closes.
struct Finish(Arc<Queue>);

impl Drop for Finish {
    fn drop(&mut self) {
        self.0.finish();
    }
}

impl Writer {
    pub(super) fn new(queue: Arc<Queue>, sink: Box<dyn Sink>, pace: Pace) -> Self {
        let mut writer = Self {
            queue,
            sink,
            pace,
            pending: Vec::new(),
            done: 0,
            retry: None,
            pause: pace.retry_first,
            sync: None,
            unsynced: false,
        };
        writer.begin_line();
        writer
    }

    /// Runs until the queue is closed.
    pub(super) fn run(mut self) {
        let _finish = Finish(Arc::clone(&self.queue));
        loop {
            let due = Due {
                retry: self.retry,
                sync: self.sync,
                gather: self.pace.gather,
            };
            match self.queue.next(due) {
                Work::Write => {
                    self.queue.take(&mut self.pending);
                    self.write();
                }
                Work::Switch(sink) => self.switch(sink),
                Work::Retry => self.again(),
                Work::Sync => self.make_durable(),
                Work::End if self.retry.is_none() => break,
                // The time is over while the file takes nothing: one last try, which may
                // open the way for all the rest.
                Work::End => {
                    self.again();
                    if self.retry.is_some() {
                        break;
                    }
                }
            }
        }
        self.make_durable();
    }

    /// Repeats what failed.
    fn again(&mut self) {
        if self.done < self.pending.len() {
            self.write();
        } else {
            self.make_durable();
        }
    }

    /// Writes what is pending, or as much as the file takes.
    fn write(&mut self) {
        while let Some(rest) = self
            .pending
            .get(self.done..)
            .filter(|rest| !rest.is_empty())
        {
            match self.sink.write(rest) {
                Ok(0) => return self.failed(&io::ErrorKind::WriteZero.into()),
                Ok(count) => self.done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.failed(&error),
            }
        }
        self.pending.clear();
        self.pending.shrink_to(BUFFER);
        self.done = 0;
        self.sync
            .get_or_insert_with(|| Instant::now() + self.pace.sync);
        self.queue.written();
        if self.unsynced {
            // The gate stays closed until that has worked, too.
            self.retry = Some(Instant::now());
        } else {
            self.recovered();
        }
    }

    fn make_durable(&mut self) {
        if self.sync.is_none() {
            return;
        }
        if let Err(error) = self.sink.sync() {
            self.unsynced = true;
            return self.failed(&error);
        }
        self.sync = None;
        if std::mem::take(&mut self.unsynced) {
            self.note_unsynced();
        }
        if self.done == self.pending.len() {
            self.recovered();
        }
    }

    /// Goes on in another file. A line begun in the old one is written anew as a whole.
    fn switch(&mut self, sink: Box<dyn Sink>) {
        if self.sync.is_some() && self.sink.sync().is_err() || self.unsynced {
            self.note_unsynced();
        }
        self.sync = None;
        self.unsynced = false;
        self.sink = sink;
        let written = self.pending.get(..self.done).unwrap_or_default();
        let whole = memchr::memrchr(b'\n', written).map_or(0, |newline| newline + 1);
        self.pending.drain(..whole);
        self.done = 0;
        self.begin_line();
        // With something pending this tries at once; without, it opens the gate.
        self.write();
    }

    /// Ends the line that a killed gateway left unfinished, before anything else.
    fn begin_line(&mut self) {
        if self.sink.ends_mid_line() {
            self.pending.insert(0, b'\n');
        }
    }

    /// What the kernel could not make durable once, it may have dropped (fsync(2)).
    fn note_unsynced(&self) {
        self.queue.note(&mut Record::gap(Gap {
            cause: GapCause::Unsynced,
            last_sequence: None,
            torn: None,
            lost: None,
        }));
    }

    fn failed(&mut self, error: &io::Error) {
        self.queue.failed(error);
        self.retry = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(self.pace.retry_most);
    }

    fn recovered(&mut self) {
        self.retry = None;
        self.pause = self.pace.retry_first;
        self.queue.recovered();
    }
}
