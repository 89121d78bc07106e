//! Defaults that are more than a number.

use super::{AcceptThreads, Config};
use std::sync::OnceLock;

impl Config {
    /// Number of threads that only accept connections.
    pub(crate) fn acceptors(&self) -> usize {
        match self.accept_threads {
            AcceptThreads::Auto => usize::from(self.workers > 1),
            AcceptThreads::Workers => 0,
            AcceptThreads::Dedicated(n) => n,
        }
    }

    /// The value of [`Config::connections_per_address`], or its default.
    pub(crate) fn most_per_address(&self) -> usize {
        let share = || (self.connections / 16).max(16);
        self.connections_per_address.unwrap_or_else(share)
    }
}

/// Default of [`Config::timers_per_worker`].
pub(crate) const TIMERS_PER_WORKER: usize = 65_536;

/// Default of [`Config::ws_mailbox_bytes`].
#[cfg(feature = "websocket")]
pub(crate) const WS_MAILBOX_BYTES: usize = 16 << 20;

/// CPUs that the process may use: by its affinity and, on Linux, by the quotas of its control groups.
/// `num_cpus` reads the quota of its own group; the standard library also reads those of the groups around
/// it, with 20 system calls, so that is done once.
pub(super) fn cpus() -> usize {
    static CPUS: OnceLock<usize> = OnceLock::new();
    *CPUS.get_or_init(|| {
        let all_groups =
            std::thread::available_parallelism().map_or(usize::MAX, std::num::NonZero::get);
        num_cpus::get().min(all_groups)
    })
}
