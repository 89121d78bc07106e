//! `OwnedRequest`: a copy of a request.

use super::Request;
use super::route::RouteMatch;
use super::values::Values;
use crate::runtime::socket::Ends;
#[cfg(feature = "tls")]
use crate::runtime::tls::TlsInfo;
use crate::runtime::via::Via;
use peregrine_protocol::h1::head::Head;
use std::net::SocketAddr;
use std::sync::Arc;

struct FixedEnds {
    peer: Option<SocketAddr>,
    local: Option<SocketAddr>,
    via: Option<Arc<Via>>,
    #[cfg(feature = "tls")]
    tls: Option<TlsInfo>,
}

impl Ends for FixedEnds {
    #[cfg(feature = "tls")]
    fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    #[cfg(feature = "tls")]
    fn tls(&self) -> Option<TlsInfo> {
        self.tls.clone()
    }

    fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        self.local
    }

    fn via(&self) -> Option<&Arc<Via>> {
        self.via.as_ref()
    }
}

/// A copy of a request that can be kept and sent to other threads; see [`Request::to_owned_request`].
pub struct OwnedRequest {
    head: Box<Head>,
    bytes: Box<[u8]>,
    body: Box<[u8]>,
    ends: FixedEnds,
    route: Option<RouteMatch>,
    values: Option<Values>,
}

impl OwnedRequest {
    pub(super) fn of(request: &Request<'_>) -> OwnedRequest {
        OwnedRequest {
            head: Box::new(request.head.clone()),
            bytes: request.bytes[..request.head.len()].into(),
            body: request.body.into(),
            route: request.route.copied(),
            values: request.values.cloned(),
            ends: FixedEnds {
                peer: request.peer_addr(),
                local: request.local_addr(),
                via: request.ends.via().cloned(),
                #[cfg(feature = "tls")]
                tls: request.tls(),
            },
        }
    }

    /// Bytes of memory of the copy.
    pub(crate) fn held(&self) -> usize {
        let trailers = self.head.trailers().len();
        size_of::<OwnedRequest>()
            + size_of::<Head>()
            + self.bytes.len()
            + self.body.len()
            + trailers
    }

    /// The same request without the fields of these names, which concern neither framing nor the host.
    #[must_use]
    pub(crate) fn without(mut self, names: &[&str]) -> OwnedRequest {
        self.head.remove(&self.bytes, names);
        self
    }

    /// A view of the copied request.
    pub fn as_request(&self) -> Request<'_> {
        Request {
            head: &self.head,
            bytes: &self.bytes,
            body: &self.body,
            ends: &self.ends,
            route: self.route.as_ref(),
            values: self.values.as_ref(),
        }
    }
}

impl std::fmt::Debug for OwnedRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_request().fmt(f)
    }
}
