//! One connection over [`Memory`], driven by the calls of a test instead of an event loop.

use crate::conn::id::ConnId;
use crate::io::event_loop::{Driven, Fate, ThreadState};
use crate::io::poll::Interest;
use crate::io::transport::Memory;

/// A connection and what it would share with others.
pub(super) struct Alone<C, S> {
    /// `None` when it has been closed.
    pub(super) connection: Option<C>,
    pub(super) shared: S,
    /// All that the client has been sent, unless it was taken from here.
    pub(super) received: Vec<u8>,
    /// It has more to do after a while.
    rests: bool,
    /// The server has closed it: nothing happens to it any more.
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

    /// The client does something, which the connection may see.
    pub(super) fn client_does(&mut self, act: impl FnOnce(&mut Memory)) -> Fate {
        self.client().map(act);
        self.go_on(Fate::Open)
    }

    /// Its pause is over, if it has made one.
    pub(super) fn rested(&mut self) -> Fate {
        match std::mem::take(&mut self.rests) {
            true => self.act(C::again),
            false => Fate::Open,
        }
    }

    /// Lets the connection do something, and whatever follows from that.
    pub(super) fn act(&mut self, act: impl FnOnce(&mut C, &mut S) -> Fate) -> Fate {
        let fate = self.turn(act);
        self.go_on(fate)
    }

    /// As an event loop whose only connection it is.
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

    /// Whether a poller would say that it can read, and that it can write.
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
