//! Classes of responses and errors, time in handlers and the lengths of queues, of servers at work.

use super::stats::parse;
use super::support::{Asked, Client, OnOwnAddr, ended, wait_until, workers};
use peregrine::Server;
use peregrine::config::AcceptThreads;
use peregrine::metrics::Stats;

/// Every response is in one class, and every failure in one that names it.
#[test]
fn responses_and_errors_by_class() {
    use peregrine::{BodyPlan, Done, Handler, Request, Response};

    struct App;
    impl Handler for App {
        fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
            match req.path() {
                "/refuse" => BodyPlan::Refuse(403),
                _ => BodyPlan::Buffer,
            }
        }

        fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
            let status = req.path()[1..].parse().unwrap_or(200);
            match req.query("how").as_deref() {
                Some("panic") => panic!("as it was asked to"),
                Some("late") => {
                    let (done, responder) = res.status(status).defer();
                    std::thread::spawn(move || responder.send(|res| res.text("late")));
                    done
                }
                Some("stream") => {
                    let (done, mut body) = res.status(status).stream();
                    std::thread::spawn(move || body.send("x").and_then(|()| body.finish()));
                    done
                }
                _ => res.status(status).text("here"),
            }
        }
    }

    let limits = super::support::limits().head_timeout(std::time::Duration::from_secs(5));
    let config = workers(1).limits(limits);
    let (server, addr) = super::support::start(App, config);
    let ask = |request: &str, status| {
        let mut client = Client::connect(addr);
        client.send(request);
        assert_eq!(client.answer(Asked::Other).status, status, "{request}");
    };
    let get = |path: &str, status| ask(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"), status);
    for (path, status) in [("/200", 200), ("/302", 302), ("/404", 404), ("/500", 500)] {
        get(path, status);
        get(&format!("{path}?how=late"), status);
        get(&format!("{path}?how=stream"), status);
    }
    get("/200?how=panic", 500);
    ask("BAD\r\n\r\n", 400);
    ask("GET / HTTP/1.1\r\n", 408);
    ask(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n",
        413,
    );
    ask(
        "POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n",
        403,
    );
    let mut gone = Client::connect(addr);
    gone.send("GET / HTTP/1.1\r\n");
    gone.stream
        .shutdown(std::net::Shutdown::Write)
        .expect("open");
    gone.expect_end();
    let mut reset = Client::connect(addr);
    let before = server.counters().bytes_read;
    reset.send("GET / HTTP/1.1\r\n");
    wait_until("it is read", || server.counters().bytes_read > before);
    reset.reset();
    wait_until("all are noticed", || {
        server.counters().connection_errors == 2
    });
    let sum = server.counters();
    let answers = [
        sum.responses_2xx,
        sum.responses_3xx,
        sum.responses_4xx,
        sum.responses_5xx,
    ];
    assert_eq!(answers, [3, 3, 3 + 4, 3 + 1]);
    assert_eq!(
        (sum.refused, sum.refused_slow, sum.refused_large),
        (4, 1, 1)
    );
    assert_eq!(
        (sum.handler_errors, sum.panics, sum.response_timeouts),
        (1, 1, 0)
    );
    assert_eq!((sum.clients_gone, sum.read_errors), (1, 1));
    assert_eq!((sum.write_errors, sum.write_timeouts), (0, 0));
}

/// With each turn timed, each call is, and a slow one stands out.
#[test]
fn handlers_are_timed() {
    use peregrine::from_fn;
    use std::time::Duration;

    for timed_one_in in [0, 1] {
        let slowly = |req: &peregrine::Request<'_>, res: peregrine::Response<'_>| {
            if req.path() == "/slow" {
                let (_keep, never) = std::sync::mpsc::channel::<()>();
                let _ = never.recv_timeout(Duration::from_millis(150));
            }
            match req.path() {
                "/pool" => res.offload(req, |_, res| res.text("done")),
                _ => res.text("done"),
            }
        };
        let config = workers(1).timed_one_in(timed_one_in);
        let (server, addr) = super::support::start(from_fn(slowly), config);
        for path in ["/", "/slow", "/pool", "/"] {
            assert_eq!(Client::connect(addr).get(path).text(), "done");
        }
        wait_until("the job is done", || server.counters().jobs_done == 1);
        // One turn may have several requests.
        let mut calls = 4;
        wait_until("some turns are over", || {
            let is_enough = server.counters().turns >= 4;
            if !is_enough {
                assert_eq!(Client::connect(addr).get("/").text(), "done");
                calls += 1;
            }
            is_enough
        });
        server.stop();
        let sum = ended(server).counters;
        assert!(sum.job_nanos > 0);
        match timed_one_in {
            0 => assert_eq!(
                (sum.turns_timed, sum.handlers_timed, sum.handler_nanos),
                (0, 0, 0)
            ),
            _ => {
                // The last turn ends the thread before it is over.
                assert_eq!((sum.handlers_timed, sum.turns_timed), (calls, sum.turns));
                assert!(sum.handlers_over_10ms >= 1 && sum.handlers_over_100ms >= 1);
                assert!(sum.handler_nanos >= 150_000_000);
                assert!(sum.turn_nanos >= sum.handler_nanos, "it is a part of them");
            }
        }
    }
}

/// What waits while a worker and the only thread of the pool are busy.
#[test]
fn queues_have_lengths() {
    use peregrine::from_fn;
    use peregrine::metrics::Queues;
    use std::sync::{Arc, Barrier, Mutex};

    let [gate, pool_gate] = [(); 2].map(|()| Arc::new(Barrier::new(2)));
    let responders = Arc::new(Mutex::new(Vec::new()));
    let (inside, in_pool, kept) = (gate.clone(), pool_gate.clone(), responders.clone());
    let app = from_fn(
        move |req: &peregrine::Request<'_>, res: peregrine::Response<'_>| match req.path() {
            "/gate" => {
                inside.wait();
                inside.wait();
                res.text("gate")
            }
            "/pool" => {
                let in_pool = in_pool.clone();
                res.offload(req, move |_, res| {
                    in_pool.wait();
                    res.text("pool")
                })
            }
            "/late" => {
                let (done, responder) = res.defer();
                kept.lock().expect("no panic").push(responder);
                done
            }
            _ => res.text("at once"),
        },
    );
    let stats = Stats::new();
    assert_eq!(stats.queues(), Queues::default());
    let config = workers(1)
        .accept_threads(AcceptThreads::Dedicated(1))
        .pool_threads(1);
    let server = Server::new(app).config(config).stats(&stats);
    let server = server.on_own_addr().start().expect("a server");
    let addr = server.local_addr().expect("an address");
    let get = |path: &str| {
        let mut client = Client::connect(addr);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        client
    };
    let late = [(); 3].map(|()| get("/late"));
    let deferred = || responders.lock().expect("no panic").len();
    wait_until("they are deferred", || deferred() == 3);
    let jobs = [(); 5].map(|()| get("/pool"));
    wait_until("four jobs wait for the fifth", || {
        let counters = stats.counters();
        (counters.jobs, counters.jobs_started) == (5, 1)
    });
    let gated = get("/gate");
    gate.wait();
    let new = [(); 2].map(|()| get("/"));
    wait_until("two connections wait", || stats.queues().connections == 2);
    for responder in responders.lock().expect("no panic").drain(..) {
        assert!(responder.send(|res| res.text("late")).is_ok());
    }
    let queues = stats.queues();
    assert_eq!(
        (queues.connections, queues.messages, queues.jobs),
        (2, 3, 4)
    );
    let [worker] = stats.worker_queues()[..] else {
        panic!("one worker");
    };
    assert_eq!(
        (worker.connections, worker.messages, worker.jobs),
        (2, 3, 0)
    );
    assert!(stats.ws_queues().is_empty());
    let families = parse(&stats.prometheus());
    let told = ["connections", "messages", "jobs"].map(|name| {
        let family = &families[&format!("peregrine_queue_{name}")];
        assert_eq!(family.kind, "gauge");
        family.samples[""]
    });
    assert_eq!(told, [2, 3, 4]);

    gate.wait();
    for _ in 0..5 {
        pool_gate.wait();
    }
    for mut client in late.into_iter().chain(jobs).chain(new).chain([gated]) {
        assert_eq!(client.answer(Asked::Other).status, 200);
    }
    assert_eq!(stats.queues(), Queues::default());
    server.stop();
    ended(server);
    assert_eq!(stats.queues(), Queues::default(), "it outlives the server");
}
