//! The end of connections.

use super::{LONG, Left, deferring};
use peregrine::config::Http2Limits;
use peregrine::testing::Http2;
use peregrine::{BodyPlan, Done, Handler, Limits, Request, Responder, Response, from_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const LAST: u32 = (1 << 31) - 1;
const NO_ERROR: u32 = 0;
const CALM: u32 = 11;

#[test]
fn a_stop_loses_no_request() {
    let (app, left) = deferring();
    let mut client = Http2::new(&app);
    let before = client.get("/before");
    client.stop();
    assert_eq!(client.goaways(), [(LAST, NO_ERROR), (before, NO_ERROR)]);
    assert!(!client.is_closed());
    let responder = left.take();
    responder.send(|res| res.text("in time")).expect("pending");
    assert!(client.wait_for(before, LONG));
    assert_eq!(client.response(before).body, b"in time");
    assert!(client.is_closed());
}

#[test]
fn worn_out_connections_end_with_goaway() {
    let app = from_fn(|req, res| match req.path() {
        "/close" => res.close().text("last"),
        _ => res.text("fine"),
    });
    let limits = Limits::default().requests_per_connection(2);
    let mut client = Http2::with_limits(&app, limits, Http2Limits::default());
    let (a, b) = (client.get("/"), client.get("/"));
    assert!(client.response(a).is_complete && client.response(b).is_complete);
    assert_eq!(client.goaways(), [(LAST, NO_ERROR), (b, NO_ERROR)]);
    assert!(client.is_closed());

    let mut client = Http2::new(&app);
    client.get("/");
    for _ in 0..60 {
        client.elapse(Duration::from_secs(61));
        client.get("/");
    }
    assert!(client.is_closed());
    assert_eq!(client.goaways().len(), 2);

    let mut client = Http2::new(&app);
    let stream = client.get("/close");
    assert_eq!(client.response(stream).body, b"last");
    assert_eq!(client.response(stream).field("connection"), None);
    assert!(client.is_closed());
}

#[test]
fn an_idle_connection_is_closed() {
    let app = from_fn(|_, res| res.text("fine"));
    let mut client = Http2::new(&app);
    client.get("/");
    client.elapse(Duration::from_secs(74));
    assert!(!client.is_closed());
    client.elapse(Duration::from_secs(2));
    assert_eq!(client.goaways().len(), 1);
    assert!(client.is_closed());
}

#[test]
fn streams_beyond_the_limit_are_refused() {
    let (app, left) = deferring();
    let http2 = Http2Limits::default().streams(2);
    let mut client = Http2::with_limits(&app, Limits::default(), http2);
    let streams = [(); 3].map(|()| client.get("/"));
    assert_eq!(
        streams.map(|stream| client.response(stream).reset),
        [None, None, Some(7)]
    );
    assert_eq!(client.counters().http2_refused, 1);
    for responder in left.all() {
        responder.send(|res| res.text("fine")).expect("pending");
    }
    for stream in &streams[..2] {
        assert!(client.wait_for(*stream, LONG));
    }
    let next = client.get("/");
    assert_eq!(client.response(next).reset, None);
}

#[test]
fn rapid_reset_ends_the_connection() {
    let (app, left) = deferring();
    let mut client = Http2::new(&app);
    for _ in 0..1100 {
        let stream = client.get("/");
        client.reset(stream, 8);
    }
    assert_eq!(client.goaways().last().map(|(_, code)| *code), Some(CALM));
    let counters = client.counters();
    assert_eq!(
        (counters.http2_goaways_calm, counters.connection_errors),
        (1, 1)
    );
    let gone = |responder: &Responder| responder.is_gone();
    assert!(left.all().iter().all(gone));
}

#[test]
fn a_violation_ends_the_connection_and_its_streams() {
    let (app, left) = deferring();
    let mut client = Http2::new(&app);
    client.get("/");
    // DATA of stream 0.
    client.send_raw(b"\0\0\x01\0\0\0\0\0\0x");
    assert_eq!(client.goaways(), [(1, 1)]);
    assert!(left.take().is_gone());
    assert_eq!(client.counters().http2_goaways_error, 1);
}

/// Counts how often it is asked for the plan of a body.
struct Planning(Arc<AtomicUsize>);

impl Handler for Planning {
    fn body_plan(&self, _: &Request<'_>) -> BodyPlan {
        self.0.fetch_add(1, Ordering::SeqCst);
        BodyPlan::Buffer
    }

    fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
        res.text("fine")
    }
}

#[test]
fn heads_that_wait_for_their_bodies_are_bounded() {
    let planned = Arc::new(AtomicUsize::new(0));
    let app = Planning(planned.clone());
    let mut client = Http2::new(&app);
    let long = "a".repeat(15_000);
    let streams = [(); 40].map(|()| client.begin("POST", "/", &[("x", &long)]));
    let refused = |stream: &&u32| client.response(**stream).reset == Some(7);
    let refused = streams.iter().filter(refused).count();
    assert!((20..30).contains(&refused), "{refused}");
    // The application has seen none of those that the client may send again.
    assert_eq!(planned.load(Ordering::SeqCst), 40 - refused);
    let counters = client.counters();
    assert_eq!(counters.http2_refused, refused as u64);
    assert_eq!(counters.http2_requests, 40 - refused as u64);
    client.data(streams[0], b"x", true);
    assert_eq!(client.response(streams[0]).status, 200);
    assert!(!client.is_closed());
}

#[test]
fn bodies_are_pushed_up_to_a_limit_of_all_streams() {
    let left = Left::new();
    let put = left.also();
    let app = from_fn(move |_, res| {
        let (done, mut body) = res.stream();
        let mut pushed = 0;
        while body.try_send(vec![b'x'; 1000]).is_ok() {
            pushed += 1000;
        }
        put.put((body, pushed));
        done
    });
    let mut client = Http2::with_window(&app, Limits::default(), 0);
    // All at once, before the connection has counted what the first ones have.
    let get = |n: u8| {
        [
            0,
            0,
            6,
            1,
            5,
            0,
            0,
            0,
            2 * n + 1,
            0x82,
            0x86,
            0x84,
            1,
            1,
            b'a',
        ]
    };
    let requests: Vec<u8> = (0..100).flat_map(get).collect();
    client.send_raw(&requests);
    client.send_raw(b"");
    let mut bodies = left.all();
    assert!(bodies.len() > 32, "{}", bodies.len());
    for (body, pushed) in &mut bodies {
        assert_eq!(*pushed, 17_000);
        assert!(body.try_send("x").is_err());
    }
    // The last one has the share of all, when it has sent what waits.
    let last = 2 * bodies.len() as u32 - 1;
    let (mut body, pushed) = bodies.pop().expect("some");
    drop(bodies);
    client.window_update(last, pushed as u32 + 1);
    client.send_raw(b"");
    assert_eq!(client.response(last).body.len(), pushed);
    let mut more = 0;
    while body.try_send(vec![b'x'; 1000]).is_ok() {
        more += 1000;
    }
    assert!((200_000..300_000).contains(&more), "{more}");
}

#[test]
fn bodies_are_drawn_up_to_a_limit_of_all_streams() {
    let drawn = Arc::new(AtomicUsize::new(0));
    let count = drawn.clone();
    let app = from_fn(move |_, res| {
        let count = count.clone();
        res.send_iter(std::iter::repeat_with(move || {
            count.fetch_add(1000, Ordering::SeqCst);
            vec![b'x'; 1000]
        }))
    });
    let limits = Limits::default().output_bytes(100_000);
    let mut client = Http2::with_window(&app, limits, 0);
    let streams = [(); 90].map(|()| client.get("/"));
    let drawn = drawn.load(Ordering::SeqCst);
    assert!((1000..300_000).contains(&drawn), "{drawn}");
    // Those of which nothing waits have their turn when others have gone.
    for stream in &streams[..80] {
        client.reset(*stream, 8);
    }
    client.window_update(streams[80], 1000);
    assert_eq!(client.response(streams[80]).body.len(), 1000);
}
