//! Every rule of the protocol, whole, byte by byte and with trailing bytes.

use super::ProxyHeaderError::{self, Binary, Checksum, Line, NoHeader, Tlv, TooLong};
use super::{MOST_BYTES, Parsed, ProxyHeader, crc32c};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// `source destination`, or `none`.
fn shown(header: &ProxyHeader) -> String {
    let addrs = header.addrs;
    addrs.map_or("none".into(), |(from, to)| format!("{from} {to}"))
}

/// Parses `bytes` whole, byte by byte, and with trailing bytes, which must not matter.
#[track_caller]
fn parse(bytes: &[u8]) -> Result<ProxyHeader, ProxyHeaderError> {
    let first = (0..=bytes.len()).find_map(|end| match ProxyHeader::parse(&bytes[..end]) {
        Ok(Parsed::Partial) => None,
        Ok(Parsed::Complete(header, len)) => {
            assert_eq!(
                (len, end),
                (bytes.len(), bytes.len()),
                "it ends with its last byte"
            );
            Some(Ok(header))
        }
        Err(error) => Some(Err(error)),
    });
    let first = first.unwrap_or_else(|| panic!("never complete: {}", bytes.escape_ascii()));
    for trailing in [
        &b"G"[..],
        b"\r\n",
        b"PROXY ",
        b"\r\n\r\n\0\r\nQUIT\n",
        &[0; 300],
    ] {
        let all = [bytes, trailing].concat();
        let parsed = ProxyHeader::parse(&all).map(|parsed| match parsed {
            Parsed::Complete(header, len) => {
                assert_eq!(len, bytes.len(), "nothing behind it is taken");
                header
            }
            Parsed::Partial => panic!("partial with trailing bytes"),
        });
        assert_eq!(parsed, first, "{}", all.escape_ascii());
    }
    first
}

#[test]
fn lines_of_version_1() {
    for (line, addrs) in [
        (
            "TCP4 192.0.2.1 192.0.2.9 56324 443",
            "192.0.2.1:56324 192.0.2.9:443",
        ),
        (
            "TCP4 0.0.0.0 255.255.255.255 0 65535",
            "0.0.0.0:0 255.255.255.255:65535",
        ),
        ("TCP6 2001:db8::1 ::1 1 2", "[2001:db8::1]:1 [::1]:2"),
        ("TCP6 ::ffff:192.0.2.1 ::1 1 2", "192.0.2.1:1 [::1]:2"),
        (
            "TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535",
            "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535 [ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
        ),
        ("UNKNOWN", "none"),
        ("UNKNOWN whatever 1 2 \u{e9}", "none"),
        (
            "UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535",
            "none",
        ),
    ] {
        let bytes = format!("PROXY {line}\r\n");
        let header = parse(bytes.as_bytes()).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(shown(&header), addrs);
        assert_eq!(header.tlvs().count(), 0);
    }
}

#[test]
fn malformed_lines_of_version_1() {
    let long = format!("UNKNOWN {}", "x".repeat(92));
    let lines = [
        "",
        " ",
        "TCP4",
        "TCP5 1.1.1.1 1.1.1.1 1 1",
        "tcp4 1.1.1.1 1.1.1.1 1 1",
        "UNKNOWNX",
        "UNIX a b",
        // The family fits the addresses.
        "TCP4 ::1 ::1 1 1",
        "TCP6 1.1.1.1 1.1.1.1 1 1",
        "TCP4 1.1.1.1 ::1 1 1",
        // One space between words, none around them.
        "TCP4  1.1.1.1 1.1.1.1 1 1",
        "TCP4 1.1.1.1  1.1.1.1 1 1",
        "TCP4 1.1.1.1 1.1.1.1 1 1 ",
        "TCP4\t1.1.1.1 1.1.1.1 1 1",
        " TCP4 1.1.1.1 1.1.1.1 1 1",
        // Addresses and ports.
        "TCP4 01.1.1.1 1.1.1.1 1 1",
        "TCP4 1.1.1 1.1.1.1 1 1",
        "TCP4 1.1.1.256 1.1.1.1 1 1",
        "TCP4 1.1.1.1 1.1.1.1 01 1",
        "TCP4 1.1.1.1 1.1.1.1 1 00",
        "TCP4 1.1.1.1 1.1.1.1 65536 1",
        "TCP4 1.1.1.1 1.1.1.1 -1 1",
        "TCP4 1.1.1.1 1.1.1.1 +1 1",
        "TCP4 1.1.1.1 1.1.1.1 1",
        "TCP4 a b 1 1",
        "TCP4 1.1.1.1 1.1.1.1 1 1 1",
        "TCP6 [::1] [::1] 1 1",
        "TCP6 fe80::1%1 ::1 1 1",
        // The line has an end of two bytes, within 107 bytes.
        &long,
    ];
    for line in lines {
        let bytes = format!("PROXY {line}\r\n");
        assert_eq!(ProxyHeader::parse(bytes.as_bytes()), Err(Line), "{line}");
        assert!((0..bytes.len()).all(|end| !matches!(
            ProxyHeader::parse(&bytes.as_bytes()[..end]),
            Ok(Parsed::Complete(..))
        )));
    }
    for bytes in [
        "PROXY UNKNOWN\n",
        "PROXY UNKNOWN\rX",
        "PROXY TCP4 1.1.1.1\n 1.1.1.1 1 1\r\n",
    ] {
        assert_eq!(parse(bytes.as_bytes()), Err(Line), "{bytes}");
    }
    assert_eq!(
        ProxyHeader::parse(&[b"PROXY ", &[b'x'; 99][..]].concat()),
        Ok(Parsed::Partial)
    );
    assert_eq!(
        ProxyHeader::parse(&[b"PROXY ", &[b'x'; 100][..]].concat()),
        Err(Line)
    );
    let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(91));
    assert_eq!(longest.len(), 107);
    assert!(parse(longest.as_bytes()).is_ok());
}

#[test]
fn bytes_that_begin_no_header() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"POST / HTTP/1.1\r\n\r\n",
        b"PROXY\tTCP4",
        b"PROXYTCP4",
        b"proxy UNKNOWN\r\n",
        b"\x16\x03\x01\x02\0\x01",
        b"\r\nGET / HTTP/1.1\r\n\r\n",
        b"\r\n\r\n\0\r\nQUIX",
        b"\0",
        b" PROXY",
    ] {
        assert_eq!(
            ProxyHeader::parse(bytes),
            Err(NoHeader),
            "{}",
            bytes.escape_ascii()
        );
    }
    assert_eq!(ProxyHeader::parse(b""), Ok(Parsed::Partial));
}

/// A header of version 2 with this command, family and block.
fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let len = (block.len() as u16).to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &len, block].concat()
}

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind][..], &(value.len() as u16).to_be_bytes(), value].concat()
}

const V4: [u8; 12] = [192, 0, 2, 1, 192, 0, 2, 9, 0xdc, 0x04, 0x01, 0xbb];

/// A header over TCP with these TLVs.
fn with(tlvs: &[Vec<u8>]) -> Vec<u8> {
    binary(0x21, 0x11, &[&V4[..], &tlvs.concat()].concat())
}

#[test]
fn headers_of_version_2() {
    let mut v6 = [0; 36];
    v6[0] = 0x20;
    v6[31] = 1;
    v6[33] = 80;
    let mut mapped = [0; 36];
    mapped[10..16].copy_from_slice(&[0xff, 0xff, 192, 0, 2, 1]);
    for (command, family, block, addrs) in [
        (0x21, 0x11, &V4[..], "192.0.2.1:56324 192.0.2.9:443"),
        (0x21, 0x21, &v6, "[2000::]:80 [::1]:0"),
        (0x21, 0x21, &mapped, "192.0.2.1:0 [::]:0"),
        // No address of a connection.
        (0x21, 0x31, &[b'/'; 216], "none"),
        (0x21, 0x32, &[0; 216], "none"),
        (0x21, 0x12, &V4, "none"),
        (0x21, 0x10, &V4, "none"),
        (0x21, 0x00, &[], "none"),
        (0x21, 0x00, &tlv(0x04, &[1; 10]), "none"),
        // `LOCAL`: the block is skipped, whatever it has.
        (0x20, 0x00, &[], "none"),
        (0x20, 0x11, &V4, "none"),
        (0x20, 0x11, &[1, 2, 3], "none"),
        (0x20, 0xff, &[0xff; 100], "none"),
    ] {
        let bytes = binary(command, family, block);
        let header =
            parse(&bytes).unwrap_or_else(|error| panic!("{command:x} {family:x}: {error}"));
        assert_eq!(shown(&header), addrs, "{command:x} {family:x}");
    }
}

#[test]
fn malformed_headers_of_version_2() {
    for (command, family, block) in [
        (0x11, 0x11, &V4[..]),
        (0x01, 0x11, &V4),
        (0x22, 0x11, &V4),
        (0x2f, 0x11, &V4),
        (0x21, 0x41, &V4),
        (0x21, 0x13, &V4),
        (0x21, 0xf1, &V4),
        (0x21, 0x11, &V4[..11]),
        (0x21, 0x11, &[]),
        (0x21, 0x21, &[0; 35]),
        (0x21, 0x31, &[0; 215]),
    ] {
        let bytes = binary(command, family, block);
        assert_eq!(parse_error(&bytes), Binary, "{command:x} {family:x}");
    }
    let most = binary(0x20, 0, &vec![0; MOST_BYTES - 16]);
    assert!(parse(&most).is_ok());
    let more = binary(0x20, 0, &vec![0; MOST_BYTES - 15]);
    assert_eq!(
        ProxyHeader::parse(&more[..16]),
        Err(TooLong),
        "before it has come"
    );
}

/// The error of a header, which no prefix of it takes for complete.
#[track_caller]
fn parse_error(bytes: &[u8]) -> ProxyHeaderError {
    assert!(
        (0..bytes.len())
            .all(|end| !matches!(ProxyHeader::parse(&bytes[..end]), Ok(Parsed::Complete(..))))
    );
    let all = [bytes, b"GET / HTTP/1.1\r\n\r\n"].concat();
    let error = ProxyHeader::parse(bytes).expect_err("malformed");
    assert_eq!(ProxyHeader::parse(&all), Err(error), "whatever follows");
    error
}

#[test]
fn tlvs_are_read() {
    let inner = [
        tlv(0x21, b"TLSv1.3"),
        tlv(0x22, b"Ada"),
        tlv(0x23, b"TLS_X"),
        tlv(0x99, b""),
    ]
    .concat();
    let ssl = [&[7, 0, 0, 0, 0][..], &inner].concat();
    let bytes = with(&[
        tlv(0x01, b"h2"),
        tlv(0x02, b"a.example"),
        tlv(0x04, &[0; 7]),
        tlv(0x05, &[9; 128]),
        tlv(0x20, &ssl),
        tlv(0xea, b"twice"),
        tlv(0xea, b"allowed"),
    ]);
    let header = parse(&bytes).expect("a header");
    assert_eq!(header.alpn(), Some(&b"h2"[..]));
    assert_eq!(header.authority(), Some("a.example"));
    assert_eq!(header.unique_id(), Some(&[9; 128][..]));
    let kinds: Vec<u8> = header.tlvs().map(|tlv| tlv.kind).collect();
    assert_eq!(kinds, [0x01, 0x02, 0x04, 0x05, 0x20, 0xea, 0xea]);
    let ssl = header.ssl().expect("TLS");
    assert!(ssl.is_secure && ssl.is_verified);
    assert_eq!((ssl.version, ssl.cipher), (Some("TLSv1.3"), Some("TLS_X")));
    assert_eq!(ssl.common_name, Some("Ada"));
    for (client, verify, secure, verified) in [
        (0, [0; 4], false, false),
        (1, [0; 4], true, false),
        (3, [0, 0, 0, 1], true, false),
        (3, [0; 4], true, true),
        (5, [0; 4], true, true),
    ] {
        let header =
            parse(&with(&[tlv(0x20, &[&[client][..], &verify].concat())])).expect("a header");
        let ssl = header.ssl().expect("told");
        assert_eq!(
            (ssl.is_secure, ssl.is_verified),
            (secure, verified),
            "{client} {verify:?}"
        );
        assert_eq!((ssl.version, ssl.common_name), (None, None));
    }
    let none = parse(&with(&[])).expect("a header");
    assert_eq!(
        (none.alpn(), none.authority(), none.unique_id()),
        (None, None, None)
    );
    assert_eq!(none.ssl(), None);
    let not_utf8 = parse(&with(&[tlv(0x02, b"\xff")])).expect("a header");
    assert_eq!(not_utf8.authority(), None);
}

#[test]
fn malformed_tlvs() {
    for tlvs in [
        vec![0x01],
        vec![0x01, 0],
        vec![0x01, 0, 1],
        vec![0x01, 0xff, 0xff, 1],
        [tlv(0x01, b"h2"), tlv(0x01, b"h2")].concat(),
        [tlv(0x20, &[1, 0, 0, 0, 0]), tlv(0x20, &[1, 0, 0, 0, 0])].concat(),
        tlv(0x05, &[0; 129]),
        tlv(0x20, &[1, 0, 0, 0]),
        tlv(0x20, &[1, 0, 0, 0, 0, 0x21, 0, 9, 1]),
        tlv(0x03, &[0; 3]),
        tlv(0x03, &[0; 5]),
    ] {
        assert_eq!(
            parse_error(&with(core::slice::from_ref(&tlvs))),
            Tlv,
            "{tlvs:?}"
        );
    }
}

#[test]
fn the_checksum_covers_every_byte() {
    let checked = |before: &[u8], after: &[u8]| {
        let mut bytes = with(&[before.to_vec(), tlv(0x03, &[0; 4]), after.to_vec()]);
        let at = 16 + V4.len() + before.len() + 3;
        let crc = crc32c::of(&[&bytes]).to_be_bytes();
        bytes[at..at + 4].copy_from_slice(&crc);
        bytes
    };
    for (before, after) in [
        (vec![], vec![]),
        (tlv(0x02, b"a.example"), vec![]),
        (vec![], tlv(0xea, b"x")),
        (tlv(0x01, b"h2"), tlv(0xea, b"x")),
    ] {
        let bytes = checked(&before, &after);
        assert!(parse(&bytes).is_ok());
        // A change of any byte behind the length is seen, if not as a wrong checksum.
        for at in 16..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            let is_kind = changed[at..].first() == Some(&0x13);
            match ProxyHeader::parse(&changed) {
                Err(Checksum | Tlv) => {}
                // No checksum is left in it.
                Ok(Parsed::Complete(..)) if is_kind => {}
                other => panic!("byte {at}: {other:?}"),
            }
        }
    }
}

/// Any bytes end in some way, and a prefix never says the contrary.
#[test]
fn any_bytes_are_parsed() {
    let mut state = 7_u32;
    let mut random = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) as u8
    };
    for _ in 0..3000 / crate::tests::EVERY {
        let block: Vec<u8> = (0..random() % 64).map(|_| random() % 40).collect();
        let bytes = binary(0x20 | (random() % 3), random() % 0x42, &block);
        if let Ok(Parsed::Complete(header, len)) = ProxyHeader::parse(&bytes) {
            assert_eq!(len, bytes.len());
            assert!(header.tlvs().count() <= block.len() / 3);
            let _ = (header.alpn(), header.authority(), header.ssl());
        }
        let end = usize::from(random()) % bytes.len();
        assert!(!matches!(
            ProxyHeader::parse(&bytes[..end]),
            Ok(Parsed::Complete(..))
        ));
    }
}
