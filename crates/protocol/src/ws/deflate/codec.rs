//! Compresses and decompresses messages (RFC 7692 section 7.2).

#[cfg(feature = "deflate")]
pub use on::*;

#[cfg(not(feature = "deflate"))]
pub use off::*;

#[cfg(not(feature = "deflate"))]
mod off {
    #![allow(missing_docs, reason = "as those of `on`")]

    use crate::payload::Payload;
    use crate::ws::frame::FrameError;
    use crate::ws::prepared::PreparedMessage;
    use alloc::vec::Vec;

    pub enum Deflate {}

    #[derive(Default)]
    pub struct Deflater {}

    impl Deflater {
        pub fn message(&mut self, deflate: &mut Deflate, _: &[u8]) -> Option<Vec<u8>> {
            match *deflate {}
        }

        pub fn prepared(&mut self, deflate: &mut Deflate, _: &PreparedMessage) -> Payload {
            match *deflate {}
        }

        pub fn give(&mut self, _: Vec<u8>) {}
    }

    #[derive(Default)]
    pub struct Inflate {}

    impl Inflate {
        pub fn message(
            &mut self,
            deflate: &mut Deflate,
            _: &[u8],
            _: usize,
        ) -> Result<&[u8], FrameError> {
            match *deflate {}
        }

        pub fn trim(&mut self) {}
    }
}

#[cfg(feature = "deflate")]
mod on {
    use crate::payload::Payload;
    use crate::ws::deflate::{Agreed, WsDeflate};
    use crate::ws::frame::FrameError;
    use crate::ws::prepared::PreparedMessage;
    use alloc::vec::Vec;
    use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

    /// The end of a compressed message, which is omitted (RFC 7692 section 7.2.1).
    const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

    /// The size of a buffer that is kept between messages.
    const KEEP: usize = 256 << 10;

    /// The negotiated parameters of a connection, and its own windows.
    pub struct Deflate {
        agreed: Agreed,
        config: WsDeflate,
        compress: Option<Compress>,
        decompress: Option<Decompress>,
    }

    impl Deflate {
        /// The compression of a connection with these parameters.
        pub fn new(agreed: Agreed, config: WsDeflate) -> Deflate {
            Deflate {
                agreed,
                config,
                compress: None,
                decompress: None,
            }
        }

        fn level(&self) -> Compression {
            Compression::new(u32::from(self.config.level.min(9)))
        }

        /// The compressor cannot be told to use a smaller window, so a message is compressed in
        /// pieces of that size, none of which refers to what was before it.
        fn has_small_window(&self) -> bool {
            self.agreed.server_bits < 15
        }
    }

    /// The compressor of one thread.
    #[derive(Default)]
    pub struct Deflater {
        /// The compressor, with its level.
        shared: Option<(Compression, Compress)>,
        spare: Vec<u8>,
    }

    impl Deflater {
        /// The compressed message. `None` if the message is too small or would not become smaller.
        pub fn message(&mut self, deflate: &mut Deflate, bytes: &[u8]) -> Option<Vec<u8>> {
            if bytes.len() < deflate.config.threshold.max(1) {
                return None;
            }
            let mut out = core::mem::take(&mut self.spare);
            let level = deflate.level();
            let piece = match deflate.has_small_window() {
                true => 1 << deflate.agreed.server_bits,
                false => bytes.len(),
            };
            let small = deflate.has_small_window();
            let good = match deflate.agreed.server_takeover {
                true => {
                    let make = || Compress::new(level, false);
                    let compress = deflate.compress.get_or_insert_with(make);
                    let good = run(compress, bytes, piece, small, &mut out);
                    // A message that is sent uncompressed is not in the window of the client.
                    if !good {
                        compress.reset();
                    }
                    good
                }
                false => {
                    let compress = self.shared(level);
                    compress.reset();
                    run(compress, bytes, piece, small, &mut out)
                }
            };
            if good {
                return Some(out);
            }
            self.give(out);
            None
        }

        /// The frame of a message that goes to several clients. It refers to nothing before it.
        pub fn prepared(&mut self, deflate: &mut Deflate, message: &PreparedMessage) -> Payload {
            if message.len() < deflate.config.threshold.max(1) || deflate.has_small_window() {
                return message.plain();
            }
            let level = deflate.level();
            let deflated = message.deflated(|bytes| {
                let compress = self.shared(level);
                compress.reset();
                let mut out = Vec::new();
                run(compress, bytes, bytes.len(), false, &mut out).then_some(out)
            });
            let Some(deflated) = deflated else {
                return message.plain();
            };
            // It is in the window of the client now, and not in ours.
            if let Some(compress) = &mut deflate.compress {
                compress.reset();
            }
            deflated
        }

        /// Takes a buffer back.
        pub fn give(&mut self, mut buffer: Vec<u8>) {
            buffer.clear();
            buffer.shrink_to(KEEP);
            self.spare = buffer;
        }

        fn shared(&mut self, level: Compression) -> &mut Compress {
            if self.shared.as_ref().is_some_and(|(made, _)| *made != level) {
                self.shared = None;
            }
            let make = || (level, Compress::new(level, false));
            &mut self.shared.get_or_insert_with(make).1
        }
    }

    /// Compresses `bytes` in pieces. False if the result is not smaller, or on an error.
    fn run(
        compress: &mut Compress,
        bytes: &[u8],
        piece: usize,
        independent: bool,
        out: &mut Vec<u8>,
    ) -> bool {
        out.clear();
        for part in bytes.chunks(piece) {
            let flush = match independent {
                true => FlushCompress::Full,
                false => FlushCompress::Sync,
            };
            let mut rest = part;
            loop {
                out.reserve(rest.len() + rest.len() / 8 + 64);
                let before = compress.total_in();
                if compress.compress_vec(rest, out, flush).is_err() {
                    return false;
                }
                rest = &rest[(compress.total_in() - before) as usize..];
                if rest.is_empty() && out.len() < out.capacity() {
                    break;
                }
            }
        }
        if !out.ends_with(&TAIL) {
            return false;
        }
        out.truncate(out.len() - TAIL.len());
        out.len() < bytes.len()
    }

    /// The decompressor of one thread, and its output buffer.
    #[derive(Default)]
    pub struct Inflate {
        shared: Option<Decompress>,
        out: Vec<u8>,
    }

    impl Inflate {
        /// Inflates a message of at most `most` bytes.
        pub fn message(
            &mut self,
            deflate: &mut Deflate,
            bytes: &[u8],
            most: usize,
        ) -> Result<&[u8], FrameError> {
            let make = || Decompress::new(false);
            let decompress = match deflate.agreed.client_takeover {
                true => deflate.decompress.get_or_insert_with(make),
                false => {
                    let decompress = self.shared.get_or_insert_with(make);
                    decompress.reset(false);
                    decompress
                }
            };
            self.out.clear();
            if !inflate(decompress, bytes, most, &mut self.out)? {
                inflate(decompress, &TAIL, most, &mut self.out)?;
            }
            Ok(&self.out)
        }

        /// Gives back the memory of a large message.
        pub fn trim(&mut self) {
            self.out.clear();
            self.out.shrink_to(KEEP);
        }
    }

    /// Inflates a piece of a message. True if it ended with a final block. That is allowed (RFC 7692 section
    /// 7.2.3.4) although it is not needed. Later bytes cannot refer to data before it.
    fn inflate(
        decompress: &mut Decompress,
        bytes: &[u8],
        most: usize,
        out: &mut Vec<u8>,
    ) -> Result<bool, FrameError> {
        let mut rest = bytes;
        loop {
            if out.len() == out.capacity() {
                // One byte more than allowed shows that there is more.
                let more = out.len().max(4096).min(most.saturating_add(1) - out.len());
                out.reserve_exact(more);
            }
            let (read, wrote) = (decompress.total_in(), out.len());
            let status = decompress
                .decompress_vec(rest, out, FlushDecompress::Sync)
                .map_err(|_| FrameError::Deflate)?;
            rest = &rest[(decompress.total_in() - read) as usize..];
            if out.len() > most {
                return Err(FrameError::MessageTooLarge);
            }
            let progress = decompress.total_in() > read || out.len() > wrote;
            match status {
                Status::StreamEnd => {
                    decompress.reset(false);
                    if rest.is_empty() {
                        return Ok(true);
                    }
                }
                _ if rest.is_empty() && out.len() < out.capacity() => return Ok(false),
                _ if !progress && out.len() < out.capacity() => return Err(FrameError::Deflate),
                _ => {}
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::super::on::*;
        use crate::ws::deflate::negotiate;

        fn pair(offer: &str, dedicated_windows: bool) -> Deflate {
            let config = WsDeflate::default()
                .dedicated_windows(dedicated_windows)
                .threshold(0);
            let agreed = negotiate([offer.as_bytes()].into_iter(), &config).expect("acceptable");
            Deflate::new(agreed, config)
        }

        fn samples() -> Vec<Vec<u8>> {
            let mut random = 7u32;
            let mut noise = |n: usize| -> Vec<u8> {
                let mut next = || {
                    random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (random >> 24) as u8
                };
                (0..n).map(|_| next() & 0x0f).collect()
            };
            let mut samples: Vec<Vec<u8>> = [1, 2, 10, 255, 256, 257, 4096, 32768, 70_000]
                .into_iter()
                .map(&mut noise)
                .collect();
            samples.push(b"all the same ".repeat(5000));
            samples.push(samples[4].clone());
            samples
        }

        /// flate2 decompresses the messages that this module compresses, with every window that a client may
        /// request.
        #[test]
        #[cfg_attr(miri, ignore = "takes hours, in a dependency without `unsafe`")]
        fn what_is_compressed_can_be_read() {
            for dedicated in [false, true] {
                for bits in 8..=15 {
                    let offer = format!("permessage-deflate; server_max_window_bits={bits}");
                    let mut ours = pair(&offer, dedicated);
                    let mut deflater = Deflater::default();
                    let mut naive = Decompress::new(false);
                    for sample in samples().iter().chain(&samples()) {
                        let Some(mut bytes) = deflater.message(&mut ours, sample) else {
                            continue;
                        };
                        bytes.extend_from_slice(&TAIL);
                        let mut plain = Vec::with_capacity(sample.len() + 100);
                        if !ours.agreed.server_takeover {
                            naive.reset(false);
                        }
                        naive
                            .decompress_vec(&bytes, &mut plain, FlushDecompress::Sync)
                            .expect("good");
                        assert!(plain == *sample, "{bits} {}", sample.len());
                    }
                }
            }
        }

        #[test]
        #[cfg_attr(miri, ignore = "takes hours, in a dependency without `unsafe`")]
        fn what_others_compress_can_be_read() {
            for dedicated in [false, true] {
                let mut ours = pair("permessage-deflate", dedicated);
                let mut inflate = Inflate::default();
                let mut naive = Compress::new(Compression::best(), false);
                for sample in samples() {
                    if !dedicated {
                        naive.reset();
                    }
                    let mut bytes = Vec::with_capacity(2 * sample.len() + 100);
                    naive
                        .compress_vec(&sample, &mut bytes, FlushCompress::Sync)
                        .expect("good");
                    bytes.truncate(bytes.len() - TAIL.len());
                    let len = sample.len();
                    assert!(inflate.message(&mut ours, &bytes, len) == Ok(&sample));
                    if !dedicated {
                        let more = inflate.message(&mut ours, &bytes, len - 1);
                        assert_eq!(more.map(<[u8]>::len), Err(FrameError::MessageTooLarge));
                    }
                }
            }
        }

        /// RFC 7692 section 7.2.3.
        #[test]
        fn the_examples_of_the_rfc() {
            let examples: [&[u8]; 4] = [
                &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00],
                &[
                    0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00,
                ],
                &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
                &[
                    0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00,
                ],
            ];
            for dedicated in [false, true] {
                let mut ours = pair("permessage-deflate", dedicated);
                let mut inflate = Inflate::default();
                for (n, example) in examples.iter().enumerate() {
                    let got = inflate.message(&mut ours, example, 5);
                    assert_eq!(got, Ok(&b"Hello"[..]), "{n}");
                }
                assert!(inflate.message(&mut ours, &[0xff, 0xff], 9).is_err());
            }
        }
    }
}
