//! What becomes of a request: a response from memory, a call of the handler, or waiting.

use super::Shared;
use super::computation::{Computation, Duty, Next, Waiting};
use super::keep::{self, Keep};
use super::kept::{Kept, nanos};
use super::key::{self, Key};
use super::stats::Counters;
use super::store::Entered;
use crate::http::deferred::worker_handle::WorkerHandle;
use crate::http::handler::Handler;
use crate::http::request::{OwnedRequest, Request};
use crate::http::response::{Done, Response};
use std::sync::Arc;

/// A handler and its cache, for all threads.
pub(super) struct Core {
    pub(super) handler: Arc<dyn Handler>,
    pub(super) shared: Arc<Shared>,
    /// Handlers with the same cache have different numbers.
    pub(super) number: u32,
}

/// A request that has waited so often calls the handler.
const ROUNDS: u8 = 2;

impl Core {
    /// `rounds`: how often it has waited.
    #[inline]
    pub(super) fn respond(
        self: &Arc<Self>,
        req: &Request<'_>,
        mut res: Response<'_>,
        rounds: u8,
    ) -> Done {
        let shared = &*self.shared;
        let mut key = Key::new();
        if !key.fill(req, &mut res, self.number, &shared.config, &shared.watched) {
            Counters::count(&shared.counters.passed);
            return self.handler.handle_request(req, res);
        }
        let now = shared.turn();
        // The lock is not held any more when the request is responded to.
        let found = shared.read().find(key.bytes(), req, now);
        match found {
            Some(kept) if !key.is_conditional => {
                Counters::count(&shared.counters.hits);
                res.send_prepared_of_age(&kept.response, kept.age(now))
            }
            Some(kept) => self.send(&kept, now, req, res),
            None => self.miss(key.bytes(), req, res, rounds),
        }
    }

    /// `now`: in nanoseconds since the cache was made.
    fn send(&self, kept: &Kept, now: u64, req: &Request<'_>, res: Response<'_>) -> Done {
        let counters = &self.shared.counters;
        Counters::count(match kept.is_fresh(now) {
            true => &counters.hits,
            false => &counters.stale,
        });
        match keep::is_known(kept.response.fields(), req) {
            true => res.send_not_modified(&kept.response),
            false => res.send_prepared_of_age(&kept.response, kept.age(now)),
        }
    }

    /// Responds to a request that has found nothing.
    #[cold]
    fn miss(
        self: &Arc<Self>,
        key: &[u8],
        req: &Request<'_>,
        res: Response<'_>,
        rounds: u8,
    ) -> Done {
        let now = self.shared.now();
        let counters = &self.shared.counters;
        // A response without a body is not kept.
        if req.method() == "HEAD" {
            Counters::count(&counters.passed);
            return self.handler.handle_request(req, res);
        }
        let longest = self.shared.config.compute_timeout;
        let entered = self.shared.store().enter(key, req, now, longest);
        match entered {
            Entered::Send(kept) => self.send(&kept, nanos(now), req, res),
            Entered::Compute(begun) => self.compute(Duty::new(self.clone(), begun), req, res),
            Entered::Wait(computation) if rounds < ROUNDS => {
                self.wait(&computation, req, res, rounds)
            }
            Entered::Wait(_) | Entered::Alone => self.go_on(Next::Alone, req, res, rounds),
        }
    }

    /// Calls the handler, and keeps its response. The handler does not see conditions, because its response is for others, too.
    fn compute(self: &Arc<Self>, mut duty: Duty, req: &Request<'_>, res: Response<'_>) -> Done {
        Counters::count(&self.shared.counters.misses);
        duty.is_called = true;
        let request = req.to_owned_request();
        let is_condition = |name: &&str| req.header_all(name).next().is_some();
        let plain = key::CONDITIONAL.iter().any(is_condition);
        let plain = plain.then(|| req.to_owned_request().without(&key::CONDITIONAL));
        let plain = plain.as_ref().map(OwnedRequest::as_request);
        let filter = Box::new(Keep { duty, request });
        res.filtered_apart(filter, |res| {
            self.handler
                .handle_request(plain.as_ref().unwrap_or(req), res)
        })
    }

    /// Waits for a response that another request computes.
    fn wait(
        self: &Arc<Self>,
        computation: &Computation,
        req: &Request<'_>,
        res: Response<'_>,
        rounds: u8,
    ) -> Done {
        let shared = &self.shared;
        let Some(place) = shared.place(computation) else {
            Counters::count(&shared.counters.refused);
            return res.busy();
        };
        Counters::count(&shared.counters.waited);
        let request = req.to_owned_request();
        let charge = res.budget().charge(request.held());
        let is_on_pool = res.is_late() && !WorkerHandle::is_worker();
        let (done, responder) = res.defer();
        let waiting = Waiting {
            core: self.clone(),
            responder,
            request,
            place,
            charge,
            rounds: rounds + 1,
            is_on_pool,
        };
        if let Some(waiting) = computation.join(waiting) {
            waiting.go_on(Next::Ask, None);
        }
        done
    }

    /// Responds to a request that has waited.
    pub(super) fn go_on(
        self: &Arc<Self>,
        next: Next,
        req: &Request<'_>,
        res: Response<'_>,
        rounds: u8,
    ) -> Done {
        match next {
            Next::Send(kept) if kept.is_for(req) => {
                self.send(&kept, nanos(self.shared.now()), req, res)
            }
            Next::Send(_) | Next::Ask => self.respond(req, res, rounds),
            Next::Compute(duty) => self.compute(duty, req, res),
            Next::Alone => {
                Counters::count(&self.shared.counters.not_kept);
                self.handler.handle_request(req, res)
            }
        }
    }
}
