//! Bodies of requests, and what is behind them.

use super::receive::undecodable;
use super::*;
use crate::field_section::head::BadTrailers;
use crate::h3::frame::unexpected;
use crate::h3::stream::{OpenFrame, Phase};
use crate::qpack::Decoder;

/// DATA frames with fewer bytes cost something, unless the stream has had more in earlier ones.
const TINY: u64 = 256;

/// The first frames of a stream cost nothing, whatever is in them.
const FREE_FRAMES: u64 = 4;

fn malformed(text: &'static str) -> Fault {
    Fault::Stream(ErrorCode::H3_MESSAGE_ERROR, text)
}

impl Http3 {
    #[cold]
    pub(super) fn trailers(
        &mut self,
        at: usize,
        section: &[u8],
        input: &mut StreamBytes<'_>,
        turn: &mut Turn<'_>,
    ) -> Result<Step, Fault> {
        let trailers = turn
            .head
            .decode_trailers(&mut Decoder, section, turn.limits);
        match trailers.map_err(undecodable)? {
            Ok(()) => {}
            Err(BadTrailers::Malformed(text)) => return Err(malformed(text)),
            Err(BadTrailers::TooLarge) => {
                let text = "the trailer section is too large";
                return Err(Fault::Stream(ErrorCode::H3_EXCESSIVE_LOAD, text));
            }
        }
        self.check_length(at)?;
        let stream = &mut self.streams[at];
        stream.phase = Phase::Trailers;
        if input.is_end() {
            stream.phase = Phase::Received;
            input.take_end();
        }
        Ok(Step::Tell(Next::Trailers { stream: stream.id }))
    }

    /// RFC 9114 section 7.2.1.
    pub(super) fn begin_data(
        &mut self,
        at: usize,
        len: u64,
        turn: &Turn<'_>,
    ) -> Result<Step, Fault> {
        let stream = &mut self.streams[at];
        match stream.phase {
            Phase::Body => {}
            Phase::Head => return Err(unexpected("DATA before HEADERS")),
            _ => return Err(unexpected("DATA behind a trailer section")),
        }
        stream.received = stream.received.saturating_add(len);
        if stream.length.is_some_and(|length| stream.received > length) {
            return Err(malformed("the body is longer than Content-Length says"));
        }
        stream.frames += 1;
        let is_tiny = len < TINY && stream.received < TINY.saturating_mul(stream.frames);
        let is_free = !is_tiny || stream.frames <= FREE_FRAMES;
        if len > 0 {
            stream.frame = OpenFrame::Data(len);
        }
        if !is_free {
            let text = "too many DATA frames with little in them";
            self.spend(1, text, turn.http3, turn.now)?;
        }
        Ok(Step::Again)
    }

    pub(super) fn part_of_data(
        &mut self,
        at: usize,
        left: u64,
        input: &mut StreamBytes<'_>,
        turn: &Turn<'_>,
    ) -> Result<Step, Fault> {
        let n =
            usize::try_from(left).map_or(input.rest().len(), |left| left.min(input.rest().len()));
        let piece = input.at..input.at + n;
        input.at += n;
        let stream = &mut self.streams[at];
        let id = stream.id;
        stream.count(n, turn.limits, turn.now);
        let left = left - n as u64;
        stream.frame = match left {
            0 => OpenFrame::None,
            left => OpenFrame::Data(left),
        };
        // If the length is wrong, the end says so, behind the piece.
        let is_last = left == 0 && input.is_end() && self.check_length(at).is_ok();
        if is_last {
            self.streams[at].phase = Phase::Received;
            input.take_end();
        }
        Ok(Step::Tell(Next::Data {
            stream: id,
            piece,
            is_last,
        }))
    }

    /// The client has closed the stream.
    pub(super) fn end(&mut self, at: usize, input: &mut StreamBytes<'_>) -> Result<Step, Fault> {
        input.take_end();
        let stream = &mut self.streams[at];
        if stream.reader.has_part() {
            let text = "the stream ends within the header of a frame";
            return Err(Fault::Connection(ErrorCode::H3_FRAME_ERROR, text));
        }
        let (id, end) = (stream.id, input.at);
        match stream.phase {
            Phase::Head => {
                let text = "the stream ends without a request";
                Err(Fault::Stream(ErrorCode::H3_REQUEST_INCOMPLETE, text))
            }
            Phase::Body => {
                self.check_length(at)?;
                self.streams[at].phase = Phase::Received;
                Ok(Step::Tell(Next::Data {
                    stream: id,
                    piece: end..end,
                    is_last: true,
                }))
            }
            Phase::Trailers | Phase::Received => {
                stream.phase = Phase::Received;
                Ok(Step::More)
            }
        }
    }

    /// The body is complete (RFC 9114 section 4.1.2).
    fn check_length(&self, at: usize) -> Result<(), Fault> {
        let stream = &self.streams[at];
        match stream.length {
            Some(length) if length != stream.received => {
                Err(malformed("the body is shorter than Content-Length says"))
            }
            _ => Ok(()),
        }
    }
}
