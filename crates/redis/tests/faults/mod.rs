//! Faults that were found once: of replies, of the queue, of presence, of relays, of the time that keys are kept.

mod presence;
mod relay;

use super::{MS, texts};
use crate::support::{Gate, Node, SILENCE, Server, config, page, wait_until};
use peregrine::history::{History, LogError, Start};
use peregrine::sse::EventHub;
use peregrine::{Request, Response, from_fn};
use peregrine_redis::{Config, Redis};
use std::time::Duration;

/// The number that is the reply.
fn number(server: &Server, command: &[&str]) -> i64 {
    let reply = server.command(command);
    let line = reply.lines().next().and_then(|line| line.strip_prefix(':'));
    line.and_then(|line| line.parse().ok()).expect("a number")
}

/// A user without a right to channels, as Redis 7 makes one.
#[test]
fn a_user_without_channels_is_not_connected() {
    let server = Server::start();
    // As in the README, without the channels.
    let rights = ["~peregrine:*", "+@all", "-@dangerous", "+info"];
    let user = ["ACL", "SETUSER", "app", "on", ">pw", "resetchannels"];
    server.command(&[&user[..], &rights[..]].concat());
    let node = Node::connect(config(&server).username("app").password("pw"));
    wait_until("refused", || {
        let error = node.redis.last_error();
        error.is_some_and(|error| error.contains("NOPERM"))
    });
    assert!(!node.redis.is_connected());
    server.command(&["ACL", "SETUSER", "app", "&peregrine:*"]);
    wait_until("connected", || node.redis.is_connected());
    // Nothing else is refused.
    let connections = node.redis.connections();
    let app = node.app();
    let mut page = page(&app, "t", None);
    page.wait_for_id();
    node.publish("t", 1);
    page.wait_until(|lines| texts(lines) == [1]);
    let stay = node.enter("room", "ann");
    wait_until("ann", || node.members("room") == ["ann"]);
    drop(stay);
    wait_until("no person", || node.counted("room").count == 0);
    assert_eq!(node.redis.connections(), connections);
}

/// An error to a SUBSCRIBE is not taken for the reply of another command.
#[test]
fn a_subscription_that_is_refused_mixes_no_topics() {
    let server = Server::start();
    let channels = ["&peregrine:c:", "&peregrine:p:*", "&peregrine:h:a"];
    let user = [
        "ACL",
        "SETUSER",
        "app",
        "on",
        ">pw",
        "~*",
        "+@all",
        "resetchannels",
    ];
    server.command(&[&user[..], &channels[..]].concat());
    let node = Node::connect(config(&server).username("app").password("pw"));
    let other = Node::connect(config(&server));
    let app = node.app();
    let mut allowed = page(&app, "a", None);
    allowed.wait_for_id();
    let mut refused = page(&app, "b", None);
    wait_until("refused", || {
        node.redis
            .last_error()
            .is_some_and(|error| error.contains("NOPERM"))
    });
    other.publish("a", 1);
    other.publish("b", 2);
    assert!(other.redis.flush(Duration::from_secs(60)));
    server.command(&["ACL", "SETUSER", "app", "allchannels"]);
    allowed.wait_until(|lines| texts(lines) == [1]);
    refused.wait_until(|lines| lines.contains(&"lost".to_owned()) || texts(lines) == [2]);
    wait_until("connected", || node.redis.is_connected());
    assert!(node.redis.flush(Duration::from_secs(60)));
    other.publish("a", 3);
    other.publish("b", 4);
    allowed.wait_until(|lines| texts(lines) == [1, 3]);
    refused.wait_until(|lines| texts(lines).last() == Some(&4));
    assert!(!texts(&refused.lines).contains(&1));
    assert!(!texts(&refused.lines).contains(&3));
}

/// The reply is lost, and others have published more than the topic keeps before the message is sent again.
#[test]
fn a_message_sent_again_comes_once_on_a_busy_topic() {
    let server = Server::start();
    let gate = Gate::to(server.addr());
    let node = Node::connect(Config::new(&gate.addr()).backoff(MS, 5 * MS));
    let busy = Node::connect(config(&server).messages(1));
    wait_until("connected", || node.redis.is_connected());
    let app = busy.app();
    let mut page = page(&app, "t", None);
    page.wait_for_id();
    gate.hold_replies();
    node.publish("t", 7);
    page.wait_until(|lines| texts(lines) == [7]);
    for n in 1000..1600 {
        busy.publish("t", n);
    }
    page.wait_until(|lines| texts(lines).len() == 601);
    gate.hold(false);
    gate.break_all();
    assert!(node.redis.flush(Duration::from_secs(60)));
    node.publish("t", 8);
    page.wait_until(|lines| texts(lines).contains(&8));
    let got = texts(&page.lines);
    assert_eq!(got.iter().filter(|number| **number == 7).count(), 1);
    assert_eq!(got.len(), 602);
}

/// Redis refuses a message for want of memory: those behind it wait, too.
#[test]
fn messages_keep_their_order_when_memory_is_short() {
    let server = Server::start();
    let node = Node::connect(config(&server));
    let app = node.app();
    let mut page = page(&app, "t", None);
    page.wait_for_id();
    for round in 0..5 {
        server.command(&["CONFIG", "SET", "maxmemory", "1"]);
        for n in 0..50 {
            node.publish("t", round * 100 + n + 1);
        }
        server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    }
    page.wait_until(|lines| texts(lines).len() >= 250);
    let due = (0..5).flat_map(|round| (1..=50).map(move |n| round * 100 + n));
    assert_eq!(texts(&page.lines), due.collect::<Vec<u64>>());
}

/// A connection comes back while messages fill the queue: what the pages have missed is read all the same.
#[test]
fn a_full_queue_refuses_no_read() {
    let server = Server::start();
    let gate = Gate::to(server.addr());
    let slow = Config::new(&gate.addr())
        .queue_bytes(40_000)
        .backoff(MS, 5 * MS);
    let node = Node::connect(slow.ping_interval(SILENCE).connect_timeout(SILENCE));
    let other = Node::connect(config(&server));
    let app = node.app();
    let mut page = page(&app, "t", None);
    page.wait_for_id();
    gate.hold(true);
    wait_until("not connected", || !node.redis.is_connected());
    while node.history.publish("x", "y".repeat(100)) != Err(LogError::Full) {}
    for n in 1..=3 {
        other.publish("t", n);
    }
    assert!(other.redis.flush(Duration::from_secs(60)));
    gate.hold(false);
    page.wait_until(|lines| texts(lines) == [1, 2, 3]);
    assert!(!page.is_lost());
}

/// A history that ends, or gives a topic up, leaves the channel to the other histories of the connection.
#[test]
fn two_histories_of_a_connection_share_a_topic() {
    let server = Server::start();
    let node = Node::connect(config(&server)).ready();
    let app = node.app();
    let mut here = page(&app, "t", None);
    here.wait_for_id();
    let hub = EventHub::new();
    let second = History::builder(node.redis.log()).events(&hub).build();
    let shown = second.clone();
    let second_app = from_fn(move |req: &Request<'_>, res: Response<'_>| {
        shown.respond(req, res, "t", Start::Now)
    });
    let mut there = page(&second_app, "t", None);
    there.wait_for_id();
    node.publish("t", 1);
    here.wait_until(|lines| texts(lines) == [1]);
    there.wait_until(|lines| texts(lines) == [1]);
    drop(there);
    drop((second_app, second));
    node.publish("t", 2);
    here.wait_until(|lines| texts(lines) == [1, 2]);
    // The channel is left with the last one.
    drop(here);
    drop((app, node));
    let channels = ["PUBSUB", "NUMSUB", "peregrine:h:t"];
    wait_until("no subscriber", || {
        server.command(&channels).contains("\r\n:0\r\n")
    });
}

#[test]
fn keys_are_kept_as_long_as_they_are_of_use() {
    let server = Server::start();
    let node = Node::connect(config(&server));
    let app = node.app();
    page(&app, "read", None).wait_for_id();
    let (hour, day) = (3_600_000, 86_400_000);
    let read = number(&server, &["PTTL", "peregrine:m:read"]);
    assert!((hour / 2..=hour).contains(&read), "{read}");
    node.publish("read", 1);
    assert!(node.redis.flush(Duration::from_secs(60)));
    let written = number(&server, &["PTTL", "peregrine:m:read"]);
    assert!((day / 2..=day).contains(&written), "{written}");
    let long = Node::connect(config(&server).ttl(Duration::from_secs(3 * 86_400)));
    long.publish("long", 1);
    assert!(long.redis.flush(Duration::from_secs(60)));
    let kept = number(&server, &["PTTL", "peregrine:m:long"]);
    assert!((2 * day..=3 * day).contains(&kept), "{kept}");
}

/// A server that does not know AUTH repeats its arguments.
#[test]
fn an_error_has_no_password() {
    for (password, without_auth) in [
        ("hidden", true),
        (&*"hidden".repeat(50), true),
        ("hidden", false),
    ] {
        let server = Server::with_lines(match without_auth {
            true => "rename-command HELLO \"\"\nrename-command AUTH \"\"\nsave \"\"\n",
            false => "requirepass other\nsave \"\"\n",
        });
        let node = Node::connect(config(&server).username("app").password(password));
        let error = || node.redis.last_error().unwrap_or_default();
        let wanted = if without_auth {
            "unknown command"
        } else {
            "WRONGPASS"
        };
        wait_until(wanted, || error().contains(wanted));
        assert!(!error().contains("hidden"), "{}", error());
    }
}

/// An error that another connection would get, too: the message is lost, that is counted, and the pages are told.
#[test]
fn a_message_that_redis_refuses_is_counted() {
    let server = Server::start();
    let node = Node::connect(config(&server)).ready();
    let app = node.app();
    let mut page = page(&app, "t", None);
    page.wait_for_id();
    server.command(&["SET", "peregrine:s:t", "another"]);
    node.publish("t", 1);
    assert!(node.redis.flush(Duration::from_secs(60)));
    let error = node.redis.last_error().unwrap_or_default();
    assert!(error.contains("WRONGTYPE"), "{error}");
    assert_eq!(node.redis.refused(), 1);
    server.command(&["DEL", "peregrine:s:t"]);
    node.publish("t", 2);
    page.wait_until(|lines| lines.contains(&"lost".to_owned()));
    assert_eq!((node.redis.refused(), node.redis.connections()), (1, 1));
}

/// A process and a client have missed more than a reply may have: they are told, and the connection stays.
#[test]
fn messages_that_do_not_fit_into_a_reply_are_lost() {
    let server = Server::start();
    let gate = Gate::to(server.addr());
    let small = Config::new(&gate.addr()).reply_bytes(20_000);
    let small = small.ping_interval(SILENCE).backoff(MS, 5 * MS);
    let away = Node::connect(small).ready();
    let node = Node::connect(config(&server)).ready();
    let app = away.app();
    let mut first = page(&app, "t", None);
    first.wait_for_id();
    let id = first.id.clone();
    gate.hold(true);
    wait_until("not connected", || !away.redis.is_connected());
    for _ in 0..10 {
        let published = node.history.publish("t", "x".repeat(5000));
        assert_eq!(published, Ok(()));
    }
    assert!(node.redis.flush(Duration::from_secs(60)));
    gate.hold(false);
    first.wait_until(|lines| lines.contains(&"lost".to_owned()));
    let before = away.redis.connections();
    let mut back = page(&app, "t", id.as_deref());
    back.wait_until(|lines| lines.contains(&"lost".to_owned()));
    node.publish("t", 1);
    for page in [&mut first, &mut back] {
        page.wait_until(|lines| texts(lines) == [1]);
    }
    // Another node, with the same limit, has read nothing yet.
    let fresh = Node::connect(config(&server).reply_bytes(20_000)).ready();
    let history = fresh.history.clone();
    let last = from_fn(move |req: &Request<'_>, res: Response<'_>| {
        history.respond(req, res, "t", Start::Last(10))
    });
    let mut last = page(&last, "t", None);
    last.wait_until(|lines| lines.len() == 4);
    assert_eq!(texts(&last.lines), [1]);
    assert_eq!(fresh.redis.connections(), 1);
    assert_eq!(away.redis.connections(), before);
}

/// A PING is no command of the queue.
#[test]
fn pings_are_not_counted() {
    let server = Server::start();
    let redis = Redis::connect(config(&server).ping_interval(SILENCE)).expect("a thread");
    wait_until("pings", || {
        let stats = server.command(&["INFO", "commandstats"]);
        let calls = stats
            .lines()
            .find_map(|line| line.strip_prefix("cmdstat_ping:calls="));
        let calls = calls.and_then(|calls| calls.split_once(',')?.0.parse::<u64>().ok());
        calls.is_some_and(|calls| calls >= 3)
    });
    assert!(redis.is_connected());
    assert_eq!(redis.last_error(), None);
}

#[test]
fn a_connection_serves_one_presence_and_one_relay() {
    let redis = Redis::connect(Config::new("127.0.0.1:1")).expect("a thread");
    assert!(redis.presence().is_ok() && redis.relay().is_ok());
    assert!(redis.clone().presence().is_err() && redis.relay().is_err());
}
