//! Negotiates permessage-deflate (RFC 7692 section 7.1).

use crate::http::encode;
use crate::http::field_block;
use crate::syntax;
use alloc::vec::Vec;

crate::settings! {
    /// How messages are compressed (RFC 7692), for clients that offer it; feature `deflate`.
    ///
    /// ```
    /// # use peregrine_protocol::ws::deflate::WsDeflate;
    /// let squeezed = WsDeflate::default().level(6).dedicated_windows(true);
    /// assert_eq!(squeezed.threshold, 256);
    /// ```
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct WsDeflate {
        /// Level from 0 (no compression) to 9 (best).
        pub level: u8 = 1 => "1, the fastest";
        /// Messages shorter than this number of bytes are sent uncompressed.
        pub threshold: usize = 256;
        /// Whether each connection keeps its own windows, so that a message can refer to earlier ones. Many
        /// small similar messages become smaller, but each connection costs about 350 KiB.
        pub dedicated_windows: bool = false
            => "false, one compressor for each thread and nothing for a connection (both `no_context_takeover` parameters)";
    }
}

/// The negotiated parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// Whether messages of the server may refer to earlier ones.
    pub(crate) server_takeover: bool,
    /// Whether messages of the client may refer to earlier ones.
    pub(crate) client_takeover: bool,
    /// The window of messages of the server, as a power of two from 8 to 15.
    pub(crate) server_bits: u8,
    /// The maximum window of the client. The server can read 15 in any case, so the value is only repeated.
    client_bits: Option<u8>,
}

/// Chooses the first acceptable offer among the values of all `Sec-WebSocket-Extensions` fields.
pub fn negotiate<'a>(fields: impl Iterator<Item = &'a [u8]>, config: &WsDeflate) -> Option<Agreed> {
    fields
        .flat_map(syntax::list)
        .find_map(|offer| meet(offer, config))
}

/// RFC 7692 section 7: an offer with a parameter that is unknown, repeated or has a wrong value is
/// declined.
fn meet(offer: &[u8], config: &WsDeflate) -> Option<Agreed> {
    let mut parts = offer.split(|&b| b == b';').map(syntax::trim);
    if !parts.next()?.eq_ignore_ascii_case(b"permessage-deflate") {
        return None;
    }
    let mut agreed = Agreed {
        server_takeover: config.dedicated_windows,
        client_takeover: config.dedicated_windows,
        server_bits: 15,
        client_bits: None,
    };
    let mut seen = 0u8;
    for part in parts {
        let mut sides = part.splitn(2, |&b| b == b'=').map(syntax::trim);
        let name = sides.next()?;
        let value = sides.next();
        let bit = match name {
            b"server_no_context_takeover" if value.is_none() => {
                agreed.server_takeover = false;
                1
            }
            b"client_no_context_takeover" if value.is_none() => {
                agreed.client_takeover = false;
                2
            }
            b"server_max_window_bits" => {
                agreed.server_bits = bits(value?)?;
                4
            }
            b"client_max_window_bits" => {
                agreed.client_bits = match value {
                    Some(value) => Some(bits(value)?),
                    None => None,
                };
                8
            }
            _ => return None,
        };
        if seen & bit != 0 {
            return None;
        }
        seen |= bit;
    }
    Some(agreed)
}

/// 8 to 15 without leading zeros, in quotes or not (RFC 7692 section 7.1.2).
fn bits(value: &[u8]) -> Option<u8> {
    let value = match value {
        [b'"', inner @ .., b'"'] => inner,
        _ => value,
    };
    match value {
        [digit @ b'8'..=b'9'] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(digit - b'0' + 10),
        _ => None,
    }
}

impl Agreed {
    /// Appends the field with the choice to the response.
    pub fn write(&self, block: &mut Vec<u8>) {
        let mut value = b"permessage-deflate".to_vec();
        let out = &mut value;
        if !self.server_takeover {
            out.extend_from_slice(b"; server_no_context_takeover");
        }
        if !self.client_takeover {
            out.extend_from_slice(b"; client_no_context_takeover");
        }
        if self.server_bits < 15 {
            out.extend_from_slice(b"; server_max_window_bits=");
            encode::decimal(u64::from(self.server_bits), out);
        }
        if let Some(bits) = self.client_bits {
            out.extend_from_slice(b"; client_max_window_bits=");
            encode::decimal(u64::from(bits), out);
        }
        field_block::push(b"Sec-WebSocket-Extensions", &value, block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(offers: &[&str], dedicated_windows: bool) -> String {
        let config = WsDeflate::default().dedicated_windows(dedicated_windows);
        let mut out = Vec::new();
        if let Some(agreed) = negotiate(offers.iter().map(|offer| offer.as_bytes()), &config) {
            agreed.write(&mut out);
        }
        let line = String::from_utf8(out).expect("ASCII");
        line.trim_end()
            .trim_start_matches("Sec-WebSocket-Extensions: ")
            .to_owned()
    }

    #[test]
    fn offers() {
        let shared = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        for (offer, expected) in [
            ("permessage-deflate", "permessage-deflate"),
            (
                "Permessage-Deflate; client_max_window_bits",
                "permessage-deflate",
            ),
            ("x, permessage-deflate", "permessage-deflate"),
            (
                "permessage-deflate; server_no_context_takeover",
                "permessage-deflate; server_no_context_takeover",
            ),
            (
                "permessage-deflate;client_no_context_takeover",
                "permessage-deflate; client_no_context_takeover",
            ),
            (
                "permessage-deflate; server_max_window_bits=9",
                "permessage-deflate; server_max_window_bits=9",
            ),
            (
                "permessage-deflate; client_max_window_bits=\"12\"",
                "permessage-deflate; client_max_window_bits=12",
            ),
            (
                "permessage-deflate; server_max_window_bits=15",
                "permessage-deflate",
            ),
            ("", ""),
            ("permessage-bzip2", ""),
            ("permessage-deflate; novel", ""),
            ("permessage-deflate; server_max_window_bits", ""),
            ("permessage-deflate; server_max_window_bits=7", ""),
            ("permessage-deflate; server_max_window_bits=16", ""),
            ("permessage-deflate; server_max_window_bits=08", ""),
            ("permessage-deflate; client_no_context_takeover=1", ""),
            (
                "permessage-deflate; client_max_window_bits=10; client_max_window_bits=10",
                "",
            ),
            (
                "permessage-deflate; novel, permessage-deflate",
                "permessage-deflate",
            ),
        ] {
            assert_eq!(response(&[offer], true), expected, "{offer}");
            let with_shared = expected.replacen("permessage-deflate", shared, 1);
            let with_shared = match with_shared.matches("no_context").count() {
                3 => shared.to_owned(),
                _ => with_shared,
            };
            assert_eq!(response(&[offer], false), with_shared, "{offer}");
        }
        assert_eq!(
            response(&["x", "permessage-deflate"], true),
            "permessage-deflate"
        );
    }
}
