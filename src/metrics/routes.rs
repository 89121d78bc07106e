//! Requests by route.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The most patterns that are counted, each on its own. With 8 bytes each, it bounds the memory for each worker.
pub(crate) const MOST: usize = 256;

/// Stands for all patterns above [`MOST`]. No pattern is so.
const OTHERS: &str = "*";

/// The patterns of the program, by their number.
static PATTERNS: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());

/// Numbers a pattern. Those above [`MOST`] share a number.
pub(crate) fn register(pattern: &'static str) -> usize {
    add(&mut patterns(), pattern)
}

fn add(patterns: &mut Vec<&'static str>, pattern: &'static str) -> usize {
    if patterns.len() < MOST {
        patterns.push(pattern);
        return patterns.len() - 1;
    }
    MOST
}

fn patterns() -> MutexGuard<'static, Vec<&'static str>> {
    PATTERNS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The requests of one worker by the number of their pattern. Threads of a pool add to them, too.
#[derive(Debug)]
pub(crate) struct RouteCounters([AtomicU64; MOST + 1]);

impl Default for RouteCounters {
    fn default() -> RouteCounters {
        RouteCounters(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl RouteCounters {
    #[inline]
    pub(crate) fn count(&self, number: usize) {
        if let Some(counter) = self.0.get(number) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The sums of all patterns that have requests, the most frequent one first.
pub(super) fn sums<'a>(all: impl Iterator<Item = &'a RouteCounters>) -> Vec<(&'static str, u64)> {
    sums_of(&patterns(), all)
}

/// The same, with these patterns.
fn sums_of<'a>(
    patterns: &[&'static str],
    all: impl Iterator<Item = &'a RouteCounters>,
) -> Vec<(&'static str, u64)> {
    let mut sums = vec![0; MOST + 1];
    for counters in all {
        for (sum, counter) in sums.iter_mut().zip(&counters.0) {
            *sum += counter.load(Ordering::Relaxed);
        }
    }
    let counted = sums.into_iter().enumerate().filter(|(_, sum)| *sum > 0);
    let pattern = |at| patterns.get(at).copied().unwrap_or(OTHERS);
    let mut routes: Vec<_> = counted.map(|(at, sum)| (pattern(at), sum)).collect();
    routes.sort_by_key(|(pattern, sum)| (std::cmp::Reverse(*sum), *pattern));
    routes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_patterns_that_are_counted_are_bounded() {
        // A list of its own: other tests register patterns of the program meanwhile.
        let mut patterns = Vec::new();
        let first = add(&mut patterns, "/first");
        for _ in 0..MOST {
            add(&mut patterns, "/one-of-many");
        }
        assert_eq!(add(&mut patterns, "/too-late"), MOST);
        let workers = [RouteCounters::default(), RouteCounters::default()];
        workers[0].count(first);
        workers[1].count(first);
        workers[1].count(MOST);
        workers[0].count(usize::MAX);
        assert_eq!(
            sums_of(&patterns, workers.iter()),
            [("/first", 2), (OTHERS, 1)]
        );
    }
}
