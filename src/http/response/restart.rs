//! Takes back a response that a handler has begun.

use super::recorder::ResponseState;
use super::{Done, Response};
use crate::http::access_entry::PendingEntry;
use crate::http::deferred::worker_handle::WorkerCommand;
use crate::log::event;
use peregrine_protocol::http::response::ResponseHead;
use std::net::SocketAddr;

impl Response<'_> {
    /// Takes back what was begun, so that another response can begin. Returns the entry of a log that waits for the
    /// response. `None` if nothing can be taken back, because the response is on its way already.
    #[cold]
    pub(crate) fn restart(&mut self) -> Option<Option<Box<PendingEntry>>> {
        let recorder = &mut *self.recorder;
        if recorder.is_late() {
            if matches!(
                recorder.state,
                ResponseState::Deferred | ResponseState::Posted
            ) {
                return None;
            }
            recorder.fault = None;
            self.output.truncate(recorder.mark);
        } else {
            recorder.take_back(self.output);
            if !recorder.is_recorded() {
                recorder.begun = 0;
            }
        }
        recorder.head = ResponseHead::OK;
        recorder.state = ResponseState::Open;
        recorder.begin_always(self.output);
        Some(recorder.log.take())
    }

    /// For a response that [`Response::restart`] could not take back.
    pub(crate) fn left_as_it_is(self) -> Done {
        Done {
            status: self.recorder.head.status,
            is_deferred: true,
            body_bytes: 0,
            has_length: false,
        }
    }

    /// Lets the thread of the worker report the error of a handler.
    pub(crate) fn report_failure(&self, text: String, peer: Option<SocketAddr>) {
        event!(Error, "a handler failed: {text}");
        let command = WorkerCommand::Failed(text.into(), peer);
        self.recorder.handle.post(command);
    }
}
