//! Deferred responses: each reaches its own client, in its turn, or no client.

#![expect(clippy::disallowed_methods, reason = "panics of the test itself")]

use super::sockets::room_for_connections;
use super::support::{
    Answer, Asked, Client, PATIENCE, Random, Witness, ended, limits, start, workers,
};
use peregrine::body::SendError;
use peregrine::{Done, Request, Responder, Response, from_fn};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// Where deferred requests wait, by their paths.
#[derive(Default)]
pub(crate) struct Desk {
    waiting: Mutex<VecDeque<(String, Responder)>>,
    came: Condvar,
}

impl Desk {
    pub(crate) fn defer(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        let (done, responder) = res.defer();
        let mut waiting = self.waiting.lock().expect("no panic");
        waiting.push_back((req.path().to_owned(), responder));
        self.came.notify_all();
        done
    }

    /// All that wait, once there is this number of them.
    #[track_caller]
    pub(crate) fn all(&self, count: usize) -> Vec<(String, Responder)> {
        let waiting = self.waiting.lock().expect("no panic");
        let (mut waiting, waited) = self
            .came
            .wait_timeout_while(waiting, PATIENCE, |waiting| waiting.len() < count)
            .expect("no panic");
        assert!(!waited.timed_out(), "{} of {count} wait", waiting.len());
        waiting.drain(..).collect()
    }

    /// The one that waits.
    #[track_caller]
    pub(crate) fn one(&self) -> Responder {
        let [(_, responder)] = self.all(1).try_into().expect("one");
        responder
    }
}

pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

fn connect(addr: SocketAddr) -> (Client, SocketAddr) {
    let client = Client::connect(addr);
    let peer = client.stream.local_addr().expect("an open socket");
    (client, peer)
}

/// A desk, and a handler that leaves requests below `/later` there and responds to the others at once.
pub(crate) fn desk() -> (
    Arc<Desk>,
    impl Fn(&Request<'_>, Response<'_>) -> Done + Send + Sync + 'static,
) {
    let desk = Arc::new(Desk::default());
    let handle = {
        let desk = desk.clone();
        move |req: &Request<'_>, res: Response<'_>| match req.path().starts_with("/later") {
            true => desk.defer(req, res),
            false => res.body(req.path()),
        }
    };
    (desk, handle)
}

// --------------------------------------------------------------------------------------- order

#[test]
fn pipelined_responses_keep_their_order() {
    const CLIENTS: usize = 8;
    let (desk, handle) = desk();
    let (server, addr) = start(from_fn(handle), workers(1));
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| Client::connect(addr)).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        let paths = ["/later/0", "/now/1", "/later/2", "/later/3", "/now/4"];
        client.send(paths.map(|path| get(&format!("{path}/{n}"))).concat());
    }
    for round in [0, 2, 3] {
        // Every client waits for this response, and none has one that comes behind it.
        let mut waiting = desk.all(CLIENTS);
        waiting.sort_by(|a, b| b.0.cmp(&a.0));
        for (path, responder) in waiting {
            assert!(path.starts_with(&format!("/later/{round}/")), "{path}");
            assert!(responder.send(|res| res.text(&path)).is_ok());
        }
    }
    for (n, client) in clients.iter_mut().enumerate() {
        for path in ["/later/0", "/now/1", "/later/2", "/later/3", "/now/4"] {
            assert_eq!(client.answer(Asked::Other).text(), format!("{path}/{n}"));
        }
    }
    drop(clients);
    server.stop();
    assert_eq!(ended(server).counters.requests, 5 * CLIENTS as u64);
}

/// A deferred response delays no other request on the same worker.
#[test]
fn others_are_served_while_eight_handlers_block() {
    let (desk, handle) = desk();
    let (server, addr) = start(from_fn(handle), workers(1));
    let mut slow: Vec<_> = (0..8).map(|_| Client::connect(addr)).collect();
    slow.iter_mut()
        .for_each(|client| client.send(get("/later")));
    let waiting = desk.all(8);
    let mut client = Client::connect(addr);
    for n in 0..1000 {
        let path = format!("/now/{n}");
        assert_eq!(client.get(&path).text(), path);
    }
    for (_, responder) in waiting {
        assert!(!responder.is_gone());
        assert!(responder.send(|res| res.body("at last")).is_ok());
    }
    for client in &mut slow {
        assert_eq!(client.answer(Asked::Other).text(), "at last");
    }
    drop((server, slow));
}

/// 10 requests on each of 1,000 connections, sent before any response, and with responses by four threads in
/// a random order of those that are outstanding.
#[test]
fn thousands_of_responses_in_random_order_reach_their_clients() {
    const CONNECTIONS: usize = 1000;
    const DEPTH: usize = 10;
    let connections = CONNECTIONS.min(room_for_connections());
    let (desk, handle) = desk();
    let (server, addr) = start(from_fn(handle), workers(2));
    let mut clients: Vec<_> = (0..connections).map(|_| Client::connect(addr)).collect();
    for (c, client) in clients.iter_mut().enumerate() {
        let requests = (0..DEPTH).map(|n| get(&format!("/later/{c}/{n}")));
        client.send(requests.collect::<String>());
    }
    // One of each connection.
    let all = desk.all(connections);
    desk.waiting.lock().expect("no panic").extend(all);
    let left = Arc::new(AtomicUsize::new(connections * DEPTH));
    let threads: Vec<_> = (1..=4)
        .map(|seed| {
            let (desk, left) = (desk.clone(), left.clone());
            thread::spawn(move || answer_in_random_order(&desk, &left, Random(seed)))
        })
        .collect();
    for (c, client) in clients.iter_mut().enumerate() {
        for n in 0..DEPTH {
            let answer = client.answer(Asked::Other);
            assert_eq!(answer.text(), format!("/later/{c}/{n}"));
        }
    }
    for thread in threads {
        thread.join().expect("all were waited for");
    }
    drop(clients);
    server.stop();
    let counters = ended(server).counters;
    assert_eq!(counters.requests, (connections * DEPTH) as u64);
    assert_eq!(
        (counters.handler_errors, counters.connection_errors),
        (0, 0)
    );
}

fn answer_in_random_order(desk: &Desk, left: &AtomicUsize, mut random: Random) {
    loop {
        let waiting = desk.waiting.lock().expect("no panic");
        let (mut waiting, waited) = desk
            .came
            .wait_timeout_while(waiting, PATIENCE, |waiting| {
                waiting.is_empty() && left.load(Ordering::SeqCst) > 0
            })
            .expect("no panic");
        assert!(!waited.timed_out());
        if waiting.is_empty() {
            return;
        }
        let any = random.below(waiting.len());
        let (path, responder) = waiting.swap_remove_back(any).expect("one of them");
        if left.fetch_sub(1, Ordering::SeqCst) == 1 {
            desk.came.notify_all();
        }
        drop(waiting);
        assert!(responder.send(|res| res.text(&path)).is_ok(), "{path}");
    }
}

// ------------------------------------------------------------------------------ what is answered

/// A late response has the same fields and the same end as one that is given at once.
#[test]
fn deferred_responses_equal_immediate_ones() {
    fn answer(req: &Request<'_>, res: Response<'_>) -> Done {
        let res = res.header("x-late", "2");
        match req.path().rsplit('/').next() {
            Some("text") => res.text("some text"),
            Some("created") => res.status(201).body("made"),
            Some("empty") => res.status(204).body("left out"),
            Some("not-modified") => res.status(304).body("left out"),
            Some("reset") => res.status(205).body("left out"),
            Some("redirect") => res.redirect(303, "/elsewhere"),
            Some("large") => res.send(vec![b'x'; 100_000]),
            Some("written") => res.write_with(|body| std::io::Write::write_all(body, b"written")),
            Some("close") => res.close().body("the last one"),
            path => unreachable!("{path:?}"),
        }
    }
    let handler = from_fn(move |req: &Request<'_>, res: Response<'_>| {
        // What is said before and after deferring stands side by side.
        let res = res.status(202).header("x-early", "1");
        if req.path().starts_with("/now") {
            return answer(req, res);
        }
        let req = req.to_owned_request();
        let (done, responder) = res.defer();
        thread::spawn(move || responder.send(|res| answer(&req.as_request(), res)));
        done
    });
    let (server, addr) = start(handler, workers(1));
    let fields = "Host: a\r\n";
    for (method, asked) in [("GET", Asked::Other), ("HEAD", Asked::Head)] {
        for (version, fields) in [
            ("HTTP/1.1", fields),
            ("HTTP/1.1", "Host: a\r\nConnection: close\r\n"),
            ("HTTP/1.0", fields),
            ("HTTP/1.0", "Connection: keep-alive\r\n"),
        ] {
            for path in [
                "text",
                "created",
                "empty",
                "not-modified",
                "reset",
                "redirect",
                "large",
                "written",
                "close",
            ] {
                let [now, late] = ["/now", "/later"].map(|when| {
                    let mut client = Client::connect(addr);
                    let rest = format!("{version}\r\n{fields}\r\n");
                    client.send(format!("{method} {when}/{path} {rest}"));
                    let mut answer = client.answer(asked);
                    let ends = answer.closes()
                        || version == "HTTP/1.0" && answer.get("connection").is_none();
                    match ends {
                        true => client.expect_end(),
                        // The connection takes another request.
                        false => assert_eq!(client.get("/now/text").text(), "some text"),
                    }
                    answer.fields.retain(|field| field.0 != "date");
                    answer.fields.sort();
                    (answer, ends)
                });
                let what = format!("{method} {path} {version} {fields:?}");
                assert_eq!(now, late, "{what}");
                assert_eq!(late.0.get("x-early"), Some("1"), "{what}");
                assert_eq!(late.0.get("x-late"), Some("2"), "{what}");
            }
        }
    }
    drop(server);
}

#[test]
fn a_deferred_response_can_be_deferred_again() {
    let handler = from_fn(|_: &Request<'_>, res: Response<'_>| {
        let (done, first) = res.header("x-a", "1").defer();
        thread::spawn(move || {
            first.send(|res| {
                let (done, second) = res.status(201).header("x-b", "2").defer();
                thread::spawn(move || second.send(|res| res.header("x-c", "3").text("third")));
                done
            })
        });
        done
    });
    let (server, addr) = start(handler, workers(1));
    let mut client = Client::connect(addr);
    for _ in 0..100 {
        let answer = client.get("/");
        assert_eq!((answer.status, answer.text()), (201, "third"));
        for (name, value) in [("x-a", "1"), ("x-b", "2"), ("x-c", "3")] {
            assert_eq!(answer.get(name), Some(value));
        }
    }
    drop(server);
}

// ------------------------------------------------------------------------------ what goes wrong

#[track_caller]
fn assert_500(answer: &Answer) {
    assert_eq!((answer.status, answer.closes()), (500, true), "{answer:?}");
    assert_eq!(answer.get("x-secret"), None, "nothing of the handler's");
    assert_eq!(
        answer.text(),
        "the server could not respond to this request\n"
    );
}

/// The client gets a 500, and the handler is called with the error once.
#[test]
fn responses_that_fail_are_500_and_reported() {
    let desk = Arc::new(Desk::default());
    let witness = Witness::new({
        let desk = desk.clone();
        move |req, res| desk.defer(req, res.header("x-secret", "1"))
    });
    let (server, addr) = start(witness.clone(), workers(1));
    type Fail = fn(Responder);
    let faults: [(&str, &str, Fail); 5] = [
        ("answer", "the deferred response was never sent", drop),
        (
            "answer",
            "the deferred response was never sent",
            |responder| {
                let panic = || responder.send(|_| panic!("the answer of a test panics"));
                assert!(catch_unwind(AssertUnwindSafe(panic)).is_err());
            },
        ),
        ("answer", "malformed header field name", |responder| {
            assert!(
                responder
                    .send(|res| res.header("not a token", "1").text("lost"))
                    .is_ok()
            );
        }),
        (
            "answer",
            "99 is not the status of a response",
            |responder| {
                assert!(responder.send(|res| res.status(99).text("lost")).is_ok());
            },
        ),
        (
            "answer",
            "control byte in a header field value",
            |responder| {
                assert!(
                    responder
                        .send(|res| {
                            let (done, second) = res.header("x", "a\r\nb: c").defer();
                            // It is too late for this.
                            let _ = second.send(|res| res.text("lost"));
                            done
                        })
                        .is_ok()
                );
            },
        ),
    ];
    for (kind, text, fail) in faults {
        let (mut client, peer) = connect(addr);
        client.send(get("/later"));
        fail(desk.one());
        let answer = client.answer(Asked::Other);
        assert_500(&answer);
        client.expect_end();
        assert_eq!(witness.one_error(kind, peer), text);
    }
    server.stop();
    assert_eq!(ended(server).counters.handler_errors, 5);
}

#[test]
fn a_panic_after_defer_is_a_500_and_the_only_response() {
    let desk = Arc::new(Desk::default());
    let witness = Witness::new({
        let desk = desk.clone();
        move |req, res| match req.path() {
            "/now" => res.body("here"),
            _ => {
                let _done = desk.defer(req, res);
                panic!("the handler of a test panics")
            }
        }
    });
    let (server, addr) = start(witness.clone(), workers(1));
    let (mut client, peer) = connect(addr);
    client.send(get("/later") + &get("/now"));
    assert_500(&client.answer(Asked::Other));
    let late = desk.one().send(|res| res.text("a second answer"));
    assert_eq!(late, Err(SendError::Gone));
    client.expect_end();
    let text = witness.one_error("panicked", peer);
    assert!(text.ends_with("the handler of a test panics"), "{text}");
    drop((client, server));
}

/// After the 503 of a timeout the client is gone. A responder that is used later gets an error.
#[test]
fn responses_that_take_too_long_are_503() {
    let limits = limits().response_timeout(Duration::from_secs(1));
    let (desk, handle) = desk();
    let witness = Witness::new(handle);
    let config = workers(1).limits(limits);
    let (server, addr) = start(witness.clone(), config);
    for (method, asked) in [("GET", Asked::Other), ("HEAD", Asked::Head)] {
        let (mut client, peer) = connect(addr);
        client.send(format!(
            "{method} /later HTTP/1.1\r\nHost: a\r\n\r\n{}",
            get("/now")
        ));
        let responder = desk.one();
        let answer = client.answer(asked);
        assert_eq!((answer.status, answer.closes()), (503, true), "{answer:?}");
        client.expect_end();
        assert!(responder.is_gone());
        assert!(
            responder
                .send(|_| unreachable!("the client has gone"))
                .is_err()
        );
        let text = witness.one_error("answer timeout", peer);
        assert_eq!(text, "a deferred or streamed response got no byte in time");
    }
    drop(server);
}
