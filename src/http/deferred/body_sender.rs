//! The sending end of a streamed response body.

use super::leave::Leave;
use super::streamed_body::Feed;
use crate::http::deferred::unlocked::call_unlocked;
use crate::http::deferred::worker_handle::{WorkerCommand, WorkerHandle};
use crate::relay::Relayed;
#[cfg(feature = "http2")]
use crate::shared::flow_control::FIRST_SHARE;
use crate::shared::flow_control::{Credit, Room, charge};
use crate::shared::id::RequestId;
use crate::shared::panic_guard::quietly;
use peregrine_protocol::http::response::BodySize;
use peregrine_protocol::http::{Version, field_block, fields};
use peregrine_protocol::payload::Payload;
use peregrine_protocol::syntax;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Bytes that are buffered by [`io::Write`] before they are sent.
const GATHER: usize = 16 << 10;

/// Sends the body of a response piece by piece, from any thread. [`Response::stream`] and
/// [`Response::stream_exact`] make it.
///
/// Each piece is sent as soon as the socket has room. Unsent pieces are kept in memory, up to
/// [`Limits::output_bytes`](crate::Limits::output_bytes) and one piece more. Above that
/// [`BodySender::try_send`] gives the piece back, [`BodySender::send`] blocks, and [`BodySender::on_ready`]
/// reports when there is room. As an [`io::Write`] it buffers 16 KiB at a time and blocks like `send`;
/// [`io::Write::flush`] sends the buffered bytes.
///
/// [`BodySender::finish`] ends the body. If the sender is dropped before, or if the bytes do not match the
/// declared length, the connection is closed so that the client sees the body as incomplete.
///
/// [`Response::stream`]: crate::Response::stream
/// [`Response::stream_exact`]: crate::Response::stream_exact
///
/// ```
/// use peregrine::{Done, Request, Response};
///
/// fn handle(_: &Request<'_>, res: Response<'_>) -> Done {
///     let (done, mut body) = res.header("content-type", "text/plain").stream();
///     std::thread::spawn(move || {
///         for n in 1..=3 {
///             body.send(format!("{n}\n"))?;
///         }
///         body.finish()
///     });
///     done
/// }
/// # let app = peregrine::from_fn(handle);
/// # let mut client = peregrine::testing::Connection::new(&app);
/// # client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
/// # while !client.received().ends_with(b"2\r\n1\n\r\n2\r\n2\n\r\n2\r\n3\n\r\n0\r\n\r\n") {
/// #     assert!(client.wait(std::time::Duration::from_secs(60)));
/// # }
/// ```
#[must_use = "a drop without `finish` closes the connection"]
pub struct BodySender {
    handle: Arc<WorkerHandle>,
    id: RequestId,
    credit: Arc<Credit>,
    leave: Arc<Leave>,
    /// The bytes that are missing from the declared length, if there is one.
    left: Option<u64>,
    trailers: Vec<u8>,
    gathered: Vec<u8>,
    ended: bool,
}

/// Why a piece of a streamed body was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The client has disconnected or reads nothing, or the response has no body because the request was
    /// a HEAD. Stop producing the body.
    Gone,
    /// More bytes than the declared length were sent, or fewer before the body was finished. The connection
    /// is closed.
    Length,
    /// The name of a trailer is not a token or is not allowed in a trailer section, or its value has a
    /// control byte (RFC 9110 section 6.5.1). Nothing was sent.
    Trailer,
    /// The name or id of an [`Event`](crate::sse::Event) has a line break, or the id has a NUL. Nothing was
    /// sent.
    Event,
    /// There is no room, and this is the thread of a worker. A worker must not block, because workers could
    /// wait for each other for ever. Use [`BodySender::try_send`] there.
    WouldBlock,
    /// The [relay](crate::relay) of an [`EventHub`](crate::sse::EventHub) has dropped the event: the pages of other processes do
    /// not get it. Those of this process got it, so do not publish it again to all.
    NotRelayed {
        /// Number of pages of this process that got it.
        pages: usize,
        /// Why the relay has dropped it.
        why: Relayed,
    },
}

impl std::fmt::Display for SendError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            SendError::Gone => "the client does not receive the body any more",
            SendError::Length => "the body does not have the declared length",
            SendError::Trailer => "this field is not allowed in a trailer section",
            SendError::Event => "the name or id of an event has a line break or NUL",
            SendError::NotRelayed { .. } => "other processes do not get the event",
            SendError::WouldBlock => "the thread of a worker must not wait for a client",
        })
    }
}

impl std::error::Error for SendError {}

impl From<SendError> for io::Error {
    fn from(error: SendError) -> io::Error {
        let kind = match error {
            SendError::Gone => io::ErrorKind::BrokenPipe,
            SendError::Length | SendError::Trailer | SendError::Event => {
                io::ErrorKind::InvalidInput
            }
            SendError::NotRelayed { .. } => io::ErrorKind::Other,
            SendError::WouldBlock => io::ErrorKind::WouldBlock,
        };
        io::Error::new(kind, error)
    }
}

/// Why [`BodySender::try_send`] did not send a piece, or
/// [`EventSender::try_send`](crate::sse::EventSender::try_send) an event.
#[derive(Debug)]
#[non_exhaustive]
pub enum TrySendError<T = Payload> {
    /// Too many bytes are unsent. The piece is returned.
    Full(T),
    /// The piece can never be sent.
    Failed(SendError),
}

impl<T> std::fmt::Display for TrySendError<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TrySendError::Full(_) => f.write_str("too many bytes are unsent"),
            TrySendError::Failed(error) => error.fmt(f),
        }
    }
}

impl<T: std::fmt::Debug> std::error::Error for TrySendError<T> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            TrySendError::Full(_) => None,
            TrySendError::Failed(error) => Some(error),
        }
    }
}

impl BodySender {
    pub(crate) fn new(
        handle: Arc<WorkerHandle>,
        id: RequestId,
        size: BodySize,
        version: Version,
    ) -> (BodySender, Feed) {
        let most = match version {
            #[cfg(feature = "http2")]
            version if version >= Version::Http2 => handle.stream_bytes.min(FIRST_SHARE),
            _ => handle.stream_bytes,
        };
        let credit = Arc::new(Credit::new(most));
        let leave = Arc::<Leave>::default();
        let feed = Feed::Pushed(credit.clone(), leave.clone());
        let sender = BodySender {
            handle,
            id,
            credit,
            leave,
            left: match size {
                BodySize::Known(left) => Some(left),
                BodySize::Unknown => None,
            },
            trailers: Vec::new(),
            gathered: Vec::new(),
            ended: false,
        };
        (sender, feed)
    }

    /// The sender of a body that is not sent: the request was a HEAD.
    pub(crate) fn disconnected(handle: Arc<WorkerHandle>) -> BodySender {
        let (mut sender, _feed) =
            BodySender::new(handle, RequestId::NONE, BodySize::Unknown, Version::Http11);
        sender.credit.end();
        sender.leave.tell();
        sender.ended = true;
        sender
    }

    /// Sends a piece, or returns it if too many bytes are unsent. It never blocks. A piece of 16 KiB or more
    /// is not copied.
    pub fn try_send(&mut self, piece: impl Into<Payload>) -> Result<(), TrySendError> {
        if !self.gathered.is_empty() {
            // Bytes that were written before are sent first.
            let gathered = std::mem::take(&mut self.gathered);
            if let Err(error) = self.post(gathered.into()) {
                return Err(match error {
                    TrySendError::Full(Payload::Owned(gathered)) => {
                        self.gathered = gathered;
                        TrySendError::Full(piece.into())
                    }
                    error => error,
                });
            }
        }
        self.post(piece.into())
    }

    fn post(&mut self, piece: Payload) -> Result<(), TrySendError> {
        self.count(piece.len()).map_err(TrySendError::Failed)?;
        match self.credit.take(charge(piece.len())) {
            Room::Taken => self.handle.post(WorkerCommand::Piece(self.id, piece)),
            Room::Gone => return Err(TrySendError::Failed(SendError::Gone)),
            Room::Full => {
                self.uncount(piece.len());
                return Err(TrySendError::Full(piece));
            }
        }
        Ok(())
    }

    /// Sends a piece. It blocks while too many bytes are unsent;
    /// [`Limits::write_timeout`](crate::Limits::write_timeout) limits this. On the thread of a worker it
    /// returns [`SendError::WouldBlock`] instead.
    pub fn send(&mut self, piece: impl Into<Payload>) -> Result<(), SendError> {
        self.flush_gathered()?;
        self.send_now(piece.into())
    }

    fn send_now(&mut self, piece: Payload) -> Result<(), SendError> {
        let mut piece = piece;
        loop {
            piece = match self.post(piece) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Failed(error)) => return Err(error),
                Err(TrySendError::Full(_)) if WorkerHandle::is_worker() => {
                    return Err(SendError::WouldBlock);
                }
                Err(TrySendError::Full(piece)) => piece,
            };
            self.credit.wait(None);
        }
    }

    /// Whether a piece can be sent now, or the client has disconnected.
    pub fn is_ready(&self) -> bool {
        self.credit.is_ready()
    }

    /// Blocks until [`BodySender::is_ready`], for at most `most`. False if the time has passed.
    pub fn wait_ready(&self, most: Duration) -> bool {
        self.credit.wait(Some(most))
    }

    /// Calls `f` once when [`BodySender::is_ready`]. If it is ready now, `f` runs at once on this thread,
    /// otherwise later on the thread of the worker, where it must not block. It replaces the function of an
    /// earlier call. A panic in `f` is caught.
    pub fn on_ready(&self, f: impl FnOnce() + Send + 'static) {
        self.credit.when_ready(Box::new(|| call(f)));
    }

    /// Calls `f` once when the stream ends: the client has closed the connection or its sending half, the
    /// connection was closed by a timeout or by the stop of the server, or the body is complete. If it has
    /// ended, `f` runs at once on this thread, otherwise later on the thread of the worker, where it must not
    /// block. A further call adds another function. A panic in `f` is caught.
    pub fn on_gone(&self, f: impl FnOnce() + Send + 'static) {
        self.leave.when_left(Box::new(|| call(f)));
    }

    pub(super) fn leave(&self) -> Arc<Leave> {
        self.leave.clone()
    }

    /// Bytes that were given to this sender and are unsent. A piece on its way to the worker counts as at
    /// least 64.
    pub fn backlog(&self) -> usize {
        self.credit.ahead()
    }

    /// Whether the client has closed the connection or its sending half.
    pub fn is_gone(&self) -> bool {
        self.credit.is_gone() || self.handle.is_gone(self.id)
    }

    /// Adds a field to the trailer section that ends a chunked body (RFC 9112 section 7.1.2). It is omitted
    /// if the body is not chunked.
    ///
    /// # Errors
    ///
    /// [`SendError::Trailer`] for a malformed name or value, and for a field that must come before the body:
    /// one of framing, routing, control, authentication or content, such as `Content-Type`, `Cache-Control`
    /// or `Set-Cookie` (RFC 9110 section 6.5.1). `Content-Digest` is allowed (RFC 9530 section 2).
    pub fn trailer(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), SendError> {
        let value = value.as_ref();
        let is_free = syntax::is_token(name.as_bytes()) && fields::is_trailer(name);
        if !is_free || !syntax::is_field_value(value) {
            return Err(SendError::Trailer);
        }
        field_block::push(name.as_bytes(), value, &mut self.trailers);
        Ok(())
    }

    /// Ends the body.
    pub fn finish(mut self) -> Result<(), SendError> {
        self.end()
    }

    /// Ends the body, if it has not ended.
    pub(super) fn end(&mut self) -> Result<(), SendError> {
        if self.ended {
            return Err(SendError::Gone);
        }
        self.flush_gathered()?;
        if self.left.is_some_and(|left| left > 0) {
            return Err(SendError::Length);
        }
        if self.credit.is_gone() {
            return Err(SendError::Gone);
        }
        self.ended = true;
        let trailers = std::mem::take(&mut self.trailers).into();
        self.handle.post(WorkerCommand::End(self.id, trailers));
        Ok(())
    }

    fn flush_gathered(&mut self) -> Result<(), SendError> {
        match self.gathered.is_empty() {
            true => Ok(()),
            false => {
                let gathered = std::mem::take(&mut self.gathered);
                self.send_now(gathered.into())
            }
        }
    }

    fn count(&mut self, len: usize) -> Result<(), SendError> {
        let Some(left) = &mut self.left else {
            return Ok(());
        };
        match left.checked_sub(len as u64) {
            Some(rest) => *left = rest,
            None => {
                self.cut();
                return Err(SendError::Length);
            }
        }
        Ok(())
    }

    fn uncount(&mut self, len: usize) {
        if let Some(left) = &mut self.left {
            *left += len as u64;
        }
    }

    fn cut(&mut self) {
        if !self.ended && !self.credit.is_gone() {
            self.handle.post(WorkerCommand::Cut(self.id));
        }
        self.ended = true;
    }
}

impl Drop for BodySender {
    fn drop(&mut self) {
        self.cut();
    }
}

impl io::Write for BodySender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.gathered.len() + bytes.len() > GATHER {
            self.flush_gathered()?;
        }
        match bytes.len() >= GATHER {
            true => self.send_now(bytes.to_vec().into())?,
            false => {
                self.gathered.reserve_exact(GATHER - self.gathered.len());
                self.gathered.extend_from_slice(bytes);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(self.flush_gathered()?)
    }
}

impl std::fmt::Debug for BodySender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BodySender")
            .field("backlog", &self.backlog())
            .field("is_gone", &self.is_gone())
            .finish_non_exhaustive()
    }
}

/// Calls a function of a user about a stream, and contains its panics.
fn call(f: impl FnOnce() + Send + 'static) {
    call_unlocked(|| quietly("a function for the end or the readiness of a stream", f));
}
