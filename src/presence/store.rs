//! Where it is kept who is on a topic: a trait, and a store in memory.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Who has come or gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no third way")]
pub enum Change {
    /// The person was on no machine, and is on one now.
    Joined,
    /// The person was on a machine, and is on none now.
    Left,
}

/// Who is on a topic.
///
/// ```
/// use peregrine::presence::Members;
///
/// let members = Members { count: 3, names: vec!["ann".to_owned(), "bob".to_owned()] };
/// assert_eq!(format!("{} and {} more", members.names.join(", "), members.count - 2), "ann, bob and 1 more");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "stores outside of this crate make it"
)]
pub struct Members {
    /// Number of persons, on all machines.
    pub count: usize,
    /// Their names, sorted: at most as many as were asked for.
    pub names: Vec<String>,
}

/// Why a call failed.
///
/// ```
/// use peregrine::presence::PresenceError;
///
/// assert_eq!(PresenceError::Name.to_string(), "the name of the topic or person is too long");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PresenceError {
    /// The name of the topic or the person is longer than
    /// [`PresenceLimits::name_bytes`](super::PresenceLimits::name_bytes).
    Name,
    /// As many persons are on topics as [`PresenceLimits::entries`](super::PresenceLimits::entries) allows.
    Full,
    /// The store cannot be reached, or has stopped.
    Unavailable,
}

impl fmt::Display for PresenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PresenceError::Name => "the name of the topic or person is too long",
            PresenceError::Full => "too many persons are present",
            PresenceError::Unavailable => "the store of presences cannot be reached",
        })
    }
}

impl std::error::Error for PresenceError {}

/// Receives what [`PresenceStore::members`] has found. It is called once, on any thread.
pub type MembersDone = Box<dyn FnOnce(Result<Members, PresenceError>) + Send>;

/// Keeps who is on which topic, for one process or many.
///
/// No method may block. Calls for one process come one after the other.
///
/// # What a store promises
///
/// - A person is on a topic as long as one process says so. When the first one says so, each process that has a person on
///   the topic is told [`Change::Joined`] once; when the last one says no more, [`Change::Left`] once.
/// - A process that ends without a word says no more after a while: it has a lease, which it renews. No process is asked
///   who is there.
/// - When the store has forgotten a process that still runs, it takes [`PresenceFeed::present`] again.
pub trait PresenceStore: Send + Sync + 'static {
    /// Takes the feed of a presence. It is called once, before all other methods.
    fn start(&self, feed: PresenceFeed);

    /// A person who was not on the topic in this process is there now.
    fn enter(&self, topic: &str, person: &str);

    /// The person is not there any more in this process.
    fn leave(&self, topic: &str, person: &str);

    /// Finds who is on a topic, in all processes: at most `most` names, and how many there are.
    fn members(&self, topic: &str, most: usize, done: MembersDone);
}

/// What a [`PresenceFeed`] leads to.
pub(super) trait Tell: Send + Sync {
    fn changed(&self, topic: &str, person: &str, change: Change);
    fn present(&self) -> Vec<(Arc<str>, Arc<str>)>;
}

/// What a [`PresenceStore`] tells a process. Clones are the same feed. It keeps nothing alive.
#[derive(Clone)]
pub struct PresenceFeed(Weak<dyn Tell>);

impl PresenceFeed {
    pub(super) fn new(target: Weak<dyn Tell>) -> PresenceFeed {
        PresenceFeed(target)
    }

    /// Tells who has come or gone. It calls code of the program: no lock may be held that the store needs.
    pub fn changed(&self, topic: &str, person: &str, change: Change) {
        if let Some(target) = self.0.upgrade() {
            target.changed(topic, person, change);
        }
    }

    /// Who is on which topic in this process now: topic and person.
    pub fn present(&self) -> Vec<(Arc<str>, Arc<str>)> {
        self.0
            .upgrade()
            .map_or_else(Vec::new, |target| target.present())
    }

    /// Whether the presence has been dropped.
    pub fn is_closed(&self) -> bool {
        self.0.strong_count() == 0
    }
}

impl fmt::Debug for PresenceFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PresenceFeed")
            .field("is_closed", &self.is_closed())
            .finish()
    }
}

/// Keeps who is on which topic of one process, in memory. It is for one [`Presence`](super::Presence).
#[derive(Default)]
pub struct MemoryPresence(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    feed: Option<PresenceFeed>,
    /// Persons by topic.
    topics: HashMap<String, BTreeSet<String>>,
}

impl MemoryPresence {
    /// An empty store.
    pub fn new() -> MemoryPresence {
        MemoryPresence::default()
    }

    /// No call leaves it half changed.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, topic: &str, person: &str, change: Change) {
        let feed = self.kept().feed.clone();
        if let Some(feed) = feed {
            feed.changed(topic, person, change);
        }
    }
}

impl PresenceStore for MemoryPresence {
    fn start(&self, feed: PresenceFeed) {
        self.kept().feed = Some(feed);
    }

    fn enter(&self, topic: &str, person: &str) {
        let mut kept = self.kept();
        let persons = kept.topics.entry(topic.to_owned()).or_default();
        let is_new = persons.insert(person.to_owned());
        drop(kept);
        if is_new {
            self.tell(topic, person, Change::Joined);
        }
    }

    fn leave(&self, topic: &str, person: &str) {
        let mut kept = self.kept();
        let Some(persons) = kept.topics.get_mut(topic) else {
            return;
        };
        let was_there = persons.remove(person);
        if persons.is_empty() {
            kept.topics.remove(topic);
        }
        drop(kept);
        if was_there {
            self.tell(topic, person, Change::Left);
        }
    }

    fn members(&self, topic: &str, most: usize, done: MembersDone) {
        let kept = self.kept();
        let members = kept.topics.get(topic).map(|persons| Members {
            count: persons.len(),
            names: persons.iter().take(most).cloned().collect(),
        });
        drop(kept);
        done(Ok(members.unwrap_or_default()));
    }
}

impl fmt::Debug for MemoryPresence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryPresence")
            .field("topics", &self.kept().topics.len())
            .finish()
    }
}
