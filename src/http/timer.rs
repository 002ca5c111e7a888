//! One timer for many waits.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep};

/// A timer that is set again and again, made for the first wait. All timers of the runtime are
/// behind one lock, which making and dropping one takes, and setting one that has run out, or to
/// an earlier time; setting it to a later time does not.
#[derive(Debug, Default)]
pub struct Timer(Option<Pin<Box<Sleep>>>);

/// Whether a [`Timer`] runs for the present wait.
#[derive(Debug, Default)]
pub struct Armed(bool);

impl Timer {
    /// What comes of `future`, or `None` where it is not there `limit` after it was first waited
    /// for.
    pub async fn within<T>(
        &mut self,
        limit: Duration,
        future: impl Future<Output = T>,
    ) -> Option<T> {
        let (mut future, mut armed) = (pin!(future), Armed::default());
        poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            ready!(self.poll_over(cx, limit, &mut armed));
            Poll::Ready(None)
        })
        .await
    }

    /// Whether `limit` has passed since the first of these calls with the same `armed`.
    pub fn poll_over(
        &mut self,
        cx: &mut Context<'_>,
        limit: Duration,
        Armed(armed): &mut Armed,
    ) -> Poll<()> {
        let deadline = || Instant::now() + limit;
        let timer = match &mut self.0 {
            Some(timer) => {
                if !*armed {
                    timer.as_mut().reset(deadline());
                }
                timer
            }
            none @ None => none.insert(Box::pin(tokio::time::sleep_until(deadline()))),
        };
        *armed = true;
        // Also where what was waited for has used up what its task may do in one turn.
        pin!(unconstrained(timer.as_mut())).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_never_idle_ends_too() {
        let busy = poll_fn(|cx| -> Poll<()> {
            // All that it may do in one turn, and it is at once ready for the next.
            while let Poll::Ready(budget) = tokio::task::coop::poll_proceed(cx) {
                budget.made_progress();
            }
            Poll::Pending
        });
        let mut timer = Timer::default();
        let begun = Instant::now();
        let waiting = timer.within(Duration::from_secs(1), busy);
        let mut waiting = pin!(waiting);
        let first = poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx))).await;
        assert!(first.is_pending());
        tokio::time::advance(Duration::from_secs(2)).await;
        let second = poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx))).await;
        assert_eq!(second, Poll::Ready(None));
        assert!(begun.elapsed() >= Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn each_wait_has_its_own_limit() {
        let mut timer = Timer::default();
        let second = Duration::from_secs(1);
        assert_eq!(timer.within(second, ready(7)).await, Some(7));
        assert!(timer.0.is_none());
        for limit in [60 * second, second, second, 60 * second] {
            let begun = Instant::now();
            assert_eq!(timer.within(limit, pending::<()>()).await, None);
            assert!((limit..limit + second).contains(&begun.elapsed()));
            let later = tokio::time::sleep(limit.mul_f32(0.5));
            assert_eq!(timer.within(limit, later).await, Some(()));
        }
    }
}
