//! A socket in the event loop: what it waits for, and what it holds in memory.

use super::poll::{Interest, Poll};
use super::socket::Socket;
use super::transport::{Transport, Written, can_wait};
use crate::shared::id::ConnId;
use crate::shared::memory_budget::LocalUsage;
use crate::shared::output::Output;
use peregrine_protocol::Seconds;
use std::io;

pub(crate) struct Link<T> {
    pub(crate) socket: Socket<T>,
    /// What the poller watches for. `None`: the socket is not registered yet, because every read and write
    /// has succeeded so far.
    watched: Option<Interest>,
    /// The system had no memory for the last call. The poller would report the socket as ready at once, so it
    /// is not used: the call is made again in the next second.
    starved: bool,
    /// Bytes that the memory budget counts for the connection.
    counted: u32,
}

impl<T: Transport> Link<T> {
    pub(crate) fn new(socket: Socket<T>) -> Link<T> {
        Link {
            socket,
            watched: None,
            starved: false,
            counted: 0,
        }
    }

    /// Reads what has arrived. 0 bytes are the end of the stream. `None`: there is nothing at present.
    #[inline(always)]
    pub(crate) fn read(&mut self, room: &mut [u8]) -> io::Result<Option<usize>> {
        self.starved = false;
        match self.socket.stream.read(room) {
            Ok(n) => Ok(Some(n)),
            Err(error) if can_wait(&error, &mut self.starved) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends the next part of the output. `None` if the socket takes nothing at present.
    #[inline]
    pub(crate) fn send(&mut self, output: &Output) -> io::Result<Option<Written>> {
        match self.socket.stream.send(output) {
            Ok(sent) => Ok(Some(sent)),
            Err(error) if can_wait(&error, &mut self.starved) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// See [`Link::starved`](#structfield.starved).
    #[inline]
    pub(crate) fn is_starved(&self) -> bool {
        self.starved
    }

    /// Allows the next call at once.
    #[inline]
    pub(crate) fn retry(&mut self) {
        self.starved = false;
    }

    /// Tells the poller what to watch for. `None`: the same as before.
    #[inline]
    pub(crate) fn watch(
        &mut self,
        interest: Option<Interest>,
        id: ConnId,
        poll: &Poll,
    ) -> io::Result<()> {
        let wants_write = self.socket.stream.wants().write;
        let interest = match (self.starved, interest) {
            (true, _) => Interest::Nothing,
            (false, Some(interest)) => interest,
            (false, None) if wants_write => self.watched.unwrap_or(Interest::Nothing),
            (false, None) => return Ok(()),
        };
        let interest = match wants_write && !self.starved {
            true => interest.and_write(),
            false => interest,
        };
        if self.watched == Some(interest) && !poll.is_oneshot() {
            return Ok(());
        }
        let before = self.watched.replace(interest);
        match (self.socket.stream.socket(), before) {
            (Some(socket), None) => poll.add(socket, id.into(), interest),
            (Some(socket), Some(_)) => poll.modify(socket, id.into(), interest),
            (None, _) => Ok(()),
        }
    }

    /// Whether a read returns bytes that no event will report.
    #[inline(always)]
    pub(crate) fn has_read_ahead(&self) -> bool {
        self.socket.stream.wants().read
    }

    /// See [`Transport::handshake`].
    #[inline(always)]
    pub(crate) fn handshake(&self) -> Option<Seconds> {
        self.socket.stream.handshake()
    }

    #[inline(always)]
    pub(crate) fn is_handshaking(&self) -> bool {
        self.handshake().is_some()
    }

    /// The socket can be written to. Bytes that the transport itself has to write go first.
    #[inline(always)]
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        match self.socket.stream.flush() {
            Err(error) if !can_wait(&error, &mut self.starved) => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes the socket from the poller.
    pub(crate) fn unwatch(&mut self, poll: &Poll) {
        let before = self.watched.take();
        if let Some(socket) = self.socket.stream.socket().filter(|_| before.is_some()) {
            let _ = poll.remove(socket);
        }
    }

    /// Reports that the connection holds `bytes` bytes from now on.
    #[inline]
    pub(crate) fn charge(&mut self, held: usize, tally: &mut LocalUsage) {
        self.counted = tally.count(self.counted, held);
    }

    /// Bytes that were last counted for it.
    pub(crate) fn charged(&self) -> u32 {
        self.counted
    }
}
