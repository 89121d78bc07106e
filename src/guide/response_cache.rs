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
//! | requests | GET and HEAD without a body, without fields that tell who the client is, without a client certificate, and without a value of a layer (`Request::with_value`) |
//! | selected by | handler, scheme, host, path with query, [`CacheConfig::fields`](crate::response_cache::CacheConfig::fields), and the fields that `Vary` names |
//! | responses | to GET, with status 200 and a complete body in memory |
//! | not | with `Set-Cookie`, `Vary: *`, or `no-store`, `private`, `no-cache`, or an age of 0 in `Cache-Control`; with `Expires` and no age |
//! | for | `s-maxage` or `max-age` of `Cache-Control`, or else [`CacheConfig::ttl`](crate::response_cache::CacheConfig::ttl), 10 s by default |
//! | stale for | `stale-while-revalidate`, or else [`CacheConfig::stale`](crate::response_cache::CacheConfig::stale), 0 s by default; never with `must-revalidate`, `proxy-revalidate`, `s-maxage` |
//!
//! A request with one of these fields is not for the cache, because they tell who the client is:
//!
//! `authorization`, `cookie`, `proxy-authorization`, `client-cert`, `client-cert-chain`, `x-forwarded-client-cert`,
//! `x-forwarded-tls-client-cert`, `x-forwarded-tls-client-cert-info`, `x-client-cert`, `ssl-client-cert`, `x-ssl-client-cert`,
//! `x-ssl-client-s-dn`, `x-ssl-client-verify`, `x-amzn-mtls-clientcert`, `x-amzn-mtls-clientcert-leaf`,
//! `x-amzn-mtls-clientcert-subject`, `x-amzn-mtls-clientcert-serial-number`, `x-arr-clientcert`, `x-forwarded-user`,
//! `x-forwarded-email`, `x-forwarded-groups`, `x-forwarded-preferred-username`, `x-forwarded-access-token`,
//! `x-auth-request-user`, `x-auth-request-email`, `x-auth-request-groups`, `x-auth-request-preferred-username`,
//! `x-auth-request-access-token`, `x-remote-user`, `remote-user`, `x-user`, `x-webauth-user`, `x-authentik-username`,
//! `x-authentik-email`, `x-authentik-uid`, `x-authentik-groups`, `x-pomerium-jwt-assertion`, `x-pomerium-claim-email`,
//! `x-ms-client-principal`, `x-ms-client-principal-id`, `x-ms-client-principal-name`, `x-goog-authenticated-user-email`,
//! `x-goog-authenticated-user-id`, `x-goog-iap-jwt-assertion`, `x-amzn-oidc-data`, `x-amzn-oidc-identity`,
//! `x-amzn-oidc-accesstoken`, `cf-access-jwt-assertion`, `cf-access-authenticated-user-email`, `tailscale-user-login`,
//! `x-api-key`, `api-key`, `x-auth-token`, `x-access-token`, `x-csrf-token`, `x-xsrf-token`.
//!
//! So is one with a field that makes its response one for this request only, or that some programs take for the method or the target:
//!
//! `range`, `if-range`, `if-match`, `if-unmodified-since`, `content-length`, `transfer-encoding`, `upgrade`,
//! `x-http-method-override`, `x-http-method`, `x-method-override`, `x-original-url`, `x-rewrite-url`.
//!
//! No other field is known. A certificate may be that of the connection, or one that a load balancer tells by the PROXY protocol.
//! The settings declare the rest:
//!
//! | setting | effect |
//! |---|---|
//! | `fields(vec!["cookie".into()])` | each value of the field has responses of its own |
//! | `ignored_fields(vec!["cookie".into()])` | **no response depends on it**: requests with it get what others get |
//! | `ignore_client_certificates(true)` | the same for certificates |
//! | `excluded_fields(vec!["x-who".into()])` | a request with it is not for the cache, like those above |
//!
//! With `fields(vec!["cookie".into()])` a session that has ended still gets its page for `ttl` and `stale`, unless a layer around the
//! cache checks it.
//!
//! A response may depend on what is in no key: the address of the client, the listener, the time, a nonce or a token in the page, a
//! field that `Vary` does not name, such as `X-Forwarded-Host` if the program reads it itself. Such a response needs
//! `Cache-Control: private`, or belongs to a route without a cache.
//!
//! The path and the query are compared as sent: `/a` and `/%61` are two. Clients can make up any number of queries and of values of
//! [`CacheConfig::fields`](crate::response_cache::CacheConfig::fields): each takes a place, and those that are used least are dropped.
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
//! # When a response is computed
//!
//! | request | gets |
//! |---|---|
//! | the first one | the response of the handler |
//! | others, before it is there | wait for it, as deferred responses, at most `Limits::response_timeout` |
//! | others, with an earlier response that is stale | that one |
//! | HEAD without a response in memory | calls the handler |
//! | those that come after a purge | do not wait for what was begun before it |
//!
//! So the first request that finds a response stale waits for the handler, and all others get the stale one meanwhile. Nothing is computed
//! without a request.
//!
//! The handler does not see `If-None-Match` and `If-Modified-Since` when it computes, because its response is for others, too. The cache
//! makes 304 of it for a client that has it already. A response in pieces is sent whole.
//!
//! What becomes of those that wait:
//!
//! | response | those that wait |
//! |---|---|
//! | is kept | get it |
//! | depends on a field of which they have another value | ask once more: one of each value computes |
//! | 200 that is not kept, or in pieces | call the handler, each of them. For `ttl`, at most 5 s, others do not wait |
//! | 404, 410 | call the handler. What was kept before is dropped |
//! | another status below 500 | call the handler. What was kept before stays |
//! | none: status 500 and above, a panic, a responder that was dropped | one of them calls the handler. If that fails too, all call it |
//! | none within `CacheConfig::compute_timeout` | the next new request computes as well. The first response that is kept is for all |
//!
//! What a call makes after `CacheConfig::compute_timeout` is kept, too, unless there was a purge. 32 requests go on at once on each worker,
//! and other connections have their turns between them.
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
//! | `CacheConfig::waiting_per_response` | 2,500 requests | 503 with `Retry-After: 1` |
//! | `CacheConfig::compute_timeout` | 10 s | the next request computes as well |
//! | `Limits::response_timeout` | 300 s | a request that waits gets 503 |
//! | names in `Vary` | 16 | the response is not kept |
//!
//! Requests that wait are charged to `Config::buffered_bytes`. Those whose clients have gone give up their places to others.
//!
//! [`ResponseCache`]: crate::response_cache::ResponseCache
//! [`ResponseCache::wrap`]: crate::response_cache::ResponseCache::wrap
