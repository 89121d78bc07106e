//! Fields of layers in responses that the library makes, and the limits of what layers see.

use super::access_log::Kept;
use super::support::{Asked, Client, ended, start, workers};
use peregrine::access_log::{AccessLog, LogWriter};
use peregrine::config::ForwardedFields;
use peregrine::error::Status;
use peregrine::layers::{Cors, Csrf, Layered, RequestId, from_fn};
use peregrine::router::{Route, Slash, offload};
use peregrine::testing::Client as TestClient;
use peregrine::{BodyPlan, Done, Router, from_fn as from_handler};

const APP: &str = "https://app.example";
const ORIGIN: &str = "access-control-allow-origin";

/// The layers of a nested router and of a route set fields of refusals, too.
#[test]
fn refusals_of_bodies_have_the_fields_of_all_layers_around_the_route() {
    let cors = || Cors::new().origins([APP]);
    let large = Route::post("/large", |_, res| res.text("not called")).body_limit(3);
    let refused = Route::post("/refused", |_, res| res.text("not called"))
        .body_plan(|_| BodyPlan::Refuse(415));
    let own = Route::post("/own", |_, res| res.text("not called"))
        .body_limit(3)
        .layer(cors());
    let plain = Route::post("/plain", |_, res| res.text("not called")).body_limit(3);
    let api = Router::new().route(large).route(refused).layer(cors());
    let inner = || {
        let large = Route::post("/large", |_, res| res.text("not called")).body_limit(3);
        Router::new().route(large)
    };
    let by_itself = Layered::new(from_handler(|_, res| res.text("not called"))).layer(cors());
    let app = Router::new()
        .nest("/api", api)
        .mount("/mounted", inner().layer(cors()))
        .mount("/around", Layered::new(inner()).layer(cors()))
        .route(Route::handler(None, "/handler", by_itself).body_limit(3))
        .route(own)
        .route(plain)
        .slash(Slash::Same);
    let (server, addr) = start(app, workers(1));
    for (path, status, expected) in [
        ("/api/large", 413, Some(APP)),
        ("/api/large/", 413, Some(APP)),
        ("/api/refused", 415, Some(APP)),
        ("/own", 413, Some(APP)),
        ("/own/", 413, Some(APP)),
        ("/mounted/large", 413, Some(APP)),
        ("/around/large", 413, Some(APP)),
        ("/handler", 413, Some(APP)),
        ("/plain", 413, None),
    ] {
        let mut client = Client::connect(addr);
        client.send(format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nOrigin: {APP}\r\nContent-Length: 4\r\n\r\n"
        ));
        let response = client.answer(Asked::Other);
        assert_eq!(
            (response.status, response.get(ORIGIN)),
            (status, expected),
            "{path}"
        );
    }
    server.stop();
    ended(server);
}

#[test]
fn requests_that_no_handler_sees_have_an_id() {
    let app = Router::new()
        .route(Route::post("/", |_, res| res.text("not called")).body_limit(3))
        .layer(RequestId::new().take_over());
    let (server, addr) = start(app, workers(1));
    let ask = |request: &str| {
        let mut client = Client::connect(addr);
        client.send(request);
        client.answer(Asked::Other)
    };
    let large = ask("POST / HTTP/1.1\r\nHost: a\r\nX-Request-Id: abc\r\nContent-Length: 4\r\n\r\n");
    assert_eq!(
        (large.status, large.get("x-request-id")),
        (413, Some("abc"))
    );
    let invalid = ask("GET / HTTP/1.1\r\nHost: a\r\nbad field: 1\r\n\r\n");
    assert_eq!(invalid.status, 400);
    assert_eq!(invalid.get("x-request-id").map(str::len), Some(32));
    server.stop();
    ended(server);
}

/// Complete responses, those that come later or in pieces, errors, and what no handler sees.
#[test]
fn lines_of_an_access_log_have_the_ids_that_clients_get() {
    let app = Router::new()
        .get("/whole", |_, res| res.text("whole"))
        .get("/pool", offload(|_, res| res.text("pool")))
        .get("/pieces", |_, res| res.send_iter(["one", "two"]))
        .get("/error", |_, _| Err::<Done, _>(Status(418)))
        .get("/panic", |_, _| -> Done { panic!("as it is meant to") })
        .route(Route::post("/large", |_, res| res.text("not called")).body_limit(3))
        .layer(RequestId::new());
    let kept = Kept::default();
    let log = LogWriter::new(kept.clone()).expect("a thread");
    let app = AccessLog::with_format(app, log, |entry, line| {
        let id = entry.request_id().unwrap_or("-");
        line.extend_from_slice(format!("{} {id}", entry.status()).as_bytes());
    });
    let (server, addr) = start(app, workers(1));
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut expected: Vec<String> = [
        get("/whole"),
        get("/pool"),
        get("/pieces"),
        get("/error"),
        get("/panic"),
        get("/nowhere"),
        get("/bad\r\nfield"),
        "POST /large HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n".into(),
    ]
    .map(|request| {
        let mut client = Client::connect(addr);
        client.send(request);
        let response = client.answer(Asked::Other);
        let id = response.get("x-request-id").expect("an id");
        format!("{} {id}", response.status)
    })
    .into();
    server.stop();
    ended(server);
    let text = kept.text();
    let mut lines: Vec<_> = text.lines().collect();
    expected.sort();
    lines.sort_unstable();
    assert_eq!(lines, expected);
}

/// The router knows no route for OPTIONS, so the layer of a route is not called.
#[test]
fn the_cors_of_one_route_does_not_respond_to_a_preflight() {
    let route = Route::put("/notes", |_, res| res.text("saved")).layer(Cors::new().origins([APP]));
    let app = Router::new().route(route);
    let mut client = TestClient::new(&app);
    let response = client
        .request("OPTIONS", "/notes")
        .header("Origin", APP)
        .header("Access-Control-Request-Method", "PUT")
        .send();
    assert_eq!((response.status(), response.header(ORIGIN)), (204, None));
    let response = client.request("PUT", "/notes").header("Origin", APP).send();
    assert_eq!(response.header(ORIGIN), Some(APP));
}

#[test]
fn a_page_without_tls_makes_no_request_by_https() {
    let app = Router::new()
        .post("/", |_, res| res.text("done"))
        .layer(Csrf::new());
    let fields = ForwardedFields::X {
        proto: true,
        host: false,
    };
    let (server, addr) = start(app, workers(1).forwarded(fields));
    for (scheme, origin, expected) in [
        ("https", "https://a.example", 200),
        ("https", "http://a.example", 403),
        ("https", "HTTP://a.example", 403),
        ("http", "http://a.example", 200),
    ] {
        let mut client = Client::connect(addr);
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-For: 192.0.2.1\r\n\
             X-Forwarded-Proto: {scheme}\r\nOrigin: {origin}\r\nContent-Length: 0\r\n\r\n"
        ));
        let response = client.answer(Asked::Other);
        assert_eq!(response.status, expected, "{scheme} {origin}");
    }
    server.stop();
    ended(server);
}

/// A field that is set on a thread of the pool stays when the handler fails there, in each way.
#[test]
fn fields_that_are_set_on_the_pool_stay() {
    let app = Router::new().get(
        "/{how}",
        offload(|req, res| {
            let res = res.header_always("X-Pool", "1");
            match req.param_str("how").as_deref() {
                Some("panic") => std::panic::resume_unwind(Box::new("as asked")),
                Some("fault") => Ok(res.header("X-Bad", "\n").text("")),
                Some("error") => Err(Status(404)),
                _ => Ok(res.text("")),
            }
        }),
    );
    let app = app.layer(from_fn(|req, res, next| {
        next.run(req, res.header_always("X-Outer", "1"))
    }));
    let (server, addr) = start(app, workers(1));
    for (path, status) in [
        ("/panic", 500),
        ("/fault", 500),
        ("/error", 404),
        ("/", 404),
        ("/ok", 200),
    ] {
        let mut client = Client::connect(addr);
        let answer = client.get(path);
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.get("x-outer"), Some("1"), "{path}");
        let expected = (path != "/").then_some("1");
        assert_eq!(answer.get("x-pool"), expected, "{path}");
    }
    server.stop();
    ended(server);
}
