//! Sessions: values that the server keeps for a browser.
//!
//! A random name in a cookie finds them.

pub(crate) mod store;

use crate::http::cookie::key::{new_session, session_key};
use crate::http::cookie::set_cookie::SetCookie;
use crate::http::request::Request;
use crate::http::response::Response;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};
pub use store::{MemoryStore, SessionData, SessionKey, SessionStore};

peregrine_protocol::settings! {
    /// Settings of [`Sessions`].
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct SessionConfig {
        /// The name of the cookie. With `__Host-` no other host can set it, and browsers take it over TLS and from
        /// `localhost` only.
        pub cookie: String = "__Host-session".to_owned();
        /// Whether the cookie is `Secure`. With false, choose a name without a prefix.
        pub secure: bool = true;
        /// A session that [`Sessions::load`] does not find for so long ends.
        pub idle_timeout: Duration = Duration::from_secs(3600);
        /// So long after its beginning a session ends. [`Session::renew`] is a new beginning.
        pub lifetime: Duration = Duration::from_secs(24 * 3600);
        /// Bytes of one session: its names and values, and 64 for each of them. [`Session::set`] fails above.
        pub session_bytes: usize = 8192;
        /// Sessions that the [`MemoryStore`] of [`Sessions::new`] keeps. Above, the one that has not been used for
        /// longest ends. So a client that can make sessions without a login can end those of others: give
        /// a session only to users who have logged in.
        pub sessions: usize = 10_000;
    }
}

/// Bytes that an entry of a session costs beside its name and value.
const ENTRY_BYTES: usize = 64;
/// How far the clocks of servers with one store may differ.
const CLOCK_DIFFERENCE: Duration = Duration::from_secs(60);

/// Sessions of browsers. Needs the feature `sessions`.
///
/// A session is a map of texts. It is found by 256 random bits in a cookie that is `HttpOnly`, `Secure` and
/// `SameSite=Lax`. The store knows only their hash. A session without values has no cookie, and needs no memory.
///
/// If two requests change a session at the same time, the later [`Session::save`] wins. A session that one request
/// has ended or renewed does not come back by the `save` of another.
///
/// ```
/// use peregrine::sessions::Sessions;
/// use peregrine::testing::Client;
///
/// let sessions = Sessions::default();
/// let app = peregrine::from_fn(move |req, res| {
///     let mut session = sessions.load(req);
///     match (req.method(), req.path()) {
///         ("POST", "/login") => {
///             session.renew(); // whatever the name was before the login, it is another one now
///             if session.set("user", req.form("name").unwrap_or_default()).is_err() {
///                 return res.status(413).text("the name is too long");
///             }
///             session.save(res).redirect(303, "/")
///         }
///         ("POST", "/logout") => {
///             session.end();
///             session.save(res).redirect(303, "/")
///         }
///         _ => res.text(session.get("user").unwrap_or("not logged in")),
///     }
/// });
/// let mut client = Client::new(&app).follow_redirects();
/// assert_eq!(client.get("/").send().text(), "not logged in");
/// assert_eq!(client.post("/login").form(&[("name", "Ada")]).send().text(), "Ada");
/// assert_eq!(client.get("/").send().text(), "Ada");
/// assert_eq!(client.post("/logout").send().text(), "not logged in");
/// ```
#[derive(Debug)]
pub struct Sessions<S = MemoryStore> {
    store: S,
    config: SessionConfig,
}

impl Default for Sessions {
    fn default() -> Sessions {
        Sessions::new(SessionConfig::default())
    }
}

impl Sessions {
    /// Sessions in memory, of this process. They end with it.
    pub fn new(config: SessionConfig) -> Sessions {
        Sessions::with_store(MemoryStore::new(config.sessions), config)
    }
}

impl<S: SessionStore> Sessions<S> {
    /// Sessions in this store.
    pub fn with_store(store: S, config: SessionConfig) -> Sessions<S> {
        Sessions { store, config }
    }

    /// The session of a request. It is a new one without values if the cookie names none, or one that has
    /// ended. The store is asked, so a store on a disk or in the network belongs on a thread of the pool:
    /// [`Response::offload`](crate::Response::offload).
    pub fn load(&self, req: &Request<'_>) -> Session<'_, S> {
        let name = req.cookie(&self.config.cookie);
        let found = name.and_then(|name| {
            let key = session_key(&self.config.cookie, name);
            let data = self.store.load(&key, self.config.idle_timeout)?;
            Some((key, data)).filter(|(_, data)| !self.is_over(data, SystemTime::now()))
        });
        let (key, data) = match found {
            Some((key, data)) => (Some(key), data),
            None => (None, SessionData::new(SystemTime::now())),
        };
        Session {
            sessions: self,
            key,
            data,
            had_cookie: name.is_some(),
            is_new_name: false,
            is_changed: false,
        }
    }

    /// A session that began in the future is over, so a clock that is set back makes none longer. Clocks of several
    /// servers may differ by a minute.
    fn is_over(&self, data: &SessionData, now: SystemTime) -> bool {
        match now.duration_since(data.begun) {
            Ok(age) => age >= self.config.lifetime,
            Err(ahead) => ahead.duration() > CLOCK_DIFFERENCE || self.config.lifetime.is_zero(),
        }
    }
}

/// The session has more bytes than [`SessionConfig::session_bytes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionFull;

impl std::fmt::Display for SessionFull {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the session has no room for this value")
    }
}

impl std::error::Error for SessionFull {}

/// The session of one request. [`Sessions::load`] makes it, and [`Session::save`] stores what was changed.
#[must_use = "`save` stores it"]
pub struct Session<'s, S: SessionStore = MemoryStore> {
    sessions: &'s Sessions<S>,
    /// The name under which it is stored, if it is.
    key: Option<SessionKey>,
    data: SessionData,
    had_cookie: bool,
    /// It gets a new name.
    is_new_name: bool,
    is_changed: bool,
}

impl<S: SessionStore> Session<'_, S> {
    /// A value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.data.values.get(name).map(String::as_str)
    }

    /// Sets a value.
    ///
    /// # Errors
    ///
    /// [`SessionFull`] above [`SessionConfig::session_bytes`]. The value is not set then.
    pub fn set(&mut self, name: &str, value: impl Into<String>) -> Result<(), SessionFull> {
        let value = value.into();
        let others = self.data.values.iter().filter(|(other, _)| *other != name);
        let size = |name: &str, value: &str| ENTRY_BYTES + name.len() + value.len();
        let held: usize = others.map(|(name, value)| size(name, value)).sum();
        if held + size(name, &value) > self.sessions.config.session_bytes {
            return Err(SessionFull);
        }
        self.is_changed = true;
        self.data.values.insert(name.to_owned(), value);
        Ok(())
    }

    /// Removes a value, and returns it. This is for texts that are shown once, as after a redirect.
    #[doc(alias("flash", "remove"))]
    pub fn take(&mut self, name: &str) -> Option<String> {
        let taken = self.data.values.remove(name);
        self.is_changed |= taken.is_some();
        taken
    }

    /// Gives the session a new name, makes the old one invalid, and starts its lifetime anew. Call it when the rights
    /// of a user change, as at a login: so a name that an attacker knows from before is worth nothing.
    #[doc(alias("rotate", "regenerate"))]
    pub fn renew(&mut self) {
        self.data.begun = SystemTime::now();
        self.is_new_name = true;
        self.is_changed = true;
    }

    /// Removes all values, and ends the session when [`Session::save`] is called. Values that are set after it belong
    /// to a new session.
    #[doc(alias("destroy", "logout"))]
    pub fn end(&mut self) {
        self.data.values.clear();
        self.renew();
    }

    /// Stores the session, and sets its cookie where that is necessary.
    ///
    /// Call it last, when nothing can fail any more: an error response of the handler
    /// ([`HandlerError`](crate::error::HandlerError)) has no cookies that were set before, so the browser would not
    /// get the new name. A session that another request has ended or renewed meanwhile is not stored.
    pub fn save(self, res: Response<'_>) -> Response<'_> {
        let Sessions { store, config } = self.sessions;
        let idle = config.idle_timeout;
        if !self.is_changed {
            return res;
        }
        let is_empty = self.data.values.is_empty();
        let old = self.key.filter(|_| is_empty || self.is_new_name);
        if let Some(old) = &old {
            store.remove(old);
        }
        if is_empty {
            let removal = SetCookie::removal(&*config.cookie).secure(config.secure);
            return match self.had_cookie {
                true => res.set_cookie(&removal),
                false => res,
            };
        }
        match self.key.filter(|_| !self.is_new_name) {
            Some(key) => {
                store.replace(&key, self.data, idle);
                res
            }
            None => {
                let (name, key) = new_session(&config.cookie);
                store.create(&key, self.data, idle);
                let cookie = SetCookie::new(&*config.cookie, name).secure(config.secure);
                // Caches must not give the name to other users.
                res.header("Cache-Control", "no-store").set_cookie(&cookie)
            }
        }
    }

    /// All values.
    pub fn values(&self) -> &BTreeMap<String, String> {
        &self.data.values
    }
}

impl<S: SessionStore> std::fmt::Debug for Session<'_, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("values", &self.data.values.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Client;

    const NAME: &str = "__Host-session";

    /// Sets a value by `/set?a`, shows it by `/`, and renews and ends the session.
    fn app(config: SessionConfig) -> impl crate::Handler {
        let sessions = Sessions::new(config);
        crate::from_fn(move |req, res| {
            let mut session = sessions.load(req);
            let mut status = 200;
            match req.path() {
                "/set" => {
                    let value = req.query_string().unwrap_or_default();
                    status = session.set("a", value).map_or(413, |()| 200);
                }
                "/renew" => session.renew(),
                "/end" => session.end(),
                "/take" => _ = session.take("a"),
                _ => {}
            }
            let shown = session.get("a").unwrap_or("none").to_owned();
            session.save(res).status(status).text(shown)
        })
    }

    #[test]
    fn a_session_without_values_needs_no_cookie() {
        let app = app(SessionConfig::default());
        let mut client = Client::new(&app);
        for path in ["/", "/renew", "/end", "/take"] {
            let response = client.get(path).send();
            assert_eq!(response.header("set-cookie"), None, "{path}");
        }
        let response = client.get("/set?x").send();
        let cookie = response.header("set-cookie").expect("a cookie");
        assert!(
            cookie.ends_with("; Path=/; Secure; HttpOnly; SameSite=Lax"),
            "{cookie}"
        );
        assert_eq!(response.header("cache-control"), Some("no-store"));
        assert_eq!(client.get("/").send().header("set-cookie"), None);
        let response = client.get("/take").send();
        assert!(
            response
                .header("set-cookie")
                .is_some_and(|c| c.contains("Max-Age=0"))
        );
        assert_eq!(client.cookie(NAME), None);
    }

    #[test]
    fn the_name_changes_and_the_old_one_is_worth_nothing() {
        let app = app(SessionConfig::default());
        let mut client = Client::new(&app);
        client.get("/set?x").send();
        let old = client.cookie(NAME).expect("a name").to_owned();
        assert_eq!(client.get("/renew").send().text(), "x");
        assert_ne!(client.cookie(NAME), Some(&*old));
        assert_eq!(client.get("/").send().text(), "x");

        let mut thief = Client::new(&app);
        thief.set_cookie(NAME, &old);
        assert_eq!(thief.get("/").send().text(), "none");
        // A name that the server has not given is not taken over.
        thief.set_cookie(NAME, "chosen");
        thief.get("/set?y").send();
        assert_ne!(thief.cookie(NAME), Some("chosen"));

        let now = client.cookie(NAME).expect("a name").to_owned();
        client.get("/end").send();
        thief.set_cookie(NAME, &now);
        assert_eq!(thief.get("/").send().text(), "none");
    }

    #[test]
    fn the_bytes_of_a_session_are_limited() {
        let app = app(SessionConfig::default().session_bytes(10 + ENTRY_BYTES));
        let mut client = Client::new(&app);
        assert_eq!(client.get("/set?123456789").send().status(), 200);
        assert_eq!(client.get("/set?1234567890").send().status(), 413);
        assert_eq!(client.get("/").send().text(), "123456789");
    }

    #[test]
    fn a_session_that_has_ended_does_not_come_back() {
        let sessions = Sessions::default();
        let app = crate::from_fn(move |req, res| {
            let mut session = sessions.load(req);
            let mut slow = sessions.load(req);
            match req.path() {
                "/end" => session.end(),
                "/end-and-set" => {
                    session.end();
                    session.set("b", "bye").expect("room");
                }
                "/renew" => session.renew(),
                _ => session.set("a", "x").expect("room"),
            }
            let res = session.save(res);
            let is_slow = slow.get("a").is_some();
            if is_slow {
                slow.set("a", "slow").expect("room");
            }
            match is_slow {
                true => slow.save(res).text(""),
                false => res.text(""),
            }
        });
        for path in ["/end", "/end-and-set", "/renew"] {
            let mut client = Client::new(&app);
            client.get("/set").send();
            let old = client.cookie(NAME).expect("a name").to_owned();
            client.get(path).send();
            assert_ne!(client.cookie(NAME), Some(&*old), "{path}");
            // Nothing is found by the old name: a value gets a new one.
            let mut thief = Client::new(&app);
            thief.set_cookie(NAME, &old);
            thief.get("/set").send();
            assert_ne!(thief.cookie(NAME), Some(&*old), "{path}");
        }
    }

    #[test]
    fn sessions_with_other_cookies_have_other_names() {
        assert_ne!(session_key("a", "x"), session_key("b", "x"));
        assert_ne!(session_key("a", "bx"), session_key("ab", "x"));
    }

    #[test]
    fn a_clock_that_is_set_back_makes_no_session_longer() {
        let sessions = Sessions::default();
        let now = SystemTime::now();
        let after = |seconds: u64| SessionData::new(now + Duration::from_secs(seconds));
        let before = |seconds: u64| SessionData::new(now - Duration::from_secs(seconds));
        assert!(!sessions.is_over(&before(86_399), now));
        assert!(sessions.is_over(&before(86_400), now));
        assert!(!sessions.is_over(&after(60), now));
        assert!(sessions.is_over(&after(61), now));
    }

    #[test]
    fn a_session_ends_after_its_lifetime() {
        let app = app(SessionConfig::default().lifetime(Duration::ZERO));
        let mut client = Client::new(&app);
        assert_eq!(client.get("/set?x").send().text(), "x");
        assert_eq!(client.get("/").send().text(), "none");
    }

    #[test]
    fn a_session_that_is_not_used_ends() {
        let app = app(SessionConfig::default().idle_timeout(Duration::ZERO));
        let mut client = Client::new(&app);
        assert_eq!(client.get("/set?x").send().text(), "x");
        assert_eq!(client.get("/").send().text(), "none");
    }
}
