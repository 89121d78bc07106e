//! Tests of the cache: what is kept, for whom, for how long, and who waits.

use super::*;
use crate::Responder;
use crate::testing::{Client, ClientResponse, Connection, get};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Responds with the number of the call, and with the fields that the query names.
fn counting() -> impl Handler {
    let calls = AtomicU64::new(0);
    crate::from_fn(move |req, res| {
        let call = calls.fetch_add(1, Ordering::Relaxed);
        let mut status = 200;
        let mut res = res;
        for (name, value) in req.query_pairs() {
            match &*name {
                "status" => status = value.parse().expect("a number"),
                "len" => return res.text("x".repeat(value.parse().expect("a number"))),
                "stream" => return res.send_iter([format!("call {call}")]),
                "panic" => std::panic::resume_unwind(Box::new("as asked")),
                name => res = res.header(name, &*value),
            }
        }
        res.status(status).text(format!("call {call}"))
    })
}

fn cached(config: CacheConfig) -> Cached<impl Handler> {
    ResponseCache::new(config).wrap(counting())
}

fn send<H: Handler>(
    app: &H,
    method: &str,
    target: &str,
    fields: &[(&str, &str)],
) -> ClientResponse {
    let mut client = Client::new(app);
    let request = client.request(method, target);
    let request = fields
        .iter()
        .fold(request, |request, (n, v)| request.header(n, v));
    request.send()
}

#[test]
fn which_responses_are_kept() {
    for (query, expected) in [
        ("", true),
        ("ETag=a", true),
        ("Cache-Control=max-age=5", true),
        ("Cache-Control=no-transform,%20S-MaxAge=5", true),
        ("Cache-Control=max-age=0,%20s-maxage=5", true),
        ("Vary=accept", true),
        ("status=404", false),
        ("status=500", false),
        ("status=204", false),
        ("Set-Cookie=a=b", false),
        ("Cache-Control=no-store", false),
        ("Cache-Control=max-age=5,%20PRIVATE", false),
        ("Cache-Control=no-cache=%22a%22", false),
        ("Cache-Control=max-age=0", false),
        ("Cache-Control=max-age=5,%20s-maxage=0", false),
        ("Vary=accept,%20*", false),
        ("stream=1", false),
    ] {
        let app = cached(CacheConfig::default());
        let target = format!("/?{query}");
        let first = get(&app, &target);
        let second = get(&app, &target);
        if expected {
            assert_eq!(second.body(), first.body(), "{query}");
        }
        assert_eq!(second.header("age").is_some(), expected, "{query}");
        assert_eq!(first.status(), second.status(), "{query}");
    }
}

#[test]
fn which_requests_get_them() {
    let app = cached(CacheConfig::default());
    get(&app, "/");
    for (method, target, fields, expected) in [
        ("GET", "/", &[][..], true),
        ("HEAD", "/", &[], true),
        ("GET", "/", &[("Accept", "x")], true),
        ("GET", "/?", &[], false),
        ("GET", "/a", &[], false),
        ("POST", "/", &[], false),
        ("GET", "/", &[("Cookie", "a=b")], false),
        ("GET", "/", &[("Authorization", "Basic x")], false),
        ("GET", "/", &[("Range", "bytes=0-1")], false),
        ("GET", "http://other/", &[], false),
    ] {
        let response = send(&app, method, target, fields);
        let is_kept = response.header("age").is_some();
        assert_eq!(is_kept, expected, "{method} {target} {fields:?}");
    }
    let head = send(&app, "HEAD", "/", &[]);
    assert_eq!(
        (head.header("content-length"), head.body()),
        (Some("6"), &b""[..])
    );
    let ignoring = cached(CacheConfig::default().ignore_cookies(true));
    get(&ignoring, "/");
    let with_cookie = send(&ignoring, "GET", "/", &[("Cookie", "a=b")]);
    assert!(with_cookie.header("age").is_some());
    // A HEAD without a kept response keeps nothing.
    send(&app, "HEAD", "/b", &[]);
    assert_eq!(get(&app, "/b").header("age"), None);
}

#[test]
fn responses_differ_by_the_fields_that_vary_names() {
    let app = cached(CacheConfig::default().fields(vec!["cookie".to_owned()]));
    let target = "/?Vary=Accept,%20Accept-Language";
    let of = |accept: &str, cookie: &str| {
        let response = send(
            &app,
            "GET",
            target,
            &[("accept", accept), ("Cookie", cookie)],
        );
        response.text().to_owned()
    };
    assert_eq!(of("a", "x"), "call 0");
    assert_eq!(of("b", "x"), "call 1");
    assert_eq!(of("a", "y"), "call 2");
    assert_eq!(
        [of("a", "x"), of("b", "x"), of("a", "y")],
        ["call 0", "call 1", "call 2"]
    );
    // At most eight of them, the oldest go first.
    for n in 0..8 {
        of(&n.to_string(), "x");
    }
    assert_eq!(of("a", "x"), "call 11");
}

#[test]
fn the_bytes_of_a_cache_are_limited() {
    let config = CacheConfig::default().bytes(10_000).response_bytes(2_000);
    let cache = ResponseCache::new(config);
    let app = cache.wrap(counting());
    get(&app, "/?len=2001");
    assert_eq!(get(&app, "/?len=2001").header("age"), None);
    for n in 0..100 {
        let target = format!("/{n}?len=1500");
        get(&app, &target);
        assert!(cache.bytes() <= 10_000, "{n}: {}", cache.bytes());
        assert!(get(&app, &target).header("age").is_some(), "{n}");
    }
    assert_eq!(get(&app, "/0?len=1500").header("age"), None);
    cache.purge_prefix("/");
    assert!(cache.bytes() < 10_000);
    let none = ResponseCache::new(CacheConfig::default().bytes(0));
    let app = none.wrap(counting());
    assert_eq!(
        [get(&app, "/").text(), get(&app, "/").text()],
        ["call 0", "call 1"]
    );
    assert_eq!(none.bytes(), 0);
}

#[test]
fn a_purge_is_by_target_or_by_prefix() {
    let cache = ResponseCache::new(CacheConfig::default());
    let app = cache.wrap(counting());
    for target in ["/a", "/a/b", "/c"] {
        get(&app, target);
    }
    cache.purge_prefix("/a");
    let is_kept = |target| get(&app, target).header("age").is_some();
    assert_eq!(["/a", "/a/b", "/c"].map(is_kept), [false, false, true]);
    cache.purge("/a");
    assert_eq!(["/a", "/a/b", "/c"].map(is_kept), [false, true, true]);
}

#[test]
fn a_response_that_is_over_is_computed_again() {
    let app = cached(CacheConfig::default().ttl(Duration::from_nanos(1)));
    assert_eq!(
        [get(&app, "/").text(), get(&app, "/").text()],
        ["call 0", "call 1"]
    );
}

/// Requests of many connections at once for a response that comes from another thread.
struct Gate {
    responders: Mutex<Vec<Responder>>,
}

impl Gate {
    fn app(
        cache: &ResponseCache,
        fields: &'static [(&str, &str)],
    ) -> (Arc<Gate>, Cached<impl Handler>) {
        let gate = Arc::new(Gate {
            responders: Mutex::default(),
        });
        let inner = gate.clone();
        let app = crate::from_fn(move |_, res| {
            let res = fields
                .iter()
                .fold(res, |res, (name, value)| res.header(name, value));
            let (done, responder) = res.defer();
            inner.responders.lock().expect("no panic").push(responder);
            done
        });
        (gate, cache.wrap(app))
    }

    fn take(&self) -> Vec<Responder> {
        std::mem::take(&mut self.responders.lock().expect("no panic"))
    }
}

fn ask<H: Handler>(app: &H) -> Connection<'_, H> {
    let mut connection = Connection::new(app);
    connection.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    connection
}

/// What the client has received, after all that other threads have sent.
fn received<H: Handler>(connection: &mut Connection<'_, H>) -> String {
    connection.elapse(Duration::ZERO);
    String::from_utf8_lossy(connection.received()).into_owned()
}

#[test]
fn one_request_computes_while_others_wait() {
    let cache = ResponseCache::new(CacheConfig::default().waiting(3));
    let (gate, app) = Gate::app(&cache, &[]);
    let mut clients: Vec<_> = (0..5).map(|_| ask(&app)).collect();
    let mut responders = gate.take();
    assert_eq!(responders.len(), 1);
    let full = received(&mut clients[4]);
    assert!(
        full.starts_with("HTTP/1.1 503 ") && full.contains("Retry-After: 1"),
        "{full}"
    );
    let responder = responders.pop().expect("one");
    responder
        .send(|res| res.text("computed"))
        .expect("it waits");
    for client in &mut clients[..4] {
        assert!(received(client).ends_with("\r\n\r\ncomputed"));
    }
    assert!(gate.take().is_empty());
    assert!(received(&mut ask(&app)).contains("Age: 0\r\n"));
}

#[test]
fn a_response_that_is_not_kept_is_computed_for_each_that_waits() {
    let cache = ResponseCache::new(CacheConfig::default());
    let (gate, app) = Gate::app(&cache, &[("Set-Cookie", "a=b")]);
    let _clients: Vec<_> = (0..3).map(|_| ask(&app)).collect();
    let responder = gate.take().pop().expect("one");
    responder.send(|res| res.text("")).expect("it waits");
    assert_eq!(gate.take().len(), 2);
    // It is known now, so that no request waits for another.
    let _more: Vec<_> = (0..2).map(|_| ask(&app)).collect();
    assert_eq!(gate.take().len(), 2);
}

#[test]
fn without_a_response_those_that_wait_are_responded_to() {
    let cache = ResponseCache::new(CacheConfig::default());
    let (gate, app) = Gate::app(&cache, &[]);
    let (mut first, mut second) = (ask(&app), ask(&app));
    drop(gate.take());
    assert!(received(&mut first).starts_with("HTTP/1.1 500 "));
    // The handler is called for it.
    let responder = gate.take().pop().expect("one");
    responder.send(|res| res.text("own")).expect("it waits");
    assert!(received(&mut second).ends_with("\r\n\r\nown"));
    let (_first, mut second) = (ask(&app), ask(&app));
    let responder = gate.take().pop().expect("one");
    responder.send_or_panicked(|_| std::panic::resume_unwind(Box::new("as asked")));
    assert!(received(&mut second).starts_with("HTTP/1.1 503 "));
    assert!(gate.take().is_empty());
    let app = cached(CacheConfig::default());
    assert_eq!(get(&app, "/?panic=1").status(), 500);
    assert_eq!(get(&app, "/?panic=1").status(), 500);
}

#[test]
fn what_is_not_kept_leaves_nothing_in_memory() {
    let cache = ResponseCache::new(CacheConfig::default());
    let app = cache.wrap(counting());
    for n in 0..1000 {
        get(&app, &format!("/{n}?status=404"));
    }
    assert_eq!(cache.bytes(), 0);
    assert!(cache.shared.store().order_len() < 20);
}

#[test]
fn fields_of_layers_around_it_are_not_kept() {
    let cache = ResponseCache::new(CacheConfig::default());
    let inner = cache.wrap(counting());
    let app = crate::layers::Layered::new(inner).layer(crate::layers::RequestId::new());
    let ids: Vec<String> = (0..3)
        .map(|_| {
            let response = get(&app, "/?Vary=accept");
            assert_eq!(response.text(), "call 0");
            let ids: Vec<&str> = response.header_all("x-request-id").collect();
            assert_eq!(ids.len(), 1);
            ids[0].to_owned()
        })
        .collect();
    assert!(ids[0] != ids[1] && ids[1] != ids[2]);
}

#[test]
fn a_stale_response_is_sent_while_one_request_computes() {
    let config = CacheConfig::default()
        .ttl(Duration::from_nanos(1))
        .stale(Duration::from_secs(3600));
    let (gate, app) = Gate::app(&ResponseCache::new(config), &[]);
    let mut first = ask(&app);
    let answer = |text: &'static str| {
        let responder = gate.take().pop().expect("one");
        responder.send(|res| res.text(text)).expect("it waits");
    };
    answer("old");
    assert!(received(&mut first).ends_with("old"));
    let mut second = ask(&app);
    assert!(received(&mut ask(&app)).ends_with("old"));
    answer("new");
    assert!(received(&mut second).ends_with("new"));
}

#[test]
fn what_is_computed_during_a_purge_is_not_kept() {
    let cache = ResponseCache::new(CacheConfig::default());
    let (gate, app) = Gate::app(&cache, &[]);
    let (mut first, mut second) = (ask(&app), ask(&app));
    cache.purge_prefix("/");
    let responder = gate.take().pop().expect("one");
    responder.send(|res| res.text("old")).expect("it waits");
    assert!(received(&mut first).ends_with("old") && received(&mut second).ends_with("old"));
    let _third = ask(&app);
    assert_eq!(gate.take().len(), 1);
}
