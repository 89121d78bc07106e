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
    /// Of the server, of Sentinels, or of nodes of a cluster.
    pub(crate) addrs: Vec<String>,
    pub(crate) place: Place,
    pub(crate) login: Login,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<std::sync::Arc<rustls::ClientConfig>>,
    #[cfg(feature = "tls")]
    pub(crate) tls_name: Option<String>,
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

/// Where the server is.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// At the address.
    Fixed,
    /// Sentinels know the master of this name.
    Sentinel { name: String, login: Login },
    /// The node of a cluster that has the slot of the prefix.
    Cluster,
}

/// A user and a password.
#[derive(Clone, Default)]
pub(crate) struct Login {
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// Most addresses of Sentinels, of nodes of a cluster, or of one name. Further ones are ignored.
pub(crate) const ADDRS: usize = 64;

impl Config {
    /// The address is a host name or an IP address with a port. It is resolved for each connection. If a name has several addresses,
    /// they are tried one after the other, each for its part of [`Config::connect_timeout`].
    pub fn new(addr: &str) -> Config {
        Config::at(vec![addr.to_owned()], Place::Fixed)
    }

    /// The master with this name, which Sentinels know. They are asked before each connection, one after the other, until one of
    /// them leads to a server that is a master. At most 64 addresses are used.
    ///
    /// ```
    /// use peregrine_redis::Config;
    ///
    /// let sentinels = ["10.0.0.1:26379", "10.0.0.2:26379", "10.0.0.3:26379"];
    /// let config = Config::sentinel("mymaster", sentinels).password("a secret");
    /// ```
    pub fn sentinel<A: Into<String>>(name: &str, addrs: impl IntoIterator<Item = A>) -> Config {
        let (name, login) = (name.to_owned(), Login::default());
        let addrs = addrs.into_iter().take(ADDRS).map(A::into);
        Config::at(addrs.collect(), Place::Sentinel { name, login })
    }

    /// A cluster (Redis 7 or later), of which these nodes are known. The others are learned, up to 64.
    ///
    /// All that has one prefix is on one node, and so are its messages: they go by `SPUBLISH`. The prefix is put between braces,
    /// `{peregrine:}`, unless it has a hash tag. Topics that need more than one node are in several [`Redis`](crate::Redis)
    /// with a prefix each.
    pub fn cluster<A: Into<String>>(addrs: impl IntoIterator<Item = A>) -> Config {
        let addrs = addrs.into_iter().take(ADDRS).map(A::into);
        Config::at(addrs.collect(), Place::Cluster)
    }

    fn at(addrs: Vec<String>, place: Place) -> Config {
        Config {
            addrs,
            place,
            login: Login::default(),
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(feature = "tls")]
            tls_name: None,
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
        self.login.username = Some(name.to_owned());
        self
    }

    /// The password. Without TLS it is sent as it is.
    #[must_use]
    pub fn password(mut self, password: &str) -> Config {
        self.login.password = Some(password.to_owned());
        self
    }

    /// The user of the Sentinels, if they have users. Without [`Config::sentinel`] it means nothing.
    #[must_use]
    pub fn sentinel_username(mut self, name: &str) -> Config {
        if let Place::Sentinel { login, .. } = &mut self.place {
            login.username = Some(name.to_owned());
        }
        self
    }

    /// The password of the Sentinels, if they have one. Without [`Config::sentinel`] it means nothing.
    #[must_use]
    pub fn sentinel_password(mut self, password: &str) -> Config {
        if let Place::Sentinel { login, .. } = &mut self.place {
            login.password = Some(password.to_owned());
        }
        self
    }

    /// Connects over TLS, to Sentinels, too. The settings say which certificates are trusted. Default: no TLS.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, settings: std::sync::Arc<rustls::ClientConfig>) -> Config {
        self.tls = Some(settings);
        self
    }

    /// The name in the certificates. Default: the host of the address, which is an IP address if a Sentinel or a cluster has
    /// named it.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls_name(mut self, name: &str) -> Config {
        self.tls_name = Some(name.to_owned());
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

    /// Bytes of one reply. Default: 64 MiB. Above it, the connection is closed. A client that has missed more gets `lost` instead.
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

    /// Whether all names are in one slot of a cluster.
    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self.place, Place::Cluster)
    }

    /// With the prefix that names have.
    pub(crate) fn tagged(mut self) -> Config {
        let tag = self
            .prefix
            .split_once('{')
            .and_then(|(_, rest)| rest.split_once('}'));
        if self.is_cluster() && tag.is_none_or(|(tag, _)| tag.is_empty()) {
            self.prefix = format!("{{{}}}", self.prefix);
        }
        self
    }

    /// Time between two signs of life.
    pub(crate) fn heartbeat(&self) -> Duration {
        self.lease / 3
    }
}

/// The passwords are not shown.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("addrs", &self.addrs)
            .field("place", &self.place)
            .field("login", &self.login)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_of_a_cluster_has_a_tag() {
        let cases = [
            ("peregrine:", "{peregrine:}"),
            ("{a}b:", "{a}b:"),
            ("a{b}", "a{b}"),
            ("{}a", "{{}a}"),
            ("a}b{", "{a}b{}"),
        ];
        for (prefix, tagged) in cases {
            let config = Config::cluster(["a:1"]).prefix(prefix).tagged();
            assert_eq!(config.prefix, tagged);
            assert_eq!(Config::new("a:1").prefix(prefix).tagged().prefix, prefix);
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let config = Config::sentinel("m", ["a:1"])
            .password("hidden-1")
            .sentinel_username("someone")
            .sentinel_password("hidden-2");
        let shown = format!("{config:?}");
        assert!(
            shown.contains("someone") && !shown.contains("hidden"),
            "{shown}"
        );
    }
}
