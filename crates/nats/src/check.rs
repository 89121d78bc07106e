//! Properties of the reader of lines and of sessions, for tests and fuzzing: not part of the API.

use crate::NatsConfig;
use crate::line;
use peregrine_broker::{Address, Protocol, Received, Session};

/// The items that bytes have, as text, and what ends them. `pieces`: how many bytes come at a time.
fn items(input: &[u8], pieces: usize) -> (Vec<String>, String) {
    let (mut items, mut at) = (Vec::new(), 0);
    let mut end = 0;
    loop {
        match line::first(&input[at..end]) {
            Ok(Some((used, item))) => {
                assert!(used > 0 && at + used <= end);
                items.push(format!("{item:?}"));
                at += used;
            }
            Ok(None) if end == input.len() => return (items, "incomplete".to_owned()),
            Ok(None) => end = (end + pieces).min(input.len()),
            Err(error) => return (items, format!("{error:?}")),
        }
    }
}

/// What is read does not depend on the pieces in which it comes, and a session survives everything.
pub fn check(input: &[u8]) {
    let whole = items(input, input.len().max(1));
    for pieces in [1, 2, 3, 7] {
        // Many pieces of a long input take long: each looks for the end of the line again.
        if input.len() / pieces < 2000 {
            assert_eq!(items(input, pieces), whole);
        }
    }
    session(input);
}

fn session(input: &[u8]) {
    let Ok(config) = NatsConfig::new("nats://t@a") else {
        return;
    };
    let nats = config.user("u", "p").protocol();
    let mut session = nats.session(&Address::new("a", 1));
    let (mut out, mut at) = (Vec::new(), 0);
    session.connected(false, &mut out);
    while at < input.len() {
        let before = out.len();
        match session.receive(&input[at..], &mut out) {
            Ok((0, received)) => {
                assert_eq!(received, Received::Incomplete);
                return;
            }
            Ok((used, received)) => {
                if let Received::Message { payload, .. } = received {
                    assert!(payload.len() < used);
                }
                at += used;
                if matches!(input.get(at), Some(b'M')) {
                    session.subscribe(Some(&"topic".into()), &mut out);
                }
            }
            Err(_) => return,
        }
        // An answer is bounded: PONG, or CONNECT once.
        assert!(out.len() - before < 1000 || before == 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_holds() {
        for seed in SEEDS {
            check(seed);
            for at in 0..seed.len() {
                let mut changed = seed.to_vec();
                for byte in [0, b'\r', b'\n', b' ', b'9', 0xff, seed[at] ^ 1] {
                    changed[at] = byte;
                    check(&changed);
                }
                check(&seed[..at]);
            }
        }
    }

    const SEEDS: [&[u8]; 3] = [
        b"INFO {\"max_payload\":1048576,\"connect_urls\":[\"b:1\",\"[::1]:2\",\"x y\"]}\r\nPONG\r\nPING\r\nPONG\r\n",
        b"INFO {}\r\n+OK\r\nPONG\r\nMSG a.t.b 1 3\r\nabc\r\nHMSG a 2 r 12 14\r\nNATS/1.0\r\n\r\nhi\r\n-ERR 'x'\r\n",
        b"INFO {\"ldm\":true}\r\nMSG a 1 r 0\r\n\r\n-ERR 'Permissions Violation for \"a\"'\r\n",
    ];
}
