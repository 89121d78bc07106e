//! Which topics have subscribers in this process.
//!
//! A hub reports the first and the last subscriber of a topic on one thread, or on all threads if it has one table. Here
//! these are counted for the process. A relay hears of the first one at once. It hears of the last one after a time, so that
//! a page that loads again changes nothing.

use crate::shared::panic_guard::catch;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So threads that subscribe to different topics rarely wait for each other.
const SHARDS: usize = 16;

/// The most topics that wait to be left. Above it the oldest ones are left early.
const MOST_LEAVING: usize = 1 << 16;

/// What is told of a topic. A panic of it is dropped.
pub(super) trait Told {
    fn subscribed(&self, topic: &str);
    fn unsubscribed(&self, topic: &str);
}

pub(super) struct Interest {
    hasher: RandomState,
    shards: [Mutex<HashMap<Arc<str>, Entry>>; SHARDS],
    leaving: Mutex<Leaving>,
    /// Tells the thread that waits in [`Interest::wait`] of a topic to be left, or of the end.
    changed: Condvar,
    linger: Duration,
}

/// A topic that was told as subscribed.
struct Entry {
    /// How many threads or tables of hubs have subscribers of it.
    count: usize,
    /// When the last one has gone.
    since: Option<Instant>,
    /// Whether it is in [`Leaving::queue`], where it is at most once.
    is_leaving: bool,
}

#[derive(Default)]
struct Leaving {
    /// With the time at which to look whether it has still no subscriber.
    queue: VecDeque<(Instant, Arc<str>)>,
    is_over: bool,
}

impl Interest {
    pub(super) fn new(linger: Duration) -> Interest {
        Interest {
            hasher: RandomState::new(),
            shards: Default::default(),
            leaving: Mutex::default(),
            changed: Condvar::new(),
            linger,
        }
    }

    /// A thread has a subscriber of the topic now.
    pub(super) fn add(&self, topic: &Arc<str>, told: &impl Told) {
        let mut shard = self.shard(topic);
        let entry = shard.entry(topic.clone()).or_insert_with(|| {
            tell(|| told.subscribed(topic));
            Entry {
                count: 0,
                since: None,
                is_leaving: false,
            }
        });
        entry.count += 1;
        entry.since = None;
    }

    /// A thread has no subscriber of the topic any more.
    pub(super) fn remove(&self, topic: &Arc<str>, now: Instant) {
        let mut shard = self.shard(topic);
        let Some(entry) = shard.get_mut(topic) else {
            debug_assert!(false, "added before");
            return;
        };
        entry.count = entry.count.saturating_sub(1);
        if entry.count > 0 {
            return;
        }
        entry.since = Some(now);
        if !std::mem::replace(&mut entry.is_leaving, true) {
            self.push(now, topic.clone());
        }
    }

    fn push(&self, now: Instant, topic: Arc<str>) {
        let at = self.due(now);
        let mut leaving = lock(&self.leaving);
        leaving.queue.push_back((at, topic));
        if leaving.queue.len() == 1 || leaving.queue.len() > MOST_LEAVING {
            self.changed.notify_one();
        }
    }

    /// Leaves the topics whose time has come. Returns when to call it again; `None` if none waits.
    pub(super) fn leave(&self, now: Instant, told: &impl Told) -> Option<Instant> {
        loop {
            let mut leaving = lock(&self.leaving);
            let &(at, _) = leaving.queue.front()?;
            let is_crowded = leaving.queue.len() > MOST_LEAVING;
            if at > now && !is_crowded {
                return Some(at);
            }
            let (_, topic) = leaving.queue.pop_front()?;
            drop(leaving);
            let mut shard = self.shard(&topic);
            let Some(entry) = shard.get_mut(&topic) else {
                continue;
            };
            let is_due = |since| is_crowded || self.due(since) <= now;
            match entry.since {
                None => entry.is_leaving = false,
                // A subscriber came and went in the meantime.
                Some(since) if !is_due(since) => self.push(since, topic.clone()),
                Some(_) => {
                    shard.remove(&topic);
                    tell(|| told.unsubscribed(&topic));
                }
            }
        }
    }

    /// When a topic is left whose last subscriber has gone at this time. A time that never comes is one in thirty years.
    fn due(&self, since: Instant) -> Instant {
        let far = Duration::from_secs(1_000_000_000);
        since.checked_add(self.linger).unwrap_or(since + far)
    }

    /// Waits until this time or until something changes. False when it is over.
    pub(super) fn wait(&self, until: Option<Instant>) -> bool {
        let leaving = lock(&self.leaving);
        if leaving.is_over {
            return false;
        }
        // What came between the last look and this wait is seen at the next look.
        let is_new = until.is_none() && !leaving.queue.is_empty();
        let is_crowded = leaving.queue.len() > MOST_LEAVING;
        if is_new || is_crowded {
            return true;
        }
        let leaving = match until {
            None => self.changed.wait(leaving),
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now());
                self.changed
                    .wait_timeout(leaving, left)
                    .map(|(guard, _)| guard)
                    .map_err(|error| PoisonError::new(error.into_inner().0))
            }
        };
        !leaving.unwrap_or_else(PoisonError::into_inner).is_over
    }

    /// Ends the thread that waits.
    pub(super) fn end(&self) {
        lock(&self.leaving).is_over = true;
        self.changed.notify_all();
    }

    fn shard(&self, topic: &Arc<str>) -> MutexGuard<'_, HashMap<Arc<str>, Entry>> {
        let hash = self.hasher.hash_one(&**topic);
        lock(&self.shards[hash as usize % SHARDS])
    }
}

/// The entry of the topic has to be put in place, whatever the relay does.
fn tell(call: impl FnOnce()) {
    drop(catch(call));
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Seen(Mutex<Vec<String>>);

    impl Told for Seen {
        fn subscribed(&self, topic: &str) {
            lock(&self.0).push(format!("+{topic}"));
        }

        fn unsubscribed(&self, topic: &str) {
            lock(&self.0).push(format!("-{topic}"));
            assert_ne!(topic, "panic");
        }
    }

    impl Seen {
        fn take(&self) -> Vec<String> {
            std::mem::take(&mut lock(&self.0))
        }
    }

    const LINGER: Duration = Duration::from_secs(5);

    #[test]
    fn the_first_is_told_at_once_and_the_last_after_a_time() {
        let (interest, seen, start) = (Interest::new(LINGER), Seen::default(), Instant::now());
        let at = |secs| start + Duration::from_secs(secs);
        let topic: Arc<str> = "a".into();
        interest.add(&topic, &seen);
        interest.add(&topic, &seen);
        assert_eq!(seen.take(), ["+a"]);
        interest.remove(&topic, at(0));
        assert_eq!(interest.leave(at(100), &seen), None, "one thread is left");
        interest.remove(&topic, at(100));
        assert_eq!(interest.leave(at(104), &seen), Some(at(105)));
        assert_eq!(seen.take(), [""; 0]);
        // A page loads again: nothing is told.
        interest.add(&topic, &seen);
        assert_eq!(interest.leave(at(105), &seen), None);
        // Flapping takes one place in the queue, and the last time counts.
        for secs in [106, 107, 108] {
            interest.remove(&topic, at(secs));
            interest.add(&topic, &seen);
        }
        interest.remove(&topic, at(109));
        assert_eq!(lock(&interest.leaving).queue.len(), 1);
        assert_eq!(interest.leave(at(111), &seen), Some(at(114)));
        assert_eq!(seen.take(), [""; 0]);
        assert_eq!(interest.leave(at(114), &seen), None);
        assert_eq!(seen.take(), ["-a"]);
        interest.add(&topic, &seen);
        assert_eq!(seen.take(), ["+a"]);
    }

    #[test]
    fn a_relay_that_panics_leaves_the_counts_as_they_are() {
        let (interest, seen, start) = (
            Interest::new(Duration::ZERO),
            Seen::default(),
            Instant::now(),
        );
        let topic: Arc<str> = "panic".into();
        for _ in 0..2 {
            interest.add(&topic, &seen);
            interest.remove(&topic, start);
            assert_eq!(interest.leave(start, &seen), None);
            assert_eq!(seen.take(), ["+panic", "-panic"]);
        }
    }

    #[test]
    fn topics_that_wait_are_limited() {
        for linger in [LINGER, Duration::MAX] {
            limited(linger);
        }
    }

    fn limited(linger: Duration) {
        let (interest, seen, start) = (Interest::new(linger), Seen::default(), Instant::now());
        let extra = 10;
        for n in 0..MOST_LEAVING + extra {
            let topic: Arc<str> = n.to_string().into();
            interest.add(&topic, &seen);
            interest.remove(&topic, start);
        }
        seen.take();
        assert_eq!(interest.leave(start, &seen), Some(interest.due(start)));
        assert_eq!(seen.take().len(), extra);
        assert!(interest.wait(None) && interest.wait(Some(start)));
        interest.end();
        assert!(!interest.wait(None));
    }
}
