//! The topics of a history that have subscribers in this process.
//!
//! No lock of the topics is held while the log is called, because a log may call back at once. The log is told what it
//! follows under a lock of its own, so that it hears of a topic in order.

use super::HistoryLimits;
use super::log::{Feed, Log, LogError, LogMessage, Read, Receive, Start};
use super::outlets::{Client, Forms, Outlets, TopicOutlet};
use super::position::Position;
use super::track::{Found, Kept, Request, Track, TrackLimits};
use crate::http::deferred::Held;
use crate::log::event;
use crate::shared::panic_guard::quietly;
#[cfg(feature = "websocket")]
use crate::websocket::topics::Ticket;
use std::collections::{HashMap, HashSet};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

/// How often topics without subscribers are looked for. A topic that had none at two looks is given up.
pub(super) const SWEEP: Duration = Duration::from_secs(30);

/// Topics that a subscription for which there is no place may cost a look at.
const LOOKED_AT: usize = 100;

pub(super) struct Inner {
    pub(super) log: Box<dyn Log>,
    pub(super) limits: HistoryLimits,
    pub(super) outlets: Outlets,
    topics: Mutex<Topics>,
    /// The topics that the log follows. It is locked before `topics`, and while the log is told.
    followed: Mutex<HashSet<Arc<str>>>,
    this: Weak<Inner>,
    /// Its drop ends the thread that sweeps.
    _alive: mpsc::Sender<()>,
}

struct Topics {
    by_name: HashMap<Arc<str>, Topic>,
    recent_bytes: usize,
    /// Number of clients that wait for reads of the log.
    waiting: usize,
    /// Number of subscriptions without a place since topics without subscribers were looked for.
    refused: usize,
}

struct Topic {
    track: Track<Client, Forms>,
    /// Each WebSocket that is subscribed, or soon will be, has a clone.
    #[cfg(feature = "websocket")]
    sockets: Ticket,
    /// There was a subscriber since the last sweep.
    is_used: bool,
}

impl Inner {
    /// `every`: how often it sweeps.
    pub(super) fn start(
        log: Box<dyn Log>,
        limits: HistoryLimits,
        outlets: Outlets,
        every: Duration,
    ) -> Arc<Inner> {
        let (alive, is_over) = mpsc::channel();
        let inner = Arc::new_cyclic(|this: &Weak<Inner>| Inner {
            log,
            limits,
            outlets,
            topics: Mutex::new(Topics {
                by_name: HashMap::new(),
                recent_bytes: 0,
                waiting: 0,
                refused: 0,
            }),
            followed: Mutex::default(),
            this: this.clone(),
            _alive: alive,
        });
        let target: Weak<Inner> = Arc::downgrade(&inner);
        inner.log.start(Feed::new(target));
        let swept = inner.this.clone();
        let run = move || {
            while is_over.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                let Some(inner) = swept.upgrade() else { return };
                quietly("the sweep of a history", || {
                    inner.sweep(false);
                    inner.log.sweep();
                });
            }
        };
        let thread = thread::Builder::new().name("pg-history".to_owned());
        if let Err(error) = thread.spawn(run) {
            event!(
                Error,
                "no thread for a history, so nothing expires: {error}"
            );
        }
        inner
    }

    pub(super) fn topics(&self) -> usize {
        self.locked(|topics| topics.by_name.len())
    }

    #[cfg(test)]
    pub(super) fn recent_bytes(&self) -> usize {
        self.locked(|topics| topics.recent_bytes)
    }

    pub(super) fn has_place(&self, topic: &str) -> Result<(), LogError> {
        let is_full = || {
            self.locked(|topics| {
                !topics.by_name.contains_key(topic) && topics.by_name.len() >= self.limits.topics
            })
        };
        // Each look is paid for by some that were refused.
        let is_due = || {
            self.locked(|topics| {
                topics.refused += 1;
                let is_due = topics.refused * LOOKED_AT >= topics.by_name.len();
                topics.refused *= usize::from(!is_due);
                is_due
            })
        };
        if is_full() && is_due() {
            self.sweep(true);
        }
        match is_full() {
            true => Err(LogError::Topics),
            false => Ok(()),
        }
    }

    pub(super) fn subscribe(
        &self,
        client: Client,
        topic: &str,
        start: Start,
    ) -> Result<(), LogError> {
        self.has_place(topic)?;
        let name: Arc<str> = topic.into();
        let subscribed = self.locked(|topics| {
            let may_wait = topics.waiting < self.limits.waiting;
            let is_new = !topics.by_name.contains_key(&name);
            if is_new && !may_wait {
                return Err(Some(client));
            }
            let topic = topics.by_name.entry(name.clone());
            let topic = topic.or_insert_with(|| Topic::new(&self.limits));
            topic.is_used = true;
            let request = topics.change(&name, self, |track, out| {
                track.subscribe(client, start, may_wait, out)
            });
            request.unwrap_or(Ok(None)).map_err(Some)
        });
        // A client that is refused is dropped without the lock.
        let request = subscribed.map_err(|_| LogError::Full)?;
        if let Some(request) = request {
            self.follow(&name);
            self.read(&name, request);
        }
        Ok(())
    }

    /// Makes a read, outside of all locks.
    fn read(&self, name: &Arc<str>, request: Request) {
        let (this, topic) = (self.this.clone(), name.clone());
        let done = Box::new(move |read: Result<Read, LogError>| {
            if let Some(this) = this.upgrade() {
                this.has_read(&topic, request, read);
            }
        });
        self.log
            .since(name, request.start, self.limits.messages, done);
    }

    fn has_read(&self, name: &Arc<str>, request: Request, read: Result<Read, LogError>) {
        let found = read.map(|read| match read {
            Read::Recovered { entries, last } => {
                let entries = entries.into_iter().map(|entry| {
                    let offset = entry.offset;
                    self.outlets
                        .kept(name, Position { offset, ..last }, &entry.message)
                });
                Found::Recovered(entries.collect(), last)
            }
            Read::Lost { last } => Found::Lost(last),
        });
        let requests = self.locked(|topics| {
            topics.change(name, self, |track, out| track.read(request, found, out))
        });
        for request in requests.into_iter().flatten() {
            self.read(name, request);
        }
    }

    /// Tells the log whether a topic is to be followed, as it is now.
    fn follow(&self, name: &Arc<str>) {
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        let is_wanted = self.locked(|topics| topics.by_name.contains_key(name));
        match (is_wanted, followed.contains(name)) {
            (true, false) => {
                followed.insert(name.clone());
                self.log.follow(name);
            }
            (false, true) => {
                followed.remove(name);
                self.log.unfollow(name);
            }
            _ => {}
        }
    }

    /// Reads what the subscribers of a topic may have missed.
    fn read_on(&self, name: &Arc<str>) {
        let request =
            self.locked(|topics| topics.change(name, self, |track, _| track.interrupted()));
        if let Some(request) = request.flatten() {
            self.read(name, request);
        }
    }

    /// Gives up topics without subscribers. When all have had their time (not `is_full`), it reads those again whose read has
    /// failed, and drops messages that were kept for long.
    fn sweep(&self, is_full: bool) {
        let (gone, behind) = self.locked(|topics| {
            if !is_full {
                let all = topics.by_name.values_mut();
                all.for_each(|topic| topic.track.age());
            }
            let gone = topics.sweep(&self.outlets, is_full);
            let behind = if is_full { Vec::new() } else { topics.behind() };
            (gone, behind)
        });
        gone.iter().for_each(|name| self.follow(name));
        behind.iter().for_each(|name| self.read_on(name));
    }

    /// Calls `act` with the lock held. No code of users runs meanwhile, but for the functions that format.
    fn locked<T>(&self, act: impl FnOnce(&mut Topics) -> T) -> T {
        let held = Held::begin();
        let mut topics: MutexGuard<'_, _> =
            self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        let result = act(&mut topics);
        drop(topics);
        drop(held);
        result
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let followed = self.followed.get_mut();
        let followed = followed.unwrap_or_else(PoisonError::into_inner);
        followed.iter().for_each(|name| self.log.unfollow(name));
    }
}

impl Receive for Inner {
    fn deliver(&self, topic: &str, position: Position, message: LogMessage) {
        let name = self.locked(|topics| Some(topics.by_name.get_key_value(topic)?.0.clone()));
        let Some(name) = name else { return };
        let kept: Kept<Forms> = self.outlets.kept(&name, position, &message);
        let request = self.locked(|topics| {
            topics.change(&name, self, |track, out| track.deliver(position, kept, out))
        });
        if let Some(request) = request.flatten() {
            self.read(&name, request);
        }
    }

    fn interrupted(&self) {
        let names = self.locked(|topics| topics.by_name.keys().cloned().collect::<Vec<_>>());
        names.iter().for_each(|name| self.read_on(name));
    }
}

impl Topic {
    fn new(limits: &HistoryLimits) -> Topic {
        Topic {
            track: Track::new(TrackLimits {
                messages: limits.messages,
                tail_bytes: limits.recent_bytes,
            }),
            #[cfg(feature = "websocket")]
            sockets: Ticket::default(),
            is_used: true,
        }
    }

    fn has_subscribers(&self, name: &str, outlets: &Outlets) -> bool {
        let pages = outlets
            .events
            .as_ref()
            .map_or(0, |(hub, _)| hub.pages(name));
        #[cfg(feature = "websocket")]
        if Ticket::strong_count(&self.sockets) > 1 {
            return true;
        }
        pages > 0 || !self.track.is_quiet()
    }
}

impl Topics {
    /// Changes the track of a topic, if it is there.
    fn change<T>(
        &mut self,
        name: &str,
        inner: &Inner,
        act: impl FnOnce(&mut Track<Client, Forms>, &mut TopicOutlet<'_>) -> T,
    ) -> Option<T> {
        let topic = self.by_name.get_mut(name)?;
        let before = (topic.track.tail_bytes(), topic.track.pending());
        let mut out = TopicOutlet {
            outlets: &inner.outlets,
            topic: name,
            #[cfg(feature = "websocket")]
            sockets: &topic.sockets,
        };
        let result = act(&mut topic.track, &mut out);
        self.waiting = self.waiting - before.1 + topic.track.pending();
        self.recent_bytes = self.recent_bytes - before.0 + topic.track.tail_bytes();
        if self.recent_bytes > inner.limits.all_recent_bytes {
            self.recent_bytes -= topic.track.tail_bytes();
            topic.track.forget_tail();
        }
        Some(result)
    }

    /// The names of the topics whose last read has failed.
    fn behind(&self) -> Vec<Arc<str>> {
        let topics = self.by_name.iter();
        let behind = topics.filter(|(_, topic)| topic.track.is_behind());
        behind.map(|(name, _)| name.clone()).collect()
    }

    /// The names of the topics that are given up.
    fn sweep(&mut self, outlets: &Outlets, at_once: bool) -> Vec<Arc<str>> {
        let mut gone = Vec::new();
        self.by_name.retain(|name, topic| {
            let has_subscribers = topic.has_subscribers(name, outlets);
            let stays = has_subscribers || topic.is_used && !at_once;
            topic.is_used = has_subscribers;
            if !stays {
                gone.push(name.clone());
            }
            stays
        });
        let bytes = self.by_name.values().map(|topic| topic.track.tail_bytes());
        self.recent_bytes = bytes.sum();
        gone
    }
}
