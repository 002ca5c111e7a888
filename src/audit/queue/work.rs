//! The writer's side of the queue.

use std::io;
use std::time::{Duration, Instant, SystemTime};

use super::{BATCH, Inner, Phase, Queue, drafted};
use crate::audit::file::Sink;
use crate::audit::kind::{Gap, GapCause, Kind};
use crate::audit::record::Record;

/// When the writer has to do something even if nobody asks.
#[derive(Clone, Copy)]
pub(in crate::audit) struct Due {
    /// The last write or sync failed: try again then, and take nothing new before.
    pub(in crate::audit) retry: Option<Instant>,
    /// What was written becomes durable then.
    pub(in crate::audit) sync: Option<Instant>,
    /// How long to gather records before writing.
    pub(in crate::audit) gather: Duration,
}

/// What the writer does next.
pub(in crate::audit) enum Work {
    /// Lines wait to be taken.
    Write,
    Switch(Box<dyn Sink>),
    Retry,
    Sync,
    End,
}

/// How the wait for work goes on.
enum Step {
    Do(Work),
    Wait(Option<Instant>),
    Again,
}

impl Queue {
    /// Waits for something to do.
    pub(in crate::audit) fn next(&self, due: Due) -> Work {
        let mut inner = self.inner.lock();
        let mut gather = None;
        loop {
            if let Some(sink) = inner.sink.take() {
                return Work::Switch(sink);
            }
            let step = match due.retry {
                Some(retry) => inner.while_failing(retry),
                None if inner.records == 0 => inner.without_records(due.sync),
                None => {
                    let until = *gather.get_or_insert_with(|| Instant::now() + due.gather);
                    inner.with_records(until, BATCH.min(self.capacity / 2))
                }
            };
            match step {
                Step::Do(work) => return work,
                Step::Again => {}
                Step::Wait(Some(until)) => drop(self.work.wait_until(&mut inner, until)),
                Step::Wait(None) => self.work.wait(&mut inner),
            }
            inner.idle = false;
        }
    }

    /// Moves all lines that wait to the end of `pending`.
    pub(in crate::audit) fn take(&self, pending: &mut Vec<u8>) {
        let mut inner = self.inner.lock();
        inner.writing += std::mem::take(&mut inner.records);
        if pending.is_empty() {
            std::mem::swap(pending, &mut inner.lines);
        } else {
            pending.append(&mut inner.lines);
        }
    }

    /// Everything taken so far is in the file.
    pub(in crate::audit) fn written(&self) {
        let mut inner = self.inner.lock();
        inner.written += inner.writing as u64;
        inner.writing = 0;
        inner.tried = true;
        if inner.untold > 0 && inner.phase.takes() {
            let lost = std::mem::take(&mut inner.untold);
            let mut gap = Record::gap(Gap {
                cause: GapCause::Dropped,
                last_sequence: None,
                torn: None,
                lost: Some(lost),
            });
            drafted(&mut gap, |draft| inner.number(draft));
        }
        self.progress.notify_all();
    }

    /// The file takes nothing.
    pub(in crate::audit) fn failed(&self, error: &io::Error) {
        let mut inner = self.inner.lock();
        inner.tried = true;
        let first = inner.unwritable.is_none();
        inner.unwritable.get_or_insert_with(SystemTime::now);
        self.progress.notify_all();
        // Whoever reads the log of events may be slow, and nobody shall wait for that.
        drop(inner);
        if first {
            tracing::error!(%error, "the audit log cannot be written");
        }
    }

    /// The file takes everything again.
    pub(in crate::audit) fn recovered(&self) {
        let before = self.inner.lock().unwritable.take();
        if before.is_some() {
            tracing::info!("the audit log can be written again");
        }
    }

    /// The writer is gone, in whatever way: what is not in the file is lost.
    pub(in crate::audit) fn finish(&self) {
        let mut inner = self.inner.lock();
        inner.phase = match inner.phase {
            Phase::Closing(_) | Phase::Stopped(_) | Phase::Closed => Phase::Closed,
            Phase::Open | Phase::Dead => Phase::Dead,
        };
        let missing = (inner.records + inner.writing) as u64;
        inner.lost += missing;
        self.progress.notify_all();
        drop(inner);
        if missing > 0 {
            tracing::error!(
                records = missing,
                "the audit log ends without its last records"
            );
        }
    }
}

impl Inner {
    /// A write failed: nothing new is taken until it works.
    fn while_failing(&self, retry: Instant) -> Step {
        let now = Instant::now();
        let deadline = self.phase.deadline();
        if deadline.is_some_and(|deadline| now >= deadline) {
            Step::Do(Work::End)
        } else if now >= retry {
            Step::Do(Work::Retry)
        } else {
            Step::Wait(Some(deadline.map_or(retry, |deadline| retry.min(deadline))))
        }
    }

    fn with_records(&self, gather: Instant, enough: usize) -> Step {
        let enough = self.records >= enough || self.phase.deadline().is_some();
        if enough || Instant::now() >= gather {
            Step::Do(Work::Write)
        } else {
            Step::Wait(Some(gather))
        }
    }

    fn without_records(&mut self, sync: Option<Instant>) -> Step {
        let now = Instant::now();
        match self.phase {
            Phase::Closing(deadline) if self.reserved == 0 || now >= deadline => {
                self.stop(deadline);
                Step::Again
            }
            Phase::Closing(deadline) => Step::Wait(Some(deadline)),
            Phase::Open if sync.is_some_and(|sync| now >= sync) => Step::Do(Work::Sync),
            Phase::Open => {
                self.idle = true;
                Step::Wait(sync)
            }
            Phase::Stopped(_) | Phase::Closed | Phase::Dead => Step::Do(Work::End),
        }
    }

    /// Queues the stop record, and before it what will be missing.
    fn stop(&mut self, deadline: Instant) {
        if self.reserved > 0 {
            let lost = Some(self.reserved as u64);
            let mut gap = Record::gap(Gap {
                cause: GapCause::Unfinished,
                last_sequence: None,
                torn: None,
                lost,
            });
            drafted(&mut gap, |draft| self.number(draft));
        }
        let mut stop = Record {
            gateway_version: Some(env!("CARGO_PKG_VERSION")),
            ..Record::new(Kind::Stop)
        };
        drafted(&mut stop, |draft| self.number(draft));
        self.phase = Phase::Stopped(deadline);
    }
}
