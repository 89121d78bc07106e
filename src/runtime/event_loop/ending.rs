//! The end of a connection: closed, handed over, or lost by a panic.

use super::{Driven, Driver, Ended, EventLoop, Stop, ThreadState};
use crate::log::event;
use crate::runtime::clock;
use crate::runtime::poll::Poll;
use crate::runtime::socket::Ends;
use crate::shared::id::ConnId;
use crate::shared::panic_guard::{Panic, catch};
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

impl<D: Driver> EventLoop<'_, D> {
    pub(crate) fn close(&mut self, id: ConnId, close: impl FnOnce(D::Connection, &mut D::State)) {
        let Some(mut connection) = self.slab.remove(id) else {
            return;
        };
        if Poll::must_remove() {
            connection.link().unwatch(&self.poll);
        }
        let counted = connection.link().socket.counted_addr();
        let shared = self.driver.shared();
        shared.begin(id);
        connection.link().charge(0, shared.tally());
        if let Err(panic) = catch(|| close(connection, shared)) {
            self.recover(&panic);
        }
        self.ended(counted);
        // The last hook may have published messages.
        D::acted(self);
    }

    /// The connection is gone, and its place is free.
    pub(crate) fn ended(&mut self, counted: Option<SocketAddr>) {
        self.driver.ended(self.control);
        self.driver.shared().counters().closed.add(1);
        self.control.give_back(counted);
        if let Some(stop) = &mut self.stop {
            stop.drained += 1;
        }
    }

    /// A panic has ended the turn of a connection.
    #[cold]
    pub(crate) fn lose(&mut self, id: ConnId, panic: &Panic) {
        self.recover(panic);
        self.close(id, |connection, shared| {
            connection.abandon(panic, shared);
        });
        #[cfg(test)]
        self.driver.lost(&mut self.slab);
    }

    #[cold]
    pub(crate) fn recover(&mut self, panic: &Panic) {
        let (connection, message) = (D::CONNECTION, panic.message());
        event!(Error, "{connection} ended in a panic: {message}");
        self.driver.recover();
    }

    /// Begins the stop, or checks whether it is complete.
    pub(crate) fn stopping(&mut self) -> io::Result<Option<Ended>> {
        if self.stop.is_none() {
            self.stop = Some(Stop {
                at: clock::after(self.config.stop_timeout),
                drained: 0,
            });
            let connections = self.slab.len();
            event!(Info, { connections: connections }, "{} stops", D::THREAD);
            D::stop(self)?;
            for id in self.slab.tokens() {
                self.act(id, D::Connection::stop);
            }
            self.open_arrivals();
        }
        let Some(stop) = &self.stop else {
            return Ok(None);
        };
        // The order matters: a thread hands its connections over before it reports that it has finished.
        let is_over =
            D::has_all(self.control) && self.driver.arrivals().is_empty() && self.slab.is_empty();
        let is_late = self.control.is_cutting() || Instant::now() >= stop.at;
        if !is_over && !is_late {
            return Ok(None);
        }
        let (drained, cut) = (stop.drained, self.slab.len() as u64);
        self.driver.cut();
        for id in self.slab.tokens() {
            self.close(id, D::Connection::close);
        }
        let cut = cut + self.driver.finish();
        Ok(Some(Ended { drained, cut }))
    }
}
