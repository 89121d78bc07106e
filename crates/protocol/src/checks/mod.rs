//! Properties that unit tests and fuzz targets share (feature `checks`).
//!
//! A check is a function beside the code that it is about: it panics for an input for which what it
//! says does not hold.

mod changes;
mod choices;

pub use changes::Changes;
pub use choices::{Choices, operations};

use crate::limits::Limits;
use std::io::Write as _;
/// What holds for every input: panics where it does not.
pub type Check = fn(&[u8]);

/// Prints the input that a check fails on.
struct OnPanic<'a>(&'a [u8]);

impl Drop for OnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let input = self.0.escape_ascii();
            let _ = writeln!(std::io::stderr(), "the input: b\"{input}\"");
        }
    }
}

/// Checks one input, and prints it if that fails.
pub fn run(check: Check, input: &[u8]) {
    let _on_panic = OnPanic(input);
    check(input);
}

/// The defaults, which inputs of a few KiB hardly reach, and some that they do.
pub fn limits() -> [Limits; 2] {
    let tight = Limits::default()
        .head_bytes(256)
        .target_bytes(32)
        .header_fields(4)
        .body_bytes(64)
        .chunk_extension_bytes(16)
        .requests_per_turn(2)
        .output_bytes(128);
    [Limits::default(), tight]
}

/// Where to split an input: some place of it, always the same one.
pub fn split_of(bytes: &[u8]) -> usize {
    // FNV-1a: taken from all of the input, so that any HTTP is an input as it stands.
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &b| {
        (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash % (bytes.len() as u64 + 1)) as usize
}
