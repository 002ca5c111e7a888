//! When the task of an HTTP/2 connection takes its turn.

use std::pin::pin;
use std::task::{Context, Poll};

/// Lets a connection's task run after the streams that are ready to run, so that what they
/// have to send leaves in one write.
///
/// A stream that has something to send wakes its connection, and the runtime runs what was
/// woken last first: without this every frame would be a record and a system call of its own.
#[derive(Debug, Default)]
pub struct Turn {
    slept: bool,
    yielded: bool,
}

impl Turn {
    /// Polls by `poll`; right after having been woken it first goes to the end of the queue.
    pub fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.yielded = false;
        if std::mem::take(&mut self.slept) {
            // The runtime wakes it once nothing else is ready, or after a number of other
            // tasks.
            if pin!(tokio::task::yield_now()).poll(cx).is_pending() {
                self.yielded = true;
                return Poll::Pending;
            }
        }
        let polled = poll(cx);
        self.slept = polled.is_pending();
        polled
    }

    /// Whether the last poll only let others go first.
    #[must_use]
    pub fn has_yielded(&self) -> bool {
        self.yielded
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use tokio::sync::Notify;

    use super::*;

    /// Streams that are ready together are all served by one poll of their connection, though
    /// a worker runs what was woken last first.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn what_is_ready_is_gathered() {
        let polls = tokio::spawn(streams_and_their_connection()).await.unwrap();
        assert_eq!(polls, 2, "one before there was work, one for all of it");
    }

    async fn streams_and_their_connection() -> usize {
        let (work, polls) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let woken = Arc::new(Notify::new());
        let connection = {
            let (work, polls, woken) = (work.clone(), polls.clone(), woken.clone());
            async move {
                let mut turn = Turn::default();
                let mut notified = Box::pin(woken.notified());
                poll_fn(|cx| {
                    turn.poll(cx, |cx| {
                        polls.fetch_add(1, Relaxed);
                        while notified.as_mut().poll(cx).is_ready() {
                            notified.set(woken.notified());
                        }
                        match work.load(Relaxed) {
                            8 => Poll::Ready(()),
                            _ => Poll::Pending,
                        }
                    })
                })
                .await;
            }
        };
        let connection = tokio::spawn(connection);
        tokio::task::yield_now().await;
        for _ in 0..8 {
            let (work, woken) = (work.clone(), woken.clone());
            tokio::spawn(async move {
                work.fetch_add(1, Relaxed);
                woken.notify_one();
            });
        }
        connection.await.unwrap();
        polls.load(Relaxed)
    }
}
