//! What the connections of one worker share.

use super::connection_error::ConnectionError;
use super::service::{HandlerRef, Service};
use crate::metrics::WorkerCounters;
use crate::runtime::socket::{Ends, Socket};
use crate::runtime::transport::Transport;
use crate::shared::buffer_pool::BufferPool;
use crate::shared::id::ConnId;
use crate::shared::memory_budget::LocalUsage;
#[cfg(feature = "http2")]
use crate::shared::output::Output;
#[cfg(feature = "http2")]
use peregrine_protocol::h2::{head::HeadBuf, limits::Http2Limits};
#[cfg(feature = "http3")]
use peregrine_protocol::{h3::limits::Http3Limits, qpack::Encoder};
use std::io;
use std::sync::Arc;

/// State that the connections of one worker share.
pub(crate) struct WorkerState<P, M> {
    pub(crate) service: Service<P>,
    pub(crate) pool: BufferPool,
    pub(crate) counters: Arc<WorkerCounters>,
    pub(crate) mode: M,
    pub(crate) tally: LocalUsage,
    /// The recorder of the current connection.
    pub(crate) place: ConnId,
    /// Connections that have received commands.
    pub(crate) dirty: Vec<ConnId>,
    #[cfg(feature = "http2")]
    pub(crate) http2: Http2State,
    #[cfg(feature = "http3")]
    pub(crate) http3: Http3State,
}

/// State that the HTTP/2 connections of one worker share, and that those of HTTP/3 use, too. Only one request is
/// decoded, and one response written, at a time.
#[cfg(feature = "http2")]
#[derive(Default)]
pub(crate) struct Http2State {
    pub(crate) limits: Http2Limits,
    pub(crate) head: Box<HeadBuf>,
    pub(crate) response: Output,
}

#[cfg(feature = "http2")]
impl Http2State {
    pub(crate) fn new(limits: Http2Limits) -> Http2State {
        Http2State {
            limits,
            ..Http2State::default()
        }
    }

    /// A panic has ended the turn of a connection.
    #[cold]
    pub(crate) fn recover(&mut self) {
        self.response.clear();
    }
}

/// State that the HTTP/3 connections of one worker share.
#[cfg(feature = "http3")]
pub(crate) struct Http3State {
    pub(crate) limits: Http3Limits,
    pub(crate) keep_alive: bool,
    pub(crate) encoder: Encoder,
    /// The response that is being sent.
    pub(crate) output: Output,
}

#[cfg(feature = "http3")]
impl Http3State {
    pub(crate) fn new(limits: Http3Limits, keep_alive: bool) -> Http3State {
        Http3State {
            limits,
            keep_alive,
            encoder: Encoder::new(),
            output: Output::default(),
        }
    }

    /// A panic has ended the turn of a connection.
    #[cold]
    pub(crate) fn recover(&mut self) {
        self.output.clear();
    }
}

impl<P: HandlerRef, M> WorkerState<P, M> {
    pub(crate) fn fail(&self, error: &ConnectionError<'_>, ends: &dyn Ends) {
        self.counters.connection_errors.add(1);
        match error {
            ConnectionError::Read(_) => self.counters.read_errors.add(1),
            ConnectionError::Write(_) => self.counters.write_errors.add(1),
            ConnectionError::WriteTimeout => self.counters.write_timeouts.add(1),
            ConnectionError::Internal(_) => self.counters.internal_errors.add(1),
            _ => {}
        }
        self.service.report(error, ends);
    }

    /// Reports a handshake of the transport that is not completed, if the client has begun it.
    #[cold]
    pub(crate) fn tell_handshake<T: Transport>(&self, error: &io::Error, socket: &Socket<T>) {
        #[cfg(feature = "tls")]
        if socket.stream.has_begun_handshake() {
            self.fail(&ConnectionError::TlsHandshake(error), socket);
        }
        #[cfg(not(feature = "tls"))]
        let _ = (error, socket);
    }
}
