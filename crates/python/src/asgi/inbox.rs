//! What the threads of the server give to the thread of the asyncio loop.

use super::channel::Channel;
use super::senders::Senders;
use super::upload::Upload;
use crate::raw::descriptor;
use peregrine::{OwnedRequest, Responder};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

pub(crate) enum Event {
    Request(OwnedRequest, Responder, Place),
    /// A request whose body comes in pieces.
    Upload(OwnedRequest, Arc<Upload>, Place),
    /// A handshake.
    WebSocket(OwnedRequest, Arc<Channel>),
    /// The exchange with this number has something to look at.
    Changed(u64),
}

/// One of the places for exchanges, of which there are `limit_concurrency`.
pub(crate) struct Place(Arc<Inbox>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A queue. The loop is woken once for all events of a turn: by a byte in a socket that it watches.
pub(crate) struct Inbox {
    events: Mutex<Vec<Event>>,
    /// A byte is on its way to the loop.
    woken: AtomicBool,
    wakes: UnixStream,
    sleeps: UnixStream,
    taken: AtomicUsize,
    places: usize,
    numbers: AtomicUsize,
    pub(super) senders: Senders,
}

impl Inbox {
    /// `wakes` and `sleeps` are the two ends of a socket pair that does not block.
    pub(super) fn new(wakes: i32, sleeps: i32, places: usize) -> Arc<Inbox> {
        Arc::new(Inbox {
            events: Mutex::default(),
            woken: AtomicBool::new(false),
            wakes: descriptor(wakes).into(),
            sleeps: descriptor(sleeps).into(),
            taken: AtomicUsize::new(0),
            places,
            numbers: AtomicUsize::new(1),
            senders: Senders::default(),
        })
    }

    /// A place for an exchange, if there is one.
    pub(crate) fn place(self: &Arc<Inbox>) -> Option<Place> {
        let before = self.taken.fetch_add(1, Ordering::Relaxed);
        let place = Place(self.clone());
        (before < self.places).then_some(place)
    }

    /// A number that no other exchange has.
    pub(crate) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed) as u64
    }

    /// Adds an event. The loop sees it after [`Inbox::end_turn`].
    pub(crate) fn push(&self, event: Event) {
        self.lock().push(event);
    }

    /// Adds an event and wakes the loop, for threads without turns.
    pub(crate) fn tell(&self, event: Event) {
        self.push(event);
        self.wake();
    }

    /// The turn of a thread of the server ends.
    pub(crate) fn end_turn(&self) {
        for number in self.senders.take_ready() {
            self.push(Event::Changed(number));
        }
        self.wake();
    }

    fn wake(&self) {
        if self.lock().is_empty() || self.woken.swap(true, Ordering::AcqRel) {
            return;
        }
        // A full socket has woken the loop already.
        let _full = (&self.wakes).write(b"w");
    }

    pub(super) fn take(&self) -> Vec<Event> {
        let mut bytes = [0; 64];
        let _empty = (&self.sleeps).read(&mut bytes);
        // Before the events are taken, so the next one wakes again.
        self.woken.store(false, Ordering::Release);
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
