//! Encoders of content codings (RFC 9110 section 8.4.1). The state of one is large, so each thread keeps a few.

use super::CompressConfig;
use crate::http::content_coding::Coding;
use crate::http::deferred::streamed_body::BodyEncoder;
use crate::shared::deflate::{Deflate, Then};
use crate::shared::quota::Held;
use std::cell::RefCell;
use std::io;

/// States that a thread keeps.
const KEPT: usize = 4;

/// Room that is made at a time for what comes out of an encoder.
#[cfg(feature = "zstd")]
const ROOM: usize = 8 << 10;

pub(super) struct Encoder {
    state: State,
}

enum State {
    Deflate(DeflateState),
    #[cfg(feature = "brotli")]
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    #[cfg(feature = "zstd")]
    Zstd(Option<ZstdState>),
}

struct DeflateState {
    state: Option<Deflate>,
    level: u32,
    is_gzip: bool,
}

thread_local! {
    /// States of DEFLATE by level, and whether they have the framing of gzip.
    static DEFLATE: RefCell<Vec<(u32, bool, Deflate)>> = const { RefCell::new(Vec::new()) };
}

impl Encoder {
    /// The codings of this build, in the order of preference at equal weights: by size for the CPU time.
    pub(super) const CODINGS: &[Coding] = &[
        #[cfg(feature = "zstd")]
        Coding::Zstd,
        #[cfg(feature = "brotli")]
        Coding::Brotli,
        Coding::Gzip,
        Coding::Deflate,
    ];

    /// An encoder for one of [`Encoder::CODINGS`].
    pub(super) fn new(coding: Coding, config: &CompressConfig) -> Encoder {
        let state = match coding {
            #[cfg(feature = "brotli")]
            Coding::Brotli => {
                let quality = config.brotli_quality.min(11);
                let writer = brotli::CompressorWriter::new(Vec::new(), 4096, quality, 18);
                State::Brotli(Box::new(writer))
            }
            #[cfg(feature = "zstd")]
            Coding::Zstd => State::Zstd(Some(ZstdState::take(config.zstd_level.clamp(1, 19)))),
            coding => State::Deflate(DeflateState::take(coding == Coding::Gzip, config)),
        };
        Encoder { state }
    }

    /// Compresses a complete body.
    pub(super) fn whole(mut self, pieces: &[&[u8]]) -> io::Result<Vec<u8>> {
        let len: usize = pieces.iter().map(|piece| piece.len()).sum();
        let mut out = Vec::with_capacity(len / 4 + 64);
        for piece in pieces {
            self.encode(piece, Then::More, &mut out)?;
        }
        self.encode(b"", Then::End, &mut out)?;
        out.shrink_to_fit();
        Ok(out)
    }

    fn encode(&mut self, piece: &[u8], then: Then, out: &mut Vec<u8>) -> io::Result<()> {
        match &mut self.state {
            State::Deflate(deflate) => deflate.encode(piece, then, out),
            #[cfg(feature = "brotli")]
            State::Brotli(writer) => {
                use std::io::Write as _;
                writer.write_all(piece)?;
                if then == Then::End {
                    let empty = brotli::CompressorWriter::new(Vec::new(), 0, 0, 10);
                    out.append(&mut std::mem::replace(&mut **writer, empty).into_inner());
                    return Ok(());
                }
                if then == Then::Flush {
                    writer.flush()?;
                }
                out.append(writer.get_mut());
                Ok(())
            }
            #[cfg(feature = "zstd")]
            State::Zstd(state) => match state {
                Some(state) => state.encode(piece, then, out),
                None => Ok(()),
            },
        }
    }
}

impl DeflateState {
    fn take(is_gzip: bool, config: &CompressConfig) -> DeflateState {
        let level = config.gzip_level.clamp(1, 9);
        let kept = DEFLATE.with_borrow_mut(|kept| {
            let mut all = kept.iter();
            let at = all.position(|(other, gzip, _)| (*other, *gzip) == (level, is_gzip))?;
            Some(kept.swap_remove(at).2)
        });
        DeflateState {
            state: Some(kept.unwrap_or_else(|| Deflate::new(level, is_gzip))),
            level,
            is_gzip,
        }
    }

    fn encode(&mut self, piece: &[u8], then: Then, out: &mut Vec<u8>) -> io::Result<()> {
        match &mut self.state {
            Some(state) => state.encode(piece, then, out),
            None => Ok(()),
        }
    }
}

impl Drop for DeflateState {
    fn drop(&mut self) {
        let Some(mut state) = self.state.take() else {
            return;
        };
        state.reset();
        // A thread that ends keeps nothing.
        let _ = DEFLATE.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            if kept.len() < KEPT {
                kept.push((self.level, self.is_gzip, state));
            }
        });
    }
}

#[cfg(feature = "zstd")]
struct ZstdState {
    state: Option<zstd::stream::raw::Encoder<'static>>,
    level: i32,
}

#[cfg(feature = "zstd")]
thread_local! {
    /// States of Zstandard, by level.
    static ZSTD: RefCell<Vec<(i32, zstd::stream::raw::Encoder<'static>)>> =
        const { RefCell::new(Vec::new()) };
}

#[cfg(feature = "zstd")]
impl ZstdState {
    fn take(level: i32) -> ZstdState {
        let kept = ZSTD.with_borrow_mut(|kept| {
            let at = kept.iter().position(|(other, _)| *other == level)?;
            Some(kept.swap_remove(at).1)
        });
        let state = kept.or_else(|| zstd::stream::raw::Encoder::new(level).ok());
        ZstdState { state, level }
    }

    fn encode(&mut self, mut piece: &[u8], then: Then, out: &mut Vec<u8>) -> io::Result<()> {
        use zstd::stream::raw::{InBuffer, Operation as _, OutBuffer};
        let failed = || io::Error::other("no state of Zstandard");
        let state = self.state.as_mut().ok_or_else(failed)?;
        let mut room = [0; ROOM];
        while !piece.is_empty() {
            let mut input = InBuffer::around(piece);
            let mut output = OutBuffer::around(&mut room[..]);
            state.run(&mut input, &mut output)?;
            out.extend_from_slice(output.as_slice());
            piece = &piece[input.pos()..];
        }
        loop {
            let mut output = OutBuffer::around(&mut room[..]);
            let left = match then {
                Then::More => return Ok(()),
                Then::Flush => state.flush(&mut output)?,
                Then::End => state.finish(&mut output, true)?,
            };
            out.extend_from_slice(output.as_slice());
            if left == 0 {
                return Ok(());
            }
        }
    }
}

#[cfg(feature = "zstd")]
impl Drop for ZstdState {
    fn drop(&mut self) {
        use zstd::stream::raw::Operation as _;
        let Some(mut state) = self.state.take() else {
            return;
        };
        if state.reinit().is_ok() {
            // A thread that ends keeps nothing.
            let _ = ZSTD.try_with(|kept| {
                let mut kept = kept.borrow_mut();
                if kept.len() < KEPT {
                    kept.push((self.level, state));
                }
            });
        }
    }
}

/// The encoder of a body in pieces.
pub(super) struct StreamEncoder {
    encoder: Encoder,
    _place: Held,
}

impl StreamEncoder {
    pub(super) fn new(encoder: Encoder, place: Held) -> StreamEncoder {
        StreamEncoder {
            encoder,
            _place: place,
        }
    }
}

impl BodyEncoder for StreamEncoder {
    fn encode(&mut self, piece: &[u8], flush: bool, out: &mut Vec<u8>) -> io::Result<()> {
        let then = if flush { Then::Flush } else { Then::More };
        self.encoder.encode(piece, then, out)
    }

    fn end(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        self.encoder.encode(b"", Then::End, out)
    }
}
