//! TLVs (type-length-value) of version 2.

use super::{ProxyHeader, ProxyHeaderError, crc32c};

const ALPN: u8 = 0x01;
const AUTHORITY: u8 = 0x02;
const CRC32C: u8 = 0x03;
const UNIQUE_ID: u8 = 0x05;
const SSL: u8 = 0x20;
const SSL_VERSION: u8 = 0x21;
const SSL_CN: u8 = 0x22;
const SSL_CIPHER: u8 = 0x23;

/// Bytes of the longest unique id.
const MOST_UNIQUE: usize = 128;

/// One TLV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tlv<'a> {
    /// The type.
    pub kind: u8,
    /// The value.
    pub value: &'a [u8],
}

/// What the balancer says about the TLS of its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SslClient<'a> {
    /// Whether the client has connected over TLS.
    pub is_secure: bool,
    /// Whether the client has shown a certificate, and the balancer has found it valid.
    pub is_verified: bool,
    /// The version of TLS: `TLSv1.3`.
    pub version: Option<&'a str>,
    /// The cipher: `TLS_AES_128_GCM_SHA256`.
    pub cipher: Option<&'a str>,
    /// The common name in the certificate of the client. Only a verified certificate says who the client is.
    pub common_name: Option<&'a str>,
}

impl ProxyHeader {
    /// All TLVs, in order.
    pub fn tlvs(&self) -> impl Iterator<Item = Tlv<'_>> {
        Tlvs { rest: &self.tlvs }.map_while(Result::ok)
    }

    /// The protocol that the client and the balancer have agreed on (RFC 7301): `h2`.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.value(ALPN)
    }

    /// The host name that the client has asked for: the server name indication of its TLS (RFC 6066).
    pub fn authority(&self) -> Option<&str> {
        self.value(AUTHORITY).and_then(text)
    }

    /// A name that the balancer has given the connection, at most 128 bytes.
    pub fn unique_id(&self) -> Option<&[u8]> {
        self.value(UNIQUE_ID)
    }

    /// The TLS between the client and the balancer. `None` if the balancer does not tell it.
    pub fn ssl(&self) -> Option<SslClient<'_>> {
        const HAS_TLS: u8 = 1;
        const HAS_CERTIFICATE: u8 = 2 | 4;
        let (&[client, a, b, c, d], rest) = self.value(SSL)?.split_first_chunk::<5>()?;
        let of = |kind| {
            let mut tlvs = Tlvs { rest }.map_while(Result::ok);
            tlvs.find(|tlv| tlv.kind == kind)
                .and_then(|tlv| text(tlv.value))
        };
        Some(SslClient {
            is_secure: client & HAS_TLS != 0,
            is_verified: client & HAS_CERTIFICATE != 0 && [a, b, c, d] == [0; 4],
            version: of(SSL_VERSION),
            cipher: of(SSL_CIPHER),
            common_name: of(SSL_CN),
        })
    }

    fn value(&self, kind: u8) -> Option<&[u8]> {
        let mut tlvs = Tlvs { rest: &self.tlvs }.map_while(Result::ok);
        tlvs.find(|tlv| tlv.kind == kind).map(|tlv| tlv.value)
    }
}

fn text(bytes: &[u8]) -> Option<&str> {
    core::str::from_utf8(bytes).ok()
}

/// Checks the TLVs at the end of a header, and its checksum if it has one.
pub(super) fn check(header: &[u8], tlvs: &[u8]) -> Result<(), ProxyHeaderError> {
    let mut seen = [false; 256];
    let mut at = header.len() - tlvs.len();
    for tlv in (Tlvs { rest: tlvs }) {
        let Tlv { kind, value } = tlv?;
        at += 3;
        // Types of which the balancer says one thing.
        let is_one = [ALPN, AUTHORITY, CRC32C, UNIQUE_ID, SSL].contains(&kind);
        if is_one && core::mem::replace(&mut seen[usize::from(kind)], true) {
            return Err(ProxyHeaderError::Tlv);
        }
        match kind {
            CRC32C => {
                let sent = value.try_into().map_err(|_| ProxyHeaderError::Tlv)?;
                // As if the checksum itself were zero.
                let parts = [&header[..at], &[0; 4], &header[at + 4..]];
                if crc32c::of(&parts) != u32::from_be_bytes(sent) {
                    return Err(ProxyHeaderError::Checksum);
                }
            }
            UNIQUE_ID if value.len() > MOST_UNIQUE => return Err(ProxyHeaderError::Tlv),
            SSL => {
                let (_, inner) = value.split_at_checked(5).ok_or(ProxyHeaderError::Tlv)?;
                for tlv in (Tlvs { rest: inner }) {
                    tlv?;
                }
            }
            _ => {}
        }
        at += value.len();
    }
    Ok(())
}

struct Tlvs<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Tlvs<'a> {
    type Item = Result<Tlv<'a>, ProxyHeaderError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let (head, rest) = match self.rest.split_first_chunk::<3>() {
            Some((head, rest)) => (*head, rest),
            None => return self.fail(),
        };
        let [kind, high, low] = head;
        let Some((value, rest)) = rest.split_at_checked(u16::from_be_bytes([high, low]).into())
        else {
            return self.fail();
        };
        self.rest = rest;
        Some(Ok(Tlv { kind, value }))
    }
}

impl<'a> Tlvs<'a> {
    fn fail(&mut self) -> Option<Result<Tlv<'a>, ProxyHeaderError>> {
        self.rest = &[];
        Some(Err(ProxyHeaderError::Tlv))
    }
}
