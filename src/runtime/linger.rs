//! Lingering close (RFC 9112 section 9.6).

use super::event_loop::Fate;
use super::link::Link;
use super::poll::Interest;
use super::transport::Transport;
use crate::metrics::WorkerCounters;

/// All bytes are sent, and the sending half is closed. What the client still sends is read and discarded, up
/// to this number of bytes. After that only the end of its stream is awaited: a close with unread bytes would
/// reset the connection, and the last bytes that were sent might be lost. What the client sends meanwhile
/// stays in the receive buffer of the system, which is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lingering(u32);

impl Lingering {
    /// `None` if the client has gone.
    pub(crate) fn begin<T: Transport>(link: &mut Link<T>, most: usize) -> Option<Lingering> {
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        let is_told = link.socket.stream.shutdown_write().is_ok();
        is_told.then_some(Lingering(most))
    }

    pub(crate) fn interest(self) -> Interest {
        match self.0 {
            // Where the system supports it, the poller still reports the end of the client.
            0 => Interest::Nothing,
            _ => Interest::Read,
        }
    }

    /// Whether an event of the socket is for [`Lingering::discard`].
    pub(crate) fn is_due(self, readable: bool) -> bool {
        readable || self.0 == 0
    }

    /// Reads what the client still sends, and discards it.
    #[inline(never)]
    pub(crate) fn discard<T: Transport>(
        &mut self,
        link: &mut Link<T>,
        counters: &WorkerCounters,
    ) -> Fate {
        let mut scratch = [0; 8 << 10];
        let most = match self.0 {
            0 => scratch.len(),
            left => scratch.len().min(left as usize),
        };
        match link.read(&mut scratch[..most]) {
            Ok(Some(0)) | Err(_) => return Fate::Closed,
            Ok(Some(n)) => {
                counters.bytes_read.add(n as u64);
                self.0 = self.0.saturating_sub(n as u32);
            }
            Ok(None) => {}
        }
        Fate::Open
    }
}
