//! Responses: heads, complete bodies, pieces and ends.

use super::*;
use crate::field_section::name::is_of_connection;
use crate::h3::stream::Phase;
use crate::http::response::{BodySize, Content, ResponseHead};
use crate::http::{Method, encode};
use crate::payload::Payload;
use crate::qpack::Encoder;
use crate::write_buf::{Mark, WriteBuf};

/// What has become of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The stream has ended, or has had its response: nothing is written.
    Gone,
    /// The head is written. A body follows, by [`Http3::data`] and [`Http3::finish`].
    Head,
    /// All of it is written. Finish the stream behind that. The machine has forgotten it.
    Complete {
        /// The request is not complete, and the rest of it is not needed: stop reading the stream with H3_NO_ERROR (RFC 9114
        /// section 4.1).
        stop: bool,
    },
}

/// HEADERS.
#[inline]
fn headers<X>(
    status: Option<u16>,
    fields: &[&[u8]],
    length: Option<u64>,
    encoder: &mut Encoder,
    out: &mut WriteBuf<X>,
) {
    out.push_with(|out| {
        write::headers(out, |out| {
            encoder.begin(out);
            if let Some(status) = status {
                encoder.status(status, out);
            }
            for block in fields {
                encoder.block(block, is_of_connection, out);
            }
            if let Some(length) = length {
                let mut room = [0; encode::MAX_DIGITS];
                encoder.content_length(encode::digits(length, &mut room), out);
            }
        });
    });
}

impl Http3 {
    /// The method of the request of a stream, if it has had no response.
    #[inline]
    fn unanswered(&self, stream: u64) -> Option<Method> {
        match &self.current {
            Some(current) if current.id == stream => Some(current.method),
            _ => {
                let stream = &self.streams[self.position(stream)?];
                // A request that has not come can have no response.
                let may_be = stream.phase != Phase::Head && !stream.is_answered;
                may_be.then_some(stream.method)
            }
        }
    }

    /// Gives a complete response. `fields` are blocks of fields, sent in this order; the first one should be what
    /// all responses have. Fields about the connection are left out, and `content-length` is added. `out` is the buffer of
    /// the stream.
    #[inline]
    #[allow(
        clippy::too_many_arguments,
        reason = "they are what a response is made of"
    )]
    pub fn respond<X>(
        &mut self,
        stream: u64,
        head: &ResponseHead,
        fields: &[&[u8]],
        body: Payload,
        encoder: &mut Encoder,
        out: &mut WriteBuf<X>,
        now: Seconds,
    ) -> Sent {
        let Some(method) = self.unanswered(stream) else {
            return Sent::Gone;
        };
        let (len, content) = (body.len() as u64, Content::of(method, head.status));
        let length = content.length(BodySize::Known(len));
        headers(Some(head.status), fields, length, encoder, out);
        if content == Content::Sent && len > 0 {
            out.push_with(|out| write::data(len, out));
            out.push_payload(body);
        }
        if head.close {
            self.stop(now);
        }
        self.response_sent(stream, now)
    }

    /// Gives a complete response that has been written: `response` begins with a block of fields of this length, and
    /// the body follows, if it is sent. It is empty afterwards. `common` are the fields that all responses have.
    /// Otherwise as [`Http3::respond`].
    #[inline]
    #[allow(
        clippy::too_many_arguments,
        reason = "they are what a response is made of"
    )]
    pub fn respond_with<X>(
        &mut self,
        stream: u64,
        head: &ResponseHead,
        common: &[u8],
        (fields, size): (usize, BodySize),
        response: &mut WriteBuf<X>,
        encoder: &mut Encoder,
        out: &mut WriteBuf<X>,
        now: Seconds,
    ) -> Sent {
        let Some(method) = self.unanswered(stream) else {
            response.clear();
            return Sent::Gone;
        };
        let length = Content::of(method, head.status).length(size);
        {
            let (own, body) = response.row().split_at(fields);
            headers(Some(head.status), &[common, own], length, encoder, out);
            let len = response.len() - fields as u64;
            if len > 0 {
                out.push_with(|out| write::data(len, out));
            }
            match response.is_row() {
                true => out.push(body),
                false => out.append(response.detach(), fields),
            }
        }
        response.clear();
        if head.close {
            self.stop(now);
        }
        self.response_sent(stream, now)
    }

    /// Begins a response whose body comes in pieces, if it has one.
    #[allow(
        clippy::too_many_arguments,
        reason = "they are what a response is made of"
    )]
    pub fn begin<X>(
        &mut self,
        stream: u64,
        head: &ResponseHead,
        fields: &[&[u8]],
        size: BodySize,
        encoder: &mut Encoder,
        out: &mut WriteBuf<X>,
        now: Seconds,
    ) -> Sent {
        let Some(method) = self.unanswered(stream) else {
            return Sent::Gone;
        };
        let content = Content::of(method, head.status);
        headers(
            Some(head.status),
            fields,
            content.length(size),
            encoder,
            out,
        );
        if head.close {
            self.stop(now);
        }
        let is_tunnel = method == Method::Connect && head.status / 100 == 2;
        if content != Content::Sent && !is_tunnel {
            return self.response_sent(stream, now);
        }
        self.settle(now);
        if let Some(stream) = self.find(stream) {
            (stream.is_answered, stream.is_tunnel) = (true, is_tunnel);
        }
        Sent::Head
    }

    /// Writes the header of DATA, behind which the driver writes `len` bytes of the body. One frame may have any length, so a
    /// body whose length is known needs one only. False if the stream has ended: nothing is written.
    pub fn data<X>(&mut self, stream: u64, len: u64, out: &mut WriteBuf<X>) -> bool {
        let is_open = self.find(stream).is_some_and(|stream| stream.is_answered);
        if is_open && len > 0 {
            out.push_with(|out| write::data(len, out));
        }
        is_open
    }

    /// What was appended since `mark` is a piece of the body: writes the header of DATA before it. Nothing of it may have been
    /// sent. False if the stream has ended: nothing is written.
    pub fn data_since<X>(&mut self, stream: u64, mark: Mark, out: &mut WriteBuf<X>) -> bool {
        let is_open = self.find(stream).is_some_and(|stream| stream.is_answered);
        let len = out.len_since(mark);
        if is_open && len > 0 {
            let mut header = Vec::new();
            write::data(len, &mut header);
            out.replace(mark, 0..0, &header);
        }
        is_open
    }

    /// The body of a response is complete. `trailers` is a block of fields.
    pub fn finish<X>(
        &mut self,
        stream: u64,
        trailers: &[u8],
        encoder: &mut Encoder,
        out: &mut WriteBuf<X>,
        now: Seconds,
    ) -> Sent {
        if !self.find(stream).is_some_and(|stream| stream.is_answered) {
            return Sent::Gone;
        }
        if !trailers.is_empty() {
            headers(None, &[trailers], None, encoder, out);
        }
        self.response_sent(stream, now)
    }

    /// Sends an interim response (RFC 9110 section 15.2), such as 100 or 103. False if the stream has ended, or
    /// has had its response.
    pub fn interim<X>(
        &mut self,
        stream: u64,
        status: u16,
        fields: &[&[u8]],
        encoder: &mut Encoder,
        out: &mut WriteBuf<X>,
    ) -> bool {
        debug_assert!((100..200).contains(&status) && status != 101);
        let is_open = self.unanswered(stream).is_some();
        if is_open {
            headers(Some(status), fields, None, encoder, out);
        }
        is_open
    }

    /// The rest of a request is not needed: the driver stops reading the stream with H3_NO_ERROR. False if there is none.
    pub fn discard(&mut self, stream: u64, now: Seconds) -> bool {
        self.settle(now);
        match self.find(stream) {
            Some(stream) if stream.is_receiving() => {
                stream.is_unwanted = true;
                true
            }
            _ => false,
        }
    }

    /// The driver reads nothing of a request for a while, or reads it again: the client has its time anew then.
    pub fn pause(&mut self, stream: u64, is_paused: bool, now: Seconds) {
        self.settle(now);
        if let Some(stream) = self.find(stream) {
            if stream.is_paused && !is_paused {
                (stream.since, stream.meter) = (now, None);
            }
            stream.is_paused = is_paused;
        }
    }

    /// Forgets a stream, which the driver resets. False if it has ended, so that nothing is counted.
    pub fn abort(&mut self, stream: u64, now: Seconds) -> bool {
        self.settle(now);
        let is_open = self.remove(stream, now).is_some();
        self.counts.resets_sent += u32::from(is_open);
        is_open
    }

    /// All of a response is written.
    #[inline]
    fn response_sent(&mut self, id: u64, now: Seconds) -> Sent {
        self.idle_since = now;
        let stop = match self.current {
            Some(current) if current.id == id => {
                self.current = None;
                !current.is_received
            }
            _ => {
                let stream = self.remove(id, now);
                stream.is_some_and(|stream| stream.phase != Phase::Received)
            }
        };
        Sent::Complete { stop }
    }
}
