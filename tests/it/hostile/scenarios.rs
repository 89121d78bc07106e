//! The attacks, and what ends each.

use super::crowd::Attacks;
#[cfg(feature = "http2")]
use super::http2::{http2_rows, http2_windows};
use super::polite::Kind;
use super::script::Script;
use super::scripts::{
    ONE_ADDRESS, body, connects, echoes, files, fragments, fresh, half_closed, half_messages, head,
    headers, hurries, idle, messages_one_byte_at_a_time, oversize, pages, pings, pipelined, rarely,
    silent, slow_files, slow_requests, slow_streams, subscribers, takers, unmasked,
};
#[cfg(feature = "tls-self-signed")]
use super::scripts::{half_handshakes, handshakes, records};
use std::net::Ipv4Addr;

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
    /// Of the bytes that they send.
    pub(crate) attacks: Attacks,
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
    attacks: Attacks::Http,
    waits: false,
};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "head",
        load: "dribble a head, 1 B/s",
        limit: "head_timeout",
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
        limit: "write_timeout",
        script: slow_files,
        bytes: IDLE + 64 * KIB,
        waits: true,
        ..PLAIN
    },
    Scenario {
        name: "slow-streams",
        load: "take 64 MiB at 1 B/s or not at all; drawn, pushed",
        limit: "write_timeout",
        script: slow_streams,
        bytes: IDLE + 320 * KIB,
        waits: true,
        ..PLAIN
    },
    Scenario {
        name: "idle",
        load: "idle, a burst of requests on all, idle",
        limit: "idle_timeout",
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
        limit: "output_bytes, write_timeout",
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
        limit: "backlog_mark, write_timeout",
        count: 200,
        script: echoes,
        bytes: IDLE + (64 + 2 * 320) * KIB,
        waits: true,
        ..PLAIN
    },
    Scenario {
        name: "ws-silent",
        load: "answer no ping",
        limit: "idle_timeout, pong_timeout",
        script: silent,
        bytes: IDLE + 4 * KIB,
        waits: true,
        ..PLAIN
    },
    Scenario {
        name: "ws-feed",
        load: "subscribe to a busy topic, read nothing",
        limit: "backlog_bytes",
        // A buffer of 2 MiB that has to grow is 4 MiB, and is counted so: all of them fit into
        // `Config::buffered_bytes`, or others would get 503.
        count: 110,
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
        name: "one-address-again",
        load: "20,000 connections of one address, as fast as it can",
        limit: "connection_rate, connections_per_address",
        count: 20_000,
        script: hurries,
        from: Some(ONE_ADDRESS),
        ..PLAIN
    },
    Scenario {
        name: "rarely",
        load: "a byte in 29 s: of a head, a body, a message, behind a response",
        limit: "head_timeout, body_rate, message_rate",
        count: 4000,
        script: rarely,
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
        limit: "output_files, write_timeout",
        count: 200,
        script: files,
        bytes: INPUT + 320 * KIB,
        waits: true,
        ..PLAIN
    },
    Scenario {
        name: "budget-responses",
        load: "ask for 1 MiB that is made for it, take 1 B/s",
        limit: "buffered_bytes, stall_timeout, write_rate",
        count: 560,
        script: fresh,
        bytes: IDLE + 1100 * KIB,
        polite: &[Kind::Patient],
        waits: true,
        ..PLAIN
    },
    Scenario {
        name: "budget-pipelined",
        load: "pipeline 40 requests for 15 KB, take 1 B/s",
        limit: "buffered_bytes, stall_timeout, write_rate",
        count: 1150,
        script: pages,
        bytes: IDLE + 640 * KIB,
        polite: &[Kind::Patient],
        waits: true,
        ..PLAIN
    },
    Scenario {
        name: "budget-messages",
        load: "4 KiB of a message, and nothing more",
        limit: "message_grace, message_rate",
        count: 8400,
        script: half_messages,
        bytes: IDLE + 9 * KIB,
        polite: &[Kind::Patient],
        waits: true,
        ..PLAIN
    },
    Scenario {
        name: "ws-dribbles",
        load: "dribble a message, 1 B/s",
        limit: "message_grace, message_rate",
        script: messages_one_byte_at_a_time,
        bytes: IDLE + 4 * KIB,
        waits: true,
        ..PLAIN
    },
    #[cfg(feature = "http2")]
    Scenario {
        name: "http2-rows",
        load: "the attacks on HTTP/2 that are known, in turns",
        limit: "nuisances",
        count: 2900,
        at_once: 290,
        script: http2_rows,
        bytes: INPUT + 640 * KIB,
        polite: &[Kind::Kept, Kind::Fresh, Kind::Echo, Kind::Http2],
        attacks: Attacks::Http2,
        ..PLAIN
    },
    #[cfg(feature = "http2")]
    Scenario {
        name: "http2-windows",
        load: "100 large responses, windows of nothing, opened by a byte, never read; no acknowledgement",
        limit: "write_timeout, write_rate, head_timeout",
        count: 200,
        script: http2_windows,
        // The responses that wait, the largest one, and what producers have on their way.
        bytes: INPUT + (2 * 320 + 100 * 32) * KIB,
        polite: &[Kind::Kept, Kind::Fresh, Kind::Echo, Kind::Http2],
        attacks: Attacks::Http2,
        waits: true,
        ..PLAIN
    },
    #[cfg(feature = "tls-self-signed")]
    Scenario {
        name: "tls-half",
        load: "nothing, half of a hello, a hello, a hello at 1 B/s",
        limit: "tls_handshake_timeout",
        count: 20_000,
        at_once: 10_000,
        script: half_handshakes,
        bytes: IDLE + 12 * KIB,
        // Those that come meanwhile wait for their turn.
        polite: &[Kind::Kept, Kind::Echo],
        attacks: Attacks::Tls,
        waits: true,
        ..PLAIN
    },
    #[cfg(feature = "tls-self-signed")]
    Scenario {
        name: "tls-handshakes",
        load: "1,000 handshakes a second, beside 64 connections that are kept",
        limit: "4 steps in a turn",
        count: 10_000,
        at_once: 1000,
        script: handshakes,
        bytes: IDLE + 12 * KIB,
        polite: &[Kind::Kept; 64],
        attacks: Attacks::TlsInASecond(1000),
        ..PLAIN
    },
    #[cfg(feature = "tls-self-signed")]
    Scenario {
        name: "tls-records",
        load: "a hello in records of a byte, records that are too long, no TLS",
        limit: "bytes of a handshake",
        count: 5000,
        at_once: 500,
        script: records,
        bytes: INPUT,
        attacks: Attacks::Tls,
        ..PLAIN
    },
];
