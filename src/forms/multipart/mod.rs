//! `multipart/form-data` (RFC 7578) as a push parser: bytes in, parts out.
//!
//! The module does not know the source of the bytes or the use of the parts: no sockets, files, threads or
//! handlers. `upload` keeps parts.
//!
//! Invariants:
//!
//! - The outcome depends on the bytes, never on the pieces in which they come: the same calls, the same
//!   error, the same data before it.
//! - Between two pieces the parser keeps a number, not bytes: how much of the delimiter it has seen. It
//!   buffers only an incomplete header line.
//! - No byte is read more than twice.

mod boundary;
#[cfg(any(test, feature = "internals"))]
pub(crate) mod check;
mod error;
mod header;
mod limits;
mod parser;
#[cfg(test)]
mod tests;

pub use error::MultipartError;
pub use header::PartHead;
pub use limits::MultipartLimits;
pub use parser::{Multipart, PartSink};
