//! Server-sent events: what a client of them sees, how long it is kept, and how it ends.

use super::support::{Asked, Client, NEVER, PATIENCE, ended, start, wait_until, workers};
use peregrine::body::{SendError, TrySendError};
use peregrine::sse::{Event, EventSender};
use peregrine::testing::Connection;
use peregrine::{Done, Handler, Limits, Request, Response, from_fn};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

const GET: &str = "GET /events HTTP/1.1\r\nHost: a\r\n\r\n";
const SECOND: Duration = Duration::from_secs(1);

/// Hands each stream to the test, with the id that the client came with. The path may be a number:
/// seconds between signs of life.
fn app() -> (impl Handler, Receiver<(EventSender, Option<String>)>) {
    let (give, given) = channel();
    let give = Mutex::new(give);
    let app = from_fn(move |req: &Request<'_>, res: Response<'_>| -> Done {
        let (done, events) = match req.path()[1..].parse() {
            Ok(seconds) => res.events_with_heartbeat(Duration::from_secs(seconds)),
            Err(_) if req.path() == "/events" => res.events(),
            Err(_) => return res.body(req.path()),
        };
        let id = req.last_event_id().map(str::to_owned);
        let give = give.lock().expect("no panic");
        give.send((events, id)).expect("the test listens");
        done
    });
    (app, given)
}

/// Decodes an event stream as the standard has it, independently of how it was made: name, data and
/// last id of each event.
#[derive(Default)]
struct Decoder {
    rest: String,
    name: String,
    data: String,
    id: String,
    retry: Option<u64>,
    events: Vec<(String, String, String)>,
}

impl Decoder {
    fn feed(&mut self, text: &str) {
        self.rest += text;
        while let Some((line, rest)) = self.rest.split_once('\n') {
            let (line, rest) = (line.to_owned(), rest.to_owned());
            self.rest = rest;
            assert!(!line.contains('\r'), "we send LF only: {line:?}");
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "" if line.is_empty() => self.dispatch(),
                "event" => self.name = value.to_owned(),
                "data" => self.data += &format!("{value}\n"),
                "id" if !value.contains('\0') => self.id = value.to_owned(),
                "retry" => self.retry = Some(value.parse().expect("digits")),
                _ => {}
            }
        }
    }

    fn dispatch(&mut self) {
        let name = std::mem::take(&mut self.name);
        let mut data = std::mem::take(&mut self.data);
        if data.pop().is_some() {
            self.events.push((name, data, self.id.clone()));
        }
    }
}

#[test]
fn events_arrive_as_they_were_meant() {
    let (app, streams) = app();
    let (_server, addr) = start(app, workers(1));
    let mut client = Client::connect(addr);
    client.send(GET.replace("\r\n\r\n", "\r\nlast-event-ID: 41 a\r\n\r\n"));
    let (mut events, id) = streams.recv_timeout(PATIENCE).expect("a stream");
    assert_eq!(id.as_deref(), Some("41 a"));
    let sent = [
        Event::from("plain"),
        Event::new()
            .event("tick")
            .id("42")
            .data("two\nlines\r\nand\rmore"),
        Event::new().data(""),
        Event::new().id("only an id"),
        Event::new().data(": no comment").data("id: 7"),
        Event::new().retry(SECOND).event("lost"),
        Event::new().event("größe").data("🦅 ").id(""),
    ];
    for event in sent {
        events.send(event).expect("sent");
    }
    for bad in [
        Event::new().id("a\nb"),
        Event::new().event("a\rb"),
        Event::new().id("\0"),
    ] {
        assert!(matches!(events.send(bad.clone()), Err(SendError::Event)));
        let refused = events.try_send(bad);
        assert!(matches!(
            refused,
            Err(TrySendError::Failed(SendError::Event))
        ));
    }
    events.finish().expect("ended");

    let answer = client.answer(Asked::Other);
    assert_eq!((answer.status, answer.closes()), (200, false));
    assert_eq!(answer.get("content-type"), Some("text/event-stream"));
    assert_eq!(answer.get("cache-control"), Some("no-cache, no-transform"));
    let mut decoder = Decoder::default();
    decoder.feed(answer.text());
    let event =
        |name: &str, data: &str, id: &str| (name.to_owned(), data.to_owned(), id.to_owned());
    let expected = [
        event("", "plain", ""),
        event("tick", "two\nlines\nand\nmore", "42"),
        event("", "", "42"),
        event("", ": no comment\nid: 7", "only an id"),
        event("größe", "🦅 ", ""),
    ];
    assert_eq!(decoder.events, expected);
    assert_eq!((decoder.retry, decoder.rest.as_str()), (Some(1000), ""));
    assert_eq!(
        client.get("/next").text(),
        "/next",
        "the connection goes on"
    );
}

#[test]
fn dropping_the_sender_is_a_proper_end() {
    let (app, streams) = app();
    for (version, asked) in [("1.1", Asked::Other), ("1.0", Asked::Old)] {
        let mut client = Connection::new(&app);
        client.send(GET.replace("1.1", version).as_bytes());
        let (mut events, id) = streams.try_recv().expect("a stream");
        assert_eq!(id, None);
        events.send("one").expect("sent");
        drop(events);
        client.wait(Duration::ZERO);
        let received = client.received();
        match asked {
            Asked::Old => assert!(received.ends_with(b"\r\n\r\ndata: one\n\n")),
            _ => assert!(received.ends_with(b"\r\n\r\nb\r\ndata: one\n\n\r\n0\r\n\r\n")),
        }
        assert_eq!(client.is_closed(), asked == Asked::Old);
        assert_eq!(client.counters().handler_errors, 0);
    }
}

#[test]
fn a_streamed_response_to_head_has_no_receiver() {
    let (app, streams) = app();
    let mut client = Connection::new(&app);
    client.send(GET.replace("GET", "HEAD").as_bytes());
    let (mut events, _) = streams.try_recv().expect("a stream");
    assert!(matches!(events.send("x"), Err(SendError::Gone)));
    assert!(events.is_gone() && events.finish().is_err());
    assert!(client.received().ends_with(b"\r\n\r\n"));
}

/// Virtual time: no event for an hour, and the connection stays, which an ordinary stream would not.
#[test]
fn silence_is_filled_with_comments() {
    let (app, streams) = app();
    for (path, seconds) in [("/events", 15), ("/3", 3), ("/0", 0)] {
        let mut client = Connection::new(&app);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        let (mut events, _) = streams.try_recv().expect("a stream");
        client.take_received();
        let mut decoder = Decoder::default();
        for round in 0..1000 {
            // To the second: up to one later than asked for, and never earlier.
            client.elapse(Duration::from_secs(seconds));
            assert!(client.received().is_empty(), "not yet, round {round}");
            if round == 500 {
                events.send("after all").expect("sent");
                client.wait(Duration::ZERO);
                assert!(client.take_received().ends_with(b"data: after all\n\n\r\n"));
                client.elapse(Duration::from_secs(seconds));
                assert!(
                    client.received().is_empty(),
                    "an event is a sign of life, too"
                );
            }
            client.elapse(SECOND);
            assert_eq!(client.received(), b"3\r\n:\n\n\r\n", "round {round}");
            decoder.feed(":\n\n");
            client.take_received();
        }
        assert!(decoder.events.is_empty() && !client.is_closed() && !events.is_gone());
    }
}

#[test]
fn a_client_that_disappears_is_noticed() {
    let (app, streams) = app();
    let limits = Limits::default()
        .response_timeout(SECOND)
        .write_timeout(NEVER);
    let (server, addr) = start(app, workers(1).limits(limits));
    let mut clients: Vec<_> = (0..2).map(|_| Client::connect(addr)).collect();
    let events: Vec<_> = clients
        .iter_mut()
        .map(|client| {
            client.send(GET.replace("/events", "/1"));
            streams.recv_timeout(PATIENCE).expect("a stream").0
        })
        .collect();
    let mut stays = clients.pop().expect("two");
    // One that only stops sending might still read; the signs of life tell that it does not.
    drop(clients);
    wait_until("it is noticed", || server.counters().closed == 1);
    wait_until("its sender knows", || events[0].is_gone());
    stays.head();
    for _ in 0..3 {
        assert_eq!(stays.chunk(), b":\n\n", "longer than `response_timeout`");
    }
    assert!(!events[1].is_gone());
}

#[test]
fn a_stop_ends_events_at_once() {
    let (app, streams) = app();
    let config = workers(2).stop_timeout(NEVER);
    let (server, addr) = start(app, config);
    let mut clients: Vec<_> = (0..6).map(|_| Client::connect(addr)).collect();
    let mut all = Vec::new();
    for client in &mut clients {
        client.send(GET);
        let (mut events, _) = streams.recv_timeout(PATIENCE).expect("a stream");
        events.send("hello").expect("sent");
        all.push(events);
    }
    for client in &mut clients {
        client.head();
        assert_eq!(client.chunk(), b"data: hello\n\n");
    }
    server.stop();
    for (client, events) in clients.iter_mut().zip(&mut all) {
        assert!(client.chunk().is_empty(), "the last chunk");
        client.expect_end();
        wait_until("the sender knows", || events.is_gone());
        assert!(matches!(events.send("too late"), Err(SendError::Gone)));
    }
    drop(clients);
    let end = ended(server);
    assert_eq!((end.drained, end.aborted), (6, 0));
}

/// One whose client does not read when the server stops, one that begins while it stops, and one
/// with a request behind it that had come in time.
#[test]
fn a_stop_in_any_moment() {
    let (app, streams) = app();
    let mut client = Connection::new(&app);
    client.send((GET.to_owned() + &GET.replace("/events", "/next")).as_bytes());
    let (events, _) = streams.try_recv().expect("a stream");
    client.stop();
    assert!(events.is_gone());
    let received = String::from_utf8(client.take_received()).expect("text");
    let (_, next) = received
        .split_once("\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK")
        .expect("both");
    assert!(next.ends_with("Connection: close\r\n\r\n/next"), "{next}");
    assert!(client.is_closed());

    let mut client = Connection::new(&app);
    client.send(&GET.as_bytes()[..20]);
    client.stop();
    client.send(&GET.as_bytes()[20..]);
    let (events, _) = streams.try_recv().expect("a stream");
    assert!(events.is_gone() && client.is_closed());
    assert!(
        client
            .received()
            .ends_with(b"Connection: close\r\n\r\n0\r\n\r\n")
    );

    let (app, streams) = self::app();
    let (server, addr) = start(app, workers(1));
    let mut client = Client::connect(addr);
    client.send(GET);
    let (mut events, _) = streams.recv_timeout(PATIENCE).expect("a stream");
    client.head();
    // More than the buffers of the system hold.
    let large = "x".repeat(32 << 20);
    events.try_send(large.as_str()).expect("room for one");
    server.stop();
    let chunk = client.chunk();
    assert!(
        chunk.len() > large.len() && chunk.ends_with(b"xxx\n\n"),
        "what was sent arrives"
    );
    assert!(client.chunk().is_empty());
    drop(client);
    assert_eq!(ended(server).aborted, 0);
}

#[test]
fn a_slow_client_gets_its_event_back() {
    let (app, streams) = app();
    let limits = Limits::default()
        .output_bytes(32 << 10)
        .write_timeout(NEVER);
    let (_server, addr) = start(app, workers(1).limits(limits));
    let mut client = Client::connect(addr);
    client.send(GET);
    let (mut events, _) = streams.recv_timeout(PATIENCE).expect("a stream");
    // More than the buffers of the system hold.
    let large = "y".repeat(32 << 20);
    events
        .try_send(Event::new().id("1").data(&large))
        .expect("room for one");
    let Err(TrySendError::Full(back)) = events.try_send(Event::new().id("2").data("small")) else {
        panic!("no room");
    };
    let sender = thread::spawn(move || {
        events.send(back).expect("sent");
        events.finish()
    });
    let mut decoder = Decoder::default();
    decoder.feed(client.answer(Asked::Other).text());
    sender.join().expect("no panic").expect("ended");
    let event = |data: &str, id: &str| (String::new(), data.to_owned(), id.to_owned());
    assert!(decoder.events == [event(&large, "1"), event("small", "2")]);
}
