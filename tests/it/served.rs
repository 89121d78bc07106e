//! A server in a process of its own: this program again, told to run one test that serves. For what
//! would hit all tests in this process: a limit on descriptors, and its memory.

use super::alone::{resident, this_program};
use super::support::{OnOwnAddr, wait_until, workers};
use crate::support::acceptors;
use peregrine::metrics::Stats;
use peregrine::server::Running;
use peregrine::{Config, Done, Handler, Request, Response};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, ExitStatus, Stdio};

/// Holds the settings, in the child.
const MARK: &str = "PEREGRINE_TEST_SERVED";

/// The prefix of each line that the child prints.
const PROMPT: &str = "> ";

/// The parent's end. Killed when it is dropped.
pub(crate) struct Served {
    child: Child,
    input: Option<ChildStdin>,
    out: BufReader<ChildStdout>,
    pub(crate) addr: SocketAddr,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Served {
    /// Starts the test `name`, which is to call [`serve`], behind commands of the shell.
    #[track_caller]
    pub(crate) fn start(name: &str, shell: &str, settings: &[(&str, usize)]) -> Served {
        let settings = settings
            .iter()
            .map(|(name, value)| format!("{name}={value} "));
        let mut command = this_program(shell, name);
        command.env(MARK, settings.collect::<String>());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("started");
        let mut served = Served {
            input: child.stdin.take(),
            out: BufReader::new(child.stdout.take().expect("a pipe")),
            child,
            addr: SocketAddr::from(([0; 4], 0)),
        };
        served.addr = served.line().parse().expect("an address");
        served
    }

    fn line(&mut self) -> String {
        loop {
            let mut line = String::new();
            let read = self.out.read_line(&mut line).expect("text");
            assert!(read > 0, "the server has ended");
            if let Some(line) = line.strip_prefix(PROMPT) {
                return line.trim_end().to_owned();
            }
        }
    }

    /// `descriptors`, `resident`, `connections_that_fit`, `said ` and a text (how many lines of the log hold it), or what
    /// follows `peregrine_` in the name of a metric.
    #[track_caller]
    pub(crate) fn ask(&mut self, what: &str) -> usize {
        let mut input = self.input.as_ref().expect("not ended");
        writeln!(input, "{what}").expect("it reads");
        self.line().parse().expect("a number")
    }

    /// Sends it a signal, and waits for its end.
    #[track_caller]
    pub(crate) fn end_by(mut self, signal: Signal) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), signal).expect("sent");
        self.status()
    }

    #[track_caller]
    fn status(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the server's process ends", || {
            status = self.child.try_wait().expect("our child");
            status.is_some()
        });
        status.expect("it has ended")
    }

    /// Whether a signal has no effect on it, because this program was started so and the system has no `env` that
    /// changes it.
    pub(crate) fn ignores(&self, signal: Signal) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("readable");
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = u64::from_str_radix(mask.expect("in every kernel").trim(), 16);
        mask.expect("a mask") >> (signal.as_raw() - 1) & 1 == 1
    }

    /// Stops it.
    #[track_caller]
    pub(crate) fn end(mut self) {
        drop(self.input.take());
        assert_eq!(self.line(), "ended");
        // The pipe stays open, and has room for what the harness says at the end.
        assert!(self.status().success());
    }
}

/// What the parent has set; `None` where there is no parent.
fn settings() -> Option<Vec<(String, usize)>> {
    let settings = std::env::var(MARK).ok()?;
    let pairs = settings.split_whitespace().map(|pair| {
        let (name, value) = pair.split_once('=').expect("a pair");
        (name.to_owned(), value.parse().expect("a number"))
    });
    Some(pairs.collect())
}

/// The child: starts a server, and does what the parent says until that has had enough. Does nothing
/// where there is no parent.
pub(crate) fn serve(start: impl FnOnce(Config, &Stats) -> Running) {
    let Some(settings) = settings() else {
        return;
    };
    log_lines::begin();
    let mut config = workers(1);
    for (name, value) in settings {
        match name.as_str() {
            "workers" => config.workers = value,
            "accept_threads" => config.accept_threads = acceptors(value),
            "buffered_bytes" => config.buffered_bytes = value,
            "connections" => config.connections = value,
            "raise_descriptors" => config.raise_descriptors = value > 0,
            other => panic!("no setting: {other}"),
        }
    }
    let stats = Stats::new();
    let running = start(config, &stats);
    say(running.local_addr().expect("a TCP address"));
    for line in std::io::stdin().lines() {
        let line = line.expect("text");
        let metric = || {
            let page = stats.prometheus();
            let name = format!("peregrine_{line} ");
            let value = page.lines().find_map(|line| line.strip_prefix(&name));
            value.expect("a metric").parse().expect("a number")
        };
        say(match line.split_once(' ') {
            None if line == "descriptors" => descriptors(),
            None if line == "resident" => resident(),
            None if line == "connections_that_fit" => running.connections_that_fit(),
            Some(("said", text)) => log_lines::count(text),
            _ => metric(),
        });
    }
    running.stopper().stop_now();
    running.wait().expect("stopped");
    say("ended");
}

/// A server around a handler, for [`serve`].
pub(crate) fn plain(handler: impl Handler) -> impl FnOnce(Config, &Stats) -> Running {
    |config, stats| {
        let server = peregrine::Server::new(handler).config(config).stats(stats);
        server.on_own_addr().start().expect("a server")
    }
}

/// Says its path.
pub(crate) fn path(req: &Request<'_>, res: Response<'_>) -> Done {
    res.text(req.path())
}

/// 0 if no descriptor is left to look with.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

fn say(what: impl std::fmt::Display) {
    let mut out = std::io::stdout();
    // The harness may have begun a line.
    writeln!(out, "\n{PROMPT}{what}").expect("the parent reads");
    out.flush().expect("the parent reads");
}

#[cfg(feature = "log")]
mod log_lines {
    use log::{LevelFilter, Log, Metadata, Record};
    use std::sync::Mutex;

    struct Lines(Mutex<Vec<String>>);

    impl Log for Lines {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn log(&self, record: &Record<'_>) {
            let line = format!("{} {}", record.level(), record.args());
            self.0.lock().expect("no panic").push(line);
        }

        fn flush(&self) {}
    }

    static LINES: Lines = Lines(Mutex::new(Vec::new()));

    pub(super) fn begin() {
        log::set_logger(&LINES).expect("the only one of this process");
        log::set_max_level(LevelFilter::Info);
    }

    pub(super) fn count(text: &str) -> usize {
        let lines = LINES.0.lock().expect("no panic");
        lines.iter().filter(|line| line.contains(text)).count()
    }
}

#[cfg(not(feature = "log"))]
mod log_lines {
    pub(super) fn begin() {}

    pub(super) fn count(_: &str) -> usize {
        0
    }
}
