//! The phases of a server: it serves, it drains, it stops.

use crate::config::Config;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

const SERVING: u8 = 0;
/// It says that it is not ready, and serves on.
const DRAINING: u8 = 1;
/// The listeners close, and requests that have arrived get their responses.
const STOPPING: u8 = 2;

/// Read by all threads of a server, and by its [`Health`](crate::server::Health).
#[derive(Debug)]
pub(crate) struct Phase {
    now: AtomicU8,
    /// Another process serves on the same listeners.
    handed_over: AtomicBool,
    /// All its threads have ended.
    ended: AtomicBool,
    delay: Duration,
    /// When the drain has begun.
    begun: OnceLock<Instant>,
    /// Of [`Phase::wait_until_stop`].
    lock: Mutex<()>,
    changed: Condvar,
}

impl Phase {
    pub(crate) fn new(config: &Config) -> Phase {
        Phase {
            now: AtomicU8::new(SERVING),
            handed_over: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            delay: config.drain_delay,
            begun: OnceLock::new(),
            lock: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    #[inline]
    pub(crate) fn is_serving(&self) -> bool {
        self.now.load(Ordering::Acquire) == SERVING
    }

    #[inline]
    pub(crate) fn is_stopping(&self) -> bool {
        self.now.load(Ordering::Acquire) == STOPPING
    }

    /// Begins to drain. False if it has no time for that, or does so already, or stops.
    pub(crate) fn drain(&self) -> bool {
        if self.delay.is_zero() {
            return false;
        }
        let _lock = self.lock();
        // First, because threads that see the phase read it.
        self.begun.get_or_init(Instant::now);
        let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
        let changed = self
            .now
            .compare_exchange(SERVING, DRAINING, success, failure);
        changed.is_ok()
    }

    /// Begins to stop. True for the first call.
    pub(crate) fn stop(&self) -> bool {
        let _lock = self.lock();
        let before = self.now.swap(STOPPING, Ordering::AcqRel);
        self.changed.notify_all();
        before != STOPPING
    }

    /// Another process serves from now on. Called before the stop.
    #[cfg(any(unix, test))]
    pub(crate) fn hand_over(&self) {
        self.handed_over.store(true, Ordering::Release);
    }

    /// All threads of the server have ended.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Whether clients find a server at the address: this one, or another process that has its listeners.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_serving() || self.handed_over.load(Ordering::Acquire)
    }

    /// Waits until the drain is over, or a stop has begun.
    pub(crate) fn wait_until_stop(&self) {
        let goes_on = |(): &mut ()| !self.is_stopping();
        let lock = self.lock();
        // A poisoned lock guards nothing.
        let _ = self.changed.wait_timeout_while(lock, self.delay, goes_on);
    }

    /// How much of the drain is over, from 0 to 256.
    pub(crate) fn drained(&self) -> u32 {
        let begun = self.begun.get();
        begun.map_or(0, |begun| share(begun.elapsed(), self.delay))
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A part of a time, in parts of 256.
fn share(part: Duration, whole: Duration) -> u32 {
    let share = part.as_nanos().saturating_mul(256) / whole.as_nanos().max(1);
    share.min(256) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_comes_before_a_stop_and_once() {
        let phase = |delay| Phase::new(&Config::default().drain_delay(delay));
        assert!(!phase(Duration::ZERO).drain(), "there is no time");
        let phase = phase(Duration::MAX);
        assert!(phase.is_serving() && phase.is_ready());
        assert!(phase.drain() && !phase.drain());
        assert!(!phase.is_serving() && !phase.is_stopping() && !phase.is_ready());
        assert!(phase.stop() && !phase.stop() && !phase.drain());
        assert!(phase.is_stopping() && !phase.is_ready());
        phase.wait_until_stop();
    }

    #[test]
    fn a_server_whose_listeners_another_process_has_is_ready() {
        let phase = Phase::new(&Config::default());
        phase.hand_over();
        phase.stop();
        assert!(phase.is_ready());
    }

    #[test]
    fn shares_of_a_time() {
        let of = |part, whole| share(Duration::from_secs(part), Duration::from_secs(whole));
        assert_eq!([of(0, 8), of(1, 8), of(8, 8), of(9, 8)], [0, 32, 256, 256]);
        assert_eq!(share(Duration::MAX, Duration::ZERO), 256);
        assert_eq!(share(Duration::from_secs(1), Duration::MAX), 0);
    }
}
