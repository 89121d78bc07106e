//! A client of `rustls` that takes any certificate.

use crate::support::session::Trusting;
use crate::support::{Client, PATIENCE};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A client of the library's tests over TLS.
pub(crate) type TlsClient = Client<StreamOwned<ClientConnection, TcpStream>>;

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

#[track_caller]
pub(crate) fn tcp(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).expect("a connection");
    stream.set_nodelay(true).expect("an open socket");
    let limit = Some(PATIENCE);
    stream.set_read_timeout(limit).expect("an open socket");
    stream.set_write_timeout(limit).expect("an open socket");
    stream
}

/// Its handshake comes with the first bytes that are sent.
#[track_caller]
pub(crate) fn connect(addr: SocketAddr) -> TlsClient {
    connect_with(addr, &Arc::new(client_config()), "localhost")
}

#[track_caller]
pub(crate) fn connect_with(addr: SocketAddr, config: &Arc<ClientConfig>, name: &str) -> TlsClient {
    over(tcp(addr), config, name)
}

/// Over a connection that is there already.
#[track_caller]
pub(crate) fn over(stream: TcpStream, config: &Arc<ClientConfig>, name: &str) -> TlsClient {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let client = ClientConnection::new(config.clone(), name).expect("a client");
    Client::over(StreamOwned::new(client, stream))
}
