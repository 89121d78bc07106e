//! The protocol's parts for benches and fuzz targets, which see only what is public. Behind a
//! feature and not `cfg(fuzzing)`, as that would leave out benches and whatever checks all features.
//! None of it is part of the API.

use crate::conn::{budget::Budget, http1::Mode, output::Output};
use crate::late::{
    Door,
    pool::{Pool, Size},
};
#[cfg(feature = "websocket")]
use crate::protocol::frame;
use crate::protocol::{Version, chunked, error::ProtocolError, framing, head, limits::Limits};
use crate::response::{Done, Response, Wire};
use std::ops::Range;
use std::sync::Arc;
#[cfg(feature = "dir")]
use std::{fs::File, io, path::Path};

/// The head of a request.
pub struct Head(head::Head);

impl Default for Head {
    fn default() -> Head {
        Head(head::Head::new())
    }
}

impl Head {
    pub fn reset(&mut self) {
        self.0.reset();
    }

    pub fn parse(&mut self, bytes: &[u8], limits: &Limits) -> Result<bool, ProtocolError> {
        self.0.parse(bytes, limits)
    }

    /// Where a complete head ends.
    pub fn end(&self) -> usize {
        self.0.len()
    }

    pub fn version(&self) -> Version {
        self.0.version
    }

    pub fn method<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        self.0.method.of(bytes)
    }

    pub fn target<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        self.0.target.whole.of(bytes)
    }

    /// Names and values.
    pub fn fields<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let fields = self.0.fields().iter();
        fields.map(|field| (field.name.of(bytes), field.value.of(bytes)))
    }

    pub fn framing(&mut self, bytes: &[u8], limits: &Limits) -> Result<Framing, ProtocolError> {
        let framing = framing::decide(&mut self.0, bytes)?;
        Ok(Framing {
            body: framing.body.within(limits.body_bytes as u64)?,
            persistent: framing.persistent,
            expects_continue: framing.expects_continue,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framing {
    /// `None` if it is chunked.
    pub body: Option<u64>,
    pub persistent: bool,
    pub expects_continue: bool,
}

/// Answers as a worker makes them, one at a time.
pub struct Answers(Wire);

impl Default for Answers {
    fn default() -> Answers {
        let size = Size {
            threads: 0,
            queue: 0,
            stack: None,
        };
        let (pool, budget) = (Pool::new(size, || {}), Arc::new(Budget::new(usize::MAX)));
        let door = Door::new(&Limits::default(), pool, budget, || {});
        Answers(Wire::new(Some("peregrine"), Arc::new(door)))
    }
}

impl Answers {
    /// The bytes of an answer to a GET on a connection that persists.
    pub fn answer(&mut self, handler: impl FnOnce(Response<'_>) -> Done) -> &[u8] {
        let start = Output::default().mark();
        self.0.output.truncate(start);
        let _done = handler(self.0.response(Mode::default()));
        self.0.output.since(start)
    }
}

/// The decoder of a chunked body.
pub struct Decoder(chunked::Decoder);

impl Decoder {
    pub fn new(body: usize, limits: &Limits) -> Decoder {
        Decoder(chunked::Decoder::new(body, limits.body_bytes as u64))
    }

    pub fn decode(&mut self, bytes: &mut [u8], limits: &Limits) -> Result<bool, ProtocolError> {
        self.0.decode(bytes, limits)
    }

    pub fn compact(&mut self, bytes: &mut [u8]) -> usize {
        self.0.compact(bytes)
    }

    pub fn body(&self) -> Range<usize> {
        self.0.body()
    }

    pub fn consumed(&self) -> usize {
        self.0.consumed()
    }
}

/// The header of a client's WebSocket frame.
#[cfg(feature = "websocket")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    pub opcode: u8,
    pub is_final: bool,
    pub rsv1: bool,
    pub mask: [u8; 4],
    /// Bytes of the payload.
    pub len: u64,
    /// Bytes of the header.
    pub size: usize,
}

#[cfg(feature = "websocket")]
impl FrameHeader {
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Option<FrameHeader>, frame::FrameError> {
        let header = frame::parse(bytes)?;
        Ok(header.map(|header| FrameHeader {
            opcode: header.opcode.into(),
            is_final: header.is_final,
            rsv1: header.rsv1,
            mask: header.mask,
            len: header.len,
            size: header.size,
        }))
    }

    /// Appends the header of a server's frame of this kind, unfragmented.
    #[inline]
    pub fn write(opcode: u8, rsv1: bool, len: usize, out: &mut Vec<u8>) {
        frame::write_header(frame::OpCode::from(opcode), rsv1, len, out);
    }
}

/// Applies the mask of a frame to a part of its payload that starts `offset` bytes into it.
#[cfg(feature = "websocket")]
pub fn unmask(bytes: &mut [u8], mask: [u8; 4], offset: usize) {
    frame::unmask(bytes, mask, offset);
}

/// The relative path that the path of a request names, if it is one that `DirServer` looks for.
#[cfg(feature = "dir")]
pub fn relative_path(path: &str) -> Option<std::borrow::Cow<'_, [u8]>> {
    crate::dir::relative_path(path)
}

/// What `DirServer` would open for a request path, in every way it can be opened.
#[cfg(feature = "dir")]
pub fn open_every_way(root: &Path, path: &str) -> io::Result<Vec<File>> {
    crate::dir::open_every_way(root, path)
}
