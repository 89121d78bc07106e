//! A million connections of all kinds against one server on its defaults.
//!
//! Its memory, descriptors and threads after all of them must be what they were after the first
//! [`WARM_UP`], but for [`MARGIN`] of memory; every client must end as it has to, and the
//! well-behaved ones get every response.

use crate::hostile::attack::judge;
use crate::hostile::crowd::Crowd;
use crate::hostile::polite::{Kind, Phase, Place, Polite};
use crate::hostile::process::{Process, raise_descriptors};
use crate::hostile::script::{End, Leave, Script, Takes, Then};
use crate::hostile::scripts::{self, frame, get, script, ws};
use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Connections in all, unless the environment says otherwise.
const CONNECTIONS: usize = 1_000_000;
/// Those after which the server is measured for the first time.
const WARM_UP: usize = 50_000;
/// Those between two lines of progress.
const WAVE: usize = 25_000;
/// Open at a time, beside those that wait for a limit.
const AT_ONCE: usize = 250;
/// Those that wait for a limit, at a time.
const SLOW: usize = 40;
/// KiB that the server may have grown by: an allocator gives back whole pages only.
const MARGIN: usize = 16 << 10;
/// When it ends on a machine that is too slow, and how many connections there must have been.
const LONGEST: Duration = Duration::from_secs(900);
const LEAST: usize = 200_000;
/// For anything to happen.
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) fn main() -> ExitCode {
    match soak() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("FAILED soak: {why}");
            ExitCode::FAILURE
        }
    }
}

fn option(name: &str) -> Option<usize> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}: a number")))
}

/// What is to be the same at the beginning and at the end.
#[derive(Clone, Copy)]
struct State {
    /// KiB.
    resident: usize,
    descriptors: usize,
    threads: usize,
}

impl State {
    /// When the descriptors are back at what they were.
    fn at_rest(server: &Process, descriptors: usize) -> Result<State, String> {
        Ok(State {
            descriptors: server.settle(descriptors, PATIENCE)?,
            resident: server.resident(),
            threads: server.threads(),
        })
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let State {
            resident,
            descriptors,
            threads,
        } = self;
        write!(
            f,
            "{resident} KiB, {descriptors} descriptors, {threads} threads"
        )
    }
}

fn soak() -> Result<(), String> {
    let wanted = option("SOAK_CONNECTIONS").unwrap_or(CONNECTIONS);
    let at_least = Duration::from_secs(option("SOAK_SECS").unwrap_or(0) as u64);
    raise_descriptors();
    let server = Process::start("--serve", false);
    let polite = Polite::start(server.place(false), &[Kind::Kept, Kind::Fresh, Kind::Echo]);
    polite.wait(Phase::Before, 100, PATIENCE);
    let descriptors = server.fewest_descriptors();
    let from = Instant::now();
    let mut done = 0;
    for _ in 0..WARM_UP / WAVE {
        done += wave(server.place(false))?;
    }
    slow(server.place(false), &AtomicBool::new(true))?;
    let before = State::at_rest(&server, descriptors)?;
    println!("{done} connections, at rest: {before}");

    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let slow = scope.spawn(|| slow(server.place(false), &stop));
        let result = loop {
            let is_late = from.elapsed() > LONGEST.max(at_least);
            if is_late || done >= wanted && from.elapsed() >= at_least {
                break Ok(());
            }
            match wave(server.place(false)) {
                Ok(count) => done += count,
                Err(why) => break Err(why),
            }
            let rate = done as f64 / from.elapsed().as_secs_f64();
            let memory = server.resident() >> 10;
            println!("{done} connections, {rate:.0} a second, {memory} MiB");
            let _ = std::io::stdout().flush();
        };
        stop.store(true, Ordering::SeqCst);
        done += slow.join().expect("no panic")?;
        result
    })?;
    let after = State::at_rest(&server, descriptors)?;
    println!("{done} connections, at rest: {after}");
    let waits = polite
        .end()
        .ok_or("a well-behaved client has not got its answer")?;
    let cut = server.stop();
    let seconds = from.elapsed().as_secs();
    let answers: usize = waits.iter().map(Vec::len).sum();
    println!("{seconds} s; {answers} answers to well-behaved clients beside them");
    if cut != "0 aborted" {
        return Err(format!("the stop: {cut}"));
    }
    if done < wanted.min(LEAST) {
        return Err(format!("{done} connections only, in {seconds} s"));
    }
    judge_states(before, after)?;
    println!("ok soak: every client ended as it had to");
    println!("ok soak: memory, descriptors and threads as after the warm-up");
    Ok(())
}

fn judge_states(before: State, after: State) -> Result<(), String> {
    if after.threads != before.threads {
        return Err(format!(
            "{} threads, {} before",
            after.threads, before.threads
        ));
    }
    match after.resident > before.resident + MARGIN {
        true => Err(format!(
            "{} KiB, {} before",
            after.resident, before.resident
        )),
        false => Ok(()),
    }
}

/// Some connections of all kinds that are short.
fn wave(place: Place) -> Result<usize, String> {
    let scripts: Vec<Script> = (0..KINDS).map(kind).collect();
    let scripts = (0..WAVE).map(|i| scripts[i % KINDS].clone());
    let crowd = Crowd::new(place, scripts).at_most(AT_ONCE);
    run(crowd.spread_over(250), WAVE)
}

fn run(mut crowd: Crowd, count: usize) -> Result<usize, String> {
    if !crowd.run_until(PATIENCE, Crowd::all_gone) {
        return Err(format!("{} never ended", count - crowd.gone()));
    }
    let mut faults = Vec::new();
    judge(&crowd, &mut faults);
    match faults.is_empty() {
        true => Ok(count),
        false => Err(faults.join("; ")),
    }
}

/// Those that wait for a limit, over and over, at least once.
fn slow(place: Place, stop: &AtomicBool) -> Result<usize, String> {
    let kinds = [
        scripts::head,
        scripts::body,
        scripts::slow_files,
        scripts::slow_streams,
    ];
    let mut done = 0;
    loop {
        let scripts = (0..SLOW).map(|i| kinds[i % kinds.len()](i / kinds.len()));
        done += run(Crowd::new(place, scripts), SLOW)?;
        if stop.load(Ordering::SeqCst) {
            return Ok(done);
        }
    }
}

const KINDS: usize = 25;

fn kind(i: usize) -> Script {
    let once = |path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        script(request, Then::Waits, Takes::All, End::Answered(1))
    };
    let leaves = |first: String, answers, by| {
        script(first, Then::Leaves { answers, by }, Takes::All, End::Left)
    };
    let post = "POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";
    let body = "x".repeat(20_000);
    let upload = format!("{post}Content-Length: 20000\r\n\r\n{body}");
    match i {
        0..=5 => once("/once"),
        6 | 7 => script(
            get("/again"),
            Then::Asks { times: 5 },
            Takes::All,
            End::Left,
        ),
        8 => leaves(get("/pipelined").repeat(10), 10, Leave::Close),
        9 => once("/later"),
        10 => once("/short"),
        11 => script(upload, Then::Waits, Takes::All, End::Answered(1)),
        12 => {
            let chunks = format!("4e20\r\n{body}\r\n0\r\n\r\n");
            let upload = format!("{post}Transfer-Encoding: chunked\r\n\r\n{chunks}");
            script(upload, Then::Waits, Takes::All, End::Answered(1))
        }
        // In the middle of a head, of a body, of responses.
        13 => leaves("GET / HTTP/1.1\r\nHo".to_owned(), 0, Leave::Reset),
        14 => leaves(upload[..5000].to_owned(), 0, Leave::Reset),
        15 => leaves(get("/memory"), 1, Leave::Reset),
        16 => leaves(get("/drawn"), 1, Leave::Close),
        17 => leaves(get("/later"), 0, Leave::Reset),
        18 => script(
            "nonsense\r\n\r\n",
            Then::Waits,
            Takes::All,
            End::Status(400),
        ),
        19 => scripts::headers(1),
        20 => scripts::half_closed(3),
        21 => leaves(String::new(), 0, Leave::Close),
        22 => {
            let frames = [frame(0x81, b"hello"), frame(0x88, &1000u16.to_be_bytes())].concat();
            ws("/echo", &frames, Then::Waits, Takes::All, End::Code(1000))
        }
        23 => scripts::unmasked(0),
        _ => {
            let then = Then::Leaves {
                answers: 0,
                by: Leave::Reset,
            };
            ws("/feed", &frame(0x81, b"hello"), then, Takes::All, End::Left)
        }
    }
}
