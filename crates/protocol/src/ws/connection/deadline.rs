//! Deadlines of a WebSocket connection.

use super::{BURST, Control, End, FrameError, State, WsConn, WsInput, WsLimits};
use crate::Seconds;
use crate::rate::{Rate, RateMeter};
use core::time::Duration;

impl<X> WsConn<X> {
    /// Bytes have come.
    pub fn heard(&mut self, now: Seconds) {
        if self.heard != now {
            self.next_second(now);
        }
        // Any byte will do: a client that sends a large message cannot put a pong into it.
        if self.state == State::Open {
            self.pinged = false;
        }
    }

    /// Our ping, close frame or end of the stream goes out now: a response is awaited from here on.
    pub fn await_answer(&mut self, now: Seconds) {
        self.since = now;
    }

    /// When `wait` has passed since then.
    pub fn waited(&self, wait: Duration) -> Seconds {
        self.since.after(wait)
    }

    /// Another second has begun, with what may come in it.
    fn next_second(&mut self, now: Seconds) {
        let limit = self.limits.messages;
        let passed = now.since(self.heard);
        let messages = self.messages.saturating_add(limit.saturating_mul(passed));
        self.messages = messages.min(limit.saturating_mul(BURST));
        (self.heard, self.controls) = (now, 0);
    }

    /// To be called when all has been taken of the input that could be: what is left is a message under
    /// way, which has its time.
    pub fn wait_for_more(&mut self, input: &mut WsInput, now: Seconds) {
        let is_new = core::mem::take(&mut self.paused);
        match self.is_open() && !self.is_crowded() && !input.is_empty() {
            true => input.count(is_new, now, &Rate::of_messages(&self.limits)),
            false => input.forget_meter(),
        }
    }

    /// When a message under way is too slow.
    fn slow(&self, message: Option<RateMeter>) -> Seconds {
        match message {
            Some(meter) if self.is_open() && !self.is_crowded() => {
                meter.due(&Rate::of_messages(&self.limits))
            }
            _ => Seconds::NEVER,
        }
    }

    /// When what waits is taken too slowly.
    fn unsent_due(&self) -> Seconds {
        let limits = &*self.limits;
        let rate = Rate::of_backlogs(limits);
        let output = self.output.as_ref();
        let slow = output.map_or(Seconds::NEVER, |output| output.due(self.wrote, &rate));
        self.wrote.after(limits.write_timeout).min(slow)
    }

    /// When [`WsConn::expire`] is due. `message` is the meter of the message under way.
    pub fn deadline(&self, message: Option<RateMeter>) -> Seconds {
        let limits = &*self.limits;
        let answer = match self.state {
            State::Closing => self.since.after(limits.close_timeout),
            State::Over => Seconds::NEVER,
            State::Open if self.pinged => self.since.after(limits.pong_timeout),
            State::Open => self.heard.after(limits.idle_timeout),
        };
        let answer = answer.min(self.slow(message));
        match self.backlog() {
            0 => answer,
            _ => answer.min(self.unsent_due()),
        }
    }

    /// The deadline has passed: pings, or gives up.
    pub fn expire(&mut self, message: Option<RateMeter>, now: Seconds) {
        if self.backlog() > 0 && self.unsent_due() <= now {
            return self.end(End::WriteTimeout);
        }
        if self.slow(message) <= now {
            return self.fail(FrameError::MessageTimeout, now);
        }
        match self.state {
            State::Closing => self.end(End::CloseTimeout),
            State::Open if self.pinged => self.end(End::Silent),
            State::Open => {
                self.pinged = true;
                self.await_answer(now);
                self.push_control(Control::Ping, b"", now);
            }
            State::Over => {}
        }
    }
}

impl Rate {
    /// At which a client has to take its messages.
    pub(crate) fn of_backlogs(limits: &WsLimits) -> Rate {
        Rate::new(limits.write_rate, limits.write_grace, limits.write_timeout)
    }

    /// At which a client has to send a message.
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
    fn a_backlog_is_taken_at_a_least_rate() {
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
