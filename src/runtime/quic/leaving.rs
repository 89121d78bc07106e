//! Drain, stop, and room for other connections.

use super::connection::{Connection, NO_ERROR};
use super::driven::OverQuic;
use super::turn::end;
use super::{Context, Quic};
use crate::runtime::clock;
use crate::runtime::event_loop::{Ended, ThreadState};
use crate::shared::id::ConnId;
use std::io;

impl<C> Quic<C> {
    /// Carries out the command of another thread.
    pub(crate) fn command<S: ThreadState>(
        &mut self,
        id: ConnId,
        command: C::Command,
        context: &mut Context<'_, S>,
    ) where
        C: OverQuic<S>,
    {
        self.guarded(id, context, |connection, context| {
            if let Some(app) = &mut connection.app {
                app.command(command, &mut connection.quic, context.shared);
            }
        });
        self.mark(id);
    }

    /// The server drains: tells the connections for which `is_due`. Those that know it already do nothing.
    pub(crate) fn retire<S: ThreadState>(
        &mut self,
        is_due: impl Fn(ConnId) -> bool,
        context: &mut Context<'_, S>,
    ) -> io::Result<()>
    where
        C: OverQuic<S>,
    {
        for id in self.slab.tokens().into_iter().filter(|id| is_due(*id)) {
            self.run(id, context, |app, quic, shared| app.retire(quic, shared))?;
        }
        Ok(())
    }

    /// The server begins to stop.
    pub(crate) fn stop<S: ThreadState>(&mut self, context: &mut Context<'_, S>) -> io::Result<()>
    where
        C: OverQuic<S>,
    {
        self.is_stopping = true;
        // Another process accepts what comes from now on.
        if context.control.leaves_backlog() {
            self.part(context)?;
        }
        // As over TCP: a handshake has no more time than the next request of an idle connection.
        let until = clock::after(context.config.limits.stop_grace);
        for id in self.slab.tokens() {
            if let Some(connection) = self.slab.get_mut(id) {
                connection.handshake_until = connection.handshake_until.min(until);
            }
            self.run(id, context, |app, quic, shared| app.stop(quic, shared))?;
        }
        Ok(())
    }

    /// Whether all connections have ended. Some may still wait for late datagrams of their clients, for nothing.
    pub(crate) fn has_ended(&self) -> bool {
        let mut open = Vec::new();
        let is_open = |_, connection: &Connection<C>| !connection.quic.is_closed();
        self.slab.append_if(is_open, &mut open);
        open.is_empty()
    }

    /// Closes all connections, and says so to their clients. Returns what has become of them since the stop began.
    pub(crate) fn cut<S: ThreadState>(&mut self, context: &mut Context<'_, S>) -> Ended
    where
        C: OverQuic<S>,
    {
        let (mut drained, mut cut) = (self.drained, 0);
        for id in self.slab.tokens() {
            let Some(connection) = self.slab.get_mut(id) else {
                continue;
            };
            match connection.quic.is_closed() {
                true => drained += 1,
                false => cut += 1,
            }
            let text = "the server stops";
            connection.close(context.now, NO_ERROR, text);
            self.guarded(id, context, |connection, context| {
                end(connection, None, context);
            });
            self.send_last(id, context);
            self.forget(id, context);
        }
        Ended { drained, cut }
    }

    /// Closes idle connections, those that have been idle for longest. Returns how many.
    pub(crate) fn make_room<S: ThreadState>(
        &mut self,
        most: usize,
        context: &mut Context<'_, S>,
    ) -> io::Result<usize>
    where
        C: OverQuic<S>,
    {
        let mut first = Vec::new();
        let rank = |_, of: &Connection<C>| of.is_spare().then_some(of.moved);
        self.slab.first_by(most, rank, &mut first);
        for &id in &first {
            context.shared.counters().idle_closed.add(1);
            // At once: until then each further client asks for more room.
            if let Some(connection) = self.slab.get_mut(id) {
                connection.leave(context.control);
            }
            self.shut(id, NO_ERROR, "the server needs the place", context)?;
        }
        Ok(first.len())
    }
}
