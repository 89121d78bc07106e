//! One connection to a broker: its buffers, its state, its deadlines.

use crate::outbox::Piece;
use crate::protocol::{Address, Protocol, Session};
use crate::settings::Settings;
use crate::socket::Socket;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes of one read, and of a buffer that is kept.
const READ: usize = 64 << 10;

/// Reads of one turn, so that messages that go out have their turn, too.
const READS: usize = 16;

/// Above so many unsent bytes nothing is read: a broker that sends and does not read gets no more answers.
const MOST_UNSENT: usize = 1 << 20;

/// Commands are appended up to this size, so that a long list of topics is not in memory as bytes.
const COMMANDS: usize = 64 << 10;

/// The most addresses that one name stands for, and that are known.
pub(crate) const MOST_ADDRESSES: usize = 64;

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The system connects.
    Connecting,
    /// The protocol logs in.
    LogIn,
    /// Topics are subscribed.
    Subscribing,
    /// Messages flow.
    Online,
}

pub(crate) struct Connection<S> {
    pub(crate) socket: Socket,
    pub(crate) session: S,
    pub(crate) address: Address,
    pub(crate) phase: Phase,
    pub(crate) input: Input,
    pub(crate) output: Output,
    /// Topics that are to be subscribed or left, the next one last. `None`: broadcasts.
    pub(crate) topics: Vec<(Option<Arc<str>>, bool)>,
    /// A piece of the queue that is sent after all these topics.
    pub(crate) next: Option<Piece>,
    pub(crate) can_read: bool,
    pub(crate) can_write: bool,
    began: Instant,
    last_read: Instant,
    last_write: Instant,
    last_ping: Instant,
    /// For each PING without an answer: when it was sent, and the number of messages before it.
    pings: VecDeque<(Instant, u64)>,
    /// Messages that were taken to be sent, and those that the broker has confirmed.
    taken: u64,
    confirmed: u64,
}

impl<S: Session> Connection<S> {
    pub(crate) fn new<P: Protocol<Session = S>>(
        protocol: &P,
        address: Address,
        socket: Socket,
        now: Instant,
    ) -> Connection<S> {
        Connection {
            session: protocol.session(&address),
            socket,
            address,
            phase: Phase::Connecting,
            input: Input::default(),
            output: Output::default(),
            topics: Vec::new(),
            next: None,
            can_read: false,
            can_write: false,
            began: now,
            last_read: now,
            last_write: now,
            last_ping: now,
            pings: VecDeque::new(),
            taken: 0,
            confirmed: 0,
        }
    }

    /// Reads what has arrived. Returns true if there may be more.
    pub(crate) fn read(&mut self, now: Instant, most: usize) -> Result<bool, String> {
        for _ in 0..READS {
            if !self.can_read || self.output.unsent() > MOST_UNSENT {
                return Ok(false);
            }
            let Some(room) = self.input.room(most) else {
                // The messages in it have to be handled first.
                return Ok(true);
            };
            match self.socket.read(room) {
                Ok(0) => return Err("the broker has closed the connection".to_owned()),
                Ok(count) => {
                    self.input.filled += count;
                    self.last_read = now;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.can_read = false;
                    return Ok(false);
                }
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(true)
    }

    /// Nothing was read while too much was unsent, and that has been sent now. No event says so again.
    pub(crate) fn has_left_unread(&self) -> bool {
        let may_read = self.can_read && self.output.unsent() <= MOST_UNSENT;
        may_read && self.phase != Phase::Connecting
    }

    /// Sends what is there, with further commands about topics and the next piece.
    pub(crate) fn write(&mut self, now: Instant) -> Result<(), String> {
        loop {
            self.append(now);
            if !self.can_write {
                return Ok(());
            }
            if self.output.unsent() == 0 {
                let flushed = self.socket.flush().map_err(|error| error.to_string())?;
                self.can_write &= flushed;
                self.last_write = now;
                return Ok(());
            }
            match self.socket.write(self.output.bytes()) {
                Ok(0) => return Err("nothing can be sent".to_owned()),
                Ok(count) => {
                    self.output.sent(count);
                    self.last_write = now;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.can_write = false,
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// Appends commands for topics, and after the last one the next piece. After the last topic of a new connection comes a
    /// PING, whose answer says that all are there.
    fn append(&mut self, now: Instant) {
        if !matches!(self.phase, Phase::Subscribing | Phase::Online) {
            return;
        }
        while self.output.unsent() < COMMANDS {
            let Some((topic, is_wanted)) = self.topics.pop() else {
                break;
            };
            match (&topic, is_wanted) {
                (Some(topic), false) => self.session.unsubscribe(topic, &mut self.output.bytes),
                _ => self
                    .session
                    .subscribe(topic.as_ref(), &mut self.output.bytes),
            }
        }
        if !self.topics.is_empty() {
            return;
        }
        if self.phase == Phase::Subscribing && self.pings.is_empty() {
            self.ping(now);
        }
        if let Some(piece) = self.next.take() {
            self.taken += piece.messages;
            self.output.put(piece.bytes);
        }
    }

    pub(crate) fn ping(&mut self, now: Instant) {
        self.session.ping(&mut self.output.bytes);
        self.pings.push_back((now, self.taken));
        self.last_ping = now;
    }

    /// The answer to a PING. False if there was none.
    pub(crate) fn pong(&mut self) -> bool {
        let pinged = self.pings.pop_front();
        if let Some((_, taken)) = pinged {
            self.confirmed = taken;
        }
        pinged.is_some()
    }

    /// Takes messages that are to be sent. False if there is no room for them yet.
    pub(crate) fn takes_messages(&self) -> bool {
        let is_idle = self.output.unsent() == 0 && self.topics.is_empty() && self.next.is_none();
        self.phase == Phase::Online && is_idle && self.can_write
    }

    /// A piece that is sent after the topics. There is no other one.
    pub(crate) fn take(&mut self, piece: Piece) {
        self.next = Some(piece);
    }

    /// The messages that were taken and are not confirmed.
    pub(crate) fn unconfirmed(&self) -> u64 {
        self.taken - self.confirmed
    }

    pub(crate) fn has_pings(&self) -> bool {
        !self.pings.is_empty()
    }

    /// Sends a PING if it is time, and returns when to look again. An error if the broker is silent.
    pub(crate) fn look_at_clock(
        &mut self,
        now: Instant,
        settings: &Settings,
    ) -> Result<Instant, String> {
        if self.phase != Phase::Online {
            let end = after(self.began, settings.connect_timeout);
            return match now >= end {
                true => Err(format!("not connected in {:?}", settings.connect_timeout)),
                false => Ok(end),
            };
        }
        let mut next = after(self.last_ping, settings.ping);
        if now >= next {
            if self.pings.is_empty() {
                self.ping(now);
            }
            next = after(now, settings.ping);
        }
        if let Some(&(pinged, _)) = self.pings.front() {
            let end = after(pinged.max(self.last_read), settings.ping);
            if now >= end {
                return Err(format!("no answer to a PING in {:?}", settings.ping));
            }
            next = next.min(end);
        }
        if self.output.unsent() > 0 {
            let end = after(self.last_write, settings.ping.saturating_mul(2));
            if now >= end {
                return Err("the broker reads nothing".to_owned());
            }
            next = next.min(end);
        }
        Ok(next)
    }
}

pub(crate) fn after(from: Instant, time: Duration) -> Instant {
    // Thirty years.
    let far = || from + Duration::from_secs(1_000_000_000);
    from.checked_add(time).unwrap_or_else(far)
}

/// Bytes that have arrived. `at <= filled <= bytes.len()`
#[derive(Debug, Default)]
pub(crate) struct Input {
    bytes: Vec<u8>,
    at: usize,
    filled: usize,
}

impl Input {
    /// Room for a read, so that there are at most this many bytes and a read more. `None` if there is none.
    fn room(&mut self, most: usize) -> Option<&mut [u8]> {
        if self.at > 0 {
            self.bytes.copy_within(self.at..self.filled, 0);
            self.filled -= self.at;
            self.at = 0;
        }
        if self.filled > most {
            return None;
        }
        if self.bytes.len() - self.filled < READ {
            let double = 2 * self.bytes.len();
            self.bytes
                .resize(double.max(self.filled + READ).min(most + 2 * READ), 0);
        }
        Some(&mut self.bytes[self.filled..])
    }

    pub(crate) fn unread(&self) -> &[u8] {
        &self.bytes[self.at..self.filled]
    }

    pub(crate) fn used(&mut self, count: usize) {
        self.at = (self.at + count).min(self.filled);
        // A large message is the exception: its memory is given back.
        if self.at == self.filled && self.bytes.len() > 16 * READ {
            *self = Input::default();
        }
    }
}

/// Bytes that are to be sent. `at <= bytes.len()`
#[derive(Debug, Default)]
pub(crate) struct Output {
    pub(crate) bytes: Vec<u8>,
    at: usize,
    /// Of these bytes so many are a piece of the queue, and are reported when they are sent.
    piece: usize,
}

impl Output {
    fn bytes(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    pub(crate) fn unsent(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn sent(&mut self, count: usize) {
        self.at += count;
        if self.at == self.bytes.len() {
            self.at = 0;
            self.bytes.clear();
        }
    }

    /// Appends the bytes of a piece.
    fn put(&mut self, bytes: Vec<u8>) {
        self.piece += bytes.len();
        match self.unsent() {
            0 => (self.bytes, self.at) = (bytes, 0),
            _ => self.bytes.extend_from_slice(&bytes),
        }
    }

    /// The bytes of pieces that have been sent, once all of them are.
    pub(crate) fn sent_pieces(&mut self) -> usize {
        match self.unsent() {
            0 => std::mem::take(&mut self.piece),
            _ => 0,
        }
    }

    /// The bytes of pieces that have not been reported.
    pub(crate) fn left_pieces(&self) -> usize {
        self.piece
    }
}

/// The addresses of a host, at most as many as are known at the same time.
pub(crate) fn resolve(address: &Address) -> io::Result<Vec<std::net::SocketAddr>> {
    use std::net::ToSocketAddrs;
    let found = (address.host.as_str(), address.port).to_socket_addrs()?;
    Ok(found.take(MOST_ADDRESSES).collect())
}
