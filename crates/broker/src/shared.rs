//! What the threads of handlers and the thread of the connection share.

use crate::outbox::Outbox;
use crate::wanted::Wanted;
use mio::Waker;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) outbox: Mutex<Outbox>,
    pub(crate) wanted: Mutex<Wanted>,
    /// Wakes the thread of the connection, once it is there.
    waker: OnceLock<Waker>,
    /// The thread has been woken and has not looked since.
    is_awake: AtomicBool,
    pub(crate) is_connected: AtomicBool,
    /// Most bytes of a message with its envelope.
    pub(crate) max_message: AtomicUsize,
    connections: AtomicU64,
    last_error: Mutex<Option<String>>,
    stopping: Mutex<Stopping>,
    ended: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
struct Stopping {
    /// Until then what is queued may be sent.
    until: Option<Instant>,
    has_ended: bool,
}

impl Shared {
    pub(crate) fn new(queue_bytes: usize) -> Shared {
        Shared {
            outbox: Mutex::new(Outbox::new(queue_bytes)),
            wanted: Mutex::default(),
            waker: OnceLock::new(),
            is_awake: AtomicBool::new(false),
            is_connected: AtomicBool::new(false),
            max_message: AtomicUsize::new(usize::MAX),
            connections: AtomicU64::new(0),
            last_error: Mutex::default(),
            stopping: Mutex::default(),
            ended: Condvar::new(),
        }
    }

    pub(crate) fn set_waker(&self, waker: Waker) {
        let _ = self.waker.set(waker);
    }

    /// There is something to do for the thread of the connection.
    pub(crate) fn wake(&self) {
        if !self.is_awake.swap(true, Ordering::AcqRel) {
            if let Some(waker) = self.waker.get() {
                // An error means that it is awake.
                let _ = waker.wake();
            }
        }
    }

    /// The thread is about to look at everything.
    pub(crate) fn looks(&self) {
        self.is_awake.store(false, Ordering::Release);
    }

    /// All topics are subscribed.
    pub(crate) fn connected(&self) {
        self.connections.fetch_add(1, Ordering::AcqRel);
        self.is_connected.store(true, Ordering::Release);
    }

    /// The broker has refused a command.
    pub(crate) fn refused(&self, text: &str) {
        *lock(&self.last_error) = Some(format!("refused: {text}"));
    }

    /// An attempt or a connection has ended. True if it was connected.
    pub(crate) fn failed(&self, error: &str) -> bool {
        *lock(&self.last_error) = Some(error.to_owned());
        lock(&self.wanted).offline();
        self.is_connected.swap(false, Ordering::AcqRel)
    }

    /// The thread has to end, at once or when everything was sent.
    pub(crate) fn stop(&self, within: Duration) {
        let now = Instant::now();
        let until = now.checked_add(within).unwrap_or(now);
        lock(&self.stopping).until.get_or_insert(until);
        // In any case: without a connection the thread does not look whether it was woken.
        if let Some(waker) = self.waker.get() {
            let _ = waker.wake();
        }
    }

    pub(crate) fn stop_at(&self) -> Option<Instant> {
        lock(&self.stopping).until
    }

    /// Waits until the thread has ended, or this time is over.
    pub(crate) fn wait_for_end(&self, within: Duration) {
        let stopping = lock(&self.stopping);
        let until_end = |stopping: &mut Stopping| !stopping.has_ended;
        drop(self.ended.wait_timeout_while(stopping, within, until_end));
    }

    /// The thread has ended, in any way. Returns the number of messages that were queued: they are dropped.
    pub(crate) fn ended(&self) -> u64 {
        self.is_connected.store(false, Ordering::Release);
        let dropped = lock(&self.outbox).close();
        lock(&self.stopping).has_ended = true;
        self.ended.notify_all();
        dropped
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Shows the state of the connection to the broker from any thread. Clones show the same.
#[derive(Clone, Debug)]
pub struct Watch(pub(crate) Arc<Shared>);

impl Watch {
    /// Whether the broker is connected and all topics are subscribed.
    pub fn is_connected(&self) -> bool {
        self.0.is_connected.load(Ordering::Acquire)
    }

    /// How often it was connected so far.
    pub fn connections(&self) -> u64 {
        self.0.connections.load(Ordering::Acquire)
    }

    /// Why the last attempt or connection ended, or what the broker has refused. It may have texts of the broker in it.
    pub fn last_error(&self) -> Option<String> {
        lock(&self.0.last_error).clone()
    }
}
