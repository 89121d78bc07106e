//! What a driver can ask a connection.

use super::*;

/// What a driver may want to count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that were rejected with H3_REQUEST_REJECTED.
    pub rejected: u32,
    /// Streams that the client has reset, or whose response it has stopped.
    pub resets_received: u32,
    /// Streams that were reset because of an error, of the client or of the driver.
    pub resets_sent: u32,
}

impl Http3 {
    /// What waits to be sent on the control stream of the server: its type and SETTINGS at the beginning, GOAWAY at the end.
    /// The driver takes out what it has sent.
    pub fn control(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// The end of the connection has been announced.
    pub fn is_stopping(&self) -> bool {
        self.stopping != Stopping::No
    }

    /// What has been counted since the last call.
    pub fn take_counts(&mut self) -> Counts {
        core::mem::take(&mut self.counts)
    }

    /// When something of a request last came.
    pub fn moved(&self) -> Seconds {
        let moved = self.streams.iter().map(Stream::moved);
        moved.fold(self.idle_since, Seconds::max)
    }

    /// Requests that are not complete, or whose response is not.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// No request is open, and no part of one is here.
    pub fn is_idle(&self) -> bool {
        self.streams.is_empty() && self.current.is_none()
    }

    /// Bytes of memory that it takes beside its own.
    pub fn held(&self) -> usize {
        let sections = self.streams.iter().map(|stream| stream.section.capacity());
        let streams = self.streams.capacity() * size_of::<Stream>();
        let unidirectional = self.unidirectional.capacity() * size_of::<Unidirectional>();
        let begun = self.requests_begun.held() + self.unidirectional_begun.held();
        let early = self.early_priorities.capacity() * size_of::<(u64, Priority)>();
        let waiting = self.out.capacity() + self.control.held();
        sections.sum::<usize>() + streams + unidirectional + begun + early + waiting
    }
}
