//! What is known of the client of a connection that has come through a proxy.

use crate::config::forwarded::Forwarding;
use std::net::SocketAddr;
use std::sync::Arc;

/// Proxies between the socket of a connection and the client. Other connections have none of this.
#[derive(Clone, Debug)]
pub(crate) struct Via {
    /// The other end of the socket.
    pub(crate) peer: Option<SocketAddr>,
    /// Requests have fields that are believed.
    pub(crate) forwarding: Option<Arc<Forwarding>>,
    /// The client that is known for the whole connection, because it is one WebSocket.
    pub(crate) client: Option<SocketAddr>,
}
