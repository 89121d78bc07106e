//! What waits for a thread, looked at when somebody asks.

use std::sync::Arc;

/// How much is on its way to one thread, or to all of a server, at one moment: queues that grow mean
/// that somebody does not keep up. [`Stats::queues`](crate::Stats::queues) and its siblings tell.
///
/// ```
/// use peregrine::{Queues, Stats};
///
/// let stats = Stats::new();
/// // ... a server is given it, and runs ...
/// let Queues { connections, messages, jobs, .. } = stats.queues();
/// assert_eq!((connections, messages, jobs), (0, 0, 0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Queues {
    /// Connections that were accepted, or became WebSockets, and that the thread has not taken yet.
    /// At most [`Config::connections`](crate::Config::connections).
    pub connections: u64,
    /// What other threads have sent to this one and it has not taken yet: late answers, pieces of
    /// streamed bodies and timers for a worker, messages and subscriptions for a WebSocket thread.
    pub messages: u64,
    /// Offloaded requests that no thread of the pool has begun with. At most
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

/// Looks at the queues of one thread. Nothing waits any more when its server is gone.
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
