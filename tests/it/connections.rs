//! The limit on connections: which ones are closed for a new one.

use super::support::{Asked, Client, start, turned_away, wait_until, workers};
use crate::support::acceptors;
use peregrine::{Config, Done, Request, Response, Server, from_fn};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};

fn path(req: &Request<'_>, res: Response<'_>) -> Done {
    res.text(req.path())
}

/// Accepting by threads and by workers.
pub(crate) const THREADS: [(usize, usize); 4] = [(1, 0), (1, 1), (2, 0), (2, 2)];

pub(crate) fn config(connections: usize, (count, accept_threads): (usize, usize)) -> Config {
    workers(count)
        .connections(connections)
        .accept_threads(acceptors(accept_threads))
}

fn served(addr: SocketAddr) -> Client {
    let mut client = Client::connect(addr);
    assert_eq!(client.get("/in").status, 200);
    client
}

/// A second of any clock that began at any time is over.
pub(crate) fn let_a_second_pass<S: Read + Write>(client: &mut Client<S>) {
    let mut dates = Vec::new();
    wait_until("two seconds have passed", || {
        let answer = client.get("/date");
        dates.push(answer.get("date").expect("a date").to_owned());
        dates.dedup();
        dates.len() == 3
    });
}

/// At the limit the connections that have been idle longest are closed, one for each new one.
#[test]
fn connections_that_are_idle_longest_are_closed_to_make_room() {
    const MOST: usize = 8;
    for threads in &THREADS[..2] {
        let (server, addr) = start(from_fn(path), config(MOST, *threads));
        let mut old: Vec<_> = (0..3).map(|_| served(addr)).collect();
        let mut asking = served(addr);
        let_a_second_pass(&mut asking);
        let mut young: Vec<_> = (4..MOST).map(|_| served(addr)).collect();
        assert_eq!(server.counters().idle_closed, 0, "there was room");
        for n in 1..=old.len() {
            young.push(served(addr));
            assert_eq!(server.counters().idle_closed, n as u64);
        }
        old.iter_mut().for_each(Client::expect_end);
        for client in young.iter_mut().chain([&mut asking]) {
            assert_eq!(client.get("/still").text(), "/still");
        }
    }
}

/// However threads share the work, there are never more, and each new client is served.
#[test]
fn there_are_never_more_than_the_limit() {
    const MOST: u64 = 10;
    for threads in THREADS {
        let (server, addr) = start(from_fn(path), config(MOST as usize, threads));
        let mut clients = Vec::new();
        for _ in 0..50 {
            clients.push(served(addr));
            let counters = server.counters();
            // Read one after the other, while they change: first what is taken away.
            let open = counters.accepted - counters.closed;
            assert!(open <= MOST, "{open} with {threads:?}");
        }
        let counters = server.counters();
        assert_eq!(counters.accepted, 50);
        assert!(counters.idle_closed >= 40, "{}", counters.idle_closed);
    }
}

/// The threads share one listener where the system has no `SO_REUSEPORT`, and with an inherited one: a thread that was woken for
/// the client of another one turns no client away while there are idle connections.
#[test]
fn threads_with_one_listener_turn_no_client_away_while_others_are_idle() {
    const MOST: usize = 10;
    for threads in &THREADS[2..] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = listener.local_addr().expect("an address");
        let server = Server::from_fn(path).config(config(MOST, *threads));
        let server = server.listener(listener).start().expect("started");
        let clients: Vec<_> = (0..500).map(|_| served(addr)).collect();
        assert_eq!(server.counters().turned_away, 0, "{threads:?}");
        drop(clients);
    }
}

const BEGUN: &str = "GET /busy HTTP/1.1\r\nHo";
const REST: &str = "st: a\r\n\r\n";

/// Where none is idle new clients are turned away, by 503 or by an end; and are served when others have
/// gone.
#[test]
fn active_connections_stay_and_new_ones_are_refused() {
    const MOST: usize = 4;
    for threads in &THREADS[..2] {
        let (server, addr) = start(from_fn(path), config(MOST, *threads));
        let mut clients: Vec<_> = (0..MOST).map(|_| Client::connect(addr)).collect();
        for client in &mut clients {
            client.send(BEGUN);
        }
        wait_until("all are in", || {
            server.counters().bytes_read == (MOST * BEGUN.len()) as u64
        });
        let mut expected = 0;
        for round in 1..=3 {
            for _ in 1..=5 {
                let (answer, connections) = turned_away(addr);
                assert_eq!((answer.status, answer.closes()), (503, true));
                assert_eq!(answer.get("retry-after"), Some("1"));
                expected += connections;
                assert_eq!(server.counters().turned_away, expected, "{threads:?}");
            }
            for client in &mut clients {
                client.send(format!("{REST}{BEGUN}"));
                assert_eq!(client.answer(Asked::Other).text(), "/busy");
            }
            assert_eq!(server.counters().accepted, MOST as u64 + round - 1);
            drop(clients.remove(0));
            wait_until("one is closed", || server.counters().closed == round);
            let mut next = served(addr);
            next.send(BEGUN);
            next.wait_until_delivered();
            clients.push(next);
        }
        assert_eq!(server.counters().idle_closed, 0);
    }
}

/// They have places like all others, but are not closed for new connections.
#[cfg(feature = "websocket")]
#[test]
fn websockets_are_counted_and_stay() {
    use super::ws_sockets::{bench, config as ws_config};
    use tungstenite::Message;

    let mut config = ws_config(2);
    config.connections = 3;
    let bench = bench(config);
    let mut sockets = [bench.connect("/echo"), bench.connect("/echo")];
    bench.wait_for(2);
    let mut clients = Vec::new();
    for n in 0..5 {
        clients.push(served(bench.addr));
        // Each in the place of the one before.
        assert_eq!(bench.running.counters().idle_closed, n);
    }
    for socket in &mut sockets {
        socket.send(Message::text("still")).expect("sent");
        assert_eq!(socket.read().expect("an echo"), Message::text("still"));
    }
}
