//! Connections that are closed so that others have room: for a place, or for memory.

use super::{Connection, Fate, Fill, Phase, Shared};
use crate::conn::Seconds;
use crate::handler::{ConnectionError, Handler};
use crate::io::mode::Mode;
use crate::io::relief::{Stall, stall};
use crate::io::transport::Transport;
use std::time::Duration;

impl<T: Transport> Connection<T> {
    /// It waits for a request of which not a byte has come, and holds nothing: others may have its
    /// place.
    pub(crate) fn is_spare(&self, now: Seconds) -> bool {
        let holds = self.input.is_some() || self.output.is_some();
        self.phase == Phase::Serving && self.http1.is_spare(now) && !holds
    }

    /// Room is needed for others: closes, unless a request has come just now.
    pub(crate) fn give_way<H: Handler, M: Mode<H, T>>(
        &mut self,
        shared: &mut Shared<'_, H, M>,
    ) -> Fate {
        match self.fill(shared) {
            Fill::Something => self.serve(shared),
            Fill::Nothing | Fill::Failed => {
                shared.counters.idle_closed.add(1);
                Fate::Closed
            }
        }
    }

    /// Its place among those that are closed while memory is short.
    pub(crate) fn stall(&self, limit: Duration, now: Seconds) -> Option<Stall> {
        let is_at_work = matches!(self.phase, Phase::Busy | Phase::Lingering(_));
        let input = self.input.as_ref().map(|input| input.moved());
        let output = self.output.as_ref().map(|output| output.moved(self.wrote));
        let moved = input.max(output).filter(|_| !is_at_work)?;
        stall(self.counted, moved, limit, now)
    }

    /// Memory is short, and it has made no progress: closes, and says why where nothing of a response is
    /// on its way.
    pub(crate) fn give_memory<H: Handler, M: Mode<H, T>>(
        &mut self,
        shared: &mut Shared<'_, H, M>,
    ) -> Fate {
        shared.counters.stalled_closed.add(1);
        if self.phase == Phase::Serving {
            let mut input = self.input.take().unwrap_or_else(|| shared.pool.input());
            let mut output = self.output.take().unwrap_or_else(|| shared.pool.output());
            let mut parts = self.parts(&mut input, &mut output, shared.counters, shared.place);
            let is_refused = shared.service.refuse_memory(&mut parts);
            self.keep(input, shared);
            self.output = Some(output);
            if is_refused {
                return self.serve(shared);
            }
        }
        shared.fail(&ConnectionError::Overloaded, &self.socket);
        self.socket.stream.reset();
        Fate::Closed
    }
}
