//! A worker that has warmed up allocates nothing, whatever the kind of request: counted in the
//! worker's thread of a real server, by the allocator of this program.
#![allow(unsafe_code)]

// Parts of it are for other tests.
#[cfg(feature = "dir")]
#[allow(dead_code)]
#[path = "it/scratch.rs"]
mod scratch;
#[allow(dead_code, unused_imports)]
#[path = "it/support.rs"]
mod support;

use peregrine::{
    BodyPlan, BodySink, Done, Flow, Handler, Incoming, Payload, Request, Response, from_fn,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use support::{Asked, Client, ended, start, wait_until, workers};

/// Allocations of threads that are counted.
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Whether this thread's allocations count. Constant and without a destructor, so that reading
    /// it does not allocate.
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}

/// The system's allocator, and a counter.
struct Counting;

fn count() {
    if COUNTED.get() {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every method hands its arguments to the same method of `System` and returns what that
// returns, so `System` keeps the contract; `count` neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    // SAFETY: the caller's promise is that of `System::alloc`.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: `layout` is the caller's, with a size that is not zero.
        unsafe { System.alloc(layout) }
    }

    // SAFETY: the caller's promise is that of `System::alloc_zeroed`.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: `layout` is the caller's, with a size that is not zero.
        unsafe { System.alloc_zeroed(layout) }
    }

    // SAFETY: the caller's promise is that of `System::realloc`.
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: `at` is from `System` with this `layout`, as all blocks of this allocator are.
        unsafe { System.realloc(at, layout, size) }
    }

    // SAFETY: the caller's promise is that of `System::dealloc`.
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: `at` is from `System` with this `layout`, as all blocks of this allocator are.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// ----------------------------------------------------------------------------------- the server

const CONNECTIONS: usize = 8;
const WARM_UP: usize = 2000;
const REQUESTS: usize = 10_000;
/// Until one without an allocation: more than there are buffers, twice over.
const ROUNDS: usize = 40;
const SHARED: usize = 64 << 10;

/// One test at a time: they share the counter.
static ALONE: Mutex<()> = Mutex::new(());

/// Counts a worker's thread from now on. Allocates nothing itself.
fn count_worker() {
    if !COUNTED.get() {
        let is_worker = std::thread::current().name() == Some("pg-worker-0");
        COUNTED.set(is_worker);
    }
}

/// Counts the thread it runs in from its first call on.
fn app(shared: &Arc<[u8]>, req: &Request<'_>, res: Response<'_>) -> Done {
    count_worker();
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

/// A kind of request, and what answers it.
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
fn files(scratch: &scratch::Scratch) -> peregrine::DirServer {
    scratch.write("small", [b's'; 6150]);
    scratch.write("middle", [b'm'; 20_000]);
    scratch.write("large", [b'l'; 100_000]);
    let config = peregrine::DirConfig {
        prefix: "/files".to_owned(),
        recheck: support::NEVER,
        ..peregrine::DirConfig::default()
    };
    peregrine::DirServer::with_config(scratch.root(), config).expect("a folder")
}

/// Sends on all connections before it reads on any. The first answers are read strictly; all others
/// must be as long, and begin and end as they do.
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

/// A worker's buffers go from connection to connection. Every connection needs one of each kind
/// while half a request is here or half an answer is unsent, which may happen to all at once.
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
    // Until the worker reads no more from anyone, or so it seems: nothing is claimed yet.
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

#[test]
fn a_warm_worker_does_not_allocate() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
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
    let allocations = || ALLOCATIONS.load(Ordering::Relaxed);

    // The counter counts, and nothing but the worker, which may still be at work for a request
    // that it has answered.
    assert_eq!(clients[0].get("/").status, 200);
    assert!(!COUNTED.get(), "this thread is not counted");
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

// ----------------------------------------------------------------------------------- uploads

/// What the sinks of all uploads have been given.
#[derive(Default)]
struct Taken {
    pieces: AtomicU64,
    bytes: AtomicU64,
}

struct Taking(Arc<Taken>);

impl BodySink for Taking {
    fn piece(&mut self, piece: &[u8], _: &mut Incoming<'_>) -> Flow {
        self.0.pieces.fetch_add(1, Ordering::SeqCst);
        self.0.bytes.fetch_add(piece.len() as u64, Ordering::SeqCst);
        Flow::Continue
    }

    fn finish(self: Box<Self>, _: &Request<'_>, res: Response<'_>) -> Done {
        res.body("taken")
    }
}

struct Uploads(Arc<Taken>);

impl Handler for Uploads {
    fn body_plan(&self, _: &Request<'_>) -> BodyPlan {
        count_worker();
        BodyPlan::stream(Taking(self.0.clone()))
    }

    fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
        res.body("")
    }
}

/// An upload allocates when it begins, for its sink and for room to read into, and nothing for any
/// of its pieces.
#[test]
fn a_piece_of_an_upload_does_not_allocate() {
    const REPEATS: usize = 300;
    const SIZES: [usize; 4] = [1, 1000, 30_000, 150_000];
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let taken = Arc::new(Taken::default());
    let (server, addr) = start(Uploads(taken.clone()), workers(1));
    let mut client = Client::connect(addr);
    let len: usize = SIZES.iter().map(|size| size * REPEATS).sum();
    let mut expected = 0;
    for in_chunks in [false, true] {
        let before = ALLOCATIONS.load(Ordering::SeqCst);
        client.send(match in_chunks {
            false => format!(
                "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
                2 + len
            ),
            true => {
                "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n".to_owned()
            }
        });
        client.send(if in_chunks { "x\r\n" } else { "x" });
        expected += 1;
        let bytes = || taken.bytes.load(Ordering::SeqCst);
        wait_until("it has begun", || bytes() == expected);
        let begun = ALLOCATIONS.load(Ordering::SeqCst);
        assert!(
            (1..=4).contains(&(begun - before)),
            "{} to begin",
            begun - before
        );
        let first = taken.pieces.load(Ordering::SeqCst);
        for size in SIZES {
            let mut piece = vec![b'x'; size];
            if in_chunks {
                piece = [format!("{size:x}\r\n").as_bytes(), &piece, b"\r\n"].concat();
            }
            for n in 0..REPEATS {
                client.send(&piece);
                expected += size as u64;
                // Some come one by one, some all at once.
                if n % 2 == 0 {
                    wait_until("it is taken", || bytes() == expected);
                }
            }
        }
        wait_until("all is taken", || bytes() == expected);
        let pieces = taken.pieces.load(Ordering::SeqCst) - first;
        let made = ALLOCATIONS.load(Ordering::SeqCst) - begun;
        assert_eq!(made, 0, "allocations for {pieces} pieces");
        assert!(
            pieces > (SIZES.len() * REPEATS / 2) as u64,
            "{pieces} pieces"
        );
        client.send(if in_chunks {
            "1\r\nx\r\n0\r\n\r\n"
        } else {
            "x"
        });
        expected += 1;
        assert_eq!(client.answer(Asked::Other).text(), "taken");
    }
    server.stop();
    drop(client);
    ended(server);
}
