//! Many uploads at once, each with bytes of its own.

use crate::support::{Asked, Client, Random, ended, start, workers};
use peregrine::body::{BodySink, Flow, Incoming, Resumer};
use peregrine::{BodyPlan, Done, Handler, Request, Response};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

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
        res.text(format!("{} {}", req.path(), self.at))
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

/// Sends a few uploads at the same time, in turns of random length, and reads their responses.
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
