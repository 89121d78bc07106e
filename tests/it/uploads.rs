//! Uploads over sockets: sinks that slow their client down, respond early or late, and fail.

use super::stream_in::{FIVE, Plans, chunked, exact};
use super::support::{Asked, Client, PATIENCE, ended, start, wait_until, workers};
use peregrine::body::{BodySink, Flow, Incoming, Resumer};
use peregrine::error::ConnectionError;
use peregrine::{BodyPlan, Done, Handler, Limits, Request, Response};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

/// Pauses after each piece. The test has the other end.
struct Paused {
    pieces: mpsc::Sender<(Vec<u8>, Resumer)>,
    ended: Arc<AtomicUsize>,
}

impl BodySink for Paused {
    fn piece(&mut self, piece: &[u8], body: &mut Incoming<'_>) -> Flow {
        let sent = self.pieces.send((piece.to_vec(), body.resumer()));
        sent.expect("the test listens");
        Flow::Pause
    }

    fn finish(self: Box<Self>, _: &Request<'_>, res: Response<'_>) -> Done {
        res.text("done")
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        self.ended.fetch_add(1, Ordering::SeqCst);
    }
}

struct Pausing {
    pieces: Mutex<mpsc::Sender<(Vec<u8>, Resumer)>>,
    ended: Arc<AtomicUsize>,
}

impl Handler for Pausing {
    fn body_plan(&self, _: &Request<'_>) -> BodyPlan {
        BodyPlan::stream(Paused {
            pieces: self.pieces.lock().expect("no panic").clone(),
            ended: self.ended.clone(),
        })
    }

    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        res.body(req.path())
    }
}

type Pieces = mpsc::Receiver<(Vec<u8>, Resumer)>;

fn pausing() -> (Arc<Pausing>, Pieces) {
    let (pieces, arrived) = mpsc::channel();
    let app = Arc::new(Pausing {
        pieces: Mutex::new(pieces),
        ended: Arc::default(),
    });
    (app, arrived)
}

/// A client that sends faster than the sink takes is held up by its own socket: nothing is read for
/// a sink that has paused, and others are served.
#[test]
fn a_paused_sink_delays_its_client() {
    const LEN: usize = 16 << 20;
    let (app, pieces) = pausing();
    let (server, addr) = start(app.clone(), workers(1));
    let mut other = Client::connect(addr);
    let body: Arc<[u8]> = (0..LEN).map(|i| ((i * 7) >> 8) as u8).collect();
    let sent = body.clone();
    let upload = thread::spawn(move || {
        let mut client = Client::connect(addr);
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LEN}\r\n\r\n"
        ));
        client.send(&sent);
        client.answer(Asked::Other).text().to_owned()
    });
    let mut at = 0;
    for n in 0.. {
        let (piece, resumer) = pieces.recv_timeout(PATIENCE).expect("a piece");
        assert!(piece == body[at..at + piece.len()], "piece {n}");
        at += piece.len();
        if n < 3 {
            let before = server.counters().bytes_read;
            assert_eq!(other.get("/other").text(), "/other");
            let others = "GET /other HTTP/1.1\r\nHost: a\r\n\r\n".len() as u64;
            assert_eq!(
                server.counters().bytes_read,
                before + others,
                "nothing is read for it"
            );
        }
        assert!(pieces.try_recv().is_err(), "one piece at a time");
        resumer.resume();
        if at == LEN {
            break;
        }
    }
    assert_eq!(upload.join().expect("no panic"), "done");
    assert_eq!(app.ended.load(Ordering::SeqCst), 1);
}

#[test]
fn a_resumer_can_ask_for_the_response() {
    let (app, pieces) = pausing();
    let (_server, addr) = start(app, workers(1));
    let mut client = Client::connect(addr);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf");
    let (piece, resumer) = pieces.recv_timeout(PATIENCE).expect("a piece");
    assert_eq!(piece, b"half");
    assert!(!resumer.is_gone());
    resumer.respond();
    assert_eq!(client.answer(Asked::Other).text(), "done");
    // The rest is thrown away, and the connection goes on.
    client.send("of it.");
    assert_eq!(client.get("/next").text(), "/next");
    assert!(resumer.is_gone());
    resumer.resume();
    resumer.respond();
    assert_eq!(client.get("/still").text(), "/still");
}

/// Whatever ends an upload before its time, its sink is dropped and the connection with it.
#[test]
fn a_sink_without_a_complete_body_is_dropped() {
    let limits = Limits::default()
        .body_grace(Duration::ZERO)
        .body_rate(1 << 30)
        .response_timeout(Duration::ZERO);
    let (app, pieces) = pausing();
    let (server, addr) = start(app.clone(), workers(1).limits(limits));
    let dropped = |n| wait_until("dropped", || app.ended.load(Ordering::SeqCst) == n);
    let half = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n";

    let mut slow = Client::connect(addr);
    slow.send(half);
    assert_eq!(slow.answer(Asked::Other).status, 408);
    dropped(1);

    let mut gone = Client::connect(addr);
    gone.send(half);
    gone.stream
        .shutdown(std::net::Shutdown::Write)
        .expect("open");
    gone.expect_end();
    dropped(2);

    let mut reset = Client::connect(addr);
    reset.send(format!("{half}x"));
    let (_, resumer) = pieces.recv_timeout(PATIENCE).expect("a piece");
    reset.reset();
    dropped(3);
    wait_until("the resumer knows", || resumer.is_gone());
    resumer.resume();

    let mut stuck = Client::connect(addr);
    stuck.send(format!("{half}x"));
    pieces.recv_timeout(PATIENCE).expect("a piece");
    assert_eq!(
        stuck.answer(Asked::Other).status,
        503,
        "it is never resumed"
    );
    dropped(4);
    server.stop();
    ended(server);
}

/// A stop waits for an upload that is on its way, and its response says that it is the last.
#[test]
fn a_stop_lets_uploads_finish() {
    let (app, pieces) = pausing();
    let (server, addr) = start(app, workers(1));
    let mut client = Client::connect(addr);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nha");
    let (_, resumer) = pieces.recv_timeout(PATIENCE).expect("a piece");
    server.stop();
    resumer.resume();
    client.send("lf");
    let (_, resumer) = pieces.recv_timeout(PATIENCE).expect("the other");
    resumer.resume();
    let answer = client.answer(Asked::Other);
    assert_eq!((answer.text(), answer.closes()), ("done", true));
    client.expect_end();
    drop(client);
    assert_eq!(ended(server).drained, 1);
}

/// Sinks that defer their response, or stream it; and errors that reach the handler.
#[test]
fn a_sink_responds_in_every_way() {
    struct Late;
    impl BodySink for Late {
        fn piece(&mut self, piece: &[u8], _: &mut Incoming<'_>) -> Flow {
            assert_ne!(piece, b"panic");
            Flow::Continue
        }
        fn finish(self: Box<Self>, req: &Request<'_>, res: Response<'_>) -> Done {
            let path = req.path().to_owned();
            let (done, responder) = res.defer();
            thread::spawn(move || responder.send(|res| res.body(&path)));
            done
        }
    }
    struct App;
    impl Handler for App {
        fn body_plan(&self, _: &Request<'_>) -> BodyPlan {
            BodyPlan::stream(Late)
        }
        fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
            res.body("none")
        }
    }
    let (_server, addr) = start(App, workers(1));
    let mut client = Client::connect(addr);
    client.send(exact("/a", "1") + &exact("/b", "2") + &chunked("/c", FIVE));
    for path in ["/a", "/b", "/c"] {
        assert_eq!(client.answer(Asked::Other).text(), path);
    }
    assert_eq!(client.get("/").text(), "none");
}

/// Wherever it panics, the client gets 500 and the error is reported to the handler.
#[test]
fn a_panic_in_a_sink_is_reported() {
    struct Planned(Arc<Mutex<Vec<String>>>);
    impl Handler for Planned {
        fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
            Plans.body_plan(req)
        }
        fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
            res.body("")
        }
        fn handle_error(&self, error: &ConnectionError<'_>, _: Option<SocketAddr>) {
            self.0.lock().expect("no panic").push(error.to_string());
        }
    }
    let told = Arc::new(Mutex::new(Vec::new()));
    let (server, addr) = start(Planned(told.clone()), workers(1));
    for (path, why) in [
        ("/sink", "the handler panicked: a byte that is refused"),
        ("/panic", "the handler panicked: no plan"),
        ("/nonsense", "200 is not the status of a response"),
    ] {
        let mut client = Client::connect(addr);
        client.send(exact(path, "a byte!"));
        assert_eq!(client.answer(Asked::Other).status, 500);
        client.expect_end();
        assert_eq!(told.lock().expect("no panic").pop().as_deref(), Some(why));
    }
    assert_eq!(server.counters().handler_errors, 3);
}
