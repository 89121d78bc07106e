//! Handlers on the pool: bounded, counted, and no obstacle to a stop.

use super::late::get;
use super::support::{Asked, Client, PATIENCE, Witness, ended, start, wait_until, workers};
use peregrine::{Config, Done, Request, Response, from_fn};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

fn pool(pool_threads: usize, pool_queue: usize) -> Config {
    workers(1).pool_threads(pool_threads).pool_queue(pool_queue)
}

/// Jobs that report their beginning, and end when the test says so, or when this is dropped.
struct Gate {
    begins: Receiver<String>,
    go_on: Sender<()>,
}

impl Gate {
    /// And a handler that offloads requests below `/held` to such a job, and responds to the others at once.
    fn new() -> (
        Gate,
        impl Fn(&Request<'_>, Response<'_>) -> Done + Send + Sync + 'static,
    ) {
        let (begun, begins) = channel();
        let (go_on, may_go_on) = channel();
        let may_go_on = Arc::new(Mutex::new(may_go_on));
        let handle = move |req: &Request<'_>, res: Response<'_>| {
            if !req.path().starts_with("/held") {
                return res.body(req.path());
            }
            let (begun, may_go_on) = (begun.clone(), may_go_on.clone());
            let res = res.header("x-early", "1");
            res.offload(req, move |req, res| {
                let _ = begun.send(req.path().to_owned());
                let _ = may_go_on.lock().expect("no panic").recv();
                res.text(req.path())
            })
        };
        (Gate { begins, go_on }, handle)
    }

    #[track_caller]
    fn begun(&self) -> String {
        self.begins.recv_timeout(PATIENCE).expect("a job begins")
    }

    #[track_caller]
    fn go_on(&self) {
        self.go_on.send(()).expect("a job waits");
    }
}

#[test]
fn a_job_gets_the_request_and_responds_like_a_handler() {
    let handler = from_fn(|req: &Request<'_>, res: Response<'_>| {
        let peer = req.peer_addr();
        let worker = thread::current().name().map(str::to_owned);
        res.header("x-early", "1").offload(req, move |req, res| {
            assert_eq!(worker.as_deref(), Some("pg-worker-0"));
            let name = thread::current().name().map(str::to_owned);
            assert!(name.is_some_and(|name| name.starts_with("pg-pool-")));
            assert_eq!((req.peer_addr(), req.header("x-in")), (peer, Some("in")));
            let what = format!("{} {} ", req.method(), req.target());
            res.status(201).body([what.as_bytes(), req.body()].concat())
        })
    });
    let (server, addr) = start(handler, workers(1));
    let mut client = Client::connect(addr);
    let head = "POST /path?a=b HTTP/1.1\r\nHost: a\r\nx-in: in\r\n";
    for body in [
        "Content-Length: 5\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    ] {
        client.send(format!("{head}{body}"));
        let answer = client.answer(Asked::Other);
        assert_eq!((answer.status, answer.get("x-early")), (201, Some("1")));
        assert_eq!(answer.text(), "POST /path?a=b hello");
    }
    drop(server);
}

#[test]
fn a_request_without_room_in_the_pool_is_503() {
    let (gate, handle) = Gate::new();
    let (server, addr) = start(from_fn(handle), pool(2, 3));
    let mut clients: Vec<_> = (0..5).map(|_| Client::connect(addr)).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.send(get(&format!("/held/{n}")));
        wait_until("it is taken in", || server.counters().jobs == n as u64 + 1);
    }
    gate.begun();
    gate.begun();
    let counters = server.counters();
    assert_eq!((counters.jobs_started, counters.jobs_waiting()), (2, 3));

    let mut refused = Client::connect(addr);
    for n in 1..=10 {
        let answer = refused.get("/held/refused");
        assert_eq!((answer.status, answer.get("retry-after")), (503, Some("1")));
        assert_eq!(answer.text(), "the server is busy\n");
        let type_ = answer.get("content-type");
        assert_eq!(type_, Some("text/plain; charset=utf-8"));
        assert_eq!(answer.get("x-early"), None, "nothing of the handler's");
        assert!(!answer.closes());
        assert_eq!(server.counters().jobs_refused, n);
        assert_eq!(refused.get("/now").text(), "/now");
    }
    // One for each, whichever takes it, and one for that below.
    (0..6).for_each(|_| gate.go_on());
    for (n, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.answer(Asked::Other).text(), format!("/held/{n}"));
    }
    assert_eq!(refused.get("/held/again").text(), "/held/again");
    drop((clients, refused));
    server.stop();
    let counters = ended(server).counters;
    assert_eq!((counters.jobs, counters.jobs_done), (6, 6));
    assert_eq!((counters.jobs_refused, counters.handler_errors), (10, 0));
}

#[test]
fn a_job_that_fails_costs_its_client_a_500_and_no_thread() {
    let witness = Witness::new(|req: &Request<'_>, res: Response<'_>| {
        res.offload(req, |req, res| match req.path() {
            "/panics" => panic!("the job of a test panics"),
            "/panics-later" => {
                let _deferred = res.defer();
                panic!("the job of a test panics")
            }
            "/fails" => res.header("not a token", "").body("lost"),
            path => res.body(path),
        })
    });
    let (server, addr) = start(witness.clone(), pool(1, 10));
    for (path, kind, text) in [
        ("/panics", "panicked", "the job of a test panics"),
        (
            "/panics-later",
            "answer",
            "the deferred response was never sent",
        ),
        ("/fails", "answer", "malformed header field name"),
    ] {
        let mut client = Client::connect(addr);
        let peer = client.stream.local_addr().expect("an open socket");
        let answer = client.get(path);
        assert_eq!((answer.status, answer.closes()), (500, true));
        assert_eq!(
            answer.text(),
            "the server could not respond to this request\n"
        );
        client.expect_end();
        let told = witness.one_error(kind, peer);
        assert!(told.ends_with(text), "{told}");
        assert_eq!(Client::connect(addr).get("/well").text(), "/well");
    }
    drop(server);
}

/// The queue drops a request soon after its client has gone.
#[test]
fn a_job_without_a_client_is_not_run() {
    let (gate, handle) = Gate::new();
    let (server, addr) = start(from_fn(handle), pool(1, 10));
    let mut first = Client::connect(addr);
    first.send(get("/held/first"));
    assert_eq!(gate.begun(), "/held/first");
    for n in 0..3 {
        let mut client = Client::connect(addr);
        client.send(get(&format!("/held/gone/{n}")));
        wait_until("it waits", || server.counters().jobs == n + 2);
        client.reset();
        wait_until("it is gone", || server.counters().closed == n + 1);
    }
    let mut last = Client::connect(addr);
    last.send(get("/held/last"));
    wait_until("it waits", || server.counters().jobs == 5);
    gate.go_on();
    assert_eq!(gate.begun(), "/held/last");
    gate.go_on();
    assert_eq!(first.answer(Asked::Other).text(), "/held/first");
    assert_eq!(last.answer(Asked::Other).text(), "/held/last");
    drop(server);
}

#[test]
fn jobs_offload_and_stream() {
    let handler = from_fn(|req: &Request<'_>, res: Response<'_>| {
        res.header("x-a", "1").offload(req, |req, res| {
            res.header("x-b", "2").offload(req, |req, res| {
                // More than may be held: it waits for its client, as a worker must not.
                let (done, mut body) = res.stream_exact(4 << 20);
                let byte = req.body().first().copied().unwrap_or(b'x');
                for _ in 0..64 {
                    if body.send(vec![byte; 64 << 10]).is_err() {
                        return done;
                    }
                }
                let _ = body.finish();
                done
            })
        })
    });
    let (server, addr) = start(handler, pool(2, 2));
    let mut client = Client::connect(addr);
    for byte in ["a", "b"] {
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n{byte}"
        ));
        let answer = client.answer(Asked::Other);
        assert_eq!(
            (answer.get("x-a"), answer.get("x-b")),
            (Some("1"), Some("2"))
        );
        assert!(answer.text() == byte.repeat(4 << 20));
    }
    drop(server);
}

// ---------------------------------------------------------------------------------------- stops

#[test]
fn a_stop_waits_for_jobs_and_for_those_in_the_queue() {
    let (gate, handle) = Gate::new();
    let (server, addr) = start(from_fn(handle), pool(1, 10));
    let mut idle = Client::connect(addr);
    assert_eq!(idle.get("/now").text(), "/now");
    let mut clients: Vec<_> = (0..4).map(|_| Client::connect(addr)).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.send(get(&format!("/held/{n}")));
        wait_until("it is taken in", || server.counters().jobs == n as u64 + 1);
    }
    server.stop();
    let stopped = thread::spawn(move || ended(server));
    // The worker has told all of the stop, before anything else happens to them.
    idle.expect_end();
    for (n, mut client) in clients.into_iter().enumerate() {
        gate.go_on();
        let answer = client.answer(Asked::Other);
        assert_eq!(
            (answer.text(), answer.closes()),
            (&*format!("/held/{n}"), true)
        );
        client.expect_end();
    }
    let stopped = stopped.join().expect("it has ended");
    assert_eq!((stopped.drained, stopped.aborted), (5, 0));
    assert_eq!(stopped.counters.jobs_done, 4);
}

/// A stop also waits for work of the job after its response.
#[test]
fn a_stop_waits_for_a_job_whose_client_has_gone() {
    let (gate, handle) = Gate::new();
    let (server, addr) = start(from_fn(handle), pool(1, 10));
    let mut client = Client::connect(addr);
    client.send(get("/held"));
    gate.begun();
    client.reset();
    wait_until("it is gone", || server.counters().closed == 1);
    server.stop();
    let (has_ended, end) = channel();
    thread::spawn(move || {
        let _ = has_ended.send(ended(server));
    });
    // The worker has nothing to wait for; that the server has not ended can be seen only by waiting
    // for it, and an end too early might be missed, but is never wrongly reported.
    assert!(end.recv_timeout(Duration::from_millis(100)).is_err());
    gate.go_on();
    let stopped = end.recv_timeout(PATIENCE).expect("it ends");
    assert_eq!(stopped.counters.jobs_done, 1);
}

#[test]
fn a_job_that_never_ends_is_left_alone() {
    let late = Arc::new(AtomicU64::new(0));
    let (gate, handle) = Gate::new();
    let handler = {
        let late = late.clone();
        from_fn(
            move |req: &Request<'_>, res: Response<'_>| match req.path() {
                "/queued" => {
                    let late = late.clone();
                    res.offload(req, move |_, res| {
                        late.fetch_add(1, Ordering::SeqCst);
                        res.body("too late")
                    })
                }
                _ => handle(req, res),
            },
        )
    };
    let config = pool(1, 10).stop_timeout(Duration::from_millis(200));
    let (server, addr) = start(handler, config);
    let [mut stuck, mut queued] = [(); 2].map(|()| Client::connect(addr));
    stuck.send(get("/held"));
    gate.begun();
    queued.send(get("/queued"));
    wait_until("it waits", || server.counters().jobs_waiting() == 1);
    server.stop();
    let stopped = ended(server);
    assert_eq!((stopped.drained, stopped.aborted), (0, 2));
    let counters = stopped.counters;
    assert_eq!((counters.jobs_started, counters.jobs_done), (1, 0));
    assert_eq!(counters.handler_errors, 0);
    stuck.expect_end();
    queued.expect_end();
    // It goes on, and its response reaches no client.
    gate.go_on();
    assert_eq!(late.load(Ordering::SeqCst), 0, "dropped");
}

#[test]
fn a_stop_at_once_waits_for_no_job() {
    let (gate, handle) = Gate::new();
    let config = pool(1, 10).stop_timeout(super::support::NEVER);
    let (server, addr) = start(from_fn(handle), config);
    let mut client = Client::connect(addr);
    client.send(get("/held"));
    gate.begun();
    let stopper = server.stopper();
    let stopped = thread::spawn(move || ended(server));
    stopper.stop();
    stopper.stop_now();
    assert_eq!(stopped.join().expect("it has ended").aborted, 1);
}

// --------------------------------------------------------------------------------------- others

/// A thread inherits the CPU of the one that starts it, which is a worker here.
#[cfg(target_os = "linux")]
#[test]
fn the_pool_is_not_bound_to_the_cpu_of_a_worker() {
    fn cpus() -> String {
        let status = std::fs::read_to_string("/proc/thread-self/status").expect("/proc");
        let line = status
            .lines()
            .find(|line| line.starts_with("Cpus_allowed:"));
        line.expect("a line about CPUs").to_owned()
    }
    let handler = from_fn(|req: &Request<'_>, res: Response<'_>| match req.path() {
        "/pool" => res.offload(req, |_, res| res.text(cpus())),
        _ => res.text(cpus()),
    });
    let config = workers(1).cpu_affinity(true);
    let (server, addr) = start(handler, config);
    let mut client = Client::connect(addr);
    assert_eq!(client.get("/pool").text(), cpus());
    if thread::available_parallelism().is_ok_and(|n| n.get() > 1) {
        assert_ne!(client.get("/worker").text(), cpus());
    }
    drop(server);
}

#[test]
fn a_connection_in_memory_has_a_pool() {
    let app = from_fn(|req: &Request<'_>, res: Response<'_>| {
        res.offload(req, |req, res| match req.path() {
            "/panics" => panic!("the job of a test panics"),
            path => res.body(path),
        })
    });
    let mut client = peregrine::testing::Connection::new(&app);
    for n in 0..100 {
        let path = format!("/{n}");
        client.send(get(&path).as_bytes());
        assert!(client.wait(PATIENCE));
        assert!(client.take_received().ends_with(path.as_bytes()));
    }
    assert_eq!(client.counters().jobs, 100);
    client.send(get("/panics").as_bytes());
    assert!(client.wait(PATIENCE));
    assert!(client.received().starts_with(b"HTTP/1.1 500 ") && client.is_closed());
    // With a job at work.
    let (gate, handle) = Gate::new();
    let app = from_fn(handle);
    let mut client = peregrine::testing::Connection::new(&app);
    client.send(get("/held").as_bytes());
    gate.begun();
    drop(client);
    gate.go_on();
}
