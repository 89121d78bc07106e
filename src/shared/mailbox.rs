//! A queue between threads that its owner empties as a whole.

use super::sync::atomic::{AtomicBool, Ordering};
use super::sync::{Mutex, PoisonError};

/// Many threads put items, one takes them. A wake-up is needed only if the box was empty before.
pub(crate) struct Mailbox<T> {
    queue: Mutex<Vec<T>>,
    /// Whether it has items. The owner reads it without the lock.
    filled: AtomicBool,
}

impl<T> Mailbox<T> {
    pub(crate) fn new() -> Mailbox<T> {
        Mailbox {
            queue: Mutex::new(Vec::new()),
            filled: AtomicBool::new(false),
        }
    }

    /// Puts an item. True if the owner has to be woken: it may be asleep, and no other thread has woken it
    /// for this batch.
    #[must_use]
    pub(crate) fn put(&self, items: impl IntoIterator<Item = T>) -> bool {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let was_empty = queue.is_empty();
        queue.extend(items);
        self.filled.store(!queue.is_empty(), Ordering::Release);
        was_empty && !queue.is_empty()
    }

    /// It may miss an item that another thread puts at this moment, but not after the wake-up for the item.
    pub(crate) fn is_empty(&self) -> bool {
        !self.filled.load(Ordering::Acquire)
    }

    /// The number of items, for statistics. It can change at any moment.
    pub(crate) fn len(&self) -> usize {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.len()
    }

    /// Swaps all items into `into`, which must be empty.
    pub(crate) fn take(&self, into: &mut Vec<T>) {
        debug_assert!(into.is_empty());
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut *queue, into);
        self.filled.store(false, Ordering::Release);
    }
}
