//! Deadlines of a WebSocket connection.

use super::{BURST, Control, End, FrameError, State, WsConn, WsInput, WsLimits};
use crate::Seconds;
use crate::rate::{Rate, RateMeter};
use core::time::Duration;

/// The code for a server that has too much to do (registered with IANA; RFC 6455 section 11.7).
const TRY_AGAIN_LATER: u16 = 1013;

impl<X> WsConn<X> {
    /// Bytes have arrived.
    pub fn heard(&mut self, now: Seconds) {
        if self.heard != now {
            self.next_second(now);
        }
        // Any byte counts, because a client that sends a large message cannot send a pong inside it.
        if self.state == State::Open {
            self.pinged = false;
        }
    }

    /// Whether bytes of the client are handled.
    pub fn reads(&self) -> bool {
        !self.is_crowded() && !self.is_paused()
    }

    /// Whether the program has stopped the reading. A connection that closes reads in any case, up to the close frame of the
    /// client.
    pub fn is_paused(&self) -> bool {
        self.held && self.state == State::Open
    }

    /// Reads nothing until [`WsConn::resume`], for [`WsLimits::pause_timeout`] at most. The client is not expected to
    /// respond to a ping meanwhile.
    pub fn pause(&mut self, now: Seconds) {
        if self.state == State::Open && !self.held {
            (self.held, self.paused, self.pinged) = (true, true, false);
            self.since = now;
        }
    }

    /// Reads again. The client has its whole time for its next byte.
    pub fn resume(&mut self, now: Seconds) {
        if core::mem::take(&mut self.held) {
            self.heard(now);
        }
    }

    /// Our ping, close frame or end of the stream is sent now. From now on the peer has to respond.
    pub fn await_peer(&mut self, now: Seconds) {
        self.since = now;
    }

    /// The moment when `wait` has passed since then.
    pub fn waited(&self, wait: Duration) -> Seconds {
        self.since.after(wait)
    }

    /// A new second has begun: restores the numbers of frames that may arrive in it.
    fn next_second(&mut self, now: Seconds) {
        let limit = self.limits.messages;
        let passed = now.since(self.heard);
        let messages = self.messages.saturating_add(limit.saturating_mul(passed));
        self.messages = messages.min(limit.saturating_mul(BURST));
        (self.heard, self.controls) = (now, 0);
    }

    /// Called when all complete messages of the input are handled. The rest is an incomplete message, which
    /// has a time limit.
    pub fn wait_for_more(&mut self, input: &mut WsInput, now: Seconds) {
        let is_new = core::mem::take(&mut self.paused);
        match self.is_open() && self.reads() && !input.is_empty() {
            true => input.count(is_new, now, &Rate::of_messages(&self.limits)),
            false => input.forget_meter(),
        }
    }

    /// When an incomplete message is too slow.
    fn slow(&self, message: Option<RateMeter>) -> Seconds {
        match message {
            Some(meter) if self.is_open() && self.reads() => {
                meter.due(&Rate::of_messages(&self.limits))
            }
            _ => Seconds::NEVER,
        }
    }

    /// When the output is received too slowly.
    fn unsent_due(&self) -> Seconds {
        let limits = &*self.limits;
        let rate = Rate::of_backlogs(limits);
        let output = self.output.as_ref();
        let slow = output.map_or(Seconds::NEVER, |output| output.due(self.wrote, &rate));
        self.wrote.after(limits.write_timeout).min(slow)
    }

    /// When [`WsConn::expire`] is due. `message` is the meter of the incomplete message.
    pub fn deadline(&self, message: Option<RateMeter>) -> Seconds {
        let limits = &*self.limits;
        let peer = match self.state {
            State::Closing => self.since.after(limits.close_timeout),
            State::Over => Seconds::NEVER,
            State::Open if self.held => self.since.after(limits.pause_timeout),
            State::Open if self.pinged => self.since.after(limits.pong_timeout),
            State::Open => self.heard.after(limits.idle_timeout),
        };
        let peer = peer.min(self.slow(message));
        match self.backlog() {
            0 => peer,
            _ => peer.min(self.unsent_due()),
        }
    }

    /// The deadline has passed: sends a ping, or ends the connection.
    pub fn expire(&mut self, message: Option<RateMeter>, now: Seconds) {
        if self.backlog() > 0 && self.unsent_due() <= now {
            return self.end(End::WriteTimeout);
        }
        if self.slow(message) <= now {
            return self.fail(FrameError::MessageTimeout, now);
        }
        match self.state {
            State::Closing => self.end(End::CloseTimeout),
            State::Open if self.held => _ = self.close(TRY_AGAIN_LATER, "", now),
            State::Open if self.pinged => self.end(End::Silent),
            State::Open => {
                self.pinged = true;
                self.await_peer(now);
                self.push_control(Control::Ping, b"", now);
            }
            State::Over => {}
        }
    }
}

impl Rate {
    /// The rate at which a client has to receive its messages.
    pub(crate) fn of_backlogs(limits: &WsLimits) -> Rate {
        Rate::new(limits.write_rate, limits.write_grace, limits.write_timeout)
    }

    /// The rate at which a client has to send a message.
    pub(crate) fn of_messages(limits: &WsLimits) -> Rate {
        Rate::new(
            limits.message_rate,
            limits.message_grace,
            limits.idle_timeout,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::limits::WsLimits;
    use crate::ws::send::SendContext;
    use alloc::sync::Arc;

    #[test]
    fn a_pause_has_a_limit_and_the_client_is_not_pinged() {
        let limits = Arc::new(WsLimits::default().pause_timeout(Duration::from_secs(500)));
        let mut ws: WsConn = WsConn::new(Seconds::START, limits, None, None);
        let (at, limit) = (Seconds::of, Duration::from_secs(500));
        // A ping whose pong lies unread.
        ws.expire(None, at(60));
        ws.output().expect("the ping").clear();
        ws.pause(at(70));
        ws.pause(at(90));
        assert!(!ws.reads());
        assert_eq!(ws.deadline(None), at(70).after(limit));
        ws.resume(at(100));
        assert!(ws.reads());
        assert_eq!(ws.deadline(None), at(100).after(ws.limits().idle_timeout));
        ws.pause(at(100));
        ws.expire(None, at(601));
        assert!(ws.reads() && !ws.is_open() && !ws.is_over());
        // The close frame.
        assert_eq!(ws.backlog(), 4);
    }

    #[test]
    fn a_backlog_has_a_minimum_rate() {
        for (step, ends) in [(240, false), (200, true), (0, true)] {
            let (mut kit, limits) = (<SendContext>::default(), WsLimits::default());
            let limits = Arc::new(limits.write_timeout(Duration::from_secs(1000)));
            let mut ws = WsConn::new(Seconds::START, limits, None, None);
            ws.send(
                (&vec![b'x'; 200_000]).into(),
                &mut kit,
                Seconds::START,
                |_| 0,
            );
            for now in (1..600).map(Seconds::of) {
                if step > 0 {
                    ws.output().expect("a backlog").advance(step);
                    ws.taken(step, &mut kit, now);
                }
                if ws.deadline(None) <= now {
                    ws.expire(None, now);
                    break;
                }
            }
            assert_eq!(ws.ended(), ends.then_some(&End::WriteTimeout), "{step}");
        }
    }
}
