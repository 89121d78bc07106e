//! Calls of the program that wait until a function of the library has returned to it what it uses.
//!
//! A function that uses a handle may find that something has happened, or may drop what other threads have sent to a server that has
//! ended. The program is told of both, and may use or free the same handle there. So such calls are made when the function uses its
//! handles no more.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

type Call = Box<dyn FnOnce()>;

thread_local! {
    /// The calls of the outermost function of the library that this thread is in. NULL outside of all.
    static QUEUE: Cell<*mut VecDeque<Call>> = const { Cell::new(std::ptr::null_mut()) };
}

/// Calls `call` now, or at the end of the function of the library that this thread is in.
pub(crate) fn later(call: impl FnOnce() + 'static) {
    let queue = QUEUE.get();
    if queue.is_null() {
        return queued(call);
    }
    // SAFETY: `queued` has set it, and its queue lives until it is set to NULL. No reference to the queue exists while another is made.
    unsafe { (*queue).push_back(Box::new(call)) }
}

/// Calls `f`, which may use handles, and then what has come up in it. A call that comes up in another one is made after it.
#[inline]
pub(crate) fn queued<T>(f: impl FnOnce() -> T) -> T {
    if !QUEUE.get().is_null() {
        return f();
    }
    let mut queue = VecDeque::new();
    let queue = &raw mut queue;
    QUEUE.set(queue);
    let value = f();
    // SAFETY: as above. The reference ends before the call.
    while let Some(call) = unsafe { (*queue).pop_front() } {
        call();
    }
    QUEUE.set(std::ptr::null_mut());
    value
}

/// Calls a function of the program in a function of the library that uses no handle meanwhile.
pub(crate) fn unqueued<T>(f: impl FnOnce() -> T) -> T {
    let queue = QUEUE.replace(std::ptr::null_mut());
    let value = f();
    QUEUE.set(queue);
    value
}

/// Gives `with` a function that calls `call`, on any thread, but not before `with` has ended.
pub(crate) fn after(
    call: impl FnOnce() + Send + 'static,
    with: impl FnOnce(Box<dyn FnOnce() + Send>),
) {
    let gate = Arc::new(Mutex::new(()));
    let closed = gate.lock().unwrap_or_else(PoisonError::into_inner);
    let behind = gate.clone();
    with(Box::new(move || {
        // This thread may be the one that has closed the gate: it comes back when the gate is open.
        later(move || {
            drop(behind.lock().unwrap_or_else(PoisonError::into_inner));
            call();
        });
    }));
    drop(closed);
}
