//! What a cache keeps: responses by key, and which of them are computed now.

use super::computation::{Begun, Computation};
use super::kept::{Kept, Left, nanos};
use super::key;
use super::rules::VARY_NAMES;
use crate::http::request::Request;
use crate::shared::sip_hash::RandomKey;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Bytes that an entry needs beside its key, which is there once, and its response.
const ENTRY: usize = 320;

#[derive(Debug, Default)]
struct Entry {
    kept: Option<Arc<Kept>>,
    /// Responses to this key depend on these fields: they have keys of their own.
    vary: Option<Arc<[String]>>,
    /// A request computes the next response.
    computation: Option<Arc<Computation>>,
    /// Until then, responses are known not to be kept.
    not_kept: Option<Duration>,
    /// The number of its place in the order of age.
    number: u64,
    /// Whether it was used since it was last considered for removal.
    is_used: AtomicBool,
}

impl Entry {
    fn weight(&self) -> usize {
        self.kept.as_ref().map_or(0, |kept| kept.weight())
    }

    fn is_by(&self, computation: &Arc<Computation>) -> bool {
        let own = self.computation.as_ref();
        own.is_some_and(|own| Arc::ptr_eq(own, computation))
    }
}

/// What a request that finds no fresh response does.
pub(super) enum Entered {
    Send(Arc<Kept>),
    Wait(Arc<Computation>),
    Compute(Begun),
    /// It is known that the response is not kept.
    Alone,
}

/// All entries of a cache.
#[derive(Debug)]
pub(super) struct Store {
    entries: HashMap<Arc<[u8]>, Entry, RandomKey>,
    /// Keys in the order of age, with the numbers of their entries. A key whose entry has another number, or none, is
    /// out of date.
    order: VecDeque<(u64, Arc<[u8]>)>,
    numbers: u64,
    most: usize,
    bytes: usize,
    evicted: u64,
}

impl Store {
    pub(super) fn new(most: usize) -> Store {
        Store {
            entries: HashMap::default(),
            order: VecDeque::new(),
            numbers: 0,
            most,
            bytes: 0,
            evicted: 0,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }

    #[cfg(test)]
    pub(super) fn order_len(&self) -> usize {
        self.order.len()
    }

    /// The entry for a request, by a key without what `Vary` names, and its own key if that is another one.
    #[inline]
    fn entry(&self, key: &[u8], req: &Request<'_>) -> (Option<&Entry>, Option<Vec<u8>>) {
        match self.entries.get(key) {
            Some(entry) if entry.vary.is_some() => self.variant(entry, key, req),
            entry => (entry, None),
        }
    }

    #[inline(never)]
    fn variant(
        &self,
        entry: &Entry,
        key: &[u8],
        req: &Request<'_>,
    ) -> (Option<&Entry>, Option<Vec<u8>>) {
        entry.use_it();
        let mut key = key.to_vec();
        vary(entry.vary.as_deref().unwrap_or_default(), req, &mut key);
        (self.entries.get(key.as_slice()), Some(key))
    }

    /// A fresh response.
    #[inline]
    pub(super) fn find(&self, key: &[u8], req: &Request<'_>, now: u64) -> Option<Arc<Kept>> {
        let entry = self.entry(key, req).0?;
        let kept = entry.kept.as_ref().filter(|kept| kept.is_fresh(now))?;
        entry.use_it();
        Some(kept.clone())
    }

    /// What a request does that has found nothing. If the last one has begun to compute `longest` ago, this one computes too.
    pub(super) fn enter(
        &mut self,
        key: &[u8],
        req: &Request<'_>,
        now: Duration,
        longest: Duration,
    ) -> Entered {
        let (entry, own) = self.entry(key, req);
        let mut computation = None;
        if let Some(entry) = entry {
            let is_fresh = |kept: &&Arc<Kept>| kept.is_fresh(nanos(now));
            if let Some(kept) = entry.kept.as_ref().filter(is_fresh) {
                return Entered::Send(kept.clone());
            }
            let is_known = entry.not_kept.is_some_and(|until| now < until);
            let young = entry.computation.as_ref();
            let young = young.filter(|own| own.is_young(now, longest));
            match (young, &entry.kept) {
                (Some(_), Some(kept)) if kept.is_sendable(now) => {
                    return Entered::Send(kept.clone());
                }
                _ if is_known => return Entered::Alone,
                (Some(young), _) => return Entered::Wait(young.clone()),
                (None, _) => {}
            }
            let old = entry.computation.clone();
            computation = old.filter(|old| old.begin_another(now));
        }
        let computation = computation.unwrap_or_else(|| Arc::new(Computation::new(now)));
        let primary = key.len();
        let key: Arc<[u8]> = own.map_or_else(|| key.into(), Arc::from);
        let entry = self.entry_or_new(&key);
        entry.computation = Some(computation.clone());
        let begun = Begun {
            number: entry.number,
            key,
            primary,
            at: now,
            computation,
        };
        self.make_room();
        Entered::Compute(begun)
    }

    fn entry_or_new(&mut self, key: &Arc<[u8]>) -> &mut Entry {
        let Store {
            entries,
            order,
            numbers,
            bytes,
            ..
        } = self;
        entries.entry(key.clone()).or_insert_with(|| {
            *numbers += 1;
            *bytes += ENTRY + key.len();
            order.push_back((*numbers, key.clone()));
            Entry {
                number: *numbers,
                ..Entry::default()
            }
        })
    }

    /// A call has brought a response. It is kept, unless the key was purged since the call has begun, or there is one of a call that
    /// has begun later.
    pub(super) fn keep(
        &mut self,
        begun: &Begun,
        mut kept: Kept,
        names: Vec<String>,
        req: &Request<'_>,
    ) -> Arc<Kept> {
        let (key, primary) = (&begun.key, begun.primary);
        let entry = self
            .entries
            .get_mut(key)
            .filter(|own| own.number == begun.number);
        let Some(entry) = entry else {
            kept.set_vary(names.into(), req);
            return Arc::new(kept);
        };
        if entry.is_by(&begun.computation) {
            entry.computation = None;
        }
        entry.not_kept = None;
        let primary: Arc<[u8]> = key[..primary].into();
        let known = self
            .entries
            .get(&primary)
            .and_then(|entry| entry.vary.clone());
        let names = union(known.as_deref().unwrap_or_default(), names);
        let is_small = names.len() <= VARY_NAMES;
        kept.set_vary(names.into(), req);
        let (names, kept) = (kept.names().clone(), Arc::new(kept));
        if !is_small {
            return kept;
        }
        let mut key = primary.to_vec();
        if !names.is_empty() {
            let entry = self.entry_or_new(&primary);
            entry.vary = Some(names.clone());
            let old = entry.kept.take();
            self.bytes -= old.map_or(0, |old| old.weight());
            vary(&names, req, &mut key);
        }
        let entry = self.entry_or_new(&key.into());
        let own = entry.kept.as_ref();
        if own.is_some_and(|own| own.is_newer_than(&kept)) {
            return kept;
        }
        let old = entry.kept.replace(kept.clone());
        entry.not_kept = None;
        // Else the new one would go first where all others were used.
        entry.use_it();
        self.bytes += kept.weight();
        self.bytes -= old.map_or(0, |old| old.weight());
        self.make_room();
        kept
    }

    /// The computation has ended without a response that is kept.
    pub(super) fn leave(&mut self, begun: &Begun, left: Left) {
        let key = &begun.key;
        let entry = self.entries.get_mut(key);
        let Some(entry) = entry.filter(|own| own.is_by(&begun.computation)) else {
            return;
        };
        entry.computation = None;
        if let Left::NotKept { until } = left {
            entry.not_kept = Some(until);
        }
        if !matches!(left, Left::AsItWas) {
            let old = entry.kept.take();
            self.bytes -= old.map_or(0, |old| old.weight());
        }
        if entry.not_kept.is_none() && entry.kept.is_none() && entry.vary.is_none() {
            self.remove(key);
        }
    }

    /// All responses that are computed now.
    pub(super) fn computations(&self) -> Vec<Arc<Computation>> {
        let entries = self.entries.values();
        entries.filter_map(|e| e.computation.clone()).collect()
    }

    /// Removes the least used entries while there are too many bytes: the oldest of those that were not used since they were
    /// last considered. Those that are computed stay.
    fn make_room(&mut self) {
        if self.order.len() > 2 * self.entries.len() + 64 {
            let entries = &self.entries;
            let is_current = |(number, key): &(u64, Arc<[u8]>)| {
                entries
                    .get(key)
                    .is_some_and(|entry| entry.number == *number)
            };
            self.order.retain(is_current);
        }
        for _ in 0..2 * self.order.len() {
            if self.bytes <= self.most {
                return;
            }
            let Some((number, key)) = self.order.pop_front() else {
                return;
            };
            let entry = self.entries.get(&key);
            let Some(entry) = entry.filter(|entry| entry.number == number) else {
                continue;
            };
            let stays = entry.computation.is_some() || entry.is_used.swap(false, Ordering::Relaxed);
            match stays {
                true => self.order.push_back((number, key)),
                false => {
                    self.remove(&key);
                    self.evicted += 1;
                }
            }
        }
    }

    fn remove(&mut self, key: &[u8]) {
        if let Some(entry) = self.entries.remove(key) {
            self.bytes -= entry.weight() + ENTRY + key.len();
        }
    }

    /// Forgets all for targets for which `is_meant` returns true. What is computed meanwhile finds no entry, and is not kept.
    pub(super) fn purge(&mut self, is_meant: impl Fn(&[u8]) -> bool) -> usize {
        let before = self.entries.len();
        let bytes = &mut self.bytes;
        self.entries.retain(|key, entry| {
            let is_kept = !is_meant(key::target(key));
            if !is_kept {
                *bytes -= entry.weight() + ENTRY + key.len();
            }
            is_kept
        });
        before - self.entries.len()
    }
}

impl Entry {
    #[inline]
    fn use_it(&self) {
        // A write would take the cache line from other threads.
        if !self.is_used.load(Ordering::Relaxed) {
            self.is_used.store(true, Ordering::Relaxed);
        }
    }
}

/// Adds what `Vary` of responses names.
fn vary(names: &[String], req: &Request<'_>, key: &mut Vec<u8>) {
    // What precedes it is complete, so that no other key is the same.
    key.push(b'v');
    key::vary(names, req, key);
}

/// Two sorted lists as one.
fn union(known: &[String], mut names: Vec<String>) -> Vec<String> {
    for name in known {
        if let Err(at) = names.binary_search(name) {
            names.insert(at, name.clone());
        }
    }
    names
}
