//! Servers that run.

use crate::codes::{PRG_IO, PRG_NOT_FOUND, PRG_WOULD_BLOCK};
use crate::guard::{exclusive, free, give, guard, guard_or, shared, take};
use crate::request::length;
use crate::values::{Versioned, copy, size_set, write};
use peregrine::metrics::Stats;
use peregrine::server::{Running, Stopper};
use peregrine::timers::Timers;
use std::cell::Cell;
use std::ffi::c_char;

/// A server that runs. It is owned by the program: it ends with prg_running_wait or prg_running_free.
pub struct prg_running {
    pub(crate) running: Running,
    pub(crate) stats: Stats,
    pub(crate) timers: Timers,
}

/// Stops a server from any thread, also from a callback and while another thread is in prg_running_wait. It is owned by the program, and
/// stays valid after the server has ended.
pub struct prg_stopper(Stopper);

/// How a server has ended.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct prg_stopped {
    /// sizeof(prg_stopped).
    pub size: usize,
    /// Connections that ended by themselves during the stop.
    pub drained: u64,
    /// Connections that were still open at the end of the stop, and were aborted.
    pub aborted: u64,
}

// SAFETY: numbers may be zero, and the size is first.
unsafe impl Versioned for prg_stopped {}

/// Counters since the start.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct prg_stats {
    /// sizeof(prg_stats).
    pub size: usize,
    /// Requests with a complete head.
    pub requests: u64,
    /// Responses by class.
    pub responses_2xx: u64,
    /// Responses by class.
    pub responses_3xx: u64,
    /// Responses by class.
    pub responses_4xx: u64,
    /// Responses by class.
    pub responses_5xx: u64,
    /// Connections that were accepted.
    pub accepted: u64,
    /// Connections that were closed.
    pub closed: u64,
    /// Bytes from clients.
    pub bytes_read: u64,
    /// Bytes to clients.
    pub bytes_written: u64,
    /// Responses of the program that could not be sent; see prg_handler.error.
    pub handler_errors: u64,
    /// Messages of WebSockets that came.
    pub ws_received: u64,
    /// Messages that were published.
    pub ws_published: u64,
}

// SAFETY: numbers may be zero, and the size is first.
unsafe impl Versioned for prg_stats {}

thread_local! {
    /// This is a thread of a server.
    static IS_SERVER: Cell<bool> = const { Cell::new(false) };
}

/// Whether a wait for something of a server could be one for this thread itself.
pub(crate) fn must_not_block() -> bool {
    IS_SERVER.get()
}

/// Notes that this is a thread of a server. It is the first call of such a thread.
pub(crate) fn enter_turn() {
    IS_SERVER.set(true);
}

/// The port of the first TCP address, with or without TLS. Errors: PRG_NOT_FOUND, PRG_ARGUMENT. Thread: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_running_port(running: *const prg_running) -> i32 {
    let port = length(|| {
        let addr = shared(running)?.running.local_addr();
        addr.map(|addr| i64::from(addr.port())).ok_or(PRG_NOT_FOUND)
    });
    port as i32
}

/// Copies the address with this number, in the order of the bind calls, into `buf`, with a NUL, as far as `room` bytes allow. For example
/// http://127.0.0.1:8080 or https://[::1]:8443.
///
/// Returns the length of the whole text without NUL. Errors: PRG_NOT_FOUND, PRG_ARGUMENT. Thread: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_running_addr(
    running: *const prg_running,
    index: usize,
    buf: *mut c_char,
    room: usize,
) -> i64 {
    length(|| {
        let addrs = shared(running)?.running.local_addrs();
        let addr = addrs.get(index).ok_or(PRG_NOT_FOUND)?;
        copy(addr.to_string().as_bytes(), buf, room)
    })
}

/// Begins to stop and returns at once. Requests that have come are responded to. Errors: PRG_ARGUMENT. Thread: any, but use a prg_stopper
/// while another thread may be in prg_running_wait or prg_running_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_running_stop(running: *const prg_running) -> i32 {
    guard(|| {
        shared(running)?.running.stop();
        Ok(())
    })
}

/// Says that the server is not ready, serves on for drain_delay_millis, and stops then. Returns at once. Errors: PRG_ARGUMENT. Thread: as
/// prg_running_stop.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_running_drain(running: *const prg_running) -> i32 {
    guard(|| {
        shared(running)?.running.drain();
        Ok(())
    })
}

/// Makes a stopper. `*out` is owned by the caller: it ends with prg_stopper_free. Errors: PRG_ARGUMENT. Thread: as prg_running_stop.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_running_stopper(
    running: *const prg_running,
    out: *mut *mut prg_stopper,
) -> i32 {
    guard(|| {
        let out = exclusive(out)?;
        *out = give(prg_stopper(shared(running)?.running.stopper()));
        Ok(())
    })
}

/// Reads the counters. `out->size` must be set. Errors: PRG_ARGUMENT. Thread: as prg_running_stop.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_running_stats(
    running: *const prg_running,
    out: *mut prg_stats,
) -> i32 {
    guard(|| {
        let c = shared(running)?.running.counters();
        let stats = prg_stats {
            size: size_of::<prg_stats>(),
            requests: c.requests,
            responses_2xx: c.responses_2xx,
            responses_3xx: c.responses_3xx,
            responses_4xx: c.responses_4xx,
            responses_5xx: c.responses_5xx,
            accepted: c.accepted,
            closed: c.closed,
            bytes_read: c.bytes_read,
            bytes_written: c.bytes_written,
            handler_errors: c.handler_errors,
            ws_received: c.ws_received,
            ws_published: c.ws_published,
        };
        write(&stats, out)
    })
}

/// Copies all counters and times in the text format of Prometheus into `buf`, with a NUL, as far as `room` bytes allow.
///
/// Returns the length of the whole text without NUL. Errors: PRG_ARGUMENT. Thread: as prg_running_stop.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_running_prometheus(
    running: *const prg_running,
    buf: *mut c_char,
    room: usize,
) -> i64 {
    length(|| copy(shared(running)?.stats.prometheus().as_bytes(), buf, room))
}

/// Blocks until the server has stopped: by a stopper, by prg_running_stop before, or by a signal. Frees `running`, unless it returns
/// PRG_WOULD_BLOCK or PRG_ARGUMENT. `out` may be NULL; otherwise `out->size` must be set.
///
/// Errors: PRG_WOULD_BLOCK on a thread of a server, which would wait for itself, PRG_ARGUMENT: `running` is still to be freed. PRG_IO if
/// a thread of the server failed. Thread: any that is not one of a server.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_running_wait(running: *mut prg_running, out: *mut prg_stopped) -> i32 {
    guard(|| {
        if must_not_block() {
            return Err(PRG_WOULD_BLOCK);
        }
        // Before the end of `running`: an error keeps it.
        if !out.is_null() {
            size_set(out)?;
        }
        let ended = take(running)?.running.wait().map_err(|_| PRG_IO)?;
        if out.is_null() {
            return Ok(());
        }
        let stopped = prg_stopped {
            size: size_of::<prg_stopped>(),
            drained: ended.drained,
            aborted: ended.aborted,
        };
        write(&stopped, out)
    })
}

/// Stops the server, waits until it has stopped, and frees it. On a thread of a server it does not wait: another thread does. NULL is
/// allowed. Thread: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_running_free(running: *mut prg_running) {
    if !must_not_block() {
        return free(running);
    }
    guard_or((), || {
        if let Ok(still) = shared(running) {
            still.running.stop();
            // If no thread can be made, the server stops, and its memory is kept.
            let address = running as usize;
            let wait = move || free(address as *mut prg_running);
            let _ = std::thread::Builder::new().spawn(wait);
        }
    });
}

/// Begins to stop and returns at once. Errors: PRG_ARGUMENT. Thread: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_stopper_stop(stopper: *const prg_stopper) -> i32 {
    guard(|| {
        shared(stopper)?.0.stop();
        Ok(())
    })
}

/// As prg_running_drain. Errors: PRG_ARGUMENT. Thread: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_stopper_drain(stopper: *const prg_stopper) -> i32 {
    guard(|| {
        shared(stopper)?.0.drain();
        Ok(())
    })
}

/// Stops at once: open connections are aborted. Errors: PRG_ARGUMENT. Thread: any, several at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_stopper_stop_now(stopper: *const prg_stopper) -> i32 {
    guard(|| {
        shared(stopper)?.0.stop_now();
        Ok(())
    })
}

/// Frees a stopper. The server is not changed. NULL is allowed. Thread: any, when no other call uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_stopper_free(stopper: *mut prg_stopper) {
    free(stopper);
}
