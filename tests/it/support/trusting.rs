//! TLS of clients in tests: they take any certificate, and may have one of `tests/certs`.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Takes any certificate.
#[derive(Debug)]
struct Trusting;

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 alone is spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ED25519,
        ]
    }
}

pub(crate) fn client_config() -> ClientConfig {
    client_config_with(None)
}

/// Of a client with the certificate of this name in `tests/certs`.
pub(crate) fn client_config_with(certificate: Option<&str>) -> ClientConfig {
    client_config_of(certificate.map(|name| (vec![der(name)], name)))
}

/// Of a client with these certificates, and the key of this name for the first.
pub(crate) fn client_config_with_chain(
    chain: Vec<CertificateDer<'static>>,
    name: &str,
) -> ClientConfig {
    client_config_of(Some((chain, name)))
}

fn client_config_of(certified: Option<(Vec<CertificateDer<'static>>, &str)>) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting));
    let mut config = match certified {
        None => builder.with_no_client_auth(),
        Some((chain, name)) => {
            let certified = builder.with_client_auth_cert(chain, key(name));
            certified.expect("a pair")
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

pub(crate) fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/certs")
        .join(file)
}

/// A file of `tests/certs`.
pub(crate) fn pem(file: &str) -> Vec<u8> {
    std::fs::read(path(file)).expect("a file of tests/certs")
}

/// The key of this name.
pub(crate) fn key(name: &str) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_slice(&pem(&format!("{name}.key"))).expect("a key")
}

/// The certificate of this name.
pub(crate) fn der(name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(&pem(&format!("{name}.pem"))).expect("a certificate")
}
