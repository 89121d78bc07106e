//! The output buffer with file segments.

use peregrine_protocol::write_buf;
pub(crate) use peregrine_protocol::write_buf::{MAX_SLICES, Mark, Watcher};
use std::fs::File;
use std::sync::Arc;

pub(crate) type Detached = write_buf::Detached<FilePart>;
pub(crate) type Segment<'a> = write_buf::Segment<'a, FilePart>;
pub(crate) type Piece<'a> = write_buf::unsent::Piece<'a, FilePart>;
pub(crate) type Output = write_buf::WriteBuf<FilePart>;

/// A range of a file that is sent without a copy.
#[derive(Clone, Debug)]
pub(crate) struct FilePart {
    pub(crate) file: Arc<File>,
    pub(crate) offset: u64,
}

#[cfg(feature = "http2")]
impl peregrine_protocol::h2::Part for FilePart {
    fn part(&self, from: u64, _len: u64) -> FilePart {
        FilePart {
            file: self.file.clone(),
            offset: self.offset + from,
        }
    }
}
