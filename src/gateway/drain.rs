//! Going away in order: no new connections, no new requests, then the end.

use tokio::sync::watch;

/// Tells everybody that the gateway goes away.
#[derive(Debug)]
pub struct DrainSignal(watch::Sender<bool>);

/// Hears of it.
#[derive(Clone, Debug)]
pub struct Drain(watch::Receiver<bool>);

impl DrainSignal {
    /// A signal that has not been given, and its listener.
    #[must_use]
    pub fn new() -> (Self, Drain) {
        let (sender, receiver) = watch::channel(false);
        (Self(sender), Drain(receiver))
    }

    /// From now on no request starts.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }
}

impl Drain {
    /// Resolves once draining has begun, at once if it already has.
    pub async fn begun(&mut self) {
        // An error means that the signal is gone, and with it the gateway.
        let _ = self.0.wait_for(|begun| *begun).await;
    }

    /// Whether it has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        *self.0.borrow()
    }
}
