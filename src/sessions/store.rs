//! Where sessions are kept: a trait, and a store in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// The name of a session in its store: the SHA-256 of the value of the cookie. So a copy of the store is no
/// collection of valid cookies.
pub type SessionKey = [u8; 32];

/// What a store keeps of a session.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionData {
    /// When the session began.
    pub begun: SystemTime,
    /// Its values.
    pub values: BTreeMap<String, String>,
}

impl SessionData {
    /// Data without values.
    pub fn new(begun: SystemTime) -> SessionData {
        SessionData {
            begun,
            values: BTreeMap::new(),
        }
    }
}

/// The values are not shown: a log is no place for them.
impl fmt::Debug for SessionData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionData")
            .field("begun", &self.begun)
            .field("values", &self.values.len())
            .finish()
    }
}

/// Where sessions are kept. The methods are called on the thread of the handler, from many threads at once. A
/// store that fails to read has no session; report such errors yourself.
pub trait SessionStore: Send + Sync {
    /// A session that has not ended by its idle timeout. It is used now: it is kept until it is not used for `idle`.
    fn load(&self, key: &SessionKey, idle: Duration) -> Option<SessionData>;

    /// Keeps a new session, until it is not used for `idle`.
    fn create(&self, key: &SessionKey, data: SessionData, idle: Duration);

    /// Replaces the data of a session that is kept. If it is not kept any more, the store keeps nothing and returns
    /// false: another request has ended the session, and must not find it again.
    fn replace(&self, key: &SessionKey, data: SessionData, idle: Duration) -> bool;

    /// Removes a session.
    fn remove(&self, key: &SessionKey);
}

/// Sessions in memory, at most a number of them. They end with the process.
pub struct MemoryStore {
    most: usize,
    kept: Mutex<Kept>,
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("most", &self.most)
            .field("len", &self.len())
            .finish()
    }
}

#[derive(Default)]
struct Kept {
    sessions: HashMap<SessionKey, (Instant, SessionData)>,
    /// By the time of their end.
    ends: BTreeSet<(Instant, SessionKey)>,
}

impl MemoryStore {
    /// A store for this number of sessions. Above it, the session ends that would end first.
    pub fn new(most: usize) -> MemoryStore {
        MemoryStore {
            most,
            kept: Mutex::default(),
        }
    }

    /// The sessions that are kept. Some may have ended already.
    pub fn len(&self) -> usize {
        self.kept().sessions.len()
    }

    /// Whether no session is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// No call leaves it half changed.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn load_at(&self, key: &SessionKey, end: Instant, now: Instant) -> Option<SessionData> {
        let mut kept = self.kept();
        let data = kept.remove(key, now)?;
        kept.insert(key, data.clone(), end);
        Some(data)
    }

    fn create_at(&self, key: &SessionKey, data: SessionData, end: Instant, now: Instant) {
        let mut kept = self.kept();
        while let Some(first) = kept.ends.first().copied() {
            if first.0 > now && kept.sessions.len() < self.most {
                break;
            }
            kept.remove(&first.1, now);
        }
        if self.most > 0 {
            kept.insert(key, data, end);
        }
    }

    fn replace_at(&self, key: &SessionKey, data: SessionData, end: Instant, now: Instant) -> bool {
        let mut kept = self.kept();
        let is_kept = kept.remove(key, now).is_some();
        if is_kept {
            kept.insert(key, data, end);
        }
        is_kept
    }
}

impl Kept {
    fn insert(&mut self, key: &SessionKey, data: SessionData, end: Instant) {
        self.sessions.insert(*key, (end, data));
        self.ends.insert((end, *key));
    }

    /// Its data, if it has not ended.
    fn remove(&mut self, key: &SessionKey, now: Instant) -> Option<SessionData> {
        let (end, data) = self.sessions.remove(key)?;
        self.ends.remove(&(end, *key));
        (end > now).then_some(data)
    }
}

/// A far end, if it is farther than an [`Instant`] can be.
fn after(now: Instant, idle: Duration) -> Instant {
    let far = Duration::from_secs(u32::MAX.into());
    now.checked_add(idle.min(far)).unwrap_or(now)
}

impl SessionStore for MemoryStore {
    fn load(&self, key: &SessionKey, idle: Duration) -> Option<SessionData> {
        let now = Instant::now();
        self.load_at(key, after(now, idle), now)
    }

    fn create(&self, key: &SessionKey, data: SessionData, idle: Duration) {
        let now = Instant::now();
        self.create_at(key, data, after(now, idle), now);
    }

    fn replace(&self, key: &SessionKey, data: SessionData, idle: Duration) -> bool {
        let now = Instant::now();
        self.replace_at(key, data, after(now, idle), now)
    }

    fn remove(&self, key: &SessionKey) {
        self.kept().remove(key, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(name: &str) -> SessionData {
        let mut data = SessionData::new(SystemTime::UNIX_EPOCH);
        data.values.insert(name.to_owned(), String::new());
        data
    }

    #[test]
    fn the_sessions_of_a_store_are_limited() {
        let (store, now) = (MemoryStore::new(2), Instant::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        store.create_at(&[1; 32], data("a"), at(20), now);
        store.create_at(&[2; 32], data("b"), at(10), now);
        store.create_at(&[3; 32], data("c"), at(30), now);
        assert_eq!(store.load_at(&[2; 32], at(10), now), None);
        assert_eq!(store.load_at(&[1; 32], at(20), now), Some(data("a")));
        // Replaced, it takes no second place.
        assert!(store.replace_at(&[3; 32], data("d"), at(5), now));
        assert_eq!(store.len(), 2);
        // Those that have ended go with the next one.
        store.create_at(&[4; 32], data("e"), at(50), at(40));
        assert_eq!(store.len(), 1);
        store.remove(&[4; 32]);
        assert!(store.is_empty() && store.kept().ends.is_empty());
        MemoryStore::new(0).create(&[1; 32], data("a"), Duration::MAX);
    }

    #[test]
    fn a_session_that_is_used_stays_and_one_that_has_ended_does_not_come_back() {
        let (store, now) = (MemoryStore::new(1), Instant::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        let key = [1; 32];
        store.create_at(&key, data("a"), at(10), now);
        assert_eq!(store.load_at(&key, at(19), at(9)), Some(data("a")));
        assert_eq!(store.load_at(&key, at(29), at(18)), Some(data("a")));
        assert_eq!(store.load_at(&key, at(39), at(29)), None);
        assert!(!store.replace_at(&key, data("b"), at(50), at(30)));
        store.create_at(&key, data("a"), at(50), at(40));
        store.remove(&key);
        assert!(!store.replace(&key, data("b"), Duration::MAX));
        assert!(store.is_empty() && store.kept().ends.is_empty());
    }

    #[test]
    fn no_value_is_shown() {
        let store = MemoryStore::new(1);
        store.create(&[1; 32], data("secret"), Duration::MAX);
        let shown = format!("{store:?} {:?}", data("secret"));
        assert!(!shown.contains("secret"), "{shown}");
    }
}
