//! Both directions of a WebSocket at once, and how it ends.
//!
//! What is read of a side is written to the other before more is read, so a slow reader
//! slows its writer down, and 8 KiB a direction is all that waits.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncWrite, ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::direction::{Direction, Violation, close_frame};
use super::frame::Side;
use crate::error::{Reason, Refusal};
use crate::http::h1::{Reader, Writer};
use crate::http::incoming::{SharedReader, WritingHalf};
use crate::http::io::{BoxStream, LastSeen};

/// The agent's leg, after its 101.
pub struct AgentLeg<'a> {
    /// Reads what it sends.
    pub reader: &'a SharedReader,
    /// Writes what it gets.
    pub writer: &'a mut Writer<WritingHalf>,
}

/// The server's leg, after its 101.
pub struct ServerLeg<'a> {
    /// Reads what it sends.
    pub reader: &'a mut Reader<ReadHalf<BoxStream>>,
    /// Writes what it gets.
    pub writer: &'a mut Writer<WriteHalf<BoxStream>>,
}

/// What bounds the wait of a WebSocket.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Without a byte either way.
    pub idle: Duration,
    /// In all.
    pub life: Duration,
    /// From one side's close frame to the other's.
    pub close: Duration,
}

/// How a WebSocket ended.
#[derive(Debug)]
pub struct Ended {
    /// What broke it off, if it did not end by itself.
    pub refusal: Option<Refusal>,
    /// Whether the agent got a close frame: then its leg ends in order as well.
    pub orderly: bool,
}

/// What a peer is told at the end.
#[derive(Clone, Debug)]
struct Close {
    code: u16,
    reason: String,
}

/// How one direction ended.
#[derive(Debug)]
enum End {
    /// Its close frame passed.
    Closed,
    /// Its sender is gone.
    SourceGone,
    /// Its receiver is gone.
    SinkGone,
    /// Its sender broke the rules.
    Violation(Violation),
    /// It was told to, and its receiver got a close frame, or could not get one any more.
    Stopped { told: bool },
}

/// Where frames come from.
trait Source {
    /// The next bytes; none at the end.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<BytesMut>>;
}

impl Source for &SharedReader {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<BytesMut>> {
        self.poll_raw(cx)
    }
}

impl Source for &mut Reader<ReadHalf<BoxStream>> {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<BytesMut>> {
        self.poll_raw(cx)
    }
}

/// Passes frames on until both sides have said that they end, or one of them has gone, or
/// `leave` resolves: the gateway goes away.
pub async fn relay(
    agent: AgentLeg<'_>,
    server: ServerLeg<'_>,
    mut up: Direction,
    mut down: Direction,
    times: Times,
    leave: impl Future<Output = ()>,
) -> Ended {
    let seen = LastSeen::new();
    let (stop_up, stopped_up) = watch::channel(None);
    let (stop_down, stopped_down) = watch::channel(None);
    let ending = Ending {
        stop_up,
        stop_down,
        up: None,
        down: None,
        refusal: None,
        deadline: None,
        close: times.close,
    };
    let up = pump(agent.reader, server.writer, &mut up, stopped_up, &seen);
    let down = pump(server.reader, agent.writer, &mut down, stopped_down, &seen);
    ending.run((up, down), &seen, times, leave).await
}

/// One direction to its end.
async fn pump(
    mut source: impl Source,
    sink: &mut Writer<impl AsyncWrite + Unpin>,
    direction: &mut Direction,
    mut stopped: watch::Receiver<Option<Close>>,
    seen: &LastSeen,
) -> End {
    loop {
        let data = tokio::select! {
            biased;
            close = stop(&mut stopped) => Err(close),
            // A failure is an end like any other.
            data = poll_fn(|cx| source.poll_next(cx)) => Ok(data.unwrap_or_default()),
        };
        let data = match data {
            Ok(data) => data,
            Err(close) => return tell(sink, direction, close).await,
        };
        if data.is_empty() {
            return End::SourceGone;
        }
        seen.now();
        let mut out = BytesMut::with_capacity(data.len());
        let pushed = direction.push(data, &mut out);
        if sink.write_raw(out.freeze()).await.is_err() {
            return End::SinkGone;
        }
        if let Err(violation) = pushed {
            let close = Close {
                code: 1001,
                reason: String::new(),
            };
            tell(sink, direction, Some(close)).await;
            return End::Violation(violation);
        }
        seen.now();
        if direction.is_closed() && direction.is_between_frames() {
            return End::Closed;
        }
    }
}

/// Resolves when the direction is to end, with what its receiver is told.
async fn stop(stopped: &mut watch::Receiver<Option<Close>>) -> Option<Close> {
    let close = stopped.wait_for(Option::is_some).await;
    close.ok().and_then(|close| close.clone())
}

/// Says goodbye, where the last frame has gone out whole.
async fn tell(
    sink: &mut Writer<impl AsyncWrite + Unpin>,
    direction: &Direction,
    close: Option<Close>,
) -> End {
    let (Some(close), true) = (close, direction.is_between_frames()) else {
        return End::Stopped { told: false };
    };
    let told = match close_frame(direction.from(), close.code, &close.reason) {
        Some(frame) => sink.write_raw(frame).await.is_ok(),
        None => false,
    };
    End::Stopped { told }
}

/// What is known of the end so far.
struct Ending {
    stop_up: watch::Sender<Option<Close>>,
    stop_down: watch::Sender<Option<Close>>,
    up: Option<End>,
    down: Option<End>,
    refusal: Option<Refusal>,
    deadline: Option<Instant>,
    close: Duration,
}

impl Ending {
    async fn run(
        mut self,
        (up, down): (impl Future<Output = End>, impl Future<Output = End>),
        seen: &LastSeen,
        Times { idle, life, .. }: Times,
        leave: impl Future<Output = ()>,
    ) -> Ended {
        let over = Instant::now() + life;
        let mut up = std::pin::pin!(up);
        let mut down = std::pin::pin!(down);
        let mut leave = std::pin::pin!(leave);
        let mut leaving = false;
        while self.goes_on() {
            let wake = self.deadline.unwrap_or_else(|| seen.last() + idle);
            tokio::select! {
                biased;
                end = &mut up, if self.up.is_none() => self.ended(Side::Agent, end),
                end = &mut down, if self.down.is_none() => self.ended(Side::Server, end),
                () = &mut leave, if !leaving => {
                    leaving = true;
                    self.stop_all(Reason::Draining, "the gateway is going away");
                }
                () = sleep_until(over), if self.deadline.is_none() => {
                    self.stop_all(Reason::TunnelExpired, "a WebSocket may not last longer");
                }
                () = sleep_until(wake) => {
                    if self.deadline.is_some() {
                        break;
                    }
                    if seen.last() + idle <= Instant::now() {
                        self.stop_all(Reason::IdleTimeout, "nothing came for too long");
                    }
                }
            }
        }
        let orderly = matches!(self.down, Some(End::Closed | End::Stopped { told: true }));
        Ended {
            refusal: self.refusal,
            orderly,
        }
    }

    /// Whether something may still pass.
    fn goes_on(&self) -> bool {
        let gone = |end: &Option<End>| matches!(end, Some(End::SourceGone | End::SinkGone));
        !(gone(&self.up) || gone(&self.down) || (self.up.is_some() && self.down.is_some()))
    }

    /// What follows from the end of what `from` sends.
    fn ended(&mut self, from: Side, end: End) {
        let other_closed = match from {
            Side::Agent => matches!(self.down, Some(End::Closed)),
            Side::Server => matches!(self.up, Some(End::Closed)),
        };
        match &end {
            End::Closed => self.wait_for_the_other(),
            // Whoever has said goodbye may be gone before the answer.
            End::SourceGone | End::SinkGone if other_closed || self.deadline.is_some() => {}
            End::SourceGone => self.gone(from),
            End::SinkGone => self.gone(match from {
                Side::Agent => Side::Server,
                Side::Server => Side::Agent,
            }),
            End::Violation(violation) => {
                let close = Close {
                    code: violation.code,
                    reason: violation.refusal.sentence.clone(),
                };
                self.refusal.get_or_insert(violation.refusal.clone());
                match from {
                    Side::Agent => self.stop_down.send_replace(Some(close)),
                    Side::Server => self.stop_up.send_replace(Some(close)),
                };
                self.wait_for_the_other();
            }
            End::Stopped { .. } => {}
        }
        match from {
            Side::Agent => self.up = Some(end),
            Side::Server => self.down = Some(end),
        }
    }

    fn gone(&mut self, side: Side) {
        let refusal = match side {
            Side::Agent => Refusal::new(
                Reason::AgentClosed,
                "the agent ended a WebSocket without a close frame",
            ),
            Side::Server => Refusal::new(
                Reason::UpstreamClosed,
                "the server ended a WebSocket without a close frame",
            ),
        };
        self.refusal.get_or_insert(refusal);
    }

    fn stop_all(&mut self, reason: Reason, sentence: &str) {
        self.refusal
            .get_or_insert_with(|| Refusal::new(reason, sentence));
        let close = Close {
            code: 1001,
            reason: sentence.to_owned(),
        };
        self.stop_up.send_replace(Some(close.clone()));
        self.stop_down.send_replace(Some(close));
        self.wait_for_the_other();
    }

    fn wait_for_the_other(&mut self) {
        self.deadline
            .get_or_insert_with(|| Instant::now() + self.close);
    }
}
