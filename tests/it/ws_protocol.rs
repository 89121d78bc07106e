//! Frames in, frames out, without sockets: every case whole, byte by byte, at every split, and with
//! a message trailing.

use peregrine::testing::WebSocket;
use peregrine::ws::{
    BacklogPolicy, Disconnect, FrameError, Message, Sent, Upgrade, UpgradeError, WebSocketHandler,
    Ws, WsLimits,
};
use peregrine::{Done, Handler, Request, Response};
use std::panic::resume_unwind;
use std::time::Duration;

pub(crate) struct Echo;

/// What a handler cannot set in the response to a handshake.
const OF_THE_HANDSHAKE: &[&str] = &[
    "Upgrade",
    "Connection",
    "Keep-Alive",
    "Proxy-Connection",
    "Content-Length",
    "Transfer-Encoding",
    "Trailer",
    "Date",
    "Server",
    "Sec-WebSocket-Accept",
    "Sec-WebSocket-Extensions",
    "Sec-WebSocket-Key",
    "sec-websocket-protocol",
    "Sec-WebSocket-Version",
];

impl Handler for Echo {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        res.body(req.path())
    }
}

impl WebSocketHandler for Echo {
    type Conn = Vec<String>;

    fn accept_ws(&self, req: &Request<'_>, upgrade: &mut Upgrade<'_>) -> Option<Vec<String>> {
        match req.path() {
            "/refused" => upgrade.refuse(403, "no"),
            "/refused/and/accepted" => {
                upgrade.refuse(403, "no");
                return Some(Vec::new());
            }
            "/page" => {}
            _ => {
                let is_offered = upgrade.protocols().any(|name| name == "b");
                let (chosen, again) = match is_offered {
                    true => (Ok(()), Err(UpgradeError::ChosenAlready)),
                    false => (Err(UpgradeError::NotOffered), Err(UpgradeError::NotOffered)),
                };
                assert_eq!(upgrade.protocol("b"), chosen);
                assert_eq!(upgrade.protocol("b"), again);
                assert_eq!(upgrade.header("X-Here", "yes"), Ok(()));
                for name in OF_THE_HANDSHAKE {
                    assert_eq!(
                        upgrade.header(name, "b"),
                        Err(UpgradeError::Reserved),
                        "{name}"
                    );
                }
                for (name, value) in [("X", "a\r\nb: c"), ("X Y", "a"), ("", "a")] {
                    assert_eq!(upgrade.header(name, value), Err(UpgradeError::Malformed));
                }
                return Some(Vec::new());
            }
        }
        None
    }

    fn handle_ws_frame(&self, ws: &mut Ws<'_, Vec<String>>, message: Message<'_>) {
        match message.as_text() {
            Some("close") => {
                ws.close(4000, "as asked");
                assert_eq!(ws.send("late"), Sent::Closed);
            }
            Some("panic") => resume_unwind(Box::new("as asked")),
            Some("flood") => {
                let sent = (0..).take_while(|_| ws.send(&vec![b'x'; 1000]).is_queued());
                let sent = sent.count();
                ws.conn.push(format!("sent {sent}"));
            }
            _ => {
                ws.send(message);
            }
        }
    }

    fn handle_ws_disconn(&self, ws: &mut Ws<'_, Vec<String>>, why: &Disconnect) {
        assert_eq!(ws.send("late"), Sent::Closed);
        ws.conn.push(why.to_string());
    }

    fn handle_ws_drain(&self, ws: &mut Ws<'_, Vec<String>>) {
        ws.conn.push("drained".to_owned());
    }

    fn handle_ws_pong(&self, ws: &mut Ws<'_, Vec<String>>, payload: &[u8]) {
        ws.conn.push(format!("pong {}", payload.escape_ascii()));
    }
}

/// A client's frame: first byte and payload.
pub(crate) fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = vec![first];
    match payload.len() {
        n @ 0..126 => bytes.push(0x80 | n as u8),
        n @ 126..65536 => {
            bytes.push(0xfe);
            bytes.extend_from_slice(&(n as u16).to_be_bytes());
        }
        n => {
            bytes.push(0xff);
            bytes.extend_from_slice(&(n as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&mask);
    bytes.extend(payload.iter().zip(0..).map(|(b, i)| b ^ mask[i % 4]));
    bytes
}

/// A server's frame.
pub(crate) fn plain(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut bytes = vec![first];
    match payload.len() {
        n @ 0..126 => bytes.push(n as u8),
        n => {
            bytes.push(126);
            bytes.extend_from_slice(&u16::try_from(n).expect("short").to_be_bytes());
        }
    }
    bytes.extend_from_slice(payload);
    bytes
}

fn close(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason.as_bytes()].concat()
}

pub(crate) fn failed(error: FrameError) -> Vec<u8> {
    plain(0x88, close(error.close_code(), &error.to_string()))
}

fn limits() -> WsLimits {
    WsLimits::default()
        .message_bytes(1000)
        .frame_bytes(600)
        .fragments(5)
        .control_frames(3)
}

pub(crate) fn connect(limits: WsLimits) -> WebSocket<'static, Echo> {
    let request = b"GET /ws HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    WebSocket::connect_with(&Echo, request, limits).expect("accepted")
}

/// Sends `input` in pieces that end at `ends`. What comes back, and whether it is over.
fn exchange(input: &[u8], ends: &[usize]) -> (Vec<u8>, bool) {
    let mut client = connect(limits());
    let mut from = 0;
    for &end in ends {
        client.send(&input[from..end]);
        from = end;
    }
    client.send(&input[from..]);
    (client.take_received(), client.is_closed())
}

#[track_caller]
fn check(name: &str, input: &[Vec<u8>], output: &[Vec<u8>], open: bool) {
    let (mut input, output) = (input.concat(), output.concat());
    let all: Vec<usize> = (1..input.len()).collect();
    assert_eq!(exchange(&input, &[]), (output.clone(), !open), "{name}");
    assert_eq!(
        exchange(&input, &all),
        (output.clone(), !open),
        "{name}, byte by byte"
    );
    for split in 1..input.len() {
        let got = exchange(&input, &[split]);
        assert_eq!(got, (output.clone(), !open), "{name}, split at {split}");
    }
    input.extend_from_slice(&frame(0x82, "more"));
    let expected = match open {
        true => [&output[..], &plain(0x82, "more")].concat(),
        false => output,
    };
    assert_eq!(
        exchange(&input, &[]),
        (expected, !open),
        "{name}, with more"
    );
}

#[test]
fn messages_come_back() {
    check(
        "text",
        &[frame(0x81, "hello")],
        &[plain(0x81, "hello")],
        true,
    );
    check(
        "empty",
        &[frame(0x81, ""), frame(0x82, "")],
        &[plain(0x81, ""), plain(0x82, "")],
        true,
    );
    for len in [125, 126, 127, 600] {
        let long = vec![0xa5; len];
        check("long", &[frame(0x82, &long)], &[plain(0x82, &long)], true);
    }
    let text = "\u{df}\u{6c34}\u{1f30a}";
    check(
        "characters",
        &[frame(0x81, text)],
        &[plain(0x81, text)],
        true,
    );
}

#[test]
fn fragments_make_messages() {
    let text = "k\u{f6}\u{20ac}\u{1f600}!";
    let bytes = text.as_bytes();
    for at in 0..=bytes.len() {
        let pieces = [frame(0x01, &bytes[..at]), frame(0x80, &bytes[at..])];
        check("two", &pieces, &[plain(0x81, text)], true);
    }
    let pieces = [
        frame(0x02, "ab"),
        frame(0x89, "ping"),
        frame(0x00, ""),
        frame(0x8a, "pong"),
        frame(0x00, "cd"),
        frame(0x80, "ef"),
        frame(0x81, "next"),
    ];
    let answers = [
        plain(0x8a, "ping"),
        plain(0x82, "abcdef"),
        plain(0x81, "next"),
    ];
    check("controls between", &pieces, &answers, true);
}

#[test]
fn each_violation_has_its_close_code() {
    use FrameError as E;
    let unmasked = vec![0x81, 0x01, b'x'];
    let half = |first| vec![frame(first, "x")];
    let cases = [
        (vec![unmasked], E::Unmasked),
        (half(0xc1), E::ReservedBits),
        (half(0xa1), E::ReservedBits),
        (half(0x91), E::ReservedBits),
        (half(0xc9), E::ReservedBits),
        (half(0x83), E::Opcode),
        (half(0x8f), E::Opcode),
        (half(0x09), E::ControlFragmented),
        (vec![frame(0x89, [0; 126])], E::ControlTooLong),
        (half(0x80), E::NothingToContinue),
        (
            vec![frame(0x01, "x"), frame(0x81, "x")],
            E::MessageInMessage,
        ),
        (vec![frame(0x88, "x")], E::CloseCode),
        (vec![frame(0x88, close(1005, ""))], E::CloseCode),
        (vec![frame(0x88, b"\x03\xe8\xff")], E::Utf8),
        (vec![frame(0x81, b"a\xff")], E::Utf8),
        (vec![frame(0x81, b"a\xe2\x82")], E::Utf8),
        (vec![frame(0x01, b"\xe2\x82"), frame(0x80, "x")], E::Utf8),
        (vec![frame(0x82, [0; 601])], E::FrameTooLarge),
        (
            vec![frame(0x02, [0; 500]), frame(0x80, [0; 501])],
            E::MessageTooLarge,
        ),
        (
            [vec![frame(0x01, "")], vec![frame(0x00, ""); 5]].concat(),
            E::TooManyFragments,
        ),
        (vec![frame(0x8a, ""); 4], E::TooManyControlFrames),
    ];
    for (input, error) in cases {
        check(&error.to_string(), &input, &[failed(error)], false);
    }
    // Responses to earlier frames are still sent.
    let input = [frame(0x81, "good"), frame(0x83, "")];
    check(
        "after a message",
        &input,
        &[plain(0x81, "good"), failed(E::Opcode)],
        false,
    );
}

#[test]
fn bad_text_is_refused_before_its_end() {
    let whole = frame(0x81, [b"abc\xed\xa0\x80".as_slice(), &[b'x'; 100]].concat());
    let mut client = connect(limits());
    client.send(&whole[..6 + 4]);
    assert!(!client.is_closed());
    client.send(&whole[6 + 4..6 + 5]);
    assert_eq!(client.take_received(), failed(FrameError::Utf8));
}

#[test]
fn a_frame_is_refused_by_its_header() {
    let mut client = connect(limits());
    client.send(&[
        0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0,
    ]);
    assert_eq!(client.take_received(), failed(FrameError::FrameTooLarge));
}

#[test]
fn close_handshakes() {
    let code = 3000u16.to_be_bytes();
    check(
        "by the client",
        &[frame(0x88, close(3000, "bye"))],
        &[plain(0x88, code)],
        false,
    );
    check(
        "without a code",
        &[frame(0x88, "")],
        &[plain(0x88, "")],
        false,
    );
    let ours = plain(0x88, close(4000, "as asked"));
    let input = [
        frame(0x81, "close"),
        frame(0x81, "lost"),
        frame(0x89, "lost"),
    ];
    let mut client = connect(limits());
    client.send(&input.concat());
    assert_eq!(client.take_received(), ours);
    assert!(!client.is_closed());
    client.send(&frame(0x88, close(4000, "")));
    assert_eq!(client.take_received(), b"");
    let end = client.disconnect().map(ToString::to_string);
    assert_eq!(end.as_deref(), Some("closed with 4000"));
    assert_eq!(*client.conn(), ["closed with 4000"]);
}

#[test]
fn a_client_that_does_not_respond_is_closed() {
    let mut client = connect(limits());
    client.elapse(Duration::from_secs(60));
    assert_eq!(client.take_received(), b"");
    client.elapse(Duration::from_secs(1));
    assert_eq!(client.take_received(), plain(0x89, ""));
    client.send(&frame(0x8a, ""));
    assert_eq!(*client.conn(), ["pong "]);
    client.elapse(Duration::from_secs(61));
    assert_eq!(client.take_received(), plain(0x89, ""));
    client.elapse(Duration::from_secs(20));
    assert!(!client.is_closed());
    client.elapse(Duration::from_secs(1));
    assert!(matches!(client.disconnect(), Some(Disconnect::Silent)));

    let mut client = connect(limits());
    client.close(1001, "");
    client.elapse(Duration::from_secs(6));
    assert_eq!(client.take_received(), plain(0x88, 1001u16.to_be_bytes()));
    assert!(matches!(
        client.disconnect(),
        Some(Disconnect::CloseTimeout)
    ));

    let mut client = connect(limits());
    client.hold(true);
    client.send_message("x");
    client.elapse(Duration::from_secs(31));
    assert!(matches!(
        client.disconnect(),
        Some(Disconnect::WriteTimeout)
    ));

    let mut client = connect(limits());
    client.send(&frame(0x81, "half")[..3]);
    client.send_eof();
    assert!(matches!(client.disconnect(), Some(Disconnect::Gone)));
}

#[test]
fn a_panic_closes_with_1011() {
    let mut client = connect(limits());
    client.send_message("panic");
    assert_eq!(client.take_received(), plain(0x88, 1011u16.to_be_bytes()));
    assert!(!client.is_closed());
    client.send(&frame(0x88, close(1011, "")));
    assert_eq!(*client.conn(), ["closed with 1011"]);
}

#[test]
fn backlogs_by_policy() {
    let with = |backlog_policy| {
        let mut client = connect(
            WsLimits::default()
                .backlog_bytes(100_000)
                .backlog_mark(50_000)
                .backlog_policy(backlog_policy),
        );
        client.hold(true);
        client
    };
    let fits = 100_000 / 1004;

    let mut client = with(BacklogPolicy::Close);
    client.send_message("flood");
    assert!(matches!(client.disconnect(), Some(Disconnect::Backlog)));

    let mut client = with(BacklogPolicy::DropNewest);
    client.send_message("flood");
    assert_eq!(*client.conn(), [format!("sent {fits}")]);
    // Nothing more is read from a client that takes nothing.
    client.send_message("flood");
    assert_eq!(client.conn().len(), 1);
    client.hold(false);
    assert_eq!(
        client.conn()[1..],
        ["drained", &format!("sent {fits}"), "drained"]
    );
    assert_eq!(client.take_received().len(), 2 * fits * 1004);
}

#[test]
fn handshakes() {
    let request = |extra: &str| {
        format!(
            "GET /ws HTTP/1.1\r\nHost: t\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{extra}\r\n"
        )
    };
    let try_with = |request: &str| {
        let answer = WebSocket::connect_with(&Echo, request.as_bytes(), limits());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        answer
            .map(|client| text(client.handshake()))
            .map_err(|answer| text(&answer))
    };
    let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    let plain = format!("{head}X-Here: yes\r\n\r\n");
    assert_eq!(try_with(&request("")), Ok(plain.clone()));
    let chosen = format!("{head}Sec-WebSocket-Protocol: b\r\nX-Here: yes\r\n\r\n");
    let offer = "Sec-WebSocket-Protocol: a\r\nsec-websocket-protocol: c , b\r\n";
    assert_eq!(try_with(&request(offer)), Ok(chosen));
    assert_eq!(
        try_with(&request("Sec-WebSocket-Protocol: x\r\n")),
        Ok(plain)
    );

    let refused = |request: &str| try_with(request).expect_err("refused");
    let with = |from: &str, to: &str| refused(&request("").replace(from, to));
    assert!(with("/ws", "/refused").starts_with("HTTP/1.1 403 "));
    assert!(with("/ws", "/refused/and/accepted").starts_with("HTTP/1.1 403 "));
    assert!(with("/ws", "/page").ends_with("\r\n\r\n/page"));
    assert!(with("WebSocket\r", "h2c\r").ends_with("\r\n\r\n/ws"));
    let version = with("Version: 13", "Version: 12");
    assert!(
        version.starts_with("HTTP/1.1 426 ")
            && version.contains("\r\nSec-WebSocket-Version: 13\r\n")
            && version.contains("\r\nUpgrade: websocket\r\n")
            && version.contains("\r\nConnection: upgrade\r\n")
    );
    assert!(with("Key: dGhl", "Key: ").starts_with("HTTP/1.1 400 "));
    assert!(with("GET", "PUT").starts_with("HTTP/1.1 405 "));
    assert!(with(", Upgrade", "").starts_with("HTTP/1.1 400 "));
    assert!(with("HTTP/1.1", "HTTP/1.0").starts_with("HTTP/1.1 400 "));
}

#[test]
fn frames_behind_the_handshake_are_not_lost() {
    let request = "GET /ws HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let all = [
        request.as_bytes(),
        &frame(0x81, "first"),
        &frame(0x81, "second")[..5],
    ]
    .concat();
    let mut client = WebSocket::connect_with(&Echo, &all, limits()).expect("accepted");
    assert_eq!(client.take_received(), plain(0x81, "first"));
    client.send(&frame(0x81, "second")[5..]);
    assert_eq!(client.take_received(), plain(0x81, "second"));
}
