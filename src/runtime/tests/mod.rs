//! Real servers whose connections fail as planned; see `faulty`.

mod cases;
mod cut;
pub(crate) mod delivery;
mod holding;
mod http;
mod limit;
mod starved;
mod suspended;
#[cfg(feature = "websocket")]
mod ws;

use super::listener::ListenerId;
use super::server_state::Accepted;
use super::transport::Plain;
use super::transport::faulty::{FaultPlan, Faulty};
use crate::config::Config;
use crate::http::handler::Handler;
use crate::server::Server;
use crate::server::running::{Running, Stopped};
use peregrine_protocol::limits::Limits;
use std::fs::File;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(120);
/// A timeout for things that must not happen by themselves.
const NEVER: Duration = Duration::from_secs(3600);

/// One worker, with timeouts that even a slow machine does not reach.
fn config(limits: Limits) -> Config {
    let config = Config::default();
    #[cfg(feature = "tls")]
    let config = config.tls_handshake_timeout(NEVER);
    config.workers(1).stop_timeout(PATIENCE).limits(
        limits
            .head_timeout(NEVER)
            .idle_timeout(NEVER)
            .body_grace(NEVER)
            .write_timeout(NEVER)
            .write_grace(NEVER)
            .stall_timeout(NEVER)
            .linger_timeout(NEVER)
            .response_timeout(NEVER),
    )
}

/// An open file with `bytes` and no name any more. Tests run at the same time: each call has a name of its own.
pub(crate) fn unnamed_file(bytes: &[u8]) -> File {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("peregrine-unnamed-{}-{count}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let mut options = File::options();
    let options = options.create_new(true).write(true).read(true);
    let mut file = options.open(&path).expect("a new file");
    std::fs::remove_file(&path).expect("removed");
    file.write_all(bytes).expect("written");
    file
}

#[track_caller]
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let limit = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < limit, "not within {PATIENCE:?}: {what}");
        thread::park_timeout(Duration::from_micros(50));
    }
}

/// Gives the only worker a connection that follows `plan`. Returns the client's end of it.
#[track_caller]
fn connect(server: &Running, plan: FaultPlan) -> UnixStream {
    let (planned, client) = pair(plan);
    hand_over(server, [planned]);
    client
}

/// The server's end with its plan, and the client's.
#[track_caller]
fn pair(plan: FaultPlan) -> ((UnixStream, FaultPlan), UnixStream) {
    let (end, client) = UnixStream::pair().expect("a pair of sockets");
    end.set_nonblocking(true).expect("an open socket");
    let limit = Some(PATIENCE);
    client.set_read_timeout(limit).expect("an open socket");
    client.set_write_timeout(limit).expect("an open socket");
    ((end, plan), client)
}

/// Gives the only worker several connections, which it takes in order.
fn hand_over<const N: usize>(server: &Running, connections: [(UnixStream, FaultPlan); N]) {
    let worker = &server.control.workers[0];
    let listener = ListenerId(0);
    let plans = &server.control.listener_config(listener).plans;
    // Until all are given, because another thread may run in between.
    let mut plans = plans.lock().expect("no panic");
    let accepted = connections.map(|(end, plan)| {
        plans.push_back(plan);
        Accepted {
            socket: Plain::Unix(end),
            peer: None,
            proxied: None,
            listener,
        }
    });
    worker.given.fetch_add(N as u64, Ordering::Relaxed);
    if worker.mailbox.put(accepted) {
        worker.waker.wake();
    }
}

/// Starts a server over a transport that fails, and with TLS over that.
fn start<H: Handler>(server: Server<H>, is_secure: bool) -> Running {
    #[cfg(feature = "tls-self-signed")]
    if is_secure {
        use super::transport::Secure;
        let server = server.bind_tls("127.0.0.1:0", super::tls::tests::self_signed());
        // The same bytes as without TLS: no `Alt-Svc`.
        #[cfg(feature = "http3")]
        let server = server.http3(crate::config::Http3::Off);
        return server.start_over::<Secure<Faulty>>().expect("a server");
    }
    assert!(!is_secure, "needs the feature `tls-self-signed`");
    let server = server.bind("127.0.0.1:0").start_over::<Faulty>();
    server.expect("a server")
}

/// Asserts that what a client receives is the same under each of these plans.
fn same_under(
    plans: Vec<(&'static str, FaultPlan)>,
    wanted: &[u8],
    what: &str,
    play: impl Fn(FaultPlan) -> Vec<u8>,
) {
    for (name, plan) in plans {
        let got = play(plan.fit_for(wanted));
        assert!(got == wanted, "{what}, {name}: {}", short(&got));
    }
}

/// For which values of `is_secure` the tests run.
fn without_and_with_tls() -> &'static [bool] {
    match cfg!(feature = "tls-self-signed") {
        true => &[false, true],
        false => &[false],
    }
}

/// As [`exchange`], over TLS. The end may come at any time.
#[cfg(feature = "tls-self-signed")]
fn exchange_tls(client: &UnixStream, bytes: &[u8], half_closes: bool) -> Vec<u8> {
    use rustls::{ClientConnection, pki_types::ServerName};
    let name = ServerName::try_from("localhost").expect("a name");
    let config = super::tls::tests::client_config();
    let mut tls = ClientConnection::new(config.into(), name).expect("a client");
    while tls.is_handshaking() {
        if tls.complete_io(&mut { client }).is_err() {
            return Vec::new();
        }
    }
    let (mut sent, mut all) = (Vec::new(), Vec::new());
    tls.set_buffer_limit(None);
    tls.writer().write_all(bytes).expect("memory");
    if half_closes {
        tls.send_close_notify();
    }
    while tls.wants_write() {
        tls.write_tls(&mut sent).expect("memory");
    }
    thread::scope(|scope| {
        scope.spawn(move || {
            // The server may close before it has read everything.
            let _ = { client }.write_all(&sent);
            if half_closes {
                let _ = client.shutdown(Shutdown::Write);
            }
        });
        let mut part = [0; 16 << 10];
        loop {
            // What is there is read first.
            match tls.reader().read(&mut part) {
                Ok(0) => return all,
                Ok(n) => all.extend_from_slice(&part[..n]),
                Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return all,
                Err(_) => match tls.read_tls(&mut { client }) {
                    Err(_) => return all,
                    Ok(_) => drop(tls.process_new_packets().expect("valid records")),
                },
            }
        }
    })
}

/// The same, in either way.
fn exchange_over(is_secure: bool, client: &UnixStream, bytes: &[u8], half_closes: bool) -> Vec<u8> {
    #[cfg(feature = "tls-self-signed")]
    if is_secure {
        return exchange_tls(client, bytes, half_closes);
    }
    assert!(!is_secure, "needs the feature `tls-self-signed`");
    exchange(client, bytes, half_closes)
}

/// Sends all of `bytes` and reads at the same time until the end of the stream. `half_closes`: closes the
/// sending half afterwards.
fn exchange(client: &UnixStream, bytes: &[u8], half_closes: bool) -> Vec<u8> {
    thread::scope(|scope| {
        scope.spawn(move || {
            // The server may close before it has read everything.
            let _ = { client }.write_all(bytes);
            if half_closes {
                let _ = client.shutdown(Shutdown::Write);
            }
        });
        read_all(client)
    })
}

/// Reads until the end of the stream, or until a reset.
fn read_all(mut client: &UnixStream) -> Vec<u8> {
    let (mut all, mut part) = (Vec::new(), [0; 16 << 10]);
    loop {
        match client.read(&mut part) {
            Ok(0) => return all,
            Ok(n) => all.extend_from_slice(&part[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return all,
            Err(error) => panic!("after {}: {error}", all.escape_ascii()),
        }
    }
}

/// The same bytes with a fixed date.
fn undated(mut bytes: Vec<u8>) -> Vec<u8> {
    const DATE: &[u8] = b"\r\nDate: ";
    let mut at = 0;
    while let Some(found) = memchr::memmem::find(&bytes[at..], DATE) {
        at += found + DATE.len();
        let end = (at + 29).min(bytes.len());
        bytes[at..end].fill(b'-');
    }
    bytes
}

/// For a message.
fn short(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(600)].escape_ascii().to_string()
}

/// Waits until all connections have ended. Everything that belongs to a connection has a clone of `live`, so
/// then only the test has one, and its handler `held` more.
#[track_caller]
fn nothing_is_left(server: &Running, live: &Arc<()>, held: usize) {
    wait_until("all connections are closed", || {
        let counters = server.counters();
        counters.accepted == counters.closed
    });
    wait_until("all that belongs to them is dropped", || {
        Arc::strong_count(live) == held
    });
    let worker = &server.control.workers[0];
    assert_eq!(worker.load(), 0);
    let handle = &server.handles[0];
    wait_until("nothing is on its way", || handle.inbox.is_empty());
    assert_eq!(handle.pending(), 0);
}

/// Stops the server, which must end without an error and without a connection that it had to close.
#[track_caller]
fn end(server: Running) -> Stopped {
    server.stop();
    let (told, tells) = mpsc::channel();
    thread::spawn(move || {
        let _ = told.send(server.wait());
    });
    let ended = tells.recv_timeout(PATIENCE).expect("the server ends");
    let stopped = ended.expect("no thread failed");
    assert_eq!(stopped.aborted, 0);
    assert_eq!(stopped.counters.accepted, stopped.counters.closed);
    stopped
}

impl FaultPlan {
    /// Tens of thousands of bytes one by one take too long.
    fn fit_for(self, wanted: &[u8]) -> FaultPlan {
        match wanted.len() > 10_000 && (1..100).contains(&self.write) {
            true => FaultPlan {
                write: 3000,
                ..self
            },
            false => self,
        }
    }
}

/// Everything that can happen at a call except a reset and a lack of memory, in several combinations.
fn plans() -> Vec<(&'static str, FaultPlan)> {
    let plan = |seed: u64| FaultPlan {
        seed: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        ..FaultPlan::default()
    };
    vec![
        ("1-byte reads", FaultPlan { read: 1, ..plan(1) }),
        (
            "1-byte writes",
            FaultPlan {
                write: 1,
                ..plan(2)
            },
        ),
        (
            "1 byte at a time",
            FaultPlan {
                read: 1,
                write: 1,
                ..plan(3)
            },
        ),
        (
            "short",
            FaultPlan {
                read: 40,
                write: 40,
                ..plan(4)
            },
        ),
        (
            "EAGAIN",
            FaultPlan {
                again: 50,
                ..plan(5)
            },
        ),
        (
            "EINTR",
            FaultPlan {
                interrupted: 50,
                ..plan(6)
            },
        ),
        (
            "reads ahead",
            FaultPlan {
                read: 20,
                ahead: 64,
                ..plan(9)
            },
        ),
        (
            "all",
            FaultPlan {
                read: 30,
                write: 30,
                again: 20,
                interrupted: 20,
                ..plan(7)
            },
        ),
        (
            "all, tiny",
            FaultPlan {
                read: 3,
                write: 3,
                again: 30,
                interrupted: 30,
                ..plan(8)
            },
        ),
    ]
}
