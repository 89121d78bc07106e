//! Readiness, and the time between the announcement of a stop and the stop.

use super::support::{Client, ended, start, wait_until, workers};
use peregrine::server::{Health, Running};
use peregrine::{Config, Done, Handler, Request, Response, Router, Server};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

/// The status of a path, and the body.
fn ask(client: &mut Client, path: &str) -> (u16, String) {
    let answer = client.get(path);
    (answer.status, answer.text().trim_end().to_owned())
}

fn json(status: &str) -> String {
    format!("{{\"status\":\"{status}\"}}")
}

fn with_health(health: &Health, config: Config) -> (Running, SocketAddr) {
    let app = Router::new()
        .get("/", |_, res| res.text("hi"))
        .mount("/health", health.clone());
    let server = Server::new(app).config(config).health(health);
    let running = super::support::OnOwnAddr::on_own_addr(server);
    let running = running.start().expect("a server");
    let addr = running.local_addr().expect("a TCP address");
    (running, addr)
}

#[test]
fn a_server_that_drains_serves_and_is_not_ready() {
    for accept_threads in [0, 1] {
        let health = Health::new();
        assert!(!health.is_ready() && !health.is_draining());
        let config = workers(2)
            .accept_threads(crate::support::acceptors(accept_threads))
            .drain_delay(HOUR);
        let (server, addr) = with_health(&health, config);
        let mut kept = Client::connect(addr);
        assert_eq!(ask(&mut kept, "/health/readyz"), (200, json("ready")));
        assert_eq!(ask(&mut kept, "/health/livez"), (200, json("alive")));
        server.drain();
        server.drain();
        for client in [&mut kept, &mut Client::connect(addr)] {
            assert_eq!(ask(client, "/"), (200, "hi".to_owned()));
            assert_eq!(ask(client, "/health/readyz"), (503, json("draining")));
            assert_eq!(ask(client, "/health/livez"), (200, json("alive")));
        }
        assert!(health.is_draining());
        drop(kept);
        // Not in an hour.
        server.stop();
        assert_eq!(ended(server).aborted, 0);
        assert!(std::net::TcpStream::connect(addr).is_err());
    }
}

#[test]
fn without_a_delay_a_drain_is_a_stop() {
    let health = Health::new();
    let (server, _) = with_health(&health, workers(1));
    server.stopper().drain();
    assert_eq!(ended(server).aborted, 0);
    assert!(health.is_draining());
}

#[test]
fn the_delay_ends_by_itself() {
    let config = workers(1).drain_delay(Duration::from_millis(50));
    let (server, _) = with_health(&Health::new(), config);
    server.drain();
    assert_eq!(ended(server).aborted, 0);
}

/// Long before the delay is over, the first connections learn that they end.
#[test]
fn connections_end_one_after_the_other() {
    const LONG: Duration = Duration::from_secs(90);
    let (server, addr) = with_health(&Health::new(), workers(1).drain_delay(LONG));
    let mut clients: Vec<_> = (0..200).map(|_| Client::connect(addr)).collect();
    for client in &mut clients {
        assert!(!client.get("/").closes());
    }
    server.drain();
    let mut ends = 0;
    wait_until("some connections end", || {
        clients.retain_mut(|client| {
            let closes = client.get("/").closes();
            if closes {
                client.expect_end();
            }
            ends += usize::from(closes);
            !closes
        });
        ends >= 2
    });
    assert!(!clients.is_empty(), "not all at once");
    assert_eq!(Client::connect(addr).get("/health/readyz").status, 503);
    drop(clients);
    server.stop();
    assert_eq!(ended(server).aborted, 0);
}

#[test]
fn checks_say_why_a_program_is_not_ready() {
    let is_connected = Arc::new(AtomicBool::new(false));
    let connected = is_connected.clone();
    let health = Health::new()
        .check("database \"a\"", move || {
            match connected.load(Ordering::Relaxed) {
                true => Ok(()),
                false => Err("no connection\n"),
            }
        })
        .check("disk", || Ok::<(), String>(()));
    let (server, addr) = with_health(&health, workers(1));
    let mut client = Client::connect(addr);
    let answer = client.get("/health/readyz");
    assert_eq!(answer.get("content-type"), Some("application/json"));
    assert_eq!(answer.get("cache-control"), Some("no-store"));
    let expected = r#"{"status":"failing","checks":{"database \"a\"":"no connection\n"}}"#;
    assert_eq!((answer.status, answer.text().trim_end()), (503, expected));
    is_connected.store(true, Ordering::Relaxed);
    assert_eq!(ask(&mut client, "/health/readyz"), (200, json("ready")));
    assert_eq!(ask(&mut client, "/health/other").0, 404);
    client.send("POST /health/readyz HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    let answer = client.answer(super::support::Asked::Other);
    assert_eq!(
        (answer.status, answer.get("allow")),
        (405, Some("GET, HEAD"))
    );
    drop(server);
}

#[test]
fn a_check_on_a_thread_of_its_own() {
    let (asked, answers) = std::sync::mpsc::channel::<Result<(), String>>();
    let health = Health::new();
    let check = health.check_every("queue", Duration::from_millis(1), move || {
        // Blocks until the test says what the result is.
        answers.recv().unwrap_or(Ok(()))
    });
    check.expect("a thread");
    let (_server, addr) = with_health(&health, workers(1));
    let mut client = Client::connect(addr);
    let expect = |client: &mut Client, text: &str| {
        wait_until(text, || {
            let (status, body) = ask(client, "/health/readyz");
            (status == 200) == text.is_empty() && body.contains(text)
        });
    };
    expect(&mut client, "not checked yet");
    asked.send(Err("too long".to_owned())).expect("it waits");
    expect(&mut client, "too long");
    asked.send(Ok(())).expect("it waits");
    expect(&mut client, "");
    drop(asked);
}

#[test]
fn a_check_that_panics_fails() {
    let health = Health::new().check("faulty", || -> Result<(), String> {
        std::panic::resume_unwind(Box::new("as planned"))
    });
    let (server, addr) = with_health(&health, workers(1));
    let (status, body) = ask(&mut Client::connect(addr), "/health/readyz");
    assert_eq!(status, 503);
    assert!(
        body.contains(r#""faulty":"the check panicked: as planned""#),
        "{body}"
    );
    assert_eq!(server.counters().handler_errors, 0);
}

/// All servers of a program have to serve.
#[test]
fn several_servers_share_a_health() {
    let health = Health::new();
    let config = || workers(1).drain_delay(HOUR);
    let (one, addr) = with_health(&health, config());
    struct Other;
    impl Handler for Other {
        fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
            res.text("other")
        }
    }
    let server = Server::new(Other).health(&health).config(config());
    let other = server.bind("127.0.0.1:0").start().expect("a server");
    let mut client = Client::connect(addr);
    assert_eq!(client.get("/health/readyz").status, 200);
    other.drain();
    assert_eq!(client.get("/health/readyz").status, 503);
    drop((client, other, one));
    let (_plain, addr) = start(Other, workers(1));
    assert_eq!(Client::connect(addr).get("/").text(), "other");
}

/// A program may start its server again with the same `Health`. Servers that have ended, or did not start, do not count.
#[test]
fn a_server_that_is_started_again_is_ready() {
    let health = Health::new();
    for _ in 0..3 {
        let (server, addr) = with_health(&health, workers(1));
        let answer = Client::connect(addr).get("/health/readyz");
        assert_eq!(answer.status, 200, "{}", answer.text());
        server.stop();
        assert_eq!(ended(server).aborted, 0);
        assert!(!health.is_ready() && health.is_draining());
    }
}

#[cfg(feature = "websocket")]
mod websockets {
    use super::HOUR;
    use crate::support::wait_until;
    use crate::ws_sockets::{bench, config};
    use std::time::Duration;
    use tungstenite::Message;

    fn code(message: &Message) -> Option<u16> {
        match message {
            Message::Close(Some(close)) => Some(close.code.into()),
            _ => None,
        }
    }

    #[test]
    fn websockets_are_closed_one_after_the_other() {
        let server = bench(config(1).ws_close_spread(HOUR).ws_close_code(1012));
        let mut clients: Vec<_> = (0..9).map(|_| server.connect("/echo")).collect();
        server.wait_for(clients.len());
        server.running.stop();
        // The first one is closed at once, and the second one in 400 s.
        let mut closed = None;
        let round = |clients: &mut Vec<_>| {
            for i in 0..clients.len() {
                let client: &mut tungstenite::WebSocket<_> = &mut clients[i];
                // The one that is closed may not take it.
                let _ = client.send("x".into());
                let message = client.read().expect("a message");
                if let Some(code) = code(&message) {
                    return Some((code, clients.remove(i)));
                }
                assert_eq!(message, Message::text("x"));
            }
            None
        };
        wait_until("one is closed", || {
            closed = round(&mut clients);
            closed.is_some()
        });
        let (code, mut client) = closed.expect("one");
        assert_eq!(code, 1012);
        assert!(client.read().is_err(), "its response is sent");
        server.wait_for(8);
        assert!(round(&mut clients).is_none(), "the others go on");
        server.running.stopper().stop_now();
        let stopped = server.running.wait().expect("no thread failed");
        assert_eq!(stopped.aborted, 8);
    }

    #[test]
    fn all_websockets_are_closed_when_the_time_is_over() {
        for threads in [1, 2] {
            let server = bench(config(threads).ws_close_spread(Duration::from_millis(200)));
            let mut clients: Vec<_> = (0..20).map(|_| server.connect("/echo")).collect();
            server.wait_for(clients.len());
            server.running.stop();
            for client in &mut clients {
                assert_eq!(code(&client.read().expect("a close frame")), Some(1001));
                // Reads on, so that its response is sent.
                assert!(client.read().is_err());
            }
            let stopped = server.running.wait().expect("no thread failed");
            assert_eq!(stopped.aborted, 0);
        }
    }

    #[test]
    fn a_code_of_another_meaning_is_refused() {
        for (code, is_valid) in [
            (1000, false),
            (1001, true),
            (1011, false),
            (1012, true),
            (4999, true),
            (5000, false),
        ] {
            let server = peregrine::Server::from_fn(|_, res| res.text(""));
            let server = server
                .config(config(1).ws_close_code(code))
                .bind("127.0.0.1:0");
            assert_eq!(server.start().is_ok(), is_valid, "{code}");
        }
    }
}
