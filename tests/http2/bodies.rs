//! Bodies of requests.

use super::{LONG, Left};
use peregrine::body::{BodyReader, BodySink, Flow, Incoming, Resumer};
use peregrine::config::Http2Limits;
use peregrine::testing::Http2;
use peregrine::{BodyPlan, Done, Handler, Limits, Request, Response, from_fn};
use std::io::Read;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const NO_ERROR: u32 = 0;

#[derive(Default)]
struct App {
    resumers: Arc<Mutex<Vec<Resumer>>>,
}

/// Counts the bytes, and does what its path says.
struct Sink {
    path: String,
    bytes: u64,
    resumers: Arc<Mutex<Vec<Resumer>>>,
}

impl BodySink for Sink {
    fn piece(&mut self, piece: &[u8], body: &mut Incoming<'_>) -> Flow {
        self.bytes += piece.len() as u64;
        assert_eq!(body.received(), self.bytes);
        match &self.path[..] {
            "/pause" if self.resumers.lock().expect("no panic").is_empty() => {
                self.resumers.lock().expect("no panic").push(body.resumer());
                Flow::Pause
            }
            "/enough" => Flow::Respond,
            _ if piece == b"enough" => Flow::Respond,
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
    assert_eq!(req.header("checksum"), None);
    let field = |(name, value)| format!(" {name}={}", String::from_utf8_lossy(value));
    req.trailers().map(field).collect()
}

impl Handler for App {
    fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
        let sink = |most| {
            let (path, resumers) = (req.path().to_owned(), self.resumers.clone());
            let sink = Sink {
                path,
                bytes: 0,
                resumers,
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
    let mut client = Http2::new(&app);
    let body = vec![b'x'; 30_000];
    for (path, status, text) in [
        ("/buffer", 200, "30000"),
        ("/refuse", 403, "Forbidden\n"),
        ("/respond", 405, "no"),
        ("/sink", 200, "30000"),
        ("/unread", 200, "unread"),
        ("/enough", 200, "16384"),
        ("/little", 413, "request body too large\n"),
        ("/panic", 500, "the server could not accept this request\n"),
    ] {
        let stream = client.request("POST", path, &[], &body);
        assert!(client.wait_for(stream, LONG), "{path}");
        let response = client.response(stream);
        let seen = String::from_utf8_lossy(&response.body);
        assert_eq!((response.status, &*seen), (status, text), "{path}");
        assert!(response.is_complete, "{path}");
        assert!(matches!(response.reset, None | Some(NO_ERROR)), "{path}");
    }
    assert!(!client.is_closed());
}

#[test]
fn a_body_comes_in_pieces_with_trailers_and_after_100_continue() {
    let app = App::default();
    let mut client = Http2::new(&app);
    for path in ["/buffer", "/sink"] {
        let stream = client.begin("POST", path, &[("expect", "100-continue")]);
        assert_eq!(client.response(stream).interim, [100], "{path}");
        client.data(stream, b"abc", false);
        client.data(stream, b"", false);
        client.data(stream, b"defg", false);
        assert_eq!(client.response(stream).status, 0, "{path}");
        client.trailers(stream, &[("checksum", "1"), ("grpc-status", "0")]);
        let expected = b"7 checksum=1 grpc-status=0";
        assert_eq!(client.response(stream).body, expected, "{path}");
        let stream = client.begin("POST", path, &[]);
        client.data(stream, b"", true);
        assert_eq!(client.response(stream).body, b"0", "{path}");
    }
}

#[test]
fn a_sink_that_pauses_gets_the_rest_when_it_goes_on() {
    let app = App::default();
    let mut client = Http2::new(&app);
    let stream = client.begin("POST", "/pause", &[]);
    client.data(stream, b"abc", false);
    client.data(stream, b"def", false);
    client.data(stream, b"ghi", false);
    client.trailers(stream, &[("checksum", "1")]);
    assert_eq!(client.response(stream).status, 0);
    let other = client.request("POST", "/buffer", &[], b"beside it");
    assert_eq!(client.response(other).body, b"9");
    app.resumers.lock().expect("no panic")[0].resume();
    // The command is taken with the next call.
    client.send_raw(b"");
    assert!(client.wait_for(stream, LONG));
    assert_eq!(client.response(stream).body, b"9 checksum=1");
}

/// They have come while it paused, but it ends before the body is complete.
#[test]
fn a_sink_that_responds_early_has_no_trailers() {
    for resumes in [true, false] {
        let app = App::default();
        let mut client = Http2::new(&app);
        let stream = client.begin("POST", "/pause", &[]);
        client.data(stream, b"abc", false);
        client.data(stream, b"enough", false);
        client.trailers(stream, &[("checksum", "1")]);
        let resumer = app.resumers.lock().expect("no panic")[0].clone();
        match resumes {
            true => resumer.resume(),
            false => resumer.respond(),
        }
        client.send_raw(b"");
        assert!(client.wait_for(stream, LONG));
        let read = if resumes { b"9" } else { b"3" };
        assert_eq!(client.response(stream).body, read, "{resumes}");
    }
}

#[test]
fn a_paused_sink_has_the_time_of_a_response() {
    let app = App::default();
    let mut client = Http2::new(&app);
    let stream = client.begin("POST", "/pause", &[]);
    client.data(stream, b"abc", false);
    client.elapse(Duration::from_secs(299));
    assert_eq!(client.response(stream).status, 0);
    client.elapse(Duration::from_secs(3));
    assert_eq!(client.response(stream).status, 503);
    assert_eq!(client.response(stream).reset, Some(NO_ERROR));
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
    let mut client = Http2::new(&app);
    let stream = client.begin("POST", "/", &[]);
    client.data(stream, b"abc", false);
    client.trailers(stream, &[("checksum", "1")]);
    let mut reader = app.0.take();
    assert_eq!(reader.trailer("checksum"), None);
    let mut body = [0; 3];
    reader.read_exact(&mut body).expect("the body");
    assert_eq!(&body, b"abc");
    assert_eq!(reader.trailer("checksum").as_deref(), Some("1"));
}

/// They come too late for what has been decided without them.
#[test]
fn trailers_of_bodies_that_nothing_reads() {
    let app = App::default();
    let mut client = Http2::new(&app);
    for (path, status) in [("/unread", 200), ("/respond", 405), ("/enough", 200)] {
        let stream = client.begin("POST", path, &[]);
        client.data(stream, b"abc", false);
        client.trailers(stream, &[("checksum", "1")]);
        assert!(client.wait_for(stream, LONG), "{path}");
        assert_eq!(client.response(stream).status, status, "{path}");
    }
    let stream = client.request("POST", "/buffer", &[], b"beside them");
    assert_eq!(client.response(stream).body, b"11");
    assert!(!client.is_closed());
}

/// All bodies together may be as large as one: then the oldest one goes on, and the others wait at their windows.
#[test]
fn the_bodies_of_a_connection_are_bounded() {
    const FLOW_CONTROL_ERROR: u32 = 3;
    let app = from_fn(|req, res| res.text(req.body().len().to_string()));
    let limits = Limits::default().body_bytes(100_000);
    let mut client = Http2::with_limits(&app, limits, Http2Limits::default());
    let streams = [(); 3].map(|()| client.begin("POST", "/", &[]));
    for stream in streams {
        client.data(stream, &[b'x'; 60_000], false);
        assert_eq!(client.response(stream).reset, None);
    }
    let [oldest, greedy, patient] = streams;
    client.data(greedy, &[b'x'; 40_000], false);
    assert_eq!(client.response(greedy).reset, Some(FLOW_CONTROL_ERROR));
    for stream in [oldest, patient] {
        client.data(stream, &[b'x'; 40_000], true);
        assert_eq!(client.response(stream).body, b"100000");
    }
    assert!(!client.is_closed());
}

#[test]
fn windows_are_given_back_for_all_that_is_dropped() {
    let app = from_fn(|req, res| res.text(req.body().len().to_string()));
    let refusing = App::default();
    let mut client = Http2::new(&refusing);
    // More than the window of the connection in all.
    for _ in 0..100 {
        let stream = client.request("POST", "/respond", &[], &[b'x'; 30_000]);
        assert_eq!(client.response(stream).status, 405);
    }
    let mut client = Http2::new(&app);
    for _ in 0..100 {
        let stream = client.request("POST", "/", &[], &[b'x'; 30_000]);
        assert_eq!(client.response(stream).body, b"30000");
    }
    assert!(!client.is_closed());
}
