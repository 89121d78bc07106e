//! Calls of users' code that wait until a thread has released a lock of a hub or history.

use std::cell::{Cell, RefCell};

thread_local! {
    /// Whether this thread holds the lock of a hub or a history.
    static IS_HELD: Cell<bool> = const { Cell::new(false) };
    /// Calls that this thread makes when it has released the lock.
    static LATER: RefCell<Vec<Box<dyn FnOnce()>>> = const { RefCell::new(Vec::new()) };
}

/// Calls a function of a user, which may use a hub. Calls it now, or as soon as this thread has released the
/// lock of a hub or a history.
///
/// A send to a page of a server that has just ended may drop items that other threads have sent to the page.
/// The drop calls such functions.
pub(super) fn call_unlocked(call: impl FnOnce() + 'static) {
    match IS_HELD.get() {
        true => LATER.with_borrow_mut(|later| later.push(Box::new(call))),
        false => call(),
    }
}

/// Exists from before the lock is taken until after it is released. The calls are made when the outermost one ends.
pub(crate) struct Held {
    is_outermost: bool,
}

impl Held {
    pub(crate) fn begin() -> Held {
        Held {
            is_outermost: !IS_HELD.replace(true),
        }
    }

    /// Whether this thread holds a lock.
    pub(crate) fn is_held() -> bool {
        IS_HELD.get()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.is_outermost {
            return;
        }
        IS_HELD.set(false);
        for call in LATER.take() {
            call();
        }
    }
}
