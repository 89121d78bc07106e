//! `Stats`: the metrics of servers, readable from any thread.

use super::routes::RouteCounters;
use super::{Counters, Histogram, Queues, QueuesOf, WorkerCounters, queues, routes};
use crate::shared::memory_budget::MemoryBudget;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Counters of servers, readable from any thread.
///
/// It is a handle that is made before the server, so that the handler can have it.
/// [`Server::stats`](crate::Server::stats) connects it to a server. Clones are the same handle. Before the
/// start of the server all counts are zero; after the stop they keep their last values. One handle may be
/// given to several servers, one after the other or at the same time. Then it has the counters of all their
/// threads, in the order of their start.
///
/// ```
/// use peregrine::Server;
/// use peregrine::metrics::Stats;
///
/// # fn main() -> std::io::Result<()> {
/// let stats = Stats::new();
/// let seen = stats.clone();
/// let server = Server::from_fn(move |req, res| match req.path() {
///     "/metrics" => res.header("Content-Type", Stats::CONTENT_TYPE).body(seen.prometheus()),
///     _ => res.text(format!("request {}", seen.counters().requests + 1)),
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

/// The counters of all threads.
#[derive(Clone, Debug, Default)]
pub(super) struct Threads {
    pub(super) workers: Vec<Arc<WorkerCounters>>,
    pub(super) ws: Vec<Arc<WorkerCounters>>,
    /// One for all threads of a pool.
    pub(super) pools: Vec<Arc<WorkerCounters>>,
    /// One for all accept threads of a server.
    pub(super) accepting: Vec<Arc<WorkerCounters>>,
    /// One for each relay.
    pub(super) relays: Vec<Arc<WorkerCounters>>,
    /// One for each server.
    pub(super) budgets: Vec<Arc<MemoryBudget>>,
    pub(super) worker_queues: Vec<QueuesOf>,
    pub(super) ws_queues: Vec<QueuesOf>,
    pub(super) routes: Vec<Arc<RouteCounters>>,
    /// One for each server.
    pub(super) most: Vec<MostOf>,
}

/// What [`Stats::add`] gets of the workers of a server.
pub(crate) struct WorkerMetrics {
    pub(crate) counters: Vec<Arc<WorkerCounters>>,
    pub(crate) routes: Vec<Arc<RouteCounters>>,
}

/// How much a server may have at the same time, by its settings.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MostOf {
    pub(crate) buffered: u64,
    pub(crate) connections: u64,
    pub(crate) jobs: u64,
}

impl Stats {
    /// The media type of [`Stats::prometheus`] and [`Counters::prometheus`].
    pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    /// A handle that is not connected to a server yet.
    pub fn new() -> Stats {
        Stats::default()
    }

    /// The sum of the counters of all threads.
    pub fn counters(&self) -> Counters {
        let threads = self.threads();
        let all = threads.workers.iter().chain(&threads.ws);
        let all = all.chain(&threads.pools).chain(&threads.accepting);
        let all = all.chain(&threads.relays);
        all.map(|counters| counters.snapshot()).sum()
    }

    /// Bytes of memory that are held in buffers for clients now; see
    /// [`Config::buffered_bytes`](crate::Config::buffered_bytes). The value may be up to 64 KiB for each
    /// thread too low or too high.
    ///
    /// ```
    /// assert_eq!(peregrine::metrics::Stats::new().buffered_bytes(), 0);
    /// ```
    pub fn buffered_bytes(&self) -> u64 {
        self.threads().buffered_bytes()
    }

    /// The counters of each worker.
    pub fn worker_counters(&self) -> Vec<Counters> {
        snapshots(&self.threads().workers)
    }

    /// The counters of each WebSocket thread.
    pub fn ws_counters(&self) -> Vec<Counters> {
        snapshots(&self.threads().ws)
    }

    /// The times of calls of [`Handler::handle_request`](crate::Handler::handle_request) in timed turns: one in
    /// [`Config::timed_one_in`](crate::Config::timed_one_in). It has the same calls as [`Counters::handlers_timed`].
    pub fn handler_times(&self) -> Histogram {
        let threads = self.threads();
        let times = threads.workers.iter().map(|w| w.handler_times.snapshot());
        times.sum()
    }

    /// The times until the head of a response is complete, of requests whose handler was called in a timed turn: one in
    /// [`Config::timed_one_in`](crate::Config::timed_one_in).
    ///
    /// A time begins when the worker wakes up for the request, so it includes the handlers of other requests
    /// that come first. It ends when the head is complete, in a deferred response as in any other; the body may follow.
    pub fn response_times(&self) -> Histogram {
        let threads = self.threads();
        let times = threads.workers.iter().map(|w| w.response_times.snapshot());
        times.sum()
    }

    /// How long the present turn of each worker has lasted; zero while the worker waits for events. More than 100 ms
    /// means that something holds the worker, most often a handler, and that all other clients of this worker wait. Zero
    /// after the server has stopped.
    ///
    /// ```
    /// assert!(peregrine::metrics::Stats::new().worker_busy().is_empty());
    /// ```
    pub fn worker_busy(&self) -> Vec<Duration> {
        busy(&self.threads().workers)
    }

    /// How long the present turn of each WebSocket thread has lasted; see [`Stats::worker_busy`].
    pub fn ws_busy(&self) -> Vec<Duration> {
        busy(&self.threads().ws)
    }

    /// The routes of a [`Router`](crate::Router) that have had requests, with their number, the most frequent first.
    ///
    /// A route is its pattern, whatever the method, as [`Request::route`](crate::Request::route) has it. A request that a
    /// router passes to one that is mounted in it counts for the routes of both. The first 256 different patterns
    /// of the program that get a request are counted; the others count together as `*`.
    pub fn routes(&self) -> Vec<(&'static str, u64)> {
        routes::sums(self.threads().routes.iter().map(|counters| &**counters))
    }

    /// The limits of all servers.
    pub(crate) fn most(&self) -> MostOf {
        let threads = self.threads();
        threads
            .most
            .iter()
            .fold(MostOf::default(), |sum, one| MostOf {
                buffered: sum.buffered.saturating_add(one.buffered),
                connections: sum.connections.saturating_add(one.connections),
                jobs: sum.jobs.saturating_add(one.jobs),
            })
    }

    /// `shared`: the counters of a pool, and of the accept threads.
    pub(crate) fn add(
        &self,
        workers: WorkerMetrics,
        ws: &[Arc<WorkerCounters>],
        shared: [&Arc<WorkerCounters>; 2],
        budget: &Arc<MemoryBudget>,
        most: MostOf,
    ) {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.workers.extend(workers.counters);
        threads.routes.extend(workers.routes);
        threads.most.push(most);
        threads.ws.extend_from_slice(ws);
        let [pool, accepting] = shared;
        threads.pools.push(pool.clone());
        threads.accepting.push(accepting.clone());
        threads.budgets.push(budget.clone());
    }

    /// The items that wait for all threads now.
    pub fn queues(&self) -> Queues {
        self.threads().queues()
    }

    /// The items that wait for each worker now. [`Queues::jobs`] is 0 here, because jobs belong to no worker.
    pub fn worker_queues(&self) -> Vec<Queues> {
        queues::of(&self.threads().worker_queues)
    }

    /// The items that wait for each WebSocket thread now.
    pub fn ws_queues(&self) -> Vec<Queues> {
        queues::of(&self.threads().ws_queues)
    }

    pub(crate) fn add_queues(&self, workers: Vec<QueuesOf>, ws: Vec<QueuesOf>) {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.worker_queues.extend(workers);
        threads.ws_queues.extend(ws);
    }

    /// Adds the counters of a relay. It may serve several servers.
    pub(crate) fn add_relay(&self, counters: &Arc<WorkerCounters>) {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let relays = &mut threads.relays;
        if !relays.iter().any(|known| Arc::ptr_eq(known, counters)) {
            relays.push(counters.clone());
        }
    }

    /// A copy, so that the lock is held only for the copying.
    pub(super) fn threads(&self) -> Threads {
        let threads = self.threads.lock();
        threads.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Threads {
    pub(super) fn buffered_bytes(&self) -> u64 {
        self.budgets.iter().map(|budget| budget.used() as u64).sum()
    }

    pub(super) fn queues(&self) -> Queues {
        let pools = snapshots(&self.pools).into_iter().sum::<Counters>();
        let all = self.worker_queues.iter().chain(&self.ws_queues);
        let jobs = Queues {
            jobs: pools.jobs_waiting(),
            ..Queues::default()
        };
        all.map(QueuesOf::now).fold(jobs, |sum, one| sum + one)
    }
}

fn busy(threads: &[Arc<WorkerCounters>]) -> Vec<Duration> {
    let busy = threads.iter().map(|counters| counters.activity.busy());
    busy.collect()
}

pub(super) fn snapshots(threads: &[Arc<WorkerCounters>]) -> Vec<Counters> {
    threads.iter().map(|counters| counters.snapshot()).collect()
}
