//! Atomics and locks, replaced by those of `loom` in its models.

pub(super) use std::sync::{Condvar, Mutex, PoisonError};

pub(super) mod atomic {
    pub(in crate::shared) use std::sync::atomic::{
        AtomicBool, AtomicU64, AtomicUsize, Ordering, fence,
    };
}

use std::cell::Cell;

/// The last number that was assigned to a thread.
static THREADS: atomic::AtomicU64 = atomic::AtomicU64::new(0);

thread_local! {
    /// A number of this thread that no other thread ever has; 0 before the first use. Reading it is cheaper
    /// than a `ThreadId`.
    static THREAD: Cell<u64> = const { Cell::new(0) };
}

pub(super) fn this_thread() -> u64 {
    if THREAD.get() == 0 {
        THREAD.set(THREADS.fetch_add(1, atomic::Ordering::Relaxed) + 1);
    }
    THREAD.get()
}
