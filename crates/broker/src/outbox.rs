//! The queue of messages to the broker, bounded in bytes.

use crate::numbers::Outgoing;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Messages are collected in pieces of this size: one piece is one write.
const PIECE: usize = 64 << 10;

/// So long a piece takes further messages while it waits, so that its messages are about as old as each other.
const COLLECT: Duration = Duration::from_millis(500);

/// Several complete commands.
#[derive(Debug, Default)]
pub(crate) struct Piece {
    pub(crate) bytes: Vec<u8>,
    /// The number of messages in it.
    pub(crate) messages: u64,
    /// When the first of them was put in.
    since: Option<Instant>,
}

/// What has become of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    Queued,
    Full,
    /// Nothing is sent any more.
    Closed,
    /// It cannot be written.
    Refused,
}

#[derive(Debug)]
pub(crate) struct Outbox {
    pieces: VecDeque<Piece>,
    /// Bytes in the queue, and of the piece that is being sent. `bytes <= most`, but for the piece that is being written.
    bytes: usize,
    most: usize,
    numbers: Outgoing,
    /// Nothing takes pieces any more.
    is_closed: bool,
}

impl Outbox {
    pub(crate) fn new(most: usize) -> Outbox {
        Outbox {
            pieces: VecDeque::new(),
            bytes: 0,
            most,
            numbers: Outgoing::default(),
            is_closed: false,
        }
    }

    /// Appends a message by `write`, which returns false if it cannot write it.
    pub(crate) fn push(
        &mut self,
        now: Instant,
        write: impl FnOnce(&mut Vec<u8>, &mut Outgoing) -> bool,
    ) -> Pushed {
        if self.is_closed {
            return Pushed::Closed;
        }
        let takes_more = |piece: &Piece| {
            let is_young = piece.since.is_none_or(|since| now < since + COLLECT);
            piece.bytes.len() < PIECE && is_young
        };
        if !self.pieces.back().is_some_and(takes_more) {
            self.pieces.push_back(Piece::default());
        }
        let Some(piece) = self.pieces.back_mut() else {
            return Pushed::Full;
        };
        let before = piece.bytes.len();
        let is_written = write(&mut piece.bytes, &mut self.numbers);
        let len = piece.bytes.len() - before;
        let pushed = match len <= self.most.saturating_sub(self.bytes) {
            _ if !is_written => Pushed::Refused,
            true => Pushed::Queued,
            false => Pushed::Full,
        };
        if pushed == Pushed::Queued {
            piece.messages += 1;
            piece.since.get_or_insert(now);
            self.bytes += len;
            return pushed;
        }
        piece.bytes.truncate(before);
        if before == 0 {
            self.pieces.pop_back();
        }
        pushed
    }

    /// A message is not appended: it is missing for those who get the next one.
    pub(crate) fn skip(&mut self, topic: Option<&str>) {
        self.numbers.next(topic);
    }

    /// The next piece. Its bytes count until [`Outbox::sent`].
    pub(crate) fn take(&mut self) -> Option<Piece> {
        self.pieces.pop_front()
    }

    /// A piece that was taken was not sent: it is the next one again.
    pub(crate) fn put_back(&mut self, piece: Piece) {
        self.pieces.push_front(piece);
    }

    /// A piece of this size has been sent or dropped.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Drops the pieces that have waited for this time. Returns the number of their messages.
    pub(crate) fn expire(&mut self, now: Instant, most: Duration) -> u64 {
        let mut dropped = 0;
        while let Some(piece) = self.pieces.front() {
            if piece
                .since
                .is_none_or(|since| now.duration_since(since) < most)
            {
                break;
            }
            dropped += piece.messages;
            self.bytes = self.bytes.saturating_sub(piece.bytes.len());
            self.pieces.pop_front();
        }
        dropped
    }

    /// Drops everything, and takes no more. Returns the number of messages.
    pub(crate) fn close(&mut self) -> u64 {
        self.is_closed = true;
        let dropped = self.pieces.drain(..).map(|piece| piece.messages).sum();
        self.bytes = 0;
        dropped
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(outbox: &mut Outbox, now: Instant, bytes: &[u8]) -> Pushed {
        outbox.push(now, |out, _| {
            out.extend_from_slice(bytes);
            true
        })
    }

    #[test]
    fn the_bytes_are_limited_until_they_are_sent() {
        let (mut outbox, now) = (Outbox::new(10), Instant::now());
        assert_eq!(push(&mut outbox, now, b"1234567"), Pushed::Queued);
        assert_eq!(push(&mut outbox, now, b"8901"), Pushed::Full);
        assert_eq!(push(&mut outbox, now, b"890"), Pushed::Queued);
        let piece = outbox.take().expect("one piece");
        assert_eq!((&piece.bytes[..], piece.messages), (&b"1234567890"[..], 2));
        // It is on its way.
        assert_eq!(push(&mut outbox, now, b"1"), Pushed::Full);
        assert!(outbox.is_empty());
        // It comes back: it still counts, once.
        outbox.put_back(piece);
        assert_eq!(push(&mut outbox, now, b"1"), Pushed::Full);
        let piece = outbox.take().expect("the same piece");
        assert_eq!(piece.messages, 2);
        outbox.sent(piece.bytes.len());
        assert_eq!(push(&mut outbox, now, b"1"), Pushed::Queued);
        // What cannot be written leaves nothing.
        let refused = outbox.push(now, |out, _| {
            out.push(0);
            false
        });
        assert_eq!(refused, Pushed::Refused);
        assert_eq!(outbox.take().map(|piece| piece.bytes), Some(b"1".to_vec()));
        assert!(outbox.take().is_none());
    }

    #[test]
    fn old_messages_are_dropped_and_counted() {
        let (mut outbox, start) = (Outbox::new(1000), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        for millis in [0, 100, 600, 700] {
            assert_eq!(push(&mut outbox, at(millis), b"12345"), Pushed::Queued);
        }
        let most = Duration::from_secs(1);
        assert_eq!(outbox.expire(at(999), most), 0);
        assert_eq!(outbox.expire(at(1000), most), 2);
        assert_eq!(outbox.bytes, 10);
        assert_eq!(outbox.close(), 2);
        assert_eq!((outbox.bytes, outbox.is_empty()), (0, true));
        assert_eq!(push(&mut outbox, start, b"1"), Pushed::Closed);
        assert_eq!((outbox.is_empty(), outbox.close()), (true, 0));
    }

    #[test]
    fn pieces_have_a_size() {
        let (mut outbox, now) = (Outbox::new(1 << 20), Instant::now());
        (0..100).for_each(|_| assert_eq!(push(&mut outbox, now, &[0; 2000]), Pushed::Queued));
        let mut count = 0;
        while let Some(piece) = outbox.take() {
            assert!(piece.bytes.len() < PIECE + 2000);
            count += piece.messages;
        }
        assert_eq!(count, 100);
    }
}
