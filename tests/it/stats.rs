//! Counters from within and without, and the page for Prometheus, read by a strict parser.

#[cfg(feature = "websocket")]
use super::support::Stream;
use super::support::{Asked, Client, OnOwnAddr, ended, wait_until, workers};
use peregrine::Server;
use peregrine::metrics::{Counters, Stats};
use std::collections::{BTreeMap, BTreeSet};

// --------------------------------------------------------------------------------- the parser

#[derive(Debug, Default)]
pub(crate) struct Family {
    help: String,
    pub(crate) kind: String,
    /// By the labels, as they stand there without the braces.
    pub(crate) samples: BTreeMap<String, u64>,
}

/// Reads a page in the text format 0.0.4, and takes no more of it than we write: each family once,
/// with help, type and then all its samples, in that order; integers, or seconds; no time stamps.
#[track_caller]
pub(crate) fn parse(page: &str) -> BTreeMap<String, Family> {
    assert!(page.ends_with('\n'), "the last line must end, too");
    let mut families = BTreeMap::new();
    let mut name = String::new();
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (family, help) = rest.split_once(' ').expect("a text behind the name");
            assert!(is_name(family), "{family}");
            assert!(help.trim() == help && !help.contains("  "), "{help:?}");
            assert!(!help.is_empty() && !help.contains('\\'), "{help:?}");
            // Plain text: no links and marks of rustdoc.
            assert!(!help.contains(['[', ']', '`']), "{help:?}");
            assert!(!help.contains("::Config::"), "{help:?}");
            let kind = lines.next().expect("a type").strip_prefix("# TYPE ");
            let kind = kind.and_then(|rest| rest.strip_prefix(family));
            let kind = kind.expect("a type of the same name").trim_start();
            assert!(matches!(kind, "counter" | "gauge" | "histogram"), "{kind}");
            // As the conventions of Prometheus and OpenMetrics have it.
            assert_eq!(family.ends_with("_total"), kind == "counter", "{family}");
            let new = Family {
                help: help.into(),
                kind: kind.into(),
                samples: BTreeMap::new(),
            };
            assert!(
                families.insert(family.into(), new).is_none(),
                "{family} twice"
            );
            name = family.into();
            continue;
        }
        let (series, value) = line.split_once(' ').expect("a name and a value");
        let labels = series.strip_prefix(&name).expect("of the family above");
        let family: &mut Family = families.get_mut(&name).expect("a family");
        let of_histogram = labels.starts_with("_bucket{") || matches!(labels, "_sum" | "_count");
        assert_eq!(of_histogram, family.kind == "histogram", "{series}");
        let labels = match labels {
            labels if of_histogram => labels,
            "" => "",
            labels => labels
                .strip_prefix('{')
                .and_then(|l| l.strip_suffix('}'))
                .expect("braces"),
        };
        if !labels.is_empty() && !of_histogram {
            let (label, value) = labels.split_once('=').expect("a label");
            let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
            let plain = |c: char| c.is_ascii_alphanumeric() || "-/{}*".contains(c);
            assert!(
                is_name(label) && value.is_some_and(|v| v.chars().all(plain)),
                "{labels}"
            );
        }
        // Seconds have all their nanoseconds, so that nothing depends on how they are rounded.
        let digits = match value.split_once('.') {
            Some((whole, nanos)) if name.contains("_seconds") => {
                assert_eq!(nanos.len(), 9, "{value}");
                format!("{whole}{nanos}")
            }
            _ => value.to_owned(),
        };
        let value: u64 = digits.parse().expect("an integer");
        let old = family.samples.insert(labels.into(), value);
        assert!(old.is_none(), "{series} twice");
    }
    families
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

// ---------------------------------------------------------------------------------- the tests

#[test]
fn a_page_of_counters() {
    // Each counter another value, so that none can stand for another.
    let mut counters = Counters::default();
    counters.accepted = 101;
    counters.closed = 2;
    counters.handshakes = 42;
    counters.handshakes_resumed = 43;
    counters.handshakes_failed = 44;
    counters.idle_closed = 18;
    counters.stalled_closed = 41;
    counters.turned_away = 19;
    counters.turned_away_by_address = 41;
    counters.turned_away_by_rate = 53;
    counters.refused_by_rate = 54;
    counters.proxy_refused = 45;
    counters.http2_connections = 46;
    counters.http2_requests = 47;
    counters.http2_refused = 48;
    counters.http2_resets_received = 49;
    counters.http2_resets_sent = 50;
    counters.http2_goaways_error = 51;
    counters.http2_goaways_calm = 52;
    counters.http3_connections = 60;
    counters.http3_requests = 61;
    counters.http3_rejected = 62;
    counters.http3_resets_received = 63;
    counters.http3_resets_sent = 64;
    counters.http3_closes_error = 65;
    counters.http3_closes_load = 66;
    counters.datagrams_received = 67;
    counters.datagrams_sent = 68;
    counters.datagrams_dropped = 69;
    counters.quic_retries = 70;
    counters.accept_outages = 20;
    counters.overloaded = 21;
    counters.upgraded = 3;
    counters.ws_received = 4;
    counters.ws_published = 5;
    counters.ws_fanned_out = 6;
    counters.ws_dropped = 7;
    counters.relay_published = 55;
    counters.relay_dropped = 56;
    counters.relay_unconfirmed = 57;
    counters.relay_received = 58;
    counters.relay_lost = 59;
    counters.requests = 8;
    counters.bytes_read = 9;
    counters.bytes_written = u64::MAX;
    counters.refused = 11;
    counters.handler_errors = 12;
    counters.connection_errors = 13;
    counters.jobs = 17;
    counters.jobs_started = 16;
    counters.jobs_done = 15;
    counters.jobs_refused = 14;
    counters.job_nanos = 18;
    counters.responses_2xx = 20;
    counters.responses_3xx = 21;
    counters.responses_4xx = 22;
    counters.responses_5xx = 23;
    counters.refused_slow = 24;
    counters.refused_large = 25;
    counters.panics = 26;
    counters.response_timeouts = 27;
    counters.clients_gone = 28;
    counters.read_errors = 29;
    counters.write_errors = 30;
    counters.write_timeouts = 31;
    counters.internal_errors = 102;
    counters.turns = 32;
    counters.turns_timed = 33;
    counters.turn_nanos = 34_000_000_035;
    counters.handlers_timed = 36;
    counters.handler_nanos = 37;
    counters.handlers_over_10ms = 38;
    counters.handlers_over_100ms = 39;
    counters.handlers_blocking = 42;
    counters.handlers_over_1s = 40;
    let page = counters.prometheus();
    let families = parse(&page);
    let values: Vec<_> = families
        .iter()
        .map(|(name, family)| (name.as_str(), family.samples[""]))
        .collect();
    let expected = [
        ("peregrine_accept_outages_total", 20),
        ("peregrine_response_timeouts_total", 27),
        ("peregrine_responses_2xx_total", 20),
        ("peregrine_responses_3xx_total", 21),
        ("peregrine_responses_4xx_total", 22),
        ("peregrine_responses_5xx_total", 23),
        ("peregrine_clients_gone_total", 28),
        ("peregrine_handlers_timed_over_100ms_total", 39),
        ("peregrine_handlers_timed_over_10ms_total", 38),
        ("peregrine_handlers_blocking_total", 42),
        ("peregrine_handlers_timed_over_1s_total", 40),
        ("peregrine_handlers_timed_seconds_total", 37),
        ("peregrine_handlers_timed_total", 36),
        ("peregrine_internal_errors_total", 102),
        ("peregrine_jobs_done_seconds_total", 18),
        ("peregrine_panics_total", 26),
        ("peregrine_read_errors_total", 29),
        ("peregrine_refused_by_rate_total", 54),
        ("peregrine_refused_large_total", 25),
        ("peregrine_refused_slow_total", 24),
        ("peregrine_tls_handshakes_failed_total", 44),
        ("peregrine_tls_handshakes_resumed_total", 43),
        ("peregrine_tls_handshakes_total", 42),
        ("peregrine_turns_timed_seconds_total", 34_000_000_035),
        ("peregrine_turns_timed_total", 33),
        ("peregrine_turns_total", 32),
        ("peregrine_write_errors_total", 30),
        ("peregrine_write_timeouts_total", 31),
        ("peregrine_connection_errors_total", 13),
        ("peregrine_connections_accepted_total", 101),
        ("peregrine_connections_closed_total", 2),
        ("peregrine_connections_idle_closed_total", 18),
        ("peregrine_connections_open", 99),
        ("peregrine_connections_proxy_refused_total", 45),
        ("peregrine_http2_connections_total", 46),
        ("peregrine_http2_requests_total", 47),
        ("peregrine_http2_streams_refused_total", 48),
        ("peregrine_http2_resets_received_total", 49),
        ("peregrine_http2_resets_sent_total", 50),
        ("peregrine_http2_goaways_error_total", 51),
        ("peregrine_http2_goaways_calm_total", 52),
        ("peregrine_http3_connections_total", 60),
        ("peregrine_http3_requests_total", 61),
        ("peregrine_http3_streams_rejected_total", 62),
        ("peregrine_http3_resets_received_total", 63),
        ("peregrine_http3_resets_sent_total", 64),
        ("peregrine_http3_closes_error_total", 65),
        ("peregrine_http3_closes_load_total", 66),
        ("peregrine_datagrams_received_total", 67),
        ("peregrine_datagrams_sent_total", 68),
        ("peregrine_datagrams_dropped_total", 69),
        ("peregrine_quic_retries_total", 70),
        ("peregrine_connections_stalled_closed_total", 41),
        ("peregrine_connections_turned_away_by_address_total", 41),
        ("peregrine_connections_turned_away_by_rate_total", 53),
        ("peregrine_connections_turned_away_total", 19),
        ("peregrine_connections_upgraded_total", 3),
        ("peregrine_handler_errors_total", 12),
        ("peregrine_jobs_done_total", 15),
        ("peregrine_jobs_refused_total", 14),
        ("peregrine_jobs_started_total", 16),
        ("peregrine_jobs_total", 17),
        ("peregrine_overloaded_total", 21),
        ("peregrine_read_bytes_total", 9),
        ("peregrine_refused_total", 11),
        ("peregrine_relay_messages_dropped_total", 56),
        ("peregrine_relay_messages_lost_total", 59),
        ("peregrine_relay_messages_published_total", 55),
        ("peregrine_relay_messages_received_total", 58),
        ("peregrine_relay_messages_unconfirmed_total", 57),
        ("peregrine_requests_total", 8),
        ("peregrine_written_bytes_total", u64::MAX),
        ("peregrine_ws_messages_dropped_total", 7),
        ("peregrine_ws_messages_fanned_out_total", 6),
        ("peregrine_ws_messages_published_total", 5),
        ("peregrine_ws_messages_received_total", 4),
    ];
    let sorted: BTreeMap<_, _> = expected.into_iter().collect();
    assert_eq!(values, sorted.into_iter().collect::<Vec<_>>());
    assert_eq!(
        families["peregrine_connection_errors_total"].help,
        "Connections that ended with a failed read or write, with a write timeout, or in the middle of a request.",
        "documentation of two lines"
    );
    assert_eq!(families["peregrine_connections_open"].kind, "gauge");
    let helps: BTreeSet<_> = families.values().map(|family| &family.help).collect();
    assert_eq!(helps.len(), families.len(), "each has a help of its own");
}

/// The page that a handler gives of its own server.
#[test]
fn a_server_that_reports_its_counters() {
    let stats = Stats::new();
    assert_eq!(stats.counters(), Counters::default());
    assert_eq!(
        parse(&stats.prometheus()).len(),
        75 + 5 + 2 + 75,
        "all of them, from the start"
    );

    let seen = stats.clone();
    let app = move |req: &peregrine::Request<'_>, res: peregrine::Response<'_>| match req.path() {
        "/metrics" => res
            .header("Content-Type", Stats::CONTENT_TYPE)
            .body(seen.prometheus()),
        _ => res.text("hi"),
    };
    let server = Server::from_fn(app).config(workers(3)).stats(&stats);
    let server = server.on_own_addr().start().expect("a server");
    let addr = server.local_addr().expect("an address");
    let mut clients: Vec<_> = (0..5).map(|_| Client::connect(addr)).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").status, 200);
    }
    clients[0].send("BAD\r\n\r\n");
    assert_eq!(clients[0].answer(Asked::Other).status, 400);
    clients[0].expect_end();

    wait_until("the refusal is counted", || stats.counters().refused == 1);
    let page = clients[1].get("/metrics");
    assert_eq!(page.get("content-type"), Some(Stats::CONTENT_TYPE));
    let families = parse(page.text());
    let sum = |name: &str| families[&format!("peregrine_{name}")].samples[""];
    assert_eq!(sum("requests_total"), 5, "this one is not answered yet");
    assert_eq!(sum("refused_total"), 1);
    assert_eq!(sum("connections_accepted_total"), 5);
    for (name, family) in &families {
        let Some(name) = name.strip_prefix("peregrine_thread_") else {
            continue;
        };
        let threads: Vec<_> = family.samples.keys().map(String::as_str).collect();
        let expected = [
            r#"thread="accept-0""#,
            r#"thread="pool-0""#,
            r#"thread="worker-0""#,
            r#"thread="worker-1""#,
            r#"thread="worker-2""#,
        ];
        assert_eq!(threads, expected);
        let total: u64 = family.samples.values().sum();
        assert_eq!(total, sum(name), "{name}: the threads make the sum");
    }
    let busy = &families["peregrine_thread_requests_total"].samples;
    assert!(busy.values().filter(|n| **n > 0).count() > 1, "{busy:?}");

    drop(clients);
    server.stop();
    let stopped = ended(server);
    assert_eq!(stats.counters(), stopped.counters, "it outlives the server");
    assert_eq!(stats.worker_counters().len(), 3);
}

#[test]
fn several_servers_in_one() {
    let stats = Stats::new();
    let hello = |_: &peregrine::Request<'_>, res: peregrine::Response<'_>| res.text("hi");
    let servers = [1, 2].map(|n| {
        let server = Server::from_fn(hello).config(workers(n)).stats(&stats);
        server.on_own_addr().start().expect("a server")
    });
    for server in &servers {
        let addr = server.local_addr().expect("an address");
        assert_eq!(Client::connect(addr).get("/").status, 200);
        assert_eq!(server.counters().requests, 1, "of its own only");
    }
    assert_eq!(stats.counters().requests, 2);
    assert_eq!(stats.worker_counters().len(), 3);
    let families = parse(&stats.prometheus());
    assert_eq!(
        families["peregrine_thread_requests_total"].samples.len(),
        3 + 2 + 2
    );
}

#[cfg(feature = "websocket")]
#[test]
fn websocket_threads_have_names() {
    use super::ws_protocol::Echo;

    let stats = Stats::new();
    let config = workers(1).ws_threads(2);
    let server = Server::new(Echo).websocket().config(config).stats(&stats);
    let server = server.on_own_addr().start().expect("a server");
    let addr = server.local_addr().expect("an address");
    let stream = Stream::connect(addr).expect("a connection");
    let limit = Some(super::support::PATIENCE);
    stream.set_read_timeout(limit).expect("a socket");
    let url = format!("ws://{addr}/");
    let (mut client, _) = tungstenite::client(url, stream).expect("a WebSocket");
    client.send("hello".into()).expect("sent");
    assert_eq!(
        client.read().expect("an echo").to_text().expect("text"),
        "hello"
    );

    wait_until("the message is counted", || {
        stats.counters().ws_received == 1
    });
    assert_eq!(stats.ws_counters().len(), 2);
    let families = parse(&stats.prometheus());
    let received = &families["peregrine_thread_ws_messages_received_total"].samples;
    let threads: Vec<_> = received.keys().map(String::as_str).collect();
    let expected = [
        r#"thread="accept-0""#,
        r#"thread="pool-0""#,
        r#"thread="worker-0""#,
        r#"thread="ws-0""#,
        r#"thread="ws-1""#,
    ];
    assert_eq!(threads, expected);
    assert_eq!(received.values().sum::<u64>(), 1);
    assert_eq!(received[r#"thread="worker-0""#], 0);
    assert_eq!(families["peregrine_connections_open"].samples[""], 1);
    drop(client);
    wait_until("the connection is closed", || stats.counters().closed == 1);
}
