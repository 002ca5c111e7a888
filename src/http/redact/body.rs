//! A body that is looked at as it passes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};

use super::calls::Calls;
use super::coded::{Coded, OVER_BUDGET};
use super::coding::{self, Coding, Content, Opaque};
use super::recoded::Recoded;
use super::{Echo, Manner};
use crate::credential::echo::{Found, Scan};
use crate::http::body::BodyError;

/// A body in which echoes are masked, with the same number of bytes as it has, or as it decodes
/// to.
#[derive(Debug)]
pub struct Redacting<B> {
    body: B,
    echo: Echo,
    look: Look,
    /// Wait behind the last bytes that were held back.
    trailers: Option<HeaderMap>,
    ended: bool,
}

/// How a body is looked at.
#[derive(Debug)]
enum Look {
    /// There is nothing to look for.
    Not,
    /// Its bytes as they are.
    Plain(Box<Scan>),
    /// What its bytes decode to.
    Coded(Box<Coded>),
    /// What its bytes decode to, which passes in place of them.
    Recoded(Box<Recoded>),
    /// What each of its messages decodes to.
    Calls(Box<Calls>),
    /// It cannot be looked into, so that no byte of it passes.
    Never(Opaque),
}

impl<B> Redacting<B> {
    /// Looks at `body`.
    pub(super) fn new(
        body: B,
        echo: Echo,
        content: Result<Content, Opaque>,
        manner: Manner,
    ) -> Self {
        let look = match (&echo.needles, content) {
            (None, _) => Look::Not,
            (Some(needles), Ok(Content::Whole(Coding::Identity))) => {
                let part = manner == Manner::Part;
                Look::Plain(Box::new(Scan::new(needles.clone(), part)))
            }
            (Some(needles), Ok(Content::Messages(coding))) => {
                Look::Calls(Box::new(Calls::new(coding, needles, echo.budget)))
            }
            (Some(needles), Ok(Content::Whole(coding))) => {
                let look = match manner {
                    Manner::Recode => Recoded::new(coding, needles, echo.budget)
                        .map(|recoded| Look::Recoded(Box::new(recoded))),
                    Manner::Whole | Manner::Part => Coded::new(coding, needles, echo.budget)
                        .map(|coded| Look::Coded(Box::new(coded))),
                };
                look.unwrap_or(Look::Never("there is no decoder for it"))
            }
            (Some(_), Err(what)) => Look::Never(what),
        };
        Self {
            body,
            echo,
            look,
            trailers: None,
            ended: false,
        }
    }

    /// The body again.
    pub fn into_inner(self) -> B {
        self.body
    }

    /// What may go of what came. `last`: nothing comes after.
    fn pass(&mut self, data: Bytes, last: bool) -> Result<Bytes, BodyError> {
        let mut found = Found::new();
        let passed = match &mut self.look {
            Look::Not => return Ok(data),
            Look::Never(_) if data.is_empty() => return Ok(data),
            Look::Never(what) => return Err(BodyError::Undecodable(what)),
            Look::Plain(scan) => Ok(scan.pass(data, last, &mut found)),
            Look::Coded(coded) => coded.pass(&data, last, &mut found),
            Look::Recoded(recoded) if last && data.is_empty() => recoded.end(&mut found),
            Look::Recoded(recoded) => {
                recoded.feed(data);
                recoded.next(&mut found)
            }
            Look::Calls(calls) => calls.pass(data, last, &mut found),
        };
        if let (false, Some(needles)) = (found.is_empty(), &self.echo.needles) {
            self.echo.note(needles, &found);
        }
        if let Err(BodyError::Undecodable(OVER_BUDGET)) = passed {
            self.echo.over_budget();
        }
        passed
    }

    /// More of what came before, where that stands for more than is given at a time.
    fn more(&mut self) -> Result<Bytes, BodyError> {
        match &self.look {
            Look::Recoded(_) => self.pass(Bytes::new(), false),
            Look::Not | Look::Plain(_) | Look::Coded(_) | Look::Calls(_) | Look::Never(_) => {
                Ok(Bytes::new())
            }
        }
    }

    fn held(&self) -> usize {
        match &self.look {
            Look::Not | Look::Never(_) => 0,
            Look::Recoded(recoded) => usize::from(recoded.is_open()),
            Look::Plain(scan) => scan.held(),
            Look::Coded(coded) => coded.held(),
            Look::Calls(calls) => calls.held(),
        }
    }
}

impl<B> http_body::Body for Redacting<B>
where
    B: http_body::Body<Data = Bytes, Error = BodyError> + Unpin,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Some(trailers) = this.trailers.take() {
            this.ended = true;
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        while !this.ended {
            let more = this.more()?;
            if !more.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(more))));
            }
            let Some(frame) = ready!(Pin::new(&mut this.body).poll_frame(cx)?) else {
                this.ended = true;
                let rest = this.pass(Bytes::new(), true)?;
                return Poll::Ready((!rest.is_empty()).then(|| Ok(Frame::data(rest))));
            };
            match frame.into_data() {
                Ok(data) => {
                    let last = this.body.is_end_stream();
                    let data = this.pass(data, last)?;
                    if !data.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                }
                Err(frame) => {
                    let mut trailers = frame.into_trailers().unwrap_or_default();
                    if let Look::Recoded(_) = this.look {
                        coding::forget(&mut trailers);
                    }
                    this.echo.headers(&mut trailers);
                    let rest = this.pass(Bytes::new(), true)?;
                    if rest.is_empty() {
                        this.ended = true;
                        return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                    }
                    this.trailers = Some(trailers);
                    return Poll::Ready(Some(Ok(Frame::data(rest))));
                }
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.ended || (self.body.is_end_stream() && self.held() == 0 && self.trailers.is_none())
    }

    fn size_hint(&self) -> SizeHint {
        if let (Look::Recoded(_), false) = (&self.look, self.is_end_stream()) {
            return SizeHint::default();
        }
        let inner = self.body.size_hint();
        let held = self.held() as u64;
        match inner.exact() {
            Some(exact) => SizeHint::with_exact(exact.saturating_add(held)),
            None => SizeHint::default(),
        }
    }
}
