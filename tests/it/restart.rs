//! Listeners that go from one process to the next: the example `restart`, replaced while clients ask.

use super::child::example;
use super::scratch::Scratch;
use super::support::{
    Asked, Client, PATIENCE, Stream, ended, over_tls, start, wait_until, workers,
};
use peregrine::server::hand_over;
use peregrine::{Request, Response, from_fn};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

/// A process, and those that take its place; killed when it is dropped.
struct Chain {
    first: Child,
    out: BufReader<ChildStdout>,
    /// Lines that no call has waited for yet.
    lines: Vec<String>,
    /// Of the process that serves.
    pid: i32,
    addr: SocketAddr,
}

impl Drop for Chain {
    fn drop(&mut self) {
        if self.pid != 0 {
            self.signal(Signal::KILL);
        }
        let _ = self.first.kill();
        let _ = self.first.wait();
    }
}

impl Chain {
    /// `None` if the example is not there.
    fn start(options: &[&str]) -> Option<Chain> {
        let mut command = Command::new(example("restart")?);
        // Idle connections may ask for as long as they like.
        command.args(["--port", "0", "--workers", "2", "--grace", "3600"]);
        Some(Chain::of(command.args(options)))
    }

    /// With TLS, if the run is over TLS.
    fn of(command: &mut Command) -> Chain {
        let (option, scheme) = match over_tls() {
            true => (Some("--tls-self-signed"), "https"),
            false => (None, "http"),
        };
        let command = command.args(option);
        let mut first = command.stdout(Stdio::piped()).spawn().expect("started");
        let out = BufReader::new(first.stdout.take().expect("a pipe"));
        let mut chain = Chain {
            first,
            out,
            lines: Vec::new(),
            pid: 0,
            addr: ([127, 0, 0, 1], 0).into(),
        };
        let addr = chain.line(&format!("listening on {scheme}://"), "");
        chain.addr = addr.parse().expect("an address");
        chain.pid = chain.serving();
        chain
    }

    /// What stands between the two in a line, which may be to come.
    #[track_caller]
    fn line(&mut self, before: &str, after: &str) -> String {
        let between = |line: &String| {
            let rest = line.strip_prefix(before)?.strip_suffix(after)?;
            Some(rest.to_owned())
        };
        loop {
            if let Some(i) = self.lines.iter().position(|line| between(line).is_some()) {
                return between(&self.lines.remove(i)).expect("as it was found");
            }
            let mut line = String::new();
            let read = self.out.read_line(&mut line).expect("text");
            assert!(read > 0, "all have ended: {:?}", self.lines);
            self.lines.push(line.trim_end().to_owned());
        }
    }

    fn serving(&mut self) -> i32 {
        let pid = self.line("process ", " serves");
        pid.parse().expect("a number")
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid).expect("a process");
        // It may have ended by itself.
        let _ = kill_process(pid, signal);
    }

    /// Lets a new process take over, and waits until the old one has ended without aborting a connection.
    #[track_caller]
    fn restart(&mut self) {
        let old = self.pid;
        self.signal(Signal::HUP);
        self.pid = self.serving();
        assert_ne!(self.pid, old);
        self.line(&format!("process {old} stopped: "), " drained, 0 aborted");
    }

    #[track_caller]
    fn end(mut self) {
        self.signal(Signal::TERM);
        let pid = std::mem::take(&mut self.pid);
        self.line(&format!("process {pid} stopped: "), " drained, 0 aborted");
    }
}

/// Sends requests until the test ends it, at least one. Every connection is accepted, and every request gets
/// its response.
fn load(addr: SocketAddr, keep: bool, over: &AtomicBool, answers: &AtomicU64) {
    let mut kept = None;
    loop {
        let connect = || Stream::connect(addr).expect("no connection is refused");
        let mut client = kept
            .take()
            .unwrap_or_else(|| Client::over_stream(connect()));
        let answer = client.get("/");
        assert_eq!((answer.status, answer.text()), (200, "Hello, World!\n"));
        answers.fetch_add(1, Ordering::Relaxed);
        if over.load(Ordering::Relaxed) {
            return;
        }
        if keep && !answer.closes() {
            kept = Some(client);
        }
    }
}

#[test]
fn a_restart_under_load_loses_nothing() {
    for accept_threads in ["0", "1", "2"] {
        let Some(mut chain) = Chain::start(&["--accept-threads", accept_threads]) else {
            return;
        };
        let (over, answers) = (AtomicBool::new(false), AtomicU64::new(0));
        let addr = chain.addr;
        thread::scope(|scope| {
            // Also where this one fails, so that the test ends.
            struct End<'a>(&'a AtomicBool);
            impl Drop for End<'_> {
                fn drop(&mut self) {
                    self.0.store(true, Ordering::Relaxed);
                }
            }
            let _end = End(&over);
            for i in 0..6 {
                let (over, answers) = (&over, &answers);
                scope.spawn(move || load(addr, i % 2 == 0, over, answers));
            }
            for _ in 0..3 {
                let before = answers.load(Ordering::Relaxed);
                super::support::wait_until("there is load", || {
                    answers.load(Ordering::Relaxed) > before + 100
                });
                chain.restart();
            }
        });
        chain.end();
    }
}

/// The same with a Unix socket. Its file belongs to the process that serves.
#[test]
fn a_new_process_that_fails_changes_nothing() {
    let folder = Scratch::new();
    let [greeting, socket] = ["greeting", "socket"].map(|name| folder.outside().join(name));
    std::fs::write(&greeting, "first").expect("written");
    let path = |path: &Path| path.to_str().expect("text").to_owned();
    let options = ["--greeting", &path(&greeting), "--unix", &path(&socket)];
    let Some(mut chain) = Chain::start(&options) else {
        return;
    };
    let ask = |addr| {
        let over_tcp = Client::connect(addr).get("/").text().to_owned();
        let stream = UnixStream::connect(&socket).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        assert_eq!(Client::over(stream).get("/").text(), over_tcp);
        over_tcp
    };
    assert_eq!(ask(chain.addr), "first");
    std::fs::remove_file(&greeting).expect("there");
    for _ in 0..2 {
        chain.signal(Signal::HUP);
        let pid = chain.pid;
        let why = chain.line(&format!("process {pid} goes on: "), "");
        assert!(why.contains("the new process was not ready"), "{why}");
        assert!(
            why.contains("exit status: 1"),
            "it says why, and ends: {why}"
        );
        assert_eq!(ask(chain.addr), "first");
    }
    std::fs::write(&greeting, "second").expect("written");
    chain.restart();
    assert_eq!(ask(chain.addr), "second");
    assert!(socket.exists(), "its file is not removed by the first one");
    chain.end();
    assert!(!socket.exists(), "but by the last one");
}

#[test]
fn websockets_go_away_and_come_back() {
    use tungstenite::Message;
    use tungstenite::protocol::frame::coding::CloseCode;

    let Some(mut chain) = Chain::start(&[]) else {
        return;
    };
    let addr = chain.addr;
    let connect_once = move || {
        let stream = Stream::connect(addr).expect("no connection is refused");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let client = tungstenite::client(format!("ws://{addr}/echo"), stream);
        let (mut client, _) = client.expect("a WebSocket");
        client.send("x".into()).expect("sent");
        match client.read().expect("a message") {
            // The old process had accepted this one before it heard that it shall stop.
            Message::Close(Some(close)) if close.code == CloseCode::Away => None,
            message => {
                assert_eq!(message, Message::text("x"));
                Some(client)
            }
        }
    };
    let connect = move || loop {
        if let Some(client) = connect_once() {
            return client;
        }
    };
    let mut client = connect();
    for _ in 0..3 {
        let waiting = thread::spawn(move || {
            let Message::Close(Some(close)) = client.read().expect("a close frame") else {
                panic!("something else");
            };
            assert_eq!(close.code, CloseCode::Away);
            // It has to continue to read, so that its response can be sent.
            assert!(client.read().is_err());
            connect()
        });
        chain.restart();
        client = waiting.join().expect("a new connection");
    }
    drop(client);
    chain.end();
}

/// While another process serves, the old one is ready: a balancer that asks it on a kept connection must not take the
/// address out.
#[test]
fn a_process_that_has_handed_over_is_ready() {
    let Some(mut chain) = Chain::start(&["--drain", "3600"]) else {
        return;
    };
    let mut kept = Client::connect(chain.addr);
    assert_eq!(kept.get("/readyz").status, 200);
    let old = chain.pid;
    chain.signal(Signal::HUP);
    chain.pid = chain.serving();
    wait_until("the old process stops", || {
        let answer = kept.get("/readyz");
        let expected = "{\"status\":\"ready\"}\n";
        assert_eq!((answer.status, answer.text()), (200, expected));
        answer.closes()
    });
    drop(kept);
    chain.line(&format!("process {old} stopped: "), " drained, 0 aborted");
    // The new one drains, and is not replaced any more.
    let mut kept = Client::connect(chain.addr);
    assert_eq!(kept.get("/readyz").status, 200);
    chain.signal(Signal::TERM);
    wait_until("it drains", || kept.get("/readyz").status == 503);
    assert_eq!(
        Client::connect(chain.addr).get("/").text(),
        "Hello, World!\n"
    );
    chain.signal(Signal::HUP);
    let pid = chain.pid;
    chain.line(
        &format!("process {pid} goes on: this server drains or stops"),
        "",
    );
    // A second SIGTERM ends the delay.
    drop(kept);
    chain.end();
}

/// What systemd sees of a restart: the service goes on as another process, and does not stop.
#[cfg(target_os = "linux")]
#[test]
fn systemd_is_told_of_a_restart() {
    use super::systemd::told;
    let Some(program) = example("restart") else {
        return;
    };
    let folder = Scratch::new();
    let manager = std::os::unix::net::UnixDatagram::bind(folder.path("notify")).expect("a socket");
    let mut command = Command::new(program);
    command.args(["--port", "0", "--workers", "1", "--grace", "0"]);
    let mut chain = Chain::of(command.env("NOTIFY_SOCKET", folder.path("notify")));
    assert!(told(&manager).starts_with("READY=1\nSTATUS=serving at "));
    chain.restart();
    let begins = told(&manager);
    assert!(
        begins.starts_with("RELOADING=1\nMONOTONIC_USEC="),
        "{begins}"
    );
    let of_new = told(&manager);
    assert!(
        of_new.starts_with("READY=1\nSTATUS=serving at "),
        "{of_new}"
    );
    let pid = chain.pid;
    let moved = format!("MAINPID={pid}\nREADY=1\nSTATUS=process {pid} serves");
    assert_eq!(told(&manager), moved);
    chain.end();
    assert_eq!(told(&manager), "STOPPING=1\nSTATUS=stopping");
}

/// The socket belongs to a service manager: descriptor 3. Clients wait in it while no process serves.
#[test]
fn a_service_manager_keeps_the_socket() {
    let Some(program) = example("restart") else {
        return;
    };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("bound");
    let start = || {
        let script = r#"exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@""#;
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(&program);
        let socket = OwnedFd::from(listener.try_clone().expect("a second handle"));
        Chain::of(command.args(["--port", "1"]).stdin(Stdio::from(socket)))
    };
    let first = start();
    assert_eq!(first.addr, addr);
    let pid = first.pid.to_string();
    assert_eq!(Client::connect(addr).get("/pid").text(), pid);
    first.end();
    let get = b"GET /pid HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let waiting: Vec<_> = (0..5)
        .map(|_| TcpStream::connect(addr).expect("a connection"))
        .collect();
    // A handshake needs a process.
    if !over_tls() {
        for mut tcp in &waiting {
            tcp.write_all(get).expect("sent");
        }
    }
    let second = start();
    let pid = second.pid.to_string();
    for tcp in waiting {
        let mut client = Client::over_stream(Stream::over(tcp));
        if over_tls() {
            client.send(get);
        }
        assert_eq!(client.answer(Asked::Other).text(), pid);
    }
    second.end();
}

/// The variable is for one process: those that this one starts see it, too, and a program may have any
/// socket as its standard input.
#[test]
fn listeners_are_taken_from_the_parent_alone() {
    let Some(program) = example("restart") else {
        return;
    };
    let (_silent, stdin) = UnixStream::pair().expect("a pair");
    for variable in ["1", "2:1", "2:", &format!("1:{}", std::process::id())] {
        let mut command = Command::new(&program);
        command
            .args(["--port", "0"])
            .env("PEREGRINE_INHERIT", variable);
        let stdin = stdin.try_clone().expect("a second handle");
        let chain = Chain::of(command.stdin(Stdio::from(OwnedFd::from(stdin))));
        assert_eq!(Client::connect(chain.addr).get("/").status, 200);
        chain.end();
    }
}

/// A parent that sends nothing more, because it is suspended: SIGTERM still ends the new process.
#[test]
fn a_signal_ends_a_process_that_waits_for_its_parent() {
    let Some(program) = example("restart") else {
        return;
    };
    let (mut ours, stdin) = UnixStream::pair().expect("a pair");
    let mut command = Command::new(&program);
    command.args(["--port", "0"]);
    command.env("PEREGRINE_INHERIT", format!("2:{}", std::process::id()));
    let mut child = command
        .stdin(Stdio::from(OwnedFd::from(stdin)))
        .stdout(Stdio::null())
        .spawn()
        .expect("started");
    command.stdin(Stdio::null());
    ours.set_read_timeout(Some(PATIENCE)).expect("a socket");
    ours.write_all(b".").expect("no listeners");
    let mut byte = [0];
    ours.read_exact(&mut byte).expect("a byte");
    assert_eq!(&byte, b"r", "it is ready, and waits");
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::TERM).expect("it lives");
    wait_until("it has ended", || {
        child.try_wait().expect("a child").is_some()
    });
}

/// Only one new process at a time: the first of two that is ready stops the server, and what is taken
/// back for the other, which fails by that, would be taken from the first.
#[test]
fn only_one_process_at_a_time_takes_over() {
    let handle = |_: &Request<'_>, res: Response<'_>| res.text("hi");
    let (server, _) = start(from_fn(handle), workers(1));
    let stopper = server.stopper();
    let scratch = Scratch::new();
    let begin = |name: &str| {
        let mut command = Command::new("sh");
        let script = r#": > "$0"; exec sleep 600"#;
        command.args(["-c", script]).arg(scratch.path(name));
        hand_over(&[&stopper], &mut command, PATIENCE).expect_err("it is never ready")
    };
    let begun = |name: &str| scratch.path(name).exists();
    thread::scope(|scope| {
        let first = scope.spawn(|| begin("first"));
        wait_until("the first is started", || begun("first"));
        let second = scope.spawn(|| begin("second"));
        wait_until("the second is refused or started", || {
            second.is_finished() || begun("second")
        });
        server.stop();
        assert_eq!(
            second.join().expect("no panic").to_string(),
            "another process is about to take over"
        );
        assert!(!begun("second"));
        first.join().expect("no panic");
    });
    assert_eq!(ended(server).aborted, 0);
}
