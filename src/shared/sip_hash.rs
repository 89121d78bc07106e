//! SipHash (Aumasson and Bernstein, 2012).
//!
//! [`SipHash`] is SipHash-2-4 with 128 bits. Its results are the same in every release and on every machine, as the hashes of the
//! standard library are not. With a key that is known it finds out whether two texts differ, but is no protection against someone who
//! looks for two texts with the same hash. [`RandomKey`] is SipHash-1-3 for maps, as that of the standard library, with half of its
//! instructions for one short key.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Hashes bytes that come in pieces.
pub(crate) struct SipHash {
    v: [u64; 4],
    /// Bytes that are no word yet, the first one lowest.
    rest: u64,
    rest_len: u32,
    /// Of all bytes, the lowest eight bits.
    len: u8,
}

impl SipHash {
    pub(crate) fn new(key: [u64; 2]) -> SipHash {
        let [k0, k1] = key;
        SipHash {
            v: [
                k0 ^ 0x736f_6d65_7073_6575,
                k1 ^ 0x646f_7261_6e64_6f6d ^ 0xee,
                k0 ^ 0x6c79_6765_6e65_7261,
                k1 ^ 0x7465_6462_7974_6573,
            ],
            rest: 0,
            rest_len: 0,
            len: 0,
        }
    }

    pub(crate) fn write(&mut self, mut bytes: &[u8]) {
        self.len = self.len.wrapping_add(bytes.len() as u8);
        while self.rest_len > 0 {
            let Some((first, rest)) = bytes.split_first() else {
                return;
            };
            self.push(*first);
            bytes = rest;
        }
        let mut words = bytes.chunks_exact(8);
        for word in words.by_ref() {
            self.word(u64::from_le_bytes(word.try_into().unwrap_or_default()));
        }
        words.remainder().iter().for_each(|byte| self.push(*byte));
    }

    pub(crate) fn finish(mut self) -> u128 {
        let last = self.rest | u64::from(self.len) << 56;
        self.word(last);
        let half = |v: &mut [u64; 4], change: u64| {
            v[if change == 0xee { 2 } else { 1 }] ^= change;
            (0..4).for_each(|_| round(v));
            u128::from(v[0] ^ v[1] ^ v[2] ^ v[3])
        };
        let low = half(&mut self.v, 0xee);
        low | half(&mut self.v, 0xdd) << 64
    }

    fn push(&mut self, byte: u8) {
        self.rest |= u64::from(byte) << (8 * self.rest_len);
        self.rest_len += 1;
        if self.rest_len == 8 {
            let word = self.rest;
            (self.rest, self.rest_len) = (0, 0);
            self.word(word);
        }
    }

    #[inline]
    fn word(&mut self, word: u64) {
        self.v[3] ^= word;
        round(&mut self.v);
        round(&mut self.v);
        self.v[0] ^= word;
    }
}

/// A random key for the hashes of one map, so that clients cannot choose keys with the same hash.
#[derive(Debug)]
pub(crate) struct RandomKey([u64; 2]);

impl Default for RandomKey {
    fn default() -> RandomKey {
        let random = RandomState::new();
        RandomKey([0_u8, 1].map(|half| random.hash_one(half)))
    }
}

impl BuildHasher for RandomKey {
    type Hasher = OneText;

    #[inline]
    fn build_hasher(&self) -> OneText {
        OneText(self.0, 0)
    }
}

/// Hashes one text. Its length is part of the hash in any case, so a prefix with it is ignored.
pub(crate) struct OneText([u64; 2], u64);

impl Hasher for OneText {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let [k0, k1] = self.0;
        // What was written before becomes a part of the key.
        let mut v = [
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ self.1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ self.1 ^ 0x7465_6462_7974_6573,
        ];
        let mut step = |word: u64| {
            v[3] ^= word;
            round(&mut v);
            v[0] ^= word;
        };
        let mut words = bytes.chunks_exact(8);
        for word in words.by_ref() {
            step(u64::from_le_bytes(word.try_into().unwrap_or_default()));
        }
        step(last_word(bytes, words.remainder()));
        v[2] ^= 0xff;
        (0..3).for_each(|_| round(&mut v));
        self.1 = v[0] ^ v[1] ^ v[2] ^ v[3];
    }

    #[inline]
    fn write_usize(&mut self, _: usize) {}

    #[inline]
    fn finish(&self) -> u64 {
        self.1
    }
}

/// The bytes that are no word, and the lowest eight bits of the length above them. The last eight bytes are read at once if there
/// are so many: a copy of a few bytes is a call.
#[inline(always)]
fn last_word(bytes: &[u8], rest: &[u8]) -> u64 {
    let rest = match bytes.last_chunk() {
        // Two shifts, as one by 64 bits is none.
        Some(last) => u64::from_le_bytes(*last) >> 8 >> (56 - 8 * rest.len()),
        None => {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            u64::from_le_bytes(last)
        }
    };
    rest | (bytes.len() as u64) << 56
}

#[inline(always)]
fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[2] = v[2].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[1]);
    v[0] = v[0].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The standard library has SipHash-1-3 with the key 0 as `DefaultHasher::new`.
    #[test]
    fn hashes_of_maps_are_those_of_the_standard_library() {
        for len in 0..100_u8 {
            let bytes: Vec<u8> = (0..len).collect();
            let mut theirs = std::hash::DefaultHasher::new();
            theirs.write(&bytes);
            let mut own = RandomKey([0, 0]).build_hasher();
            own.write(&bytes);
            assert_eq!(own.finish(), theirs.finish(), "{len}");
        }
        let two = [RandomKey::default(), RandomKey::default()];
        assert_ne!(two[0].hash_one([1_u8]), two[1].hash_one([1_u8]));
    }

    /// Results of another implementation (OpenSSL), for the bytes 0, 1, 2 and so on with the key of the reference. They are
    /// written as the bytes of the hash.
    #[test]
    fn hashes_are_those_of_the_reference_however_the_bytes_come() {
        let key = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        for (len, expected) in [
            (0, "a3817f04ba25a8e66df67214c7550293"),
            (1, "da87c1d86b99af44347659119b22fc45"),
            (7, "a1f1ebbed8dbc153c0b84aa61ff08239"),
            (8, "3b62a9ba6258f5610f83e264f31497b4"),
            (15, "5493e99933b0a8117e08ec0f97cfc3d9"),
            (16, "6ee2a4ca67b054bbfd3315bf85230577"),
            (63, "5150d1772f50834a503e069a973fbd7c"),
        ] {
            let bytes: Vec<u8> = (0..len).collect();
            for at in 0..=bytes.len() {
                let mut hash = SipHash::new(key);
                hash.write(&bytes[..at]);
                hash.write(&bytes[at..]);
                let found = hash.finish().to_le_bytes();
                let found: String = found.iter().map(|byte| format!("{byte:02x}")).collect();
                assert_eq!(found, expected, "{len} bytes, in pieces of {at} and more");
            }
        }
    }
}
