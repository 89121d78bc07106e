//! A system that lacks memory for a call (`ENOBUFS`, `ENOMEM`). The call is made again a second later, and
//! not without end, although the poller reports the socket as ready.

use super::http::{Bench, responses, scenarios};
use super::{config, connect, end, nothing_is_left, read_all, short, undated, wait_until};
use crate::http::handler::from_fn;
use crate::runtime::transport::faulty::{FaultPlan, Faulty, Happening};
use crate::server::Server;
use peregrine_protocol::limits::Limits;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[test]
fn a_call_without_memory_is_made_again() {
    let bench = Bench::start(Limits::default());
    let wanted = scenarios().into_iter().map(|(name, sent)| {
        let wanted = responses(&bench, name, &sent);
        (name, sent, wanted)
    });
    let wanted: Vec<_> = wanted.collect();
    for round in 0..2 {
        // All run at the same time, because each waits for a second.
        let mut waiting = Vec::new();
        for (name, sent, wanted) in &wanted {
            for call in 1 + 3 * round..4 + 3 * round {
                let plan = FaultPlan {
                    at: Some((call, Happening::Starve(1))),
                    ..FaultPlan::default()
                };
                let mut client = connect(&bench.server, plan);
                client.write_all(sent.as_bytes()).expect("sent");
                waiting.push((name, call, client, wanted));
            }
        }
        for (name, call, client, wanted) in waiting {
            let got = undated(read_all(&client));
            assert!(got == *wanted, "{name} at {call}: {}", short(&got));
        }
    }
    nothing_is_left(&bench.server, &bench.live, 2);
    end(bench.server);
}

/// A connection for which the system never has memory makes one call a second, and ends by its timeout.
#[test]
fn a_permanent_lack_of_memory_is_no_busy_loop() {
    let limits = Limits::default()
        .write_timeout(Duration::from_secs(2))
        .head_timeout(Duration::from_secs(2))
        .idle_timeout(Duration::from_secs(2));
    let mut config = config(limits);
    config.limits.write_timeout = limits.write_timeout;
    config.limits.idle_timeout = limits.idle_timeout;
    let server = Server::new(from_fn(|_, res| res.text("never"))).config(config);
    let server = server
        .bind("127.0.0.1:0")
        .start_over::<Faulty>()
        .expect("a server");
    // At the read and at the write.
    for first in [1, 2] {
        let plan = FaultPlan {
            at: Some((first, Happening::Starve(u8::MAX))),
            ..FaultPlan::default()
        };
        let calls = plan.calls.clone();
        let mut client = connect(&server, plan);
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .expect("sent");
        assert_eq!(read_all(&client), b"");
        let calls = calls.load(Ordering::SeqCst);
        assert!((first..first + 10).contains(&calls), "{calls} calls");
        wait_until("it is closed", || server.counters().closed == first);
    }
    nothing_is_left(&server, &Arc::new(()), 1);
    end(server);
}
