//! Who is on a topic, in Redis.
//!
//! Each process has a lease and renews it. Commands are not kept without a connection: on each new one, and when the lease has
//! ended, the process compares its entries in Redis with who is there.

use crate::Inner;
use crate::resp::Value;
use crate::scripts;
use peregrine::presence::{
    Change, Members, MembersDone, PresenceError, PresenceFeed, PresenceStore,
};
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Keeps who is on a topic in Redis, for all processes with the same prefix. It is for one
/// [`Presence`](peregrine::presence::Presence). [`Redis::presence`](crate::Redis::presence) makes it.
///
/// The persons of a process that was killed are gone when its [lease](crate::Config::lease) has ended and another process has
/// given a sign of life: after four thirds of the lease at most.
#[derive(Clone)]
pub struct RedisPresence(pub(crate) Arc<Inner>);

#[derive(Default)]
pub(crate) struct PresenceState {
    feed: OnceLock<PresenceFeed>,
    /// Number of persons of this process, by topic.
    topics: Mutex<HashMap<String, usize>>,
    /// Entries in Redis may be wrong.
    is_stale: AtomicBool,
}

/// The name of an entry: the length of the topic, a colon, the topic and the person.
fn entry(topic: &str, person: &str) -> Vec<u8> {
    format!("{}:{topic}{person}", topic.len()).into_bytes()
}

/// Topic and person.
fn entry_parts(entry: &[u8]) -> Option<(&str, &str)> {
    let (len, rest) = std::str::from_utf8(entry).ok()?.split_once(':')?;
    rest.split_at_checked(len.parse().ok()?)
}

impl PresenceState {
    pub(crate) fn message(&self, topic: &str, message: &[u8]) {
        let Some((mark, person)) = message.split_first() else {
            return;
        };
        let change = match mark {
            b'j' => Change::Joined,
            b'l' => Change::Left,
            _ => return,
        };
        if let (Some(feed), Ok(person)) = (self.feed.get(), std::str::from_utf8(person)) {
            feed.changed(topic, person, change);
        }
    }
}

impl Inner {
    fn presence_keys(&self, topic: &str) -> Vec<Vec<u8>> {
        vec![
            b"3".to_vec(),
            self.key("t:", topic),
            self.key("e:", &self.node),
            self.key("nodes", ""),
        ]
    }

    fn tell(&self, script: usize, topic: &str, person: &str) {
        let mut parts = self.presence_keys(topic);
        parts.extend([
            self.node.clone().into_bytes(),
            topic.into(),
            person.into(),
            self.key("p:", topic),
            crate::millis(self.driver.config().lease),
        ]);
        let this = self.this.clone();
        let on_reply = Box::new(move |reply: Option<Value>| {
            let this = this
                .upgrade()
                .filter(|_| !matches!(reply, Some(Value::Int(_))));
            if let Some(this) = this {
                this.presence.is_stale.store(true, Ordering::Release);
            }
        });
        let _ = self.send(script, parts, false, on_reply);
    }

    /// A sign of life.
    pub(crate) fn beat(&self) {
        if self.presence.feed.get().is_none_or(PresenceFeed::is_closed) {
            return;
        }
        let parts = vec![
            b"1".to_vec(),
            self.key("nodes", ""),
            self.node.clone().into_bytes(),
            crate::millis(self.driver.config().lease),
            self.key("t:", ""),
            self.key("e:", ""),
            self.key("p:", ""),
        ];
        let this = self.this.clone();
        let on_reply = Box::new(move |reply: Option<Value>| {
            let Some(this) = this.upgrade() else { return };
            let was_known = reply == Some(Value::Int(1));
            if this.presence.is_stale.swap(false, Ordering::AcqRel) || !was_known {
                this.compare();
            }
        });
        let _ = self.send(scripts::BEAT, parts, false, on_reply);
    }

    pub(crate) fn presence_connected(&self) {
        self.presence.is_stale.store(true, Ordering::Release);
    }

    /// Makes the entries in Redis those of this process.
    fn compare(&self) {
        let parts = vec![b"SMEMBERS".to_vec(), self.key("e:", &self.node)];
        let this = self.this.clone();
        let on_reply = Box::new(move |reply: Option<Value>| {
            let Some(this) = this.upgrade() else { return };
            let Some(Value::Array(entries)) = reply else {
                this.presence.is_stale.store(true, Ordering::Release);
                return;
            };
            let there: BTreeSet<&[u8]> = entries.iter().filter_map(Value::as_bytes).collect();
            let present = this.presence.feed.get().map(PresenceFeed::present);
            let present = present.unwrap_or_default();
            let mine: BTreeSet<_> = present
                .iter()
                .map(|(topic, person)| entry(topic, person))
                .collect();
            for gone in there.iter().filter(|entry| !mine.contains(**entry)) {
                if let Some((topic, person)) = entry_parts(gone) {
                    this.tell(scripts::LEAVE, topic, person);
                }
            }
            // Also those that have an entry: the list of the person may lack this process.
            for (topic, person) in &present {
                this.tell(scripts::ENTER, topic, person);
            }
        });
        let _ = self.plain(parts, on_reply);
    }
}

impl PresenceStore for RedisPresence {
    fn start(&self, feed: PresenceFeed) {
        let _ = self.0.presence.feed.set(feed);
        self.0.presence_connected();
        self.0.beat();
    }

    fn enter(&self, topic: &str, person: &str) {
        let state = &self.0.presence;
        let mut topics = state.topics.lock().unwrap_or_else(PoisonError::into_inner);
        let count = topics.entry(topic.to_owned()).or_default();
        *count += 1;
        if *count == 1 {
            self.0.driver.subscribe(self.0.key("p:", topic));
        }
        drop(topics);
        self.0.tell(scripts::ENTER, topic, person);
    }

    fn leave(&self, topic: &str, person: &str) {
        self.0.tell(scripts::LEAVE, topic, person);
        let state = &self.0.presence;
        let mut topics = state.topics.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = topics.get_mut(topic) {
            *count -= 1;
            if *count == 0 {
                topics.remove(topic);
                self.0.driver.unsubscribe(self.0.key("p:", topic));
            }
        }
    }

    fn members(&self, topic: &str, most: usize, done: MembersDone) {
        let parts = vec![
            b"2".to_vec(),
            self.0.key("t:", topic),
            self.0.key("nodes", ""),
        ];
        let on_reply = Box::new(move |reply: Option<Value>| {
            let names = reply.as_ref().and_then(Value::as_array).map(|names| {
                let names = names
                    .iter()
                    .filter_map(|name| name.as_text().map(str::to_owned));
                let mut names: Vec<_> = names.collect();
                names.sort_unstable();
                names
            });
            done(names.ok_or(PresenceError::Unavailable).map(|mut names| {
                let count = names.len();
                names.truncate(most);
                Members { count, names }
            }));
        });
        let _ = self.0.send(scripts::MEMBERS, parts, false, on_reply);
    }
}

impl std::fmt::Debug for RedisPresence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisPresence")
            .field("config", self.0.driver.config())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_keep_topic_and_person() {
        for (topic, person) in [("room", "ann"), ("a:b", ":"), ("", ""), ("\u{e4}", "\0")] {
            assert_eq!(entry_parts(&entry(topic, person)), Some((topic, person)));
        }
        for bad in [&b""[..], b"1", b"x:a", b"2:a", b"1:\xc3\xa4", b"1:\xff"] {
            assert_eq!(entry_parts(bad), None);
        }
    }
}
