//! A server as a separate process, observed from outside.

use super::app::App;
use super::polite::Place;
use crate::support::OnOwnAddr;
use peregrine::{Config, Server};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) addr: SocketAddr,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// As many descriptors as this process may have.
pub(crate) fn raise_descriptors() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum.unwrap_or(u64::MAX),
        Err(_) => current.unwrap_or(u64::MAX),
    }
}

/// What [`Process::start`] runs: serves on the defaults, but counts all addresses but one, until the other end of its input is closed.
pub(crate) fn serve() {
    raise_descriptors();
    let app = App::new();
    let stats = app.stats.clone();
    let server = Server::new(app).websocket().stats(&stats);
    let config = Config::default().trusted_proxies(vec![IpAddr::from([127, 0, 0, 1]).into()]);
    let server = server.config(config);
    let server = server.on_addr(SocketAddr::from(([127, 0, 0, 1], 0)));
    let running = server.start().expect("a server");
    println!("{}", running.local_addr().expect("an address"));
    let _ = std::io::stdout().flush();
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    running.stop();
    let stopped = running.wait().expect("no thread failed");
    println!("{} aborted", stopped.aborted);
}

impl Process {
    pub(crate) fn place(&self, is_secure: bool) -> Place {
        let addr = self.addr;
        Place { addr, is_secure }
    }

    /// This program with one argument, which has to lead to [`serve`].
    pub(crate) fn start(argument: &str, is_secure: bool) -> Process {
        let program = std::env::current_exe().expect("this program");
        let mut command = Command::new(program);
        command.arg(argument);
        if is_secure {
            command.env("OVER_TLS", "1");
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("started");
        let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        out.read_line(&mut line).expect("a line");
        child.stdout = Some(out.into_inner());
        let addr = line.trim_end().parse().expect("an address");
        Process { child, addr }
    }

    fn read(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.child.id());
        fs::read_to_string(path).expect("it runs")
    }

    fn status(&self, what: &str) -> usize {
        let status = self.read("status");
        let mut lines = status.lines();
        let line = lines.find_map(|line| line.strip_prefix(what));
        let words = line.and_then(|line| line.split_whitespace().next());
        words.expect("a field").parse().expect("a number")
    }

    /// The time of processors that it has used, in user space and in the system.
    pub(crate) fn cpu(&self) -> Duration {
        /// `USER_HZ` of Linux.
        const TICKS: u64 = 100;
        let stat = self.read("stat");
        // Behind the name of the program, which may have spaces.
        let fields = stat.rsplit(')').next().expect("a field");
        let times = fields.split_whitespace().skip(11).take(2);
        let ticks = times.map(|ticks| ticks.parse::<u64>().expect("a number"));
        Duration::from_millis(ticks.sum::<u64>() * 1000 / TICKS)
    }

    /// KiB in memory.
    pub(crate) fn resident(&self) -> usize {
        self.status("VmRSS:")
    }

    /// The most since [`Process::forget_peak`], in KiB.
    pub(crate) fn peak(&self) -> usize {
        self.status("VmHWM:")
    }

    /// False where the system does not let us: then the peak is since the start.
    pub(crate) fn forget_peak(&self) -> bool {
        fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").is_ok()
    }

    pub(crate) fn threads(&self) -> usize {
        self.status("Threads:")
    }

    fn descriptors(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.child.id());
        fs::read_dir(folder).expect("it runs").count()
    }

    /// Descriptors without those of a well-behaved client that comes and goes.
    pub(crate) fn fewest_descriptors(&self) -> usize {
        let count = |_| {
            thread::park_timeout(Duration::from_millis(3));
            self.descriptors()
        };
        (0..30).map(count).min().expect("a few")
    }

    /// Waits until it has no more descriptors than `most`; how many it has.
    pub(crate) fn settle(&self, most: usize, patience: Duration) -> Result<usize, String> {
        let until = Instant::now() + patience;
        loop {
            let now = self.fewest_descriptors();
            if now <= most {
                return Ok(now);
            }
            if Instant::now() > until {
                return Err(format!("{now} descriptors, {most} before"));
            }
        }
    }

    /// Stops it and returns the text that it prints at its end.
    pub(crate) fn stop(mut self) -> String {
        drop(self.child.stdin.take());
        let mut text = String::new();
        let mut out = self.child.stdout.take().expect("a pipe");
        out.read_to_string(&mut text).expect("text");
        text.trim_end().to_owned()
    }
}
