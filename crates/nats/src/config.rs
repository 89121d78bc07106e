//! `NatsConfig`: where the servers are, and how to log in.

use crate::auth::{Auth, Secret};
use crate::session::Nats;
use crate::subject;
use percent_encoding::percent_decode_str;
use peregrine::relay::RelayOrder;
use peregrine_broker::{Address, BrokerRelay, Settings};
use std::sync::Arc;

/// The port of NATS.
pub(crate) const PORT: u16 = 4222;

/// Where the NATS servers are, and how to log in.
///
/// ```
/// use peregrine_nats::NatsConfig;
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut config = NatsConfig::new("nats://ada:lovelace@10.0.0.1,10.0.0.2:4223")?.prefix("shop.prod")?;
/// config.settings.ping = Duration::from_secs(5);
/// let relay = config.relay();
/// assert!(!relay.watch().is_connected());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct NatsConfig {
    /// Limits and times. The addresses in it are those of the URL.
    pub settings: Settings,
    prefix: String,
    auth: Auth,
    name: Option<String>,
    is_tls_first: bool,
}

/// Why a [`NatsConfig`] is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// The URL does not begin with `nats://` or `tls://`, or has no or a malformed address.
    Url,
    /// Two addresses of the URL have different credentials, or they are not UTF-8.
    Credentials,
    /// The prefix is not one or more tokens of ASCII letters, digits, `-` and `_`, with dots between them, of 256 bytes at most.
    Prefix,
    /// The seed is not the one of a user.
    Seed,
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            ConfigError::Url => "not a URL like nats://host:4222 or tls://host:4222",
            ConfigError::Credentials => "the URL has different or malformed credentials",
            ConfigError::Prefix => {
                "a prefix has letters, digits, '-' and '_', with dots between them"
            }
            ConfigError::Seed => "not a seed of a user (SU...)",
        })
    }
}

impl std::error::Error for ConfigError {}

impl NatsConfig {
    /// Reads a URL: `nats://` or `tls://`, perhaps a user and a password or a token before an `@`, and one or more addresses with
    /// commas between them. The port is 4222 if it is not given.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`] or [`ConfigError::Credentials`].
    pub fn new(url: &str) -> Result<NatsConfig, ConfigError> {
        let (scheme, rest) = url.split_once("://").ok_or(ConfigError::Url)?;
        let is_tls = match scheme {
            "nats" => false,
            "tls" => true,
            _ => return Err(ConfigError::Url),
        };
        let (mut addresses, mut auth) = (Vec::new(), Auth::None);
        for part in rest.trim_end_matches('/').split(',') {
            let part = part.strip_prefix(&format!("{scheme}://")).unwrap_or(part);
            let (login, address) = match part.rsplit_once('@') {
                Some((login, address)) => (Some(login), address),
                None => (None, part),
            };
            if let Some(login) = login {
                // Only the first address may have it.
                if !addresses.is_empty() {
                    return Err(ConfigError::Credentials);
                }
                auth = of_login(login)?;
            }
            let address = Address::parse(address, PORT).ok_or(ConfigError::Url)?;
            addresses.push(address.tls(is_tls));
        }
        Ok(NatsConfig {
            settings: Settings::new(addresses),
            prefix: "peregrine".to_owned(),
            auth,
            name: None,
            is_tls_first: false,
        })
    }

    /// Sets the tokens before all subjects, by default `peregrine`. Programs with the same prefix share their topics.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Prefix`].
    pub fn prefix(mut self, prefix: &str) -> Result<NatsConfig, ConfigError> {
        if !subject::is_prefix(prefix) {
            return Err(ConfigError::Prefix);
        }
        prefix.clone_into(&mut self.prefix);
        Ok(self)
    }

    /// Sets user and password.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>, password: impl Into<String>) -> NatsConfig {
        self.auth = Auth::User(user.into(), Secret(password.into()));
        self
    }

    /// Sets a token.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> NatsConfig {
        self.auth = Auth::Token(Secret(token.into()));
        self
    }

    /// Sets the seed of a user's NKey: `SU` and 56 more characters.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Seed`].
    #[cfg(feature = "nkeys")]
    pub fn nkey(mut self, seed: &str) -> Result<NatsConfig, ConfigError> {
        let key = crate::nkey::NKey::from_seed(seed).ok_or(ConfigError::Seed)?;
        self.auth = Auth::Key(key, None);
        Ok(self)
    }

    /// Sets the text of a file of credentials, with a JWT and a seed.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Seed`] if one of them is missing or malformed.
    #[cfg(feature = "nkeys")]
    pub fn credentials(mut self, text: &str) -> Result<NatsConfig, ConfigError> {
        let (key, jwt) = crate::nkey::NKey::from_credentials(text).ok_or(ConfigError::Seed)?;
        self.auth = Auth::Key(key, Some(Secret(jwt)));
        Ok(self)
    }

    /// Sets the name that the server shows for this connection.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> NatsConfig {
        self.name = Some(name.into());
        self
    }

    /// Begins TLS with the first byte, as servers with `handshake_first` want it. By default TLS begins after INFO.
    #[must_use]
    pub fn tls_first(mut self) -> NatsConfig {
        self.is_tls_first = true;
        self
    }

    /// The relay. It connects when its handle is given to a hub.
    pub fn relay(self) -> BrokerRelay<Nats> {
        let settings = self.settings.clone();
        BrokerRelay::new(self.protocol(), settings)
    }

    pub(crate) fn protocol(self) -> Nats {
        Nats {
            prefix: self.prefix.into(),
            auth: Arc::new(self.auth),
            name: self.name,
            echo: self.settings.order == RelayOrder::Broker,
            is_tls_first: self.is_tls_first,
        }
    }
}

/// A user and a password, or a token.
fn of_login(login: &str) -> Result<Auth, ConfigError> {
    let decoded = |text: &str| {
        let text = percent_decode_str(text).decode_utf8();
        text.map(String::from).map_err(|_| ConfigError::Credentials)
    };
    Ok(match login.split_once(':') {
        Some((user, password)) => Auth::User(decoded(user)?, Secret(decoded(password)?)),
        None => Auth::Token(Secret(decoded(login)?)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let addresses = |url: &str| {
            let config = NatsConfig::new(url)?;
            let shown = config.settings.addresses.iter();
            let shown: Vec<_> = shown.map(|a| format!("{a} {}", a.is_tls)).collect();
            Ok((shown, format!("{:?}", config.auth)))
        };
        let good = [
            ("nats://a", &["a:4222 false"][..], "None"),
            ("nats://a:1/", &["a:1 false"], "None"),
            (
                "tls://a,b:2,[::1]",
                &["a:4222 true", "b:2 true", "[::1]:4222 true"],
                "None",
            ),
            (
                "nats://a,nats://b",
                &["a:4222 false", "b:4222 false"],
                "None",
            ),
            (
                "nats://u%40x:p@a",
                &["a:4222 false"],
                "User(\"u@x\", (secret))",
            ),
            (
                "nats://t@a,b",
                &["a:4222 false", "b:4222 false"],
                "Token((secret))",
            ),
        ];
        for (url, wanted, auth) in good {
            let wanted = wanted.iter().map(|&text| text.to_owned()).collect();
            assert_eq!(addresses(url), Ok((wanted, auth.to_owned())), "{url}");
        }
        for bad in [
            "",
            "a",
            "http://a",
            "nats://",
            "nats://a,",
            "nats://a:x",
            "nats:// a",
        ] {
            assert_eq!(addresses(bad), Err(ConfigError::Url), "{bad}");
        }
        for bad in ["nats://a,t@b", "nats://t@a,t@b", "nats://%ff@a"] {
            assert_eq!(addresses(bad), Err(ConfigError::Credentials), "{bad}");
        }
        let config = NatsConfig::new("nats://a").expect("a URL");
        assert_eq!(config.prefix("a b").map(|_| ()), Err(ConfigError::Prefix));
    }
}
