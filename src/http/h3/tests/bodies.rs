//! Bodies of requests.

use super::*;
use crate::body::{BodyReader, BodySink, Flow, Incoming, Resumer};
use crate::{BodyPlan, Done, Limits, Request, Response};
use std::io::Read;

#[derive(Default)]
struct App {
    resumers: Arc<Mutex<Vec<Resumer>>>,
    /// Bytes that sinks have received.
    bytes: Arc<Mutex<u64>>,
}

/// Counts the bytes, and does what its path says.
struct Sink {
    path: String,
    bytes: u64,
    all: Arc<Mutex<u64>>,
    resumers: Arc<Mutex<Vec<Resumer>>>,
}

impl BodySink for Sink {
    fn piece(&mut self, piece: &[u8], body: &mut Incoming<'_>) -> Flow {
        self.bytes += piece.len() as u64;
        *self.all.lock().expect("no panic") += piece.len() as u64;
        assert_eq!(body.received(), self.bytes);
        match &self.path[..] {
            "/pause" if self.resumers.lock().expect("no panic").is_empty() => {
                self.resumers.lock().expect("no panic").push(body.resumer());
                Flow::Pause
            }
            "/enough" => Flow::Respond,
            "/panic" => std::panic::panic_any("on purpose"),
            _ => Flow::Continue,
        }
    }

    fn finish(self: Box<Self>, req: &Request<'_>, res: Response<'_>) -> Done {
        assert_eq!(req.path(), self.path);
        res.text(format!("{}{}", self.bytes, trailers(req)))
    }
}

fn trailers(req: &Request<'_>) -> String {
    let field = |(name, value)| format!(" {name}={}", String::from_utf8_lossy(value));
    req.trailers().map(field).collect()
}

impl Handler for App {
    fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
        let sink = |most| {
            let sink = Sink {
                path: req.path().to_owned(),
                bytes: 0,
                all: self.bytes.clone(),
                resumers: self.resumers.clone(),
            };
            BodyPlan::StreamUpTo(Box::new(sink), most)
        };
        match req.path() {
            "/buffer" => BodyPlan::Buffer,
            "/unread" => BodyPlan::Unread,
            "/refuse" => BodyPlan::Refuse(403),
            "/respond" => BodyPlan::respond(|_, res| res.status(405).text("no")),
            "/little" => sink(10),
            _ => sink(1 << 30),
        }
    }

    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        match req.path() {
            "/unread" => {
                let (done, responder) = res.defer();
                std::thread::spawn(move || responder.send(|res| res.text("unread")).is_ok());
                done
            }
            _ => res.text(format!("{}{}", req.body().len(), trailers(req))),
        }
    }
}

#[test]
fn plans_of_bodies() {
    let app = App::default();
    let mut client = Http3::new(&app);
    let body = vec![b'x'; 30_000];
    for (path, status, text) in [
        ("/buffer", 200, "30000"),
        ("/refuse", 403, "Forbidden\n"),
        ("/respond", 405, "no"),
        ("/sink", 200, "30000"),
        ("/unread", 200, "unread"),
        ("/enough", 200, ""),
        ("/little", 413, "request body too large\n"),
        ("/panic", 500, "the server could not accept this request\n"),
    ] {
        let stream = client.request("POST", path, &[], &body);
        assert!(client.wait_for(stream, LONG), "{path}");
        let response = client.response(stream);
        let seen = String::from_utf8_lossy(&response.body);
        assert_eq!(response.status, status, "{path}");
        assert!(text.is_empty() || text == seen, "{path} {seen}");
        assert!(response.is_complete, "{path}");
        let stopped = response.stopped;
        assert!(
            matches!(stopped, None | Some(NO_ERROR)),
            "{path} {stopped:?}"
        );
    }
    assert_eq!(client.closed, None);
}

#[test]
fn a_body_comes_in_pieces_with_trailers_and_after_100_continue() {
    let app = App::default();
    let mut client = Http3::new(&app);
    for path in ["/buffer", "/sink"] {
        let stream = client.begin("POST", path, &[("expect", "100-continue")]);
        assert_eq!(client.response(stream).interim, [100], "{path}");
        client.data(stream, b"abc", false);
        client.data(stream, b"", false);
        client.data(stream, b"defg", false);
        assert_eq!(client.response(stream).status, 0, "{path}");
        let trailers = client.section(&[("checksum", "1"), ("grpc-status", "0")]);
        client.send_raw(stream, &trailers, true);
        let expected = b"7 checksum=1 grpc-status=0";
        assert_eq!(client.response(stream).body, expected, "{path}");
        let stream = client.begin("POST", path, &[]);
        client.data(stream, b"", true);
        assert_eq!(client.response(stream).body, b"0", "{path}");
    }
}

#[test]
fn a_sink_that_pauses_stops_the_client_at_the_window() {
    let app = App::default();
    let mut client = Http3::new(&app);
    let stream = client.begin("POST", "/pause", &[]);
    let mut head = Vec::new();
    peregrine_protocol::h3::frame::write::data(500_000, &mut head);
    client.send_raw(stream, &head, false);
    // It takes what the window has, and no more.
    client.send_raw(stream, &[b'x'; 500_000], false);
    let received = *app.bytes.lock().expect("no panic");
    assert!((1..3000).contains(&received), "{received}");
    let held = held(&client);
    assert!(held < 10_000, "{held}");
    let other = client.request("POST", "/buffer", &[], b"beside it");
    assert_eq!(client.response(other).body, b"9");
    app.resumers.lock().expect("no panic")[0].resume();
    client.run();
    let received = *app.bytes.lock().expect("no panic");
    assert!((64_000..67_000).contains(&received), "{received}");
    client.cancel(stream);
    assert_eq!(client.closed, None);
}

#[test]
fn a_sink_that_pauses_gets_the_rest_when_it_goes_on() {
    let app = App::default();
    let mut client = Http3::new(&app);
    let stream = client.begin("POST", "/pause", &[]);
    client.data(stream, b"abc", false);
    client.data(stream, b"def", false);
    client.data(stream, b"ghi", false);
    let trailers = client.section(&[("checksum", "1")]);
    client.send_raw(stream, &trailers, true);
    assert_eq!(client.response(stream).status, 0);
    app.resumers.lock().expect("no panic")[0].resume();
    client.run();
    assert_eq!(client.response(stream).body, b"9 checksum=1");
}

/// It has the whole body, and responds while it pauses.
#[test]
fn a_paused_sink_leaves_nothing_behind() {
    let app = App::default();
    let mut client = Http3::new(&app);
    let warm = client.get("/");
    assert!(client.response(warm).is_complete);
    let mut before = 0;
    for i in 0..20 {
        let stream = client.request("POST", "/pause", &[], b"abc");
        assert_eq!(client.response(stream).status, 0);
        let resumer = app.resumers.lock().expect("no panic").remove(0);
        resumer.respond();
        client.run();
        assert_eq!(client.response(stream).body, b"3");
        match i {
            2 => before = held(&client),
            3.. => assert_eq!(held(&client), before),
            _ => {}
        }
    }
}

#[test]
fn a_reset_reaches_a_sink_that_pauses() {
    let app = App::default();
    let mut client = Http3::new(&app);
    let stream = client.begin("POST", "/pause", &[]);
    client.data(stream, b"abc", false);
    let resumer = app.resumers.lock().expect("no panic")[0].clone();
    assert!(!resumer.is_gone());
    client.cancel(stream);
    assert!(resumer.is_gone());
    assert_eq!(client.counters().http3_resets_received, 1);
}

#[test]
fn a_paused_sink_has_the_time_of_a_response() {
    let app = App::default();
    let mut client = Http3::new(&app);
    let stream = client.begin("POST", "/pause", &[]);
    client.data(stream, b"abc", false);
    client.elapse(299);
    assert_eq!(client.response(stream).status, 0);
    client.elapse(3);
    assert_eq!(client.response(stream).status, 503);
    assert_eq!(client.response(stream).stopped, Some(NO_ERROR));
    assert!(app.resumers.lock().expect("no panic")[0].is_gone());
}

/// Gives the bodies of all requests to the test.
struct Reading(Left<BodyReader>);

impl Handler for Reading {
    fn body_plan(&self, _: &Request<'_>) -> BodyPlan {
        let (plan, reader) = BodyReader::new();
        self.0.put(reader);
        plan
    }

    fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
        res.text("a request without a body")
    }
}

#[test]
fn a_reader_has_trailers_when_the_body_is_read() {
    let app = Reading(Left::new());
    let mut client = Http3::new(&app);
    let stream = client.begin("POST", "/", &[]);
    client.data(stream, b"abc", false);
    let trailers = client.section(&[("checksum", "1")]);
    client.send_raw(stream, &trailers, true);
    let mut reader = app.0.take();
    let mut body = [0; 3];
    reader.read_exact(&mut body).expect("the body");
    assert_eq!(&body, b"abc");
    assert_eq!(reader.trailer("checksum").as_deref(), Some("1"));
}

/// All bodies together may be as large as one: then the oldest one goes on, and the others wait at their windows.
#[test]
fn the_bodies_of_a_connection_are_bounded() {
    let app = from_fn(|req, res| res.text(req.body().len().to_string()));
    let limits = Limits::default().body_bytes(200_000);
    let mut client = Http3::with_config(&app, &Config::default().limits(limits));
    let streams = [(); 8].map(|()| client.begin("POST", "/", &[]));
    let mut head = Vec::new();
    peregrine_protocol::h3::frame::write::data(200_000, &mut head);
    for stream in streams {
        client.send_raw(stream, &head, false);
        client.send_raw(stream, &[b'x'; 150_000], false);
    }
    let held = held(&client);
    assert!((200_000..500_000).contains(&held), "{held}");
    // The rest of the oldest one makes room for the next.
    for stream in streams {
        assert_eq!(client.response(stream).reset, None);
        client.cancel(stream);
    }
    let stream = client.request("POST", "/", &[], &[b'x'; 150_000]);
    assert_eq!(client.response(stream).body, b"150000");
    assert_eq!(client.closed, None);
}

/// More than the window of a connection in all.
#[test]
fn windows_are_given_back_for_all_that_is_dropped() {
    let app = App::default();
    let mut client = Http3::new(&app);
    for (path, status) in [("/respond", 405), ("/sink", 200), ("/buffer", 200)] {
        for _ in 0..60 {
            let stream = client.request("POST", path, &[], &[b'x'; 30_000]);
            assert_eq!(client.response(stream).status, status, "{path}");
        }
    }
    assert_eq!(client.closed, None);
}

#[test]
fn a_slow_body_ends_its_stream() {
    let app = App::default();
    let mut client = Http3::new(&app);
    let (slow, head) = (client.begin("POST", "/buffer", &[]), client.open());
    client.send_raw(head, &[1], false);
    client.data(slow, b"abc", false);
    client.elapse(60);
    assert_eq!(client.response(slow).reset, Some(CANCELLED));
    assert_eq!(client.response(head).status, 408);
    assert_eq!(client.closed, None);
}
