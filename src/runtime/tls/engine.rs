//! TLS 1.3 (RFC 8446) over bytes: with that of QUIC, the only file that uses `rustls`.
//!
//! It knows no sockets. [`Session::read`] decrypts in the buffer of its caller, and what is to be sent is
//! appended to a buffer of the caller. The rest of the crate names no type of `rustls`, except the two that
//! [`Tls::from_rustls`](super::Tls::from_rustls) and [`Tls::with_provider`](super::Tls::with_provider) take.

use super::error::TlsError;
use super::outgoing::Outgoing;
use super::validity::{self, Validity};
use super::{Store, TlsInfo};
#[cfg(feature = "http2")]
use crate::config::Http2;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ParsedCertificate, ProducesTickets, ResolvesServerCert,
    ServerConnectionData, UnbufferedServerConnection, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError,
    UnbufferedStatus,
};
use rustls::{
    CertificateError, Error, HandshakeKind, InconsistentKeys, RootCertStore, ServerConfig, version,
};
use std::cell::RefCell;
use std::io;
use std::sync::Arc;

/// Plaintext of one record at most (RFC 8446 section 5.1).
pub(crate) const RECORD: usize = 16 << 10;

/// Bytes of a record on the wire at most (RFC 8446 section 5.2; `rustls` allows the 2,048 of TLS 1.2).
pub(crate) const WIRE_RECORD: usize = RECORD + 2048 + HEADER;

/// Bytes of a record before its content.
pub(crate) const HEADER: usize = 5;

thread_local! {
    /// The server name that the client of the handshake step under way has sent. A session does not tell it.
    static SERVER_NAME: RefCell<Option<Box<str>>> = const { RefCell::new(None) };
}

/// The TLS settings of a listener.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(super) config: Arc<ServerConfig>,
}

/// A certificate chain and its private key.
#[derive(Clone, Debug)]
pub(crate) struct Certificate(Arc<CertifiedKey>);

/// A part of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Chain,
    Key,
}

/// Who checks certificates of clients, and how.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// Certificates of authorities in PEM, and whether a client must have a certificate.
    pub(crate) clients: Option<(Vec<u8>, bool)>,
    pub(crate) key_log: bool,
    pub(crate) provider: Option<Arc<CryptoProvider>>,
}

impl Options {
    fn provider(&self) -> Arc<CryptoProvider> {
        let default = || Arc::new(ring::default_provider());
        self.provider.clone().unwrap_or_else(default)
    }
}

impl Settings {
    /// Settings that take their certificates from `store`.
    pub(crate) fn new(store: &Arc<Store>, options: &Options) -> Result<Settings, TlsError> {
        let invalid = |error: Error| TlsError::Invalid(error.to_string());
        let provider = options.provider();
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&version::TLS13])
            .map_err(invalid)?;
        let builder = match &options.clients {
            None => builder.with_no_client_auth(),
            Some((authorities, is_required)) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(authorities)? {
                    roots.add(certificate).map_err(invalid)?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = match is_required {
                    true => verifier,
                    false => verifier.allow_unauthenticated(),
                };
                let verifier = verifier.build();
                let verifier = verifier.map_err(|error| TlsError::Invalid(error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_cert_resolver(store.clone());
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Arc::new(Tickets(ring::Ticketer::new().map_err(invalid)?));
        // A client that offers only the older version would be refused with the newer one alone.
        config.alpn_protocols = vec![b"http/1.1".to_vec(), b"http/1.0".to_vec()];
        if options.key_log {
            config.key_log = Arc::new(rustls::KeyLogFile::new());
        }
        Ok(Settings {
            config: Arc::new(config),
        })
    }

    #[cfg(feature = "http2")]
    pub(crate) fn offer_http2(&mut self, mode: Http2) {
        let alpn = &mut Arc::make_mut(&mut self.config).alpn_protocols;
        match mode {
            Http2::On => alpn.insert(0, b"h2".to_vec()),
            Http2::Only => *alpn = vec![b"h2".to_vec()],
            Http2::Off => {}
        }
    }

    pub(crate) fn from_rustls(config: Arc<ServerConfig>) -> Settings {
        let mut config = Arc::unwrap_or_clone(config);
        config.cert_resolver = Arc::new(Noting(config.cert_resolver));
        Settings {
            config: Arc::new(config),
        }
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let all = all.map_err(|error| TlsError::Pem(error.to_string()))?;
    match all.is_empty() {
        true => Err(TlsError::NoCertificate),
        false => Ok(all),
    }
}

impl Certificate {
    /// Reads a chain and its key, and checks that they belong together. The error has the part that is wrong.
    pub(crate) fn from_pem(
        chain: &[u8],
        key: &[u8],
        options: &Options,
    ) -> Result<Certificate, (Part, TlsError)> {
        let chain = certificates(chain).map_err(|error| (Part::Chain, error))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            _ if is_encrypted(key) => TlsError::EncryptedKey,
            pem::Error::NoItemsFound => TlsError::NoKey,
            error => TlsError::Pem(error.to_string()),
        });
        let key = key.map_err(|error| (Part::Key, error))?;
        Certificate::new(chain, key, options).map_err(|error| match error {
            TlsError::KeyMismatch => (Part::Key, error),
            _ => (Part::Chain, error),
        })
    }

    #[cfg(feature = "tls-self-signed")]
    pub(crate) fn from_der(
        certificate: &[u8],
        key: &[u8],
        options: &Options,
    ) -> Result<Certificate, TlsError> {
        let chain = vec![CertificateDer::from(certificate.to_vec())];
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.to_vec());
        Certificate::new(chain, key.into(), options)
    }

    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        options: &Options,
    ) -> Result<Certificate, TlsError> {
        let certified = CertifiedKey::from_der(chain, key, &options.provider());
        let certified = certified.map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::KeyMismatch,
            error => TlsError::Invalid(error.to_string()),
        })?;
        Ok(Certificate(Arc::new(certified)))
    }

    #[cfg(all(test, feature = "tls-self-signed"))]
    pub(crate) fn der(&self) -> &[u8] {
        &self.0.cert[0]
    }

    /// `None` if it cannot be read.
    pub(super) fn validity(&self) -> Option<Validity> {
        self.0.cert.first().and_then(|der| Validity::of(der))
    }

    /// Whether clients that ask for `name` accept it: a host name, or `*.` and the rest of one.
    pub(crate) fn is_for(&self, name: &str) -> bool {
        let name = match name.strip_prefix("*.") {
            Some(rest) => format!("any.{rest}"),
            None => name.to_owned(),
        };
        let certificate = self.0.end_entity_cert().ok();
        let certificate = certificate.and_then(|der| ParsedCertificate::try_from(der).ok());
        match (certificate, ServerName::try_from(name)) {
            (Some(certificate), Ok(name)) => {
                rustls::client::verify_server_name(&certificate, &name).is_ok()
            }
            _ => false,
        }
    }
}

/// RFC 7468 section 11, and the older form of OpenSSL.
fn is_encrypted(pem: &[u8]) -> bool {
    let has = |text: &[u8]| pem.windows(text.len()).any(|part| part == text);
    has(b"BEGIN ENCRYPTED PRIVATE KEY") || has(b"Proc-Type: 4,ENCRYPTED")
}

impl ResolvesServerCert for Store {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        note(&hello);
        let certificate = self.certificate(hello.server_name());
        certificate.map(|certificate| certificate.0)
    }
}

/// Another resolver; what it does not tell is noted.
#[derive(Debug)]
struct Noting(Arc<dyn ResolvesServerCert>);

impl ResolvesServerCert for Noting {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        note(&hello);
        self.0.resolve(hello)
    }

    fn only_raw_public_keys(&self) -> bool {
        self.0.only_raw_public_keys()
    }
}

fn note(hello: &ClientHello<'_>) {
    let name = hello.server_name();
    SERVER_NAME.with_borrow_mut(|kept| *kept = name.map(Into::into));
}

/// Tickets without those that clients could not use: a ticket has the certificates of the client in it, and clients
/// keep and send back short ones only.
#[derive(Debug)]
struct Tickets(Arc<dyn ProducesTickets>);

/// Bytes of a session at most, for a ticket.
const TICKET: usize = 8 << 10;

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        self.0.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.0.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let is_short = plain.len() <= TICKET;
        is_short.then(|| self.0.encrypt(plain)).flatten()
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.0.decrypt(cipher)
    }
}

/// One connection.
pub(crate) struct Session {
    connection: UnbufferedServerConnection,
    server_name: Option<Box<str>>,
    /// The client has said that it sends no more.
    is_eof: bool,
}

impl Session {
    pub(crate) fn new(settings: &Settings) -> io::Result<Session> {
        let connection = UnbufferedServerConnection::new(settings.config.clone());
        Ok(Session {
            connection: connection.map_err(io::Error::other)?,
            server_name: None,
            is_eof: false,
        })
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// The client has sent `close_notify` (RFC 8446 section 6.1).
    pub(crate) fn is_eof(&self) -> bool {
        self.is_eof
    }

    /// Takes all complete records from the front of `input`, which it overwrites. Returns how many bytes it has
    /// taken; what is left is to be at the front of the next call, and of [`Session::seal`] meanwhile.
    ///
    /// `give` gets the plaintext of each record. What is to be sent is appended to `out`, after an error, too.
    pub(crate) fn read(
        &mut self,
        input: &mut [u8],
        out: &mut Outgoing,
        give: &mut dyn FnMut(&[u8]),
    ) -> (usize, io::Result<()>) {
        // After a panic there may be one of another connection.
        SERVER_NAME.take();
        let was_handshaking = self.is_handshaking();
        let mut taken = 0;
        loop {
            let left = &mut input[taken..];
            let UnbufferedStatus { discard, state } = self.connection.process_tls_records(left);
            let mut goes_on = true;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(Ok(record)) = traffic.next_record() {
                        taken += record.discard;
                        give(record.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, out),
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.is_eof = true,
                Ok(_) => goes_on = false,
                Err(error) => {
                    SERVER_NAME.take();
                    taken += discard;
                    // The alert, if there is one. `rustls` relies on the bytes of half a message.
                    let state = self
                        .connection
                        .process_tls_records(&mut input[taken..])
                        .state;
                    if let Ok(ConnectionState::EncodeTlsData(mut data)) = state {
                        encode(&mut data, out);
                    }
                    let error = io::Error::new(io::ErrorKind::InvalidData, error);
                    return (taken, Err(error));
                }
            }
            taken += discard;
            if !goes_on {
                break;
            }
        }
        if let Some(name) = SERVER_NAME.take() {
            self.server_name = Some(name);
        }
        let is_complete = was_handshaking && !self.is_handshaking();
        match is_complete && self.is_resumed() && self.is_expired(validity::now()) {
            true => {
                let error = Error::InvalidCertificate(CertificateError::Expired);
                (
                    taken,
                    Err(io::Error::new(io::ErrorKind::InvalidData, error)),
                )
            }
            false => (taken, Ok(())),
        }
    }

    /// Whether the certificate of the client has expired. `rustls` checks it in a full handshake only, and a session can
    /// be resumed again and again.
    fn is_expired(&self, now: i64) -> bool {
        let certificates = self.connection.peer_certificates().unwrap_or_default();
        let validity = certificates.iter().filter_map(|der| Validity::of(der));
        let mut problems = validity.filter_map(|validity| validity.problem(now));
        problems.next().is_some()
    }

    /// Appends `plain` as records of at most [`RECORD`] bytes, and if it is the last, `close_notify` (RFC 8446
    /// section 6.1). `left`: what [`Session::read`] has left. False if that cannot be: the keys are used up.
    pub(crate) fn seal(
        &mut self,
        plain: &[u8],
        is_last: bool,
        left: &mut [u8],
        out: &mut Outgoing,
    ) -> bool {
        loop {
            match self.connection.process_tls_records(left).state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    let mut is_sealed = true;
                    for part in plain.chunks(RECORD) {
                        out.append(|room| size(traffic.encrypt(part, room), &mut is_sealed));
                        out.end_record(part.len());
                    }
                    if is_last {
                        out.append(|room| size(traffic.queue_close_notify(room), &mut true));
                    }
                    return is_sealed;
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, out),
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.is_eof = true,
                _ => return false,
            }
        }
    }

    pub(crate) fn info(&self) -> TlsInfo {
        let connection = &self.connection;
        let certificates = connection.peer_certificates().unwrap_or_default();
        let suite = connection.negotiated_cipher_suite();
        TlsInfo {
            server_name: self.server_name.clone(),
            alpn: connection.alpn_protocol().map(Into::into),
            cipher_suite: suite
                .and_then(|suite| suite.suite().as_str())
                .unwrap_or_default(),
            is_resumed: self.is_resumed(),
            client_chain: certificates.iter().map(|der| der.as_ref().into()).collect(),
        }
    }

    #[cfg(feature = "http2")]
    pub(crate) fn has_chosen_http2(&self) -> bool {
        self.connection.alpn_protocol() == Some(b"h2")
    }

    /// See [`TlsInfo::is_resumed`].
    pub(crate) fn is_resumed(&self) -> bool {
        self.connection.handshake_kind() == Some(HandshakeKind::Resumed)
    }
}

fn encode(data: &mut EncodeTlsData<'_, ServerConnectionData>, out: &mut Outgoing) {
    out.append(|room| match data.encode(room) {
        Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) => {
            Err(required_size)
        }
        written => Ok(written.unwrap_or(0)),
    });
}

/// What an attempt to encrypt into a buffer has written, or how large the buffer must be.
fn size(sealed: Result<usize, EncryptError>, is_sealed: &mut bool) -> Result<usize, usize> {
    match sealed {
        Ok(written) => Ok(written),
        Err(EncryptError::InsufficientSize(InsufficientSizeError { required_size })) => {
            Err(required_size)
        }
        Err(EncryptError::EncryptExhausted) => {
            *is_sealed = false;
            Ok(0)
        }
    }
}

/// The cipher suite of the first packets of QUIC (RFC 9001 section 5.2).
#[cfg(feature = "http3")]
pub(super) fn initial_suite() -> Option<rustls::quic::Suite> {
    let suite = rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
    suite.tls13().and_then(rustls::Tls13CipherSuite::quic_suite)
}
