//! Every setting at the ends of its range, under real traffic: the server answers or refuses, or says
//! at the start which setting is wrong. No thread ends, nothing panics.
//!
//! The lists take each struct apart without `..`: a new setting that is not here does not compile.

use super::support::{Asked, Client, ended, own_addr};
use peregrine::{
    BodyPlan, Config, Done, Handler, Limits, Request, Response, Server, Stats, Stopped,
};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

const TIMES: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_nanos(1),
    Duration::from_secs(u64::MAX),
    Duration::MAX,
];

/// A setting with a value, and the configuration that has it.
type Case = (String, Config);

fn base() -> Config {
    Config {
        workers: 1,
        stop_time: Duration::from_secs(10),
        limits: Limits {
            stop_grace: Duration::ZERO,
            ..Limits::default()
        },
        #[cfg(feature = "websocket")]
        ws_threads: 1,
        ..Config::default()
    }
}

/// Adds a case for each value of a field.
macro_rules! vary {
    ($cases:ident, $($path:ident).+, $values:expr) => {
        for value in $values {
            let mut config = base();
            config.$($path).+ = value.clone();
            $cases.push((format!("{} = {value:?}", stringify!($($path).+)), config));
        }
    };
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    of_config(&mut cases);
    of_limits(&mut cases);
    #[cfg(feature = "websocket")]
    of_ws_limits(&mut cases);
    cases
}

fn of_config(cases: &mut Vec<Case>) {
    const SIZES: [usize; 3] = [0, 1, usize::MAX];
    let Config {
        workers: _,
        accept_threads: _,
        balance: _,
        cpu_affinity: _,
        stack_size: _,
        tcp_nodelay: _,
        backlog: _,
        connections: _,
        connections_per_address: _,
        trusted_proxies: _,
        raise_descriptors: _,
        buffered_bytes: _,
        keep_alive: _,
        allowed_hosts: _,
        server_name: _,
        stop_time: _,
        pool_threads: _,
        pool_queue: _,
        timed_one_in: _,
        limits: _,
        #[cfg(feature = "websocket")]
            ws_threads: _,
        #[cfg(feature = "websocket")]
            ws_limits: _,
        #[cfg(feature = "websocket")]
            ws_origins: _,
        #[cfg(feature = "deflate")]
            ws_deflate: _,
    } = base();
    vary!(cases, workers, SIZES);
    vary!(cases, accept_threads, SIZES.map(Some));
    vary!(cases, stack_size, [0, 1, 128 << 10].map(Some));
    vary!(cases, backlog, [i32::MIN, -1, 0, 1, i32::MAX]);
    vary!(cases, connections, SIZES);
    vary!(cases, connections_per_address, SIZES.map(Some));
    vary!(cases, buffered_bytes, SIZES);
    vary!(cases, keep_alive, [false]);
    let none: Vec<String> = Vec::new();
    vary!(
        cases,
        allowed_hosts,
        [Some(none), Some(vec!["a".to_owned()])]
    );
    vary!(cases, server_name, [None, Some(String::new())]);
    vary!(cases, stop_time, TIMES);
    vary!(cases, pool_threads, SIZES);
    vary!(cases, pool_queue, SIZES);
    vary!(cases, timed_one_in, [0, 1, u32::MAX]);
    #[cfg(feature = "websocket")]
    vary!(cases, ws_threads, SIZES);
    #[cfg(feature = "deflate")]
    {
        let deflate = |level, threshold, dedicated_windows| {
            Some(peregrine::WsDeflate {
                level,
                threshold,
                dedicated_windows,
            })
        };
        let extremes = [
            deflate(0, 0, true),
            deflate(u8::MAX, 1, false),
            deflate(1, usize::MAX, true),
        ];
        vary!(cases, ws_deflate, extremes);
    }
}

fn of_limits(cases: &mut Vec<Case>) {
    const SIZES: [usize; 3] = [0, 1, usize::MAX];
    let Limits {
        stall_time: _,
        write_rate: _,
        write_grace: _,
        head_bytes: _,
        target_bytes: _,
        header_fields: _,
        body_bytes: _,
        chunk_extension_bytes: _,
        requests_per_turn: _,
        turn_time: _,
        output_bytes: _,
        output_files: _,
        requests_per_connection: _,
        connection_age: _,
        head_time: _,
        idle_time: _,
        body_grace: _,
        body_rate: _,
        answer_time: _,
        write_time: _,
        linger_time: _,
        linger_bytes: _,
        stop_grace: _,
        timers_per_worker: _,
    } = Limits::default();
    vary!(cases, limits.stall_time, TIMES);
    vary!(cases, limits.write_rate, SIZES);
    vary!(cases, limits.write_grace, TIMES);
    vary!(cases, limits.head_bytes, SIZES);
    vary!(cases, limits.target_bytes, SIZES);
    vary!(cases, limits.header_fields, SIZES);
    vary!(cases, limits.body_bytes, SIZES);
    vary!(cases, limits.chunk_extension_bytes, SIZES);
    vary!(cases, limits.requests_per_turn, SIZES);
    vary!(cases, limits.turn_time, TIMES);
    vary!(cases, limits.output_bytes, SIZES);
    vary!(cases, limits.output_files, SIZES);
    vary!(cases, limits.requests_per_connection, [0, 1, u32::MAX]);
    vary!(cases, limits.connection_age, TIMES);
    vary!(cases, limits.head_time, TIMES);
    vary!(cases, limits.idle_time, TIMES);
    vary!(cases, limits.body_grace, TIMES);
    vary!(cases, limits.body_rate, SIZES);
    vary!(cases, limits.answer_time, TIMES);
    vary!(cases, limits.write_time, TIMES);
    vary!(cases, limits.linger_time, TIMES);
    vary!(cases, limits.linger_bytes, SIZES);
    vary!(cases, limits.stop_grace, TIMES);
    vary!(cases, limits.timers_per_worker, SIZES);
    let most = usize::MAX;
    let all = Limits {
        stall_time: Duration::MAX,
        write_rate: most,
        write_grace: Duration::MAX,
        head_bytes: most,
        target_bytes: most,
        header_fields: most,
        body_bytes: most,
        chunk_extension_bytes: most,
        requests_per_turn: most,
        turn_time: Duration::MAX,
        output_bytes: most,
        output_files: most,
        requests_per_connection: u32::MAX,
        connection_age: Duration::MAX,
        head_time: Duration::MAX,
        idle_time: Duration::MAX,
        body_grace: Duration::MAX,
        body_rate: most,
        answer_time: Duration::MAX,
        write_time: Duration::MAX,
        linger_time: Duration::MAX,
        linger_bytes: most,
        stop_grace: Duration::MAX,
        timers_per_worker: most,
    };
    let none = Limits {
        stall_time: Duration::ZERO,
        write_rate: 0,
        write_grace: Duration::ZERO,
        head_bytes: 0,
        target_bytes: 0,
        header_fields: 0,
        body_bytes: 0,
        chunk_extension_bytes: 0,
        requests_per_turn: 0,
        turn_time: Duration::ZERO,
        output_bytes: 0,
        output_files: 0,
        requests_per_connection: 0,
        connection_age: Duration::ZERO,
        head_time: Duration::ZERO,
        idle_time: Duration::ZERO,
        body_grace: Duration::ZERO,
        body_rate: 0,
        answer_time: Duration::ZERO,
        write_time: Duration::ZERO,
        linger_time: Duration::ZERO,
        linger_bytes: 0,
        stop_grace: Duration::ZERO,
        timers_per_worker: 0,
    };
    vary!(cases, limits, [all, none]);
}

#[cfg(feature = "websocket")]
fn of_ws_limits(cases: &mut Vec<Case>) {
    use peregrine::{BacklogPolicy, WsLimits};
    const SIZES: [usize; 3] = [0, 1, usize::MAX];
    let WsLimits {
        write_rate: _,
        write_grace: _,
        messages: _,
        message_rate: _,
        message_grace: _,
        message_bytes: _,
        frame_bytes: _,
        fragments: _,
        control_frames: _,
        backlog_bytes: _,
        backlog_policy: _,
        backlog_mark: _,
        topics: _,
        topic_bytes: _,
        idle_time: _,
        pong_time: _,
        close_time: _,
        write_time: _,
        connections_per_thread: _,
        mailbox_bytes: _,
    } = WsLimits::default();
    vary!(cases, ws_limits.write_rate, SIZES);
    vary!(cases, ws_limits.write_grace, TIMES);
    vary!(cases, ws_limits.messages, [0, 1, u32::MAX]);
    vary!(cases, ws_limits.message_rate, SIZES);
    vary!(cases, ws_limits.message_grace, TIMES);
    vary!(cases, ws_limits.message_bytes, SIZES);
    vary!(cases, ws_limits.frame_bytes, SIZES);
    vary!(cases, ws_limits.fragments, [0, 1, u32::MAX]);
    vary!(cases, ws_limits.control_frames, [0, 1, u32::MAX]);
    vary!(cases, ws_limits.backlog_bytes, SIZES);
    let policies = [BacklogPolicy::DropNewest, BacklogPolicy::DropOldest];
    vary!(cases, ws_limits.backlog_policy, policies);
    vary!(cases, ws_limits.backlog_mark, SIZES);
    vary!(cases, ws_limits.topics, SIZES);
    vary!(cases, ws_limits.topic_bytes, SIZES);
    vary!(cases, ws_limits.idle_time, TIMES);
    vary!(cases, ws_limits.pong_time, TIMES);
    vary!(cases, ws_limits.close_time, TIMES);
    vary!(cases, ws_limits.write_time, TIMES);
    vary!(cases, ws_limits.connections_per_thread, SIZES);
    vary!(cases, ws_limits.mailbox_bytes, SIZES);
    let all = WsLimits {
        write_rate: usize::MAX,
        write_grace: Duration::MAX,
        messages: u32::MAX,
        message_rate: usize::MAX,
        message_grace: Duration::MAX,
        message_bytes: usize::MAX,
        frame_bytes: usize::MAX,
        fragments: u32::MAX,
        control_frames: u32::MAX,
        backlog_bytes: usize::MAX,
        backlog_policy: BacklogPolicy::DropOldest,
        backlog_mark: usize::MAX,
        topics: usize::MAX,
        topic_bytes: usize::MAX,
        idle_time: Duration::MAX,
        pong_time: Duration::MAX,
        close_time: Duration::MAX,
        write_time: Duration::MAX,
        connections_per_thread: usize::MAX,
        mailbox_bytes: usize::MAX,
    };
    vary!(cases, ws_limits, [all]);
}

struct App;

impl Handler for App {
    fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
        match req.path() {
            "/any" => BodyPlan::BufferUpTo(usize::MAX),
            _ => BodyPlan::Buffer,
        }
    }

    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        match req.path() {
            "/stream" => {
                let (done, mut sender) = res.stream();
                thread::spawn(move || {
                    let _ = sender.send("streamed").and_then(|()| sender.finish());
                });
                done
            }
            "/offload" => res.offload(req, |_, res| res.text("offloaded")),
            "/timer" => {
                let timers = res.timers();
                let _ = timers.every(Duration::MAX, || {});
                let (done, responder) = res.defer();
                let _ = timers.after(Duration::ZERO, move || {
                    responder.send(|res| res.text("deferred"));
                });
                done
            }
            _ => res.body(req.body()),
        }
    }
}

#[cfg(feature = "websocket")]
impl peregrine::WebSocketHandler for App {
    type Conn = ();

    fn accept_ws(&self, _: &Request<'_>, _: &mut peregrine::Upgrade<'_>) -> Option<()> {
        Some(())
    }

    fn handle_ws_conn(&self, ws: &mut peregrine::Ws<'_, ()>) {
        ws.subscribe("topic");
        ws.send("welcome");
    }

    fn handle_ws_frame(&self, ws: &mut peregrine::Ws<'_, ()>, message: peregrine::Message<'_>) {
        ws.send(message);
        ws.publish("topic", "published");
        ws.hub().send(ws.id(), "by another way");
    }
}

/// Requests of all kinds, one connection each. What becomes of them is the setting's affair; that it
/// ends is ours.
fn requests() -> Vec<String> {
    let get = |path| format!("GET {path} HTTP/1.1\r\nHost: a\r\n");
    let post = |path| format!("POST {path} HTTP/1.1\r\nHost: a\r\n");
    let close = "Connection: close\r\n\r\n";
    vec![
        get("/") + "\r\n" + &get("/") + close,
        get(&format!("/{}", "t".repeat(100))) + close,
        get("/stream") + close,
        get("/offload") + close,
        get("/timer") + close,
        post("/") + "Content-Length: 4\r\n" + close + "body",
        post("/any")
            + "Transfer-Encoding: chunked\r\n"
            + close
            + "4;x=y\r\nbody\r\n0\r\na: b\r\n\r\n",
        post("/") + "Content-Length: 18446744073709551615\r\n\r\n",
        post("/any") + "Content-Length: 18446744073709551615\r\n\r\n",
        post("/any") + "Content-Length: 9223372036854775807\r\n\r\nbody",
        post("/") + "Content-Length: 100000\r\n\r\n" + &"b".repeat(2000),
        get("/ws")
            + "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    ]
}

/// `hello`, a ping, and a close, masked with zeros.
const FRAMES: &[u8] = b"\x81\x85\0\0\0\0hello\x89\x80\0\0\0\0\x88\x82\0\0\0\0\x03\xe8";

fn ask(addr: std::net::SocketAddr, request: &str) {
    use std::io::{Read, Write};
    let Ok(mut stream) = std::net::TcpStream::connect(addr) else {
        return;
    };
    let limit = Some(super::support::PATIENCE);
    stream.set_read_timeout(limit).expect("a socket");
    let is_ws = request.contains("Upgrade");
    let _ = stream.write_all(request.as_bytes());
    if is_ws {
        let _ = stream.write_all(FRAMES);
    }
    // The client says that it is done, so that nothing has to wait for a limit.
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("no end: {error}"),
    }
}

/// Refused at the start with a sentence, or served.
fn play(name: &str, config: Config) {
    let server = Server::new(App).config(config).bind(own_addr());
    #[cfg(feature = "websocket")]
    let server = server.websocket();
    let stats = Stats::new();
    let server = match server.stats(&stats).start() {
        Ok(server) => server,
        Err(error) => {
            let field = name.split(" = ").next().unwrap_or(name);
            let text = error.to_string();
            assert!(text.contains(field), "{name}: {text}");
            return;
        }
    };
    let addr = server.local_addr().expect("an address");
    for request in requests() {
        ask(addr, &request);
    }
    server.stopper().stop_now();
    let Stopped { counters, .. } = ended(server);
    assert_eq!(counters.panics + counters.internal_errors, 0, "{name}");
    assert!(counters.accepted > 0, "{name}");
}

#[test]
fn every_setting_at_its_extremes() {
    let cases = Arc::new(std::sync::Mutex::new(cases()));
    thread::scope(|scope| {
        for _ in 0..8 {
            let cases = cases.clone();
            scope.spawn(move || {
                loop {
                    let next = cases.lock().expect("no panic").pop();
                    let Some((name, config)) = next else { break };
                    play(&name, config);
                }
            });
        }
    });
}

/// What has no end is not taken for a second.
#[test]
fn without_a_limit_of_time_slow_clients_are_waited_for() {
    let mut config = base();
    config.limits = Limits {
        target_bytes: usize::MAX,
        head_time: Duration::MAX,
        idle_time: Duration::MAX,
        body_grace: Duration::MAX,
        answer_time: Duration::MAX,
        write_time: Duration::MAX,
        ..Limits::default()
    };
    let server = Server::new(App).config(config).bind(own_addr());
    let server = server.start().expect("a server");
    let addr = server.local_addr().expect("an address");
    let mut idle = Client::connect(addr);
    let mut slow = Client::connect(addr);
    slow.send("GET / HTTP/1.1\r\n");
    let mut other = Client::connect(addr);
    // Deadlines are looked at once a second: a timer of two of them has seen that.
    let (told, tells) = std::sync::mpsc::channel();
    let timer = server.timers().after(Duration::from_millis(2500), move || {
        let _ = told.send(());
    });
    timer.expect("a timer");
    tells
        .recv_timeout(super::support::PATIENCE)
        .expect("called");
    let long = format!("/{}", "t".repeat(1000));
    assert_eq!(other.get(&long).status, 200);
    slow.send("Host: a\r\n\r\n");
    assert_eq!(slow.answer(Asked::Other).status, 200);
    assert_eq!(idle.get("/").status, 200);
    drop((idle, slow, other));
    server.stop();
    ended(server);
}
