//! The streams of a connection of which the driver keeps something.

use crate::http::request::Request;
use crate::http::service::{Exchange, ExchangeContext};
use crate::metrics::WorkerCounters;
use crate::runtime::socket::Ends;
use crate::shared::id::RequestId;
use crate::shared::output::{FilePart, Output};
use peregrine_protocol::Seconds;
use peregrine_protocol::h1::framing::{BodyLength, Framing};
use peregrine_protocol::h1::head::Head;
use peregrine_protocol::h2::connection::Http2;
use peregrine_protocol::h2::head::HeadBuf;
use peregrine_protocol::http::exchange::ResponseContext;
use peregrine_protocol::http::field_block;
use peregrine_protocol::limits::Limits;

/// A request whose body or response is not complete.
pub(super) struct Stream {
    pub(super) id: u32,
    pub(super) exchange: Option<Box<Exchange>>,
    pub(super) mode: ResponseContext,
    /// The request, while its body is received.
    pub(super) request: Option<Box<KeptRequest>>,
    pub(super) intake: Intake,
    pub(super) since: Seconds,
}

/// What becomes of the body of a request.
#[derive(Debug)]
pub(super) enum Intake {
    /// It is complete, or is not needed.
    None,
    /// It is kept, up to this number of bytes.
    Buffer(u64),
    Sink(SinkState),
}

/// The body of a request that goes to a sink.
#[derive(Debug, Default)]
pub(super) struct SinkState {
    /// The most bytes of it.
    pub(super) most: u64,
    /// Bytes that the sink has received.
    pub(super) received: u64,
    /// Bytes for which the window is not given back yet.
    pub(super) unreleased: usize,
    /// The sink takes no pieces at the moment. Those that come wait with the request.
    pub(super) is_paused: bool,
    /// Nothing follows what has come.
    pub(super) has_end: bool,
}

/// A copy of the head of a request, and what has come of its body.
pub(super) struct KeptRequest {
    head: Head,
    bytes: Box<[u8]>,
    pub(super) body: Vec<u8>,
    /// `Content-Length`, or 0.
    announced: usize,
}

impl KeptRequest {
    /// Of the request that was decoded last.
    pub(super) fn new(head: &HeadBuf, framing: &Framing) -> Box<KeptRequest> {
        let announced = match framing.body {
            BodyLength::Exact(len) => usize::try_from(len).unwrap_or(0),
            BodyLength::Chunked => 0,
        };
        Box::new(KeptRequest {
            announced,
            head: head.head.clone(),
            bytes: head.bytes().into(),
            body: Vec::new(),
        })
    }

    /// Appends to the body. There is room for as much as is announced then, but for no more than twice of what has come;
    /// four times, up to 64 KiB.
    pub(super) fn keep(&mut self, piece: &[u8]) {
        let body = &mut self.body;
        if body.capacity() - body.len() < piece.len() {
            let announced = self.announced.saturating_sub(body.len());
            let come = body.len() + piece.len();
            let most = (2 * come).max((4 * come).min(64 << 10)) - body.len();
            body.reserve(announced.min(most).max(piece.len()));
        }
        body.extend_from_slice(piece);
    }

    /// The body has ended with the fields that were decoded last.
    pub(super) fn set_trailers(&mut self, fields: &HeadBuf) {
        let mut block = Vec::new();
        for (name, value) in fields.fields() {
            field_block::push(name, value, &mut block);
        }
        self.head.set_trailers(block);
    }

    pub(super) fn drop_trailers(&mut self) {
        self.head.set_trailers(Vec::new());
    }

    pub(super) fn view<'a>(&'a self, ends: &'a dyn Ends) -> Request<'a> {
        Request::of_parts(&self.head, &self.bytes, &self.body, ends)
    }

    pub(super) fn head_held(&self) -> usize {
        self.bytes.len() + self.head.trailers().len()
    }

    fn held(&self) -> usize {
        size_of::<KeptRequest>() + self.head_held() + self.body.capacity()
    }
}

/// A view of the request that was decoded last.
pub(super) fn view<'a>(head: &'a HeadBuf, ends: &'a dyn Ends) -> Request<'a> {
    Request::of_parts(&head.head, head.bytes(), b"", ends)
}

impl Stream {
    pub(super) fn new(id: u32, mode: ResponseContext, now: Seconds) -> Stream {
        Stream {
            id,
            exchange: None,
            mode,
            request: None,
            intake: Intake::None,
            since: now,
        }
    }

    pub(super) fn context<'a>(
        &'a mut self,
        output: &'a mut Output,
        (ends, counters): (&'a dyn Ends, &'a WorkerCounters),
    ) -> ExchangeContext<'a> {
        ExchangeContext {
            exchange: &mut self.exchange,
            output,
            request: self.request.as_ref().map(|request| request.view(ends)),
            mode: self.mode,
            since: self.since,
            ends,
            counters,
        }
    }

    /// The head of its response is sent, and a body follows.
    pub(super) fn has_body(&self) -> bool {
        let exchange = self.exchange.as_ref();
        exchange.is_some_and(|exchange| exchange.body().is_some())
    }

    /// Whether the connection pulls the body of its response.
    pub(super) fn is_drawn(&self) -> bool {
        let body = self.exchange.as_ref().and_then(|exchange| exchange.body());
        body.is_some_and(|body| body.is_drawn())
    }

    /// When its response has to go on: the client waits for it, or for a sink that has paused.
    fn deadline(&self, http2: &Http2<FilePart>, limits: &Limits) -> Seconds {
        let waits = match &self.intake {
            Intake::Buffer(_) => false,
            Intake::Sink(sink) => sink.is_paused,
            Intake::None => http2.queued(self.id).is_none_or(|queued| queued == 0),
        };
        match &self.exchange {
            Some(exchange) if waits => exchange.deadline(limits),
            _ => Seconds::NEVER,
        }
    }
}

#[derive(Default)]
pub(super) struct Streams {
    /// By identifier.
    all: Vec<Stream>,
    /// The last one whose body was drawn.
    pub(super) last_drawn: u32,
    /// Windows of bodies are not given back, because too much is kept.
    pub(super) holds_back: bool,
}

impl Streams {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn add(&mut self, stream: Stream) {
        debug_assert!(self.all.last().is_none_or(|last| last.id < stream.id));
        self.all.push(stream);
    }

    pub(super) fn get(&mut self, id: u32) -> Option<&mut Stream> {
        let at = self
            .all
            .binary_search_by_key(&id, |stream| stream.id)
            .ok()?;
        self.all.get_mut(at)
    }

    pub(super) fn take(&mut self, id: u32) -> Option<Stream> {
        let at = self
            .all
            .binary_search_by_key(&id, |stream| stream.id)
            .ok()?;
        Some(self.all.remove(at))
    }

    /// Gives back the memory of streams that have ended, if none is open.
    pub(super) fn shrink(&mut self) {
        if self.all.is_empty() {
            self.all = Vec::new();
        }
    }

    /// Whether a body is received.
    pub(super) fn is_receiving(&self) -> bool {
        let receives = |stream: &Stream| !matches!(stream.intake, Intake::None);
        self.all.iter().any(receives)
    }

    /// Takes all of them.
    pub(super) fn take_all(&mut self) -> Vec<Stream> {
        std::mem::take(&mut self.all)
    }

    /// The stream of the request that other threads know by this identifier.
    pub(super) fn named(&self, id: RequestId) -> Option<u32> {
        let is_it = |stream: &&Stream| {
            let exchange = stream.exchange.as_ref();
            exchange.is_some_and(|exchange| exchange.id() == Some(id))
        };
        self.all.iter().find(is_it).map(|stream| stream.id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Stream> {
        self.all.iter()
    }

    /// The identifier of the first stream behind `id` for which this holds.
    pub(super) fn next(&self, id: u32, is_it: impl Fn(&Stream) -> bool) -> Option<u32> {
        let from = self.all.partition_point(|stream| stream.id <= id);
        let mut rest = self.all[from..].iter();
        rest.find(|stream| is_it(stream)).map(|stream| stream.id)
    }

    /// When the first of their responses has to go on.
    pub(super) fn deadline(&self, http2: &Http2<FilePart>, limits: &Limits) -> Seconds {
        let all = self.all.iter().map(|stream| stream.deadline(http2, limits));
        all.fold(Seconds::NEVER, Seconds::min)
    }

    /// The first stream behind `id` whose response should have gone on.
    pub(super) fn due(
        &self,
        id: u32,
        http2: &Http2<FilePart>,
        limits: &Limits,
        now: Seconds,
    ) -> Option<u32> {
        self.next(id, |stream| stream.deadline(http2, limits) <= now)
    }

    /// Bytes of the heads of requests that are kept, and of trailers.
    pub(super) fn heads(&self) -> usize {
        let head = |stream: &Stream| stream.request.as_ref().map_or(0, |kept| kept.head_held());
        self.all.iter().map(head).sum()
    }

    /// Bytes of bodies that are kept.
    pub(super) fn bodies(&self) -> usize {
        let body = |stream: &Stream| stream.request.as_ref().map_or(0, |kept| kept.body.len());
        self.all.iter().map(body).sum()
    }

    /// The streams whose bodies are kept, the oldest first.
    pub(super) fn buffering(&self) -> impl Iterator<Item = u32> {
        let is_kept = |stream: &&Stream| matches!(stream.intake, Intake::Buffer(_));
        self.all.iter().filter(is_kept).map(|stream| stream.id)
    }

    /// Bytes of memory of requests that are kept.
    pub(super) fn held(&self) -> usize {
        let kept = |stream: &Stream| stream.request.as_ref().map_or(0, |request| request.held());
        self.all.iter().map(kept).sum::<usize>() + self.all.capacity() * size_of::<Stream>()
    }
}
