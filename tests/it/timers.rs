//! Calls after a time, on the workers of a running server.

use super::support::{Client, PATIENCE, Witness, ended, start, wait_until, workers};
use peregrine::testing::Connection;
use peregrine::timers::{Timer, TimerError};
use peregrine::{Request, Response, Server, from_fn};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

fn hello(_: &Request<'_>, res: Response<'_>) -> peregrine::Done {
    res.text("hello")
}

fn thread_name() -> String {
    thread::current().name().unwrap_or_default().to_owned()
}

#[test]
fn calls_come_in_time_on_workers_that_take_turns() {
    let (server, _addr) = start(from_fn(hello), workers(2));
    let timers = server.timers();
    let (tell, told) = channel();
    for delay in [30, 10, 50, 20, 40, 0] {
        let tell = tell.clone();
        let asked = Instant::now();
        let call = move || {
            let _ = tell.send((delay, asked.elapsed(), thread_name()));
        };
        timers.after(delay * MS, call).expect("room");
    }
    let mut threads = Vec::new();
    for _ in 0..6 {
        let (delay, after, thread) = told.recv_timeout(PATIENCE).expect("called");
        assert!(after >= delay * MS, "{delay} ms came after {after:?}");
        threads.push(thread);
    }
    threads.sort();
    threads.dedup();
    assert_eq!(threads, ["pg-worker-0", "pg-worker-1"]);
    drop(tell);
    assert!(
        told.recv_timeout(PATIENCE).is_err(),
        "each once, and then dropped"
    );
}

#[test]
fn calls_repeat_until_they_are_cancelled() {
    let (server, _addr) = start(from_fn(hello), workers(1));
    let timers = server.timers();
    let (tell, told) = channel();
    let own: Arc<Mutex<Option<Timer>>> = Arc::default();
    let mine = own.clone();
    let mut count = 0;
    let from = Instant::now();
    // The last call waits for it.
    let mut place = own.lock().expect("no panic");
    let timer = timers.every(2 * MS, move || {
        count += 1;
        let _ = tell.send(count);
        if count == 10 {
            // From within.
            mine.lock()
                .expect("no panic")
                .take()
                .expect("kept")
                .cancel();
        }
    });
    *place = Some(timer.expect("room"));
    drop(place);
    let counts: Vec<_> = (0..10)
        .map(|_| told.recv_timeout(PATIENCE).expect("called"))
        .collect();
    assert_eq!(counts, (1..=10).collect::<Vec<_>>());
    assert!(from.elapsed() >= 20 * MS, "not early");
    assert!(
        told.recv_timeout(PATIENCE).is_err(),
        "dropped, and not called again"
    );

    let (tell, told) = channel();
    let mut left = 3;
    let call = move || {
        left -= 1;
        let _ = tell.send(left);
        left > 0
    };
    timers.every_while(MS, call).expect("room");
    let counts: Vec<_> = told.iter().collect();
    assert_eq!(counts, [2, 1, 0], "as often as it wants, and then dropped");

    let held = Arc::new(());
    let hold = held.clone();
    let call = move || drop(hold.clone());
    let timer = timers.every(HOUR, call).expect("room");
    assert_eq!(Arc::strong_count(&held), 2);
    timer.cancel();
    assert_eq!(Arc::strong_count(&held), 1, "dropped at once");
    timer.cancel();
}

/// A worker that sleeps for ever wakes up for a timer, and one that serves goes on serving.
#[test]
fn timers_before_the_start_and_requests_beside_them() {
    let server = Server::from_fn(|req: &Request<'_>, res: Response<'_>| {
        let timers = res.timers();
        let (done, responder) = res.defer();
        let path = req.path().to_owned();
        let own = thread_name();
        let call = move || {
            assert_eq!(thread_name(), own, "this worker's");
            let _ = responder.send(|res| res.text(&path));
        };
        timers.after(5 * MS, call).expect("room");
        done
    });
    let (tell, told) = channel();
    let early = server.timers();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    early
        .after(MS, move || drop(tell.send(thread_name())))
        .expect("room");
    early
        .every(MS, move || {
            counted.fetch_add(1, Ordering::Relaxed);
        })
        .expect("room");
    assert!(told.try_recv().is_err());
    let running = server
        .config(workers(1))
        .bind("127.0.0.1:0")
        .start()
        .expect("a server");
    assert_eq!(told.recv_timeout(PATIENCE).expect("called"), "pg-worker-0");
    let mut client = Client::connect(running.local_addr().expect("an address"));
    for path in ["/a", "/b", "/c"] {
        assert_eq!(client.get(path).text(), path);
    }
    wait_until("it repeats", || count.load(Ordering::Relaxed) > 20);
    drop(client);
    running.stop();
    ended(running);
    assert_eq!(early.after(MS, || {}).err(), Some(TimerError::Stopped));
}

#[test]
fn timers_are_limited_and_dropped_at_the_end() {
    let (server, addr) = start(from_fn(hello), workers(1).timers_per_worker(10));
    let timers = server.timers();
    let held = Arc::new(());
    let add = || {
        let hold = held.clone();
        timers.after(HOUR, move || drop(hold))
    };
    let all: Vec<_> = (0..10).map(|_| add().expect("room")).collect();
    assert_eq!(add().err(), Some(TimerError::Full));
    all[3].cancel();
    add().expect("room for one");
    assert_eq!(add().err(), Some(TimerError::Full));
    assert_eq!(Arc::strong_count(&held), 11);
    assert_eq!(Client::connect(addr).get("/").text(), "hello");
    drop(all);
    server.stop();
    ended(server);
    assert_eq!(Arc::strong_count(&held), 1, "none is left");
    assert_eq!(add().err(), Some(TimerError::Stopped));

    let early = Server::from_fn(hello).timers();
    let asked = (0..2000).map(|_| early.after(HOUR, || {}));
    assert_eq!(
        asked.filter(|asked| asked.is_ok()).count(),
        1024,
        "before the start"
    );
}

#[test]
fn a_panic_is_reported_and_ends_nothing() {
    let app = Witness::new(hello);
    let (server, addr) = start(app.clone(), workers(1));
    let (tell, told) = channel();
    let mut count = 0;
    let call = move || {
        count += 1;
        let _ = tell.send(count);
        assert!(count != 2, "the second one");
    };
    let timer = server.timers().every(MS, call).expect("room");
    let counts: Vec<_> = (0..4)
        .map(|_| told.recv_timeout(PATIENCE).expect("called"))
        .collect();
    assert_eq!(counts, [1, 2, 3, 4]);
    timer.cancel();
    let errors = app.take_errors();
    let [("panicked", text, None::<SocketAddr>)] = &errors[..] else {
        panic!("{errors:?}");
    };
    assert!(text.contains("the second one"));
    assert_eq!(server.counters().handler_errors, 1);
    assert_eq!(Client::connect(addr).get("/").text(), "hello");
}

/// Many at once from many threads; those that are due together do not keep others from being served.
#[test]
fn timers_from_several_threads() {
    const EACH: usize = 5000;
    let (server, addr) = start(from_fn(hello), workers(2));
    let called = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..4)
        .map(|part| {
            let (timers, called) = (server.timers(), called.clone());
            thread::spawn(move || {
                for n in 0..EACH {
                    let called = called.clone();
                    let delay = ((n * 7919 + part) % 40) as u32;
                    let timer = timers.after(delay * MS, move || {
                        called.fetch_add(1, Ordering::Relaxed);
                    });
                    // Half of them are cancelled at once, or are just being called.
                    if n % 2 == 0 {
                        timer.expect("room").cancel();
                    }
                }
            })
        })
        .collect();
    let mut client = Client::connect(addr);
    for _ in 0..100 {
        assert_eq!(client.get("/").text(), "hello");
    }
    threads
        .into_iter()
        .for_each(|thread| thread.join().expect("no panic"));
    wait_until("all are called", || {
        called.load(Ordering::Relaxed) >= 2 * EACH
    });
}

/// Time that a test moves.
#[test]
fn in_memory() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let app = from_fn(move |_: &Request<'_>, res: Response<'_>| {
        let counted = counted.clone();
        let call = move || {
            counted.fetch_add(1, Ordering::Relaxed);
        };
        res.timers().every(250 * MS, call).expect("room");
        res.text("begun")
    });
    let mut client = Connection::new(&app);
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.elapse(249 * MS);
    assert_eq!(count.load(Ordering::Relaxed), 0);
    client.elapse(MS);
    assert_eq!(count.load(Ordering::Relaxed), 1);
    client.elapse(Duration::from_secs(60));
    assert_eq!(count.load(Ordering::Relaxed), 241);
}
