//! A server that is ended at once: connections on their way to a thread end with it, as all others do.

use super::{config, connect, read_all, wait_until};
use crate::http::handler::from_fn;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::runtime::transport::faulty::{FaultPlan, Faulty};
use crate::server::Server;
use peregrine_protocol::limits::Limits;

#[test]
fn a_connection_that_no_worker_has_taken_ends_with_the_server() {
    let handle = |_: &Request<'_>, res: Response<'_>| res.text("never requested");
    let server = Server::new(from_fn(handle)).config(config(Limits::default()));
    let server = server
        .bind("127.0.0.1:0")
        .start_over::<Faulty>()
        .expect("a server");
    // A worker handle may outlive the worker.
    let stopper = server.stopper();
    stopper.stop_now();
    wait_until("the worker ends", || server.workers[0].is_finished());
    let client = connect(&server, FaultPlan::default());
    let stopped = server.wait().expect("no thread failed");
    assert_eq!(read_all(&client), b"");
    assert_eq!((stopped.counters.accepted, stopped.counters.closed), (1, 1));
    assert_eq!(stopped.aborted, 1);
    drop(stopper);
}

#[cfg(feature = "websocket")]
mod websockets {
    use super::*;
    use crate::http::handler::Handler;
    use crate::http::response::Done;
    use crate::metrics::Stats;
    use crate::runtime::tests::PATIENCE;
    use crate::runtime::tests::ws::HANDSHAKE;
    use crate::websocket::WebSocketHandler;
    use crate::websocket::upgrade::Upgrade;
    use crate::websocket::ws::Ws;
    use peregrine_protocol::ws::frame::Message;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::panic::resume_unwind;
    use std::sync::{Mutex, mpsc};
    use std::thread;

    /// Panics when it is dropped.
    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            if !thread::panicking() {
                resume_unwind(Box::new("as asked"));
            }
        }
    }

    /// Waits in a hook until the test releases it.
    struct App {
        in_accept: bool,
        tell: mpsc::Sender<()>,
        go_on: Mutex<mpsc::Receiver<()>>,
    }

    impl App {
        fn wait(&self) {
            self.tell.send(()).expect("the test listens");
            let _ = self.go_on.lock().expect("no panic").recv();
        }
    }

    impl Handler for App {
        fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
            res.text("no WebSocket")
        }
    }

    impl WebSocketHandler for App {
        type Conn = Bomb;

        fn accept_ws(&self, _: &Request<'_>, _: &mut Upgrade<'_>) -> Option<Bomb> {
            if self.in_accept {
                self.wait();
            }
            Some(Bomb)
        }

        fn handle_ws_conn(&self, _: &mut Ws<'_, Bomb>) {
            self.wait();
        }

        fn handle_ws_frame(&self, _: &mut Ws<'_, Bomb>, _: Message<'_>) {}
    }

    /// `in_accept`: the WebSocket thread has ended before a worker has a connection for it. Otherwise the connection is in its mailbox when it ends.
    fn cut_while_it_waits(in_accept: bool) {
        let (tell, told) = mpsc::channel();
        let (release, go_on) = mpsc::channel::<()>();
        let app = App {
            in_accept,
            tell,
            go_on: Mutex::new(go_on),
        };
        let mut config = config(Limits::default());
        config.ws_threads = 1;
        let stats = Stats::new();
        let server = Server::new(app).websocket().config(config).stats(&stats);
        let hub = server.hub();
        let server = server
            .bind("127.0.0.1:0")
            .start_over::<Faulty>()
            .expect("a server");
        let ask = || {
            let mut client = connect(&server, FaultPlan::default());
            let request = format!("{HANDSHAKE}\r\n");
            client.write_all(request.as_bytes()).expect("sent");
            client
        };
        let mut clients = vec![ask()];
        told.recv_timeout(PATIENCE).expect("a hook is called");
        if !in_accept {
            clients.push(ask());
            wait_until("the second is in the mailbox", || {
                stats.ws_queues()[0].connections == 1
            });
        }
        server.stopper().stop_now();
        if in_accept {
            wait_until("the WebSocket thread ends", || {
                server.workers[0].is_finished()
            });
        }
        drop(release);
        let count = clients.len() as u64;
        let stopped = server.wait().expect("no thread failed");
        let counters = stopped.counters;
        assert_eq!((counters.accepted, counters.closed), (count, count));
        assert_eq!(hub.connections(), 0);
        let is_at_its_end = |mut client: UnixStream| {
            let mut rest = Vec::new();
            client.read_to_end(&mut rest).is_ok()
        };
        assert!(clients.into_iter().all(is_at_its_end));
        assert_eq!(stopped.aborted, count);
    }

    #[test]
    fn a_connection_in_the_mailbox_of_a_websocket_thread_ends_with_it() {
        cut_while_it_waits(false);
    }

    #[test]
    fn a_connection_for_a_websocket_thread_that_has_ended_ends_at_once() {
        cut_while_it_waits(true);
    }
}
