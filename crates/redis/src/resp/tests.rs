//! Values at every split, changed values, and what is no value.

use super::*;
use crate::check;

fn bytes(text: &str) -> Value {
    Value::Bytes(text.into())
}

/// Each with the value that it is, as the server sends it.
fn cases() -> Vec<(&'static [u8], Value)> {
    use Value::*;
    vec![
        (b"+OK\r\n", bytes("OK")),
        (b"+\r\n", bytes("")),
        (b"-ERR no\r\n", Error("ERR no".into())),
        (b"!4\r\nE\r\nF\r\n", Error("E\r\nF".into())),
        (b":-12\r\n", Int(-12)),
        (b":9223372036854775807\r\n", Int(i64::MAX)),
        (b"$-1\r\n", Nil),
        (b"*-1\r\n", Nil),
        (b"_\r\n", Nil),
        (b"#t\r\n", Bool(true)),
        (b"#f\r\n", Bool(false)),
        (b",1.5\r\n", bytes("1.5")),
        (
            b"(123456789012345678901234567890\r\n",
            bytes("123456789012345678901234567890"),
        ),
        (b"$0\r\n\r\n", bytes("")),
        (b"$6\r\na\r\nb\rc\r\n", bytes("a\r\nb\rc")),
        (b"$2\r\n\xff\x00\r\n", Bytes(vec![255, 0])),
        (b"=7\r\ntxt:a\r\n\r\n", bytes("a\r\n")),
        (b"*0\r\n", Array(vec![])),
        (b"~1\r\n:1\r\n", Array(vec![Int(1)])),
        (b"%1\r\n+a\r\n:1\r\n", Array(vec![bytes("a"), Int(1)])),
        (
            b"*2\r\n*1\r\n:1\r\n$1\r\nx\r\n",
            Array(vec![Array(vec![Int(1)]), bytes("x")]),
        ),
        (b"*2\r\n*0\r\n*-1\r\n", Array(vec![Array(vec![]), Nil])),
        (b"|1\r\n+ttl\r\n:1\r\n:7\r\n", Int(7)),
        (b"|0\r\n:7\r\n", Int(7)),
        (
            b"*2\r\n|1\r\n+ttl\r\n*1\r\n:1\r\n:7\r\n:8\r\n",
            Array(vec![Int(7), Int(8)]),
        ),
        (
            b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n",
            Push(vec![bytes("message"), bytes("c"), bytes("hi")]),
        ),
    ]
}

#[test]
fn every_value_at_every_split() {
    for (text, expected) in cases() {
        let shown = String::from_utf8_lossy(text);
        for split in 0..=text.len() {
            let mut parser = Parser::new(1000);
            parser.push(&text[..split]);
            let first = parser.next().expect("valid");
            if split < text.len() {
                assert_eq!(first, None, "{shown} at {split}");
                parser.push(&text[split..]);
                parser.push(b"+more\r");
                assert_eq!(
                    parser.next(),
                    Ok(Some(expected.clone())),
                    "{shown} at {split}"
                );
                assert_eq!(parser.next(), Ok(None));
                parser.push(b"\n");
                assert_eq!(parser.next(), Ok(Some(bytes("more"))));
            } else {
                assert_eq!(first, Some(expected.clone()), "{shown}");
            }
            assert_eq!(parser.next(), Ok(None));
        }
        let mut parser = Parser::new(1000);
        for (n, byte) in text.iter().enumerate() {
            assert_eq!(parser.next(), Ok(None), "{shown} before {n}");
            parser.push(&[*byte]);
        }
        assert_eq!(parser.next(), Ok(Some(expected)), "{shown}");
        assert!(parser.bytes.len() <= text.len() && parser.open.is_empty());
    }
}

#[test]
fn what_is_no_value_is_an_error() {
    let cases: [(&[u8], RespError); 17] = [
        (b"x\r\n", RespError::Syntax),
        (b"\r\n", RespError::Syntax),
        (b":\r\n", RespError::Syntax),
        (b":1x\r\n", RespError::Syntax),
        (b":9223372036854775808\r\n", RespError::Syntax),
        (b"_x\r\n", RespError::Syntax),
        (b"#x\r\n", RespError::Syntax),
        (b"$-2\r\n", RespError::Syntax),
        (b"=-1\r\n", RespError::Syntax),
        (b"=3\r\nabc\r\n", RespError::Syntax),
        (b"$1\r\nabc", RespError::Syntax),
        (b"%-1\r\n", RespError::Syntax),
        (b"*1\r\n>1\r\n+a\r\n", RespError::Syntax),
        (b"$101\r\n", RespError::TooLarge),
        (b"*34\r\n", RespError::TooLarge),
        (b"*9223372036854775807\r\n", RespError::TooLarge),
        (b"HTTP/1.1 400 Bad Request\r\n", RespError::Syntax),
    ];
    for (text, error) in cases {
        let mut parser = Parser::new(100);
        parser.push(text);
        assert_eq!(
            parser.next(),
            Err(error),
            "{}",
            String::from_utf8_lossy(text)
        );
    }
    let mut parser = Parser::new(1 << 20);
    parser.push(&b"*1\r\n".repeat(DEPTH + 1));
    assert_eq!(parser.next(), Err(RespError::TooDeep));
    // Neither a line without an end nor many small values go beyond the limit.
    let mut parser = Parser::new(1 << 20);
    parser.push(&[b'+'; LINE + 2]);
    assert_eq!(parser.next(), Err(RespError::TooLarge));
    let mut parser = Parser::new(100);
    parser.push(b"*30\r\n");
    let error = (0..30).find_map(|_| {
        parser.push(b"$2\r\nab\r\n");
        parser.next().err()
    });
    assert_eq!(error, Some(RespError::TooLarge));
}

/// Changed replies, whole and in pieces: the same values, and no panic.
#[test]
fn changed_replies_are_read_the_same_in_pieces() {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut below = |end: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % end as u64) as usize
    };
    let cases = cases();
    let (mut valid, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let mut bytes = Vec::new();
        for _ in 0..=below(4) {
            bytes.extend_from_slice(cases[below(cases.len())].0);
        }
        for _ in 0..below(4) {
            let at = below(bytes.len().max(1));
            if bytes.is_empty() {
                break;
            }
            match below(4) {
                0 => bytes[at] = below(256) as u8,
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, b"\r\n:$*>%|-0123456789"[below(19)]),
                _ => bytes.truncate(at.max(1)),
            }
        }
        check::check(&bytes);
        let whole = check::parse(&bytes, || usize::MAX);
        valid += whole.0.len();
        refused += usize::from(whole.1.is_some());
    }
    assert!(valid > 10_000 && refused > 3_000, "{valid} {refused}");
}

#[test]
fn a_command_is_an_array_of_texts() {
    let mut out = Vec::new();
    command(&[b"PUBLISH", b"", b"a\r\nb\xff"], &mut out);
    assert_eq!(
        out,
        b"*3\r\n$7\r\nPUBLISH\r\n$0\r\n\r\n$5\r\na\r\nb\xff\r\n"
    );
    let mut parser = Parser::new(100);
    parser.push(&out);
    assert!(matches!(parser.next(), Ok(Some(Value::Array(parts))) if parts.len() == 3));
}
