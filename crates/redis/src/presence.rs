//! Who is on a topic, in Redis.
//!
//! Each process has a lease and renews it. Commands are not kept without a connection: on each new one, and when the lease has
//! ended, the process compares its entries in Redis with who is there.

use crate::Inner;
use crate::driver::{Command, OnReply, Part};
use crate::log::REST;
use crate::resp::Value;
use crate::scripts;
use peregrine::presence::{
    Change, Members, MembersDone, PresenceError, PresenceFeed, PresenceStore,
};
use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Most entries of one command, and about how many bytes they may have.
const CHUNK: (usize, usize) = (500, 64 * 1024);

/// Most persons of a topic that Redis looks at for one list.
const LOOK: usize = 10_000;

/// Keeps who is on a topic in Redis, for all processes with the same prefix. It is for one
/// [`Presence`](peregrine::presence::Presence). [`Redis::presence`](crate::Redis::presence) makes it.
///
/// The persons of a process that was killed are gone when its [lease](crate::Config::lease) has ended and another process has
/// given a sign of life: after four thirds of the lease. That process removes 1,000 persons with each command, one command after
/// the other, until all are gone. If no process could give a sign of life for so long, because Redis was away or failed over,
/// their persons stay: the first one that is back renews the leases of all. If that is a process that has just started, it gives the
/// others half a lease to come back. So the persons of a single process that died long ago are gone after half a lease of the next one.
///
/// A list of members has an exact count for up to 10,000 persons on a topic, or as many as names are asked for. Above it, persons
/// of processes whose lease has just ended are counted, too.
pub struct RedisPresence(pub(crate) Arc<Inner>);

#[derive(Default)]
pub(crate) struct PresenceState {
    feed: OnceLock<PresenceFeed>,
    mine: Mutex<Mine>,
    /// Entries in Redis may be wrong.
    is_stale: AtomicBool,
    /// They are compared.
    is_comparing: AtomicBool,
}

/// Who is present in this process. It is changed, and Redis is told, under one lock. So what is sent last for a person is
/// what is true.
#[derive(Default)]
struct Mine {
    entries: BTreeSet<Vec<u8>>,
    /// Number of persons by topic.
    topics: HashMap<String, usize>,
    /// Bytes of the longest entry so far.
    longest: usize,
}

/// The name of an entry: the length of the topic, a colon, the topic and the person.
fn entry(topic: &str, person: &str) -> Vec<u8> {
    format!("{}:{topic}{person}", topic.len()).into_bytes()
}

/// As many as one command takes. There is one, if there are any.
fn chunk(entries: impl Iterator<Item = Vec<u8>>, most_bytes: usize) -> Vec<Vec<u8>> {
    let (most, most_bytes) = (CHUNK.0, CHUNK.1.min(most_bytes));
    let mut bytes = 0;
    let fits = |entry: &Vec<u8>| {
        let is_first = bytes == 0;
        bytes += entry.len() + 16;
        is_first || bytes <= most_bytes
    };
    entries.take(most).take_while(fits).collect()
}

/// Entries of one SSCAN, so that its reply has a part of the bytes that it may have. Redis may return some more.
fn scanned(longest: usize, reply_bytes: usize) -> usize {
    (reply_bytes / 4 / (longest + 16)).clamp(1, CHUNK.0)
}

impl PresenceState {
    fn mine(&self) -> MutexGuard<'_, Mine> {
        self.mine.lock().unwrap_or_else(PoisonError::into_inner)
    }

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
    /// Calls [`scripts::ENTER`] or [`scripts::LEAVE`].
    fn tell(&self, script: usize, entries: Vec<Vec<u8>>, on_reply: OnReply) {
        let mut parts: Vec<Part> = vec![
            "2".into(),
            self.key("e:", &self.node).into(),
            self.key("nodes", "").into(),
            self.node.clone().into(),
            crate::millis(self.driver.config().lease).into(),
            self.key("t:", "").into(),
            self.key("p:", "").into(),
        ];
        parts.extend(entries.into_iter().map(Part::from));
        // If it is refused, the function has been called.
        let _ = self.send(script, parts, false, on_reply);
    }

    fn tell_one(&self, script: usize, entry: Vec<u8>) {
        let this = self.this.clone();
        let on_reply = Box::new(move |reply: Option<Value>| {
            let has_failed = !matches!(reply, Some(Value::Int(_)));
            if let Some(this) = this.upgrade().filter(|_| has_failed) {
                this.presence_connected();
            }
        });
        self.tell(script, vec![entry], on_reply);
    }

    /// A sign of life.
    pub(crate) fn beat(&self) {
        if self.presence.feed.get().is_none_or(PresenceFeed::is_closed) {
            return;
        }
        let parts = vec![
            "1".into(),
            self.key("nodes", "").into(),
            self.node.clone().into(),
            crate::millis(self.driver.config().lease).into(),
            self.key("t:", "").into(),
            self.key("e:", "").into(),
            self.key("p:", "").into(),
        ];
        let this = self.this.clone();
        let on_reply = Box::new(move |reply: Option<Value>| {
            let Some(this) = this.upgrade() else { return };
            let reply = reply.as_ref().and_then(Value::as_array);
            let (was_known, is_more) = match reply {
                Some([Value::Int(known), Value::Int(more)]) => (*known == 1, *more == 1),
                _ => (false, false),
            };
            if !was_known {
                this.presence_connected();
            }
            if reply.is_some() && this.presence.is_stale.load(Ordering::Acquire) {
                this.compare();
            }
            if is_more {
                this.beat();
            }
        });
        let mut command = Command::new(Some(scripts::BEAT), parts, false, on_reply);
        // What waited for a connection must not find leases ended that this sign of life renews.
        command.is_first = true;
        let _ = self.driver.send(command);
    }

    pub(crate) fn presence_connected(&self) {
        self.presence.is_stale.store(true, Ordering::Release);
    }

    /// Makes the entries in Redis those of this process.
    fn compare(&self) {
        if self.presence.is_comparing.swap(true, Ordering::AcqRel) {
            return;
        }
        self.presence.is_stale.store(false, Ordering::Release);
        self.scan(b"0".to_vec());
    }

    /// Reads a part of the entries in Redis. All of them may be more than a reply may have. One that is there all the time is among
    /// them; one may be there twice.
    fn scan(&self, cursor: Vec<u8>) {
        let longest = self.presence.mine().longest;
        let count = scanned(longest, self.driver.config().reply_bytes);
        let parts = vec![
            "SSCAN".into(),
            self.key("e:", &self.node).into(),
            cursor.into(),
            "COUNT".into(),
            count.to_string().into(),
        ];
        let this = self.this.clone();
        let on_reply = Box::new(move |reply: Option<Value>| {
            let Some(this) = this.upgrade() else { return };
            let reply = reply.as_ref().and_then(Value::as_array);
            let Some([Value::Bytes(cursor), Value::Array(entries)]) = reply else {
                return this.end_compare(true);
            };
            let there = entries.iter().filter_map(Value::as_bytes);
            this.remove(there.map(<[u8]>::to_vec).collect(), cursor.clone());
        });
        let _ = self.plain(parts, on_reply);
    }

    fn end_compare(&self, has_failed: bool) {
        if has_failed {
            self.presence_connected();
        }
        self.presence.is_comparing.store(false, Ordering::Release);
    }

    /// Calls a script for a part of the entries, and `next` after it.
    fn step(
        &self,
        script: usize,
        entries: Vec<Vec<u8>>,
        next: impl FnOnce(&Inner) + Send + 'static,
    ) {
        let this = self.this.clone();
        let on_reply = Box::new(move |reply: Option<Value>| {
            let Some(this) = this.upgrade() else { return };
            match reply {
                Some(Value::Int(_)) => next(&this),
                _ => this.end_compare(true),
            }
        });
        self.tell(script, entries, on_reply);
    }

    fn chunk_bytes(&self) -> usize {
        self.driver.config().queue_bytes / 4
    }

    /// Removes those that are not there any more, one command after the other, and reads on behind them.
    fn remove(&self, mut there: Vec<Vec<u8>>, cursor: Vec<u8>) {
        let mine = self.presence.mine();
        there.retain(|entry| !mine.entries.contains(entry));
        let gone = chunk(there.iter().cloned(), self.chunk_bytes());
        if gone.is_empty() {
            drop(mine);
            return match &cursor[..] {
                b"0" => self.add(Vec::new()),
                _ => self.scan(cursor),
            };
        }
        let rest = there.split_off(gone.len());
        self.step(scripts::LEAVE, gone, |this| this.remove(rest, cursor));
    }

    /// Enters those behind `last`, one command after the other. Also those that have an entry: the list of the person may
    /// lack this process.
    fn add(&self, last: Vec<u8>) {
        let mine = self.presence.mine();
        let rest = mine
            .entries
            .range((Bound::Excluded(last), Bound::Unbounded));
        let entries = chunk(rest.cloned(), self.chunk_bytes());
        match entries.last().cloned() {
            Some(last) => self.step(scripts::ENTER, entries, |this| this.add(last)),
            None => self.end_compare(false),
        }
    }
}

/// The reply of the script that lists members.
fn members(reply: &Value) -> Option<Members> {
    let [count, names] = reply.as_array()? else {
        return None;
    };
    let names = names.as_array()?.iter();
    let mut names: Vec<_> = names
        .filter_map(|name| name.as_text().map(str::to_owned))
        .collect();
    names.sort_unstable();
    Some(Members {
        count: count.as_u64()?.try_into().ok()?,
        names,
    })
}

impl PresenceStore for RedisPresence {
    fn start(&self, feed: PresenceFeed) {
        let _ = self.0.presence.feed.set(feed);
        self.0.presence_connected();
        self.0.beat();
    }

    fn enter(&self, topic: &str, person: &str) {
        let entry = entry(topic, person);
        let mut mine = self.0.presence.mine();
        mine.longest = mine.longest.max(entry.len());
        if mine.entries.insert(entry.clone()) {
            let count = mine.topics.entry(topic.to_owned()).or_default();
            *count += 1;
            if *count == 1 {
                self.0.driver.subscribe(self.0.key("p:", topic));
            }
        }
        self.0.tell_one(scripts::ENTER, entry);
    }

    fn leave(&self, topic: &str, person: &str) {
        let entry = entry(topic, person);
        let mut mine = self.0.presence.mine();
        let was_there = mine.entries.remove(&entry);
        self.0.tell_one(scripts::LEAVE, entry);
        let Some(count) = mine.topics.get_mut(topic).filter(|_| was_there) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            mine.topics.remove(topic);
            self.0.driver.unsubscribe(self.0.key("p:", topic));
        }
    }

    fn members(&self, topic: &str, most: usize, done: MembersDone) {
        let reply_bytes = self.0.driver.config().reply_bytes.min(1 << 40);
        let parts = vec![
            "2".into(),
            self.0.key("t:", topic).into(),
            self.0.key("nodes", "").into(),
            most.min(1 << 32).to_string().into(),
            most.clamp(LOOK, 1 << 32).to_string().into(),
            reply_bytes.saturating_sub(REST).to_string().into(),
        ];
        let on_reply = Box::new(move |reply: Option<Value>| {
            let members = reply.as_ref().and_then(members);
            done(members.ok_or(PresenceError::Unavailable));
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
    fn a_chunk_has_one_entry_and_is_limited() {
        let lens = |lens: &[usize], most| {
            let entries = lens.iter().map(|len| vec![0; *len]);
            chunk(entries, most).len()
        };
        assert_eq!(lens(&[], 100), 0);
        assert_eq!(lens(&[1000, 1], 100), 1);
        assert_eq!(lens(&[34, 34, 1], 100), 2);
        assert_eq!(lens(&[35, 34, 1], 100), 1);
        assert_eq!(lens(&[1; 600], usize::MAX), 500);
        assert_eq!(lens(&[40_000; 600], usize::MAX), 1);
    }

    #[test]
    fn a_part_of_the_entries_fits_into_a_reply() {
        let default = 64 << 20;
        for (longest, reply_bytes, count) in [
            (0, default, 500),
            // The longest names of the default limits.
            (516, default, 500),
            (1 << 20, default, 15),
            (24, 20_000, 125),
            (default, default, 1),
            (0, 0, 1),
        ] {
            assert_eq!(scanned(longest, reply_bytes), count, "{longest}");
        }
    }
}
