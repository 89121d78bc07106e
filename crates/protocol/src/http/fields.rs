//! Response fields with rules of their own.
//!
//! This is the only list of names. A field that is not in it belongs to the handler, may be repeated, and may
//! be a trailer.

/// Only the library writes it: framing (RFC 9112 section 6), the connection (RFC 9110 section 7.6.1), `Date`
/// and `Server`.
const LIBRARY: u8 = 1;
/// It belongs to a change of protocol: `Upgrade` (RFC 9110 section 7.8) and RFC 6455 section 4.2.2.
const HANDSHAKE: u8 = 2;
/// The file server computes it for each file.
const FILE: u8 = 4;
/// It must come before the body: framing, routing, control, authentication, and the format of the content
/// (RFC 9110 section 6.5.1).
const HEAD: u8 = 8;
/// It has one value, not a list (RFC 9110 section 5.3).
const SINGLE: u8 = 16;
/// It is a list to which the handler and the library may both add.
const SHARED: u8 = 32;

/// Sorted by length, then by name.
const FIELDS: &[(&str, u8)] = &[
    ("te", HEAD),
    ("age", HEAD | SINGLE),
    ("date", LIBRARY | HEAD),
    ("etag", FILE | SINGLE),
    ("host", HEAD),
    ("link", SHARED),
    ("vary", HEAD | SHARED),
    ("allow", HEAD),
    ("range", HEAD),
    ("cookie", HEAD),
    ("expect", HEAD),
    ("pragma", HEAD),
    ("server", LIBRARY | HEAD),
    ("alt-svc", HEAD),
    ("expires", HEAD | SINGLE),
    ("refresh", HEAD | SINGLE),
    ("trailer", HANDSHAKE | HEAD),
    ("upgrade", HANDSHAKE | HEAD),
    ("warning", HEAD),
    ("location", HEAD | SINGLE),
    ("connection", LIBRARY | HEAD),
    ("keep-alive", LIBRARY | HEAD),
    ("set-cookie", HEAD | SHARED),
    ("retry-after", HEAD | SINGLE),
    ("content-type", FILE | HEAD | SINGLE),
    ("max-forwards", HEAD),
    ("accept-ranges", FILE),
    ("authorization", HEAD),
    ("cache-control", FILE | HEAD),
    ("content-range", FILE | HEAD | SINGLE),
    ("last-modified", FILE | SINGLE),
    ("server-timing", SHARED),
    ("content-digest", 0),
    ("content-length", LIBRARY | HEAD),
    ("referrer-policy", HEAD),
    ("x-frame-options", HEAD | SINGLE),
    ("clear-site-data", HEAD),
    ("content-encoding", FILE | HEAD | SHARED),
    ("content-location", HEAD | SINGLE),
    ("proxy-connection", LIBRARY | HEAD),
    ("www-authenticate", HEAD | SHARED),
    ("transfer-encoding", LIBRARY | HEAD),
    ("x-accel-buffering", HEAD | SINGLE),
    ("content-disposition", HEAD | SINGLE),
    ("x-content-type-options", HEAD | SINGLE),
    ("access-control-max-age", HEAD | SINGLE),
    ("content-security-policy", HEAD | SHARED),
    ("strict-transport-security", HEAD | SINGLE),
    ("cross-origin-opener-policy", HEAD | SINGLE),
    ("access-control-allow-origin", HEAD | SINGLE),
    ("access-control-allow-credentials", HEAD | SINGLE),
    ("content-security-policy-report-only", HEAD | SHARED),
];

/// The flags of names that are not in [`FIELDS`].
const FAMILIES: &[(&str, u8)] = &[
    ("access-control-", HEAD),
    ("content-", HEAD),
    ("if-", HEAD),
    ("proxy-", HEAD),
    ("sec-websocket-", HANDSHAKE | HEAD),
];

/// A bit for each length of the names with one of these flags. The length alone excludes most names.
const fn lengths(flags: u8) -> u64 {
    let (mut lengths, mut i) = (0, 0);
    while i < FIELDS.len() {
        if FIELDS[i].1 & flags != 0 {
            lengths |= 1 << FIELDS[i].0.len();
        }
        i += 1;
    }
    lengths
}

/// The length of the longest name.
const LONGEST: usize = FIELDS[FIELDS.len() - 1].0.len();

/// For each length the position in [`FIELDS`] of the first name that is not shorter.
const STARTS: [u8; LONGEST + 2] = {
    let (mut starts, mut len) = ([0; LONGEST + 2], 0);
    while len < starts.len() {
        let mut i = 0;
        while i < FIELDS.len() && FIELDS[i].0.len() < len {
            i += 1;
        }
        starts[len] = i as u8;
        len += 1;
    }
    starts
};

/// The position in [`FIELDS`]. Only names of this length and with this first letter are compared.
#[inline]
fn position(name: &[u8]) -> Option<usize> {
    let first = name.first()?.to_ascii_lowercase();
    let (start, end) = (*STARTS.get(name.len())?, *STARTS.get(name.len() + 1)?);
    (start as usize..end as usize).find(|i| {
        let known = FIELDS[*i].0.as_bytes();
        known[0] == first && known.eq_ignore_ascii_case(name)
    })
}

fn flags(name: &[u8]) -> u8 {
    let starts = |family: &&(&str, u8)| {
        let start = name.get(..family.0.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(family.0.as_bytes()))
    };
    let known = position(name).map(|i| &FIELDS[i]);
    known
        .or_else(|| FAMILIES.iter().find(starts))
        .map_or(0, |field| field.1)
}

/// Whether the name has one of the flags `F`, none of which belongs to a family. For most literals this needs
/// no code.
#[inline(always)]
fn has<const F: u8>(name: &str) -> bool {
    let lengths = const { lengths(F) };
    lengths >> name.len().min(63) & 1 != 0 && flags(name.as_bytes()) & F != 0
}

/// Whether only the library writes it.
#[inline(always)]
pub fn is_of_library(name: &str) -> bool {
    has::<LIBRARY>(name)
}

/// A bit for this name, whatever its case. Names share bits, so a bit that is set only says that the field may have been seen.
#[inline(always)]
pub fn mark(name: &[u8]) -> u64 {
    let (Some(first), Some(last)) = (name.first(), name.last()) else {
        return 1;
    };
    let (first, last) = (u32::from(first | 0x20), u32::from(last | 0x20));
    1_u64.wrapping_shl(first + 3 * last + 5 * name.len() as u32)
}

/// Whether a response may have the field only once.
#[inline]
pub fn is_single(name: &[u8]) -> bool {
    let lengths = const { lengths(SINGLE) };
    lengths >> name.len().min(63) & 1 != 0
        && position(name).is_some_and(|i| FIELDS[i].1 & SINGLE != 0)
}

/// Whether it is a list to which both the handler and the library add.
pub fn is_shared(name: &[u8]) -> bool {
    flags(name) & SHARED != 0
}

/// Whether it needs `Connection: upgrade`.
#[inline(always)]
pub fn is_upgrade(name: &str) -> bool {
    name.eq_ignore_ascii_case("upgrade")
}

/// Whether a handler must not set it in the response that accepts a WebSocket.
#[cfg(feature = "websocket")]
pub fn is_of_handshake(name: &str) -> bool {
    flags(name.as_bytes()) & (LIBRARY | HANDSHAKE) != 0
}

/// Whether it must not be configured for all responses with files.
pub fn is_of_file(name: &str) -> bool {
    flags(name.as_bytes()) & (LIBRARY | HANDSHAKE | FILE) != 0
}

/// Whether it may be a trailer (RFC 9110 section 6.5.1).
pub fn is_trailer(name: &str) -> bool {
    flags(name.as_bytes()) & HEAD == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_lower_case_once_and_short() {
        for (i, (name, _)) in FIELDS.iter().enumerate() {
            assert!(crate::syntax::is_token(name.as_bytes()), "{name}");
            assert_eq!(*name, name.to_ascii_lowercase());
            assert!(name.len() < 63, "{name}");
            assert!(i == 0 || FIELDS[i - 1].0.len() <= name.len(), "{name}");
            assert!(
                !FIELDS[..i].iter().any(|(other, _)| other == name),
                "{name}"
            );
        }
    }

    #[test]
    fn the_check_of_the_length_excludes_no_name() {
        let others = ["", "x", "x-request-id", "content-typo", &"a".repeat(100)];
        let names = FIELDS.iter().map(|(name, _)| *name);
        for name in names.chain(others) {
            let upper = name.to_ascii_uppercase();
            let found = flags(name.as_bytes());
            assert_eq!(is_of_library(&upper), found & LIBRARY != 0, "{name}");
            assert_eq!(is_single(upper.as_bytes()), found & SINGLE != 0, "{name}");
            assert_eq!(mark(upper.as_bytes()), mark(name.as_bytes()), "{name}");
            assert_eq!(mark(name.as_bytes()).count_ones(), 1, "{name}");
            assert_eq!(flags(upper.as_bytes()), found, "{name}");
        }
    }

    #[test]
    fn fields_that_may_be_trailers() {
        for name in [
            "ETag",
            "Content-Digest",
            "Server-Timing",
            "grpc-status",
            "Accept-Ranges",
        ] {
            assert!(is_trailer(name), "{name}");
        }
        for name in [
            "Content-Length",
            "Transfer-Encoding",
            "Host",
            "Cache-Control",
            "Expect",
            "If-Match",
            "Range",
            "TE",
            "Authorization",
            "Proxy-Authenticate",
            "WWW-Authenticate",
            "Set-Cookie",
            "Date",
            "Age",
            "Expires",
            "Location",
            "Retry-After",
            "Vary",
            "Content-Location",
            "Content-Language",
            "Keep-Alive",
            "Proxy-Connection",
            "Sec-WebSocket-Protocol",
            "Upgrade",
            "Trailer",
        ] {
            assert!(!is_trailer(name), "{name}");
        }
    }
}
