//! Commands of other threads for the thread that owns the inbox.
//!
//! A mailbox that wakes its owner and can be closed. It has no limit of its own: the threads that post count
//! what they post.
//!
//! Invariant: after [`Inbox::close`] and all calls of [`Inbox::post`] have returned, it is empty.

use super::mailbox::Mailbox;
use super::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use super::sync::this_thread;

pub(crate) struct Inbox<T> {
    mailbox: Mailbox<T>,
    wake: Box<dyn Fn() + Send + Sync>,
    closed: AtomicBool,
    /// The number of the owner; 0 before there is one.
    owner: AtomicU64,
}

impl<T> Inbox<T> {
    /// `wake` ends the wait of the owner.
    pub(crate) fn new(wake: impl Fn() + Send + Sync + 'static) -> Inbox<T> {
        Inbox {
            mailbox: Mailbox::new(),
            wake: Box::new(wake),
            closed: AtomicBool::new(false),
            owner: AtomicU64::new(0),
        }
    }

    /// Makes the calling thread the owner. The owner reads the inbox before each wait, so its own posts wake
    /// no thread.
    pub(crate) fn adopt(&self) {
        self.owner.store(this_thread(), Ordering::Release);
    }

    /// Whether the calling thread is the owner.
    pub(crate) fn is_own(&self) -> bool {
        self.owner.load(Ordering::Acquire) == this_thread()
    }

    /// Posts an item. If the inbox is closed, drops the item and returns false.
    pub(crate) fn post(&self, item: T) -> bool {
        if self.is_closed() {
            return false;
        }
        if self.mailbox.put([item]) && !self.is_own() {
            self.wake();
        }
        // The inbox may have been closed and emptied before the item was in it.
        if self.is_closed() {
            self.empty();
            return false;
        }
        true
    }

    pub(crate) fn wake(&self) {
        (self.wake)();
    }

    /// Whether the inbox looks empty. A post of another thread may not be visible yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.mailbox.is_empty()
    }

    /// The number of items that were posted and not taken.
    pub(crate) fn len(&self) -> usize {
        self.mailbox.len()
    }

    /// Moves all items into `into`, which must be empty.
    pub(crate) fn take(&self, into: &mut Vec<T>) {
        if !self.is_empty() {
            self.mailbox.take(into);
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Closes the inbox: drops the items in it, and all items that are posted later.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.empty();
    }

    fn empty(&self) {
        let mut rest = Vec::new();
        self.mailbox.take(&mut rest);
    }
}
