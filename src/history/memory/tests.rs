//! What a log in memory keeps, for how long, and what it counts.

use super::*;

fn texts(read: Read) -> Option<Vec<String>> {
    let Read::Recovered { entries, last } = read else {
        return None;
    };
    // Without a gap, and the last one is at the end.
    for (n, entry) in entries.iter().rev().enumerate() {
        assert_eq!(entry.offset + n as u64, last.offset);
    }
    let text = |entry: &Entry| entry.message.as_text().expect("a text").to_owned();
    Some(entries.iter().map(text).collect())
}

fn filled(limits: MemoryLogLimits, messages: &[&str]) -> (MemoryLog, Vec<Position>, Instant) {
    let (log, now) = (MemoryLog::with_limits(limits), Instant::now());
    let positions = messages
        .iter()
        .map(|text| log.append_at("t", &(*text).into(), now));
    let positions = positions.collect();
    (log, positions, now)
}

#[test]
fn what_was_missed_is_complete_or_lost() {
    let (log, at, now) = filled(
        MemoryLogLimits::default().messages(3),
        &["a", "b", "c", "d", "e"],
    );
    let since = |start, limit| texts(log.since_at("t", start, limit, now));
    let is = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect());
    assert_eq!(since(Start::Now, 9), is(&[]));
    assert_eq!(since(Start::Last(2), 9), is(&["d", "e"]));
    assert_eq!(since(Start::Last(9), 9), is(&["c", "d", "e"]));
    assert_eq!(since(Start::Last(9), 1), is(&["e"]));
    assert_eq!(since(Start::After(at[4]), 9), is(&[]));
    assert_eq!(since(Start::After(at[3]), 0), None, "more than the limit");
    assert_eq!(since(Start::After(at[3]), 1), is(&["e"]));
    assert_eq!(since(Start::After(at[1]), 9), is(&["c", "d", "e"]));
    assert_eq!(since(Start::After(at[0]), 9), None, "b is gone");
    let ahead = Position { offset: 6, ..at[4] };
    let other = Position {
        epoch: at[4].epoch ^ 1,
        ..at[4]
    };
    for unknown in [
        ahead,
        other,
        Position::UNKNOWN,
        Position {
            offset: u64::MAX,
            ..at[4]
        },
    ] {
        assert_eq!(since(Start::After(unknown), usize::MAX), None, "{unknown}");
    }
    let none = log.since_at("other", Start::Last(1), 9, now);
    let begin = Position { offset: 0, ..at[0] };
    assert_eq!(
        none,
        Read::Recovered {
            entries: Vec::new(),
            last: begin
        }
    );
    assert_eq!(
        texts(log.since_at("other", Start::After(begin), 9, now)),
        is(&[])
    );
    assert_eq!(
        texts(log.since_at("other", Start::After(at[0]), 9, now)),
        None
    );
}

/// Bytes that messages of these lengths take.
fn messages(lens: &[usize]) -> usize {
    lens.iter().map(|len| len + MESSAGE).sum()
}

/// What the log counts, less its topics and the places in reserve.
fn of_messages(log: &MemoryLog) -> usize {
    let kept = log.kept();
    let others = kept.topics.iter().map(|(name, topic)| {
        let spare = topic.entries.capacity() - topic.entries.len();
        TOPIC + name.len() + spare * PLACE
    });
    let followed = kept.followed.keys().map(|name| FOLLOWED + name.len());
    kept.held - others.sum::<usize>() - followed.sum::<usize>()
}

#[test]
fn the_messages_of_a_topic_are_limited() {
    let (log, _, now) = filled(
        MemoryLogLimits::default().bytes(messages(&[3, 1])),
        &["aa", "bb", "ccc", "d"],
    );
    let last = |log: &MemoryLog| texts(log.since_at("t", Start::Last(9), 9, now));
    assert_eq!(
        (last(&log), of_messages(&log)),
        (Some(vec!["ccc".into(), "d".into()]), messages(&[3, 1]))
    );
    log.append_at("t", &"x".repeat(messages(&[3, 1])).into(), now);
    assert_eq!((last(&log), of_messages(&log)), (Some(vec![]), 0));
    // Empty ones take memory, too.
    for _ in 0..9 {
        log.append_at("t", &"".into(), now);
    }
    assert_eq!(last(&log).map(|texts| texts.len()), Some(2));
    let (log, at, now) = filled(MemoryLogLimits::default().messages(0), &["a", "b"]);
    assert_eq!(
        (
            texts(log.since_at("t", Start::After(at[1]), 9, now)),
            of_messages(&log)
        ),
        (Some(vec![]), 0)
    );
    assert_eq!(texts(log.since_at("t", Start::After(at[0]), 9, now)), None);
}

#[test]
fn messages_are_kept_for_their_time() {
    let ttl = Duration::from_secs(10);
    let limits = MemoryLogLimits::default().ttl(ttl);
    let (log, at, now) = filled(limits, &["a", "b"]);
    let later = now + Duration::from_secs(5);
    log.append_at("t", &"c".into(), later);
    assert_eq!(
        texts(log.since_at("t", Start::After(at[0]), 9, later)).map(|t| t.len()),
        Some(2)
    );
    let end = now + ttl;
    assert_eq!(texts(log.since_at("t", Start::After(at[0]), 9, end)), None);
    assert_eq!(
        texts(log.since_at("t", Start::After(at[1]), 9, end)),
        Some(vec!["c".into()])
    );
    // Those of another topic are dropped with the next message of any.
    log.append_at("other", &"d".into(), later + ttl);
    assert_eq!(of_messages(&log), messages(&[1]));
    let (log, at, now) = filled(MemoryLogLimits::default().ttl(Duration::ZERO), &["a"]);
    assert_eq!(
        texts(log.since_at("t", Start::After(at[0]), 9, now)),
        Some(vec![])
    );
    assert_eq!(of_messages(&log), 0);
}

/// Without a call of the program.
#[test]
fn a_sweep_frees_what_is_too_old() {
    let ttl = Duration::from_secs(10);
    let limits = MemoryLogLimits::default().ttl(ttl);
    let (log, _, now) = filled(limits, &["a"; 200]);
    let later = now + Duration::from_secs(5);
    log.append_at("t", &"c".into(), later);
    log.append_at("other", &"d".into(), now);
    log.kept().sweep(&limits, now + ttl);
    assert_eq!(of_messages(&log), messages(&[1]));
    assert!(log.kept().topics["t"].entries.capacity() <= 4);
    assert_eq!(log.kept().loaded.len(), 1);
    log.kept().sweep(&limits, later + ttl);
    assert_eq!((of_messages(&log), log.topics()), (0, 2));
    assert_eq!(log.bytes(), 2 * TOPIC + "tother".len());
}

#[test]
fn topics_are_limited_and_no_offset_comes_twice() {
    let (log, now) = (
        MemoryLog::with_limits(MemoryLogLimits::default().topics(2)),
        Instant::now(),
    );
    let append = |topic: &str| log.append_at(topic, &"x".into(), now);
    let (_, a, _, b) = (append("a"), append("a"), append("b"), append("b"));
    append("a");
    append("c");
    assert_eq!(
        (log.topics(), of_messages(&log)),
        (2, messages(&[1; 4])),
        "b is forgotten"
    );
    let since = |topic: &str, position| texts(log.since_at(topic, Start::After(position), 9, now));
    assert_eq!(since("b", b), Some(vec![]), "nothing was missed");
    assert_eq!(since("a", a).map(|texts| texts.len()), Some(1));
    let b = append("b");
    assert_eq!(b.offset, 3, "after the last one that was forgotten");
    let a = append("a");
    assert_eq!(a.offset, 4, "c went");
    let (log, now) = (
        MemoryLog::with_limits(MemoryLogLimits::default().topics(0)),
        Instant::now(),
    );
    assert_ne!(
        log.append_at("a", &"x".into(), now),
        log.append_at("a", &"x".into(), now)
    );
    assert_eq!((log.topics(), log.bytes()), (0, 0));
}

/// Those who wait for the first message of a topic, or for the next one of a topic that was forgotten, miss nothing.
#[test]
fn a_topic_that_is_followed_goes_on_where_it_was() {
    let (log, now) = (
        MemoryLog::with_limits(MemoryLogLimits::default().topics(1)),
        Instant::now(),
    );
    let append = |topic: &str| log.append_at(topic, &"x".into(), now);
    let position = |topic: &str| match log.since_at(topic, Start::Now, 9, now) {
        Read::Recovered { last, .. } => last,
        Read::Lost { .. } => panic!("a new one misses nothing"),
    };
    let since = |topic: &str, position| texts(log.since_at(topic, Start::After(position), 9, now));
    // Two histories have this log.
    log.follow("quiet");
    log.follow("quiet");
    let before = position("quiet");
    // Others are forgotten, which have more messages.
    for topic in ["a", "a", "a", "b"] {
        append(topic);
    }
    assert_eq!(since("quiet", before), Some(vec![]));
    let first = append("quiet");
    assert_eq!(first.offset, before.offset + 1);
    assert_eq!(since("quiet", before).map(|texts| texts.len()), Some(1));
    append("b");
    assert_eq!(log.topics(), 1, "it is forgotten");
    log.unfollow("quiet");
    assert_eq!(since("quiet", first), Some(vec![]));
    assert_eq!(since("quiet", before), None);
    assert_eq!(append("quiet").offset, first.offset + 1);
    append("b");
    log.unfollow("quiet");
    assert!(log.kept().followed.is_empty());
    let offset = append("quiet").offset;
    assert!(offset > first.offset + 1, "no offset comes twice");
}

#[test]
fn the_bytes_of_all_topics_are_limited() {
    let most = 3 * (TOPIC + 1 + 4 * PLACE + 32) + 5 + 3 * 32;
    let (log, now) = (
        MemoryLog::with_limits(MemoryLogLimits::default().total_bytes(most)),
        Instant::now(),
    );
    let append = |topic: &str, text: &str| log.append_at(topic, &text.into(), now);
    let texts =
        |topic: &str| texts(log.since_at(topic, Start::Last(9), 9, now)).map(|t| t.concat());
    append("a", "aa");
    append("b", "bb");
    append("a", "a");
    append("c", "c");
    assert_eq!(
        ["a", "b", "c"].map(texts),
        ["aaa", "bb", "c"].map(|text| Some(text.into()))
    );
    append("c", &"c".repeat(150));
    let (b, c) = (texts("b"), texts("c"));
    assert_eq!((b, c.map(|c| c.len())), (Some(String::new()), Some(151)));
    assert!(log.bytes() <= most && log.topics() == 3);
    // Too much for any room: then the topics that were silent for longest are forgotten, too.
    append("d", &"d".repeat(most));
    assert_eq!(of_messages(&log), 0);
    assert!(log.kept().loaded.is_empty());
    assert!(log.bytes() <= most && log.topics() > 0);
    let (log, now) = (
        MemoryLog::with_limits(MemoryLogLimits::default().total_bytes(TOPIC)),
        Instant::now(),
    );
    assert_eq!(log.append_at("a", &"x".into(), now).offset, 1);
    assert_eq!((log.topics(), log.bytes()), (0, 0));
    assert_eq!(log.append_at("a", &"x".into(), now).offset, 2);
}
