//! What requests have to pass before a handler gets them: host and rate.

use super::{ExchangeContext, Service};
use crate::config::Config;
use crate::http::handler::Handler;
use crate::http::request::Request;
use crate::http::response::always::Always;
use crate::runtime::address_rate::AddressRates;
use crate::shared::rate_table::whole_seconds;
use peregrine_protocol::error::ProtocolError;
use peregrine_protocol::http::host;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

/// The rules of a server that has any.
pub(crate) struct Gate {
    /// The host names that are served. `None`: all.
    hosts: Option<Vec<String>>,
    /// The last of them that a client has sent, as it was sent. Nearly all clients send the same.
    last_host: String,
    rates: Option<Arc<AddressRates>>,
}

/// Why a request does not pass.
pub(crate) enum Refusal {
    Host,
    /// Its client may go on after this time.
    Rate(Duration),
}

impl Gate {
    /// `None`: every request passes.
    pub(crate) fn of(config: &Config, rates: Option<Arc<AddressRates>>) -> Option<Gate> {
        let hosts = config.allowed_hosts.clone();
        let has_any = hosts.is_some() || rates.is_some();
        has_any.then_some(Gate {
            hosts,
            last_host: String::new(),
            rates,
        })
    }

    fn is_elsewhere(&mut self, request: &Request<'_>) -> bool {
        let host = request.host_bytes().unwrap_or_default();
        let is_known = !host.is_empty() && host == self.last_host.as_bytes();
        self.hosts.is_some() && !is_known && self.is_refused(request)
    }

    #[inline(never)]
    fn is_refused(&mut self, request: &Request<'_>) -> bool {
        let host = request.host().unwrap_or_default();
        let allowed = self.hosts.as_deref().unwrap_or_default();
        let is_refused = !host::is_allowed(host, allowed);
        // Some are as long as a head may be.
        if !is_refused && host.len() <= 255 {
            self.last_host.clear();
            self.last_host.push_str(host);
        }
        is_refused
    }
}

impl<P> Service<P>
where
    P: Deref,
    P::Target: Handler + Sized,
{
    /// Whether the request is for a host that is not allowed.
    #[cfg(feature = "tls")]
    pub(crate) fn is_elsewhere(&mut self, request: &Request<'_>) -> bool {
        let gate = self.gate.as_mut();
        gate.is_some_and(|gate| gate.is_elsewhere(request))
    }

    /// Whether the request passes. Each request counts once for the rate of its client, whatever its host.
    pub(crate) fn refusal(&mut self, request: &Request<'_>) -> Option<Refusal> {
        let gate = self.gate.as_mut()?;
        let rates = gate.rates.as_ref();
        let taken = rates.map_or(Ok(()), |rates| rates.take(request.client_addr()));
        match taken {
            Err(wait) => Some(Refusal::Rate(wait)),
            Ok(()) => gate.is_elsewhere(request).then_some(Refusal::Host),
        }
    }

    /// Records the response to a request whose client makes too many of them. The connection may go on: a new one would
    /// cost more, and a proxy has other clients.
    #[cold]
    pub(crate) fn refuse_rate(&mut self, wait: Duration, cx: &mut ExchangeContext<'_>) {
        let error = ProtocolError::TooManyRequests;
        let seconds = whole_seconds(wait).to_string();
        let always = Some(Box::new(Always::of("Retry-After", &seconds)));
        let (status, mode) = (error.status(), cx.mode);
        let body_bytes = self.respond_to_error(mode, (status, error.text()), always, cx);
        cx.counters.refused_by_rate.add(1);
        self.tell_refused(error, body_bytes, cx);
    }
}
