//! `hand_over`: passes the listeners of running servers to a new process.

use super::running::Stopper;
use std::io;
use std::process::{Child, Command};
use std::time::Duration;

/// Starts a new process that takes over the listeners of these servers, and stops the servers when it is
/// ready. No connection is refused or lost.
///
/// Not on Windows, where the standard library has no safe way to give a socket to another process. There, and for other
/// reasons, a proxy can stand before two processes on two ports: start the new one, let the proxy go over, and stop the
/// old one.
///
/// It blocks until the new process is ready, for at most `ready_within`. So call it on a thread of its own,
/// not in a handler. It returns the new process; the caller need not wait for it.
/// [`Running::wait`](crate::server::Running::wait) returns as after any stop.
///
/// The new process is usually a newer version of the same program. It takes the listeners by
/// [`Inherited::from_parent`] and [`Server::inherit`], and reports by [`Inherited::ready`] that it is ready.
/// `command` must start it directly, without a shell, because the listeners come through its standard input.
/// See the example `restart`.
///
/// When it is ready, connections that wait to be accepted belong to the new process. Connections that the
/// servers have accepted stay with them and are stopped as by [`Stopper::stop`]; WebSockets are closed with
/// `Config::ws_close_code` over `Config::ws_close_spread`. The file of a Unix socket belongs to the new process then.
///
/// [`Inherited::from_parent`]: crate::server::Inherited::from_parent
/// [`Inherited::ready`]: crate::server::Inherited::ready
/// [`Server::inherit`]: crate::Server::inherit
///
/// # Errors
///
/// The program cannot be started, or ends before it is ready. Or it takes too long; then it is killed. Or one
/// of the servers drains or stops, or another process is already taking it over. After an error the servers go on
/// as before.
///
/// ```no_run
/// use peregrine::Server;
/// use peregrine::server::hand_over;
/// use std::{process::Command, time::Duration};
///
/// # fn main() -> std::io::Result<()> {
/// // Before the file is replaced.
/// let program = std::env::current_exe()?;
/// let running = Server::from_fn(|_, res| res.text("hi")).bind("127.0.0.1:8080").start()?;
/// let stopper = running.stopper();
/// std::thread::spawn(move || {
///     // ... when it is time:
///     match hand_over(&[&stopper], &mut Command::new(program), Duration::from_secs(30)) {
///         Ok(child) => println!("process {} serves now", child.id()),
///         Err(error) => eprintln!("{error}"),
///     }
/// });
/// running.wait()?;
/// # Ok(())
/// # }
/// ```
pub fn hand_over(
    servers: &[&Stopper],
    command: &mut Command,
    ready_within: Duration,
) -> io::Result<Child> {
    let controls: Vec<_> = servers.iter().map(|stopper| &stopper.0).collect();
    crate::runtime::handover::hand_over(&controls, command, ready_within)
}
