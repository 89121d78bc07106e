//! Compression of messages (RFC 7692).

mod codec;
#[cfg(feature = "deflate")]
mod negotiate;

pub use codec::{Deflate, Deflater, Inflate};
#[cfg(feature = "deflate")]
pub use negotiate::{Agreed, WsDeflate, negotiate};
