//! How a process proves who it is.

#[cfg(feature = "nkeys")]
use crate::nkey::NKey;
use serde_json::{Value, json};

/// How a process proves who it is.
#[derive(Debug, Default)]
pub(crate) enum Auth {
    #[default]
    None,
    User(String, Secret),
    Token(Secret),
    /// A key, and with a JWT the account of the user.
    #[cfg(feature = "nkeys")]
    Key(NKey, Option<Secret>),
}

/// A text that is not shown.
pub(crate) struct Secret(pub(crate) String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

impl Auth {
    /// Adds what CONNECT has to say.
    pub(crate) fn add(&self, nonce: &str, connect: &mut Value) {
        let _ = nonce;
        match self {
            Auth::None => {}
            Auth::User(user, Secret(password)) => {
                connect["user"] = json!(user);
                connect["pass"] = json!(password);
            }
            Auth::Token(Secret(token)) => connect["auth_token"] = json!(token),
            #[cfg(feature = "nkeys")]
            Auth::Key(key, jwt) => {
                connect["sig"] = json!(key.sign(nonce));
                match jwt {
                    Some(Secret(jwt)) => connect["jwt"] = json!(jwt),
                    None => connect["nkey"] = json!(key.public()),
                }
            }
        }
    }
}
