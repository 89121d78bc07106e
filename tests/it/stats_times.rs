//! Times in handlers and of responses, threads that are held, and requests by route.

use super::stats::parse;
use super::support::{Asked, Client, OnOwnAddr, PATIENCE, wait_until, workers};
use peregrine::metrics::Stats;
use peregrine::server::Running;
use peregrine::{Handler, Responder, Router, Server, from_fn};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

/// Each turn is timed.
fn start(app: impl Handler, stats: &Stats) -> (Running, SocketAddr) {
    let server = Server::new(app).config(workers(1).timed_one_in(1));
    let server = server.stats(stats).on_own_addr().start();
    let server = server.expect("a server");
    let addr = server.local_addr().expect("an address");
    (server, addr)
}

#[test]
fn a_response_takes_until_its_head_is_complete() {
    let (give, given) = channel::<Responder>();
    let (give, streams) = (Mutex::new(give), Mutex::new(Vec::new()));
    let app = from_fn(move |req, res| match req.path() {
        "/late" => {
            let (done, responder) = res.defer();
            let give = give.lock().expect("no panic");
            give.send(responder).expect("the test listens");
            done
        }
        // Its body never ends.
        "/events" => {
            let (done, mut events) = res.events();
            let _ = events.try_send("first");
            streams.lock().expect("no panic").push(events);
            done
        }
        _ => res.text("hi"),
    });
    let stats = Stats::new();
    let (_server, addr) = start(app, &stats);
    let counts = || {
        (
            stats.handler_times().count(),
            stats.response_times().count(),
        )
    };
    let counted = |what: &str, expected| wait_until(what, || counts() == expected);

    let mut client = Client::connect(addr);
    assert_eq!(client.get("/").status, 200);
    counted("at once", (1, 1));
    client.send("GET /late HTTP/1.1\r\nHost: a\r\n\r\n");
    counted("the handler has returned", (2, 1));
    let late = given.recv_timeout(PATIENCE).expect("a request");
    late.send(|res| res.text("late")).expect("a client");
    assert_eq!(client.answer(Asked::Other).text(), "late");
    counted("late", (2, 2));
    client.send("GET /late HTTP/1.1\r\nHost: a\r\n\r\n");
    drop(given.recv_timeout(PATIENCE).expect("a request"));
    assert_eq!(client.answer(Asked::Other).status, 500);
    counted("an error instead", (3, 3));
    let mut client = Client::connect(addr);
    client.send("GET /events HTTP/1.1\r\nHost: a\r\n\r\n");
    client.head();
    counted("the head of a stream", (4, 4));

    let (handlers, responses) = (stats.handler_times(), stats.response_times());
    assert!(responses.sum() >= handlers.sum());
    assert!(responses.quantile(1.0) >= responses.quantile(0.1));
    assert_eq!(handlers.count(), stats.counters().handlers_timed);
    let families = parse(&stats.prometheus());
    for name in ["handler", "response"] {
        let family = &families[&format!("peregrine_{name}_seconds")];
        assert_eq!(family.kind, "histogram");
        assert_eq!(family.samples["_count"], 4);
        assert_eq!(family.samples[r#"_bucket{le="+Inf"}"#], 4);
        assert!(family.samples.contains_key(r#"_bucket{le="0.000001"}"#));
    }
}

#[test]
fn a_handler_that_holds_its_worker_is_seen() {
    let (release, held) = channel::<()>();
    let held = Mutex::new(held);
    let app = from_fn(move |_, res| {
        let held = held.lock().expect("no panic");
        held.recv().expect("the test releases it");
        res.text("at last")
    });
    let stats = Stats::new();
    let (_server, addr) = start(app, &stats);
    // Dropped before the server, which waits for the handler.
    let release = release;
    let busy = || stats.worker_busy()[0];
    wait_until("it waits for clients", || busy().is_zero());
    let mut client = Client::connect(addr);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("it is held", || busy() > Duration::from_millis(20));
    let before = busy();
    assert!(busy() >= before, "it goes on");
    let families = parse(&stats.prometheus());
    let gauge = &families["peregrine_turn_seconds"];
    assert_eq!(gauge.kind, "gauge");
    assert!(gauge.samples[r#"thread="worker-0""#] >= 20_000_000);
    release.send(()).expect("it waits");
    assert_eq!(client.answer(Asked::Other).text(), "at last");
    wait_until("it waits again", || busy().is_zero());
}

#[test]
fn a_worker_that_has_stopped_is_not_held() {
    let stats = Stats::new();
    let (server, addr) = start(from_fn(|_, res| res.text("hi")), &stats);
    assert_eq!(Client::connect(addr).get("/").status, 200);
    server.stop();
    server.wait().expect("a clean end");
    assert_eq!(stats.worker_busy(), [Duration::ZERO]);
}

/// The patterns of a router before it is nested are none that a request has.
#[test]
fn patterns_without_requests_take_no_place() {
    let mut app = Router::new();
    for route in 0..300 {
        app = app.get(&format!("/idle/{route}"), |_, res| res.text("one"));
    }
    let app = Router::new().nest("/api", app);
    let stats = Stats::new();
    let (_server, addr) = start(app, &stats);
    assert_eq!(Client::connect(addr).get("/api/idle/299").status, 200);
    assert_eq!(stats.routes(), [("/api/idle/299", 1)]);
}

#[test]
fn requests_by_route() {
    let inner = Router::new().get("/of-this-test", |_, res| res.text("inner"));
    let app = Router::new()
        .get("/counted/{id}", |_, res| res.text("one"))
        .post("/counted/{id}", |_, res| res.text("one"))
        .nest("/nested", Router::new().get("/x", |_, res| res.text("x")))
        .mount("/mounted", inner);
    let stats = Stats::new();
    let (_server, addr) = start(app, &stats);
    assert!(stats.routes().is_empty());
    let mut client = Client::connect(addr);
    for path in [
        "/counted/1",
        "/counted/2",
        "/nested/x",
        "/mounted/of-this-test",
        "/absent",
    ] {
        client.get(path);
    }
    client.send("POST /counted/3 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab");
    assert_eq!(client.answer(Asked::Other).status, 200);
    let mut routes = stats.routes();
    routes[1..].sort_unstable();
    let expected = [
        ("/counted/{id}", 3),
        ("/mounted/{*rest}", 1),
        ("/nested/x", 1),
        ("/of-this-test", 1),
    ];
    assert_eq!(routes, expected);
    let families = parse(&stats.prometheus());
    let family = &families["peregrine_route_requests_total"];
    assert_eq!(family.samples[r#"route="/counted/{id}""#], 3);
}
