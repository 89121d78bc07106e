//! A log over Redis Streams.

use crate::Inner;
use crate::driver::{Part, Refused};
use crate::resp::Value;
use crate::scripts;
use peregrine::history::{Entry, Feed, Log, LogError, LogMessage, Position, Read, ReadDone, Start};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a topic keeps its epoch and last offset after its last message, and after a read behind it; at least
/// [`Config::ttl`](crate::Config::ttl).
const META: Duration = Duration::from_secs(24 * 60 * 60);

/// The same for a topic that has had no message. A client that reads topics that do not exist fills Redis for this time.
const META_EMPTY: Duration = Duration::from_secs(60 * 60);

/// Bytes of the reply of a read that are not messages.
pub(crate) const REST: usize = 200;

/// Keeps the messages of topics in Redis, for all processes with the same prefix. [`Redis::log`](crate::Redis::log) makes it.
///
/// One script appends a message to a stream and publishes it. A process gets the messages of topics that have subscribers
/// there. When it was cut off, it reads what it has missed.
#[derive(Clone)]
pub struct RedisLog(pub(crate) Arc<Inner>);

#[derive(Default)]
pub(crate) struct LogState {
    feeds: Mutex<Vec<Feed>>,
    /// Number of histories that follow a topic. It is locked while the channel is subscribed or left, so that this is in order.
    followed: Mutex<HashMap<String, usize>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LogState {
    fn feeds(&self) -> Vec<Feed> {
        let mut feeds = lock(&self.feeds);
        feeds.retain(|feed| !feed.is_closed());
        feeds.clone()
    }

    /// Messages may be missing, and can be read now.
    pub(crate) fn connected(&self) {
        self.feeds().iter().for_each(Feed::interrupted);
    }

    pub(crate) fn message(&self, topic: &str, message: &[u8]) {
        if let Some((position, message)) = published(message) {
            for feed in self.feeds() {
                feed.deliver(topic, position, message.clone());
            }
        }
    }
}

/// The first byte of a message in Redis.
fn mark(message: &LogMessage) -> u8 {
    match message {
        LogMessage::Text(_) => b't',
        LogMessage::Binary(_) => b'b',
    }
}

fn encode(message: &LogMessage) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + message.len());
    bytes.push(mark(message));
    bytes.extend_from_slice(message.as_bytes());
    bytes
}

/// `None` if it is no message: another program writes to the same keys.
fn decode(bytes: &[u8]) -> Option<LogMessage> {
    match bytes.split_first()? {
        (b't', text) => Some(std::str::from_utf8(text).ok()?.into()),
        (b'b', bytes) => Some(bytes.into()),
        _ => None,
    }
}

fn epoch(text: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok()
}

/// Epoch, offset and message, joined by colons.
fn published(bytes: &[u8]) -> Option<(Position, LogMessage)> {
    let mut parts = bytes.splitn(3, |b| *b == b':');
    let position = Position {
        epoch: epoch(parts.next()?)?,
        offset: std::str::from_utf8(parts.next()?).ok()?.parse().ok()?,
    };
    Some((position, decode(parts.next()?)?))
}

/// The reply of the script that reads.
fn found(reply: &Value, start: Start) -> Option<Read> {
    let [first, offset, entries] = reply.as_array()? else {
        return None;
    };
    let last = Position {
        epoch: epoch(first.as_bytes()?)?,
        offset: offset.as_u64()?,
    };
    let Some(entries) = entries.as_array() else {
        return Some(Read::Lost { last });
    };
    let entry = |entry: &Value| {
        let [id, fields] = entry.as_array()? else {
            return None;
        };
        let [_, message, ..] = fields.as_array()? else {
            return None;
        };
        Some(Entry {
            offset: id.as_text()?.split_once('-')?.0.parse().ok()?,
            message: decode(message.as_bytes()?)?,
        })
    };
    let entries: Vec<_> = entries.iter().map(entry).collect::<Option<_>>()?;
    // They end at the last one, without a gap.
    let offsets = entries.iter().rev().map(|entry| entry.offset);
    let has_gap = offsets
        .zip((0..=last.offset).rev())
        .any(|(is, due)| is != due);
    Some(match (start, has_gap) {
        (Start::After(_), true) => Read::Lost { last },
        (_, true) => Read::Recovered {
            entries: Vec::new(),
            last,
        },
        _ => Read::Recovered { entries, last },
    })
}

/// What is read of any value: entries end at the last one.
pub(crate) fn check(value: &Value) {
    if let Some((_, message)) = value.as_bytes().and_then(published) {
        assert_eq!(decode(&encode(&message)), Some(message));
    }
    let at = Position {
        epoch: 1,
        offset: 1,
    };
    for start in [Start::Now, Start::Last(5), Start::After(at)] {
        if let Some(Read::Recovered { entries, last }) = found(value, start) {
            let end = entries.last().map(|entry| entry.offset);
            assert!(end.is_none_or(|end| end == last.offset));
        }
    }
}

impl RedisLog {
    fn meta(&self, least: Duration) -> Part {
        crate::millis(least.max(self.0.driver.config().ttl)).into()
    }
}

impl Log for RedisLog {
    fn start(&self, feed: Feed) {
        lock(&self.0.log.feeds).push(feed);
    }

    fn append(&self, topic: &str, message: LogMessage) -> Result<(), LogError> {
        let config = self.0.driver.config();
        let parts = vec![
            "4".into(),
            self.0.key("s:", topic).into(),
            self.0.key("m:", topic).into(),
            self.0.key("d:", &self.0.node).into(),
            self.0.key("generation", "").into(),
            crate::random().into(),
            encode(&message).into(),
            Part::Number,
            Part::Before,
            config.messages.to_string().into(),
            crate::millis(config.ttl).into(),
            self.meta(META),
            self.0.key("h:", topic).into(),
        ];
        self.0
            .send(scripts::APPEND, parts, true, Box::new(|_| {}))
            .map_err(|refused| match refused {
                Refused::Full => LogError::Full,
                Refused::Closed | Refused::Waiting => LogError::Unavailable,
            })
    }

    fn since(&self, topic: &str, start: Start, limit: usize, done: ReadDone) {
        let (kind, epoch, number) = match start {
            Start::Now => ("now", 0, 0),
            Start::Last(most) => ("last", 0, most as u64),
            Start::After(at) => ("after", at.epoch, at.offset),
        };
        // Numbers of Lua are exact up to 2^53.
        let number = number.min(1 << 53);
        let reply_bytes = self.0.driver.config().reply_bytes.min(1 << 40);
        let parts = vec![
            "3".into(),
            self.0.key("s:", topic).into(),
            self.0.key("m:", topic).into(),
            self.0.key("generation", "").into(),
            crate::random().into(),
            self.meta(META),
            self.meta(META_EMPTY),
            kind.into(),
            format!("{epoch:016x}").into(),
            number.to_string().into(),
            limit.min(1 << 32).to_string().into(),
            reply_bytes.saturating_sub(REST).to_string().into(),
        ];
        let on_reply = Box::new(move |reply: Option<Value>| {
            let read = reply.and_then(|reply| found(&reply, start));
            done(read.ok_or(LogError::Unavailable));
        });
        // If it is refused, the function has been called.
        let _ = self.0.send(scripts::SINCE, parts, false, on_reply);
    }

    fn follow(&self, topic: &str) {
        let mut followed = lock(&self.0.log.followed);
        let histories = followed.entry(topic.to_owned()).or_default();
        *histories += 1;
        if *histories == 1 {
            self.0.driver.subscribe(self.0.key("h:", topic));
        }
    }

    fn unfollow(&self, topic: &str) {
        let mut followed = lock(&self.0.log.followed);
        let Some(histories) = followed.get_mut(topic) else {
            return;
        };
        *histories -= 1;
        if *histories == 0 {
            followed.remove(topic);
            self.0.driver.unsubscribe(self.0.key("h:", topic));
        }
    }
}

impl std::fmt::Debug for RedisLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisLog")
            .field("config", self.0.driver.config())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_keep_their_kind_and_position() {
        for message in [
            LogMessage::from("a:b\n"),
            LogMessage::from(vec![0, 255]),
            LogMessage::from(""),
        ] {
            let bytes = encode(&message);
            assert_eq!(decode(&bytes), Some(message.clone()));
            let mut line = b"00000000000000a1:17:".to_vec();
            line.extend_from_slice(&bytes);
            let position = Position {
                epoch: 0xa1,
                offset: 17,
            };
            assert_eq!(published(&line), Some((position, message)));
        }
        for bad in [
            &b""[..],
            b"a1:17",
            b"a1:17:",
            b"a1:x:tb",
            b"x:1:tb",
            b"a1:1:xb",
            b"a1:1:t\xff",
        ] {
            assert_eq!(published(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn what_has_a_gap_is_lost() {
        let text = |text: &str| Value::Bytes(text.into());
        let entry = |offset: u64| {
            let fields = Value::Array(vec![text("m"), text("tx")]);
            Value::Array(vec![text(&format!("{offset}-0")), fields])
        };
        let reply = |offset: &str, entries: Value| {
            Value::Array(vec![text("00000000000000a1"), text(offset), entries])
        };
        let last = Position {
            epoch: 0xa1,
            offset: 9,
        };
        let after = Start::After(last);
        let read = |entries: &[u64], start| {
            found(
                &reply(
                    "9",
                    Value::Array(entries.iter().map(|n| entry(*n)).collect()),
                ),
                start,
            )
        };
        let count = |read: Option<Read>| match read {
            Some(Read::Recovered { entries, last: at }) if at == last => Some(entries.len()),
            _ => None,
        };
        assert_eq!(count(read(&[8, 9], after)), Some(2));
        assert_eq!(count(read(&[], after)), Some(0));
        for gap in [&[7, 9][..], &[8], &[10], &[9, 8]] {
            assert_eq!(read(gap, after), Some(Read::Lost { last }), "{gap:?}");
            assert_eq!(count(read(gap, Start::Last(2))), Some(0));
        }
        assert_eq!(
            found(&reply("9", Value::Int(0)), after),
            Some(Read::Lost { last })
        );
        for bad in [reply("x", Value::Int(0)), Value::Nil, Value::Array(vec![])] {
            assert_eq!(found(&bad, after), None);
        }
    }
}
