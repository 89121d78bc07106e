//! Calls of functions after a time, on the threads of the workers.
//!
//! [`Server::timers`](crate::Server::timers), [`Running::timers`](crate::server::Running::timers) and
//! [`Response::timers`](crate::Response::timers) return [`Timers`].

use crate::http::deferred::worker_handle::{WorkerCommand, WorkerHandle};
use crate::http::response::Response;
use crate::shared::timer_heap::{Entry, NewTimer};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// The most calls that may be requested before the server starts.
const EARLY: usize = 1024;

/// The shortest time between two calls.
const SHORTEST: Duration = Duration::from_millis(1);

/// Calls functions after a time, on the thread of a worker between its events: for cleanups, ticks and
/// timeouts of a program. Clones use the same workers.
///
/// [`Server::timers`](crate::Server::timers) and [`Running::timers`](crate::server::Running::timers) use the workers
/// in turn. [`Response::timers`](crate::Response::timers) uses the worker of the connection. As in a handler,
/// the function must not block. A panic in it is caught, and
/// [`Handler::handle_error`](crate::Handler::handle_error) is called; repeated calls go on.
///
/// A call is never early. It is late while the worker is busy. Timers do not delay a stop: they end with the
/// workers.
///
/// ```
/// use peregrine::Server;
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let seconds = Arc::new(AtomicU64::new(0));
/// let server = Server::from_fn(|_, res| res.text("hi")).bind("127.0.0.1:0");
/// let ticks = seconds.clone();
/// let tick = server.timers().every(Duration::from_secs(1), move || {
///     ticks.fetch_add(1, Ordering::Relaxed);
/// })?;
/// let running = server.start()?;
/// tick.cancel();
/// # running.stop();
/// # running.wait()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Timers(To);

#[derive(Clone)]
enum To {
    Worker(Arc<WorkerHandle>),
    Server(Arc<Workers>),
}

#[derive(Default)]
struct Workers {
    /// The workers. Empty before the start.
    handles: OnceLock<Vec<Arc<WorkerHandle>>>,
    early: Mutex<Vec<NewTimer>>,
    early_count: Arc<AtomicUsize>,
    next: AtomicUsize,
}

/// Why a call cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TimerError {
    /// The worker has [`Config::timers_per_worker`](crate::Config::timers_per_worker) pending calls. Before
    /// the start of the server the limit is 1,024.
    Full,
    /// The server has stopped.
    Stopped,
}

impl std::fmt::Display for TimerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            TimerError::Full => "too many timers are waiting",
            TimerError::Stopped => "the server has stopped",
        })
    }
}

impl std::error::Error for TimerError {}

impl Timers {
    pub(crate) fn of_server() -> Timers {
        Timers(To::Server(Arc::default()))
    }

    /// The server starts: requests from before the start begin now.
    pub(crate) fn start(&self, handles: Vec<Arc<WorkerHandle>>) {
        let To::Server(workers) = &self.0 else {
            return;
        };
        let mut early = workers.lock_early();
        let _ = workers.handles.set(handles);
        for timer in early.drain(..) {
            if let Some(handle) = workers.handle() {
                handle.post(WorkerCommand::Timer(timer));
            }
        }
    }

    /// Calls `f` once after `delay`, in whole milliseconds. The time begins when the worker gets the request;
    /// before the start of the server, it begins with the start.
    pub fn after(
        &self,
        delay: Duration,
        f: impl FnOnce() + Send + 'static,
    ) -> Result<Timer, TimerError> {
        let mut f = Some(f);
        let call = move || {
            if let Some(f) = f.take() {
                f();
            }
            false
        };
        self.add(delay, None, Box::new(call))
    }

    /// Calls `f` repeatedly, for the first time after `period`. The shortest period is 1 ms.
    ///
    /// The calls keep to their schedule. Calls that a busy worker has missed are omitted.
    pub fn every(
        &self,
        period: Duration,
        mut f: impl FnMut() + Send + 'static,
    ) -> Result<Timer, TimerError> {
        self.every_while(period, move || {
            f();
            true
        })
    }

    /// Calls `f` repeatedly, as [`Timers::every`] does, until `f` returns false.
    pub fn every_while(
        &self,
        period: Duration,
        f: impl FnMut() -> bool + Send + 'static,
    ) -> Result<Timer, TimerError> {
        let period = period.max(SHORTEST);
        self.add(period, Some(period), Box::new(f))
    }

    fn add(
        &self,
        delay: Duration,
        period: Option<Duration>,
        call: Box<dyn FnMut() -> bool + Send>,
    ) -> Result<Timer, TimerError> {
        let timer = |entry: &Arc<Entry>| NewTimer {
            delay,
            period,
            entry: entry.clone(),
        };
        let handle = match &self.0 {
            To::Worker(handle) => handle,
            To::Server(workers) => match workers.handle() {
                Some(handle) => handle,
                None => {
                    let mut early = workers.lock_early();
                    let entry = Entry::new(call, &workers.early_count, EARLY);
                    let entry = entry.ok_or(TimerError::Full)?;
                    match workers.handle() {
                        // The server has started in the meantime.
                        Some(handle) => handle.post(WorkerCommand::Timer(timer(&entry))),
                        None => early.push(timer(&entry)),
                    }
                    return Ok(Timer(entry));
                }
            },
        };
        if handle.is_closed() {
            return Err(TimerError::Stopped);
        }
        let entry = Entry::new(call, &handle.timers, handle.most_timers).ok_or(TimerError::Full)?;
        handle.post(WorkerCommand::Timer(timer(&entry)));
        Ok(Timer(entry))
    }
}

impl Response<'_> {
    /// Returns timers that call functions on the thread of this connection's worker.
    pub fn timers(&self) -> Timers {
        Timers(To::Worker(self.worker_handle().clone()))
    }
}

impl Workers {
    /// The next worker in turn; `None` before the start.
    fn handle(&self) -> Option<&Arc<WorkerHandle>> {
        let handles = self.handles.get()?;
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        handles.get(next % handles.len().max(1))
    }

    fn lock_early(&self) -> std::sync::MutexGuard<'_, Vec<NewTimer>> {
        self.early.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Timers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Timers").finish_non_exhaustive()
    }
}

/// A requested call; see [`Timers`]. A drop of this value has no effect.
///
/// ```
/// use peregrine::{Done, Request, Response};
/// use std::time::Duration;
///
/// fn handle(_: &Request<'_>, res: Response<'_>) -> Done {
///     let timers = res.timers();
///     let (done, responder) = res.defer();
///     let _ = timers.after(Duration::from_millis(250), move || {
///         let _ = responder.send(|res| res.text("a quarter of a second later"));
///     });
///     done
/// }
/// # let app = peregrine::from_fn(handle);
/// # let mut client = peregrine::testing::Connection::new(&app);
/// # client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
/// # assert!(client.received().is_empty());
/// # client.elapse(Duration::from_millis(250));
/// # assert!(client.received().ends_with(b"a quarter of a second later"));
/// ```
#[derive(Clone)]
pub struct Timer(Arc<Entry>);

impl Timer {
    /// Cancels the call. No call begins after this, and the function is dropped at once. A call that is
    /// running now goes on.
    pub fn cancel(&self) {
        self.0.cancel();
    }
}

impl std::fmt::Debug for Timer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Timer").finish_non_exhaustive()
    }
}
