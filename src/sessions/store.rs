//! Where sessions are kept: a trait, and a store in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// The name of a session in its store: the SHA-256 of the value of the cookie. So a copy of the store is no
/// collection of valid cookies.
pub type SessionKey = [u8; 32];

/// What a store keeps of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// Where sessions are kept. The methods are called on the thread of the handler, from many threads at once. A
/// store that fails to read has no session; report such errors yourself.
pub trait SessionStore: Send + Sync {
    /// A session that has not ended by its idle timeout.
    fn load(&self, key: &SessionKey) -> Option<SessionData>;

    /// Keeps a session, until it is not used for `idle`. It replaces one of this name.
    fn save(&self, key: &SessionKey, data: SessionData, idle: Duration);

    /// A session is used: it is kept until it is not used for `idle` from now.
    fn touch(&self, key: &SessionKey, idle: Duration);

    /// Removes a session.
    fn remove(&self, key: &SessionKey);
}

/// Sessions in memory, at most a number of them. They end with the process.
#[derive(Debug)]
pub struct MemoryStore {
    most: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
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

    fn load_at(&self, key: &SessionKey, now: Instant) -> Option<SessionData> {
        let kept = self.kept();
        let (end, data) = kept.sessions.get(key)?;
        (*end > now).then(|| data.clone())
    }

    fn save_at(&self, key: &SessionKey, data: SessionData, end: Instant, now: Instant) {
        let mut kept = self.kept();
        kept.remove(key);
        while let Some(first) = kept.ends.first().copied() {
            if first.0 > now && kept.sessions.len() < self.most {
                break;
            }
            kept.remove(&first.1);
        }
        if self.most > 0 {
            kept.sessions.insert(*key, (end, data));
            kept.ends.insert((end, *key));
        }
    }
}

impl Kept {
    fn remove(&mut self, key: &SessionKey) -> Option<SessionData> {
        let (end, data) = self.sessions.remove(key)?;
        self.ends.remove(&(end, *key));
        Some(data)
    }
}

/// A far end, if it is farther than an [`Instant`] can be.
fn after(now: Instant, idle: Duration) -> Instant {
    let far = Duration::from_secs(u32::MAX.into());
    now.checked_add(idle.min(far)).unwrap_or(now)
}

impl SessionStore for MemoryStore {
    fn load(&self, key: &SessionKey) -> Option<SessionData> {
        self.load_at(key, Instant::now())
    }

    fn save(&self, key: &SessionKey, data: SessionData, idle: Duration) {
        let now = Instant::now();
        self.save_at(key, data, after(now, idle), now);
    }

    fn touch(&self, key: &SessionKey, idle: Duration) {
        let end = after(Instant::now(), idle);
        let mut kept = self.kept();
        if let Some(data) = kept.remove(key) {
            kept.sessions.insert(*key, (end, data));
            kept.ends.insert((end, *key));
        }
    }

    fn remove(&self, key: &SessionKey) {
        self.kept().remove(key);
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
        store.save_at(&[1; 32], data("a"), at(20), now);
        store.save_at(&[2; 32], data("b"), at(10), now);
        store.save_at(&[3; 32], data("c"), at(30), now);
        assert_eq!(store.load_at(&[2; 32], now), None);
        assert_eq!(store.load_at(&[1; 32], now), Some(data("a")));
        // Saved again, it takes no second place.
        store.save_at(&[3; 32], data("d"), at(5), now);
        assert_eq!(
            (store.len(), store.load_at(&[3; 32], now)),
            (2, Some(data("d")))
        );
        assert_eq!(store.load_at(&[3; 32], at(5)), None);
        // Those that have ended go with the next one.
        store.save_at(&[4; 32], data("e"), at(50), at(40));
        assert_eq!(store.len(), 1);
        store.remove(&[4; 32]);
        assert!(store.is_empty() && store.kept().ends.is_empty());
        MemoryStore::new(0).save(&[1; 32], data("a"), Duration::MAX);
    }

    #[test]
    fn a_session_that_is_used_stays() {
        let store = MemoryStore::new(1);
        store.save(&[1; 32], data("a"), Duration::ZERO);
        assert_eq!(store.load(&[1; 32]), None);
        store.touch(&[1; 32], Duration::MAX);
        assert_eq!(store.load(&[1; 32]), Some(data("a")));
        store.touch(&[2; 32], Duration::MAX);
        assert_eq!(store.len(), 1);
    }
}
