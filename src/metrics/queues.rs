//! Lengths of queues, read when they are asked for.

use std::sync::Arc;

/// The number of items that wait for one thread, or for all threads of a server, at one moment.
///
/// A queue that grows means that its threads are too slow for the load.
/// [`Stats::queues`](crate::metrics::Stats::queues) and its siblings return it.
///
/// ```
/// use peregrine::metrics::{Queues, Stats};
///
/// let stats = Stats::new();
/// // ... a server gets `stats` and runs ...
/// let Queues { connections, messages, jobs, .. } = stats.queues();
/// assert_eq!((connections, messages, jobs), (0, 0, 0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Queues {
    /// Connections that were accepted, or that became WebSockets, and that the thread has not taken yet. They
    /// count as open for [`Config::connections`](crate::Config::connections).
    pub connections: u64,
    /// Items that other threads have sent to this thread and that it has not taken yet. For a worker:
    /// deferred responses, pieces of streamed bodies, timers. For a WebSocket thread: messages and
    /// subscriptions.
    pub messages: u64,
    /// Offloaded requests that no thread of the pool has started, at most
    /// [`Config::pool_queue`](crate::Config::pool_queue).
    pub jobs: u64,
}

impl std::ops::Add for Queues {
    type Output = Queues;

    fn add(self, other: Queues) -> Queues {
        Queues {
            connections: self.connections + other.connections,
            messages: self.messages + other.messages,
            jobs: self.jobs + other.jobs,
        }
    }
}

/// Counts the queues of one thread. All are empty when its server is gone.
#[derive(Clone)]
pub(crate) struct QueuesOf(Arc<dyn Fn() -> Option<Queues> + Send + Sync>);

impl QueuesOf {
    pub(crate) fn new(look: impl Fn() -> Option<Queues> + Send + Sync + 'static) -> QueuesOf {
        QueuesOf(Arc::new(look))
    }

    pub(crate) fn now(&self) -> Queues {
        (self.0)().unwrap_or_default()
    }
}

pub(super) fn of(threads: &[QueuesOf]) -> Vec<Queues> {
    threads.iter().map(QueuesOf::now).collect()
}

impl std::fmt::Debug for QueuesOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.now().fmt(f)
    }
}
