//! Every setting at the ends of its range, under real traffic: the server responds or refuses, or says at the
//! start which setting is wrong. No thread ends, nothing panics.
//!
//! The lists take each struct apart without `..`: a new setting that is not here does not compile. Those
//! that do not belong to a server are in [`parts`].

mod parts;
mod traffic;

use super::support::{Asked, Client, OnOwnAddr, PATIENCE, ended};
use peregrine::config::AcceptThreads;
use peregrine::config::{Balance, IpNetwork};
use peregrine::{Config, Limits, Server};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

const TIMES: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_nanos(1),
    Duration::from_millis(4099),
    Duration::from_secs(u64::MAX),
    Duration::MAX,
];

/// With an odd one, which is no power of two and no multiple of anything.
const SIZES: [usize; 4] = [0, 1, 4099, usize::MAX];
const COUNTS: [u32; 4] = [0, 1, 4099, u32::MAX];

/// A setting with a value, and the configuration that has it.
type Case = (String, Config);

fn base() -> Config {
    let config = Config::default()
        .workers(1)
        .stop_timeout(Duration::from_secs(10))
        .limits(Limits::default().stop_grace(Duration::ZERO));
    #[cfg(feature = "websocket")]
    let config = config.ws_threads(1);
    config
}

/// Adds a case for each value of a field.
macro_rules! vary {
    ($cases:ident, $($path:ident).+, $values:expr) => {
        for value in $values {
            let mut config = base();
            config.$($path).+ = value.clone();
            $cases.push((format!("{} = {value:?}", stringify!($($path).+)), config));
        }
    };
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    of_config(&mut cases);
    of_limits(&mut cases);
    #[cfg(feature = "websocket")]
    of_ws_limits(&mut cases);
    #[cfg(feature = "http2")]
    of_http2(&mut cases);
    #[cfg(feature = "http3")]
    of_http3(&mut cases);
    has_all("", Config::FIELDS, &cases);
    has_all("limits.", Limits::FIELDS, &cases);
    #[cfg(feature = "http2")]
    has_all(
        "http2_limits.",
        peregrine::config::Http2Limits::FIELDS,
        &cases,
    );
    #[cfg(feature = "websocket")]
    has_all("ws_limits.", peregrine::ws::WsLimits::FIELDS, &cases);
    cases
}

/// Each field has a case.
fn has_all(path: &str, fields: &[&str], cases: &[Case]) {
    for field in fields {
        let name = format!("{path}{field} = ");
        let is_there = cases.iter().any(|(case, _)| case.starts_with(&name));
        assert!(is_there, "no case for {path}{field}");
    }
}

fn of_config(cases: &mut Vec<Case>) {
    vary!(cases, workers, SIZES);
    let dedicated = SIZES.map(AcceptThreads::Dedicated);
    vary!(cases, accept_threads, dedicated);
    vary!(cases, accept_threads, [AcceptThreads::Workers]);
    vary!(
        cases,
        balance,
        [Balance::LeastConnections, Balance::RoundRobin]
    );
    vary!(cases, cpu_affinity, [true]);
    let stacks = [0, 1, 128 << 10, (128 << 10) + 1, 1 << 30, usize::MAX];
    vary!(cases, stack_size, stacks.map(Some));
    vary!(cases, tcp_nodelay, [false]);
    let everyone = ["0.0.0.0/0", "::/0"].map(|all| all.parse::<IpNetwork>().expect("a network"));
    vary!(cases, trusted_proxies, [vec![], everyone.to_vec()]);
    use peregrine::config::{AddressRate, ForwardedFields};
    let x = ForwardedFields::X {
        proto: true,
        host: true,
    };
    vary!(cases, forwarded, [ForwardedFields::Forwarded, x]);
    vary!(cases, proxy_header_timeout, TIMES);
    vary!(cases, raise_descriptors, [true]);
    vary!(cases, backlog, COUNTS);
    vary!(cases, connections, SIZES);
    vary!(cases, connections_per_address, SIZES.map(Some));
    let rates = [
        None,
        Some(AddressRate::new(0, Duration::ZERO)),
        Some(AddressRate::new(1, Duration::from_nanos(1))),
        Some(AddressRate::new(u32::MAX, Duration::MAX)),
    ];
    vary!(cases, connection_rate, rates);
    vary!(cases, request_rate, rates);
    vary!(cases, buffered_bytes, SIZES);
    vary!(cases, keep_alive, [false]);
    let none: Vec<String> = Vec::new();
    vary!(
        cases,
        allowed_hosts,
        [Some(none), Some(vec!["a".to_owned()])]
    );
    vary!(cases, server_name, [None, Some(String::new())]);
    vary!(cases, drain_delay, TIMES);
    vary!(cases, stop_timeout, TIMES);
    vary!(cases, events_close_spread, TIMES);
    vary!(cases, events_retry, TIMES);
    vary!(cases, pool_threads, SIZES);
    vary!(cases, pool_queue, SIZES);
    vary!(cases, timed_one_in, COUNTS);
    vary!(cases, timers_per_worker, SIZES);
    #[cfg(feature = "tls")]
    vary!(cases, tls_handshake_timeout, TIMES);
    #[cfg(feature = "websocket")]
    {
        use peregrine::ws::WsOrigins;
        let list = |origins: &[&str]| WsOrigins::List(origins.iter().map(|&o| o.into()).collect());
        let origins = [
            WsOrigins::Any,
            list(&[]),
            list(&["http://a"]),
            list(&["", "\u{0}"]),
        ];
        vary!(cases, ws_threads, SIZES);
        vary!(cases, ws_connections_per_thread, SIZES);
        vary!(cases, ws_mailbox_bytes, SIZES);
        vary!(cases, ws_origins, origins);
        vary!(cases, ws_close_spread, TIMES);
        vary!(cases, ws_close_code, [0, 1001, 1012, u16::MAX]);
    }
    #[cfg(feature = "deflate")]
    {
        let deflate = |level, threshold, dedicated_windows| {
            Some(
                peregrine::ws::WsDeflate::default()
                    .level(level)
                    .threshold(threshold)
                    .dedicated_windows(dedicated_windows),
            )
        };
        let extremes = [
            deflate(0, 0, true),
            deflate(1, 1, false),
            deflate(7, 4099, true),
            deflate(u8::MAX, 1, false),
            deflate(1, usize::MAX, true),
        ];
        vary!(cases, ws_deflate, extremes);
    }
}

fn of_limits(cases: &mut Vec<Case>) {
    vary!(cases, limits.stall_timeout, TIMES);
    vary!(cases, limits.write_rate, SIZES);
    vary!(cases, limits.write_grace, TIMES);
    vary!(cases, limits.head_bytes, SIZES);
    vary!(cases, limits.target_bytes, SIZES);
    vary!(cases, limits.header_fields, SIZES);
    vary!(cases, limits.body_bytes, SIZES);
    vary!(cases, limits.stream_bytes, SIZES.map(|bytes| bytes as u64));
    vary!(cases, limits.chunk_extension_bytes, SIZES);
    vary!(cases, limits.requests_per_turn, SIZES);
    vary!(cases, limits.turn_time, TIMES);
    vary!(cases, limits.output_bytes, SIZES);
    vary!(cases, limits.output_files, SIZES);
    vary!(cases, limits.requests_per_connection, COUNTS);
    vary!(cases, limits.connection_age, TIMES);
    vary!(cases, limits.head_timeout, TIMES);
    vary!(cases, limits.idle_timeout, TIMES);
    vary!(cases, limits.body_grace, TIMES);
    vary!(cases, limits.body_rate, SIZES);
    vary!(cases, limits.response_timeout, TIMES);
    vary!(cases, limits.write_timeout, TIMES);
    vary!(cases, limits.linger_timeout, TIMES);
    vary!(cases, limits.linger_bytes, SIZES);
    vary!(cases, limits.stop_grace, TIMES);
    let most = usize::MAX;
    let all = Limits::default()
        .stall_timeout(Duration::MAX)
        .write_rate(most)
        .write_grace(Duration::MAX)
        .head_bytes(most)
        .target_bytes(most)
        .header_fields(most)
        .body_bytes(most)
        .chunk_extension_bytes(most)
        .requests_per_turn(most)
        .turn_time(Duration::MAX)
        .output_bytes(most)
        .output_files(most)
        .requests_per_connection(u32::MAX)
        .connection_age(Duration::MAX)
        .head_timeout(Duration::MAX)
        .idle_timeout(Duration::MAX)
        .body_grace(Duration::MAX)
        .body_rate(most)
        .response_timeout(Duration::MAX)
        .write_timeout(Duration::MAX)
        .linger_timeout(Duration::MAX)
        .linger_bytes(most)
        .stop_grace(Duration::MAX);
    let none = Limits::default()
        .stall_timeout(Duration::ZERO)
        .write_rate(0)
        .write_grace(Duration::ZERO)
        .head_bytes(0)
        .target_bytes(0)
        .header_fields(0)
        .body_bytes(0)
        .chunk_extension_bytes(0)
        .requests_per_turn(0)
        .turn_time(Duration::ZERO)
        .output_bytes(0)
        .output_files(0)
        .requests_per_connection(0)
        .connection_age(Duration::ZERO)
        .head_timeout(Duration::ZERO)
        .idle_timeout(Duration::ZERO)
        .body_grace(Duration::ZERO)
        .body_rate(0)
        .response_timeout(Duration::ZERO)
        .write_timeout(Duration::ZERO)
        .linger_timeout(Duration::ZERO)
        .linger_bytes(0)
        .stop_grace(Duration::ZERO);
    vary!(cases, limits, [all, none]);
}

#[cfg(feature = "http2")]
fn of_http2(cases: &mut Vec<Case>) {
    use peregrine::config::{Http2, Http2Limits};
    vary!(cases, http2, [Http2::Off, Http2::Only]);
    vary!(cases, http2_limits.streams, SIZES);
    vary!(cases, http2_limits.stream_window, COUNTS);
    vary!(cases, http2_limits.connection_window, COUNTS);
    vary!(cases, http2_limits.header_table_bytes, SIZES);
    vary!(cases, http2_limits.continuation_frames, [0, 1, u8::MAX]);
    vary!(cases, http2_limits.settings_values, SIZES);
    vary!(cases, http2_limits.nuisances, COUNTS);
    vary!(cases, http2_limits.nuisances_per_second, COUNTS);
    let of = |size: usize, count: u32| {
        Http2Limits::default()
            .streams(size)
            .stream_window(count)
            .connection_window(count)
            .header_table_bytes(size)
            .settings_values(size)
            .nuisances(count)
            .nuisances_per_second(count)
    };
    vary!(cases, http2_limits, [of(0, 0), of(usize::MAX, u32::MAX)]);
}

/// Without a listener for TLS nothing uses them; `tests/http3` has each under traffic.
#[cfg(feature = "http3")]
fn of_http3(cases: &mut Vec<Case>) {
    use peregrine::config::{Http3, Http3Limits, QuicLimits};
    vary!(cases, http3, [Http3::Off, Http3::Only]);
    vary!(cases, http3_limits.streams, SIZES);
    vary!(cases, quic.idle_timeout, TIMES);
    vary!(cases, http3_limits, [Http3Limits::default()]);
    vary!(cases, quic, [QuicLimits::default()]);
}

#[cfg(feature = "websocket")]
fn of_ws_limits(cases: &mut Vec<Case>) {
    use peregrine::ws::{BacklogPolicy, WsLimits};
    vary!(cases, ws_limits.write_rate, SIZES);
    vary!(cases, ws_limits.write_grace, TIMES);
    vary!(cases, ws_limits.messages, COUNTS);
    vary!(cases, ws_limits.message_rate, SIZES);
    vary!(cases, ws_limits.message_grace, TIMES);
    vary!(cases, ws_limits.message_bytes, SIZES);
    vary!(cases, ws_limits.frame_bytes, SIZES);
    vary!(cases, ws_limits.fragments, COUNTS);
    vary!(cases, ws_limits.control_frames, COUNTS);
    vary!(cases, ws_limits.backlog_bytes, SIZES);
    let policies = [BacklogPolicy::DropNewest, BacklogPolicy::DropOldest];
    vary!(cases, ws_limits.backlog_policy, policies);
    vary!(cases, ws_limits.backlog_mark, SIZES);
    vary!(cases, ws_limits.topics, SIZES);
    vary!(cases, ws_limits.topic_bytes, SIZES);
    vary!(cases, ws_limits.pause_timeout, TIMES);
    vary!(cases, ws_limits.idle_timeout, TIMES);
    vary!(cases, ws_limits.pong_timeout, TIMES);
    vary!(cases, ws_limits.close_timeout, TIMES);
    vary!(cases, ws_limits.write_timeout, TIMES);
    let all = WsLimits::default()
        .write_rate(usize::MAX)
        .write_grace(Duration::MAX)
        .messages(u32::MAX)
        .message_rate(usize::MAX)
        .message_grace(Duration::MAX)
        .message_bytes(usize::MAX)
        .frame_bytes(usize::MAX)
        .fragments(u32::MAX)
        .control_frames(u32::MAX)
        .backlog_bytes(usize::MAX)
        .backlog_policy(BacklogPolicy::DropOldest)
        .backlog_mark(usize::MAX)
        .topics(usize::MAX)
        .topic_bytes(usize::MAX)
        .pause_timeout(Duration::MAX)
        .idle_timeout(Duration::MAX)
        .pong_timeout(Duration::MAX)
        .close_timeout(Duration::MAX)
        .write_timeout(Duration::MAX);
    vary!(cases, ws_limits, [all]);
}

#[test]
fn every_setting_at_its_extremes() {
    let cases = Arc::new(std::sync::Mutex::new(cases()));
    thread::scope(|scope| {
        for _ in 0..8 {
            let cases = cases.clone();
            scope.spawn(move || {
                loop {
                    let next = cases.lock().expect("no panic").pop();
                    let Some((name, config)) = next else { break };
                    traffic::play(&name, config);
                }
            });
        }
    });
}

/// What has no end is not taken for a second.
#[test]
fn without_timeouts_slow_clients_are_not_closed() {
    let mut config = base();
    config.limits = Limits::default()
        .target_bytes(usize::MAX)
        .head_timeout(Duration::MAX)
        .idle_timeout(Duration::MAX)
        .body_grace(Duration::MAX)
        .response_timeout(Duration::MAX)
        .write_timeout(Duration::MAX);
    let server = Server::new(traffic::App).config(config).on_own_addr();
    let server = server.start().expect("a server");
    let addr = server.local_addr().expect("an address");
    let mut idle = Client::connect(addr);
    let mut slow = Client::connect(addr);
    slow.send("GET / HTTP/1.1\r\n");
    let mut other = Client::connect(addr);
    // Deadlines are looked at once a second: a timer of two of them has seen that.
    let (told, tells) = std::sync::mpsc::channel();
    let timer = server.timers().after(Duration::from_millis(2500), move || {
        let _ = told.send(());
    });
    timer.expect("a timer");
    tells.recv_timeout(PATIENCE).expect("called");
    let long = format!("/{}", "t".repeat(1000));
    assert_eq!(other.get(&long).status, 200);
    slow.send("Host: a\r\n\r\n");
    assert_eq!(slow.answer(Asked::Other).status, 200);
    assert_eq!(idle.get("/").status, 200);
    drop((idle, slow, other));
    server.stop();
    ended(server);
}
