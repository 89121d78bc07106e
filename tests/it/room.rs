//! The method of the example `room`: clients that come while others send messages miss nothing and get
//! nothing twice.

#[path = "../../examples/room/room.rs"]
mod recipe;

use super::support::{Client, OnOwnAddr, PATIENCE, Stream, ended, workers};
use peregrine::Server;
use peregrine::history::Position;
use peregrine::ws::Hub;
use recipe::Room;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

const CLIENTS: usize = 20;
/// Fewer than the room keeps.
const KEPT: u64 = 900;
const EACH: usize = 20;

/// The positions that a page gets until it has `EACH` messages or more.
fn over_events(addr: std::net::SocketAddr, seen: &str) -> Vec<Position> {
    let mut client = Client::connect(addr);
    let id = match seen {
        "" => String::new(),
        seen => format!("Last-Event-ID: {seen}\r\n"),
    };
    client.send(format!("GET /events HTTP/1.1\r\nHost: a\r\n{id}\r\n"));
    let (_, _) = client.head();
    let mut positions = Vec::new();
    while positions.len() < EACH {
        let chunk = String::from_utf8(client.chunk()).expect("text");
        assert!(!chunk.contains("event: lost"), "{chunk}");
        for event in chunk.split_inclusive("\n\n") {
            // One without data is no message.
            if event.contains("data: ") {
                let id = event.lines().find_map(|line| line.strip_prefix("id: "));
                positions.push(id.expect("an id").parse().expect("a position"));
            }
        }
    }
    positions
}

fn over_websocket(addr: std::net::SocketAddr, seen: &str) -> Vec<Position> {
    let stream = Stream::connect(addr).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let url = format!("ws://{addr}/ws?after={seen}");
    let (mut client, _) = tungstenite::client(url, stream).expect("a WebSocket");
    let mut positions = Vec::new();
    while positions.len() < EACH {
        let message = client.read().expect("a message");
        let text = message.to_text().expect("text");
        let (position, rest) = text.split_once('\t').expect("three parts");
        match rest.split_once('\t').expect("three parts").0 {
            "message" => positions.push(position.parse().expect("a position")),
            kind => assert_eq!(kind, "current"),
        }
    }
    positions
}

/// Ends those who say something, also when the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn history_and_new_events_have_no_gap() {
    let hub = Hub::new();
    let room = Arc::new(Room::new(&hub));
    let server = Server::new(room.clone()).websocket().with_hub(&hub);
    let server = server.config(workers(2)).on_own_addr();
    let server = server.start().expect("a server");
    let addr = server.local_addr().expect("an address");
    let is_over = AtomicBool::new(false);
    let (said, seen_least) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    // Fewer than the room keeps, however slow the clients are.
                    if said.load(Ordering::Relaxed) < seen_least.load(Ordering::Relaxed) + KEPT {
                        said.fetch_add(1, Ordering::Relaxed);
                        room.say("something");
                    }
                    thread::yield_now();
                }
            });
        }
        let _over = Over(&is_over);
        let mut seen = [None::<Position>; 2];
        for _ in 0..CLIENTS {
            for (n, ask) in [over_events, over_websocket].iter().enumerate() {
                let last = seen[n].map_or(String::new(), |seen| seen.to_string());
                let positions = ask(addr, &last);
                let first = seen[n].map_or(positions[0].offset, |seen| seen.offset + 1);
                let offsets: Vec<_> = positions.iter().map(|at| at.offset).collect();
                let expected: Vec<_> = (first..first + offsets.len() as u64).collect();
                assert_eq!(offsets, expected);
                seen[n] = positions.last().copied();
                let least = seen.map(|seen| seen.map_or(0, |seen| seen.offset));
                seen_least.store(least[0].min(least[1]), Ordering::Relaxed);
            }
        }
    });
    server.stop();
    ended(server);
}
