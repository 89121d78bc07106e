//! A turn ends: clients with requests that take long, or hold files, do not keep others waiting.

use super::support::{Asked, Client, start, workers};
use peregrine::{Done, Request, Response, from_fn};
use std::fs::File;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

/// Longer than a turn may take.
const SLOW: Duration = Duration::from_millis(2);

/// As a handler that computes.
fn take_long() {
    let from = Instant::now();
    while from.elapsed() < SLOW {
        std::hint::spin_loop();
    }
}

/// What one thread has handled, in order; the first of it waits for a sign.
struct Order {
    seen: Mutex<Vec<String>>,
    go: Mutex<mpsc::Receiver<()>>,
}

impl Order {
    fn new() -> (Arc<Order>, mpsc::Sender<()>) {
        let (sign, go) = mpsc::channel();
        let order = Order {
            seen: Mutex::default(),
            go: Mutex::new(go),
        };
        (Arc::new(order), sign)
    }

    fn handle(&self, what: &str) {
        let is_first = {
            let mut seen = self.seen.lock().expect("no panic");
            seen.push(what.to_owned());
            seen.len() == 1
        };
        if is_first {
            self.go.lock().expect("no panic").recv().expect("a sign");
        }
        take_long();
    }

    /// How many others have been handled before this one.
    fn before(&self, what: &str) -> usize {
        let seen = self.seen.lock().expect("no panic");
        let at = seen.iter().position(|seen| seen == what);
        at.expect("it was handled")
    }
}

/// Of one client's requests, one or two are handled before another client's turn, and not all that one
/// turn may take; and so are the pieces of a body that is drawn.
#[track_caller]
fn lets_others_in(request: &str, count: usize) {
    let (order, sign) = Order::new();
    let seen = order.clone();
    let handle = move |req: &Request<'_>, res: Response<'_>| -> Done {
        if req.path() == "/drawn" {
            let seen = seen.clone();
            return res.send_iter((0..40).map(move |_| {
                seen.handle("/piece");
                "/drawn"
            }));
        }
        seen.handle(req.path());
        res.text(req.path())
    };
    let (_server, addr) = start(from_fn(handle), workers(1));
    let mut slow = Client::connect(addr);
    slow.send(request.repeat(count));
    let mut other = Client::connect(addr);
    other.send("GET /other HTTP/1.1\r\nHost: a\r\n\r\n");
    other.wait_until_delivered();
    sign.send(()).expect("the handler waits");
    assert_eq!(other.answer(Asked::Other).text(), "/other");
    for _ in 0..count {
        let answer = slow.answer(Asked::Other);
        assert!(["/slow", &"/drawn".repeat(40)].contains(&answer.text()));
    }
    let before = order.before("/other");
    assert!(before <= 2, "{before} slow requests before the other one");
}

#[test]
fn slow_requests_let_others_in() {
    lets_others_in("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n", 64);
}

#[test]
fn slow_requests_with_bodies_let_others_in() {
    let request = "POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
    lets_others_in(request, 30);
}

#[test]
fn slow_pieces_let_others_in() {
    lets_others_in("GET /drawn HTTP/1.1\r\nHost: a\r\n\r\n", 2);
}

/// Answers hold no more files at a time than they may, however many requests come at once.
#[test]
fn the_files_that_wait_are_limited() {
    let path = std::env::temp_dir().join(format!("peregrine-turns-{}", std::process::id()));
    let options = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path);
    let file = Arc::new(options.expect("a file"));
    std::fs::remove_file(&path).expect("removed");
    file.set_len(1).expect("a sparse file");
    let most = Arc::new(AtomicUsize::new(0));
    let (seen, sent) = (most.clone(), file.clone());
    let handle = move |_: &Request<'_>, res: Response<'_>| -> Done {
        seen.fetch_max(Arc::strong_count(&sent), Ordering::SeqCst);
        res.send_file(sent.clone(), 0..1)
    };
    let (_server, addr) = start(from_fn(handle), workers(1));
    let mut client = Client::connect(addr);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100));
    for _ in 0..100 {
        assert_eq!(client.answer(Asked::Other).body, [0]);
    }
    // One is ours and one the handler's.
    let most = most.load(Ordering::SeqCst) - 2;
    assert!((4..=8).contains(&most), "{most} files waited");
}

#[cfg(feature = "websocket")]
mod ws {
    use super::super::support::{NEVER, OnOwnAddr, PATIENCE, Stream, ended};
    use super::super::ws_sockets::config;
    use super::Order;
    use peregrine::ws::{Message, Upgrade, WebSocketHandler, Ws};
    use peregrine::{Done, Handler, Request, Response, Server};
    use std::io::{Read, Write};
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    struct App(Arc<Order>);

    impl Handler for App {
        fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
            res.text("not a WebSocket")
        }
    }

    impl WebSocketHandler for App {
        type Conn = ();

        fn accept_ws(&self, _: &Request<'_>, _: &mut Upgrade<'_>) -> Option<()> {
            Some(())
        }

        fn handle_ws_frame(&self, ws: &mut Ws<'_, ()>, message: Message<'_>) {
            self.0.handle(message.as_text().expect("text"));
            ws.send(message);
        }
    }

    fn read(mut stream: &Stream, n: usize) -> Vec<u8> {
        let mut bytes = vec![0; n];
        stream.read_exact(&mut bytes).expect("all of it");
        bytes
    }

    /// Of one client's slow messages, one or two are handled before another client's turn; and all in
    /// the end, however many wait in the buffer.
    #[test]
    fn slow_messages_let_others_in() {
        const MANY: usize = 100;
        let (order, sign) = Order::new();
        let server = Server::new(App(order.clone())).websocket();
        let server = server.config(config(1)).on_own_addr().start();
        let server = server.expect("a server");
        let addr = server.local_addr().expect("a TCP address");
        let connect = || {
            let (socket, _) = {
                let stream = Stream::connect(addr).expect("a connection");
                let limit = Some(super::super::support::PATIENCE);
                stream.set_read_timeout(limit).expect("an open socket");
                tungstenite::client(format!("ws://{addr}/"), stream).expect("a WebSocket")
            };
            socket.get_ref().try_clone().expect("a handle")
        };
        let (mut slow, mut other) = (connect(), connect());
        slow.write_all(&b"\x81\x84\0\0\0\0slow".repeat(MANY))
            .expect("sent");
        other.write_all(b"\x81\x85\0\0\0\0other").expect("sent");
        super::super::support::Client::over_stream(other.try_clone().expect("a handle"))
            .wait_until_delivered();
        sign.send(()).expect("the handler waits");
        assert_eq!(read(&other, 7), b"\x81\x05other");
        assert_eq!(read(&slow, 6 * MANY), b"\x81\x04slow".repeat(MANY));
        let before = order.before("other");
        assert!(before <= 2, "{before} slow messages before the other one");
    }

    struct AcceptsLate {
        entered: SyncSender<()>,
        go: Mutex<Receiver<()>>,
        seen: Arc<Mutex<Vec<String>>>,
    }

    impl Handler for AcceptsLate {
        fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
            res.text("not a WebSocket")
        }
    }

    impl WebSocketHandler for AcceptsLate {
        type Conn = ();

        fn accept_ws(&self, _: &Request<'_>, _: &mut Upgrade<'_>) -> Option<()> {
            self.entered.send(()).expect("the test waits");
            let go = self.go.lock().expect("no panic");
            go.recv().expect("the test goes on");
            Some(())
        }

        fn handle_ws_frame(&self, _: &mut Ws<'_, ()>, message: Message<'_>) {
            let text = message.as_text().expect("text").to_owned();
            self.seen.lock().expect("no panic").push(text);
        }
    }

    /// A WebSocket that is accepted while the server stops reads on up to the close of its client, however many
    /// turns that takes.
    #[test]
    fn a_handshake_during_a_stop_reads_up_to_the_close() {
        let ((entered, has_entered), (go, goes)) = (sync_channel(1), sync_channel(1));
        let seen = Arc::default();
        let app = AcceptsLate {
            entered,
            go: Mutex::new(goes),
            seen: Arc::clone(&seen),
        };
        let mut config = config(1);
        config.limits.turn_time = Duration::ZERO;
        config.ws_limits.close_timeout = NEVER;
        let server = Server::new(app).websocket().config(config);
        let server = server.on_own_addr().start().expect("a server");
        let addr = server.local_addr().expect("a TCP address");
        let mut client = Stream::connect(addr).expect("a connection");
        client.set_read_timeout(Some(PATIENCE)).expect("open");
        let handshake = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let messages = b"\x81\x81\0\0\0\0a\x81\x81\0\0\0\0b\x81\x81\0\0\0\0c";
        let sent = [handshake.as_bytes(), messages].concat();
        client.write_all(&sent).expect("sent");
        has_entered
            .recv_timeout(PATIENCE)
            .expect("the handler is asked");
        server.stop();
        go.send(()).expect("the handler waits");
        let mut received = Vec::new();
        // The close of the server, 1001.
        while !received.windows(4).any(|four| four == b"\x88\x02\x03\xe9") {
            received.extend(read(&client, 1));
        }
        client.write_all(b"\x88\x82\0\0\0\0\x03\xe9").expect("sent");
        client.read_to_end(&mut received).expect("the end");
        assert_eq!(ended(server).aborted, 0);
        // What comes behind the close of the server is not handled (RFC 6455 section 5.5.1). How many messages
        // come before it depends on when the thread sees the stop.
        let seen = seen.lock().expect("no panic");
        let in_order = seen
            .iter()
            .zip(["a", "b", "c"])
            .all(|(had, sent)| had == sent);
        assert!(!seen.is_empty() && in_order, "from the first: {seen:?}");
    }
}
