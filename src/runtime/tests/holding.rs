//! A transport that has read more than it has passed on, and written less than it has accepted. No event of
//! the socket reports either.

use super::{config, connect, end, hand_over, nothing_is_left, pair, short, undated, wait_until};
use crate::http::handler::from_fn;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::runtime::transport::faulty::{FaultPlan, Faulty, Happening};
use crate::server::Server;
use crate::testing::Connection;
use peregrine_protocol::limits::Limits;
use std::io::{Read, Write};
use std::sync::Arc;

const REQUESTS: &[u8] = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn bytes_that_a_transport_holds_wait_for_no_event() {
    let handle = |req: &Request<'_>, res: Response<'_>| res.text(req.path());
    let handler = from_fn(handle);
    let mut memory = Connection::new(&handler);
    memory.send(REQUESTS);
    let wanted = undated(memory.received().to_vec());

    let server = Server::new(from_fn(handle)).config(config(Limits::default()));
    let server = server.bind("127.0.0.1:0").start_over::<Faulty>();
    let server = server.expect("a server");
    for (ahead, read, behind) in [(4096, 5, 0), (0, 0, 3), (0, 0, 4096), (4096, 1, 7)] {
        let plan = FaultPlan {
            ahead,
            read,
            behind,
            seed: 1,
            ..FaultPlan::default()
        };
        let mut client = connect(&server, plan);
        // The connection stays open, so only the transport can cause the rest to be sent.
        for round in 0..3 {
            client.write_all(REQUESTS).expect("sent");
            let mut got = vec![0; wanted.len()];
            client.read_exact(&mut got).expect("all of the responses");
            let got = undated(got);
            assert!(got == wanted, "{ahead}, {behind}, {round}: {}", short(&got));
        }
    }
    nothing_is_left(&server, &Arc::new(()), 1);
    end(server);
}

#[test]
fn bytes_that_a_transport_cannot_write_are_a_failed_write() {
    let server = Server::new(from_fn(|_, res| res.text("hi"))).config(config(Limits::default()));
    let server = server.bind("127.0.0.1:0").start_over::<Faulty>();
    let server = server.expect("a server");
    let ((socket, mut plan), mut client) = pair(FaultPlan {
        behind: 4096,
        ..FaultPlan::default()
    });
    client.write_all(REQUESTS).expect("sent");
    // The first call reads the requests. The second gives the transport the responses, which it keeps.
    plan.at = Some((2, Happening::Call(Box::new(move || drop(client)))));
    hand_over(&server, [(socket, plan)]);
    wait_until("the failure is reported", || {
        server.counters().write_errors == 1
    });
    nothing_is_left(&server, &Arc::new(()), 1);
    end(server);
}
