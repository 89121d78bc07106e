//! Each setting of QUIC and HTTP/3 at the ends of its range, with a client: it gets its response, or is refused, or its
//! connection ends. Nothing panics, and the server stops.

use super::client::{Client, Settings};
use super::{address, tls};
use peregrine::config::{Http3Limits, QuicLimits};
use peregrine::{Config, Server};
use quinn_proto::Dir;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

const TIMES: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_nanos(1),
    Duration::from_secs(u64::MAX),
    Duration::MAX,
];
const SIZES: [usize; 4] = [0, 1, 4099, usize::MAX];
const COUNTS: [u32; 4] = [0, 1, 4099, u32::MAX];

/// A setting with a value, and the configuration that has it.
type Case = (String, Config);

/// Adds a case for each value of a field.
macro_rules! vary {
    ($cases:ident, $of:ident.$field:ident, $values:expr) => {
        for value in $values {
            let mut config = Config::default()
                .workers(1)
                .stop_timeout(Duration::from_secs(10));
            config.$of.$field = value;
            $cases.push((
                format!("{}.{} = {value:?}", stringify!($of), stringify!($field)),
                config,
            ));
        }
    };
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    vary!(cases, quic.idle_timeout, TIMES);
    vary!(cases, quic.handshakes, SIZES);
    vary!(cases, quic.stream_window, SIZES);
    vary!(cases, quic.connection_window, SIZES);
    vary!(cases, quic.unacknowledged_bytes, SIZES);
    vary!(cases, quic.moves, COUNTS);
    vary!(cases, quic.retired_ids, COUNTS);
    vary!(cases, quic.forwarded_bytes, SIZES);
    vary!(cases, http3_limits.streams, SIZES);
    vary!(cases, http3_limits.unidirectional_streams, SIZES);
    vary!(cases, http3_limits.partial_head_bytes, SIZES);
    vary!(cases, http3_limits.settings_values, SIZES);
    vary!(cases, http3_limits.control_frame_bytes, SIZES);
    vary!(cases, http3_limits.nuisances, COUNTS);
    vary!(cases, http3_limits.nuisances_per_second, COUNTS);
    for (of, fields) in [
        ("quic", QuicLimits::FIELDS),
        ("http3_limits", Http3Limits::FIELDS),
    ] {
        for field in fields {
            let name = format!("{of}.{field} = ");
            let is_there = cases.iter().any(|(case, _)| case.starts_with(&name));
            assert!(is_there, "no case for {of}.{field}");
        }
    }
    cases
}

/// What it may not send is not sent.
fn try_to_get(client: &mut Client) {
    if let Some(control) = client.quic.streams().open(Dir::Uni) {
        // The type of the stream, and SETTINGS without a value.
        let _ = client.quic.send_stream(control).write(&[0, 4, 0]);
    }
    let Some(id) = client.quic.streams().open(Dir::Bi) else {
        return;
    };
    let request = Client::request("GET", "/");
    let written = client.quic.send_stream(id).write(&request);
    if written == Ok(request.len()) {
        client.quic.send_stream(id).finish().expect("open");
    }
    client.until(|client| {
        let of = client.streams.get(&id);
        client.lost.is_some() || of.is_some_and(|of| of.is_complete || of.reset.is_some())
    });
}

fn play(name: &str, config: Config) {
    let server = Server::from_fn(|_, res| res.text("hello"));
    let server = server.config(config).bind_tls("127.0.0.1:0", tls());
    let server = server
        .start()
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    let settings = Settings {
        idle: Duration::from_secs(1),
        ..Settings::default()
    };
    let mut client = Client::new(address(&server), settings);
    client.until(|client| client.is_connected || client.lost.is_some());
    if client.lost.is_none() {
        try_to_get(&mut client);
    }
    client.close();
    let counters = server.counters();
    assert_eq!(
        (counters.panics, counters.internal_errors),
        (0, 0),
        "{name}"
    );
    server.stopper().stop();
    server
        .wait()
        .unwrap_or_else(|error| panic!("{name}: {error}"));
}

#[test]
fn every_setting_at_its_extremes() {
    let cases = Mutex::new(cases());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let next = cases.lock().expect("no panic").pop();
                    let Some((name, config)) = next else { break };
                    play(&name, config);
                }
            });
        }
    });
}
