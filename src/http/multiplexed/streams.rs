//! The streams of a connection of which the driver keeps something.

use crate::http::request::Request;
use crate::http::service::{Exchange, ExchangeContext};
use crate::metrics::WorkerCounters;
use crate::runtime::socket::Ends;
use crate::shared::flow_control::FIRST_SHARE;
use crate::shared::id::RequestId;
use crate::shared::output::Output;
use peregrine_protocol::Seconds;
use peregrine_protocol::h1::framing::{BodyLength, Framing};
use peregrine_protocol::h1::head::Head;
use peregrine_protocol::h2::head::HeadBuf;
use peregrine_protocol::http::exchange::ResponseContext;
use peregrine_protocol::http::field_block;
use peregrine_protocol::limits::Limits;

/// A request whose body or response is not complete.
pub(in crate::http) struct Stream {
    pub(in crate::http) id: u64,
    pub(in crate::http) exchange: Option<Box<Exchange>>,
    pub(in crate::http) mode: ResponseContext,
    /// The request, while its body is received.
    pub(in crate::http) request: Option<Box<KeptRequest>>,
    pub(in crate::http) intake: Intake,
    pub(in crate::http) since: Seconds,
}

/// What becomes of the body of a request.
#[derive(Debug)]
pub(in crate::http) enum Intake {
    /// It is complete, or is not needed.
    None,
    /// It is kept, up to this number of bytes.
    Buffer(u64),
    Sink(SinkState),
}

/// The body of a request that goes to a sink.
#[derive(Debug, Default)]
pub(in crate::http) struct SinkState {
    /// The most bytes of it.
    pub(in crate::http) most: u64,
    /// Bytes that the sink has received.
    pub(in crate::http) received: u64,
    /// Bytes for which the window is not given back yet.
    pub(in crate::http) unreleased: usize,
    /// The sink takes no pieces at the moment. Those that come wait with the request.
    pub(in crate::http) is_paused: bool,
    /// Nothing follows what has come.
    pub(in crate::http) has_end: bool,
}

/// A copy of the head of a request, and what has come of its body.
pub(in crate::http) struct KeptRequest {
    head: Head,
    bytes: Box<[u8]>,
    pub(in crate::http) body: Vec<u8>,
    /// `Content-Length`, or 0.
    announced: usize,
}

impl KeptRequest {
    /// Of the request that was decoded last.
    pub(in crate::http) fn new(head: &HeadBuf, framing: &Framing) -> Box<KeptRequest> {
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
    pub(in crate::http) fn keep(&mut self, piece: &[u8]) {
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
    pub(in crate::http) fn set_trailers(&mut self, fields: &HeadBuf) {
        let mut block = Vec::new();
        for (name, value) in fields.fields() {
            field_block::push(name, value, &mut block);
        }
        self.head.set_trailers(block);
    }

    pub(in crate::http) fn drop_trailers(&mut self) {
        self.head.set_trailers(Vec::new());
    }

    pub(in crate::http) fn view<'a>(&'a self, ends: &'a dyn Ends) -> Request<'a> {
        Request::of_parts(&self.head, &self.bytes, &self.body, ends)
    }

    pub(in crate::http) fn head_held(&self) -> usize {
        self.bytes.len() + self.head.trailers().len()
    }

    fn held(&self) -> usize {
        size_of::<KeptRequest>() + self.head_held() + self.body.capacity()
    }
}

/// A view of the request that was decoded last.
pub(in crate::http) fn view<'a>(head: &'a HeadBuf, ends: &'a dyn Ends) -> Request<'a> {
    Request::of_parts(&head.head, head.bytes(), b"", ends)
}

impl Stream {
    pub(in crate::http) fn new(id: u64, mode: ResponseContext, now: Seconds) -> Stream {
        Stream {
            id,
            exchange: None,
            mode,
            request: None,
            intake: Intake::None,
            since: now,
        }
    }

    pub(in crate::http) fn context<'a>(
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
    pub(in crate::http) fn has_body(&self) -> bool {
        let exchange = self.exchange.as_ref();
        exchange.is_some_and(|exchange| exchange.body().is_some())
    }

    /// Whether the connection pulls the body of its response.
    pub(in crate::http) fn is_drawn(&self) -> bool {
        let body = self.exchange.as_ref().and_then(|exchange| exchange.body());
        body.is_some_and(|body| body.is_drawn())
    }

    /// When its response has to go on: the client waits for it, or for a sink that has paused.
    fn deadline(&self, queued: impl Fn(u64) -> Option<u64>, limits: &Limits) -> Seconds {
        let waits = match &self.intake {
            Intake::Buffer(_) => false,
            Intake::Sink(sink) => sink.is_paused,
            Intake::None => queued(self.id).is_none_or(|queued| queued == 0),
        };
        match &self.exchange {
            Some(exchange) if waits => exchange.deadline(limits),
            _ => Seconds::NEVER,
        }
    }
}

#[derive(Default)]
pub(in crate::http) struct Streams {
    /// By identifier.
    all: Vec<Stream>,
    /// Behind the last one whose body was drawn.
    pub(in crate::http) draw_from: u64,
    /// Windows of bodies are not given back, because too much is kept.
    pub(in crate::http) holds_back: bool,
}

impl Streams {
    /// In HTTP/2 the new one is the last one; in HTTP/3 streams come in any order.
    pub(in crate::http) fn add(&mut self, stream: Stream) {
        let at = match self.all.last() {
            Some(last) if last.id > stream.id => {
                self.all.partition_point(|other| other.id < stream.id)
            }
            _ => self.all.len(),
        };
        self.all.insert(at, stream);
    }

    pub(in crate::http) fn get(&mut self, id: u64) -> Option<&mut Stream> {
        let at = self
            .all
            .binary_search_by_key(&id, |stream| stream.id)
            .ok()?;
        self.all.get_mut(at)
    }

    pub(in crate::http) fn take(&mut self, id: u64) -> Option<Stream> {
        let at = self
            .all
            .binary_search_by_key(&id, |stream| stream.id)
            .ok()?;
        Some(self.all.remove(at))
    }

    /// Gives back the memory of streams that have ended, if none is open.
    pub(in crate::http) fn shrink(&mut self) {
        if self.all.is_empty() {
            self.all = Vec::new();
        }
    }

    /// Whether a body is received.
    pub(in crate::http) fn is_receiving(&self) -> bool {
        let receives = |stream: &Stream| !matches!(stream.intake, Intake::None);
        self.all.iter().any(receives)
    }

    /// Takes all of them.
    pub(in crate::http) fn take_all(&mut self) -> Vec<Stream> {
        std::mem::take(&mut self.all)
    }

    /// The stream of the request that other threads know by this identifier.
    pub(in crate::http) fn named(&self, id: RequestId) -> Option<u64> {
        let is_it = |stream: &&Stream| {
            let exchange = stream.exchange.as_ref();
            exchange.is_some_and(|exchange| exchange.id() == Some(id))
        };
        self.all.iter().find(is_it).map(|stream| stream.id)
    }

    pub(in crate::http) fn iter(&self) -> impl Iterator<Item = &Stream> {
        self.all.iter()
    }

    /// The identifier of the first stream from this one on for which this holds.
    pub(in crate::http) fn next(&self, from: u64, is_it: impl Fn(&Stream) -> bool) -> Option<u64> {
        let from = self.all.partition_point(|stream| stream.id < from);
        let mut rest = self.all[from..].iter();
        rest.find(|stream| is_it(stream)).map(|stream| stream.id)
    }

    /// When the first of their responses has to go on.
    pub(in crate::http) fn deadline(
        &self,
        queued: impl Fn(u64) -> Option<u64>,
        limits: &Limits,
    ) -> Seconds {
        let all = self
            .all
            .iter()
            .map(|stream| stream.deadline(&queued, limits));
        all.fold(Seconds::NEVER, Seconds::min)
    }

    /// The first stream from this one on whose response should have gone on.
    pub(in crate::http) fn due(
        &self,
        from: u64,
        queued: impl Fn(u64) -> Option<u64>,
        limits: &Limits,
        now: Seconds,
    ) -> Option<u64> {
        self.next(from, |stream| stream.deadline(&queued, limits) <= now)
    }

    /// Reports to the producers of bodies how many bytes may be unsent, and how many are. Together they may have as
    /// much as one producer of HTTP/1, or [`FIRST_SHARE`] each if that is more: a stream of which something waits gets
    /// no more while all of them have that much. `output`: bytes that are behind the windows; `is_over`: memory is short.
    pub(in crate::http) fn tell_unsent(
        &self,
        queued: impl Fn(u64) -> Option<u64>,
        (all, output): (u64, u64),
        is_over: bool,
        limits: &Limits,
    ) {
        if self.all.is_empty() {
            return;
        }
        let most = limits.output_bytes as u64;
        let bodies = self.all.iter().filter(|stream| stream.has_body());
        let share = limits.output_bytes / bodies.count().max(1);
        for stream in &self.all {
            let exchange = stream.exchange.as_ref();
            let Some(body) = exchange.and_then(|exchange| exchange.body()) else {
                continue;
            };
            body.set_limit(share.max(FIRST_SHARE));
            let unsent = queued(stream.id).unwrap_or(0);
            body.set_unsent(match unsent > 0 || output > most {
                true if is_over || all + output > most => unsent.max(most),
                _ => unsent,
            });
        }
    }

    /// Bytes of the heads of requests that are kept, and of trailers.
    pub(in crate::http) fn heads(&self) -> usize {
        let head = |stream: &Stream| stream.request.as_ref().map_or(0, |kept| kept.head_held());
        self.all.iter().map(head).sum()
    }

    /// Bytes of bodies that are kept.
    pub(in crate::http) fn bodies(&self) -> usize {
        let body = |stream: &Stream| stream.request.as_ref().map_or(0, |kept| kept.body.len());
        self.all.iter().map(body).sum()
    }

    /// The streams whose bodies are kept, the oldest first.
    pub(in crate::http) fn buffering(&self) -> impl Iterator<Item = u64> {
        let is_kept = |stream: &&Stream| matches!(stream.intake, Intake::Buffer(_));
        self.all.iter().filter(is_kept).map(|stream| stream.id)
    }

    /// Bytes of memory of requests that are kept.
    pub(in crate::http) fn held(&self) -> usize {
        let kept = |stream: &Stream| stream.request.as_ref().map_or(0, |request| request.held());
        self.all.iter().map(kept).sum::<usize>() + self.all.capacity() * size_of::<Stream>()
    }
}
