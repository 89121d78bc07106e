//! What all connections of a server together may hold in memory.

use super::support::{Answer, Asked, Client, OnOwnAddr, wait_until, workers};
use peregrine::body::BodyReader;
use peregrine::metrics::Stats;
use peregrine::server::Running;
use peregrine::{BodyPlan, Config, Done, Handler, Request, Response, Server};
use std::io::Read;
#[cfg(target_os = "linux")]
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// What blocks until it is opened.
#[derive(Default)]
struct Gate(Mutex<bool>, Condvar);

impl Gate {
    fn pass(&self) {
        let open = self.0.lock().expect("no panic");
        drop(self.1.wait_while(open, |open| !*open).expect("no panic"));
    }

    fn open(&self) {
        *self.0.lock().expect("no panic") = true;
        self.1.notify_all();
    }
}

/// Says how long bodies are, in all ways there are to take one.
#[derive(Default)]
struct App {
    gate: Arc<Gate>,
}

impl Handler for App {
    fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
        if req.path() != "/reader" {
            return BodyPlan::Buffer;
        }
        let (plan, mut body) = BodyReader::new();
        let gate = self.gate.clone();
        thread::spawn(move || {
            gate.pass();
            let mut len = 0;
            let mut part = [0; 4096];
            while let Ok(n @ 1..) = body.read(&mut part) {
                len += n;
            }
            let _ = body.respond(|res| res.text(len.to_string()));
        });
        plan
    }

    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        match req.path() {
            "/large" => res.send(vec![b'x'; LARGE]),
            "/offload" => {
                let gate = self.gate.clone();
                res.offload(req, move |req, res| {
                    gate.pass();
                    res.text(req.body().len().to_string())
                })
            }
            _ => res.text(req.body().len().to_string()),
        }
    }
}

/// More than systems take of a response that no client reads.
const LARGE: usize = 32 << 20;

struct Bench {
    server: Running,
    stats: Stats,
    addr: SocketAddr,
    gate: Arc<Gate>,
}

fn bench(buffered_bytes: usize) -> Bench {
    bench_with(workers(1).buffered_bytes(buffered_bytes))
}

fn bench_with(config: Config) -> Bench {
    let (app, stats) = (App::default(), Stats::new());
    let gate = app.gate.clone();
    let server = Server::new(app).config(config).stats(&stats);
    let server = server.on_own_addr().start().expect("a server");
    let addr = server.local_addr().expect("a TCP address");
    Bench {
        server,
        stats,
        addr,
        gate,
    }
}

impl Bench {
    fn held(&self) -> usize {
        self.stats.buffered_bytes() as usize
    }

    /// A client with `sent` bytes of a body of `len`.
    fn posts(&self, path: &str, len: usize, sent: usize) -> Client {
        let mut client = Client::connect(self.addr);
        let before = self.server.counters().bytes_read;
        let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n");
        client.send(&head);
        client.send(vec![b'x'; sent]);
        let read = before + (head.len() + sent) as u64;
        wait_until("all is read", || self.server.counters().bytes_read >= read);
        client
    }
}

#[track_caller]
fn assert_refused(client: &mut Client, answer: &Answer) {
    let seen = (answer.status, answer.get("retry-after"), answer.closes());
    assert_eq!(seen, (503, Some("1"), true));
    client.expect_end();
}

const KIB: usize = 1 << 10;

/// All that connections keep is counted, and no longer than they keep it.
#[test]
fn held_bytes_are_counted() {
    let bench = bench(usize::MAX);
    let nothing = || wait_until("nothing is held", || bench.held() == 0);
    let idle = Client::connect(bench.addr).get("/").status;
    assert_eq!((idle, bench.held()), (200, 0));

    let mut heads: Vec<_> = (0..8).map(|_| Client::connect(bench.addr)).collect();
    heads.iter_mut().for_each(|client| client.send("GET / HT"));
    // The last step of a thread may be missing.
    wait_until("heads", || bench.held() >= 4 * 16 * KIB);
    for client in &mut heads {
        client.send("TP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.answer(Asked::Other).status, 200);
    }
    nothing();

    let mut body = bench.posts("/", 500 * KIB, 400 * KIB);
    wait_until("a body", || bench.held() >= 400 * KIB);
    body.send(vec![b'x'; 100 * KIB]);
    assert_eq!(body.answer(Asked::Other).text(), (500 * KIB).to_string());
    nothing();

    let mut answer = Client::connect(bench.addr);
    answer.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("an answer", || bench.held() >= LARGE / 2);
    assert_eq!(answer.answer(Asked::Other).body.len(), LARGE);
    nothing();

    let mut offloaded = bench.posts("/offload", 300 * KIB, 300 * KIB);
    wait_until("a copy for the pool", || bench.held() >= 300 * KIB);
    let mut read = bench.posts("/reader", 500 * KIB, 200 * KIB);
    wait_until("a queue", || bench.held() >= 500 * KIB);
    bench.gate.open();
    let answer = offloaded.answer(Asked::Other);
    assert_eq!(answer.text(), (300 * KIB).to_string());
    read.send(vec![b'x'; 300 * KIB]);
    assert_eq!(read.answer(Asked::Other).text(), (500 * KIB).to_string());
    nothing();

    // A connection that ends releases its memory.
    drop(bench.posts("/", 500 * KIB, 400 * KIB));
    nothing();
}

/// Above the budget what is new is refused, and what has begun goes on; below it all is as before.
#[test]
fn above_the_budget_new_requests_are_refused() {
    let bench = bench(100 * KIB);
    let mut idle = Client::connect(bench.addr);
    assert_eq!(idle.get("/").status, 200);
    let mut begun = bench.posts("/", 8 * KIB, 8 * KIB - 1);
    // A buffer of 128 KiB.
    let mut holder = bench.posts("/", 120 * KIB, 100 * KIB);
    wait_until("it is over", || bench.held() > 100 * KIB);

    let mut new = Client::connect(bench.addr);
    let answer = new.get("/");
    assert_refused(&mut new, &answer);
    let answer = idle.get("/");
    assert_refused(&mut idle, &answer);
    let mut half = Client::connect(bench.addr);
    half.send("GET / HT");
    let answer = half.answer(Asked::Other);
    assert_refused(&mut half, &answer);
    let mut body = Client::connect(bench.addr);
    body.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n");
    let answer = body.answer(Asked::Other);
    assert_refused(&mut body, &answer);

    begun.send("x");
    assert_eq!(begun.answer(Asked::Other).text(), (8 * KIB).to_string());
    let counters = bench.server.counters();
    assert_eq!((counters.overloaded, counters.refused), (4, 4));
    // It has room for the rest.
    holder.send(vec![b'x'; 20 * KIB]);
    assert_eq!(holder.answer(Asked::Other).text(), (120 * KIB).to_string());
    wait_until("nothing is held", || bench.held() == 0);
    assert_eq!(Client::connect(bench.addr).get("/").status, 200);
    assert_eq!(holder.get("/").status, 200);
}

/// A body that has begun gets no larger buffer above the budget.
#[test]
fn a_body_that_would_grow_is_refused() {
    let bench = bench(100 * KIB);
    let mut growing = bench.posts("/", 500 * KIB, 100 * KIB);
    wait_until("it is over", || bench.held() > 100 * KIB);
    growing.send(vec![b'x'; 100 * KIB]);
    let answer = growing.answer(Asked::Other);
    assert_refused(&mut growing, &answer);
    wait_until("nothing is held", || bench.held() == 0);
}

/// Those that hold memory and make no progress are closed before what is new is refused for it.
#[test]
fn connections_without_progress_are_closed_to_make_room() {
    let mut config = workers(1);
    config.buffered_bytes = KIB * KIB;
    config.limits.stall_timeout = Duration::ZERO;
    let bench = bench_with(config);
    let mut small = Client::connect(bench.addr);
    assert_eq!(small.get("/").status, 200);
    // Buffers of 128 KiB, and half of them would do.
    let posts = |_| bench.posts("/", 120 * KIB, 100 * KIB);
    let mut holders: Vec<_> = (0..6).map(posts).collect();
    let mut reader = Client::connect(bench.addr);
    reader.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("one is closed", || {
        bench.server.counters().stalled_closed > 0
    });
    wait_until("there is room", || bench.held() <= KIB * KIB * 7 / 8);
    let counters = bench.server.counters();
    let closed = counters.stalled_closed;
    assert!((1..=7).contains(&closed), "{closed} closed");
    let end = reader.try_answer(Asked::Other);
    assert!(!matches!(end, Ok(Some(_))), "it was reset");
    let refused = counters.refused;
    assert_eq!(refused, closed - 1);
    for holder in holders.iter_mut().take(refused as usize) {
        let answer = holder.answer(Asked::Other);
        assert_refused(holder, &answer);
    }
    for holder in holders.iter_mut().skip(refused as usize) {
        holder.send(vec![b'x'; 20 * KIB]);
        assert_eq!(holder.answer(Asked::Other).text(), (120 * KIB).to_string());
    }
    assert_eq!(small.get("/").status, 200);
}

/// A client that posts as much as it can of a large body.
#[cfg(target_os = "linux")]
fn fill(addr: SocketAddr, body: &[u8]) -> Client {
    let mut client = Client::connect(addr);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    // It may have been refused already.
    let _ = client.stream.write_all(body);
    client
}

/// The server's process; see [`super::served::Served`].
#[cfg(target_os = "linux")]
#[test]
#[ignore = "for the next one"]
fn server() {
    super::served::serve(super::served::plain(App::default()));
}

/// However many connections hold as much as they may, the process stays within the documented memory: the
/// budget, the pools, and the connections themselves.
#[cfg(target_os = "linux")]
#[test]
fn a_process_stays_within_its_budget() {
    use super::served::Served;

    const MIB: usize = KIB * KIB;
    const BUDGET: usize = 8 * MIB;
    const CLIENTS: usize = 300;
    const SENT: usize = 200 * KIB;
    /// What the pools of two workers keep, 5 MiB each; the rest is the allocator's.
    const BESIDES: usize = 20 * MIB;

    let settings = [("workers", 2), ("buffered_bytes", BUDGET)];
    let mut server = Served::start("budget::server", "", &settings);
    assert_eq!(Client::connect(server.addr).get("/").status, 200);
    let before = server.ask("resident");

    let (mut most, mut refused) = (0, 0);
    let body = vec![b'x'; SENT];
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(fill(server.addr, &body));
        most = most.max(server.ask("resident"));
    }
    // Refused bodies may have made a little room.
    wait_until("a new client is refused", || {
        clients.push(fill(server.addr, &body));
        Client::connect(server.addr).get("/").status == 503
    });
    most = most.max(server.ask("resident"));
    let wanted = CLIENTS * SENT;
    let grown = most.saturating_sub(before);
    println!("{} MiB for {} MiB", grown / MIB, wanted / MIB);
    assert!(grown <= BUDGET + BESIDES && wanted > 2 * (BUDGET + BESIDES));
    for client in &mut clients {
        // Those that are not refused wait for the rest of their bodies.
        let end = client.stream.shutdown(std::net::Shutdown::Write);
        if end.is_ok() && client.try_answer(Asked::Other).is_ok_and(|a| a.is_some()) {
            refused += 1;
        }
    }
    assert!(refused > CLIENTS / 2, "{refused}");
    drop(clients);
    wait_until("nothing is held", || server.ask("buffered_bytes") == 0);
    assert_eq!(Client::connect(server.addr).get("/").status, 200);
    server.end();
}
