//! How long a connection may take for what it is at.

use super::{Close, CloseReason, Http1, State};
use crate::h1::read_buf::Input;
use crate::{Seconds, error::ProtocolError, limits::Limits, rate::Rate};
use core::time::Duration;

/// How long the first request of a connection is waited for when there is no room for others.
const FIRST_GRACE: Duration = Duration::from_secs(1);

impl Http1 {
    /// When [`Http1::expire`] is due.
    pub fn deadline(&self, input: Option<&Input>, limits: &Limits) -> Seconds {
        let wait = match self.state {
            // Half an empty line.
            State::Idle | State::Blank(_) if input.is_some_and(|input| !input.is_empty()) => {
                limits.head_time
            }
            State::Idle | State::Blank(_) if self.is_stopping() => {
                limits.idle_time.min(limits.stop_grace)
            }
            State::Idle | State::Blank(_) => limits.idle_time,
            State::Head => limits.head_time,
            State::Pieces(_) | State::ChunkedPieces if self.paused => limits.answer_time,
            State::Drain => limits.body_grace,
            State::Plan
            | State::Exact(_)
            | State::Chunked
            | State::Pieces(_)
            | State::ChunkedPieces
            | State::Ready(_) => {
                let tempo = input.and_then(Input::tempo);
                let rate = Rate::of_bodies(limits);
                return tempo.map_or(rate.first_due(self.since), |tempo| tempo.due(&rate));
            }
            State::Waiting => limits.answer_time,
            State::Over(_) => limits.linger_time,
        };
        self.since.after(wait)
    }

    /// Nothing of a request is here, and whoever has just connected has had time to ask for something.
    pub fn is_spare(&self, now: Seconds) -> bool {
        self.is_idle() && (self.is_used() || now >= self.waited(FIRST_GRACE))
    }

    /// How long nothing has happened.
    #[inline]
    pub fn waited_for(&self, now: Seconds) -> Duration {
        Duration::from_secs(now.since(self.since).into())
    }

    /// When `wait` has passed since something last happened.
    #[inline]
    pub fn waited(&self, wait: Duration) -> Seconds {
        self.since.after(wait)
    }

    /// Memory is short: refuses the request that is coming in. False if none is.
    pub fn give_way(&mut self) -> bool {
        let is_coming = match self.state {
            State::Head | State::Exact(_) | State::Chunked => true,
            State::Pieces(_) | State::ChunkedPieces => !self.paused,
            _ => false,
        };
        if is_coming {
            self.refuse(ProtocolError::Overloaded);
        }
        is_coming
    }

    /// The deadline has passed.
    pub fn expire(&mut self) -> Close {
        match self.state {
            State::Head => self.refuse(ProtocolError::HeadTimeout),
            State::Exact(_) | State::Chunked => self.refuse(ProtocolError::BodyTimeout),
            State::Pieces(_) | State::ChunkedPieces if !self.paused => {
                self.refuse(ProtocolError::BodyTimeout)
            }
            State::Over(close) => close,
            State::Waiting | State::Pieces(_) | State::ChunkedPieces => {
                let close = Close {
                    reason: CloseReason::AnswerTimeout,
                    linger: !self.eof,
                };
                self.state = State::Over(close);
                close
            }
            State::Idle | State::Blank(_) | State::Plan | State::Ready(_) | State::Drain => {
                self.over(CloseReason::IdleTimeout)
            }
        }
    }
}
