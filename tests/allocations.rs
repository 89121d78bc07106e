//! A worker that has warmed up allocates nothing, whatever the kind of request: counted in the
//! worker's thread of a real server, by the allocator of this program.

#[allow(dead_code)]
mod counting;
#[cfg(feature = "http2")]
#[allow(dead_code)]
#[path = "http2/client.rs"]
mod http2_client;
// Parts of it are for other tests.
#[cfg(feature = "dir")]
#[allow(dead_code)]
#[path = "it/scratch.rs"]
mod scratch;
#[allow(dead_code, unused_imports)]
#[path = "it/support.rs"]
mod support;

use counting::{allocations, count_here, count_this_thread, is_counted};
use peregrine::body::BodySender;
use peregrine::{Done, Payload, Request, Responder, Response, from_fn};
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex};
use support::{Asked, Client, PATIENCE, ended, start, wait_until, workers};

// ----------------------------------------------------------------------------------- the server

const CONNECTIONS: usize = 8;
const WARM_UP: usize = 2000;
const REQUESTS: usize = 10_000;
/// Until one without an allocation: more than there are buffers, twice over.
const ROUNDS: usize = 40;
const SHARED: usize = 64 << 10;

/// Counts the thread it runs in from its first call on. Allocates nothing itself.
fn app(shared: &Arc<[u8]>, req: &Request<'_>, res: Response<'_>) -> Done {
    count_this_thread("pg-worker-0");
    match req.path() {
        "/written" => res
            .header("Content-Type", "text/plain")
            .header("Method", req.method())
            .write_with(|body| write!(body, "{} {}", req.path(), req.headers().len())),
        "/shared" => res.send(Payload::Shared(shared.clone())),
        "/echo" => res.header("Length", b"1024").body(req.body()),
        "/missing" => res.status(404).text("nothing here"),
        "/allocates" => res.body(format!("{} bytes", req.body().len())),
        _ => res.body("Hello, World!"),
    }
}

/// A kind of request, and its response.
struct Kind {
    name: &'static str,
    request: Vec<u8>,
    /// Requests in one write.
    depth: usize,
    status: u16,
    body: Vec<u8>,
}

fn kinds(shared: &[u8]) -> Vec<Kind> {
    let kind = |name, request: &str, depth, status, body: &[u8]| Kind {
        name,
        request: request.as_bytes().to_vec(),
        depth,
        status,
        body: body.to_vec(),
    };
    let get = |path| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n");
    let posted = "0123456789abcdef".repeat(64);
    let head = "POST /echo HTTP/1.1\r\nHost: localhost\r\n";
    let post = format!("{head}Content-Length: 1024\r\n\r\n{posted}");
    let (one, two) = posted.split_at(512);
    let chunks = format!("200\r\n{one}\r\n200;name=value\r\n{two}\r\n0\r\n\r\n");
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunks}");
    let hello = b"Hello, World!";
    vec![
        kind("one after another", &get("/"), 1, 200, hello),
        kind("pipelined", &get("/"), 16, 200, hello),
        kind(
            "header and write_with",
            &get("/written"),
            16,
            200,
            b"/written 2",
        ),
        kind("another status", &get("/missing"), 16, 404, b"nothing here"),
        kind("a shared payload", &get("/shared"), 1, 200, shared),
        kind("POST", &post, 1, 200, posted.as_bytes()),
        kind("pipelined POST", &post, 16, 200, posted.as_bytes()),
        kind("chunked POST", &chunked, 1, 200, posted.as_bytes()),
        #[cfg(feature = "dir")]
        kind("a small file", &get("/files/small"), 8, 200, &[b's'; 6150]),
        #[cfg(feature = "dir")]
        kind(
            "a file in memory",
            &get("/files/middle"),
            1,
            200,
            &[b'm'; 20_000],
        ),
        #[cfg(feature = "dir")]
        kind(
            "a file on the disk",
            &get("/files/large"),
            1,
            200,
            &[b'l'; 100_000],
        ),
    ]
}

/// The files of the kinds above, looked at once.
#[cfg(feature = "dir")]
fn files(scratch: &scratch::Scratch) -> peregrine::files::DirServer {
    scratch.write("small", [b's'; 6150]);
    scratch.write("middle", [b'm'; 20_000]);
    scratch.write("large", [b'l'; 100_000]);
    let config = peregrine::files::DirConfig::default()
        .prefix("/files")
        .recheck(support::NEVER);
    peregrine::files::DirServer::with_config(scratch.root(), config).expect("a folder")
}

/// Sends on all connections before it reads on any. The first responses are read strictly. All others must
/// have the same length, the same beginning and the same end.
fn exchange(clients: &mut [Client], kind: &Kind, requests: usize) {
    let batch = kind.request.repeat(kind.depth);
    let status = format!("HTTP/1.1 {} ", kind.status);
    let mut received = Vec::new();
    for _ in 0..requests.div_ceil(kind.depth * clients.len()) {
        clients.iter_mut().for_each(|client| client.send(&batch));
        for client in &mut *clients {
            if received.is_empty() {
                let before = client.received;
                for _ in 0..kind.depth {
                    let answer = client.answer(Asked::Other);
                    assert_eq!(answer.status, kind.status, "{}", kind.name);
                    assert!(answer.body == kind.body, "{}: {answer:?}", kind.name);
                }
                received.resize((client.received - before) as usize, 0);
            } else {
                client.body(&mut received);
                assert!(received.starts_with(status.as_bytes()), "{}", kind.name);
                assert!(received.ends_with(&kind.body), "{}", kind.name);
            }
        }
    }
}

/// A worker's buffers go from connection to connection. A connection needs one of each kind while half a
/// request has arrived or half a response is unsent. This may be the case for all connections at once.
fn lease_all_buffers(clients: &mut [Client], read: impl Fn() -> u64) {
    let half = "GET / HTTP/1.1\r\nHo";
    let before = read();
    clients.iter_mut().for_each(|client| client.send(half));
    let all = before + (half.len() * clients.len()) as u64;
    wait_until("all halves are read", || read() == all);
    // More than sockets hold, behind as much as is ever in one output.
    let large = "GET /shared HTTP/1.1\r\nHost: a\r\n\r\n".repeat(400);
    let small = "GET /written HTTP/1.1\r\nHost: a\r\n\r\n".repeat(60);
    for client in &mut *clients {
        client.send(format!("st: a\r\n\r\n{small}{large}"));
    }
    // Until the worker seems to read no more: nothing is asserted yet.
    let (mut bytes, mut same) = (read(), 0);
    wait_until("all outputs are full", || {
        same = if read() == bytes { same + 1 } else { 0 };
        bytes = read();
        same == 50
    });
    for client in clients {
        for _ in 0..1 + 60 + 400 {
            assert_eq!(client.answer(Asked::Other).status, 200);
        }
    }
}

/// The counter is one for all.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

#[test]
fn a_warm_worker_does_not_allocate() {
    let _alone = ONE_AT_A_TIME.lock();
    let shared: Arc<[u8]> = vec![b'x'; SHARED].into();
    let payload = shared.clone();
    #[cfg(feature = "dir")]
    let (scratch, files) = {
        let scratch = scratch::Scratch::new();
        let files = files(&scratch);
        (scratch, files)
    };
    let handler = from_fn(move |req: &Request<'_>, res: Response<'_>| {
        #[cfg(feature = "dir")]
        if req.path().starts_with("/files/") {
            return files.serve(req, res);
        }
        app(&payload, req, res)
    });
    let (server, addr) = start(handler, workers(1));
    let mut clients: Vec<_> = (0..CONNECTIONS).map(|_| Client::connect(addr)).collect();
    let kinds = kinds(&shared);

    // The counter counts, and nothing but the worker, which may still be at work for a request
    // that it has answered.
    assert_eq!(clients[0].get("/").status, 200);
    assert!(!is_counted(), "this thread is not counted");
    let before = allocations();
    assert_eq!(clients[0].get("/allocates").text(), "0 bytes");
    assert!(allocations() > before, "the worker is");

    lease_all_buffers(&mut clients, || server.counters().bytes_read);
    for kind in &kinds {
        // A buffer that has not grown to its full size may turn up now and then, when several are
        // out, but each only a few times. An allocation that a kind of request needs turns up in
        // every round.
        let mut made = Vec::new();
        while made.last() != Some(&0) {
            assert!(made.len() < ROUNDS, "{}: {made:?} allocations", kind.name);
            exchange(&mut clients, kind, WARM_UP / kinds.len());
            let before = allocations();
            exchange(&mut clients, kind, REQUESTS / 3);
            made.push(allocations() - before);
        }
    }
    drop(clients);
    #[cfg(feature = "dir")]
    drop(scratch);
    server.stop();
    assert_eq!(ended(server).counters.refused, 0);
}

// ------------------------------------------------------------------------------- late responses

/// Responders for a thread that is counted.
enum Work {
    Answer(Responder),
    Stream(BodySender, Payload),
}

/// Hands work over without an allocation of its own.
struct Queue {
    work: Mutex<Vec<Work>>,
    came: Condvar,
}

const PIECES: usize = 64;

impl Queue {
    fn put(&self, work: Work) {
        self.work.lock().expect("no panic").push(work);
        self.came.notify_one();
    }

    /// Works until another thread takes the whole queue.
    fn run(&self) {
        count_here();
        loop {
            let work = self.work.lock().expect("no panic");
            let is_idle = |work: &mut Vec<Work>| work.is_empty() && work.capacity() > 0;
            let mut work = self.came.wait_while(work, is_idle).expect("no panic");
            let Some(next) = work.pop() else { return };
            drop(work);
            match next {
                Work::Answer(responder) => {
                    assert!(
                        responder
                            .send(|res| res.header("x-late", "1").text("late"))
                            .is_ok()
                    );
                }
                Work::Stream(body, piece) => stream(body, &piece),
            }
        }
    }
}

fn stream(mut body: BodySender, piece: &Payload) {
    for _ in 0..PIECES {
        while body.try_send(piece.clone()).is_err() {
            assert!(body.wait_ready(PATIENCE));
        }
    }
    body.finish().expect("the client receives it");
}

/// Counted in the worker and in the thread that responds, together.
#[test]
fn warm_deferred_responses_allocate_little() {
    let _alone = ONE_AT_A_TIME.lock();
    let queue = Arc::new(Queue {
        work: Mutex::new(Vec::with_capacity(CONNECTIONS)),
        came: Condvar::new(),
    });
    let shared: Arc<[u8]> = vec![b'x'; SHARED].into();
    let handler = {
        let (queue, shared) = (queue.clone(), shared.clone());
        from_fn(move |req: &Request<'_>, res: Response<'_>| {
            count_here();
            let piece = match req.path() {
                "/static" => Payload::Static(&[b's'; 1000]),
                "/shared" => shared.clone().into(),
                path => {
                    let res = match path {
                        "/begun" => res.status(201).header("x-early", "1"),
                        _ => res,
                    };
                    let (done, responder) = res.defer();
                    queue.put(Work::Answer(responder));
                    return done;
                }
            };
            let (done, body) = res.stream_exact((piece.len() * PIECES) as u64);
            queue.put(Work::Stream(body, piece));
            done
        })
    };
    let (server, addr) = start(handler, workers(1));
    let mut clients: Vec<_> = (0..CONNECTIONS).map(|_| Client::connect(addr)).collect();
    let thread = {
        let queue = queue.clone();
        std::thread::spawn(move || queue.run())
    };
    // Each with the most allocations for a request. A stream's own are its two ends; its pieces, of
    // which one each were bearable, cost none but room on their way at times.
    let small = vec![b's'; 1000 * PIECES];
    let large = vec![b'x'; SHARED * PIECES];
    for (path, status, body, most, requests) in [
        ("/", 200, &b"late"[..], 2, REQUESTS / 3),
        ("/begun", 201, b"late", 2, REQUESTS / 3),
        ("/static", 200, &small, 4, REQUESTS / 10),
        ("/shared", 200, &large, 4, 64),
    ] {
        let kind = Kind {
            name: path,
            request: format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes(),
            depth: 1,
            status,
            body: body.to_vec(),
        };
        // A stream waits for its client, and the one thread that sends them waits with it.
        let clients = match path {
            "/static" | "/shared" => &mut clients[..1],
            _ => &mut clients[..],
        };
        let requests = requests / CONNECTIONS * CONNECTIONS;
        let mut made = Vec::new();
        while made.last().is_none_or(|&made| made > most * requests) {
            assert!(made.len() < ROUNDS, "{path}: {made:?} allocations");
            exchange(clients, &kind, requests / 4);
            let before = allocations();
            exchange(clients, &kind, requests);
            made.push((allocations() - before) as usize);
        }
    }
    *queue.work.lock().expect("no panic") = Vec::new();
    queue.came.notify_one();
    thread.join().expect("no panic");
    drop(clients);
    server.stop();
    assert_eq!(ended(server).counters.handler_errors, 0);
}

// --------------------------------------------------------------------------------------- HTTP/2

/// A request with a response that is complete at once and fits the windows.
#[cfg(feature = "http2")]
#[test]
fn a_warm_worker_does_not_allocate_for_http2() {
    const AT_ONCE: usize = 25;
    let _alone = ONE_AT_A_TIME.lock();
    let shared: Arc<[u8]> = vec![b'x'; SHARED].into();
    let handler = from_fn(move |req: &Request<'_>, res: Response<'_>| app(&shared, req, res));
    let (server, addr) = start(handler, workers(1));
    let connect = |_| http2_client::Client::connect(addr);
    let mut clients: Vec<_> = (0..CONNECTIONS).map(connect).collect();
    let mut ask = |path: &str, expected: &[u8], requests: usize| {
        for _ in 0..requests.div_ceil(AT_ONCE * CONNECTIONS) {
            for client in &mut clients {
                let streams: Vec<_> = (0..AT_ONCE).map(|_| client.get(path)).collect();
                for stream in streams {
                    assert_eq!(client.body(stream), expected);
                }
                client.open((expected.len() * AT_ONCE) as u32);
            }
        }
    };
    let before = allocations();
    ask("/allocates", b"0 bytes", AT_ONCE);
    assert!(allocations() > before, "the worker is counted");
    for (path, expected) in [
        ("/", &b"Hello, World!"[..]),
        ("/written", b"/written 1"),
        ("/missing", b"nothing here"),
    ] {
        let mut made = Vec::new();
        while made.last() != Some(&0) {
            assert!(made.len() < ROUNDS, "{path}: {made:?} allocations");
            ask(path, expected, WARM_UP / 4);
            let before = allocations();
            ask(path, expected, REQUESTS / 5);
            made.push(allocations() - before);
        }
    }
    drop(clients);
    server.stop();
    assert_eq!(ended(server).counters.refused, 0);
}
