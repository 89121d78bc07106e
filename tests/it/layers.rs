//! Layers: in which order they run, what they refuse before a body is read, and which fields are in every response.

use super::support::{Answer, Asked, Client, PATIENCE, ended, limits, start, workers};
use peregrine::body::{BodySink, Flow, Incoming};
use peregrine::error::Status;
use peregrine::layers::{self, Layer, Layered, Next};
use peregrine::router::{Route, Slash};
use peregrine::testing::Connection;
use peregrine::{BodyPlan, Config, Done, Handler, Request, Response, Router, from_fn};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Notes in a list when it is entered and left, and sets a field.
struct Noted(&'static str, Arc<Mutex<Vec<String>>>);

impl Layer for Noted {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>, next: Next<'_>) -> Done {
        let note = |text: String| self.1.lock().expect("no panic").push(text);
        note(format!("{}:{}", self.0, req.route().unwrap_or("-")));
        let done = next.run(req, res.header_always(&format!("X-{}", self.0), "1"));
        note(format!("/{} {}", self.0, done.status()));
        done
    }
}

#[test]
fn layers_run_from_the_outside_in_and_back_only_where_they_belong() {
    let notes = Arc::new(Mutex::new(Vec::new()));
    let noted = |name| Noted(name, notes.clone());
    let inner = Router::new()
        .layer(noted("c"))
        .get("/x", |_, res| res.text("inner"))
        .not_found(|_, res| res.status(404).text("of inner"));
    let app = Router::new()
        .route(
            Route::get("/{id}", |_, res| res.text("outer"))
                .layer(noted("d"))
                .layer(noted("e")),
        )
        .layer(noted("a"))
        .nest("/in", Router::new().nest("/deep", inner).layer(noted("b")))
        .layer(noted("z"));
    let (server, addr) = start(app, workers(1));
    let mut client = Client::connect(addr);
    for (request, status, expected) in [
        (
            "GET /1",
            200,
            "a:- z:- d:/{id} e:/{id} /e 200 /d 200 /z 200 /a 200",
        ),
        (
            "HEAD /1",
            200,
            "a:- z:- d:/{id} e:/{id} /e 200 /d 200 /z 200 /a 200",
        ),
        (
            "GET /in/deep/x",
            200,
            "a:- z:- b:/in/deep/x c:/in/deep/x /c 200 /b 200 /z 200 /a 200",
        ),
        // Without a route: the layers of the nearest router, too.
        (
            "GET /in/deep/y",
            404,
            "a:- z:- b:- c:- /c 404 /b 404 /z 404 /a 404",
        ),
        (
            "POST /in/deep/x",
            405,
            "a:- z:- b:- c:- /c 405 /b 405 /z 405 /a 405",
        ),
        (
            "OPTIONS /in/deep/x",
            204,
            "a:- z:- b:- c:- /c 204 /b 204 /z 204 /a 204",
        ),
        ("GET /in/y", 404, "a:- z:- b:- /b 404 /z 404 /a 404"),
        ("POST /1", 405, "a:- z:- /z 405 /a 405"),
        ("GET /1/2", 404, "a:- z:- /z 404 /a 404"),
    ] {
        client.send(format!("{request} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let asked = match request.starts_with("HEAD") {
            true => Asked::Head,
            false => Asked::Other,
        };
        let answer = client.answer(asked);
        assert_eq!(answer.status, status, "{request}");
        let notes = std::mem::take(&mut *notes.lock().expect("no panic"));
        assert_eq!(notes.join(" "), expected, "{request}");
        for name in ["a", "b", "c", "d", "e", "z"] {
            let ran = notes
                .iter()
                .any(|note| note.starts_with(&format!("{name}:")));
            assert_eq!(
                answer.get(&format!("x-{name}")).is_some(),
                ran,
                "{request} {name}"
            );
        }
    }
    server.stop();
    ended(server);
}

#[test]
fn layers_of_hosts_and_of_other_slashes() {
    let notes = Arc::new(Mutex::new(Vec::new()));
    let api = Router::new()
        .get("/x", |_, res| res.text("api"))
        .layer(Noted("a", notes.clone()));
    let route = Route::get("/y/", |_, res| res.text("y")).layer(Noted("b", notes.clone()));
    let app = Router::new()
        .host("api.example", api)
        .route(route)
        .slash(Slash::Same);
    let get = |host: &str, path: &str| {
        let mut client = Connection::new(&app);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        let notes = std::mem::take(&mut *notes.lock().expect("no panic"));
        let received = String::from_utf8_lossy(client.received()).into_owned();
        (received[9..12].to_owned(), notes.len())
    };
    assert_eq!(get("api.example", "/x"), ("200".to_owned(), 2));
    assert_eq!(get("other.example", "/x"), ("404".to_owned(), 0));
    assert_eq!(get("other.example", "/y"), ("200".to_owned(), 2));
    assert_eq!(get("other.example", "/y/"), ("200".to_owned(), 2));
}

/// Counts the bytes that it gets.
struct Counting(Arc<AtomicUsize>);

impl BodySink for Counting {
    fn piece(&mut self, piece: &[u8], _: &mut Incoming<'_>) -> Flow {
        self.0.fetch_add(piece.len(), Ordering::Relaxed);
        Flow::Continue
    }

    fn finish(self: Box<Self>, _: &Request<'_>, res: Response<'_>) -> Done {
        res.text("taken")
    }
}

#[test]
fn what_a_layer_refuses_is_refused_before_the_body() {
    let taken = Arc::new(AtomicUsize::new(0));
    let sink = taken.clone();
    let refusing = layers::check(|req: &Request<'_>| match req.header("x-key") {
        Some("right") => Ok(()),
        _ => Err(Status(403)),
    });
    let outside = layers::from_fn(|req, res, next| next.run(req, res.header_always("X-Out", "1")));
    let streamed = Route::post("/stream", |_, res| res.text("not called"))
        .body_plan(move |_| BodyPlan::stream(Counting(sink.clone())));
    let app = Router::new()
        .route(streamed)
        .post("/", |req, res| res.text(req.body().len().to_string()))
        .layer(outside)
        .layer(refusing);
    let (server, addr) = start(app, workers(1));
    let ask = |path: &str, key: &str, body: &str| {
        let mut client = Client::connect(addr);
        client.send(format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nX-Key: {key}\r\nContent-Length: 4\r\n\r\n{body}"
        ));
        client.answer(Asked::Other)
    };
    // The body is never sent.
    for path in ["/", "/stream", "/none"] {
        let answer = ask(path, "wrong", "");
        assert_eq!(
            (answer.status, answer.get("x-out")),
            (403, Some("1")),
            "{path}"
        );
    }
    assert_eq!(taken.load(Ordering::Relaxed), 0);
    assert_eq!(ask("/stream", "wrong", "four").status, 403);
    assert_eq!(taken.load(Ordering::Relaxed), 0);
    assert_eq!(ask("/", "right", "four").text(), "4");
    let answer = ask("/stream", "right", "four");
    assert_eq!((answer.text(), answer.get("x-out")), ("taken", Some("1")));
    assert_eq!(taken.load(Ordering::Relaxed), 4);
    server.stop();
    ended(server);
}

/// Responds in the way that the path says.
fn faulty(req: &Request<'_>, res: Response<'_>) -> Result<Done, Status> {
    let res = res.header("X-Handler", "1");
    Ok(match req.path() {
        "/panic" => std::panic::resume_unwind(Box::new("as asked")),
        "/error" => return Err(Status(404)),
        "/fault" => return Err(Status(500)),
        "/field" => res.header("X-Bad", "\n").text(""),
        "/abandoned" => drop_responder(res),
        "/late-panic" => res.offload(req, |_, _| -> Done {
            std::panic::resume_unwind(Box::new("as asked"))
        }),
        "/late-error" => res.offload(req, |_, res| -> Result<Done, Status> {
            let _ = res.header("X-Late", "1").text("begun");
            Err(Status(404))
        }),
        "/late" => res.offload(req, |_, res| res.text("late")),
        "/busy" => res.offload(req, |_, res| res.text("no thread for it")),
        "/own" => res.header("X-Layer", "of the handler").text("own"),
        _ => res.text("fine"),
    })
}

fn drop_responder(res: Response<'_>) -> Done {
    let (done, responder) = res.defer();
    drop(responder);
    done
}

fn layered() -> impl Handler {
    let layer = layers::from_fn(|req, res, next| {
        next.run(
            req,
            res.header_always("X-Layer", "1")
                .header_always("Vary", "Origin"),
        )
    });
    Layered::new(from_fn(faulty)).layer(layer)
}

fn fields(answer: &Answer, name: &str) -> Vec<String> {
    let fields = answer.fields.iter().filter(|field| field.0 == name);
    fields.map(|field| field.1.clone()).collect()
}

#[test]
fn fields_of_layers_are_in_every_response() {
    let (server, addr) = start(layered(), workers(1));
    let mut client = Client::connect(addr);
    for (path, status) in [
        ("/", 200),
        ("/error", 404),
        ("/fault", 500),
        ("/late", 200),
        ("/late-error", 404),
        ("/own", 200),
        ("/panic", 500),
        ("/field", 500),
        ("/abandoned", 500),
        ("/late-panic", 500),
    ] {
        let answer = client.get(path);
        assert_eq!(answer.status, status, "{path}");
        let expected = match path {
            "/own" => "of the handler",
            _ => "1",
        };
        assert_eq!(fields(&answer, "x-layer"), [expected], "{path}");
        assert!(
            fields(&answer, "vary").contains(&"Origin".to_owned()),
            "{path}"
        );
        let is_of_handler = ["/", "/late", "/own"].contains(&path);
        assert_eq!(answer.get("x-handler").is_some(), is_of_handler, "{path}");
        assert_eq!(answer.get("x-late"), None, "{path}");
        if answer.closes() {
            client = Client::connect(addr);
        }
    }
    server.stop();
    ended(server);
    // The pool is full.
    let (server, addr) = start(layered(), workers(1).pool_threads(0).pool_queue(0));
    let answer = Client::connect(addr).get("/busy");
    assert_eq!((answer.status, answer.get("x-layer")), (503, Some("1")));
    assert_eq!(answer.get("retry-after"), Some("1"));
    server.stop();
    ended(server);
}

#[test]
fn fields_of_one_request_are_not_in_the_next() {
    let layer = layers::from_fn(|req: &Request<'_>, res, next| match req.path() {
        "/with" => next.run(req, res.header_always("X-Layer", "1")),
        _ => next.run(req, res),
    });
    let app = Layered::new(from_fn(|req: &Request<'_>, res: Response<'_>| {
        if req.query_string() == Some("panic") {
            std::panic::resume_unwind(Box::new("as asked"));
        }
        res.text("fine")
    }))
    .layer(layer);
    let mut config = Config::default();
    config.limits = limits().target_bytes(100);
    for next in ["/", "/?panic", &format!("/{}", "x".repeat(200))] {
        let mut client = Connection::with_config(&app, &config, ([127, 0, 0, 1], 1).into());
        client.send(b"GET /with HTTP/1.1\r\nHost: a\r\n\r\n");
        let first = client.take_received();
        assert!(
            String::from_utf8_lossy(&first).contains("X-Layer"),
            "{next}"
        );
        client.send(format!("GET {next} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        let second = client.take_received();
        assert!(!second.is_empty());
        assert!(
            !String::from_utf8_lossy(&second).contains("X-Layer"),
            "{next}"
        );
    }
}

#[test]
fn a_route_has_a_time_limit_of_its_own() {
    let responders = Arc::new(Mutex::new(Vec::new()));
    let deferring = |responders: &Arc<Mutex<Vec<_>>>| {
        let responders = responders.clone();
        move |_: &Request<'_>, res: Response<'_>| {
            let (done, responder) = res.header_always("X-Layer", "1").defer();
            responders.lock().expect("no panic").push(responder);
            done
        }
    };
    let app = Router::new()
        .get("/usual", deferring(&responders))
        .route(Route::get("/short", deferring(&responders)).timeout(Duration::from_secs(5)))
        .route(Route::get("/long", deferring(&responders)).timeout(Duration::from_secs(500)));
    let mut config = Config::default();
    config.limits = limits().response_timeout(Duration::from_secs(50));
    for (path, before, after) in [("/usual", 49, 60), ("/short", 4, 15), ("/long", 499, 510)] {
        let mut client = Connection::with_config(&app, &config, ([127, 0, 0, 1], 1).into());
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        client.elapse(Duration::from_secs(before));
        assert_eq!(client.received(), b"", "{path}");
        client.elapse(Duration::from_secs(after - before));
        let received = String::from_utf8_lossy(client.received()).into_owned();
        assert!(received.starts_with("HTTP/1.1 503 "), "{path}: {received}");
        assert!(
            received.contains("\r\nX-Layer: 1\r\n"),
            "{path}: {received}"
        );
    }
    // The time ends with its request.
    let mut client = Connection::with_config(&app, &config, ([127, 0, 0, 1], 1).into());
    client.send(b"GET /short HTTP/1.1\r\nHost: a\r\n\r\n");
    let responder = responders.lock().expect("no panic").pop().expect("one");
    responder.send(|res| res.text("in time")).expect("it waits");
    assert!(client.wait(PATIENCE));
    client.send(b"GET /usual HTTP/1.1\r\nHost: a\r\n\r\n");
    client.take_received();
    client.elapse(Duration::from_secs(49));
    assert_eq!(client.received(), b"");
}
