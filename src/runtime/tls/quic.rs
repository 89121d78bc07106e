//! TLS 1.3 in the handshakes of QUIC (RFC 9001), with the certificates of a `Tls`.

use super::validity::{self, Validity};
use super::{Tls, TlsInfo, engine};
use quinn_proto::crypto::rustls::{HandshakeData, QuicServerConfig};
use quinn_proto::{Connection, ServerConfig};
use rustls::pki_types::CertificateDer;
use std::io;
use std::sync::Arc;

/// The protocol that clients have to choose (RFC 9114 section 3.1).
pub(crate) const ALPN: &[u8] = b"h3";

impl Tls {
    /// The settings of a listener for QUIC, without those of the transport. There is no early data.
    pub(crate) fn for_quic(&self) -> io::Result<ServerConfig> {
        let mut config = rustls::ServerConfig::clone(&self.settings.config);
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.max_early_data_size = 0;
        // The first packets have this cipher whatever the provider has (RFC 9001 section 5.2).
        let initial = engine::initial_suite().ok_or(io::ErrorKind::Unsupported)?;
        let crypto = QuicServerConfig::with_initial(Arc::new(config), initial);
        let crypto = crypto.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        Ok(ServerConfig::with_crypto(Arc::new(crypto)))
    }
}

impl TlsInfo {
    /// What the handshake of this connection has found out. `None`: the client has not asked for [`ALPN`], or its
    /// certificate has expired, which is not looked at when a session is resumed.
    pub(crate) fn of_quic(quic: &Connection) -> Option<TlsInfo> {
        let session = quic.crypto_session();
        let data = session.handshake_data()?.downcast::<HandshakeData>().ok()?;
        let alpn = data.protocol.filter(|protocol| protocol == ALPN)?;
        let chain = session.peer_identity();
        let chain = chain.and_then(|chain| chain.downcast::<Vec<CertificateDer<'static>>>().ok());
        let chain = chain.map(|chain| *chain).unwrap_or_default();
        let now = validity::now();
        let mut validity = chain.iter().filter_map(|der| Validity::of(der));
        if validity.any(|validity| validity.problem(now).is_some()) {
            return None;
        }
        Some(TlsInfo {
            server_name: data.server_name.map(Into::into),
            alpn: Some(alpn.into()),
            client_chain: chain.iter().map(|der| der.as_ref().into()).collect(),
            ..TlsInfo::default()
        })
    }
}
