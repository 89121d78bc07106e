//! Properties of WebSockets for tests and fuzzing.

use crate::checks::Choices;
use crate::testing::WebSocket;
use crate::ws::{BacklogPolicy, Message, Upgrade, WebSocketHandler, Ws, WsLimits};
use crate::{Done, Handler, Request, Response};
use std::time::Duration;

enum Operation {
    Send(Vec<u8>),
    Elapse(u64),
    Hold(bool),
    Close,
}

/// However the bytes are split, the responses are the same. They are whole frames without a mask, and none
/// follows a close.
pub(crate) fn check(bytes: &[u8]) {
    let mut choices = Choices(bytes);
    let policy = match choices.byte() % 3 {
        0 => BacklogPolicy::Close,
        1 => BacklogPolicy::DropNewest,
        _ => BacklogPolicy::DropOldest,
    };
    let limits = WsLimits::default()
        .message_bytes(300)
        .frame_bytes(200)
        .fragments(4)
        .control_frames(8)
        .backlog_bytes(600)
        .backlog_mark(200)
        .backlog_policy(policy);
    let mut operations = Vec::new();
    while !choices.is_empty() {
        operations.push(operation(&mut choices));
    }
    let whole = play(&operations, limits, usize::MAX);
    for step in [1, 2, 7] {
        assert_eq!(play(&operations, limits, step), whole, "in steps of {step}");
    }
}

fn operation(choices: &mut Choices<'_>) -> Operation {
    match choices.byte() % 16 {
        0 => Operation::Elapse(u64::from(choices.byte())),
        1 => Operation::Hold(choices.byte() % 2 == 0),
        2 => Operation::Close,
        3 => Operation::Send(choices.text(64).to_vec()),
        _ => {
            let first = choices.byte();
            let mut frame = vec![first];
            let payload = choices.text(256);
            match payload.len() {
                n @ 0..126 => frame.push(0x80 | n as u8),
                n => frame.extend([0xfe, 0, n as u8]),
            }
            let mask = [choices.byte(), 2, 3, 4];
            frame.extend(mask);
            frame.extend(payload.iter().zip(0..).map(|(b, i)| b ^ mask[i % 4]));
            Operation::Send(frame)
        }
    }
}

fn play(operations: &[Operation], limits: WsLimits, step: usize) -> (Vec<u8>, Option<String>) {
    let mut client = connect("", limits);
    for operation in operations {
        match operation {
            Operation::Send(bytes) => {
                let step = step.min(bytes.len().max(1));
                bytes.chunks(step).for_each(|piece| client.send(piece));
            }
            Operation::Elapse(seconds) => client.elapse(Duration::from_secs(*seconds)),
            Operation::Hold(held) => client.hold(*held),
            Operation::Close => client.close(1001, "as asked"),
        }
    }
    client.hold(false);
    let received = client.take_received();
    let mut rest = &received[..];
    let mut closed = false;
    while !rest.is_empty() {
        assert!(!closed, "a frame behind a close");
        let (first, _, after) = frame(rest);
        closed = first == 0x88;
        rest = after;
    }
    let end = client.disconnect().map(ToString::to_string);
    (received, end)
}

/// The first byte and the payload of a server's frame, and the bytes after it.
fn frame(bytes: &[u8]) -> (u8, &[u8], &[u8]) {
    let (len, header) = match bytes[1] {
        126 => (usize::from(u16::from_be_bytes([bytes[2], bytes[3]])), 4),
        n @ 0..126 => (usize::from(n), 2),
        _ => panic!("a mask, or a length that no frame here has"),
    };
    let (payload, rest) = bytes[header..].split_at(len);
    (bytes[0], payload, rest)
}

fn connect(fields: &str, limits: WsLimits) -> WebSocket<'static, Echo> {
    let request = format!(
        "GET / HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{fields}\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    WebSocket::connect_with(&Echo, request.as_bytes(), limits).expect("accepted")
}

struct Echo;

impl Handler for Echo {
    fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
        res.body("")
    }
}

impl WebSocketHandler for Echo {
    type Conn = ();

    fn accept_ws(&self, _: &Request<'_>, _: &mut Upgrade<'_>) -> Option<()> {
        Some(())
    }

    fn handle_ws_frame(&self, ws: &mut Ws<'_, ()>, message: Message<'_>) {
        ws.send(message);
    }
}

/// The input is compressed by flate2 and sent as a message: the echo is the input. The input is also sent as
/// a compressed message: the echo is the output of flate2 for it, or the connection fails.
#[cfg(feature = "deflate")]
pub(crate) fn check_deflate(bytes: &[u8]) {
    use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
    const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
    if bytes.len() > 20_000 {
        return;
    }
    let bits = 8 + bytes.first().map_or(0, |b| b % 8);
    let fields =
        format!("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits={bits}\r\n");
    let mut client = connect(&fields, WsLimits::default());
    let inflate = |bytes: &[u8]| {
        let mut plain = Vec::with_capacity(4 << 20);
        let all = [bytes, &TAIL].concat();
        let result = Decompress::new(false).decompress_vec(&all, &mut plain, FlushDecompress::Sync);
        result.map(|_| plain)
    };
    let send = |client: &mut WebSocket<'static, Echo>, payload: &[u8]| {
        let mut frame = vec![0xc2, 0xff];
        frame.extend((payload.len() as u64).to_be_bytes());
        if payload.len() < 126 {
            frame = vec![0xc2, 0x80 | payload.len() as u8];
        } else if payload.len() < 65536 {
            frame = vec![0xc2, 0xfe];
            frame.extend((payload.len() as u16).to_be_bytes());
        }
        frame.extend([0; 4]);
        frame.extend(payload);
        client.send(&frame);
        client.take_received()
    };
    let mut compressed = Vec::with_capacity(2 * bytes.len() + 100);
    Compress::new(Compression::best(), false)
        .compress_vec(bytes, &mut compressed, FlushCompress::Sync)
        .expect("compressed");
    compressed.truncate(compressed.len() - TAIL.len());
    let back = send(&mut client, &compressed);
    let (first, payload, _) = frame(&back);
    let plain = match first & 0x40 {
        0 => payload.to_vec(),
        _ => inflate(payload).expect("what we compress can be read"),
    };
    assert_eq!(plain, bytes);

    let back = send(&mut client, bytes);
    if let (false, Ok(expected)) = (client.is_closed(), inflate(bytes)) {
        if expected.len() < 60_000 {
            let (first, payload, _) = frame(&back);
            let plain = match first & 0x40 {
                0 => payload.to_vec(),
                _ => inflate(payload).expect("what we compress can be read"),
            };
            // flate2 stops after a final block. This library also reads the bytes that follow it.
            assert!(plain.starts_with(&expected));
        }
    }
}
