//! The state of one connection to a NATS server.

use crate::auth::Auth;
use crate::line::{self, Item};
use crate::subject;
use peregrine_broker::{Address, Protocol, ProtocolError, Received, ServerInfo, Session};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Arc;

/// The protocol of NATS for topics below a prefix.
pub struct Nats {
    pub(crate) prefix: Arc<str>,
    pub(crate) auth: Arc<Auth>,
    pub(crate) name: Option<String>,
    /// Whether the server sends this process its own messages.
    pub(crate) echo: bool,
    pub(crate) is_tls_first: bool,
}

impl Protocol for Nats {
    type Session = NatsSession;

    const NAME: &'static str = "NATS";

    fn publish(&self, topic: Option<&str>, payload: [&[u8]; 2], out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(b"PUB ");
        if !subject::push(&self.prefix, topic, out) {
            return false;
        }
        let [head, body] = payload;
        // A `Vec` takes everything.
        let _ = write!(out, " {}\r\n", head.len() + body.len());
        out.extend_from_slice(head);
        out.extend_from_slice(body);
        out.extend_from_slice(b"\r\n");
        true
    }

    fn session(&self, address: &Address) -> NatsSession {
        NatsSession {
            prefix: self.prefix.clone(),
            auth: self.auth.clone(),
            name: self.name.clone(),
            echo: self.echo,
            address: address.clone(),
            is_secure: false,
            info: None,
            is_ready: false,
            last_sid: BROADCASTS,
            by_topic: HashMap::new(),
            by_sid: HashMap::new(),
        }
    }

    fn is_tls_at_once(&self) -> bool {
        self.is_tls_first
    }
}

/// The number of the subscription to broadcasts.
const BROADCASTS: u64 = 1;

/// The state of one connection to a NATS server.
pub struct NatsSession {
    prefix: Arc<str>,
    auth: Arc<Auth>,
    name: Option<String>,
    echo: bool,
    address: Address,
    is_secure: bool,
    /// The first INFO.
    info: Option<Value>,
    /// The first PONG has come: the login was accepted.
    is_ready: bool,
    last_sid: u64,
    by_topic: HashMap<Arc<str>, u64>,
    by_sid: HashMap<u64, Arc<str>>,
}

impl Session for NatsSession {
    fn connected(&mut self, is_secure: bool, out: &mut Vec<u8>) {
        self.is_secure = is_secure;
        // Else INFO comes first.
        self.log_in(out);
    }

    fn receive<'a>(
        &'a mut self,
        input: &'a [u8],
        out: &mut Vec<u8>,
    ) -> Result<(usize, Received<'a>), ProtocolError> {
        let item = line::first(input).map_err(|error| ProtocolError::new(error.text()))?;
        let Some((used, item)) = item else {
            return Ok((0, Received::Incomplete));
        };
        let received = match item {
            Item::Message {
                sid: BROADCASTS,
                payload,
            } => Received::Message {
                topic: None,
                payload,
            },
            Item::Message { sid, payload } => match self.by_sid.get(&sid) {
                Some(topic) => Received::Message {
                    topic: Some(topic),
                    payload,
                },
                // It was on its way when its topic was left.
                None => Received::Nothing,
            },
            Item::Ping => {
                out.extend_from_slice(b"PONG\r\n");
                Received::Nothing
            }
            Item::Pong if self.is_ready => Received::Pong,
            Item::Pong if self.info.is_none() => {
                return Err(ProtocolError::new("PONG before INFO"));
            }
            Item::Pong => {
                self.is_ready = true;
                Received::Ready
            }
            Item::Ok => Received::Nothing,
            Item::Info(json) => Received::Server(self.learn(json, out)?),
            Item::Error(text) if is_harmless(text) => Received::Refused(shown(text)),
            Item::Error(text) => return Err(ProtocolError::new(text)),
        };
        Ok((used, received))
    }

    fn subscribe(&mut self, topic: Option<&Arc<str>>, out: &mut Vec<u8>) {
        let before = out.len();
        out.extend_from_slice(b"SUB ");
        if !subject::push(&self.prefix, topic.map(|topic| &**topic), out) {
            // No message to it can be published either.
            out.truncate(before);
            return;
        }
        let sid = match topic {
            None => BROADCASTS,
            Some(topic) => {
                self.last_sid += 1;
                self.by_topic.insert(topic.clone(), self.last_sid);
                self.by_sid.insert(self.last_sid, topic.clone());
                self.last_sid
            }
        };
        let _ = write!(out, " {sid}\r\n");
    }

    fn unsubscribe(&mut self, topic: &str, out: &mut Vec<u8>) {
        if let Some(sid) = self.by_topic.remove(topic) {
            self.by_sid.remove(&sid);
            let _ = write!(out, "UNSUB {sid}\r\n");
        }
    }

    fn ping(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"PING\r\n");
    }
}

impl NatsSession {
    /// INFO: the first one of the connection, or a later one with news.
    fn learn(&mut self, json: &str, out: &mut Vec<u8>) -> Result<ServerInfo, ProtocolError> {
        let info: Value = serde_json::from_str(json)
            .map_err(|error| ProtocolError::new(format!("malformed INFO: {error}")))?;
        let is = |name: &str| info[name].as_bool().unwrap_or(false);
        let urls = info["connect_urls"].as_array();
        let urls = urls.into_iter().flatten().filter_map(Value::as_str);
        let max_message = info["max_payload"].as_u64();
        let mut news = ServerInfo {
            max_message: max_message.and_then(|most| most.try_into().ok()),
            addresses: urls.filter_map(|url| self.sibling(url)).collect(),
            is_leaving: is("ldm"),
            starts_tls: false,
        };
        if self.info.is_some() {
            return Ok(news);
        }
        if is("tls_required") && !self.address.is_tls {
            return Err(ProtocolError::new("the server requires TLS: use tls://"));
        }
        news.starts_tls = self.address.is_tls && !self.is_secure;
        if news.starts_tls && !is("tls_required") && !is("tls_available") {
            return Err(ProtocolError::new("the server has no TLS"));
        }
        self.info = Some(info);
        if !news.starts_tls {
            self.log_in(out);
        }
        Ok(news)
    }

    /// Another server of the cluster. Its certificate has to be of the same name.
    fn sibling(&self, url: &str) -> Option<Address> {
        let mut address = Address::parse(url, crate::PORT)?.tls(self.address.is_tls);
        if address.is_tls {
            let name = self.address.tls_name.as_ref();
            address.tls_name = Some(name.unwrap_or(&self.address.host).clone());
        }
        Some(address)
    }

    /// CONNECT, and a PING whose answer says that it was accepted.
    fn log_in(&mut self, out: &mut Vec<u8>) {
        let Some(info) = &self.info else {
            return;
        };
        let mut connect = json!({
            "verbose": false,
            "pedantic": false,
            "tls_required": self.is_secure,
            "lang": "rust",
            "version": env!("CARGO_PKG_VERSION"),
            "protocol": 1,
            "echo": self.echo,
            "headers": true,
        });
        if let Some(name) = &self.name {
            connect["name"] = json!(name);
        }
        self.auth
            .add(info["nonce"].as_str().unwrap_or(""), &mut connect);
        let _ = write!(out, "CONNECT {connect}\r\nPING\r\n");
    }
}

/// Errors after which the server goes on.
fn is_harmless(text: &str) -> bool {
    let begins = |with: &str| {
        let start = text.get(..with.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(with))
    };
    begins("permissions violation")
        || begins("invalid subject")
        || begins("invalid publish subject")
}

/// A text for the log, without control characters.
fn shown(text: &str) -> String {
    ProtocolError::new(text).to_string()
}
