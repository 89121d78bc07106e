//! The method of the example `room`: clients that come while others send messages miss nothing and get
//! nothing twice.

#[path = "../../examples/room/room.rs"]
mod recipe;

use super::support::{Client, OnOwnAddr, PATIENCE, Stream, ended, workers};
use peregrine::Server;
use recipe::Room;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const CLIENTS: usize = 20;
const EACH: u64 = 20;

/// The numbers that a page gets until it has `EACH` of them.
fn over_events(addr: std::net::SocketAddr, seen: u64) -> Vec<u64> {
    let mut client = Client::connect(addr);
    client.send(format!(
        "GET /events HTTP/1.1\r\nHost: a\r\nLast-Event-ID: {seen}\r\n\r\n"
    ));
    let (_, _) = client.head();
    let mut numbers = Vec::new();
    while (numbers.len() as u64) < EACH {
        let chunk = String::from_utf8(client.chunk()).expect("text");
        let ids = chunk.lines().filter_map(|line| line.strip_prefix("id: "));
        numbers.extend(ids.map(|id| id.parse::<u64>().expect("a number")));
    }
    numbers
}

fn over_websocket(addr: std::net::SocketAddr, seen: u64) -> Vec<u64> {
    let stream = Stream::connect(addr).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let url = format!("ws://{addr}/ws?after={seen}");
    let (mut client, _) = tungstenite::client(url, stream).expect("a WebSocket");
    let next = || {
        let message = client.read().expect("a message");
        let (number, _) = message.to_text().expect("text").split_once('\t')?;
        number.parse::<u64>().ok()
    };
    std::iter::from_fn(next).take(EACH as usize).collect()
}

/// Otherwise it would stay open without messages.
#[test]
fn one_that_could_not_be_subscribed_is_closed() {
    let room = Arc::new(Room::default());
    let server = Server::new(room.clone()).websocket();
    room.set_hub(server.hub());
    let mut config = workers(1);
    config.ws_mailbox_bytes = 60;
    let server = server.config(config).on_own_addr();
    let server = server.start().expect("a server");
    let addr = server.local_addr().expect("an address");
    let stream = Stream::connect(addr).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let (mut client, _) =
        tungstenite::client(format!("ws://{addr}/ws"), stream).expect("a WebSocket");
    let message = client.read().expect("a close");
    assert!(message.is_close(), "{message}");
    server.stop();
    ended(server);
}

#[test]
fn history_and_new_events_have_no_gap() {
    let room = Arc::new(Room::default());
    let server = Server::new(room.clone()).websocket();
    room.set_hub(server.hub());
    let server = server.config(workers(2)).on_own_addr();
    let server = server.start().expect("a server");
    let addr = server.local_addr().expect("an address");
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    room.say("something");
                    thread::yield_now();
                }
            });
        }
        let mut seen = [0; 2];
        for _ in 0..CLIENTS {
            for (n, ask) in [over_events, over_websocket].iter().enumerate() {
                let numbers = ask(addr, seen[n]);
                // What is too old is not kept.
                let first = numbers[0];
                let expected: Vec<_> = (first..first + numbers.len() as u64).collect();
                assert_eq!(numbers, expected);
                assert!(first > seen[n]);
                seen[n] = *numbers.last().expect("some");
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
    server.stop();
    ended(server);
}
