//! Frames (RFC 6455 section 5).

#[cfg(feature = "checks")]
#[doc(hidden)]
pub mod check;

use alloc::string::String;
use alloc::vec::Vec;
use std::io::Cursor;
use tungstenite::protocol::frame::FrameHeader;
pub use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

/// The maximum payload of a control frame (RFC 6455 section 5.5).
pub const MAX_CONTROL: usize = 125;

/// The longest header of a frame that a server sends.
pub const MAX_HEADER: usize = 10;

crate::error::errors! {
    /// An error of a WebSocket client. The client gets the [`close_code`](FrameError::close_code), and
    /// the connection ends.
    ///
    /// ```
    /// # use peregrine_protocol::ws::frame::FrameError;
    /// let error = FrameError::Unmasked;
    /// assert_eq!(error.close_code(), 1002);
    /// assert_eq!(error.to_string(), "a frame is not masked");
    /// ```
    FrameError,
    /// The code that the connection is closed with (RFC 6455 section 7.4.1).
    close_code:

    /// A client has to mask (RFC 6455 section 5.1).
    Unmasked = 1002, "a frame is not masked";
    /// A reserved bit is set that no extension uses (RFC 6455 section 5.2).
    ReservedBits = 1002, "a reserved bit is set";
    /// An opcode without a meaning (RFC 6455 section 5.2).
    Opcode = 1002, "unknown opcode";
    /// A length that is not in its shortest form, or has its highest bit set (RFC 6455 section 5.2).
    Length = 1002, "malformed frame length";
    /// A control frame came in fragments (RFC 6455 section 5.5).
    ControlFragmented = 1002, "a control frame is fragmented";
    /// A control frame has more than 125 bytes of payload (RFC 6455 section 5.5).
    ControlTooLong = 1002, "a control frame is too long";
    /// A continuation frame without a message before it (RFC 6455 section 5.4).
    NothingToContinue = 1002, "a continuation of no message";
    /// A new message before the end of the last one (RFC 6455 section 5.4).
    MessageInMessage = 1002, "a message inside a message";
    /// A close frame with half of a code, or with a code that must not be sent (RFC 6455 section 7.4).
    CloseCode = 1002, "malformed close frame";
    /// Text, or the reason of a close, is not UTF-8 (RFC 6455 section 8.1).
    Utf8 = 1007, "text is not UTF-8";
    /// A compressed message cannot be decompressed (RFC 7692 section 7.2.2).
    Deflate = 1007, "malformed compressed message";
    /// A message is longer than [`WsLimits::message_bytes`](super::limits::WsLimits::message_bytes).
    MessageTooLarge = 1009, "message too large";
    /// A frame is longer than [`WsLimits::frame_bytes`](super::limits::WsLimits::frame_bytes).
    FrameTooLarge = 1009, "frame too large";
    /// A message has more pieces than [`WsLimits::fragments`](super::limits::WsLimits::fragments).
    TooManyFragments = 1008, "too many fragments";
    /// More control frames than [`WsLimits::control_frames`](super::limits::WsLimits::control_frames).
    TooManyControlFrames = 1008, "too many control frames";
    /// More messages than [`WsLimits::messages`](super::limits::WsLimits::messages).
    TooManyMessages = 1008, "too many messages";
    /// A message came slower than [`WsLimits::message_rate`](super::limits::WsLimits::message_rate).
    MessageTimeout = 1008, "the message came too slowly";
    /// A message needs more memory while the server holds more than
    /// `Config::buffered_bytes`.
    Overloaded = 1013, "the server is busy";
}

/// A complete message: text or binary.
///
/// ```
/// # use peregrine_protocol::ws::frame::Message;
/// assert_eq!(Message::from("hi"), Message::Text("hi"));
/// assert_eq!(Message::Binary(&[1, 2]).as_bytes(), [1, 2]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Valid UTF-8.
    Text(&'a str),
    /// Any bytes.
    Binary(&'a [u8]),
}

impl<'a> Message<'a> {
    /// The bytes of either kind.
    pub fn as_bytes(&self) -> &'a [u8] {
        match self {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
        }
    }

    /// The text; `None` if it is binary.
    pub fn as_text(&self) -> Option<&'a str> {
        match self {
            Message::Text(text) => Some(text),
            Message::Binary(_) => None,
        }
    }

    /// The kind of the message.
    pub fn data(&self) -> Data {
        match self {
            Message::Text(_) => Data::Text,
            Message::Binary(_) => Data::Binary,
        }
    }
}

impl<'a> From<&'a str> for Message<'a> {
    fn from(text: &'a str) -> Message<'a> {
        Message::Text(text)
    }
}

impl<'a> From<&'a String> for Message<'a> {
    fn from(text: &'a String) -> Message<'a> {
        Message::Text(text)
    }
}

impl<'a> From<&'a [u8]> for Message<'a> {
    fn from(bytes: &'a [u8]) -> Message<'a> {
        Message::Binary(bytes)
    }
}

impl<'a> From<&'a Vec<u8>> for Message<'a> {
    fn from(bytes: &'a Vec<u8>) -> Message<'a> {
        Message::Binary(bytes)
    }
}

/// The header of a client's frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The kind of the frame.
    pub opcode: OpCode,
    /// Whether it is the last frame of its message.
    pub is_final: bool,
    /// Whether it is the first frame of a compressed message (RFC 7692 section 6).
    pub rsv1: bool,
    /// The mask of the payload.
    pub mask: [u8; 4],
    /// Bytes of the payload.
    pub len: u64,
    /// Bytes of the header.
    pub size: usize,
}

/// Reads the header at the front of `bytes`. `None` if it is incomplete. Errors of a header are reported as
/// soon as the necessary bytes have arrived.
pub fn parse(bytes: &[u8]) -> Result<Option<Header>, FrameError> {
    if let [first, second, ..] = *bytes {
        check(first, second)?;
    }
    match short(bytes) {
        None => parse_any(bytes),
        header => Ok(header),
    }
}

/// The header of a frame of up to 125 bytes that has passed `check` and is complete. With the general
/// function, half of the instructions of an echo of small messages were spent here.
#[inline]
fn short(bytes: &[u8]) -> Option<Header> {
    match *bytes {
        [first, second, a, b, c, d, ..] if second & 0x7f < 126 => Some(Header {
            opcode: OpCode::from(first & 0x0f),
            is_final: first & 0x80 != 0,
            rsv1: first & 0x40 != 0,
            mask: [a, b, c, d],
            len: u64::from(second & 0x7f),
            size: 6,
        }),
        _ => None,
    }
}

/// A whole message at the front of received bytes; see [`small`].
pub(super) struct Small {
    /// Text, or binary.
    pub(super) text: bool,
    pub(super) mask: [u8; 4],
    /// Bytes of the payload, which has arrived.
    pub(super) len: usize,
}

impl Small {
    /// Bytes of its header.
    pub(super) const HEADER: usize = 6;
}

/// What most clients send: a message in one frame of up to 125 bytes, not compressed, that has arrived as a whole. `None` for
/// anything else, which [`parse`] reads or refuses.
#[inline]
pub(super) fn small(bytes: &[u8]) -> Option<Small> {
    match *bytes {
        [first @ (0x81 | 0x82), second @ 0x80..=0xfd, a, b, c, d, ..] => {
            let len = usize::from(second & 0x7f);
            (bytes.len() - Small::HEADER >= len).then_some(Small {
                text: first == 0x81,
                mask: [a, b, c, d],
                len,
            })
        }
        _ => None,
    }
}

/// The same as [`parse`] by tungstenite, for every length.
fn parse_any(bytes: &[u8]) -> Result<Option<Header>, FrameError> {
    let mut cursor = Cursor::new(bytes);
    // Its only error is a reserved opcode, which `check` has refused already.
    let Ok(Some((header, len))) = FrameHeader::parse(&mut cursor) else {
        return Ok(None);
    };
    let size = cursor.position() as usize;
    if size != header.len(len) || len >> 63 != 0 {
        return Err(FrameError::Length);
    }
    let Some(mask) = header.mask else {
        return Err(FrameError::Unmasked);
    };
    Ok(Some(Header {
        opcode: header.opcode,
        is_final: header.is_final,
        rsv1: header.rsv1,
        mask,
        len,
        size,
    }))
}

/// Checks the first two bytes.
fn check(first: u8, second: u8) -> Result<(), FrameError> {
    let (opcode, len) = (first & 0x0f, usize::from(second & 0x7f));
    if first & 0x30 != 0 {
        return Err(FrameError::ReservedBits);
    }
    if matches!(opcode, 3..=7 | 11..) {
        return Err(FrameError::Opcode);
    }
    if opcode >= 8 {
        // Extensions leave control frames alone (RFC 7692 section 6.1).
        if first & 0x40 != 0 {
            return Err(FrameError::ReservedBits);
        }
        if first & 0x80 == 0 {
            return Err(FrameError::ControlFragmented);
        }
        if len > MAX_CONTROL {
            return Err(FrameError::ControlTooLong);
        }
    }
    match second & 0x80 {
        0 => Err(FrameError::Unmasked),
        _ => Ok(()),
    }
}

/// Appends the header of an unfragmented frame with `len` bytes of payload.
#[inline]
pub fn write_header(opcode: OpCode, compressed: bool, len: usize, out: &mut Vec<u8>) {
    if len < 126 {
        let first = 0x80 | u8::from(compressed) << 6 | u8::from(opcode);
        return out.extend_from_slice(&[first, len as u8]);
    }
    write_any(opcode, compressed, len, out);
}

/// The same by tungstenite, for every length.
fn write_any(opcode: OpCode, compressed: bool, len: usize, out: &mut Vec<u8>) {
    let header = FrameHeader {
        rsv1: compressed,
        opcode,
        ..FrameHeader::default()
    };
    // A write to a `Vec` cannot fail.
    let _ = header.format(len as u64, out);
}

/// The length of that header.
pub fn header_len(len: usize) -> usize {
    match len {
        0..=125 => 2,
        126..=65535 => 4,
        _ => MAX_HEADER,
    }
}

/// Applies `mask` to a part of a payload that starts `offset` bytes into it (RFC 6455 section 5.3).
///
/// Eight bytes at a time. The compiler turns this into vector instructions of the machine.
#[inline]
pub fn unmask(bytes: &mut [u8], mask: [u8; 4], offset: usize) {
    // In the order of memory, so a shift to the right goes to later bytes of the mask.
    let mask = u32::from_le_bytes(mask).rotate_right(8 * (offset % 4) as u32);
    let word = u64::from(mask) << 32 | u64::from(mask);
    let mut words = bytes.chunks_exact_mut(8);
    for chunk in &mut words {
        let mut eight = [0; 8];
        eight.copy_from_slice(chunk);
        chunk.copy_from_slice(&(u64::from_le_bytes(eight) ^ word).to_le_bytes());
    }
    let mut halves = words.into_remainder().chunks_exact_mut(4);
    for chunk in &mut halves {
        let mut four = [0; 4];
        four.copy_from_slice(chunk);
        chunk.copy_from_slice(&(u32::from_le_bytes(four) ^ mask).to_le_bytes());
    }
    for (byte, mask) in halves.into_remainder().iter_mut().zip(mask.to_le_bytes()) {
        *byte ^= mask;
    }
}

/// The code and the reason of a close frame (RFC 6455 section 5.5.1). `None` without a code.
pub fn parse_close(payload: &[u8]) -> Result<Option<(u16, &str)>, FrameError> {
    match payload {
        [] => Ok(None),
        [_] => Err(FrameError::CloseCode),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !may_close_with(code) {
                return Err(FrameError::CloseCode);
            }
            match core::str::from_utf8(reason) {
                Ok(reason) => Ok(Some((code, reason))),
                Err(_) => Err(FrameError::Utf8),
            }
        }
    }
}

/// Whether an endpoint may send this code (RFC 6455 section 7.4).
pub fn may_close_with(code: u16) -> bool {
    // 1014 (Bad Gateway) has been registered with IANA since.
    code == 1014 || CloseCode::from(code).is_allowed()
}

/// Appends a close frame. A reason that is too long is truncated between two characters.
pub fn write_close(close: Option<(u16, &str)>, out: &mut Vec<u8>) {
    let Some((code, reason)) = close else {
        return write_header(OpCode::Control(Control::Close), false, 0, out);
    };
    let reason = close_reason(reason);
    write_header(
        OpCode::Control(Control::Close),
        false,
        2 + reason.len(),
        out,
    );
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(reason.as_bytes());
}

/// The part of a reason that fits into a close frame after its code (RFC 6455 section 5.5), up to the end of
/// a character.
pub fn close_reason(reason: &str) -> &str {
    let mut len = reason.len().min(MAX_CONTROL - 2);
    while !reason.is_char_boundary(len) {
        len -= 1;
    }
    &reason[..len]
}

#[cfg(test)]
mod tests;
