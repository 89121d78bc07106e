//! Handing the listeners of running servers over to a new process.

use super::Stopper;
use std::io;
use std::process::{Child, Command};
use std::time::Duration;

/// Starts a new process that takes the listeners of these servers over, and stops them when it is
/// ready: no connection is refused or lost in between. Blocks until then, for at most `ready_within`;
/// so it is for a thread of its own, not for a handler. Returns the new process, which nobody has to
/// wait for; [`Running::wait`](crate::Running::wait) returns as after any stop. Not on Windows.
///
/// The new process, which is often a newer version of the same program, takes the listeners by
/// [`Inherited::from_parent`] and [`Server::inherit`], and says that it is ready by
/// [`Inherited::ready`]. `command` must start it directly, without a shell between; its standard input
/// is what the listeners come through. See the example `restart`.
///
/// From the moment it is ready, connections that wait to be accepted are its own. Those that the
/// servers have accepted are theirs, and are stopped as by [`Stopper::stop`]: WebSockets are closed with
/// 1001 (going away). The file of a Unix socket belongs to the new process then.
///
/// [`Inherited::from_parent`]: crate::Inherited::from_parent
/// [`Inherited::ready`]: crate::Inherited::ready
/// [`Server::inherit`]: crate::Server::inherit
///
/// # Errors
///
/// The program cannot be started, ends before it is ready, or takes too long, for which it is killed;
/// or one of the servers stops, or is about to be taken over by another process already. Nothing has
/// changed then: the servers go on.
///
/// ```no_run
/// use peregrine::{Server, hand_over};
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
    crate::io::handover::hand_over(&controls, command, ready_within)
}
