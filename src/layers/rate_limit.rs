//! Limits on how many requests a client makes.

use super::{Layer, Next};
use crate::http::handler_error::Problem;
use crate::http::request::Request;
use crate::http::request_body::Respond;
use crate::http::response::{Done, Response};
use crate::runtime::address_limit::AddressGroup;
use crate::shared::rate_table::{RateTable, whole_seconds};
use std::time::Duration;

type Key = Box<dyn Fn(&Request<'_>) -> Option<Vec<u8>> + Send + Sync>;

/// Limits the requests of each client. Above the limit they get 429 with `Retry-After`.
///
/// A client is an IPv4 address, or an IPv6 network of 64 bits, of [`Request::client_addr`], or what [`RateLimit::key`] says. It
/// may make `requests` requests at once; then it gets them back evenly, in the course of `per` (GCRA). Requests without an
/// address, over Unix sockets, are not limited.
///
/// Memory is bounded: at most [`RateLimit::clients`] clients are remembered, 16 bytes each, which are allocated at once. Above
/// it the client that has its whole limit again first is forgotten, among 8 that share a place. So many clients at the same time
/// may make more requests than they should, and never fewer: see [`RateLimit::key`].
///
/// A request with a body that is above the limit is refused before its body is read. It counts when its body is there, so
/// **uploads that a client never finishes do not count**: limits on connections and on time apply to them. A WebSocket handshake
/// counts once, and once more if the handler or a later layer does not accept it.
///
/// ```
/// use peregrine::Router;
/// use peregrine::layers::RateLimit;
/// use peregrine::testing::Client;
/// use std::time::Duration;
///
/// // Three attempts at once, and one more each 20 minutes.
/// let attempts = RateLimit::new(3, Duration::from_secs(3600));
/// let app = Router::new().post("/login", |_, res| res.status(401).text("no")).layer(attempts);
/// let mut client = Client::new(&app);
/// let statuses: Vec<u16> = (0..4).map(|_| client.post("/login").send().status()).collect();
/// assert_eq!(statuses, [401, 401, 401, 429]);
/// ```
#[doc(alias("throttle", "governor", "GCRA"))]
pub struct RateLimit {
    table: RateTable,
    /// What a client is. Without it: its address.
    key: Option<Key>,
}

impl RateLimit {
    /// Each client may make so many requests in this time. 0 requests: none at all.
    pub fn new(requests: u32, per: Duration) -> RateLimit {
        RateLimit {
            table: RateTable::new(requests, per),
            key: None,
        }
    }

    /// Sets what a client is: requests with the same key share a limit. `None` is not limited.
    ///
    /// **A key that clients choose freely**, such as the name of an account in a login, needs a second limit by address around
    /// this one. Without it one client can send many other keys until the limit of its first key is forgotten: about 60,000
    /// of them with the default of [`RateLimit::clients`].
    ///
    /// ```
    /// use peregrine::layers::RateLimit;
    /// use std::time::Duration;
    ///
    /// // By token, as of an API. A layer around this one should have checked it.
    /// let limit = RateLimit::new(100, Duration::from_secs(60))
    ///     .key(|req| req.bearer_token().map(|token| token.as_bytes().to_vec()));
    /// ```
    #[must_use]
    pub fn key(
        mut self,
        key: impl Fn(&Request<'_>) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> RateLimit {
        self.key = Some(Box::new(key));
        self
    }

    /// Sets how many clients are remembered, rounded up to a multiple of 8. Default: 65,536.
    #[must_use]
    pub fn clients(mut self, clients: usize) -> RateLimit {
        self.table.remember(clients);
        self
    }

    fn ask(&self, req: &Request<'_>, counts: bool) -> Option<Respond> {
        let taken = match &self.key {
            Some(key) => self.table.take(key(req)?, counts),
            None => {
                let group = AddressGroup::from(req.client_addr()?.ip());
                self.table.take(group, counts)
            }
        };
        let wait = taken.err()?;
        Some(Box::new(move |req, res| {
            let res = res.header("Retry-After", whole_seconds(wait).to_string());
            Problem::new(429).respond_to(req, res)
        }))
    }
}

impl Layer for RateLimit {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>, next: Next<'_>) -> Done {
        match self.ask(req, true) {
            Some(respond) => respond(req, res),
            None => next.run(req, res),
        }
    }

    fn refuse(&self, req: &Request<'_>) -> Option<Respond> {
        // A request with a body counts when that is there. A WebSocket handshake has none.
        #[cfg(feature = "websocket")]
        let counts = !req.has_body();
        #[cfg(not(feature = "websocket"))]
        let counts = false;
        self.ask(req, counts)
    }
}

impl std::fmt::Debug for RateLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RateLimit")
            .field("table", &self.table)
            .finish_non_exhaustive()
    }
}
