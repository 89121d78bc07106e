//! What `peregrine::testing` does where it might differ from a server.

use peregrine::body::{BodySink, Flow, Incoming};
use peregrine::testing::Connection;
use peregrine::{BodyPlan, Done, Handler, Request, Response};

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            std::panic::resume_unwind(Box::new("as asked"));
        }
    }
}

impl BodySink for Bomb {
    fn piece(&mut self, _: &[u8], _: &mut Incoming<'_>) -> Flow {
        Flow::Continue
    }

    fn finish(self: Box<Self>, _: &Request<'_>, res: Response<'_>) -> Done {
        res.text("never")
    }
}

struct Sinks;

impl Handler for Sinks {
    fn body_plan(&self, _: &Request<'_>) -> BodyPlan {
        BodyPlan::stream(Bomb)
    }

    fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
        res.text("")
    }
}

/// Half of a body.
const HALF: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab";

#[test]
fn a_sink_that_panics_when_it_is_dropped_harms_nothing() {
    let mut client = Connection::new(&Sinks);
    client.send(HALF);
    client.send_eof();
    assert!(client.is_closed());
    assert_eq!(client.received(), b"");
    // And where the client is dropped before the connection has ended.
    let mut client = Connection::new(&Sinks);
    client.send(HALF);
    drop(client);
}
