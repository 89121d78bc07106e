//! Limit on the bytes in buffers of all connections.
//!
//! Each thread counts the bytes that its connections keep between their turns in its own cell
//! ([`LocalUsage`]), and publishes the sum in steps. So a connection that keeps nothing costs two comparisons
//! a turn. Bytes that other threads hold are counted at once ([`Reservation`]).

use crate::log::event;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The number of bytes by which the published value of a thread may differ from the real one.
const STEP: usize = 64 << 10;

/// Shared by all threads of a server.
#[derive(Debug)]
pub(crate) struct MemoryBudget {
    limit: usize,
    /// Fifteen sixteenths of the limit.
    short: usize,
    used: AtomicUsize,
    /// Set while the usage has been above the limit and since then not below seven eighths of it. It may be
    /// out of date, so it is checked again: see [`MemoryBudget::is_over`].
    over: AtomicBool,
}

impl MemoryBudget {
    pub(crate) fn new(limit: usize) -> MemoryBudget {
        MemoryBudget {
            limit,
            short: limit - limit / 16,
            used: AtomicUsize::new(0),
            over: AtomicBool::new(false),
        }
    }

    /// Whether the usage is so high that nothing new may begin.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed) && self.is_still_over()
    }

    /// Whether the usage is so high that connections without progress have to be closed, before new requests
    /// are refused.
    #[inline]
    pub(crate) fn is_short(&self) -> bool {
        self.used() > self.short || self.is_over()
    }

    /// The bytes in use. The error is at most one step for each thread.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Reserves `bytes` until the returned value is dropped.
    pub(crate) fn charge(self: &Arc<MemoryBudget>, bytes: usize) -> Reservation {
        self.add(bytes);
        Reservation {
            budget: self.clone(),
            bytes,
        }
    }

    #[cold]
    fn is_still_over(&self) -> bool {
        let is_over = !self.is_low(self.used());
        if !is_over {
            self.end();
        }
        is_over
    }

    /// Some hysteresis, so that the state does not change with every request.
    fn is_low(&self, used: usize) -> bool {
        used <= self.limit - self.limit / 8
    }

    fn add(&self, bytes: usize) {
        let used = self.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if used > self.limit && !self.over.swap(true, Ordering::Relaxed) {
            event!(
                Warn,
                "connections hold {used} bytes, more than Config::buffered_bytes: new requests get 503"
            );
        }
    }

    fn sub(&self, bytes: usize) {
        let used = self.used.fetch_sub(bytes, Ordering::Relaxed) - bytes;
        if self.is_low(used) && self.over.load(Ordering::Relaxed) {
            self.end();
        }
    }

    fn end(&self) {
        if self.over.swap(false, Ordering::Relaxed) {
            event!(Info, "there is room for new requests again");
        }
    }
}

/// The bytes that the connections of one thread hold.
pub(crate) struct LocalUsage {
    budget: Arc<MemoryBudget>,
    held: usize,
    published: usize,
}

impl LocalUsage {
    pub(crate) fn new(budget: Arc<MemoryBudget>) -> LocalUsage {
        LocalUsage {
            budget,
            held: 0,
            published: 0,
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.budget.is_over()
    }

    #[inline]
    pub(crate) fn is_short(&self) -> bool {
        self.budget.is_short()
    }

    /// Updates the count of a connection from `counted` to `held`. Returns the new count.
    #[inline]
    pub(crate) fn count(&mut self, counted: u32, held: usize) -> u32 {
        let held = u32::try_from(held).unwrap_or(u32::MAX);
        if counted != held {
            self.change(counted, held);
        }
        held
    }

    #[cold]
    fn change(&mut self, counted: u32, held: u32) {
        self.held = self.held - counted as usize + held as usize;
        if self.held.abs_diff(self.published) >= STEP || self.held == 0 {
            self.publish();
        }
    }

    fn publish(&mut self) {
        match self.held.checked_sub(self.published) {
            Some(more) => self.budget.add(more),
            None => self.budget.sub(self.published - self.held),
        }
        self.published = self.held;
    }
}

impl Drop for LocalUsage {
    fn drop(&mut self) {
        self.held = 0;
        self.publish();
    }
}

/// Bytes that are held by something other than a connection.
pub(crate) struct Reservation {
    budget: Arc<MemoryBudget>,
    bytes: usize,
}

impl Reservation {
    /// Sets the number of bytes.
    pub(crate) fn set(&mut self, bytes: usize) {
        match bytes.checked_sub(self.bytes) {
            Some(more) => self.budget.add(more),
            None => self.budget.sub(self.bytes - bytes),
        }
        self.bytes = bytes;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.sub(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_changes_stay_with_their_thread() {
        let budget = Arc::new(MemoryBudget::new(1 << 20));
        let mut tally = LocalUsage::new(budget.clone());
        let mut one = tally.count(0, 10_000);
        assert_eq!((one, budget.used()), (10_000, 0));
        let other = tally.count(0, 60_000);
        assert_eq!(budget.used(), 70_000);
        one = tally.count(one, 0);
        assert_eq!(budget.used(), 70_000);
        tally.count(other, 0);
        assert_eq!((one, budget.used()), (0, 0), "nothing is nothing");
        tally.count(0, 100_000);
        assert_eq!(budget.used(), 100_000);
        drop(tally);
        assert_eq!(budget.used(), 0, "its connections went with it");
    }

    #[test]
    fn the_budget_is_exceeded_until_there_is_some_room() {
        let budget = Arc::new(MemoryBudget::new(800));
        let mut charge = budget.charge(800);
        assert!(!budget.is_over());
        charge.set(801);
        assert!(budget.is_over());
        charge.set(701);
        assert!(budget.is_over(), "an eighth has to be free");
        charge.set(700);
        assert!(!budget.is_over());
        let more = budget.charge(200);
        assert!(budget.is_over());
        drop(more);
        assert!(!budget.is_over());
        drop(charge);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn memory_is_short_before_the_budget_is_exceeded() {
        let budget = Arc::new(MemoryBudget::new(1600));
        let mut charge = budget.charge(1500);
        assert!(!budget.is_short());
        charge.set(1501);
        assert!(budget.is_short() && !budget.is_over());
        charge.set(1601);
        charge.set(1401);
        assert!(budget.is_short() && budget.is_over());
        charge.set(1400);
        assert!(!budget.is_short());
    }

    /// Two threads may set and clear the mark in the wrong order. The next check corrects it.
    #[test]
    fn a_stale_mark_is_corrected() {
        let budget = MemoryBudget::new(800);
        budget.over.store(true, Ordering::Relaxed);
        assert!(!budget.is_over());
        assert!(!budget.over.load(Ordering::Relaxed));
    }

    #[test]
    fn threads_lose_nothing() {
        let budget = Arc::new(MemoryBudget::new(usize::MAX));
        let threads: Vec<_> = (1..=4)
            .map(|n| {
                let budget = budget.clone();
                std::thread::spawn(move || {
                    let mut tally = LocalUsage::new(budget.clone());
                    let mut counted = 0;
                    for i in 0..if cfg!(miri) { 50 } else { 10_000 } {
                        counted = tally.count(counted, i * n * 1000 % 1_000_003);
                        drop(budget.charge(i));
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("no panic");
        }
        assert_eq!(budget.used(), 0);
    }
}
