//! Uploads of clients that disappear: no file is left of them.

use crate::alone::{alone, descriptors};
use crate::stream_in::{chunked, exact};
use crate::support::{Client, PATIENCE, Random, ended, start, wait_until, workers};
use peregrine::body::{BodySink, Flow, Incoming, Resumer};
use peregrine::{BodyPlan, Done, Handler, Request, Response};
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

const MIB: usize = 1 << 20;

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
        self.file.write_all(piece).expect("written");
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

/// Nothing is left of clients that have gone: no sink, no connection, no descriptor.
#[track_caller]
fn expect_nothing_left(app: &Holding, other: &mut Client, before: usize) {
    wait_until("all sinks are dropped", || {
        let [begun, _, dropped] = app.tally.get();
        begun == dropped
    });
    wait_until("all descriptors are closed", || descriptors() <= before);
    assert_eq!(other.get("/other").text(), "/other");
}

/// A small upload is broken off at each of its bytes, in three ways, while another client is served.
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
    assert_eq!(ended(server).aborted, 0);
    drop(app);
    resumes.join().expect("no panic");
}

/// Large uploads are broken off anywhere, many at a time. Some are paused then, and never resumed.
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
            .map(|_| paused.recv_timeout(PATIENCE).expect("paused"))
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
        (stopped.aborted, stopped.counters.requests),
        (0, 2 + 3 * (CLIENTS as u64 + 1) - 1)
    );
}
