//! Errors, deadlines and the end of a connection.

use super::*;
use crate::limits::FIRST_GRACE;
use crate::rate::Rate;
use core::time::Duration;

/// An idle connection keeps the memory of its streams for as long, so that a client that comes again soon costs no
/// allocation.
const REST: Duration = Duration::from_secs(1);

/// The first step of the end.
pub(super) fn announce_stop<X: Part>(out: &mut WriteBuf<X>) {
    out.push_with(|out| {
        write::goaway(MAX_31, ErrorCode::NO_ERROR, "", out);
        write::ping(STOPPING, false, out);
    });
}

impl<X: Part> Http2<X> {
    /// RFC 9113 section 5.4.
    #[cold]
    pub(super) fn fault(&mut self, error: FrameError, turn: &mut Turn<'_, X>) {
        let error = match error {
            FrameError::Stream(id, code, text) if self.check_opened(id, text).is_err() => {
                // There is nothing that could be reset (RFC 9113 section 6.4).
                Some(FrameError::Connection(code, text))
            }
            FrameError::Stream(id, code, text) => {
                self.reset_and_tell(id, code, Some(text), turn.out, turn.now);
                self.bucket.spend(text, turn.http2, turn.now).err()
            }
            error @ FrameError::Connection(..) => Some(error),
        };
        if let Some(FrameError::Connection(code, text)) = error {
            self.fail(code, text, turn.out);
        }
    }

    pub(super) fn fail(
        &mut self,
        code: ErrorCode,
        text: &'static str,
        out: &mut WriteBuf<X>,
    ) -> Close {
        let last = self.last_stream();
        out.push_with(|out| write::goaway(last, code, text, out));
        self.over(CloseReason::Error(code, text), !self.eof)
    }

    fn over(&mut self, reason: CloseReason, linger: bool) -> Close {
        let close = Close { reason, linger };
        self.state = State::Over(close);
        // The driver still learns what was lost of the streams that ended before, and which requests were malformed.
        self.events
            .retain(|event| matches!(event, Next::Reset { .. } | Next::Malformed { .. }));
        close
    }

    pub(super) fn is_announced(&self) -> bool {
        matches!(self.stopping, Stopping::Announced(_))
    }

    /// The connection ends soon (RFC 9113 section 6.8): the client learns that it shall open no more streams,
    /// and after a round trip, or [`Limits::stop_grace`], which one is the last. Streams up to that one are
    /// answered. So no request is lost.
    pub fn stop(&mut self, out: &mut WriteBuf<X>, now: Seconds) {
        if self.stopping == Stopping::No && !matches!(self.state, State::Over(_)) {
            self.stopping = Stopping::Announced(now);
            // Nothing comes before our settings (RFC 9113 section 3.4).
            if self.is_greeted {
                announce_stop(out);
            }
        }
    }

    /// What GOAWAY says: it never grows (RFC 9113 section 6.8).
    pub(super) fn last_stream(&self) -> u32 {
        match self.stopping {
            Stopping::Last(last) => last,
            Stopping::No | Stopping::Announced(_) => self.highest,
        }
    }

    pub(super) fn stop_for_good(&mut self, out: &mut WriteBuf<X>) {
        let last = self.last_stream();
        self.stopping = Stopping::Last(last);
        out.push_with(|out| write::goaway(last, ErrorCode::NO_ERROR, "", out));
    }

    /// Nothing more can be done with the bytes that are here: whether the connection is over.
    #[inline]
    pub(super) fn judge_end(&mut self, out: &mut WriteBuf<X>, now: Seconds) {
        if matches!(self.stopping, Stopping::Last(_)) && self.is_idle() {
            self.over(CloseReason::Finished, !self.eof);
        } else if self.eof {
            self.judge_eof(out, now);
        }
    }

    /// The client sends nothing more, no WINDOW_UPDATE either. Requests that are not complete are lost. The others
    /// get their responses, as far as the windows allow it.
    #[cold]
    fn judge_eof(&mut self, out: &mut WriteBuf<X>, now: Seconds) {
        self.has_lost |= self.block.take().is_some();
        let is_lost = |stream: &Stream<X>| !stream.is_received && !stream.is_unwanted;
        while let Some(stream) = self.streams.iter().find(|stream| is_lost(stream)) {
            let id = stream.id;
            self.has_lost = true;
            self.reset_and_tell(id, ErrorCode::CANCEL, None, out, now);
        }
        if self.events.is_empty() && self.is_idle() {
            let reason = match self.has_lost {
                true => CloseReason::ClientGone,
                false => CloseReason::ClientDone,
            };
            self.over(reason, false);
        }
    }

    /// Whether the client has no request open, although a new one has had time to begin.
    pub fn is_spare(&self, now: Seconds) -> bool {
        let has_begun = self.state == State::Open || now >= self.begun.after(FIRST_GRACE);
        has_begun && self.is_idle() && self.events.is_empty()
    }

    /// The place of an idle connection is needed: it ends now.
    pub fn give_way(&mut self, out: &mut WriteBuf<X>) -> Close {
        if let State::Over(close) = self.state {
            return close;
        }
        self.stop_for_good(out);
        self.over(CloseReason::Finished, !self.eof)
    }

    /// The connection is lost: nothing more of its responses will be sent. Watchers learn how much is missing.
    pub fn lose(&mut self) {
        for mut stream in self.streams.drain(..) {
            stream.queue.clear();
        }
    }

    /// When [`Http2::expire`] is due.
    pub fn deadline(&self, limits: &Limits) -> Seconds {
        if let State::Over(_) = self.state {
            return Seconds::NEVER;
        }
        let mut due = match (&self.block, self.state) {
            (Some(block), _) => block.since.after(limits.head_timeout),
            (None, State::Preface | State::FirstFrame) => self.begun.after(limits.head_timeout),
            (None, _) if self.is_idle() => self.idle_since.after(limits.idle_timeout),
            _ => Seconds::NEVER,
        };
        if self.is_idle() && self.has_room() {
            due = due.min(self.idle_since.after(REST));
        }
        if !self.is_acknowledged && self.is_greeted {
            due = due.min(self.begun.after(limits.head_timeout));
        }
        if let Stopping::Announced(since) = self.stopping {
            due = due.min(since.after(limits.stop_grace));
        }
        if self.is_starved() {
            due = due.min(self.stall.due(limits));
        }
        let streams = self
            .streams
            .iter()
            .map(|stream| self.stream_due(stream, limits));
        streams.fold(due, Seconds::min)
    }

    fn slow_stream(&self, limits: &Limits, now: Seconds) -> Option<u32> {
        let is_slow = |stream: &&Stream<X>| self.stream_due(stream, limits) <= now;
        self.streams.iter().find(is_slow).map(|stream| stream.id)
    }

    /// Streams wait for the window of the connection.
    fn is_starved(&self) -> bool {
        self.send <= 0 && self.has_backlog
    }

    /// When the client of a stream is too slow: with the window of the response, or with the body of the
    /// request.
    fn stream_due(&self, stream: &Stream<X>, limits: &Limits) -> Seconds {
        let sending = match stream.queue.is_empty() || stream.send > 0 {
            true => Seconds::NEVER,
            false => stream.stall.due(limits),
        };
        // A client that may send nothing is not slow.
        let is_asked = !stream.is_received
            && !stream.is_unwanted
            && !stream.is_paused
            && stream.may_go_on()
            && self.receive.has_room();
        let receiving = match is_asked {
            false => Seconds::NEVER,
            true => {
                let rate = Rate::of_bodies(limits);
                let first = rate.first_due(stream.asked_since);
                stream
                    .meter
                    .as_ref()
                    .map_or(first, |meter| meter.due(&rate))
            }
        };
        sending.min(receiving)
    }

    /// The deadline has passed. `None`: the connection goes on. [`Http2::next`] says which streams do not, in any case.
    pub fn expire(
        &mut self,
        out: &mut WriteBuf<X>,
        limits: &Limits,
        http2: &Http2Limits,
        now: Seconds,
    ) -> Option<Close> {
        if let State::Over(close) = self.state {
            return Some(close);
        }
        self.settle(now);
        if !self.is_greeted {
            self.greet(out, limits, http2);
        }
        let is_due = |since: Seconds| now >= since.after(limits.head_timeout);
        let (calm, timeout) = (ErrorCode::ENHANCE_YOUR_CALM, ErrorCode::SETTINGS_TIMEOUT);
        if self.block.is_some_and(|block| is_due(block.since)) {
            return Some(self.fail(calm, "a field block took too long", out));
        }
        if !self.is_acknowledged && is_due(self.begun) {
            let text = match self.state {
                State::Open => "SETTINGS was not acknowledged",
                _ => "the client preface took too long",
            };
            return Some(self.fail(timeout, text, out));
        }
        if let Stopping::Announced(since) = self.stopping {
            if now >= since.after(limits.stop_grace) {
                self.stop_for_good(out);
            }
        }
        if self.is_starved() && self.stall.due(limits) <= now {
            return Some(self.fail(calm, "the client takes its responses too slowly", out));
        }
        while let Some(id) = self.slow_stream(limits, now) {
            let text = "the client of a stream is too slow";
            self.reset_and_tell(id, ErrorCode::CANCEL, Some(text), out, now);
            if let Err(error) = self.bucket.spend("too many slow streams", http2, now) {
                let FrameError::Connection(code, text) = error else {
                    continue;
                };
                return Some(self.fail(code, text, out));
            }
        }
        self.expire_idle(out, limits, now)
    }

    /// There is memory of streams that have ended.
    fn has_room(&self) -> bool {
        self.streams.capacity() + self.events.capacity() > 0
    }

    fn expire_idle(
        &mut self,
        out: &mut WriteBuf<X>,
        limits: &Limits,
        now: Seconds,
    ) -> Option<Close> {
        if self.is_idle() && self.events.is_empty() {
            if now >= self.idle_since.after(REST) {
                (self.streams, self.events) = (Vec::new(), Vec::new());
            }
            if matches!(self.stopping, Stopping::Last(_)) {
                return Some(self.over(CloseReason::Finished, !self.eof));
            }
            if now >= self.idle_since.after(limits.idle_timeout) {
                let last = self.last_stream();
                out.push_with(|out| write::goaway(last, ErrorCode::NO_ERROR, "", out));
                return Some(self.over(CloseReason::IdleTimeout, !self.eof));
            }
        }
        None
    }
}
