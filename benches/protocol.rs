//! What one request costs in the parts that every request passes; see benches/README.md.
//!
//! Run by hand and not by a crate for that, because of the two ways it measures: rivals take turns,
//! so that a machine that gets slower hurts both alike, and with `--count NAME TIMES` one of them
//! runs so many times and nothing else happens, for benches/instructions to count.

#[cfg(feature = "websocket")]
mod websocket;

use peregrine::internals::{Decoder, Head};
use peregrine::testing::Connection;
use peregrine::{Limits, OwnedRequest, Request, Response};
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const MINIMAL: &str = "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n";

const BROWSER: &str = "GET /articles/2024/07/a-long-title?utm_source=feed&page=2 HTTP/1.1\r\n\
    Host: www.example.org\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
    Accept-Language: en-US,en;q=0.7,de;q=0.3\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://www.example.org/articles/2024/07/\r\n\
    Connection: keep-alive\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; seen=1720000000\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    Sec-Fetch-Dest: document\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Priority: u=0, i\r\n\r\n";

const QUERY: &str = "GET /?name=Ada&from=London&year=1815&note=first+of%20all&empty=&flag HTTP/1.1\r\n\
    Host: a\r\n\r\n";

/// One thing to measure. Those of a group take turns; the last of it is what others compare to.
struct Bench {
    group: &'static str,
    name: String,
    run: Box<dyn FnMut()>,
}

fn main() {
    let mut benches = benches();
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench")
        .collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["--list"] => benches.iter().for_each(|bench| println!("{}", bench.name)),
        ["--count", name, times] => {
            let bench = benches.iter_mut().find(|bench| bench.name == name);
            let run = &mut bench.expect("a name that --list shows").run;
            (0..times.parse().expect("a number")).for_each(|_: u64| run());
        }
        _ => {
            benches.retain(|bench| args.iter().all(|arg| bench.name.contains(arg)));
            println!("{:<36} {:>10}  to the last of the group", "", "ns");
            for group in benches.chunk_by_mut(|a, b| a.group == b.group) {
                measure(group);
            }
        }
    }
}

/// Lets all of the group run in turns, and prints the medians.
fn measure(group: &mut [Bench]) {
    // Many and short, so that what disturbs one of them hardly moves a median.
    const ROUNDS: usize = 201;
    let times: Vec<u32> = group.iter_mut().map(times_for).collect();
    let mut samples = vec![Vec::new(); group.len()];
    for _ in 0..ROUNDS {
        for (i, bench) in group.iter_mut().enumerate() {
            let elapsed = timed(bench, times[i]);
            samples[i].push(elapsed.as_secs_f64() * 1e9 / f64::from(times[i]));
        }
    }
    let median = |samples: &mut Vec<f64>| {
        samples.sort_by(f64::total_cmp);
        samples[ROUNDS / 2]
    };
    let medians: Vec<f64> = samples.iter_mut().map(median).collect();
    for (bench, ns) in group.iter().zip(&medians) {
        let ratio = ns / medians[medians.len() - 1];
        println!("{:<36} {ns:>10.1}  {ratio:>5.2}", bench.name);
    }
}

fn timed(bench: &mut Bench, times: u32) -> Duration {
    let start = Instant::now();
    (0..times).for_each(|_| (bench.run)());
    start.elapsed()
}

/// How often it runs in some milliseconds.
fn times_for(bench: &mut Bench) -> u32 {
    let mut times = 1;
    while timed(bench, times) < Duration::from_millis(2) {
        times *= 2;
    }
    times
}

fn benches() -> Vec<Bench> {
    let mut benches = Vec::new();
    let mut add = |group, name: &str, run: Box<dyn FnMut()>| {
        let name = format!("{group}: {name}");
        benches.push(Bench { group, name, run });
    };
    for (group, head) in heads() {
        add(group, "with framing", Box::new(framing(head.clone())));
        add(group, "peregrine", Box::new(peregrine(head.clone())));
        add(group, "httparse", Box::new(httparse(head)));
    }
    for (name, size) in [("64 KiB in 4 KiB", 4 << 10), ("64 KiB in 64 B", 64)] {
        add("chunked", name, Box::new(chunked(size)));
    }
    add("chunked", "copy alone", Box::new(copy()));
    for (group, head) in [("served, minimal", MINIMAL), ("served, browser", BROWSER)] {
        add(group, "16 at once", Box::new(served(head, 16)));
        add(group, "one", Box::new(served(head, 1)));
    }
    add("query", "six pairs", Box::new(query()));
    #[cfg(feature = "websocket")]
    websocket::add(&mut add);
    benches
}

fn heads() -> [(&'static str, String); 3] {
    let cookie = format!("Cookie: id={}\r\n\r\n", "0123456789abcdef".repeat(128));
    let with_cookie = BROWSER.trim_end().to_owned() + "\r\n" + &cookie;
    [
        ("head, minimal", MINIMAL.to_owned()),
        ("head, browser", BROWSER.to_owned()),
        ("head, 2 KiB cookie", with_cookie),
    ]
}

fn peregrine(text: String) -> impl FnMut() {
    let (mut head, limits) = (Head::default(), Limits::default());
    move || {
        head.reset();
        let complete = head.parse(black_box(text.as_bytes()), &limits);
        assert_eq!(complete, Ok(true));
        black_box(&head);
    }
}

fn framing(text: String) -> impl FnMut() {
    let (mut head, limits) = (Head::default(), Limits::default());
    move || {
        head.reset();
        let bytes = black_box(text.as_bytes());
        let complete = head.parse(bytes, &limits);
        assert_eq!(complete, Ok(true));
        assert!(black_box(head.framing(bytes, &limits)).is_ok());
    }
}

fn httparse(text: String) -> impl FnMut() {
    move || {
        // Its quickest way: a table that is not cleared.
        let mut fields = [const { MaybeUninit::uninit() }; 64];
        let mut request = httparse::Request::new(&mut []);
        let bytes = black_box(text.as_bytes());
        let status = request.parse_with_uninit_headers(bytes, &mut fields);
        assert_eq!(status, Ok(httparse::Status::Complete(bytes.len())));
        black_box(&request);
    }
}

const BODY: usize = 64 << 10;

/// It decodes in place, so each time begins with a copy.
fn chunked(size: usize) -> impl FnMut() {
    let chunk = format!("{size:x}\r\n{}\r\n", "x".repeat(size));
    let encoded = chunk.repeat(BODY / size) + "0\r\n\r\n";
    let (mut bytes, limits) = (Vec::new(), Limits::default());
    move || {
        bytes.clear();
        bytes.extend_from_slice(encoded.as_bytes());
        let mut decoder = Decoder::new(0, &limits);
        assert_eq!(decoder.decode(black_box(&mut bytes), &limits), Ok(true));
        assert_eq!(decoder.body().len(), BODY);
    }
}

fn copy() -> impl FnMut() {
    let (body, mut bytes) = (vec![b'x'; BODY], Vec::new());
    move || {
        bytes.clear();
        bytes.extend_from_slice(&body);
        black_box(&mut bytes);
    }
}

/// From received bytes to bytes to be sent; per pipeline, not per request.
fn served(head: &str, pipelined: usize) -> impl FnMut() {
    let app = peregrine::from_fn(|_: &Request<'_>, res: Response<'_>| res.text("Hello, World!"));
    // Lives as long as the program, as the connection borrows it.
    let mut connection = Connection::new(Box::leak(Box::new(app)));
    let pipeline = head.repeat(pipelined);
    move || {
        connection.send(black_box(pipeline.as_bytes()));
        black_box(connection.take_received());
    }
}

fn query() -> impl FnMut() {
    let request = owned(QUERY);
    move || {
        let request = black_box(&request).as_request();
        let sum: usize = request
            .query_pairs()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        black_box(sum);
    }
}

/// The request as a handler sees it, kept.
fn owned(text: &str) -> OwnedRequest {
    let slot: Arc<Mutex<Option<OwnedRequest>>> = Arc::default();
    let app = peregrine::from_fn({
        let slot = slot.clone();
        move |req: &Request<'_>, res: Response<'_>| {
            *slot.lock().expect("no panic") = Some(req.to_owned());
            res.body("")
        }
    });
    Connection::new(&app).send(text.as_bytes());
    let kept = slot.lock().expect("no panic").take();
    kept.expect("a request that is accepted")
}
