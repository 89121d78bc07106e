//! Streams of events at the end of a server: their clients are not to come back all at once.

use super::support::{Client, ended, start, wait_until, workers};
use peregrine::server::Running;
use peregrine::sse::{Event, EventHub};
use peregrine::testing::Connection;
use peregrine::{Config, Handler, Router};
use std::net::SocketAddr;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const GET: &str = "GET /events HTTP/1.1\r\nHost: a\r\n\r\n";

fn app(hub: &EventHub) -> impl Handler + use<> {
    let hub = hub.clone();
    Router::new()
        .get("/", |_, res| res.text("hi"))
        .get("/events", move |_, res| {
            let (done, page) = res.events();
            hub.subscribe(page, ["all"]).expect("one topic");
            done
        })
}

fn serve(hub: &EventHub, config: Config) -> (Running, SocketAddr) {
    start(app(hub), config)
}

fn subscribe(addr: SocketAddr) -> Client {
    let mut client = Client::connect(addr);
    client.send(GET);
    assert_eq!(client.head().0.status, 200);
    client
}

#[test]
fn streams_of_events_are_ended_one_after_the_other() {
    let hub = EventHub::new();
    let config = workers(1)
        .events_close_spread(HOUR)
        .events_retry(Duration::from_secs(5));
    let (server, addr) = serve(&hub, config);
    let mut idle = Client::connect(addr);
    idle.get("/");
    let mut clients: Vec<_> = (0..9).map(|_| subscribe(addr)).collect();
    server.stop();
    // Others are not spread.
    idle.expect_end();
    // The first one ends at once, and the second one in 400 s.
    wait_until("one has ended", || hub.pages("all") == 8);
    hub.publish("all", "still here").expect("a good event");
    let mut ends = 0;
    for client in &mut clients {
        let chunk = String::from_utf8(client.chunk()).expect("text");
        if chunk != "data: still here\n\n" {
            let time = chunk
                .strip_prefix("retry: ")
                .and_then(|text| text.strip_suffix("\n\n"));
            let time: u64 = time.and_then(|time| time.parse().ok()).expect(&chunk);
            assert!((5000..=10_000).contains(&time), "{time}");
            assert!(client.chunk().is_empty(), "complete");
            client.expect_end();
            ends += 1;
        }
    }
    assert_eq!(ends, 1);
    server.stopper().stop_now();
    assert_eq!(ended(server).aborted, 8);
}

#[test]
fn all_streams_of_events_end_when_the_time_is_over() {
    let hub = EventHub::new();
    let config = workers(2).events_close_spread(Duration::from_millis(200));
    let (server, addr) = serve(&hub, config);
    let mut clients: Vec<_> = (0..20).map(|_| subscribe(addr)).collect();
    server.stop();
    for client in &mut clients {
        assert!(client.chunk().is_empty(), "complete, and no field");
        client.expect_end();
    }
    assert_eq!(ended(server).aborted, 0);
}

/// A drain is for the balancer: clients that came back during it would come here.
#[test]
fn streams_of_events_go_on_during_a_drain() {
    let hub = EventHub::new();
    let (server, addr) = serve(&hub, workers(1).drain_delay(HOUR));
    let mut client = subscribe(addr);
    server.drain();
    // A turn later.
    assert_eq!(Client::connect(addr).get("/").status, 200);
    assert!(matches!(hub.publish("all", "on"), Ok(1)));
    assert_eq!(client.chunk(), b"data: on\n\n");
    server.stop();
    assert!(client.chunk().is_empty());
    assert_eq!(ended(server).aborted, 0);
}

/// The encoder of a compressed stream has it, too, and a stream that begins during the stop.
#[test]
fn the_field_is_in_each_stream_that_the_stop_ends() {
    let hub = EventHub::new();
    let app = app(&hub);
    let config = Config::default().events_retry(Duration::from_millis(1));
    for begins_before in [true, false] {
        let mut client = Connection::with_config(&app, &config, ([10, 0, 0, 1], 1).into());
        let (first, rest) = GET.split_at(if begins_before { GET.len() } else { 20 });
        client.send(first.as_bytes());
        hub.publish("all", Event::new().retry(HOUR))
            .expect("a good event");
        client.stop();
        client.send(rest.as_bytes());
        let received = String::from_utf8_lossy(client.received()).into_owned();
        let end = |time: u32| format!("\r\nretry: {time}\n\n\r\n0\r\n\r\n");
        assert!(
            [1, 2].iter().any(|&time| received.ends_with(&end(time))),
            "{received}"
        );
        // A head that is sent already has not said that it is the last one.
        assert_eq!(client.is_closed(), !begins_before);
    }
}

/// A connection of HTTP/2 may have other streams: it takes no new ones, and its events go on until its moment.
#[cfg(feature = "http2")]
#[test]
fn http2_says_at_once_that_it_takes_no_more() {
    use peregrine_protocol::h2::frame::PREFACE;
    use std::io::Read;

    let hub = EventHub::new();
    let (server, addr) = serve(&hub, workers(1).events_close_spread(HOUR));
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let head = [0, 0, payload.len() as u8, kind, flags, 0, 0, 0, stream];
        [&head[..], payload].concat()
    };
    let connect = || {
        let mut client = Client::connect(addr);
        let request = b"\x82\x86\x01\x01a\x04\x07/events";
        client.send([&PREFACE[..], &frame(4, 0, 0, b""), &frame(1, 5, 1, request)].concat());
        client
    };
    // Payloads of frames of this kind; each ends the loop.
    let next = |client: &mut Client, kind: u8| loop {
        let mut head = [0; 9];
        client.stream.read_exact(&mut head).expect("a frame");
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; len];
        client.stream.read_exact(&mut payload).expect("a frame");
        if head[3] == kind {
            break payload;
        }
    };
    let (mut first, mut second) = (connect(), connect());
    wait_until("both are subscribed", || hub.pages("all") == 2);
    server.stop();
    assert!(next(&mut first, 0).is_empty(), "the end of the stream");
    next(&mut second, 7);
    assert!(matches!(hub.publish("all", "on"), Ok(1)));
    assert_eq!(next(&mut second, 0), b"data: on\n\n");
    drop(first);
    wait_until("the first one is closed", || server.counters().closed == 1);
    server.stopper().stop_now();
    assert_eq!(ended(server).aborted, 1);
}
