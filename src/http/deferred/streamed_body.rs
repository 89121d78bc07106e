//! The body of a streamed response: chunks or a length (RFC 9112 section 6).

use super::leave::Leave;
use crate::shared::flow_control::{Credit, charge};
use crate::shared::output::Output;
use crate::shared::panic_guard::Quiet;
use crate::shared::quota::Held;
use peregrine_protocol::h1::response_encoder::{
    CHUNK_END, Coding, ResponseFraming, chunk_size, last_chunk,
};
use peregrine_protocol::payload::Payload;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// While this number of bytes is unsent, nothing is pulled from a source.
const DRAW: u64 = 64 << 10;

/// The most pieces that are pulled before other connections get their turn.
const DRAWN_PER_TURN: usize = 64;

/// The origin of the body.
pub(crate) enum Feed {
    /// Other threads send it. The [`Credit`] tells them how much they may send.
    Pushed(Arc<Credit>, Arc<Leave>),
    Drawn(Quiet<Box<dyn BodySource>>),
}

/// A source from which the connection pulls the next piece when it has room. Must not block.
pub(crate) trait BodySource: Send {
    /// `None` at the end.
    fn draw(&mut self) -> io::Result<Option<Payload>>;
}

/// Changes the bytes of a body on their way to the client.
pub(crate) trait BodyEncoder: Send {
    /// Appends what `piece` becomes. With `flush` the client gets all that is here.
    fn encode(&mut self, piece: &[u8], flush: bool, out: &mut Vec<u8>) -> io::Result<()>;

    /// Appends the end.
    fn end(&mut self, out: &mut Vec<u8>) -> io::Result<()>;
}

/// The encoder of a body, and the bytes that are missing from its declared length.
struct Encoded {
    encoder: Quiet<Box<dyn BodyEncoder>>,
    left: Option<u64>,
    /// The encoder may keep bytes of pieces.
    is_behind: bool,
}

/// A body that is being sent.
pub(crate) struct StreamedBody {
    coding: Coding,
    feed: Feed,
    encoded: Option<Box<Encoded>>,
    /// Bytes of it that are in the output or sent, without chunk framing.
    pushed: u64,
    /// No further response follows.
    pub(crate) close: bool,
    /// The body is a stream of events. It may be silent, because a heartbeat is sent at this interval, and it
    /// may end at any time.
    pub(crate) heartbeat: Option<Duration>,
    /// Its place among the long-lived connections.
    pub(crate) held: Option<Held>,
}

/// A comment between events. Clients ignore it (WHATWG HTML section 9.2.6).
const HEARTBEAT: &[u8] = b":\n\n";

/// The state of a body.
#[derive(Debug)]
pub(crate) enum BodyProgress {
    /// More is to come.
    More,
    /// All is in the output.
    Complete,
    /// It can never be completed. The client must see that it is not complete.
    Broken(io::Error),
}

impl StreamedBody {
    pub(crate) fn new(framing: ResponseFraming, feed: Feed) -> StreamedBody {
        StreamedBody {
            coding: framing.coding.unwrap_or(Coding::Close),
            feed,
            encoded: None,
            pushed: 0,
            close: framing.close,
            heartbeat: None,
            held: None,
        }
    }

    /// Begins a body after its head with this framing was encoded.
    pub(crate) fn begin(&mut self, framing: ResponseFraming) {
        self.coding = framing.coding.unwrap_or(Coding::Close);
        self.close = framing.close;
    }

    /// From now on `encoder` changes the bytes. `declared` is the length before.
    #[cfg_attr(
        not(feature = "compress"),
        expect(dead_code, reason = "compression alone has a filter")
    )]
    pub(crate) fn encode_with(&mut self, encoder: Box<dyn BodyEncoder>, declared: Option<u64>) {
        self.encoded = Some(Box::new(Encoded {
            encoder: Quiet::new(encoder),
            left: declared,
            is_behind: false,
        }));
    }

    /// Appends a heartbeat.
    pub(crate) fn beat(&mut self, output: &mut Output) -> BodyProgress {
        self.push(Payload::Static(HEARTBEAT), output)
    }

    /// The bytes of it that have been sent, if so many are not. It may be too small by the framing of the unsent bytes.
    pub(crate) fn sent(&self, unsent: u64) -> u64 {
        self.pushed.saturating_sub(unsent)
    }

    /// The bytes of it until now, sent or not, without chunk framing.
    pub(crate) fn pushed(&self) -> u64 {
        self.pushed
    }

    /// Appends a piece that the client has to get.
    pub(crate) fn push(&mut self, piece: Payload, output: &mut Output) -> BodyProgress {
        self.push_encoded(piece, true, output)
    }

    /// Appends a piece. If it is encoded without `flush`, the client may get it later.
    fn push_encoded(&mut self, piece: Payload, flush: bool, output: &mut Output) -> BodyProgress {
        let Some(encoded) = self.encoded.as_deref_mut() else {
            return self.push_as_it_is(piece, output);
        };
        let mut bytes = Vec::new();
        match encoded.push(piece.as_bytes(), flush, &mut bytes) {
            Ok(()) => self.push_as_it_is(bytes.into(), output),
            Err(error) => BodyProgress::Broken(error),
        }
    }

    fn push_as_it_is(&mut self, piece: Payload, output: &mut Output) -> BodyProgress {
        let len = piece.len() as u64;
        match &mut self.coding {
            _ if piece.is_empty() => {}
            Coding::Chunked => {
                output.push_with(|out| chunk_size(piece.len(), out));
                output.push_payload(piece);
                output.push(CHUNK_END);
            }
            Coding::Close => output.push_payload(piece),
            Coding::Exact(left) => match left.checked_sub(piece.len() as u64) {
                Some(rest) => {
                    *left = rest;
                    output.push_payload(piece);
                }
                None => return broken("the body is longer than declared"),
            },
        }
        self.pushed += len;
        BodyProgress::More
    }

    /// Ends the body. `trailers` is a block of fields; only a chunked body can have them.
    pub(crate) fn end(&mut self, trailers: &[u8], output: &mut Output) -> BodyProgress {
        if let Some(mut encoded) = self.encoded.take() {
            let mut bytes = Vec::new();
            let progress = match encoded.end(&mut bytes) {
                Ok(()) => self.push_as_it_is(bytes.into(), output),
                Err(error) => BodyProgress::Broken(error),
            };
            if let BodyProgress::Broken(_) = progress {
                return progress;
            }
        }
        match self.coding {
            Coding::Chunked => output.push_with(|out| last_chunk(trailers, out)),
            Coding::Exact(left) if left > 0 => {
                return broken("the body is shorter than declared");
            }
            Coding::Exact(_) | Coding::Close => {}
        }
        BodyProgress::Complete
    }

    /// Whether the connection itself pulls the body from a source.
    pub(crate) fn is_drawn(&self) -> bool {
        matches!(self.feed, Feed::Drawn(_))
    }

    /// Pulls pieces while there is room for them and the turn is not over, which is checked after each piece.
    pub(crate) fn draw(
        &mut self,
        output: &mut Output,
        mut is_over: impl FnMut() -> bool,
    ) -> BodyProgress {
        let before = output.len();
        for _ in 0..DRAWN_PER_TURN {
            let Feed::Drawn(source) = &mut self.feed else {
                break;
            };
            if output.len() >= DRAW {
                break;
            }
            let progress = match source.draw() {
                Ok(Some(piece)) => self.push_encoded(piece, false, output),
                Ok(None) => self.end(b"", output),
                Err(error) => BodyProgress::Broken(error),
            };
            if !matches!(progress, BodyProgress::More) {
                return progress;
            }
            if is_over() {
                break;
            }
        }
        // An encoder that keeps the bytes of a slow source would look like a source without bytes.
        let is_behind = self.encoded.as_ref().is_some_and(|e| e.is_behind);
        match is_behind && output.len() == before {
            true => self.push(Payload::Static(b""), output),
            false => BodyProgress::More,
        }
    }

    /// A piece of `len` bytes has been taken from the mailbox.
    pub(crate) fn taken(&self, len: usize) {
        if let Feed::Pushed(credit, _) = &self.feed {
            credit.taken(charge(len));
        }
    }

    /// The client has sent its last byte, and has probably gone.
    pub(crate) fn client_eof(&self) {
        if let Feed::Pushed(_, leave) = &self.feed {
            leave.tell();
        }
    }

    /// Tells the sender how many bytes may be unsent. [`StreamedBody::set_unsent`] has to follow.
    #[cfg(feature = "http2")]
    pub(crate) fn set_limit(&self, most: usize) {
        if let Feed::Pushed(credit, _) = &self.feed {
            credit.set_limit(most);
        }
    }

    /// Tells the sender how many bytes are unsent.
    pub(crate) fn set_unsent(&self, len: u64) {
        if let Feed::Pushed(credit, _) = &self.feed {
            credit.set_unsent(usize::try_from(len).unwrap_or(usize::MAX));
        }
    }
}

impl Encoded {
    fn push(&mut self, piece: &[u8], flush: bool, out: &mut Vec<u8>) -> io::Result<()> {
        if let Some(left) = &mut self.left {
            let rest = left.checked_sub(piece.len() as u64);
            *left = rest.ok_or_else(|| wrong("the body is longer than declared"))?;
        }
        if piece.is_empty() && !self.is_behind {
            return Ok(());
        }
        self.is_behind = !flush;
        self.encoder.encode(piece, flush, out)
    }

    fn end(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        match self.left {
            Some(1..) => Err(wrong("the body is shorter than declared")),
            _ => self.encoder.end(out),
        }
    }
}

impl Drop for StreamedBody {
    fn drop(&mut self) {
        if let Feed::Pushed(credit, leave) = &self.feed {
            credit.end();
            leave.tell();
        }
    }
}

impl std::fmt::Debug for StreamedBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BodyOut")
            .field("coding", &self.coding)
            .finish_non_exhaustive()
    }
}

fn broken(text: &str) -> BodyProgress {
    BodyProgress::Broken(wrong(text))
}

fn wrong(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}
