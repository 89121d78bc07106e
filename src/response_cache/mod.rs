//! Responses that are kept in memory for a time.

mod store;

use crate::http::access_entry::AccessEntry;
use crate::http::handler::{ConnectionError, Handler};
use crate::http::request::{OwnedRequest, Request};
use crate::http::request_body::BodyPlan;
use crate::http::response::filter::{RecordedResponse, ResponseFilter};
use crate::http::response::prepared::PreparedResponse;
use crate::http::response::{Done, ErrorContext, Response};
use peregrine_protocol::http::field_block;
use peregrine_protocol::payload::Payload;
use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::time::{Duration, Instant};
use store::{Found, Kept, Store, Waiting};

peregrine_protocol::settings! {
    /// Settings of a [`ResponseCache`].
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct CacheConfig {
        /// For so long a response is sent from memory, unless its `Cache-Control` has `s-maxage` or `max-age`.
        pub ttl: Duration = Duration::from_secs(10);
        /// For so long after that it is still sent while one request computes the next one
        /// (stale-while-revalidate, RFC 5861).
        pub stale: Duration = Duration::ZERO => "0 s";
        /// Request fields whose values select a response, such as `accept-language`. A request with `Authorization` or
        /// `Cookie` is passed to the handler, unless that field is here.
        pub fields: Vec<String> = Vec::new() => "none";
        /// A request with `Cookie` gets the same responses as others. Set it only if no response depends on cookies.
        pub ignore_cookies: bool = false;
        /// Bytes of all responses in memory. Above, the oldest ones are dropped.
        pub bytes: usize = 64 << 20;
        /// Bytes of the body of one response. A longer one is not kept.
        pub response_bytes: usize = 1 << 20;
        /// Requests that wait for the response that another request computes. Above, they get 503.
        pub waiting: usize = 1024;
    }
}

/// Responses in memory. [`ResponseCache::wrap`] makes a handler with it. A clone is the same cache.
///
/// A request with method GET or HEAD, without a body, `Cookie`, `Authorization` and `Range`, gets the response of an
/// earlier request for the same scheme, host and target, with the same values of [`CacheConfig::fields`] and of the fields
/// that `Vary` names (RFC 9111 section 4). `Age` says how old it is, in seconds. What a request says about caches is not looked
/// at: the program can purge.
///
/// A response is kept if it has status 200, a complete body in memory, no `Set-Cookie`, and not `no-store`,
/// `private`, `no-cache` or a `max-age` of 0 in `Cache-Control`, nor `Vary: *`. Fields that were set before, by
/// [layers](crate::layers) around the cache, are not kept.
///
/// While one request computes a response, others for it wait; [`CacheConfig::waiting`] and
/// [`Limits::response_timeout`](crate::Limits::response_timeout) limit this. If the response turns out not to be one
/// that is kept, the handler is called for each of them, and for [`CacheConfig::ttl`] requests for it do
/// not wait. If its client has gone, the handler is called for each of them too. If the handler has panicked, they get 503.
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
    store: RwLock<Store>,
}

impl ResponseCache {
    /// An empty cache.
    pub fn new(config: CacheConfig) -> ResponseCache {
        let store = RwLock::new(Store::new(config.bytes));
        ResponseCache {
            shared: Arc::new(Shared { config, store }),
        }
    }

    /// Responds from the cache where it can, and by `handler` otherwise.
    pub fn wrap<H: Handler>(&self, handler: H) -> Cached<H> {
        Cached {
            handler: Arc::new(handler),
            shared: self.shared.clone(),
        }
    }

    /// Drops the responses for a target, path and query, of all hosts. One that is computed meanwhile is sent, and not kept.
    pub fn purge(&self, target: &str) {
        self.shared.store().purge(|own| own == target.as_bytes());
    }

    /// Drops the responses for all targets that begin with `prefix`, of all hosts: `/notes` and `/notes/1`, but also
    /// `/notes-2`. What is computed meanwhile is sent, and not kept.
    pub fn purge_prefix(&self, prefix: &str) {
        self.shared
            .store()
            .purge(|own| own.starts_with(prefix.as_bytes()));
    }

    /// Bytes of all responses in memory.
    pub fn bytes(&self) -> usize {
        self.shared.store().bytes()
    }
}

impl Shared {
    /// No call leaves it half changed.
    fn store(&self) -> RwLockWriteGuard<'_, Store> {
        self.store.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, key: &[u8], req: &Request<'_>, now: Instant) -> Found {
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        store.find(key, req, now)
    }

    /// Calls `f` with what selects the response to a request, or `None` if it is not for the cache.
    fn with_key<R>(&self, req: &Request<'_>, f: impl FnOnce(Option<&[u8]>) -> R) -> R {
        let mut key = KEY.take();
        key.clear();
        let is_for_cache = self.write_key(req, &mut key);
        let result = f(is_for_cache.then_some(&key));
        if key.capacity() <= KEY_BYTES {
            KEY.set(key);
        }
        result
    }

    /// False if the request is not for the cache.
    fn write_key(&self, req: &Request<'_>, key: &mut Vec<u8>) -> bool {
        let method = req.method();
        if !(method == "GET" || method == "HEAD") || !req.body().is_empty() {
            return false;
        }
        let excludes = |name: &[u8]| matches!(name.len(), 5 | 6 | 13) && self.excludes(name);
        if req.field_names().any(excludes) {
            return false;
        }
        // No part has a NUL.
        key.extend_from_slice(req.target_bytes());
        key.push(0);
        let host = key.len();
        key.extend_from_slice(req.host_bytes().unwrap_or_default());
        key[host..].make_ascii_lowercase();
        if req.scheme() == "https" {
            key.push(0);
        }
        for name in &self.config.fields {
            key.push(0);
            for value in req.header_all(name) {
                key.extend_from_slice(value);
                key.push(b'\n');
            }
        }
        true
    }

    /// Whether requests with this field are not for the cache.
    fn excludes(&self, name: &[u8]) -> bool {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        let is_chosen = || self.config.fields.iter().any(|field| is(field));
        is("range")
            || is("authorization") && !is_chosen()
            || is("cookie") && !self.config.ignore_cookies && !is_chosen()
    }
}

thread_local! {
    /// The memory of the last key of this thread.
    static KEY: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Above this a thread does not keep the memory of a key.
const KEY_BYTES: usize = 1024;

/// A handler with a cache before it. [`ResponseCache::wrap`] makes it.
#[derive(Debug)]
pub struct Cached<H> {
    handler: Arc<H>,
    shared: Arc<Shared>,
}

impl<H: Handler> Cached<H> {
    /// Responds to a request whose response is not in memory.
    #[cold]
    fn miss(&self, key: Vec<u8>, req: &Request<'_>, res: Response<'_>) -> Done {
        let now = Instant::now();
        let mut store = self.shared.store();
        match store.find(&key, req, now) {
            Found::Kept(kept) => {
                drop(store);
                res.send_prepared_of_age(&kept.response, kept.age(now))
            }
            // The response to a HEAD has no body that could be kept.
            Found::Nothing | Found::Computing if req.method() == "HEAD" => {
                drop(store);
                self.handler.handle_request(req, res)
            }
            Found::NotKept => {
                drop(store);
                self.handler.handle_request(req, res)
            }
            Found::Computing if store.waiting() >= self.shared.config.waiting => {
                drop(store);
                busy(res)
            }
            Found::Computing => {
                let request = req.to_owned_request();
                let charge = res.budget().charge(request.held());
                let (done, responder) = res.defer();
                store.wait(&key, Waiting::new(responder, request, charge));
                done
            }
            Found::Nothing => {
                let epoch = store.begin(&key);
                drop(store);
                self.compute(key, epoch, req, res)
            }
        }
    }

    /// Calls the handler, and keeps its response.
    fn compute(&self, key: Vec<u8>, epoch: u64, req: &Request<'_>, mut res: Response<'_>) -> Done {
        let filter = Keep {
            key: Some(key),
            epoch,
            outer: res.fields_so_far(),
            request: req.without_body().to_owned_request(),
            handler: self.handler.clone(),
            shared: self.shared.clone(),
        };
        let respond = |res: Response<'_>| self.handler.handle_request(req, res);
        res.filtered(Box::new(filter), respond)
    }
}

fn busy(res: Response<'_>) -> Done {
    res.status(503)
        .header("Retry-After", "1")
        .text("the server is busy\n")
}

impl<H: Handler> Handler for Cached<H> {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        let now = Instant::now();
        let found = self.shared.with_key(req, |key| {
            let Some(key) = key else {
                return Err(None);
            };
            match self.shared.find(key, req, now) {
                Found::Kept(kept) => Ok(kept),
                _ => Err(Some(key.to_vec())),
            }
        });
        match found {
            Ok(kept) => res.send_prepared_of_age(&kept.response, kept.age(now)),
            Err(Some(key)) => self.miss(key, req, res),
            Err(None) => self.handler.handle_request(req, res),
        }
    }

    fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
        self.handler.body_plan(req)
    }

    fn takes_special(&self, req: &Request<'_>) -> bool {
        self.handler.takes_special(req)
    }

    fn error_response(&self, error: &ErrorContext<'_>, res: Response<'_>) -> Done {
        self.handler.error_response(error, res)
    }

    fn handle_error(&self, error: &ConnectionError<'_>, peer: Option<SocketAddr>) {
        self.handler.handle_error(error, peer);
    }

    fn handle_library_response(&self, entry: &AccessEntry<'_>) {
        self.handler.handle_library_response(entry);
    }
}

/// Keeps one response, and gives it to the requests that wait for it.
struct Keep<H: Handler> {
    /// `None` when the outcome is known.
    key: Option<Vec<u8>>,
    epoch: u64,
    /// The fields that were set before, by what is around the cache.
    outer: Vec<u8>,
    request: OwnedRequest,
    handler: Arc<H>,
    shared: Arc<Shared>,
}

impl<H: Handler> ResponseFilter for Keep<H> {
    fn apply(mut self: Box<Self>, response: &mut RecordedResponse<'_>) {
        let Some(key) = self.key.take() else { return };
        let now = Instant::now();
        let kept = self.kept(response, now);
        let not_before = now.checked_add(self.shared.config.ttl);
        let waiting = self
            .shared
            .store()
            .end(&key, self.epoch, kept.clone(), not_before);
        for waiting in waiting {
            match &kept {
                Some(kept) if kept.is_for(&waiting.request.as_request()) => {
                    waiting.send(|_, res| res.send_prepared_of_age(&kept.response, 0));
                }
                _ => waiting.send(|req, res| self.handler.handle_request(req, res)),
            }
        }
    }
}

impl<H: Handler> Drop for Keep<H> {
    fn drop(&mut self) {
        // There was no response: its handler has panicked, or its client has gone.
        let Some(key) = self.key.take() else { return };
        let waiting = self.shared.store().end(&key, self.epoch, None, None);
        for waiting in waiting {
            match std::thread::panicking() {
                true => waiting.send(|_, res| busy(res)),
                false => waiting.send(|req, res| self.handler.handle_request(req, res)),
            }
        }
    }
}

impl<H: Handler> Keep<H> {
    /// A copy of a response, if it may be kept (RFC 9111 section 3).
    fn kept(&self, response: &mut RecordedResponse<'_>, now: Instant) -> Option<Arc<Kept>> {
        let config = &self.shared.config;
        if response.head.status != 200 || response.head.close || !response.is_sent {
            return None;
        }
        let (mut ttl, mut shared_ttl) = (config.ttl, None);
        let mut fields = Vec::new();
        let mut vary = Vec::new();
        for (name, value) in field_block::fields(response.fields()) {
            if field_block::fields(&self.outer).any(|outer| outer == (name, value)) {
                continue;
            }
            field_block::push(name, value, &mut fields);
            let mut parts = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
            if is("set-cookie") || is("upgrade") {
                return None;
            } else if is("vary") {
                for part in parts {
                    let part = std::str::from_utf8(part).ok().filter(|part| *part != "*")?;
                    let req = self.request.as_request();
                    let values = req.header_all(part).map(<[u8]>::to_vec).collect();
                    vary.push((part.to_ascii_lowercase(), values));
                }
            } else if is("cache-control") {
                if parts.clone().any(is_excluding) {
                    return None;
                }
                for part in parts.by_ref() {
                    ttl = seconds(part, "max-age=").unwrap_or(ttl);
                    shared_ttl = seconds(part, "s-maxage=").or(shared_ttl);
                }
            }
        }
        let ttl = shared_ttl.unwrap_or(ttl);
        let pieces = response.body()?;
        let len: usize = pieces.iter().map(|piece| piece.len()).sum();
        if ttl.is_zero() || len > config.response_bytes {
            return None;
        }
        let fresh = now.checked_add(ttl)?;
        Some(Arc::new(Kept {
            response: PreparedResponse::memory(fields, Payload::from(pieces.concat())),
            vary,
            begun: now,
            fresh,
            end: fresh.checked_add(config.stale)?,
        }))
    }
}

/// Whether a directive of `Cache-Control` says that a shared cache must not keep the response.
fn is_excluding(part: &[u8]) -> bool {
    let directive = part.split(|byte| *byte == b'=').next().unwrap_or_default();
    let names: [&[u8]; 3] = [b"no-store", b"private", b"no-cache"];
    names
        .iter()
        .any(|name| directive.eq_ignore_ascii_case(name))
}

/// The seconds of a directive of `Cache-Control`.
fn seconds(part: &[u8], name: &str) -> Option<Duration> {
    let start = part.get(..name.len())?;
    let digits = part.get(name.len()..)?;
    let is_named = start.eq_ignore_ascii_case(name.as_bytes());
    let seconds = std::str::from_utf8(digits)
        .ok()?
        .trim_matches('"')
        .parse::<u32>();
    seconds
        .ok()
        .filter(|_| is_named)
        .map(|s| Duration::from_secs(s.into()))
}

#[cfg(test)]
mod tests;
