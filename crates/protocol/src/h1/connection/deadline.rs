//! Deadlines of an HTTP/1 connection.

use super::{Close, CloseReason, Http1, MessageState};
use crate::Seconds;
use crate::error::ProtocolError;
use crate::h1::read_buf::Input;
use crate::limits::{FIRST_GRACE, Limits};
use crate::rate::Rate;

impl Http1 {
    /// When [`Http1::expire`] is due. Never while a response is waited for, or while the reading of a body is
    /// paused: how long that may take is for the driver, which then calls it.
    pub fn deadline(&self, input: Option<&Input>, limits: &Limits) -> Seconds {
        let wait = match self.state {
            // Half of an empty line.
            MessageState::Idle | MessageState::Blank(_)
                if input.is_some_and(|input| !input.is_empty()) =>
            {
                limits.head_timeout
            }
            MessageState::Idle | MessageState::Blank(_) if self.is_stopping() => {
                limits.idle_timeout.min(limits.stop_grace)
            }
            MessageState::Idle | MessageState::Blank(_) => limits.idle_timeout,
            MessageState::Head => limits.head_timeout,
            MessageState::Pieces(_) | MessageState::ChunkedPieces if self.paused => {
                return Seconds::NEVER;
            }
            MessageState::Drain => limits.body_grace,
            MessageState::Plan
            | MessageState::Exact(_)
            | MessageState::Chunked
            | MessageState::Pieces(_)
            | MessageState::ChunkedPieces
            | MessageState::Ready(_) => {
                let meter = input.and_then(Input::meter);
                let rate = Rate::of_bodies(limits);
                return meter.map_or(rate.first_due(self.since), |meter| meter.due(&rate));
            }
            MessageState::Waiting => return Seconds::NEVER,
            MessageState::Over(_) => limits.linger_timeout,
        };
        self.since.after(wait)
    }

    /// Whether no byte of a request has arrived, although a new client has had time to send one.
    pub fn is_spare(&self, now: Seconds) -> bool {
        self.is_idle() && (self.is_used() || now >= self.since.after(FIRST_GRACE))
    }

    /// When something last happened.
    #[inline]
    pub fn since(&self) -> Seconds {
        self.since
    }

    /// Memory is short: refuses the request that is arriving. False if there is none.
    pub fn give_way(&mut self) -> bool {
        let is_coming = match self.state {
            MessageState::Head | MessageState::Exact(_) | MessageState::Chunked => true,
            MessageState::Pieces(_) | MessageState::ChunkedPieces => !self.paused,
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
            MessageState::Head => self.refuse(ProtocolError::HeadTimeout),
            MessageState::Exact(_) | MessageState::Chunked => {
                self.refuse(ProtocolError::BodyTimeout)
            }
            MessageState::Pieces(_) | MessageState::ChunkedPieces if !self.paused => {
                self.refuse(ProtocolError::BodyTimeout)
            }
            MessageState::Over(close) => close,
            MessageState::Waiting | MessageState::Pieces(_) | MessageState::ChunkedPieces => {
                let close = Close {
                    reason: CloseReason::ResponseTimeout,
                    linger: !self.eof,
                };
                self.state = MessageState::Over(close);
                close
            }
            MessageState::Idle
            | MessageState::Blank(_)
            | MessageState::Plan
            | MessageState::Ready(_)
            | MessageState::Drain => self.over(CloseReason::IdleTimeout),
        }
    }
}
