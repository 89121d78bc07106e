//! Programs that read nothing from a WebSocket for a time.

use super::support::{Client, OnOwnAddr, ended, wait_until, workers};
use super::ws_protocol::frame;
use peregrine::server::Running;
use peregrine::testing::WebSocket;
use peregrine::ws::{
    Disconnect, Hub, Message, Sent, Upgrade, WebSocketHandler, Ws, WsId, WsLimits,
};
use peregrine::{Done, Handler, Request, Response, Server};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Sends each message back. `pause` stops the reading.
#[derive(Default)]
struct App {
    ids: Mutex<Vec<WsId>>,
    messages: AtomicUsize,
    ends: Mutex<Vec<String>>,
}

impl App {
    fn id(&self) -> WsId {
        wait_until("it is open", || {
            !self.ids.lock().expect("no panic").is_empty()
        });
        self.ids.lock().expect("no panic")[0]
    }

    fn messages(&self) -> usize {
        self.messages.load(Ordering::SeqCst)
    }

    #[track_caller]
    fn wait_for_end(&self) -> String {
        wait_until("it ends", || {
            !self.ends.lock().expect("no panic").is_empty()
        });
        self.ends.lock().expect("no panic").remove(0)
    }
}

impl Handler for App {
    fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
        res.text("")
    }
}

impl WebSocketHandler for App {
    type Conn = ();

    fn accept_ws(&self, _: &Request<'_>, _: &mut Upgrade<'_>) -> Option<()> {
        Some(())
    }

    fn handle_ws_conn(&self, ws: &mut Ws<'_, ()>) {
        self.ids.lock().expect("no panic").push(ws.id());
    }

    fn handle_ws_frame(&self, ws: &mut Ws<'_, ()>, message: Message<'_>) {
        self.messages.fetch_add(1, Ordering::SeqCst);
        match message.as_text() {
            Some("pause") => ws.pause_reading(),
            Some("both") => {
                ws.pause_reading();
                ws.resume_reading();
            }
            Some("close") => {
                ws.pause_reading();
                ws.close(1000, "");
            }
            Some(text) => _ = ws.send(text),
            None => {}
        }
    }

    fn handle_ws_disconn(&self, _: &mut Ws<'_, ()>, why: &Disconnect) {
        self.ends.lock().expect("no panic").push(why.to_string());
    }
}

fn frames(texts: &[&str]) -> Vec<u8> {
    texts.iter().flat_map(|text| frame(0x81, text)).collect()
}

/// Whole, and split at each byte: what follows a pause waits, and nothing is lost.
#[test]
fn messages_wait_until_reading_goes_on() {
    let bytes = frames(&["both", "a", "pause", "b", "c"]);
    for split in 0..=bytes.len() {
        let (app, hub) = (App::default(), Hub::new());
        let mut client = WebSocket::connect_with_hub(&app, "/", &hub).expect("accepted");
        let id = app.id();
        client.send(&bytes[..split]);
        client.send(&bytes[split..]);
        assert_eq!(client.take_received(), b"\x81\x01a", "{split}");
        assert_eq!(app.messages(), 3, "{split}");
        assert_eq!(hub.send(id, "to the client"), Sent::Queued);
        assert_eq!(hub.resume_reading(id), Sent::Queued);
        client.send(&frame(0x81, "d"));
        let expected = b"\x81\x0dto the client\x81\x01b\x81\x01c\x81\x01d";
        assert_eq!(client.take_received(), expected, "{split}");
        // Without a pause it has no effect.
        assert_eq!(hub.resume_reading(id), Sent::Queued);
        client.send(&frame(0x81, "e"));
        assert_eq!(client.take_received(), b"\x81\x01e", "{split}");
        drop(client);
        assert_eq!(hub.resume_reading(id), Sent::Closed);
        assert_eq!(hub.pause_reading(id), Sent::Closed);
    }
}

/// The client cannot be heard in a pause, so it is not asked; an incomplete message has its whole time after it.
#[test]
fn a_pause_has_a_limit() {
    let second = Duration::from_secs(1);
    let (app, hub) = (App::default(), Hub::new());
    let mut client = WebSocket::connect_with_hub(&app, "/", &hub).expect("accepted");
    let id = app.id();
    let mut bytes = frames(&["pause"]);
    bytes.extend(&frame(0x81, "half")[..7]);
    client.send(&bytes);
    client.elapse(299 * second);
    assert_eq!(client.take_received(), b"");
    hub.resume_reading(id);
    client.send(b"");
    client.elapse(10 * second);
    assert_eq!(client.take_received(), b"");
    client.send(&frame(0x81, "half")[7..]);
    assert_eq!(client.take_received(), b"\x81\x04half");
    // The ping of a client that is heard again.
    client.elapse(61 * second);
    assert_eq!(client.take_received(), b"\x89\x00");
    client.send(&frames(&["pause", "late"]));
    client.elapse(301 * second);
    assert_eq!(client.take_received(), b"\x88\x02\x03\xf5");
    // Messages of a connection that closes are discarded, and its close frame is read.
    client.send(&frame(0x88, [0x03, 0xf5]));
    assert!(client.is_closed());
    assert!(matches!(
        client.disconnect(),
        Some(Disconnect::Closed { code: 1013, .. })
    ));
    let limits = WsLimits::default().pause_timeout(second);
    let request = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut client = WebSocket::connect_with(&app, request.as_bytes(), limits).expect("accepted");
    client.send(&frames(&["pause"]));
    client.elapse(2 * second);
    assert_eq!(client.take_received(), b"\x88\x02\x03\xf5");
}

/// A close ends a pause, whichever side closes.
#[test]
fn a_close_ends_a_pause() {
    let (app, hub) = (App::default(), Hub::new());
    let mut client = WebSocket::connect_with_hub(&app, "/", &hub).expect("accepted");
    let mut bytes = frames(&["pause", "a"]);
    bytes.extend(frame(0x88, [0x03, 0xe8]));
    client.send(&bytes);
    assert!(!client.is_closed());
    assert_eq!(hub.close(app.id(), 1000, ""), Sent::Queued);
    client.send(b"");
    assert_eq!(client.take_received(), b"\x88\x02\x03\xe8");
    assert!(client.is_closed());
    assert_eq!(app.messages(), 1);
    let mut client = WebSocket::connect(&app, "/").expect("accepted");
    client.send(&frames(&["close"]));
    client.send(&frame(0x88, [0x03, 0xe8]));
    assert!(client.is_closed());
}

fn serve() -> (Arc<App>, Hub, Running, SocketAddr) {
    let (app, hub) = (Arc::new(App::default()), Hub::new());
    let server = Server::new(app.clone()).websocket().config(workers(1));
    let server = server.with_hub(&hub).on_own_addr();
    let server = server.start().expect("a server");
    let addr = server.local_addr().expect("an address");
    (app, hub, server, addr)
}

fn connect(addr: SocketAddr) -> Client {
    let mut client = Client::connect(addr);
    client.send(
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        client.stream.read_exact(&mut byte).expect("a response");
        head.extend(byte);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "));
    client
}

/// The client can send no more soon, and all that it has sent arrives afterwards.
#[test]
fn the_client_has_to_wait() {
    let (app, hub, server, addr) = serve();
    let mut client = connect(addr);
    client.send(frames(&["pause"]));
    wait_until("the pause", || app.messages() == 1);
    let message = frame(0x82, vec![b'x'; 60_000]);
    let mut whole = 0;
    client.stream.set_nonblocking(true).expect("a socket");
    let rest = 'full: loop {
        let mut at = 0;
        while at < message.len() {
            match client.stream.write(&message[at..]) {
                Ok(n) => at += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    break 'full message.len() - at;
                }
                Err(error) => panic!("{error}"),
            }
        }
        whole += 1;
        assert!(whole < 10_000, "600 MB are unread");
    };
    client.stream.set_nonblocking(false).expect("a socket");
    // What is sent to it arrives.
    assert_eq!(hub.send(app.id(), "hi"), Sent::Queued);
    let mut got = [0; 4];
    client.stream.read_exact(&mut got).expect("a message");
    assert_eq!((got, app.messages()), (*b"\x81\x02hi", 1));
    assert_eq!(hub.resume_reading(app.id()), Sent::Queued);
    client.send(&message[message.len() - rest..]);
    client.send(frames(&["end"]));
    let mut got = [0; 5];
    client.stream.read_exact(&mut got).expect("a message");
    assert_eq!((got, app.messages()), (*b"\x81\x03end", whole + 3));
    drop(client);
    app.wait_for_end();
    server.stop();
    ended(server);
}

/// A reset in a pause ends the connection, with and without unread bytes.
#[test]
#[cfg(target_os = "linux")]
fn a_reset_is_noticed_in_a_pause() {
    for more in ["", "unread"] {
        let (app, _hub, server, addr) = serve();
        let mut client = connect(addr);
        client.send(frames(&["pause"]));
        wait_until("the pause", || app.messages() == 1);
        if !more.is_empty() {
            client.send(frames(&[more]));
            client.wait_until_delivered();
        }
        client.reset();
        app.wait_for_end();
        assert_eq!(app.messages(), 1);
        server.stop();
        ended(server);
    }
}

/// Several threads pause and resume at once. The last resume counts.
#[test]
fn threads_pause_and_resume() {
    let (app, hub, server, addr) = serve();
    let mut client = connect(addr);
    let id = app.id();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let hub = &hub;
            scope.spawn(move || {
                for n in 0..1000 {
                    match (n + thread) % 2 {
                        0 => assert_eq!(hub.pause_reading(id), Sent::Queued),
                        _ => assert_eq!(hub.resume_reading(id), Sent::Queued),
                    }
                }
            });
        }
        for _ in 0..100 {
            client.send(frames(&["x"]));
        }
    });
    assert_eq!(hub.resume_reading(id), Sent::Queued);
    let mut got = [0; 300];
    client.stream.read_exact(&mut got).expect("messages");
    assert_eq!(got[..], b"\x81\x01x".repeat(100));
    drop(client);
    server.stop();
    ended(server);
}
