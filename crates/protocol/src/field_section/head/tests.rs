//! Field sections, and what they are: RFC 9113 section 8, by number, and RFC 9114 section 4, which says the same.

use super::*;
use crate::hpack::Decoder;
use crate::http::Version;

/// A block without tables: fields as they are, whatever they are.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name, value] {
            crate::hpack::integer::encode(text.len() as u64, 7, 0, &mut out);
            out.extend_from_slice(text.as_bytes());
        }
    }
    out
}

type Fields = [(&'static str, &'static str)];

/// A GET with more fields; `!name` takes one of the first four out.
fn get(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    let mut fields = vec![
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "a.example"),
        (":path", "/"),
    ];
    for (name, value) in more {
        match name.strip_prefix('!') {
            Some(gone) => fields.retain(|field| field.0 != gone),
            None => fields.push((name, value)),
        }
    }
    fields
}

fn decode(buf: &mut HeadBuf, fields: &[(&str, &str)]) -> Decoded {
    let limits = Limits::default();
    #[cfg(feature = "http3")]
    let other = buf
        .decode_request(&mut crate::qpack::Decoder, &section(fields), &limits)
        .expect("a field section");
    let decoded = buf.decode_request(&mut Decoder::new(), &block(fields), &limits);
    let decoded = decoded.expect("a block");
    #[cfg(feature = "http3")]
    if other != decoded {
        // RFC 9114 section 4.3.1 wants the same text.
        assert_eq!(other, Decoded::Malformed(":authority and Host differ"));
        let has = |name| fields.iter().any(|field| field.0 == name);
        assert!(has("host") && has(":authority"), "{fields:?}");
    }
    decoded
}

/// The same in QPACK.
#[cfg(feature = "http3")]
fn section(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = vec![0, 0];
    for (name, value) in fields {
        for (text, prefix, first) in [(name, 3, 0x20), (value, 7, 0)] {
            crate::field_section::integer::encode(text.len() as u64, prefix, first, &mut out);
            out.extend_from_slice(text.as_bytes());
        }
    }
    out
}

#[test]
fn requests_that_are_malformed() {
    let cases: &[(&str, &[(&str, &str)])] = &[
        (
            "8.1 a pseudo-header field behind others",
            &[("!:path", ""), ("a", "b"), (":path", "/")],
        ),
        ("8.2.1 a name in upper case", &[("X-a", "b")]),
        ("8.2.1 an empty name", &[("", "b")]),
        ("8.2.1 a blank in a name", &[("a b", "c")]),
        ("8.2.1 a control byte in a name", &[("a\u{1}", "c")]),
        ("8.2.1 DEL in a name", &[("a\u{7f}", "c")]),
        ("8.2.1 a byte above 0x7f in a name", &[("\u{e9}", "c")]),
        ("8.2.1 a colon in a name", &[("a:b", "c")]),
        ("8.2.1 NUL in a value", &[("a", "b\0c")]),
        ("8.2.1 LF in a value", &[("a", "b\nc: d")]),
        ("8.2.1 CR in a value", &[("a", "b\rc")]),
        ("8.2.1 a blank before a value", &[("a", " b")]),
        ("8.2.1 a blank behind a value", &[("a", "b\t")]),
        ("8.2.1 a blank alone", &[("a", " ")]),
        ("8.2.2 Connection", &[("connection", "close")]),
        ("8.2.2 Proxy-Connection", &[("proxy-connection", "close")]),
        ("8.2.2 Keep-Alive", &[("keep-alive", "timeout=1")]),
        (
            "8.2.2 Transfer-Encoding",
            &[("transfer-encoding", "chunked")],
        ),
        ("8.2.2 Upgrade", &[("upgrade", "h2c")]),
        (
            "8.2.2 TE other than trailers",
            &[("te", "trailers, deflate")],
        ),
        (
            "8.3 a pseudo-header field of responses",
            &[(":status", "200")],
        ),
        ("8.3 an unknown pseudo-header field", &[(":x", "y")]),
        (
            "8.3 :protocol, which was not offered",
            &[(":protocol", "websocket")],
        ),
        ("8.3 a colon alone", &[(":", "")]),
        ("8.3 :path twice", &[(":path", "/")]),
        ("8.3 :method twice", &[(":method", "GET")]),
        ("8.3 :scheme twice", &[(":scheme", "https")]),
        ("8.3 :authority twice", &[(":authority", "a.example")]),
        ("8.3.1 no :method", &[("!:method", "")]),
        ("8.3.1 no :scheme", &[("!:scheme", "")]),
        ("8.3.1 no :path", &[("!:path", "")]),
        ("8.3.1 an empty :path", &[("!:path", ""), (":path", "")]),
        (
            "8.3.1 a :path that is no path",
            &[("!:path", ""), (":path", "a")],
        ),
        ("8.3.1 * and not OPTIONS", &[("!:path", ""), (":path", "*")]),
        (
            "8.3.1 a URI as :path",
            &[("!:path", ""), (":path", "https://a.example/")],
        ),
        (
            "8.3.1 a blank in :path",
            &[("!:path", ""), (":path", "/a b")],
        ),
        (
            "8.3.1 a fragment in :path",
            &[("!:path", ""), (":path", "/a#b")],
        ),
        (
            "8.3.1 an empty :method",
            &[("!:method", ""), (":method", "")],
        ),
        (
            "8.3.1 a :method that is no token",
            &[("!:method", ""), (":method", "G T")],
        ),
        (
            "8.3.1 an empty :scheme",
            &[("!:scheme", ""), (":scheme", "")],
        ),
        (
            "8.3.1 a :scheme that is none",
            &[("!:scheme", ""), (":scheme", "1http")],
        ),
        (
            "8.3.1 an empty :authority",
            &[("!:authority", ""), (":authority", "")],
        ),
        (
            "8.3.1 user information in :authority",
            &[("!:authority", ""), (":authority", "u@a")],
        ),
        ("8.3.1 neither :authority nor Host", &[("!:authority", "")]),
        ("8.3.1 an empty Host", &[("!:authority", ""), ("host", "")]),
        ("8.3.1 Host names another host", &[("host", "b.example")]),
        ("8.3.1 Host names another port", &[("host", "a.example:80")]),
        ("8.3.1 Host is none", &[("host", "a/b")]),
        (
            "8.3.1 Host twice beside :authority",
            &[("host", "a.example"), ("host", "a.example")],
        ),
        (
            "8.3.1 Host twice",
            &[("!:authority", ""), ("host", "a"), ("host", "a")],
        ),
        (
            "8.1.1 Content-Length twice",
            &[("content-length", "1"), ("content-length", "1")],
        ),
        (
            "8.1.1 a list as Content-Length",
            &[("content-length", "1, 1")],
        ),
        (
            "8.1.1 a sign in Content-Length",
            &[("content-length", "+1")],
        ),
        (
            "8.5 CONNECT with :path",
            &[("!:method", ""), (":method", "CONNECT")],
        ),
        (
            "8.5 CONNECT without a port",
            &[
                ("!:method", ""),
                ("!:scheme", ""),
                ("!:path", ""),
                (":method", "CONNECT"),
            ],
        ),
    ];
    let mut buf = HeadBuf::new();
    for (name, more) in cases {
        let mut fields = get(more);
        // Those that were put in again belong to the front, unless the case is about that.
        if !name.starts_with("8.1 ") {
            fields.sort_by_key(|field| !field.0.starts_with(':'));
        }
        let decoded = decode(&mut buf, &fields);
        assert!(
            matches!(decoded, Decoded::Malformed(_)),
            "{name}: {decoded:?}"
        );
    }
}

#[test]
fn requests_that_are_answered_with_an_error() {
    let long: &'static str = Box::leak(format!("/{}", "a".repeat(8192)).into_boxed_str());
    let large: &'static str = &long[1..8000];
    let many: Vec<_> = (0..100).map(|_| ("a", "b")).collect();
    let crumbs: Vec<_> = (0..MAX_CRUMBS + 1).map(|_| ("cookie", "")).collect();
    let cases: &[(&str, &Fields, ProtocolError)] = &[
        (
            "a long path",
            &[("!:path", ""), (":path", long)],
            ProtocolError::TargetTooLong,
        ),
        ("many fields", &many, ProtocolError::TooManyFields),
        ("many crumbs", &crumbs, ProtocolError::TooManyFields),
        (
            "a large cookie",
            &[("cookie", large), ("cookie", &large[..200])],
            ProtocolError::HeadTooLarge,
        ),
        (
            "a large head",
            &[("a", large), ("b", large), ("c", large)],
            ProtocolError::HeadTooLarge,
        ),
        (
            "an unknown expectation",
            &[("expect", "more")],
            ProtocolError::Expectation,
        ),
        (
            "a length that no body has",
            &[("content-length", "9223372036854775808")],
            ProtocolError::BodyTooLarge,
        ),
        (
            "a long method",
            &[("!:method", ""), (":method", &large[..65])],
            ProtocolError::MethodTooLong,
        ),
    ];
    let mut buf = HeadBuf::new();
    for (name, more, error) in cases {
        let mut fields = get(more);
        fields.sort_by_key(|field| !field.0.starts_with(':'));
        assert_eq!(
            decode(&mut buf, &fields),
            Decoded::Refused(*error),
            "{name}"
        );
    }
}

/// The same table as a request of HTTP/1 has.
#[test]
fn requests_that_are_good() {
    let mut buf = HeadBuf::new();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut good = |fields: &[(&str, &str)]| {
        let decoded = decode(&mut buf, fields);
        let Decoded::Request(framing) = decoded else {
            panic!("{fields:?}: {decoded:?}");
        };
        let (head, bytes) = (&buf.head, buf.bytes());
        assert!(head.is_complete() && head.version == Version::Http2);
        let fields = buf.fields().map(|(name, value)| (text(name), text(value)));
        let host = head.known(Known::Host).map(|host| text(host.of(bytes)));
        let line = [
            text(head.method.of(bytes)),
            text(head.target.whole.of(bytes)),
            host.unwrap_or_default(),
        ];
        (line, fields.collect::<Vec<_>>(), framing)
    };
    let (line, fields, framing) = good(&get(&[("accept", "*/*"), ("te", "Trailers")]));
    assert_eq!(line, ["GET", "/", "a.example"]);
    let pair = |name: &str, value: &str| (String::from(name), String::from(value));
    let host = pair("host", "a.example");
    assert_eq!(
        fields,
        [host.clone(), pair("accept", "*/*"), pair("te", "Trailers")]
    );
    assert_eq!(framing.body, BodyLength::Chunked);

    // 8.3.1: Host may be there as well, and alone; it may leave out the port of the scheme.
    let (_, fields, _) = good(&get(&[("host", "A.example:443")]));
    assert_eq!(fields, [host]);
    let (line, fields, _) = good(&get(&[("!:authority", ""), ("x", ""), ("host", "b:1")]));
    assert_eq!((&*line[2], fields.len()), ("b:1", 2));

    // 8.2.3: crumbs are joined where the first one stands.
    let crumbs = [
        ("cookie", "a=b"),
        ("x", "y"),
        ("cookie", "c=d"),
        ("cookie", "e"),
    ];
    let (_, fields, _) = good(&get(&crumbs));
    assert_eq!(fields[1..], [pair("cookie", "a=b; c=d; e"), pair("x", "y")]);

    let (line, ..) = good(&get(&[("!:path", ""), (":path", "/a?b=%20|c")]));
    assert_eq!(line[1], "/a?b=%20|c");
    let asterisk = [
        ("!:method", ""),
        ("!:path", ""),
        (":method", "OPTIONS"),
        (":path", "*"),
    ];
    assert_eq!(good(&get(&asterisk)).0[..2], ["OPTIONS", "*"]);
    let connect = [(":method", "CONNECT"), (":authority", "a:443")];
    assert_eq!(good(&connect).0, ["CONNECT", "a:443", "a:443"]);
    let length = [("content-length", "17"), ("expect", "100-continue")];
    let (.., framing) = good(&get(&length));
    assert_eq!(framing.body, BodyLength::Exact(17));
    assert!(framing.expects_continue);
    good(&get(&[
        ("!:scheme", ""),
        ("!:path", ""),
        (":scheme", "x+y-1.z"),
        (":path", "/"),
    ]));
}

#[test]
fn trailer_sections() {
    let limits = Limits::default();
    let mut buf = HeadBuf::new();
    let mut decode = |fields: &[(&str, &str)]| {
        let decoded = buf.decode_trailers(&mut Decoder::new(), &block(fields), &limits);
        decoded.expect("a block").map(|()| buf.fields().count())
    };
    assert_eq!(
        decode(&[("grpc-status", "0"), ("cookie", "a"), ("cookie", "b")]),
        Ok(3)
    );
    assert_eq!(decode(&[]), Ok(0));
    // 8.1: no pseudo-header fields; 8.2.2: nothing about the connection.
    assert!(decode(&[(":path", "/")]).is_err());
    assert!(decode(&[("A", "b")]).is_err());
    assert!(decode(&[("transfer-encoding", "chunked")]).is_err());
    assert!(decode(&vec![("a", "b"); 101]).is_err());
    let large = "a".repeat(16 << 10);
    assert!(decode(&[("a", &large)]).is_err());
}
