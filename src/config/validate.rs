//! Which settings are not valid, and why.

use super::Config;
use peregrine_protocol::syntax;
use std::fmt;
use std::io;
use std::ops::RangeInclusive;

/// A setting that is not valid, so that a server or a `DirServer` did not start.
///
/// [`Server::start`](crate::Server::start) and the constructors of files return an [`io::Error`] of the kind
/// [`InvalidInput`](io::ErrorKind::InvalidInput) with this error in it:
///
/// ```
/// use peregrine::config::{Config, ConfigError};
/// use peregrine::Server;
///
/// let server = Server::from_fn(|_, res| res.text("hi")).config(Config::default().workers(0));
/// let error = server.bind("127.0.0.1:0").start().expect_err("no workers");
/// assert_eq!(error.to_string(), "Config::workers is 0, and must be from 1 to 4096");
/// match error.downcast::<ConfigError>() {
///     Ok(error) => assert_eq!(error.setting(), Some("Config::workers")),
///     Err(error) => panic!("of the system: {error}"),
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// A number outside its range.
    #[non_exhaustive]
    OutOfRange {
        /// Struct and field: `Config::workers`.
        setting: &'static str,
        /// The value of the setting.
        value: usize,
        /// The values that are valid.
        range: RangeInclusive<usize>,
    },
    /// A text, or an entry of a list, that is not valid.
    #[non_exhaustive]
    Invalid {
        /// Struct and field: `Config::allowed_hosts`.
        setting: &'static str,
        /// The text or entry.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The server has no address to listen on.
    NoAddress,
    /// One thread would have more listeners than it can have, which is this number.
    TooManyListeners(usize),
    /// The `Hub` belongs to another server, or belonged to one.
    HubInUse,
}

impl ConfigError {
    /// The struct and field of the setting; `None` if the error is not of one setting.
    pub fn setting(&self) -> Option<&'static str> {
        match self {
            ConfigError::OutOfRange { setting, .. } | ConfigError::Invalid { setting, .. } => {
                Some(setting)
            }
            _ => None,
        }
    }

    /// Refuses a number outside its range.
    pub(crate) fn range(
        setting: &'static str,
        value: usize,
        range: RangeInclusive<usize>,
    ) -> Result<(), ConfigError> {
        match range.contains(&value) {
            true => Ok(()),
            false => Err(ConfigError::OutOfRange {
                setting,
                value,
                range,
            }),
        }
    }

    /// Refuses the first of the values that is not valid.
    pub(crate) fn all<'a>(
        setting: &'static str,
        values: impl IntoIterator<Item = &'a String>,
        is_valid: impl Fn(&str) -> bool,
        reason: &'static str,
    ) -> Result<(), ConfigError> {
        match values.into_iter().find(|value| !is_valid(value)) {
            None => Ok(()),
            Some(value) => Err(ConfigError::Invalid {
                setting,
                value: value.clone(),
                reason,
            }),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::OutOfRange {
                setting,
                value,
                range,
            } => {
                let least = range.start();
                write!(f, "{setting} is {value}, and must be ")?;
                match *range.end() {
                    usize::MAX => write!(f, "at least {least}"),
                    most => write!(f, "from {least} to {most}"),
                }
            }
            ConfigError::Invalid {
                setting,
                value,
                reason,
            } => write!(f, "{setting} has {value:?}, which {reason}"),
            ConfigError::NoAddress => f.write_str("no address to listen on: call Server::bind"),
            ConfigError::TooManyListeners(most) => {
                write!(f, "more than {most} listeners for one thread")
            }
            ConfigError::HubInUse => f.write_str("the Hub was given to a server before"),
        }
    }
}

impl std::error::Error for ConfigError {}

impl From<ConfigError> for io::Error {
    fn from(error: ConfigError) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidInput, error)
    }
}

/// Maximum number of threads of one kind. A larger number is a mistake.
const MOST_THREADS: usize = 4096;

/// Stack of a serving thread in bytes. The minimum is for a build without optimizations. The system refuses
/// more than the maximum.
const STACKS: RangeInclusive<usize> = 128 << 10..=1 << 30;

impl Config {
    /// Refuses settings that are not valid.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        ConfigError::range("Config::workers", self.workers, 1..=MOST_THREADS)?;
        if let super::AcceptThreads::Dedicated(n) = self.accept_threads {
            ConfigError::range("Config::accept_threads", n, 1..=MOST_THREADS)?;
        }
        ConfigError::range("Config::connections", self.connections, 1..=usize::MAX)?;
        if let Some(bytes) = self.stack_size {
            ConfigError::range("Config::stack_size", bytes, STACKS)?;
        }
        for (setting, rate) in [
            ("Config::connection_rate", self.connection_rate),
            ("Config::request_rate", self.request_rate),
        ] {
            let per = rate.map(|rate| format!("{:?}", rate.per));
            let reason = "is no time: `None` means no limit";
            let is_time = |_: &str| rate.is_none_or(|rate| !rate.per.is_zero());
            ConfigError::all(setting, &per, is_time, reason)?;
        }
        ConfigError::all(
            "Config::server_name",
            &self.server_name,
            |name| name.bytes().all(|b| matches!(b, 0x20..=0x7e)),
            "has other characters than visible ASCII and spaces",
        )?;
        let hosts = || self.allowed_hosts.iter().flatten();
        ConfigError::all(
            "Config::allowed_hosts",
            hosts(),
            |host| !host.contains('*'),
            "has a `*`, which has no meaning here: name each host, or accept any host with `None`",
        )?;
        ConfigError::all(
            "Config::allowed_hosts",
            hosts(),
            |host| !host.is_empty() && syntax::is_host(host.as_bytes()),
            "is not a host",
        )?;
        #[cfg(feature = "websocket")]
        ConfigError::all(
            "Config::ws_close_code",
            [&self.ws_close_code.to_string()],
            |_| matches!(self.ws_close_code, 1001 | 1012 | 3000..=4999),
            "is not 1001, 1012 or from 3000 to 4999",
        )?;
        #[cfg(feature = "websocket")]
        if let super::ws_origins::WsOrigins::List(origins) = &self.ws_origins {
            ConfigError::all(
                "Config::ws_origins",
                origins,
                peregrine_protocol::http::origin::can_be_listed,
                "is not an origin such as https://app.example",
            )?;
        }
        Ok(())
    }
}
