//! Compression of responses (RFC 9110 section 8.4).
//!
//! Complete ones, streams and events that handlers make.
//!
//! Files have their own mechanism in `files`, which compresses once.

mod encoder;

use crate::http::compressible::is_compressible;
use crate::http::content_coding::{AcceptedCodings, Coding};
use crate::http::handler::{Handler, forward_rest};
use crate::http::request::Request;
use crate::http::request_body::BodyPlan;
use crate::http::request_body::around::Around;
use crate::http::response::filter::{RecordedResponse, ResponseFilter};
use crate::http::response::{Done, Response};
use crate::shared::quota::Share;
#[cfg(feature = "websocket")]
use crate::websocket::{WebSocketHandler, forward_hooks, upgrade::Upgrade};
use encoder::Encoder;
use peregrine_protocol::http::field_block;
use peregrine_protocol::http::response::BodySize;
use std::sync::Arc;

peregrine_protocol::settings! {
    /// Settings of [`Compress`].
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct CompressConfig {
        /// A complete body of fewer bytes is sent as it is: one packet holds it in any case.
        pub min_bytes: usize = 1024;
        /// A complete body of more bytes is sent as it is, because its compression would hold up the other
        /// connections of the worker. A megabyte takes about 10 ms. Send larger bodies in pieces.
        pub max_bytes: usize = 1 << 20;
        /// Bodies in pieces that are compressed at the same time. Each needs 0.3 to 1.5 MB. Above, they are sent
        /// as they are.
        pub streams: usize = 256;
        /// The level of `gzip` and `deflate`, from 1 (fast) to 9 (small).
        pub gzip_level: u32 = 2;
        /// The quality of `br`, from 0 (fast) to 11 (small). Needs the feature `brotli`.
        pub brotli_quality: u32 = 2;
        /// The level of `zstd`, from 1 (fast) to 19 (small). Needs the feature `zstd`.
        pub zstd_level: i32 = 3;
    }
}

/// A handler whose responses are compressed if the client accepts it. Needs the feature `compress`; `brotli`
/// and `zstd` have features of their own.
///
/// A response is compressed if its `Content-Type` is a text or another type that gets smaller, and it has not one
/// of: status 204, 206 or 304; `Content-Encoding`; `Content-Range`; `Accept-Ranges: bytes`, as files have;
/// `Content-Digest`; `no-transform` in `Cache-Control`. [`CompressConfig`] limits its length. Then `Vary` gets
/// `Accept-Encoding`, and an `ETag` becomes a weak one. A 304 gets the same two.
///
/// A body in pieces is compressed in pieces. What a [`BodySender`](crate::body::BodySender) sends at once arrives
/// at once; small pieces are compressed less well. Events are compressed if the handler sets another
/// `Cache-Control` than the one that [`Response::events`] sets.
///
/// **Secrets.** The length of a compressed body says something about its content. If a page contains a secret,
/// such as a token against CSRF, and a text that other sites can choose, such as a search term, they can find out
/// the secret from many lengths (BREACH). Do not compress such pages: set `Cache-Control: no-transform`. With cookies
/// that are `SameSite=Lax` or `Strict`, other sites cannot make such requests as the user.
///
/// ```
/// use peregrine::compression::Compress;
/// use peregrine::testing::Client;
///
/// let app = Compress::new(peregrine::from_fn(|_, res| res.text("hello ".repeat(1000))));
/// let mut client = Client::new(&app);
/// let response = client.get("/").header("Accept-Encoding", "gzip, br;q=0").send();
/// assert_eq!(response.header("content-encoding"), Some("gzip"));
/// assert_eq!(response.header("vary"), Some("Accept-Encoding"));
/// assert!(response.body().len() < 100);
/// assert_eq!(client.get("/").send().body().len(), 6000);
/// ```
#[derive(Debug)]
pub struct Compress<H> {
    handler: H,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: CompressConfig,
    /// Bodies in pieces that are compressed now.
    streams: Arc<Share>,
}

impl<H: Handler> Compress<H> {
    /// Compresses the responses of `handler`, with the default settings.
    pub fn new(handler: H) -> Compress<H> {
        Compress::with_config(handler, CompressConfig::default())
    }

    /// Compresses the responses of `handler`. Levels outside their range are replaced by the nearest in it.
    pub fn with_config(handler: H, config: CompressConfig) -> Compress<H> {
        let shared = Arc::new(Shared {
            streams: Arc::new(Share::new(config.streams)),
            config,
        });
        Compress { handler, shared }
    }
}

impl Shared {
    fn compressed(
        self: &Arc<Shared>,
        req: &Request<'_>,
        res: Response<'_>,
        respond: impl FnOnce(Response<'_>) -> Done,
    ) -> Done {
        let accepted = AcceptedCodings::parse(req.header_all("accept-encoding"));
        let filter = Filter {
            coding: accepted.choose(Encoder::CODINGS.iter().copied()),
            shared: self.clone(),
        };
        res.filtered(Box::new(filter), respond)
    }
}

impl Around for Arc<Shared> {
    fn respond(
        self,
        req: &Request<'_>,
        res: Response<'_>,
        inner: impl FnOnce(&Request<'_>, Response<'_>) -> Done,
    ) -> Done {
        self.compressed(req, res, |res| inner(req, res))
    }
}

#[deny(clippy::missing_trait_methods)]
impl<H: Handler> Handler for Compress<H> {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        let respond = |res: Response<'_>| self.handler.handle_request(req, res);
        self.shared.compressed(req, res, respond)
    }

    fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
        let plan = self.handler.body_plan(req);
        plan.within(|| self.shared.clone())
    }

    forward_rest!(self => self.handler);
}

/// Messages of WebSockets are not compressed by this, but by the feature `deflate`.
#[cfg(feature = "websocket")]
#[deny(clippy::missing_trait_methods)]
impl<H: WebSocketHandler> WebSocketHandler for Compress<H> {
    type Conn = H::Conn;

    fn accept_ws(&self, req: &Request<'_>, upgrade: &mut Upgrade<'_>) -> Option<H::Conn> {
        self.handler.accept_ws(req, upgrade)
    }

    forward_hooks!(self => self.handler);
}

/// Compresses one response in the coding that its client prefers.
struct Filter {
    coding: Coding,
    shared: Arc<Shared>,
}

impl ResponseFilter for Filter {
    fn apply(self: Box<Self>, response: &mut RecordedResponse<'_>) {
        let status = response.head.status;
        let config = &self.shared.config;
        let is_large = match response.size {
            _ if response.streamed.is_some() => true,
            BodySize::Known(len) => len >= config.min_bytes as u64,
            // A response to HEAD whose body would come in pieces.
            BodySize::Unknown => !response.is_sent,
        };
        if status == 304 {
            return self.apply_to_not_modified(response);
        }
        if !is_large || matches!(status, 204..=206) || !is_suitable(response.fields(), false) {
            return;
        }
        let coding = match response.size {
            BodySize::Known(len) if response.streamed.is_none() => {
                Some(self.coding).filter(|_| len <= config.max_bytes as u64)
            }
            _ => Some(self.coding),
        };
        let coding = coding.unwrap_or(Coding::Identity);
        let fields = changed_fields(response.fields(), coding);
        self.encode(response, coding, &fields);
    }
}

impl Filter {
    /// A 304 has the fields that the 200 would have (RFC 9110 section 15.4.5). It does not tell the type of it.
    fn apply_to_not_modified(&self, response: &mut RecordedResponse<'_>) {
        if is_suitable(response.fields(), true) {
            let fields = varied_fields(response.fields(), self.coding != Coding::Identity);
            response.set_fields(&fields);
        }
    }

    fn encode(&self, response: &mut RecordedResponse<'_>, coding: Coding, fields: &[u8]) {
        let Shared { config, streams } = &*self.shared;
        let plain = changed_fields(response.fields(), Coding::Identity);
        if coding == Coding::Identity {
            return response.set_fields(&plain);
        }
        if let Some(body) = &mut response.streamed {
            let Some(place) = streams.hold() else {
                return response.set_fields(&plain);
            };
            let declared = match response.size {
                BodySize::Known(len) => Some(len),
                BodySize::Unknown => None,
            };
            let encoder = encoder::StreamEncoder::new(Encoder::new(coding, config), place);
            body.encode_with(Box::new(encoder), declared);
            response.size = BodySize::Unknown;
            return response.set_fields(fields);
        }
        if !response.is_sent {
            // The length would be known only after compression.
            response.size = BodySize::Unknown;
            return response.set_fields(fields);
        }
        // A part of a file is not in memory.
        let Some(pieces) = response.body() else {
            return;
        };
        let small = Encoder::new(coding, config).whole(&pieces);
        match small {
            Ok(small) => response.replace(fields, small),
            Err(_) => response.set_fields(&plain),
        }
    }
}

/// Whether the fields of a response allow its compression. `is_type`: what its type says, if it has none.
fn is_suitable(fields: &[u8], mut is_type: bool) -> bool {
    for (name, value) in field_block::fields(fields) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        let has = |token: &str| {
            let mut parts = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            parts.any(|part| part.eq_ignore_ascii_case(token.as_bytes()))
        };
        if is("content-type") {
            is_type = std::str::from_utf8(value).is_ok_and(is_compressible);
        } else if is("content-encoding")
            || is("content-range")
            || is("content-digest")
            || is("accept-ranges") && has("bytes")
            || is("cache-control") && has("no-transform")
        {
            return false;
        }
    }
    is_type
}

/// The fields of the response in this coding.
fn changed_fields(fields: &[u8], coding: Coding) -> Vec<u8> {
    let mut changed = varied_fields(fields, coding != Coding::Identity);
    if coding != Coding::Identity {
        field_block::push(b"Content-Encoding", coding.name().as_bytes(), &mut changed);
    }
    changed
}

/// The fields with `Vary`, and with a weak `ETag` if `is_weak` (RFC 9110 section 8.8.1).
fn varied_fields(fields: &[u8], is_weak: bool) -> Vec<u8> {
    let mut changed = Vec::with_capacity(fields.len() + 64);
    let mut varies = false;
    for (name, value) in field_block::fields(fields) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("vary") {
            let mut parts = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            varies |= parts.any(|p| p == b"*" || p.eq_ignore_ascii_case(b"accept-encoding"));
        }
        match is("etag") && is_weak && !value.starts_with(b"W/") {
            true => field_block::push(name, &[b"W/", value].concat(), &mut changed),
            false => field_block::push(name, value, &mut changed),
        }
    }
    if !varies {
        field_block::push(b"Vary", b"Accept-Encoding", &mut changed);
    }
    changed
}

#[cfg(test)]
mod tests;
