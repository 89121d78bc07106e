//! The example `hello` as a process of its own, for what would hit all tests in this one: signals.

use super::support::wait_until;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

/// Killed when it is dropped.
pub(crate) struct Hello {
    child: Child,
    out: BufReader<ChildStdout>,
    pub(crate) addr: SocketAddr,
}

impl Drop for Hello {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An example, if it is there. `cargo test` builds them beside the tests, `cargo test --test it` does
/// not; and there is no variable that names them.
pub(crate) fn example(name: &str) -> Option<PathBuf> {
    let test = std::env::current_exe().expect("the path of this test");
    let folder = test.parent().and_then(|deps| deps.parent());
    let path = folder.expect("target/debug").join("examples").join(name);
    let is_built = path.is_file();
    if !is_built {
        println!("skipped: the example `{name}` is not built");
    }
    is_built.then_some(path)
}

impl Hello {
    /// Starts it with these options. `None` if it is not there.
    pub(crate) fn start(options: &[&str]) -> Option<Hello> {
        let mut command = Command::new(example("hello")?);
        command.args(["--port", "0"]).args(options);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("started");
        let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        out.read_line(&mut line).expect("a line");
        let addr = line.trim_end().strip_prefix("listening on http://");
        let addr = addr.expect("an address").parse().expect("an address");
        Some(Hello { child, out, addr })
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("sent");
    }

    /// The text that it prints at its end. After that its code must be 0.
    #[track_caller]
    pub(crate) fn end(&mut self) -> String {
        let mut code = None;
        wait_until("it ends", || {
            code = self.child.try_wait().expect("our child");
            code.is_some()
        });
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).expect("text");
        assert_eq!(code.and_then(|code| code.code()), Some(0), "{rest}");
        rest
    }
}
