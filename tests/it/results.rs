//! Handlers that return a `Result`: which response an error becomes, and what is left of the one that was begun.

use crate::access_log::Kept;
use peregrine::access_log::{AccessLog, LogWriter};
use peregrine::body::SendError;
use peregrine::error::{BoxError, ConnectionError, HandlerError, Problem, Status};
use peregrine::testing::Connection;
use peregrine::{BodyPlan, Done, Handler, Request, Response, from_fn};
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);

/// The responses to `requests`, as text.
fn respond(app: &impl Handler, requests: &str) -> String {
    let mut client = Connection::new(app);
    client.send(requests.as_bytes());
    String::from_utf8_lossy(client.received()).into_owned()
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// True if nothing reaches the client any more.
type Check = Box<dyn FnOnce() -> bool + Send>;

/// What a handler has done before its error.
fn begin(how: &str, req: &Request<'_>, res: Response<'_>) -> Option<Check> {
    let res = res.status(201).header("X-Begun", "yes");
    match how {
        "/nothing" => _ = res,
        "/body" => _ = res.body("begun"),
        "/close" => _ = res.close().body("begun"),
        "/payload" => _ = res.send(vec![b'x'; 1 << 20]),
        "/written" => _ = res.write_with(|out| io::Write::write_all(out, b"begun")),
        "/file" => _ = res.send_file(Arc::new(File::open("Cargo.toml").expect("there")), 0..9),
        "/iter" => _ = res.send_iter(["begun", "begun"]),
        "/fault" => _ = res.header("X-Fault", "\n").body("begun"),
        "/bad-status" => _ = res.status(99).body("begun"),
        "/offload" => _ = res.offload(req, |_, res| res.body("begun")),
        "/defer" => {
            let (_done, responder) = res.defer();
            return Some(Box::new(move || {
                responder.send(|res| res.body("begun")) == Err(SendError::Gone)
            }));
        }
        "/stream" => {
            let (_done, mut sender) = res.stream();
            return Some(Box::new(move || sender.try_send("begun").is_err()));
        }
        "/events" => {
            let (_done, sender) = res.events();
            return Some(Box::new(move || sender.is_gone()));
        }
        other => panic!("{other} is not a case"),
    }
    None
}

const BEGUN: [&str; 13] = [
    "/nothing",
    "/body",
    "/close",
    "/payload",
    "/written",
    "/file",
    "/iter",
    "/fault",
    "/bad-status",
    "/offload",
    "/defer",
    "/stream",
    "/events",
];

const NOT_FOUND: &str =
    "Content-Type: text/plain; charset=utf-8\r\nContent-Length: 10\r\n\r\nNot Found\n";

#[test]
fn an_error_takes_back_what_was_begun() {
    for how in BEGUN {
        let left = Arc::new(Mutex::new(None));
        let kept = left.clone();
        let app = from_fn(move |req, res| -> Result<Done, Status> {
            if req.path() == "/next" {
                return Ok(res.text("next"));
            }
            *kept.lock().expect("no panic") = begin(req.path(), req, res);
            Err(Status(404))
        });
        let mut client = Connection::new(&app);
        client.send((get(how) + &get("/next")).as_bytes());
        let received = String::from_utf8_lossy(client.received()).into_owned();
        assert!(
            received.starts_with("HTTP/1.1 404 Not Found\r\n"),
            "{how}: {received}"
        );
        assert_eq!(received.matches(NOT_FOUND).count(), 1, "{how}: {received}");
        assert_eq!(
            received.matches("HTTP/1.1 ").count(),
            2,
            "{how}: {received}"
        );
        assert!(received.ends_with("\r\n\r\nnext"), "{how}: {received}");
        assert!(
            !received.contains("X-Begun") && !received.contains("begun"),
            "{how}: {received}"
        );
        let check: Option<Check> = left.lock().expect("no panic").take();
        assert!(
            check.is_none_or(|check| check()),
            "{how}: it reaches a client"
        );
        let before = client.received().len();
        client.send(get("/next").as_bytes());
        assert!(
            client.received().len() > before,
            "{how}: the connection goes on"
        );
        assert!(client.received().ends_with(b"\r\n\r\nnext"), "{how}");
    }
}

#[test]
fn an_error_on_the_pool_takes_back_what_was_begun_there() {
    for how in [
        "/nothing",
        "/body",
        "/close",
        "/payload",
        "/written",
        "/file",
        "/fault",
        "/bad-status",
    ] {
        let app = from_fn(|req, res| {
            res.header("X-Outer", "lost")
                .offload(req, |req, res| -> Result<Done, BoxError> {
                    begin(req.path(), req, res);
                    Err(Problem::new(409).detail("taken").into())
                })
        });
        let mut client = Connection::new(&app);
        client.send(get(how).as_bytes());
        assert!(client.wait(PATIENCE), "{how}");
        let received = String::from_utf8_lossy(client.received()).into_owned();
        assert!(
            received.starts_with("HTTP/1.1 409 Conflict\r\n"),
            "{how}: {received}"
        );
        assert!(
            received.ends_with("\r\n\r\nConflict: taken\n"),
            "{how}: {received}"
        );
        assert!(
            !received.contains("X-Begun") && !received.contains("X-Outer"),
            "{how}: {received}"
        );
        assert!(!client.is_closed(), "{how}");
    }
}

/// The responder that the closure has made responds instead, or its drop does.
#[test]
fn a_response_that_was_deferred_again_on_the_pool_is_not_taken_back() {
    for is_sent in [true, false] {
        let app = from_fn(move |req, res| {
            res.offload(req, move |_, res| -> Result<Done, Status> {
                let (_done, responder) = res.defer();
                if is_sent {
                    let _ = responder.send(|res| res.text("later"));
                }
                Err(Status(404))
            })
        });
        let mut client = Connection::new(&app);
        client.send(get("/").as_bytes());
        assert!(client.wait(PATIENCE));
        let received = String::from_utf8_lossy(client.received()).into_owned();
        assert_eq!(received.matches("HTTP/1.1 ").count(), 1, "{received}");
        let expected = if is_sent {
            "HTTP/1.1 200 OK\r\n"
        } else {
            "HTTP/1.1 500 "
        };
        assert!(received.starts_with(expected), "{received}");
    }
}

#[test]
fn the_form_of_an_error_is_that_which_the_client_accepts() {
    let app = from_fn(|req, _| -> Result<Done, Problem> {
        let problem = Problem::new(422).detail("say \"x\"");
        Err(match req.path() {
            "/kind" => problem.kind("https://a.example/k").title("Wrong"),
            _ => problem,
        })
    });
    let text = "text/plain; charset=utf-8";
    let json = "application/problem+json";
    for (target, accept, media_type, body) in [
        ("/", "", text, "Unprocessable Content: say \"x\"\n"),
        (
            "/",
            "Accept: */*\r\n",
            text,
            "Unprocessable Content: say \"x\"\n",
        ),
        (
            "/",
            "Accept: text/html, */*;q=0.8\r\n",
            text,
            "Unprocessable Content: say \"x\"\n",
        ),
        (
            "/",
            "Accept: application/json\r\n",
            json,
            r#"{"title":"Unprocessable Content","status":422,"detail":"say \"x\""}"#,
        ),
        (
            "/kind",
            "Accept: application/problem+json, text/plain;q=0.9\r\n",
            json,
            r#"{"type":"https://a.example/k","title":"Wrong","status":422,"detail":"say \"x\""}"#,
        ),
    ] {
        let received = respond(
            &app,
            &format!("GET {target} HTTP/1.1\r\nHost: a\r\n{accept}\r\n"),
        );
        assert!(
            received.starts_with("HTTP/1.1 422 Unprocessable Content\r\n"),
            "{received}"
        );
        assert!(
            received.contains(&format!("Content-Type: {media_type}\r\n")),
            "{received}"
        );
        assert!(
            received.ends_with(&format!("\r\n\r\n{body}")),
            "{accept}: {received}"
        );
    }
    let head = respond(&app, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(
        head.starts_with("HTTP/1.1 422 ") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
}

/// An error with a cause.
#[derive(Debug)]
struct Secret(io::Error);

impl std::fmt::Display for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the database failed")
    }
}

impl std::error::Error for Secret {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

impl HandlerError for Secret {}

fn secret() -> Secret {
    Secret(io::Error::other("no such table: notes"))
}

fn fail(req: &Request<'_>) -> Result<Done, BoxError> {
    match req.path() {
        "/secret" => Err(secret().into()),
        "/status" => Err(Status(503).into()),
        "/missing" => Err(io::Error::from(io::ErrorKind::NotFound).into()),
        "/form" => {
            let _pairs = req.form_pairs()?;
            unreachable!("there is no form")
        }
        _ => Err(Status(404).into()),
    }
}

/// Calls of `handle_error`.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Handler for Told {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        match req.query_string() {
            Some("pool") => res.offload(req, |req, _| fail(req)),
            Some("own") => from_fn(|_, _| Err::<Done, _>(secret())).handle_request(req, res),
            _ => from_fn(|req, _| fail(req)).handle_request(req, res),
        }
    }

    fn handle_error(&self, error: &ConnectionError<'_>, _: Option<SocketAddr>) {
        self.0.lock().expect("no panic").push(error.to_string());
    }
}

#[test]
fn faults_of_the_server_are_reported_with_their_causes_and_others_are_not() {
    let secret = "the handler failed: the database failed: no such table: notes";
    for (target, status, expected) in [
        ("/secret", 500, Some(secret)),
        ("/secret?pool", 500, Some(secret)),
        ("/secret?own", 500, Some(secret)),
        (
            "/status",
            503,
            Some("the handler failed: Service Unavailable"),
        ),
        (
            "/missing",
            500,
            Some("the handler failed: entity not found"),
        ),
        ("/form", 415, None),
        ("/form?pool", 415, None),
        ("/other", 404, None),
    ] {
        let app = Told::default();
        let mut client = Connection::new(&app);
        client.send(get(target).as_bytes());
        if target.ends_with("pool") {
            assert!(client.wait(PATIENCE), "{target}");
        }
        let received = String::from_utf8_lossy(client.received()).into_owned();
        assert!(
            received.starts_with(&format!("HTTP/1.1 {status} ")),
            "{target}: {received}"
        );
        // Only a debug build shows what has happened.
        let is_shown = received.contains("no such table");
        assert_eq!(
            is_shown,
            cfg!(debug_assertions) && expected == Some(secret),
            "{target}: {received}"
        );
        let told = app.0.lock().expect("no panic");
        assert_eq!(
            told.iter().map(String::as_str).collect::<Vec<_>>(),
            expected.as_slice(),
            "{target}"
        );
    }
}

#[test]
fn errors_of_the_system_show_no_path() {
    let app = from_fn(|req, res| -> io::Result<Done> {
        match req.path() {
            "/there" => Ok(res.body(std::fs::read("Cargo.toml")?)),
            "/denied" => Err(io::ErrorKind::PermissionDenied.into()),
            path => Ok(res.body(std::fs::read(format!("tests{path}"))?)),
        }
    });
    for (path, expected) in [
        ("/there", "HTTP/1.1 200 OK\r\n"),
        ("/denied", "HTTP/1.1 403 Forbidden\r\n"),
        ("/missing", "HTTP/1.1 404 Not Found\r\n"),
    ] {
        let received = respond(&app, &get(path));
        assert!(received.starts_with(expected), "{received}");
        assert!(!received.contains("os error"), "{received}");
    }
}

#[test]
fn a_status_that_is_no_error_becomes_500() {
    for status in [0, 99, 200, 304, 399, 600] {
        let app = from_fn(move |_, _| Err::<Done, _>(Status(status)));
        let received = respond(&app, &get("/"));
        assert!(
            received.starts_with("HTTP/1.1 500 "),
            "{status}: {received}"
        );
    }
}

struct Plans;

impl Handler for Plans {
    fn body_plan(&self, _: &Request<'_>) -> BodyPlan {
        BodyPlan::respond(|_, res| {
            let _done = res.text("begun");
            Err::<Done, _>(Status(413))
        })
    }

    fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
        res.text("")
    }
}

#[test]
fn the_response_of_a_plan_may_be_an_error() {
    let received = respond(
        &Plans,
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n",
    );
    assert!(
        received.starts_with("HTTP/1.1 413 Content Too Large\r\n"),
        "{received}"
    );
    assert!(
        received.ends_with("\r\n\r\nContent Too Large\n"),
        "{received}"
    );
}

#[test]
fn the_line_of_an_access_log_has_the_status_of_the_error() {
    let kept = Kept::default();
    {
        let writer = LogWriter::new(kept.clone()).expect("a thread");
        let app = from_fn(|req, res| -> Result<Done, Status> {
            begin(req.path(), req, res);
            Err(Status(404))
        });
        let app = AccessLog::with_format(app, writer, |entry, line| {
            let path = entry.request().map_or("", |req| req.path());
            line.extend_from_slice(format!("{path} {}", entry.status()).as_bytes());
        });
        let mut client = Connection::new(&app);
        for how in BEGUN {
            client.send(get(how).as_bytes());
        }
        drop(client);
    }
    let expected: String = BEGUN.iter().map(|how| format!("{how} 404\n")).collect();
    assert_eq!(kept.text(), expected);
}
