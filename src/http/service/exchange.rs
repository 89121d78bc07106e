//! `Exchange`: one request and its response.

use super::{Parts, Service};
use crate::http::access_entry::PendingEntry;
use crate::http::deferred::streamed_body::StreamedBody;
use crate::http::request_body::BodySink;
use crate::shared::id::RequestId;
use crate::shared::panic_guard::drop_quietly;

/// The state of a request whose response is not complete at once: its body goes to a sink, or the response
/// comes later or in pieces. An HTTP/1 connection has one at a time.
///
/// Invariant: it is in the table of pending requests exactly if it has an identifier, until
/// [`Service::end`] takes both away.
#[derive(Default)]
pub(crate) struct Exchange {
    /// The identifier that other threads use.
    pub(super) id: Option<RequestId>,
    /// Receives the body of the request.
    pub(super) sink: Option<Box<dyn BodySink>>,
    /// The rest of the response.
    pub(super) body: Option<Box<StreamedBody>>,
    /// The entry of the access log.
    pub(super) log: Option<Box<PendingEntry>>,
}

impl Exchange {
    /// The rest of the response, if its head has been sent.
    pub(crate) fn body(&self) -> Option<&StreamedBody> {
        self.body.as_deref()
    }
}

/// The rest of the response, if there is any.
pub(super) fn body_of(exchange: &mut Option<Box<Exchange>>) -> Option<&mut StreamedBody> {
    exchange.as_mut()?.body.as_deref_mut()
}

/// The number of exchanges that are kept for later requests, so that an exchange needs no allocation.
const SPARE: usize = 64;

impl<P> Service<P> {
    /// The current exchange. Begins one if there is none.
    pub(super) fn exchange<'a>(&mut self, parts: &'a mut Parts<'_>) -> &'a mut Exchange {
        let spare = &mut self.spare;
        let exchange = &mut *parts.exchange;
        exchange.get_or_insert_with(|| spare.pop().unwrap_or_default())
    }

    /// Ends the exchange. From now on other threads see that it is over, and the values of users are dropped.
    pub(super) fn end(&mut self, exchange: Option<Box<Exchange>>) {
        let Some(mut exchange) = exchange else {
            return;
        };
        let ended = std::mem::take(&mut *exchange);
        if self.spare.len() < SPARE {
            self.spare.push(exchange);
        }
        if let Some(id) = ended.id {
            self.recorder.leave(id);
        }
        drop_quietly(ended);
    }

    /// The client has sent its last byte while the response is pending.
    pub(crate) fn client_eof(&self, exchange: Option<&Exchange>) {
        let Some(exchange) = exchange else {
            return;
        };
        if let Some(id) = exchange.id {
            self.recorder.handle.client_eof(id);
        }
        if let Some(body) = exchange.body() {
            body.client_eof();
        }
    }

    /// The connection ends by a panic of the library.
    #[cold]
    pub(crate) fn abandon(&mut self, exchange: Option<Box<Exchange>>) {
        // The drop writes its log line.
        self.end(exchange);
    }
}
