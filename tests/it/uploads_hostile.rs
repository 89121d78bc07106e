//! Uploads that go wrong: clients that vanish, that are many, that do not stop sending; and what
//! curl makes of answers before its body.

use crate::alone::{alone, descriptors};
use crate::clients::curl;
use crate::scratch::Scratch;
use crate::stream_in::{chunked, exact};
use crate::support::{
    Answer, Asked, Client, Random, ended, limits, read_answer, start, wait_until, workers,
};
use peregrine::{
    BodyPlan, BodySink, Config, Done, Flow, Handler, Incoming, Limits, Request, Response, Resumer,
};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

const MIB: usize = 1 << 20;

// ---------------------------------------------------------------------------- clients that vanish

/// How many sinks there were, and how they ended.
#[derive(Default)]
struct Tally {
    begun: AtomicU64,
    finished: AtomicU64,
    dropped: AtomicU64,
}

impl Tally {
    fn get(&self) -> [u64; 3] {
        [&self.begun, &self.finished, &self.dropped].map(|n| n.load(Ordering::SeqCst))
    }
}

/// Holds a descriptor and some memory, as an upload to a file would.
struct Held {
    tally: Arc<Tally>,
    file: std::fs::File,
    pauses: Option<mpsc::Sender<Resumer>>,
}

impl BodySink for Held {
    fn piece(&mut self, piece: &[u8], body: &mut Incoming<'_>) -> Flow {
        self.file.write_all(piece).expect("nobody minds");
        let Some(pauses) = &self.pauses else {
            return Flow::Continue;
        };
        pauses.send(body.resumer()).expect("the test listens");
        Flow::Pause
    }

    fn finish(self: Box<Self>, _: &Request<'_>, res: Response<'_>) -> Done {
        self.tally.finished.fetch_add(1, Ordering::SeqCst);
        res.text("done")
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.tally.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

#[derive(Clone)]
struct Holding {
    tally: Arc<Tally>,
    pauses: Arc<Mutex<mpsc::Sender<Resumer>>>,
}

impl Handler for Holding {
    fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
        self.tally.begun.fetch_add(1, Ordering::SeqCst);
        let pauses = self.pauses.lock().expect("no panic").clone();
        BodyPlan::stream(Held {
            tally: self.tally.clone(),
            file: std::fs::File::options()
                .write(true)
                .open("/dev/null")
                .expect("a device"),
            pauses: (req.path() == "/paused").then_some(pauses),
        })
    }

    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        res.body(req.path())
    }
}

fn holding() -> (Holding, mpsc::Receiver<Resumer>) {
    let (pauses, paused) = mpsc::channel();
    let app = Holding {
        tally: Arc::default(),
        pauses: Arc::new(Mutex::new(pauses)),
    };
    (app, paused)
}

/// How a client leaves.
fn leave(client: Client, how: usize) {
    match how % 3 {
        0 => drop(client),
        1 => client.reset(),
        // It still waits for the end, which must come.
        _ => {
            let mut client = client;
            client.stream.shutdown(Shutdown::Write).expect("open");
            let mut rest = Vec::new();
            let end = client.stream.read_to_end(&mut rest);
            assert!(
                end.is_ok() || end.is_err_and(|e| e.kind() == ErrorKind::ConnectionReset),
                "the server ends it"
            );
        }
    }
}

/// Nothing is left of those who have gone: no sink, no connection, no descriptor.
#[track_caller]
fn expect_nothing_left(app: &Holding, other: &mut Client, before: usize) {
    wait_until("all sinks are dropped", || {
        let [begun, _, dropped] = app.tally.get();
        begun == dropped
    });
    wait_until("all descriptors are closed", || descriptors() <= before);
    assert_eq!(other.get("/other").text(), "/other");
}

/// A small upload is cut at each of its bytes, in three ways, while another client is served.
#[test]
fn clients_vanish_at_every_byte() {
    if alone("uploads_hostile::clients_vanish_at_every_byte") {
        return;
    }
    let (app, paused) = holding();
    let (server, addr) = start(app.clone(), workers(1));
    let mut other = Client::connect(addr);
    assert_eq!(other.get("/other").text(), "/other");
    let before = descriptors();
    let resumes = thread::spawn(move || paused.iter().for_each(|resumer| resumer.resume()));
    let chunks = "5\r\nfive.\r\n6;a=b\r\nsixsix\r\n0\r\nA: b\r\n\r\n";
    // What arrives in any case: a reset may overtake what was sent before it.
    let (mut begun, mut finished) = (0, 0);
    for request in [
        exact("/", "five."),
        chunked("/", chunks),
        exact("/paused", "five."),
        chunked("/paused", chunks),
    ] {
        let head = request.find("\r\n\r\n").expect("a head") + 4;
        for cut in 0..=request.len() {
            begun += u64::from(cut >= head && cut % 3 != 1);
            finished += u64::from(cut == request.len() && cut % 3 != 1);
            let mut client = Client::connect(addr);
            client.send(&request[..cut]);
            leave(client, cut);
            if cut % 16 == 0 {
                assert_eq!(other.get("/other").text(), "/other");
            }
        }
    }
    expect_nothing_left(&app, &mut other, before);
    let arrived = app.tally.get();
    assert!(
        arrived[0] >= begun && arrived[1] >= finished && begun > 0 && finished > 0,
        "{arrived:?}, at least {begun} and {finished}"
    );
    drop(other);
    server.stop();
    assert_eq!(ended(server).cut, 0);
    drop(app);
    resumes.join().expect("no panic");
}

/// Large ones are cut anywhere, many at a time; some have paused then, and are never resumed.
#[test]
fn clients_vanish_anywhere() {
    const CLIENTS: usize = 60;
    const LARGE: usize = 4 * MIB;
    if alone("uploads_hostile::clients_vanish_anywhere") {
        return;
    }
    let (app, paused) = holding();
    let (server, addr) = start(app.clone(), workers(2));
    let mut other = Client::connect(addr);
    assert_eq!(other.get("/other").text(), "/other");
    let before = descriptors();
    let block = Arc::new(vec![b'x'; LARGE]);
    let mut random = Random(0xabcd_1234_5678_9876);
    for round in 0..3 {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|n| {
                let cut = random.below(LARGE);
                let in_chunks = random.below(2) == 0;
                let block = block.clone();
                thread::spawn(move || {
                    let mut client = Client::connect(addr);
                    client.send(match in_chunks {
                        true => format!(
                            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                             {LARGE:x}\r\n"
                        ),
                        false => {
                            format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\n")
                        }
                    });
                    client.send(&block[..cut]);
                    leave(client, n + round);
                })
            })
            .collect();
        for client in clients {
            client.join().expect("no panic");
            assert_eq!(other.get("/other").text(), "/other");
        }
        // Those that have paused do not read that their client has left, but a reset is noticed.
        let mut stuck: Vec<_> = (0..10)
            .map(|_| {
                let mut client = Client::connect(addr);
                client.send("POST /paused HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf");
                client
            })
            .collect();
        let resumers: Vec<_> = stuck
            .iter()
            .map(|_| paused.recv().expect("paused"))
            .collect();
        stuck.drain(..).for_each(Client::reset);
        expect_nothing_left(&app, &mut other, before);
        assert!(resumers.iter().all(Resumer::is_gone));
    }
    let [begun, finished, dropped] = app.tally.get();
    assert_eq!(begun, 3 * (CLIENTS as u64 + 10));
    assert_eq!((finished, dropped), (0, begun));
    drop(other);
    server.stop();
    let stopped = ended(server);
    assert_eq!(
        (stopped.cut, stopped.counters.requests),
        (0, 2 + 3 * (CLIENTS as u64 + 1) - 1)
    );
}

// ---------------------------------------------------------------------------- many at once

const UPLOADS: usize = 200;
const SENDERS: usize = 8;
const LEN: usize = 200_000;

/// Byte `at` of upload `n` is byte `n * STEP + at` of one long random sequence.
struct Material(Vec<u8>);

impl Material {
    const STEP: usize = 1009;

    fn new() -> Material {
        let mut random = Random(0x0dd_ba11_5678_9876);
        let len = UPLOADS * Material::STEP + LEN;
        Material((0..len).map(|_| random.below(256) as u8).collect())
    }

    fn of(&self, n: usize) -> &[u8] {
        &self.0[n * Material::STEP..][..LEN]
    }
}

struct Own {
    n: usize,
    at: usize,
    material: Arc<Material>,
    random: Random,
    pauses: mpsc::Sender<Resumer>,
}

impl BodySink for Own {
    fn piece(&mut self, piece: &[u8], body: &mut Incoming<'_>) -> Flow {
        let own = &self.material.of(self.n)[self.at..][..piece.len()];
        assert!(
            piece == own,
            "upload {} at {}: not its own",
            self.n,
            self.at
        );
        self.at += piece.len();
        assert_eq!(body.received(), self.at as u64);
        if self.random.below(3) > 0 {
            return Flow::Continue;
        }
        // It may be resumed before it has paused.
        self.pauses.send(body.resumer()).expect("the test listens");
        Flow::Pause
    }

    fn finish(self: Box<Self>, req: &Request<'_>, res: Response<'_>) -> Done {
        res.text(&format!("{} {}", req.path(), self.at))
    }
}

struct Owned {
    material: Arc<Material>,
    pauses: Vec<Mutex<mpsc::Sender<Resumer>>>,
}

impl Handler for Owned {
    fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
        let n = req.path()[1..].parse().expect("a number");
        let pauses = &self.pauses[n % self.pauses.len()];
        BodyPlan::stream(Own {
            n,
            at: 0,
            material: self.material.clone(),
            random: Random(n as u64 + 1),
            pauses: pauses.lock().expect("no panic").clone(),
        })
    }

    fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
        res.body("")
    }
}

/// The bytes of upload `n` on the wire: with a length, or in chunks.
fn on_the_wire(n: usize, material: &Material, random: &mut Random) -> Vec<u8> {
    let mut body = material.of(n);
    if n % 2 == 0 {
        let head = format!("PUT /{n} HTTP/1.1\r\nHost: a\r\nContent-Length: {LEN}\r\n\r\n");
        return [head.as_bytes(), body].concat();
    }
    let head = format!("PUT /{n} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut bytes = head.into_bytes();
    while !body.is_empty() {
        let size = 1 + random.below(20_000);
        let (chunk, rest) = body.split_at(size.min(body.len()));
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
        body = rest;
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

/// Sends a few uploads at the same time, in turns of random length, and reads their answers.
fn send_some(addr: SocketAddr, first: usize, material: &Material) {
    let mut random = Random(0xcafe_0000 + first as u64);
    let mut uploads: Vec<_> = (first..UPLOADS)
        .step_by(SENDERS)
        .map(|n| {
            (
                n,
                Client::connect(addr),
                on_the_wire(n, material, &mut random),
                0,
            )
        })
        .collect();
    while !uploads.is_empty() {
        let turn = random.below(uploads.len());
        let (n, client, bytes, at) = &mut uploads[turn];
        let end = bytes.len().min(*at + 1 + random.below(30_000));
        client.send(&bytes[*at..end]);
        *at = end;
        if end == bytes.len() {
            let answer = client.answer(Asked::Other);
            assert_eq!(answer.text(), format!("/{n} {LEN}"));
            uploads.swap_remove(turn);
        }
    }
}

/// A thread that resumes what it is sent, some of it twice: in any order, and later while more comes.
fn resume_some(seed: u64) -> (mpsc::Sender<Resumer>, thread::JoinHandle<()>) {
    let (pauses, paused) = mpsc::channel::<Resumer>();
    let resume = move || {
        let mut random = Random(0xbeef + seed);
        while let Ok(resumer) = paused.recv() {
            let mut held = vec![resumer];
            held.extend(paused.try_iter().take(8));
            while !held.is_empty() {
                let resumer = held.swap_remove(random.below(held.len()));
                resumer.resume();
                if random.below(4) == 0 {
                    resumer.resume();
                }
            }
        }
    };
    (pauses, thread::spawn(resume))
}

/// 200 at once, each with bytes of its own, paused at random and resumed from other threads in any
/// order: each sink gets its own bytes, all of them, once.
#[test]
fn no_byte_comes_to_another_sink() {
    let material = Arc::new(Material::new());
    let (pauses, resumers): (Vec<_>, Vec<_>) = (0..4).map(resume_some).unzip();
    let app = Owned {
        material: material.clone(),
        pauses: pauses.into_iter().map(Mutex::new).collect(),
    };
    let (server, addr) = start(app, workers(2));
    let senders: Vec<_> = (0..SENDERS)
        .map(|first| {
            let material = material.clone();
            thread::spawn(move || send_some(addr, first, &material))
        })
        .collect();
    for sender in senders {
        sender.join().expect("each got its answer");
    }
    server.stop();
    let counters = ended(server).counters;
    assert_eq!(counters.requests, UPLOADS as u64);
    assert_eq!(
        (counters.handler_errors, counters.connection_errors),
        (0, 0)
    );
    for resumer in resumers {
        resumer.join().expect("no panic");
    }
}

// ---------------------------------------------------------------------------- answers before the end

/// Answers when it has this many bytes.
struct Early(usize);

impl BodySink for Early {
    fn piece(&mut self, _: &[u8], body: &mut Incoming<'_>) -> Flow {
        match body.received() < self.0 as u64 {
            true => Flow::Continue,
            false => Flow::Answer,
        }
    }

    fn finish(self: Box<Self>, _: &Request<'_>, res: Response<'_>) -> Done {
        res.status(422).text("enough")
    }
}

struct Impatient;

impl Handler for Impatient {
    fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
        match req.path() {
            "/refuse" => BodyPlan::Refuse(403),
            "/unread" => BodyPlan::Unread,
            "/take" => BodyPlan::stream(Early(usize::MAX)),
            _ => BodyPlan::stream(Early(1000)),
        }
    }

    fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
        res.status(422).text("enough")
    }
}

/// The client does not stop before it has sent all, or cannot: it has the answer anyway, and the
/// connection is over.
#[test]
fn an_early_answer_is_read_by_a_client_that_goes_on_sending() {
    let (server, addr) = start(Impatient, workers(1));
    let block = vec![b'x'; 8 * MIB];
    for path in ["/early", "/unread", "/refuse"] {
        for head in [
            "Content-Length: 8388608\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n800000\r\n",
        ] {
            let client = Client::connect(addr);
            let mut stream = client.stream.try_clone().expect("a socket");
            let head = format!("PUT {path} HTTP/1.1\r\nHost: a\r\n{head}");
            let reader = thread::spawn(move || answer_and_end(client));
            stream.write_all(head.as_bytes()).expect("sent");
            let cannot = stream
                .write_all(&block)
                .and_then(|()| stream.write_all(b"x"));
            let answer = reader.join().expect("an answer");
            let status = if path == "/refuse" { 403 } else { 422 };
            assert_eq!((answer.status, answer.closes()), (status, true), "{path}");
            // More than the server throws away, and than sockets hold.
            assert!(cannot.is_err(), "{path}: the connection is over");
        }
    }
    server.stop();
    assert_eq!(ended(server).cut, 0);
}

/// One answer, and then the end of the connection, however that looks.
fn answer_and_end(mut client: Client) -> Answer {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    loop {
        match client.stream.read(&mut part) {
            Ok(0) => break,
            Ok(n) => bytes.extend_from_slice(&part[..n]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error}"),
        }
    }
    let answer = read_answer(&bytes, Asked::Other).expect("a correct answer");
    let (answer, rest) = answer.expect("all of it");
    assert!(rest.is_empty(), "nothing more");
    answer
}

/// A client that stops when it has its answer gets a proper end.
#[test]
fn an_early_answer_ends_properly() {
    let (server, addr) = start(Impatient, workers(1));
    let block = [b'x'; 100_000];
    for head in [
        "Content-Length: 8388608\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n800000\r\n",
    ] {
        let mut client = Client::connect(addr);
        client.send(format!("PUT /early HTTP/1.1\r\nHost: a\r\n{head}"));
        client.send(block);
        let answer = client.answer(Asked::Other);
        assert_eq!((answer.status, answer.closes()), (422, true));
        client.send(block);
        client.expect_end();
    }
    server.stop();
    assert_eq!(ended(server).cut, 0);
}

// ---------------------------------------------------------------------------- curl

/// Curl waits for `100 Continue` as long as it takes: what is refused is never sent.
#[test]
fn curl_sends_what_is_wanted() {
    const LEN: usize = 8 * MIB;
    let limits = Limits {
        body_bytes: MIB,
        ..limits()
    };
    let config = Config {
        limits,
        ..workers(1)
    };
    struct App;
    impl Handler for App {
        fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
            match req.path() {
                "/buffer" => BodyPlan::Buffer,
                "/limited" => BodyPlan::Stream(Box::new(Early(usize::MAX)), MIB as u64),
                _ => Impatient.body_plan(req),
            }
        }
        fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
            Impatient.handle_request(req, res)
        }
    }
    let (server, addr) = start(App, config);
    let scratch = Scratch::new();
    scratch.write("large", vec![b'x'; LEN]);
    let file = scratch.path("large");
    let file = file.to_str().expect("ASCII");
    let expect = ["-H", "Expect: 100-continue", "--expect100-timeout", "1000"];
    let said = ["-o", "/dev/null", "-w", "%{http_code} %{size_upload}"];
    for (path, status, sent) in [
        ("/take", 422, LEN),
        ("/refuse", 403, 0),
        ("/unread", 422, 0),
        ("/limited", 413, 0),
        ("/buffer", 413, 0),
    ] {
        let url = format!("http://{addr}{path}");
        let Some(printed) = curl(&[&["-T", file], &expect[..], &said].concat(), &url) else {
            return;
        };
        let printed = String::from_utf8(printed).expect("text");
        assert_eq!(printed, format!("{status} {sent}"), "{path}");
    }
    // Without that question it sends at once, reads the refusal and stops.
    for path in ["/early", "/refuse", "/unread"] {
        let url = format!("http://{addr}{path}");
        let options = [&["-T", file, "-H", "Expect:"], &said[..]].concat();
        let printed = curl(&options, &url).unwrap_or_default();
        let status = if path == "/refuse" { "403 " } else { "422 " };
        assert!(printed.starts_with(status.as_bytes()), "{path}");
    }
    server.stop();
    assert_eq!(ended(server).cut, 0);
}
