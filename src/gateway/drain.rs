//! Going away in order: no new connections, no new requests, then the end.

use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::sync::watch;

/// How far the gateway's going has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Stage {
    Serving,
    Draining,
    Over,
}

/// Tells everybody that the gateway goes away.
#[derive(Debug)]
pub struct DrainSignal(watch::Sender<Stage>);

/// Hears of it.
#[derive(Clone, Debug)]
pub struct Drain(watch::Receiver<Stage>);

impl DrainSignal {
    /// A signal that has not been given, and its listener.
    #[must_use]
    pub fn new() -> (Self, Drain) {
        let (sender, receiver) = watch::channel(Stage::Serving);
        (Self(sender), Drain(receiver))
    }

    /// From now on no request starts.
    pub fn begin(&self) {
        self.0.send_replace(Stage::Draining);
    }

    /// From now on nothing goes on: what still runs is cut off, and recorded as that.
    pub fn end(&self) {
        self.0.send_replace(Stage::Over);
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
    pub async fn begun(&mut self) {
        self.reach(Stage::Draining).await;
    }

    /// Whether it has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        *self.0.borrow() >= Stage::Draining
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        *self.0.borrow() >= Stage::Over
    }

    /// Runs `task` until the drain is over. No async function, whose future would have room for
    /// the task twice: one such is made for every connection.
    pub fn run(mut self, task: impl Future<Output = ()>) -> impl Future<Output = ()> {
        UntilOver {
            task,
            over: async move { self.reach(Stage::Over).await },
        }
    }

    async fn reach(&mut self, wanted: Stage) {
        // An error means that the signal is gone, and with it the gateway.
        let _ = self.0.wait_for(|stage| *stage >= wanted).await;
    }
}
