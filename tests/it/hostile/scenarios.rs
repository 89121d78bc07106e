//! Who attacks how, and what ends it.

use super::crowd::{End, Leave, Script, Takes, Then};
use super::polite::Kind;
use std::net::Ipv4Addr;
use std::sync::Arc;

pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// What the clients do.
    pub(crate) load: &'static str,
    /// The limit that ends it.
    pub(crate) limit: &'static str,
    pub(crate) count: usize,
    /// Open at a time.
    pub(crate) at_once: usize,
    /// The script of each.
    pub(crate) script: fn(usize) -> Script,
    /// Bytes of memory that each may make the server hold, of the buffers of SECURITY.md.
    pub(crate) bytes: usize,
    /// What all of them ask for when they have been silent for a while.
    pub(crate) burst: Option<&'static str>,
    pub(crate) polite: &'static [Kind],
    /// Where all of them come from, if that matters.
    pub(crate) from: Option<Ipv4Addr>,
    /// Waits for a limit for most of its time, so that others can be run beside it.
    pub(crate) waits: bool,
}

const ALL: &[Kind] = &[Kind::Kept, Kind::Fresh, Kind::Echo];
const KIB: usize = 1 << 10;
/// A connection without a buffer.
const IDLE: usize = KIB;
/// One whose head or body is coming in.
const INPUT: usize = IDLE + 20 * KIB;

const PLAIN: Scenario = Scenario {
    name: "",
    load: "",
    limit: "",
    count: 1000,
    at_once: usize::MAX,
    script: head,
    bytes: INPUT,
    burst: None,
    polite: ALL,
    from: None,
    waits: false,
};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "head",
        load: "dribble a head, 1 B/s",
        limit: "head_time",
        script: head,
        waits: true,
        ..PLAIN
    },
    Scenario {
        name: "body",
        load: "dribble a body, 1 B/s; half in chunks",
        limit: "body_grace, body_rate",
        script: body,
        waits: true,
        ..PLAIN
    },
    Scenario {
        name: "slow-files",
        load: "take 64 MiB at 1 B/s or not at all; from a file, from memory",
        limit: "write_time",
        script: slow_files,
        bytes: IDLE + 64 * KIB,
        waits: true,
        ..PLAIN
    },
    Scenario {
        name: "slow-streams",
        load: "take 64 MiB at 1 B/s or not at all; drawn, pushed",
        limit: "write_time",
        script: slow_streams,
        bytes: IDLE + 320 * KIB,
        waits: true,
        ..PLAIN
    },
    Scenario {
        name: "idle",
        load: "idle, a burst of requests on all, idle",
        limit: "idle_time",
        count: 10_000,
        script: idle,
        bytes: IDLE,
        burst: Some("GET /burst HTTP/1.1\r\nHost: a\r\n\r\n"),
        waits: true,
        ..PLAIN
    },
    Scenario {
        name: "connects",
        load: "connect; close, reset, half a request and reset, a request and reset",
        limit: "-",
        count: 20_000,
        at_once: 1000,
        script: connects,
        ..PLAIN
    },
    Scenario {
        name: "half-closed",
        load: "shut down after nothing, half a head, half a body, a request",
        limit: "-",
        count: 20_000,
        at_once: 1000,
        script: half_closed,
        ..PLAIN
    },
    Scenario {
        name: "headers",
        load: "100 fields; 20 KB of one; 20 KB of target; a field without end",
        limit: "header_fields, head_bytes, target_bytes",
        count: 20_000,
        at_once: 1000,
        script: headers,
        ..PLAIN
    },
    Scenario {
        name: "pipelined",
        load: "pipeline without end, read nothing",
        limit: "output_bytes, write_time",
        count: 200,
        script: pipelined,
        bytes: INPUT + 2 * 320 * KIB,
        waits: true,
        ..PLAIN
    },
    Scenario {
        name: "ws-unmasked",
        load: "an unmasked frame",
        limit: "RFC 6455 section 5.1",
        count: 20_000,
        at_once: 1000,
        script: unmasked,
        bytes: IDLE + 64 * KIB,
        ..PLAIN
    },
    Scenario {
        name: "ws-oversize",
        load: "a frame of 2 MiB; a message without end",
        limit: "frame_bytes, message_bytes",
        count: 1000,
        at_once: 200,
        script: oversize,
        bytes: IDLE + 2 * 1024 * KIB,
        ..PLAIN
    },
    Scenario {
        name: "ws-fragments",
        load: "empty fragments without end",
        limit: "fragments",
        count: 5000,
        at_once: 1000,
        script: fragments,
        bytes: IDLE + 64 * KIB,
        ..PLAIN
    },
    Scenario {
        name: "ws-pings",
        load: "pings without end",
        limit: "control_frames",
        count: 5000,
        at_once: 1000,
        script: pings,
        bytes: IDLE + 64 * KIB,
        ..PLAIN
    },
    Scenario {
        name: "ws-floods",
        load: "messages to be echoed without end, read nothing",
        limit: "backlog_mark, write_time",
        count: 200,
        script: echoes,
        bytes: IDLE + (64 + 2 * 320) * KIB,
        waits: true,
        ..PLAIN
    },
    Scenario {
        name: "ws-silent",
        load: "answer no ping",
        limit: "idle_time, pong_time",
        script: silent,
        bytes: IDLE + 4 * KIB,
        waits: true,
        ..PLAIN
    },
    Scenario {
        name: "ws-feed",
        load: "subscribe to a busy topic, read nothing",
        limit: "backlog_bytes",
        count: 200,
        script: subscribers,
        bytes: IDLE + 2 * 2048 * KIB,
        polite: &[Kind::Kept, Kind::Fresh, Kind::Feed],
        ..PLAIN
    },
    Scenario {
        name: "one-address",
        load: "take all places: a WebSocket, half a head, half a body, idle",
        limit: "connections_per_address",
        count: 8000,
        script: takers,
        bytes: INPUT,
        from: Some(ONE_ADDRESS),
        waits: true,
        ..PLAIN
    },
    Scenario {
        name: "slow-requests",
        load: "pipeline 64 requests of 5 ms",
        limit: "turn_time",
        count: 60,
        at_once: 4,
        script: slow_requests,
        ..PLAIN
    },
    Scenario {
        name: "files",
        load: "pipeline requests for files, read nothing",
        limit: "output_files, write_time",
        count: 200,
        script: files,
        bytes: INPUT + 320 * KIB,
        waits: true,
        ..PLAIN
    },
];

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

fn idle(_: usize) -> Script {
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

fn pipelined(_: usize) -> Script {
    let requests = get("/pipelined").repeat(1000).into_bytes();
    script("", Then::Floods(requests.into()), Takes::Nothing, End::Cut)
}

/// Those beyond the limit are turned away, the others end by theirs.
fn takers(i: usize) -> Script {
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

fn slow_requests(_: usize) -> Script {
    let then = Then::Leaves {
        answers: 64,
        by: Leave::Close,
    };
    script(get("/slow").repeat(64), then, Takes::All, End::Left)
}

fn files(_: usize) -> Script {
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

fn oversize(i: usize) -> Script {
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

fn fragments(_: usize) -> Script {
    let rest = frame(0, b"").repeat(1000);
    ws(
        "/echo",
        &frame(1, b""),
        Then::Floods(rest.into()),
        Takes::All,
        End::Code(1008),
    )
}

fn pings(_: usize) -> Script {
    floods(
        frame(0x89, b"ping").repeat(100),
        Takes::All,
        End::Code(1008),
    )
}

fn echoes(_: usize) -> Script {
    floods(
        frame(0x82, &[b'x'; 1000]).repeat(60),
        Takes::Nothing,
        End::Cut,
    )
}

fn silent(_: usize) -> Script {
    ws("/echo", b"", Then::Waits, Takes::All, End::Cut)
}

fn subscribers(_: usize) -> Script {
    ws("/feed", b"", Then::Waits, Takes::Nothing, End::Cut)
}
