//! Going away in order: no new connections, no new requests, then the end.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;
use tokio::sync::Notify;

/// How far the gateway's going has got.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
enum Stage {
    Serving,
    Draining,
    Over,
}

#[derive(Debug)]
struct Going {
    /// A [`Stage`], which only grows.
    stage: AtomicU8,
    progress: Notify,
}

impl Going {
    fn is_at(&self, stage: Stage) -> bool {
        self.stage.load(Ordering::Acquire) >= stage as u8
    }

    fn reach(&self, stage: Stage) {
        self.stage.fetch_max(stage as u8, Ordering::AcqRel);
        self.progress.notify_waiters();
    }
}

/// Tells everybody that the gateway goes away. Dropping it ends all.
#[derive(Debug)]
pub struct DrainSignal(Arc<Going>);

/// Hears of it.
#[derive(Clone, Debug)]
pub struct Drain(Arc<Going>);

impl DrainSignal {
    /// A signal that has not been given, and its listener.
    #[must_use]
    pub fn new() -> (Self, Drain) {
        let going = Arc::new(Going {
            stage: AtomicU8::new(Stage::Serving as u8),
            progress: Notify::new(),
        });
        (Self(going.clone()), Drain(going))
    }

    /// From now on no request starts.
    pub fn begin(&self) {
        self.0.reach(Stage::Draining);
    }

    /// From now on nothing goes on: what still runs is cut off, and recorded as that.
    pub fn end(&self) {
        self.0.reach(Stage::Over);
    }
}

impl Drop for DrainSignal {
    fn drop(&mut self) {
        self.end();
    }
}

pin_project! {
    /// Polls `reached` once, and again where there is another waker or the going has begun: tasks
    /// ask several times for each request, and the answer takes a lock that all of them share. So
    /// `reached` may not be put off by what a task has used up of its turn, as `Notify` is not.
    struct Seldom<W> {
        going: Arc<Going>,
        #[pin]
        reached: W,
        asked: Option<Waker>,
    }
}

impl<W: Future<Output = ()>> Future for Seldom<W> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let is_same = |waker: &Waker| waker.will_wake(cx.waker());
        if this.asked.as_ref().is_some_and(is_same) && !this.going.is_at(Stage::Draining) {
            return Poll::Pending;
        }
        *this.asked = Some(cx.waker().clone());
        this.reached.poll(cx)
    }
}

pin_project! {
    struct UntilOver<T, O> {
        #[pin]
        task: T,
        #[pin]
        over: O,
    }
}

impl<T, O> Future for UntilOver<T, O>
where
    T: Future<Output = ()>,
    O: Future<Output = ()>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        match this.task.poll(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => this.over.poll(cx),
        }
    }
}

impl Drain {
    /// Resolves once draining has begun, at once if it already has.
    pub fn begun(&self) -> impl Future<Output = ()> + use<> {
        self.reached(Stage::Draining)
    }

    /// Whether it has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.0.is_at(Stage::Draining)
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.is_at(Stage::Over)
    }

    /// Runs `task` until the drain is over. No async function, whose future would have room for
    /// the task twice: one such is made for every connection.
    pub fn run<T: Future<Output = ()>>(&self, task: T) -> impl Future<Output = ()> + use<T> {
        UntilOver {
            task,
            over: self.reached(Stage::Over),
        }
    }

    fn reached(&self, stage: Stage) -> impl Future<Output = ()> + use<> {
        let going = self.0.clone();
        Seldom {
            going: going.clone(),
            reached: async move {
                loop {
                    // Hears from here on, before the look.
                    let progress = going.progress.notified();
                    if going.is_at(stage) {
                        return;
                    }
                    progress.await;
                }
            },
            asked: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
    use std::task::Wake;

    use super::*;

    /// A task that remembers that it was woken.
    #[derive(Default)]
    struct Task(AtomicBool);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.store(true, SeqCst);
        }
    }

    impl Task {
        fn poll<F: Future>(self: &Arc<Self>, future: Pin<&mut F>) -> Poll<F::Output> {
            future.poll(&mut Context::from_waker(&self.clone().into()))
        }

        fn was_woken(&self) -> bool {
            self.0.swap(false, SeqCst)
        }
    }

    #[test]
    fn each_stage_is_heard_of_by_those_who_wait_for_it() {
        let (signal, drain) = DrainSignal::new();
        let (leaver, runner) = (Arc::new(Task::default()), Arc::new(Task::default()));
        let mut begun = pin!(drain.begun());
        let mut running = pin!(drain.run(std::future::pending()));
        for _ in 0..2 {
            assert!(leaver.poll(begun.as_mut()).is_pending());
            assert!(runner.poll(running.as_mut()).is_pending());
        }
        signal.begin();
        assert!(leaver.was_woken() && runner.was_woken());
        assert!(leaver.poll(begun.as_mut()).is_ready());
        for _ in 0..2 {
            assert!(runner.poll(running.as_mut()).is_pending());
        }
        assert!(drain.has_begun() && !drain.is_over());
        signal.end();
        assert!(runner.was_woken());
        assert!(runner.poll(running).is_ready());
        assert!(leaver.poll(pin!(drain.begun())).is_ready());
    }

    /// A future may go from one task to another.
    #[test]
    fn whoever_asked_last_is_woken() {
        let (signal, drain) = DrainSignal::new();
        let (first, last) = (Arc::new(Task::default()), Arc::new(Task::default()));
        let mut begun = pin!(drain.begun());
        assert!(first.poll(begun.as_mut()).is_pending());
        assert!(last.poll(begun.as_mut()).is_pending());
        drop(signal);
        assert!(!first.was_woken() && last.was_woken());
        assert!(last.poll(begun).is_ready());
    }

    #[tokio::test]
    async fn a_turn_that_is_used_up_does_not_keep_it_from_hearing() {
        let (signal, drain) = DrainSignal::new();
        let task = Arc::new(Task::default());
        let mut begun = pin!(drain.begun());
        std::future::poll_fn(|cx| {
            while let Poll::Ready(budget) = tokio::task::coop::poll_proceed(cx) {
                budget.made_progress();
            }
            assert!(task.poll(begun.as_mut()).is_pending());
            Poll::Ready(())
        })
        .await;
        assert!(!task.was_woken());
        signal.begin();
        assert!(task.was_woken());
        assert!(task.poll(begun).is_ready());
    }
}
