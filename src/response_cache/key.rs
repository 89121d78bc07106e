//! What selects a response.
//!
//! A key has parts of the request, each with its length, so that two requests with different parts never have the same key.

use super::CacheConfig;
use super::rules::read_outer;
use crate::http::request::Request;
use crate::http::request::credentials::CREDENTIALS;
use crate::http::response::Response;

/// Fields with which a response is for one request only: a part of the body, conditions that may fail, a body, and what some
/// programs take for the method or the target.
const SPECIAL: &[&str] = &[
    "range",
    "if-range",
    "if-match",
    "if-unmodified-since",
    "content-length",
    "transfer-encoding",
    "upgrade",
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-original-url",
    "x-rewrite-url",
];

/// Fields that a kept response can answer by 304.
pub(super) const CONDITIONAL: [&str; 2] = ["if-none-match", "if-modified-since"];

/// Names of this length and longer ones are in one place.
const LONG: usize = 40;

/// Which fields of a request matter to a cache.
#[derive(Debug)]
pub(super) struct Watched {
    /// By length, with whether the request is not for the cache.
    names: Vec<(Box<str>, bool)>,
    /// For each length, where its names begin; the next one tells where they end.
    begins: [u16; LONG + 2],
    /// For each length, the first letters of its names, one bit for each letter. Most fields are none of these names, and
    /// nearly always these bits say so.
    letters: [u32; LONG + 1],
}

/// What the fields of a request say.
#[derive(Default)]
struct Seen {
    is_excluded: bool,
    is_conditional: bool,
}

impl Watched {
    pub(super) fn of(config: &CacheConfig) -> Watched {
        let is_in =
            |list: &[String], name: &str| list.iter().any(|own| own.eq_ignore_ascii_case(name));
        let is_declared =
            |name: &str| is_in(&config.fields, name) || is_in(&config.ignored_fields, name);
        let excluded = CREDENTIALS.iter().filter(|name| !is_declared(name));
        let own = config.excluded_fields.iter().map(String::as_str);
        let own = own.filter(|name| !name.is_empty());
        let excluded = excluded.chain(SPECIAL).copied().chain(own);
        let excluded = excluded.map(|name| (name.into(), true));
        let conditional = CONDITIONAL.iter().map(|name| ((*name).into(), false));
        let mut names: Vec<(Box<str>, bool)> = excluded.chain(conditional).collect();
        let place = |name: &str| name.len().min(LONG);
        names.sort_by_key(|(name, _)| place(name));
        let begins =
            std::array::from_fn(|at| names.partition_point(|(name, _)| place(name) < at) as u16);
        let mut letters = [0; LONG + 1];
        for (name, _) in &names {
            letters[place(name)] |= letter(name.as_bytes());
        }
        Watched {
            names,
            begins,
            letters,
        }
    }

    #[inline]
    fn look(&self, req: &Request<'_>) -> Seen {
        let mut seen = Seen::default();
        for name in req.field_names() {
            let len = name.len().min(LONG);
            if self.letters[len] & letter(name) != 0 {
                self.look_at(name, len, &mut seen);
            }
        }
        seen
    }

    /// `len`: of the name, or [`LONG`].
    #[inline(never)]
    fn look_at(&self, name: &[u8], len: usize, seen: &mut Seen) {
        let names = usize::from(self.begins[len])..usize::from(self.begins[len + 1]);
        for (own, is_excluded) in &self.names[names] {
            if name.eq_ignore_ascii_case(own.as_bytes()) {
                seen.is_excluded |= is_excluded;
                seen.is_conditional |= !is_excluded;
            }
        }
    }
}

/// One bit for the first byte of a name, the same for an upper and a lower letter. A name has a first byte.
#[inline]
fn letter(name: &[u8]) -> u32 {
    1 << (name.first().copied().unwrap_or_default() & 0x1f)
}

/// Bytes of a key that needs no allocation.
const ROOM: usize = 128;

/// A key, without what `Vary` of a response names; [`vary`] adds that.
pub(super) struct Key {
    room: [u8; ROOM],
    len: usize,
    /// The whole key if it has more bytes than that.
    long: Vec<u8>,
    /// The request has `If-None-Match` or `If-Modified-Since`.
    pub(super) is_conditional: bool,
}

impl Key {
    #[inline]
    pub(super) fn new() -> Key {
        Key {
            room: [0; ROOM],
            len: 0,
            long: Vec::new(),
            is_conditional: false,
        }
    }

    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        match self.long.is_empty() {
            true => &self.room[..self.len],
            false => &self.long,
        }
    }

    /// False if the request is not for the cache. `handler` is the number of the handler that would respond.
    #[inline]
    pub(super) fn fill(
        &mut self,
        req: &Request<'_>,
        res: &mut Response<'_>,
        handler: u32,
        config: &CacheConfig,
        watched: &Watched,
    ) -> bool {
        let seen = watched.look(req);
        let served = req.served_to();
        if seen.is_excluded
            || !matches!(req.method(), "GET" | "HEAD")
            || !req.body().is_empty()
            || req.has_values()
            || !req.trailer_block().is_empty()
            || res.status_so_far() != 200
            || served.has_certificate && !config.ignore_client_certificates
        {
            return false;
        }
        self.is_conditional = seen.is_conditional;
        let (whole, host) = (req.target_bytes(), served.host);
        let absolute;
        let (form, target) = match whole.first() {
            Some(b'/') => (0, whole),
            _ => {
                absolute = of_absolute(whole);
                (absolute.0, &absolute.1[..])
            }
        };
        let numbers = [handler, target.len() as u32, host.len() as u32];
        let form = form | u8::from(served.is_https);
        let mut begin = [form; BEGIN];
        for (place, number) in begin.chunks_exact_mut(LEN).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        let len = BEGIN + target.len() + host.len();
        let bytes = match self.room.get_mut(..len) {
            Some(room) => {
                self.len = len;
                room
            }
            None => {
                self.long = vec![0; len];
                &mut self.long
            }
        };
        let (first, parts) = bytes.split_at_mut(BEGIN);
        let (own_target, own_host) = parts.split_at_mut(target.len());
        first.copy_from_slice(&begin);
        own_target.copy_from_slice(target);
        own_host.copy_from_slice(host);
        own_host.make_ascii_lowercase();
        match config.fields.is_empty() && !res.has_fields() {
            true => true,
            false => self.add_fields(req, res, config),
        }
    }

    /// Adds the fields that the settings choose, and what `Vary` names that layers around the cache have set.
    #[cold]
    fn add_fields(
        &mut self,
        req: &Request<'_>,
        res: &mut Response<'_>,
        config: &CacheConfig,
    ) -> bool {
        let mut bytes = self.bytes().to_vec();
        for name in &config.fields {
            push_values(name, req, &mut bytes);
        }
        let mut names = Vec::new();
        let is_for_cache = read_outer(res.fields_so_far(), &mut names).is_some();
        vary(&names, req, &mut bytes);
        self.long = bytes;
        is_for_cache
    }
}

/// Path and query of a target in absolute form (RFC 9112 section 3.2.2), and a number of its scheme. Its host is that of the
/// request.
#[cold]
fn of_absolute(whole: &[u8]) -> (u8, Vec<u8>) {
    let scheme = whole.iter().position(|b| *b == b':').unwrap_or_default();
    let rest = whole.get(scheme + b"://".len()..).unwrap_or_default();
    let path = rest.iter().position(|b| matches!(b, b'/' | b'?'));
    let mut target = rest[path.unwrap_or(rest.len())..].to_vec();
    if target.first() != Some(&b'/') {
        target.insert(0, b'/');
    }
    let is_https = whole[..scheme].eq_ignore_ascii_case(b"https");
    (2 + 2 * u8::from(is_https), target)
}

/// The target in a key: path and query.
pub(super) fn target(key: &[u8]) -> &[u8] {
    let number = key.get(LEN..).and_then(|key| key.first_chunk());
    let len = u32::from_le_bytes(*number.unwrap_or(&[0; LEN])) as usize;
    key.get(BEGIN..BEGIN + len).unwrap_or_default()
}

/// Adds the values of the fields with these names, with their names.
pub(super) fn vary(names: &[String], req: &Request<'_>, key: &mut Vec<u8>) {
    for name in names {
        push(name.as_bytes(), key);
        push_values(name, req, key);
    }
}

/// Bytes of a number.
const LEN: usize = 4;

/// Bytes of a key before the target: the number of the handler, the lengths of target and host, and the form of the target with
/// the scheme.
const BEGIN: usize = 3 * LEN + 1;

fn push(part: &[u8], key: &mut Vec<u8>) {
    // No head is larger than 4 GiB.
    key.extend_from_slice(&(part.len() as u32).to_le_bytes());
    key.extend_from_slice(part);
}

/// Adds how many fields with this name there are, and their values.
fn push_values(name: &str, req: &Request<'_>, key: &mut Vec<u8>) {
    let at = key.len();
    key.extend_from_slice(&[0; LEN]);
    let mut count = 0_u32;
    for value in req.header_all(name) {
        push(value, key);
        count += 1;
    }
    key[at..at + LEN].copy_from_slice(&count.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guide_lists_all_fields() {
        let guide = include_str!("../guide/response_cache.rs").to_lowercase();
        for name in CREDENTIALS.iter().chain(SPECIAL) {
            assert!(guide.contains(&format!("`{name}`")), "{name}");
        }
    }
}
