//! Answers that come later, from any thread.
//!
//! A response is recorded where it is made, as status, fields and body, and encoded by the connection's
//! own thread, which gets it through its mailbox: it alone knows the state of the connection. Who is answered is named by slot and ticket; a ticket is given out once in the life of a
//! worker, so that a late answer can reach the request it is for, or nobody.

pub(crate) mod body_out;
#[cfg(any(test, feature = "internals"))]
pub(crate) mod check;
mod event_hub;
mod events;
pub(crate) mod leave;
pub(crate) mod pool;
mod responder;
mod sender;
mod timers;

pub use event_hub::{EventHub, EventLimits};
pub use events::{Event, EventSender};
pub(crate) use responder::Begun;
pub use responder::Responder;
pub use sender::{BodySender, SendError, TrySendError};
pub use timers::{Timer, TimerError, Timers};

use crate::conn::{
    body_out::BodyOut,
    budget::Budget,
    id::ConnId,
    inbox::Inbox,
    output::Detached,
    panic_guard::Panic,
    payload::Payload,
    response_head::{BodySize, ResponseHead},
    rows::Rows,
    timers::NewTimer,
};
use crate::incoming::Flow;
use crate::protocol::limits::Limits;
use crate::response::AnswerError;
use pool::Pool;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// One request whose answer is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) place: ConnId,
    ticket: u64,
}

impl Address {
    /// A ticket that is never given out.
    const NOBODY: Address = Address {
        place: ConnId::of(0),
        ticket: u64::MAX >> 1,
    };
}

/// An answer on its way to its connection.
#[derive(Debug)]
pub(crate) struct Late {
    pub(crate) head: ResponseHead,
    /// How much of `bytes` is its block of fields.
    pub(crate) fields: usize,
    pub(crate) size: BodySize,
    /// Of a body that is complete.
    pub(crate) body_bytes: u64,
    /// Its fields, and behind them its body if that is complete.
    pub(crate) bytes: Detached,
    /// The body comes later still.
    pub(crate) body: Option<Box<BodyOut>>,
}

/// What other threads want of a worker.
#[derive(Debug)]
pub(crate) enum Command {
    Answer(Address, Late),
    /// There will be no answer, for this reason.
    Fail(Address, AnswerError),
    /// There will be none, as what should make it has panicked.
    Panicked(Address, Panic),
    /// The next piece of a streamed body.
    Piece(Address, Payload),
    /// The end of it, with trailers.
    End(Address, Box<[u8]>),
    /// The rest of it will never come.
    Cut(Address),
    /// A sink that has paused shall go on, or answer.
    Resume(Address, Flow),
    /// Something is to be called, whoever is connected.
    Timer(NewTimer),
}

impl Command {
    /// The connection that it is about, if it is about one.
    pub(crate) fn address(&self) -> Option<Address> {
        match self {
            Command::Answer(address, _)
            | Command::Fail(address, _)
            | Command::Panicked(address, _)
            | Command::Piece(address, _)
            | Command::End(address, _)
            | Command::Cut(address)
            | Command::Resume(address, _) => Some(*address),
            Command::Timer(_) => None,
        }
    }
}

/// A worker as those see it who answer later.
pub(crate) struct Door {
    pub(crate) inbox: Inbox<Command>,
    /// By slot: which ticket is waited for, see [`entry`], or 0.
    waiting: Rows<AtomicU64>,
    /// Unsent bytes that a streamed body may be ahead of its client.
    stream_bytes: usize,
    /// For handlers that block.
    pub(crate) pool: Arc<Pool>,
    pub(crate) budget: Arc<Budget>,
    /// Calls that are waited for, and how many there may be.
    timers: Arc<AtomicUsize>,
    most_timers: usize,
}

/// A ticket that is waited for; `eof` if the client has sent its last byte.
fn entry(ticket: u64, eof: bool) -> u64 {
    ticket << 1 | u64::from(eof)
}

thread_local! {
    /// There is a door that this thread is behind.
    static IS_WORKER: Cell<bool> = const { Cell::new(false) };
}

impl Door {
    pub(crate) fn new(
        limits: &Limits,
        pool: Arc<Pool>,
        budget: Arc<Budget>,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> Door {
        Door {
            inbox: Inbox::new(wake),
            waiting: Rows::default(),
            stream_bytes: limits.output_bytes,
            pool,
            budget,
            timers: Arc::default(),
            most_timers: limits.timers_per_worker,
        }
    }

    /// The calling thread is the one that takes from the mailbox, and looks into it before it waits
    /// for anything.
    pub(crate) fn adopt(&self) {
        IS_WORKER.set(true);
        self.inbox.adopt();
    }

    /// Whether the calling thread is behind any door: it must not wait for another that may be
    /// waiting for it.
    pub(crate) fn is_worker() -> bool {
        IS_WORKER.get()
    }

    /// After the end of the worker it is dropped: whoever waits for an answer to it learns by that.
    pub(crate) fn post(&self, command: Command) {
        self.inbox.post(command);
    }

    /// An answer is waited for from now on. For the owning thread.
    pub(crate) fn enter(&self, place: ConnId, ticket: u64) -> Address {
        let waiting = self.waiting.get_or_make(place.slot());
        waiting.store(entry(ticket, false), Ordering::Release);
        Address { place, ticket }
    }

    /// What is waited for on a connection, if anything is.
    pub(crate) fn current(&self, place: ConnId) -> Option<Address> {
        let waiting = self.waiting.get(place.slot())?;
        match waiting.load(Ordering::Acquire) >> 1 {
            0 => None,
            ticket => Some(Address { place, ticket }),
        }
    }

    /// No answer is waited for any more. For the owning thread.
    pub(crate) fn leave(&self, place: ConnId) {
        if let Some(waiting) = self.waiting.get(place.slot()) {
            waiting.store(0, Ordering::Release);
        }
    }

    /// The client has sent its last byte while it waits. For the owning thread.
    pub(crate) fn client_eof(&self, place: ConnId) {
        if let Some(waiting) = self.waiting.get(place.slot()) {
            waiting.fetch_or(1, Ordering::AcqRel);
        }
    }

    /// Whether this is the answer that is waited for.
    pub(crate) fn is_waited_for(&self, address: Address) -> bool {
        self.entry(address) >> 1 == address.ticket
    }

    /// Whether the client is known to have left, or half left.
    fn is_gone(&self, address: Address) -> bool {
        self.entry(address) != entry(address.ticket, false) || self.is_closed()
    }

    fn entry(&self, address: Address) -> u64 {
        let waiting = self.waiting.get(address.place.slot());
        waiting.map_or(0, |waiting| waiting.load(Ordering::Acquire))
    }

    fn is_closed(&self) -> bool {
        self.inbox.is_closed()
    }

    /// The worker ends: nothing is taken any more.
    pub(crate) fn close(&self) {
        if self.inbox.is_own() {
            IS_WORKER.set(false);
        }
        self.inbox.close();
    }
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").finish_non_exhaustive()
    }
}
