//! Reads of a store: one at a time for each topic.

use super::store::{Members, PresenceError};
use super::{Inner, OnMembers, PresenceStore};
use crate::shared::panic_guard::quietly;
use crate::shared::sparse::shrink;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::{Arc, Weak};

/// Reads of a topic that a thread makes one after the other for calls of other threads. Those that still wait then take
/// what the last one has found.
const ROUNDS: usize = 2;

type Job = Box<dyn FnOnce()>;

thread_local! {
    /// What this thread does after the job that it runs; `None` if it runs none.
    static JOBS: RefCell<Option<VecDeque<Job>>> = const { RefCell::new(None) };
}

/// Runs `job` on this thread: now, or after the job that runs. So a store that answers at once, to a function that asks
/// again, makes a loop and not a recursion.
fn run(job: impl FnOnce() + 'static) {
    let is_in_job = JOBS.with_borrow_mut(|jobs| {
        let is_in_job = jobs.is_some();
        jobs.get_or_insert_default().push_back(Box::new(job));
        is_in_job
    });
    if is_in_job {
        return;
    }
    let next = || {
        JOBS.with_borrow_mut(|jobs| {
            let job = jobs.as_mut().and_then(VecDeque::pop_front);
            if job.is_none() {
                *jobs = None;
            }
            job
        })
    };
    while let Some(job) = next() {
        quietly("a store of presences", job);
    }
}

impl Inner {
    /// Calls `done` with who is on a topic, after a read that begins now, or after the next one.
    pub(super) fn members(this: &Arc<Inner>, topic: Arc<str>, done: OnMembers) {
        let mut state = this.state();
        let is_read = state.reads.contains_key(&topic);
        state.reads.entry(topic.clone()).or_default().push(done);
        drop(state);
        if !is_read {
            let inner = this.clone();
            run(move || inner.read(topic, 1));
        }
    }

    fn read(self: Arc<Inner>, topic: Arc<str>, round: usize) {
        let mut state = self.state();
        let waiting = state.reads.get_mut(&topic).map(std::mem::take);
        drop(state);
        let answer = Answer {
            inner: Arc::downgrade(&self),
            topic: topic.clone(),
            waiting,
            round,
        };
        let done = Box::new(move |members| answer.end(members));
        let store: &dyn PresenceStore = &*self.store;
        store.members(&topic, self.limits.listed, done);
    }

    /// A read of a topic has ended. The calls that wait for the next one, if there will be none.
    fn go_on(self: Arc<Inner>, topic: &Arc<str>, round: usize) -> Vec<OnMembers> {
        let mut state = self.state();
        let is_last = round > ROUNDS || state.reads.get(topic).is_none_or(Vec::is_empty);
        if is_last {
            let waiting = state.reads.remove(topic);
            shrink(&mut state.reads);
            return waiting.unwrap_or_default();
        }
        drop(state);
        let topic = topic.clone();
        run(move || self.read(topic, round));
        Vec::new()
    }
}

/// The calls that wait for a read. When a store drops it, they are told that the store is not available.
struct Answer {
    inner: Weak<Inner>,
    topic: Arc<str>,
    waiting: Option<Vec<OnMembers>>,
    /// Number of reads since other threads had their turn.
    round: usize,
}

impl Answer {
    fn end(mut self, members: Result<Members, PresenceError>) {
        self.give(members);
    }

    fn give(&mut self, members: Result<Members, PresenceError>) {
        let Some(mut waiting) = self.waiting.take() else {
            return;
        };
        // A store that answers later takes its time: then each call gets a read that began after it.
        let is_at_once = JOBS.with_borrow(Option::is_some);
        let round = if is_at_once { self.round + 1 } else { 1 };
        let (inner, topic) = (self.inner.clone(), self.topic.clone());
        run(move || {
            if let Some(inner) = inner.upgrade() {
                waiting.extend(inner.go_on(&topic, round));
            }
            let members = members.map(Arc::new);
            for done in waiting {
                let members = members.clone();
                quietly("a function that takes members", || done(members));
            }
        });
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if self.waiting.is_some() {
            self.give(Err(PresenceError::Unavailable));
        }
    }
}
