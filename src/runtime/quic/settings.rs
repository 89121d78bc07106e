//! Settings of QUIC for `quinn-proto`.

use super::connection_id::ConnectionIds;
use crate::config::{Http3Limits, QuicLimits};
use crate::runtime::tls::Tls;
use quinn_proto::{EndpointConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// What a connection may have unacknowledged at first; see [`QuicLimits::unacknowledged_bytes`].
pub(super) const FIRST_WINDOW: u64 = 32 << 10;

/// Open streams of one kind at most: `quinn-proto` has a place for each from the beginning of a connection.
const STREAMS: usize = 1 << 16;

/// None would be no limit (RFC 9000 section 18.2).
const SHORTEST: Duration = Duration::from_millis(1);

/// Longer ones would not fit into a number of QUIC.
const LONGEST: Duration = Duration::from_secs(1 << 31);

fn number(value: usize) -> VarInt {
    VarInt::try_from(value as u64).unwrap_or(VarInt::MAX)
}

/// The settings of the connections of a listener.
pub(crate) fn of_listener(
    tls: &Tls,
    quic: &QuicLimits,
    http3: &Http3Limits,
) -> io::Result<Arc<ServerConfig>> {
    let mut transport = TransportConfig::default();
    let idle = IdleTimeout::try_from(quic.idle_timeout.clamp(SHORTEST, LONGEST));
    transport
        .max_concurrent_bidi_streams(number(http3.streams.min(STREAMS)))
        .max_concurrent_uni_streams(number(http3.unidirectional_streams.min(STREAMS)))
        .max_idle_timeout(idle.ok())
        .stream_receive_window(number(quic.stream_window))
        .receive_window(number(quic.connection_window))
        .send_window(FIRST_WINDOW.min(quic.unacknowledged_bytes as u64))
        .crypto_buffer_size(tls.handshake_bytes() as usize)
        .datagram_receive_buffer_size(None);
    let mut config = tls.for_quic()?;
    config
        .transport_config(Arc::new(transport))
        // A connection is accepted, or not, in the call that says that there is one.
        .max_incoming(64)
        .incoming_buffer_size(0)
        .incoming_buffer_size_total(0);
    config.validation_token.sent(0);
    Ok(Arc::new(config))
}

/// The settings of the endpoints of a worker.
pub(super) fn of_worker(ids: &ConnectionIds, worker: u16) -> Arc<EndpointConfig> {
    let mut config = EndpointConfig::default();
    let ids = ids.clone();
    config.cid_generator(move || Box::new(ids.of(worker)));
    Arc::new(config)
}
