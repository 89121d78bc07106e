//! Access logs over sockets: what has a line, what the line says, and that a slow disk delays no request.

use super::support::{Asked, Client, Witness, ended, start, wait_until, workers};
#[cfg(feature = "websocket")]
use super::support::{OnOwnAddr, Stream};
use peregrine::access_log::{AccessEntry, AccessLog, LogWriter};
use peregrine::body::{BodySink, Flow, Incoming};
use peregrine::{BodyPlan, Done, Handler, Request, Response};
use std::io::{self, Write};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

// -------------------------------------------------------------------------------- a log to read

#[derive(Clone, Default)]
pub(crate) struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // In two pieces, as a pipe might take them.
        let n = bytes.len().div_ceil(2);
        self.0
            .lock()
            .expect("no panic")
            .extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Kept {
    pub(crate) fn text(&self) -> String {
        let bytes = self.0.lock().expect("no panic").clone();
        String::from_utf8(bytes).expect("ASCII")
    }

    /// Those that are there as a whole, while the writer may be at the next one.
    pub(crate) fn lines_so_far(&self) -> Vec<String> {
        let mut text = self.text();
        text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
        text.lines().map(str::to_owned).collect()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let text = self.text();
        assert!(text.is_empty() || text.ends_with('\n'), "whole lines");
        text.lines().map(str::to_owned).collect()
    }
}

/// What stands behind the time of a line, after a look at what stands before it.
#[track_caller]
pub(crate) fn rest(line: &str) -> &str {
    let (start, rest) = line.split_once("] ").expect("a time");
    let time = start
        .strip_prefix("127.")
        .and_then(|s| s.split_once(" - - ["));
    let (_, time) = time.unwrap_or_else(|| panic!("an address and a time: {line}"));
    // `10/Oct/2026:13:55:36 +0000`, read back through another library.
    let parts: Vec<_> = time.splitn(4, ['/', ':']).collect();
    let [day, month, year, clock] = parts[..] else {
        panic!("a time: {time}");
    };
    let clock = clock.strip_suffix(" +0000").expect("UTC");
    let http = |weekday: &str| format!("{weekday}, {day} {month} {year} {clock} GMT");
    let weekdays = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let mut times = weekdays
        .iter()
        .map(|day| httpdate::parse_http_date(&http(day)));
    let time = times.find_map(Result::ok).expect("a time");
    let age = std::time::SystemTime::now().duration_since(time);
    assert!(
        age.expect("not in the future") < Duration::from_secs(3600),
        "{line}"
    );
    rest
}

// ----------------------------------------------------------------------------------- the server

struct Sum(u64);

impl BodySink for Sum {
    fn piece(&mut self, piece: &[u8], _: &mut Incoming<'_>) -> Flow {
        self.0 += piece.len() as u64;
        Flow::Continue
    }

    fn finish(self: Box<Self>, _: &Request<'_>, res: Response<'_>) -> Done {
        res.status(201).text(self.0.to_string())
    }
}

/// Answers in every way.
struct App;

impl Handler for App {
    fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
        match req.path() {
            "/sink" => BodyPlan::stream(Sum(0)),
            "/refuse" => BodyPlan::Refuse(403),
            "/nonsense" => BodyPlan::Refuse(200),
            "/plan-panics" => panic!("as it is meant to"),
            _ => BodyPlan::Buffer,
        }
    }

    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        match req.path() {
            "/panic" => panic!("as it is meant to"),
            "/empty" => res.status(204).body(""),
            "/stream" => {
                let (done, mut body) = res.stream_exact(3);
                body.send("abc").expect("room");
                done
            }
            _ => res.text("hi"),
        }
    }
}

fn logged(kept: &Kept) -> AccessLog<App> {
    let log = LogWriter::new(kept.clone()).expect("a thread");
    AccessLog::new(App, log)
}

/// Asks on a connection of its own; the status, and whether the connection closed.
fn ask(addr: std::net::SocketAddr, request: &str) -> u16 {
    let mut client = Client::connect(addr);
    client.send(request);
    client.answer(Asked::Other).status
}

#[test]
fn each_kind_of_response_has_its_line() {
    let kept = Kept::default();
    let (server, addr) = start(logged(&kept), workers(1));
    let post =
        |path: &str| format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody");
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let cases = [
        (get("/a?b=%20c"), 200, r#""GET /a?b=%20c HTTP/1.1" 200 2 "-" "-""#),
        (
            "OPTIONS * HTTP/1.0\r\nReferer: http://a/\"\\\r\nUser-Agent: caf\u{e9}\t1\r\nUser-Agent: 2\r\n\r\n".into(),
            204,
            r#""OPTIONS * HTTP/1.0" 204 - "http://a/\"\\" "caf\xc3\xa9\x091""#,
        ),
        (get("/\"\\"), 200, r#""GET /\"\\ HTTP/1.1" 200 2 "-" "-""#),
        (get("/empty"), 204, r#""GET /empty HTTP/1.1" 204 - "-" "-""#),
        (get("/stream"), 200, r#""GET /stream HTTP/1.1" 200 3 "-" "-""#),
        (get("/panic"), 500, r#""GET /panic HTTP/1.1" 500 45 "-" "-""#),
        (post("/"), 200, r#""POST / HTTP/1.1" 200 2 "-" "-""#),
        (post("/sink"), 201, r#""POST /sink HTTP/1.1" 201 1 "-" "-""#),
        (post("/refuse"), 403, r#""POST /refuse HTTP/1.1" 403 10 "-" "-""#),
        (post("/nonsense"), 500, r#""POST /nonsense HTTP/1.1" 500 22 "-" "-""#),
        (post("/plan-panics"), 500, r#""POST /plan-panics HTTP/1.1" 500 22 "-" "-""#),
        ("GET / HTTP/1.1\r\n\r\n".into(), 400, r#""GET / HTTP/1.1" 400 LEN "-" "-""#),
        (get(&format!("/{}", "x".repeat(9000))), 414, r#""-" 414 LEN "-" "-""#),
    ];
    let mut expected = Vec::new();
    for (request, status, line) in &cases {
        let mut client = Client::connect(addr);
        client.send(request);
        let answer = client.answer(Asked::Other);
        assert_eq!(answer.status, *status, "{request}");
        expected.push(line.replace("LEN", &answer.body.len().to_string()));
    }
    server.stop();
    ended(server);
    // The last of the server's handles was dropped with its workers: all is written.
    let lines = kept.lines();
    let lines: Vec<_> = lines.iter().map(|line| rest(line)).collect();
    assert_eq!(lines, expected);
}

/// A client that tries to add a line, by all bytes that a request may hold, and a format that trusts.
#[test]
fn no_client_forges_a_line() {
    let kept = Kept::default();
    let log = LogWriter::new(kept.clone()).expect("a thread");
    let app = peregrine::from_fn(|_, res| res.text("hi"));
    let app = AccessLog::with_format(app, log, |entry, line| {
        let Some(req) = entry.request() else { return };
        let query = req.query("q").unwrap_or_default();
        line.extend_from_slice(query.as_bytes());
    });
    let (server, addr) = start(app, workers(1));
    let all: String = (0..=255u8).map(|b| format!("%{b:02x}")).collect();
    assert_eq!(
        ask(addr, &format!("GET /?q={all} HTTP/1.1\r\nHost: a\r\n\r\n")),
        200
    );
    assert_eq!(
        ask(addr, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        200,
        "no line for this one"
    );
    assert_eq!(ask(addr, "GET /\r\n\r\n"), 400, "nor for this one");
    server.stop();
    ended(server);
    let lines = kept.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("\\x00\\x01"), "{lines:?}");
    assert!(
        lines[0].contains("\\x08\t\\x0a\\x0b") && lines[0].contains("~\\x7f"),
        "{lines:?}"
    );
    assert!(!lines[0].contains(|c: char| c.is_ascii_control() && c != '\t'));
}

/// Errors still reach the handler within.
#[test]
fn the_inner_handler_is_called() {
    let kept = Kept::default();
    let log = LogWriter::new(kept.clone()).expect("a thread");
    let witness = Witness::new(|_, res| res.text("hi"));
    let (server, addr) = start(AccessLog::new(witness.clone(), log), workers(1));
    let mut client = Client::connect(addr);
    let peer = client.stream.local_addr().expect("an address");
    client.send("nonsense\r\n\r\n");
    assert_eq!(client.answer(Asked::Other).status, 400);
    client.expect_end();
    witness.one_error("refused", peer);
    drop(client);
    server.stop();
    ended(server);
}

// ---------------------------------------------------------------------------------- the writer

/// Takes a write only when the test sets its result.
struct Slow {
    told: Receiver<io::Result<()>>,
    got: Sender<Vec<u8>>,
}

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.got.send(bytes.to_vec()).expect("the test listens");
        self.told.recv().expect("the test tells")?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A disk that takes nothing: workers go on responding, memory is bounded, lost lines are counted.
#[test]
fn no_request_waits_for_a_slow_disk() {
    let (tell, told) = mpsc::channel();
    let (got, written) = mpsc::channel();
    let log = LogWriter::with_buffer(Slow { told, got }, 100).expect("a thread");
    let app = peregrine::from_fn(|_, res| res.text("hi"));
    let format = |entry: &AccessEntry<'_>, line: &mut Vec<u8>| {
        let path = entry.request().map_or("-", Request::path);
        line.extend_from_slice(path.as_bytes());
    };
    let app = AccessLog::with_format(app, log.clone(), format);
    let (server, addr) = start(app, workers(1));
    let mut client = Client::connect(addr);
    assert_eq!(client.get("/first").status, 200);
    assert_eq!(written.recv().expect("a line"), b"/first\n");
    // The writer is busy from here on. Ten bytes for each line: ten of them fit.
    for i in 0..50 {
        assert_eq!(client.get(&format!("/number{i:02}")).status, 200);
    }
    wait_until("the others are counted", || log.lost() == 40);
    tell.send(Ok(())).expect("the writer listens");
    let batch = written.recv().expect("the lines that fitted");
    assert!(
        batch.starts_with(b"/number00\n") && batch.len() == 100,
        "{}",
        batch.escape_ascii()
    );

    // The disk is full: what it did not take is lost, and the next line tried again.
    let full = io::Error::from(io::ErrorKind::StorageFull);
    tell.send(Err(full)).expect("the writer listens");
    wait_until("the failure is counted", || log.lost() == 50);
    assert_eq!(client.get("/last").status, 200);
    assert_eq!(written.recv().expect("a line"), b"/last\n");
    tell.send(Ok(())).expect("the writer listens");
    drop(client);
    server.stop();
    ended(server);
    assert_eq!(log.lost(), 50);
}

#[test]
fn a_writer_that_panics_costs_lines_only() {
    /// And so does the drop of what it panics with.
    struct Payload;
    impl Drop for Payload {
        fn drop(&mut self) {
            std::panic::resume_unwind(Box::new(Payload));
        }
    }

    /// So many times, before it writes.
    struct Panics(u32, Kept);
    impl Write for Panics {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if let Some(left) = self.0.checked_sub(1) {
                self.0 = left;
                std::panic::resume_unwind(Box::new(Payload));
            }
            self.1.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let kept = Kept::default();
    let log = LogWriter::new(Panics(3, kept.clone())).expect("a thread");
    let app = peregrine::from_fn(|_, res| res.text("hi"));
    let (server, addr) = start(AccessLog::new(app, log.clone()), workers(1));
    for n in 1..=3 {
        assert_eq!(ask(addr, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"), 200);
        wait_until("the line is counted as lost", || log.lost() == n);
    }
    assert_eq!(ask(addr, "GET /next HTTP/1.1\r\nHost: a\r\n\r\n"), 200);
    wait_until("the next line is written", || {
        let bytes = kept.0.lock().expect("no panic").clone();
        String::from_utf8_lossy(&bytes).contains("GET /next ")
    });
    assert_eq!(log.lost(), 3);
    server.stop();
    ended(server);
}

/// Lines of many threads stay whole and in order, and none is lost while they fit.
#[test]
fn lines_of_many_threads() {
    const THREADS: usize = 4;
    const LINES: usize = 500;
    let kept = Kept::default();
    let log = LogWriter::new(kept.clone()).expect("a thread");
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let log = log.clone();
            scope.spawn(move || {
                for n in 0..LINES {
                    assert!(log.line(format!("{thread} {n}").as_bytes()).is_ok());
                }
            });
        }
    });
    assert_eq!(log.lost(), 0);
    drop(log);
    let lines = kept.lines();
    assert_eq!(lines.len(), THREADS * LINES);
    for thread in 0..THREADS {
        let prefix = format!("{thread} ");
        let of_one = lines.iter().filter_map(|line| line.strip_prefix(&prefix));
        assert!(of_one.eq((0..LINES).map(|n| n.to_string())));
    }
}

#[cfg(feature = "websocket")]
#[test]
fn websockets_have_a_line_when_they_begin() {
    use peregrine::Server;
    use peregrine::ws::{Message, Upgrade, WebSocketHandler, Ws};

    struct Picky;
    impl Handler for Picky {
        fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
            res.status(404).text("no")
        }
    }
    impl WebSocketHandler for Picky {
        type Conn = ();
        fn accept_ws(&self, req: &Request<'_>, upgrade: &mut Upgrade<'_>) -> Option<()> {
            match req.path() {
                "/ws" => return Some(()),
                "/refused" => upgrade.refuse(403, "not you"),
                "/panic" => panic!("as it is meant to"),
                _ => {}
            }
            None
        }
        fn handle_ws_frame(&self, ws: &mut Ws<'_, ()>, message: Message<'_>) {
            ws.send(message);
        }
    }

    let kept = Kept::default();
    let log = LogWriter::new(kept.clone()).expect("a thread");
    let server = Server::new(AccessLog::new(Picky, log)).websocket();
    let server = server.config(workers(1)).on_own_addr();
    let server = server.start().expect("a server");
    let addr = server.local_addr().expect("an address");
    let offer = |path: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
    };
    for (path, status) in [("/refused", 403), ("/else", 404), ("/panic", 500)] {
        assert_eq!(ask(addr, &offer(path)), status);
    }
    // The library refuses without asking the handler.
    let old = offer("/ws").replace("Version: 13", "Version: 8");
    assert_eq!(ask(addr, &old), 426);
    let no_key = offer("/ws").replace("Sec-WebSocket-Key", "Key");
    assert_eq!(ask(addr, &no_key), 400);
    let cross = offer("/ws").replace("\r\n\r\n", "\r\nOrigin: http://b\r\n\r\n");
    assert_eq!(ask(addr, &cross), 403);
    let stream = Stream::connect(addr).expect("a connection");
    let url = format!("ws://{addr}/ws");
    let (mut client, _) = tungstenite::client(url, stream).expect("a WebSocket");
    // Hooks reach the handler within.
    client.send("echo".into()).expect("sent");
    assert_eq!(
        client.read().expect("an echo").to_text().expect("text"),
        "echo"
    );
    drop(client);
    server.stop();
    ended(server);
    let lines = kept.lines();
    let lines: Vec<_> = lines.iter().map(|line| rest(line)).collect();
    let expected = [
        r#""GET /refused HTTP/1.1" 403 7 "-" "-""#,
        r#""GET /else HTTP/1.1" 404 2 "-" "-""#,
        r#""GET /panic HTTP/1.1" 500 45 "-" "-""#,
        r#""GET /ws HTTP/1.1" 426 47 "-" "-""#,
        r#""GET /ws HTTP/1.1" 400 21 "-" "-""#,
        r#""GET /ws HTTP/1.1" 403 52 "-" "-""#,
        r#""GET /ws HTTP/1.1" 101 - "-" "-""#,
    ];
    assert_eq!(lines, expected);
}

/// A log around a log: each has its own line.
#[test]
fn logs_within_logs() {
    let (outer, inner) = (Kept::default(), Kept::default());
    let writer = |kept: &Kept| LogWriter::new(kept.clone()).expect("a thread");
    let app = peregrine::from_fn(|req, res| match req.path() {
        "/late" => res.offload(req, |_, res| res.status(404).text("late")),
        "/panic" => panic!("as it is meant to"),
        _ => res.send(vec![b'x'; 8 << 20]),
    });
    let app = AccessLog::new(AccessLog::new(app, writer(&inner)), writer(&outer));
    let (server, addr): (_, std::net::SocketAddr) = start(app, workers(1));
    for path in ["/late", "/panic", "/large"] {
        let mut client = Client::connect(addr);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let _ = client.answer(Asked::Other);
    }
    let mut client = Client::connect(addr);
    client.send("nonsense\r\n\r\n");
    assert_eq!(client.answer(Asked::Other).status, 400);
    drop(client);
    server.stop();
    ended(server);
    for kept in [outer, inner] {
        let mut lines: Vec<_> = kept.lines().iter().map(|l| rest(l).to_owned()).collect();
        lines.sort();
        let expected = [
            r#""-" 400 23 "-" "-""#,
            r#""GET /large HTTP/1.1" 200 8388608 "-" "-""#,
            r#""GET /late HTTP/1.1" 404 4 "-" "-""#,
            r#""GET /panic HTTP/1.1" 500 45 "-" "-""#,
        ];
        assert_eq!(lines, expected);
    }
}

/// A response that cannot be sent: the client gets no details. A build with debug assertions reports them to
/// the developer, whatever the handler.
#[cfg(all(target_os = "linux", debug_assertions))]
#[test]
fn a_response_that_cannot_be_sent_is_reported_on_stderr() {
    const TEST: &str = "access_log::a_response_that_cannot_be_sent_is_reported_on_stderr";
    const MARK: &str = "PEREGRINE_TEST_STDERR";
    let ask = || {
        let app = peregrine::from_fn(|_, res| res.header("a b", "c").text("x"));
        let mut client = peregrine::testing::Connection::new(&app);
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(client.received().starts_with(b"HTTP/1.1 500 "));
    };
    if std::env::var_os(MARK).is_some() {
        return ask();
    }
    let mut command = super::alone::this_program("", TEST);
    let output = command.env(MARK, "1").output().expect("started");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert!(errors.contains("malformed header field name"), "{errors}");
}
