//! Version 2: binary.

use super::{MOST_BYTES, Parsed, ProxyHeader, ProxyHeaderError, tlv};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and protocol, length.
const FIXED: usize = 16;

pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, ProxyHeaderError> {
    let begun = bytes.len().min(SIGNATURE.len());
    if bytes[..begun] != SIGNATURE[..begun] {
        return Err(ProxyHeaderError::NoHeader);
    }
    let Some((fixed, _)) = bytes.split_first_chunk::<FIXED>() else {
        return Ok(Parsed::Partial);
    };
    let [.., command, family, high, low] = *fixed;
    let is_local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(ProxyHeaderError::Binary),
    };
    let is_known = family >> 4 <= 3 && family & 15 <= 2;
    // The addresses of `LOCAL` are ignored, whatever they are.
    if !is_known && !is_local {
        return Err(ProxyHeaderError::Binary);
    }
    let end = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if end > MOST_BYTES {
        return Err(ProxyHeaderError::TooLong);
    }
    let Some(header) = bytes.get(..end) else {
        return Ok(Parsed::Partial);
    };
    let header = match is_local {
        true => ProxyHeader::default(),
        false => read(header, family)?,
    };
    Ok(Parsed::Complete(header, end))
}

/// Reads a complete header of the command `PROXY`.
fn read(header: &[u8], family: u8) -> Result<ProxyHeader, ProxyHeaderError> {
    let block = &header[FIXED..];
    let short = ProxyHeaderError::Binary;
    let (addrs, tlvs) = match family >> 4 {
        1 => {
            let (block, tlvs) = block.split_first_chunk::<12>().ok_or(short)?;
            let [a, b, c, d, e, f, g, h, from, from_low, to, to_low] = *block;
            let addr = |ip, port| {
                SocketAddr::new(IpAddr::V4(Ipv4Addr::from(ip)), u16::from_be_bytes(port))
            };
            let source = addr([a, b, c, d], [from, from_low]);
            (Some((source, addr([e, f, g, h], [to, to_low]))), tlvs)
        }
        2 => {
            let (source, rest) = block.split_first_chunk::<16>().ok_or(short)?;
            let (destination, rest) = rest.split_first_chunk::<16>().ok_or(short)?;
            let (ports, tlvs) = rest.split_first_chunk::<4>().ok_or(short)?;
            let addr = |ip: [u8; 16], port| {
                let ip = IpAddr::V6(Ipv6Addr::from(ip)).to_canonical();
                SocketAddr::new(ip, u16::from_be_bytes(port))
            };
            let [from, from_low, to, to_low] = *ports;
            let source = addr(*source, [from, from_low]);
            (Some((source, addr(*destination, [to, to_low]))), tlvs)
        }
        // Two paths of 108 bytes.
        3 => (None, block.get(216..).ok_or(short)?),
        _ => (None, block),
    };
    // A datagram has no connection, and no family means no protocol that is known.
    let addrs = addrs.filter(|_| family & 15 == 1);
    tlv::check(header, tlvs)?;
    Ok(ProxyHeader {
        addrs,
        tlvs: tlvs.into(),
    })
}
