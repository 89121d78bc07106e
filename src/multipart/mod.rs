//! `multipart/form-data` (RFC 7578) as a push parser: bytes in, parts out.
//!
//! Nothing here knows where bytes come from or where parts go: no sockets, files, threads or
//! handlers. `upload` is what keeps parts.
//!
//! Invariants:
//!
//! - The outcome depends on the bytes, never on how they were cut into pieces: the same calls, the
//!   same error, the same data before it.
//! - What is held back between two pieces is a number, not bytes: how much of the delimiter has been
//!   seen. Only the header line that is under way is buffered.
//! - No byte is looked at more than twice.

mod boundary;
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
