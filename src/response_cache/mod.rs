//! Responses that are kept in memory for a time.
//!
//! A [`ResponseCache`] calls a handler once for many requests. The [guide](crate::guide::response_cache) has the first steps.

mod computation;
mod core;
mod keep;
mod kept;
mod key;
mod rules;
mod stats;
mod store;

pub use stats::CacheStats;

use self::core::Core;
use crate::http::handler::{Handler, forward_rest, from_fn};
use crate::http::handler_error::HandlerResult;
use crate::http::request::Request;
use crate::http::request_body::BodyPlan;
use crate::http::response::{Done, Response};
use crate::runtime::clock;
use crate::shared::quota::{Held, Share};
#[cfg(feature = "websocket")]
use crate::websocket::{WebSocketHandler, forward_hooks, upgrade::Upgrade};
use computation::Computation;
use key::Watched;
use stats::Counters;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;
use store::Store;

peregrine_protocol::settings! {
    /// Settings of a [`ResponseCache`].
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct CacheConfig {
        /// For so long a response is sent from memory, unless its `Cache-Control` has `s-maxage` or `max-age`. With 0,
        /// only responses that have one of these are kept.
        pub ttl: Duration = Duration::from_secs(10);
        /// For so long after that it is still sent while one request computes the next one, unless its `Cache-Control` has
        /// `stale-while-revalidate` (RFC 5861), or forbids it by `must-revalidate`, `proxy-revalidate` or `s-maxage`.
        pub stale: Duration = Duration::ZERO => "0 s";
        /// Request fields whose values select a response, such as `accept-language`. Each value of a field with credentials,
        /// such as `cookie`, has responses of its own if the field is here.
        pub fields: Vec<String> = Vec::new() => "none";
        /// Request fields with credentials, such as `cookie`, on which no response depends. Requests with them get the
        /// same responses as others. **A response that does depend on such a field goes to everyone.**
        pub ignored_fields: Vec<String> = Vec::new() => "none";
        /// Further request fields with credentials: a request with one is not for the cache. [`guide::response_cache`] lists
        /// those that are known. They go before the two lists above.
        ///
        /// [`guide::response_cache`]: crate::guide::response_cache
        pub excluded_fields: Vec<String> = Vec::new() => "none";
        /// No response depends on the certificate of a client. Requests with one get the same responses as others.
        pub ignore_client_certificates: bool = false;
        /// Bytes of all responses in memory, with their keys. Above, those that are used least are dropped.
        pub bytes: usize = 64 << 20;
        /// Bytes of the body of one response. A longer one is not kept.
        pub response_bytes: usize = 1 << 20;
        /// Requests that wait for responses that other requests compute. Above, they get 503 with `Retry-After: 1`.
        pub waiting: usize = 10_000;
        /// Requests that wait for the same response. Above, they get 503 with `Retry-After: 1`. So those for other responses
        /// can wait.
        pub waiting_per_response: usize = 2_500;
        /// If a request has not computed its response after this time, the next one computes it as well. All that wait get the
        /// first response that is kept.
        pub compute_timeout: Duration = Duration::from_secs(10);
    }
}

/// Responses in memory. [`ResponseCache::wrap`] makes a handler with it. A clone is the same cache.
///
/// A request gets the response of an earlier request to the same handler, for the same scheme, host and target, with the same
/// values of [`CacheConfig::fields`] and of the fields that `Vary` names (RFC 9111 section 4). `Age` says how old it is, in
/// seconds. `If-None-Match` and `If-Modified-Since` are answered by 304. What a request says about caches is not looked
/// at: the program can purge.
///
/// These requests never get a response from memory, and their responses are not kept:
///
/// - with another method than GET and HEAD, with a body, or with `Range`, `If-Range`, `If-Match`, `If-Unmodified-Since`;
/// - with `Cookie`, `Authorization` or another field that tells who the client is, such as `X-Api-Key`, `X-Forwarded-User` or
///   `Client-Cert`, unless [`CacheConfig::fields`] or [`CacheConfig::ignored_fields`] have its name;
/// - with a value of a layer around the cache ([`Request::with_value`]);
/// - over a connection with a client certificate, unless [`CacheConfig::ignore_client_certificates`] is set;
/// - if a layer around the cache has set `Set-Cookie`, `Vary: *`, another status than 200, or `private`, `no-store` or
///   `no-cache`.
///
/// A response is kept if it has status 200 and a complete body in memory, and not `Set-Cookie`, `Vary: *`, `private`, `no-store`,
/// `no-cache`, or an age of 0. Fields that layers around the cache have set are not kept; each response gets those of its own
/// request.
///
/// **A handler whose responses depend on anything else, such as the address of the client, has to say `Cache-Control:
/// private`.** Layers that refuse requests belong around the cache and not within it.
///
/// While one request computes a response, others for it wait, as deferred responses: they hold no thread. The
/// [guide](crate::guide::response_cache) says what becomes of them if there is no response that is kept.
///
/// ```
/// use peregrine::response_cache::{CacheConfig, ResponseCache};
/// use peregrine::testing::get;
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// let cache = ResponseCache::new(CacheConfig::default());
/// let calls = AtomicU64::new(0);
/// let app = cache.wrap(peregrine::from_fn(move |_, res| {
///     res.text(format!("call {}", calls.fetch_add(1, Ordering::Relaxed)))
/// }));
/// assert_eq!(get(&app, "/report").text(), "call 0");
/// let again = get(&app, "/report");
/// assert_eq!((again.text(), again.header("age")), ("call 0", Some("0")));
/// cache.purge("/report");
/// assert_eq!(get(&app, "/report").text(), "call 1");
/// ```
#[derive(Clone, Debug)]
pub struct ResponseCache {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: CacheConfig,
    watched: Watched,
    /// When the cache was made, of [`clock::nanos`].
    epoch: u64,
    store: RwLock<Store>,
    counters: Counters,
    /// Requests that wait.
    waiting: Arc<Share>,
    /// From this millisecond on, those that have gone are looked for in all entries.
    look_at: AtomicU64,
    /// Handlers that the cache is around.
    handlers: AtomicU32,
}

impl ResponseCache {
    /// An empty cache.
    pub fn new(config: CacheConfig) -> ResponseCache {
        ResponseCache {
            shared: Arc::new(Shared {
                watched: Watched::of(&config),
                epoch: clock::nanos(),
                store: RwLock::new(Store::new(config.bytes)),
                counters: Counters::default(),
                waiting: Arc::new(Share::new(config.waiting)),
                look_at: AtomicU64::new(0),
                handlers: AtomicU32::new(0),
                config,
            }),
        }
    }

    /// Responds from the cache where it can, and by `handler` otherwise. Each handler has responses of its own.
    pub fn wrap<H: Handler>(&self, handler: H) -> Cached<H> {
        let handler = Arc::new(handler);
        let core = Core {
            handler: handler.clone(),
            shared: self.shared.clone(),
            number: self.shared.handlers.fetch_add(1, Ordering::Relaxed),
        };
        let core = Arc::new(core);
        Cached { handler, core }
    }

    /// Responds as [`ResponseCache::wrap`] does, for a route that is a closure.
    ///
    /// ```
    /// use peregrine::Router;
    /// use peregrine::response_cache::{CacheConfig, ResponseCache};
    /// use peregrine::router::offload;
    ///
    /// let cache = ResponseCache::new(CacheConfig::default());
    /// let app = Router::new().get("/prices", cache.wrap_fn(offload(|_, res| res.text("1.50"))));
    /// # assert_eq!(peregrine::testing::get(&app, "/prices").text(), "1.50");
    /// # assert_eq!(peregrine::testing::get(&app, "/prices").header("age"), Some("0"));
    /// ```
    pub fn wrap_fn<F, R>(
        &self,
        handler: F,
    ) -> impl Fn(&Request<'_>, Response<'_>) -> Done + Send + Sync + 'static
    where
        F: Fn(&Request<'_>, Response<'_>) -> R + Send + Sync + 'static,
        R: HandlerResult,
    {
        let cached = self.wrap(from_fn(handler));
        move |req, res| cached.handle_request(req, res)
    }

    /// Drops the responses for a target, path and query, of all hosts and handlers. They are compared as clients have sent them: `/a`
    /// is not `/%61`. A response that is computed meanwhile is
    /// sent to those that have asked before, and not kept. Returns the number of entries that were dropped. It looks at all
    /// entries, from any thread, and requests wait for it meanwhile: about a millisecond for 50,000 entries.
    pub fn purge(&self, target: &str) -> usize {
        self.shared.store().purge(|own| own == target.as_bytes())
    }

    /// Drops the responses for all targets that begin with `prefix`: `/notes` and `/notes/1`, but also `/notes-2`. Otherwise as
    /// [`ResponseCache::purge`].
    pub fn purge_prefix(&self, prefix: &str) -> usize {
        let prefix = prefix.as_bytes();
        self.shared.store().purge(|own| own.starts_with(prefix))
    }

    /// Counters, and what is in memory now.
    pub fn stats(&self) -> CacheStats {
        let waiting = self.shared.waiting.taken();
        self.shared.counters.stats(&self.shared.read(), waiting)
    }
}

impl Shared {
    /// The time since the cache was made.
    fn now(&self) -> Duration {
        Duration::from_nanos(clock::nanos().saturating_sub(self.epoch))
    }

    /// As [`Shared::now`], in nanoseconds, at the beginning of this turn: what was fresh then may be sent in all of it.
    #[inline]
    fn turn(&self) -> u64 {
        clock::turn_nanos().saturating_sub(self.epoch)
    }

    #[inline]
    fn read(&self) -> RwLockReadGuard<'_, Store> {
        self.store.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self) -> RwLockWriteGuard<'_, Store> {
        self.store.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place among those that wait for this response. If all are taken, those whose clients have gone give up theirs.
    fn place(&self, computation: &Computation) -> Option<Held> {
        let most = self.config.waiting_per_response;
        let take = || match computation.has_room(most) {
            true => self.waiting.hold(),
            false => None,
        };
        take().or_else(|| {
            self.drop_gone();
            take()
        })
    }

    /// Looks at all that wait, ten times a second at most.
    #[cold]
    fn drop_gone(&self) {
        let now = self.now().as_millis() as u64;
        let look_at = self.look_at.load(Ordering::Relaxed);
        if now < look_at {
            return;
        }
        self.look_at.store(now + 100, Ordering::Relaxed);
        let computations = self.read().computations();
        computations.iter().for_each(|own| own.drop_gone());
    }
}

/// A handler with a cache before it. [`ResponseCache::wrap`] makes it.
///
/// If the handler is a `ws::WebSocketHandler`, this is one too. WebSocket handshakes do not pass the cache.
pub struct Cached<H> {
    handler: Arc<H>,
    core: Arc<Core>,
}

#[deny(clippy::missing_trait_methods)]
impl<H: Handler> Handler for Cached<H> {
    #[inline]
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        self.core.respond(req, res, 0)
    }

    fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
        self.handler.body_plan(req)
    }

    forward_rest!(self => self.handler);
}

#[cfg(feature = "websocket")]
#[deny(clippy::missing_trait_methods)]
impl<H: WebSocketHandler> WebSocketHandler for Cached<H> {
    type Conn = H::Conn;

    fn accept_ws(&self, req: &Request<'_>, upgrade: &mut Upgrade<'_>) -> Option<H::Conn> {
        self.handler.accept_ws(req, upgrade)
    }

    forward_hooks!(self => self.handler);
}

impl<H> std::fmt::Debug for Cached<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cached").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
