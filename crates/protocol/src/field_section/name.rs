//! What the name of a field means (RFC 9113 section 8, RFC 9114 section 4).

/// What a name means. It is found once for each entry of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A field that neither of them has a rule about.
    Other,
    /// `:method`
    Method,
    /// `:scheme`
    Scheme,
    /// `:authority`
    Authority,
    /// `:path`
    Path,
    /// A pseudo-header field that no request may have (RFC 9113 section 8.3, RFC 9114 section 4.3).
    Pseudo,
    /// `host`
    Host,
    /// `cookie`, which may come in pieces (RFC 9113 section 8.2.3, RFC 9114 section 4.2.1).
    Cookie,
    /// `content-length`
    ContentLength,
    /// `expect`
    Expect,
    /// `te`, which may say `trailers` only (RFC 9113 section 8.2.2, RFC 9114 section 4.2).
    Te,
    /// `priority` (RFC 9218 section 5).
    Priority,
    /// A field about the connection: a message with one is malformed (RFC 9113 section 8.2.2, RFC 9114 section 4.2).
    Connection,
}

impl Kind {
    /// Of a name in lower case.
    pub const fn of(name: &[u8]) -> Kind {
        match name {
            [b':', ..] => match name {
                b":method" => Kind::Method,
                b":scheme" => Kind::Scheme,
                b":authority" => Kind::Authority,
                b":path" => Kind::Path,
                _ => Kind::Pseudo,
            },
            b"te" => Kind::Te,
            b"host" => Kind::Host,
            b"cookie" => Kind::Cookie,
            b"expect" => Kind::Expect,
            b"priority" => Kind::Priority,
            b"content-length" => Kind::ContentLength,
            b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding"
            | b"upgrade" => Kind::Connection,
            _ => Kind::Other,
        }
    }

    /// Its name begins with a colon.
    #[inline(always)]
    pub fn is_pseudo(self) -> bool {
        (self as u8).wrapping_sub(Kind::Method as u8) <= Kind::Pseudo as u8 - Kind::Method as u8
    }
}

/// A name that has no place in a response of HTTP/2 or HTTP/3 (RFC 9113 section 8.2.2, RFC 9114 section 4.2).
#[inline]
pub(crate) fn is_of_connection(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 6] = [
        b"te",
        b"upgrade",
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"transfer-encoding",
    ];
    matches!(name.len(), 2 | 7 | 10 | 16 | 17)
        && NAMES.iter().any(|of| name.eq_ignore_ascii_case(of))
}

/// Names of fields that no hop may put into a table, as a pattern (RFC 7541 section 7.1.3, RFC 9204 section 7.1.3).
macro_rules! never_indexed {
    () => {
        b"set-cookie"
            | b"cookie"
            | b"authorization"
            | b"proxy-authorization"
            | b"authentication-info"
            | b"proxy-authentication-info"
    };
}
pub(crate) use never_indexed;

/// Longer names are sent as they are, but for their case.
pub(crate) const LONG_NAME: usize = 48;

/// `None` if it is a long one.
#[inline]
pub(crate) fn lower_case<'a>(name: &[u8], room: &'a mut [u8; LONG_NAME]) -> Option<&'a [u8]> {
    let lower = room.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    Some(lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pseudo_fields_are_those_with_a_colon() {
        for name in [
            ":method",
            ":scheme",
            ":authority",
            ":path",
            ":status",
            ":",
            ":x",
            "te",
            "host",
            "cookie",
            "expect",
            "priority",
            "content-length",
            "upgrade",
            "x",
            "",
        ] {
            let kind = Kind::of(name.as_bytes());
            assert_eq!(kind.is_pseudo(), name.starts_with(':'), "{name}");
        }
    }
}
