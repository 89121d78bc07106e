//! A process that is out of descriptors.

use super::served::{Served, path, plain, serve};
use super::support::{Asked, Client, turned_away, wait_until};
use peregrine::from_fn;
use std::io::Write;
use std::net::SocketAddr;

/// Descriptors that the server's process may have.
const MOST: usize = 64;

/// The server's process; see [`Served`].
#[test]
#[ignore = "for the others of this file"]
fn server() {
    serve(plain(from_fn(path)));
}

/// With an accept thread, and with a worker that accepts for itself.
const THREADS: [[(&str, usize); 2]; 2] = [
    [("workers", 2), ("accept_threads", 1)],
    [("workers", 1), ("accept_threads", 0)],
];

/// A server that runs, and how many descriptors it has without connections.
fn start(threads: &[(&str, usize)]) -> (Served, usize) {
    let limit = format!("ulimit -n {MOST}");
    let mut server = Served::start("descriptors::server", &limit, threads);
    assert_eq!(Client::connect(server.addr).get("/").status, 200);
    wait_until("it is closed", || server.ask("connections_open") == 0);
    let descriptors = server.ask("descriptors");
    (server, descriptors)
}

/// Idle connections are closed for new ones, so that all clients get their responses.
#[test]
fn idle_connections_make_room() {
    for threads in THREADS {
        let (mut server, before) = start(&threads);
        let mut clients = Vec::new();
        for n in 0..3 * MOST {
            let mut client = Client::connect(server.addr);
            let path = format!("/{n}");
            assert_eq!(client.get(&path).text(), path);
            clients.push(client);
        }
        let closed = server.ask("connections_idle_closed_total");
        assert!(closed >= 2 * MOST, "{closed}");
        assert_eq!(server.ask("connections_turned_away_total"), 0);
        assert!(server.ask("accept_outages_total") > 0);
        // Some were closed, properly; the others were let alone.
        let mut ended = 0;
        for client in &mut clients {
            client.send("GET /again HTTP/1.1\r\nHost: a\r\n\r\n");
            match client.try_answer(Asked::Other).expect("an answer or none") {
                Some(answer) => assert_eq!(answer.text(), "/again"),
                None => ended += 1,
            }
        }
        assert_eq!(ended, closed, "those, and no others");
        drop(clients);
        wait_until("all are closed", || server.ask("descriptors") == before);
        server.end();
    }
}

/// A client whose request has begun.
fn busy(addr: SocketAddr) -> Client {
    let mut client = Client::connect(addr);
    client.send("GET /busy HTTP/1.1\r\nHo");
    client
}

/// Without idle connections, a connection above the limit gets an end, and the others stay open. When the
/// outage is over, connections are accepted again. The log has one entry for the beginning and one for the
/// end.
#[test]
fn connections_above_the_limit_are_closed() {
    const EXTRA: usize = 30;
    for threads in THREADS {
        let (mut server, before) = start(&threads);
        let clients = (before..MOST + EXTRA).map(|_| busy(server.addr));
        let mut clients: Vec<_> = clients.collect();
        let (answer, _) = turned_away(server.addr);
        assert_eq!((answer.status, answer.closes()), (503, true));
        assert_eq!(answer.get("retry-after"), Some("1"));
        let turned_away = server.ask("connections_turned_away_total");
        assert!(turned_away >= EXTRA - 2, "{turned_away}");

        let mut served = 0;
        for client in &mut clients {
            // It may be gone.
            let _ = client.stream.write_all(b"st: a\r\n\r\n");
            match client.try_answer(Asked::Other).expect("an answer or none") {
                Some(answer) if answer.status == 200 => {
                    assert_eq!(answer.text(), "/busy");
                    served += 1;
                }
                Some(answer) => assert_eq!(answer.status, 503),
                None => {}
            }
        }
        let accepted = server.ask("connections_accepted_total");
        assert_eq!(served + 1, accepted, "with the one of the start");
        drop(clients);
        wait_until("all are closed", || server.ask("descriptors") == before);
        assert_eq!(Client::connect(server.addr).get("/after").text(), "/after");
        let outages = server.ask("accept_outages_total");
        assert!(outages * 10 <= turned_away, "{outages} for {turned_away}");
        if cfg!(feature = "log") {
            // The accept thread logs this a while later.
            wait_until("the end is told", || {
                server.ask("said INFO accepting goes on") == outages
            });
            assert_eq!(server.ask("said WARN accepting pauses: "), outages);
        }
        wait_until("all are closed", || server.ask("descriptors") == before);
        server.end();
    }
}

/// The start logs how many connections the process has no descriptors for, or raises the limit if the setting
/// says so.
#[test]
fn a_start_reports_a_limit_that_does_not_fit() {
    const SAID: &str = "said WARN Config::connections is ";
    let start = |limit: &str, raise: usize| {
        let settings = [("connections", 500), ("raise_descriptors", raise)];
        Served::start("descriptors::server", limit, &settings)
    };
    let said = |fit: usize, remedy: &str| {
        format!(
            "{SAID}500, but the process may have 200 descriptors: there is room for about {fit} connections; {remedy}"
        )
    };
    let is_logged = usize::from(cfg!(feature = "log"));

    let mut server = start("ulimit -Sn 200", 0);
    let fit = server.ask("connections_that_fit");
    assert!((100..200).contains(&fit), "{fit}");
    assert_eq!(
        server.ask(&said(fit, "Config::raise_descriptors")),
        is_logged
    );
    server.end();

    let mut server = start("ulimit -Sn 200", 1);
    assert_eq!(server.ask("connections_that_fit"), 500);
    assert_eq!(server.ask(SAID), 0);
    let clients: Vec<_> = (0..300).map(|_| busy(server.addr)).collect();
    wait_until("all are in", || server.ask("connections_open") == 300);
    drop(clients);
    server.end();

    // No further than the hard limit.
    let mut server = start("ulimit -n 200", 1);
    let fit = server.ask("connections_that_fit");
    assert!(fit < 200, "{fit}");
    assert_eq!(server.ask(&said(fit, "the hard limit")), is_logged);
    server.end();
}
