//! Sends what connections have to send, as far as their socket takes it.

use super::connection::Connection;
use super::driven::OverQuic;
use super::port::Port;
use super::{Context, Quic};
use crate::metrics::WorkerCounters;
use crate::runtime::event_loop::ThreadState;
use crate::shared::id::ConnId;
use crate::shared::panic_guard::catch;
use quinn_proto::Transmit;
use std::io;
use std::time::Instant;

/// Bytes that a connection sends before others get their turn.
const BYTES: usize = 64 << 10;

/// Why a connection has stopped to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// It has nothing more to send now.
    All,
    /// It has had its turn.
    Enough,
    /// The socket takes nothing.
    Blocked,
}

pub(super) fn count(counters: &WorkerCounters, transmit: &Transmit) {
    let segment = transmit.segment_size.unwrap_or(transmit.size).max(1);
    counters
        .datagrams_sent
        .add(transmit.size.div_ceil(segment) as u64);
    counters.bytes_written.add(transmit.size as u64);
}

/// Sends for one connection.
pub(super) fn send<C>(
    connection: &mut Connection<C>,
    (port, scratch): (&mut Port, &mut Vec<u8>),
    now: Instant,
    counters: &WorkerCounters,
) -> Sent {
    let Some(socket) = connection.own.as_ref().or(port.socket.as_ref()) else {
        return Sent::All;
    };
    let (segments, is_own) = (socket.segments(), connection.own.is_some());
    let mut left = BYTES;
    while left > 0 {
        if port.unsent.is_some() && !is_own {
            return Sent::Blocked;
        }
        scratch.clear();
        let Some(transmit) = connection.quic.poll_transmit(now, segments, scratch) else {
            return Sent::All;
        };
        let (to, path) = (transmit.destination, connection.quic.remote_address());
        if !connection.allowed.may_send(to, transmit.size, path) {
            continue;
        }
        left = left.saturating_sub(transmit.size);
        count(counters, &transmit);
        // With a socket of its own, near the end, it is as good as lost on the way.
        if !socket.send(&transmit, scratch) && !is_own {
            port.unsent = Some((transmit, std::mem::take(scratch)));
            return Sent::Blocked;
        }
    }
    Sent::Enough
}

impl<C> Quic<C> {
    /// The connection goes on to send when its socket takes something.
    pub(super) fn wait_for_socket<S>(
        &mut self,
        id: ConnId,
        index: usize,
        context: &Context<'_, S>,
    ) -> io::Result<()> {
        let Some(connection) = self.slab.get_mut(id) else {
            return Ok(());
        };
        let port = &mut self.ports[index];
        if !std::mem::replace(&mut connection.is_waiting, true) {
            port.waiting.push_back(id);
        }
        port.watch_again(index, context.poll)
    }

    /// Sends what fits into the socket at once, before the connection is forgotten.
    pub(super) fn send_last<S: ThreadState>(&mut self, id: ConnId, context: &mut Context<'_, S>)
    where
        C: OverQuic<S>,
    {
        if let Some(connection) = self.slab.get_mut(id) {
            let port = &mut self.ports[connection.port];
            let (counters, now) = (context.shared.counters(), context.now);
            let scratch = &mut self.scratch;
            let _ = catch(|| send(connection, (port, scratch), now, counters));
        }
    }

    /// The socket may take datagrams again.
    pub(super) fn send_waiting<S: ThreadState>(
        &mut self,
        index: usize,
        context: &mut Context<'_, S>,
    ) -> io::Result<()>
    where
        C: OverQuic<S>,
    {
        let port = &mut self.ports[index];
        let Some((transmit, bytes)) = port.unsent.take() else {
            return Ok(());
        };
        let is_sent = port.socket.as_ref();
        let is_sent = is_sent.is_none_or(|socket| socket.send(&transmit, &bytes));
        if !is_sent {
            port.unsent = Some((transmit, bytes));
            return Ok(());
        }
        self.scratch = bytes;
        port.watch_again(index, context.poll)?;
        for id in std::mem::take(&mut self.ports[index].waiting) {
            if let Some(connection) = self.slab.get_mut(id) {
                connection.is_waiting = false;
                self.mark(id);
            }
        }
        Ok(())
    }
}
