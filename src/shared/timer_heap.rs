//! Timers of one thread.

use super::panic_guard::{Panic, catch, drop_quietly};
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The number of entries from which cancelled ones are searched and removed.
const SWEEP: usize = 64;

/// A call that is due at some time. Shared by the thread that makes the call and the owner of its handle, which can
/// cancel it.
pub(crate) struct Entry {
    call: Mutex<Option<Call>>,
    over: AtomicBool,
    /// The number of entries that are not over.
    count: Arc<AtomicUsize>,
}

/// The function. It returns true to be called again.
type Call = Box<dyn FnMut() -> bool + Send>;

/// The result of the function, or its panic.
pub(crate) type Called = Result<bool, Panic>;

impl Entry {
    /// A new entry. `None` if there are `most` already.
    pub(crate) fn new(call: Call, count: &Arc<AtomicUsize>, most: usize) -> Option<Arc<Entry>> {
        let count = count.clone();
        let before = count.fetch_add(1, Ordering::Relaxed);
        let entry = Entry {
            call: Mutex::new(Some(call)),
            over: AtomicBool::new(false),
            count,
        };
        // The drop of an entry reduces the count.
        (before < most).then(|| Arc::new(entry))
    }

    /// Cancels the call: no call begins after this.
    pub(crate) fn cancel(&self) {
        if !self.over.swap(true, Ordering::SeqCst) {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        let call = self.lock().take();
        drop_quietly(call);
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Calls the function, unless it was cancelled.
    fn call(&self) -> Called {
        let Some(mut call) = self.lock().take() else {
            return Ok(false);
        };
        let result = catch(&mut call);
        let mut place = self.lock();
        match self.is_over() {
            false => *place = Some(call),
            true => {
                drop(place);
                drop_quietly(call);
            }
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, Option<Call>> {
        self.call.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("over", &self.over)
            .finish_non_exhaustive()
    }
}

/// An entry on its way to the thread that will call it.
#[derive(Debug)]
pub(crate) struct NewTimer {
    pub(crate) delay: Duration,
    /// The period of a repeated call.
    pub(crate) period: Option<Duration>,
    pub(crate) entry: Arc<Entry>,
}

/// The entries of one thread. Times count from the start of its clock.
#[derive(Default)]
pub(crate) struct TimerHeap {
    heap: BinaryHeap<Scheduled>,
    /// Entries with the same time are called in the order in which they were added.
    added: u64,
    /// The number of entries at which the next search for cancelled ones begins.
    sweep_at: usize,
}

struct Scheduled {
    at: Duration,
    number: u64,
    period: Option<Duration>,
    entry: Arc<Entry>,
}

impl TimerHeap {
    pub(crate) fn add(&mut self, timer: NewTimer, now: Duration) {
        if timer.entry.is_over() {
            return;
        }
        if self.heap.len() >= self.sweep_at.max(SWEEP) {
            self.heap.retain(|scheduled| !scheduled.entry.is_over());
            self.sweep_at = 2 * self.heap.len();
        }
        self.push(now.saturating_add(timer.delay), timer.period, timer.entry);
    }

    fn push(&mut self, at: Duration, period: Option<Duration>, entry: Arc<Entry>) {
        self.added += 1;
        self.heap.push(Scheduled {
            at,
            number: self.added,
            period,
            entry,
        });
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// The time of the next call.
    #[inline]
    pub(crate) fn next(&self) -> Option<Duration> {
        self.heap.peek().map(|scheduled| scheduled.at)
    }

    /// Calls the next entry that is due. `None` if there is none; otherwise the result, with the panic of the
    /// function.
    pub(crate) fn call_next(&mut self, now: Duration) -> Option<Called> {
        if self.next()? > now {
            return None;
        }
        let Scheduled {
            at, period, entry, ..
        } = self.heap.pop()?;
        let result = entry.call();
        match period {
            // Missed calls are not repeated.
            Some(period) if !matches!(result, Ok(false)) && !entry.is_over() => {
                let next = at.saturating_add(period).max(now);
                self.push(next, Some(period), entry);
            }
            _ => entry.cancel(),
        }
        Some(result)
    }
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Scheduled) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Scheduled) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The earliest entry is the greatest, because the heap has the greatest on top.
impl Ord for Scheduled {
    fn cmp(&self, other: &Scheduled) -> std::cmp::Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};

    const MS: Duration = Duration::from_millis(1);

    struct Bench {
        timers: TimerHeap,
        count: Arc<AtomicUsize>,
        tell: Sender<usize>,
    }

    impl Bench {
        fn add(&mut self, what: usize, delay: u32, period: Option<u32>, now: u32) -> Arc<Entry> {
            let tell = self.tell.clone();
            let call = Box::new(move || tell.send(what).is_ok());
            let entry = Entry::new(call, &self.count, 1000).expect("room");
            let timer = NewTimer {
                delay: delay * MS,
                period: period.map(|period| period * MS),
                entry: entry.clone(),
            };
            self.timers.add(timer, now * MS);
            entry
        }

        fn run(&mut self, now: u32) {
            while let Some(result) = self.timers.call_next(now * MS) {
                result.expect("no panic");
            }
        }
    }

    #[test]
    fn calls_are_made_in_order_and_in_time() {
        let (tell, told) = channel();
        let count = Arc::default();
        let mut bench = Bench {
            timers: TimerHeap::default(),
            count,
            tell,
        };
        bench.add(3, 30, None, 0);
        bench.add(1, 10, None, 0);
        bench.add(2, 10, None, 0);
        let every = bench.add(9, 20, Some(20), 0);
        let never = bench.add(0, 15, None, 0);
        never.cancel();
        assert_eq!(bench.timers.next(), Some(10 * MS));
        bench.run(9);
        assert_eq!(told.try_iter().count(), 0, "never early");
        bench.run(30);
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [1, 2, 9, 3]);
        bench.run(40);
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [9]);
        // The calls at 60, 80 and 100 were missed.
        bench.run(105);
        assert_eq!(
            told.try_iter().count(),
            2,
            "one late call, and one for all that were missed"
        );
        assert_eq!(bench.timers.next(), Some(125 * MS));
        every.cancel();
        bench.run(1000);
        assert_eq!(told.try_iter().count(), 0);
        assert_eq!(bench.count.load(Ordering::Relaxed), 0);
        assert!(bench.timers.is_empty());
    }

    #[test]
    fn cancelled_entries_are_removed() {
        let (tell, _told) = channel();
        let mut bench = Bench {
            timers: TimerHeap::default(),
            count: Arc::default(),
            tell,
        };
        let kept: Vec<_> = (0..100).map(|n| bench.add(n, 1000, None, 0)).collect();
        for n in 0..100_000 {
            bench.add(n, 1000, None, 0).cancel();
        }
        assert!(
            bench.timers.heap.len() <= 300,
            "{}",
            bench.timers.heap.len()
        );
        assert_eq!(bench.count.load(Ordering::Relaxed), kept.len());
        let full = Entry::new(Box::new(|| true), &bench.count, kept.len());
        assert!(full.is_none() && bench.count.load(Ordering::Relaxed) == kept.len());
        drop((kept, bench.timers));
        assert_eq!(bench.count.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_panic_is_returned_and_ends_nothing() {
        let mut timers = TimerHeap::default();
        let mut calls = 0;
        let call = move || {
            calls += 1;
            assert!(calls != 2, "the second one");
            calls < 4
        };
        let entry = Entry::new(Box::new(call), &Arc::default(), 1).expect("room");
        timers.add(
            NewTimer {
                delay: MS,
                period: Some(MS),
                entry,
            },
            Duration::ZERO,
        );
        let mut call = |now: u32| timers.call_next(now * MS).expect("due").is_ok();
        assert_eq!(
            [call(1), call(2), call(3), call(4)],
            [true, false, true, true]
        );
        assert!(timers.is_empty(), "it has had enough");
    }
}
