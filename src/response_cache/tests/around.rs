//! Tests of the cache: layers around it and within it.

use super::*;

#[test]
fn fields_of_layers_around_it_are_those_of_each_request() {
    let cache = ResponseCache::new(CacheConfig::default());
    let inner = cache.wrap(counting());
    let app = crate::layers::Layered::new(inner)
        .layer(crate::layers::RequestId::new())
        .layer(crate::layers::from_fn(|req, res, next| {
            let name = req.header("x-name").unwrap_or("none");
            next.run(
                req,
                res.header_always("X-Of", name)
                    .header("Content-Type", "x/outer"),
            )
        }));
    let mut ids = Vec::new();
    for name in ["ada", "bob", "eve"] {
        let response = send(&app, "GET", "/?Vary=accept&X-Own=1", &[("X-Name", name)]);
        assert_eq!(response.text(), "call 0");
        assert_eq!(response.header_all("x-of").collect::<Vec<_>>(), [name]);
        assert_eq!(response.header_all("content-type").count(), 1);
        assert_eq!(
            response.header("content-type"),
            Some("text/plain; charset=utf-8")
        );
        assert_eq!(response.header_all("x-own").count(), 1);
        let own: Vec<&str> = response.header_all("x-request-id").collect();
        assert_eq!(own.len(), 1);
        ids.push(own[0].to_owned());
    }
    assert!(ids[0] != ids[1] && ids[1] != ids[2]);
}

#[test]
fn an_age_of_a_layer_around_it_is_replaced() {
    let app = around(&ResponseCache::new(CacheConfig::default()));
    for expected in ["7", "0"] {
        let response = send(&app, "GET", "/?Age=7", &[]);
        assert_eq!(response.text(), "call 0");
        assert_eq!(response.header_all("age").collect::<Vec<_>>(), [expected]);
    }
}

/// The field of a layer around the cache that goes on before the handler, by the query of the request.
fn around(cache: &ResponseCache) -> impl Handler {
    let layer = crate::layers::from_fn(|req, mut res, next| {
        for (name, value) in req.query_pairs() {
            res = match &*name {
                "status" => res.status(value.parse().expect("a number")),
                name => res.header_always(name, &*value),
            };
        }
        next.run(req, res)
    });
    let calls = AtomicU64::new(0);
    let inner = crate::from_fn(move |_, res| {
        res.text(format!("call {}", calls.fetch_add(1, Ordering::Relaxed)))
    });
    crate::layers::Layered::new(cache.wrap(inner)).layer(layer)
}

#[test]
fn what_layers_around_it_say_about_the_response_counts() {
    for query in [
        "Set-Cookie=a=b",
        "Vary=*",
        "Cache-Control=private",
        "Cache-Control=max-age=5,no-store",
        "status=404",
    ] {
        let cache = ResponseCache::new(CacheConfig::default());
        let app = around(&cache);
        let target = format!("/?{query}");
        assert_eq!(
            [get(&app, &target).text(), get(&app, &target).text()],
            ["call 0", "call 1"]
        );
        assert_eq!(cache.stats().entries, 0, "{query}");
    }
    let app = around(&ResponseCache::new(CacheConfig::default()));
    let of = |origin| {
        send(&app, "GET", "/?Vary=Origin", &[("Origin", origin)])
            .text()
            .to_owned()
    };
    assert_eq!(
        [of("a"), of("b"), of("a"), of("b")],
        ["call 0", "call 1", "call 0", "call 1"]
    );
}

/// A layer outside that names `Vary` only for some requests.
#[test]
fn vary_of_a_layer_around_it_selects_only_where_it_is() {
    let calls = AtomicU64::new(0);
    let inner = crate::from_fn(move |_, res| {
        res.text(format!("call {}", calls.fetch_add(1, Ordering::Relaxed)))
    });
    let inner = ResponseCache::new(CacheConfig::default()).wrap(inner);
    let app =
        crate::layers::Layered::new(inner).layer(crate::layers::from_fn(
            |req, res, next| match req.header("origin") {
                Some(_) => next.run(req, res.header_always("Vary", "Origin")),
                None => next.run(req, res),
            },
        ));
    let of = |fields: &[(&str, &str)]| send(&app, "GET", "/", fields).text().to_owned();
    assert_eq!(
        [of(&[]), of(&[("Origin", "a")]), of(&[("Origin", "b")])],
        ["call 0", "call 1", "call 2"]
    );
    assert_eq!(
        [of(&[]), of(&[("Origin", "a")]), of(&[("Origin", "b")])],
        ["call 0", "call 1", "call 2"]
    );
}

/// The error of a handler takes its response back; what replaces it has the fields of layers around it.
#[test]
fn the_response_in_place_of_another_one_is_not_kept() {
    #[derive(Debug)]
    struct Odd;
    impl std::fmt::Display for Odd {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("odd")
        }
    }
    impl std::error::Error for Odd {}
    impl crate::error::HandlerError for Odd {
        fn respond(&self, _: &Request<'_>, res: Response<'_>) -> Done {
            res.status(200).text("of an error")
        }
    }
    let cache = ResponseCache::new(CacheConfig::default());
    let inner = cache.wrap(crate::from_fn(|_, _| Err::<Done, Odd>(Odd)));
    let app = crate::layers::Layered::new(inner).layer(crate::layers::from_fn(|req, res, next| {
        next.run(
            req,
            res.header_always("X-User", req.header("x-name").unwrap_or("")),
        )
    }));
    for name in ["ada", "bob"] {
        let response = send(&app, "GET", "/", &[("X-Name", name)]);
        assert_eq!(response.header_all("x-user").collect::<Vec<_>>(), [name]);
        assert_eq!(response.header("age"), None);
    }
    assert_eq!(cache.stats().entries, 0);
}

#[test]
fn compression_within_and_around_it() {
    #[cfg(feature = "compress")]
    {
        use crate::compression::Compress;
        let text = || crate::from_fn(|_, res| res.text("hello ".repeat(1000)));
        let cache = || ResponseCache::new(CacheConfig::default());
        let within = cache();
        let around = cache();
        let apps: [(Box<dyn Handler>, &ResponseCache); 2] = [
            (Box::new(within.wrap(Compress::new(text()))), &within),
            (Box::new(Compress::new(around.wrap(text()))), &around),
        ];
        for (at, (app, cache)) in apps.iter().enumerate() {
            for _ in 0..2 {
                for (accept, expected) in [("gzip", Some("gzip")), ("identity", None)] {
                    let response = send(app, "GET", "/", &[("Accept-Encoding", accept)]);
                    assert_eq!(
                        response.header("content-encoding"),
                        expected,
                        "{at} {accept}"
                    );
                    assert_eq!(response.header_all("vary").count(), 1);
                }
            }
            let expected = [(2, 2), (1, 3)][at];
            assert_eq!((cache.stats().misses, cache.stats().hits), expected);
        }
    }
}
