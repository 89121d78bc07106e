//! NKeys: Ed25519 keys as NATS writes them, and files of credentials.
//!
//! A seed is base32 of: two bytes with its kind, 32 bytes of the key, and two bytes of CRC-16 (XMODEM), the low one first. A
//! public key has one byte for its kind.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair};

/// The kinds: a seed, and the key of a user.
const SEED: u8 = 18 << 3;
const USER: u8 = 20 << 3;

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

pub(crate) struct NKey(Ed25519KeyPair);

impl NKey {
    /// The key of a seed: `SU` and 56 more characters.
    pub(crate) fn from_seed(seed: &str) -> Option<NKey> {
        let bytes = decode(seed.trim())?;
        let (checked, crc) = bytes.split_last_chunk::<2>()?;
        let [first, second, key @ ..] = checked else {
            return None;
        };
        let kind = first & 0b1111_1000;
        // Three bits of the kind of the key are in the first byte, five in the second.
        let of = (first & 7) << 5 | (second >> 3);
        let is_good = kind == SEED && of == USER && crc16(checked).to_le_bytes() == *crc;
        let key: &[u8; 32] = key.try_into().ok()?;
        let pair = Ed25519KeyPair::from_seed_unchecked(key).ok()?;
        is_good.then_some(NKey(pair))
    }

    /// The seed and the JWT of a file of credentials.
    pub(crate) fn from_credentials(text: &str) -> Option<(NKey, String)> {
        let part = |name: &str| {
            let rest = text.split_once(&format!("-----BEGIN {name}-----"))?.1;
            let part = rest.split_once("------END")?.0;
            Some(part.trim().to_owned())
        };
        Some((
            NKey::from_seed(&part("USER NKEY SEED")?)?,
            part("NATS USER JWT")?,
        ))
    }

    /// The public key: `U` and 55 more characters.
    pub(crate) fn public(&self) -> String {
        let mut bytes = vec![USER];
        bytes.extend_from_slice(self.0.public_key().as_ref());
        let crc = crc16(&bytes).to_le_bytes();
        bytes.extend_from_slice(&crc);
        encode(&bytes)
    }

    /// The signature of what the server has sent, as CONNECT has it.
    pub(crate) fn sign(&self, nonce: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.0.sign(nonce.as_bytes()))
    }
}

impl std::fmt::Debug for NKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("NKey").field(&self.public()).finish()
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for byte in text.bytes() {
        let value = BASE32.iter().position(|&known| known == byte)?;
        bits = bits << 5 | value as u32;
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    (bits == 0).then_some(bytes)
}

fn encode(bytes: &[u8]) -> String {
    let (mut text, mut bits, mut count) = (String::new(), 0_u32, 0);
    let digit = |value: u32| char::from(BASE32[value as usize & 31]);
    for &byte in bytes {
        bits = bits << 8 | u32::from(byte);
        count += 8;
        while count >= 5 {
            count -= 5;
            text.push(digit(bits >> count));
            bits &= (1 << count) - 1;
        }
    }
    if count > 0 {
        text.push(digit(bits << (5 - count)));
    }
    text
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| match crc & 0x8000 {
            0 => crc << 1,
            _ => crc << 1 ^ 0x1021,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pair of the documentation of nats-server, for tests.
    const SEED: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
    const PUBLIC: &str = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";

    #[test]
    fn a_seed_has_its_public_key() {
        let key = NKey::from_seed(SEED).expect("a seed");
        assert_eq!(key.public(), PUBLIC);
        assert_eq!(
            decode(&encode(b"any bytes")).as_deref(),
            Some(&b"any bytes"[..])
        );
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(key.sign("nonce").len(), 86);
        assert!(!format!("{key:?}").contains(SEED));
    }

    #[test]
    fn malformed_seeds_are_refused() {
        for at in 0..SEED.len() {
            let mut other = SEED.to_owned().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            let other = String::from_utf8(other).expect("text");
            assert!(NKey::from_seed(&other).is_none(), "{at}");
            assert!(NKey::from_seed(&SEED[..at]).is_none());
        }
        for bad in [PUBLIC, "", "SU", "su", "é"] {
            assert!(NKey::from_seed(bad).is_none());
        }
    }

    #[test]
    fn files_of_credentials() {
        let file = format!(
            "-----BEGIN NATS USER JWT-----\neyJ.a.b\n------END NATS USER JWT------\n\n*** IMPORTANT ***\n\n\
             -----BEGIN USER NKEY SEED-----\n{SEED}\n------END USER NKEY SEED------\n\n***\n"
        );
        let (key, jwt) = NKey::from_credentials(&file).expect("both");
        assert_eq!((key.public(), jwt.as_str()), (PUBLIC.to_owned(), "eyJ.a.b"));
        assert!(NKey::from_credentials(&file.replace("SEED", "SEEN")).is_none());
        assert!(NKey::from_credentials("").is_none());
    }
}
