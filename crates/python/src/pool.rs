//! Threads of Python for code that blocks. Python starts them (`threading.Thread`), so they have a state of their own
//! for as long as they live; this gives them work, of which a limited number waits.

use pyo3::prelude::*;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

pub(crate) type Job = Box<dyn FnOnce(Python<'_>) + Send>;

/// Invariant: at most `threads` jobs run and at most `queue` wait.
#[derive(Debug)]
pub(crate) struct Pool {
    threads: usize,
    queue: usize,
    state: Mutex<PoolState>,
    work: Condvar,
}

#[derive(Default)]
struct PoolState {
    jobs: VecDeque<Job>,
    running: usize,
    closed: bool,
}

impl std::fmt::Debug for PoolState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PoolState")
            .field("waiting", &self.jobs.len())
            .finish_non_exhaustive()
    }
}

impl Pool {
    pub(crate) fn new(threads: usize, queue: usize) -> Arc<Pool> {
        Arc::new(Pool {
            threads,
            queue,
            state: Mutex::default(),
            work: Condvar::new(),
        })
    }

    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// Whether a job may come. Only one thread, the worker, gives jobs; so there is still room when it does.
    pub(crate) fn has_room(&self) -> bool {
        let state = self.lock();
        !state.closed && state.running + state.jobs.len() < self.threads.saturating_add(self.queue)
    }

    pub(crate) fn submit(&self, job: Job) {
        let mut state = self.lock();
        if state.closed {
            // Dropped without the lock.
            drop(state);
            return drop(job);
        }
        state.jobs.push_back(job);
        drop(state);
        self.work.notify_one();
    }

    /// The loop of a thread. It returns when the pool is closed.
    pub(crate) fn run(&self, py: Python<'_>) {
        while let Some(job) = py.detach(|| self.take()) {
            // A panic ends a request, not the thread.
            #[allow(
                clippy::disallowed_methods,
                reason = "panics of this crate have a text"
            )]
            let _panicked = catch_unwind(AssertUnwindSafe(|| job(py)));
            self.lock().running -= 1;
        }
    }

    fn take(&self) -> Option<Job> {
        let waits = |state: &mut PoolState| state.jobs.is_empty() && !state.closed;
        let state = self.work.wait_while(self.lock(), waits);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        let job = state.jobs.pop_front()?;
        state.running += 1;
        Some(job)
    }

    /// No more jobs; those that wait are dropped, so their clients get 500.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let waiting = std::mem::take(&mut state.jobs);
        drop(state);
        self.work.notify_all();
        drop(waiting);
    }

    fn lock(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
