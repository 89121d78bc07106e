//! What is known of the client of a connection that has come through a proxy.

use crate::config::forwarded::Forwarding;
use peregrine_protocol::proxy_header::ProxyHeader;
use std::net::SocketAddr;
use std::sync::Arc;

/// Proxies between the socket of a connection and the client. Other connections have none of this.
#[derive(Clone, Debug)]
pub(crate) struct Via {
    /// The other end of the socket.
    pub(crate) peer: Option<SocketAddr>,
    /// What the balancer has said of the client before anything else.
    pub(crate) proxied: Option<ProxyHeader>,
    /// Requests have fields that are believed.
    pub(crate) forwarding: Option<Arc<Forwarding>>,
    /// The client that is known for the whole connection, because it is one WebSocket.
    pub(crate) client: Option<SocketAddr>,
}

impl Via {
    /// What a connection of `peer` without a PROXY header needs; nothing, unless the fields of this proxy are believed.
    #[cfg(feature = "http3")]
    pub(crate) fn of(peer: SocketAddr, forwarding: Option<&Arc<Forwarding>>) -> Option<Arc<Via>> {
        let forwarding = forwarding.filter(|forwarding| forwarding.proxies.are_trusted(Some(peer)));
        forwarding.map(|forwarding| {
            Arc::new(Via {
                peer: Some(peer),
                proxied: None,
                forwarding: Some(forwarding.clone()),
                client: None,
            })
        })
    }

    /// The address of the client of the balancer, or else of the other end of the socket.
    pub(crate) fn counted_addr(&self) -> Option<SocketAddr> {
        let proxied = self.proxied.as_ref().and_then(|header| header.addrs);
        proxied.map(|(client, _)| client).or(self.peer)
    }
}
