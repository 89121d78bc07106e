//! `Handshake`: a request for another protocol that is not decided yet.

use crate::http::access_entry::{AccessEntry, tell_quietly};
use crate::http::handler::Handler;
use crate::http::request::OwnedRequest;
use crate::shared::memory_budget::Reservation;
use crate::shared::panic_guard::drop_quietly;
use std::any::Any;
use std::time::Instant;

/// Belongs to the exchange of its request, and ends with it at the latest.
pub(crate) struct Handshake {
    /// The request without its body, for a log.
    pub(crate) request: OwnedRequest,
    pub(crate) begun: Instant,
    /// What the response that accepts it has, beside what the program adds later: a block of fields.
    pub(crate) fields: Vec<u8>,
    pub(crate) expects_continue: bool,
    /// What [`Upgrades::accept`](crate::http::service::Upgrades::accept) gets.
    pub(crate) upgrade: Box<dyn Any + Send>,
    /// As large as the request.
    pub(crate) _charge: Reservation,
}

impl Handshake {
    /// It is decided, or its client has gone: tells `handler`, and drops the state of the connection.
    #[cold]
    pub(crate) fn end<H: Handler>(
        self: Box<Handshake>,
        handler: &H,
        status: u16,
        bytes: Option<u64>,
    ) {
        let request = self.request.as_request();
        let entry = AccessEntry::of(Some(request), request.ends(), status)
            .took_for(self.begun.elapsed())
            .with_body(bytes);
        tell_quietly(|| handler.handle_library_response(&entry));
        drop_quietly(self);
    }
}

impl std::fmt::Debug for Handshake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handshake")
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}
