//! What a protocol of a broker has to do. It knows no sockets, threads or clocks.

use std::sync::Arc;

/// The protocol of a broker, as publishers see it. Values of it are shared by all threads.
pub trait Protocol: Send + Sync + 'static {
    /// The state of one connection.
    type Session: Session;

    /// What the broker is called in the log: `NATS`, `Redis`.
    const NAME: &'static str;

    /// Appends the command that publishes a message: the parts of `payload` one after the other, to a topic or, without one, as a
    /// broadcast. Returns false if the name of the topic is too long; then the bytes are dropped.
    ///
    /// Called on the thread that publishes, with a lock held.
    fn publish(&self, topic: Option<&str>, payload: [&[u8]; 2], out: &mut Vec<u8>) -> bool;

    /// The state of a new connection to this address.
    fn session(&self, address: &Address) -> Self::Session;

    /// Whether TLS begins with the first byte. Otherwise [`ServerInfo::starts_tls`] begins it.
    fn is_tls_at_once(&self) -> bool {
        false
    }
}

/// The state of one connection to a broker: bytes in, bytes out.
pub trait Session: Send + 'static {
    /// The connection is there, and after [`ServerInfo::starts_tls`] again, with TLS. Appends what is to be said first.
    fn connected(&mut self, is_secure: bool, out: &mut Vec<u8>);

    /// Looks at the first item of `input`. Returns how many bytes it used, and what it was. With
    /// [`Received::Incomplete`] these are dropped, too, and it is called again when more have come.
    ///
    /// # Errors
    ///
    /// The broker violates the protocol, refuses the login, or announces more than is accepted. The connection is closed.
    fn receive<'a>(
        &'a mut self,
        input: &'a [u8],
        out: &mut Vec<u8>,
    ) -> Result<(usize, Received<'a>), ProtocolError>;

    /// Appends the command that subscribes to a topic, or to broadcasts. Called after [`Received::Ready`].
    fn subscribe(&mut self, topic: Option<&Arc<str>>, out: &mut Vec<u8>);

    /// Appends the command that ends the subscription to a topic.
    fn unsubscribe(&mut self, topic: &str, out: &mut Vec<u8>);

    /// Appends a PING. The broker answers it after all that was sent before.
    fn ping(&mut self, out: &mut Vec<u8>);
}

/// What a [`Session`] has received.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Received<'a> {
    /// The rest has not arrived.
    Incomplete,
    /// Something that the driver need not know.
    Nothing,
    /// The login is complete: topics may be subscribed.
    Ready,
    /// The answer to the oldest PING that has none.
    Pong,
    /// A message, with its envelope.
    Message {
        /// Its topic; `None` for a broadcast.
        topic: Option<&'a str>,
        /// The envelope and the bytes.
        payload: &'a [u8],
    },
    /// What the broker says about itself.
    Server(ServerInfo),
    /// The broker has refused a command, and goes on. The text is for the log.
    Refused(String),
    /// This is the wrong address: the right one. The connection is closed.
    Elsewhere(Address),
}

/// What a broker says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerInfo {
    /// Most bytes of a message with its envelope, if it is known.
    pub max_message: Option<usize>,
    /// Further addresses of the same broker.
    pub addresses: Vec<Address>,
    /// It is about to close the connection: another address is better.
    pub is_leaving: bool,
    /// The handshake of TLS has to begin.
    pub starts_tls: bool,
}

/// The address of a broker.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Address {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether the connection has to be secure.
    pub is_tls: bool,
    /// The name in the certificate, if it is not the host.
    pub tls_name: Option<String>,
    /// Whether it comes from [`Received::Elsewhere`].
    pub is_redirected: bool,
}

impl Address {
    /// An address without TLS.
    pub fn new(host: impl Into<String>, port: u16) -> Address {
        Address {
            host: host.into(),
            port,
            is_tls: false,
            tls_name: None,
            is_redirected: false,
        }
    }

    /// With or without TLS.
    #[must_use]
    pub fn tls(mut self, is_tls: bool) -> Address {
        self.is_tls = is_tls;
        self
    }

    /// Reads `host:port`, `host` or `[v6]:port`.
    ///
    /// ```
    /// use peregrine_broker::Address;
    ///
    /// assert_eq!(Address::parse("broker", 4222), Some(Address::new("broker", 4222)));
    /// assert_eq!(Address::parse("[::1]:7", 4222), Some(Address::new("::1", 7)));
    /// assert_eq!(Address::parse("broker:seven", 4222), None);
    /// ```
    pub fn parse(text: &str, default_port: u16) -> Option<Address> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']')?;
                match rest {
                    "" => (host, None),
                    _ => (host, Some(rest.strip_prefix(':')?)),
                }
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let port = match port {
            Some(port) => port.parse().ok()?,
            None => default_port,
        };
        let is_name =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
        let is_good = !host.is_empty() && host.len() <= 255 && host.chars().all(is_name);
        is_good.then(|| Address::new(host, port))
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Why a connection to a broker cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtocolError(String);

impl ProtocolError {
    /// An error with a text for the log. What the broker said is shortened, and its control characters are replaced.
    pub fn new(text: impl AsRef<str>) -> ProtocolError {
        let shown = text.as_ref().chars().take(200);
        let shown = shown.map(|c| if c.is_control() { '?' } else { c });
        ProtocolError(shown.collect())
    }
}

impl std::fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ProtocolError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let good = [
            ("a", "a", 1),
            ("a.b-c_d:2", "a.b-c_d", 2),
            ("127.0.0.1:65535", "127.0.0.1", 65535),
            ("[::1]", "::1", 1),
            ("[fe80::1%eth0]:3", "fe80::1%eth0", 3),
        ];
        for (text, host, port) in good {
            assert_eq!(Address::parse(text, 1), Some(Address::new(host, port)));
        }
        for bad in [
            "", ":1", "a:", "a:b", "a:65536", "[::1", "[::1]2", "a b", "a\n", "::1", "a/b",
        ] {
            assert_eq!(Address::parse(bad, 1), None, "{bad}");
        }
        assert_eq!(Address::new("::1", 7).to_string(), "[::1]:7");
        assert_eq!(Address::new("a", 7).to_string(), "a:7");
    }

    #[test]
    fn texts_of_brokers_are_shortened() {
        let error = ProtocolError::new(format!("a\r\n{}", "é".repeat(1000)));
        assert_eq!(error.to_string(), format!("a??{}", "é".repeat(197)));
    }
}
