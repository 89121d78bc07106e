//! WebSockets while all connections together hold too much memory.

use super::support::{Asked, Client, wait_until};
use super::ws_sockets::{bench, config};
use std::io::Write;
use std::time::Duration;
use tungstenite::Message;

const KIB: usize = 1 << 10;

#[test]
fn above_the_budget_nothing_new_begins() {
    let mut config = config(1);
    config.buffered_bytes = 100 * KIB;
    let bench = bench(config);
    let mut small = bench.connect("/echo");
    let mut large = bench.connect("/echo");
    bench.wait_for(2);

    let mut holder = Client::connect(bench.addr);
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n";
    holder.send(head);
    holder.send(vec![b'x'; 100 * KIB]);
    wait_until("it is over", || {
        Client::connect(bench.addr).get("/").status == 503
    });
    let mut new = Client::connect(bench.addr);
    new.send(
        "GET /echo HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let answer = new.answer(Asked::Other);
    assert_eq!((answer.status, answer.get("retry-after")), (503, Some("1")));

    // What needs no memory beyond its turn goes on.
    small.send(Message::text("still here")).expect("sent");
    assert_eq!(small.read().expect("an echo").to_string(), "still here");
    // A frame of 32 KiB, and 8 of them.
    let mut begun = vec![0x82, 0xfe, 0x80, 0, 0, 0, 0, 0];
    begun.resize(8 * KIB, 0);
    large.get_mut().stream.write_all(&begun).expect("sent");
    let Message::Close(Some(close)) = large.read().expect("a frame") else {
        panic!("no close");
    };
    assert_eq!(u16::from(close.code), 1013);

    drop(holder);
    wait_until("it is over no more", || {
        Client::connect(bench.addr).get("/").status == 200
    });
    let text = "x".repeat(20 * KIB);
    small.send(Message::text(&text)).expect("sent");
    assert!(small.read().expect("an echo").to_string() == text);
}

/// A connection with an incomplete message is closed with 1013. One that takes none of its messages is reset.
#[test]
fn connections_without_progress_are_closed_to_make_room() {
    let mut config = config(1);
    config.buffered_bytes = 256 * KIB;
    config.limits.stall_timeout = Duration::ZERO;
    let bench = bench(config);
    let mut small = bench.connect("/echo");
    let mut half = bench.connect("/echo");
    bench.wait_for(2);
    // A frame of 1,000,000 bytes, and as many of them as make it hold half a megabyte.
    let mut begun = vec![0x82, 0xff, 0, 0, 0, 0, 0, 0x0f, 0x42, 0x40, 0, 0, 0, 0];
    begun.resize(300 * KIB, 0);
    half.get_mut().stream.write_all(&begun).expect("sent");
    let Message::Close(Some(close)) = half.read().expect("a frame") else {
        panic!("no close");
    };
    assert_eq!(u16::from(close.code), 1013);
    wait_until("there is room", || {
        Client::connect(bench.addr).get("/").status == 200
    });
    small.send(Message::text("still here")).expect("sent");
    assert_eq!(small.read().expect("an echo").to_string(), "still here");
}
