//! What a server counts.

mod prometheus;
mod queues;

pub use queues::Queues;
pub(crate) use queues::QueuesOf;

use crate::conn::{budget::Budget, panic_guard};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Each counter with its documentation and what follows `peregrine_` in the name of its metric.
macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident => $metric:literal,)*) => {
        /// What one worker, or a whole server, has counted since its start.
        ///
        /// ```
        /// let sum = peregrine::Counters { requests: 1, ..Default::default() }
        ///     + peregrine::Counters { requests: 2, ..Default::default() };
        /// assert_eq!(sum.requests, 3);
        /// ```
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[doc = $doc])* pub $name: u64,)*
        }

        /// One counter as Prometheus sees it.
        struct Metric {
            name: &'static str,
            /// The documentation of the counter.
            help: &'static [&'static str],
            value: fn(&Counters) -> u64,
        }

        const METRICS: &[Metric] = &[
            $(Metric {
                name: $metric,
                help: &[$($doc),*],
                value: |counters| counters.$name,
            },)*
        ];

        /// The living counters of one worker, on cache lines of their own.
        ///
        /// Only the worker adds, so that a plain load and store will do; anyone reads.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub(crate) struct WorkerCounters {
            $(pub(crate) $name: Counter,)*
        }

        impl WorkerCounters {
            pub(crate) fn snapshot(&self) -> Counters {
                Counters { $($name: self.$name.get(),)* }
            }
        }

        impl std::ops::Add for Counters {
            type Output = Counters;

            fn add(self, other: Counters) -> Counters {
                Counters { $($name: self.$name + other.$name,)* }
            }
        }
    };
}

counters! {
    /// Connections accepted.
    accepted => "connections_accepted",
    /// Connections closed; `accepted - closed` are open.
    closed => "connections_closed",
    /// Idle connections that were closed to make room for new ones.
    idle_closed => "connections_idle_closed",
    /// Connections that were closed while memory was short, as they held more than 16 KiB and made no
    /// progress.
    stalled_closed => "connections_stalled_closed",
    /// Connections that got a 503 or a close as soon as they were accepted, as there were no
    /// descriptors or places: not among `accepted`.
    turned_away => "connections_turned_away",
    /// Those of `turned_away` whose address had as many connections as it may:
    /// [`Config::connections_per_address`](crate::Config::connections_per_address).
    turned_away_by_address => "connections_turned_away_by_address",
    /// Times that descriptors or memory ran out for new connections, each counted once however long
    /// it lasted.
    accept_outages => "accept_outages",
    /// Connections that became WebSockets.
    upgraded => "connections_upgraded",
    /// WebSocket messages received, pings and other control frames not counted.
    ws_received => "ws_messages_received",
    /// WebSocket messages published or broadcast, counted once for each WebSocket thread.
    ws_published => "ws_messages_published",
    /// Times that such a message was queued for a connection.
    ws_fanned_out => "ws_messages_fanned_out",
    /// WebSocket messages dropped because they did not fit: those for one client by
    /// `WsLimits::backlog_bytes` or `WsLimits::mailbox_bytes`, and those that were published once for
    /// each WebSocket thread whose mailbox had no room.
    ws_dropped => "ws_messages_dropped",
    /// Requests answered, by the handler or with a 500 in its place.
    requests => "requests",
    /// Answers with a status of 2xx, whoever gave them, counted when their head is complete.
    answers_2xx => "answers_2xx",
    /// Answers with a status of 3xx.
    answers_3xx => "answers_3xx",
    /// Answers with a status of 4xx, refusals among them.
    answers_4xx => "answers_4xx",
    /// Answers with a status of 5xx, by the handler or in its place.
    answers_5xx => "answers_5xx",
    /// Bytes read from clients.
    bytes_read => "read_bytes",
    /// Bytes written to clients.
    bytes_written => "written_bytes",
    /// Requests refused as malformed, too large or too slow.
    refused => "refused",
    /// Requests and WebSockets that were refused because too many bytes were held in buffers; the
    /// requests are among `refused`, too.
    overloaded => "overloaded",
    /// Those of `refused` whose request took too long: 408.
    refused_slow => "refused_slow",
    /// Those of `refused` whose request was too large: 413, 414, 431.
    refused_large => "refused_large",
    /// Handlers that panicked or answered what could not be sent.
    handler_errors => "handler_errors",
    /// Those of `handler_errors` that were panics. A panic of any code of the application counts that the
    /// library calls or drops on a thread of its own.
    panics => "panics",
    /// Those of `handler_errors` whose answer came too late or never.
    answer_timeouts => "answer_timeouts",
    /// Connections that ended in a failed read or write, a write timeout, or in the middle of a
    /// request.
    connection_errors => "connection_errors",
    /// Those of `connection_errors` whose client closed in the middle of a request.
    clients_gone => "clients_gone",
    /// Those of `connection_errors` where reading failed, by a reset for the most part.
    read_errors => "read_errors",
    /// Those of `connection_errors` where writing failed.
    write_errors => "write_errors",
    /// Those of `connection_errors` whose client did not take its answer.
    write_timeouts => "write_timeouts",
    /// Those of `connection_errors` that were closed as the library panicked, which is a bug of it:
    /// [`ConnectionError::Internal`](crate::ConnectionError::Internal).
    internal_errors => "internal_errors",
    /// Times that the thread has woken up and done what there was to do.
    turns => "turns",
    /// Those of them that were timed: one in [`Config::timed_one_in`](crate::Config::timed_one_in), by
    /// chance.
    turns_timed => "turns_timed",
    /// Nanoseconds of those: from waking up until nothing was left to do. `turn_nanos / turns_timed`
    /// times `turns` is how long the thread was at work.
    turn_nanos => "turns_timed_seconds",
    /// Calls of [`Handler::handle_request`](crate::Handler::handle_request) in turns that were timed.
    handlers_timed => "handlers_timed",
    /// Nanoseconds of those calls. `handler_nanos / handlers_timed` is what one takes on average.
    handler_nanos => "handlers_timed_seconds",
    /// Those calls that took 10 ms or more, in which all other clients of the worker waited.
    handlers_over_10ms => "handlers_timed_over_10ms",
    /// Those calls that took 100 ms or more.
    handlers_over_100ms => "handlers_timed_over_100ms",
    /// Those calls that took a second or more.
    handlers_over_1s => "handlers_timed_over_1s",
    /// Requests that [`Response::offload`](crate::Response::offload) has given to the pool.
    jobs => "jobs",
    /// Those of them that a thread has begun with.
    jobs_started => "jobs_started",
    /// Those that are done, answered or not; `jobs_started - jobs_done` are at work.
    jobs_done => "jobs_done",
    /// Nanoseconds that those took which are done.
    job_nanos => "jobs_done_seconds",
    /// Requests that were answered with 503, as the queue of the pool was full.
    jobs_refused => "jobs_refused",
}

impl Counters {
    /// Requests in the queue of the pool: given to it, and not begun with. Once the server has
    /// stopped, those that were dropped.
    ///
    /// ```
    /// let counters = peregrine::Counters { jobs: 5, jobs_started: 3, ..Default::default() };
    /// assert_eq!(counters.jobs_waiting(), 2);
    /// ```
    pub fn jobs_waiting(&self) -> u64 {
        // They are read one after the other, while they change.
        self.jobs.saturating_sub(self.jobs_started)
    }
}

impl std::iter::Sum for Counters {
    fn sum<I: Iterator<Item = Counters>>(counters: I) -> Counters {
        counters.fold(Counters::default(), |sum, counters| sum + counters)
    }
}

impl WorkerCounters {
    /// The head of an answer is complete.
    #[inline]
    pub(crate) fn answered(&self, status: u16) {
        match status {
            200..=299 => self.answers_2xx.add(1),
            _ => self.answered_otherwise(status),
        }
    }

    #[cold]
    fn answered_otherwise(&self, status: u16) {
        match status {
            300..=399 => self.answers_3xx.add(1),
            400..=499 => self.answers_4xx.add(1),
            500..=599 => self.answers_5xx.add(1),
            // Those that become WebSockets.
            _ => {}
        }
    }

    /// A request was refused, and answered with this.
    pub(crate) fn refused_with(&self, status: u16) {
        self.refused.add(1);
        match status {
            408 => self.refused_slow.add(1),
            413 | 414 | 431 => self.refused_large.add(1),
            _ => {}
        }
        self.answered(status);
    }

    /// The panics on this thread that ended nothing. To be called at the end of each turn of the thread
    /// that these are of.
    #[inline]
    pub(crate) fn count_panics(&self) {
        self.panicked(panic_guard::uncounted());
    }

    /// Code of the application has panicked so many times.
    #[inline]
    pub(crate) fn panicked(&self, count: u64) {
        if count > 0 {
            self.handler_errors.add(count);
            self.panics.add(count);
        }
    }

    /// A call of the handler that was timed.
    pub(crate) fn handler_took(&self, time: Duration) {
        self.handlers_timed.add(1);
        self.handler_nanos.add(nanos(time));
        let limits = [
            (10, &self.handlers_over_10ms),
            (100, &self.handlers_over_100ms),
            (1000, &self.handlers_over_1s),
        ];
        for (limit, counter) in limits {
            counter.add(u64::from(time >= Duration::from_millis(limit)));
        }
    }
}

/// More than 500 years are no time that anything takes.
pub(crate) fn nanos(time: Duration) -> u64 {
    time.as_nanos().try_into().unwrap_or(u64::MAX)
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// To be called by one thread only.
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.get() + n, Ordering::Relaxed);
    }

    /// Of a counter that several threads add to.
    pub(crate) fn add_shared(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What servers have counted, for any thread to read: a handle that is made before the server, so
/// that its handler can have it, and given to it by [`Server::stats`](crate::Server::stats).
///
/// Clones are the same handle. Before the start it has nothing to tell; after the stop it tells what
/// was counted last. Given to several servers, one after the other or at once, it tells of all their
/// threads, in the order in which they were started.
///
/// ```
/// use peregrine::{Server, Stats};
///
/// # fn main() -> std::io::Result<()> {
/// let stats = Stats::new();
/// let seen = stats.clone();
/// let server = Server::from_fn(move |req, res| match req.path() {
///     "/metrics" => res.header("Content-Type", Stats::CONTENT_TYPE).body(seen.prometheus()),
///     _ => res.text(&format!("request {}", seen.counters().requests + 1)),
/// })
/// .stats(&stats)
/// .bind("127.0.0.1:0")
/// .start()?;
/// assert_eq!(stats.worker_counters().len(), peregrine::Config::default().workers);
/// # drop(server);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Stats {
    threads: Arc<Mutex<Threads>>,
}

/// Those that count.
#[derive(Clone, Debug, Default)]
struct Threads {
    workers: Vec<Arc<WorkerCounters>>,
    ws: Vec<Arc<WorkerCounters>>,
    /// Each is one for all threads of a pool.
    pools: Vec<Arc<WorkerCounters>>,
    /// Each is one for all threads of a server that accept.
    accepting: Vec<Arc<WorkerCounters>>,
    /// One of each server.
    budgets: Vec<Arc<Budget>>,
    worker_queues: Vec<QueuesOf>,
    ws_queues: Vec<QueuesOf>,
}

impl Stats {
    /// The media type of [`Stats::prometheus`] and [`Counters::prometheus`].
    pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    /// Of no server yet.
    pub fn new() -> Stats {
        Stats::default()
    }

    /// What all threads have counted.
    pub fn counters(&self) -> Counters {
        let threads = self.threads();
        let all = threads.workers.iter().chain(&threads.ws);
        let all = all.chain(&threads.pools).chain(&threads.accepting);
        all.map(|counters| counters.snapshot()).sum()
    }

    /// Bytes of memory that are held in buffers for clients now; see
    /// [`Config::buffered_bytes`](crate::Config::buffered_bytes). Up to 64 KiB for each thread may be
    /// missing or too many.
    ///
    /// ```
    /// assert_eq!(peregrine::Stats::new().buffered_bytes(), 0);
    /// ```
    pub fn buffered_bytes(&self) -> u64 {
        self.threads().buffered_bytes()
    }

    /// What each worker has counted.
    pub fn worker_counters(&self) -> Vec<Counters> {
        snapshots(&self.threads().workers)
    }

    /// What each WebSocket thread has counted.
    pub fn ws_counters(&self) -> Vec<Counters> {
        snapshots(&self.threads().ws)
    }

    /// `shared`: the counters of a pool, and of those who accept.
    pub(crate) fn add(
        &self,
        workers: Vec<Arc<WorkerCounters>>,
        ws: &[Arc<WorkerCounters>],
        shared: [&Arc<WorkerCounters>; 2],
        budget: &Arc<Budget>,
    ) {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.workers.extend(workers);
        threads.ws.extend_from_slice(ws);
        let [pool, accepting] = shared;
        threads.pools.push(pool.clone());
        threads.accepting.push(accepting.clone());
        threads.budgets.push(budget.clone());
    }

    /// What waits for all threads at this moment.
    pub fn queues(&self) -> Queues {
        self.threads().queues()
    }

    /// What waits for each worker at this moment; [`Queues::jobs`] are nobody's, and 0 here.
    pub fn worker_queues(&self) -> Vec<Queues> {
        queues::of(&self.threads().worker_queues)
    }

    /// What waits for each WebSocket thread at this moment.
    pub fn ws_queues(&self) -> Vec<Queues> {
        queues::of(&self.threads().ws_queues)
    }

    pub(crate) fn add_queues(&self, workers: Vec<QueuesOf>, ws: Vec<QueuesOf>) {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.worker_queues.extend(workers);
        threads.ws_queues.extend(ws);
    }

    /// Copied, so that the lock is held for no longer than that.
    fn threads(&self) -> Threads {
        let threads = self.threads.lock();
        threads.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Threads {
    fn buffered_bytes(&self) -> u64 {
        self.budgets.iter().map(|budget| budget.used() as u64).sum()
    }

    fn queues(&self) -> Queues {
        let pools = snapshots(&self.pools).into_iter().sum::<Counters>();
        let all = self.worker_queues.iter().chain(&self.ws_queues);
        let jobs = Queues {
            jobs: pools.jobs_waiting(),
            ..Queues::default()
        };
        all.map(QueuesOf::now).fold(jobs, |sum, one| sum + one)
    }
}

fn snapshots(threads: &[Arc<WorkerCounters>]) -> Vec<Counters> {
    threads.iter().map(|counters| counters.snapshot()).collect()
}
