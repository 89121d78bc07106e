//! RFC 7541 appendix C, the rules about blocks, and stories of other encoders.

use super::*;
use crate::http::field_block;
use alloc::vec::Vec;

type Fields = Vec<(String, String)>;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| {
        let pair = core::str::from_utf8(pair).expect("digits");
        u8::from_str_radix(pair, 16).expect("a byte")
    };
    digits.chunks(2).map(byte).collect()
}

fn decode(decoder: &mut Decoder, block: &[u8], limit: usize) -> Result<Fields, HpackError> {
    let (mut out, mut fields) = (Vec::new(), Vec::new());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    decoder.decode(block, limit, &mut out, |out, field| {
        let (name, value) = (&out[field.start..field.value], &out[field.value..field.end]);
        fields.push((text(name), text(value)));
    })?;
    Ok(fields)
}

fn pairs(fields: &[(&str, &str)]) -> Fields {
    let own = |(name, value): &(&str, &str)| (String::from(*name), String::from(*value));
    fields.iter().map(own).collect()
}

/// Blocks of one connection, and what they mean.
fn story(max: Option<&str>, blocks: &[(&str, &[(&str, &str)])]) {
    let mut decoder = Decoder::new();
    let mut before = hex(max.unwrap_or(""));
    for (block, fields) in blocks {
        let block = [core::mem::take(&mut before), hex(block)].concat();
        assert_eq!(decode(&mut decoder, &block, 4096), Ok(pairs(fields)));
    }
}

#[test]
fn rfc_7541_appendix_c_2() {
    let header = [("custom-key", "custom-header")];
    story(
        None,
        &[(
            "400a637573746f6d2d6b65790d637573746f6d2d686561646572",
            &header,
        )],
    );
    story(
        None,
        &[("040c2f73616d706c652f70617468", &[(":path", "/sample/path")])],
    );
    story(
        None,
        &[(
            "100870617373776f726406736563726574",
            &[("password", "secret")],
        )],
    );
    story(None, &[("82", &[(":method", "GET")])]);
}

#[test]
fn rfc_7541_appendix_c_3_and_4() {
    let get = [(":method", "GET"), (":scheme", "http"), (":path", "/")];
    let host = (":authority", "www.example.com");
    let first = [get[0], get[1], get[2], host];
    let second = [get[0], get[1], get[2], host, ("cache-control", "no-cache")];
    let third = [
        get[0],
        (":scheme", "https"),
        (":path", "/index.html"),
        host,
        ("custom-key", "custom-value"),
    ];
    story(
        None,
        &[
            ("828684410f7777772e6578616d706c652e636f6d", &first),
            ("828684be58086e6f2d6361636865", &second),
            (
                "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
                &third,
            ),
        ],
    );
    story(
        None,
        &[
            ("828684418cf1e3c2e5f23a6ba0ab90f4ff", &first),
            ("828684be5886a8eb10649cbf", &second),
            ("828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf", &third),
        ],
    );
}

#[test]
fn rfc_7541_appendix_c_5_and_6() {
    let (private, date) = (
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
    );
    let location = ("location", "https://www.example.com");
    let first = [(":status", "302"), private, date, location];
    let second = [(":status", "307"), private, date, location];
    let third = [
        (":status", "200"),
        private,
        ("date", "Mon, 21 Oct 2013 20:13:22 GMT"),
        location,
        ("content-encoding", "gzip"),
        (
            "set-cookie",
            "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
        ),
    ];
    // A table of 256 bytes: entries are evicted.
    let size = Some("3fe101");
    story(
        size,
        &[
            (
                "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d54\
                 6e1768747470733a2f2f7777772e6578616d706c652e636f6d",
                &first,
            ),
            ("4803333037c1c0bf", &second),
            (
                "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f\
                 3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076\
                 657273696f6e3d31",
                &third,
            ),
        ],
    );
    story(
        size,
        &[
            (
                "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f\
                 0b97c8e9ae82ae43d3",
                &first,
            ),
            ("4883640effc1c0bf", &second),
            (
                "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335df\
                 dfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
                &third,
            ),
        ],
    );
}

#[test]
fn blocks_that_are_errors() {
    use HpackError::*;
    for (block, error) in [
        ("80", Index),
        ("be", Index),
        ("ff00", Index),
        ("7f0000", Index),
        ("0f2f00", Index),
        ("ff", Truncated),
        ("ffffffffffffffffffff7f", Integer),
        ("40", Truncated),
        ("4001", Truncated),
        ("400161", Truncated),
        ("40016105", Truncated),
        ("4001610578", Truncated),
        ("41", Truncated),
        ("4181ff", Padding),
        ("4184ffffffff", Eos),
        ("4182 07ff", Padding),
        ("3fe21f", SizeUpdate),
        ("202020", SizeUpdate),
        ("8220", SizeUpdate),
        ("3f", Truncated),
    ] {
        let found = decode(&mut Decoder::new(), &hex(block), 4096);
        assert_eq!(found, Err(error), "{block}");
    }
}

/// RFC 7541 section 4.2.
#[test]
fn a_lower_maximum_is_confirmed() {
    let mut decoder = Decoder::new();
    decoder.set_most(100);
    assert_eq!(
        decode(&mut decoder, &[0x82], 100),
        Err(HpackError::SizeUpdateMissing)
    );
    let mut decoder = Decoder::new();
    decoder.set_most(100);
    assert!(decode(&mut decoder, &[0x20, 0x3f, 100 - 31, 0x82], 100).is_ok());
    decoder.set_most(4096);
    assert!(decode(&mut decoder, &[0x82], 100).is_ok());
}

/// What is above the limit is not kept, and goes into the table nevertheless.
#[test]
fn a_list_that_is_too_large() {
    let mut decoder = Decoder::new();
    let (mut block, value) = (Vec::new(), [b'v'; 50]);
    for name in [b"a", b"b", b"c"] {
        block.extend_from_slice(&[0x40, 1, name[0], 50]);
        block.extend_from_slice(&value);
    }
    let fields = decode(&mut decoder, &block, 170).expect("a block");
    assert_eq!(fields.len(), 2);
    let third = decode(&mut decoder, &[0xbe], 170).expect("a block");
    assert_eq!(third[0].0, "c");
    let many = [0xbe; 9];
    assert_eq!(decode(&mut decoder, &many, 170), Err(HpackError::TooLarge));
}

/// The name of an entry is used for the one that drives it out (RFC 7541 section 4.4).
#[test]
fn the_name_of_an_evicted_entry() {
    let mut decoder = Decoder::new();
    let block = [
        &[0x3f, 29, 0x40, 2, b'a', b'b', 20][..],
        &[b'v'; 20],
        &[0x7e, 25],
        &[b'w'; 25],
    ];
    let fields = decode(&mut decoder, &block.concat(), 4096).expect("a block");
    assert_eq!(fields[1], (String::from("ab"), "w".repeat(25)));
    assert_eq!(
        decode(&mut decoder, &[0xbe], 4096),
        Ok(vec![fields[1].clone()])
    );
    assert_eq!(decode(&mut decoder, &[0xbf], 4096), Err(HpackError::Index));
}

fn encoded(encoder: &mut Encoder, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.begin(&mut out);
    for (name, value) in fields {
        encoder.field(name.as_bytes(), value.as_bytes(), &mut out);
    }
    out
}

#[test]
fn what_the_encoder_indexes() {
    let mut encoder = Encoder::new();
    assert_eq!(encoder.held(), 0);
    let fields = [("Server", "peregrine"), ("Content-Type", "text/plain")];
    assert!(encoded(&mut encoder, &fields).len() > 4);
    assert_eq!(encoded(&mut encoder, &fields), [0xbf, 0xbe]);
    let length = encoded(&mut encoder, &[("Content-Length", "13")]);
    assert_eq!(length, *b"\x0f\x0d\x0213");
    for secret in ["Set-Cookie", "authorization", "Proxy-Authorization"] {
        let once = encoded(&mut encoder, &[(secret, "a")]);
        assert_eq!(once[0] & 0xf0, 0x10, "{secret}");
        assert_eq!(encoded(&mut encoder, &[(secret, "a")]), once);
    }
    let long = "v".repeat(1100);
    let once = encoded(&mut encoder, &[("content-type", &long)]);
    assert_eq!(encoded(&mut encoder, &[("content-type", &long)]), once);
    let name = "X-".repeat(50);
    let block = encoded(&mut encoder, &[(&name, "v")]);
    let fields = decode(&mut Decoder::new(), &block, 4096).expect("a block");
    assert_eq!(fields, pairs(&[(&name.to_ascii_lowercase(), "v")]));
    let mut status = Vec::new();
    Encoder::new().status(200, &mut status);
    assert_eq!(status, [0x88]);
}

/// A block is read once, as long as its entries are there.
#[test]
fn a_block_that_is_remembered() {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
    let mut send = |encoder: &mut Encoder, text: &[u8]| {
        let mut out = Vec::new();
        encoder.begin(&mut out);
        encoder.block(text, |name| name == b"Upgrade", &mut out);
        let fields = decode(&mut decoder, &out, 4096).expect("a block");
        (
            out,
            fields.into_iter().map(|field| field.1).collect::<Vec<_>>(),
        )
    };
    let block = b"Server: a\r\nUpgrade: b\r\nDate: c\r\n";
    let values = ["a", "c"].map(String::from).to_vec();
    assert_eq!(send(&mut encoder, block).1, values);
    assert_eq!(
        send(&mut encoder, block),
        (vec![0xbf, 0xbe], values.clone())
    );
    // Others are inserted.
    assert_eq!(
        send(&mut encoder, b"Vary: x\r\nDate: d\r\n").1,
        ["x", "d"].map(String::from)
    );
    assert_eq!(
        send(&mut encoder, block),
        (vec![0xc1, 0xc0], values.clone())
    );
    assert_eq!(
        send(&mut encoder, block),
        (vec![0xc1, 0xc0], values.clone())
    );
    // It is driven out.
    encoder.set_max(0);
    encoder.set_max(4096);
    assert_eq!(send(&mut encoder, block).1, values);
    assert_eq!(send(&mut encoder, block), (vec![0xbf, 0xbe], values));
    // What no table gets is sent each time.
    for _ in 0..3 {
        let (out, fields) = send(&mut encoder, b"Set-Cookie: a\r\nDate: d\r\n");
        assert_eq!((out[0], fields), (0x1f, vec!["a".into(), "d".into()]));
    }
    assert_eq!(send(&mut encoder, b""), (vec![], vec![]));
}

/// Blocks that come again, in any order and with tables of any size, are what they were.
#[test]
fn blocks_that_come_again() {
    let blocks: [&[u8]; 9] = [
        b"Server: a\r\nDate: c\r\n",
        b"Server: a\r\nDate: d\r\n",
        b"Content-Type: text/plain\r\nETag: \"0123456789abcdef\"\r\nLast-Modified: Sun, 06 Nov 1994\r\n",
        b"Content-Type: text/plain\r\nETag: \"0123456789abcdee\"\r\nLast-Modified: Sun, 06 Nov 1994\r\n",
        b"Set-Cookie: a=b\r\nX-Own: 1\r\n",
        b"a: 1\r\nb: 2\r\nc: 3\r\nd: 4\r\ne: 5\r\nf: 6\r\ng: 7\r\nh: 8\r\ni: 9\r\n",
        b"Vary: x\r\n",
        b"Allow: y\r\nX-Own: \r\n",
        b"",
    ];
    let mut random = 7_u32;
    let mut choose = |n: usize| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 16) as usize % n
    };
    let (sizes, mut repeated) = ([0, 36, 40, 60, 100, 200, 4096], 0);
    for max in sizes {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
        encoder.set_max(max);
        let mut last = [0; 2];
        for _ in 0..2000 {
            if choose(50) == 0 {
                encoder.set_max([sizes[choose(sizes.len())], max][choose(2)]);
            }
            // Often the same again.
            last = last.map(|last| [choose(blocks.len()), last, last][choose(3)]);
            let mut out = Vec::new();
            encoder.begin(&mut out);
            for at in last {
                let start = out.len();
                encoder.block(blocks[at], |_| false, &mut out);
                repeated +=
                    usize::from(out[start..].iter().all(|b| *b > 0xbd) && start < out.len());
            }
            let fields = decode(&mut decoder, &out, 4096).expect("a block");
            let all = last.map(|at| blocks[at]).concat();
            let expected = field_block::fields(&all).map(|(name, value)| {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                (text(name).to_ascii_lowercase(), text(value))
            });
            assert_eq!(fields, expected.collect::<Vec<_>>(), "{max} {last:?}");
        }
        encoder.set_max(0);
        encoder.begin(&mut Vec::new());
        assert_eq!(encoder.held(), 0);
    }
    assert!(repeated > 1000, "{repeated}");
}

/// What no table gets is read once, too.
#[test]
fn a_block_with_literals_goes_out_as_before() {
    let mut encoder = Encoder::new();
    let block = b"Content-Type: text/plain\r\nETag: \"0123456789abcdef\"\r\n";
    let outs = [(); 4].map(|()| {
        let mut out = Vec::new();
        encoder.block(block, |_| false, &mut out);
        out
    });
    assert!(outs[0].len() > outs[1].len());
    assert!(outs[1..].iter().all(|out| *out == outs[1]));
}

/// RFC 7541 section 4.2: the smallest maximum since the last block, and the last one.
#[test]
fn size_updates_of_the_encoder() {
    let mut encoder = Encoder::new();
    let date = [("date", "x")];
    encoded(&mut encoder, &date);
    encoder.set_max(1 << 20);
    assert_eq!(encoded(&mut encoder, &date), [0xbe]);
    encoder.set_max(0);
    encoder.set_max(4096);
    assert_eq!(encoded(&mut encoder, &[]), [0x20, 0x3f, 0xe1, 0x1f]);
    encoder.set_max(0);
    let none = encoded(&mut encoder, &date);
    assert_eq!(none[0], 0x20);
    assert_eq!(encoder.held(), 0);
    assert_eq!(encoded(&mut encoder, &date), &none[1..]);
    encoder.set_max(100);
    assert_eq!(encoded(&mut encoder, &[]), [0x3f, 100 - 31]);
}

/// Stories that `.ci/hpack` has made lines of: `wire HEX`, `field NAME<tab>VALUE`. Each is decoded,
/// and encoded again into a file beside it, for another decoder.
#[test]
#[ignore = "for .ci/hpack, which has the stories"]
fn stories_of_other_encoders() {
    let folder = std::env::var_os("HPACK_STORIES").expect("HPACK_STORIES");
    let mut stories = 0;
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path
            .extension()
            .is_some_and(|extension| extension == "story")
        {
            let text = std::fs::read_to_string(&path).expect("a story");
            let ours = tell(&text).join("\n");
            std::fs::write(path.with_extension("ours"), ours).expect("a file");
            stories += 1;
        }
    }
    assert!(stories > 0, "no stories");
}

fn tell(text: &str) -> Vec<String> {
    let (mut decoder, mut encoder) = (Decoder::new(), Encoder::new());
    let mut ours = Vec::new();
    for case in text.split("wire ").skip(1) {
        let mut lines = case.lines();
        let wire = hex(lines.next().unwrap_or(""));
        let of = |line: &str| {
            let (name, value) = line.strip_prefix("field ")?.split_once('\t')?;
            Some((name.to_owned(), value.to_owned()))
        };
        let fields: Fields = lines.filter_map(of).collect();
        assert_eq!(decode(&mut decoder, &wire, 1 << 20), Ok(fields.clone()));
        let block: Vec<_> = fields.iter().map(|f| (&*f.0, &*f.1)).collect();
        let block = encoded(&mut encoder, &block);
        ours.push(block.iter().map(|byte| format!("{byte:02x}")).collect());
    }
    ours
}
