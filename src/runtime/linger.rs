//! Lingering close (RFC 9112 section 9.6).

use super::event_loop::Fate;
use super::link::Link;
use super::poll::Interest;
use super::transport::Transport;
use crate::metrics::WorkerCounters;

/// All bytes are sent, and the sending half is closed. What the client still sends is read and discarded,
/// up to this number of bytes. Then only the end of its stream is awaited,
/// as closing with something unread would reset the
/// connection, and what was sent last might be lost with it. What the client sends meanwhile is held by the
/// system, within the bounds of its receive buffer, and so is what is read when it has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lingering(u32);

impl Lingering {
    /// `None` if there is no client any more to wait for.
    pub(crate) fn begin<T: Transport>(link: &mut Link<T>, most: usize) -> Option<Lingering> {
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        let is_told = link.socket.stream.shutdown_write().is_ok();
        is_told.then_some(Lingering(most))
    }

    pub(crate) fn interest(self) -> Interest {
        match self.0 {
            // The poller tells the end of a client even so, where it can.
            0 => Interest::Nothing,
            _ => Interest::Read,
        }
    }

    /// Whether an event of the socket is for [`Lingering::discard`].
    pub(crate) fn is_due(self, readable: bool) -> bool {
        readable || self.0 == 0
    }

    /// Reads what the client still sends, and forgets it.
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
