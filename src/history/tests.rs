//! A history with a log whose reads are counted and answered later, as those of another machine.

use super::*;
use crate::http::handler::{Handler, from_fn};
use crate::testing::Connection;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Only a failure takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Reads that wait for their answer.
type Pending = Vec<Box<dyn FnOnce() + Send>>;

/// A log in memory that answers reads when the test says so.
#[derive(Clone, Default)]
struct SlowLog {
    log: MemoryLog,
    pending: Arc<Mutex<Pending>>,
    followed: Arc<Mutex<Vec<String>>>,
}

impl SlowLog {
    fn followed(&self) -> Vec<String> {
        self.followed.lock().expect("no panic").clone()
    }

    /// Answers all reads; their number.
    fn answer(&self) -> usize {
        let mut count = 0;
        loop {
            let pending = std::mem::take(&mut *self.pending.lock().expect("no panic"));
            if pending.is_empty() {
                return count;
            }
            count += pending.len();
            pending.into_iter().for_each(|answer| answer());
        }
    }
}

impl Log for SlowLog {
    fn start(&self, feed: Feed) {
        self.log.start(feed);
    }

    fn append(&self, topic: &str, message: LogMessage) -> Result<(), LogError> {
        self.log.append(topic, message)
    }

    fn since(&self, topic: &str, start: Start, limit: usize, done: ReadDone) {
        let (log, topic) = (self.log.clone(), topic.to_owned());
        let answer = Box::new(move || log.since(&topic, start, limit, done));
        self.pending.lock().expect("no panic").push(answer);
    }

    fn follow(&self, topic: &str) {
        self.followed.lock().expect("no panic").push(topic.into());
    }

    fn unfollow(&self, topic: &str) {
        let mut followed = self.followed.lock().expect("no panic");
        followed.retain(|followed| followed != topic);
    }

    fn sweep(&self) {
        self.log.sweep();
    }
}

fn app(history: &History) -> impl Handler + use<> {
    let history = history.clone();
    from_fn(move |req: &Request<'_>, res: Response<'_>| {
        history.respond(req, res, &req.path()[1..], Start::Last(2))
    })
}

/// A page that has this last event.
fn page<'h, H: Handler>(app: &'h H, topic: &str, last_id: Option<&str>) -> Connection<'h, H> {
    let mut page = Connection::new(app);
    let id = last_id.map_or(String::new(), |id| format!("Last-Event-ID: {id}\r\n"));
    page.send(format!("GET /{topic} HTTP/1.1\r\nHost: a\r\n{id}\r\n").as_bytes());
    page
}

/// Names and data of the events that a page has got since the last look, and its last id.
fn lines<H: Handler>(page: &mut Connection<'_, H>) -> (Vec<String>, Option<String>) {
    page.wait(Duration::ZERO);
    let received = String::from_utf8(page.take_received()).expect("text");
    let mut last_id = None;
    let lines = received.lines().filter_map(|line| {
        let (name, value) = line.split_once(": ")?;
        if name == "id" {
            last_id = Some(value.to_owned());
        }
        matches!(name, "data" | "event").then(|| value.to_owned())
    });
    (lines.collect(), last_id)
}

/// The offset of an id.
fn offset(id: Option<&str>) -> u64 {
    let position: Position = id.expect("an id").parse().expect("a position");
    position.offset
}

#[test]
fn a_page_that_comes_back_gets_what_it_has_missed_once() {
    let history = History::builder(MemoryLog::new())
        .events(&EventHub::new())
        .build();
    let app = app(&history);
    let publish = |text: &str| history.publish("t", text).expect("room");
    publish("1");
    publish("2");
    publish("3");
    let mut first = page(&app, "t", None);
    let (got, id) = lines(&mut first);
    assert_eq!(
        (got, offset(id.as_deref())),
        (vec!["2".into(), "3".into()], 3)
    );
    drop(first);
    publish("4");
    publish("5");
    let mut back = page(&app, "t", id.as_deref());
    publish("6");
    let (got, id) = lines(&mut back);
    assert_eq!((got.concat(), offset(id.as_deref())), ("456".into(), 6));
    // Nothing was missed.
    let mut back = page(&app, "t", id.as_deref());
    let (got, same) = lines(&mut back);
    assert_eq!((got.concat(), same), (String::new(), id.clone()));
    for unknown in [
        "7",
        "0000000000000001-3",
        &id.expect("an id").replace("-6", "-7"),
    ] {
        let mut back = page(&app, "t", Some(unknown));
        let (got, id) = lines(&mut back);
        assert_eq!(
            (got.concat(), offset(id.as_deref())),
            ("lost".into(), 6),
            "{unknown}"
        );
    }
    // A new page that gets nothing has a position, too.
    assert_eq!(
        offset(lines(&mut page(&app, "other", None)).1.as_deref()),
        0
    );
}

/// After a restart of the process there is another log.
#[test]
fn a_page_learns_that_messages_are_lost() {
    let old = History::builder(MemoryLog::new())
        .events(&EventHub::new())
        .build();
    old.publish("t", "1").expect("room");
    let app_before = app(&old);
    let (_, id) = lines(&mut page(&app_before, "t", None));
    let new = History::builder(MemoryLog::new())
        .events(&EventHub::new())
        .build();
    let app_after = app(&new);
    new.publish("t", "2").expect("room");
    new.publish("t", "3").expect("room");
    let mut back = page(&app_after, "t", id.as_deref());
    assert_eq!(lines(&mut back).0.concat(), "lost");
    new.publish("t", "4").expect("room");
    let (got, id) = lines(&mut back);
    assert_eq!((got.concat(), offset(id.as_deref())), ("4".into(), 3));
}

/// Ten thousand pages come back at once, from ten positions.
#[test]
fn a_storm_costs_one_read_for_each_position() {
    let log = SlowLog::default();
    let history = History::builder(log.clone())
        .events(&EventHub::new())
        .build();
    let app = app(&history);
    for n in 1..=20 {
        history.publish("t", n.to_string()).expect("room");
    }
    let mut first = page(&app, "t", None);
    assert_eq!(log.answer(), 1);
    let id = lines(&mut first).1.expect("an id");
    drop(first);
    let at = |n: usize| format!("{}-{}", id.split_once('-').expect("an id").0, 11 + n % 10);
    let mut pages: Vec<_> = (0..10_000).map(|n| page(&app, "t", Some(&at(n)))).collect();
    history.publish("t", "while they wait").expect("room");
    assert!((1..=10).contains(&log.answer()));
    for (n, page) in pages.iter_mut().enumerate() {
        let mut expected: Vec<_> = (12 + n % 10..=20).map(|n| n.to_string()).collect();
        expected.push("while they wait".into());
        let (got, id) = lines(page);
        assert_eq!((got, offset(id.as_deref())), (expected, 21));
    }
    // Later ones find all in memory.
    let mut late = page(&app, "t", Some(&at(0)));
    assert_eq!((log.answer(), lines(&mut late).0.len()), (0, 10));
}

/// A log that cannot be reached holds up no page: it is subscribed, and is told that messages may be lost.
#[test]
fn a_log_that_fails_holds_up_no_page() {
    #[derive(Clone, Default)]
    struct Broken(Arc<Mutex<Option<Feed>>>, Arc<Mutex<Option<u64>>>);
    impl Log for Broken {
        fn start(&self, feed: Feed) {
            *self.0.lock().expect("no panic") = Some(feed);
        }
        fn append(&self, _: &str, _: LogMessage) -> Result<(), LogError> {
            Err(LogError::Unavailable)
        }
        fn since(&self, _: &str, _: Start, _: usize, done: ReadDone) {
            let offset = *self.1.lock().expect("no panic");
            done(match offset {
                Some(offset) => Ok(Read::Recovered {
                    entries: Vec::new(),
                    last: Position { epoch: 7, offset },
                }),
                None => Err(LogError::Unavailable),
            });
        }
    }
    let log = Broken::default();
    let history = History::builder(log.clone())
        .events(&EventHub::new())
        .build();
    let app = app(&history);
    let mut new = page(&app, "t", None);
    let mut back = page(&app, "t", Some("0000000000000007-3"));
    for page in [&mut new, &mut back] {
        let (got, id) = lines(page);
        assert_eq!((got.concat(), id), ("lost".into(), None));
    }
    assert_eq!(history.publish("t", "x"), Err(LogError::Unavailable));
    // It can be read again: those pages do not know what they have missed meanwhile.
    *log.1.lock().expect("no panic") = Some(4);
    let feed = log.0.lock().expect("no panic").clone().expect("a feed");
    feed.interrupted();
    for page in [&mut new, &mut back] {
        let (got, id) = lines(page);
        assert_eq!((got.concat(), offset(id.as_deref())), ("lost".into(), 4));
    }
    for (offset, text) in [(4, "again"), (5, "new"), (5, "again")] {
        feed.deliver("t", Position { epoch: 7, offset }, text.into());
    }
    assert_eq!(lines(&mut new).0.concat(), "new");
    drop((new, back));
    drop(app);
    drop(history);
    assert!(feed.is_closed());
}

#[test]
fn names_messages_and_topics_are_limited() {
    let limits = HistoryLimits::default()
        .topics(1)
        .topic_bytes(2)
        .message_bytes(3);
    let log = SlowLog::default();
    let history = History::builder(log.clone())
        .events(&EventHub::new())
        .limits(limits)
        .build();
    assert_eq!(history.publish("t", "1234"), Err(LogError::TooLarge));
    assert_eq!(history.publish("ttt", "1"), Err(LogError::TopicName));
    assert_eq!(history.publish("tt", "123"), Ok(()));
    let app = app(&history);
    let status = |topic: &str| {
        let mut page = page(&app, topic, None);
        let head = String::from_utf8(page.take_received()).expect("text");
        (page, head[9..12].to_owned())
    };
    let (first, ok) = status("a");
    assert_eq!(
        (&*ok, &*status("b").1, &*status("abc").1),
        ("200", "503", "503")
    );
    assert_eq!(log.followed(), ["a"]);
    // Its place is free when its last page has gone and its read has ended.
    drop(first);
    assert_eq!(&*status("b").1, "503");
    log.answer();
    assert_eq!(&*status("b").1, "200");
    assert_eq!(log.followed(), ["b"]);
}

#[test]
fn the_bytes_of_recent_messages_are_limited() {
    for (limits, expected) in [
        (HistoryLimits::default(), 0),
        (HistoryLimits::default().recent_bytes(0), 1),
        (HistoryLimits::default().all_recent_bytes(0), 1),
    ] {
        let log = SlowLog::default();
        let history = History::builder(log.clone())
            .events(&EventHub::new())
            .limits(limits)
            .build();
        let app = app(&history);
        let mut first = page(&app, "t", None);
        log.answer();
        let id = lines(&mut first).1;
        history.publish("t", "1").expect("room");
        let mut back = page(&app, "t", id.as_deref());
        assert_eq!(log.answer(), expected, "{limits:?}");
        assert_eq!(lines(&mut back).0, ["1"]);
        assert_eq!(lines(&mut first).0, ["1"]);
    }
}

/// The format may not publish: it would wait for itself.
#[test]
fn a_format_cannot_use_the_history_and_its_panic_is_caught() {
    let this: Arc<std::sync::OnceLock<History>> = Arc::default();
    let inner = this.clone();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let results = seen.clone();
    let history = History::builder(MemoryLog::new()).events_with(&EventHub::new(), move |update| {
        let UpdateKind::Message(message) = update.kind else {
            return Some(Event::new());
        };
        assert!(message.as_text() != Some("panic"), "as the test wants");
        let history = inner.get().expect("set");
        results
            .lock()
            .expect("no panic")
            .push(history.publish("t", "from the format"));
        Some(Event::from(message.as_text()?))
    });
    let history = history.build();
    assert!(this.set(history.clone()).is_ok());
    let app = app(&history);
    let mut first = page(&app, "t", None);
    for text in ["1", "panic", "2"] {
        assert_eq!(history.publish("t", text), Ok(()));
    }
    assert_eq!(lines(&mut first).0, ["1", "2"]);
    assert_eq!(
        *seen.lock().expect("no panic"),
        [Err(LogError::WithinFormat); 2]
    );
}

/// A log that gives nothing to the feed, and whose reads fail as long as the test says so.
#[derive(Clone, Default)]
struct SilentLog {
    log: MemoryLog,
    feed: Arc<Mutex<Option<Feed>>>,
    fails: Arc<std::sync::atomic::AtomicBool>,
}

impl Log for SilentLog {
    fn start(&self, feed: Feed) {
        *self.feed.lock().expect("no panic") = Some(feed);
    }

    fn append(&self, topic: &str, message: LogMessage) -> Result<(), LogError> {
        self.log.append(topic, message)
    }

    fn since(&self, topic: &str, start: Start, limit: usize, done: ReadDone) {
        match self.fails.load(std::sync::atomic::Ordering::Relaxed) {
            true => done(Err(LogError::Unavailable)),
            false => self.log.since(topic, start, limit, done),
        }
    }
}

/// What a page gets that waits for something.
fn waits<H: Handler>(page: &mut Connection<'_, H>) -> Vec<String> {
    loop {
        assert!(page.wait(PATIENCE), "nothing comes");
        let (lines, _) = lines(page);
        if !lines.is_empty() {
            return lines;
        }
    }
}

#[track_caller]
fn wait_until(is_so: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end);
        std::thread::yield_now();
    }
}

/// A history that sweeps all the time.
fn swept(log: impl Log) -> History {
    let mut history = History::builder(log).events(&EventHub::new());
    history.sweep = Duration::from_millis(1);
    history.build()
}

/// As after an outage, when the read of a topic finds the queue of the log full.
#[test]
fn a_topic_whose_read_has_failed_is_read_again() {
    let log = SilentLog::default();
    let history = swept(log.clone());
    let app = app(&history);
    let mut page = page(&app, "t", None);
    assert_eq!(lines(&mut page).0, [""; 0]);
    history.publish("t", "1").expect("room");
    log.fails.store(true, std::sync::atomic::Ordering::Relaxed);
    let feed = log.feed.lock().expect("no panic").clone();
    feed.expect("started").interrupted();
    assert_eq!(lines(&mut page).0, [""; 0]);
    log.fails.store(false, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(waits(&mut page), ["1"]);
}

/// The program calls nothing, and no client comes.
#[test]
fn what_is_not_needed_any_more_is_freed_by_a_thread() {
    let log = SlowLog {
        log: MemoryLog::with_limits(MemoryLogLimits::default().ttl(Duration::from_millis(1))),
        ..SlowLog::default()
    };
    let history = swept(log.clone());
    let app = app(&history);
    let first = page(&app, "t", None);
    log.answer();
    assert_eq!((history.topics(), log.followed().len()), (1, 1));
    let empty = log.log.bytes();
    history.publish("t", "x".repeat(1000)).expect("room");
    wait_until(|| log.log.bytes() < empty + 1000);
    wait_until(|| history.0.recent_bytes() == 0);
    drop(first);
    wait_until(|| history.topics() == 0 && log.followed().is_empty());
}

#[test]
fn a_history_that_is_dropped_follows_nothing() {
    let log = SlowLog::default();
    let history = History::builder(log.clone())
        .events(&EventHub::new())
        .build();
    let app = app(&history);
    drop(page(&app, "t", None));
    log.answer();
    assert_eq!(log.followed(), ["t"]);
    drop((history, app));
    assert_eq!(log.followed(), [""; 0]);
}

#[test]
fn clients_that_wait_are_limited() {
    let log = SlowLog::default();
    let history = History::builder(log.clone())
        .events(&EventHub::new())
        .limits(HistoryLimits::default().waiting(2))
        .build();
    let results = Arc::new(Mutex::new(Vec::new()));
    let (subscribe, result) = (history.clone(), results.clone());
    let app = from_fn(move |req: &Request<'_>, res: Response<'_>| {
        let (done, page) = res.events();
        let start = History::start(req, Start::Now);
        let subscribed = subscribe.subscribe_events(page, &req.path()[1..], start);
        result.lock().expect("no panic").push(subscribed);
        done
    });
    let take = || std::mem::take(&mut *results.lock().expect("no panic"));
    history.publish("a", "1").expect("room");
    let mut all: Vec<_> = ["a", "b", "a", "c"]
        .map(|topic| page(&app, topic, None))
        .into();
    let refused = Err(LogError::Full);
    assert_eq!(take(), [Ok(()), Ok(()), refused, refused]);
    assert_eq!((history.topics(), log.followed().len()), (2, 2));
    assert_eq!(log.answer(), 2);
    let id = lines(&mut all[0]).1.expect("an id");
    // Two wait again: those that need not wait are served.
    history.publish("a", "2").expect("room");
    all.extend(["c", "d", "a", "e"].map(|topic| page(&app, topic, None)));
    all.push(page(&app, "a", Some(&id)));
    assert_eq!(take(), [Ok(()), Ok(()), Ok(()), refused, Ok(())]);
    assert_eq!(lines(all.last_mut().expect("a page")).0, ["2"]);
    assert_eq!(log.answer(), 2);
    all.push(page(&app, "e", None));
    assert_eq!(take(), [Ok(())]);
}
