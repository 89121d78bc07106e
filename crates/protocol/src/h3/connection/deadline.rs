//! Errors, ends of streams, deadlines and the end of a connection.

use super::*;
use crate::h3::stream::{Phase, STEP};
use crate::limits::FIRST_GRACE;
use core::time::Duration;

/// What the first GOAWAY says: the largest stream of a request (RFC 9114 section 5.2).
const LARGEST_REQUEST: u64 = varint::MAX - (STEP - 1);

/// An idle connection keeps the memory of its streams for as long, so that a client that comes again soon costs no
/// allocation.
const REST: Duration = Duration::from_secs(1);

impl Http3 {
    /// RFC 9114 section 8.
    #[cold]
    pub(super) fn fault(&mut self, fault: Fault, input: &mut StreamBytes<'_>, turn: &Turn<'_>) {
        match fault {
            Fault::Connection(code, text) => self.fail(code, text),
            Fault::Stream(code, text) => {
                input.drop_all();
                self.reset_and_tell(input.stream, code, Some(text), turn.http3, turn.now);
            }
        }
    }

    /// Ends a stream for a reason that the driver learns.
    #[cold]
    fn reset_and_tell(
        &mut self,
        stream: u64,
        code: ErrorCode,
        fault: Option<&'static str>,
        http3: &Http3Limits,
        now: Seconds,
    ) {
        self.remove(stream, now);
        match fault {
            Some(_) => self.counts.resets_sent += 1,
            None => self.counts.resets_received += 1,
        }
        self.events.push(Next::Reset {
            stream,
            code,
            fault,
        });
        let text = fault.unwrap_or("too many streams that are reset");
        if let Err(Fault::Connection(code, text)) = self.spend(1, text, http3, now) {
            self.fail(code, text);
        }
    }

    fn fail(&mut self, code: ErrorCode, text: &'static str) {
        self.over(CloseReason::Error(code, text));
    }

    fn over(&mut self, reason: CloseReason) {
        self.state = State::Over(Close { reason });
        // The driver still learns which streams ended before, and which requests were malformed.
        self.events
            .retain(|event| matches!(event, Next::Reset { .. } | Next::Malformed { .. }));
    }

    /// The client has reset a stream (RESET_STREAM): nothing more of it comes. [`Http3::poll`] says what follows.
    pub fn reset(&mut self, stream: u64, http3: &Http3Limits, now: Seconds) {
        self.settle(now);
        let result = match stream % 4 {
            0 => {
                self.taken_back(stream, http3, now);
                return;
            }
            2 => self.unidirectional_reset(stream, http3, now),
            _ => Ok(()),
        };
        if let Err(Fault::Connection(code, text)) = result {
            self.fail(code, text);
        }
    }

    /// The client does not want what is sent on a stream (STOP_SENDING). [`Http3::poll`] says what follows.
    pub fn stopped(&mut self, stream: u64, http3: &Http3Limits, now: Seconds) {
        self.settle(now);
        match stream % 4 {
            0 if self.requests_begun.is_new(stream) || self.position(stream).is_some() => {
                self.taken_back(stream, http3, now);
            }
            0 => {
                // Its response was complete. Work was done for it nevertheless.
                self.counts.resets_received += 1;
                let text = "too many streams that are reset";
                if let Err(Fault::Connection(code, text)) = self.spend(1, text, http3, now) {
                    self.fail(code, text);
                }
            }
            _ => {
                if let Fault::Connection(code, text) = self.control_stopped() {
                    self.fail(code, text);
                }
            }
        }
    }

    /// The client has taken a request back (RFC 9114 section 4.1.1).
    fn taken_back(&mut self, stream: u64, http3: &Http3Limits, now: Seconds) {
        let is_new = self.requests_begun.is_new(stream);
        if is_new && !self.requests_begun.begin(stream, http3.streams) {
            self.fail(ErrorCode::H3_ID_ERROR, "more streams than QUIC allows");
        } else if is_new || self.position(stream).is_some() {
            let code = ErrorCode::H3_REQUEST_CANCELLED;
            self.reset_and_tell(stream, code, None, http3, now);
        }
    }

    /// The connection ends soon (RFC 9114 section 5.2): the client learns that it shall open no more streams, and after
    /// [`Limits::stop_grace`], which one is the first that is not handled. Those before it are answered. So no request is lost.
    pub fn stop(&mut self, now: Seconds) {
        if self.stopping == Stopping::No && self.state == State::Open {
            self.stopping = Stopping::Announced(now);
            write::goaway(LARGEST_REQUEST, &mut self.out);
        }
    }

    /// The second step. What GOAWAY says never grows.
    fn stop_for_good(&mut self, now: Seconds) {
        if !matches!(self.stopping, Stopping::Last(..)) {
            let first = self.requests_begun.next();
            self.stopping = Stopping::Last(first, now);
            write::goaway(first, &mut self.out);
        }
    }

    /// Nothing more can be done: whether the connection is over.
    #[inline]
    pub(super) fn judge_end(&mut self, limits: &Limits, now: Seconds) {
        if let Stopping::Last(_, since) = self.stopping {
            // Streams that the client has opened, and of which nothing has come, may be on their way.
            let is_late = now >= since.after(limits.head_timeout);
            let may_end = is_late || !self.requests_begun.has_gaps();
            if may_end && self.is_idle() && self.events.is_empty() && self.state == State::Open {
                self.over(CloseReason::Finished);
            }
        }
    }

    /// Whether the client has no request open, although a new one has had time to begin.
    pub fn is_spare(&self, now: Seconds) -> bool {
        let has_begun = self.requests > 0 || now >= self.begun.after(FIRST_GRACE);
        has_begun && self.is_idle() && self.events.is_empty()
    }

    /// The place of an idle connection is needed: it ends now.
    pub fn give_way(&mut self, now: Seconds) -> Close {
        if self.state == State::Open {
            self.stop_for_good(now);
            self.over(CloseReason::Finished);
        }
        match self.state {
            State::Over(close) => close,
            State::Open => Close {
                reason: CloseReason::Finished,
            },
        }
    }

    /// When [`Http3::expire`] is due.
    pub fn deadline(&self, limits: &Limits) -> Seconds {
        if let State::Over(_) = self.state {
            return Seconds::NEVER;
        }
        let mut due = Seconds::NEVER;
        if self.is_idle() {
            due = self.idle_since.after(limits.idle_timeout);
            if self.has_room() {
                due = due.min(self.idle_since.after(REST));
            }
        }
        match self.stopping {
            Stopping::No => {}
            Stopping::Announced(since) => due = due.min(since.after(limits.stop_grace)),
            Stopping::Last(_, since) if self.is_idle() => {
                due = due.min(since.after(limits.head_timeout));
            }
            Stopping::Last(..) => {}
        }
        let streams = self.streams.iter().map(|stream| stream.due(limits));
        streams.fold(due, Seconds::min)
    }

    /// The deadline has passed. [`Http3::poll`] says what follows.
    pub fn expire(&mut self, limits: &Limits, http3: &Http3Limits, now: Seconds) {
        if let State::Over(_) = self.state {
            return;
        }
        self.settle(now);
        if let Stopping::Announced(since) = self.stopping {
            if now >= since.after(limits.stop_grace) {
                self.stop_for_good(now);
            }
        }
        self.expire_streams(limits, http3, now);
        if self.state == State::Open && self.is_idle() && self.events.is_empty() {
            if now >= self.idle_since.after(REST) {
                (self.streams, self.events) = (Vec::new(), Vec::new());
            }
            if now >= self.idle_since.after(limits.idle_timeout) {
                self.stop_for_good(now);
                self.over(CloseReason::IdleTimeout);
            }
        }
    }

    fn expire_streams(&mut self, limits: &Limits, http3: &Http3Limits, now: Seconds) {
        let is_slow = |stream: &&mut Stream| stream.due(limits) <= now;
        while let Some(stream) = self.streams.iter_mut().find(is_slow) {
            let id = stream.id;
            if stream.phase != Phase::Head {
                let text = "the client of a stream is too slow";
                let code = ErrorCode::H3_REQUEST_CANCELLED;
                self.reset_and_tell(id, code, Some(text), http3, now);
                continue;
            }
            // As in HTTP/1, it is told.
            self.partial -= stream.section.len();
            (stream.section, stream.phase) = (Vec::new(), Phase::Body);
            stream.is_unwanted = true;
            let error = ProtocolError::HeadTimeout;
            self.events.push(Next::Refused { stream: id, error });
            let text = "too many requests that are refused";
            if let Err(Fault::Connection(code, text)) = self.spend(1, text, http3, now) {
                self.fail(code, text);
            }
        }
    }

    /// There is memory of streams that have ended.
    fn has_room(&self) -> bool {
        self.streams.capacity() + self.events.capacity() > 0
    }
}
