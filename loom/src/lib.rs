//! Every order in which threads can meet in the library's mailboxes, inboxes and credits, tried out by
//! loom.
//!
//! `shared/mailbox.rs`, `shared/inbox.rs` and `shared/flow_control.rs` are taken in as they are; what they import
//! from `shared/sync.rs` is loom's here. What surrounds an inbox (the loop of a worker and its waker) has
//! sockets in it and is modelled, as small as it can be: each model says of what it is one. The functions
//! are called by tests/models.rs.

#[allow(dead_code)]
#[path = "../../src/shared/flow_control.rs"]
mod flow_control;
#[allow(dead_code)]
#[path = "../../src/shared/inbox.rs"]
mod inbox;
#[allow(dead_code)]
#[path = "../../src/shared/mailbox.rs"]
mod mailbox;
mod sync;

use flow_control::{Credit, Room};
use inbox::Inbox;
use loom::sync::Arc;
use loom::thread;
use std::sync::atomic::{AtomicUsize as Count, Ordering::SeqCst};
use sync::{Condvar, Mutex};

/// Runs `model` in every order that has at most three preemptions; more cost minutes and have found
/// nothing else.
fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// As `runtime::poll::Waker`: a wake-up that comes before the sleep ends it at once, and several are one.
struct Waker {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Waker {
    fn new() -> Waker {
        Waker {
            woken: Mutex::new(false),
            changed: Condvar::new(),
        }
    }

    fn wake(&self) {
        *self.woken.lock().expect("no panic") = true;
        self.changed.notify_all();
    }

    fn sleep(&self) {
        let woken = self.woken.lock().expect("no panic");
        let mut woken = self
            .changed
            .wait_while(woken, |woken| !*woken)
            .expect("no panic");
        *woken = false;
    }
}

/// A thread with an inbox, as far as that is concerned.
struct Worker<T> {
    inbox: Inbox<T>,
    waker: Arc<Waker>,
}

impl<T: 'static> Worker<T> {
    /// The calling thread is the worker.
    fn new() -> Arc<Worker<T>> {
        let waker = Arc::new(Waker::new());
        let wakes = waker.clone();
        let worker = Arc::new(Worker {
            inbox: Inbox::new(move || wakes.wake()),
            waker,
        });
        worker.inbox.adopt();
        worker
    }

    /// As `EventLoop::run` from one wait to the next.
    fn turn(&self, into: &mut Vec<T>) {
        if self.inbox.is_empty() {
            self.waker.sleep();
        }
        self.inbox.take(into);
    }
}

/// What threads post is taken, all of it and in the order of each; no wake-up is lost, or the worker
/// would sleep for ever.
pub fn nothing_posted_is_slept_through() {
    check(|| {
        let worker = Worker::new();
        let makers = [10, 20].map(|first| {
            let worker = worker.clone();
            thread::spawn(move || {
                assert!(worker.inbox.post(first));
                assert!(worker.inbox.post(first + 1));
            })
        });
        let mut taken = Vec::new();
        while taken.len() < 4 {
            let mut batch = Vec::new();
            worker.turn(&mut batch);
            taken.append(&mut batch);
        }
        for (tens, maker) in [1, 2].into_iter().zip(makers) {
            let own: Vec<_> = taken.iter().filter(|item| **item / 10 == tens).collect();
            assert_eq!(own, [&(10 * tens), &(10 * tens + 1)]);
            maker.join().expect("no panic");
        }
    });
}

/// A post of the worker to itself wakes no thread, and a later post of another thread does not either: it
/// looks before it sleeps.
pub fn a_worker_that_posts_looks_before_it_sleeps() {
    check(|| {
        let worker = Worker::new();
        let other = {
            let worker = worker.clone();
            thread::spawn(move || worker.inbox.post(1))
        };
        let (mut taken, mut posted) = (Vec::new(), 0);
        while taken.len() < 3 {
            let mut batch = Vec::new();
            if posted < 2 {
                worker.inbox.post(10 + posted);
                posted += 1;
            }
            worker.turn(&mut batch);
            taken.append(&mut batch);
        }
        other.join().expect("no panic");
        taken.sort_unstable();
        assert_eq!(taken, [1, 10, 11]);
    });
}

/// A worker that ends leaves nothing in its mailbox, whichever thread posts meanwhile.
pub fn a_closed_handle_keeps_nothing() {
    check(|| {
        let worker = Worker::new();
        let makers = [1, 2].map(|item| {
            let worker = worker.clone();
            thread::spawn(move || worker.inbox.post(item))
        });
        worker.inbox.close();
        for maker in makers {
            maker.join().expect("no panic");
        }
        assert!(worker.inbox.is_empty());
        assert_eq!(worker.inbox.len(), 0);
        assert!(!worker.inbox.post(3));
    });
}

// --------------------------------------------------------------------------------- streamed bodies

/// A credit of which all is used, shared with the thread of the connection, which does `connection`.
fn with_full_credit(
    connection: impl Fn(&Credit) + Clone + Send + Sync + 'static,
    maker: impl Fn(&Credit) + Send + Sync + 'static,
) {
    check(move || {
        let credit = Arc::new(Credit::new(10));
        assert_eq!(credit.take(10), Room::Taken);
        let thread = {
            let (credit, connection) = (credit.clone(), connection.clone());
            thread::spawn(move || connection(&credit))
        };
        maker(&credit);
        thread.join().expect("no panic");
    });
}

/// The piece comes out of the mailbox, and is sent in two steps.
fn send_it(credit: &Credit) {
    credit.taken(10);
    credit.set_unsent(10);
    credit.set_unsent(0);
}

/// A thread that waits for space gets it, whenever it is freed.
pub fn room_ends_the_waiting() {
    with_full_credit(send_it, |credit| {
        while credit.take(10) == Room::Full {
            assert!(credit.wait(None));
        }
        assert!(!credit.is_gone());
    });
}

/// No thread waits for a connection that has ended.
pub fn the_end_ends_the_waiting() {
    with_full_credit(Credit::end, |credit| {
        while credit.take(10) == Room::Full {
            assert!(credit.wait(None));
        }
        assert!(credit.is_gone());
    });
}

/// A callback for free space is called once, and not before there is some.
pub fn room_is_told_once() {
    told_once(send_it);
}

/// Of the end, too.
pub fn the_end_is_told_once() {
    told_once(Credit::end);
}

fn told_once(connection: fn(&Credit)) {
    check(move || {
        let credit = Arc::new(Credit::new(10));
        assert_eq!(credit.take(10), Room::Taken);
        let thread = {
            let credit = credit.clone();
            thread::spawn(move || connection(&credit))
        };
        let told = std::sync::Arc::new(Count::new(0));
        let (tell, at) = (told.clone(), credit.clone());
        credit.when_ready(Box::new(move || {
            assert!(at.is_ready());
            tell.fetch_add(1, SeqCst);
        }));
        thread.join().expect("no panic");
        assert_eq!(told.load(SeqCst), 1);
    });
}

/// Two that wait for the same space: a thread and a callback.
pub fn both_ways_of_waiting_get_along() {
    check(|| {
        let credit = Arc::new(Credit::new(10));
        assert_eq!(credit.take(10), Room::Taken);
        let thread = {
            let credit = credit.clone();
            thread::spawn(move || send_it(&credit))
        };
        let waits = {
            let credit = credit.clone();
            thread::spawn(move || assert!(credit.wait(None)))
        };
        let told = std::sync::Arc::new(Count::new(0));
        let tell = told.clone();
        credit.when_ready(Box::new(move || {
            tell.fetch_add(1, SeqCst);
        }));
        thread.join().expect("no panic");
        waits.join().expect("no panic");
        assert_eq!(told.load(SeqCst), 1);
    });
}
