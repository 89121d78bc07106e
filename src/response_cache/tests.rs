//! Tests of the cache: what is kept, for whom, and for how long.

mod around;
mod waiting;

use super::*;
use crate::testing::{Client, ClientResponse, get};
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
        ("GET", "/", &[("Cache-Control", "no-cache")], true),
        ("GET", "/", &[("Connection", "close")], true),
        ("GET", "/?", &[], false),
        ("GET", "/a", &[], false),
        ("POST", "/", &[], false),
        ("OPTIONS", "/", &[], false),
        ("GET", "/", &[("Cookie", "a=b")], false),
        ("GET", "/", &[("Cookie", "")], false),
        ("GET", "/", &[("Authorization", "Basic x")], false),
        ("GET", "/", &[("Proxy-Authorization", "Basic x")], false),
        ("GET", "/", &[("X-API-Key", "x")], false),
        ("GET", "/", &[("Client-Cert", ":eA==:")], false),
        ("GET", "/", &[("X-Forwarded-User", "ada")], false),
        (
            "GET",
            "/",
            &[("X-Forwarded-Tls-Client-Cert-Info", "x")],
            false,
        ),
        ("GET", "/", &[("X-HTTP-Method-Override", "DELETE")], false),
        ("GET", "/", &[("X-Original-URL", "/other")], false),
        ("GET", "/", &[("Range", "bytes=0-1")], false),
        ("GET", "/", &[("If-Range", "x")], false),
        ("GET", "/", &[("If-Match", "*")], false),
        ("GET", "/", &[("If-Unmodified-Since", "x")], false),
        ("GET", "/", &[("Content-Length", "0")], false),
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
    let with_body = |target| {
        let mut client = Client::new(&app);
        let response = client.request("GET", target).body("x").send();
        response.header("age").is_some()
    };
    assert!(!with_body("/"));
    // Upper and lower case of a host are the same.
    let of_host = |target| send(&app, "GET", target, &[]).text().to_owned();
    assert_eq!(of_host("http://A.example/"), of_host("http://a.EXAMPLE/"));
}

#[test]
fn what_is_declared_is_shared_or_selects() {
    let credentials = [
        ("Cookie", "a=b"),
        ("X-Api-Key", "1"),
        ("Authorization", "Basic x"),
    ];
    for (name, value) in credentials {
        let ignoring = cached(CacheConfig::default().ignored_fields(vec![name.to_owned()]));
        get(&ignoring, "/");
        let with = send(&ignoring, "GET", "/", &[(name, value)]);
        assert_eq!(with.text(), "call 0", "{name}");
        let selecting = cached(CacheConfig::default().fields(vec![name.to_lowercase()]));
        let of = |value| {
            send(&selecting, "GET", "/", &[(name, value)])
                .text()
                .to_owned()
        };
        assert_eq!(
            [of("1"), of("2"), of("1"), of("")],
            ["call 0", "call 1", "call 0", "call 2"]
        );
        // A field that is not there is not an empty one.
        assert_eq!(get(&selecting, "/").text(), "call 3");
        // Others are not declared.
        let other = if name == "Cookie" {
            "Authorization"
        } else {
            "Cookie"
        };
        assert_eq!(
            send(&ignoring, "GET", "/", &[(other, "x")]).text(),
            "call 1"
        );
    }
}

#[test]
fn further_fields_can_be_excluded() {
    let long = "x-".repeat(50) + "who";
    let own = vec!["X-Who".to_owned(), long.clone(), String::new()];
    let app = cached(CacheConfig::default().excluded_fields(own));
    get(&app, "/");
    for name in ["x-who", &long, "x-whom"] {
        let response = send(&app, "GET", "/", &[(name, "ada")]);
        assert_eq!(response.header("age").is_some(), name == "x-whom", "{name}");
    }
}

/// Values that could be taken for the end of one part of a key and the beginning of the next.
#[test]
fn no_two_requests_have_the_same_key() {
    let fields = vec!["x-a".to_owned(), "x-b".to_owned()];
    let app = cached(CacheConfig::default().fields(fields));
    let requests: [(&str, &[(&str, &str)]); 9] = [
        ("/?Vary=x-c", &[]),
        ("/?Vary=x-c", &[("x-a", "1")]),
        ("/?Vary=x-c", &[("x-b", "1")]),
        ("/?Vary=x-c", &[("x-c", "1")]),
        ("/?Vary=x-c", &[("x-a", "1"), ("x-a", "1")]),
        ("/?Vary=x-c", &[("x-a", "1,1")]),
        ("/?Vary=x-c", &[("x-a", "11")]),
        ("/?Vary=x-c", &[("x-a", "")]),
        ("/?Vary=x-c&ETag=a", &[]),
    ];
    let of = |(target, fields): &(&str, &[(&str, &str)])| {
        send(&app, "GET", target, fields).text().to_owned()
    };
    let first: Vec<String> = requests.iter().map(of).collect();
    let numbers: Vec<String> = (0..requests.len()).map(|n| format!("call {n}")).collect();
    assert_eq!(first, numbers);
    assert_eq!(requests.iter().map(of).collect::<Vec<_>>(), numbers);
}

#[test]
fn two_handlers_with_one_cache_have_their_own_responses() {
    let cache = ResponseCache::new(CacheConfig::default());
    let (public, admin) = (
        cache.wrap_fn(|_, res| res.text("public")),
        cache.wrap_fn(|_, res| res.text("admin")),
    );
    let app = crate::Router::new()
        .get("/", public)
        .route(crate::router::Route::get("/", admin).when(|req| req.header("x-admin").is_some()));
    for _ in 0..2 {
        assert_eq!(send(&app, "GET", "/", &[("X-Admin", "1")]).text(), "admin");
        assert_eq!(get(&app, "/").text(), "public");
    }
    assert_eq!(cache.stats().hits, 2);
}

#[test]
fn conditions_are_answered_from_memory() {
    let app = cached(CacheConfig::default());
    let target = "/?ETag=W/%22a%22&Last-Modified=Sun,%2006%20Nov%201994%2008:49:37%20GMT&Vary=x-a";
    get(&app, target);
    for (name, value, expected) in [
        ("If-None-Match", "\"b\", W/\"a\"", 304),
        ("If-None-Match", "\"a\"", 304),
        ("If-None-Match", "*", 304),
        ("If-None-Match", "\"b\"", 200),
        ("If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT", 304),
        ("If-Modified-Since", "Sun, 06 Nov 1994 08:49:38 GMT", 200),
    ] {
        let response = send(&app, "GET", target, &[(name, value)]);
        assert_eq!(response.status(), expected, "{name}: {value}");
        assert_eq!(response.header("etag"), Some("W/\"a\""));
        assert_eq!(response.header("vary"), Some("x-a"));
        assert_eq!(response.header("content-type").is_none(), expected == 304);
    }
    // A 304 of the handler is for its request only.
    let answer = |target| send(&app, "GET", target, &[("If-None-Match", "\"a\"")]).status();
    assert_eq!([answer("/?status=304"), answer("/?status=304")], [304, 304]);
}

#[test]
fn responses_differ_by_the_fields_that_vary_names() {
    let app = cached(CacheConfig::default().fields(vec!["cookie".to_owned()]));
    let target = "/?Vary=Accept,%20Accept-Language";
    let of = |accept: &str, cookie: &str| {
        let fields = [("accept", accept), ("Cookie", cookie)];
        send(&app, "GET", target, &fields).text().to_owned()
    };
    assert_eq!(
        [of("a", "x"), of("b", "x"), of("a", "y")],
        ["call 0", "call 1", "call 2"]
    );
    assert_eq!(
        [of("a", "x"), of("b", "x"), of("a", "y")],
        ["call 0", "call 1", "call 2"]
    );
}

/// A handler that names other fields in each response.
#[test]
fn names_in_vary_add_up() {
    let calls = AtomicU64::new(0);
    let app = ResponseCache::new(CacheConfig::default()).wrap(crate::from_fn(move |req, res| {
        let call = calls.fetch_add(1, Ordering::Relaxed);
        let name = req.header("x-name").unwrap_or("x-name");
        res.header("Vary", name).text(format!("call {call}"))
    }));
    let of = |fields: &[(&str, &str)]| send(&app, "GET", "/", fields).text().to_owned();
    let of_a = [("X-Name", "x-a"), ("x-a", "1"), ("x-b", "1")];
    let of_b = [("X-Name", "x-b"), ("x-a", "1"), ("x-b", "2")];
    assert_eq!([of(&[]), of(&[])], ["call 0", "call 0"]);
    assert_eq!([of(&of_a), of(&of_a)], ["call 1", "call 1"]);
    assert_eq!([of(&of_b), of(&of_b)], ["call 2", "call 2"]);
    // The same values of `x-name` and `x-a`, but `x-b` was named since.
    assert_eq!(
        of(&[("X-Name", "x-a"), ("x-a", "1"), ("x-b", "3")]),
        "call 3"
    );
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
        assert!(
            (cache.stats().bytes as usize) <= 10_000,
            "{n}: {}",
            (cache.stats().bytes as usize)
        );
        assert!(get(&app, &target).header("age").is_some(), "{n}");
    }
    assert_eq!(get(&app, "/0?len=1500").header("age"), None);
    cache.purge_prefix("/");
    assert!((cache.stats().bytes as usize) < 10_000);
    let none = ResponseCache::new(CacheConfig::default().bytes(0));
    let app = none.wrap(counting());
    assert_eq!(
        [get(&app, "/").text(), get(&app, "/").text()],
        ["call 0", "call 1"]
    );
    assert_eq!(none.stats().bytes, 0);
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

/// Targets in absolute form (RFC 9112 section 3.2.2).
#[test]
fn a_purge_is_for_all_forms_of_a_target() {
    let cache = ResponseCache::new(CacheConfig::default());
    let app = cache.wrap(counting());
    let ask = |target: &str| {
        let mut connection = crate::testing::Connection::new(&app);
        connection.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        let response = String::from_utf8_lossy(connection.received()).into_owned();
        assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
        response.contains("Age: ")
    };
    let targets = ["/x?y", "http://a/x?y", "HTTP://a/x?y", "https://a/x?y"];
    for (form, path) in targets.into_iter().map(|target| (target, "/x?y")).chain([
        ("http://a?y", "/?y"),
        ("http://a", "/"),
        ("http://a/", "/"),
    ]) {
        assert_eq!([ask(form), ask(form)], [false, true], "{form}");
        assert_eq!(cache.purge(path), 1, "{form}");
        assert!(!ask(form), "{form}");
        assert_eq!(cache.purge_prefix("/"), 1, "{form}");
    }
}

#[test]
fn a_response_can_be_kept_until_a_purge() {
    for config in [
        CacheConfig::default().ttl(Duration::MAX),
        CacheConfig::default().stale(Duration::MAX),
    ] {
        let app = cached(config.clone());
        get(&app, "/");
        assert!(get(&app, "/").header("age").is_some(), "{config:?}");
    }
}

#[test]
fn a_response_that_is_over_is_computed_again() {
    let app = cached(CacheConfig::default().ttl(Duration::from_nanos(1)));
    assert_eq!(
        [get(&app, "/").text(), get(&app, "/").text()],
        ["call 0", "call 1"]
    );
}

#[test]
fn a_panic_of_the_handler_itself_leaves_nothing() {
    let app = cached(CacheConfig::default());
    for _ in 0..2 {
        assert_eq!(get(&app, "/?panic=1").status(), 500);
    }
    // On one connection: the next request finds no filter of the one before.
    let mut client = Client::new(&app);
    assert_eq!(client.get("/?panic=1").send().status(), 500);
    let next = client.post("/").body("x").send();
    assert_eq!((next.status(), next.text()), (200, "call 3"));
    assert_eq!(app.core.shared.store().len(), 0);
}

#[test]
fn what_is_not_kept_leaves_nothing_in_memory() {
    let cache = ResponseCache::new(CacheConfig::default());
    let app = cache.wrap(counting());
    for n in 0..1000 {
        get(&app, &format!("/{n}?status=404"));
    }
    assert_eq!((cache.stats().bytes as usize), 0);
    assert!(cache.shared.store().order_len() < 200);
}
