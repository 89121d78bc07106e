//! One request computes a response, and others wait for it.

use super::Core;
use super::kept::{Kept, Left};
use crate::http::deferred::Responder;
use crate::http::request::OwnedRequest;
use crate::shared::memory_budget::Reservation;
use crate::shared::quota::Held;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A response that is computed now, for all requests of a key.
pub(super) struct Computation(Mutex<State>);

struct State {
    /// When the first request has begun to compute it.
    first: Duration,
    /// When the last one has.
    last: Duration,
    /// So many compute it now: more than one if the first takes too long.
    computing: usize,
    /// A call of the handler has failed.
    has_failed: bool,
    /// No request can wait any more.
    is_over: bool,
    waiting: VecDeque<Waiting>,
    /// If so many wait, those that have gone are looked for.
    look_at: usize,
}

/// Among fewer requests, those that have gone are not looked for.
const LOOK: usize = 64;

/// What follows if a call of the handler has failed.
enum Failed {
    /// Nothing: others compute the response as well, or there is one.
    Others,
    /// This request computes next.
    Next(Box<Waiting>),
    /// It is over. All that wait go on.
    Over(VecDeque<Waiting>),
}

impl Computation {
    pub(super) fn new(now: Duration) -> Computation {
        Computation(Mutex::new(State {
            first: now,
            last: now,
            computing: 1,
            has_failed: false,
            is_over: false,
            waiting: VecDeque::new(),
            look_at: LOOK,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it goes on, and the last call of the handler has begun less than `longest` ago.
    pub(super) fn is_young(&self, now: Duration, longest: Duration) -> bool {
        let state = self.state();
        !state.is_over && now.saturating_sub(state.last) < longest
    }

    /// One more request computes it. False if it is over.
    pub(super) fn begin_another(&self, now: Duration) -> bool {
        let mut state = self.state();
        if !state.is_over {
            state.last = now;
            state.computing += 1;
        }
        !state.is_over
    }

    /// Whether fewer than `most` wait. Each time when their number has doubled, those whose clients have gone give up their
    /// places.
    pub(super) fn has_room(&self, most: usize) -> bool {
        let mut state = self.state();
        if state.waiting.len() < state.look_at {
            return state.waiting.len() < most;
        }
        let gone = state.take_gone(false);
        state.look_at = (2 * state.waiting.len()).max(LOOK);
        let has_room = state.waiting.len() < most;
        // They are dropped without the lock.
        drop(state);
        drop(gone);
        has_room
    }

    /// Those whose clients have gone give up their places.
    pub(super) fn drop_gone(&self) {
        let gone = self.state().take_gone(true);
        drop(gone);
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

    /// A request has not computed it. `is_called`: the handler was called, and has failed.
    fn fail(&self, now: Duration, longest: Duration, is_called: bool) -> Failed {
        // They are dropped after the lock.
        let mut gone = Vec::new();
        let mut state = self.state();
        state.computing -= 1;
        if state.is_over || state.computing > 0 {
            return Failed::Others;
        }
        let has_time = now.saturating_sub(state.first) < longest;
        let is_passed_on = has_time && !(is_called && state.has_failed);
        state.has_failed |= is_called;
        while is_passed_on && let Some(next) = state.waiting.pop_front() {
            if next.responder.is_waited_for() {
                state.computing = 1;
                state.last = now;
                return Failed::Next(Box::new(next));
            }
            gone.push(next);
        }
        state.is_over = true;
        Failed::Over(std::mem::take(&mut state.waiting))
    }
}

impl State {
    /// Takes out those whose clients have gone. If there is no room, a client that has closed its sending half counts as gone.
    fn take_gone(&mut self, is_full: bool) -> VecDeque<Waiting> {
        let is_there = |waiting: &Waiting| match is_full {
            true => !waiting.responder.is_gone(),
            false => waiting.responder.is_waited_for(),
        };
        if self.waiting.iter().all(is_there) {
            return VecDeque::new();
        }
        let all = std::mem::take(&mut self.waiting).into_iter();
        let (there, gone) = all.partition(is_there);
        self.waiting = there;
        gone
    }
}

impl std::fmt::Debug for Computation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Computation").finish_non_exhaustive()
    }
}

/// One call of a handler for a response that may be kept.
#[derive(Clone, Debug)]
pub(super) struct Begun {
    pub(super) key: Arc<[u8]>,
    /// The length of the key without what `Vary` names.
    pub(super) primary: usize,
    /// The number of the entry. After a purge there is none with this number.
    pub(super) number: u64,
    /// When it has begun.
    pub(super) at: Duration,
    pub(super) computation: Arc<Computation>,
}

impl Begun {
    /// The same for another call, which begins at `at`.
    fn again(&self, at: Duration) -> Begun {
        Begun { at, ..self.clone() }
    }
}

/// The duty of one request to compute the response of a key. Whatever becomes of the request, a drop of this value passes the
/// duty on to one of the requests that wait.
pub(super) struct Duty {
    pub(super) core: Arc<Core>,
    pub(super) begun: Begun,
    /// The handler is called.
    pub(super) is_called: bool,
    is_done: bool,
}

impl Duty {
    pub(super) fn new(core: Arc<Core>, begun: Begun) -> Duty {
        Duty {
            core,
            begun,
            is_called: false,
            is_done: false,
        }
    }

    /// There is a response: all that wait get it.
    pub(super) fn end_with(mut self, kept: &Arc<Kept>) {
        self.is_done = true;
        release(self.begun.computation.end(), Some(kept));
    }

    /// The response is for one request: all that wait call the handler.
    pub(super) fn end_alone(mut self, left: Left) {
        self.is_done = true;
        let waiting = self.begun.computation.end();
        // Without others that wait, it need not be known that responses are not kept.
        let left = match left {
            Left::NotKept { .. } if waiting.is_empty() => Left::Gone,
            left => left,
        };
        self.core.shared.store().leave(&self.begun, left);
        release(waiting, None);
    }
}

impl Drop for Duty {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        let shared = &self.core.shared;
        let (now, longest) = (shared.now(), shared.config.compute_timeout);
        let computation = &self.begun.computation;
        match computation.fail(now, longest, self.is_called) {
            Failed::Others => {}
            Failed::Next(next) => {
                let duty = Duty::new(self.core.clone(), self.begun.again(now));
                next.go_on(Next::Compute(duty), None);
            }
            Failed::Over(waiting) => {
                shared.store().leave(&self.begun, Left::AsItWas);
                release(waiting, None);
            }
        }
    }
}

/// So many that have waited go on at once on one worker. Other connections of the worker have their turns between them.
const AT_ONCE: usize = 32;

/// Lets all that wait go on: with this response, or by calls of the handler.
fn release(waiting: VecDeque<Waiting>, kept: Option<&Arc<Kept>>) {
    // A worker that is busy does not hold up the others.
    let mut lines: Vec<VecDeque<Waiting>> = Vec::new();
    for one in waiting {
        let is_own = |line: &&mut VecDeque<Waiting>| {
            let front = line.front();
            front.is_some_and(|front| front.responder.is_of_worker_of(&one.responder))
        };
        match lines.iter_mut().find(is_own) {
            Some(line) => line.push_back(one),
            None => lines.push(VecDeque::from([one])),
        }
    }
    for line in lines {
        let line = Arc::new(Line {
            waiting: Mutex::new(line),
            kept: kept.cloned(),
        });
        for _ in 0..AT_ONCE {
            drop(Turn(line.clone()));
        }
    }
}

/// Requests of one worker that go on one after the other.
struct Line {
    waiting: Mutex<VecDeque<Waiting>>,
    kept: Option<Arc<Kept>>,
}

/// The turn of one request of a [`Line`]. A drop of this value lets the next one go on, whatever becomes of the request.
pub(super) struct Turn(Arc<Line>);

impl Turn {
    fn next(&self) -> Option<Waiting> {
        let waiting = self.0.waiting.lock();
        waiting.unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        while let Some(next) = self.next() {
            if next.responder.is_waited_for() {
                let kept = self.0.kept.clone();
                let turn = Turn(self.0.clone());
                return next.go_on(kept.map_or(Next::Alone, Next::Send), Some(turn));
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
    /// Its place among those that wait.
    pub(super) place: Held,
    /// As large as the request.
    pub(super) charge: Reservation,
    /// How often it has waited before.
    pub(super) rounds: u8,
    /// The handler runs on a thread of the pool.
    pub(super) is_on_pool: bool,
}

impl Waiting {
    /// Goes on, on the thread of its own connection. A panic of the handler is that of this request.
    pub(super) fn go_on(self, next: Next, turn: Option<Turn>) {
        let Waiting {
            core,
            responder,
            request,
            place,
            charge,
            rounds,
            is_on_pool,
        } = self;
        responder.on_worker(move |responder| {
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
            drop(turn);
        });
    }
}
