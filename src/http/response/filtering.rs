//! Records a response for its filters, and encodes it after them.

use super::filter::{RecordedResponse, ResponseFilter};
use super::recorder::{ResponseRecorder, ResponseState};
use super::{Done, Response};
use crate::shared::output::Output;
use crate::shared::panic_guard::catch;
use peregrine_protocol::http::response::BodySize;

impl Response<'_> {
    /// Responds by `respond`, and lets `filter` change the response, now or when it comes.
    pub(crate) fn filtered(
        mut self,
        filter: Box<dyn ResponseFilter>,
        respond: impl FnOnce(Response<'_>) -> Done,
    ) -> Done {
        let was_recorded = self.recorder.begin_recording(self.output);
        let depth = self.recorder.filters.len();
        self.recorder.filters.push(filter);
        // The panic goes on to an outer catch. The next response must not find this filter.
        let responded = catch(|| respond(self.reborrow()));
        let recorder = &mut *self.recorder;
        let done = match responded {
            Ok(done) => done,
            Err(panic) => {
                recorder.leave_filters(depth, was_recorded);
                panic.resume()
            }
        };
        // A response from another thread is filtered when it is posted.
        if recorder.is_late() {
            return done;
        }
        let is_there = recorder.fault.is_none()
            && matches!(
                recorder.state,
                ResponseState::Complete | ResponseState::Streamed
            );
        if !is_there {
            recorder.leave_filters(depth, was_recorded);
            return done;
        }
        recorder.filter(depth, self.output);
        if !was_recorded {
            recorder.encode_recorded(self.output);
        }
        recorder.done_again()
    }
}

impl ResponseRecorder {
    /// From now on the response is recorded. Returns whether it was already.
    fn begin_recording(&mut self, output: &mut Output) -> bool {
        if self.is_recorded() {
            return true;
        }
        output.replace(self.mark, 0..self.begun, b"");
        self.record_from_now();
        false
    }

    /// There is no response for the filters above `depth`. A layer around them may begin another one.
    #[cold]
    fn leave_filters(&mut self, depth: usize, was_recorded: bool) {
        self.filters.truncate(depth);
        if !was_recorded {
            self.begun = 0;
        }
    }

    /// Lets the filters above `depth` change the response, the innermost first.
    pub(super) fn filter(&mut self, depth: usize, output: &mut Output) {
        while self.filters.len() > depth {
            let Some(filter) = self.filters.pop() else {
                return;
            };
            let is_sent = self.is_body_sent();
            let is_replacement = self.is_replacement();
            let (fields, size) = self.recorded;
            let mut response = RecordedResponse {
                head: &mut self.head,
                output,
                mark: self.mark,
                fields,
                size,
                is_sent,
                is_replacement,
                streamed: self.body.as_deref_mut(),
            };
            filter.apply(&mut response);
            self.recorded = (response.fields, response.size);
        }
    }

    /// Lets all filters change a response before it goes to its connection. Returns the bytes of its complete body.
    pub(super) fn filter_late(&mut self, body_bytes: u64, output: &mut Output) -> u64 {
        if self.filters.is_empty() {
            return body_bytes;
        }
        self.filter(0, output);
        match self.state == ResponseState::Complete {
            true => self.done_again().body_bytes,
            false => body_bytes,
        }
    }

    /// Encodes a recorded response in HTTP/1.
    fn encode_recorded(&mut self, output: &mut Output) {
        let (fields, size) = self.recorded;
        let mut head = Vec::new();
        let block = &output.since(self.mark)[..fields];
        let framing = self
            .encoder
            .head(&self.head, block, size, self.mode, &mut head);
        output.replace(self.mark, 0..fields, &head);
        self.begun = head.len();
        if let Some(body) = &mut self.body {
            body.begin(framing);
            self.head.close = framing.close;
        }
    }

    /// The proof of a response that filters have changed.
    fn done_again(&self) -> Done {
        let known = match self.recorded.1 {
            BodySize::Known(len) => Some(len),
            BodySize::Unknown => None,
        };
        let is_sent = self.is_body_sent();
        Done {
            status: self.head.status,
            is_deferred: false,
            body_bytes: known.filter(|_| is_sent).unwrap_or(0),
            has_length: known.is_some() || !is_sent,
        }
    }
}
