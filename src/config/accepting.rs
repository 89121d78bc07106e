//! Which threads accept connections, and for which worker.

/// Which threads accept connections: [`Config::accept_threads`](crate::Config::accept_threads).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AcceptThreads {
    /// One thread that only accepts. With one worker, that worker accepts.
    #[default]
    Auto,
    /// Every worker accepts its own connections.
    ///
    /// This costs least for short connections, because nothing is handed over. But the system balances by
    /// address, so a few long connections may all be on one worker.
    Workers,
    /// This number of threads, 1 to 4,096. They only accept connections and hand them to the workers, by
    /// [`Config::balance`](crate::Config::balance).
    Dedicated(usize),
}

/// How accept threads choose a worker for a new connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Balance {
    /// The worker with the fewest open connections.
    #[default]
    LeastConnections,
    /// The workers in turn.
    RoundRobin,
}
