//! What a server counts.

mod prometheus;

use crate::conn::budget::Budget;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

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
    /// Connections that were closed as soon as they were accepted, as there were no descriptors: not
    /// among `accepted`.
    turned_away => "connections_turned_away",
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
    /// WebSocket messages dropped because their client was too slow for them.
    ws_dropped => "ws_messages_dropped",
    /// Requests answered, by the handler or with a 500 in its place.
    requests => "requests",
    /// Bytes read from clients.
    bytes_read => "read_bytes",
    /// Bytes written to clients.
    bytes_written => "written_bytes",
    /// Requests refused as malformed, too large or too slow.
    refused => "refused",
    /// Requests and WebSockets that were refused because too many bytes were held in buffers; the
    /// requests are among `refused`, too.
    overloaded => "overloaded",
    /// Handlers that panicked or answered what could not be sent.
    handler_errors => "handler_errors",
    /// Connections that ended in a failed read or write, a write timeout, or in the middle of a
    /// request.
    connection_errors => "connection_errors",
    /// Requests that [`Response::offload`](crate::Response::offload) has given to the pool.
    jobs => "jobs",
    /// Those of them that a thread has begun with.
    jobs_started => "jobs_started",
    /// Those that are done, answered or not; `jobs_started - jobs_done` are at work.
    jobs_done => "jobs_done",
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
}

fn snapshots(threads: &[Arc<WorkerCounters>]) -> Vec<Counters> {
    threads.iter().map(|counters| counters.snapshot()).collect()
}
