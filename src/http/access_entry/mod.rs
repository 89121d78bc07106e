//! Access-log entries that wait until their response has been sent.
//!
//! A log around a handler creates a [`PendingEntry`] for a response that is not complete when the handler
//! returns. The exchange keeps the entry until the response is complete. Then the entry goes into the output,
//! behind the last byte, and it is written to the log when that byte is sent. If the entry is dropped before,
//! the client has not received the whole response.

mod entry;

pub use entry::AccessEntry;
pub(crate) use entry::hex;

use super::request::{OwnedRequest, Request};
use crate::shared::memory_budget::{MemoryBudget, Reservation};
use crate::shared::output::{Output, Watcher};
use crate::shared::panic_guard::quietly;
use std::sync::Arc;
use std::time::Instant;

/// The status of a request whose response did not reach its client. HTTP does not define it, but log readers
/// know it.
pub(crate) const CLIENT_GONE: u16 = 499;

/// Receives entries.
pub(crate) trait Log: Send + Sync {
    fn write(&self, entry: &AccessEntry<'_>);
}

/// See the module documentation.
pub(crate) struct PendingEntry {
    log: Arc<dyn Log>,
    request: OwnedRequest,
    begun: Instant,
    status: u16,
    route: Option<&'static str>,
    id: Option<Box<str>>,
    body_bytes: u64,
    is_told: bool,
    /// The entry of another log within this log.
    within: Option<Box<PendingEntry>>,
    /// The duration of the request.
    _charge: Reservation,
}

impl PendingEntry {
    pub(crate) fn new(
        log: Arc<dyn Log>,
        request: &Request<'_>,
        begun: Instant,
        budget: &Arc<MemoryBudget>,
    ) -> Box<PendingEntry> {
        let request = request.without_body().to_owned_request();
        Box::new(PendingEntry {
            log,
            _charge: budget.charge(request.held()),
            request,
            begun,
            status: CLIENT_GONE,
            route: None,
            id: None,
            body_bytes: 0,
            is_told: false,
            within: None,
        })
    }

    /// The pattern of the route that has responded.
    pub(crate) fn set_route(&mut self, route: Option<&'static str>) {
        self.route = route;
    }

    /// The id of the request.
    pub(crate) fn set_id(&mut self, id: Option<&str>) {
        self.id = id.map(Box::from);
    }

    pub(crate) fn around(
        mut self: Box<PendingEntry>,
        within: Option<Box<PendingEntry>>,
    ) -> Box<PendingEntry> {
        self.within = within;
        self
    }

    /// The head of the response is complete, and its body follows.
    pub(crate) fn begin(&mut self, status: u16) {
        self.status = status;
        if let Some(within) = &mut self.within {
            within.begin(status);
        }
    }

    /// The whole response is in `output`. It began with this status.
    pub(crate) fn complete(self: Box<PendingEntry>, body_bytes: u64, output: &mut Output) {
        let status = self.status;
        self.complete_with(status, body_bytes, output);
    }

    /// The whole response is in `output`.
    pub(crate) fn complete_with(
        mut self: Box<PendingEntry>,
        status: u16,
        body_bytes: u64,
        output: &mut Output,
    ) {
        (self.status, self.body_bytes) = (status, body_bytes);
        output.push_watcher(self);
    }

    /// The rest of the body will never be sent, for a reason on the side of the server.
    pub(crate) fn cut(&mut self, body_bytes: u64) {
        self.tell(self.status, body_bytes);
    }

    /// The client has gone.
    pub(crate) fn leave(&mut self, body_bytes: u64) {
        self.tell(CLIENT_GONE, body_bytes);
    }

    fn tell(&mut self, status: u16, body_bytes: u64) {
        if std::mem::replace(&mut self.is_told, true) {
            return;
        }
        if let Some(within) = &mut self.within {
            within.tell(status, body_bytes);
        }
        let request = self.request.as_request();
        let took = self.begun.elapsed();
        let entry = AccessEntry::of(Some(request), request.ends(), status)
            .took_for(took)
            .with_route(self.route)
            .with_id(self.id.as_deref())
            .with_body(Some(body_bytes));
        tell_quietly(|| self.log.write(&entry));
    }
}

/// Calls a function of a log, and contains its panics.
pub(crate) fn tell_quietly(tell: impl FnOnce()) {
    quietly("an access log", tell);
}

impl Watcher for PendingEntry {
    fn sent(mut self: Box<Self>) {
        self.tell(self.status, self.body_bytes);
    }

    fn lost(mut self: Box<Self>, unsent: u64) {
        let sent = self.body_bytes.saturating_sub(unsent);
        self.leave(sent);
    }
}

impl Drop for PendingEntry {
    fn drop(&mut self) {
        self.tell(CLIENT_GONE, 0);
    }
}

impl std::fmt::Debug for PendingEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PendingEntry")
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}
