//! A server of Redis of its own, on a free port.

use super::{PATIENCE, pause, wait_until};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

pub(crate) struct Server {
    addr: String,
    args: Vec<String>,
    dir: PathBuf,
    child: Option<Child>,
}

impl Server {
    pub(crate) fn start() -> Server {
        Server::start_with(&["--save", "", "--appendonly", "no"])
    }

    pub(crate) fn start_with(args: &[&str]) -> Server {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir =
            std::env::temp_dir().join(format!("peregrine-redis-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a folder");
        let mut server = Server {
            addr: String::new(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            dir,
            child: None,
        };
        while server.child.is_none() {
            let free = TcpListener::bind("127.0.0.1:0").expect("a port");
            server.addr = free.local_addr().expect("an address").to_string();
            drop(free);
            // Another program may have taken the port.
            server.child = server.spawn();
        }
        server
    }

    pub(crate) fn addr(&self) -> &str {
        &self.addr
    }

    pub(crate) fn restart(&mut self) {
        wait_until("redis-server", || {
            self.child = self.spawn();
            self.child.is_some()
        });
    }

    /// `None` if it has ended at once.
    fn spawn(&self) -> Option<Child> {
        let port = self.addr.rsplit(':').next().expect("a port");
        let mut command = Command::new("redis-server");
        command
            .args(["--port", port, "--bind", "127.0.0.1", "--dir"])
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

    fn try_command(&self, parts: &[&str]) -> Option<String> {
        let mut stream = TcpStream::connect(&self.addr).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let mut line = parts.join(" ");
        // The server ends the connection behind the reply.
        line.push_str("\r\nQUIT\r\n");
        stream.write_all(line.as_bytes()).ok()?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply).ok()?;
        (!reply.is_empty()).then_some(reply)
    }

    /// Number of reads of streams so far.
    pub(crate) fn reads(&self) -> u64 {
        let stats = self.command(&["INFO", "commandstats"]);
        let calls = |line: &str| {
            let calls = line.strip_prefix("cmdstat_xrange:calls=")?;
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
