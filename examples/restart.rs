//! A server that a newer one replaces while requests come in. No request is lost.
//!
//! ```sh
//! echo 'Hello, World!' >greeting.txt
//! cargo run --release --example restart -- --greeting greeting.txt
//! # Elsewhere:
//! echo 'Good morning' >greeting.txt
//! kill -HUP PID   # the number that it prints
//! curl localhost:8080
//! ```
//!
//! On SIGHUP it starts a new process of itself and hands over the listeners. The new process reads the
//! greeting and reports that it is ready. Only then the old process stops: it responds to the requests that
//! it has accepted, and ends. If the new process fails, for example because the file is missing, the old
//! process goes on. `PID` changes with every restart.
//!
//! Under a service manager that keeps the listeners (systemd, `LISTEN_FDS`) it takes those listeners instead,
//! and the manager does the restarts. The socket stays open while there is no process, and clients that
//! connect meanwhile wait.
//!
//! ```sh
//! systemd-socket-activate -l 127.0.0.1:8080 target/release/examples/restart
//! ```
//!
//! A service of `Type=notify` is told when it is ready, is replaced and stops. `/livez` and `/readyz` are for load
//! balancers.

#![allow(
    clippy::disallowed_methods,
    reason = "the work of this program is to wait"
)]

mod common;

#[cfg(not(unix))]
fn main() {
    eprintln!("listeners are handed over on Unix only");
    std::process::exit(1);
}

#[cfg(unix)]
fn main() -> std::io::Result<()> {
    unix::main()
}

#[cfg(unix)]
mod unix {
    use super::common::Args;
    use listenfd::ListenFd;
    use peregrine::server::{Health, Inherited, Stopper, hand_over};
    use peregrine::ws::{Message, Upgrade, WebSocketHandler, WebSockets, Ws};
    use peregrine::{Done, Handler, Request, Response, Server};
    use std::ffi::OsString;
    use std::io::{self, Read};
    use std::os::unix::net::UnixStream;
    use std::path::Path;
    use std::process::{Command, id};
    use std::time::Duration;
    use std::{env, fs, thread};

    const OPTIONS: &str = "  \
  --greeting FILE      The response to / (default: Hello, World!)
  --unix PATH          A Unix socket to listen on, too
  --grace N            Seconds in which open connections may still ask when it stops (default: 1)
  --drain N            Seconds between SIGTERM and the stop, in which /readyz says 503 (default: 0)
";

    /// The maximum time for the start of a new process.
    const READY_WITHIN: Duration = Duration::from_secs(60);

    /// The time that `/slow` takes.
    const SLOW: Duration = Duration::from_millis(300);

    struct App {
        greeting: String,
        health: Health,
    }

    impl Handler for App {
        fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
            match req.path() {
                "/" | "/pid" | "/slow" if !matches!(req.method(), "GET" | "HEAD") => {
                    super::common::not_allowed(res, "GET, HEAD")
                }
                "/livez" | "/readyz" => self.health.handle_request(req, res),
                "/" => res.text(&self.greeting),
                "/pid" => res.text(id().to_string()),
                "/slow" => res.offload(req, |_, res| {
                    thread::sleep(SLOW);
                    res.text("slowly\n")
                }),
                _ => res.status(404).text("nothing here\n"),
            }
        }
    }

    impl WebSocketHandler for App {
        type Conn = ();

        fn accept_ws(&self, req: &Request<'_>, _: &mut Upgrade<'_>) -> Option<()> {
            (req.path() == "/echo").then_some(())
        }

        fn handle_ws_frame(&self, ws: &mut Ws<'_, ()>, message: Message<'_>) {
            ws.send(message);
        }
    }

    pub(super) fn main() -> io::Result<()> {
        // Read now, because a restart may replace the file.
        let program = env::current_exe()?;
        let about = "Answers, and starts itself anew on SIGHUP without losing a request.";
        let names = ["greeting", "unix", "grace", "drain"];
        let (args, [greeting, path, grace, drain]) = Args::parse_values(about, OPTIONS, names);
        let mut config = args.config();
        let seconds =
            |value: Option<OsString>| value?.to_str()?.parse().ok().map(Duration::from_secs);
        if let Some(grace) = seconds(grace) {
            config.limits.stop_grace = grace;
        }
        if let Some(drain) = seconds(drain) {
            config.drain_delay = drain;
        }

        // This comes first, so that nothing else reads the standard input.
        let inherited = Inherited::from_parent()?;
        let greeting = match greeting.as_deref().map(Path::new) {
            Some(file) => fs::read_to_string(file).map_err(|error| named(file, &error))?,
            None => "Hello, World!\n".to_owned(),
        };
        let health = Health::new();
        let app = App {
            greeting,
            health: health.clone(),
        };
        let server = Server::new(app).websocket().health(&health);
        #[cfg(target_os = "linux")]
        let server = server.systemd(&peregrine::server::Systemd::from_env()?);
        let server = super::common::until_signal(server.config(config).inherit(&inherited));
        let (server, is_managed) = match with_managed(server, &args)? {
            (server, true) => (server, true),
            (server, false) => (
                with_own(server, &args, path.as_deref().map(Path::new)),
                false,
            ),
        };
        let running = server.start()?;
        if is_managed {
            // Connections wait in the socket of the manager for the next process.
            running.leave_backlog();
        }
        restart_on_signal(program, running.stopper())?;

        // Nothing can fail after this point, so the old process may end.
        inherited.ready()?;
        for addr in running.local_addrs() {
            println!("listening on {addr}");
        }
        println!("process {} serves", id());
        let stopped = running.wait()?;
        let (drained, aborted) = (stopped.drained, stopped.aborted);
        println!(
            "process {} stopped: {drained} drained, {aborted} aborted",
            id()
        );
        Ok(())
    }

    fn named(file: &Path, error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("{}: {error}", file.display()))
    }

    fn with_own(
        server: Server<App, WebSockets>,
        args: &Args,
        path: Option<&Path>,
    ) -> Server<App, WebSockets> {
        let server = args.bind(server);
        match path {
            Some(path) => server.bind_unix(path),
            None => server,
        }
    }

    /// Takes the listeners of a service manager. Returns whether there are any.
    fn with_managed(
        mut server: Server<App, WebSockets>,
        args: &Args,
    ) -> io::Result<(Server<App, WebSockets>, bool)> {
        let mut managed = ListenFd::from_env();
        for i in 0..managed.len() {
            if let Ok(Some(listener)) = managed.take_tcp_listener(i) {
                server = args.listen(server, listener);
            } else if let Some(listener) = managed.take_unix_listener(i)? {
                server = server.unix_listener(listener);
            }
        }
        Ok((server, managed.len() > 0))
    }

    /// Restarts on each SIGHUP, until one restart succeeds.
    fn restart_on_signal(program: std::path::PathBuf, stopper: Stopper) -> io::Result<()> {
        let (mut signalled, signal) = UnixStream::pair()?;
        signal_hook::low_level::pipe::register(signal_hook::consts::SIGHUP, signal)?;
        let args: Vec<OsString> = env::args_os().skip(1).collect();
        thread::spawn(move || {
            while matches!(signalled.read(&mut [0]), Ok(1)) {
                let mut successor = Command::new(&program);
                match hand_over(&[&stopper], successor.args(&args), READY_WITHIN) {
                    Ok(_) => return,
                    Err(error) => println!("process {} goes on: {error}", id()),
                }
            }
        });
        Ok(())
    }
}
