//! One request computes a response, and others wait for it.

use super::Core;
use super::kept::{Kept, Left};
use crate::http::deferred::Responder;
use crate::http::request::OwnedRequest;
use crate::shared::memory_budget::Reservation;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A response that is computed now, for all requests of a key.
pub(super) struct Computation(Mutex<State>);

struct State {
    began: Duration,
    /// No request can wait any more.
    is_over: bool,
    waiting: VecDeque<Waiting>,
}

impl Computation {
    pub(super) fn new(now: Duration) -> Computation {
        Computation(Mutex::new(State {
            began: now,
            is_over: false,
            waiting: VecDeque::new(),
        }))
    }

    /// No call leaves it half changed.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it goes on and has begun at most `longest` ago.
    pub(super) fn is_young(&self, now: Duration, longest: Duration) -> bool {
        let state = self.state();
        !state.is_over && now.saturating_sub(state.began) <= longest
    }

    /// Adds a request that waits. Returns it if the computation is over.
    pub(super) fn join(&self, waiting: Waiting) -> Option<Waiting> {
        let mut state = self.state();
        if state.is_over {
            return Some(waiting);
        }
        state.waiting.push_back(waiting);
        None
    }

    /// It is over: returns all that wait.
    fn end(&self) -> VecDeque<Waiting> {
        let mut state = self.state();
        state.is_over = true;
        std::mem::take(&mut state.waiting)
    }

    /// The next request that computes. It is over if there is none.
    fn next(&self, now: Duration) -> Option<Waiting> {
        let mut state = self.state();
        // Their clients may have gone. They are dropped one by one without the lock.
        let next = state.waiting.pop_front();
        state.is_over = next.is_none();
        state.began = now;
        next
    }
}

impl std::fmt::Debug for Computation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Computation").finish_non_exhaustive()
    }
}

/// The duty of one request to compute the response of a key. Whatever becomes of the request, a drop of this value passes the
/// duty on to one of the requests that wait.
pub(super) struct Duty {
    pub(super) core: Arc<Core>,
    pub(super) key: Arc<[u8]>,
    /// The length of the key without what `Vary` names.
    pub(super) primary: usize,
    pub(super) computation: Arc<Computation>,
    pub(super) is_done: bool,
}

impl Duty {
    /// There is a response: all that wait get it.
    pub(super) fn end_with(mut self, kept: &Arc<Kept>) {
        self.is_done = true;
        for waiting in self.computation.end() {
            waiting.go_on(Next::Send(kept.clone()));
        }
    }

    /// The response is for one request: all that wait call the handler.
    pub(super) fn end_alone(mut self, mut left: Left) {
        self.is_done = true;
        let waiting = self.computation.end();
        // Without others that wait, nothing has to be remembered.
        if let (Left::NotKept { until }, true) = (&mut left, waiting.is_empty()) {
            *until = None;
        }
        self.leave(left);
        for waiting in waiting {
            waiting.go_on(Next::Alone);
        }
    }
}

impl Duty {
    fn leave(&self, left: Left) {
        let mut store = self.core.shared.store();
        store.leave(&self.key, &self.computation, left);
    }
}

impl Drop for Duty {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        loop {
            let Some(next) = self.computation.next(self.core.shared.now()) else {
                return self.leave(Left::AsItWas);
            };
            if !next.responder.is_gone() {
                let duty = Duty {
                    core: self.core.clone(),
                    key: self.key.clone(),
                    primary: self.primary,
                    computation: self.computation.clone(),
                    is_done: false,
                };
                return next.go_on(Next::Compute(duty));
            }
        }
    }
}

/// What a request does that has waited.
pub(super) enum Next {
    /// This response may be the one.
    Send(Arc<Kept>),
    /// It asks again.
    Ask,
    Compute(Duty),
    /// It calls the handler, and keeps nothing.
    Alone,
}

/// A request that waits for the response that another one computes.
pub(super) struct Waiting {
    pub(super) core: Arc<Core>,
    pub(super) responder: Responder,
    pub(super) request: OwnedRequest,
    pub(super) held: Held,
    /// How often it has waited before.
    pub(super) rounds: u8,
    /// The handler runs on a thread of the pool.
    pub(super) is_on_pool: bool,
}

/// What a request that waits has of limits that are shared.
pub(super) struct Held {
    pub(super) place: Place,
    /// As large as the request.
    pub(super) charge: Reservation,
}

impl Waiting {
    /// Goes on, on the thread of its own connection. A panic of the handler is that of this request.
    pub(super) fn go_on(self, next: Next) {
        let Waiting {
            core,
            responder,
            request,
            held,
            rounds,
            is_on_pool,
        } = self;
        responder.on_worker(move |responder| {
            let Held { place, charge } = held;
            drop(place);
            responder.send_or_panicked(|res| {
                let req = request.as_request();
                match &next {
                    Next::Send(_) => core.go_on(next, &req, res, rounds),
                    _ if is_on_pool => {
                        res.offload(&req, move |req, res| core.go_on(next, req, res, rounds))
                    }
                    _ => core.go_on(next, &req, res, rounds),
                }
            });
            drop(charge);
        });
    }
}

/// A place among the requests that wait.
pub(super) struct Place(Arc<AtomicUsize>);

impl Place {
    pub(super) fn take(taken: &Arc<AtomicUsize>, most: usize) -> Option<Place> {
        // From here on the place is given back by its drop.
        let place = Place(taken.clone());
        let before = taken.fetch_add(1, Ordering::Relaxed);
        (before < most).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
