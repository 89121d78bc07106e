//! Bodies of requests: kept, or passed to a sink.

use super::requests::call;
use super::streams::{Intake, KeptRequest, SinkState, Stream};
use super::{Multiplexer, Parts};
use crate::http::handler::Handler;
use crate::http::request_body::flow::Flow;
use crate::http::response::Done;
use crate::http::service::Service;
use crate::shared::panic_guard::{Panic, catch};
use peregrine_protocol::error::ProtocolError;
use std::ops::{Deref, Range};

impl<P> Service<P>
where
    P: Deref,
    P::Target: Handler + Sized,
{
    /// A piece of a body has come, or its end.
    pub(in crate::http) fn take_data(
        &mut self,
        id: u64,
        piece: Range<usize>,
        is_last: bool,
        parts: &mut Parts<'_, impl Multiplexer>,
    ) {
        let len = piece.len();
        let is_over = self.recorder.handle.budget.is_over();
        let Some(stream) = parts.streams.get(id) else {
            return parts.machine.discard(id, len, self.now);
        };
        match &mut stream.intake {
            Intake::None => parts.machine.discard(id, len, self.now),
            Intake::Sink(_) => self.take_sink_piece(id, piece, is_last, parts),
            Intake::Buffer(most) => {
                let most = *most;
                let fits = |kept: &&mut Box<KeptRequest>| (kept.body.len() + len) as u64 <= most;
                let Some(kept) = stream.request.as_mut().filter(fits) else {
                    return self.refuse_stream(id, ProtocolError::BodyTooLarge, parts);
                };
                if is_over && kept.body.len() + len > kept.body.capacity() {
                    parts.counters.overloaded.add(1);
                    return self.refuse_stream(id, ProtocolError::Overloaded, parts);
                }
                kept.keep(parts.machine.body(piece));
                if is_last {
                    parts.machine.release(id, len, self.now);
                    self.body_complete(id, parts);
                } else {
                    self.release_kept(id, len, parts);
                }
            }
        }
    }

    /// Bytes of a body are kept. All bodies of a connection together may have as much as one; above, the oldest one
    /// alone goes on, and each of the others ends at its window.
    fn release_kept(&mut self, id: u64, len: usize, parts: &mut Parts<'_, impl Multiplexer>) {
        let streams = &mut *parts.streams;
        let is_over = streams.bodies() > self.limits.body_bytes;
        if is_over && streams.buffering().next() != Some(id) {
            streams.holds_back = true;
            return parts.machine.hold_back(id, len, self.now);
        }
        parts.machine.release(id, len, self.now);
    }

    /// Gives back windows of bodies that are kept, if there is room again; that of the oldest one in any case.
    #[cold]
    pub(in crate::http) fn give_windows_back(&mut self, parts: &mut Parts<'_, impl Multiplexer>) {
        parts.streams.holds_back = parts.streams.bodies() > self.limits.body_bytes;
        let most = match parts.streams.holds_back {
            true => 1,
            false => usize::MAX,
        };
        for id in parts.streams.buffering().take(most) {
            parts.machine.release(id, 0, self.now);
        }
    }

    /// The end of a body has come, with trailers.
    pub(in crate::http) fn take_trailers(
        &mut self,
        id: u64,
        parts: &mut Parts<'_, impl Multiplexer>,
    ) {
        let before = parts.streams.heads();
        let stream = parts.streams.get(id);
        if let Some(kept) = stream.and_then(|stream| stream.request.as_mut()) {
            let others = before - kept.head_held();
            kept.set_trailers(parts.head);
            if others > self.limits.output_bytes {
                parts.counters.overloaded.add(1);
                return self.refuse_stream(id, ProtocolError::Overloaded, parts);
            }
        }
        self.take_data(id, 0..0, true, parts);
    }

    /// Refuses a request in the middle of its body.
    #[cold]
    fn refuse_stream(
        &mut self,
        id: u64,
        error: ProtocolError,
        parts: &mut Parts<'_, impl Multiplexer>,
    ) {
        let Some(mut stream) = parts.streams.take(id) else {
            return;
        };
        self.end(&mut stream.exchange);
        let cx = &mut stream.context(parts.response, (parts.ends, parts.counters));
        self.refuse_with(error, cx);
        self.transmit(id, parts);
    }

    /// The body is kept as a whole: calls the handler.
    fn body_complete(&mut self, id: u64, parts: &mut Parts<'_, impl Multiplexer>) {
        let Some(stream) = parts.streams.get(id) else {
            return;
        };
        stream.intake = Intake::None;
        let Some(kept) = stream.request.take() else {
            return;
        };
        let request = kept.view(parts.ends);
        let (span, timed) = (self.begin_span(&request), self.begin_timing(&request));
        let mode = stream.mode;
        let responded = catch(|| {
            let response = self.recorder.recorded_response(mode, parts.response);
            let is_special = mode.method.is_special();
            let handler = &*self.handler;
            let _done: Done = call(handler, &request, is_special, response);
        });
        stream.request = Some(kept);
        self.finish_stream(id, responded, parts);
        self.end_timing(timed, parts.counters);
        self.end_span(span);
    }

    /// Passes on the response to a request whose body was received.
    fn finish_stream(
        &mut self,
        id: u64,
        responded: Result<(), Panic>,
        parts: &mut Parts<'_, impl Multiplexer>,
    ) {
        let Some(stream) = parts.streams.get(id) else {
            return;
        };
        parts.counters.requests.add(1);
        let cx = &mut stream.context(parts.response, (parts.ends, parts.counters));
        match self.is_later(responded, cx) {
            true => {
                (stream.request, stream.since) = (None, self.now);
                self.begin_body(id, parts);
            }
            false => self.transmit_last(id, parts),
        }
    }

    /// Passes on a complete response: nothing is kept of its request any more.
    pub(in crate::http) fn transmit_last(
        &mut self,
        id: u64,
        parts: &mut Parts<'_, impl Multiplexer>,
    ) {
        if let Some(mut stream) = parts.streams.take(id) {
            self.end(&mut stream.exchange);
        }
        self.transmit(id, parts);
    }

    fn take_sink_piece(
        &mut self,
        id: u64,
        piece: Range<usize>,
        is_last: bool,
        parts: &mut Parts<'_, impl Multiplexer>,
    ) {
        let Some(stream) = parts.streams.get(id) else {
            return;
        };
        let Some(sink) = sink_of(stream) else {
            return;
        };
        sink.has_end |= is_last;
        let bytes = parts.machine.body(piece);
        if sink.is_paused {
            sink.unreleased += bytes.len();
            if let Some(kept) = &mut stream.request {
                kept.body.extend_from_slice(bytes);
            }
            return;
        }
        let flow = self.pass_piece(bytes, stream, parts.conn);
        let len = bytes.len();
        self.after_piece(id, len, flow, parts);
    }

    /// Passes a piece to the sink.
    fn pass_piece(
        &mut self,
        bytes: &[u8],
        stream: &mut Stream,
        conn: crate::shared::id::ConnId,
    ) -> Result<Flow, PieceError> {
        let Some(sink) = sink_of(stream) else {
            return Ok(Flow::Continue);
        };
        sink.received += bytes.len() as u64;
        let (received, most) = (sink.received, sink.most);
        if received > most {
            return Err(PieceError::TooLarge);
        }
        match bytes.is_empty() {
            true => Ok(Flow::Continue),
            false => self
                .piece(&mut stream.exchange, bytes, received, conn)
                .map_err(PieceError::Panic),
        }
    }

    /// The sink has had a piece of this length.
    fn after_piece(
        &mut self,
        id: u64,
        len: usize,
        flow: Result<Flow, PieceError>,
        parts: &mut Parts<'_, impl Multiplexer>,
    ) {
        let Some(stream) = parts.streams.get(id) else {
            return;
        };
        let Some(sink) = sink_of(stream) else {
            return;
        };
        match flow {
            Ok(Flow::Continue) => {
                let has_end = sink.has_end;
                parts.machine.release(id, len, self.now);
                if has_end {
                    self.finish_sink(id, parts);
                }
            }
            Ok(Flow::Pause) => {
                sink.is_paused = true;
                sink.unreleased += len;
                parts.machine.pause(id, true, self.now);
            }
            Ok(Flow::Respond) => self.finish_sink_early(id, parts),
            Err(PieceError::TooLarge) => {
                self.refuse_stream(id, ProtocolError::BodyTooLarge, parts);
            }
            Err(PieceError::Panic(panic)) => {
                let cx = &mut stream.context(parts.response, (parts.ends, parts.counters));
                self.sink_failed(panic, cx);
                self.transmit_last(id, parts);
            }
        }
    }

    /// The sink responds without the rest of the body, and without its trailers: whether they have come depends on the
    /// network alone.
    pub(in crate::http) fn finish_sink_early(
        &mut self,
        id: u64,
        parts: &mut Parts<'_, impl Multiplexer>,
    ) {
        let stream = parts.streams.get(id);
        if let Some(kept) = stream.and_then(|stream| stream.request.as_mut()) {
            kept.drop_trailers();
        }
        self.finish_sink(id, parts);
    }

    /// The sink responds. What follows of the body is not needed.
    fn finish_sink(&mut self, id: u64, parts: &mut Parts<'_, impl Multiplexer>) {
        let Some(stream) = parts.streams.get(id) else {
            return;
        };
        stream.intake = Intake::None;
        parts.machine.discard(id, 0, self.now);
        if let Some(kept) = &mut stream.request {
            kept.body.clear();
        }
        let cx = &mut stream.context(parts.response, (parts.ends, parts.counters));
        let responded = self.respond_by_sink(cx);
        self.finish_stream(id, responded, parts);
    }

    /// A sink that has paused goes on, with what has come meanwhile.
    pub(in crate::http) fn resume_sink(
        &mut self,
        id: u64,
        parts: &mut Parts<'_, impl Multiplexer>,
    ) {
        let Some(stream) = parts.streams.get(id) else {
            return;
        };
        let Some(sink) = sink_of(stream).filter(|sink| sink.is_paused) else {
            return;
        };
        sink.is_paused = false;
        parts.machine.pause(id, false, self.now);
        let unreleased = std::mem::take(&mut sink.unreleased);
        let kept = stream.request.as_mut();
        let waiting = kept.map_or(Vec::new(), |kept| std::mem::take(&mut kept.body));
        parts
            .machine
            .release(id, unreleased - waiting.len(), self.now);
        let flow = self.pass_piece(&waiting, stream, parts.conn);
        self.after_piece(id, waiting.len(), flow, parts);
    }
}

/// Why a sink gets nothing more.
enum PieceError {
    TooLarge,
    Panic(Panic),
}

fn sink_of(stream: &mut Stream) -> Option<&mut SinkState> {
    match &mut stream.intake {
        Intake::Sink(sink) => Some(sink),
        Intake::None | Intake::Buffer(_) => None,
    }
}
