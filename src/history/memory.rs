//! A log in memory.

use super::log::{Entry, Feed, Log, LogError, LogMessage, Read, ReadDone, Start};
use super::position::Position;
use crate::http::deferred::Held;
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
        /// Bytes of the messages that a topic keeps. Above it, its oldest one is dropped.
        pub bytes: usize = 1_048_576;
        /// How long a message is kept.
        pub ttl: Duration = Duration::from_secs(300) => "300 s";
        /// Number of topics. Above it, the topic to which nothing was published for longest is forgotten.
        pub topics: usize = 10_000;
        /// Bytes of all messages. Above it, the messages of the topic to which nothing was published for longest are
        /// dropped.
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

#[derive(Default)]
struct Kept {
    topics: HashMap<Arc<str>, Topic>,
    /// By [`Topic::turn`]: all topics.
    turns: BTreeMap<u64, Arc<str>>,
    /// By [`Topic::turn`]: topics that have messages.
    loaded: BTreeMap<u64, Arc<str>>,
    /// Number of messages so far.
    turn: u64,
    /// Of all messages.
    bytes: usize,
    /// The highest offset of the topics that are forgotten. Others begin here, so no offset comes twice.
    floor: u64,
}

#[derive(Default)]
struct Topic {
    last: u64,
    entries: VecDeque<(Instant, Entry)>,
    bytes: usize,
    /// When the last message came, by the count of all messages.
    turn: u64,
}

impl Topic {
    fn drop_first(&mut self) -> usize {
        let bytes = self.entries.pop_front();
        let bytes = bytes.map_or(0, |(_, entry)| entry.message.len());
        self.bytes -= bytes;
        bytes
    }

    fn expire(&mut self, ttl: Duration, now: Instant) -> usize {
        let mut bytes = 0;
        while let Some((came, _)) = self.entries.front() {
            if now.saturating_duration_since(*came) < ttl {
                break;
            }
            bytes += self.drop_first();
        }
        bytes
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

    /// Bytes of the messages that are kept.
    pub fn bytes(&self) -> usize {
        self.kept().bytes
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
        let kept = &mut *kept;
        let Some(topic) = kept.topics.get_mut(topic) else {
            let last = position(kept.floor);
            return match start {
                Start::After(seen) if seen != last => Read::Lost { last },
                _ => Read::Recovered {
                    entries: Vec::new(),
                    last,
                },
            };
        };
        kept.bytes -= topic.expire(self.0.limits.ttl, now);
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
    fn append(
        &mut self,
        name: &str,
        message: &LogMessage,
        limits: &MemoryLogLimits,
        now: Instant,
    ) -> u64 {
        self.turn += 1;
        let (turn, floor) = (self.turn, self.floor);
        let name: Arc<str> = match self.topics.get_key_value(name) {
            Some((name, _)) => name.clone(),
            None => name.into(),
        };
        let topic = self.topics.entry(name.clone()).or_insert_with(|| Topic {
            last: floor,
            ..Topic::default()
        });
        self.turns.remove(&topic.turn);
        self.loaded.remove(&topic.turn);
        topic.turn = turn;
        topic.last += 1;
        let offset = topic.last;
        topic.bytes += message.len();
        self.bytes += message.len();
        let message = message.clone();
        topic.entries.push_back((now, Entry { offset, message }));
        self.bytes -= topic.expire(limits.ttl, now);
        while topic.entries.len() > limits.messages || topic.bytes > limits.bytes {
            self.bytes -= topic.drop_first();
        }
        self.turns.insert(turn, name.clone());
        self.loaded.insert(turn, name);
        self.make_room(limits, now);
        offset
    }

    fn make_room(&mut self, limits: &MemoryLogLimits, now: Instant) {
        while let Some((&turn, name)) = self.loaded.first_key_value() {
            let topic = self.topics.get_mut(name);
            let Some(topic) = topic else { break };
            self.bytes -= topic.expire(limits.ttl, now);
            if self.bytes > limits.total_bytes {
                self.bytes -= std::mem::take(&mut topic.bytes);
                topic.entries = VecDeque::new();
            }
            if !topic.entries.is_empty() {
                break;
            }
            self.loaded.remove(&turn);
        }
        while self.topics.len() > limits.topics {
            let Some((turn, name)) = self.turns.pop_first() else {
                break;
            };
            self.loaded.remove(&turn);
            if let Some(topic) = self.topics.remove(&name) {
                self.bytes -= topic.bytes;
                self.floor = self.floor.max(topic.last);
            }
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
mod tests {
    use super::*;

    fn texts(read: Read) -> Option<Vec<String>> {
        let Read::Recovered { entries, last } = read else {
            return None;
        };
        // Without a gap, and the last one is at the end.
        for (n, entry) in entries.iter().rev().enumerate() {
            assert_eq!(entry.offset + n as u64, last.offset);
        }
        let text = |entry: &Entry| entry.message.as_text().expect("a text").to_owned();
        Some(entries.iter().map(text).collect())
    }

    fn filled(limits: MemoryLogLimits, messages: &[&str]) -> (MemoryLog, Vec<Position>, Instant) {
        let (log, now) = (MemoryLog::with_limits(limits), Instant::now());
        let positions = messages
            .iter()
            .map(|text| log.append_at("t", &(*text).into(), now));
        let positions = positions.collect();
        (log, positions, now)
    }

    #[test]
    fn what_was_missed_is_complete_or_lost() {
        let (log, at, now) = filled(
            MemoryLogLimits::default().messages(3),
            &["a", "b", "c", "d", "e"],
        );
        let since = |start, limit| texts(log.since_at("t", start, limit, now));
        let is = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect());
        assert_eq!(since(Start::Now, 9), is(&[]));
        assert_eq!(since(Start::Last(2), 9), is(&["d", "e"]));
        assert_eq!(since(Start::Last(9), 9), is(&["c", "d", "e"]));
        assert_eq!(since(Start::Last(9), 1), is(&["e"]));
        assert_eq!(since(Start::After(at[4]), 9), is(&[]));
        assert_eq!(since(Start::After(at[3]), 0), None, "more than the limit");
        assert_eq!(since(Start::After(at[3]), 1), is(&["e"]));
        assert_eq!(since(Start::After(at[1]), 9), is(&["c", "d", "e"]));
        assert_eq!(since(Start::After(at[0]), 9), None, "b is gone");
        let ahead = Position { offset: 6, ..at[4] };
        let other = Position {
            epoch: at[4].epoch ^ 1,
            ..at[4]
        };
        for unknown in [
            ahead,
            other,
            Position::UNKNOWN,
            Position {
                offset: u64::MAX,
                ..at[4]
            },
        ] {
            assert_eq!(since(Start::After(unknown), usize::MAX), None, "{unknown}");
        }
        let none = log.since_at("other", Start::Last(1), 9, now);
        let begin = Position { offset: 0, ..at[0] };
        assert_eq!(
            none,
            Read::Recovered {
                entries: Vec::new(),
                last: begin
            }
        );
        assert_eq!(
            texts(log.since_at("other", Start::After(begin), 9, now)),
            is(&[])
        );
        assert_eq!(
            texts(log.since_at("other", Start::After(at[0]), 9, now)),
            None
        );
    }

    #[test]
    fn the_messages_of_a_topic_are_limited() {
        let (log, _, now) = filled(
            MemoryLogLimits::default().bytes(4),
            &["aa", "bb", "ccc", "d"],
        );
        assert_eq!(
            (
                texts(log.since_at("t", Start::Last(9), 9, now)),
                log.bytes()
            ),
            (Some(vec!["ccc".into(), "d".into()]), 4)
        );
        log.append_at("t", &"too long".into(), now);
        assert_eq!(
            (
                texts(log.since_at("t", Start::Last(9), 9, now)),
                log.bytes()
            ),
            (Some(vec![]), 0)
        );
        let (log, at, now) = filled(MemoryLogLimits::default().messages(0), &["a", "b"]);
        assert_eq!(
            (
                texts(log.since_at("t", Start::After(at[1]), 9, now)),
                log.bytes()
            ),
            (Some(vec![]), 0)
        );
        assert_eq!(texts(log.since_at("t", Start::After(at[0]), 9, now)), None);
    }

    #[test]
    fn messages_are_kept_for_their_time() {
        let ttl = Duration::from_secs(10);
        let (log, at, now) = filled(MemoryLogLimits::default().ttl(ttl), &["a", "b"]);
        let later = now + Duration::from_secs(5);
        log.append_at("t", &"c".into(), later);
        assert_eq!(
            texts(log.since_at("t", Start::After(at[0]), 9, later)).map(|t| t.len()),
            Some(2)
        );
        let end = now + ttl;
        assert_eq!(texts(log.since_at("t", Start::After(at[0]), 9, end)), None);
        assert_eq!(
            texts(log.since_at("t", Start::After(at[1]), 9, end)),
            Some(vec!["c".into()])
        );
        // Those of another topic are dropped with the next message of any.
        log.append_at("other", &"d".into(), later + ttl);
        assert_eq!(log.bytes(), 1);
        let (log, at, now) = filled(MemoryLogLimits::default().ttl(Duration::ZERO), &["a"]);
        assert_eq!(
            texts(log.since_at("t", Start::After(at[0]), 9, now)),
            Some(vec![])
        );
        assert_eq!(log.bytes(), 0);
    }

    #[test]
    fn topics_are_limited_and_no_offset_comes_twice() {
        let (log, now) = (
            MemoryLog::with_limits(MemoryLogLimits::default().topics(2)),
            Instant::now(),
        );
        let append = |topic: &str| log.append_at(topic, &"x".into(), now);
        let (_, a, _, b) = (append("a"), append("a"), append("b"), append("b"));
        append("a");
        append("c");
        assert_eq!((log.topics(), log.bytes()), (2, 4), "b is forgotten");
        let since =
            |topic: &str, position| texts(log.since_at(topic, Start::After(position), 9, now));
        assert_eq!(since("b", b), Some(vec![]), "nothing was missed");
        assert_eq!(since("a", a).map(|texts| texts.len()), Some(1));
        let b = append("b");
        assert_eq!(b.offset, 3, "after the last one that was forgotten");
        let a = append("a");
        assert_eq!(a.offset, 4, "c went");
        let (log, now) = (
            MemoryLog::with_limits(MemoryLogLimits::default().topics(0)),
            Instant::now(),
        );
        assert_ne!(
            log.append_at("a", &"x".into(), now),
            log.append_at("a", &"x".into(), now)
        );
        assert_eq!((log.topics(), log.bytes()), (0, 0));
    }

    #[test]
    fn the_bytes_of_all_topics_are_limited() {
        let (log, now) = (
            MemoryLog::with_limits(MemoryLogLimits::default().total_bytes(5)),
            Instant::now(),
        );
        let append = |topic: &str, text: &str| log.append_at(topic, &text.into(), now);
        append("a", "aa");
        append("b", "bb");
        append("a", "a");
        append("c", "c");
        assert_eq!(log.bytes(), 4, "b had waited longest");
        append("d", "123456");
        assert_eq!((log.bytes(), log.topics()), (0, 4));
        assert!(log.kept().loaded.is_empty());
    }
}
