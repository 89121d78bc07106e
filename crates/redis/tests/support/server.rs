//! A server of Redis of its own, on a free port.

use super::{PATIENCE, pause, wait_until};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::Instant;

pub(crate) struct Server {
    addr: String,
    args: Vec<String>,
    /// The lines of a file of settings.
    file: Option<String>,
    dir: PathBuf,
    child: Option<Child>,
}

/// So many ports, from 12,000 on, of which systems give none to a program that asks for any: no program takes one while its
/// server is started again. A node of a cluster has a second port, as far above.
const PORTS: u16 = 10_000;

/// Another program may take it.
pub(crate) fn free_addr() -> String {
    static COUNT: AtomicU16 = AtomicU16::new(0);
    // Far from those of other processes, whose numbers are near.
    let first = (std::process::id() as u16).wrapping_mul(97);
    loop {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let port = 12_000 + first.wrapping_add(count) % PORTS;
        let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if is_free(port) && is_free(port + PORTS) {
            return format!("127.0.0.1:{port}");
        }
    }
}

/// Where a server writes: in memory if there is such a folder, because no server waits for a busy disk there.
fn folder() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    match memory.is_dir() {
        true => memory,
        false => std::env::temp_dir(),
    }
}

impl Server {
    pub(crate) fn start() -> Server {
        Server::start_with(&["--save", "", "--appendonly", "no"])
    }

    pub(crate) fn start_with(args: &[&str]) -> Server {
        Server::new(args, None)
    }

    /// A copy of another server, to which it can fail over.
    pub(crate) fn replica_of(master: &Server) -> Server {
        Server::start_with(&["--save", "", "--replicaof", "127.0.0.1", master.port()])
    }

    /// It watches a master with the name `m`, and needs no other Sentinel to declare it dead.
    pub(crate) fn sentinel_of(port: &str, lines: &str, args: &[&str]) -> Server {
        let file = format!(
            "sentinel monitor m 127.0.0.1 {port} 1\n\
             sentinel down-after-milliseconds m 2000\n\
             sentinel failover-timeout m 3000\n{lines}\n"
        );
        Server::new(&[&["--sentinel"], args].concat(), Some(file))
    }

    /// A server that knows version 2 of RESP only, like Redis 5.
    pub(crate) fn version_2(args: &[&str]) -> Server {
        let file = "rename-command HELLO \"\"\nsave \"\"\n".to_owned();
        Server::new(args, Some(file))
    }

    /// With these lines of settings.
    pub(crate) fn with_lines(lines: &str) -> Server {
        Server::new(&[], Some(lines.to_owned()))
    }

    fn new(args: &[&str], file: Option<String>) -> Server {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = folder().join(format!("peregrine-redis-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a folder");
        let mut server = Server {
            addr: String::new(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            file,
            dir,
            child: None,
        };
        while server.child.is_none() {
            server.addr = free_addr();
            // Another program may have taken the port.
            server.child = server.spawn();
        }
        server
    }

    pub(crate) fn addr(&self) -> &str {
        &self.addr
    }

    pub(crate) fn port(&self) -> &str {
        self.addr.rsplit(':').next().expect("a port")
    }

    /// It answers nothing, and its connections stay, until it goes on.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.as_ref().expect("it runs").id().to_string();
        let status = Command::new("kill").args([name, &id]).status();
        assert!(status.expect("kill").success());
    }

    pub(crate) fn restart(&mut self) {
        wait_until("redis-server", || {
            self.child = self.spawn();
            self.child.is_some()
        });
    }

    /// `None` if it has ended at once.
    fn spawn(&self) -> Option<Child> {
        let mut command = Command::new("redis-server");
        if let Some(lines) = &self.file {
            let path = self.dir.join("settings");
            std::fs::write(&path, lines).expect("a file");
            command.arg(path);
        }
        command
            .args(["--port", self.port(), "--bind", "127.0.0.1", "--dir"])
            .arg(&self.dir);
        command.args(&self.args).stdout(Stdio::null());
        let mut child = command.spawn().expect("redis-server is installed");
        let (end, own) = (
            Instant::now() + PATIENCE,
            format!("process_id:{}\r", child.id()),
        );
        loop {
            // With a password it is not asked who it is.
            let reply = self.try_command(&["INFO", "server"]).unwrap_or_default();
            if reply.contains(&own) || reply.starts_with("-NOAUTH") {
                return Some(child);
            }
            if child.try_wait().expect("its own process").is_some() || Instant::now() > end {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
            pause();
        }
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("its own process");
            child.wait().expect("its own process");
        }
    }

    /// The reply as it comes.
    pub(crate) fn command(&self, parts: &[&str]) -> String {
        self.try_command(parts).expect("a reply")
    }

    pub(crate) fn try_command(&self, parts: &[&str]) -> Option<String> {
        let mut stream = TcpStream::connect(&self.addr).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let mut line = parts.join(" ");
        line.push_str("\r\n");
        // The server ends the connection behind the reply.
        let is_sentinel = self.args.iter().any(|arg| arg == "--sentinel");
        line.push_str(if is_sentinel { "" } else { "QUIT\r\n" });
        stream.write_all(line.as_bytes()).ok()?;
        if is_sentinel {
            // It does not know QUIT.
            stream.shutdown(Shutdown::Write).ok()?;
        }
        let mut reply = String::new();
        stream.read_to_string(&mut reply).ok()?;
        (!reply.is_empty()).then_some(reply)
    }

    /// Number of reads of streams so far.
    pub(crate) fn reads(&self) -> u64 {
        self.calls("xrange")
    }

    /// Number of calls of a command so far.
    pub(crate) fn calls(&self, command: &str) -> u64 {
        let stats = self.command(&["INFO", "commandstats"]);
        let start = format!("cmdstat_{command}:calls=");
        let calls = |line: &str| {
            let calls = line.strip_prefix(&*start)?;
            calls.split_once(',')?.0.parse::<u64>().ok()
        };
        stats.lines().find_map(calls).unwrap_or(0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
