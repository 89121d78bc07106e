//! DEFLATE (RFC 1951), framed as gzip (RFC 1952) or zlib (RFC 1950). Compression only.

use std::io;
use zlib_rs::{DeflateConfig, DeflateFlush, Status};

/// Room that is made at a time for what comes out.
const ROOM: usize = 8 << 10;

/// The bits of the window of 32 KiB; with 16 more, zlib makes the framing of gzip.
const WINDOW: i32 = 15;

/// Whether more is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    More,
    /// The receiver has to get what is here.
    Flush,
    End,
}

/// The state of one stream. It has 270 KB.
pub(crate) struct Deflate(zlib_rs::Deflate);

impl Deflate {
    /// `level`: from 1 to 9. With `is_gzip` the framing is that of gzip, otherwise that of zlib.
    pub(crate) fn new(level: u32, is_gzip: bool) -> Deflate {
        let config = DeflateConfig {
            window_bits: WINDOW + if is_gzip { 16 } else { 0 },
            level: level.clamp(1, 9) as i32,
            ..DeflateConfig::default()
        };
        Deflate(zlib_rs::Deflate::new_with_config(config))
    }

    /// For another stream of the same level and framing.
    pub(crate) fn reset(&mut self) {
        self.0.reset();
    }

    /// Appends what `piece` becomes.
    pub(crate) fn encode(
        &mut self,
        mut piece: &[u8],
        then: Then,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        let flush = match then {
            Then::More => DeflateFlush::NoFlush,
            Then::Flush => DeflateFlush::SyncFlush,
            Then::End => DeflateFlush::Finish,
        };
        loop {
            let (start, read, written) = (out.len(), self.0.total_in(), self.0.total_out());
            out.resize(start + ROOM, 0);
            let status = self.0.compress(piece, &mut out[start..], flush);
            let written = (self.0.total_out() - written) as usize;
            out.truncate(start + written);
            piece = &piece[(self.0.total_in() - read) as usize..];
            // It has written all that it has if room is left.
            let is_out = piece.is_empty() && written < ROOM;
            match status.map_err(|error| io::Error::other(error.as_str()))? {
                Status::StreamEnd => return Ok(()),
                _ if is_out && then != Then::End => return Ok(()),
                _ if is_out => return Err(io::Error::other("the stream does not end")),
                _ => {}
            }
        }
    }
}

/// All of it in gzip.
#[cfg(feature = "dir")]
pub(crate) fn gzip(bytes: &[u8], level: u32) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    Deflate::new(level, true).encode(bytes, Then::End, &mut out)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    /// Bytes that get smaller, and bytes that do not.
    fn samples() -> Vec<Vec<u8>> {
        let mut random = 1_u64;
        let mut next = || {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 56) as u8
        };
        let lens = [0, 1, 100, ROOM - 1, ROOM, 3 * ROOM + 1, 100_000];
        let texts = lens.map(|len| (0..len).map(|n| b"a text "[n * n % 7]).collect());
        let noise = lens.map(|len| (0..len).map(|_| next()).collect());
        texts.into_iter().chain(noise).collect()
    }

    #[test]
    fn another_decoder_reads_every_level_and_framing() {
        for plain in samples() {
            for level in 0..=10 {
                for is_gzip in [false, true] {
                    let mut state = Deflate::new(level, is_gzip);
                    let mut whole = Vec::new();
                    // The second stream of a state is as the first one.
                    for _ in 0..2 {
                        let mut out = Vec::new();
                        state.encode(&plain, Then::End, &mut out).expect("encoded");
                        let mut read = Vec::new();
                        let decoded = match is_gzip {
                            true => flate2::read::GzDecoder::new(&*out).read_to_end(&mut read),
                            false => flate2::read::ZlibDecoder::new(&*out).read_to_end(&mut read),
                        };
                        assert_eq!(decoded.expect("decoded"), plain.len());
                        assert!(read == plain, "level {level}, {} bytes", plain.len());
                        assert!(whole.is_empty() || whole == out);
                        whole = out;
                        state.reset();
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_flushed_can_be_read_at_once() {
        for plain in samples() {
            let mut state = Deflate::new(2, true);
            let (mut out, mut read) = (Vec::new(), 0);
            for piece in plain.chunks(plain.len().div_ceil(3).max(1)) {
                let (one, rest) = piece.split_at(piece.len() / 2);
                state.encode(one, Then::More, &mut out).expect("encoded");
                state.encode(rest, Then::Flush, &mut out).expect("encoded");
                read += piece.len();
                let mut decoder = flate2::read::GzDecoder::new(&*out);
                let mut shown = vec![0; read];
                decoder
                    .read_exact(&mut shown)
                    .expect("all that was flushed");
                assert!(shown == plain[..read]);
            }
            // Nothing is left to flush.
            state.encode(b"", Then::Flush, &mut out).expect("encoded");
            state.encode(b"", Then::End, &mut out).expect("encoded");
            let mut all = Vec::new();
            let mut decoder = flate2::read::GzDecoder::new(&*out);
            decoder.read_to_end(&mut all).expect("a complete stream");
            assert!(all == plain);
        }
    }
}
