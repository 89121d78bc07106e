//! WebSocket handshakes that the program decides later.

use super::support::{Asked, Client, OnOwnAddr, PATIENCE, ended, limits, wait_until, workers};
use peregrine::access_log::{AccessEntry, AccessLog, LogWriter};
use peregrine::body::SendError;
use peregrine::error::ConnectionError;
use peregrine::server::Running;
use peregrine::ws::{
    Disconnect, Hub, Message, Upgrade, UpgradeError, UpgradeResponder, WebSocketHandler, Ws,
};
use peregrine::{Config, Done, Handler, Request, Response, Server};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// Leaves each handshake to the test.
#[derive(Default)]
struct App {
    waiting: Mutex<VecDeque<UpgradeResponder>>,
    came: Condvar,
    /// Connections that are open, and states that exist.
    open: AtomicUsize,
    states: Arc<AtomicUsize>,
    errors: Mutex<Vec<String>>,
}

struct State(Arc<AtomicUsize>);

impl Drop for State {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl App {
    #[track_caller]
    fn next(&self) -> UpgradeResponder {
        let waiting = self.waiting.lock().expect("no panic");
        let (mut waiting, _) = self
            .came
            .wait_timeout_while(waiting, PATIENCE, |waiting| waiting.is_empty())
            .expect("no panic");
        waiting.pop_front().expect("a handshake")
    }

    #[track_caller]
    fn wait_for_states(&self, states: usize) {
        wait_until("the states are there", || {
            self.states.load(Ordering::SeqCst) == states
        });
    }
}

impl Handler for App {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        res.text(req.path())
    }

    fn handle_error(&self, error: &ConnectionError<'_>, _: Option<SocketAddr>) {
        let mut errors = self.errors.lock().expect("no panic");
        errors.push(error.to_string());
    }
}

impl WebSocketHandler for App {
    type Conn = State;

    fn accept_ws(&self, req: &Request<'_>, upgrade: &mut Upgrade<'_>) -> Option<State> {
        upgrade.header("X-Early", "1").expect("valid");
        if req.path() == "/chosen" {
            upgrade.protocol("a").expect("offered");
        }
        let responder = upgrade.defer().expect("the first");
        assert_eq!(upgrade.defer().err(), Some(UpgradeError::Deferred));
        match req.path() {
            "/panic" => std::panic::resume_unwind(Box::new("")),
            "/refused" => upgrade.refuse(403, "refused at once"),
            _ => {}
        }
        let is_here = req.path() != "/request";
        let mut waiting = self.waiting.lock().expect("no panic");
        waiting.push_back(responder);
        self.came.notify_all();
        self.states
            .fetch_add(usize::from(is_here), Ordering::SeqCst);
        is_here.then(|| State(self.states.clone()))
    }

    fn handle_ws_conn(&self, ws: &mut Ws<'_, State>) {
        self.open.fetch_add(1, Ordering::SeqCst);
        ws.send("hi");
    }

    fn handle_ws_frame(&self, ws: &mut Ws<'_, State>, message: Message<'_>) {
        ws.send(message);
    }

    fn handle_ws_disconn(&self, _: &mut Ws<'_, State>, _: &Disconnect) {
        self.open.fetch_sub(1, Ordering::SeqCst);
    }
}

fn serve(config: Config) -> (Arc<App>, Running, SocketAddr) {
    let app = Arc::new(App::default());
    let server = Server::new(app.clone()).websocket().config(config);
    let server = server.on_own_addr().start().expect("a server");
    let addr = server.local_addr().expect("an address");
    (app, server, addr)
}

fn handshake(path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

/// A client that has asked for a WebSocket.
#[track_caller]
fn ask(addr: SocketAddr, path: &str, more: &str) -> Client {
    let mut client = Client::connect(addr);
    client.send(handshake(path, more));
    client
}

/// The same, and its handshake. Of several that ask at once each may be the first one.
#[track_caller]
fn asked(app: &App, addr: SocketAddr, more: &str) -> (Client, UpgradeResponder) {
    let client = ask(addr, "/", more);
    (client, app.next())
}

#[track_caller]
fn expect(client: &mut Client, bytes: &[u8]) {
    let mut got = vec![0; bytes.len()];
    client.stream.read_exact(&mut got).expect("bytes");
    assert_eq!(
        got.escape_ascii().to_string(),
        bytes.escape_ascii().to_string()
    );
}

const ACCEPT: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

/// A masked frame with the key 0.
const PING: &[u8] = b"\x81\x84\0\0\0\0ping";
const PONG: &[u8] = b"\x81\x04ping";

/// The one worker serves others while a handshake waits. What the program sets before and after the decision is in the 101.
#[test]
fn a_handshake_waits_and_its_worker_does_not() {
    let (app, server, addr) = serve(workers(1));
    let fields = "Sec-WebSocket-Protocol: a, b\r\n";
    let (mut waits, responders): (Vec<_>, Vec<_>) =
        (0..3).map(|_| asked(&app, addr, fields)).unzip();
    assert_eq!(Client::connect(addr).get("/other").text(), "/other");
    for (client, mut responder) in waits.iter_mut().zip(responders) {
        assert!(!responder.is_gone());
        assert_eq!(responder.protocols().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(responder.protocol("c"), Err(UpgradeError::NotOffered));
        assert_eq!(responder.protocol("b"), Ok(()));
        assert_eq!(responder.protocol("a"), Err(UpgradeError::ChosenAlready));
        assert_eq!(
            responder.header("Upgrade", "x"),
            Err(UpgradeError::Reserved)
        );
        assert_eq!(
            responder.header("X-Late", "2\n"),
            Err(UpgradeError::Malformed)
        );
        assert_eq!(responder.header("X-Late", "2"), Ok(()));
        assert_eq!(responder.accept(), Ok(()));
        let head = "X-Early: 1\r\nSec-WebSocket-Protocol: b\r\nX-Late: 2\r\n\r\n";
        expect(client, format!("{ACCEPT}{head}").as_bytes());
        expect(client, b"\x81\x02hi");
        client.send(PING);
        expect(client, PONG);
    }
    assert_eq!(app.open.load(Ordering::SeqCst), 3);
    drop(waits);
    app.wait_for_states(0);
    server.stop();
    let counters = ended(server).counters;
    assert_eq!((counters.upgraded, counters.handler_errors), (3, 0));
}

/// A subprotocol that was chosen before is not chosen again, and a client that waits for 100 gets it.
#[test]
fn what_was_set_before_stays() {
    let (app, server, addr) = serve(workers(1));
    let fields = "Sec-WebSocket-Protocol: a\r\nExpect: 100-continue\r\n";
    let mut client = ask(addr, "/chosen", fields);
    let mut responder = app.next();
    assert_eq!(responder.protocol("a"), Err(UpgradeError::ChosenAlready));
    assert_eq!(responder.accept(), Ok(()));
    let fields = "X-Early: 1\r\nSec-WebSocket-Protocol: a\r\n\r\n";
    expect(
        &mut client,
        format!("HTTP/1.1 100 Continue\r\n\r\n{ACCEPT}{fields}").as_bytes(),
    );
    drop(client);
    server.stop();
    ended(server);
}

/// What a client sends before the decision is not lost.
#[test]
fn early_messages_are_kept() {
    let (app, server, addr) = serve(workers(1));
    let mut client = ask(addr, "/", "");
    let responder = app.next();
    client.send(PING);
    client.wait_until_delivered();
    assert_eq!(responder.accept(), Ok(()));
    expect(
        &mut client,
        format!("{ACCEPT}X-Early: 1\r\n\r\n").as_bytes(),
    );
    expect(&mut client, b"\x81\x02hi");
    expect(&mut client, PONG);
    drop(client);
    server.stop();
    ended(server);
}

/// Any response refuses, whole or streamed, and the connection goes on. A dropped responder is a 500.
#[test]
fn any_response_refuses() {
    let (app, server, addr) = serve(workers(1));
    let mut client = ask(addr, "/", "");
    let sent = app.next().respond(|res| {
        res.status(401)
            .header("WWW-Authenticate", "Basic")
            .body(b"\xff\xfe")
    });
    assert_eq!(sent, Ok(()));
    let (answer, len) = client.head();
    assert_eq!((answer.status, len), (401, 2));
    assert_eq!(answer.get("www-authenticate"), Some("Basic"));
    assert_eq!(answer.get("x-early"), None);
    let mut body = [0; 2];
    client.body(&mut body);
    assert_eq!(body, *b"\xff\xfe");
    app.wait_for_states(0);

    client.send(handshake("/", ""));
    let (done, body) = (app.next(), Mutex::new(None));
    let sent = done.respond(|res| {
        let (done, sender) = res.status(403).stream();
        *body.lock().expect("no panic") = Some(sender);
        done
    });
    assert_eq!(sent, Ok(()));
    let mut sender = body.into_inner().expect("no panic").expect("a sender");
    assert!(sender.send("streamed").is_ok());
    assert!(sender.finish().is_ok());
    let answer = client.answer(Asked::Other);
    assert_eq!((answer.status, answer.text()), (403, "streamed"));
    assert_eq!(client.get("/after").text(), "/after");

    client.send(handshake("/", ""));
    drop(app.next());
    assert_eq!(client.answer(Asked::Other).status, 500);
    client.expect_end();
    app.wait_for_states(0);
    let errors = std::mem::take(&mut *app.errors.lock().expect("no panic"));
    assert_eq!(errors.len(), 1, "{errors:?}");
    drop(client);
    server.stop();
    assert_eq!(ended(server).counters.upgraded, 0);
}

/// What `accept_ws` decides itself counts, and the responder has no effect.
#[test]
fn a_decision_at_once_replaces_the_later_one() {
    let (app, server, addr) = serve(workers(1));
    let mut client = ask(addr, "/refused", "");
    let answer = client.answer(Asked::Other);
    assert_eq!((answer.status, answer.text()), (403, "refused at once"));
    assert_eq!(app.next().accept(), Err(SendError::Gone));
    client.send(handshake("/request", ""));
    let answer = client.answer(Asked::Other);
    assert_eq!((answer.status, answer.text()), (200, "/request"));
    let sent = app.next().respond(|_| unreachable!("no client waits"));
    assert_eq!(sent, Err(SendError::Gone));
    client.send(handshake("/panic", ""));
    assert_eq!(client.answer(Asked::Other).status, 500);
    client.expect_end();
    app.wait_for_states(0);
    drop(client);
    server.stop();
    ended(server);
}

/// The state is dropped at once, by a reset, by a close, and by a half close, because a WebSocket needs both directions.
#[test]
fn a_client_that_leaves_in_between() {
    let (app, server, addr) = serve(workers(1));
    for how in 0..3 {
        let client = ask(addr, "/", "");
        let responder = app.next();
        app.wait_for_states(1);
        let mut kept = None;
        match how {
            0 => client.reset(),
            1 => drop(client),
            _ => {
                client.stream.shutdown(Shutdown::Write).expect("open");
                kept = Some(client);
            }
        }
        app.wait_for_states(0);
        assert!(responder.is_gone());
        assert_eq!(responder.accept(), Err(SendError::Gone));
        drop(kept);
    }
    assert_eq!(app.open.load(Ordering::SeqCst), 0);
    server.stop();
    assert_eq!(ended(server).counters.upgraded, 0);
}

/// The limit counts when a handshake is accepted.
#[test]
fn too_many_connections_are_refused_when_they_are_accepted() {
    let (app, server, addr) = serve(workers(1).ws_threads(1).ws_connections_per_thread(1));
    let (mut clients, responders): (Vec<_>, Vec<_>) = (0..2).map(|_| asked(&app, addr, "")).unzip();
    for responder in responders {
        assert_eq!(responder.accept(), Ok(()));
    }
    let mut second = clients.pop().expect("two");
    let answer = second.answer(Asked::Other);
    assert_eq!((answer.status, answer.get("retry-after")), (503, Some("1")));
    assert_eq!(second.get("/after").text(), "/after");
    app.wait_for_states(1);
    // There is room again.
    drop(clients);
    app.wait_for_states(0);
    wait_until("its place is free", || server.counters().closed >= 1);
    second.send(handshake("/", ""));
    assert_eq!(app.next().accept(), Ok(()));
    expect(&mut second, ACCEPT.as_bytes());
    drop(second);
    server.stop();
    ended(server);
}

/// A decision that does not come ends by the time limit of responses.
#[test]
fn a_decision_has_a_deadline() {
    let mut limits = limits();
    limits.response_timeout = Duration::from_secs(1);
    let (app, server, addr) = serve(workers(1).limits(limits));
    let mut client = ask(addr, "/", "");
    let responder = app.next();
    assert_eq!(client.answer(Asked::Other).status, 503);
    client.expect_end();
    app.wait_for_states(0);
    assert_eq!(responder.accept(), Err(SendError::Gone));
    drop(client);
    server.stop();
    assert_eq!(ended(server).counters.response_timeouts, 1);
}

/// A stop waits for decisions, and closes what was accepted as all others.
#[test]
fn a_stop_waits_for_decisions() {
    let (app, server, addr) = serve(workers(1));
    let mut client = ask(addr, "/", "");
    let responder = app.next();
    server.stop();
    wait_until("no more clients", || {
        std::net::TcpStream::connect(addr).is_err()
    });
    assert_eq!(responder.accept(), Ok(()));
    expect(
        &mut client,
        format!("{ACCEPT}X-Early: 1\r\n\r\n").as_bytes(),
    );
    expect(&mut client, b"\x81\x02hi\x88\x02\x03\xe9");
    client.send(b"\x88\x82\0\0\0\0\x03\xe9");
    drop(client);
    ended(server);
    app.wait_for_states(0);
}

/// Decisions of several threads, with clients that leave meanwhile: each state is dropped once, and no place is lost.
#[test]
fn many_decisions_at_once() {
    const CLIENTS: usize = 40;
    let (app, server, addr) = serve(workers(2));
    let deciding: Vec<_> = (0..4)
        .map(|_| {
            let app = app.clone();
            std::thread::spawn(move || {
                for n in 0..CLIENTS / 4 {
                    let responder = app.next();
                    // A client may have left.
                    let _ = match n % 3 {
                        0 => responder.respond(|res| res.status(403).text("no")),
                        _ => responder.accept(),
                    };
                }
            })
        })
        .collect();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|n| {
            let client = ask(addr, "/", "");
            match n % 4 {
                0 => {
                    client.wait_until_delivered();
                    client.reset();
                    None
                }
                _ => Some(client),
            }
        })
        .collect();
    for thread in deciding {
        thread.join().expect("no panic");
    }
    for mut client in clients.into_iter().flatten() {
        let mut start = [0; 12];
        client.stream.read_exact(&mut start).expect("a response");
        assert!(matches!(&start[9..], b"101" | b"403"), "{start:?}");
    }
    app.wait_for_states(0);
    server.stop();
    let counters = ended(server).counters;
    assert_eq!(app.open.load(Ordering::SeqCst), 0);
    assert_eq!(counters.handler_errors, 0);
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The log has one line for each handshake, when it is decided.
#[test]
fn the_access_log_has_the_decision() {
    let (lines, app) = (Lines::default(), Arc::new(App::default()));
    let log = LogWriter::new(lines.clone()).expect("a log");
    let logged = AccessLog::with_format(app.clone(), log, |entry: &AccessEntry<'_>, line| {
        let path = entry.request().map_or("-", |request| request.path());
        line.extend_from_slice(format!("{path} {}", entry.status()).as_bytes());
    });
    let server = Server::new(logged).websocket().config(workers(1));
    let server = server.on_own_addr().start().expect("a server");
    let addr = server.local_addr().expect("an address");
    let text = || String::from_utf8(lines.0.lock().expect("no panic").clone()).expect("UTF-8");
    let mut accepted = ask(addr, "/a", "");
    assert_eq!(app.next().accept(), Ok(()));
    expect(&mut accepted, ACCEPT.as_bytes());
    let mut refused = ask(addr, "/b", "");
    assert_eq!(app.next().respond(|res| res.status(403).text("no")), Ok(()));
    assert_eq!(refused.answer(Asked::Other).status, 403);
    let gone = ask(addr, "/c", "");
    let responder = app.next();
    drop(gone);
    wait_until("all lines", || text() == "/a 101\n/b 403\n/c 499\n");
    drop((accepted, refused, responder));
    server.stop();
    ended(server);
}

/// In memory, too; the hub reaches such a connection.
#[test]
fn in_memory() {
    let app = App::default();
    let hub = Hub::new();
    let client = std::thread::scope(|scope| {
        scope.spawn(|| assert_eq!(app.next().accept(), Ok(())));
        peregrine::testing::WebSocket::connect_with_hub(&app, "/", &hub)
    });
    let mut client = client.expect("accepted");
    assert_eq!(client.take_received(), b"\x81\x02hi");
    drop(client);
    app.wait_for_states(0);
}
