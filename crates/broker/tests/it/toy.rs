//! A protocol of lines: the smallest one that has all that the driver knows.
//!
//! ```text
//! LOGIN            SUB topic        UNSUB topic      PUB topic length\n bytes      PING
//! OK   PONG   MSG topic length\n bytes   ADDR host:port   GO host:port   MOST length   BYE
//! ```
//!
//! `*` is the topic of broadcasts.

use peregrine_broker::{Address, Protocol, ProtocolError, Received, ServerInfo, Session};
use std::sync::Arc;

pub(crate) struct Toy;

pub(crate) struct ToySession;

impl Protocol for Toy {
    type Session = ToySession;

    const NAME: &'static str = "toy";

    fn publish(&self, topic: Option<&str>, payload: [&[u8]; 2], out: &mut Vec<u8>) -> bool {
        let [head, body] = payload;
        let topic = topic.unwrap_or("*");
        let len = head.len() + body.len();
        out.extend_from_slice(format!("PUB {topic} {len}\n").as_bytes());
        out.extend_from_slice(head);
        out.extend_from_slice(body);
        topic.len() < 50
    }

    fn session(&self, _: &Address) -> ToySession {
        ToySession
    }
}

impl Session for ToySession {
    fn connected(&mut self, _: bool, out: &mut Vec<u8>) {
        out.extend_from_slice(b"LOGIN\n");
    }

    fn receive<'a>(
        &'a mut self,
        input: &'a [u8],
        _: &mut Vec<u8>,
    ) -> Result<(usize, Received<'a>), ProtocolError> {
        let Some(end) = input.iter().position(|&b| b == b'\n') else {
            return Ok((0, Received::Incomplete));
        };
        let line = std::str::from_utf8(&input[..end]).unwrap_or("?");
        let words: Vec<_> = line.split(' ').collect();
        let address = |text| Address::parse(text, 1).expect("an address");
        let received = match words[..] {
            ["OK"] => Received::Ready,
            ["PONG"] => Received::Pong,
            ["BYE"] => Received::Server(ServerInfo {
                is_leaving: true,
                ..ServerInfo::default()
            }),
            ["MOST", most] => Received::Server(ServerInfo {
                max_message: most.parse().ok(),
                ..ServerInfo::default()
            }),
            ["ADDR", text] => Received::Server(ServerInfo {
                addresses: vec![address(text)],
                ..ServerInfo::default()
            }),
            ["NO"] => Received::Refused("no".to_owned()),
            ["GO", text] => Received::Elsewhere(address(text)),
            ["MSG", topic, len] => {
                let len: usize = len.parse().expect("a number");
                let Some(payload) = input.get(end + 1..end + 1 + len) else {
                    return Ok((0, Received::Incomplete));
                };
                let topic = Some(topic).filter(|&topic| topic != "*");
                return Ok((end + 1 + len, Received::Message { topic, payload }));
            }
            _ => return Err(ProtocolError::new(format!("unknown: {line}"))),
        };
        Ok((end + 1, received))
    }

    fn subscribe(&mut self, topic: Option<&Arc<str>>, out: &mut Vec<u8>) {
        let topic = topic.map_or("*", |topic| topic);
        out.extend_from_slice(format!("SUB {topic}\n").as_bytes());
    }

    fn unsubscribe(&mut self, topic: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("UNSUB {topic}\n").as_bytes());
    }

    fn ping(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"PING\n");
    }
}
