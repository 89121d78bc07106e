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
    let tell = told.clone();
    let presence =
        Presence::builder(MemoryPresence::new()).on_change(move |topic, person, change| {
            tell.lock()
                .expect("no panic")
                .push(format!("{topic} {person} {change:?}"));
            let presence = inner.get().expect("set");
            match (topic, change) {
                ("a", Change::Joined) => drop(presence.enter("b", person).expect("room")),
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
    for _ in 0..10_000 {
        let done = done.clone();
        presence.members("a", move |_| *done.lock().expect("no panic") += 1);
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
    presence.members("a", |_| panic!("as the test wants"));
    assert_eq!(answer().0, 1);
    presence.members("a", |_| {});
    assert_eq!(answer().0, 1);
}
