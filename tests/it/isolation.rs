//! No byte of a request or response of one connection ever appears on another: clients that come and go as
//! fast as they can, each with a tag in all that it asks for, and every byte of every response looked at.
//!
//! What happens is drawn from a seed. `ISOLATION_SEED=n` takes another one, `ISOLATION_ROUNDS=n` does
//! so many times as much.

use super::support::{Asked, Client, OnOwnAddr, Random, ended, wait_until, workers};
use peregrine::body::{BodySink, Flow, Incoming};
use peregrine::{BodyPlan, Done, Handler, Request, Responder, Response, Server};
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

/// Clients at a time, and connections of each one after the other.
const CLIENTS: u64 = 4;
const CONNECTIONS: u64 = 250;

/// What belongs to a request and to no other: `len` bytes.
fn fill(tag: &str, len: usize) -> Vec<u8> {
    let all = format!("<{tag}>").into_bytes();
    all.into_iter().cycle().take(len).collect()
}

/// As [`fill`]; only where it is not so, which.
#[track_caller]
fn assert_filled(got: &[u8], tag: &str, len: usize) {
    let wanted = fill(tag, len);
    if got != wanted {
        let differs = |(a, b): (&u8, &u8)| a != b;
        let at = got.iter().zip(&wanted).position(differs);
        let at = at.unwrap_or(got.len().min(len));
        let around = &got[at.saturating_sub(20)..got.len().min(at + 40)];
        panic!(
            "{tag}: {} bytes instead of {len}, at {at}: {}",
            got.len(),
            around.escape_ascii()
        );
    }
}

// ------------------------------------------------------------------------------------ the server

type Job = Box<dyn FnOnce() + Send>;

struct App {
    /// Threads that do what is late, in another order than they were asked to.
    late: Mutex<Sender<Job>>,
}

impl App {
    fn later(&self, job: impl FnOnce() + Send + 'static) {
        let late = self.late.lock().expect("no panic");
        late.send(Box::new(job)).expect("a thread listens");
    }
}

/// Takes what there is, and does it in a drawn order.
fn shuffled(jobs: &Mutex<Receiver<Job>>, seed: u64) {
    let mut random = Random(seed);
    loop {
        let mut batch = Vec::new();
        {
            let jobs = jobs.lock().expect("no panic");
            let Ok(first) = jobs.recv() else { return };
            batch.push(first);
            batch.extend(jobs.try_iter().take(15));
        }
        while !batch.is_empty() {
            batch.swap_remove(random.below(batch.len()))();
        }
    }
}

/// What the tag and the length of the response are.
fn asked(req: &Request<'_>) -> (String, usize) {
    let tag = req.header("tag").expect("a tag");
    let tag = tag.to_owned();
    let len = req.query("len").expect("a length");
    (tag, len.parse().expect("a number"))
}

fn answer(tag: &str, len: usize, res: Response<'_>) -> Done {
    res.header("Tag", tag).send(fill(tag, len))
}

impl Handler for App {
    fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
        match req.path() {
            "/sink" => BodyPlan::stream(Gather(Vec::new())),
            _ => BodyPlan::Buffer,
        }
    }

    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        let (tag, len) = asked(req);
        match req.path() {
            "/post" => {
                assert_filled(req.body(), &tag, req.body().len());
                res.header("Tag", &tag).body(fill(&tag, len))
            }
            "/panic" => resume_unwind(Box::new(tag)),
            "/defer" => {
                let (done, responder) = res.header("Tag", &tag).defer();
                self.later(move || {
                    let _ = responder.send(|res| res.body(fill(&tag, len)));
                });
                done
            }
            "/lost" => {
                let (done, responder): (_, Responder) = res.header("Tag", &tag).defer();
                self.later(move || drop(responder));
                done
            }
            "/offload" => res.offload(req, |req, res| {
                let (tag, len) = asked(req);
                answer(&tag, len, res)
            }),
            "/stream" => {
                let (done, mut sender) = res.header("Tag", &tag).stream();
                self.later(move || {
                    let pieces = fill(&tag, len);
                    // As much as there is room for: the thread is needed for others.
                    for piece in pieces.chunks(len / 3 + 1) {
                        if sender.try_send(piece.to_vec()).is_err() {
                            return;
                        }
                    }
                    let _ = sender.finish();
                });
                done
            }
            "/iter" => {
                let tagged = res.header("Tag", &tag);
                let pieces = fill(&tag, len);
                let mut at = 0;
                tagged.send_iter(std::iter::from_fn(move || {
                    let piece = pieces.get(at..)?.iter().take(700).copied();
                    let piece: Vec<u8> = piece.collect();
                    at += piece.len().max(1);
                    Some(piece)
                }))
            }
            _ => answer(&tag, len, res),
        }
    }
}

/// Buffers a body and responds as the handler does.
struct Gather(Vec<u8>);

impl BodySink for Gather {
    fn piece(&mut self, piece: &[u8], _: &mut Incoming<'_>) -> Flow {
        self.0.extend_from_slice(piece);
        Flow::Continue
    }

    fn finish(self: Box<Self>, req: &Request<'_>, res: Response<'_>) -> Done {
        let (tag, len) = asked(req);
        assert_filled(&self.0, &tag, self.0.len());
        answer(&tag, len, res)
    }
}

// ----------------------------------------------------------------------------------- the clients

/// How a request ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Answer,
    /// 500, and the end of the connection.
    Failure,
}

struct Asks {
    tag: String,
    len: usize,
    end: End,
}

/// Draws a request and adds it to what is sent.
fn draw(random: &mut Random, tag: &str, sent: &mut Vec<u8>) -> Asks {
    const PATHS: [&str; 9] = [
        "/get", "/get", "/post", "/sink", "/defer", "/offload", "/stream", "/iter", "/post",
    ];
    let len = match random.below(12) {
        0 => 16_000 + random.below(40_000),
        _ => random.below(900),
    };
    let (path, end) = match random.below(40) {
        0 => ("/panic", End::Failure),
        1 => ("/lost", End::Failure),
        _ => (PATHS[random.below(PATHS.len())], End::Answer),
    };
    let body = match path {
        "/post" | "/sink" => fill(tag, random.below(2000)),
        _ => Vec::new(),
    };
    let target = format!("{path}?len={len}");
    match (body.is_empty(), random.below(2)) {
        (true, _) => {
            sent.extend(format!("GET {target} HTTP/1.1\r\nHost: a\r\nTag: {tag}\r\n\r\n").bytes())
        }
        (false, 0) => {
            let head = format!("POST {target} HTTP/1.1\r\nHost: a\r\nTag: {tag}\r\n");
            sent.extend(format!("{head}Content-Length: {}\r\n\r\n", body.len()).bytes());
            sent.extend(body);
        }
        (false, _) => {
            let head = format!("POST {target} HTTP/1.1\r\nTag: {tag}\r\nHost: a\r\n");
            sent.extend(format!("{head}Transfer-Encoding: chunked\r\n\r\n").bytes());
            for chunk in body.chunks(1 + random.below(800)) {
                sent.extend(format!("{:x}\r\n", chunk.len()).bytes());
                sent.extend(chunk);
                sent.extend(b"\r\n");
            }
            sent.extend(b"0\r\n\r\n");
        }
    }
    Asks {
        tag: tag.to_owned(),
        len,
        end,
    }
}

/// One connection: some requests at once, all or some of the responses, and one of several ends.
/// Returns how many responses were looked at.
fn play(addr: SocketAddr, tag: &str, random: &mut Random) -> u64 {
    let mut client = Client::connect(addr);
    let mut checked = 0;
    for round in 0..1 + random.below(3) {
        let mut sent = Vec::new();
        let count = 1 + random.below(6);
        let asks = (0..count).map(|n| draw(random, &format!("{tag}.{round}.{n}"), &mut sent));
        let asks: Vec<Asks> = asks.collect();
        match random.below(3) {
            0 => {
                let (one, two) = sent.split_at(random.below(sent.len()));
                client.send(one);
                client.send(two);
            }
            _ => client.send(sent),
        }
        let (wanted, leaves) = match random.below(6) {
            0 => (0, true),
            1 => (random.below(count), true),
            _ => (count, false),
        };
        for ask in &asks[..wanted] {
            let answer = client.answer(Asked::Other);
            checked += 1;
            if ask.end == End::Failure {
                assert_eq!(answer.status, 500, "{}", ask.tag);
                let text = "the server could not respond to this request\n";
                assert_eq!(answer.text(), text, "{}", ask.tag);
                return checked;
            }
            assert_eq!(answer.status, 200, "{}: {answer:?}", ask.tag);
            assert_eq!(answer.get("tag"), Some(ask.tag.as_str()));
            assert_filled(&answer.body, &ask.tag, ask.len);
        }
        if leaves {
            break;
        }
    }
    match random.below(4) {
        // In the middle of an upload.
        0 => {
            let half = format!("POST /sink?len=9 HTTP/1.1\r\nHost: a\r\nTag: {tag}\r\n");
            let half = format!("{half}Content-Length: 5000\r\n\r\n<{tag}");
            // The connection may have ended with a failure that was not looked at.
            let _ = std::io::Write::write_all(&mut client.stream, half.as_bytes());
            client.reset();
        }
        1 => client.reset(),
        _ => {}
    }
    checked
}

fn number(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).unwrap_or_default();
    text.parse().unwrap_or(default)
}

/// Starts threads for what is late, which end with the handler.
fn app(seed: u64) -> App {
    let (late, jobs) = channel();
    let jobs = Arc::new(Mutex::new(jobs));
    for n in 1..3 {
        let jobs = jobs.clone();
        thread::spawn(move || shuffled(&jobs, seed + n));
    }
    App {
        late: Mutex::new(late),
    }
}

/// Has all clients play, and returns how many responses were looked at.
fn all_play(play: impl Fn(&str, &mut Random) -> u64 + Sync) -> u64 {
    let seed = number("ISOLATION_SEED", 1);
    let connections = CONNECTIONS * number("ISOLATION_ROUNDS", 1);
    println!("ISOLATION_SEED={seed}, {CLIENTS} times {connections} connections");
    thread::scope(|scope| {
        let clients = (0..CLIENTS).map(|client| {
            let play = &play;
            scope.spawn(move || {
                let mut random =
                    Random((seed * CLIENTS + client + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
                let tags = (0..connections).map(|n| format!("{client}-{n}"));
                tags.map(|tag| play(&tag, &mut random)).sum::<u64>()
            })
        });
        let clients: Vec<_> = clients.collect();
        let checked = clients
            .into_iter()
            .map(|client| client.join().expect("no panic"));
        checked.sum()
    })
}

#[test]
fn no_byte_of_one_connection_appears_on_another() {
    let server = Server::new(app(1)).config(workers(2)).on_own_addr();
    let server = server.start().expect("a server");
    let addr = server.local_addr().expect("a TCP address");
    let checked = all_play(|tag, random| play(addr, tag, random));
    assert!(checked > CONNECTIONS, "only {checked} answers looked at");
    wait_until("all are closed", || {
        let counters = server.counters();
        counters.accepted == counters.closed
    });
    server.stop();
    let stopped = ended(server);
    assert_eq!(stopped.aborted, 0);
    println!("{checked} answers looked at, {}", stopped.counters.requests);
}

#[cfg(feature = "websocket")]
mod ws {
    use super::*;
    use peregrine::ws::{Message, Sent, Upgrade, WebSocketHandler, Ws};
    use tungstenite::{Message as Theirs, WebSocket};

    /// Every message of a client has its tag: it comes back three times, by three ways.
    impl WebSocketHandler for App {
        type Conn = String;

        fn accept_ws(&self, req: &Request<'_>, _: &mut Upgrade<'_>) -> Option<String> {
            req.query("tag").map(Into::into)
        }

        fn handle_ws_conn(&self, ws: &mut Ws<'_, String>) {
            let topic = ws.conn.clone();
            assert!(ws.subscribe(&topic).is_ok());
        }

        fn handle_ws_frame(&self, ws: &mut Ws<'_, String>, message: Message<'_>) {
            let bytes = message.as_bytes();
            assert_filled(bytes, ws.conn, bytes.len());
            assert_eq!(ws.send(message), Sent::Queued);
            let (hub, id, tag, again) =
                (ws.hub().clone(), ws.id(), ws.conn.clone(), bytes.to_vec());
            ws.publish(&tag, message);
            self.later(move || {
                hub.send(id, &again[..]);
            });
        }
    }

    /// Some messages, and one of several ends.
    fn chat(addr: SocketAddr, tag: &str, random: &mut Random) -> u64 {
        let stream = super::super::support::Stream::connect(addr).expect("a connection");
        let limit = Some(super::super::support::PATIENCE);
        stream.set_read_timeout(limit).expect("a socket");
        let url = format!("ws://{addr}/?tag={tag}");
        let (mut client, _) = tungstenite::client(url, stream).expect("a handshake");
        let mut checked = 0;
        for _ in 0..1 + random.below(4) {
            let len = match random.below(8) {
                0 => 16_000 + random.below(40_000),
                _ => random.below(700),
            };
            client.send(Theirs::binary(fill(tag, len))).expect("sent");
            if random.below(6) == 0 {
                break;
            }
            for _ in 0..3 {
                assert_filled(&message(&mut client), tag, len);
                checked += 1;
            }
        }
        match random.below(3) {
            0 => {
                let socket = socket2::SockRef::from(client.get_ref());
                socket
                    .set_linger(Some(std::time::Duration::ZERO))
                    .expect("a socket");
            }
            1 => client.close(None).expect("sent"),
            _ => {}
        }
        checked
    }

    fn message(client: &mut WebSocket<super::super::support::Stream>) -> Vec<u8> {
        match client.read().expect("a message") {
            Theirs::Binary(bytes) => bytes.to_vec(),
            other => panic!("no message of ours: {other:?}"),
        }
    }

    #[test]
    fn no_byte_of_a_websocket_appears_on_another() {
        let config = workers(2).ws_threads(2);
        let server = Server::new(app(2)).websocket().config(config);
        let server = server.on_own_addr().start().expect("a server");
        let addr = server.local_addr().expect("a TCP address");
        let checked = all_play(|tag, random| match random.below(2) {
            // Its slot may have been one of HTTP's a moment ago.
            0 => play(addr, tag, random),
            _ => chat(addr, tag, random),
        });
        assert!(checked > CONNECTIONS, "only {checked} looked at");
        wait_until("all are closed", || {
            let counters = server.counters();
            counters.accepted == counters.closed
        });
        server.stop();
        assert_eq!(ended(server).aborted, 0);
    }
}
