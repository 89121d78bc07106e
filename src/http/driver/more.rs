//! What a worker does beside its connections over TCP.

#[cfg(feature = "http3")]
use super::datagrams::{Lent, OverDatagrams};
use super::{BATCH, HttpDriver, TIMERS};
use crate::http::connection::Connection;
use crate::http::service::HandlerRef;
use crate::http::upgrade::UpgradeMode;
#[cfg(feature = "http3")]
use crate::http::worker_state::WorkerState;
use crate::runtime::accept::BACK_OFF;
use crate::runtime::event_loop::EventLoop;
use crate::runtime::memory_relief::REST;
use crate::runtime::poll::Token;
use crate::runtime::transport::OverSocket;
use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

impl<P, M, T> EventLoop<'_, HttpDriver<'_, P, M, T>>
where
    P: HandlerRef,
    M: UpgradeMode<P::Target, T>,
    T: OverSocket,
{
    /// Calls `act` with the connections over QUIC, if there may be some.
    #[cfg(feature = "http3")]
    pub(super) fn over_datagrams<R>(
        &mut self,
        act: impl FnOnce(&mut OverDatagrams<P, M>, &Lent<'_>, &mut WorkerState<P, M>) -> R,
    ) -> Option<R> {
        let over = self.driver.datagrams.as_mut()?;
        let lent = Lent {
            control: self.control,
            config: self.config,
            poll: &self.poll,
            now: self.clock.start() + self.clock.now(),
            counters: &self.driver.worker.counters,
        };
        // Until the next turn knows better.
        self.driver.has_more = true;
        Some(act(over, &lent, &mut self.driver.shared))
    }

    /// Timers and connections over QUIC.
    #[cold]
    #[inline(never)]
    pub(super) fn do_more(&mut self) -> io::Result<()> {
        if !self.driver.timers.is_empty() {
            self.call_timers();
        }
        #[cfg(feature = "http3")]
        self.over_datagrams(OverDatagrams::turn).transpose()?;
        self.driver.has_more = self.driver.has_more();
        Ok(())
    }

    pub(super) fn accept_from(&mut self, token: Token) -> io::Result<()> {
        #[cfg(feature = "http3")]
        if let Some(index) = token.datagrams() {
            let ready = self.over_datagrams(|over, lent, shared| over.ready(index, lent, shared));
            return ready.unwrap_or(Ok(()));
        }
        let shop = (self.control, self.config, &self.poll);
        let arrivals = &mut self.arrivals;
        let take = |accepted| arrivals.push(accepted);
        self.driver.listeners.ready(token, BATCH, shop, take)?;
        let taken = self.arrivals.len() as u64;
        self.driver.worker.given.fetch_add(taken, Ordering::Relaxed);
        self.open_arrivals();
        Ok(())
    }

    /// Calls the timers that are due, a few at a time.
    pub(super) fn call_timers(&mut self) {
        let now = self.clock.now();
        let HttpDriver { shared, timers, .. } = &mut self.driver;
        for _ in 0..TIMERS {
            if !shared.service.call_timer(timers, now, &shared.counters) {
                break;
            }
        }
    }

    /// Closes this number of connections, those that have been idle longest.
    pub(super) fn make_room(&mut self, asked: usize) -> io::Result<()> {
        let now = self.clock.now();
        // Connections may have closed in the meantime.
        if self.control.capacity.is_awaited() && now >= self.driver.rested_at {
            let mut first = Vec::new();
            let second = self.clock.seconds();
            let is_spare = |connection: &Connection<P, M, T>| connection.is_spare(second);
            self.slab.first_due(asked, is_spare, &mut first);
            if first.len() < asked {
                self.driver.rested_at = now + BACK_OFF.max(REST * self.slab.len() as u32);
            }
            #[cfg(feature = "http3")]
            self.over_datagrams(|over, lent, shared| {
                over.make_room(asked - first.len(), lent, shared)
            })
            .transpose()?;
            for id in first {
                self.act(id, Connection::give_way);
            }
        }
        Ok(())
    }
}

impl<P: HandlerRef, M: UpgradeMode<P::Target, T>, T> HttpDriver<'_, P, M, T> {
    /// See [`HttpDriver::has_more`].
    pub(super) fn has_more(&self) -> bool {
        #[cfg(feature = "http3")]
        if self.datagrams.as_ref().is_some_and(|over| !over.is_empty()) {
            return true;
        }
        !self.timers.is_empty()
    }

    /// The first of what is due; `accept` is that of the listeners.
    #[cold]
    #[inline(never)]
    pub(super) fn first_timeout(
        &self,
        accept: Option<Duration>,
        now: Duration,
    ) -> Option<Duration> {
        let timer = self.timers.next().map(|timer| timer.saturating_sub(now));
        let first = accept.into_iter().chain(timer);
        #[cfg(feature = "http3")]
        let first = first.chain(self.datagrams.as_ref().and_then(|over| over.timeout()));
        first.min()
    }
}
