//! Server-sent events for many pages: which page gets what, which is dropped, and the report of pages that go.

use super::support::{Asked, Client, NEVER, PATIENCE, ended, start, workers};
use peregrine::body::SendError;
use peregrine::sse::{Event, EventHub, EventLimits, EventSender, SubscribeError};
use peregrine::testing::Connection;
use peregrine::{Done, Handler, Limits, Request, Response, from_fn};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};

/// Subscribes each page to the topics of its query, `?a&b`; `/hold` gives the sender to the test.
fn app(hub: &EventHub) -> (impl Handler + use<>, Receiver<EventSender>) {
    let (give, given) = channel();
    let (hub, give) = (hub.clone(), Mutex::new(give));
    let app = from_fn(move |req: &Request<'_>, res: Response<'_>| -> Done {
        let (done, page) = res.events();
        match req.path() {
            "/hold" => give.lock().expect("no panic").send(page).expect("heard"),
            _ => {
                let topics: Vec<_> = req.query_pairs().map(|(name, _)| name).collect();
                let _ = hub.subscribe(page, topics);
            }
        }
        done
    });
    (app, given)
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// The data of the events that a page in memory has got since the last look.
fn data<H: Handler>(page: &mut Connection<'_, H>) -> Vec<String> {
    page.wait(std::time::Duration::ZERO);
    let received = String::from_utf8(page.take_received()).expect("text");
    let lines = received.lines();
    let data = lines.filter_map(|line| line.strip_prefix("data: "));
    data.map(str::to_owned).collect()
}

#[test]
fn events_go_to_subscribers() {
    let hub = EventHub::new();
    let (app, _senders) = app(&hub);
    let [mut a, mut both, mut none] = ["/?a", "/?a&b&a", "/"].map(|target| {
        let mut page = Connection::new(&app);
        page.send(get(target).as_bytes());
        page
    });
    assert_eq!((hub.pages("a"), hub.pages("b"), hub.pages("c")), (2, 1, 0));
    assert!(matches!(hub.publish("a", "1"), Ok(2)));
    assert!(matches!(hub.publish("b", "2"), Ok(1)));
    assert!(matches!(hub.publish("c", "3"), Ok(0)));
    assert!(matches!(hub.broadcast("4"), Ok(3)));
    let bad = Event::new().id("a\nb").data("5");
    assert!(matches!(hub.publish("a", bad), Err(SendError::Event)));
    assert_eq!(data(&mut a), ["1", "4"]);
    assert_eq!(data(&mut both), ["1", "2", "4"]);
    assert_eq!(data(&mut none), ["4"]);
    drop(both);
    assert_eq!((hub.pages("a"), hub.pages("b")), (1, 0));
    assert!(matches!(hub.broadcast("6"), Ok(2)));
    assert_eq!(data(&mut a), ["6"]);
}

/// A page that takes nothing is let go of, so that it comes back for what it has missed; others go on.
#[test]
fn a_page_that_falls_behind_is_dropped() {
    let hub = EventHub::new();
    let (app, _senders) = app(&hub);
    let large = "x".repeat(100_000);
    // A page has room for one event more than it still reads: what has arrived may not be counted as sent yet.
    let limits = Limits::default()
        .output_bytes(3 * large.len())
        .write_timeout(NEVER);
    let (server, addr) = start(app, workers(1).limits(limits));
    let connect = || {
        let mut client = Client::connect(addr);
        client.send(get("/?a"));
        let (head, _) = client.head();
        assert_eq!(head.status, 200);
        client
    };
    let (mut quick, mut slow) = (connect(), connect());
    let mut published = 0;
    while hub.pages("a") == 2 {
        let _ = hub.publish("a", large.as_str());
        published += 1;
        while quick.chunk().len() < large.len() {}
    }
    let mut got = 0;
    loop {
        match slow.chunk() {
            end if end.is_empty() => break,
            chunk => got += usize::from(chunk.len() >= large.len()),
        }
    }
    assert!((1..published).contains(&got), "{got} of {published}");
    assert!(matches!(hub.publish("a", "still here"), Ok(1)));
    assert!(quick.chunk().starts_with(b"data: still here"));
    drop((quick, slow));
    server.stop();
    ended(server);
    assert_eq!(hub.pages("a"), 0);
}

/// However a page goes, what it was to have called is called once, where it may publish; a panic in it
/// does no harm.
#[test]
fn a_page_that_leaves_is_reported() {
    let hub = EventHub::new();
    let (app, senders) = app(&hub);
    let (server, addr) = start(app, workers(1));
    let mut watcher = Client::connect(addr);
    watcher.send(get("/?a"));
    let (_, _) = watcher.head();
    let expect = |watcher: &mut Client, name: &str| {
        let chunk = String::from_utf8(watcher.chunk()).expect("text");
        assert_eq!(chunk, format!("data: {name}\n\n"));
    };
    let open = |name: &'static str| {
        let mut client = Client::connect(addr);
        client.send(get("/hold"));
        let page = senders.recv_timeout(PATIENCE).expect("a page");
        let hub = hub.clone();
        page.on_gone(|| panic!("as it is meant to"));
        page.on_gone(move || {
            assert_eq!(hub.pages("b"), 0, "it is forgotten before");
            let _ = hub.publish("a", name);
        });
        let (_, _) = client.head();
        (client, page)
    };
    let (client, _page) = open("closed");
    drop(client);
    expect(&mut watcher, "closed");
    let (client, page) = open("reset");
    let _ = hub.subscribe(page, ["b"]);
    client.reset();
    expect(&mut watcher, "reset");
    let (_client, page) = open("finished");
    page.finish().expect("a page");
    expect(&mut watcher, "finished");

    // A HEAD gets a response without a stream.
    let mut client = Client::connect(addr);
    client.send(get("/hold").replace("GET", "HEAD"));
    let page = senders.recv_timeout(PATIENCE).expect("a page");
    assert_eq!(client.answer(Asked::Head).status, 200);
    let (told, tells) = channel();
    page.on_gone(move || told.send(()).expect("heard"));
    assert!(tells.try_recv().is_ok(), "at once");

    let (_client, page) = open("stopped");
    let (told, tells) = channel();
    page.on_gone(move || told.send(()).expect("heard"));
    let _ = hub.subscribe(page, ["a"]);
    server.stop();
    tells.recv_timeout(PATIENCE).expect("told");
    ended(server);
    assert_eq!(hub.pages("a"), 0);
}

#[test]
fn the_topics_of_a_page_are_limited() {
    let limits = EventLimits::default();
    let hub = EventHub::new();
    let names: Vec<_> = (0..=limits.topics).map(|n| n.to_string()).collect();
    let long = "x".repeat(limits.topic_bytes + 1);
    let (app, senders) = app(&hub);
    let cases: [(&[String], Result<(), SubscribeError>); 4] = [
        (&names[1..], Ok(())),
        (&names, Err(SubscribeError::Topics)),
        (&[long[1..].to_owned()], Ok(())),
        (std::slice::from_ref(&long), Err(SubscribeError::TopicName)),
    ];
    for (topics, fits) in cases {
        let mut page = Connection::new(&app);
        page.send(get("/hold").as_bytes());
        let sender = senders.try_recv().expect("a page");
        assert_eq!(hub.subscribe(sender, topics), fits);
        page.wait(std::time::Duration::ZERO);
        assert_eq!(page.received().ends_with(b"\r\n0\r\n\r\n"), fits.is_err());
    }
    let none = limits.topics(0);
    let mut page = Connection::new(&app);
    page.send(get("/hold").as_bytes());
    let sender = senders.try_recv().expect("a page");
    assert!(
        EventHub::with_limits(none)
            .subscribe(sender, ["a"])
            .is_err()
    );
}
