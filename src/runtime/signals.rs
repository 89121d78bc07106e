//! SIGINT and SIGTERM stop the server (Ctrl-C and Ctrl-Break); SIGTERM drains it first.

use super::server_state::ServerState;
use std::io;
use std::sync::Arc;

/// Handles the signals for as long as this value exists.
pub(crate) struct Signals {
    #[cfg(unix)]
    ids: Vec<signal_hook::SigId>,
    #[cfg(not(unix))]
    over: Arc<std::sync::atomic::AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// One signal has come. `terminates`: SIGTERM, by which service managers and orchestrators stop a program. SIGINT is
/// that of a person who waits.
fn act(control: &Arc<ServerState>, terminates: bool) {
    match control.is_stopping() {
        false if terminates && control.phase.is_serving() => control.drain(),
        false => control.stop(),
        true => control.cut(),
    }
}

#[cfg(unix)]
impl Signals {
    pub(crate) fn stop(control: Arc<ServerState>) -> io::Result<Signals> {
        use signal_hook::{consts::SIGTERM, consts::TERM_SIGNALS, low_level};
        use std::io::Read;
        use std::os::unix::net::UnixStream;
        use std::sync::atomic::{AtomicBool, Ordering};

        let (mut signalled, signal) = UnixStream::pair()?;
        // Set before the byte is written, because actions run in the order of their registration.
        let terminated = Arc::new(AtomicBool::new(false));
        let mut ids = vec![signal_hook::flag::register(SIGTERM, terminated.clone())?];
        // SIGQUIT is one of the TERM_SIGNALS. It keeps its default action.
        let ours = TERM_SIGNALS
            .iter()
            .filter(|&&number| number != signal_hook::consts::SIGQUIT);
        for &number in ours {
            ids.push(low_level::pipe::register(number, signal.try_clone()?)?);
        }
        let thread = std::thread::Builder::new()
            .name("pg-signals".to_owned())
            .spawn(move || {
                // Ends when the handlers are removed, because they own the other end.
                while matches!(signalled.read(&mut [0]), Ok(1)) {
                    act(&control, terminated.swap(false, Ordering::AcqRel));
                }
            })?;
        Ok(Signals {
            ids,
            thread: Some(thread),
        })
    }
}

#[cfg(unix)]
impl Drop for Signals {
    fn drop(&mut self) {
        for id in self.ids.drain(..) {
            signal_hook::low_level::unregister(id);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(not(unix))]
impl Signals {
    pub(crate) fn stop(control: Arc<ServerState>) -> io::Result<Signals> {
        use std::sync::atomic::{AtomicBool, Ordering};
        use std::time::Duration;

        // Without a pipe to wait on, the flag is checked a few times a second.
        const EVERY: Duration = Duration::from_millis(100);
        // Ctrl-Break, in the numbers of the C library of Windows.
        const SIGBREAK: i32 = 21;
        let (flag, over) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(false)),
        );
        let ours = signal_hook::consts::TERM_SIGNALS.iter().copied();
        for number in ours.chain(cfg!(windows).then_some(SIGBREAK)) {
            signal_hook::flag::register(number, flag.clone())?;
        }
        let is_over = over.clone();
        let thread = std::thread::Builder::new()
            .name("pg-signals".to_owned())
            .spawn(move || {
                while !is_over.load(Ordering::Acquire) {
                    if flag.swap(false, Ordering::AcqRel) {
                        act(&control, false);
                    }
                    std::thread::park_timeout(EVERY);
                }
            })?;
        Ok(Signals {
            over,
            thread: Some(thread),
        })
    }
}

#[cfg(not(unix))]
impl Drop for Signals {
    fn drop(&mut self) {
        self.over.store(true, std::sync::atomic::Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

#[cfg(all(test, windows))]
mod tests {
    use crate::Server;

    /// The signals of Ctrl-C and Ctrl-Break. In one test, because they belong to the process.
    #[test]
    fn signals_of_the_console_stop_the_server() {
        for number in [signal_hook::consts::SIGINT, 21] {
            let server = Server::from_fn(|_, res| res.text("here")).bind("127.0.0.1:0");
            let running = server.stop_on_signals().start().expect("a server");
            signal_hook::low_level::raise(number).expect("raised");
            running.wait().expect("no thread failed");
        }
    }
}
