//! The layers of the library: CORS, CSRF, authentication, limits, tags.

use super::support::{Answer, Asked, Client, Stream, ended, start, workers};
use peregrine::config::ForwardedFields;
use peregrine::layers::{
    BasicAuth, BearerAuth, Cors, Csrf, ETags, Maintenance, RateLimit, RequestId, SecurityHeaders,
};
use peregrine::router::{Route, offload};
use peregrine::testing::Client as TestClient;
use peregrine::{Config, Handler, Router};
use std::time::Duration;

/// Sends one request over a socket and reads the response.
#[track_caller]
fn ask(client: &mut Client, method: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
    let fields: String = fields
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    client.send(format!(
        "{method} {path} HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n"
    ));
    let asked = match method {
        "HEAD" => Asked::Head,
        _ => Asked::Other,
    };
    client.answer(asked)
}

fn with(app: impl Handler, test: impl FnOnce(&mut Client, std::net::SocketAddr)) {
    let (server, addr) = start(app, workers(1));
    test(
        &mut Client::over_stream(Stream::connect(addr).expect("accepted")),
        addr,
    );
    server.stop();
    ended(server);
}

const APP: &str = "https://app.example";
const ORIGIN: &str = "access-control-allow-origin";

#[test]
fn a_preflight_is_answered_before_a_route_is_searched() {
    let api = Router::new()
        .put("/notes/{id}", |_, res| res.text("saved"))
        .layer(
            Cors::new()
                .origins([APP])
                .methods(["PUT"])
                .credentials()
                .expose(["X-Total"]),
        );
    with(
        Router::new()
            .nest("/api", api)
            .get("/", |_, res| res.text("page")),
        |client, _| {
            let preflight = |origin| {
                [
                    ("Origin", origin),
                    ("Access-Control-Request-Method", "PUT"),
                    ("Access-Control-Request-Headers", "x-a, x-b"),
                ]
            };
            let answer = ask(client, "OPTIONS", "/api/notes/1", &preflight(APP));
            assert_eq!((answer.status, answer.get(ORIGIN)), (204, Some(APP)));
            assert_eq!(answer.get("access-control-allow-methods"), Some("PUT"));
            assert_eq!(answer.get("access-control-allow-headers"), Some("x-a, x-b"));
            assert_eq!(answer.get("access-control-allow-credentials"), Some("true"));
            assert_eq!(answer.get("access-control-max-age"), Some("600"));
            assert_eq!(answer.get("allow"), None);
            // Of another origin, which learns nothing.
            for origin in [
                "https://evil.example",
                "https://app.example.evil",
                "http://app.example",
                "",
            ] {
                let answer = ask(client, "OPTIONS", "/api/notes/1", &preflight(origin));
                assert_eq!((answer.status, answer.get(ORIGIN)), (204, None), "{origin}");
                assert_eq!(answer.get("access-control-allow-methods"), None, "{origin}");
            }
            // OPTIONS that is no preflight asks the router.
            let answer = ask(client, "OPTIONS", "/api/notes/1", &[]);
            assert_eq!(answer.get("allow"), Some("OPTIONS, PUT"));
            // Responses, and errors of the router, can be read by the page.
            for (method, path, status) in [
                ("PUT", "/api/notes/1", 200),
                ("GET", "/api/notes/1", 405),
                ("GET", "/api/none", 404),
            ] {
                let answer = ask(client, method, path, &[("Origin", APP)]);
                assert_eq!(
                    (answer.status, answer.get(ORIGIN)),
                    (status, Some(APP)),
                    "{path}"
                );
                assert_eq!(
                    answer.get("access-control-expose-headers"),
                    Some("X-Total"),
                    "{path}"
                );
                let vary = answer
                    .fields
                    .iter()
                    .filter(|f| f.0 == "vary" && f.1 == "Origin");
                assert_eq!(vary.count(), 1, "{path}");
            }
            let two = [("Origin", APP), ("Origin", APP)];
            assert_eq!(ask(client, "PUT", "/api/notes/1", &two).get(ORIGIN), None);
            assert_eq!(
                ask(client, "GET", "/", &[("Origin", APP)]).get(ORIGIN),
                None
            );
        },
    );
}

#[test]
fn any_origin_is_a_star() {
    let app = Router::new()
        .get("/", |_, res| res.text("hi"))
        .layer(Cors::new().any_origin());
    with(app, |client, _| {
        let answer = ask(client, "GET", "/", &[("Origin", "https://x.example")]);
        assert_eq!((answer.get(ORIGIN), answer.get("vary")), (Some("*"), None));
        // A cache may give this response to a page of another origin.
        assert_eq!(ask(client, "GET", "/", &[]).get(ORIGIN), Some("*"));
    });
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a program may call it")]
fn the_origin_of_all_pages_has_no_rights_of_a_user() {
    let panics = |f: fn()| std::panic::catch_unwind(f).is_err();
    assert!(panics(|| drop(Csrf::new().origins(["null"]))));
    assert!(panics(|| drop(Cors::new().credentials().origins(["null"]))));
    assert!(panics(|| drop(
        Cors::new().origins([APP, "null"]).credentials()
    )));
    assert!(panics(|| drop(Cors::new().credentials().any_origin())));
    assert!(panics(|| drop(Cors::new().any_origin().credentials())));
    // Without credentials it may read what is public.
    let app = Router::new()
        .get("/", |_, res| res.text("hi"))
        .layer(Cors::new().origins(["null"]));
    with(app, |client, _| {
        let answer = ask(client, "GET", "/", &[("Origin", "null")]);
        assert_eq!(answer.get(ORIGIN), Some("null"));
    });
}

#[test]
fn errors_before_the_layers_have_their_fields_too() {
    let app = Router::new()
        .route(Route::post("/", |_, res| res.text("hi")).body_limit(10))
        .layer(Cors::new().origins([APP]))
        .layer(SecurityHeaders::new());
    with(app, |client, _| {
        let answer = ask(
            client,
            "POST",
            "/",
            &[("Origin", APP), ("Content-Length", "11")],
        );
        assert_eq!((answer.status, answer.get(ORIGIN)), (413, Some(APP)));
        assert_eq!(answer.get("x-content-type-options"), Some("nosniff"));
    });
}

#[test]
fn requests_of_other_sites_change_nothing() {
    let app = Router::new()
        .post("/", |_, res| res.text("done"))
        .get("/", |_, res| res.text("page"))
        .layer(Csrf::new().origins([APP]));
    with(app, |_, addr| {
        let own = ("Origin", "https://a.example");
        let other = ("Origin", "https://evil.example");
        let site = |value| ("Sec-Fetch-Site", value);
        for (method, fields, status) in [
            ("POST", &[][..], 200),
            ("POST", &[site("same-origin")], 200),
            ("POST", &[site("none")], 200),
            ("POST", &[site("same-site")], 403),
            ("POST", &[site("cross-site")], 403),
            ("POST", &[site("cross-site"), other], 403),
            ("POST", &[site("cross-site"), own], 403),
            ("POST", &[site("cross-site"), ("Origin", APP)], 200),
            ("POST", &[site("same-origin"), site("same-origin")], 403),
            ("POST", &[site("")], 403),
            ("POST", &[own], 200),
            ("POST", &[other], 403),
            ("POST", &[("Origin", "null")], 403),
            ("POST", &[("Origin", APP)], 200),
            ("POST", &[("Origin", APP), other], 403),
            ("DELETE", &[other], 403),
            ("GET", &[other], 200),
            ("HEAD", &[site("cross-site")], 200),
            ("OPTIONS", &[site("cross-site")], 204),
        ] {
            let answer = ask(&mut Client::connect(addr), method, "/", fields);
            assert_eq!(answer.status, status, "{method} {fields:?}");
        }
    });
}

#[test]
fn passwords_and_tokens() {
    let app = Router::new()
        .nest(
            "/basic",
            Router::new()
                .get("/", |_, res| res.text("in"))
                .layer(BasicAuth::user("the realm", "ada", "a:b")),
        )
        .nest(
            "/bearer",
            Router::new()
                .get("/", |_, res| res.text("in"))
                .layer(BearerAuth::tokens("api", ["t0ken", "other"])),
        );
    let basic = Some("Basic realm=\"the realm\", charset=\"UTF-8\"");
    let bearer = Some("Bearer realm=\"api\"");
    let invalid = Some("Bearer realm=\"api\", error=\"invalid_token\"");
    with(app, |client, _| {
        for (path, value, challenge) in [
            // ada:a:b
            ("/basic", "Basic YWRhOmE6Yg==", None),
            ("/basic", "bAsIc YWRhOmE6Yg", None),
            // ada:a:c, ad:a:b, ada, nothing, not base64
            ("/basic", "Basic YWRhOmE6Yw==", basic),
            ("/basic", "Basic YWQ6YTpi", basic),
            ("/basic", "Basic YWRh", basic),
            ("/basic", "Basic", basic),
            ("/basic", "Basic *", basic),
            ("/basic", "Bearer YWRhOmE6Yg==", basic),
            ("/bearer", "Bearer t0ken", None),
            ("/bearer", "bearer other", None),
            ("/bearer", "Bearer t0ken2", invalid),
            ("/bearer", "Bearer t0ke", invalid),
            ("/bearer", "Bearer t0ken other", bearer),
            ("/bearer", "Basic t0ken", bearer),
        ] {
            let answer = ask(client, "GET", path, &[("Authorization", value)]);
            assert_eq!(answer.get("www-authenticate"), challenge, "{path} {value}");
            let status = challenge.map_or(200, |_| 401);
            assert_eq!(answer.status, status, "{path} {value}");
        }
        let right = ("Authorization", "Bearer t0ken");
        assert_eq!(ask(client, "GET", "/bearer", &[right, right]).status, 401);
        assert_eq!(
            ask(client, "GET", "/bearer", &[]).get("www-authenticate"),
            bearer
        );
    });
}

#[test]
fn a_client_has_so_many_requests() {
    let hour = Duration::from_secs(3600);
    let app = Router::new()
        .get("/", |_, res| res.text("hi"))
        .post("/", |req, res| res.text(req.body().len().to_string()))
        .nest(
            "/key",
            Router::new().get("/", |_, res| res.text("hi")).layer(
                RateLimit::new(1, hour).key(|req| Some(req.header("x-key")?.as_bytes().to_vec())),
            ),
        )
        .layer(RateLimit::new(5, hour));
    with(app, |client, addr| {
        assert_eq!(ask(client, "GET", "/", &[]).status, 200);
        for (key, status) in [("a", 200), ("a", 429), ("b", 200)] {
            let answer = ask(client, "GET", "/key", &[("X-Key", key)]);
            assert_eq!(answer.status, status, "{key}");
            assert_eq!(answer.get("retry-after").is_some(), status == 429);
        }
        // A request with a body counts once. Another connection has the same address.
        let mut other = Client::connect(addr);
        other.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab");
        assert_eq!(other.answer(Asked::Other).text(), "2");
        let answer = ask(&mut other, "GET", "/", &[]);
        assert_eq!(answer.status, 429);
        let wait: u64 = answer
            .get("retry-after")
            .expect("a time")
            .parse()
            .expect("seconds");
        assert!((1..=720).contains(&wait), "{wait}");
        // It is refused before its body, which is not sent.
        let fields = [("Content-Length", "100")];
        assert_eq!(ask(&mut other, "POST", "/", &fields).status, 429);
    });
}

#[test]
fn addresses_have_limits_of_their_own() {
    let app = Router::new()
        .get("/", |_, res| res.text("hi"))
        .layer(RateLimit::new(1, Duration::from_secs(3600)));
    let status = |peer: &str| {
        let client = TestClient::new(&app);
        client
            .peer(peer.parse().expect("an address"))
            .get("/")
            .send()
            .status()
    };
    for (peer, expected) in [
        ("192.0.2.1:1", 200),
        ("192.0.2.1:2", 429),
        ("192.0.2.2:1", 200),
        ("[::ffff:192.0.2.2]:1", 429),
        ("[2001:db8::1]:1", 200),
        ("[2001:db8::2]:1", 429),
        ("[2001:db8:0:1::2]:1", 200),
    ] {
        assert_eq!(status(peer), expected, "{peer}");
    }
}

#[test]
fn clients_behind_a_proxy_have_limits_of_their_own() {
    let app = Router::new()
        .get("/", |_, res| res.text("hi"))
        .layer(RateLimit::new(1, Duration::from_secs(3600)));
    let config = Config::default().forwarded(ForwardedFields::Forwarded);
    let mut client = TestClient::new(&app).config(config);
    for (told, expected) in [
        ("for=192.0.2.1", 200),
        ("for=192.0.2.2", 200),
        ("for=192.0.2.1", 429),
        // What a client has sent before the proxy does not count.
        ("for=192.0.2.3, for=192.0.2.2", 429),
    ] {
        let response = client.get("/").header("Forwarded", told).send();
        assert_eq!(response.status(), expected, "{told}");
    }
}

#[test]
fn requests_have_ids() {
    let app = |layer| Router::new().get("/", |_, res| res.text("hi")).layer(layer);
    with(app(RequestId::new()), |client, _| {
        let first = ask(client, "GET", "/", &[("X-Request-Id", "mine")]);
        let second = ask(client, "GET", "/none", &[]);
        let [first, second] = [&first, &second].map(|a| a.get("x-request-id").expect("an id"));
        assert!(first.len() == 32 && second.len() == 32 && first != second);
    });
    with(app(RequestId::new().take_over()), |client, _| {
        let long = "x".repeat(129);
        for (id, is_kept) in [
            ("mine-1_a.b:c", true),
            ("", false),
            ("a b", false),
            (&long, false),
        ] {
            let answer = ask(client, "GET", "/", &[("X-Request-Id", id)]);
            assert_eq!(answer.get("x-request-id") == Some(id), is_kept, "{id}");
        }
    });
}

#[test]
fn maintenance_is_switched_while_the_server_runs() {
    let maintenance = Maintenance::new()
        .retry_after(Duration::from_secs(7))
        .except(|req| req.path() == "/health");
    let app = Router::new()
        .get("/", |_, res| res.text("hi"))
        .get("/health", |_, res| res.text("ok"))
        .layer(maintenance.clone());
    with(app, |client, _| {
        assert_eq!(ask(client, "GET", "/", &[]).status, 200);
        maintenance.set(true);
        let answer = ask(client, "GET", "/", &[]);
        assert_eq!((answer.status, answer.get("retry-after")), (503, Some("7")));
        assert_eq!(ask(client, "GET", "/health", &[]).status, 200);
        maintenance.set(false);
        assert_eq!(ask(client, "GET", "/", &[]).status, 200);
    });
}

#[test]
fn a_response_that_the_client_has_is_not_sent_again() {
    let app = Router::new()
        .get("/", |_, res| {
            res.header("Cache-Control", "no-cache").text("body")
        })
        .get("/late", offload(|_, res| res.text("body")))
        .get("/own", |_, res| res.header("ETag", "W/\"v1\"").text("body"))
        .get("/pieces", |_, res| res.send_iter(["bo", "dy"]))
        .get("/large", |_, res| res.text("x".repeat(101)))
        .get("/error", |_, res| res.status(404).text("body"))
        .post("/", |_, res| res.text("body"))
        .layer(ETags::new().max_bytes(100));
    with(app, |client, _| {
        let first = ask(client, "GET", "/", &[]);
        let tag = first.get("etag").expect("a tag").to_owned();
        assert_eq!((first.status, first.text()), (200, "body"));
        assert!(
            tag.starts_with('"') && tag.ends_with('"') && tag.len() == 34,
            "{tag}"
        );
        let weak = format!("W/{tag}");
        for known in [&tag, &weak, "*", &format!("\"x\", {tag}")] {
            let answer = ask(client, "GET", "/", &[("If-None-Match", known)]);
            assert_eq!((answer.status, answer.body.len()), (304, 0), "{known}");
            assert_eq!(answer.get("etag"), Some(&*tag), "{known}");
            assert_eq!(answer.get("cache-control"), Some("no-cache"), "{known}");
            assert_eq!(answer.get("content-type"), None, "{known}");
        }
        assert_eq!(
            ask(client, "GET", "/", &[("If-None-Match", "\"x\"")]).text(),
            "body"
        );
        let late = ask(client, "GET", "/late", &[("If-None-Match", &tag)]);
        assert_eq!((late.status, late.body.len()), (304, 0));
        for (method, status) in [("GET", 304), ("HEAD", 304)] {
            let answer = ask(client, method, "/own", &[("If-None-Match", "\"v1\"")]);
            assert_eq!(
                (answer.status, answer.get("etag")),
                (status, Some("W/\"v1\"")),
                "{method}"
            );
        }
        for path in ["/pieces", "/large", "/error"] {
            let answer = ask(client, "GET", path, &[("If-None-Match", "*")]);
            assert_eq!(answer.get("etag"), None, "{path}");
            assert_ne!(answer.status, 304, "{path}");
        }
        let answer = ask(client, "HEAD", "/", &[("If-None-Match", "*")]);
        assert_eq!((answer.status, answer.get("etag")), (200, None));
        let fields = [("If-None-Match", "*"), ("Content-Length", "0")];
        assert_eq!(ask(client, "POST", "/", &fields).status, 200);
        // The connection is as it was.
        assert_eq!(ask(client, "GET", "/", &[]).text(), "body");
    });
}
