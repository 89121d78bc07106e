//! Responses that are kept in memory for a time.
//!
//! A [`ResponseCache`] keeps whole responses. It calls the handler once for many requests, also if they come at the same time.
//!
//! ```
//! use peregrine::Router;
//! use peregrine::response_cache::{CacheConfig, ResponseCache};
//! use peregrine::router::offload;
//! use peregrine::testing::get;
//! use std::time::Duration;
//!
//! let config = CacheConfig::default()
//!     .ttl(Duration::from_secs(30))
//!     .stale(Duration::from_secs(60))
//!     .fields(vec!["accept-language".to_owned()]);
//! let cache = ResponseCache::new(config);
//! let prices = offload(|_, res| res.text("from a slow database"));
//! let app = Router::new()
//!     .get("/prices", cache.wrap_fn(prices))
//!     .get("/", |_, res| res.html("<h1>Prices</h1>"));
//! assert_eq!(get(&app, "/prices").header("age"), None);
//! assert_eq!(get(&app, "/prices").header("age"), Some("0"));
//! // When the prices have changed:
//! cache.purge("/prices");
//! assert_eq!(get(&app, "/prices").header("age"), None);
//! assert_eq!(cache.stats().hits, 1);
//! ```
//!
//! [`ResponseCache::wrap`] is for handlers that are no closures: `Router::mount("/api", cache.wrap(api))`. A cache may be around
//! several handlers; each of them has responses of its own.
//!
//! # Which responses are kept, and for whom
//!
//! | | |
//! |---|---|
//! | requests | GET and HEAD without a body, without fields that tell who the client is, and without a client certificate |
//! | selected by | handler, scheme, host, path with query, [`CacheConfig::fields`](crate::response_cache::CacheConfig::fields), and the fields that `Vary` names |
//! | responses | to GET, with status 200 and a complete body in memory |
//! | not | with `Set-Cookie`, `Vary: *`, or `no-store`, `private`, `no-cache`, or an age of 0 in `Cache-Control`; with `Expires` and no age |
//! | for | `s-maxage` or `max-age` of `Cache-Control`, or else [`CacheConfig::ttl`](crate::response_cache::CacheConfig::ttl) |
//! | stale for | `stale-while-revalidate`, or else [`CacheConfig::stale`](crate::response_cache::CacheConfig::stale); never with `must-revalidate`, `proxy-revalidate`, `s-maxage` |
//!
//! Fields that tell who the client is are `Cookie`, `Authorization`, `Proxy-Authorization`, and those that proxies and clients
//! use for it, such as `Client-Cert`, `X-Forwarded-User` and `X-Api-Key`. A certificate may be that of the connection, or one
//! that a load balancer tells by the PROXY protocol. The settings declare what is safe:
//!
//! | setting | effect |
//! |---|---|
//! | `fields(vec!["cookie".into()])` | each value of the field has responses of its own |
//! | `ignored_fields(vec!["cookie".into()])` | **no response depends on it**: requests with it get what others get |
//! | `ignore_client_certificates(true)` | the same for certificates |
//!
//! A response may depend on what is in no key: the address of the client, the time, a nonce or a token in the page, a field
//! that `Vary` does not name. Such a response needs `Cache-Control: private`, or belongs to a route without a cache.
//!
//! The path and the query are compared as sent. Clients can make up any number of queries: each takes a place, and those that are
//! used least are dropped.
//!
//! # Layers
//!
//! | where | |
//! |---|---|
//! | around the cache | runs for each request. Its fields are not kept, and each response has those of its own request. What it says by `Vary`, `Set-Cookie` or `Cache-Control` before the handler counts as if the handler had said it |
//! | within the cache | runs when the handler runs. Its fields are kept |
//!
//! So **what refuses requests is around the cache**: a check of the address within it would be made for the first request only.
//! Compression around the cache compresses each time; a `Compress` within it does it once for each `Accept-Encoding`. `ETags` within it
//! computes a tag once, and the cache answers `If-None-Match`.
//!
//! # When one is computed
//!
//! | request | gets |
//! |---|---|
//! | the first one | the response of the handler |
//! | others, before it is there | wait for it, as deferred responses, at most `Limits::response_timeout` |
//! | others, with an earlier response that is stale | that one |
//! | those that wait, if it depends on a field that they have another value of | ask once more: one of each value computes |
//! | those that wait, if it is not one that is kept, or comes in pieces | call the handler, each of them. For [`CacheConfig::ttl`](crate::response_cache::CacheConfig::ttl) others do not wait |
//! | those that wait, if there is none: status 500 and above, a panic, a client that has gone before the handler responds | one of them calls the handler, and the others wait for it |
//! | HEAD without a response in memory | calls the handler |
//! | those that come after a purge | do not wait for what was begun before it |
//!
//! Each request goes on on the thread of its own connection, or on the pool if the cache is within `offload`. No thread
//! waits.
//!
//! # Limits
//!
//! | limit | default | above it |
//! |---|---|---|
//! | `CacheConfig::bytes` | 64 MiB with keys | the responses that are used least are dropped |
//! | `CacheConfig::response_bytes` | 1 MiB | the response is not kept |
//! | `CacheConfig::waiting` | 10,000 requests | 503 with `Retry-After: 1` |
//! | `CacheConfig::compute_timeout` | 10 s | the next request computes as well |
//! | `Limits::response_timeout` | 300 s | a request that waits gets 503 |
//! | names in `Vary` | 16 | the response is not kept |
//!
//! Requests that wait are charged to `Config::buffered_bytes`.
//!
//! [`ResponseCache`]: crate::response_cache::ResponseCache
//! [`ResponseCache::wrap`]: crate::response_cache::ResponseCache::wrap
