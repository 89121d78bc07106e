//! Hostile clients beside well-behaved ones, in small: a few of each kind, and limits that are short
//! where a scenario waits for one. benches/hostile.rs runs the same scenarios with thousands of
//! clients against a server on its defaults.

mod app;
#[allow(dead_code, reason = "part of it is for the table of the bench")]
mod attack;
#[allow(dead_code, reason = "part of it is for the soak")]
mod crowd;
#[cfg(feature = "http2")]
mod http2;
mod polite;
#[allow(dead_code, reason = "part of it is for the table of the bench")]
mod scenarios;
#[allow(dead_code, reason = "part of it is for the soak")]
mod script;
#[allow(dead_code, reason = "part of it is for the soak")]
mod scripts;
mod seen;

use super::support::{NEVER, OnOwnAddr, PATIENCE, ended, over_tls, own_addr, workers};
use app::App;
use attack::{Outcome, Scale, attack};
use peregrine::config::AddressRate;
use peregrine::metrics::Counters;
use peregrine::ws::WsLimits;
use peregrine::{Config, Server};
use polite::{Kind, Place};
use scenarios::{SCENARIOS, Scenario};
use std::net::IpAddr;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
/// Clients of one scenario at a time.
const CLIENTS: usize = 16;
/// Places for an address that is counted.
const PER_ADDRESS: usize = 8;

/// No limit of time but that one of the scenario comes into play.
fn config(name: &str) -> Config {
    let config = workers(2);
    let (http, ws) = (config.limits, WsLimits::default());
    let limits = match name {
        "head" => http.head_timeout(SECOND),
        "body" => http.body_grace(SECOND),
        "budget-responses" | "budget-pipelined" => http
            .linger_timeout(SECOND)
            .write_grace(SECOND)
            .write_timeout(SECOND)
            .stall_timeout(SECOND),
        "http2-windows" => http
            .write_timeout(SECOND)
            .write_grace(SECOND)
            .head_timeout(SECOND)
            .idle_timeout(SECOND),
        "one-address" | "rarely" => http
            .head_timeout(SECOND)
            .body_grace(SECOND)
            // Those who are well-behaved are silent for some of it.
            .idle_timeout(5 * SECOND),
        "slow-files" | "slow-streams" | "pipelined" | "files" => http.write_timeout(SECOND),
        _ => http,
    };
    let ws = ws.idle_timeout(NEVER).write_timeout(NEVER);
    let ws_limits = match name {
        "ws-floods" => ws.write_timeout(SECOND),
        "budget-messages" | "ws-dribbles" | "rarely" => ws.message_grace(SECOND),
        "ws-silent" | "one-address" => ws.idle_timeout(SECOND).pong_timeout(SECOND),
        "ws-feed" => ws.backlog_bytes(128 << 10),
        _ => ws,
    };
    let buffered_bytes = match name.starts_with("budget-") {
        true => 2 << 20,
        false => config.buffered_bytes,
    };
    let config = config
        .limits(limits)
        .ws_limits(ws_limits)
        .buffered_bytes(buffered_bytes)
        .ws_threads(1)
        .connections_per_address(PER_ADDRESS);
    #[cfg(feature = "tls")]
    let config = match name {
        "tls-half" => config.tls_handshake_timeout(SECOND),
        _ => config,
    };
    let counted = || [IpAddr::from([127, 0, 0, 1]).into()];
    match name {
        "one-address" => config.trusted_proxies(counted()),
        "one-address-again" => config
            .trusted_proxies(counted())
            .connection_rate(AddressRate::new(20, NEVER)),
        _ => config,
    }
}

#[track_caller]
fn run(name: &str) -> (Outcome, Counters) {
    let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name);
    let scenario = scenario.expect("a scenario");
    let scenario = Scenario {
        at_once: CLIENTS,
        polite: match name {
            // A client that is well-behaved and slow would be silent for too long, too.
            "ws-silent" | "one-address" => &[Kind::Fresh],
            // It has no more time than the others.
            "tls-half" | "http2-windows" => &[],
            _ => scenario.polite,
        },
        ..*scenario
    };
    let app = App::new();
    let stats = app.stats.clone();
    let server = Server::new(app).websocket().stats(&stats);
    let server = server.config(config(name));
    let is_secure = scenario.attacks.is_tls() || over_tls();
    let server = match is_secure {
        true => server.with_tls(own_addr()),
        false => server.bind(own_addr()),
    };
    let server = server.start().expect("a server");
    let scale = Scale {
        count: match scenario.waits {
            true => CLIENTS,
            false => 4 * CLIENTS,
        },
        answers: match name {
            "tls-half" | "http2-windows" => 0,
            _ => 20,
        },
        idle: Duration::ZERO,
        to_the_end: false,
        late: 30,
        // How long it takes is for the bench: this machine may be busy with other tests.
        soon: PATIENCE,
        patience: PATIENCE,
    };
    let addr = server.local_addr().expect("a TCP address");
    let outcome = attack(
        &scenario,
        Place { addr, is_secure },
        &scale,
        || {},
        || Ok(()),
    );
    assert!(outcome.faults.is_empty(), "{:#?}", outcome.faults);
    server.stop();
    let stopped = ended(server);
    assert_eq!(stopped.aborted, 0);
    let counters = stopped.counters;
    assert_eq!(counters.accepted, counters.closed);
    (outcome, counters)
}

/// All of them by the same limit, which counts as an error of the connection.
#[track_caller]
fn all_cut(name: &str) {
    let (_, counters) = run(name);
    assert_eq!(counters.connection_errors, CLIENTS as u64, "{name}");
}

/// All of them get a response that names the reason.
#[track_caller]
fn all_refused(name: &str, clients: usize) {
    let (_, counters) = run(name);
    assert_eq!(counters.refused, clients as u64, "{name}");
}

/// Refused, or closed for others.
#[track_caller]
fn some_out_of_memory(name: &str) {
    let (_, counters) = run(name);
    let ended = counters.overloaded + counters.stalled_closed;
    assert!(ended > 0, "{name}: there is memory for all");
}

#[test]
fn heads_one_byte_at_a_time() {
    all_refused("head", CLIENTS);
}

#[test]
fn bodies_one_byte_at_a_time() {
    all_refused("body", CLIENTS);
}

/// The system takes no more of their responses than it needs.
#[test]
fn slow_readers_of_files() {
    let (_, counters) = run("slow-files");
    assert_eq!(counters.connection_errors, CLIENTS as u64);
    let written = counters.bytes_written / CLIENTS as u64;
    assert!(written < 1 << 20, "{written} bytes for each");
}

#[test]
fn slow_readers_of_streams() {
    all_cut("slow-streams");
}

#[test]
fn idle_clients_and_a_burst() {
    run("idle");
}

#[test]
fn connects_and_resets() {
    run("connects");
}

#[test]
fn half_closed_connections() {
    run("half-closed");
}

#[test]
fn floods_of_header_fields() {
    all_refused("headers", 4 * CLIENTS);
}

#[test]
fn pipelined_floods_that_never_read() {
    all_cut("pipelined");
}

#[test]
fn unmasked_frames() {
    all_refused("ws-unmasked", 4 * CLIENTS);
}

#[test]
fn oversize_frames_and_messages() {
    all_refused("ws-oversize", 4 * CLIENTS);
}

#[test]
fn endless_empty_fragments() {
    all_refused("ws-fragments", 4 * CLIENTS);
}

#[test]
fn floods_of_pings() {
    all_refused("ws-pings", 4 * CLIENTS);
}

#[test]
fn floods_of_messages_with_unread_echoes() {
    all_cut("ws-floods");
}

#[test]
fn silent_websockets() {
    all_cut("ws-silent");
}

#[test]
fn slow_subscribers_of_a_busy_topic() {
    run("ws-feed");
}

/// No more than the limit are accepted, whatever they do, and others are served.
#[test]
fn clients_of_one_address() {
    let (_, counters) = run("one-address");
    let turned_away = counters.turned_away_by_address;
    assert!(turned_away > 0, "{CLIENTS} clients, {PER_ADDRESS} places");
}

/// Of the connections of an address that has used up its rate none is accepted, and others are served.
#[test]
fn clients_of_one_address_that_come_again_and_again() {
    let (_, counters) = run("one-address-again");
    let turned_away = counters.turned_away_by_rate;
    assert_eq!(turned_away, 4 * CLIENTS as u64 - 20);
}

#[test]
fn a_byte_now_and_then() {
    run("rarely");
}

#[test]
fn slow_requests_without_end() {
    run("slow-requests");
}

#[test]
fn files_to_clients_that_do_not_read() {
    all_cut("files");
}

#[test]
fn large_responses_that_fill_the_memory() {
    some_out_of_memory("budget-responses");
}

#[test]
fn pipelined_responses_that_fill_the_memory() {
    some_out_of_memory("budget-pipelined");
}

#[test]
fn halves_of_messages() {
    all_refused("budget-messages", CLIENTS);
}

#[test]
fn messages_one_byte_at_a_time() {
    all_refused("ws-dribbles", CLIENTS);
}

/// Each ends as its row of the table says.
#[cfg(feature = "http2")]
#[test]
fn known_attacks_on_http2() {
    let (_, counters) = run("http2-rows");
    assert!(counters.http2_goaways_calm > 0 && counters.http2_refused > 0);
}

#[cfg(feature = "http2")]
#[test]
fn windows_of_http2_that_stay_closed() {
    let (_, counters) = run("http2-windows");
    let unacknowledged = CLIENTS as u64 / 4;
    assert!(counters.http2_goaways_error >= unacknowledged);
}

#[cfg(feature = "tls-self-signed")]
#[test]
fn halves_of_handshakes() {
    let (_, counters) = run("tls-half");
    assert_eq!(counters.handshakes_failed, CLIENTS as u64);
}

#[cfg(feature = "tls-self-signed")]
#[test]
fn handshakes_that_are_left() {
    let (_, counters) = run("tls-handshakes");
    assert_eq!(counters.handshakes_failed, 4 * CLIENTS as u64);
}

#[cfg(feature = "tls-self-signed")]
#[test]
fn records_that_are_not_valid() {
    let (_, counters) = run("tls-records");
    assert_eq!(counters.handshakes_failed, 4 * CLIENTS as u64);
}

/// None of them is forgotten above.
#[test]
fn the_number_of_scenarios_is_as_announced() {
    let over_tls = if cfg!(feature = "tls-self-signed") {
        3
    } else {
        0
    };
    let http2 = if cfg!(feature = "http2") { 2 } else { 0 };
    assert_eq!(SCENARIOS.len(), 25 + over_tls + http2);
}
