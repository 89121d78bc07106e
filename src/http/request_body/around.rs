//! A plan within code around its response.

use super::flow::Flow;
use super::{BodyPlan, BodySink, Incoming};
use crate::http::request::Request;
use crate::http::response::{Done, Response};

/// What is around the response to a request whose body is not buffered: layers, a route, a log, compression.
pub(crate) trait Around: Send + 'static {
    /// Responds by `inner`.
    fn respond(
        self,
        req: &Request<'_>,
        res: Response<'_>,
        inner: impl FnOnce(&Request<'_>, Response<'_>) -> Done,
    ) -> Done;
}

impl BodyPlan {
    /// The same plan. A sink or a closure that responds in place of `handle_request` does so within `around`.
    pub(crate) fn within<A: Around>(self, around: impl FnOnce() -> A) -> BodyPlan {
        match self {
            BodyPlan::Stream(sink) => BodyPlan::stream(SinkWithin {
                sink,
                around: around(),
            }),
            BodyPlan::StreamUpTo(sink, most) => {
                let around = around();
                BodyPlan::stream_up_to(SinkWithin { sink, around }, most)
            }
            BodyPlan::Respond(respond) => {
                let around = around();
                BodyPlan::respond(move |req, res| around.respond(req, res, respond))
            }
            plan => plan,
        }
    }
}

/// A sink whose response is made within something.
struct SinkWithin<A> {
    sink: Box<dyn BodySink>,
    around: A,
}

#[deny(clippy::missing_trait_methods)]
impl<A: Around> BodySink for SinkWithin<A> {
    fn begin(&mut self, body: &mut Incoming<'_>) {
        self.sink.begin(body);
    }

    fn piece(&mut self, piece: &[u8], body: &mut Incoming<'_>) -> Flow {
        self.sink.piece(piece, body)
    }

    fn finish(self: Box<Self>, req: &Request<'_>, res: Response<'_>) -> Done {
        let SinkWithin { sink, around } = *self;
        around.respond(req, res, |req, res| sink.finish(req, res))
    }
}
