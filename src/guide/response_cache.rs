//! Responses that are kept in memory for a time.
//!
//! A [`ResponseCache`] keeps whole responses. It calls the handler once for many requests, also if they come at the same time.
//!
//! ```
//! use peregrine::response_cache::{CacheConfig, ResponseCache};
//! use peregrine::router::{Route, offload};
//! use peregrine::testing::get;
//! use peregrine::{Router, from_fn};
//! use std::time::Duration;
//!
//! let config = CacheConfig::default()
//!     .ttl(Duration::from_secs(30))
//!     .stale(Duration::from_secs(60))
//!     .fields(vec!["accept-language".to_owned()]);
//! let cache = ResponseCache::new(config);
//! let prices = from_fn(offload(|_, res| res.text("from a slow database")));
//! let app = Router::new()
//!     .route(Route::handler(Some("GET"), "/prices", cache.wrap(prices)))
//!     .get("/", |_, res| res.html("<h1>Prices</h1>"));
//! assert_eq!(get(&app, "/prices").header("age"), None);
//! assert_eq!(get(&app, "/prices").header("age"), Some("0"));
//! // When the prices have changed:
//! cache.purge("/prices");
//! assert_eq!(get(&app, "/prices").header("age"), None);
//! ```
//!
//! # Which responses are kept, and for whom
//!
//! | | |
//! |---|---|
//! | requests | GET and HEAD without a body, `Authorization`, `Cookie` and `Range` |
//! | selected by | scheme, host, path with query, [`CacheConfig::fields`](crate::response_cache::CacheConfig::fields), and the fields that `Vary` names |
//! | responses | status 200 with a complete body in memory |
//! | not | with `Set-Cookie`, `Vary: *`, or `no-store`, `private`, `no-cache`, or an age of 0 in `Cache-Control` |
//! | for | `s-maxage` or `max-age` of `Cache-Control`, or else [`CacheConfig::ttl`](crate::response_cache::CacheConfig::ttl) |
//!
//! A response that depends on the user must have `Cache-Control: private` or `Vary` with the field that names the user. If
//! `fields` has `cookie` or `authorization`, each value of it has responses of its own.
//!
//! The path and the query are compared as sent. Clients can make up any number of queries, and each of them takes a place.
//!
//! Layers around the cache run for each request, and their fields are not kept. Compression around the cache
//! compresses each time; a `Compress` within it does it once for each coding.
//!
//! # When one is computed
//!
//! | request | gets |
//! |---|---|
//! | the first one | the response of the handler |
//! | others, before it is there | wait for it, at most `Limits::response_timeout` |
//! | others, with an earlier response that is stale for less than `CacheConfig::stale` | that one |
//! | those that wait, if the response is not one that is kept | a call of the handler for each |
//! | those that wait, if the handler panics | 503 with `Retry-After: 1` |
//!
//! # Limits
//!
//! | limit | default | above it |
//! |---|---|---|
//! | `CacheConfig::bytes` | 64 MiB | the oldest responses are dropped |
//! | `CacheConfig::response_bytes` | 1 MiB | the response is not kept |
//! | `CacheConfig::waiting` | 1,024 requests | 503 with `Retry-After: 1` |
//! | responses that differ by `Vary` | 8 for a target | the oldest of them is dropped |
//!
//! [`ResponseCache`]: crate::response_cache::ResponseCache
