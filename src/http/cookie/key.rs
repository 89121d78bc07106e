//! Cookies that only the server can make (signed), or also read (encrypted). The only file that uses `ring` for
//! cookies and sessions.

use super::set_cookie::SetCookie;
use crate::http::request::Request;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::{hkdf, hmac};

/// The least bytes of a secret.
const SECRET_BYTES: usize = 32;

/// A key for cookies. A signed cookie (HMAC-SHA-256) can be read by the user, and changed only by the server. An
/// encrypted one (AES-256-GCM) cannot be read either. Both are bound to the name of the cookie. Needs the
/// feature `sessions`.
///
/// Neither has a time: a client can send an old cookie again. Put a time into the value, or use
/// [`Sessions`](crate::sessions::Sessions). Encrypt at most 2³² cookies with one secret.
///
/// ```
/// use peregrine::cookie::{CookieKey, SetCookie};
/// use peregrine::testing::Client;
///
/// let key = CookieKey::random(); // or `CookieKey::new` with a secret that outlives the process
/// let app = peregrine::from_fn(move |req, res| match req.path() {
///     "/login" => res.set_cookie(&key.encrypt(SetCookie::new("user", "Ada"))).text("welcome"),
///     _ => res.text(key.decrypt(req, "user").unwrap_or("unknown".to_owned())),
/// });
/// let mut client = Client::new(&app);
/// client.set_cookie("user", "Ada");
/// assert_eq!(client.get("/").send().text(), "unknown");
/// client.get("/login").send();
/// assert_eq!(client.get("/").send().text(), "Ada");
/// ```
#[derive(Debug)]
pub struct CookieKey {
    /// The first one makes cookies; all of them read cookies.
    pairs: Vec<(hmac::Key, LessSafeKey)>,
}

/// The secret of a [`CookieKey`] has fewer than 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShortSecret;

impl std::fmt::Display for ShortSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "the secret of a cookie key has fewer than {SECRET_BYTES} bytes"
        )
    }
}

impl std::error::Error for ShortSecret {}

impl CookieKey {
    /// A key from a secret: at least 32 random bytes, that all processes of the program share.
    ///
    /// # Errors
    ///
    /// [`ShortSecret`] for fewer bytes.
    pub fn new(secret: &[u8]) -> Result<CookieKey, ShortSecret> {
        let pairs = vec![derive(secret)?];
        Ok(CookieKey { pairs })
    }

    /// A key from random bytes. Its cookies are not valid in another process, nor after a restart.
    pub fn random() -> CookieKey {
        let secret: [u8; SECRET_BYTES] = random_bytes();
        CookieKey::new(&secret).expect("it is long enough")
    }

    /// Also reads cookies that were made with an earlier secret. New ones are made with the first secret.
    ///
    /// # Errors
    ///
    /// [`ShortSecret`] for a secret of fewer than 32 bytes.
    pub fn or(mut self, earlier: &[u8]) -> Result<CookieKey, ShortSecret> {
        self.pairs.push(derive(earlier)?);
        Ok(self)
    }

    /// Signs the value of a cookie: any value that is valid in a cookie. The value gets 44 bytes longer.
    pub fn sign(&self, mut cookie: SetCookie) -> SetCookie {
        let tag = hmac::sign(&self.pairs[0].0, &signed(&cookie.name, &cookie.value));
        cookie.value = format!("{}.{}", URL_SAFE_NO_PAD.encode(tag), cookie.value);
        cookie
    }

    /// The value of the first cookie `name` of a request, if this key has signed it.
    pub fn verify<'a>(&self, req: &Request<'a>, name: &str) -> Option<&'a str> {
        let (tag, value) = req.cookie(name)?.split_once('.')?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        let message = signed(name, value);
        let is_ours = |(key, _): &(hmac::Key, _)| hmac::verify(key, &message, &tag).is_ok();
        self.pairs.iter().any(is_ours).then_some(value)
    }

    /// Encrypts the value of a cookie: any text. The value gets longer by 38 bytes and a third.
    pub fn encrypt(&self, mut cookie: SetCookie) -> SetCookie {
        let nonce: [u8; NONCE_LEN] = random_bytes();
        let mut sealed = std::mem::take(&mut cookie.value).into_bytes();
        let name = Aad::from(cookie.name.as_bytes());
        let (_, key) = &self.pairs[0];
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), name, &mut sealed)
            .expect("a cookie is not that long");
        cookie.value = URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat());
        cookie
    }

    /// The value of the first cookie `name` of a request, if this key has encrypted it.
    pub fn decrypt(&self, req: &Request<'_>, name: &str) -> Option<String> {
        let bytes = URL_SAFE_NO_PAD.decode(req.cookie(name)?).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_LEN>()?;
        let open = |(_, key): &(_, LessSafeKey)| {
            let mut sealed = sealed.to_vec();
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let name = Aad::from(name.as_bytes());
            let opened = key.open_in_place(nonce, name, &mut sealed).ok()?;
            String::from_utf8(opened.to_vec()).ok()
        };
        self.pairs.iter().find_map(open)
    }
}

/// What is signed or hashed. No name has a NUL.
fn signed(name: &str, value: &str) -> Vec<u8> {
    [name.as_bytes(), b"\0", value.as_bytes()].concat()
}

/// Keys for both purposes (RFC 5869).
fn derive(secret: &[u8]) -> Result<(hmac::Key, LessSafeKey), ShortSecret> {
    if secret.len() < SECRET_BYTES {
        return Err(ShortSecret);
    }
    let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, b"peregrine cookies").extract(secret);
    let sign = secret.expand(&[b"sign"], hmac::HMAC_SHA256);
    let encrypt = secret.expand(&[b"encrypt"], &AES_256_GCM);
    let (sign, encrypt) = sign
        .and_then(|sign| Ok((sign, encrypt?)))
        .expect("short enough");
    Ok((sign.into(), LessSafeKey::new(UnboundKey::from(encrypt))))
}

/// Random bytes of the system.
///
/// # Panics
///
/// The system has none: then no secret can be made.
pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.expect("the system has no random numbers");
    bytes
}

/// A new name of a session, and the bytes by which the store knows it.
pub(crate) fn new_session(cookie: &str) -> (String, [u8; SHA256_OUTPUT_LEN]) {
    let name = URL_SAFE_NO_PAD.encode(random_bytes::<32>());
    let key = session_key(cookie, &name);
    (name, key)
}

/// The bytes by which the store knows a session: also of the name of its cookie, so sessions with different cookies
/// can share a store. The store cannot find out the name from them, and the time of a comparison says nothing about
/// the name.
pub(crate) fn session_key(cookie: &str, name: &str) -> [u8; SHA256_OUTPUT_LEN] {
    let mut key = [0; SHA256_OUTPUT_LEN];
    key.copy_from_slice(digest(&SHA256, &signed(cookie, name)).as_ref());
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Client;
    use std::sync::Arc;

    /// What a server with `key` reads from cookies: signed `s`, and encrypted `e`.
    fn read(key: &Arc<CookieKey>, cookies: &[(&str, &str)]) -> String {
        let key = key.clone();
        let app = crate::from_fn(move |req, res| {
            let signed = key.verify(req, "s").unwrap_or("-");
            let encrypted = key.decrypt(req, "e");
            res.text(format!("{signed} {}", encrypted.as_deref().unwrap_or("-")))
        });
        let mut client = Client::new(&app);
        for (name, value) in cookies {
            client.set_cookie(name, value);
        }
        client.get("/").send().text().to_owned()
    }

    #[test]
    fn changed_and_foreign_cookies_are_not_read() {
        let key = Arc::new(CookieKey::new(&[1; 32]).expect("long enough"));
        let signed = key.sign(SetCookie::new("s", "Ada.1")).value;
        let encrypted = key.encrypt(SetCookie::new("e", "Ada; é")).value;
        assert_eq!(
            read(&key, &[("s", &signed), ("e", &encrypted)]),
            "Ada.1 Ada; é"
        );

        for (value, name) in [(&signed, "s"), (&encrypted, "e")] {
            for at in 0..value.len() {
                let mut changed = value.clone().into_bytes();
                changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
                let changed = String::from_utf8(changed).expect("ASCII");
                // The last bits of the text may not be part of the value.
                let seen = read(&key, &[(name, &changed)]);
                assert_eq!(seen, "- -", "{name} {at}");
                assert_eq!(read(&key, &[(name, &value[..at])]), "- -", "{name} {at}");
            }
        }
        let other = Arc::new(CookieKey::random());
        assert_eq!(read(&other, &[("s", &signed), ("e", &encrypted)]), "- -");
        // Under another name.
        let moved = key.sign(SetCookie::new("t", "Ada")).value;
        let sealed = key.encrypt(SetCookie::new("f", "Ada")).value;
        assert_eq!(read(&key, &[("s", &moved), ("e", &sealed)]), "- -");
        assert_ne!(key.encrypt(SetCookie::new("e", "Ada; é")).value, encrypted);
    }

    #[test]
    fn an_earlier_secret_still_reads() {
        let old = Arc::new(CookieKey::new(&[1; 32]).expect("long enough"));
        let signed = old.sign(SetCookie::new("s", "Ada")).value;
        let encrypted = old.encrypt(SetCookie::new("e", "Bob")).value;
        let new = CookieKey::new(&[2; 40]).and_then(|new| new.or(&[1; 32]));
        let new = Arc::new(new.expect("long enough"));
        assert_eq!(read(&new, &[("s", &signed), ("e", &encrypted)]), "Ada Bob");
        let signed = new.sign(SetCookie::new("s", "Ada")).value;
        assert_eq!(read(&old, &[("s", &signed)]), "- -");
        assert_eq!(CookieKey::new(&[0; 31]).map(drop), Err(ShortSecret));
    }
}
