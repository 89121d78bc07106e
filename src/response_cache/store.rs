//! What a cache keeps: responses by key, and requests that wait for them.

use crate::http::deferred::Responder;
use crate::http::request::{OwnedRequest, Request};
use crate::http::response::prepared::PreparedResponse;
use crate::http::response::{Done, Response};
use crate::shared::memory_budget::Reservation;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Responses to one key that differ by `Vary`.
const VARIANTS: usize = 8;

/// Bytes that an entry needs beside its response.
const ENTRY: usize = 256;

/// A request that waits for the response that another one computes.
pub(super) struct Waiting {
    responder: Responder,
    pub(super) request: OwnedRequest,
    /// As large as the request.
    charge: Reservation,
}

impl Waiting {
    pub(super) fn new(responder: Responder, request: OwnedRequest, charge: Reservation) -> Waiting {
        Waiting {
            responder,
            request,
            charge,
        }
    }

    /// Responds to it. A panic of the handler is that of this request.
    pub(super) fn send(self, respond: impl FnOnce(&Request<'_>, Response<'_>) -> Done) {
        let Waiting {
            responder,
            request,
            charge,
        } = self;
        responder.send_or_panicked(|res| respond(&request.as_request(), res));
        drop(charge);
    }
}

/// A response that is kept.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) response: PreparedResponse,
    /// The request fields that select it, with their values.
    pub(super) vary: Vec<(String, Vec<Vec<u8>>)>,
    pub(super) begun: Instant,
    /// Until then it is sent in any case.
    pub(super) fresh: Instant,
    /// Until then it is sent while another request computes the next one.
    pub(super) end: Instant,
}

impl Kept {
    /// Whole seconds since it was computed.
    pub(super) fn age(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.begun).as_secs()
    }

    /// Whether it is the response to this request (RFC 9111 section 4.1).
    pub(super) fn is_for(&self, req: &Request<'_>) -> bool {
        let is_same = |(name, values): &(String, Vec<Vec<u8>>)| {
            req.header_all(name).eq(values.iter().map(Vec::as_slice))
        };
        self.vary.iter().all(is_same)
    }

    fn weight(&self) -> usize {
        let values =
            |(_, values): &(String, Vec<Vec<u8>>)| values.iter().map(Vec::len).sum::<usize>();
        self.response.weight() + self.vary.iter().map(values).sum::<usize>()
    }
}

#[derive(Default)]
struct Entry {
    kept: Vec<Arc<Kept>>,
    /// Whether a request computes a response, and those that wait for it.
    is_computed: bool,
    waiting: Mutex<Vec<Waiting>>,
    /// Until then, responses to this key are known not to be kept.
    not_kept: Option<Instant>,
    /// The number of its place in the order of age.
    number: u64,
}

/// What there is for a request.
pub(super) enum Found {
    Kept(Arc<Kept>),
    /// Another request computes it.
    Computing,
    /// Its response is not one that is kept.
    NotKept,
    Nothing,
}

/// All entries of a cache.
pub(super) struct Store {
    entries: HashMap<Vec<u8>, Entry>,
    /// Keys in the order of age, with the numbers of their entries. A key whose entry has another number is out of
    /// date.
    order: VecDeque<(u64, Vec<u8>)>,
    numbers: u64,
    /// Raised by each purge.
    epoch: u64,
    most: usize,
    bytes: usize,
    waiting: usize,
}

/// The list of an entry that the caller may change. The lock only makes the entry `Sync`.
fn list(waiting: &mut Mutex<Vec<Waiting>>) -> &mut Vec<Waiting> {
    waiting.get_mut().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("entries", &self.entries.len())
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl Store {
    pub(super) fn new(most: usize) -> Store {
        Store {
            entries: HashMap::new(),
            order: VecDeque::new(),
            numbers: 0,
            epoch: 0,
            most,
            bytes: 0,
            waiting: 0,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    #[cfg(test)]
    pub(super) fn order_len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    pub(super) fn find(&self, key: &[u8], req: &Request<'_>, now: Instant) -> Found {
        let Some(entry) = self.entries.get(key) else {
            return Found::Nothing;
        };
        let kept = entry.kept.iter().find(|kept| kept.is_for(req));
        match kept {
            Some(kept) if now < kept.fresh || entry.is_computed && now < kept.end => {
                Found::Kept(kept.clone())
            }
            _ if entry.not_kept.is_some_and(|until| now < until) => Found::NotKept,
            _ if entry.is_computed => Found::Computing,
            _ => Found::Nothing,
        }
    }

    /// A request begins to compute the response. Returns the epoch.
    pub(super) fn begin(&mut self, key: &[u8]) -> u64 {
        let numbers = &mut self.numbers;
        let (order, bytes) = (&mut self.order, &mut self.bytes);
        let entry = self.entries.entry(key.to_vec()).or_insert_with(|| {
            *numbers += 1;
            *bytes += ENTRY + 2 * key.len();
            order.push_back((*numbers, key.to_vec()));
            Entry {
                number: *numbers,
                ..Entry::default()
            }
        });
        entry.is_computed = true;
        self.epoch
    }

    pub(super) fn wait(&mut self, key: &[u8], waiting: Waiting) {
        if let Some(entry) = self.entries.get_mut(key) {
            list(&mut entry.waiting).push(waiting);
            self.waiting += 1;
        }
    }

    /// The response that was computed, if it is kept. Returns the requests that wait for it.
    pub(super) fn end(
        &mut self,
        key: &[u8],
        epoch: u64,
        kept: Option<Arc<Kept>>,
        not_before: Option<Instant>,
    ) -> Vec<Waiting> {
        let is_current = epoch == self.epoch;
        let Some(entry) = self.entries.get_mut(key) else {
            return Vec::new();
        };
        entry.is_computed = false;
        let waiting = std::mem::take(list(&mut entry.waiting));
        self.waiting -= waiting.len();
        match kept {
            Some(kept) if is_current => {
                let old = entry.kept.iter().position(|old| old.vary == kept.vary);
                let old = old.or((entry.kept.len() >= VARIANTS).then_some(0));
                if let Some(old) = old {
                    self.bytes -= entry.kept.remove(old).weight();
                }
                self.bytes += kept.weight();
                entry.kept.push(kept);
                entry.not_kept = None;
            }
            Some(_) => {}
            // Without others that wait, nothing has to be remembered.
            None if waiting.is_empty() && entry.kept.is_empty() => self.remove(key),
            None => entry.not_kept = not_before,
        }
        self.make_room();
        waiting
    }

    /// Drops the oldest entries while there are too many bytes. Those that are computed stay.
    fn make_room(&mut self) {
        // Of entries that were removed.
        if self.order.len() > 2 * self.entries.len() + VARIANTS {
            let entries = &self.entries;
            let is_current = |(number, key): &(u64, Vec<u8>)| {
                entries
                    .get(key)
                    .is_some_and(|entry| entry.number == *number)
            };
            self.order.retain(is_current);
        }
        for _ in 0..self.order.len() {
            if self.bytes <= self.most {
                break;
            }
            let Some((number, key)) = self.order.pop_front() else {
                break;
            };
            let Some(entry) = self
                .entries
                .get(&key)
                .filter(|entry| entry.number == number)
            else {
                continue;
            };
            match entry.is_computed {
                true => self.order.push_back((number, key)),
                false => self.remove(&key),
            }
        }
    }

    fn remove(&mut self, key: &[u8]) {
        if let Some(entry) = self.entries.remove(key) {
            let kept: usize = entry.kept.iter().map(|kept| kept.weight()).sum();
            self.bytes -= kept + ENTRY + 2 * key.len();
        }
    }

    /// Drops the responses for targets for which `is_meant` returns true.
    pub(super) fn purge(&mut self, is_meant: impl Fn(&[u8]) -> bool) {
        self.epoch += 1;
        for (key, entry) in &mut self.entries {
            let target = key.split(|byte| *byte == 0).next();
            if target.is_some_and(&is_meant) {
                for kept in entry.kept.drain(..) {
                    self.bytes -= kept.weight();
                }
                entry.not_kept = None;
            }
        }
    }
}
