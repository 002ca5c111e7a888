//! Going away in order: no new connections, no new requests, then the end.

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

    /// Runs `task` until the drain is over.
    pub async fn run(mut self, task: impl Future<Output = ()>) {
        tokio::select! {
            biased;
            () = task => {}
            () = self.reach(Stage::Over) => {}
        }
    }

    async fn reach(&mut self, wanted: Stage) {
        // An error means that the signal is gone, and with it the gateway.
        let _ = self.0.wait_for(|stage| *stage >= wanted).await;
    }
}
