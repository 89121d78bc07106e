//! What the clients of each scenario send, and what they expect.

use super::script::{End, Leave, Script, Takes, Then};
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Not exempt from the limit by address, in these tests.
pub(crate) const ONE_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

pub(crate) fn script(first: impl Into<Vec<u8>>, then: Then, takes: Takes, expects: End) -> Script {
    Script {
        first: first.into().into(),
        then,
        takes,
        expects,
    }
}

pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

pub(crate) fn head(_: usize) -> Script {
    let first = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
    script(first, Then::Dribbles(b"a"), Takes::All, End::Status(408))
}

pub(crate) fn body(i: usize) -> Script {
    let framing = [
        "Content-Length: 100000\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n8000\r\n",
    ];
    let first = format!("POST /echo HTTP/1.1\r\nHost: a\r\n{}", framing[i % 2]);
    script(first, Then::Dribbles(b"a"), Takes::All, End::Status(408))
}

fn slow(i: usize, paths: [&str; 2]) -> Script {
    let takes = [Takes::Slowly, Takes::Nothing][i / 2 % 2];
    script(get(paths[i % 2]), Then::Waits, takes, End::Cut)
}

pub(crate) fn slow_files(i: usize) -> Script {
    slow(i, ["/file", "/memory"])
}

pub(crate) fn slow_streams(i: usize) -> Script {
    slow(i, ["/drawn", "/pushed"])
}

pub(crate) fn idle(_: usize) -> Script {
    script("", Then::Waits, Takes::All, End::Answered(1))
}

pub(crate) fn connects(i: usize) -> Script {
    let (first, by) = match i % 4 {
        0 => (String::new(), Leave::Close),
        1 => (String::new(), Leave::Reset),
        2 => ("GET / HTTP/1.1\r\nHo".to_owned(), Leave::Reset),
        _ => (get("/memory"), Leave::Reset),
    };
    script(
        first,
        Then::Leaves { answers: 0, by },
        Takes::All,
        End::Left,
    )
}

pub(crate) fn half_closed(i: usize) -> Script {
    let (first, expects) = match i % 4 {
        0 => (String::new(), End::Cut),
        1 => ("GET / HTTP/1.1\r\nHo".to_owned(), End::Cut),
        2 => {
            let post = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf";
            (post.to_owned(), End::Cut)
        }
        _ => (get("/"), End::Answered(1)),
    };
    script(first, Then::HalfCloses, Takes::All, expects)
}

pub(crate) fn headers(i: usize) -> Script {
    let line = "GET / HTTP/1.1\r\nHost: a\r\n";
    let (first, then, status) = match i % 4 {
        0 => (
            line.to_owned() + &"X: y\r\n".repeat(100) + "\r\n",
            Then::Waits,
            431,
        ),
        1 => (
            format!("{line}X: {}\r\n\r\n", "y".repeat(20_000)),
            Then::Waits,
            431,
        ),
        2 => (
            get(&("/".to_owned() + &"y".repeat(20_000))),
            Then::Waits,
            414,
        ),
        _ => {
            let endless: Arc<[u8]> = [b'y'; 4096].into();
            (format!("{line}X: "), Then::Floods(endless), 431)
        }
    };
    script(first, then, Takes::All, End::Status(status))
}

pub(crate) fn pipelined(_: usize) -> Script {
    let requests = get("/pipelined").repeat(1000).into_bytes();
    script("", Then::Floods(requests.into()), Takes::Nothing, End::Cut)
}

/// Connections beyond the limit are turned away. The others end by their own limit.
pub(crate) fn takers(i: usize) -> Script {
    let taker = match i % 4 {
        0 => ws("/echo", b"", Then::Waits, Takes::All, End::Somehow),
        1 => head(i),
        2 => body(i),
        _ => script(get("/"), Then::Waits, Takes::All, End::Somehow),
    };
    Script {
        expects: End::Somehow,
        ..taker
    }
}

pub(crate) fn slow_requests(_: usize) -> Script {
    let then = Then::Leaves {
        answers: 64,
        by: Leave::Close,
    };
    script(get("/slow").repeat(64), then, Takes::All, End::Left)
}

pub(crate) fn files(_: usize) -> Script {
    let requests = get("/part").repeat(1000).into_bytes();
    script("", Then::Floods(requests.into()), Takes::Nothing, End::Cut)
}

/// The handshake, and frames behind it.
pub(crate) fn ws(path: &str, frames: &[u8], then: Then, takes: Takes, expects: End) -> Script {
    let handshake = format!(
        "GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    script(
        [handshake.as_bytes(), frames].concat(),
        then,
        takes,
        expects,
    )
}

/// A client's frame, with a mask that changes nothing.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let len = payload.len();
    let mut frame = match u8::try_from(len) {
        Ok(short) if short < 126 => vec![first, 0x80 | short],
        _ => {
            let long = u16::try_from(len).expect("less than 64 KiB");
            [&[first, 0x80 | 126], &long.to_be_bytes()[..]].concat()
        }
    };
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

fn floods(frames: Vec<u8>, takes: Takes, expects: End) -> Script {
    ws("/echo", b"", Then::Floods(frames.into()), takes, expects)
}

pub(crate) fn unmasked(_: usize) -> Script {
    ws(
        "/echo",
        b"\x81\x02hi",
        Then::Waits,
        Takes::All,
        End::Code(1002),
    )
}

pub(crate) fn oversize(i: usize) -> Script {
    let expects = End::Code(1009);
    match i % 2 {
        0 => {
            // Announced, and some of it.
            let mut large = [&[0x82, 0x80 | 127], &(2u64 << 20).to_be_bytes()[..]].concat();
            large.extend_from_slice(&[0; 1000]);
            ws("/echo", &large, Then::Waits, Takes::All, expects)
        }
        _ => {
            let rest = frame(0, &[b'x'; 32 << 10]);
            ws(
                "/echo",
                &frame(2, b""),
                Then::Floods(rest.into()),
                Takes::All,
                expects,
            )
        }
    }
}

pub(crate) fn fragments(_: usize) -> Script {
    let rest = frame(0, b"").repeat(1000);
    ws(
        "/echo",
        &frame(1, b""),
        Then::Floods(rest.into()),
        Takes::All,
        End::Code(1008),
    )
}

pub(crate) fn pings(_: usize) -> Script {
    floods(
        frame(0x89, b"ping").repeat(100),
        Takes::All,
        End::Code(1008),
    )
}

pub(crate) fn echoes(_: usize) -> Script {
    floods(
        frame(0x82, &[b'x'; 1000]).repeat(60),
        Takes::Nothing,
        End::Cut,
    )
}

/// The last ones are refused, the others aborted.
pub(crate) fn fresh(_: usize) -> Script {
    script(get("/fresh"), Then::Waits, Takes::Slowly, End::Somehow)
}

pub(crate) fn pages(_: usize) -> Script {
    let requests = get("/page").repeat(40);
    script(requests, Then::Waits, Takes::Slowly, End::Somehow)
}

pub(crate) fn half_messages(_: usize) -> Script {
    half_message(4186, Then::Waits)
}

pub(crate) fn messages_one_byte_at_a_time(_: usize) -> Script {
    half_message(100, Then::Dribbles(b"x"))
}

/// Just often enough for a limit of 30 s without a byte.
const RARELY: Then = Then::DribblesEvery(29, b"x");

/// A head, a body, a message, a byte between two requests.
pub(crate) fn rarely(i: usize) -> Script {
    let after = "GET /in HTTP/1.1\r\nHost: a\r\n\r\n";
    match i % 4 {
        0 => script(
            "GET / HTTP/1.1\r\nHost: a\r\nX: ",
            RARELY,
            Takes::All,
            End::Status(408),
        ),
        1 => {
            let post = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n";
            script(post, RARELY, Takes::All, End::Status(408))
        }
        2 => half_message(100, RARELY),
        // Half a head behind a response.
        _ => script(after, RARELY, Takes::All, End::Somehow),
    }
}

/// A request each, on a connection of its own.
pub(crate) fn hurries(_: usize) -> Script {
    let leaves = Then::Leaves {
        answers: 1,
        by: Leave::Close,
    };
    script(get("/in"), leaves, Takes::All, End::Somehow)
}

/// So many bytes of a frame of 1 MiB.
fn half_message(len: usize, then: Then) -> Script {
    let mut half = [&[0x82, 0x80 | 127], &(1u64 << 20).to_be_bytes()[..]].concat();
    half.resize(len, 0);
    ws("/echo", &half, then, Takes::All, End::Code(1008))
}

pub(crate) fn silent(_: usize) -> Script {
    ws("/echo", b"", Then::Waits, Takes::All, End::Cut)
}

pub(crate) fn subscribers(_: usize) -> Script {
    ws("/feed", b"", Then::Waits, Takes::Nothing, End::Cut)
}

/// The first record of a client of TLS: whole, half, none; in the last case the rest drips.
#[cfg(feature = "tls-self-signed")]
pub(crate) fn half_handshakes(i: usize) -> Script {
    let hello = crate::support::session::hello();
    let (first, then) = match i % 4 {
        0 => (&hello[..0], Then::Waits),
        1 => (&hello[..hello.len() / 2], Then::Waits),
        2 => (&hello[..], Then::Waits),
        // More bytes are announced than come in time.
        _ => (&hello[..9], Then::Dribbles(b"\0")),
    };
    script(first, then, Takes::All, End::Somehow)
}

/// Has the server make its half of a handshake, which is nearly all of the work.
#[cfg(feature = "tls-self-signed")]
pub(crate) fn handshakes(_: usize) -> Script {
    // One for all: to make it takes the client as long as the server needs.
    static HELLO: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    let hello = HELLO.get_or_init(crate::support::session::hello);
    let then = Then::Leaves {
        answers: 1,
        by: Leave::Close,
    };
    script(hello.as_slice(), then, Takes::All, End::Left)
}

/// A message in records of a byte, one of a length that none may have, and no TLS at all.
#[cfg(feature = "tls-self-signed")]
pub(crate) fn records(i: usize) -> Script {
    let (first, then) = match i % 3 {
        0 => {
            let byte: Arc<[u8]> = [22, 3, 1, 0, 1, 0].repeat(100).into();
            (&[22, 3, 1, 0, 4, 1, 0, 0xff, 0xff][..], Then::Floods(byte))
        }
        1 => (&[22, 3, 1, 0xff, 0xff][..], Then::Waits),
        _ => (&[0; 100][..], Then::Waits),
    };
    script(first, then, Takes::All, End::Somehow)
}
