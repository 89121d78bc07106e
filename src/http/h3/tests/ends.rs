//! The end of connections.

use super::*;
use crate::Limits;

/// What the first GOAWAY says.
const LARGEST: u64 = (1 << 62) - 4;

#[test]
fn a_stop_loses_no_request() {
    let (app, left) = deferring();
    let mut client = Http3::new(&app);
    let before = client.get("/before");
    client.stop();
    assert_eq!(client.goaways(), [LARGEST]);
    // It was on its way.
    let after = client.get("/after");
    client.elapse(3);
    assert_eq!(client.goaways(), [LARGEST, after + 4]);
    let late = client.get("/late");
    assert_eq!(client.response(late).reset, Some(REJECTED));
    assert_eq!(client.closed, None);
    for (stream, responder) in [before, after].into_iter().zip(left.all()) {
        assert_eq!(client.closed, None);
        responder.send(|res| res.text("in time")).expect("pending");
        assert!(client.wait_for(stream, LONG));
        assert_eq!(client.response(stream).body, b"in time");
    }
    assert_eq!(client.closed, None);
    client.elapse(1);
    assert_eq!(client.closed, Some((NO_ERROR, String::new())));
}

/// The client has received all before the connection is closed.
#[test]
fn large_responses_are_complete_before_the_end() {
    let app = from_fn(|_, res| res.close().body(vec![b'x'; 3 << 20]));
    let mut client = Http3::new(&app);
    let stream = client.get("/");
    assert!(client.response(stream).is_complete);
    assert_eq!(client.response(stream).body.len(), 3 << 20);
    assert_eq!(client.response(stream).field("connection"), None);
    assert_eq!(client.closed, None);
    client.elapse(3);
    assert_eq!(client.closed, Some((NO_ERROR, String::new())));

    let mut client = with_window(&app, 1000);
    let stream = client.get("/");
    client.elapse(3);
    assert_eq!(client.goaways().len(), 2);
    while !client.response(stream).is_complete {
        assert_eq!(client.closed, None);
        client.read(stream);
    }
    client.elapse(1);
    assert_eq!(client.closed, Some((NO_ERROR, String::new())));
}

/// A large last response has as long as its client takes it; a client that does not loses it.
#[test]
fn a_last_response_has_the_time_that_it_takes() {
    let app = from_fn(|_, res| res.close().body(vec![b'x'; 200_000]));
    let mut client = with_window(&app, 4000);
    let stream = client.get("/");
    let mut seconds = 0;
    while !client.response(stream).is_complete {
        assert_eq!(client.closed, None, "after {seconds} s");
        client.elapse(1);
        client.read(stream);
        seconds += 1;
    }
    assert!(seconds > 40, "{seconds}");
    client.elapse(2);
    assert_eq!(client.closed, Some((NO_ERROR, String::new())));

    let mut client = with_window(&app, 4000);
    client.get("/");
    client.elapse(5);
    assert_eq!(client.closed, None);
    client.elapse(40);
    assert_eq!(client.counters().write_timeouts, 1);
    assert_eq!(client.closed, Some((NO_ERROR, String::new())));
}

#[test]
fn worn_out_connections_end_with_goaway() {
    let app = from_fn(|_, res| res.text("fine"));
    let limits = Limits::default().requests_per_connection(2);
    let mut client = Http3::with_config(&app, &Config::default().limits(limits));
    let (a, b) = (client.get("/"), client.get("/"));
    assert!(client.response(a).is_complete && client.response(b).is_complete);
    client.elapse(3);
    assert_eq!(client.goaways(), [LARGEST, b + 4]);
    assert_eq!(client.closed, Some((NO_ERROR, String::new())));
}

#[test]
fn an_idle_connection_is_closed() {
    let app = from_fn(|_, res| res.text("fine"));
    let mut client = Http3::new(&app);
    client.get("/");
    client.elapse(75);
    assert_eq!(client.closed, None);
    client.elapse(2);
    assert_eq!(client.goaways().len(), 1);
    assert_eq!(client.closed, Some((NO_ERROR, String::new())));
}

#[test]
fn a_connection_without_keep_alive_has_one_request() {
    let app = from_fn(|_, res| res.text("fine"));
    let mut client = Http3::with_config(&app, &Config::default().keep_alive(false));
    let stream = client.get("/");
    assert!(client.response(stream).is_complete);
    client.elapse(3);
    assert_eq!(client.closed, Some((NO_ERROR, String::new())));
}

#[test]
fn a_lost_connection_ends_its_requests() {
    let (app, left) = deferring();
    let mut client = Http3::new(&app);
    client.get("/a");
    client.get("/b");
    client.close();
    assert!(client.served.is_none());
    assert!(left.all().iter().all(Responder::is_gone));
    let counters = client.counters();
    assert_eq!((counters.clients_gone, counters.connection_errors), (1, 1));
    // An idle one is no error.
    let app = from_fn(|_, res| res.text("fine"));
    let mut client = Http3::new(&app);
    client.get("/");
    client.close();
    assert!(client.served.is_none());
    assert_eq!(client.counters().connection_errors, 0);
}
