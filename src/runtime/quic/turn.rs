//! What connections of QUIC do in a turn of the loop.

use super::connection::{After, Connection, NO_ERROR};
use super::driven::{OverQuic, Step};
use super::incoming::may_enter;
use super::sending::{self, Sent};
use super::{Context, Quic, REST};
use crate::log::event;
use crate::runtime::event_loop::ThreadState;
use crate::shared::id::ConnId;
use crate::shared::panic_guard::{Panic, catch};
use quinn_proto::{ConnectionError, EndpointEvent};
use std::io;

/// The code of a connection that may not go on (H3_REQUEST_REJECTED, RFC 9114 section 8.1).
const REJECTED: u64 = 0x010b;

/// Connections that are closed in one turn because memory is short.
const STALLED: usize = 64;

/// Bytes that a connection may hold while memory is short.
const FREE: u32 = 16 << 10;

impl<C> Quic<C> {
    /// Calls `act` for a connection. A panic in it ends this connection and nothing else. `None`: there is none any more.
    pub(super) fn guarded<S: ThreadState, R>(
        &mut self,
        id: ConnId,
        context: &mut Context<'_, S>,
        act: impl FnOnce(&mut Connection<C>, &mut Context<'_, S>) -> R,
    ) -> Option<R>
    where
        C: OverQuic<S>,
    {
        let connection = self.slab.get_mut(id)?;
        context.shared.begin(id.of_quic());
        match catch(|| act(connection, context)) {
            Ok(done) => Some(done),
            Err(panic) => {
                self.lose(id, &panic, context);
                None
            }
        }
    }

    #[cold]
    fn lose<S: ThreadState>(&mut self, id: ConnId, panic: &Panic, context: &mut Context<'_, S>)
    where
        C: OverQuic<S>,
    {
        event!(
            Error,
            "a connection of QUIC ended in a panic: {}",
            panic.message()
        );
        (context.recover)(context.shared);
        let Some(connection) = self.slab.get_mut(id) else {
            return;
        };
        let (app, index, handle) = (connection.app.take(), connection.port, connection.handle);
        let shared = &mut *context.shared;
        if let Some(app) = app {
            if catch(|| app.abandon(panic, shared)).is_err() {
                (context.recover)(context.shared);
            }
        }
        let endpoint = &mut self.ports[index].endpoint;
        let _ = catch(|| endpoint.handle_event(handle, EndpointEvent::drained()));
        self.forget(id, context);
    }

    /// Once in each turn of the loop.
    pub(crate) fn turn<S: ThreadState>(&mut self, context: &mut Context<'_, S>) -> io::Result<()>
    where
        C: OverQuic<S>,
    {
        let now = context.now;
        self.begun = 0;
        while let Some(id) = self.moments.pop(now) {
            self.guarded(id, context, |connection, context| {
                connection.moment = None;
                if connection.quic.poll_timeout().is_some_and(|at| at <= now) {
                    connection.quic.handle_timeout(now);
                }
                if connection.is_handshaking && connection.handshake_until <= now {
                    connection.close(context.now, NO_ERROR, "the handshake takes too long");
                }
            });
            self.mark(id);
        }
        if self.rested_at.is_some_and(|at| at <= now) {
            self.rested_at = None;
            for id in std::mem::take(&mut self.resting) {
                if let Some(connection) = self.slab.get_mut(id) {
                    connection.is_resting = false;
                }
                self.mark(id);
            }
        }
        if std::mem::replace(&mut self.ticked, context.shared.now()) != context.shared.now() {
            self.tick(context)?;
        }
        let mut dirty = std::mem::take(&mut self.dirty);
        for id in dirty.drain(..) {
            if let Some(connection) = self.slab.get_mut(id) {
                connection.is_dirty = false;
                self.run(id, context, |app, quic, shared| app.turn(quic, shared))?;
            }
        }
        // Those that have more to do are in the new list already.
        if self.dirty.is_empty() {
            self.dirty = dirty;
        }
        Ok(())
    }

    /// Once a second: the deadlines of all.
    fn tick<S: ThreadState>(&mut self, context: &mut Context<'_, S>) -> io::Result<()>
    where
        C: OverQuic<S>,
    {
        for id in self.slab.tokens() {
            self.run(id, context, |app, quic, shared| app.tick(quic, shared))?;
        }
        if context.shared.tally().is_short() {
            self.close_stalled(context)?;
        }
        Ok(())
    }

    /// Memory is short: closes connections that hold some and have made no progress, those that hold most first.
    #[cold]
    fn close_stalled<S: ThreadState>(&mut self, context: &mut Context<'_, S>) -> io::Result<()>
    where
        C: OverQuic<S>,
    {
        let (limit, now) = (context.config.limits.stall_timeout, context.shared.now());
        let mut first = Vec::new();
        let rank = |_, connection: &Connection<C>| {
            let is_stalled = connection.charged > FREE && connection.moved.after(limit) <= now;
            is_stalled.then_some(u32::MAX - connection.charged)
        };
        self.slab.first_by(STALLED, rank, &mut first);
        for id in first {
            if !context.shared.tally().is_short() {
                break;
            }
            context.shared.counters().stalled_closed.add(1);
            self.shut(id, REJECTED, "memory is short", context)?;
        }
        Ok(())
    }

    /// Lets what runs on a connection do something, and sees to what follows from it.
    pub(super) fn run<S: ThreadState>(
        &mut self,
        id: ConnId,
        context: &mut Context<'_, S>,
        act: impl FnOnce(&mut C, &mut quinn_proto::Connection, &mut S) -> Step,
    ) -> io::Result<()>
    where
        C: OverQuic<S>,
    {
        let handshakes = &mut self.handshakes;
        let Some(connection) = self.slab.get_mut(id) else {
            return Ok(());
        };
        let (index, was_handshaking) = (connection.port, connection.is_handshaking);
        let port = &self.ports[index];
        let tls = context.control.listener_config(port.listener).tls.as_ref();
        let listener = (port.number, tls.and_then(|tls| tls.hsts));
        let (forwarding, is_stopping) = (self.forwarding.as_ref(), self.is_stopping);
        context.shared.begin(id.of_quic());
        let step = catch(|| {
            loop {
                match connection.take_events(context.shared) {
                    After::Goes => break,
                    After::Connected => {
                        if let Some(close) = connect(connection, id, listener, forwarding, context)
                        {
                            return close;
                        }
                    }
                    After::Lost(error) => end(connection, Some(&error), context),
                }
            }
            let second = context.shared.now();
            if let Some(close) = connection.excess(&context.config.quic, second) {
                return close;
            }
            let is_new = was_handshaking && !connection.is_handshaking;
            match &mut connection.app {
                // The others have been told.
                Some(app) if is_new && is_stopping => {
                    app.stop(&mut connection.quic, context.shared)
                }
                Some(app) => act(app, &mut connection.quic, context.shared),
                None => Step::Wait,
            }
        });
        if was_handshaking && !connection.is_handshaking {
            *handshakes -= 1;
        }
        let step = match step {
            Ok(step) => step,
            Err(panic) => {
                self.lose(id, &panic, context);
                return Ok(());
            }
        };
        match step {
            Step::Wait => {}
            Step::Again => self.mark(id),
            Step::Rest => {
                if !std::mem::replace(&mut connection.is_resting, true) {
                    self.resting.push(id);
                }
                self.rested_at.get_or_insert(context.now + REST);
            }
            Step::Close { code, text } => return self.shut(id, code, text, context),
        }
        self.settle(id, index, context)
    }

    /// Closes a connection, with this code of the application and this reason. What runs on it ends.
    pub(super) fn shut<S: ThreadState>(
        &mut self,
        id: ConnId,
        code: u64,
        text: &'static str,
        context: &mut Context<'_, S>,
    ) -> io::Result<()>
    where
        C: OverQuic<S>,
    {
        let index = self.guarded(id, context, |connection, context| {
            connection.close(context.now, code, text);
            end(connection, None, context);
            connection.port
        });
        index.map_or(Ok(()), |index| self.settle(id, index, context))
    }

    /// Sends, and notes when the connection is looked at next.
    fn settle<S: ThreadState>(
        &mut self,
        id: ConnId,
        index: usize,
        context: &mut Context<'_, S>,
    ) -> io::Result<()>
    where
        C: OverQuic<S>,
    {
        let Some(connection) = self.slab.get_mut(id) else {
            return Ok(());
        };
        let (port, scratch) = (&mut self.ports[index], &mut self.scratch);
        let (limits, now) = (&context.config.quic, context.now);
        let counters = context.shared.counters();
        let settled = catch(|| {
            let sent = sending::send(connection, (port, scratch), now, counters);
            let mut is_drained = false;
            while let Some(event) = connection.quic.poll_endpoint_events() {
                is_drained |= event.is_drained();
                if let Some(event) = port.endpoint.handle_event(connection.handle, event) {
                    connection.quic.handle_event(event);
                }
            }
            (sent, is_drained)
        });
        let (sent, is_drained) = match settled {
            Ok(settled) => settled,
            Err(panic) => {
                self.lose(id, &panic, context);
                return Ok(());
            }
        };
        if is_drained {
            self.forget(id, context);
            return Ok(());
        }
        let is_waited_for = connection.is_handshaking && !connection.quic.is_closed();
        let until = is_waited_for.then_some(connection.handshake_until);
        let next = connection
            .quic
            .poll_timeout()
            .into_iter()
            .chain(until)
            .min();
        self.moments.change(id, &mut connection.moment, next);
        let held = connection.held(limits, context.shared.now());
        connection.charged = context.shared.tally().count(connection.charged, held);
        match sent {
            Sent::All => Ok(()),
            Sent::Enough => {
                self.mark(id);
                Ok(())
            }
            Sent::Blocked => self.wait_for_socket(id, index, context),
        }
    }

    /// The connection is gone, and its place is free.
    pub(super) fn forget<S: ThreadState>(&mut self, id: ConnId, context: &mut Context<'_, S>)
    where
        C: OverQuic<S>,
    {
        let Some(connection) = self.slab.get_mut(id) else {
            return;
        };
        let mut moment = connection.moment.take();
        self.moments.change(id, &mut moment, None);
        let charged = std::mem::take(&mut connection.charged);
        context.shared.tally().count(charged, 0);
        if connection.app.is_some() {
            self.guarded(id, context, |connection, context| {
                end(connection, None, context);
            });
        }
        let Some(mut removed) = self.slab.remove(id) else {
            return;
        };
        if let Some(own) = &removed.own {
            own.unwatch(context.poll);
        }
        if removed.is_handshaking {
            self.handshakes -= 1;
            context.shared.counters().handshakes_failed.add(1);
        }
        context.shared.counters().closed.add(1);
        removed.leave(context.control);
        self.drained += u64::from(self.is_stopping);
    }
}

/// The handshake is complete: what runs on the connection begins. A step says why it may not.
fn connect<C, S: ThreadState>(
    connection: &mut Connection<C>,
    id: ConnId,
    listener: (u16, Option<u32>),
    forwarding: Option<&std::sync::Arc<crate::config::forwarded::Forwarding>>,
    context: &mut Context<'_, S>,
) -> Option<Step>
where
    C: OverQuic<S>,
{
    let close = |text| {
        Some(Step::Close {
            code: REJECTED,
            text,
        })
    };
    connection.is_handshaking = false;
    connection.allowed.validate();
    let Some(ends) = connection.ends(listener, forwarding) else {
        context.shared.counters().handshakes_failed.add(1);
        return close("the handshake has no ALPN, or a certificate that has expired");
    };
    context.shared.counters().handshakes.add(1);
    if !connection.is_counted {
        connection.is_counted = may_enter(connection.peer, context);
        if !connection.is_counted {
            context.shared.counters().turned_away.add(1);
            return close("too many connections of this address");
        }
    }
    let app = C::connected(id.of_quic(), ends, &mut connection.quic, context.shared);
    connection.app = Some(app);
    None
}

/// What runs on the connection ends.
pub(super) fn end<C, S: ThreadState>(
    connection: &mut Connection<C>,
    error: Option<&ConnectionError>,
    context: &mut Context<'_, S>,
) where
    C: OverQuic<S>,
{
    if let Some(app) = connection.app.take() {
        app.lost(error, context.shared);
    }
}
