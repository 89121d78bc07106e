//! What an upload allocates in its worker: a little when it begins, nothing for a piece.

#[allow(dead_code)]
mod counting;
// Parts of it are for other tests.
#[allow(dead_code, unused_imports)]
#[path = "it/support.rs"]
mod support;

use counting::{allocations, count_this_thread};
use peregrine::body::{BodySink, Flow, Incoming};
use peregrine::{BodyPlan, Done, Handler, Request, Response};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use support::{Asked, Client, ended, start, wait_until, workers};

/// What the sinks of all uploads have been given.
#[derive(Default)]
struct Taken {
    pieces: AtomicU64,
    bytes: AtomicU64,
}

struct Taking(Arc<Taken>);

impl BodySink for Taking {
    fn piece(&mut self, piece: &[u8], _: &mut Incoming<'_>) -> Flow {
        self.0.pieces.fetch_add(1, Ordering::SeqCst);
        self.0.bytes.fetch_add(piece.len() as u64, Ordering::SeqCst);
        Flow::Continue
    }

    fn finish(self: Box<Self>, _: &Request<'_>, res: Response<'_>) -> Done {
        res.body("taken")
    }
}

struct Uploads(Arc<Taken>);

impl Handler for Uploads {
    fn body_plan(&self, _: &Request<'_>) -> BodyPlan {
        count_this_thread("pg-worker-0");
        BodyPlan::stream(Taking(self.0.clone()))
    }

    fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
        res.body("")
    }
}

/// An upload allocates when it begins, for its sink and for a read buffer, and nothing for any of its pieces.
#[test]
fn a_piece_of_an_upload_does_not_allocate() {
    const REPEATS: usize = 300;
    const SIZES: [usize; 4] = [1, 1000, 30_000, 150_000];
    let taken = Arc::new(Taken::default());
    let (server, addr) = start(Uploads(taken.clone()), workers(1));
    let mut client = Client::connect(addr);
    let len: usize = SIZES.iter().map(|size| size * REPEATS).sum();
    let mut expected = 0;
    for in_chunks in [false, true] {
        let before = allocations();
        client.send(match in_chunks {
            false => format!(
                "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
                2 + len
            ),
            true => {
                "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n".to_owned()
            }
        });
        client.send(if in_chunks { "x\r\n" } else { "x" });
        expected += 1;
        let bytes = || taken.bytes.load(Ordering::SeqCst);
        wait_until("it has begun", || bytes() == expected);
        let begun = allocations();
        assert!(
            (1..=4).contains(&(begun - before)),
            "{} to begin",
            begun - before
        );
        let first = taken.pieces.load(Ordering::SeqCst);
        for size in SIZES {
            let mut piece = vec![b'x'; size];
            if in_chunks {
                piece = [format!("{size:x}\r\n").as_bytes(), &piece, b"\r\n"].concat();
            }
            for n in 0..REPEATS {
                client.send(&piece);
                expected += size as u64;
                // Some come one by one, some all at once.
                if n % 2 == 0 {
                    wait_until("it is taken", || bytes() == expected);
                }
            }
        }
        wait_until("all is taken", || bytes() == expected);
        let pieces = taken.pieces.load(Ordering::SeqCst) - first;
        let made = allocations() - begun;
        assert_eq!(made, 0, "allocations for {pieces} pieces");
        assert!(
            pieces > (SIZES.len() * REPEATS / 2) as u64,
            "{pieces} pieces"
        );
        client.send(if in_chunks {
            "1\r\nx\r\n0\r\n\r\n"
        } else {
            "x"
        });
        expected += 1;
        assert_eq!(client.answer(Asked::Other).text(), "taken");
    }
    server.stop();
    drop(client);
    ended(server);
}
