//! Routes whose handlers block, and the route in the access log.

use super::support::{Asked, Client as SocketClient, ended, start, workers};
use crate::access_log::Kept;
use peregrine::access_log::{AccessLog, LogWriter};
use peregrine::error::BoxError;
use peregrine::router::{PerThread, Route, offload, offload_with};
use peregrine::testing::Connection;
use peregrine::{Done, Request, Response, Router};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn handlers_that_block_run_on_the_pool() {
    let on_pool = |_: &Request<'_>, res: Response<'_>| {
        let thread = std::thread::current();
        res.text(thread.name().unwrap_or(""))
    };
    let app = Router::new()
        .get("/wrapped", offload(on_pool))
        .route(
            Route::get("/route/{id}", move |req, res| {
                assert_eq!(req.param::<u8>("id"), Ok(7));
                on_pool(req, res)
            })
            .offload(),
        )
        .nest("/nest", Router::new().get("/x", on_pool).offload())
        .mount("/m", Router::new().get("/x", on_pool).offload())
        .get("/here", on_pool);
    for (target, is_on_pool) in [
        ("/wrapped", true),
        ("/route/7", true),
        ("/nest/x", true),
        ("/m/x", true),
        ("/here", false),
    ] {
        let mut client = Connection::new(&app);
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        // A thread of the pool may have responded already.
        let is_here = !client.received().is_empty() || client.wait(PATIENCE);
        assert!(is_here, "{target}");
        let received = String::from_utf8_lossy(client.received());
        assert!(received.starts_with("HTTP/1.1 200 "), "{target}");
        let (_, name) = received.split_once("\r\n\r\n").expect("a body");
        assert_eq!(name.starts_with("pg-pool-"), is_on_pool, "{target}: {name}");
    }
}

#[test]
fn a_thread_makes_its_resource_once_and_again_after_a_panic() {
    let made = Arc::new(AtomicUsize::new(0));
    let count = made.clone();
    let make = move || match count.fetch_add(1, Ordering::SeqCst) {
        0 => Err::<usize, BoxError>("not yet".into()),
        n => Ok(n * 100),
    };
    let app = Router::new().get(
        "/{what}",
        offload_with(make, |own, req, res| {
            *own += 1;
            match req.param_str("what").as_deref() {
                Some("panic") => std::panic::resume_unwind(Box::new("as asked")),
                _ => res.text(own.to_string()),
            }
        }),
    );
    // One thread at most: a connection waits for each response.
    let mut client = Connection::new(&app);
    let mut ask = |target: &str| {
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        assert!(client.wait(PATIENCE));
        String::from_utf8_lossy(&client.take_received()).into_owned()
    };
    assert!(ask("/fails").starts_with("HTTP/1.1 500 "));
    let first = ask("/a");
    let second = ask("/a");
    let number = |text: &str| {
        text.rsplit("\r\n")
            .next()
            .and_then(|n| n.parse::<usize>().ok())
    };
    let numbers = (
        number(&first).expect("a number"),
        number(&second).expect("a number"),
    );
    // The pool may have several threads, each with its own value.
    assert!(
        numbers == (101, 102) || numbers == (101, 201),
        "{numbers:?}"
    );
    assert!(ask("/panic").starts_with("HTTP/1.1 500 "));
    assert!(made.load(Ordering::SeqCst) >= 2);
}

/// Sends a request on a connection of its own.
fn ask(addr: SocketAddr, path: &str) -> (u16, String) {
    let mut client = SocketClient::connect(addr);
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
    let response = client.answer(Asked::Other);
    (response.status, response.text().to_owned())
}

#[test]
fn routes_share_the_value_of_a_thread() {
    let made = Arc::new(AtomicUsize::new(0));
    let count = made.clone();
    let make = move || {
        let n = count.fetch_add(1, Ordering::SeqCst) + 1;
        // One that cannot be sent to another thread.
        Ok::<_, std::io::Error>(std::rc::Rc::new(n))
    };
    let shared = PerThread::new(make);
    let by_once = shared.clone();
    let app = Router::new()
        .get("/a", shared.offload(|n, _, res| res.text(format!("a{n}"))))
        .get(
            "/b",
            shared
                .clone()
                .offload(|n, _, res| res.text(format!("b{n}"))),
        )
        .get("/once", move |req, res| {
            let owned = [1, 2, 3];
            by_once.respond(req, res, move |n, _, res| {
                res.text(format!("{}{n}", owned.len()))
            })
        });
    let (server, addr) = start(app, workers(1).pool_threads(1));
    for (path, text) in [("/a", "a1"), ("/b", "b1"), ("/once", "31")] {
        assert_eq!(ask(addr, path), (200, text.to_owned()));
    }
    assert_eq!(made.load(Ordering::SeqCst), 1);
    server.stop();
    ended(server);
}

/// A value that notes in a log when it is dropped.
struct Noted(usize, Arc<Mutex<Vec<String>>>);

impl Drop for Noted {
    fn drop(&mut self) {
        let mut log = self.1.lock().expect("whole");
        log.push(format!("drop {}", self.0));
    }
}

#[test]
fn a_value_that_is_not_kept_is_dropped_before_another_one_is_made() {
    let (log, state) = (
        Arc::new(Mutex::new(Vec::new())),
        Arc::new(Mutex::new("kept")),
    );
    let (own_log, own_state, count) = (log.clone(), state.clone(), AtomicUsize::new(0));
    let make = move || -> Result<Noted, BoxError> {
        if *own_state.lock().expect("whole") == "cannot be made" {
            return Err("not now".into());
        }
        let n = count.fetch_add(1, Ordering::SeqCst) + 1;
        own_log.lock().expect("whole").push(format!("make {n}"));
        Ok(Noted(n, own_log.clone()))
    };
    let asked = state.clone();
    let keep = move |_: &mut Noted| {
        let state = *asked.lock().expect("whole");
        match state {
            "kept" => true,
            "panics" => std::panic::resume_unwind(Box::new("as asked")),
            _ => false,
        }
    };
    let values = PerThread::new(make).keep_if(keep);
    let handler = values.offload(|value, _, res| res.text(value.0.to_string()));
    let app = Router::new().get("/", handler);
    let (server, addr) = start(app, workers(1).pool_threads(1));
    for (now, status, text, noted) in [
        ("kept", 200, "1", vec!["make 1"]),
        ("kept", 200, "1", vec![]),
        ("ended", 200, "2", vec!["drop 1", "make 2"]),
        ("kept", 200, "2", vec![]),
        ("panics", 500, "", vec!["drop 2"]),
        ("kept", 200, "3", vec!["make 3"]),
        ("cannot be made", 500, "", vec!["drop 3"]),
        ("cannot be made", 500, "", vec![]),
        ("kept", 200, "4", vec!["make 4"]),
    ] {
        *state.lock().expect("whole") = now;
        let response = ask(addr, "/");
        assert_eq!(response.0, status, "{now}");
        assert!(status == 500 || response.1 == text, "{now}: {}", response.1);
        let log = std::mem::take(&mut *log.lock().expect("whole"));
        assert_eq!(log, noted, "{now}");
    }
    server.stop();
    ended(server);
}

#[test]
fn the_access_log_has_the_route() {
    let kept = Kept::default();
    {
        let app = Router::new()
            .get("/at-once/{id}", |_, res| res.text("here"))
            .get("/large/{id}", |_, res| res.body(vec![b'x'; 1 << 20]))
            .get("/panics/{id}", |_, _| -> Done {
                std::panic::resume_unwind(Box::new("as asked"))
            })
            .nest(
                "/n",
                Router::new().get("/pool/{id}", offload(|_, res| res.text("later"))),
            );
        let writer = LogWriter::new(kept.clone()).expect("a thread");
        let app = AccessLog::with_format(app, writer, |entry, line| {
            line.extend_from_slice(entry.route().unwrap_or("-").as_bytes());
        });
        for target in ["/at-once/1", "/large/1", "/panics/1", "/n/pool/1", "/none"] {
            let mut client = Connection::new(&app);
            client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
            assert!(
                !client.received().is_empty() || client.wait(PATIENCE),
                "{target}"
            );
        }
    }
    assert_eq!(
        kept.text(),
        "/at-once/{id}\n/large/{id}\n/panics/{id}\n/n/pool/{id}\n-\n"
    );
}
