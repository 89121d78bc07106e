//! The PROXY protocol of HAProxy, versions 1 and 2.
//!
//! A balancer sends a header before the bytes of its client, which says who the client is.
//!
//! The parser takes the bytes that have arrived, from the beginning of the connection. It never says that bytes after
//! the header belong to it. Whether a header has to come is a setting of the server: bytes are never guessed to be one.

mod crc32c;
#[cfg(test)]
mod tests;
mod tlv;
mod v1;
mod v2;

pub use tlv::{SslClient, Tlv};

use alloc::boxed::Box;
use core::net::SocketAddr;

/// The most bytes of a header that is accepted: 16, addresses, and room for certificates' names in TLVs. The protocol
/// allows 65,551.
pub const MOST_BYTES: usize = 4096;

/// What a complete header says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyHeader {
    /// The address of the client, and the address to which it has connected. `None`: the proxy speaks for itself
    /// (`LOCAL`, as for a health check), or does not know (`UNKNOWN`, `UNSPEC`), or the client has come over a Unix
    /// socket.
    pub addrs: Option<(SocketAddr, SocketAddr)>,
    /// The bytes of the TLVs (type-length-value) of version 2.
    tlvs: Box<[u8]>,
}

/// How far the header has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The header is complete, and is this number of bytes long.
    Complete(ProxyHeader, usize),
    /// All bytes belong to the header, and more of it has to come.
    Partial,
}

/// Why the bytes are not a header. The connection has to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyHeaderError {
    /// The bytes begin with no header of version 1 or 2.
    NoHeader,
    /// A line of version 1 that is malformed, or has no end within 107 bytes.
    Line,
    /// A header of version 2 with an unknown version, command, family or protocol, or addresses that are cut short.
    Binary,
    /// A header of version 2 that is longer than [`MOST_BYTES`].
    TooLong,
    /// A TLV that is cut short, twice there, or has the wrong length.
    Tlv,
    /// The checksum does not fit.
    Checksum,
}

impl core::fmt::Display for ProxyHeaderError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            ProxyHeaderError::NoHeader => "the connection begins without a PROXY header",
            ProxyHeaderError::Line => "the PROXY header of version 1 is malformed",
            ProxyHeaderError::Binary => "the PROXY header of version 2 is malformed",
            ProxyHeaderError::TooLong => "the PROXY header is too long",
            ProxyHeaderError::Tlv => "a TLV of the PROXY header is malformed",
            ProxyHeaderError::Checksum => "the checksum of the PROXY header does not fit",
        })
    }
}

impl core::error::Error for ProxyHeaderError {}

impl ProxyHeader {
    /// Reads a header at the front of `bytes`, which are all that has arrived.
    ///
    /// ```
    /// use peregrine_protocol::proxy_header::{Parsed, ProxyHeader};
    ///
    /// let bytes = b"PROXY TCP4 192.0.2.1 192.0.2.9 56324 443\r\nGET / HTTP/1.1\r\n";
    /// let Ok(Parsed::Complete(header, len)) = ProxyHeader::parse(bytes) else {
    ///     panic!("a header");
    /// };
    /// assert_eq!(header.addrs.expect("known").0.to_string(), "192.0.2.1:56324");
    /// assert!(bytes[len..].starts_with(b"GET "));
    /// ```
    ///
    /// # Errors
    ///
    /// The bytes are not the beginning of a header, or the header breaks a rule.
    pub fn parse(bytes: &[u8]) -> Result<Parsed, ProxyHeaderError> {
        match bytes.first() {
            None => Ok(Parsed::Partial),
            Some(b'P') => v1::parse(bytes),
            Some(_) => v2::parse(bytes),
        }
    }
}
