//! Calls after a time, on the threads of a server.

use crate::codes::{PRG_ARGUMENT, PRG_GONE, PRG_LIMIT};
use crate::guard::{exclusive, free, give, guard, guard_or, shared, take};
use crate::later::later;
use crate::response::prg_response;
use crate::running::prg_running;
use peregrine::timers::{Timer, TimerError, Timers};
use std::ffi::c_void;
use std::time::Duration;

/// Calls functions after a time. It is owned by the program. All functions may be called from any threads at once, also after the
/// server has ended.
pub struct prg_timers(Timers);

/// A call that is to come. It is owned by the program.
pub struct prg_timer(Timer);

/// Called on a thread of the server that serves connections, so it must not block for long. It returns 1 to be called again, after the
/// same period, and 0 to end.
pub type prg_tick = Option<unsafe extern "C" fn(user: *mut c_void) -> i32>;

/// What a timer calls.
struct Tick {
    call: prg_tick,
    user: *mut c_void,
    drop: Option<unsafe extern "C" fn(user: *mut c_void)>,
}

// SAFETY: the header says that `user` moves to other threads.
unsafe impl Send for Tick {}

impl Tick {
    fn call(&mut self) -> bool {
        // SAFETY: C gave the function with its argument.
        self.call
            .is_some_and(|call| unsafe { call(self.user) == 1 })
    }
}

impl Drop for Tick {
    fn drop(&mut self) {
        if let Some(drop) = self.drop {
            let user = self.user;
            // SAFETY: this is the last call with `user`.
            later(move || unsafe { drop(user) });
        }
    }
}

/// Makes timers that call on the threads of this server, one after the other. `*out` is owned by the caller: it ends with
/// prg_timers_free. Errors: PRG_ARGUMENT. Thread: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_running_timers(
    running: *const prg_running,
    out: *mut *mut prg_timers,
) -> i32 {
    guard(|| {
        let (running, out) = (shared(running)?, exclusive(out)?);
        *out = give(prg_timers(running.timers.clone()));
        Ok(())
    })
}

/// Makes timers that call on the thread of this request. `*out` is owned by the caller: it ends with prg_timers_free. Errors: PRG_STATE,
/// PRG_ARGUMENT. Thread: that of the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_response_timers(
    res: *const prg_response,
    out: *mut *mut prg_timers,
) -> i32 {
    guard(|| {
        let (res, out) = (shared(res)?, exclusive(out)?);
        *out = give(prg_timers(res.timers()?));
        Ok(())
    })
}

/// Calls `call` after `millis`, and again after each further `millis` while it returns 1. At least 1 ms passes between two calls; those that a busy thread has missed are omitted.
///
/// `drop` may be NULL. It is called exactly once with `user`, after the last call, or at once if this function returns an error; on any
/// thread. `*out` is owned by the caller: it ends with prg_timer_cancel or prg_timer_free. `out` may be NULL. Errors: PRG_LIMIT if
/// 65,536 calls of a thread wait, PRG_GONE after the end of the server, PRG_ARGUMENT. Thread: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_timers_call(
    timers: *const prg_timers,
    millis: u64,
    call: prg_tick,
    user: *mut c_void,
    drop: Option<unsafe extern "C" fn(user: *mut c_void)>,
    out: *mut *mut prg_timer,
) -> i32 {
    guard(|| {
        let mut tick = Tick { call, user, drop };
        call.ok_or(PRG_ARGUMENT)?;
        let period = Duration::from_millis(millis);
        let timer = shared(timers)?.0.every_while(period, move || tick.call());
        let timer = timer.map_err(|error| match error {
            TimerError::Full => PRG_LIMIT,
            _ => PRG_GONE,
        })?;
        if let Some(out) = out.as_mut() {
            *out = give(prg_timer(timer));
        }
        Ok(())
    })
}

/// Frees timers. The calls that are to come stay. NULL is allowed. Thread: any, when no other call uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_timers_free(timers: *mut prg_timers) {
    free(timers);
}

/// Ends the calls: none begins after this, and one that runs goes on. Frees `timer`. NULL is allowed. Thread: any, also in the call itself.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_timer_cancel(timer: *mut prg_timer) {
    guard_or((), || {
        if let Ok(timer) = take(timer) {
            timer.0.cancel();
        }
    });
}

/// Frees a timer. Its calls go on. NULL is allowed. Thread: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_timer_free(timer: *mut prg_timer) {
    free(timer);
}
