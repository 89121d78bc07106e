//! What a driver can ask a connection.

use super::*;

/// What a driver may want to count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Streams that were refused with REFUSED_STREAM.
    pub refused: u32,
    /// Streams that the client has reset before their response was complete.
    pub resets_received: u32,
    /// Streams that were reset because of an error, of the client or of the driver.
    pub resets_sent: u32,
}

impl<X: Part> Http2<X> {
    /// The end of the connection has been announced.
    pub fn is_stopping(&self) -> bool {
        self.stopping != Stopping::No
    }

    /// What has been counted since the last call.
    pub fn take_counts(&mut self) -> Counts {
        core::mem::take(&mut self.counts)
    }

    /// Bytes of the response of a stream that wait for a window. `None` if the stream has ended.
    pub fn queued(&self, stream: u32) -> Option<u64> {
        let at = self.position(stream)?;
        Some(self.streams[at].queue.len())
    }

    /// Bytes of the responses of all streams that wait for a window.
    pub fn queued_in_all(&self) -> u64 {
        self.streams.iter().map(|stream| stream.queue.len()).sum()
    }

    /// When a stream last received something, or its client gave room for some of its response.
    pub fn moved(&self) -> Seconds {
        let moved = |stream: &Stream<X>| {
            let received = stream
                .meter
                .map_or(stream.asked_since, |meter| meter.moved());
            received.max(stream.stall.moved())
        };
        self.streams
            .iter()
            .map(moved)
            .fold(self.idle_since, Seconds::max)
    }

    /// Streams that are open.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Nothing is open, and no part of a request is here.
    pub fn is_idle(&self) -> bool {
        self.streams.is_empty() && self.current.is_none() && self.block.is_none()
    }

    /// Bytes of memory that it takes beside its own: tables, and what waits for windows.
    pub fn held(&self) -> usize {
        let queues = self.streams.iter().map(|stream| stream.queue.held());
        let streams = self.streams.capacity() * size_of::<Stream<X>>();
        let tables = self.decoder.held() + self.encoder.held();
        queues.sum::<usize>() + streams + tables + self.fragments.capacity() + self.ended.held()
    }
}
