//! Who is on a topic, across machines: each person once, however many tabs and machines.
//!
//! [`Presence::enter`] returns a [`Stay`]. The person is on the topic until its last stay is dropped, so a stay belongs into
//! the state of a WebSocket, or into the function that is called when a page has gone. The
//! [guide](crate::guide::presence) has the first steps.
//!
//! [`MemoryPresence`] is for one process. Another store shares the list among machines, such as the one of the crate
//! `peregrine-redis`: there the entries of a machine that was killed vanish when its lease ends.

mod reads;
mod steps;
mod store;

pub use self::store::{
    Change, Members, MembersDone, MemoryPresence, PresenceError, PresenceFeed, PresenceStore,
};

use self::steps::{Step, Steps};
use self::store::Tell;
use crate::log::event;
use crate::shared::panic_guard::quietly;
use crate::shared::sparse::shrink;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

peregrine_protocol::settings! {
    /// Limits of a [`Presence`]. The table in [`Config`](crate::Config#limits) has them too.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct PresenceLimits {
        /// Number of persons on topics in this process: a person counts for each topic, however many stays there are. Above
        /// it, [`Presence::enter`] fails. It fails too while these persons, and those of whom the store has still to be
        /// told that they have gone, are twice as many.
        pub entries: usize = 65_536;
        /// Bytes of the name of a topic and of a person, each. Above it, [`Presence::enter`] fails.
        pub name_bytes: usize = 256;
        /// Number of names in the list of [`Presence::members`]. Above it, the list is cut.
        pub listed: usize = 1_000;
    }
}

/// Changes that the thread that has made one tells the store. A thread that has nothing else to do tells it the others.
const STEPS: usize = 256;

type OnMembers = Box<dyn FnOnce(Result<Arc<Members>, PresenceError>) + Send>;
type OnChange = Box<dyn Fn(&str, &str, Change) + Send + Sync>;

/// Knows who is on which topic. Clones are the same. Any thread may use it; no call blocks.
///
/// ```
/// use peregrine::presence::{Change, MemoryPresence, Presence};
/// use peregrine::sse::EventHub;
///
/// let hub = EventHub::new();
/// let tell = hub.clone();
/// let presence = Presence::builder(MemoryPresence::new())
///     .on_change(move |topic, person, change| {
///         let what = match change {
///             Change::Joined => "has come",
///             Change::Left => "has gone",
///         };
///         let _ = tell.deliver(topic, format!("{person} {what}"));
///     })
///     .build();
///
/// let tab = presence.enter("room", "ann").expect("a short name");
/// let second_tab = presence.enter("room", "ann").expect("a short name");
/// drop(tab); // Ann is still there.
/// presence.members("room", |members| {
///     assert_eq!(members.expect("in memory").names, ["ann"]);
/// });
/// drop(second_tab); // Now she has gone.
/// ```
#[derive(Clone)]
pub struct Presence(Arc<Inner>);

/// Makes a [`Presence`].
#[must_use = "call `build`"]
pub struct PresenceBuilder {
    store: Box<dyn PresenceStore>,
    limits: PresenceLimits,
    on_change: OnChange,
}

struct Inner {
    store: Box<dyn PresenceStore>,
    limits: PresenceLimits,
    on_change: OnChange,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Number of stays by topic and person.
    stays: HashMap<Arc<str>, HashMap<Arc<str>, usize>>,
    entries: usize,
    /// What the store has to be told, in order.
    steps: Steps,
    /// A thread tells the store.
    is_telling: bool,
    /// Calls that wait for the next read of a topic. One read of a topic is made at a time.
    reads: HashMap<Arc<str>, Vec<OnMembers>>,
}

impl PresenceBuilder {
    /// Calls `f` with topic and person when a person has come or gone on any machine: once for each process that has
    /// a person on the topic, in the order of the store. It runs on any thread, and must not block. A panic in it is caught.
    ///
    /// A person who has gone and comes back, or has come and goes, before the store could be told, makes no call.
    ///
    /// Each process is told. So send it to the clients of this process only: `EventHub::deliver`, `Hub::deliver`. With a relay,
    /// `publish` would send it once for each machine.
    pub fn on_change(
        mut self,
        f: impl Fn(&str, &str, Change) + Send + Sync + 'static,
    ) -> PresenceBuilder {
        self.on_change = Box::new(f);
        self
    }

    /// Sets the limits.
    pub fn limits(mut self, limits: PresenceLimits) -> PresenceBuilder {
        self.limits = limits;
        self
    }

    /// Starts the store.
    pub fn build(self) -> Presence {
        let inner = Arc::new(Inner {
            store: self.store,
            limits: self.limits,
            on_change: self.on_change,
            state: Mutex::default(),
        });
        let target: Weak<Inner> = Arc::downgrade(&inner);
        inner.store.start(PresenceFeed::new(target));
        Presence(inner)
    }
}

impl fmt::Debug for PresenceBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PresenceBuilder")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Presence {
    /// Begins a presence that is kept in this store.
    pub fn builder(store: impl PresenceStore) -> PresenceBuilder {
        PresenceBuilder {
            store: Box::new(store),
            limits: PresenceLimits::default(),
            on_change: Box::new(|_, _, _| {}),
        }
    }

    /// A person comes to a topic, until the result is dropped. Several stays of one person are one presence.
    ///
    /// `person` is a name or an id that the program has checked. A client that chooses it freely can take the name of another.
    ///
    /// # Errors
    ///
    /// [`PresenceError::Name`], [`PresenceError::Full`].
    pub fn enter(&self, topic: &str, person: &str) -> Result<Stay, PresenceError> {
        let most = self.0.limits.name_bytes;
        if topic.len() > most || person.len() > most {
            return Err(PresenceError::Name);
        }
        let mut state = self.0.state();
        let (topic, person) = state.enter(topic, person, self.0.limits.entries)?;
        drop(state);
        Inner::tell(&self.0);
        Ok(Stay {
            inner: self.0.clone(),
            topic,
            person,
        })
    }

    /// Finds who is on a topic, on all machines, and calls `done` with it: now or later, on any thread, where it must not
    /// block.
    ///
    /// Calls for a topic that come while it is read share the next read, and its result. With a store that answers at once, some may get what
    /// a read has found that began a moment before the call. A call within `done` is carried out after `done`.
    ///
    /// # Errors
    ///
    /// `done` gets [`PresenceError::Unavailable`] if the store cannot be reached, and [`PresenceError::Name`] if the name of
    /// the topic is longer than [`PresenceLimits::name_bytes`].
    ///
    /// ```
    /// use peregrine::presence::Presence;
    /// use peregrine::{Done, Request, Response};
    ///
    /// fn handle(presence: &Presence, _: &Request<'_>, res: Response<'_>) -> Done {
    ///     let (done, responder) = res.defer();
    ///     presence.members("room", move |members| {
    ///         let _ = match members {
    ///             Ok(members) => responder.send(|res| res.text(&members.names.join("\n"))),
    ///             Err(_) => responder.send(|res| res.status(503).text("try again later\n")),
    ///         };
    ///     });
    ///     done
    /// }
    /// ```
    pub fn members(
        &self,
        topic: &str,
        done: impl FnOnce(Result<Arc<Members>, PresenceError>) + Send + 'static,
    ) {
        match topic.len() > self.0.limits.name_bytes {
            true => done(Err(PresenceError::Name)),
            false => Inner::members(&self.0, topic.into(), Box::new(done)),
        }
    }

    /// Number of persons on topics in this process; see [`PresenceLimits::entries`].
    pub fn entries(&self) -> usize {
        self.0.state().entries
    }
}

impl fmt::Debug for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presence")
            .field("entries", &self.entries())
            .field("limits", &self.0.limits)
            .finish_non_exhaustive()
    }
}

impl Inner {
    /// No call leaves it half changed, and no code of users runs meanwhile.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the store what has changed here, in order: one thread at a time, without a lock. The store may tell the program,
    /// which may change something here.
    fn tell(this: &Arc<Inner>) {
        let is_telling = std::mem::replace(&mut this.state().is_telling, true);
        if is_telling || this.tell_some(STEPS) {
            return;
        }
        // Other threads have made so many changes meanwhile that this one would never end.
        let inner = this.clone();
        let thread = std::thread::Builder::new().name("pg-presence".to_owned());
        let thread = thread.spawn(move || inner.tell_some(usize::MAX));
        if let Err(error) = thread {
            event!(Error, "no thread for a store of presences: {error}");
            this.tell_some(usize::MAX);
        }
    }

    /// Tells the store at most `most` steps. False if there are more.
    fn tell_some(&self, most: usize) -> bool {
        for _ in 0..most {
            let mut state = self.state();
            let Some(step) = state.steps.pop() else {
                state.is_telling = false;
                return true;
            };
            drop(state);
            quietly("a store of presences", || match step.change {
                Change::Joined => self.store.enter(&step.topic, &step.person),
                Change::Left => self.store.leave(&step.topic, &step.person),
            });
        }
        let mut state = self.state();
        state.is_telling = !state.steps.is_empty();
        !state.is_telling
    }
}

impl Tell for Inner {
    fn changed(&self, topic: &str, person: &str, change: Change) {
        quietly("the function for changes of a presence", || {
            (self.on_change)(topic, person, change);
        });
    }

    fn present(&self) -> Vec<(Arc<str>, Arc<str>)> {
        let state = self.state();
        let topics = state.stays.iter();
        let pairs = topics.flat_map(|(topic, persons)| {
            persons.keys().map(|person| (topic.clone(), person.clone()))
        });
        pairs.collect()
    }
}

impl State {
    fn enter(
        &mut self,
        topic: &str,
        person: &str,
        most: usize,
    ) -> Result<(Arc<str>, Arc<str>), PresenceError> {
        let known = self.stays.get_key_value(topic);
        let topic = known.map_or_else(|| topic.into(), |(topic, _)| topic.clone());
        if let Some(persons) = self.stays.get_mut(&topic) {
            let name = persons.get_key_value(person).map(|(name, _)| name.clone());
            if let (Some(name), Some(count)) = (name, persons.get_mut(person)) {
                *count += 1;
                return Ok((topic, name));
            }
        }
        let person: Arc<str> = person.into();
        // One whose leave waits counts already.
        let known = self.entries + self.steps.leaves();
        let has_place = known < most.saturating_mul(2) || self.steps.has(&topic, &person);
        if self.entries >= most || !has_place {
            return Err(PresenceError::Full);
        }
        self.entries += 1;
        let persons = self.stays.entry(topic.clone()).or_default();
        persons.insert(person.clone(), 1);
        self.steps.push(Step {
            topic: topic.clone(),
            person: person.clone(),
            change: Change::Joined,
        });
        Ok((topic, person))
    }

    fn leave(&mut self, topic: &Arc<str>, person: &Arc<str>) {
        let Some(persons) = self.stays.get_mut(topic) else {
            return;
        };
        if let Some(count) = persons.get_mut(person) {
            *count -= 1;
            if *count > 0 {
                return;
            }
        }
        persons.remove(person);
        shrink(persons);
        if persons.is_empty() {
            self.stays.remove(topic);
            shrink(&mut self.stays);
        }
        self.entries -= 1;
        self.steps.push(Step {
            topic: topic.clone(),
            person: person.clone(),
            change: Change::Left,
        });
    }
}

/// A person is on a topic as long as this exists. [`Presence::enter`] makes it.
#[must_use = "dropping it ends the stay"]
pub struct Stay {
    inner: Arc<Inner>,
    topic: Arc<str>,
    person: Arc<str>,
}

impl Stay {
    /// The topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The person.
    pub fn person(&self) -> &str {
        &self.person
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.inner.state().leave(&self.topic, &self.person);
        Inner::tell(&self.inner);
    }
}

impl fmt::Debug for Stay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stay")
            .field("topic", &self.topic)
            .field("person", &self.person)
            .finish()
    }
}

#[cfg(test)]
mod tests;
