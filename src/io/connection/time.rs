//! The limits of time of a connection, and what happens when one has passed.

use super::{Connection, Fate, Phase, Shared};
use crate::conn::{Seconds, rate::Rate};
use crate::drive;
use crate::handler::{ConnectionError, Handler};
use crate::io::LOOKS;
use crate::io::mode::Mode;
use crate::io::transport::Transport;

impl<T: Transport> Connection<T> {
    pub(crate) fn deadline(
        &self,
        now: Seconds,
        shared: &Shared<'_, impl Handler, impl Sized>,
    ) -> Seconds {
        let limits = &shared.service.limits;
        match self.phase {
            _ if self.starved => now.next(),
            Phase::Serving | Phase::Waiting | Phase::Resting => {
                let (input, body) = (self.input.as_deref(), self.body.as_deref());
                drive::deadline(&self.http1, input, body, limits)
            }
            Phase::Busy => now.after(limits.idle_time),
            Phase::Blocked | Phase::Ending(_) => {
                let rate = Rate::of_responses(limits);
                let output = self.output.as_ref();
                let slow = output.map_or(Seconds::NEVER, |output| output.due(self.wrote, &rate));
                self.wrote.after(limits.write_time).min(slow)
            }
            Phase::Lingering(_) => self.wrote.after(limits.linger_time),
        }
    }

    /// The deadline has passed.
    pub(crate) fn expire<H: Handler, M: Mode<H, T>>(
        &mut self,
        shared: &mut Shared<'_, H, M>,
    ) -> Fate {
        if let Some(fate) = self.last_look(shared) {
            return fate;
        }
        match self.phase {
            Phase::Lingering(_) => Fate::Closed,
            Phase::Blocked | Phase::Ending(_) => {
                shared.fail(&ConnectionError::WriteTimeout, &self.socket);
                // Or the system would keep what is unsent for as long as the client wants it to.
                self.socket.stream.reset();
                Fate::Closed
            }
            Phase::Busy => Fate::Open,
            Phase::Serving | Phase::Waiting | Phase::Resting => {
                let mut input = self.input.take().unwrap_or_else(|| shared.pool.input());
                let mut output = self.output.take().unwrap_or_else(|| shared.pool.output());
                let mut parts = self.parts(&mut input, &mut output, shared.counters, shared.place);
                let close = shared.service.expire(&mut parts);
                self.keep(input, shared);
                self.output = Some(output);
                if let Some(close) = close {
                    self.phase = Phase::Ending(close);
                }
                self.wrote = shared.service.now;
                self.flush(shared)
            }
        }
    }

    /// What came in time counts, though nobody has looked at it: the process may have been suspended, or
    /// the system may have been out of memory for it. `None` if the time is up.
    fn last_look<H: Handler, M: Mode<H, T>>(
        &mut self,
        shared: &mut Shared<'_, H, M>,
    ) -> Option<Fate> {
        let now = shared.service.now;
        self.starved = false;
        for _ in 0..LOOKS {
            if self.deadline(now, shared) > now {
                return Some(Fate::Open);
            }
            // Others have nothing to look at: they wait for no client, or for its end only.
            if !matches!(
                self.phase,
                Phase::Serving | Phase::Blocked | Phase::Ending(_)
            ) {
                return None;
            }
            let before = shared.moved();
            let fate = self.ready(true, shared);
            if fate != Fate::Open {
                return Some(fate);
            }
            if shared.moved() == before {
                return None;
            }
        }
        // More than one turn's worth: it is not slow.
        Some(Fate::Open)
    }
}

impl<H: Handler, M> Shared<'_, H, M> {
    /// Bytes of all connections, in and out.
    fn moved(&self) -> u64 {
        self.counters.bytes_read.get() + self.counters.bytes_written.get()
    }
}
