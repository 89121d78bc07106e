//! The TLS of one connection, and the buffers of a thread.

use super::super::{MAX_SLICES, Segment, Transport, Unserved, Written, can_wait, gather};
use super::unsent::Unsent;
use crate::runtime::tls::{HEADER, Outgoing, Session, WIRE_RECORD};
use crate::shared::output::Output;
use peregrine_protocol::Seconds;
use peregrine_protocol::h1::response_encoder::ListenerFields;
use std::cell::RefCell;
use std::io;

/// Plaintext that is encrypted before the socket has taken it: what is encrypted cannot be taken back. Its records are less
/// than 65,483 bytes, which the system sends as one packet. With a little more there is a second one.
const AHEAD: usize = 63 << 10;

/// Room for what is read: a handshake with a chain of certificates (64 KiB), and one read more.
const INPUT: usize = (64 << 10) + 2 * WIRE_RECORD;

pub(super) struct State {
    pub(super) session: Session,
    /// Received and not decrypted yet.
    pub(super) received: Vec<u8>,
    /// Decrypted and not given yet.
    pub(super) decrypted: Vec<u8>,
    pub(super) unsent: Unsent,
    /// When the handshake has to be complete, until it is.
    pub(super) handshake: Option<Seconds>,
    /// Bytes that the client has sent in the handshake, and may send.
    pub(super) shaken: u32,
    pub(super) most: u32,
    /// What becomes of a client that speaks HTTP without TLS.
    pub(super) plain_http: Unserved,
    /// See [`Transport::listener_fields`].
    pub(super) fields: ListenerFields,
    /// The protocol knows that the client sends no more.
    pub(super) told_eof: bool,
    pub(super) end: End,
}

/// How far the sending half is from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Open,
    /// What is in the output is the last.
    Near,
    /// `close_notify` is encrypted, or the connection ends without it.
    Reached,
    /// The transport beneath is closed for writing. What the client still sends is of no use.
    Shut,
}

/// What a read has brought.
pub(super) enum Read {
    /// So many bytes of plaintext; none: the client sends no more.
    Plain(usize),
    /// So many bytes of a request without TLS.
    Http(usize),
}

/// Buffers of a thread.
pub(super) struct Scratch {
    input: Box<[u8]>,
    plain: Plaintext,
    pub(super) out: Outgoing,
}

/// Plaintext that is gathered for records: at most [`AHEAD`].
#[derive(Default)]
struct Plaintext {
    /// Longer than what is in it, so that nothing is cleared twice.
    bytes: Vec<u8>,
    len: usize,
}

impl Plaintext {
    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Takes what is next in `output`, files included. Returns how many bytes.
    fn fill(&mut self, output: &Output) -> io::Result<usize> {
        let most = output.len().min(AHEAD as u64) as usize;
        if self.bytes.len() < most {
            self.bytes.resize(most, 0);
        }
        self.len = gather::fill(output.unsent(), &mut self.bytes[..most])?;
        Ok(self.len)
    }
}

thread_local! {
    pub(super) static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        input: vec![0; INPUT].into(),
        plain: Plaintext::default(),
        out: Outgoing::default(),
    });
}

/// Whether this is the beginning of a request and not of a TLS record: methods are written in capitals.
fn is_http(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(u8::is_ascii_uppercase)
}

impl State {
    /// Whether a read brings something without more of the client.
    pub(super) fn is_ahead(&self) -> bool {
        let has_eof = self.session.is_eof() && !self.told_eof;
        let is_open = self.handshake.is_none() && self.end != End::Shut;
        is_open && (!self.decrypted.is_empty() || has_eof)
    }

    /// Gives plaintext of a record for all of which there was no room.
    pub(super) fn give_rest(&mut self, buffer: &mut [u8]) -> usize {
        let n = self.decrypted.len().min(buffer.len());
        buffer[..n].copy_from_slice(&self.decrypted[..n]);
        match n == self.decrypted.len() {
            true => self.decrypted = Vec::new(),
            false => drop(self.decrypted.drain(..n)),
        }
        n
    }

    /// One read, and what of it can be decrypted into `buffer`.
    pub(super) fn read(
        &mut self,
        inner: &mut impl Transport,
        buffer: &mut [u8],
        scratch: &mut Scratch,
    ) -> io::Result<Read> {
        let (input, out) = (&mut scratch.input, &mut scratch.out);
        let (before, mut end) = (self.received.len(), self.received.len());
        let is_shaking = self.handshake.is_some();
        if !self.session.is_eof() {
            // The first bytes may be those of HTTP without TLS, which `buffer` has to hold.
            let most = match is_shaking && self.shaken == 0 {
                true => buffer.len(),
                false => buffer.len().max(WIRE_RECORD.saturating_sub(before)),
            };
            let most = most.clamp(HEADER, INPUT - before);
            let n = inner.read(&mut input[before..before + most])?;
            if n == 0 {
                return match is_shaking && self.shaken > 0 {
                    true => Err(io::ErrorKind::UnexpectedEof.into()),
                    false => Ok(Read::Plain(0)),
                };
            }
            end += n;
            if self.shaken == 0 && is_shaking && is_http(&input[..end]) {
                let given = end.min(buffer.len());
                buffer[..given].copy_from_slice(&input[..given]);
                return Ok(Read::Http(given));
            }
            self.shaken += if is_shaking { n as u32 } else { 0 };
        }
        input[..before].copy_from_slice(&self.received);
        out.clear();
        let (mut given, decrypted) = (0, &mut self.decrypted);
        let (taken, read) = self.session.read(&mut input[..end], out, &mut |plain| {
            let n = plain.len().min(buffer.len() - given);
            buffer[given..given + n].copy_from_slice(&plain[..n]);
            decrypted.extend_from_slice(&plain[n..]);
            given += n;
        });
        self.received = input[taken..end].to_vec();
        if is_shaking && !self.session.is_handshaking() {
            self.handshake = None;
        }
        // What is left is a part of a record, or the records of a part of a handshake message. After the handshake
        // a client has no use for such a message that takes more than a record.
        let is_too_long = match self.handshake {
            Some(_) => self.shaken > self.most || self.received.len() > INPUT - 2 * WIRE_RECORD,
            None => self.received.len() >= WIRE_RECORD,
        };
        if read.is_err() || is_too_long {
            self.end = End::Reached;
        }
        // An alert does not wait: nothing follows it.
        self.send_own(inner, out, given > 0 && read.is_ok())?;
        read?;
        if is_too_long {
            let text = "a handshake message of the client is too long";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        match given {
            0 if self.session.is_eof() => {
                self.told_eof = true;
                Ok(Read::Plain(0))
            }
            0 => Err(io::ErrorKind::WouldBlock.into()),
            given => Ok(Read::Plain(given)),
        }
    }

    /// Sends what the session itself has to say. `waits`: together with the response that is about to follow.
    fn send_own(
        &mut self,
        inner: &mut impl Transport,
        out: &mut Outgoing,
        waits: bool,
    ) -> io::Result<()> {
        if out.bytes().is_empty() {
            return Ok(());
        }
        let sent = match waits || !self.unsent.is_empty() {
            true => Ok(0),
            false => inner.write(out.bytes()),
        };
        self.unsent.keep(out, *sent.as_ref().unwrap_or(&0));
        let mut is_starved = false;
        match sent {
            Err(error) if !can_wait(&error, &mut is_starved) => Err(error),
            _ => Ok(()),
        }
    }

    /// Sends what is next in `output`: what is encrypted already, or else the next pieces, encrypted.
    pub(super) fn send(
        &mut self,
        inner: &mut impl Transport,
        output: &Output,
        scratch: &mut Scratch,
    ) -> io::Result<Written> {
        if self.unsent.has_plain() {
            self.unsent.write(inner)?;
            return Ok(Written {
                bytes: self.unsent.take_left(),
                full: !self.unsent.is_empty(),
            });
        }
        let Scratch { plain, out, .. } = scratch;
        out.clear();
        self.unsent.move_to(out);
        self.seal(output, plain, out)?;
        let written = inner.write(out.bytes());
        let n = *written.as_ref().unwrap_or(&0);
        let full = n < out.bytes().len();
        self.unsent.keep(out, n);
        let bytes = self.unsent.take_left();
        written.map(|_| Written { bytes, full })
    }

    /// Encrypts what is next in `output`.
    fn seal(
        &mut self,
        output: &Output,
        plain: &mut Plaintext,
        out: &mut Outgoing,
    ) -> io::Result<()> {
        match output.next() {
            Segment::Row { bytes, more: false } => {
                return self.seal_all(&bytes[..bytes.len().min(AHEAD)], output, out);
            }
            Segment::Pieces => {
                let mut slices: [&[u8]; MAX_SLICES] = [b""; MAX_SLICES];
                let count = output.gather(&mut slices, |slice| slice);
                if let [one] = slices[..count] {
                    return self.seal_all(&one[..one.len().min(AHEAD)], output, out);
                }
            }
            Segment::Row { .. } | Segment::Segment { .. } => {}
        }
        if plain.fill(output)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.seal_all(plain.bytes(), output, out)
    }

    /// Says that nothing follows, unless that has been said.
    pub(super) fn close(&mut self, inner: &mut impl Transport, out: &mut Outgoing) {
        if matches!(self.end, End::Open | End::Near) && self.handshake.is_none() {
            out.clear();
            self.session.seal(b"", true, &mut self.received, out);
            // A client that takes nothing at present gets the end of its connection.
            let _ = self.send_own(inner, out, false);
            self.end = End::Reached;
        }
    }

    /// Encrypts the next bytes of `output`, and behind the last of all `close_notify`.
    fn seal_all(&mut self, plain: &[u8], output: &Output, out: &mut Outgoing) -> io::Result<()> {
        let is_last = self.end == End::Near && plain.len() as u64 == output.len();
        if is_last {
            self.end = End::Reached;
        }
        match self.session.seal(plain, is_last, &mut self.received, out) {
            true => Ok(()),
            false => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}
