//! What the hostile clients and the well-behaved ones ask: a little of everything.

use peregrine::body::{BodySender, TrySendError};
use peregrine::metrics::Stats;
use peregrine::ws::{Message, Upgrade, WebSocketHandler, Ws};
use peregrine::{Done, Handler, Payload, Request, Response};
use std::fs::File;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// The length of a large response, of whichever kind.
const LARGE: usize = 64 << 20;
/// Of a short one that is streamed.
const SHORT: usize = 48 << 10;
/// What both are streamed in.
const PIECE: usize = 16 << 10;

pub(crate) struct App {
    pub(crate) stats: Stats,
    large: Arc<[u8]>,
    file: Arc<File>,
    streams: Mutex<mpsc::Sender<(BodySender, usize)>>,
}

impl App {
    pub(crate) fn new() -> App {
        let (streams, arrivals) = mpsc::channel();
        thread::spawn(move || push(&arrivals));
        App {
            stats: Stats::new(),
            large: vec![b'x'; LARGE].into(),
            file: Arc::new(file()),
            streams: Mutex::new(streams),
        }
    }
}

/// As a handler that computes, for five turns' worth of time.
fn take_long() {
    let from = Instant::now();
    while from.elapsed() < Duration::from_millis(5) {
        std::hint::spin_loop();
    }
}

/// It has no name any more, and takes no space on the disk.
fn file() -> File {
    let name = format!(
        "peregrine-hostile-{}-{:?}",
        std::process::id(),
        thread::current().id()
    );
    let path = std::env::temp_dir().join(name);
    let file = File::options();
    let file = { file }.read(true).write(true).create_new(true).open(&path);
    let file = file.expect("a file");
    std::fs::remove_file(&path).expect("removed");
    file.set_len(LARGE as u64).expect("a sparse file");
    file
}

/// Fills all streams, those of slow clients, too.
fn push(arrivals: &mpsc::Receiver<(BodySender, usize)>) {
    let mut streams = Vec::new();
    loop {
        match streams.is_empty() {
            true => match arrivals.recv() {
                Ok(stream) => streams.push(stream),
                Err(_) => return,
            },
            false => streams.extend(arrivals.try_iter()),
        }
        let before = streams.len();
        let mut moved = false;
        streams = streams
            .into_iter()
            .filter_map(|(mut body, mut left)| {
                while left > 0 {
                    match body.try_send(vec![b'x'; PIECE]) {
                        Ok(()) => (left, moved) = (left - PIECE, true),
                        Err(TrySendError::Full(_)) => return Some((body, left)),
                        Err(_) => return None,
                    }
                }
                let _ = body.finish();
                None
            })
            .collect();
        if !moved && before == streams.len() {
            thread::park_timeout(Duration::from_millis(5));
        }
    }
}

impl App {
    fn push(&self, (done, body): (Done, BodySender), len: usize) -> Done {
        let streams = self.streams.lock().expect("no panic");
        streams.send((body, len)).expect("the thread lives");
        done
    }
}

impl Handler for App {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        match req.path() {
            "/fresh" => res.send(vec![b'x'; 1 << 20]),
            "/page" => res.body(vec![b'x'; 15_000]),
            "/echo" => res.body(req.body()),
            "/slow" => {
                take_long();
                res.text("slow")
            }
            // With a descriptor of its own.
            "/part" => match self.file.try_clone() {
                Ok(file) => res.send_file(Arc::new(file), 0..1),
                Err(_) => res.status(503).text("no descriptor"),
            },
            "/memory" => res.send(Payload::Shared(self.large.clone())),
            "/file" => res.send_file(self.file.clone(), 0..LARGE as u64),
            "/drawn" => {
                let pieces = (0..LARGE / PIECE).map(|_| vec![b'x'; PIECE]);
                res.send_iter(pieces)
            }
            "/pushed" => self.push(res.stream(), LARGE),
            "/short" => self.push(res.stream_exact(SHORT as u64), SHORT),
            "/later" => {
                let timers = res.timers();
                let (done, responder) = res.defer();
                let send = move || {
                    let _ = responder.send(|res| res.text("later"));
                };
                timers.after(Duration::from_millis(1), send).expect("room");
                done
            }
            path => res.body(path),
        }
    }
}

/// Echoes, and hands on what begins with `publish`.
impl WebSocketHandler for App {
    /// Whether it gets what is handed on.
    type Conn = bool;

    fn accept_ws(&self, req: &Request<'_>, _: &mut Upgrade<'_>) -> Option<bool> {
        Some(req.path() == "/feed")
    }

    fn handle_ws_conn(&self, ws: &mut Ws<'_, bool>) {
        if *ws.conn {
            let _ = ws.subscribe("feed");
        }
    }

    fn handle_ws_frame(&self, ws: &mut Ws<'_, bool>, message: Message<'_>) {
        if message.as_bytes().starts_with(b"publish") {
            ws.publish("feed", message);
        } else {
            ws.send(message);
        }
    }
}
