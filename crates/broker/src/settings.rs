//! Settings of a connection to a broker.

use crate::protocol::Address;
use peregrine::relay::RelayOrder;
use std::time::Duration;

/// Settings of a [`BrokerRelay`](crate::BrokerRelay), and the limits of what a broker can cost.
///
/// | limit | default | what it bounds | what is seen above it |
/// |---|---|---|---|
/// | `queue_bytes` | 8 MiB | messages that wait to be sent, with their commands | `Full` to the publisher |
/// | `queue_time` | 10 s | how long a message waits for a connection | it is dropped and counted |
/// | `message_bytes` | 8 MiB | a message that arrives, with its envelope; 64 KiB more with its command | the connection is closed |
/// | `message_bytes` | 8 MiB | a message that is published, with its envelope | `TooLarge` to the publisher |
/// | `connect_timeout` | 5 s | from the first byte until all topics are subscribed | the next address |
/// | `ping` | 10 s | between two PINGs, and for the answer | the connection is closed |
/// | `backoff` | 5 s | the longest time between two rounds of attempts | |
/// | `stop_timeout` | 1 s | how long a stop waits for what is queued, and 0.2 s more | the rest is dropped and counted |
/// | addresses | 64 | addresses that are known, those from the broker included | further ones are ignored |
/// | remembered numbers | 65,536 | topics of which a number is remembered | a gap may not be noticed |
/// | waiting changes | 65,536 and one for each topic | subscriptions that the broker has not taken | the connection is closed |
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// Addresses of the broker, in the order in which they are tried.
    pub addresses: Vec<Address>,
    /// Whether this process delivers its own messages at once, or when they come back. By default at once.
    pub order: RelayOrder,
    /// Bytes of messages that wait to be sent. By default 8 MiB.
    pub queue_bytes: usize,
    /// How long a message waits for a connection. By default 10 s.
    pub queue_time: Duration,
    /// Bytes of a message with its envelope, one that arrives and one that is published. The same for all processes: those with
    /// less close their connection when a larger one arrives. By default 8 MiB.
    pub message_bytes: usize,
    /// Time from the attempt until all topics are subscribed. By default 5 s.
    pub connect_timeout: Duration,
    /// Time between two PINGs, and for the answer. By default 10 s.
    pub ping: Duration,
    /// The longest time between two rounds of attempts. By default 5 s.
    pub backoff: Duration,
    /// How long a stop waits until what is queued is confirmed. By default 1 s.
    pub stop_timeout: Duration,
    /// Whether `/readyz` stays 200 without the broker. By default it does not.
    pub is_ready_without: bool,
    /// The settings of TLS, for addresses that need it.
    #[cfg(feature = "tls")]
    pub tls: Option<std::sync::Arc<rustls::ClientConfig>>,
}

/// Bytes of the command around a message that arrives.
const COMMAND: usize = 64 << 10;

impl Settings {
    /// Most bytes of a message that has not arrived completely, with its command.
    pub(crate) fn most_unread(&self) -> usize {
        self.message_bytes.saturating_add(COMMAND)
    }

    /// The default settings, with these addresses.
    pub fn new(addresses: Vec<Address>) -> Settings {
        Settings {
            addresses,
            order: RelayOrder::Local,
            queue_bytes: 8 << 20,
            queue_time: Duration::from_secs(10),
            message_bytes: 8 << 20,
            connect_timeout: Duration::from_secs(5),
            ping: Duration::from_secs(10),
            backoff: Duration::from_secs(5),
            stop_timeout: Duration::from_secs(1),
            is_ready_without: false,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}
