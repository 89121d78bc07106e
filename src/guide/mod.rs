//! Guides: how to build a program with peregrine. All code in them is tested.
//!
//! | guide | question |
//! |---|---|
//! | [`getting_started`] | How do I keep state, respond to errors and test a handler? |
//! | [`routing`] | How do I route by method and path, with parameters and groups? |
//! | [`layers`] | How do I add CORS, authentication, rate limits or code of my own around handlers? |
//! | [`response_cache`] | How do I keep responses in memory for a time? |
//! | [`blocking`] | Where does code go that blocks: a database, a slow computation, a file? |
//! | [`responses`] | Which ways are there to respond: at once, later, piece by piece, as events? |
//! | [`history`] | How does a client get what it missed while it was away? |
//! | [`presence`] | Who is in a room, on all machines? |
//! | [`request_bodies`] | How do I read forms, uploads, and bodies that are larger than memory? |
//! | [`cookies`] | How do I read and set cookies, and keep sessions? |
#![cfg_attr(
    feature = "websocket",
    doc = "| [`websockets`] | How do I accept WebSockets and send to them from any thread? |"
)]
#![cfg_attr(
    feature = "dir",
    doc = "| [`files`] | How do I serve a folder, a single-page application, or embedded files? |"
)]
#![cfg_attr(
    feature = "compress",
    doc = "| [`compression`] | How are responses compressed, and which must not be? |"
)]
#![cfg_attr(
    feature = "templates",
    doc = "| [`templates`] | How do I make pages from templates? |"
)]
#![cfg_attr(
    feature = "json",
    doc = "| [`json`] | How do I read and send JSON, and what do clients see of its errors? |"
)]
#![cfg_attr(
    feature = "http2",
    doc = "| [`http2`] | What differs with HTTP/2, and how do I test it? |"
)]
#![cfg_attr(
    feature = "http3",
    doc = "| [`http3`] | What differs with HTTP/3, and what does it need? |"
)]
#![cfg_attr(
    feature = "tls",
    doc = "| [`tls`] | How do I serve `https` and `wss`, and how do I get and renew certificates? |"
)]
//! | [`testing`] | How do I test a handler, with cookies, redirects and JSON? |
//! | [`limits`] | What can a client cost, and how do I change it? |
//! | [`proxies`] | What is the address of a client behind a proxy, and its scheme and host? |
//! | [`draining`] | How do health checks work, and how does a stop lose no request? |
//! | [`systemd`] | How does it run as a service of systemd? |
//! | [`kubernetes`] | How does it run in Kubernetes? |
//! | [`machines`] | How do topics reach the clients of several machines? |
//! | [`operation`] | How do I run it: proxy and TLS, stop, restart, metrics, logs? |
//!
//! These modules contain documentation only.

pub mod blocking;
#[cfg(feature = "compress")]
pub mod compression;
pub mod cookies;
pub mod draining;
#[cfg(feature = "dir")]
pub mod files;
pub mod getting_started;
pub mod history;
#[cfg(feature = "http2")]
pub mod http2;
#[cfg(feature = "http3")]
pub mod http3;
#[cfg(feature = "json")]
pub mod json;
pub mod kubernetes;
pub mod layers;
pub mod limits;
pub mod machines;
pub mod operation;
pub mod presence;
pub mod proxies;
pub mod request_bodies;
pub mod response_cache;
pub mod responses;
pub mod routing;
pub mod systemd;
#[cfg(feature = "templates")]
pub mod templates;
pub mod testing;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(feature = "websocket")]
pub mod websockets;
