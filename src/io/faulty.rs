//! A transport that fails as a test has planned: over a real pair of sockets, so that poller and
//! client are the real ones. Only in tests; a release has no trace of it.

use std::collections::HashMap;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A socket of the server's, as small as the others: its plan lies elsewhere.
#[derive(Debug)]
pub(crate) struct Faulty(UnixStream);

/// What becomes of the calls on one socket. Drawn from a seed, and so the same in every run.
#[derive(Default)]
pub(crate) struct Plan {
    /// 0 where nothing is drawn.
    pub(crate) seed: u64,
    /// Most bytes of one call; 0: as many as there are.
    pub(crate) read: usize,
    pub(crate) write: usize,
    /// In how many of 100 calls there is nothing to be had, or a signal comes between.
    pub(crate) again: u8,
    pub(crate) interrupted: u8,
    /// What happens at the so manieth call, counted from 1.
    pub(crate) at: Option<(u64, Happening)>,
    /// Calls until now.
    pub(crate) calls: Arc<AtomicU64>,
    pub(crate) starved: u8,
    /// What `sendfile` says to every file.
    #[cfg(target_os = "linux")]
    pub(crate) file_error: Option<rustix::io::Errno>,
}

pub(crate) enum Happening {
    /// The connection is reset: this call fails, and so does each that follows.
    Reset,
    /// There is nothing to be had, whatever the poller said.
    Nothing,
    /// So many calls, this one included, find the system out of memory.
    Starve(u8),
    /// The library panics.
    Panic,
    /// Something elsewhere, before the call.
    Call(Box<dyn FnOnce() + Send>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

/// By descriptor.
static PLANS: Mutex<Option<HashMap<RawFd, Plan>>> = Mutex::new(None);

fn plans() -> MutexGuard<'static, Option<HashMap<RawFd, Plan>>> {
    PLANS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Faulty {
    /// The server's end, and the client's.
    pub(crate) fn pair(plan: Plan) -> io::Result<(Faulty, UnixStream)> {
        let (server, client) = UnixStream::pair()?;
        server.set_nonblocking(true)?;
        let map = &mut *plans();
        map.get_or_insert_default().insert(server.as_raw_fd(), plan);
        Ok((Faulty(server), client))
    }

    pub(super) fn socket(&self) -> &UnixStream {
        &self.0
    }

    /// How `sendfile` fails.
    #[cfg(target_os = "linux")]
    pub(super) fn file_error(&self) -> Option<rustix::io::Errno> {
        let plans = plans();
        let plan = plans.as_ref()?.get(&self.0.as_raw_fd())?;
        plan.file_error
    }

    /// How many of `len` bytes a call may take, or how it fails.
    pub(super) fn allow(&self, direction: Direction, len: usize) -> io::Result<usize> {
        let mut plans = plans();
        let plan = plans
            .as_mut()
            .and_then(|map| map.get_mut(&self.0.as_raw_fd()));
        let plan = plan.expect("a plan for as long as the socket is open");
        let call = plan.calls.fetch_add(1, Ordering::SeqCst) + 1;
        match plan.at.take() {
            Some((at, Happening::Reset)) if at == call => {
                let _ = self.0.shutdown(Shutdown::Both);
                let kind = match plan.draw(2) {
                    0 if direction == Direction::Write => io::ErrorKind::BrokenPipe,
                    _ => io::ErrorKind::ConnectionReset,
                };
                return Err(kind.into());
            }
            Some((at, Happening::Nothing)) if at == call => {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Some((at, Happening::Panic)) if at == call => {
                drop(plans);
                // Without the hook, which would print a trace.
                resume_unwind(Box::new("as planned"));
            }
            Some((at, Happening::Starve(calls))) if at == call => plan.starved = calls,
            Some((at, Happening::Call(call_it))) if at == call => call_it(),
            other => plan.at = other,
        }
        if let Some(left) = plan.starved.checked_sub(1) {
            plan.starved = left;
            let errors = [rustix::io::Errno::NOBUFS, rustix::io::Errno::NOMEM];
            return Err(errors[call as usize % 2].into());
        }
        if plan.draw(100) < plan.again.into() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if plan.draw(100) < plan.interrupted.into() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let most = match direction {
            Direction::Read => plan.read,
            Direction::Write => plan.write,
        };
        Ok(match most {
            0 => len,
            most => len.min(1 + plan.draw(most)),
        })
    }
}

impl Plan {
    /// 0 to `below - 1` (xorshift64).
    fn draw(&mut self, below: usize) -> usize {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        (self.seed >> 16) as usize % below
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        if let Some(map) = plans().as_mut() {
            map.remove(&self.0.as_raw_fd());
        }
    }
}

impl AsFd for Faulty {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
