//! How far the producer of a body may be ahead of its client.

use super::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use super::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// What each body of an HTTP/2 connection may have unsent, however many there are, and all that it may have before the
/// connection has counted them.
#[cfg(feature = "http2")]
pub(crate) const FIRST_SHARE: usize = 16 << 10;

/// Shared by the sender of a streamed body and its connection.
pub(crate) struct Credit {
    /// The limit on bytes that are in the mailbox or unsent.
    limit: AtomicUsize,
    /// Bytes on their way in the mailbox.
    queued: AtomicUsize,
    /// Bytes that the connection had not sent at its last turn.
    unsent: AtomicUsize,
    /// The connection has ended, or needs no body.
    gone: AtomicBool,
    /// Whether a thread or a callback waits for room.
    awaited: AtomicBool,
    waiter: Mutex<Option<Waiter>>,
    room: Condvar,
}

/// The cost of a piece of `len` bytes. Even a short piece takes some memory.
pub(crate) fn charge(len: usize) -> usize {
    const PIECE: usize = 64;
    len.max(PIECE)
}

/// Called once there is room, on the thread that owns the connection.
type Waiter = Box<dyn FnOnce() + Send>;

/// The result of an attempt to get room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Taken,
    Full,
    Gone,
}

impl Credit {
    pub(crate) fn new(limit: usize) -> Credit {
        Credit {
            limit: AtomicUsize::new(limit),
            queued: AtomicUsize::new(0),
            unsent: AtomicUsize::new(0),
            gone: AtomicBool::new(false),
            awaited: AtomicBool::new(false),
            waiter: Mutex::new(None),
            room: Condvar::new(),
        }
    }

    // ------------------------------------------------------------------------------- for makers

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }

    /// Bytes that are not sent yet, including those in the mailbox.
    pub(crate) fn ahead(&self) -> usize {
        self.queued.load(Ordering::SeqCst) + self.unsent.load(Ordering::SeqCst)
    }

    /// Whether more may be sent, or nothing can be sent any more. There is always room for a single piece.
    pub(crate) fn is_ready(&self) -> bool {
        let ahead = self.ahead();
        self.is_gone() || ahead == 0 || ahead < self.limit.load(Ordering::SeqCst)
    }

    /// Reserves room for `len` bytes if there is any room at all. So a sender that was woken gets its room.
    pub(crate) fn take(&self, len: usize) -> Room {
        if self.is_gone() {
            return Room::Gone;
        }
        if !self.is_ready() {
            return Room::Full;
        }
        self.queued.fetch_add(len, Ordering::SeqCst);
        Room::Taken
    }

    /// Blocks until there is room, for at most `most`. False if the time has passed.
    pub(crate) fn wait(&self, most: Option<Duration>) -> bool {
        let is_full = |_: &mut Option<Waiter>| {
            self.announce();
            !self.is_ready()
        };
        let waiter = self.waiter.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(most) = most else {
            let _guard = self.room.wait_while(waiter, is_full);
            return true;
        };
        let (_guard, waited) = self
            .room
            .wait_timeout_while(waiter, most, is_full)
            .unwrap_or_else(PoisonError::into_inner);
        !waited.timed_out()
    }

    /// Calls `waiter` when there is room: now if there is some, otherwise on the thread that makes room.
    /// Replaces an earlier callback.
    pub(crate) fn when_ready(&self, waiter: Waiter) {
        let mut place = self.waiter.lock().unwrap_or_else(PoisonError::into_inner);
        let replaced = place.replace(waiter);
        self.announce();
        let due = if self.is_ready() { place.take() } else { None };
        drop(place);
        drop(replaced);
        if let Some(waiter) = due {
            waiter();
        }
    }

    /// A thread that makes room after this call looks for waiters. The caller sees room that was made
    /// before, because it looks again.
    fn announce(&self) {
        self.awaited.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    // ----------------------------------------------------------------------- for the connection

    /// A piece was taken from the mailbox. The caller calls [`Credit::set_unsent`] afterwards.
    pub(crate) fn taken(&self, len: usize) {
        // In this order: for a moment the piece counts twice, but it is never missing.
        self.unsent.fetch_add(len, Ordering::SeqCst);
        self.queued.fetch_sub(len, Ordering::SeqCst);
    }

    /// Changes the limit. The caller calls [`Credit::set_unsent`] afterwards.
    #[cfg_attr(
        not(feature = "http2"),
        allow(dead_code, reason = "HTTP/1 has one body at a time")
    )]
    pub(crate) fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::SeqCst);
    }

    /// Reports the number of unsent bytes in the output of the connection.
    pub(crate) fn set_unsent(&self, len: usize) {
        self.unsent.store(len, Ordering::SeqCst);
        self.tell();
    }

    /// The connection has ended: nothing can be sent any more.
    pub(crate) fn end(&self) {
        self.gone.store(true, Ordering::SeqCst);
        self.tell();
    }

    fn tell(&self) {
        fence(Ordering::SeqCst);
        if !self.awaited.load(Ordering::SeqCst) {
            return;
        }
        let mut waiter = self.waiter.lock().unwrap_or_else(PoisonError::into_inner);
        self.awaited.store(false, Ordering::SeqCst);
        let due = match self.is_ready() {
            true => waiter.take(),
            false => None,
        };
        if waiter.is_some() {
            self.awaited.store(true, Ordering::SeqCst);
        }
        drop(waiter);
        self.room.notify_all();
        if let Some(waiter) = due {
            waiter();
        }
    }
}

impl std::fmt::Debug for Credit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credit")
            .field("limit", &self.limit)
            .field("ahead", &self.ahead())
            .field("gone", &self.is_gone())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::mpsc;

    #[test]
    fn room_is_bounded_and_comes_back() {
        let credit = Credit::new(100);
        assert_eq!(credit.take(1000), Room::Taken, "a single piece always fits");
        assert_eq!(credit.take(1), Room::Full);
        credit.taken(1000);
        credit.set_unsent(99);
        assert!(credit.is_ready());
        assert_eq!(
            credit.take(61),
            Room::Taken,
            "a sender that was woken has room"
        );
        assert_eq!(credit.ahead(), 160);
        assert!(!credit.is_ready());
        assert_eq!(credit.take(1), Room::Full);
        assert!(!credit.wait(Some(Duration::ZERO)));
        credit.set_limit(161);
        assert!(credit.is_ready());
        credit.set_limit(160);
        assert!(!credit.is_ready());
        credit.end();
        assert!(credit.is_ready() && credit.wait(None));
        assert_eq!(credit.take(1), Room::Gone);
    }

    #[test]
    fn a_waiting_sender_is_woken_once() {
        let credit = Credit::new(10);
        let (told, tells) = mpsc::channel();
        let tell = |n: u32| {
            let told = told.clone();
            Box::new(move || told.send(n).expect("the test listens")) as Waiter
        };
        credit.when_ready(tell(1));
        assert_eq!(tells.try_recv(), Ok(1), "there is room already");
        assert_eq!(credit.take(10), Room::Taken);
        credit.when_ready(tell(2));
        credit.taken(10);
        credit.set_unsent(10);
        assert!(tells.try_recv().is_err());
        credit.set_unsent(9);
        assert_eq!(tells.try_recv(), Ok(2));
        credit.set_unsent(0);
        assert!(tells.try_recv().is_err());
    }

    #[test]
    fn threads_wait_for_each_other() {
        let credit = Arc::new(Credit::new(10));
        let connection = credit.clone();
        let (pieces, arrived) = mpsc::channel();
        let taker = std::thread::spawn(move || {
            let mut sum = 0;
            for piece in arrived {
                connection.taken(piece);
                connection.set_unsent(piece);
                sum += piece;
                connection.set_unsent(0);
            }
            sum
        });
        let pieces_sent = if cfg!(miri) { 50 } else { 10_000 };
        for _ in 0..pieces_sent {
            while credit.take(7) == Room::Full {
                assert!(credit.wait(None));
            }
            pieces.send(7).expect("taken");
        }
        drop(pieces);
        assert_eq!(taker.join().expect("no panic"), 7 * pieces_sent);
    }
}
