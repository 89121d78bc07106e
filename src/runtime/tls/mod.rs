//! `Tls`: certificates and settings for connections over TLS.

mod engine;
mod error;
mod outgoing;
#[cfg(feature = "http3")]
mod quic;
#[cfg(feature = "tls-self-signed")]
mod self_signed;
mod source;
mod store;
#[cfg(all(test, unix, feature = "tls-self-signed"))]
pub(crate) mod tests;
mod validity;

pub(crate) use engine::{HEADER, Session, WIRE_RECORD};
pub use error::TlsError;
pub(crate) use outgoing::{Outgoing, Record};
pub(crate) use store::Store;

#[cfg(feature = "http2")]
use crate::config::Http2;
use engine::{Options, Settings};
use source::Source;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of its handshake that a client may send.
const HANDSHAKE: u32 = 16 << 10;

/// The same where clients send certificates.
const HANDSHAKE_WITH_CERTIFICATES: u32 = 64 << 10;

/// Certificates and settings of a listener for TLS 1.3; see [`Server::bind_tls`](crate::Server::bind_tls).
///
/// It is a handle: clones share the certificates. Methods that set something return a new handle, so they come
/// before `bind_tls`.
///
/// ```no_run
/// use peregrine::{Server, Tls};
///
/// # fn main() -> std::io::Result<()> {
/// let tls = Tls::from_pem_files("cert.pem", "key.pem")?
///     .add_pem_files("*.example.com", "example.pem", "example.key")?;
/// Server::from_fn(|_req, res| res.text("Hello, World!"))
///     .bind_tls("0.0.0.0:443", tls)
///     .run()?;
/// # Ok(())
/// # }
/// ```
///
/// The first certificate is the default: clients that ask for no name, or for a name that no other certificate was
/// added for, get it. Session tickets (RFC 8446 section 2.2) are on, and the server keeps no state for them. They
/// are valid for 12 hours and for this `Tls`; two of them share no sessions. A client whose certificates take 8 KiB or
/// more gets no ticket. There is no early data (0-RTT) and no TLS 1.2.
///
/// An elliptic key (`openssl ecparam -name prime256v1 -genkey`) makes handshakes several times as cheap as an RSA
/// key. Handshakes run on the workers.
#[derive(Clone)]
pub struct Tls {
    store: Arc<Store>,
    options: Options,
    settings: Settings,
    /// The settings were made elsewhere.
    is_foreign: bool,
    /// Seconds of [`Tls::hsts`].
    pub(crate) hsts: Option<u32>,
}

impl Tls {
    /// A certificate chain and a private key in PEM files, which are read now. The certificate of the server is the
    /// first of the chain; those of its issuers follow.
    ///
    /// The files are read again when they have changed. The server looks for that when a client connects, and at
    /// most every 10 seconds. If the new files cannot be used, for example because only one of the two has been
    /// written yet, the old certificate stays, and an event of the log says why.
    ///
    /// # Errors
    ///
    /// See [`TlsError`]; the error names the file.
    pub fn from_pem_files(chain: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Tls, TlsError> {
        Tls::with_default(Source::files(chain.as_ref(), key.as_ref()))
    }

    /// A certificate chain and a private key in PEM.
    ///
    /// # Errors
    ///
    /// See [`TlsError`].
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Tls, TlsError> {
        Tls::with_default(Source::Memory(chain.into(), key.into()))
    }

    /// A certificate for development, made now, for these host names and IP addresses. It is signed with its own key,
    /// so browsers warn, and it is another one after each start. It is valid for a year.
    ///
    /// ```
    /// use peregrine::{Server, Tls};
    ///
    /// let server = Server::from_fn(|_req, res| res.text("Hello, World!"))
    ///     .bind_tls("127.0.0.1:0", Tls::self_signed(&["localhost", "127.0.0.1"])?)
    ///     .start()?;
    /// assert!(server.local_addrs()[0].to_string().starts_with("https://127.0.0.1:"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`TlsError`]: a name is not ASCII.
    #[cfg(feature = "tls-self-signed")]
    pub fn self_signed(names: &[&str]) -> Result<Tls, TlsError> {
        let (chain, key) = self_signed::make(names)?;
        Tls::with_default(Source::Der(chain.into(), key.into()))
    }

    fn with_default(source: Source) -> Result<Tls, TlsError> {
        let options = Options::default();
        let store = Arc::new(Store::default());
        store.add(None, source)?;
        Ok(Tls {
            settings: Settings::new(&store, &options)?,
            store,
            options,
            is_foreign: false,
            hsts: None,
        })
    }

    /// Adds a certificate for clients that ask for `name`, by Server Name Indication (RFC 6066 section 3): a host
    /// name, or `*.` and a domain for all names with one more label. An exact name goes before a wildcard.
    ///
    /// The files are read again as those of [`Tls::from_pem_files`] are. All clones of this handle get the
    /// certificate.
    ///
    /// # Errors
    ///
    /// See [`TlsError`]; one of them is that the certificate is not for `name`.
    pub fn add_pem_files(
        self,
        name: &str,
        chain: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Tls, TlsError> {
        self.add(name, Source::files(chain.as_ref(), key.as_ref()))
    }

    /// Adds a certificate, in PEM in memory, for clients that ask for the host `name`.
    ///
    /// # Errors
    ///
    /// See [`TlsError`].
    pub fn add_pem(self, name: &str, chain: &[u8], key: &[u8]) -> Result<Tls, TlsError> {
        self.add(name, Source::Memory(chain.into(), key.into()))
    }

    fn add(self, name: &str, source: Source) -> Result<Tls, TlsError> {
        self.check_own()?;
        self.store.add(Some(name), source)?;
        Ok(self)
    }

    /// Has each client send a certificate that one of these authorities has issued, directly or through others. A
    /// client without one cannot complete its handshake. [`TlsInfo::client_chain`] returns the certificates.
    ///
    /// `authorities` are certificates in PEM. Revocation lists are not read.
    ///
    /// # Errors
    ///
    /// See [`TlsError`].
    pub fn require_client_certificates(self, authorities: &[u8]) -> Result<Tls, TlsError> {
        self.with_clients(authorities, true)
    }

    /// Asks each client for a certificate of these authorities, and accepts clients that send none.
    ///
    /// # Errors
    ///
    /// See [`TlsError`].
    pub fn ask_for_client_certificates(self, authorities: &[u8]) -> Result<Tls, TlsError> {
        self.with_clients(authorities, false)
    }

    fn with_clients(mut self, authorities: &[u8], is_required: bool) -> Result<Tls, TlsError> {
        self.options.clients = Some((authorities.to_vec(), is_required));
        self.renew()
    }

    /// Writes the secrets of all connections to the file that the environment variable `SSLKEYLOGFILE` names, for
    /// programs such as Wireshark. Without the variable nothing is written.
    ///
    /// # Errors
    ///
    /// See [`TlsError`].
    pub fn key_log(mut self) -> Result<Tls, TlsError> {
        self.options.key_log = true;
        self.renew()
    }

    /// Adds `Strict-Transport-Security: max-age=N` to each response over TLS (RFC 6797): for `max_age`, in whole seconds,
    /// browsers use `https` for this host, and refuse certificates that they do not trust. The field is not set
    /// without TLS. Default: off, because browsers remember it when TLS is switched off again. Begin with some
    /// minutes; a year is usual later. Zero makes browsers forget it.
    ///
    /// For `includeSubDomains` and `preload` set the field in the handler instead. With both, two fields are sent, and browsers use the
    /// first, which is that of this call (RFC 6797 section 8.1).
    #[must_use]
    pub fn hsts(mut self, max_age: Duration) -> Tls {
        self.hsts = Some(max_age.as_secs().try_into().unwrap_or(u32::MAX));
        self
    }

    /// Uses the cryptography of another provider than `ring`: for post-quantum key exchange, for example.
    ///
    /// The parameter is of version 0.23 of `rustls`. Another version of this crate may need another version.
    ///
    /// # Errors
    ///
    /// See [`TlsError`]: the provider may have no suites for TLS 1.3.
    pub fn with_provider(
        mut self,
        provider: Arc<rustls::crypto::CryptoProvider>,
    ) -> Result<Tls, TlsError> {
        self.options.provider = Some(provider);
        self.store.set_options(&self.options)?;
        self.renew()
    }

    /// Uses settings of `rustls`, for what the other methods cannot do. Certificates are those of `config`.
    ///
    /// The parameter is of version 0.23 of `rustls`. Another version of this crate may need another version. ALPN
    /// should be `http/1.1`. Early data must be off.
    pub fn from_rustls(config: Arc<rustls::ServerConfig>) -> Tls {
        Tls {
            store: Arc::default(),
            options: Options::default(),
            settings: Settings::from_rustls(config),
            is_foreign: true,
            hsts: None,
        }
    }

    fn renew(mut self) -> Result<Tls, TlsError> {
        self.check_own()?;
        self.settings = Settings::new(&self.store, &self.options)?;
        Ok(self)
    }

    fn check_own(&self) -> Result<(), TlsError> {
        match self.is_foreign {
            true => Err(TlsError::Invalid(
                "a Tls of Tls::from_rustls has all its settings already".to_owned(),
            )),
            false => Ok(()),
        }
    }

    /// Reads all files again now. New connections get the new certificates; open ones go on.
    ///
    /// # Errors
    ///
    /// See [`TlsError`]. The certificate whose files are at fault stays as it was, and so do those after it.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.store.reload()
    }

    /// Offers HTTP/2 in the handshake (RFC 7301, RFC 9113 section 3.2), unless the settings were made elsewhere.
    #[cfg(feature = "http2")]
    pub(crate) fn with_http2(mut self, mode: Http2) -> Tls {
        if !self.is_foreign {
            self.settings.offer_http2(mode);
        }
        self
    }

    /// The beginning of a connection.
    pub(crate) fn session(&self) -> io::Result<Session> {
        Session::new(&self.settings)
    }

    /// How many bytes of its handshake a client may send.
    pub(crate) fn handshake_bytes(&self) -> u32 {
        match self.is_foreign || self.options.clients.is_some() {
            true => HANDSHAKE_WITH_CERTIFICATES,
            false => HANDSHAKE,
        }
    }
}

/// Without keys.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// What the handshake of a connection has found out; see [`Request::tls`](crate::Request::tls).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsInfo {
    server_name: Option<Box<str>>,
    alpn: Option<Box<[u8]>>,
    cipher_suite: &'static str,
    is_resumed: bool,
    client_chain: Vec<Box<[u8]>>,
}

impl TlsInfo {
    /// For [`testing`](crate::testing::Connection::set_tls): a connection of a client that has asked for this host name,
    /// or for none.
    pub fn new(server_name: Option<&str>) -> TlsInfo {
        TlsInfo {
            server_name: server_name.map(Into::into),
            alpn: Some(b"http/1.1"[..].into()),
            cipher_suite: "TLS13_AES_256_GCM_SHA384",
            ..TlsInfo::default()
        }
    }

    /// Adds the certificates that the client has sent, in DER, its own first.
    #[must_use]
    pub fn with_client_chain<'a>(mut self, chain: impl IntoIterator<Item = &'a [u8]>) -> TlsInfo {
        self.client_chain = chain.into_iter().map(Into::into).collect();
        self
    }

    /// The host name that the client asked for (RFC 6066 section 3), without a port.
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// The protocol that was agreed on (RFC 7301): `http/1.1` or `http/1.0`. `None` if the client offered none.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.alpn.as_deref()
    }

    /// The name of the cipher suite, for example `TLS13_AES_256_GCM_SHA384`.
    pub fn cipher_suite(&self) -> &str {
        self.cipher_suite
    }

    /// Whether an earlier session was resumed with a ticket (RFC 8446 section 2.2).
    pub fn is_resumed(&self) -> bool {
        self.is_resumed
    }

    /// The certificates of the client in DER, its own first. They have been verified. Empty if the client sent
    /// none; see [`Tls::require_client_certificates`].
    pub fn client_chain(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.client_chain.iter().map(|der| &**der)
    }
}
