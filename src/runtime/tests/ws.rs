//! WebSockets over a transport that fails. The messages are the same under every plan, and each connection
//! gets one disconnect hook, whichever call is its last.

use super::{
    PATIENCE, config, connect, end, exchange, nothing_is_left, plans, read_all, same_under, short,
    undated, wait_until,
};
use crate::http::handler::Handler;
use crate::http::request::Request;
use crate::http::response::{Done, Response};
use crate::runtime::transport::faulty::{FaultPlan, Faulty, Happening};
use crate::server::Server;
use crate::server::running::Running;
use crate::websocket::hub::Hub;
use crate::websocket::upgrade::Upgrade;
use crate::websocket::ws::Ws;
use crate::websocket::{Disconnect, WebSocketHandler};
use peregrine_protocol::limits::Limits;
use peregrine_protocol::ws::frame::Message;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[derive(Default)]
struct Told {
    begun: AtomicU64,
    ended: AtomicU64,
}

struct App {
    live: Arc<()>,
    told: Arc<Told>,
}

impl Handler for App {
    fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
        res.text("no WebSocket")
    }
}

impl WebSocketHandler for App {
    type Conn = Arc<()>;

    fn accept_ws(&self, _: &Request<'_>, _: &mut Upgrade<'_>) -> Option<Arc<()>> {
        Some(self.live.clone())
    }

    fn handle_ws_conn(&self, ws: &mut Ws<'_, Arc<()>>) {
        self.told.begun.fetch_add(1, Ordering::SeqCst);
        ws.send("welcome");
    }

    fn handle_ws_frame(&self, ws: &mut Ws<'_, Arc<()>>, message: Message<'_>) {
        match message.as_text() {
            Some("large") => ws.send("x".repeat(40_000).as_str()),
            _ => ws.send(message),
        };
    }

    fn handle_ws_disconn(&self, _: &mut Ws<'_, Arc<()>>, _: &Disconnect) {
        self.told.ended.fetch_add(1, Ordering::SeqCst);
    }
}

pub(super) const HANDSHAKE: &str = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// A client's frame.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [7, 1, 9, 3];
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..126 => frame.push(0x80 | short as u8),
        long => {
            frame.push(0x80 | 126);
            frame.extend((long as u16).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    frame
}

const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;

pub(super) fn scenarios() -> Vec<(&'static str, Vec<u8>)> {
    let close = frame(CLOSE, &[0x03, 0xe8]);
    let long = "0123456789".repeat(60);
    let messages = [
        frame(TEXT, b"hello"),
        frame(0x82, long.as_bytes()),
        frame(TEXT, b"large"),
    ];
    let fragments = [
        frame(0x01, b"one "),
        frame(0x89, b"ping"),
        frame(0x00, b"two "),
        frame(0x80, b"three"),
    ];
    let with_all = |frames: &[Vec<u8>]| {
        let begin = format!("{HANDSHAKE}\r\n").into_bytes();
        [begin, frames.concat(), close.clone()].concat()
    };
    let mut all = vec![
        ("messages", with_all(&messages)),
        ("fragments", with_all(&fragments)),
        ("close", with_all(&[])),
        ("broken", with_all(&[frame(TEXT, b"\xff")])),
        (
            "a request",
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_vec(),
        ),
    ];
    if cfg!(feature = "deflate") {
        let extension = "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
        let begin = format!("{HANDSHAKE}{extension}").into_bytes();
        // The message of RFC 7692 section 7.2.3.1, whole and in fragments.
        let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
        let frames = [
            frame(0xc1, hello),
            frame(0x41, &hello[..3]),
            frame(0x80, &hello[3..]),
            close.clone(),
        ];
        all.push(("compressed", [begin, frames.concat()].concat()));
    }
    all
}

pub(super) struct Bench {
    live: Arc<()>,
    told: Arc<Told>,
    hub: Hub,
    pub(super) server: Running,
}

impl Bench {
    pub(super) fn start(linger_timeout: Duration) -> Bench {
        let (live, told) = (Arc::new(()), Arc::<Told>::default());
        let app = App {
            live: live.clone(),
            told: told.clone(),
        };
        let mut config = config(Limits::default());
        config.ws_threads = 1;
        config.limits.linger_timeout = linger_timeout;
        let server = Server::new(app).config(config).websocket();
        let hub = server.hub();
        let server = server
            .bind("127.0.0.1:0")
            .start_over::<Faulty>()
            .expect("a server");
        Bench {
            live,
            told,
            hub,
            server,
        }
    }

    /// What the client receives. Afterwards nothing of the connection may be left.
    pub(super) fn play(&self, sent: &[u8], plan: FaultPlan) -> Vec<u8> {
        let client = connect(&self.server, plan);
        let got = exchange(&client, sent, false);
        drop(client);
        self.nothing_is_left();
        undated(got)
    }

    #[track_caller]
    fn nothing_is_left(&self) {
        nothing_is_left(&self.server, &self.live, 2);
        assert_eq!(self.hub.connections(), 0);
        let [begun, ended] = [&self.told.begun, &self.told.ended].map(|n| n.load(Ordering::SeqCst));
        assert_eq!(begun, ended, "each is told of its end, once");
    }
}

/// A plan with many calls, in which something happens at one of them.
fn at(call: u64, happening: Happening) -> FaultPlan {
    FaultPlan {
        seed: call,
        read: 30,
        write: 9000,
        again: 10,
        at: Some((call, happening)),
        ..FaultPlan::default()
    }
}

#[test]
fn messages_are_the_same_under_every_plan() {
    let bench = Bench::start(PATIENCE);
    for (name, sent) in scenarios() {
        let wanted = bench.play(&sent, FaultPlan::default());
        let is_welcome = memchr::memmem::find(&wanted, b"welcome").is_some();
        assert_eq!(is_welcome, name != "a request", "{name}");
        same_under(plans(), &wanted, name, |plan| bench.play(&sent, plan));
    }
    end(bench.server);
}

#[test]
fn a_reset_at_any_call_is_reported_once() {
    let bench = Bench::start(PATIENCE);
    let mut resets = 0;
    for (name, sent) in scenarios() {
        let wanted = bench.play(&sent, FaultPlan::default());
        for call in 1.. {
            let plan = at(call, Happening::Reset);
            let calls = plan.calls.clone();
            let got = bench.play(&sent, plan);
            assert!(wanted.starts_with(&got), "{name}: reset at {call}");
            if calls.load(Ordering::SeqCst) < call {
                assert!(got == wanted, "{name} without a reset");
                break;
            }
            resets += 1;
        }
    }
    assert!(resets > 50, "only {resets} resets");
    end(bench.server);
}

/// RFC 6455 section 7.4.1: 1011, as when a hook panics.
const HOOK_PANICKED: &[u8] = b"\x88\x02\x03\xf3";

/// A panic in the library ends its connection, and the handler gets the disconnect hook. A hook that sends
/// may be the one that panics.
#[test]
fn a_panic_at_any_call_is_reported_once() {
    let bench = Bench::start(PATIENCE);
    let mut panics = 0;
    for (name, sent) in scenarios() {
        let wanted = bench.play(&sent, FaultPlan::default());
        for call in 1.. {
            let plan = at(call, Happening::Panic);
            let calls = plan.calls.clone();
            let got = bench.play(&sent, plan);
            let of_hook = bench.server.counters().panics > 0;
            let begun = got.strip_suffix(HOOK_PANICKED).filter(|_| of_hook);
            let begun = wanted.starts_with(begun.unwrap_or(&got));
            assert!(begun, "{name}: panic at {call}: {}", short(&got));
            if calls.load(Ordering::SeqCst) < call {
                assert!(got == wanted, "{name} without a panic");
                break;
            }
            panics += 1;
            let next = bench.play(&sent, FaultPlan::default());
            assert!(next == wanted, "{name}: after {call}: {}", short(&next));
        }
    }
    assert!(panics > 50, "only {panics} panics");
    let counters = bench.server.counters();
    assert_eq!(counters.internal_errors + counters.panics, panics);
    end(bench.server);
}

#[test]
fn a_stop_at_any_call_ends_every_connection() {
    for (name, sent) in scenarios() {
        for call in 1.. {
            let bench = Bench::start(PATIENCE);
            let control = bench.server.control.clone();
            let plan = at(call, Happening::Call(Box::new(move || control.stop())));
            let calls = plan.calls.clone();
            let client = connect(&bench.server, plan);
            let got = exchange(&client, &sent, false);
            drop(client);
            assert!(
                got.starts_with(b"HTTP/1.1 "),
                "{name}, {call}: {}",
                short(&got)
            );
            end(bench.server);
            wait_until("its threads have ended", || {
                Arc::strong_count(&bench.live) == 1
            });
            let [begun, ended] =
                [&bench.told.begun, &bench.told.ended].map(|n| n.load(Ordering::SeqCst));
            assert_eq!(begun, ended, "{name}, stopped at {call}");
            if calls.load(Ordering::SeqCst) < call {
                break;
            }
        }
    }
}

#[test]
fn a_call_without_memory_is_made_again() {
    let bench = Bench::start(PATIENCE);
    let wanted = scenarios().into_iter().map(|(name, sent)| {
        let wanted = bench.play(&sent, FaultPlan::default());
        (name, sent, wanted)
    });
    let mut waiting = Vec::new();
    for (name, sent, wanted) in wanted.collect::<Vec<_>>() {
        for call in 1..6 {
            let plan = FaultPlan {
                at: Some((call, Happening::Starve(1))),
                ..FaultPlan::default()
            };
            let mut client = connect(&bench.server, plan);
            client.write_all(&sent).expect("sent");
            waiting.push((name, call, client, wanted.clone()));
        }
    }
    for (name, call, client, wanted) in waiting {
        let got = undated(read_all(&client));
        assert!(got == wanted, "{name} at {call}: {}", short(&got));
    }
    bench.nothing_is_left();
    end(bench.server);
}

/// A client that violated the protocol gets time to read the reason. Messages that others send meanwhile do
/// not make this time longer.
#[test]
fn lingering_is_not_made_longer_by_what_others_send() {
    let bench = Bench::start(Duration::from_secs(1));
    let mut client = connect(&bench.server, FaultPlan::default());
    let sent = [
        format!("{HANDSHAKE}\r\n").into_bytes(),
        frame(TEXT, b"\xff"),
    ]
    .concat();
    client.write_all(&sent).expect("sent");
    // The client has read everything, and keeps the connection open.
    let mut all = Vec::new();
    client.read_to_end(&mut all).expect("an end");
    wait_until("it is closed", || {
        bench.hub.broadcast("to all");
        bench.server.counters().closed == 1
    });
    bench.nothing_is_left();
    end(bench.server);
}

/// A process that is suspended for longer than its timeouts. A message that has arrived meanwhile, and takes
/// more than one read, is in time.
#[test]
fn a_message_that_has_arrived_is_read_before_its_rate_is_checked() {
    use crate::http::handler::from_fn;
    use std::sync::{Mutex, mpsc};
    use std::time::Instant;

    struct Suspending<H> {
        handler: H,
        told: Mutex<mpsc::Sender<()>>,
        suspended: Mutex<mpsc::Receiver<()>>,
    }

    impl<H: Handler> Handler for Suspending<H> {
        fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
            self.handler.handle_request(req, res)
        }
    }

    impl<H: Handler> WebSocketHandler for Suspending<H> {
        type Conn = ();

        fn accept_ws(&self, _: &Request<'_>, _: &mut Upgrade<'_>) -> Option<()> {
            Some(())
        }

        fn handle_ws_frame(&self, ws: &mut Ws<'_, ()>, message: Message<'_>) {
            if message.as_text() == Some("suspend") {
                let tell = self.told.lock().expect("no panic");
                tell.send(()).expect("the test listens");
                let _ = self.suspended.lock().expect("no panic").recv();
            }
            ws.send(message.as_bytes().len().to_string().as_str());
        }
    }

    let (told, tells) = mpsc::channel();
    let (release, suspended) = mpsc::channel::<()>();
    let app = Suspending {
        handler: from_fn(|_: &Request<'_>, res: Response<'_>| res.text("no WebSocket")),
        told: Mutex::new(told),
        suspended: Mutex::new(suspended),
    };
    let mut config = config(Limits::default());
    config.ws_threads = 1;
    // One read returns too few bytes for the time that has passed.
    config.ws_limits.message_grace = Duration::from_secs(1);
    config.ws_limits.message_rate = 100_000;
    let server = Server::new(app).websocket().config(config);
    let server = server
        .bind("127.0.0.1:0")
        .start_over::<Faulty>()
        .expect("a server");
    let handshake = format!("{HANDSHAKE}\r\n");
    let open = || {
        let mut client = connect(&server, FaultPlan::default());
        client.write_all(handshake.as_bytes()).expect("sent");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.read_exact(&mut byte).expect("a head");
            head.push(byte[0]);
        }
        client
    };
    let (mut slow, mut suspends) = (open(), open());
    slow.write_all(&frame(0x02, &[b'x'; 50_000])).expect("sent");
    slow.write_all(&frame(0x8a, b"")).expect("sent");
    // It has been read when the other one has been read.
    wait_until("the message is under way", || {
        server.counters().bytes_read > 50_000
    });
    suspends.write_all(&frame(TEXT, b"suspend")).expect("sent");
    tells.recv_timeout(PATIENCE).expect("it is suspended");
    let since = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for first in [0x00, 0x00, 0x80] {
                let _ = slow.write_all(&frame(first, &[b'x'; 50_000]));
            }
        });
        wait_until("all limits have passed", || {
            since.elapsed() > Duration::from_secs(4)
        });
        drop(release);
    });
    for (client, wanted) in [
        (&mut slow, b"\x82\x06200000"),
        (&mut suspends, b"\x81\x01700000"),
    ] {
        let mut got = vec![0; 2 + usize::from(wanted[1])];
        client.read_exact(&mut got).expect("a message");
        assert_eq!(got[2..], wanted[2..got.len()], "{}", short(&got));
        client
            .write_all(&frame(CLOSE, &[0x03, 0xe8]))
            .expect("sent");
    }
    drop((slow, suspends));
    end(server);
}
