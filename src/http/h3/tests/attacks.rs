//! What hostile clients do, with the CVE that each case stands for.

use super::*;
use crate::config::Http3Limits;
use crate::{BodyPlan, Done, Limits, Request, Response};
use std::sync::atomic::{AtomicUsize, Ordering};

#[track_caller]
fn assert_closed<H: Handler>(client: &Http3<'_, H>, code: u64) {
    let closed = client.closed.as_ref().map(|closed| closed.0);
    assert_eq!(closed, Some(code), "{:?}", client.closed);
}

/// CVE-2023-44487, and that for HTTP/3.
#[test]
fn rapid_reset_ends_the_connection() {
    let (app, left) = deferring();
    let mut client = Http3::new(&app);
    for _ in 0..1100 {
        if client.closed.is_some() {
            break;
        }
        let stream = client.get("/");
        client.cancel(stream);
    }
    assert_closed(&client, EXCESSIVE_LOAD);
    let counters = client.counters();
    assert_eq!(counters.http3_closes_load, 1);
    assert_eq!(counters.connection_errors, 1);
    assert!(left.all().iter().all(Responder::is_gone));
}

/// CVE-2025-8671: the client makes the server reset.
#[test]
fn made_you_reset_ends_the_connection() {
    let app = from_fn(|_, res| res.text("fine"));
    let mut client = Http3::new(&app);
    for _ in 0..1100 {
        if client.closed.is_some() {
            break;
        }
        client.request("GET", "/", &[("connection", "close")], b"");
    }
    assert_closed(&client, EXCESSIVE_LOAD);
}

/// CVE-2019-9512 and 9515: frames that have to be handled, and say nothing.
#[test]
fn a_flooded_control_stream_ends_the_connection() {
    let app = from_fn(|_, res| res.text("fine"));
    for frame in [
        // MAX_PUSH_ID with a growing value is no error.
        &[0x0d, 1, 1][..],
        &[0x21, 0],
        // PRIORITY_UPDATE of stream 0.
        &[0x80, 0x0f, 0x07, 0x00, 4, 0, b'u', b'=', b'1'],
    ] {
        let mut client = Http3::new(&app);
        let control = 2;
        for _ in 0..30 {
            client.send_raw(control, &frame.repeat(100), false);
        }
        assert_closed(&client, EXCESSIVE_LOAD);
    }
}

#[test]
fn violations_end_the_connection_and_its_streams() {
    let (app, left) = deferring();
    type Act<H> = fn(&mut Http3<'_, H>);
    let cases: [(&str, Act<_>, u64); 6] = [
        ("DATA first", |client| raw(client, &[0, 1, 1]), 0x105),
        (
            "SETTINGS in a request",
            |client| raw(client, &[4, 0]),
            0x105,
        ),
        (
            "a second control stream",
            |client| _ = client.open_uni(&[0, 4, 0]),
            0x103,
        ),
        (
            "a push stream",
            |client| _ = client.open_uni(&[1, 0]),
            0x103,
        ),
        (
            "an instruction of QPACK",
            |client| _ = client.open_uni(&[2, 0xc0, 1, b'a']),
            0x201,
        ),
        (
            "a field of the dynamic table",
            |client| raw(client, &[1, 3, 0, 0, 0x80]),
            0x200,
        ),
    ];
    for (name, act, code) in cases {
        let mut client = Http3::new(&app);
        client.get("/");
        act(&mut client);
        let closed = client.closed.as_ref().map(|closed| closed.0);
        assert_eq!(closed, Some(code), "{name}");
        assert!(left.take().is_gone(), "{name}");
        assert_eq!(client.counters().http3_closes_error, 1, "{name}");
    }
    // The control stream ends.
    let mut client = Http3::new(&app);
    client.send_raw(2, b"", true);
    assert_closed(&client, 0x104);
}

fn raw<H: Handler>(client: &mut Http3<'_, H>, bytes: &[u8]) {
    let stream = client.open();
    client.send_raw(stream, bytes, true);
}

#[test]
fn half_heads_are_bounded() {
    let app = from_fn(|_, res| res.text("fine"));
    let mut client = Http3::new(&app);
    // Each announces 16,000 bytes, and has nearly all of them.
    let head = [&[1, 0x7e, 0x80][..], &[0; 15_000]].concat();
    let streams = [(); 20].map(|()| client.open());
    for stream in streams {
        client.send_raw(stream, &head, false);
    }
    let rejected = |stream: &&u64| client.response(**stream).reset == Some(REJECTED);
    let rejected = streams.iter().filter(rejected).count();
    assert!((14..18).contains(&rejected), "{rejected}");
    let held = held(&client);
    assert!(held < 200_000, "{held}");
    assert_eq!(client.counters().http3_rejected, rejected as u64);
    let good = client.get("/");
    assert_eq!(client.response(good).status, 200);
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
    let mut client = Http3::new(&app);
    let long = "a".repeat(15_000);
    let streams = [(); 40].map(|()| client.begin("POST", "/", &[("x", &long)]));
    let rejected = |stream: &&u64| client.response(**stream).reset == Some(REJECTED);
    let rejected = streams.iter().filter(rejected).count();
    assert!((20..30).contains(&rejected), "{rejected}");
    // The application has seen none of those that the client may send again.
    assert_eq!(planned.load(Ordering::SeqCst), 40 - rejected);
    client.data(streams[0], b"x", true);
    assert_eq!(client.response(streams[0]).status, 200);
    assert_eq!(client.closed, None);
}

/// Responses that the client does not read: CVE-2019-9517 and others.
#[test]
fn stalled_streams_hold_no_more_than_a_limit() {
    let drawn = Arc::new(AtomicUsize::new(0));
    let count = drawn.clone();
    let app = from_fn(move |_, res| {
        let count = count.clone();
        res.send_iter(std::iter::repeat_with(move || {
            count.fetch_add(1000, Ordering::SeqCst);
            vec![b'x'; 1000]
        }))
    });
    let mut client = with_window(&app, 1000);
    let streams = [(); 90].map(|()| client.get("/"));
    let drawn = drawn.load(Ordering::SeqCst);
    assert!((1000..700_000).contains(&drawn), "{drawn}");
    // The memory of what waits may be twice of it.
    let most = 4 * Limits::default().output_bytes;
    assert!(held(&client) < most, "{}", held(&client));
    client.elapse(33);
    let mut resets = 0;
    for stream in streams {
        client.read(stream);
        resets += usize::from(client.response(stream).reset == Some(CANCELLED));
    }
    // Those that have had something, until others had the room.
    assert!((2..40).contains(&resets), "{resets}");
    assert_eq!(client.closed, None);
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
    let mut client = with_window(&app, 1000);
    let _streams = [(); 90].map(|()| client.get("/"));
    client.run();
    let mut bodies = left.all();
    let pushed: usize = bodies.iter().map(|(_, pushed)| *pushed).sum();
    assert_eq!(bodies.len(), 90);
    assert!(pushed <= 90 * 17_000, "{pushed}");
    for (body, _) in &mut bodies {
        assert!(body.try_send("x").is_err());
    }
}

/// The limits of the connection are those of the configuration.
#[test]
fn limits_are_those_of_the_configuration() {
    let app = from_fn(|_, res| res.text("fine"));
    let config = Config::default()
        .http3_limits(Http3Limits::default().nuisances(3))
        .limits(Limits::default().head_bytes(500));
    let mut client = Http3::with_config(&app, &config);
    let long = "a".repeat(600);
    for _ in 0..3 {
        let stream = client.request("GET", "/", &[("x", &long)], b"");
        assert_eq!(client.response(stream).status, 431);
    }
    client.request("GET", "/", &[("x", &long)], b"");
    assert_closed(&client, EXCESSIVE_LOAD);
}
