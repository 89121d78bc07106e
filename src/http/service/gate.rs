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
        (hosts.is_some() || rates.is_some()).then_some(Gate { hosts, rates })
    }
}

impl<P> Service<P>
where
    P: Deref,
    P::Target: Handler + Sized,
{
    /// Whether the request is for a host that is not allowed.
    pub(crate) fn is_elsewhere(&self, request: &Request<'_>) -> bool {
        let hosts = self.gate.as_ref().and_then(|gate| gate.hosts.as_ref());
        hosts.is_some_and(|allowed| !host::is_allowed(request.host().unwrap_or_default(), allowed))
    }

    /// Whether the request passes. Each request counts once for the rate of its client.
    pub(crate) fn refusal(&self, request: &Request<'_>) -> Option<Refusal> {
        if self.is_elsewhere(request) {
            return Some(Refusal::Host);
        }
        let rates = self.gate.as_ref()?.rates.as_ref()?;
        let wait = rates.take(request.client_addr()).err()?;
        Some(Refusal::Rate(wait))
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
