//! `Stopper` and `Stopped`: how a server is stopped, and how it ended.

use crate::metrics::Counters;
use crate::runtime::server_state::ServerState;
use std::sync::Arc;

/// Stops a server from any thread; see [`Running::stopper`](crate::server::Running::stopper).
///
/// Clones are the same handle. It may outlive the server. A drop of it stops nothing.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// let running = peregrine::Server::from_fn(|_, res| res.text("hi")).bind("127.0.0.1:0").start()?;
/// let stopper = running.stopper();
/// std::thread::spawn(move || stopper.stop());
/// assert_eq!(running.wait()?.aborted, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Stopper(pub(crate) Arc<ServerState>);

impl Stopper {
    /// Begins to stop the server and returns at once. [`Running::stop`](crate::server::Running::stop) lists
    /// what happens then.
    pub fn stop(&self) {
        self.0.stop();
    }

    /// Stops at once: open connections are aborted.
    pub fn stop_now(&self) {
        self.0.cut();
    }
}

impl std::fmt::Debug for Stopper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stopper").finish_non_exhaustive()
    }
}

/// The result of a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stopped {
    /// Connections that were open when the stop began, or were accepted during it, and have ended properly:
    /// idle, or with all responses sent.
    pub drained: u64,
    /// Connections that were still open at the deadline and were aborted.
    pub aborted: u64,
    /// The counters of the server since its start.
    pub counters: Counters,
}
