//! What is sent leaves the buffer, and its watchers are told.

use super::{Body, KEEP, MAX_SLICES, WriteBuf};
use crate::payload::Payload;

impl<X> WriteBuf<X> {
    /// `n` bytes have been sent.
    #[inline]
    pub fn advance(&mut self, n: usize) {
        let n = n as u64;
        debug_assert!(n <= self.len);
        self.len -= n;
        match self.len {
            0 => {
                if !self.large.is_empty() {
                    self.tell_sent();
                }
                self.reset();
            }
            _ => self.advance_part(n),
        }
    }

    #[inline(never)]
    fn advance_part(&mut self, n: u64) {
        self.advance_pieces(n);
        if self.sent >= KEEP && self.sent >= self.bytes.len() / 2
            || self.large_sent >= MAX_SLICES && self.large_sent >= self.large.len() / 2
        {
            self.forget_sent();
        }
    }

    /// Frees the room of sent bytes, because the buffer of a slow client is never empty.
    fn forget_sent(&mut self) {
        self.bytes.drain(..self.sent);
        self.large.drain(..self.large_sent);
        for large in &mut self.large {
            large.at -= self.sent;
        }
        (self.sent, self.large_sent) = (0, 0);
    }

    /// Everything is sent.
    #[cold]
    fn tell_sent(&mut self) {
        for large in self.large.drain(self.large_sent..) {
            if let Body::Watcher(watcher) = large.body {
                watcher.sent();
            }
        }
        self.reset_large();
    }

    /// Nothing more will be sent.
    #[cold]
    pub(super) fn tell_lost(&mut self) {
        let (mut from, mut part, mut unsent) = (self.sent, self.part, 0_u64);
        for large in self.large.drain(self.large_sent..) {
            unsent = large
                .body
                .len()
                .saturating_sub(part)
                .saturating_add(unsent)
                .saturating_add((large.at - from) as u64);
            (from, part) = (large.at, 0);
            if let Body::Watcher(watcher) = large.body {
                watcher.lost(unsent);
            }
        }
        self.reset_large();
    }

    /// Whether all bytes before the next watcher are sent.
    fn is_watched(&self) -> bool {
        let next = self.large.get(self.large_sent);
        next.is_some_and(|next| next.at == self.sent && matches!(next.body, Body::Watcher(_)))
    }

    fn advance_pieces(&mut self, mut n: u64) {
        while n > 0 || self.is_watched() {
            let next = self.large.get(self.large_sent);
            let row = next.map_or(self.bytes.len(), |large| large.at) - self.sent;
            let step = n.min(row as u64);
            self.sent += step as usize;
            n -= step;
            let Some(next) = next else { break };
            if n > 0 || next.at == self.sent {
                let left = next.body.len() - self.part;
                let step = n.min(left);
                n -= step;
                self.part += step;
                if step == left {
                    // Dropped as soon as it is sent, and not only when everything is.
                    let sent = Body::Memory(Payload::Static(b""));
                    let body = core::mem::replace(&mut self.large[self.large_sent].body, sent);
                    self.large_held -= body.held();
                    self.segments -= usize::from(body.is_segment());
                    self.large_sent += 1;
                    self.part = 0;
                    if let Body::Watcher(watcher) = body {
                        watcher.sent();
                    }
                }
            }
        }
    }
}
