//! One publisher, many subscribers, not all of them quick.

use super::support::{Stream, wait_until};
use super::ws_sockets::{bench, config};
use peregrine::ws::{BacklogPolicy, Sent};
use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Many subscribers, half of which read nothing. The others miss nothing, the policy applies to the slow
/// ones, and nothing grows without bound.
fn slow_and_fast(subscribers: usize, publishes: usize, policy: BacklogPolicy) {
    let mut config = config(2);
    config.ws_limits.backlog_bytes = 64 << 10;
    config.ws_limits.backlog_policy = policy;
    let bench = bench(config);
    // Those that read nothing have little room, so that it is known how much the system takes.
    let mut clients: Vec<_> = (0..subscribers)
        .map(|i| bench.connect_with("/room", (i < subscribers / 2).then_some(16 << 10)))
        .collect();
    wait_until("all hooks ran", || {
        bench.app.open.load(Ordering::SeqCst) == subscribers
    });
    let fast = clients.split_off(subscribers / 2);
    let readers = 4;
    let read: Vec<AtomicUsize> = (0..readers).map(|_| AtomicUsize::new(0)).collect();
    let mut shares: Vec<Vec<_>> = (0..readers).map(|_| Vec::new()).collect();
    for (i, client) in fast.into_iter().enumerate() {
        shares[i % readers].push(client.into_inner().stream);
    }
    let padding = "x".repeat(84);
    thread::scope(|scope| {
        for (streams, read) in shares.iter().zip(&read) {
            scope.spawn(move || read_all(streams, publishes, read));
        }
        for i in 0..publishes {
            // As far ahead as what may wait for a client that is not slow.
            wait_until("the fast keep up", || {
                read.iter()
                    .all(|read| i < read.load(Ordering::Acquire) + 500)
            });
            let message = format!("{i:016}{padding}");
            assert_eq!(bench.hub.publish("room", message.as_str()), Sent::Queued);
        }
    });
    let counters = || bench.running.counters();
    let fanned = (publishes * subscribers) as u64;
    wait_until("all is published", || {
        counters().ws_published >= publishes as u64
    });
    // The fast have all of it before the threads have counted, or closed the last of the slow.
    match policy {
        BacklogPolicy::Close => wait_until("the slow are closed", || {
            bench.hub.connections() == subscribers - subscribers / 2
        }),
        _ => {
            wait_until("all is counted", || counters().ws_fanned_out == fanned);
            wait_until("some are dropped", || counters().ws_dropped > 0);
            assert_eq!(bench.hub.connections(), subscribers);
        }
    }
    let sum = counters();
    println!(
        "{policy:?}: {publishes} publishes, {} handed to connections, {} dropped, {} bytes written",
        sum.ws_fanned_out, sum.ws_dropped, sum.bytes_written
    );
}

/// Reads this many messages of each stream, and checks their order.
fn read_all(streams: &[Stream], publishes: usize, read: &AtomicUsize) {
    let mut buffers = vec![Vec::new(); streams.len()];
    let mut counts = vec![0; streams.len()];
    let mut room = vec![0; 64 << 10];
    let frame = 102;
    while counts.iter().any(|&count| count < publishes) {
        let least = counts.iter().copied().min().unwrap_or(0);
        read.store(least, Ordering::Release);
        for (i, mut stream) in streams.iter().enumerate() {
            // The slowest first: the others have had theirs.
            if counts[i] > least || counts[i] == publishes {
                continue;
            }
            let n = stream.read(&mut room).expect("a message");
            assert!(n > 0, "cut at {}", counts[i]);
            let buffer: &mut Vec<u8> = &mut buffers[i];
            buffer.extend_from_slice(&room[..n]);
            let whole = buffer.len() / frame * frame;
            for message in buffer[..whole].chunks(frame) {
                assert_eq!(message[..2], [0x81, 100]);
                assert_eq!(message[2..18], *format!("{:016}", counts[i]).as_bytes());
                counts[i] += 1;
            }
            buffer.drain(..whole);
        }
    }
    read.store(usize::MAX / 2, Ordering::Release);
}

#[test]
fn slow_subscribers_are_treated_by_the_policy() {
    for policy in [
        BacklogPolicy::Close,
        BacklogPolicy::DropNewest,
        BacklogPolicy::DropOldest,
    ] {
        // More than the system holds for a client that reads nothing.
        slow_and_fast(8, 60_000, policy);
    }
}

/// The figures of the issue; some minutes without optimisation.
#[test]
#[ignore = "large"]
fn a_hundred_thousand_publishes_to_a_thousand_subscribers() {
    for policy in [BacklogPolicy::Close, BacklogPolicy::DropOldest] {
        slow_and_fast(1000, 100_000, policy);
    }
}
