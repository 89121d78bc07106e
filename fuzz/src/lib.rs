//! What holds for every input: one module per property, each with a `check` that panics where it
//! does not.
//!
//! cargo-fuzz calls the checks with inputs it makes up, and the library's `cargo test`, which takes
//! this file in as a module, with the seeds and a fixed row of changes to them. So `super` and
//! `peregrine` are the only roots of paths here.

pub mod changes;
pub mod chunked;
pub mod connection;
#[cfg(feature = "dir")]
pub mod dir;
#[cfg(feature = "websocket")]
pub mod frame;
pub mod framing;
pub mod head;
pub mod late;
#[cfg(feature = "multipart")]
pub mod multipart;
pub mod response;
pub mod seeds;
pub mod target;
#[cfg(feature = "websocket")]
pub mod websocket;

mod answers;
mod source;
#[cfg(test)]
mod tests;

use peregrine::Limits;

/// What holds for every input: panics where it does not.
pub type Check = fn(&[u8]);

/// All of them.
pub const CHECKS: &[(&str, Check)] = &[
    ("head", head::check),
    ("framing", framing::check),
    ("chunked", chunked::check),
    ("connection", connection::check),
    ("late", late::check),
    ("response", response::check),
    ("target", target::check),
    #[cfg(feature = "dir")]
    ("dir", dir::check),
    #[cfg(feature = "websocket")]
    ("frame", frame::check),
    #[cfg(feature = "websocket")]
    ("websocket", websocket::check),
    #[cfg(feature = "deflate")]
    ("deflate", websocket::check_deflate),
    #[cfg(feature = "multipart")]
    ("multipart", multipart::check),
];

/// Prints the input that a check fails on.
struct OnPanic<'a>(&'a [u8]);

impl Drop for OnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the input: b\"{}\"", self.0.escape_ascii());
        }
    }
}

/// Checks one input, and prints it if that fails.
pub fn run(check: Check, input: &[u8]) {
    let _on_panic = OnPanic(input);
    check(input);
}

/// The defaults, which inputs of a few KiB hardly reach, and some that they do.
fn limits() -> [Limits; 2] {
    let tight = Limits {
        head_bytes: 256,
        target_bytes: 32,
        header_fields: 4,
        body_bytes: 64,
        chunk_extension_bytes: 16,
        requests_per_turn: 2,
        output_bytes: 128,
        ..Limits::default()
    };
    [Limits::default(), tight]
}

/// Where to split an input: some place of it, always the same one.
fn split_of(bytes: &[u8]) -> usize {
    // FNV-1a: taken from all of the input, so that any HTTP is an input as it stands.
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &b| {
        (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash % (bytes.len() as u64 + 1)) as usize
}
