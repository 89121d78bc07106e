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

    /// Says that the server is not ready, serves on for [`Config::drain_delay`](crate::Config::drain_delay), and begins to
    /// stop then. Returns at once. Without a delay it is [`Stopper::stop`], which also ends the delay.
    ///
    /// ```
    /// use peregrine::server::Health;
    /// use peregrine::{Config, Server};
    /// use std::time::Duration;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let health = Health::new();
    /// let config = Config::default().drain_delay(Duration::from_secs(15));
    /// let server = Server::new(health.clone()).health(&health).config(config).bind("127.0.0.1:0");
    /// let running = server.start()?;
    /// running.stopper().drain(); // as on SIGTERM
    /// assert!(health.is_draining() && !health.is_ready());
    /// running.stopper().stop(); // not in 15 s, but now
    /// assert_eq!(running.wait()?.aborted, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn drain(&self) {
        self.0.drain();
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
