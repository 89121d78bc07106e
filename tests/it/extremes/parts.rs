//! What has settings and numbers of its own beside a server, over the in-memory transport: each request
//! is answered, or its connection closes, and nothing panics.

use super::SIZES;
use crate::support::{Answer, Asked, NEVER, read_answer};
use peregrine::access_log::LogWriter;
use peregrine::body::{BodySink, Flow, Incoming};
use peregrine::sse::{Event, EventHub, EventLimits};
use peregrine::testing::Connection;
use peregrine::{BodyPlan, Done, Handler, Request, Response};
use std::fs::File;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const LENGTHS: [u64; 4] = [0, 1, 4099, u64::MAX];

/// What comes back for one request; `None` if that is no whole response. The connection is at its end.
#[track_caller]
fn ask(app: &impl Handler, request: &str) -> Option<Answer> {
    let mut client = Connection::new(app);
    client.send(request.as_bytes());
    // What is to come from another thread or later has no more time than this.
    client.elapse(NEVER);
    client.elapse(Duration::MAX);
    let counters = client.counters();
    assert_eq!(counters.panics + counters.internal_errors, 0, "{request}");
    let (answer, _) = read_answer(client.received(), Asked::Other).ok()??;
    Some(answer)
}

fn get(path: &str, field: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n{field}Connection: close\r\n\r\n")
}

/// For comparing lists of fields: a new field belongs into a list.
#[cfg(any(feature = "dir", feature = "multipart"))]
fn sorted<'a>(names: &[&'a str]) -> Vec<&'a str> {
    let mut names = names.to_vec();
    names.sort_unstable();
    names
}

/// Calls with each value of a field of a struct that is copied from its default.
macro_rules! each {
    ($default:expr, $field:ident, $values:expr, $play:expr) => {
        for value in $values {
            let [mut config] = [$default];
            config.$field = value.clone();
            let name = format!("{} = {value:?}", stringify!($field));
            $play(&name, config);
        }
    };
}

#[cfg(feature = "dir")]
#[test]
fn folders_at_their_extremes() {
    use crate::scratch::Scratch;
    use peregrine::files::{DirConfig, DirServer, FileServer};

    let scratch = Scratch::new();
    scratch.write("small.txt", "small");
    scratch.write("large.bin", vec![b'x'; 100_000]);
    scratch.write("deep/one.txt", "1");
    scratch.write("deep/two.txt", "2");
    let play = |name: &str, config: DirConfig| {
        let list = config.list_entries;
        let dir = DirServer::with_config(scratch.root(), config.clone()).expect("a folder");
        let file = FileServer::with_config(scratch.path("small.txt"), config).expect("a file");
        // Twice: read, and then from memory or an open file.
        for _ in 0..2 {
            let status = |path, field| ask(&dir, &get(path, field)).map(|answer| answer.status);
            assert_eq!(status("/small.txt", ""), Some(200), "{name}");
            assert_eq!(status("/large.bin", ""), Some(200), "{name}");
            assert_eq!(status("/none.txt", ""), Some(404), "{name}");
            let answer = ask(&dir, &get("/deep/", "")).expect("a list");
            assert_eq!(answer.status, 200, "{name}");
            let text = String::from_utf8(answer.body).expect("text");
            let listed = ["one.txt", "two.txt"]
                .into_iter()
                .filter(|file| text.contains(file));
            assert_eq!(listed.count(), list.min(2), "{name}: {text}");
            for range in [
                "0-0",
                "0-0,2-2",
                "0-18446744073709551615",
                "-18446744073709551615",
            ] {
                let range = ask(
                    &dir,
                    &get("/large.bin", &format!("Range: bytes={range}\r\n")),
                );
                let range = range.map(|answer| answer.status);
                assert!(matches!(range, Some(200 | 206)), "{name}: {range:?}");
            }
            let answer = ask(&file, &get("/", "")).expect("a file");
            assert_eq!(
                (answer.status, &*answer.body),
                (200, &b"small"[..]),
                "{name}"
            );
        }
    };
    let default = || DirConfig::default().list(true);
    // Text, and what is on or off: the tests of folders have those.
    let others = [
        "prefix",
        "index",
        "list",
        "spa",
        "not_found",
        "dotfiles",
        "portable",
        "symlinks",
        "cache_control",
        "cache_rules",
        "headers",
        "types",
        "precompressed",
        "compress",
    ];
    let numbers = [
        "list_entries",
        "hot_file_bytes",
        "hot_bytes",
        "open_files",
        "recheck",
        "max_ranges",
    ];
    assert_eq!(
        sorted(DirConfig::FIELDS),
        sorted(&[&others[..], &numbers].concat())
    );
    each!(default(), list_entries, SIZES, play);
    each!(default(), hot_file_bytes, LENGTHS, play);
    each!(default(), hot_bytes, SIZES, play);
    each!(default(), open_files, SIZES, play);
    each!(default(), recheck, super::TIMES, play);
    each!(default(), max_ranges, SIZES, play);
    let all = default()
        .list_entries(usize::MAX)
        .hot_file_bytes(u64::MAX)
        .hot_bytes(usize::MAX)
        .open_files(usize::MAX)
        .recheck(Duration::MAX)
        .max_ranges(usize::MAX);
    play("all", all);
}

#[cfg(feature = "multipart")]
#[test]
fn forms_at_their_extremes() {
    use crate::scratch::Scratch;
    use peregrine::multipart::{MultipartLimits, Upload};

    let scratch = Scratch::new();
    let body = "--x\r\nContent-Disposition: form-data; name=a\r\n\r\ntext\r\n\
        --x\r\nContent-Disposition: form-data; name=b; filename=c\r\n\r\nfile\r\n--x--";
    // Of a limit that this form is within, it is as it is by default.
    let play = |name: &str, limits: MultipartLimits| {
        let is_within = |value: u64| value > 1000;
        let values = [
            limits.parts as u64,
            limits.header_bytes as u64,
            limits.text_bytes as u64,
            limits.memory_bytes as u64,
            limits.file_bytes,
            limits.total_bytes,
        ];
        let fits = values[0] >= 2 && values[1..].iter().all(|&value| is_within(value));
        for step in [1, 7, body.len()] {
            let content_type = "multipart/form-data; boundary=x";
            let mut upload = Upload::new(content_type, limits, scratch.root()).expect("a boundary");
            let mut pieces = body.as_bytes().chunks(step);
            let written = pieces.try_for_each(|piece| upload.write(piece));
            match written.and_then(|()| upload.finish()) {
                Ok(form) => {
                    assert!(fits, "{name} is not met");
                    assert_eq!(form.text("a").as_deref(), Some("text"), "{name}");
                    assert_eq!(form.files().len(), 1, "{name}");
                }
                Err(error) => {
                    assert!(!fits, "{name}: {error}");
                    assert!((400..500).contains(&error.status()), "{name}: {error}");
                }
            }
        }
    };
    let numbers = [
        "parts",
        "header_bytes",
        "text_bytes",
        "memory_bytes",
        "file_bytes",
        "total_bytes",
    ];
    assert_eq!(sorted(MultipartLimits::FIELDS), sorted(&numbers));
    each!(MultipartLimits::default(), parts, SIZES, play);
    each!(MultipartLimits::default(), header_bytes, SIZES, play);
    each!(MultipartLimits::default(), text_bytes, SIZES, play);
    each!(MultipartLimits::default(), memory_bytes, SIZES, play);
    each!(MultipartLimits::default(), file_bytes, LENGTHS, play);
    each!(MultipartLimits::default(), total_bytes, LENGTHS, play);
    let most = usize::MAX;
    let all = MultipartLimits::default()
        .parts(most)
        .header_bytes(most)
        .text_bytes(most)
        .memory_bytes(most)
        .file_bytes(u64::MAX)
        .total_bytes(u64::MAX);
    play("all", all);
}

#[test]
fn event_hubs_at_their_extremes() {
    let play = |name: &str, limits: EventLimits| {
        let hub = EventHub::with_limits(limits);
        let (subscribed, seen) = (hub.clone(), Arc::new(Mutex::new(Vec::new())));
        let kept = seen.clone();
        let app = peregrine::from_fn(move |req, res| {
            let (done, page) = res.events_with_heartbeat(Duration::MAX);
            let topics = req.path().split('/').filter(|topic| !topic.is_empty());
            let is_in = subscribed.subscribe(page, topics).is_ok();
            kept.lock().expect("no panic").push(is_in);
            done
        });
        for (path, topics, longest) in [("/", 0, 0), ("/a", 1, 1), ("/abc/def", 2, 3)] {
            let mut client = Connection::new(&app);
            client.send(get(path, "").as_bytes());
            let _ = hub.broadcast(Event::new().retry(Duration::MAX).data("all"));
            let _ = hub.publish("abc", Event::new().retry(Duration::ZERO).data("some"));
            let is_in = topics <= limits.topics && longest <= limits.topic_bytes;
            let last = seen.lock().expect("no panic").pop();
            assert_eq!(last, Some(is_in), "{name}, {path}");
            client.elapse(Duration::MAX);
        }
    };
    assert_eq!(EventLimits::FIELDS, ["topics", "topic_bytes"]);
    each!(EventLimits::default(), topics, SIZES, play);
    each!(EventLimits::default(), topic_bytes, SIZES, play);
}

#[test]
fn logs_at_their_extremes() {
    for most in SIZES {
        let log = LogWriter::with_buffer(std::io::sink(), most).expect("a thread");
        let taken = ["", "a", "line"].map(|line| log.line(line.as_bytes()).is_ok());
        let fits = |least| most >= least;
        // The writer may have taken the first ones when the next ones come.
        assert!(taken[0] == fits(1) && (!taken[2] || fits(5)), "{most}");
        let lost = taken.iter().filter(|&&taken| !taken).count() as u64;
        assert_eq!(log.lost(), lost, "{most}");
    }
}

/// Answers as the path says: what, and with which number.
struct Numbers;

struct Sum;

impl BodySink for Sum {
    fn piece(&mut self, _: &[u8], _: &mut Incoming<'_>) -> Flow {
        Flow::Continue
    }

    fn finish(self: Box<Self>, _: &Request<'_>, res: Response<'_>) -> Done {
        res.text("taken")
    }
}

fn asked<'a>(req: &Request<'a>) -> Option<(&'a str, u64)> {
    let (what, number) = req.path().strip_prefix('/')?.split_once('/')?;
    Some((what, number.parse().ok()?))
}

impl Handler for Numbers {
    fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
        match asked(req) {
            Some(("stream-in", n)) => BodyPlan::stream_up_to(Sum, n),
            Some(("buffer", n)) => BodyPlan::BufferUpTo(usize::try_from(n).unwrap_or(usize::MAX)),
            Some(("refuse", n)) => BodyPlan::Refuse(u16::try_from(n).unwrap_or(u16::MAX)),
            _ => BodyPlan::Buffer,
        }
    }

    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        match asked(req) {
            Some(("status", n)) => res
                .status(u16::try_from(n).unwrap_or(u16::MAX))
                .text("body"),
            Some(("redirect", n)) => res.redirect(u16::try_from(n).unwrap_or(u16::MAX), "/"),
            Some(("exact", n)) => {
                let (done, mut body) = res.stream_exact(n);
                assert!(body.wait_ready(Duration::MAX));
                let _ = body.send("a").and_then(|()| body.finish());
                done
            }
            Some(("reader", n)) => res.send_reader(&b"a"[..], Some(n)),
            Some(("file", n)) => {
                let file = File::open(std::env::current_exe().expect("a program"));
                res.send_file(Arc::new(file.expect("a file")), 0..n)
            }
            Some(("behind", n)) => {
                let file = File::open(std::env::current_exe().expect("a program"));
                res.send_file(Arc::new(file.expect("a file")), n..u64::MAX)
            }
            Some(("timer", n)) => {
                let timers = res.timers();
                let _ = timers.every(Duration::from_nanos(n), || {});
                let _ = timers.after(Duration::from_secs(n), || {});
                res.text("later")
            }
            Some(("heartbeat", n)) => {
                let (done, mut page) = res.events_with_heartbeat(Duration::from_secs(n));
                let _ = page.send(Event::new().retry(Duration::from_secs(n)).data("one"));
                done
            }
            _ => res.text(req.body().len().to_string()),
        }
    }
}

#[test]
fn responses_and_plans_with_numbers_at_their_extremes() {
    for what in ["exact", "reader", "file", "behind", "heartbeat"] {
        for n in LENGTHS {
            let mut client = Connection::new(&Numbers);
            client.send(get(&format!("/{what}/{n}"), "").as_bytes());
            let counters = client.counters();
            assert_eq!(counters.panics + counters.internal_errors, 0, "{what} {n}");
            let received = client.received();
            assert!(received.starts_with(b"HTTP/1.1 "), "{what} {n}");
        }
    }
    for what in ["stream-in", "buffer", "status", "redirect", "refuse"] {
        for n in LENGTHS
            .into_iter()
            .chain([99, 100, 101, 199, 600, 999, 1000, 65_535])
        {
            let fields = "Host: a\r\nConnection: close\r\nContent-Length: 4";
            let request = format!("POST /{what}/{n} HTTP/1.1\r\n{fields}\r\n\r\nbody");
            let answer = ask(&Numbers, &request).expect("an answer");
            match what {
                "stream-in" | "buffer" => {
                    let expected = if n < 4 { 413 } else { 200 };
                    assert_eq!(answer.status, expected, "{what} {n}");
                }
                // Not every number is a status that can be sent with this.
                _ => assert!(answer.status >= 200 || u64::from(answer.status) == n),
            }
        }
    }
}

#[test]
fn timers_at_their_extremes() {
    for n in LENGTHS {
        let mut client = Connection::new(&Numbers);
        client.send(get(&format!("/timer/{n}"), "").as_bytes());
        assert!(client.received().ends_with(b"later"));
        // A period of a millisecond is called ten times.
        client.elapse(Duration::from_millis(10));
    }
}
