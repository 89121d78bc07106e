//! The hooks around the wait of a thread: `Handler::before_wait` and `Handler::after_wait`.

use super::support::{Asked, Client, OnOwnAddr, ended, start, wait_until, workers};
use peregrine::body::{BodySender, BodySink, Flow, Incoming};
use peregrine::error::ConnectionError;
use peregrine::{BodyPlan, Done, Handler, Request, Responder, Response, Server};
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

// ---------------------------------------------------------------------------------- their order

thread_local! {
    /// Whether the last hook of this thread was `after_wait`.
    static IN_TURN: Cell<bool> = const { Cell::new(false) };
    /// This thread has called no hook yet.
    static FIRST: Cell<bool> = const { Cell::new(true) };
}

/// Notes what happened outside of a turn.
#[derive(Default)]
pub(crate) struct Order {
    faults: Mutex<Vec<&'static str>>,
    /// Calls that were made in a turn.
    seen: Mutex<Vec<&'static str>>,
    before: AtomicI64,
    after: AtomicI64,
}

impl Order {
    fn note(&self, what: &'static str) {
        let list = match IN_TURN.get() {
            true => &self.seen,
            false => &self.faults,
        };
        list.lock().expect("no panic").push(what);
    }
}

#[derive(Clone)]
pub(crate) struct Ordered(pub(crate) Arc<Order>);

/// Reads a body in pieces.
struct Sink(Ordered);

impl BodySink for Sink {
    fn piece(&mut self, _: &[u8], _: &mut Incoming<'_>) -> Flow {
        self.0.0.note("piece");
        Flow::Continue
    }

    fn finish(self: Box<Self>, _: &Request<'_>, res: Response<'_>) -> Done {
        self.0.0.note("finish");
        res.text("sunk")
    }
}

impl Handler for Ordered {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        self.0.note("request");
        match req.path() {
            "/late" => {
                let (done, responder) = res.defer();
                std::thread::spawn(move || responder.send(|res| res.text("late")));
                done
            }
            _ => res.text("hi"),
        }
    }

    fn body_plan(&self, _: &Request<'_>) -> BodyPlan {
        self.0.note("plan");
        BodyPlan::Stream(Box::new(Sink(self.clone())))
    }

    fn handle_error(&self, _: &ConnectionError<'_>, _: Option<SocketAddr>) {
        self.0.note("error");
    }

    fn before_wait(&self) {
        self.0.before.fetch_add(1, Ordering::SeqCst);
        if !IN_TURN.replace(false) && !FIRST.replace(false) {
            self.0.faults.lock().expect("no panic").push("before_wait");
        }
    }

    fn after_wait(&self) {
        self.0.after.fetch_add(1, Ordering::SeqCst);
        if IN_TURN.replace(true) {
            self.0.faults.lock().expect("no panic").push("after_wait");
        }
    }
}

#[cfg(feature = "websocket")]
impl peregrine::ws::WebSocketHandler for Ordered {
    type Conn = ();

    fn accept_ws(&self, _: &Request<'_>, _: &mut peregrine::ws::Upgrade<'_>) -> Option<()> {
        self.0.note("accept_ws");
        Some(())
    }

    fn handle_ws_frame(
        &self,
        ws: &mut peregrine::ws::Ws<'_, ()>,
        message: peregrine::ws::Message<'_>,
    ) {
        self.0.note("message");
        ws.send(message);
    }

    fn handle_ws_disconn(&self, _: &mut peregrine::ws::Ws<'_, ()>, _: &peregrine::ws::Disconnect) {
        self.0.note("disconn");
    }
}

/// What every server of these tests gets: requests at once and later, bodies, errors, pipelines.
fn use_all(addr: SocketAddr) {
    let mut client = Client::connect(addr);
    client.send("GET /late HTTP/1.1\r\nHost: a\r\n\r\nGET /late HTTP/1.1\r\nHost: a\r\n\r\n");
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    client.send("BAD\r\n\r\n");
    for (status, text) in [(200, "late"), (200, "late"), (200, "sunk"), (400, "")] {
        let answer = client.answer(Asked::Other);
        assert_eq!(answer.status, status);
        assert!(answer.text().contains(text));
    }
}

/// What is wrong after the server has ended with this number of threads.
#[track_caller]
pub(crate) fn assert_in_order(order: &Order, threads: i64, wanted: &[&str]) {
    assert_eq!(*order.faults.lock().expect("no panic"), [""; 0]);
    let seen = order.seen.lock().expect("no panic");
    for want in wanted {
        assert!(seen.contains(want), "no {want}");
    }
    let before = order.before.load(Ordering::SeqCst);
    assert_eq!(before - order.after.load(Ordering::SeqCst), threads);
}

#[test]
fn everything_happens_in_a_turn() {
    let order = Arc::new(Order::default());
    let server = Server::new(Ordered(order.clone())).config(workers(2));
    let timers = server.timers();
    let running = server.on_own_addr().start().expect("a server");
    let (timed, seen) = (order.clone(), Arc::new(AtomicUsize::new(0)));
    let count = seen.clone();
    let timer = timers.every(std::time::Duration::from_millis(1), move || {
        timed.note("timer");
        count.fetch_add(1, Ordering::SeqCst);
    });
    use_all(running.local_addr().expect("an address"));
    wait_until("timers", || seen.load(Ordering::SeqCst) > 3);
    drop(timer);
    // It is told of the stop.
    let mut open = Client::connect(running.local_addr().expect("an address"));
    open.get("/");
    running.stop();
    ended(running);
    let wanted = ["request", "plan", "piece", "finish", "error", "timer"];
    assert_in_order(&order, 2, &wanted);
}

#[cfg(feature = "websocket")]
#[test]
fn everything_of_websockets_happens_in_a_turn() {
    use super::support::{PATIENCE, Stream};
    let order = Arc::new(Order::default());
    let stop = std::time::Duration::from_secs(1);
    let config = workers(2).ws_threads(3).stop_timeout(stop);
    let server = Server::new(Ordered(order.clone())).config(config);
    let running = server.websocket().on_own_addr().start().expect("a server");
    let addr = running.local_addr().expect("an address");
    use_all(addr);
    let mut clients: Vec<_> = (0..4)
        .map(|_| {
            let stream = Stream::connect(addr).expect("a connection");
            stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
            let url = format!("ws://{addr}/ws");
            tungstenite::client(url, stream).expect("a handshake").0
        })
        .collect();
    for client in &mut clients {
        client
            .send(tungstenite::Message::text("x"))
            .expect("it is open");
        assert_eq!(client.read().expect("an echo").to_string(), "x");
    }
    let gone = clients.pop();
    drop(gone);
    // They do not take part in the close handshake, and are closed at the end of the stop.
    running.stop();
    ended(running);
    let wanted = [
        "request",
        "plan",
        "piece",
        "finish",
        "error",
        "accept_ws",
        "message",
        "disconn",
    ];
    assert_in_order(&order, 5, &wanted);
}

// -------------------------------------------------------------------------------------- batches

/// Answers all requests of a turn together.
struct Batch {
    turn: Mutex<Vec<(String, Responder)>>,
    /// How many there were in each.
    sizes: Mutex<Vec<usize>>,
    is_held: AtomicBool,
    go: Mutex<mpsc::Receiver<()>>,
}

impl Batch {
    fn new() -> (Arc<Batch>, mpsc::Sender<()>) {
        let (sign, go) = mpsc::channel();
        let batch = Batch {
            turn: Mutex::default(),
            sizes: Mutex::default(),
            is_held: AtomicBool::new(false),
            go: Mutex::new(go),
        };
        (Arc::new(batch), sign)
    }
}

impl Handler for Batch {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        if req.path() == "/hold" {
            self.is_held.store(true, Ordering::SeqCst);
            self.go.lock().expect("no panic").recv().expect("a sign");
            return res.text("held");
        }
        let (done, responder) = res.defer();
        let mut turn = self.turn.lock().expect("no panic");
        turn.push((req.path().to_owned(), responder));
        done
    }

    fn before_wait(&self) {
        let turn = std::mem::take(&mut *self.turn.lock().expect("no panic"));
        if turn.is_empty() {
            return;
        }
        self.sizes.lock().expect("no panic").push(turn.len());
        for (path, responder) in turn {
            responder
                .send(|res| res.text(path))
                .expect("the client is there");
        }
    }
}

/// The requests of several clients that come while the worker is busy are one batch. Each client gets its own response.
#[test]
fn the_requests_of_a_turn_are_a_batch() {
    let (batch, sign) = Batch::new();
    let (_server, addr) = start(batch.clone(), workers(1));
    // The worker knows all of them before it is held up.
    let mut clients: Vec<_> = (0..8).map(|_| Client::connect(addr)).collect();
    for client in &mut clients {
        assert_eq!(client.get("/first").text(), "/first");
    }
    let mut holder = Client::connect(addr);
    holder.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("it is held up", || batch.is_held.load(Ordering::SeqCst));
    for (n, client) in clients.iter_mut().enumerate() {
        client.send(format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n"));
        client.wait_until_delivered();
    }
    sign.send(()).expect("the handler waits");
    assert_eq!(holder.answer(Asked::Other).text(), "held");
    for (n, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.answer(Asked::Other).text(), format!("/{n}"));
    }
    let sizes = batch.sizes.lock().expect("no panic");
    assert_eq!(*sizes, [1, 1, 1, 1, 1, 1, 1, 1, 8]);
}

/// Pipelined requests come one after the other, because each response ends before the next request is handled.
#[test]
fn pipelined_requests_pass_a_batch_in_order() {
    let (batch, _sign) = Batch::new();
    let (_server, addr) = start(batch.clone(), workers(1));
    let mut client = Client::connect(addr);
    let requests: String = (0..40)
        .map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n"))
        .collect();
    client.send(requests);
    for n in 0..40 {
        assert_eq!(client.answer(Asked::Other).text(), format!("/{n}"));
    }
    assert_eq!(
        batch.sizes.lock().expect("no panic").iter().sum::<usize>(),
        40
    );
}

thread_local! {
    /// A body that gets a piece at the end of each turn.
    static ENDLESS: RefCell<Option<BodySender>> = const { RefCell::new(None) };
}

/// Its hook posts something to its own thread in each turn.
struct Restless;

impl Handler for Restless {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        if req.path() != "/endless" {
            return res.text("served");
        }
        let (done, body) = res.stream();
        ENDLESS.set(Some(body));
        done
    }

    fn before_wait(&self) {
        ENDLESS.with_borrow_mut(|body| {
            if let Some(sender) = body {
                if sender.is_gone() {
                    *body = None;
                } else if sender.is_ready() {
                    let _ = sender.try_send("x");
                }
            }
        });
    }
}

/// A hook that has always something to send does not keep the thread from its clients.
#[test]
fn a_restless_hook_lets_clients_in() {
    let (_server, addr) = start(Restless, workers(1));
    let mut endless = Client::connect(addr);
    endless.send("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(endless.head().0.status, 200);
    assert_eq!(endless.chunk(), b"x");
    for _ in 0..20 {
        assert_eq!(Client::connect(addr).get("/").text(), "served");
    }
    let mut drained = 0;
    while drained < 100 {
        drained += endless.chunk().len();
    }
}

// --------------------------------------------------------------------------------------- panics

/// Its hooks panic on request.
#[derive(Default)]
pub(crate) struct Panics {
    before: AtomicUsize,
    after: AtomicUsize,
    messages: Mutex<Vec<String>>,
}

impl Handler for Panics {
    fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
        self.before.store(1, Ordering::SeqCst);
        self.after.store(1, Ordering::SeqCst);
        res.text("hi")
    }

    fn handle_error(&self, error: &ConnectionError<'_>, peer: Option<SocketAddr>) {
        assert_eq!(peer, None);
        self.messages
            .lock()
            .expect("no panic")
            .push(error.to_string());
    }

    fn before_wait(&self) {
        assert_eq!(self.before.swap(0, Ordering::SeqCst), 0, "before");
    }

    fn after_wait(&self) {
        assert_eq!(self.after.swap(0, Ordering::SeqCst), 0, "after");
    }
}

#[test]
fn a_panic_in_a_hook_ends_nothing() {
    let handler = Arc::new(Panics::default());
    let (server, addr) = start(handler.clone(), workers(1));
    let mut client = Client::connect(addr);
    for _ in 0..3 {
        assert_eq!(client.get("/").text(), "hi");
    }
    drop(client);
    // The last turn of a thread has no `after_wait`.
    let count = |what: &str| {
        let messages = handler.messages.lock().expect("no panic");
        messages.iter().filter(|text| text.contains(what)).count()
    };
    wait_until("panics", || (count("before"), count("after")) == (3, 3));
    server.stop();
    ended(server);
    assert!(
        handler
            .messages
            .lock()
            .expect("no panic")
            .iter()
            .all(|text| text.contains("panicked"))
    );
}
