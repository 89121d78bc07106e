//! Two endpoints of QUIC in memory, and what lies between them.

use crate::config::Config;
use crate::runtime::tls::Tls;
use bytes::BytesMut;
use quinn_proto::{
    Connection, ConnectionHandle, DatagramEvent, Endpoint, ServerConfig, TransportConfig, VarInt,
};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// One end of the wire.
pub(super) struct Side {
    pub(super) endpoint: Endpoint,
    pub(super) quic: Option<(ConnectionHandle, Connection)>,
    pub(super) to_other: VecDeque<BytesMut>,
    pub(super) addr: SocketAddr,
}

/// What is special about the client.
#[derive(Clone, Copy)]
pub(crate) struct Manner {
    /// Bytes of a response that the server may send before the client reads.
    pub(crate) window: u32,
    /// Bytes of a datagram.
    pub(crate) datagram: u16,
    /// Bytes of requests that the client may send before the server reads.
    pub(crate) server_window: u32,
}

impl Manner {
    pub(crate) const USUAL: Manner = Manner {
        window: 1 << 20,
        datagram: 1200,
        server_window: 64 << 10,
    };
}

pub(super) fn transport(window: u32, manner: Manner, config: &Config) -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    let number = |number: usize| VarInt::try_from(number as u64).expect("a small number");
    transport
        .max_idle_timeout(None)
        .initial_mtu(manner.datagram)
        .mtu_discovery_config(None)
        .stream_receive_window(window.into())
        .max_concurrent_bidi_streams(number(config.http3_limits.streams))
        .max_concurrent_uni_streams(number(config.http3_limits.unidirectional_streams));
    Arc::new(transport)
}

pub(super) fn server_config() -> ServerConfig {
    let certificate = include_bytes!("../../../tests/certs/exact.pem");
    let key = include_bytes!("../../../tests/certs/exact.key");
    let tls = Tls::from_pem(certificate, key).expect("a certificate");
    tls.for_quic()
        .expect("a cipher suite for the first packets")
}

impl Side {
    pub(super) fn transmit(&mut self, now: Instant) {
        let Some((handle, quic)) = &mut self.quic else {
            return;
        };
        let mut buffer = Vec::new();
        while let Some(transmit) = quic.poll_transmit(now, 1, &mut buffer) {
            self.to_other.push_back(buffer[..transmit.size].into());
            buffer.clear();
        }
        while let Some(event) = quic.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(*handle, event) {
                quic.handle_event(event);
            }
        }
    }

    pub(super) fn arrive(&mut self, datagrams: VecDeque<BytesMut>, from: SocketAddr, now: Instant) {
        let mut buffer = Vec::new();
        for datagram in datagrams {
            let event = self
                .endpoint
                .handle(now, from, None, None, datagram, &mut buffer);
            match event {
                Some(DatagramEvent::NewConnection(incoming)) => {
                    let accepted = self.endpoint.accept(incoming, now, &mut buffer, None);
                    self.quic = accepted.ok();
                }
                Some(DatagramEvent::ConnectionEvent(_, event)) => {
                    if let Some((_, quic)) = &mut self.quic {
                        quic.handle_event(event);
                    }
                }
                Some(DatagramEvent::Response(_)) | None => {}
            }
        }
    }
}
