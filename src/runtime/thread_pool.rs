//! Threads for handlers that block.
//!
//! This is not a general executor. A job is a handler's closure with its request, and the number of jobs has
//! a fixed limit. A thread is started when a job finds no free thread, up to the configured number. A server
//! that never offloads has no such threads.
//!
//! Invariant: the number of jobs, including those for which a place is reserved, is never larger than threads
//! and queue together. A job that is accepted runs, or it is dropped when the pool closes. The drop posts
//! that its request gets no response from the handler.

use crate::log::event;
use crate::metrics;
use crate::metrics::WorkerCounters;
use crate::shared::panic_guard::{catch, drop_quietly};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

/// The size of a pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) threads: usize,
    /// The most jobs that wait while all threads are busy.
    pub(crate) queue: usize,
    /// The stack of each thread, in bytes.
    pub(crate) stack: Option<usize>,
}

type Job = Box<dyn FnOnce() + Send>;

/// See the module documentation.
pub(crate) struct ThreadPool {
    size: Size,
    /// Each thread runs this first.
    begin: Box<dyn Fn() + Send + Sync>,
    state: Mutex<PoolState>,
    /// Signals that there is a job, or that the pool is closed.
    work: Condvar,
    /// Signals that no job runs.
    rest: Condvar,
    /// Written only with the lock held.
    counters: Arc<WorkerCounters>,
}

#[derive(Default)]
struct PoolState {
    jobs: VecDeque<Job>,
    /// Reserved places of jobs that are not queued yet.
    reserved: usize,
    running: usize,
    threads: usize,
    closed: bool,
    /// No thread waits for the jobs that run.
    hurried: bool,
}

impl ThreadPool {
    pub(crate) fn new(size: Size, begin: impl Fn() + Send + Sync + 'static) -> Arc<ThreadPool> {
        Arc::new(ThreadPool {
            size,
            begin: Box::new(begin),
            state: Mutex::default(),
            work: Condvar::new(),
            rest: Condvar::new(),
            counters: Arc::default(),
        })
    }

    pub(crate) fn counters(&self) -> Arc<WorkerCounters> {
        self.counters.clone()
    }

    /// Reserves a place for one job. `None` if there is no room.
    pub(crate) fn reserve(self: &Arc<ThreadPool>) -> Option<Reserved> {
        let mut state = self.lock();
        let waiting = state.jobs.len() + state.reserved;
        let most = self.size.threads.saturating_add(self.size.queue);
        let has_room = !state.closed && state.running + waiting < most;
        if !has_room || !self.has_thread(&mut state, waiting + 1) {
            self.counters.jobs_refused.add(1);
            return None;
        }
        state.reserved += 1;
        Some(Reserved(self.clone()))
    }

    /// Starts a thread if the waiting jobs need one. False if there is no thread and none can be started.
    fn has_thread(self: &Arc<ThreadPool>, state: &mut PoolState, waiting: usize) -> bool {
        let free = state.threads - state.running;
        if waiting > free && state.threads < self.size.threads {
            let mut builder = thread::Builder::new().name(format!("pg-pool-{}", state.threads));
            if let Some(bytes) = self.size.stack {
                builder = builder.stack_size(bytes);
            }
            let pool = self.clone();
            match builder.spawn(move || pool.run()) {
                Ok(_) => state.threads += 1,
                Err(error) => event!(Error, "no thread for offloaded requests: {error}"),
            }
        }
        state.threads > 0
    }

    /// The loop of each thread.
    fn run(&self) {
        (self.begin)();
        let mut state = self.lock();
        loop {
            let Some(job) = state.jobs.pop_front() else {
                if state.closed {
                    return;
                }
                let woken = self.work.wait(state);
                state = woken.unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.running += 1;
            self.counters.jobs_started.add(1);
            drop(state);
            let from = Instant::now();
            // A job catches the panics of its handler. The drop of values that it did not use may still
            // panic.
            let done = catch(job);
            if done.is_err() {
                event!(Error, "an offloaded request panicked when it was dropped");
            }
            let took = metrics::nanos(from.elapsed());
            state = self.lock();
            state.running -= 1;
            self.counters.jobs_done.add(1);
            self.counters.count_panics();
            self.counters.panicked(done.is_err().into());
            self.counters.job_nanos.add(took);
            if state.running == 0 {
                self.rest.notify_all();
            }
        }
    }

    /// Closes the pool: it accepts no more jobs and drops those that wait. Then waits for the jobs that run,
    /// until `until` or [`ThreadPool::hurry`].
    pub(crate) fn close(&self, until: Instant) {
        let mut state = self.lock();
        state.closed = true;
        let waiting = std::mem::take(&mut state.jobs);
        self.work.notify_all();
        drop(state);
        waiting.into_iter().for_each(drop_quietly);
        let is_busy = |state: &mut PoolState| state.running > 0 && !state.hurried;
        let most = until.saturating_duration_since(Instant::now());
        let _rested = self.rest.wait_timeout_while(self.lock(), most, is_busy);
    }

    /// No thread waits for the jobs that run.
    pub(crate) fn hurry(&self) {
        self.lock().hurried = true;
        self.rest.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// A reserved place for one job.
pub(crate) struct Reserved(Arc<ThreadPool>);

impl Reserved {
    pub(crate) fn submit(self, job: impl FnOnce() + Send + 'static) {
        let job: Job = Box::new(job);
        let mut state = self.0.lock();
        if state.closed {
            // Dropped without the lock, because the values that are dropped may run any code.
            drop(state);
            return drop_quietly(job);
        }
        state.jobs.push_back(job);
        self.0.counters.jobs.add(1);
        drop(state);
        self.0.work.notify_one();
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.0.lock().reserved -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Duration;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn pool(threads: usize, queue: usize) -> Arc<ThreadPool> {
        let size = Size {
            threads,
            queue,
            stack: None,
        };
        ThreadPool::new(size, || {})
    }

    /// A job that reports when it begins, and ends when the test tells it to.
    fn held(pool: &Arc<ThreadPool>, begun: &Sender<usize>, n: usize) -> Option<Sender<()>> {
        let place = pool.reserve()?;
        let (end, ended): (_, Receiver<()>) = channel();
        let begun = begun.clone();
        place.submit(move || {
            let _ = begun.send(n);
            let _ = ended.recv();
        });
        Some(end)
    }

    #[test]
    fn threads_start_when_needed_and_the_queue_is_bounded() {
        let pool = pool(2, 3);
        assert_eq!(pool.lock().threads, 0);
        let (begun, begins) = channel();
        let mut ends: Vec<_> = (0..5).map(|n| held(&pool, &begun, n)).collect();
        assert!(ends.iter().all(Option::is_some));
        assert!(held(&pool, &begun, 5).is_none(), "no room");
        let mut first = [(); 2].map(|()| begins.recv_timeout(PATIENCE).expect("begun"));
        first.sort_unstable();
        assert_eq!((first, pool.lock().threads), ([0, 1], 2));
        // The others run in their order, as threads become free.
        for n in 2..5 {
            ends[n - 2].take();
            assert_eq!(begins.recv_timeout(PATIENCE), Ok(n));
        }
        assert!(held(&pool, &begun, 6).is_some(), "room again");
        drop(ends);
        assert_eq!(begins.recv_timeout(PATIENCE), Ok(6));
        pool.close(Instant::now() + PATIENCE);
        let counters = pool.counters().snapshot();
        assert_eq!((counters.jobs, counters.jobs_done), (6, 6));
        assert_eq!((counters.jobs_refused, counters.jobs_waiting()), (1, 0));
    }

    #[test]
    fn a_free_thread_is_used_before_another_is_started() {
        let pool = pool(8, 0);
        let (begun, begins) = channel();
        for n in 0..100 {
            drop(held(&pool, &begun, n));
            assert_eq!(begins.recv_timeout(PATIENCE), Ok(n));
            let state = pool.lock();
            let most = |state: &mut PoolState| state.running > 0;
            let (state, waited) = pool
                .rest
                .wait_timeout_while(state, PATIENCE, most)
                .expect("no panic");
            assert!(!waited.timed_out());
            assert_eq!(state.threads, 1);
        }
    }

    #[test]
    fn closing_drops_waiting_jobs_and_does_not_wait_for_ever() {
        let pool = pool(1, 10);
        let (begun, begins) = channel();
        let stuck = held(&pool, &begun, 0).expect("room");
        let waiting = held(&pool, &begun, 1).expect("room");
        assert_eq!(begins.recv_timeout(PATIENCE), Ok(0));
        pool.close(Instant::now());
        assert!(waiting.send(()).is_err(), "dropped");
        assert!(pool.reserve().is_none(), "closed");
        pool.hurry();
        pool.close(Instant::now() + Duration::from_secs(3600));
        drop(stuck);
    }

    #[test]
    fn a_place_that_is_given_up_is_free_again() {
        let pool = pool(1, 0);
        for _ in 0..3 {
            let place = pool.reserve().expect("room");
            assert!(pool.reserve().is_none());
            drop(place);
        }
        assert!(pool.reserve().is_some());
    }

    #[test]
    fn no_threads_no_jobs() {
        assert!(pool(0, 10).reserve().is_none());
        assert!(pool(0, 0).reserve().is_none());
    }

    #[test]
    fn a_panic_ends_no_thread() {
        let pool = pool(1, 10);
        for _ in 0..3 {
            let place = pool.reserve().expect("room");
            place.submit(|| panic!("a job of a test panics"));
        }
        let (begun, begins) = channel();
        drop(held(&pool, &begun, 7));
        assert_eq!(begins.recv_timeout(PATIENCE), Ok(7));
        assert_eq!(pool.lock().threads, 1);
        assert_eq!(pool.counters().snapshot().panics, 3);
    }
}
