//! The example `hello` as a process of its own, for what would hit all tests in this one: signals,
//! and a process that is out of descriptors.

use super::support::{Asked, Client, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read};
use std::net::{Shutdown, SocketAddr};
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
    /// Starts it with these options, and with a limit on its descriptors. `None` if it is not
    /// there.
    pub(crate) fn start(options: &[&str], descriptors: Option<u32>) -> Option<Hello> {
        let path = example("hello")?;
        let limit = descriptors.map_or(String::new(), |n| format!("ulimit -n {n} && "));
        let mut command = Command::new("sh");
        let script = limit + r#"exec "$0" --port 0 "$@""#;
        command.args(["-c", &script]).arg(path).args(options);
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

    /// What it says at its end, after which its code must be 0.
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

/// Out of descriptors, those who are served stay served, and the others wait their turn.
#[test]
fn without_descriptors_clients_wait() {
    const DESCRIPTORS: u32 = 40;
    for accept_threads in ["0", "1"] {
        let options = ["--workers", "1", "--accept-threads", accept_threads];
        let Some(mut hello) = Hello::start(&options, Some(DESCRIPTORS)) else {
            return;
        };
        // More than it can take.
        let clients = (0..DESCRIPTORS + 10).map(|_| Client::connect(hello.addr));
        let mut clients: Vec<_> = clients.collect();
        for client in &mut clients {
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        for client in &mut clients {
            // The last ones get their answers when the first ones are gone.
            assert_eq!(client.answer(Asked::Other).status, 200);
            client.stream.shutdown(Shutdown::Both).expect("a socket");
        }
        assert_eq!(Client::connect(hello.addr).get("/").status, 200);
        hello.signal(Signal::TERM);
        let end = hello.end();
        assert!(end.ends_with(" 0 cut\n"), "{end}");
    }
}
