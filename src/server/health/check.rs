//! Checks of `Health`, and the threads of those that may block.

use super::lock;
use crate::shared::panic_guard::catch;
use std::convert::Infallible;
use std::io;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// So much longer than its interval a call may take before its check fails.
const PATIENCE: Duration = Duration::from_secs(5);

/// The shortest wait between two calls, so that the thread does not spin.
const LEAST: Duration = Duration::from_millis(1);

#[derive(Clone)]
pub(super) struct Check(Arc<Named>);

struct Named {
    name: String,
    run: Run,
}

pub(super) type Run = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

impl Check {
    pub(super) fn new(name: &str, run: Run) -> Check {
        let name = name.to_owned();
        Check(Arc::new(Named { name, run }))
    }

    pub(super) fn name(&self) -> &str {
        &self.0.name
    }

    /// Its name and text if it fails.
    pub(super) fn failure(&self) -> Option<(String, String)> {
        let text = guarded(|| (self.0.run)()).err()?;
        Some((self.0.name.clone(), text))
    }
}

/// Calls a check. A panic is a failure.
fn guarded(check: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    catch(check).unwrap_or_else(|panic| Err(format!("the check panicked: {}", panic.message())))
}

/// The latest result of a check that a thread calls.
pub(super) struct Latest {
    every: Duration,
    state: Mutex<State>,
    /// Its drop ends the thread.
    _alive: Sender<Infallible>,
}

struct State {
    result: Result<(), String>,
    /// When the last call has ended.
    at: Instant,
}

impl Latest {
    pub(super) fn spawn(
        every: Duration,
        mut check: impl FnMut() -> Result<(), String> + Send + 'static,
    ) -> io::Result<Arc<Latest>> {
        let every = every.max(LEAST);
        let (alive, is_over) = mpsc::channel();
        let latest = Arc::new(Latest {
            every,
            state: Mutex::new(State {
                result: Err("not checked yet".to_owned()),
                at: Instant::now(),
            }),
            _alive: alive,
        });
        let of = Arc::downgrade(&latest);
        let run = move || {
            loop {
                let result = guarded(&mut check);
                let Some(latest) = of.upgrade() else { return };
                let at = Instant::now();
                *lock(&latest.state) = State { result, at };
                drop(latest);
                if is_over.recv_timeout(every) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("pg-health".to_owned());
        thread.spawn(run).map(|_| latest)
    }

    pub(super) fn result(&self) -> Result<(), String> {
        let state = lock(&self.state);
        let passed = state.at.elapsed();
        if state.result.is_ok() && passed > self.every.saturating_mul(2).saturating_add(PATIENCE) {
            return Err(format!("no result for {} s", passed.as_secs()));
        }
        state.result.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_does_not_last_for_ever() {
        let latest = |result, at| Latest {
            every: Duration::from_secs(1),
            state: Mutex::new(State { result, at }),
            _alive: mpsc::channel().0,
        };
        let now = Instant::now();
        assert_eq!(latest(Ok(()), now).result(), Ok(()));
        let Some(long_ago) = now.checked_sub(Duration::from_secs(30)) else {
            return; // The machine has just started.
        };
        let stale = latest(Ok(()), long_ago).result().expect_err("too old");
        assert!(stale.starts_with("no result for 3"), "{stale}");
        let failed = latest(Err("why".to_owned()), long_ago).result();
        assert_eq!(failed, Err("why".to_owned()));
    }
}
