//! What stands between those who record and the one thread that writes.
//!
//! One lock over a few numbers and the lines that wait. It is held for a handful of
//! instructions by each side, of which copying a line is the most; nothing is written or
//! waited for under it except by the writer, which gives it up while it waits.

mod work;

use std::cell::Cell;
use std::time::{Instant, SystemTime};

use parking_lot::{Condvar, Mutex, MutexGuard};

pub(super) use self::work::{Due, Work};
use super::draft::Draft;
use super::file::Sink;
use super::record::{Record, id_at};
use super::state::{State, WhenUnwritable};
use crate::error::{Reason, Refusal};

/// So many records are worth a write at once.
const BATCH: usize = 1_024;
/// Places beyond the capacity for the gateway's own records, of which it writes few.
const NOTES: usize = 64;

pub(super) struct Queue {
    inner: Mutex<Inner>,
    /// The writer waits here for work.
    work: Condvar,
    /// Others wait here for the writer.
    progress: Condvar,
    capacity: usize,
    when_unwritable: WhenUnwritable,
}

struct Inner {
    /// Whole lines.
    lines: Vec<u8>,
    /// How many.
    records: usize,
    /// Slots given out and not yet used.
    reserved: usize,
    /// Records that the writer took and has not written.
    writing: usize,
    /// Number of the last record.
    sequence: u64,
    unwritable: Option<SystemTime>,
    /// Records lost that no gap record has told of yet.
    untold: u64,
    written: u64,
    refused: u64,
    lost: u64,
    abandoned: u64,
    /// A file that takes the place of the one in use.
    sink: Option<Box<dyn Sink>>,
    phase: Phase,
    /// Whether the writer has tried to write at all.
    tried: bool,
    /// The writer waits and nothing will wake it but us.
    idle: bool,
}

/// The life of a log; the times are until when closing may take.
#[derive(Clone, Copy)]
enum Phase {
    Open,
    /// No new slots; records of those given out are awaited.
    Closing(Instant),
    /// The stop record is queued: what comes now is lost.
    Stopped(Instant),
    /// The writer has ended in order.
    Closed,
    /// The writer has ended by a defect.
    Dead,
}

impl Phase {
    /// Whether records are taken.
    fn takes(self) -> bool {
        match self {
            Self::Open | Self::Closing(_) => true,
            Self::Stopped(_) | Self::Closed | Self::Dead => false,
        }
    }

    /// Whether the writer is gone.
    fn ended(self) -> bool {
        match self {
            Self::Closed | Self::Dead => true,
            Self::Open | Self::Closing(_) | Self::Stopped(_) => false,
        }
    }

    fn deadline(self) -> Option<Instant> {
        match self {
            Self::Closing(deadline) | Self::Stopped(deadline) => Some(deadline),
            Self::Open | Self::Closed | Self::Dead => None,
        }
    }
}

impl Queue {
    pub(super) fn new(capacity: usize, when_unwritable: WhenUnwritable, sequence: u64) -> Self {
        Self {
            inner: Mutex::new(Inner {
                lines: Vec::new(),
                records: 0,
                reserved: 0,
                writing: 0,
                sequence,
                unwritable: None,
                untold: 0,
                written: 0,
                refused: 0,
                lost: 0,
                abandoned: 0,
                sink: None,
                phase: Phase::Open,
                tried: false,
                idle: false,
            }),
            work: Condvar::new(),
            progress: Condvar::new(),
            capacity,
            when_unwritable,
        }
    }

    /// Takes a place. `Ok(false)`: there is none, and the operator wants to go on without.
    pub(super) fn reserve(&self) -> Result<bool, Refusal> {
        let mut inner = self.inner.lock();
        let full = inner.used() >= self.capacity;
        let gone = match inner.phase {
            Phase::Closing(_) | Phase::Stopped(_) | Phase::Closed => true,
            Phase::Open | Phase::Dead => false,
        };
        let refusal = if gone {
            Refusal::new(
                Reason::Draining,
                "the gateway is going away; try again in a moment",
            )
        } else if self.when_unwritable == WhenUnwritable::Continue {
            inner.reserved += usize::from(!full);
            return Ok(!full);
        } else if inner.unwritable.is_some() || inner.phase.ended() {
            Refusal::new(
                Reason::AuditUnwritable,
                "the gateway cannot write its audit log and passes nothing until it can; \
                 try again later",
            )
        } else if full {
            Refusal::new(
                Reason::AuditFull,
                "the gateway has no room for another audit record just now; try again later",
            )
        } else {
            inner.reserved += 1;
            return Ok(true);
        };
        inner.refused += 1;
        Err(refusal)
    }

    /// Gives a place back unused.
    pub(super) fn abandon(&self, reserved: bool) {
        let mut inner = self.inner.lock();
        inner.reserved -= usize::from(reserved);
        inner.abandoned += 1;
        self.wake_to_close(&inner);
    }

    /// Queues the record of a slot.
    pub(super) fn push(&self, record: &mut Record, reserved: bool) {
        drafted(record, |draft| {
            let mut inner = self.inner.lock();
            inner.reserved -= usize::from(reserved);
            let room = reserved || inner.used() < self.capacity;
            self.enqueue(inner, draft, room);
        });
    }

    /// Queues a record of the gateway itself, which needs no slot.
    pub(super) fn note(&self, record: &mut Record) {
        drafted(record, |draft| {
            let inner = self.inner.lock();
            let room = inner.used() < self.capacity + NOTES;
            self.enqueue(inner, draft, room);
        });
    }

    fn enqueue(&self, mut inner: MutexGuard<'_, Inner>, draft: &Draft, room: bool) {
        if room && inner.phase.takes() {
            inner.number(draft);
        } else {
            // A number is used up all the same: the hole shows in the file.
            inner.sequence += 1;
            inner.lost += 1;
            inner.untold += 1;
        }
        // The writer gathers for a while on its own; it is woken only where it sleeps for
        // good, or where waiting on would fill the queue.
        let hurry = BATCH.min(self.capacity / 2).max(1);
        if inner.idle || inner.records == hurry {
            inner.idle = false;
            self.work.notify_one();
        }
        self.wake_to_close(&inner);
    }

    fn wake_to_close(&self, inner: &Inner) {
        if inner.phase.deadline().is_some() {
            self.work.notify_one();
        }
    }

    /// Gives the writer another file.
    pub(super) fn switch(&self, sink: Box<dyn Sink>) {
        self.inner.lock().sink = Some(sink);
        self.work.notify_one();
    }

    /// Asks the writer to end: when all slots are used, or at the deadline at the latest.
    pub(super) fn close(&self, deadline: Instant) {
        let mut inner = self.inner.lock();
        inner.phase = match inner.phase {
            Phase::Open => Phase::Closing(deadline),
            Phase::Closing(before) => Phase::Closing(before.min(deadline)),
            Phase::Stopped(before) => Phase::Stopped(before.min(deadline)),
            ended @ (Phase::Closed | Phase::Dead) => ended,
        };
        self.work.notify_one();
    }

    /// Waits for the writer to end; returns how many records are not in the file.
    pub(super) fn wait_closed(&self, until: Instant) -> usize {
        let mut inner = self.inner.lock();
        while !inner.phase.ended() {
            if self.progress.wait_until(&mut inner, until).timed_out() {
                break;
            }
        }
        inner.records + inner.writing
    }

    /// Waits until the writer has tried to write once.
    pub(super) fn wait_tried(&self) {
        let mut inner = self.inner.lock();
        while !inner.tried && !inner.phase.ended() {
            self.progress.wait(&mut inner);
        }
    }

    pub(super) fn state(&self) -> State {
        let inner = self.inner.lock();
        State {
            queued: inner.records + inner.writing,
            reserved: inner.reserved,
            capacity: self.capacity,
            unwritable_since: inner.unwritable,
            written: inner.written,
            refused: inner.refused,
            lost: inner.lost,
            abandoned: inner.abandoned,
        }
    }
}

impl Inner {
    fn used(&self) -> usize {
        self.reserved + self.records + self.writing
    }

    fn number(&mut self, draft: &Draft) {
        self.sequence += 1;
        draft.append(self.sequence, &mut self.lines);
        self.records += 1;
    }
}

/// The line of a record, in which what every record has is filled in. Its memory is the
/// thread's.
fn drafted<T>(record: &mut Record, then: impl FnOnce(&Draft) -> T) -> T {
    thread_local! {
        static DRAFT: Cell<Draft> = Cell::default();
    }
    let time = *record.time.get_or_insert_with(SystemTime::now);
    record.id.get_or_insert_with(|| id_at(time));
    // While the thread ends there is none, and a new one does.
    let mut draft = DRAFT.try_with(Cell::take).unwrap_or_default();
    draft.write(record);
    let done = then(&draft);
    let _ = DRAFT.try_with(|kept| kept.set(draft));
    done
}
