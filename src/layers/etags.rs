//! Entity tags of responses that handlers make, and 304 (RFC 9110 section 13).

use super::{Layer, Next};
use crate::http::entity_tag::{self, Comparison};
use crate::http::request::Request;
use crate::http::response::filter::{RecordedResponse, ResponseFilter};
use crate::http::response::{Done, Response};
use crate::shared::sip_hash::SipHash;
use peregrine_protocol::http::field_block;

/// Gives responses an `ETag`, and sends 304 without a body if the client has the response already (`If-None-Match`).
///
/// It applies to GET with status 200. The tag is a hash of the body and its `Content-Type`, so the handler runs in any case: it saves bytes on the
/// way, and no work. A handler that knows a cheaper tag sets `ETag` itself; then that is compared. A response in pieces, or of
/// a file, gets no tag. A response to HEAD gets none either, unless the handler has set one.
///
/// The same body has the same tag on every machine and in every process, so servers behind a balancer agree.
///
/// A body of more than 1 MiB gets no tag, because the hash would hold up the other connections of the worker.
///
/// ```
/// use peregrine::Router;
/// use peregrine::layers::ETags;
/// use peregrine::testing::Client;
///
/// let app = Router::new().get("/", |_, res| res.text("rarely changes")).layer(ETags::new());
/// let mut client = Client::new(&app);
/// let response = client.get("/").send();
/// let tag = response.header("etag").expect("a tag").to_owned();
/// let again = client.get("/").header("If-None-Match", &tag).send();
/// assert_eq!((again.status(), again.body()), (304, &b""[..]));
/// ```
#[derive(Clone, Debug)]
pub struct ETags {
    max_bytes: usize,
}

impl Default for ETags {
    fn default() -> ETags {
        ETags::new()
    }
}

impl ETags {
    /// Bodies of up to 1 MiB get a tag.
    pub fn new() -> ETags {
        ETags { max_bytes: 1 << 20 }
    }

    /// Sets the length of a body, in bytes, above which it gets no tag. Default: 1 MiB.
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> ETags {
        self.max_bytes = bytes;
        self
    }
}

impl Layer for ETags {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>, next: Next<'_>) -> Done {
        if !matches!(req.method(), "GET" | "HEAD") {
            return next.run(req, res);
        }
        let known = req.header_all("if-none-match").map(<[u8]>::to_vec);
        let filter = Tagged {
            max_bytes: self.max_bytes,
            known: known.collect(),
        };
        res.filtered(Box::new(filter), |res| next.run(req, res))
    }
}

/// Any key will do. If it changed, clients would get each body once more.
const KEY: [u64; 2] = [0x7065_7265_6772_696e, 0x65e7_4167];

/// Tags one response.
struct Tagged {
    max_bytes: usize,
    /// The values of `If-None-Match`.
    known: Vec<Vec<u8>>,
}

impl ResponseFilter for Tagged {
    fn apply(self: Box<Self>, response: &mut RecordedResponse<'_>) {
        if response.head.status != 200 || response.streamed.is_some() {
            return;
        }
        let mut fields = response.fields().to_vec();
        let tag = match field_block::value(&fields, "etag") {
            Some(tag) => tag.strip_prefix(b"W/").unwrap_or(tag).to_vec(),
            None => {
                let kind = field_block::value(&fields, "content-type").unwrap_or_default();
                let body = response.body().filter(|_| response.is_sent);
                let Some(tag) = body.and_then(|pieces| self.tag(kind, &pieces)) else {
                    return;
                };
                field_block::push(b"ETag", &tag, &mut fields);
                tag
            }
        };
        let is_listed = |line: &Vec<u8>| entity_tag::is_listed(line, &tag, Comparison::Weak);
        if !self.known.iter().any(is_listed) {
            return response.set_fields(&fields);
        }
        let kept = entity_tag::not_modified_fields(&fields);
        response.head.status = 304;
        response.replace(&kept, Vec::new());
    }
}

impl Tagged {
    fn tag(&self, kind: &[u8], pieces: &[&[u8]]) -> Option<Vec<u8>> {
        let len: usize = pieces.iter().map(|piece| piece.len()).sum();
        if len > self.max_bytes {
            return None;
        }
        let mut hash = SipHash::new(KEY);
        hash.write(kind);
        hash.write(&[0]);
        pieces.iter().for_each(|piece| hash.write(piece));
        Some(format!("\"{:032x}\"", hash.finish()).into_bytes())
    }
}
