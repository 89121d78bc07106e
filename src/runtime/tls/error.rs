//! Errors of a TLS configuration.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// What is wrong with a certificate, a key or another part of a TLS configuration.
///
/// It becomes an [`io::Error`] with `?`, so that it can be passed on beside the errors of
/// [`Server::start`](crate::Server::start).
#[derive(Debug)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    Read(PathBuf, io::Error),
    /// Another error, in this file.
    In(PathBuf, Box<TlsError>),
    /// There is no certificate in PEM: no line `-----BEGIN CERTIFICATE-----`.
    NoCertificate,
    /// There is no private key in PEM.
    NoKey,
    /// The private key is encrypted with a password.
    EncryptedKey,
    /// The private key is not that of the first certificate.
    KeyMismatch,
    /// The certificate is not for this name.
    WrongName(String),
    /// The name is an IP address: clients send no addresses as names (RFC 6066 section 3). Such clients get the default
    /// certificate.
    IsAddress(String),
    /// The text is not valid PEM.
    Pem(String),
    /// The certificate or key cannot be used, for this reason.
    Invalid(String),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::Read(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            TlsError::In(path, error) => write!(f, "{}: {error}", path.display()),
            TlsError::NoCertificate => f.write_str(
                "no certificate: a PEM text with `-----BEGIN CERTIFICATE-----` is needed, the certificate of \
                 the server first and then those of its issuers",
            ),
            TlsError::NoKey => f.write_str(
                "no private key: a PEM text with `-----BEGIN PRIVATE KEY-----` (or `EC` or `RSA` before \
                 `PRIVATE`) is needed",
            ),
            TlsError::EncryptedKey => f.write_str(
                "the private key is encrypted; store it without a password: openssl pkey -in KEY -out NEW",
            ),
            TlsError::KeyMismatch => f.write_str(
                "the private key does not belong to the certificate; the certificate of the server must be \
                 the first of its chain",
            ),
            TlsError::WrongName(name) => write!(f, "the certificate is not for the name {name}"),
            TlsError::IsAddress(name) => write!(
                f,
                "{name} is an address, and clients send names only: give the certificate as the default"
            ),
            TlsError::Pem(reason) => write!(f, "not valid PEM: {reason}"),
            TlsError::Invalid(reason) => write!(f, "cannot be used for TLS: {reason}"),
        }
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            TlsError::Read(_, error) => Some(error),
            TlsError::In(_, error) => Some(error),
            _ => None,
        }
    }
}

impl From<TlsError> for io::Error {
    fn from(error: TlsError) -> io::Error {
        let kind = match &error {
            TlsError::Read(_, error) => error.kind(),
            _ => io::ErrorKind::InvalidInput,
        };
        io::Error::new(kind, error)
    }
}
