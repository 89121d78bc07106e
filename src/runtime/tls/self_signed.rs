//! A certificate that is signed with its own key, for development (RFC 5280).

use super::error::TlsError;
use peregrine_protocol::http::encode;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

const DAY: u64 = 24 * 3600;

/// How long it is valid. Some clients refuse certificates that are valid for more than 398 days.
const VALID: u64 = 365 * DAY;

// Tags of DER (ITU-T X.690).
const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const UTF8_STRING: u8 = 0x0c;
const UTC_TIME: u8 = 0x17;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// Explicit tags of a certificate: its version and its extensions.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// Kinds of alternative names.
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;

// Object identifiers, encoded.
const ECDSA_WITH_SHA256: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";
const EC_PUBLIC_KEY: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01";
const PRIME256V1: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
const COMMON_NAME: &[u8] = b"\x06\x03\x55\x04\x03";
const ALTERNATIVE_NAME: &[u8] = b"\x06\x03\x55\x1d\x11";
const EXTENDED_KEY_USAGE: &[u8] = b"\x06\x03\x55\x1d\x25";
const SERVER_AUTH: &[u8] = b"\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x01";

/// The certificate and its key (PKCS #8), in DER.
pub(super) fn make(names: &[&str]) -> Result<(Vec<u8>, Vec<u8>), TlsError> {
    let failed = |_| TlsError::Invalid("the system has no random numbers".to_owned());
    let random = SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
    let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(failed)?;
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random)
        .map_err(|error| TlsError::Invalid(error.to_string()))?;
    let mut serial = [0; 16];
    random.fill(&mut serial).map_err(failed)?;
    // Positive, and of the same length always.
    serial[0] = serial[0] & 0x3f | 0x40;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |since| since.as_secs());
    let signed = to_be_signed(names, &serial, pair.public_key().as_ref(), now)?;
    let signature = pair.sign(&random, &signed).map_err(failed)?;
    let certificate = der(
        SEQUENCE,
        &[
            &signed,
            &der(SEQUENCE, &[ECDSA_WITH_SHA256]),
            &der(BIT_STRING, &[&[0], signature.as_ref()]),
        ],
    );
    Ok((certificate, key.as_ref().to_vec()))
}

/// The certificate without its signature (RFC 5280 section 4.1).
fn to_be_signed(
    names: &[&str],
    serial: &[u8],
    public_key: &[u8],
    now: u64,
) -> Result<Vec<u8>, TlsError> {
    let name = der(
        SEQUENCE,
        &[COMMON_NAME, &der(UTF8_STRING, &[b"peregrine development"])],
    );
    let name = der(SEQUENCE, &[&der(SET, &[&name])]);
    let validity = [
        der(UTC_TIME, &[&utc_time(now.saturating_sub(DAY))]),
        der(UTC_TIME, &[&utc_time(now + VALID)]),
    ];
    let algorithm = der(SEQUENCE, &[EC_PUBLIC_KEY, PRIME256V1]);
    let key = der(BIT_STRING, &[&[0], public_key]);
    let extensions = [
        extension(ALTERNATIVE_NAME, &[], &alternative_names(names)?),
        extension(EXTENDED_KEY_USAGE, &[], &der(SEQUENCE, &[SERVER_AUTH])),
        // Basic constraints, critical: it is of no authority.
        extension(
            b"\x06\x03\x55\x1d\x13",
            &der(BOOLEAN, &[&[0xff]]),
            &der(SEQUENCE, &[]),
        ),
    ];
    Ok(der(
        SEQUENCE,
        &[
            &der(VERSION, &[&der(INTEGER, &[&[2]])]),
            &der(INTEGER, &[serial]),
            &der(SEQUENCE, &[ECDSA_WITH_SHA256]),
            &name,
            &der(SEQUENCE, &[&validity[0], &validity[1]]),
            &name,
            &der(SEQUENCE, &[&algorithm, &key]),
            &der(EXTENSIONS, &[&der(SEQUENCE, &[&extensions.concat()])]),
        ],
    ))
}

fn extension(id: &[u8], critical: &[u8], value: &[u8]) -> Vec<u8> {
    der(SEQUENCE, &[id, critical, &der(OCTET_STRING, &[value])])
}

fn alternative_names(names: &[&str]) -> Result<Vec<u8>, TlsError> {
    let mut all = Vec::new();
    for name in names {
        let encoded = match name.parse::<IpAddr>() {
            Ok(IpAddr::V4(ip)) => der(IP_ADDRESS, &[&ip.octets()]),
            Ok(IpAddr::V6(ip)) => der(IP_ADDRESS, &[&ip.octets()]),
            Err(_) if name.is_ascii() && !name.is_empty() => der(DNS_NAME, &[name.as_bytes()]),
            Err(_) => {
                let text = format!("{name:?} is not a host name in ASCII and not an IP address");
                return Err(TlsError::Invalid(text));
            }
        };
        all.extend(encoded);
    }
    Ok(der(SEQUENCE, &[&all]))
}

/// A value of DER with its tag and length.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = vec![tag];
    match len {
        0..=0x7f => out.push(len as u8),
        0x80..=0xff => out.extend([0x81, len as u8]),
        _ => out.extend([0x82, (len >> 8) as u8, len as u8]),
    }
    out.extend(parts.concat());
    out
}

/// `YYMMDDhhmmssZ` (RFC 5280 section 4.1.2.5.1).
fn utc_time(unix: u64) -> Vec<u8> {
    // Sun, 06 Nov 1994 08:49:37 GMT
    let date = encode::date(unix);
    const MONTHS: &[u8] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    let month = MONTHS.chunks(3).position(|month| *month == date[8..11]);
    let month = format!("{:02}", month.unwrap_or(0) + 1);
    let time = [&date[17..19], &date[20..22], &date[23..25], b"Z"];
    [&date[14..16], month.as_bytes(), &date[5..7], &time.concat()].concat()
}

/// A certificate for `name` and its key, in PEM.
#[cfg(test)]
pub(super) fn pem(name: &str) -> [String; 2] {
    let (certificate, key) = make(&[name]).expect("a certificate");
    [("CERTIFICATE", certificate), ("PRIVATE KEY", key)].map(|(label, der)| {
        format!(
            "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
            base64(&der)
        )
    })
}

/// RFC 4648 section 4.
#[cfg(test)]
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |three: &[u8]| {
        let mut bits = [0; 4];
        bits[1..=three.len()].copy_from_slice(three);
        let bits = u32::from_be_bytes(bits);
        let digit = |i: usize| DIGITS[(bits >> (18 - 6 * i)) as usize & 63] as char;
        [0, 1, 2, 3].map(|i| if i > three.len() { '=' } else { digit(i) })
    };
    bytes.chunks(3).flat_map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_thirteen_bytes() {
        assert_eq!(utc_time(784_111_777), b"941106084937Z");
        assert_eq!(utc_time(0), b"700101000000Z");
    }

    #[test]
    fn lengths_have_as_few_bytes_as_they_need() {
        for (len, head) in [
            (0, &b"\x30\x00"[..]),
            (0x7f, b"\x30\x7f"),
            (0x80, b"\x30\x81\x80"),
            (0xff, b"\x30\x81\xff"),
            (0x100, b"\x30\x82\x01\x00"),
        ] {
            let encoded = der(SEQUENCE, &[&vec![7; len]]);
            assert_eq!(encoded[..head.len()], *head);
            assert_eq!(encoded.len(), head.len() + len);
        }
    }
}
