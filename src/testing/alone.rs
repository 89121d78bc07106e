//! A driver without a thread and a poller, for connections in memory.
//!
//! The calls of a test drive it instead of an event loop.

use crate::runtime::event_loop::{Driven, Fate, ThreadState};
use crate::runtime::poll::Interest;
use crate::runtime::transport::Memory;
use crate::shared::id::ConnId;

/// A connection, and the values that connections of a worker share.
pub(super) struct Alone<C, S> {
    /// `None` when it has been closed.
    pub(super) connection: Option<C>,
    pub(super) shared: S,
    /// All bytes that the client has received, unless a call has taken them.
    pub(super) received: Vec<u8>,
    /// The connection will go on after a pause.
    rests: bool,
    /// The server has closed the connection. Nothing happens to it any more.
    pub(super) is_closed: bool,
}

impl<S: ThreadState, C: Driven<S, Transport = Memory>> Alone<C, S> {
    pub(super) fn new(connection: C, shared: S) -> Alone<C, S> {
        Alone {
            connection: Some(connection),
            shared,
            received: Vec::new(),
            rests: false,
            is_closed: false,
        }
    }

    fn client(&mut self) -> Option<&mut Memory> {
        let connection = self.connection.as_mut()?;
        Some(&mut connection.link().socket.stream)
    }

    /// Lets the client act. The connection then sees the result.
    pub(super) fn client_does(&mut self, act: impl FnOnce(&mut Memory)) -> Fate {
        self.client().map(act);
        self.go_on(Fate::Open)
    }

    /// Ends the pause of the connection, if there is one.
    pub(super) fn rested(&mut self) -> Fate {
        match std::mem::take(&mut self.rests) {
            true => self.act(C::again),
            false => Fate::Open,
        }
    }

    /// Lets the connection act, and then everything that follows from this.
    pub(super) fn act(&mut self, act: impl FnOnce(&mut C, &mut S) -> Fate) -> Fate {
        let fate = self.turn(act);
        self.go_on(fate)
    }

    /// Acts as an event loop with this connection only.
    fn go_on(&mut self, mut fate: Fate) -> Fate {
        while !self.is_closed {
            let dirty = self.shared.dirty();
            fate = if fate == Fate::Upgraded {
                break;
            } else if fate == Fate::Again {
                self.turn(C::again)
            } else if !dirty.is_empty() {
                dirty.clear();
                self.turn(C::flush)
            } else {
                let (readable, writable) = self.readiness();
                if !readable && !writable {
                    break;
                }
                self.turn(|connection, shared| connection.ready(readable, writable, shared))
            };
        }
        fate
    }

    fn turn(&mut self, act: impl FnOnce(&mut C, &mut S) -> Fate) -> Fate {
        let Some(connection) = self.connection.as_mut().filter(|_| !self.is_closed) else {
            return Fate::Closed;
        };
        self.shared.begin(ConnId::default());
        let fate = act(connection, &mut self.shared);
        if fate != Fate::Upgraded {
            connection.settle(&mut self.shared);
        }
        let sent = connection.link().socket.stream.take_sent();
        self.received.extend(sent);
        self.rests |= fate == Fate::Later;
        self.is_closed |= fate == Fate::Closed;
        fate
    }

    /// Whether a poller would report the connection as readable, and as writable.
    fn readiness(&mut self) -> (bool, bool) {
        let interest = self.connection.as_mut().and_then(C::interest);
        let (reads, writes) = (
            interest.is_some_and(Interest::is_read),
            interest.is_some_and(Interest::is_write),
        );
        let client = self.client();
        client.map_or((false, false), |client| {
            (
                reads && client.is_readable(),
                writes && client.is_writable(),
            )
        })
    }
}
