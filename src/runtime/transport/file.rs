//! Sends a range of a file.

use super::Transport;
use std::fs::File;
use std::io;

/// What one call may send of a file, and one connection in its turn: others wait meanwhile, for the
/// disk, too. And a socket that is filled to the brim costs more than one that is fed: of a file of
/// 1 MiB to 16 clients at a time, a turn of 16 KiB cost 0.58 of what a plain `write` of it costs, 48
/// and 96 KiB 0.26, 256 KiB 0.87, 1 MiB 1.06.
pub(crate) const FILE_STEP: usize = 96 << 10;

/// The same where it goes through a buffer on the stack.
const COPY_STEP: usize = 64 << 10;

/// Sends by way of a buffer; see [`Transport::send_file`]. What is not taken is read again the next
/// time.
///
/// Never inlined: the compiler touches each page of a stack frame as large as this, and it would
/// do so for every response, 64 instructions and 16 lines of the cache.
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

/// Reads from a place in a file without moving anybody's position in it.
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
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
