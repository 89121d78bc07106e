//! A queue between threads that is taken as a whole.

use super::sync::atomic::{AtomicBool, Ordering};
use super::sync::{Mutex, PoisonError};

/// Many may put, one takes; a wake-up is due only when the box was empty before.
pub(crate) struct Mailbox<T> {
    queue: Mutex<Vec<T>>,
    /// Not empty. Lets the owner look without taking the lock.
    filled: AtomicBool,
}

impl<T> Mailbox<T> {
    pub(crate) fn new() -> Mailbox<T> {
        Mailbox {
            queue: Mutex::new(Vec::new()),
            filled: AtomicBool::new(false),
        }
    }

    /// True if the owner must be woken: it may be asleep, and no other thread has woken it for this
    /// batch.
    #[must_use]
    pub(crate) fn put(&self, items: impl IntoIterator<Item = T>) -> bool {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let was_empty = queue.is_empty();
        queue.extend(items);
        self.filled.store(!queue.is_empty(), Ordering::Release);
        was_empty && !queue.is_empty()
    }

    /// May be late to see what another thread puts, but never after its wake-up.
    pub(crate) fn is_empty(&self) -> bool {
        !self.filled.load(Ordering::Acquire)
    }

    /// For statistics: the value can change at any moment.
    pub(crate) fn len(&self) -> usize {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.len()
    }

    /// Swaps all that has come into `into`, which must be empty.
    pub(crate) fn take(&self, into: &mut Vec<T>) {
        debug_assert!(into.is_empty());
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut *queue, into);
        self.filled.store(false, Ordering::Release);
    }
}
