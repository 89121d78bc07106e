//! Frames (RFC 9113 sections 4 and 6), and PRIORITY_UPDATE (RFC 9218 section 7.1).
//!
//! A frame is read as a whole: a header of [`HEADER`] bytes and at most [`MAX_PAYLOAD`] more. Whether it may come
//! at this moment is not judged here.

use alloc::vec::Vec;
use core::ops::Range;

/// Bytes of a frame header.
pub const HEADER: usize = 9;

/// Bytes of a payload, in both directions: the least that SETTINGS_MAX_FRAME_SIZE can say, and its default.
pub const MAX_PAYLOAD: usize = 16_384;

/// The largest window (RFC 9113 section 6.9.1), and the largest stream identifier.
pub const MAX_31: u32 = (1 << 31) - 1;

pub use crate::http::HTTP2_PREFACE as PREFACE;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const PRIORITY_UPDATE: u8 = 16;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY_FLAG: u8 = 0x20;

/// Why a stream or a connection ends (RFC 9113 section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub u32);

#[allow(missing_docs, reason = "the names of RFC 9113 section 7")]
impl ErrorCode {
    pub const NO_ERROR: ErrorCode = ErrorCode(0);
    pub const PROTOCOL_ERROR: ErrorCode = ErrorCode(1);
    pub const INTERNAL_ERROR: ErrorCode = ErrorCode(2);
    pub const FLOW_CONTROL_ERROR: ErrorCode = ErrorCode(3);
    pub const SETTINGS_TIMEOUT: ErrorCode = ErrorCode(4);
    pub const STREAM_CLOSED: ErrorCode = ErrorCode(5);
    pub const FRAME_SIZE_ERROR: ErrorCode = ErrorCode(6);
    pub const REFUSED_STREAM: ErrorCode = ErrorCode(7);
    pub const CANCEL: ErrorCode = ErrorCode(8);
    pub const COMPRESSION_ERROR: ErrorCode = ErrorCode(9);
    pub const CONNECT_ERROR: ErrorCode = ErrorCode(10);
    pub const ENHANCE_YOUR_CALM: ErrorCode = ErrorCode(11);
    pub const INADEQUATE_SECURITY: ErrorCode = ErrorCode(12);
    pub const HTTP_1_1_REQUIRED: ErrorCode = ErrorCode(13);
}

/// What is wrong with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The connection ends with GOAWAY (RFC 9113 section 5.4.1).
    Connection(ErrorCode, &'static str),
    /// The stream ends with RST_STREAM (RFC 9113 section 5.4.2).
    Stream(u32, ErrorCode, &'static str),
}

/// The first nine bytes (RFC 9113 section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Bytes of the payload.
    pub len: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

/// A frame. Ranges are of its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of RFC 9113 section 6")]
pub enum Frame {
    Data {
        stream: u32,
        data: Range<usize>,
        /// With its padding: what counts for flow control.
        len: usize,
        end_stream: bool,
    },
    Headers {
        stream: u32,
        block: Range<usize>,
        end_headers: bool,
        end_stream: bool,
    },
    /// Deprecated; the contents are not looked at (RFC 9113 section 5.3.2).
    Priority {
        stream: u32,
    },
    Reset {
        stream: u32,
        code: ErrorCode,
    },
    /// [`settings`] has the values.
    Settings,
    SettingsAck,
    Ping {
        data: [u8; 8],
    },
    PingAck {
        data: [u8; 8],
    },
    GoAway {
        last: u32,
        code: ErrorCode,
    },
    /// Of the connection if `stream` is 0.
    WindowUpdate {
        stream: u32,
        increment: u32,
    },
    Continuation {
        stream: u32,
        block: Range<usize>,
        end_headers: bool,
    },
    PriorityUpdate {
        stream: u32,
        value: Range<usize>,
    },
    /// Of a type that is not known, to be ignored (RFC 9113 section 5.5).
    Unknown,
}

fn size(text: &'static str) -> FrameError {
    FrameError::Connection(ErrorCode::FRAME_SIZE_ERROR, text)
}

fn protocol(text: &'static str) -> FrameError {
    FrameError::Connection(ErrorCode::PROTOCOL_ERROR, text)
}

#[inline]
fn number(bytes: &[u8], at: usize) -> u32 {
    let bytes = bytes.get(at..at + 4).and_then(|bytes| bytes.first_chunk());
    u32::from_be_bytes(*bytes.unwrap_or(&[0; 4]))
}

impl FrameHeader {
    /// The header of a frame. The reserved bit is ignored (RFC 9113 section 4.1).
    #[inline]
    pub fn parse(bytes: &[u8; HEADER]) -> FrameHeader {
        let [a, b, c, kind, flags, ..] = *bytes;
        FrameHeader {
            len: usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c),
            kind,
            flags,
            stream: number(bytes, 5) & MAX_31,
        }
    }

    /// It continues a field block.
    #[inline]
    pub fn is_continuation_of(&self, stream: u32) -> bool {
        self.kind == CONTINUATION && self.stream == stream
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The frame with this payload of [`FrameHeader::len`] bytes.
    ///
    /// # Errors
    ///
    /// Those of RFC 9113 section 6 that do not depend on the state of the connection.
    #[inline]
    pub fn frame(&self, payload: &[u8]) -> Result<Frame, FrameError> {
        if self.len > MAX_PAYLOAD {
            return Err(size("a frame is larger than SETTINGS_MAX_FRAME_SIZE"));
        }
        match self.kind {
            HEADERS => self.headers(payload),
            DATA => self.data(payload),
            _ => self.other(payload),
        }
    }

    /// What is between the pad length and the padding.
    fn unpadded(&self, payload: &[u8]) -> Result<Range<usize>, FrameError> {
        if !self.has(PADDED) {
            return Ok(0..payload.len());
        }
        let [pad, rest @ ..] = payload else {
            return Err(size("a padded frame without a pad length"));
        };
        match rest.len().checked_sub(usize::from(*pad)) {
            Some(len) => Ok(1..1 + len),
            None => Err(protocol("more padding than payload")),
        }
    }

    fn data(&self, payload: &[u8]) -> Result<Frame, FrameError> {
        if self.stream == 0 {
            return Err(protocol("DATA on stream 0"));
        }
        Ok(Frame::Data {
            stream: self.stream,
            data: self.unpadded(payload)?,
            len: payload.len(),
            end_stream: self.has(END_STREAM),
        })
    }

    fn headers(&self, payload: &[u8]) -> Result<Frame, FrameError> {
        if self.stream == 0 {
            return Err(protocol("HEADERS on stream 0"));
        }
        let mut block = self.unpadded(payload)?;
        if self.has(PRIORITY_FLAG) {
            // What it says is deprecated (RFC 9113 section 5.3.2).
            block.start += 5;
            if block.start > block.end {
                return Err(size("HEADERS without the priority that is announced"));
            }
        }
        Ok(Frame::Headers {
            stream: self.stream,
            block,
            end_headers: self.has(END_HEADERS),
            end_stream: self.has(END_STREAM),
        })
    }

    fn other(&self, payload: &[u8]) -> Result<Frame, FrameError> {
        let (stream, len) = (self.stream, payload.len());
        let is_of_stream = matches!(self.kind, PRIORITY | RST_STREAM | CONTINUATION);
        let is_of_connection = matches!(self.kind, SETTINGS | PING | GOAWAY | PRIORITY_UPDATE);
        if is_of_stream && stream == 0 {
            return Err(protocol("a frame about a stream on stream 0"));
        }
        if is_of_connection && stream != 0 {
            return Err(protocol("a frame about the connection on a stream"));
        }
        match self.kind {
            PRIORITY if len != 5 => Err(FrameError::Stream(
                stream,
                ErrorCode::FRAME_SIZE_ERROR,
                "PRIORITY is not 5 bytes",
            )),
            PRIORITY => Ok(Frame::Priority { stream }),
            RST_STREAM if len != 4 => Err(size("RST_STREAM is not 4 bytes")),
            RST_STREAM => {
                let code = ErrorCode(number(payload, 0));
                Ok(Frame::Reset { stream, code })
            }
            SETTINGS => self.settings(len),
            PUSH_PROMISE => Err(protocol("PUSH_PROMISE of a client")),
            PING => self.ping(payload),
            GOAWAY if len < 8 => Err(size("GOAWAY is less than 8 bytes")),
            GOAWAY => Ok(Frame::GoAway {
                last: number(payload, 0) & MAX_31,
                code: ErrorCode(number(payload, 4)),
            }),
            WINDOW_UPDATE if len != 4 => Err(size("WINDOW_UPDATE is not 4 bytes")),
            WINDOW_UPDATE => window_update(stream, number(payload, 0) & MAX_31),
            CONTINUATION => Ok(Frame::Continuation {
                stream,
                block: 0..len,
                end_headers: self.has(END_HEADERS),
            }),
            PRIORITY_UPDATE if len < 4 => Err(size("PRIORITY_UPDATE is less than 4 bytes")),
            PRIORITY_UPDATE => match number(payload, 0) & MAX_31 {
                0 => Err(protocol("PRIORITY_UPDATE about stream 0")),
                stream => Ok(Frame::PriorityUpdate {
                    stream,
                    value: 4..len,
                }),
            },
            _ => Ok(Frame::Unknown),
        }
    }

    fn settings(&self, len: usize) -> Result<Frame, FrameError> {
        match self.has(ACK) {
            true if len > 0 => Err(size("SETTINGS with ACK and values")),
            true => Ok(Frame::SettingsAck),
            false if len % 6 > 0 => Err(size("SETTINGS is not a multiple of 6 bytes")),
            false => Ok(Frame::Settings),
        }
    }

    fn ping(&self, payload: &[u8]) -> Result<Frame, FrameError> {
        let data: [u8; 8] = payload
            .try_into()
            .map_err(|_| size("PING is not 8 bytes"))?;
        Ok(match self.has(ACK) {
            true => Frame::PingAck { data },
            false => Frame::Ping { data },
        })
    }
}

fn window_update(stream: u32, increment: u32) -> Result<Frame, FrameError> {
    let text = "WINDOW_UPDATE by nothing";
    match (increment, stream) {
        (0, 0) => Err(protocol(text)),
        (0, _) => Err(FrameError::Stream(stream, ErrorCode::PROTOCOL_ERROR, text)),
        _ => Ok(Frame::WindowUpdate { stream, increment }),
    }
}

/// A setting that means something to a server (RFC 9113 section 6.5.2, RFC 9218 section 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Bytes of the table that our encoder may use.
    HeaderTableSize(u32),
    /// The first window of each stream.
    InitialWindowSize(u32),
    /// Bytes of a payload that may be sent.
    MaxFrameSize(u32),
    /// Any other, with a value that is allowed.
    Other,
}

/// The values of a SETTINGS frame, in order.
pub fn settings(payload: &[u8]) -> impl Iterator<Item = Result<Setting, FrameError>> {
    payload.chunks_exact(6).map(|entry| {
        let value = number(entry, 2);
        match (u16::from_be_bytes([entry[0], entry[1]]), value) {
            (1, _) => Ok(Setting::HeaderTableSize(value)),
            // ENABLE_PUSH, ENABLE_CONNECT_PROTOCOL (RFC 8441), NO_RFC7540_PRIORITIES (RFC 9218).
            (2 | 8 | 9, 2..) => Err(protocol("a setting that is neither 0 nor 1")),
            (4, 0..=MAX_31) => Ok(Setting::InitialWindowSize(value)),
            (4, _) => Err(FrameError::Connection(
                ErrorCode::FLOW_CONTROL_ERROR,
                "SETTINGS_INITIAL_WINDOW_SIZE is too large",
            )),
            (5, 0x4000..=0xff_ffff) => Ok(Setting::MaxFrameSize(value)),
            (5, _) => Err(protocol("SETTINGS_MAX_FRAME_SIZE is out of range")),
            // A limit on our field lists is advice (RFC 9113 section 10.5.1); unknown ones are ignored.
            _ => Ok(Setting::Other),
        }
    })
}

/// Writes frames.
pub mod write {
    use super::*;

    #[inline]
    fn header(len: usize, kind: u8, flags: u8, stream: u32) -> [u8; HEADER] {
        let [_, a, b, c] = (len as u32).to_be_bytes();
        let [w, x, y, z] = stream.to_be_bytes();
        [a, b, c, kind, flags, w, x, y, z]
    }

    /// The header of DATA; the payload follows.
    #[inline]
    pub fn data(len: usize, end_stream: bool, stream: u32, out: &mut Vec<u8>) {
        let flags = if end_stream { END_STREAM } else { 0 };
        out.extend_from_slice(&header(len, DATA, flags, stream));
    }

    /// HEADERS with the block that `block` appends, and CONTINUATION behind it if it is longer than `most`.
    #[inline]
    pub fn headers<T>(
        stream: u32,
        end_stream: bool,
        most: usize,
        out: &mut Vec<u8>,
        block: impl FnOnce(&mut Vec<u8>) -> T,
    ) -> T {
        let start = out.len();
        out.extend_from_slice(&[0; HEADER]);
        let result = block(out);
        let len = out.len() - start - HEADER;
        let end = if end_stream { END_STREAM } else { 0 };
        match len <= most {
            true => {
                let header = header(len, HEADERS, end | END_HEADERS, stream);
                out[start..start + HEADER].copy_from_slice(&header);
            }
            false => continued(stream, end, most, start, out),
        }
        result
    }

    #[cold]
    fn continued(stream: u32, end: u8, most: usize, start: usize, out: &mut Vec<u8>) {
        let block = out.split_off(start + HEADER);
        out.truncate(start);
        let count = block.len().div_ceil(most);
        for (i, fragment) in block.chunks(most).enumerate() {
            let flags = if i + 1 == count { END_HEADERS } else { 0 };
            let (kind, flags) = match i {
                0 => (HEADERS, flags | end),
                _ => (CONTINUATION, flags),
            };
            out.extend_from_slice(&header(fragment.len(), kind, flags, stream));
            out.extend_from_slice(fragment);
        }
    }

    /// SETTINGS, with identifiers and values.
    pub fn settings(values: &[(u16, u32)], out: &mut Vec<u8>) {
        out.extend_from_slice(&header(values.len() * 6, SETTINGS, 0, 0));
        for (identifier, value) in values {
            out.extend_from_slice(&identifier.to_be_bytes());
            out.extend_from_slice(&value.to_be_bytes());
        }
    }

    /// SETTINGS with ACK.
    pub fn settings_ack(out: &mut Vec<u8>) {
        out.extend_from_slice(&header(0, SETTINGS, ACK, 0));
    }

    /// PING, or the response to one.
    pub fn ping(data: [u8; 8], is_ack: bool, out: &mut Vec<u8>) {
        let flags = if is_ack { ACK } else { 0 };
        out.extend_from_slice(&header(8, PING, flags, 0));
        out.extend_from_slice(&data);
    }

    /// RST_STREAM.
    pub fn reset(stream: u32, code: ErrorCode, out: &mut Vec<u8>) {
        out.extend_from_slice(&header(4, RST_STREAM, 0, stream));
        out.extend_from_slice(&code.0.to_be_bytes());
    }

    /// GOAWAY, with what is wrong as debug data.
    pub fn goaway(last: u32, code: ErrorCode, text: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(&header(8 + text.len(), GOAWAY, 0, 0));
        out.extend_from_slice(&last.to_be_bytes());
        out.extend_from_slice(&code.0.to_be_bytes());
        out.extend_from_slice(text.as_bytes());
    }

    /// WINDOW_UPDATE.
    pub fn window_update(stream: u32, increment: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&header(4, WINDOW_UPDATE, 0, stream));
        out.extend_from_slice(&increment.to_be_bytes());
    }
}

#[cfg(test)]
mod tests;
