//! Settings of a connection to Redis.

use std::fmt;
use std::time::Duration;

/// How to reach Redis, and the limits of the connection.
///
/// ```
/// use peregrine_redis::Config;
/// use std::time::Duration;
///
/// let config = Config::new("10.0.0.5:6379")
///     .username("app")
///     .password("a secret")
///     .prefix("shop:")
///     .lease(Duration::from_secs(20));
/// assert!(!format!("{config:?}").contains("a secret"));
/// ```
#[derive(Clone)]
pub struct Config {
    pub(crate) addr: String,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) prefix: String,
    pub(crate) queue_bytes: usize,
    pub(crate) reply_bytes: usize,
    pub(crate) connect_timeout: Duration,
    pub(crate) ping_interval: Duration,
    pub(crate) backoff: (Duration, Duration),
    pub(crate) lease: Duration,
    pub(crate) messages: usize,
    pub(crate) ttl: Duration,
    pub(crate) trusts_restarts: bool,
}

impl Config {
    /// The address is a host name or an IP address with a port. It is resolved for each connection.
    pub fn new(addr: &str) -> Config {
        Config {
            addr: addr.to_owned(),
            username: None,
            password: None,
            prefix: "peregrine:".to_owned(),
            queue_bytes: 8 << 20,
            reply_bytes: 64 << 20,
            connect_timeout: Duration::from_secs(5),
            ping_interval: Duration::from_secs(5),
            backoff: (Duration::from_millis(50), Duration::from_secs(5)),
            lease: Duration::from_secs(30),
            messages: 300,
            ttl: Duration::from_secs(300),
            trusts_restarts: false,
        }
    }

    /// The user of Redis (ACL). Default: that of `AUTH` without a name, `default`.
    #[must_use]
    pub fn username(mut self, name: &str) -> Config {
        self.username = Some(name.to_owned());
        self
    }

    /// The password. Without TLS it is sent as it is.
    #[must_use]
    pub fn password(mut self, password: &str) -> Config {
        self.password = Some(password.to_owned());
        self
    }

    /// What all keys and channels begin with. Default: `peregrine:`. Programs that share a server need different ones: the
    /// number of a database of Redis does not separate channels.
    #[must_use]
    pub fn prefix(mut self, prefix: &str) -> Config {
        self.prefix = prefix.to_owned();
        self
    }

    /// Bytes of messages of a history that wait to be sent or answered, and the same again for all other commands. Default: 8 MiB.
    /// Above it, publishing fails with [`LogError::Full`](peregrine::history::LogError::Full), and so do reads above theirs.
    #[must_use]
    pub fn queue_bytes(mut self, bytes: usize) -> Config {
        self.queue_bytes = bytes;
        self
    }

    /// Bytes of one reply. Default: 64 MiB. Above it, the connection is closed.
    #[must_use]
    pub fn reply_bytes(mut self, bytes: usize) -> Config {
        self.reply_bytes = bytes;
        self
    }

    /// Most time for a connection with its first commands. Default: 5 s.
    #[must_use]
    pub fn connect_timeout(mut self, time: Duration) -> Config {
        self.connect_timeout = time.max(Duration::from_millis(1));
        self
    }

    /// After this time without a byte a PING is sent, and after the same time again without one the connection is given up.
    /// Default: 5 s.
    #[must_use]
    pub fn ping_interval(mut self, time: Duration) -> Config {
        self.ping_interval = time.max(Duration::from_millis(1));
        self
    }

    /// Times between two attempts to connect: the first one, and the longest. Each is twice as long as the one before, less up
    /// to half of it by chance. Default: 50 ms and 5 s.
    #[must_use]
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Config {
        self.backoff = (first, longest);
        self
    }

    /// How long the persons of a process are present after its last sign of life. It gives one three times as often. Default:
    /// 30 s.
    #[must_use]
    pub fn lease(mut self, time: Duration) -> Config {
        self.lease = time.max(Duration::from_millis(30));
        self
    }

    /// About how many messages a topic keeps; Redis may keep up to 100 more. Default: 300.
    #[must_use]
    pub fn messages(mut self, count: usize) -> Config {
        self.messages = count;
        self
    }

    /// How long the messages of a topic are kept after its last one. Default: 300 s.
    #[must_use]
    pub fn ttl(mut self, time: Duration) -> Config {
        self.ttl = time;
        self
    }

    /// Whether a restart of Redis loses no message: only with `appendfsync always`, and without a failover to a replica.
    /// Default: no. Then each topic has a new epoch after a restart, and clients are told that messages may be lost.
    #[must_use]
    pub fn trust_restarts(mut self, is_safe: bool) -> Config {
        self.trusts_restarts = is_safe;
        self
    }

    /// Time between two signs of life.
    pub(crate) fn heartbeat(&self) -> Duration {
        self.lease / 3
    }
}

/// The password is not shown.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("addr", &self.addr)
            .field("username", &self.username)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}
