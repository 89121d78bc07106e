//! A transport that fails as a test has planned.
//!
//! Only in tests.

use super::{OverSocket, Plain, Transport, Wants};
use crate::runtime::transport::ListenerConfig;
use peregrine_protocol::Seconds;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// A socket whose calls follow a plan, if there is one.
pub(crate) struct Faulty {
    socket: Plain,
    plan: Option<FaultPlan>,
    /// Bytes that were read from the socket and not passed on yet.
    ahead: Vec<u8>,
    /// Bytes that were accepted and not written to the socket yet.
    behind: Vec<u8>,
}

/// Plans for the next connections of a listener, by the order in which a worker takes them.
pub(crate) type Plans = Arc<Mutex<VecDeque<FaultPlan>>>;

/// What happens at the calls on one socket. Derived from a seed, so it is the same in every run.
#[derive(Debug, Default)]
pub(crate) struct FaultPlan {
    /// The state of the random numbers; 0: no call is changed at random.
    pub(crate) seed: u64,
    /// The most bytes of one call; 0: no limit.
    pub(crate) read: usize,
    pub(crate) write: usize,
    /// How many of 100 calls find nothing, or are interrupted by a signal.
    pub(crate) again: u8,
    pub(crate) interrupted: u8,
    /// What happens at a certain call; calls are counted from 1.
    pub(crate) at: Option<(u64, Happening)>,
    /// The number of calls until now.
    pub(crate) calls: Arc<AtomicU64>,
    pub(crate) starved: u8,
    /// How many bytes it may read from the socket before the protocol asks for them.
    pub(crate) ahead: usize,
    /// How many written bytes it keeps until it is told that there is room.
    pub(crate) behind: usize,
    /// The error of `sendfile` for every file.
    #[cfg(target_os = "linux")]
    pub(crate) file_error: Option<rustix::io::Errno>,
}

pub(crate) enum Happening {
    /// The connection is reset: this call fails, and so do all later calls.
    Reset,
    /// The call would block, whatever the poller reported.
    Nothing,
    /// This number of calls, from this one on, find the system out of memory.
    Starve(u8),
    /// The library panics in this call.
    Panic,
    /// A closure of the test runs before the call.
    Call(Box<dyn FnOnce() + Send>),
}

impl std::fmt::Debug for Happening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Happening").finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Read,
    Write,
}

impl Faulty {
    /// How many of `len` bytes a call may move, or how it fails.
    fn allow(&mut self, direction: Direction, len: usize) -> io::Result<usize> {
        let Some(plan) = &mut self.plan else {
            return Ok(len);
        };
        let call = plan.calls.fetch_add(1, Ordering::SeqCst) + 1;
        match plan.at.take() {
            Some((at, Happening::Reset)) if at == call => {
                let _ = self.socket.shutdown(Shutdown::Both);
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
                // Without the panic hook, which would print a backtrace.
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

impl Faulty {
    /// Reads as [`FaultPlan::ahead`] says.
    fn read_ahead(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = self.plan.as_ref().map_or(0, |plan| plan.ahead);
        if most == 0 {
            return self.socket.read(buffer);
        }
        if self.ahead.is_empty() {
            let mut read = vec![0; most];
            let n = self.socket.read(&mut read)?;
            self.ahead.extend_from_slice(&read[..n]);
        }
        let n = self.ahead.len().min(buffer.len());
        buffer[..n].copy_from_slice(&self.ahead[..n]);
        self.ahead.drain(..n);
        Ok(n)
    }

    /// Writes as [`FaultPlan::behind`] says.
    fn write_behind(&mut self, bytes: &[u8], kept: usize) -> io::Result<usize> {
        self.flush()?;
        let now = bytes.len() - kept;
        let written = match now {
            0 => 0,
            _ => self.socket.write(&bytes[..now])?,
        };
        if written < now {
            return Ok(written);
        }
        self.behind.extend_from_slice(&bytes[now..]);
        Ok(bytes.len())
    }
}

impl FaultPlan {
    /// 0 to `below - 1` (xorshift64).
    fn draw(&mut self, below: usize) -> usize {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        (self.seed >> 16) as usize % below
    }
}

impl OverSocket for Faulty {
    fn accepted(socket: Plain, listener: &ListenerConfig, _: Seconds) -> Faulty {
        let plan = listener.plans.lock().expect("no panic").pop_front();
        Faulty {
            socket,
            plan,
            ahead: Vec::new(),
            behind: Vec::new(),
        }
    }
}

impl Transport for Faulty {
    fn socket(&self) -> Option<&Plain> {
        Some(&self.socket)
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.allow(Direction::Read, buffer.len()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                most => return self.read_ahead(&mut buffer[..most?]),
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let most = self.allow(Direction::Write, bytes.len())?;
        let kept = self.plan.as_ref().map_or(0, |plan| plan.behind).min(most);
        match kept {
            0 => self.socket.write(&bytes[..most]),
            _ => self.write_behind(&bytes[..most], kept),
        }
    }

    fn wants(&self) -> Wants {
        Wants {
            write: !self.behind.is_empty(),
            read: !self.ahead.is_empty(),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.behind.is_empty() {
            let written = self.socket.write(&self.behind)?;
            self.behind.drain(..written);
        }
        Ok(())
    }

    fn write_more(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let most = self.allow(Direction::Write, bytes.len())?;
        self.socket.write_more(&bytes[..most])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let all: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
        self.write(&all)
    }

    fn send_file(&mut self, file: &File, offset: u64, most: usize) -> (io::Result<usize>, usize) {
        let offered = most;
        let most = match self.allow(Direction::Write, most) {
            Ok(most) => most,
            Err(error) => return (Err(error), offered),
        };
        #[cfg(target_os = "linux")]
        let (sent, _) = {
            let refusal = self.plan.as_ref().and_then(|plan| plan.file_error);
            self.socket.send_file_unless(refusal, (file, offset, most))
        };
        #[cfg(not(target_os = "linux"))]
        let (sent, _) = self.socket.send_file(file, offset, most);
        (sent, offered)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.flush()?;
        self.socket.shutdown_write()
    }

    fn reset(&mut self) {
        self.socket.reset();
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        self.socket.local_addr()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use rustix::io::Errno;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_file_that_sendfile_refuses_is_read() {
        let file = crate::runtime::tests::unnamed_file(b"a file");
        let cannot = [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP, Errno::PERM];
        for error in cannot.into_iter().chain([Errno::IO]) {
            let plan = FaultPlan {
                file_error: Some(error),
                ..FaultPlan::default()
            };
            let (server, mut client) = UnixStream::pair().expect("a pair");
            let mut faulty = Faulty {
                socket: Plain::Unix(server),
                plan: Some(plan),
                ahead: Vec::new(),
                behind: Vec::new(),
            };
            let (sent, _) = faulty.send_file(&file, 2, 3);
            drop(faulty);
            let mut got = String::new();
            client.read_to_string(&mut got).expect("read");
            match cannot.contains(&error) {
                true => assert_eq!((sent.expect("sent"), got.as_str()), (3, "fil"), "{error}"),
                false => assert!(sent.is_err(), "{error}"),
            }
        }
    }
}
