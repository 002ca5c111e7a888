//! `Expect: 100-continue` on its way through (RFC 9110 §10.1.1): the agent sends its body once
//! the server wants it.

use std::time::Duration;

use http::StatusCode;
use tokio::time::{Instant, sleep_until};

use super::outgoing::Outgoing;
use super::upload::Upload;
use crate::http::redact::Agentward;

/// Whether the agent still waits for the word to go on.
pub struct Expectation<'a, 'r> {
    agentward: Agentward<'a, 'r>,
    /// When it gets the word in any case: many a server never answers an expectation.
    deadline: Option<Instant>,
}

impl<'a, 'r> Expectation<'a, 'r> {
    /// Of this request, which is being sent; a server has `wait` to say something.
    #[must_use]
    pub fn of(outgoing: &Outgoing, agentward: Agentward<'a, 'r>, wait: Duration) -> Self {
        let deadline = outgoing.expects_continue.then(|| Instant::now() + wait);
        Self {
            agentward,
            deadline,
        }
    }

    /// Resolves when the server has said nothing for too long; never where nobody waits.
    pub async fn unanswered(&self) {
        match self.deadline {
            Some(deadline) => sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    }

    /// Tells the agent to go on, once.
    pub async fn go_on(&mut self) {
        if self.deadline.take().is_some() {
            self.agentward.responder.go_on().await;
        }
    }

    /// The final response is here. Where it is an error or leads elsewhere, and neither the
    /// agent was told to send its body nor has it begun to, it will not.
    pub fn answered(self, status: StatusCode, outgoing: &Outgoing, upload: &mut Upload) {
        let waits = self.deadline.is_some() && outgoing.passed.bytes() == 0;
        if waits && !status.is_success() {
            upload.stop();
        }
    }
}
