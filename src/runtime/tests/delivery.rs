//! Events as other pollers deliver them.
//!
//! epoll reports at once what a socket is ready for. kqueue has one event for each filter, so reading and writing of one
//! connection come apart, and between the two the connection may have changed its interest or ended. With the end
//! of the stream it reports that there is room, too, whatever the interest. What a client receives depends on none of it.

use super::http::{Bench, responses, scenarios};
use super::{connect, end, exchange, nothing_is_left, plans, same_under, short, undated};
use crate::runtime::poll::{Events, Ready};
use crate::runtime::transport::faulty::FaultPlan;
use peregrine_protocol::limits::Limits;
use std::cell::RefCell;
use std::sync::Mutex;

/// How the events of a wait reach the loops of a server.
#[derive(Debug, Default)]
pub(crate) struct Delivery(Mutex<Way>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Way {
    /// As the system reports them.
    #[default]
    Together,
    /// All that can be read, and then all that can be written.
    ReadsFirst,
    /// The other way around.
    WritesFirst,
    /// What can be read says that there is room, too, as with `EV_EOF` and bytes that are still to be read.
    ReadsWithRoom,
    /// Each event once more with all flags, and again after the next wait, when its connection may have ended.
    Repeated,
}

pub(super) const WAYS: [Way; 4] = [
    Way::ReadsFirst,
    Way::WritesFirst,
    Way::ReadsWithRoom,
    Way::Repeated,
];

thread_local! {
    /// Events of the last wait of this thread.
    static LAST: RefCell<Vec<Ready>> = const { RefCell::new(Vec::new()) };
}

impl Delivery {
    pub(super) fn set(&self, way: Way) {
        *self.0.lock().expect("no panic") = way;
    }

    pub(crate) fn of(&self, events: &Events) -> Vec<Ready> {
        let all: Vec<Ready> = events.iter().collect();
        let reads = all.iter().filter(|ready| ready.readable);
        let writes = all.iter().filter(|ready| ready.writable);
        let reads = reads.map(|&ready| Ready {
            writable: false,
            ..ready
        });
        let writes = writes.map(|&ready| Ready {
            readable: false,
            ..ready
        });
        let with_all = |&ready: &Ready| Ready {
            readable: true,
            writable: true,
            ..ready
        };
        match *self.0.lock().expect("no panic") {
            Way::Together => all,
            Way::ReadsFirst => reads.chain(writes).collect(),
            Way::WritesFirst => writes.chain(reads).collect(),
            Way::ReadsWithRoom => {
                let reads: Vec<Ready> = reads.map(|ready| with_all(&ready)).collect();
                reads.into_iter().chain(writes).collect()
            }
            Way::Repeated => LAST.with_borrow_mut(|last| {
                let again: Vec<Ready> = all.iter().map(with_all).collect();
                let before = std::mem::replace(last, again.clone());
                [before, all, again].concat()
            }),
        }
    }
}

/// None, and a few of those that divide what is read and written.
fn some_plans() -> Vec<(&'static str, FaultPlan)> {
    let mut some = plans();
    some.retain(|(name, _)| matches!(*name, "short" | "EAGAIN" | "all"));
    some.push(("no plan", FaultPlan::default()));
    some
}

#[test]
fn events_come_apart() {
    use crate::runtime::poll::{Interest, Poll, Token};
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    let (server, mut client) = UnixStream::pair().expect("a pair of sockets");
    let poll = Poll::new().expect("a poller");
    let token = Token::of(7);
    poll.add(&server, token, Interest::Both)
        .expect("registered");
    client.write_all(b"x").expect("sent");
    let mut events = Events::new();
    poll.wait(&mut events, None).expect("events");
    let delivery = Delivery::default();
    let of = |way| {
        delivery.set(way);
        let flags = |ready: Ready| (ready.readable, ready.writable);
        delivery
            .of(&events)
            .into_iter()
            .map(flags)
            .collect::<Vec<_>>()
    };
    let (read, write, both) = ((true, false), (false, true), (true, true));
    assert_eq!(of(Way::ReadsFirst), [read, write]);
    assert_eq!(of(Way::WritesFirst), [write, read]);
    assert_eq!(of(Way::ReadsWithRoom), [both, write]);
    // The system may have reported them apart itself.
    let reported = of(Way::Together).len();
    assert_eq!(of(Way::Repeated).len(), 2 * reported);
    assert_eq!(of(Way::Repeated).len(), 3 * reported);
}

/// Whole, and with an end of the stream right after the bytes.
#[test]
fn responses_do_not_depend_on_the_delivery_of_events() {
    let bench = Bench::start(Limits::default());
    let control = bench.server.control.clone();
    let half_closed = |sent: &str, plan: FaultPlan| {
        let client = connect(&bench.server, plan);
        let got = exchange(&client, sent.as_bytes(), true);
        drop(client);
        nothing_is_left(&bench.server, &bench.live, 2);
        undated(got)
    };
    for (name, sent) in scenarios() {
        control.delivery.set(Way::Together);
        let wanted = responses(&bench, name, &sent);
        for way in WAYS {
            control.delivery.set(way);
            let what = format!("{name}, {way:?}");
            same_under(some_plans(), &wanted, &what, |plan| bench.play(&sent, plan));
            // After the end of the stream the loop watches for nothing but the failure of the connection, so an event
            // then means that. No poller repeats one.
            if way == Way::Repeated {
                continue;
            }
            let got = half_closed(&sent, FaultPlan::default());
            assert!(
                got == wanted,
                "{name}, {way:?}, half-closed: {}",
                short(&got)
            );
        }
    }
    end(bench.server);
}

#[cfg(feature = "websocket")]
#[test]
fn messages_do_not_depend_on_the_delivery_of_events() {
    use super::ws;
    let bench = ws::Bench::start(super::PATIENCE);
    let control = bench.server.control.clone();
    for (name, sent) in ws::scenarios() {
        control.delivery.set(Way::Together);
        let wanted = bench.play(&sent, FaultPlan::default());
        for way in WAYS {
            control.delivery.set(way);
            let what = format!("{name}, {way:?}");
            same_under(some_plans(), &wanted, &what, |plan| bench.play(&sent, plan));
        }
    }
    end(bench.server);
}
