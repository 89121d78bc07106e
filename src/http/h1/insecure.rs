//! Requests without TLS where TLS is to be used: refused, or redirected to `https`.

use super::turn::{Parts, Turn};
use crate::http::handler::Handler;
use crate::http::request::Request;
use crate::http::service::Service;
use crate::runtime::transport::Unserved;
use peregrine_protocol::error::ProtocolError;
use peregrine_protocol::h1::connection::Next;
use peregrine_protocol::h1::response_encoder::ListenerFields;
use peregrine_protocol::http::exchange::BodyIntake;
use std::ops::Deref;

const REFUSED: &str = "this port speaks TLS: use https\n";

impl<P> Service<P>
where
    P: Deref,
    P::Target: Handler + Sized,
{
    /// One turn of a connection whose first request is answered by the library, whatever it is.
    #[cold]
    pub(super) fn turn_unserved(&mut self, unserved: Unserved, parts: &mut Parts<'_>) -> Turn {
        self.recorder.set_conn(parts.conn);
        // Not without TLS (RFC 6797 section 7.2). The next connection sets it anew.
        let none = ListenerFields::default();
        self.recorder.encoder.set_listener_fields(none);
        loop {
            match parts.http1.next(parts.input, &self.limits, self.now) {
                Next::Request(_) | Next::Plan(_)
                    if self.is_elsewhere(&Request::new(parts.input, 0..0, parts.ends)) =>
                {
                    parts.http1.refuse(ProtocolError::HostNotAllowed);
                }
                Next::Plan(framing) => {
                    let (input, output) = (&mut *parts.input, &mut *parts.output);
                    let http1 = &mut *parts.http1;
                    http1.plan(framing, BodyIntake::Refuse, input, output, &self.limits);
                }
                Next::Request(_) => self.respond_unserved(unserved, parts),
                Next::Close(close) => {
                    self.report_close(close, parts);
                    return Turn::Close(close);
                }
                Next::Http2 => _ = parts.http1.refuse(ProtocolError::Target),
                Next::Read | Next::Piece(_) | Next::Wait => return Turn::Read,
            }
        }
    }

    fn respond_unserved(&mut self, unserved: Unserved, parts: &mut Parts<'_>) {
        let request = Request::new(parts.input, 0..0, parts.ends);
        let location = match unserved {
            Unserved::Refuse => None,
            Unserved::Redirect(port) => location(&request, port),
        };
        let mode = parts.http1.last_mode();
        let response = self.recorder.response(mode, parts.output);
        let (status, done) = match location {
            Some(location) => (308, response.redirect(308, &location)),
            None => (400, response.status(400).text(REFUSED)),
        };
        parts.counters.count_status(status);
        if status == 400 {
            parts.counters.refused_with(status);
        }
        let body_bytes = done.body_bytes().unwrap_or(0);
        self.tell(status, body_bytes, &parts.context());
        parts.http1.finish(true, parts.input, self.now);
    }
}

/// The same resource over TLS, at this port of the host that was asked for.
fn location(request: &Request<'_>, port: u16) -> Option<String> {
    let host = request.host().filter(|host| !host.is_empty())?;
    let name = match host.rsplit_once(':') {
        // The colons of an IPv6 address stand in brackets.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let path = Some(request.path()).filter(|path| path.starts_with('/'))?;
    let query = request.query_string();
    let port = match port {
        443 => String::new(),
        port => format!(":{port}"),
    };
    let query = query.map_or(String::new(), |query| format!("?{query}"));
    Some(format!("https://{name}{port}{path}{query}"))
}
