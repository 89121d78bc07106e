//! What `conn::sync` is to the library, from loom.

pub(crate) use loom::sync::Mutex;
pub(crate) use std::sync::PoisonError;

use loom::sync::MutexGuard;
use std::sync::LockResult;
use std::time::Duration;

pub(crate) mod atomic {
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
}

/// Numbers of threads that have been given out, in whatever model: they are only compared.
static THREADS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);

loom::thread_local! {
    static THREAD: u64 = THREADS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
}

pub(crate) fn this_thread() -> u64 {
    THREAD.with(|number| *number)
}

/// loom's, with the methods of the standard one that it lacks. No time passes in a model: a thread that waits
/// for something waits until it comes, and where it does not come loom reports a deadlock.
pub(crate) struct Condvar(loom::sync::Condvar);

impl Condvar {
    pub(crate) fn new() -> Condvar {
        Condvar(loom::sync::Condvar::new())
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }

    pub(crate) fn wait_while<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> LockResult<MutexGuard<'a, T>> {
        while condition(&mut guard) {
            guard = self.0.wait(guard)?;
        }
        Ok(guard)
    }

    pub(crate) fn wait_timeout_while<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        _: Duration,
        condition: impl FnMut(&mut T) -> bool,
    ) -> LockResult<(MutexGuard<'a, T>, InTime)> {
        let guard = self.wait_while(guard, condition);
        Ok((guard.unwrap_or_else(PoisonError::into_inner), InTime))
    }
}

pub(crate) struct InTime;

impl InTime {
    pub(crate) fn timed_out(&self) -> bool {
        false
    }
}
