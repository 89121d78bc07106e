//! One file in every content coding that exists, with prepared response heads.

use super::conditional::Validators;
use super::config::DirConfig;
use super::listing;
use super::open::{Items, Stamp};
use crate::http::content_coding::{AcceptedCodings, Coding};
use crate::http::response::prepared::PreparedResponse;
use peregrine_protocol::http::encode;
use peregrine_protocol::http::field_block;
use peregrine_protocol::payload::Payload;
use std::fs::File;
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};

/// Codings of the siblings of a file, and their suffixes, in the order of preference at equal weights: smallest first.
pub(crate) const SIBLINGS: [(Coding, &str); 3] = [
    (Coding::Brotli, ".br"),
    (Coding::Zstd, ".zst"),
    (Coding::Gzip, ".gz"),
];

/// What a resource costs in the cache besides its bytes: maps, allocations, keys.
const OVERHEAD: usize = 512;

/// All codings of one file. The first is the file itself.
#[derive(Debug)]
pub(crate) struct Resource {
    pub(crate) variants: Vec<Variant>,
    /// The state of the files when they were read, the plain one first. Empty if they never change.
    pub(crate) stamps: Vec<Stamp>,
    /// The last change was long ago, so another change would be visible in the times.
    pub(crate) settled: bool,
    /// It is the list of a folder, which has several forms.
    pub(crate) is_list: bool,
    /// The entries of a folder, from which all forms of its list are made. Then it has no variants.
    pub(crate) items: Option<Arc<Items>>,
    /// When the files were last looked at, in milliseconds of the cache's clock.
    pub(crate) checked: AtomicU64,
    /// When it was last requested, in seconds of the cache's clock.
    pub(crate) used: AtomicU32,
}

impl Resource {
    pub(crate) fn new(variants: Vec<Variant>, stamps: Vec<Stamp>, settled: bool) -> Resource {
        Resource {
            variants,
            stamps,
            settled,
            is_list: false,
            items: None,
            checked: AtomicU64::new(0),
            used: AtomicU32::new(0),
        }
    }

    /// The list of a folder.
    pub(crate) fn list(variant: Variant) -> Resource {
        Resource {
            is_list: true,
            ..Resource::new(vec![variant], Vec::new(), false)
        }
    }

    /// What was read of a folder.
    pub(crate) fn items(items: Arc<Items>) -> Resource {
        Resource {
            items: Some(items),
            ..Resource::new(Vec::new(), Vec::new(), false)
        }
    }

    /// The variant for a client with these preferences. `None`: the client sent none.
    pub(crate) fn choose(&self, accepted: Option<&AcceptedCodings>) -> &Variant {
        let coding = accepted.map_or(Coding::Identity, |accepted| {
            accepted.choose(self.variants.iter().map(|v| v.coding))
        });
        let chosen = self.variants.iter().find(|v| v.coding == coding);
        chosen.unwrap_or(&self.variants[0])
    }

    /// Bytes it holds in memory.
    pub(crate) fn weight(&self) -> usize {
        let variants = self.variants.iter().map(Variant::weight);
        let items = self.items.as_ref().map_or(0, |items| items.weight());
        variants.sum::<usize>() + items + OVERHEAD
    }

    /// Files it holds open.
    pub(crate) fn open_files(&self) -> usize {
        self.variants
            .iter()
            .filter(|v| v.prepared.is_file())
            .count()
    }
}

/// One coding of a file.
#[derive(Debug)]
pub(crate) struct Variant {
    pub(crate) coding: Coding,
    pub(crate) content_type: Arc<str>,
    /// Fields: `Content-Type`, and `Content-Encoding` if it has one.
    pub(crate) kind: Vec<u8>,
    /// Header fields of both 200 and 206: validators, caching, fields of the configuration.
    common: Vec<u8>,
    /// Position in `common` of the fields that are also sent to a client that has the others already.
    again: usize,
    pub(crate) prepared: PreparedResponse,
    etag: String,
    modified: Option<u64>,
}

impl Variant {
    pub(crate) fn validators(&self) -> Validators<'_> {
        Validators {
            etag: &self.etag,
            modified: self.modified,
        }
    }

    /// Header fields of both 200 and 206.
    pub(crate) fn common(&self) -> &[u8] {
        &self.common
    }

    /// Header fields for a client that has the others: for a 304, and for a 206 to `If-Range` (RFC 9110
    /// sections 15.4.5 and 15.3.7).
    pub(crate) fn again(&self) -> &[u8] {
        &self.common[self.again..]
    }

    fn weight(&self) -> usize {
        self.prepared.weight() + self.common.capacity()
    }
}

/// What the variants of one file share.
#[derive(Debug)]
pub(crate) struct Maker<'a> {
    content_type: Arc<str>,
    cache_control: Option<&'a str>,
    /// The request field that decides between the variants, if there are several.
    vary: Option<&'static str>,
    policy: Option<&'static str>,
    headers: &'a [(String, String)],
}

impl<'a> Maker<'a> {
    /// `path` is that of the file: decoded, beneath the root.
    pub(crate) fn new(
        config: &'a DirConfig,
        path: &[u8],
        content_type: Arc<str>,
        varies: bool,
    ) -> Maker<'a> {
        Maker {
            content_type,
            cache_control: config.cache_control_of(path),
            vary: varies.then_some("Accept-Encoding"),
            policy: None,
            headers: &config.headers,
        }
    }

    /// For the list of a folder.
    pub(crate) fn list(config: &'a DirConfig, content_type: &str) -> Maker<'a> {
        const NAME: &str = "Content-Security-Policy";
        let has_own = |(name, _): &(String, String)| name.eq_ignore_ascii_case(NAME);
        Maker {
            content_type: content_type.into(),
            cache_control: Some("no-cache"),
            vary: Some("Accept"),
            policy: (!config.headers.iter().any(has_own)).then_some(listing::POLICY),
            headers: &config.headers,
        }
    }
}

impl Maker<'_> {
    /// A file in memory. Its tag is a hash of its bytes. So two versions with equal times, as in archives and
    /// images without times, have different tags, and copies on two machines have equal tags.
    pub(crate) fn memory(&self, coding: Coding, body: Payload, modified: Option<u64>) -> Variant {
        let mut hasher = DefaultHasher::new();
        body.as_bytes().hash(&mut hasher);
        let etag = etag(hasher.finish(), body.len() as u64, coding);
        self.variant(coding, etag, modified, |fields| {
            PreparedResponse::memory(fields, body)
        })
    }

    /// A file that is read when it is sent. Its tag is a hash of all that the system knows about this
    /// version. While the file is not `settled`, the hash includes a random number, because the file may
    /// change again without a change of its times.
    pub(crate) fn file(
        &self,
        coding: Coding,
        file: Arc<File>,
        stamp: Stamp,
        modified: Option<u64>,
        settled: bool,
    ) -> Variant {
        let mut hasher = DefaultHasher::new();
        stamp.hash(&mut hasher);
        if !settled {
            // A new random value for each call.
            RandomState::new().build_hasher().finish().hash(&mut hasher);
        }
        let etag = etag(hasher.finish(), stamp.len, coding);
        self.variant(coding, etag, modified, |fields| {
            PreparedResponse::file(fields, file, stamp.len)
        })
    }

    fn variant(
        &self,
        coding: Coding,
        etag: String,
        modified: Option<u64>,
        prepare: impl FnOnce(Vec<u8>) -> PreparedResponse,
    ) -> Variant {
        let mut kind = Vec::new();
        field_block::push(b"Content-Type", self.content_type.as_bytes(), &mut kind);
        if coding != Coding::Identity {
            field_block::push(b"Content-Encoding", coding.name().as_bytes(), &mut kind);
        }
        let mut common = self.first_fields(modified);
        let again = common.len();
        common.extend_from_slice(&self.again_fields(&etag));
        let prepared = prepare([&kind[..], &common].concat());
        Variant {
            coding,
            content_type: self.content_type.clone(),
            kind,
            common,
            again,
            prepared,
            etag,
            modified,
        }
    }

    /// Header fields that a client keeps together with the file.
    fn first_fields(&self, modified: Option<u64>) -> Vec<u8> {
        let mut block = Vec::new();
        field_block::push(b"Accept-Ranges", b"bytes", &mut block);
        if let Some(modified) = modified {
            field_block::push(b"Last-Modified", &encode::date(modified), &mut block);
        }
        for (name, value) in self.headers.iter().filter(|(name, _)| is_of_content(name)) {
            field_block::push(name.as_bytes(), value.as_bytes(), &mut block);
        }
        block
    }

    /// Header fields that are sent again. Those of the configuration are among them: they may have changed
    /// while the file has not.
    fn again_fields(&self, etag: &str) -> Vec<u8> {
        let mut block = Vec::new();
        field_block::push(b"ETag", etag.as_bytes(), &mut block);
        if let Some(value) = self.cache_control {
            field_block::push(b"Cache-Control", value.as_bytes(), &mut block);
        }
        if let Some(name) = self.vary {
            field_block::push(b"Vary", name.as_bytes(), &mut block);
        }
        if let Some(policy) = self.policy {
            field_block::push(b"Content-Security-Policy", policy.as_bytes(), &mut block);
        }
        for (name, value) in self.headers.iter().filter(|(name, _)| !is_of_content(name)) {
            field_block::push(name.as_bytes(), value.as_bytes(), &mut block);
        }
        block
    }
}

/// Whether a field describes the bytes of a file (RFC 9110 section 8) and may be configured.
fn is_of_content(name: &str) -> bool {
    ["content-language", "content-disposition"]
        .into_iter()
        .any(|field| name.eq_ignore_ascii_case(field))
}

/// Different for every coding (RFC 9110 section 8.8.3.3).
fn etag(hash: u64, len: u64, coding: Coding) -> String {
    match coding {
        Coding::Identity => format!("\"{hash:016x}-{len:x}\""),
        coding => format!("\"{hash:016x}-{len:x}-{}\"", coding.name()),
    }
}

/// The bytes in gzip, if that saves at least a tenth and more than the length of a head.
#[cfg(feature = "compress")]
pub(crate) fn compressed(bytes: &[u8]) -> Option<Vec<u8>> {
    const LEAST: usize = 256;
    if bytes.len() < LEAST {
        return None;
    }
    let small = crate::shared::deflate::gzip(bytes, 7).ok()?;
    (small.len() < bytes.len() - bytes.len() / 10).then_some(small)
}
