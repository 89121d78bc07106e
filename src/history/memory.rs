//! A log in memory.

use super::log::{Entry, Feed, Log, LogError, LogMessage, Read, ReadDone, Start};
use super::position::Position;
use crate::http::deferred::Held;
use crate::shared::sparse::shrink;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

peregrine_protocol::settings! {
    /// Limits of a [`MemoryLog`]. The table in [`Config`](crate::Config#limits) has them too.
    ///
    /// ```
    /// use peregrine::history::{MemoryLog, MemoryLogLimits};
    ///
    /// let log = MemoryLog::with_limits(MemoryLogLimits::default().messages(1000));
    /// # let _ = log;
    /// ```
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct MemoryLogLimits {
        /// Number of messages that a topic keeps. Above it, its oldest one is dropped.
        pub messages: usize = 300;
        /// Bytes of the messages that a topic keeps, and 80 more for each message. Above it, its oldest one is dropped.
        pub bytes: usize = 1_048_576;
        /// How long a message is kept. Older ones cannot be read. The history looks for them every 30 s and frees their
        /// memory.
        pub ttl: Duration = Duration::from_secs(300) => "300 s";
        /// Number of topics. Above it, the topic to which nothing was published for longest is forgotten.
        pub topics: usize = 10_000;
        /// Bytes in memory: of all messages as above and of places that lists have in reserve, of each topic 320 and its
        /// name, and of each topic with subscribers 112 and its name. Above it, the messages of the topic to which nothing was
        /// published for longest are dropped, and then the topic is forgotten.
        pub total_bytes: usize = 67_108_864;
    }
}

/// Keeps messages in the memory of the process. Clones are the same log.
///
/// When the process ends, all messages are gone. The next process has another epoch, so clients are told.
///
/// ```
/// use peregrine::history::{History, MemoryLog};
/// use peregrine::sse::EventHub;
///
/// let history = History::builder(MemoryLog::new()).events(&EventHub::new()).build();
/// history.publish("news", "one").expect("short enough");
/// ```
#[derive(Clone)]
pub struct MemoryLog(Arc<Inner>);

struct Inner {
    limits: MemoryLogLimits,
    epoch: u64,
    /// Taken before `kept`. While it is held, the next message gets its offset and is delivered: all subscribers get
    /// messages in the order of their offsets.
    order: Mutex<Vec<Feed>>,
    kept: Mutex<Kept>,
}

/// Bytes that a message takes besides its own: its place in a list, the counts of its `Arc`, and what the allocator adds.
const MESSAGE: usize = 80;
const PLACE: usize = size_of::<(Instant, Entry)>();
/// Bytes that a topic takes besides its name and messages: its places in three maps, and the counts of its name.
const TOPIC: usize = 320;
/// The same for a topic in the map of those that are followed.
const FOLLOWED: usize = 112;

#[derive(Default)]
struct Kept {
    topics: HashMap<Arc<str>, Topic>,
    /// By [`Topic::turn`]: all topics.
    turns: BTreeMap<u64, Arc<str>>,
    /// By [`Topic::turn`]: topics that have messages.
    loaded: BTreeMap<u64, Arc<str>>,
    /// Topics with subscribers.
    followed: HashMap<Arc<str>, Followed>,
    /// Number of messages so far.
    turn: u64,
    /// Bytes in memory of all of this.
    held: usize,
    /// The highest offset of the topics that are forgotten. Others begin here, so no offset comes twice.
    floor: u64,
}

/// A topic of which a history has told its subscribers the position.
struct Followed {
    histories: usize,
    /// Where the topic begins again if it is not in [`Kept::topics`]: the subscribers miss nothing then.
    last: u64,
}

#[derive(Default)]
struct Topic {
    last: u64,
    entries: VecDeque<(Instant, Entry)>,
    /// Of the messages, with [`MESSAGE`] for each.
    bytes: usize,
    /// When the last message came, by the count of all messages.
    turn: u64,
}

impl Topic {
    /// Bytes in memory, without the name.
    fn held(&self) -> usize {
        TOPIC + self.bytes + (self.entries.capacity() - self.entries.len()) * PLACE
    }

    fn push(&mut self, entry: Entry, now: Instant) {
        self.bytes += entry.message.len() + MESSAGE;
        self.entries.push_back((now, entry));
    }

    fn drop_first(&mut self) {
        if let Some((_, entry)) = self.entries.pop_front() {
            self.bytes -= entry.message.len() + MESSAGE;
        }
    }

    /// Drops what is too old or too much.
    fn trim(&mut self, limits: &MemoryLogLimits, now: Instant) {
        let is_old = |came: Instant| now.saturating_duration_since(came) >= limits.ttl;
        while self.entries.front().is_some_and(|(came, _)| is_old(*came))
            || self.entries.len() > limits.messages
            || self.bytes > limits.bytes
        {
            self.drop_first();
        }
        if 4 * self.entries.len() < self.entries.capacity() {
            self.entries.shrink_to(2 * self.entries.len());
        }
    }

    fn clear(&mut self) {
        self.entries = VecDeque::new();
        self.bytes = 0;
    }
}

impl Default for MemoryLog {
    fn default() -> MemoryLog {
        MemoryLog::new()
    }
}

impl MemoryLog {
    /// An empty log with the default limits.
    pub fn new() -> MemoryLog {
        MemoryLog::with_limits(MemoryLogLimits::default())
    }

    /// An empty log.
    pub fn with_limits(limits: MemoryLogLimits) -> MemoryLog {
        MemoryLog(Arc::new(Inner {
            limits,
            epoch: RandomState::new().hash_one("epoch").max(1),
            order: Mutex::default(),
            kept: Mutex::default(),
        }))
    }

    /// Bytes in memory, as [`MemoryLogLimits::total_bytes`] counts them.
    pub fn bytes(&self) -> usize {
        self.kept().held
    }

    /// Number of topics that are known.
    pub fn topics(&self) -> usize {
        self.kept().topics.len()
    }

    /// No call leaves it half changed.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append_at(&self, topic: &str, message: &LogMessage, now: Instant) -> Position {
        let mut kept = self.kept();
        let offset = kept.append(topic, message, &self.0.limits, now);
        Position {
            epoch: self.0.epoch,
            offset,
        }
    }

    fn since_at(&self, topic: &str, start: Start, limit: usize, now: Instant) -> Read {
        let mut kept = self.kept();
        let position = |offset| Position {
            epoch: self.0.epoch,
            offset,
        };
        kept.change(topic, |topic| topic.trim(&self.0.limits, now));
        let Some(topic) = kept.topics.get(topic) else {
            let last = position(kept.begins(topic));
            return match start {
                Start::After(seen) if seen != last => Read::Lost { last },
                _ => Read::Recovered {
                    entries: Vec::new(),
                    last,
                },
            };
        };
        let last = position(topic.last);
        let count = match start {
            Start::Now => 0,
            Start::Last(most) => most.min(limit).min(topic.entries.len()),
            Start::After(seen) => {
                let missed = last.offset.checked_sub(seen.offset);
                let missed = missed.and_then(|missed| usize::try_from(missed).ok());
                match missed.filter(|missed| *missed <= limit.min(topic.entries.len())) {
                    Some(missed) if seen.epoch == last.epoch => missed,
                    _ => return Read::Lost { last },
                }
            }
        };
        let entries = topic.entries.iter().skip(topic.entries.len() - count);
        Read::Recovered {
            entries: entries.map(|(_, entry)| entry.clone()).collect(),
            last,
        }
    }
}

impl Kept {
    /// The offset before the first message of a topic that is not known.
    fn begins(&self, name: &str) -> u64 {
        let followed = self.followed.get(name);
        followed.map_or(self.floor, |followed| followed.last)
    }

    /// Changes the messages of a topic, if it is known.
    fn change(&mut self, name: &str, act: impl FnOnce(&mut Topic)) {
        if let Some(topic) = self.topics.get_mut(name) {
            self.held -= topic.held();
            act(topic);
            self.held += topic.held();
        }
    }

    fn append(
        &mut self,
        name: &str,
        message: &LogMessage,
        limits: &MemoryLogLimits,
        now: Instant,
    ) -> u64 {
        self.turn += 1;
        let (turn, last) = (self.turn, self.begins(name));
        let name: Arc<str> = match self.topics.get_key_value(name) {
            Some((name, _)) => name.clone(),
            None => name.into(),
        };
        let topic = self.topics.entry(name.clone()).or_insert_with(|| {
            let topic = Topic {
                last,
                ..Topic::default()
            };
            self.held += topic.held() + name.len();
            topic
        });
        self.turns.remove(&topic.turn);
        self.loaded.remove(&topic.turn);
        topic.turn = turn;
        topic.last += 1;
        let offset = topic.last;
        let message = message.clone();
        self.change(&name, |topic| {
            topic.push(Entry { offset, message }, now);
            topic.trim(limits, now);
        });
        self.turns.insert(turn, name.clone());
        self.loaded.insert(turn, name);
        self.make_room(limits, now);
        offset
    }

    fn make_room(&mut self, limits: &MemoryLogLimits, now: Instant) {
        // Of those that were silent for longest.
        while let Some((_, name)) = self.loaded.first_key_value() {
            let (name, mut is_empty) = (name.clone(), false);
            let is_over = self.held > limits.total_bytes;
            self.change(&name, |topic| {
                topic.trim(limits, now);
                if is_over {
                    topic.clear();
                }
                is_empty = topic.entries.is_empty();
            });
            if !is_empty {
                break;
            }
            self.loaded.pop_first();
        }
        while self.topics.len() > limits.topics || self.held > limits.total_bytes {
            if !self.forget_first() {
                break;
            }
        }
    }

    /// Forgets the topic that was silent for longest.
    fn forget_first(&mut self) -> bool {
        let Some((turn, name)) = self.turns.pop_first() else {
            return false;
        };
        self.loaded.remove(&turn);
        if let Some(topic) = self.topics.remove(&name) {
            self.held -= topic.held() + name.len();
            self.floor = self.floor.max(topic.last);
            if let Some(followed) = self.followed.get_mut(&name) {
                followed.last = topic.last;
            }
        }
        shrink(&mut self.topics);
        true
    }

    /// Drops what is too old.
    fn sweep(&mut self, limits: &MemoryLogLimits, now: Instant) {
        let Kept {
            topics,
            loaded,
            held,
            ..
        } = self;
        loaded.retain(|_, name| {
            let Some(topic) = topics.get_mut(name) else {
                return false;
            };
            *held -= topic.held();
            topic.trim(limits, now);
            *held += topic.held();
            !topic.entries.is_empty()
        });
    }

    fn follow(&mut self, name: &str) {
        let last = self.floor;
        let followed = self.followed.entry(name.into()).or_insert_with(|| {
            self.held += FOLLOWED + name.len();
            Followed { histories: 0, last }
        });
        followed.histories += 1;
    }

    fn unfollow(&mut self, name: &str) {
        let Some(followed) = self.followed.get_mut(name) else {
            return;
        };
        followed.histories -= 1;
        if followed.histories == 0 {
            self.followed.remove(name);
            self.held -= FOLLOWED + name.len();
            shrink(&mut self.followed);
        }
    }
}

impl Log for MemoryLog {
    fn start(&self, feed: Feed) {
        let mut feeds = self.0.order.lock().unwrap_or_else(PoisonError::into_inner);
        feeds.retain(|feed| !feed.is_closed());
        feeds.push(feed);
    }

    fn append(&self, topic: &str, message: LogMessage) -> Result<(), LogError> {
        if Held::is_held() {
            return Err(LogError::WithinFormat);
        }
        let held = Held::begin();
        let feeds = self.0.order.lock().unwrap_or_else(PoisonError::into_inner);
        let position = self.append_at(topic, &message, Instant::now());
        for feed in &*feeds {
            feed.deliver(topic, position, message.clone());
        }
        drop(feeds);
        drop(held);
        Ok(())
    }

    fn since(&self, topic: &str, start: Start, limit: usize, done: ReadDone) {
        let read = self.since_at(topic, start, limit, Instant::now());
        done(Ok(read));
    }

    fn follow(&self, topic: &str) {
        self.kept().follow(topic);
    }

    fn unfollow(&self, topic: &str) {
        self.kept().unfollow(topic);
    }

    fn sweep(&self) {
        self.kept().sweep(&self.0.limits, Instant::now());
    }
}

impl std::fmt::Debug for MemoryLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryLog")
            .field("topics", &self.topics())
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
