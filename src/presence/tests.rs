//! A person is there once, whatever tabs come and go.

use super::*;

type Told = Arc<Mutex<Vec<String>>>;

fn presence(limits: PresenceLimits) -> (Presence, Told) {
    let told = Told::default();
    let tell = told.clone();
    let presence = Presence::builder(MemoryPresence::new()).limits(limits);
    let presence = presence.on_change(move |topic, person, change| {
        let mut told = tell.lock().expect("no panic");
        told.push(format!("{topic} {person} {change:?}"));
    });
    (presence.build(), told)
}

fn names(presence: &Presence, topic: &str) -> (usize, String) {
    let (give, given) = std::sync::mpsc::channel();
    presence.members(topic, move |members| give.send(members).expect("heard"));
    let members = given.try_recv().expect("at once").expect("in memory");
    (members.count, members.names.join(" "))
}

fn take(told: &Told) -> Vec<String> {
    std::mem::take(&mut *told.lock().expect("no panic"))
}

#[test]
fn a_person_with_two_tabs_is_there_once() {
    let (presence, told) = presence(PresenceLimits::default());
    let ann = presence.enter("a", "ann").expect("room");
    let again = presence.enter("a", "ann").expect("room");
    let other = presence.enter("b", "ann").expect("room");
    let bob = presence.enter("a", "bob").expect("room");
    assert_eq!(
        take(&told),
        ["a ann Joined", "b ann Joined", "a bob Joined"]
    );
    assert_eq!(
        (names(&presence, "a"), presence.entries()),
        ((2, "ann bob".into()), 3)
    );
    drop(ann);
    assert_eq!(take(&told), [""; 0]);
    drop(again);
    assert_eq!(take(&told), ["a ann Left"]);
    assert_eq!(
        (names(&presence, "a"), names(&presence, "b").0),
        ((1, "bob".into()), 1)
    );
    drop((other, bob));
    assert_eq!(take(&told), ["b ann Left", "a bob Left"]);
    assert_eq!(
        (names(&presence, "a"), presence.entries()),
        ((0, String::new()), 0)
    );
    let state = presence.0.state();
    assert!(state.stays.is_empty() && state.reads.is_empty() && state.steps.is_empty());
}

#[test]
fn persons_and_names_are_limited() {
    let limits = PresenceLimits::default().entries(2).name_bytes(3).listed(1);
    let (presence, _) = presence(limits);
    let enter = |topic: &str, person: &str| {
        presence
            .enter(topic, person)
            .map_err(|error| error.to_string())
    };
    for (topic, person) in [("room", "a"), ("a", "anna")] {
        assert_eq!(
            presence.enter(topic, person).err(),
            Some(PresenceError::Name)
        );
    }
    let (_a, _b) = (enter("a", "ann"), enter("a", "bob"));
    assert_eq!(presence.enter("b", "ann").err(), Some(PresenceError::Full));
    let (give, given) = std::sync::mpsc::channel();
    presence.members("room", move |members| give.send(members).expect("heard"));
    assert_eq!(given.try_recv().expect("at once"), Err(PresenceError::Name));
    assert!(enter("a", "ann").is_ok(), "a second tab takes no place");
    assert_eq!(names(&presence, "a"), (2, "ann".into()));
    drop(_b);
    assert!(enter("b", "ann").is_ok());
}

/// Whatever the function for changes does, each person joins and leaves in turn.
#[test]
fn the_function_for_changes_may_enter_and_leave_and_panic() {
    let this: Arc<std::sync::OnceLock<Presence>> = Arc::default();
    let (inner, told) = (this.clone(), Told::default());
    let (tell, stay) = (told.clone(), Mutex::new(None));
    let presence =
        Presence::builder(MemoryPresence::new()).on_change(move |topic, person, change| {
            tell.lock()
                .expect("no panic")
                .push(format!("{topic} {person} {change:?}"));
            let presence = inner.get().expect("set");
            match (topic, change) {
                ("a", Change::Joined) => {
                    let entered = presence.enter("b", person).expect("room");
                    *stay.lock().expect("no panic") = Some(entered);
                }
                ("b", Change::Joined) => drop(stay.lock().expect("no panic").take()),
                ("b", Change::Left) => panic!("as the test wants"),
                _ => {}
            }
        });
    let presence = presence.build();
    assert!(this.set(presence.clone()).is_ok());
    drop(presence.enter("a", "ann").expect("room"));
    drop(presence.enter("c", "ann").expect("room"));
    let expected = [
        "a ann Joined",
        "b ann Joined",
        "b ann Left",
        "a ann Left",
        "c ann Joined",
        "c ann Left",
    ];
    assert_eq!(take(&told), expected);
}

/// A store that runs a function of the test when a person enters.
struct Hook<F>(F);

impl<F: Fn(&str) + Send + Sync + 'static> PresenceStore for Hook<F> {
    fn start(&self, _: PresenceFeed) {}
    fn enter(&self, _: &str, person: &str) {
        (self.0)(person);
    }
    fn leave(&self, _: &str, _: &str) {}
    fn members(&self, _: &str, _: usize, _: MembersDone) {}
}

/// While the store is told of the first person, this function runs.
fn while_telling(
    limits: PresenceLimits,
    act: impl Fn(&Presence) + Send + Sync + 'static,
    told: impl Fn(&str) + Send + Sync + 'static,
) -> Presence {
    let this: Arc<std::sync::OnceLock<Presence>> = Arc::default();
    let inner = this.clone();
    let store = Hook(move |person: &str| match person {
        "first" => act(inner.get().expect("set")),
        _ => told(person),
    });
    let presence = Presence::builder(store).limits(limits).build();
    assert!(this.set(presence.clone()).is_ok());
    presence
}

#[test]
fn a_join_and_a_leave_that_both_wait_cancel_out() {
    let act = |presence: &Presence| {
        for _ in 0..1000 {
            drop(presence.enter("a", "ann").expect("room"));
        }
        assert!(presence.0.state().steps.is_empty());
    };
    let presence = while_telling(PresenceLimits::default(), act, |_| panic!("not there"));
    let _first = presence.enter("a", "first").expect("room");
    assert!(presence.0.state().steps.is_empty());
}

/// However persons come and go while the store is told of one, not more than twice the entries wait.
#[test]
fn what_a_store_has_still_to_be_told_is_limited() {
    let failed = Arc::new(Mutex::new(None));
    let fail = failed.clone();
    let here = Arc::new(Mutex::new(Vec::new()));
    let stays = here.clone();
    let act = move |presence: &Presence| {
        drop(std::mem::take(&mut *stays.lock().expect("no panic")));
        let entered = (0..10).map(|n| presence.enter("a", &n.to_string()).err());
        // Each of them waits no more when it is dropped at once.
        assert!(entered.collect::<Vec<_>>().iter().all(Option::is_none));
        let mut state = presence.0.state();
        for n in 0..4 {
            state.steps.push(Step {
                topic: "a".into(),
                person: format!("gone {n}").into(),
                change: Change::Left,
            });
        }
        drop(state);
        *fail.lock().expect("no panic") = Some((
            presence.enter("a", "one more").err(),
            presence.0.state().steps.leaves(),
        ));
    };
    let presence = while_telling(PresenceLimits::default().entries(4), act, |_| {});
    for n in 0..3 {
        let stay = presence.enter("a", &format!("old {n}")).expect("room");
        here.lock().expect("no panic").push(stay);
    }
    let _first = presence.enter("a", "first").expect("room");
    // One is there, and seven have gone.
    let expected = Some((Some(PresenceError::Full), 7));
    assert_eq!(*failed.lock().expect("no panic"), expected);
    assert_eq!(presence.0.state().steps.leaves(), 0);
    assert!(presence.enter("a", "one more").is_ok());
}

#[test]
fn a_thread_does_not_tell_all_that_others_change() {
    let (give, given) = std::sync::mpsc::channel();
    let here = Arc::new(Mutex::new(Vec::new()));
    let stays = here.clone();
    let act = move |presence: &Presence| {
        let entered = (0..1000).map(|n| presence.enter("a", &n.to_string()).expect("room"));
        stays.lock().expect("no panic").extend(entered);
    };
    let give = Mutex::new(give);
    let told = move |person: &str| {
        let told = (person.to_owned(), std::thread::current().id());
        give.lock().expect("no panic").send(told).expect("heard");
    };
    let presence = while_telling(PresenceLimits::default(), act, told);
    let _first = presence.enter("a", "first").expect("room");
    let told: Vec<_> = given.iter().take(1000).collect();
    let me = std::thread::current().id();
    assert!(
        told.iter()
            .map(|told| &told.0)
            .eq(&(0..1000).map(|n| n.to_string()).collect::<Vec<_>>())
    );
    assert_eq!(told.iter().filter(|told| told.1 == me).count(), STEPS - 1);
}

#[test]
fn threads_tell_a_person_in_turn() {
    let (presence, told) = presence(PresenceLimits::default());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    drop(presence.enter("a", "ann").expect("room"));
                }
            });
        }
    });
    let told = take(&told);
    assert!(!told.is_empty() && told.len() % 2 == 0);
    for pair in told.chunks(2) {
        assert_eq!(pair, ["a ann Joined", "a ann Left"]);
    }
}

/// Ten thousand pages ask at once: those that come while the store is read share one read.
#[test]
fn calls_share_reads() {
    #[derive(Clone, Default)]
    struct Slow(Arc<Mutex<Vec<MembersDone>>>);
    impl PresenceStore for Slow {
        fn start(&self, _: PresenceFeed) {}
        fn enter(&self, _: &str, _: &str) {}
        fn leave(&self, _: &str, _: &str) {}
        fn members(&self, _: &str, _: usize, done: MembersDone) {
            self.0.lock().expect("no panic").push(done);
        }
    }
    let store = Slow::default();
    let presence = Presence::builder(store.clone()).build();
    let done = Arc::new(Mutex::new(0));
    let lists = Arc::new(Mutex::new(Vec::new()));
    for _ in 0..10_000 {
        let (done, lists) = (done.clone(), lists.clone());
        presence.members("a", move |members| {
            *done.lock().expect("no panic") += 1;
            lists.lock().expect("no panic").extend(members);
        });
    }
    let answer = || {
        let reads = std::mem::take(&mut *store.0.lock().expect("no panic"));
        let count = reads.len();
        reads
            .into_iter()
            .for_each(|done| done(Ok(Members::default())));
        (count, *done.lock().expect("no panic"))
    };
    assert_eq!(
        [answer(), answer(), answer()],
        [(1, 1), (1, 10_000), (0, 10_000)]
    );
    // They share the list, too.
    let lists = std::mem::take(&mut *lists.lock().expect("no panic"));
    assert!(lists[1..].iter().all(|list| Arc::ptr_eq(list, &lists[1])));
    assert_eq!(lists.len(), 10_000);
    presence.members("a", |_| panic!("as the test wants"));
    assert_eq!(answer().0, 1);
    presence.members("a", |_| {});
    assert_eq!(answer().0, 1);
}

/// A function that asks again when it is answered, with a store that answers at once.
#[test]
fn a_call_within_a_call_needs_no_stack() {
    fn ask(presence: Presence, left: usize, end: std::sync::mpsc::Sender<()>) {
        let again = presence.clone();
        let topic = if left % 3 == 0 { "a" } else { "b" };
        presence.members(topic, move |_| match left {
            0 => end.send(()).expect("heard"),
            _ => ask(again, left - 1, end),
        });
    }
    let (presence, _) = presence(PresenceLimits::default());
    let (end, ended) = std::sync::mpsc::channel();
    ask(presence.clone(), 100_000, end);
    ended.try_recv().expect("at once");
    assert!(presence.0.state().reads.is_empty());
}

/// Each read of the store meets a call of another thread.
#[test]
fn a_thread_does_not_read_for_ever_for_others() {
    struct Busy(Arc<std::sync::OnceLock<Presence>>, Arc<Mutex<usize>>);
    impl PresenceStore for Busy {
        fn start(&self, _: PresenceFeed) {}
        fn enter(&self, _: &str, _: &str) {}
        fn leave(&self, _: &str, _: &str) {}
        fn members(&self, _: &str, _: usize, done: MembersDone) {
            *self.1.lock().expect("no panic") += 1;
            let reads = *self.1.lock().expect("no panic");
            assert!(reads < 100, "the test would not end");
            let presence = self.0.get().expect("set").clone();
            let other = std::thread::spawn(move || presence.members("a", |_| {}));
            other.join().expect("no panic");
            done(Ok(Members::default()));
        }
    }
    let (this, reads) = (Arc::default(), Arc::default());
    let presence = Presence::builder(Busy(Arc::clone(&this), Arc::clone(&reads))).build();
    assert!(this.set(presence.clone()).is_ok());
    presence.members("a", |_| {});
    assert_eq!(*reads.lock().expect("no panic"), 2);
    assert!(presence.0.state().reads.is_empty());
}

#[test]
fn a_store_that_drops_a_read_is_not_available() {
    struct Forgetful;
    impl PresenceStore for Forgetful {
        fn start(&self, _: PresenceFeed) {}
        fn enter(&self, _: &str, _: &str) {}
        fn leave(&self, _: &str, _: &str) {}
        fn members(&self, _: &str, _: usize, _: MembersDone) {}
    }
    let presence = Presence::builder(Forgetful).build();
    for _ in 0..2 {
        let (give, given) = std::sync::mpsc::channel();
        presence.members("a", move |members| give.send(members).expect("heard"));
        assert_eq!(
            given.try_recv().expect("at once"),
            Err(PresenceError::Unavailable)
        );
    }
}
