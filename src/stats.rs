//! What a server counts.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What one worker, or a whole server, has counted since its start.
        ///
        /// ```
        /// let sum = peregrine::Counters { requests: 1, ..Default::default() }
        ///     + peregrine::Counters { requests: 2, ..Default::default() };
        /// assert_eq!(sum.requests, 3);
        /// ```
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

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
    accepted,
    /// Connections closed; `accepted - closed` are open.
    closed,
    /// Connections that became WebSockets.
    upgraded,
    /// WebSocket messages received, pings and other control frames not counted.
    ws_received,
    /// WebSocket messages published or broadcast, counted once for each WebSocket thread.
    ws_published,
    /// Times that such a message was queued for a connection.
    ws_fanned_out,
    /// WebSocket messages dropped because their client was too slow for them.
    ws_dropped,
    /// Requests answered, by the handler or with a 500 in its place.
    requests,
    /// Bytes read from clients.
    bytes_read,
    /// Bytes written to clients.
    bytes_written,
    /// Requests refused as malformed, too large or too slow.
    refused,
    /// Handlers that panicked or answered what could not be sent.
    handler_errors,
    /// Connections that ended in a failed read or write, a write timeout, or in the middle of a
    /// request.
    connection_errors,
    /// Requests that [`Response::offload`](crate::Response::offload) has given to the pool.
    jobs,
    /// Those of them that a thread has begun with.
    jobs_started,
    /// Those that are done, answered or not; `jobs_started - jobs_done` are at work.
    jobs_done,
    /// Requests that were answered with 503, as the queue of the pool was full.
    jobs_refused,
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

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
