//! Cookies and sessions.
//!
//! # Cookies
//!
//! [`Request::cookie`] reads a cookie, [`Response::set_cookie`] sets one. A [`SetCookie`] is `Secure`, `HttpOnly`
//! and `SameSite=Lax` unless the program says something else, and only the host that has set it gets it.
//!
//! ```
//! use peregrine::cookie::SetCookie;
//! use peregrine::testing::Client;
//!
//! let app = peregrine::from_fn(|req, res| match req.path() {
//!     // A text is encoded, a value is sent as it is.
//!     "/set" => res.set_cookie(&SetCookie::text("__Host-name", "Ada Lovelace")).text("saved"),
//!     "/forget" => res.set_cookie(&SetCookie::removal("__Host-name")).text("forgotten"),
//!     _ => res.text(req.cookie_text("__Host-name").unwrap_or_default()),
//! });
//! let mut client = Client::new(&app);
//! client.get("/set").send();
//! assert_eq!(client.get("/").send().text(), "Ada Lovelace");
//! client.get("/forget").send();
//! assert_eq!(client.get("/").send().text(), "");
//! ```
//!
//! A cookie that browsers would ignore is an error, and its client gets 500:
//!
//! | [`CookieError`] | reason |
//! |---|---|
//! | `Name`, `Value`, `Attribute` | a character that is not allowed there |
//! | `TooLong` | more than 4,096 bytes |
//! | `Prefix` | `__Host-` needs `Secure`, `Path=/` and no `Domain`; `__Secure-` needs `Secure` |
//! | `NotSecure` | `SameSite=None` or `Partitioned` without `Secure` |
//!
//! [`SetCookie::to_field`] returns this error instead.
//!
//! A user can change each cookie. So a value is a wish, as a form is, and not what the server has set.
#![cfg_attr(feature = "sessions", doc = "")]
#![cfg_attr(feature = "sessions", doc = include_str!("sessions.md"))]
//!
//! [`Request::cookie`]: crate::Request::cookie
//! [`Response::set_cookie`]: crate::Response::set_cookie
//! [`SetCookie`]: crate::cookie::SetCookie
//! [`SetCookie::to_field`]: crate::cookie::SetCookie::to_field
//! [`CookieError`]: crate::cookie::CookieError
