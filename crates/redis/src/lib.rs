#![doc = include_str!("../README.md")]
#![deny(clippy::print_stdout)]

#[doc(hidden)]
pub mod check;
mod config;
mod driver;
mod handshake;
mod link;
mod log;
mod presence;
mod relay;
mod resp;
mod scripts;
mod seek;

pub use config::Config;
pub use log::RedisLog;
pub use peregrine_broker::Event;
pub use presence::RedisPresence;
pub use relay::RedisRelay;

use driver::{Command, Driver, Listen, OnReply, Part, Refused};
use log::LogState;
use presence::PresenceState;
use relay::RelayState;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// A connection to Redis. Clones are the same one. It ends when the last clone, [`RedisLog`] and [`RedisPresence`] is dropped.
///
/// ```no_run
/// use peregrine::history::History;
/// use peregrine::presence::Presence;
/// use peregrine::sse::EventHub;
/// use peregrine_redis::{Config, Redis};
///
/// # fn main() -> std::io::Result<()> {
/// let redis = Redis::connect(Config::new("127.0.0.1:6379"))?;
/// let history = History::builder(redis.log()).events(&EventHub::new()).build();
/// let presence = Presence::builder(redis.presence()?).build();
/// # let _ = (history, presence);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Redis(Arc<Inner>);

/// Shared by all that use a connection.
struct Inner {
    driver: Arc<Driver>,
    /// The name of this process: 16 digits by chance.
    node: String,
    log: LogState,
    presence: PresenceState,
    relay: RelayState,
    /// The store of presences, and the relay, have been taken.
    is_taken: [AtomicBool; 2],
    this: Weak<Inner>,
}

/// 16 hexadecimal digits by chance, not all 0.
fn random() -> String {
    let number = RandomState::new().hash_one(std::time::Instant::now());
    format!("{:016x}", number.max(1))
}

fn millis(time: Duration) -> Vec<u8> {
    // About a thousand years at most: Redis takes no larger ones.
    let millis = time.as_millis().clamp(1, 1 << 45);
    millis.to_string().into_bytes()
}

impl Redis {
    /// Starts the thread of a connection. It does not wait for Redis: the program serves without it, and the thread tries to
    /// connect until it succeeds.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub fn connect(config: Config) -> std::io::Result<Redis> {
        let driver = Driver::new(config);
        let inner = Arc::new_cyclic(|this: &Weak<Inner>| Inner {
            driver: driver.clone(),
            node: random(),
            log: LogState::default(),
            presence: PresenceState::default(),
            relay: RelayState::default(),
            is_taken: Default::default(),
            this: this.clone(),
        });
        driver.start(Listener(inner.this.clone()))?;
        Ok(Redis(inner))
    }

    /// A log for a [`History`](peregrine::history::History).
    pub fn log(&self) -> RedisLog {
        RedisLog(self.0.clone())
    }

    /// A store for one [`Presence`](peregrine::presence::Presence).
    ///
    /// # Errors
    ///
    /// It was called before: a connection serves one presence. Another one needs a connection of its own.
    pub fn presence(&self) -> std::io::Result<RedisPresence> {
        self.take(0, "a connection to Redis serves one presence")?;
        Ok(RedisPresence(self.0.clone()))
    }

    fn take(&self, which: usize, error: &str) -> std::io::Result<()> {
        match self.0.is_taken[which].swap(true, Ordering::AcqRel) {
            true => Err(std::io::Error::new(ErrorKind::AlreadyExists, error)),
            false => Ok(()),
        }
    }

    /// A relay for hubs, without a history.
    ///
    /// # Errors
    ///
    /// It was called before: a connection serves one relay. Another one needs a connection of its own.
    ///
    /// ```no_run
    /// use peregrine::relay::RelayHandle;
    /// use peregrine::sse::EventHub;
    /// use peregrine_redis::{Config, Redis};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let redis = Redis::connect(Config::new("127.0.0.1:6379"))?;
    /// let hub = EventHub::new();
    /// hub.set_relay(&RelayHandle::new(redis.relay()?))?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn relay(&self) -> std::io::Result<RedisRelay> {
        self.take(1, "a connection to Redis serves one relay")?;
        Ok(RedisRelay {
            inner: self.0.clone(),
            order: peregrine::relay::RelayOrder::Local,
        })
    }

    /// Whether there is a connection, with all its subscriptions. While there is none, a program should say that it is not ready:
    ///
    /// ```
    /// use peregrine::server::Health;
    /// use peregrine_redis::Redis;
    ///
    /// fn watched(redis: &Redis) -> Health {
    ///     let redis = redis.clone();
    ///     Health::new().check("redis", move || match redis.is_connected() {
    ///         true => Ok(()),
    ///         false => Err("not connected"),
    ///     })
    /// }
    /// ```
    pub fn is_connected(&self) -> bool {
        self.0.driver.is_connected()
    }

    /// The last error of the connection or of a command, for logs. It is not removed when there is a connection again.
    pub fn last_error(&self) -> Option<String> {
        self.0.driver.last_error()
    }

    /// Number of connections so far.
    pub fn connections(&self) -> u64 {
        self.0.driver.counts()[0]
    }

    /// Number of commands that were refused, because too many bytes waited, and of messages of histories that Redis has refused for
    /// good: [`Redis::last_error`] says why, such as a key of another program with the same name.
    pub fn refused(&self) -> u64 {
        self.0.driver.counts()[1]
    }

    /// Number of messages of histories of which it is not known whether they were published: the connection broke before they were
    /// confirmed, and the next one led to a server with other data. They are not sent again, because they may have been
    /// delivered. Clients are told that messages may be lost.
    pub fn unconfirmed(&self) -> u64 {
        self.0.driver.counts()[2]
    }

    /// Waits until all that was published is confirmed, for at most this time. False if it is not. Call it before the program
    /// ends.
    pub fn flush(&self, most: Duration) -> bool {
        self.0.driver.flush(most)
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("config", self.0.driver.config())
            .field("is_connected", &self.is_connected())
            .finish_non_exhaustive()
    }
}

impl Inner {
    /// A key or channel: the prefix, its kind and a name.
    fn key(&self, kind: &str, name: &str) -> Vec<u8> {
        format!("{}{kind}{name}", self.driver.config().prefix).into_bytes()
    }

    /// The name of this process as a number.
    fn node_number(&self) -> u64 {
        u64::from_str_radix(&self.node, 16).unwrap_or_default()
    }

    fn send(
        &self,
        script: usize,
        parts: Vec<Part>,
        is_kept: bool,
        on_reply: OnReply,
    ) -> Result<(), Refused> {
        let command = Command::new(Some(script), parts, is_kept, on_reply);
        self.driver.send(command)
    }

    /// A command that is no script.
    fn plain(&self, parts: Vec<Part>, on_reply: OnReply) -> Result<(), Refused> {
        let command = Command::new(None, parts, false, on_reply);
        self.driver.send(command)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.driver.close();
    }
}

struct Listener(Weak<Inner>);

impl Listen for Listener {
    fn message(&self, channel: &[u8], message: &[u8]) {
        let Some(inner) = self.0.upgrade() else {
            return;
        };
        let channel = std::str::from_utf8(channel).ok();
        let name = channel.and_then(|name| name.strip_prefix(&*inner.driver.config().prefix));
        match name.and_then(|name| name.split_at_checked(2)) {
            Some(("h:", topic)) => inner.log.message(topic, message),
            Some(("p:", topic)) => inner.presence.message(topic, message),
            Some(("r:", topic)) => inner.relay_message(Some(topic), message),
            Some(("b:", "")) => inner.relay_message(None, message),
            _ => {}
        }
    }

    fn subscribed(&self, channel: &[u8], is_ready: bool) {
        let Some(inner) = self.0.upgrade() else {
            return;
        };
        if channel == inner.key("b:", "") {
            inner.relay_hears_broadcasts();
        }
        if is_ready {
            inner.relay_connected();
        }
    }

    fn connected(&self) {
        if let Some(inner) = self.0.upgrade() {
            inner.presence_connected();
            inner.log.connected();
        }
    }

    fn disconnected(&self) {
        if let Some(inner) = self.0.upgrade() {
            inner.relay_disconnected();
        }
    }

    fn tick(&self) {
        if let Some(inner) = self.0.upgrade() {
            inner.beat();
        }
    }
}
