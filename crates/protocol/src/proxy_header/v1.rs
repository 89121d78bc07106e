//! Version 1: one line of text.

use super::{Parsed, ProxyHeader, ProxyHeaderError};
use core::net::{IpAddr, SocketAddr};

/// Bytes of the longest line, with its end.
const MOST: usize = 107;

pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, ProxyHeaderError> {
    const START: &[u8] = b"PROXY ";
    let begun = bytes.len().min(START.len());
    if bytes[..begun] != START[..begun] {
        return Err(ProxyHeaderError::NoHeader);
    }
    let line = &bytes[..bytes.len().min(MOST)];
    // A CR without LF, or an LF without CR, is an error as soon as it is there.
    let end = line.iter().position(|b| b"\r\n".contains(b));
    match end.map(|end| &line[end..]) {
        None if line.len() < MOST - 1 => Ok(Parsed::Partial),
        Some([b'\r']) if line.len() < MOST => Ok(Parsed::Partial),
        Some([b'\r', b'\n', ..]) => {
            let end = end.unwrap_or_default();
            let addrs = addrs(&line[START.len()..end]).ok_or(ProxyHeaderError::Line)?;
            let header = ProxyHeader {
                addrs,
                ..ProxyHeader::default()
            };
            Ok(Parsed::Complete(header, end + 2))
        }
        _ => Err(ProxyHeaderError::Line),
    }
}

/// What stands behind `PROXY `. `None` if it is malformed.
fn addrs(line: &[u8]) -> Option<Option<(SocketAddr, SocketAddr)>> {
    let text = core::str::from_utf8(line).ok()?;
    let mut words = text.split(' ');
    let is_v4 = match words.next()? {
        "TCP4" => true,
        "TCP6" => false,
        // The rest of the line is ignored.
        "UNKNOWN" => return Some(None),
        _ => return None,
    };
    let mut ip = || address(words.next()?, is_v4);
    let (source, destination) = (ip()?, ip()?);
    let mut number = || port(words.next()?);
    let (from, to) = (number()?, number()?);
    let is_over = words.next().is_none();
    let addrs = (
        SocketAddr::new(source, from),
        SocketAddr::new(destination, to),
    );
    is_over.then_some(Some(addrs))
}

/// The parser of the standard library accepts no leading zeros of IPv4.
fn address(text: &str, is_v4: bool) -> Option<IpAddr> {
    match is_v4 {
        true => Some(IpAddr::V4(text.parse().ok()?)),
        false => Some(IpAddr::V6(text.parse().ok()?).to_canonical()),
    }
}

fn port(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|b| b.is_ascii_digit());
    let is_short = text == "0" || !text.starts_with('0');
    text.parse().ok().filter(|_| is_number && is_short)
}
