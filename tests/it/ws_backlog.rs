//! Which messages reach a client that does not take them in time: exactly these, in this order.

use peregrine::testing::WebSocket;
use peregrine::ws::{
    BacklogPolicy, Message, PreparedMessage, Sent, Upgrade, WebSocketHandler, Ws, WsLimits,
};
use peregrine::{Done, Handler, Request, Response};

/// Sends what a text of numbers requests: for each number a message of that many bytes, with a counter in its
/// first four.
struct Feed {
    way: Way,
}

#[derive(Clone, Copy)]
enum Way {
    Send,
    PreparedMessage,
    Publish,
}

const WAYS: [Way; 3] = [Way::Send, Way::PreparedMessage, Way::Publish];

impl Handler for Feed {
    fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
        res.body("")
    }
}

impl WebSocketHandler for Feed {
    /// How many there were, and which of them were refused.
    type Conn = (u32, Vec<u32>);

    fn accept_ws(&self, _: &Request<'_>, _: &mut Upgrade<'_>) -> Option<Self::Conn> {
        Some((0, Vec::new()))
    }

    fn handle_ws_conn(&self, ws: &mut Ws<'_, Self::Conn>) {
        assert!(ws.subscribe("feed").is_ok());
    }

    fn handle_ws_frame(&self, ws: &mut Ws<'_, Self::Conn>, message: Message<'_>) {
        for size in message.as_text().expect("text").split_whitespace() {
            let mut bytes = ws.conn.0.to_be_bytes().to_vec();
            bytes.resize(size.parse().expect("a number"), 0);
            let sent = match self.way {
                Way::Send => ws.send(&bytes),
                Way::PreparedMessage => ws.send_prepared(&PreparedMessage::new(&bytes)),
                // The sender gets no report about single subscribers.
                Way::Publish => {
                    ws.publish("feed", &bytes);
                    Sent::Queued
                }
            };
            match sent {
                Sent::Queued => {}
                Sent::Full => ws.conn.1.push(ws.conn.0),
                Sent::Closed => unreachable!("it is open"),
            }
            ws.conn.0 += 1;
        }
    }
}

/// Header and payload.
fn frame_len(payload: usize) -> usize {
    payload + if payload < 126 { 2 } else { 4 }
}

/// Sends messages of these sizes to a client that takes none of them meanwhile. Returns which ones it got
/// then, and which ones the sender saw as dropped.
fn kept(
    way: Way,
    policy: BacklogPolicy,
    backlog_bytes: usize,
    sizes: &[usize],
) -> (Vec<u32>, Vec<u32>) {
    let feed = Feed { way };
    let request = "GET / HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let limits = WsLimits::default()
        .backlog_bytes(backlog_bytes)
        // All are to be sent from one hook.
        .backlog_mark(usize::MAX)
        .backlog_policy(policy);
    let client = WebSocket::connect_with(&feed, request.as_bytes(), limits);
    let mut client = client.unwrap_or_else(|_| panic!("refused"));
    client.hold(true);
    let sizes: Vec<String> = sizes.iter().map(usize::to_string).collect();
    client.send_message(&sizes.join(" "));
    assert_eq!(client.take_received(), b"");
    assert!(!client.is_closed());
    client.hold(false);
    let received = client.take_received();
    let (mut rest, mut numbers) = (&received[..], Vec::new());
    while let [first, length, after @ ..] = rest {
        assert_eq!(*first, 0x82);
        let (len, after) = match length {
            126 => (
                usize::from(u16::from_be_bytes([after[0], after[1]])),
                &after[2..],
            ),
            short => (usize::from(*short), after),
        };
        let (message, after) = after.split_at(len);
        numbers.push(u32::from_be_bytes(message[..4].try_into().expect("four")));
        rest = after;
    }
    (numbers, std::mem::take(&mut client.conn().1))
}

/// From the first of each pair to before the second.
fn numbers(parts: &[(u32, u32)]) -> Vec<u32> {
    let ranges = parts.iter().map(|&(from, to)| from..to);
    ranges.flatten().collect()
}

#[test]
fn drop_newest_keeps_what_fits_from_the_beginning() {
    for way in WAYS {
        let check = |most, sizes: &[usize], expected: &[(u32, u32)]| {
            let (got, dropped) = kept(way, BacklogPolicy::DropNewest, most, sizes);
            assert_eq!(got, numbers(expected));
            if !matches!(way, Way::Publish) {
                let all = 0..sizes.len() as u32;
                let lost: Vec<u32> = all.filter(|number| !got.contains(number)).collect();
                assert_eq!(dropped, lost);
            }
        };
        // To the byte.
        let ten = 10 * frame_len(1000);
        check(ten, &[1000; 25], &[(0, 10)]);
        check(ten - 1, &[1000; 25], &[(0, 9)]);
        // What does not fit is dropped alone: what is smaller may still find room.
        let most = frame_len(1000) + 2 * frame_len(100);
        check(
            most,
            &[1000, 500, 100, 300, 100, 4],
            &[(0, 1), (2, 3), (4, 5)],
        );
        // What could never fit, too.
        check(ten, &[ten - 3, 1000, ten - 3, 1000], &[(1, 2), (3, 4)]);
        check(ten, &[ten - 4, 1000], &[(0, 1)]);
    }
}

/// What cannot be taken back any more: the documentation of the policy names it.
const COMMITTED: usize = 64 << 10;

#[test]
fn drop_oldest_keeps_the_latest_after_bytes_that_are_being_sent() {
    for way in WAYS {
        let check = |most, sizes: &[usize], expected: &[(u32, u32)], full: &[u32]| {
            let (got, dropped) = kept(way, BacklogPolicy::DropOldest, most, sizes);
            assert_eq!(got, numbers(expected));
            if !matches!(way, Way::Publish) {
                // The old ones that make room were queued when they were sent.
                assert_eq!(dropped, full);
            }
        };
        let size = frame_len(1000);
        let first = COMMITTED / size;
        assert_eq!(first, 65);
        // Ten more have room behind those on their way: of all that follow, the last ten stay.
        let most = (first + 10) * size;
        check(most, &[1000; 75], &[(0, 75)], &[]);
        check(most, &[1000; 76], &[(0, 65), (66, 76)], &[]);
        check(most, &[1000; 300], &[(0, 65), (290, 300)], &[]);
        check(most - 1, &[1000; 300], &[(0, 65), (291, 300)], &[]);
        // A larger one costs as many of the oldest as it takes, a small one none.
        let sizes = |last: &[usize]| [&[1000; 75], last].concat();
        check(most, &sizes(&[2 * size - 4]), &[(0, 65), (67, 76)], &[]);
        check(most, &sizes(&[2 * size - 3]), &[(0, 65), (68, 76)], &[]);
        check(most, &sizes(&[10 * size - 4]), &[(0, 65), (75, 76)], &[]);
        // One that does not fit into all there is costs none of the others.
        check(
            most,
            &sizes(&[10 * size - 3, 1000]),
            &[(0, 65), (66, 75), (76, 77)],
            &[75],
        );
        // With less than what may be on its way, nothing is ever taken back.
        check(10 * size, &[1000; 25], &[(0, 10)], &numbers(&[(10, 25)]));
    }
}
