//! Sends a range of a file.

use super::Transport;
use std::fs::File;
use std::io;

/// The most bytes of a file that one call sends, which is also the most of one turn of a connection. Others
/// wait meanwhile, for the disk, too. Filling the socket completely also costs more. For a file of 1 MiB to
/// 16 clients at a time, in multiples of a plain `write`: 16 KiB a turn cost 0.58, 48 and 96 KiB 0.26, 256
/// KiB 0.87, 1 MiB 1.06.
pub(crate) const FILE_STEP: usize = 96 << 10;

/// The same if the bytes go through a buffer on the stack.
const COPY_STEP: usize = 64 << 10;

/// Sends through a buffer; see [`Transport::send_file`]. Bytes that the socket does not take are read again
/// the next time.
///
/// Never inlined: the compiler touches each page of so large a stack frame. If inlined, it would do so for
/// every response, which costs 64 instructions and 16 cache lines.
#[inline(never)]
pub(super) fn copy(
    to: &mut impl Transport,
    file: &File,
    offset: u64,
    most: usize,
) -> (io::Result<usize>, usize) {
    let mut buffer = [0; COPY_STEP];
    let most = most.min(COPY_STEP);
    match read_at(file, &mut buffer[..most], offset) {
        Ok(0) => (Ok(0), most),
        Ok(n) => (to.write(&buffer[..n]), n),
        Err(error) => (Err(error), most),
    }
}

/// Reads at an offset, without changing the position of the file.
pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        #[cfg(unix)]
        let read = std::os::unix::fs::FileExt::read_at(file, buffer, offset);
        #[cfg(windows)]
        let read = std::os::windows::fs::FileExt::seek_read(file, buffer, offset);
        match read {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}
