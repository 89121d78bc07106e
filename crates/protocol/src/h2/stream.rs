//! Streams that outlive the turn in which their request came (RFC 9113 section 5.1).

use super::head::HeadBuf;
use super::priority::Priority;
use crate::Seconds;
use crate::http::Method;
use crate::limits::Limits;
use crate::rate::{Rate, RateMeter, Stall};
use crate::write_buf::WriteBuf;
use alloc::vec::Vec;

/// What the client may still send (RFC 9113 section 5.2).
///
/// Invariant: `credit + held <= target`.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReceiveWindow {
    target: u32,
    /// What the client may send now.
    credit: u32,
    /// What has come and is not released.
    held: u32,
}

impl ReceiveWindow {
    pub(super) fn new(target: u32) -> ReceiveWindow {
        ReceiveWindow {
            target,
            credit: target,
            held: 0,
        }
    }

    /// `len` bytes have come. False if the client had no right to send them.
    #[inline]
    pub(super) fn receive(&mut self, len: u32) -> bool {
        let fits = len <= self.credit;
        if fits {
            self.credit -= len;
            self.held += len;
        }
        fits
    }

    /// `len` bytes are taken. Returns by how much the window shall be updated: half of it at the least, or a
    /// quarter if the client can send little, because something is held.
    #[inline]
    pub(super) fn release(&mut self, len: u32) -> Option<u32> {
        self.held = self.held.saturating_sub(len);
        let more = self.target - self.credit - self.held;
        let least = match self.credit < self.target / 4 {
            true => self.target.div_ceil(4),
            false => self.target.div_ceil(2),
        };
        if more < least {
            return None;
        }
        self.credit += more;
        Some(more)
    }

    /// `len` bytes are of no interest any more; the next release gives them back.
    pub(super) fn forget(&mut self, len: u32) {
        self.held = self.held.saturating_sub(len);
    }

    pub(super) fn held(&self) -> u32 {
        self.held
    }

    /// The client may go on, whatever is held of other streams.
    pub(super) fn has_room(&self) -> bool {
        self.credit >= ROOM
    }

    /// The client may send as much as it can expect to: so it is, unless something is held.
    pub(super) fn is_open(&self) -> bool {
        self.credit > self.target / 2
    }
}

/// The window of a connection has room if a client may send so much of any stream.
const ROOM: u32 = 1 << 14;

/// A request of which something is kept: its body or its response is not complete.
#[derive(Debug)]
pub(super) struct Stream<X> {
    pub(super) id: u32,
    pub(super) method: Method,
    pub(super) priority: Priority,
    /// The client has sent END_STREAM.
    pub(super) is_received: bool,
    /// The head of the response is written.
    pub(super) is_answered: bool,
    /// All of the response is in the queue.
    pub(super) is_finished: bool,
    /// What we may send; negative if the client has lowered its settings.
    pub(super) send: i64,
    pub(super) receive: ReceiveWindow,
    /// `Content-Length`.
    pub(super) length: Option<u64>,
    /// The driver does not need its body, so the client need not send it.
    pub(super) is_unwanted: bool,
    /// The driver takes nothing of its body at the moment.
    pub(super) is_paused: bool,
    /// Bytes of the body that have come, and DATA frames.
    pub(super) received: u64,
    pub(super) frames: u64,
    /// What waits for the windows.
    pub(super) queue: WriteBuf<X>,
    /// A block of fields behind the body.
    pub(super) trailers: Vec<u8>,
    /// How fast the client gives room for it.
    pub(super) stall: Stall,
    /// When the body was last asked for, and how fast it has come since.
    pub(super) asked_since: Seconds,
    pub(super) meter: Option<RateMeter>,
}

impl<X> Stream<X> {
    /// There is something that may be sent, if the window of the connection allows it.
    pub(super) fn is_ready(&self) -> bool {
        match self.queue.is_empty() {
            true => self.is_finished,
            false => self.send > 0,
        }
    }

    /// The client may send all that its `Content-Length` says is missing.
    pub(super) fn has_room_for_rest(&self) -> bool {
        let fits = |length: u64| length - self.received <= u64::from(self.receive.credit);
        self.length.is_some_and(fits)
    }

    /// The client may send as much as it can expect to, or all that is missing.
    pub(super) fn may_go_on(&self) -> bool {
        self.receive.is_open() || self.has_room_for_rest()
    }

    /// `n` bytes of the body have come.
    pub(super) fn count(&mut self, n: usize, limits: &Limits, now: Seconds) {
        let rate = Rate::of_bodies(limits);
        let since = self.asked_since;
        let meter = self
            .meter
            .get_or_insert_with(|| RateMeter::new(since, &rate));
        meter.count(n, now, &rate);
    }
}

/// A request that was announced and is not answered: what a stream is made of, if one is needed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Current {
    pub(super) id: u32,
    pub(super) method: Method,
    pub(super) priority: Priority,
    pub(super) is_received: bool,
    pub(super) length: Option<u64>,
}

impl Current {
    pub(super) fn new(id: u32, head: &HeadBuf, is_received: bool) -> Current {
        Current {
            id,
            method: head.head.kind,
            priority: head.priority,
            is_received,
            length: None,
        }
    }

    pub(super) fn into_stream<X>(self, send: i64, window: u32, now: Seconds) -> Stream<X> {
        Stream {
            id: self.id,
            method: self.method,
            priority: self.priority,
            is_received: self.is_received,
            is_answered: false,
            is_finished: false,
            send,
            receive: ReceiveWindow::new(window),
            length: self.length,
            is_unwanted: false,
            is_paused: false,
            received: 0,
            frames: 0,
            queue: WriteBuf::queue(),
            trailers: Vec::new(),
            stall: Stall::new(now),
            asked_since: now,
            meter: None,
        }
    }
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// We have reset it: frames of it may be on their way (RFC 9113 section 5.1).
    Reset,
    /// Both sides had sent END_STREAM, or the client has reset it.
    Closed,
}

/// At least so many streams that we have reset, and of which frames are not taken for errors; twice as many as may be
/// open, but not more than the second number.
const RESETS: (usize, usize) = (64, 1 << 16);

/// Other streams that have ended and are known to have been open.
const CLOSED: usize = 16;

/// The streams that ended last.
#[derive(Debug)]
pub(super) struct EndedStreams {
    /// As many as there were, until there are `most`.
    resets: Vec<u32>,
    most: u32,
    closed: [u32; CLOSED],
    /// The next place in each.
    at: (u32, u8),
}

impl EndedStreams {
    /// For a connection that may have so many streams open.
    pub(super) fn new(streams: usize) -> EndedStreams {
        let most = streams.saturating_mul(2).clamp(RESETS.0, RESETS.1);
        EndedStreams {
            resets: Vec::new(),
            most: most as u32,
            closed: [0; CLOSED],
            at: (0, 0),
        }
    }

    #[inline]
    pub(super) fn add(&mut self, id: u32, ended: Ended) {
        match ended {
            Ended::Reset => {
                match self.resets.get_mut(self.at.0 as usize) {
                    Some(place) => *place = id,
                    None => self.resets.push(id),
                }
                self.at.0 = (self.at.0 + 1) % self.most;
            }
            Ended::Closed => {
                self.closed[usize::from(self.at.1)] = id;
                self.at.1 = (self.at.1 + 1) % CLOSED as u8;
            }
        }
    }

    pub(super) fn find(&self, id: u32) -> Option<Ended> {
        if self.resets.contains(&id) {
            return Some(Ended::Reset);
        }
        self.closed.contains(&id).then_some(Ended::Closed)
    }

    /// END_STREAM of a stream has come that we have reset: it is closed. False if it is not known.
    pub(super) fn has_end(&mut self, id: u32) -> bool {
        let place = self.resets.iter_mut().find(|reset| **reset == id);
        // No stream has this identifier.
        let known = place.map(|place| *place = 0).is_some();
        if known {
            self.add(id, Ended::Closed);
        }
        known
    }

    pub(super) fn held(&self) -> usize {
        self.resets.capacity() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_given_back_at_half() {
        let mut window = ReceiveWindow::new(100);
        assert!(window.receive(49) && !window.receive(52));
        assert_eq!(window.release(49), None);
        assert!(window.receive(11));
        assert_eq!(window.release(0), None);
        assert_eq!(window.release(1), Some(50));
        assert_eq!((window.credit, window.held()), (90, 10));
        assert!(window.receive(90) && !window.is_open());
        // Bytes that the driver has not taken are not given back; a quarter is enough if all is used up.
        assert_eq!(window.release(24), None);
        assert_eq!(window.release(1), Some(25));
        assert_eq!(window.release(49), None);
        assert_eq!(window.release(1), Some(50));
        assert_eq!(window.release(1000), None);
        assert_eq!((window.credit, window.held()), (75, 0));
    }

    #[test]
    fn the_last_streams_that_ended() {
        let mut ended = EndedStreams::new(40);
        for id in (1..400).step_by(2) {
            assert_eq!(ended.find(id), None);
            let how = [Ended::Reset, Ended::Closed][id as usize / 2 % 2];
            ended.add(id, how);
            assert_eq!(ended.find(id), Some(how));
        }
        let known = |how| {
            (1..400)
                .step_by(2)
                .filter(|id| ended.find(*id) == Some(how))
                .count()
        };
        assert_eq!((known(Ended::Reset), known(Ended::Closed)), (80, CLOSED));
        assert_eq!(ended.find(397), Some(Ended::Reset));
        assert!(ended.has_end(397) && !ended.has_end(397) && !ended.has_end(1));
        assert_eq!(ended.find(397), Some(Ended::Closed));
        assert_eq!(EndedStreams::new(usize::MAX).most, 1 << 16);
    }
}
