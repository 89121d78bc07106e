//! systemd: a service that tells when it is ready, and a socket that outlives it.
//!
//! [`Systemd`](crate::server::Systemd) (Linux) sends what a service of `Type=notify` has to tell, and needs no library for it.
//! The crate `listenfd` takes the socket that systemd has bound:
//!
//! ```no_run
//! # #[cfg(all(target_os = "linux", feature = "signals"))]
//! fn main() -> std::io::Result<()> {
//!     use listenfd::ListenFd;
//!     use peregrine::Server;
//!     use peregrine::server::Systemd;
//!
//!     let systemd = Systemd::from_env()?; // nothing, outside of systemd
//!     let server = Server::from_fn(|_, res| res.text("Hello, World!"));
//!     let server = server.systemd(&systemd).stop_on_signals();
//!     let socket = ListenFd::from_env().take_tcp_listener(0)?; // of app.socket
//!     let is_of_systemd = socket.is_some();
//!     let server = match socket {
//!         Some(socket) => server.listener(socket),
//!         None => server.bind("127.0.0.1:8080"), // started by hand
//!     };
//!     let running = server.start()?;
//!     if is_of_systemd {
//!         running.leave_backlog(); // connections that wait are for the next process
//!     }
//!     running.wait()?;
//!     Ok(())
//! }
//! # #[cfg(not(all(target_os = "linux", feature = "signals")))]
//! # fn main() {}
//! ```
//!
//! # The unit
//!
#![doc = concat!("```ini\n", include_str!("recipes/app.service"), "```")]
//!
//! # The socket
//!
//! systemd binds it, so the service needs no right for port 80 and no restart loses a connection: while no process serves,
//! clients wait in the socket. The process takes the listener and gives it to
//! [`Server::listener`](crate::Server::listener). [`Running::leave_backlog`](crate::server::Running::leave_backlog) leaves
//! waiting connections to the next process. A program that calls `bind` with the same address instead does not start.
//!
#![doc = concat!("```ini\n", include_str!("recipes/app.socket"), "```")]
//!
//! ```sh
//! systemctl daemon-reload
//! systemctl enable --now app.socket app.service
//! systemctl restart app   # a new version: clients wait, none is refused
//! ```
//!
//! Without a socket unit, remove `Requires=` and `Sockets=`, and call `bind` in the program. Then clients are refused while the
//! service is restarted.
//!
//! # Replacing the process without a socket unit
//!
//! [`hand_over`](crate::server::hand_over) replaces the process from within, as the program of
//! [Restarting without losing a request](crate::guide::operation#restarting-without-losing-a-request) does. The service remains
//! the same, and its main process is the new one. These lines let `systemctl reload app` do it, with the example `restart`:
//!
//! ```ini
//! ExecReload=/bin/kill -HUP $MAINPID
//! NotifyAccess=main
//! ```
//!
//! systemd hears `RELOADING=1`, and `MAINPID` with `READY=1` when the new process serves. If that fails, the old process goes
//! on and says `READY=1`. `systemctl reload` does not wait for this and reports no failure: `systemctl show -p MainPID app`
//! shows whether the process is another one, and the journal has what the program says. A newer systemd logs once that the new
//! main process is not its child.
//!
//! # The watchdog
//!
//! With `WatchdogSec=` systemd kills and restarts a service that is silent for that time. The server pings four times in it,
//! while every worker and every WebSocket thread responds. A handler that holds its worker for half of the time does no harm; one
//! that holds it for all of it gets the service killed. [`Response::offload`](crate::Response::offload) and responses that come
//! later hold no worker. Choose at least 10 s, so that a machine under load is no reason.
//!
//! # Errors
//!
//! | what | meaning |
//! |---|---|
//! | `cannot listen on 0.0.0.0:8080: Address already in use` | app.socket has the address: the program has to take the listener |
//! | `NOTIFY_SOCKET is ..., and must be a path or @name` | the manager offers a socket of another kind (`vsock:`) |
//! | `app.service: start operation timed out` | `READY=1` has not come: `Server::systemd` is missing, or the program starts for longer than `TimeoutStartSec=` |
//! | `Watchdog timeout (limit 30s)!` | a handler has held its worker; before that, `peregrine_turn_seconds` of this worker grows. Shorter ones are counted by [`Counters::handlers_blocking`](crate::metrics::Counters::handlers_blocking) |
//! | `State 'stop-sigterm' timed out. Killing.` | `TimeoutStopSec=` is shorter than the stop; the [table](crate::guide::draining) has its parts |
