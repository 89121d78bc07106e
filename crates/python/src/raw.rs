//! Python's lock on threads of the server, and descriptors that Python owns: the only `unsafe` code of this crate.
#![allow(unsafe_code)]

use pyo3::ffi;
use pyo3::prelude::*;
use std::cell::Cell;
use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

thread_local! {
    static THREAD: ThreadState = const { ThreadState {
        first: Cell::new(None),
        saved: Cell::new(ptr::null_mut()),
        holds: Cell::new(false),
        depth: Cell::new(0),
        keeps: Cell::new(false),
    } };
}

/// What Python knows of this thread. Made at the first use and kept until the thread ends, so values of
/// `threading.local` stay from one request to the next.
struct ThreadState {
    /// The answer of the first `PyGILState_Ensure`. `None` if this thread has not used Python yet.
    first: Cell<Option<ffi::PyGILState_STATE>>,
    /// Valid if `first` is `Some` and `holds` is false.
    saved: Cell<*mut ffi::PyThreadState>,
    /// This thread has the lock because of `attached`.
    holds: Cell<bool>,
    /// Calls of `attached` that have not returned.
    depth: Cell<usize>,
    /// The lock is kept between calls, until `end_turn`.
    keeps: Cell<bool>,
}

impl ThreadState {
    fn acquire(&self) {
        if self.holds.replace(true) {
            return;
        }
        match self.first.get() {
            // SAFETY: the interpreter runs: threads of a server end before the interpreter does (`Server.join`).
            None => self.first.set(Some(unsafe { ffi::PyGILState_Ensure() })),
            // SAFETY: `saved` is the state of this thread, which `release` detached.
            Some(_) => unsafe { ffi::PyEval_RestoreThread(self.saved.get()) },
        }
    }

    fn release(&self) {
        if self.holds.replace(false) {
            // SAFETY: `acquire` attached this thread.
            self.saved.set(unsafe { ffi::PyEval_SaveThread() });
        }
    }
}

impl Drop for ThreadState {
    fn drop(&mut self) {
        let Some(first) = self.first.get() else {
            return;
        };
        self.acquire();
        // SAFETY: this thread is attached, and this ends the `PyGILState_Ensure` of `acquire`.
        unsafe { ffi::PyGILState_Release(first) };
    }
}

/// Calls `f` with Python's lock, on a thread of the server: a worker or a WebSocket thread. It is not for threads
/// that Python has started.
pub(crate) fn attached<R>(f: impl FnOnce(Python<'_>) -> R) -> R {
    struct Leave<'a>(&'a ThreadState);
    impl Drop for Leave<'_> {
        fn drop(&mut self) {
            let depth = self.0.depth.get() - 1;
            self.0.depth.set(depth);
            if depth == 0 && !self.0.keeps.get() {
                self.0.release();
            }
        }
    }
    THREAD.with(|thread| {
        thread.acquire();
        thread.depth.set(thread.depth.get() + 1);
        let _leave = Leave(thread);
        Python::attach(|py| {
            let result = f(py);
            end_child(py, 0);
            result
        })
    })
}

/// This process is a child of a handler, and has no server.
static IS_CHILD: AtomicBool = AtomicBool::new(false);

/// Says whether this process is a fork of one that serves.
pub(crate) fn set_child(is_child: bool) {
    IS_CHILD.store(is_child, Ordering::Relaxed);
}

/// Ends a child of `fork` whose code has left the handler. Connections and loops are those of its parent, so it must not go on.
pub(crate) fn end_child(py: Python<'_>, code: i32) {
    if IS_CHILD.load(Ordering::Relaxed) {
        let ended = py
            .import("os")
            .and_then(|os| os.call_method1("_exit", (code,)));
        // It does not return.
        drop(ended);
        std::process::abort();
    }
}

/// Whether this thread is one of the server that has called Python: an event loop, which must not wait.
pub(crate) fn is_server_thread() -> bool {
    THREAD.with(|thread| thread.depth.get() > 0)
}

/// Ends a turn of this thread: it lets go of the lock. From the first call on, `attached` keeps the lock until this is
/// called again, so the requests of a turn cost one hand-over.
pub(crate) fn end_turn() {
    THREAD.with(|thread| {
        thread.keeps.set(true);
        thread.release();
    });
}

/// Takes ownership of a descriptor that Python gave up (`socket.detach`).
pub(crate) fn descriptor(fd: i32) -> OwnedFd {
    // SAFETY: the Python part passes the results of `socket.detach` only, so the descriptor is open and of no other owner.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Whether this is the only reference to an object.
pub(crate) fn is_unshared<T>(object: &Py<T>, _: Python<'_>) -> bool {
    // SAFETY: the object is alive and this thread has Python's lock.
    unsafe { ffi::Py_REFCNT(object.as_ptr()) == 1 }
}
