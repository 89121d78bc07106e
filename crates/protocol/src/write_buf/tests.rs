//! What is appended in any way is sent once, in order, whatever the steps.

use super::*;
use crate::rate::Rate;
use alloc::sync::Arc;

/// As a driver may have it: a stretch of a file.
#[derive(Debug)]
struct Part {
    _file: Arc<()>,
    offset: u64,
}

/// All that is unsent, by way of `gather`.
fn gathered<X>(output: &WriteBuf<X>) -> Vec<u8> {
    let mut slices = [&b""[..]; MAX_SLICES];
    let count = output.gather(&mut slices, |slice| slice);
    slices[..count]
        .iter()
        .flat_map(|s| s.iter().copied())
        .collect()
}

fn sample() -> (WriteBuf<Part>, Vec<u8>) {
    let large = |byte: u8| vec![byte; LARGE + usize::from(byte)];
    let mut output = WriteBuf::<Part>::default();
    let mut expected = Vec::new();
    let pieces = [
        b"head".to_vec(),
        large(1),
        large(2),
        b"x".to_vec(),
        b"small".to_vec(),
        large(3),
        b"end".to_vec(),
    ];
    for piece in pieces {
        expected.extend_from_slice(&piece);
        output.push_payload(piece.into());
    }
    (output, expected)
}

#[test]
#[cfg_attr(miri, ignore = "hundreds of kilobytes, byte by byte")]
fn every_step_width_sends_every_byte_once() {
    for step in [
        1,
        2,
        3,
        5,
        1000,
        LARGE - 1,
        LARGE,
        LARGE + 1,
        2 * LARGE,
        10 * LARGE,
    ] {
        if cfg!(miri) && step < LARGE {
            continue;
        }
        let (mut output, expected) = sample();
        let mut sent = Vec::new();
        while !output.is_empty() {
            let next = gathered(&output);
            assert_eq!(next.len() as u64, output.len());
            let n = step.min(next.len());
            sent.extend_from_slice(&next[..n]);
            output.advance(n);
            if step < 1000 && sent.len() % 4096 > 8 {
                // Small steps only around the joints: skip ahead in between.
                let skip = (4096 - sent.len() % 4096).min(output.len() as usize);
                sent.extend_from_slice(&gathered(&output)[..skip]);
                output.advance(skip);
            }
        }
        assert!(sent == expected, "step {step}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "megabytes, byte by byte")]
fn what_is_sent_takes_no_room() {
    let mut output = WriteBuf::<Part>::default();
    let piece = |n: usize| {
        let len = if n % 5 == 0 {
            LARGE + n % 7
        } else {
            1000 + n % 13
        };
        vec![n as u8; len]
    };
    let (mut pushed, mut sent, mut expected) = (0, 0, Vec::new());
    while sent < 6 << 20 {
        while output.len() < 200_000 {
            expected.extend_from_slice(&piece(pushed));
            output.push_payload(piece(pushed).into());
            pushed += 1;
        }
        let next = gathered(&output);
        let n = next.len().min(70_001);
        assert!(next[..n] == expected[..n], "other bytes after {sent}");
        expected.drain(..n);
        output.advance(n);
        sent += n;
        assert!(output.bytes.capacity() < 1 << 20, "after {sent}");
        assert!(output.large.len() < 200, "after {sent}");
    }
}

#[test]
fn a_detached_content_is_appended_unchanged() {
    for from in [0, 3] {
        let (mut output, expected) = sample();
        let detached = output.detach();
        assert!(output.is_empty() && gathered(&output).is_empty());
        output.push(b"before");
        assert_eq!(detached.row(from), &expected[..from]);
        output.append(detached, from);
        output.push(b"behind");
        let whole = [b"before", &expected[from..], b"behind"].concat();
        assert_eq!(output.len(), whole.len() as u64);
        assert!(gathered(&output) == whole);
        output.advance(10);
        assert!(gathered(&output) == whole[10..]);
    }
}

#[test]
fn truncating_restores_the_mark() {
    let (mut output, expected) = sample();
    let mark = output.mark();
    output.push(b"lost");
    output.push_payload(vec![9; LARGE].into());
    output.push(b"lost too");
    output.truncate(mark);
    assert_eq!(output.len(), expected.len() as u64);
    assert!(gathered(&output) == expected);
}

#[test]
#[cfg_attr(miri, ignore = "megabytes, byte by byte")]
fn more_payloads_than_a_write_gathers() {
    let mut output = WriteBuf::<Part>::default();
    let mut expected = Vec::new();
    for i in 0..3 * MAX_SLICES {
        let piece = vec![i as u8; LARGE];
        expected.extend_from_slice(&piece);
        expected.extend_from_slice(b"tail");
        output.push_payload(piece.into());
        output.push(b"tail");
    }
    let mut sent = Vec::new();
    while !output.is_empty() {
        let next = gathered(&output);
        sent.extend_from_slice(&next);
        output.advance(next.len());
    }
    assert!(sent == expected);
}

/// What a driver would send, segments byte by byte in brackets.
fn sent_in_steps(output: &mut WriteBuf<Part>, step: usize) -> String {
    let mut sent = String::new();
    while !output.is_empty() {
        let n = match output.next() {
            Segment::Row { bytes, .. } => {
                let n = step.min(bytes.len());
                sent.push_str(core::str::from_utf8(&bytes[..n]).expect("text"));
                n
            }
            Segment::Pieces => {
                let next = gathered(output);
                let n = step.min(next.len());
                sent.push_str(core::str::from_utf8(&next[..n]).expect("text"));
                n
            }
            Segment::Segment {
                segment,
                sent: before,
                len,
            } => {
                let n = (step as u64).min(len);
                let offset = segment.offset + before;
                for at in offset..offset + n {
                    sent.push_str(&format!("[{at}]"));
                }
                n as usize
            }
        };
        output.advance(n);
    }
    sent
}

#[test]
fn segments_come_in_their_place() {
    let file = Arc::new(());
    let part = |offset| Part {
        _file: file.clone(),
        offset,
    };
    let letters = "x".repeat(LARGE);
    let expected = format!("head[7][8][9]between{letters}[0][1]end");
    let steps = [1, 2, 3, LARGE, 2 * LARGE];
    let quick = |step: &usize| !cfg!(miri) || *step >= LARGE;
    for step in steps.into_iter().filter(quick) {
        let mut output = WriteBuf::<Part>::default();
        output.push(b"head");
        output.push_segment(part(7), 3);
        output.push(b"between");
        output.push_payload(letters.clone().into());
        output.push_segment(part(0), 2);
        output.push_segment(part(5), 0);
        output.push(b"end");
        assert!(matches!(output.next(), Segment::Row { bytes, more } if bytes == b"head" && more));
        assert!(sent_in_steps(&mut output, step) == expected, "step {step}");
        assert_eq!(Arc::strong_count(&file), 1, "given back");
    }
}

/// Says what it was told, and with which name.
#[derive(Debug)]
struct Told(char, std::sync::mpsc::Sender<(char, Option<u64>)>);

impl Watcher for Told {
    fn sent(self: Box<Self>) {
        self.1.send((self.0, None)).expect("the test listens");
    }

    fn lost(self: Box<Self>, unsent: u64) {
        self.1
            .send((self.0, Some(unsent)))
            .expect("the test listens");
    }
}

/// At the end of a row, between two large pieces, at the end of all, and two at one place.
#[test]
fn watchers_are_told_when_all_before_them_is_sent() {
    for step in [1000, LARGE - 1, LARGE, LARGE + 1, 10 * LARGE] {
        let (tell, told) = std::sync::mpsc::channel();
        let watcher = |name| Box::new(Told(name, tell.clone()));
        let mut output = WriteBuf::<Part>::default();
        output.push_watcher(watcher('0'));
        assert_eq!(told.try_recv(), Ok(('0', None)), "nothing was here");
        let mut places = Vec::new();
        for (name, len) in [('a', 5), ('b', LARGE), ('c', 2 * LARGE), ('d', 7), ('e', 0)] {
            output.push_payload(vec![b'x'; len].into());
            output.push_watcher(watcher(name));
            places.push((name, output.len()));
        }
        let whole = output.len();
        while !output.is_empty() {
            let n = step.min(gathered(&output).len());
            output.advance(n);
            let sent = whole - output.len();
            let reached: Vec<_> = places.iter().filter(|p| p.1 <= sent).copied().collect();
            places.drain(..reached.len());
            for (name, _) in reached {
                assert_eq!(told.try_recv(), Ok((name, None)), "{step} {sent}");
            }
            assert!(told.try_recv().is_err(), "{step} {sent}: too early");
        }
        assert!(places.is_empty());
    }
}

#[test]
fn watchers_are_told_how_much_is_lost() {
    let (tell, told) = std::sync::mpsc::channel();
    let mut output = WriteBuf::<Part>::default();
    for name in ['a', 'b'] {
        output.push(b"head");
        output.push_payload(vec![b'x'; LARGE].into());
        output.push_watcher(Box::new(Told(name, tell.clone())));
    }
    output.advance(4 + 100);
    output.clear();
    let all = LARGE as u64;
    let lost: Vec<_> = told.try_iter().collect();
    assert_eq!(
        lost,
        [('a', Some(all - 100)), ('b', Some(2 * all - 100 + 4))]
    );
}

/// When all is taken, the next response has its time anew: a server that has nothing to send is not
/// waiting for its client.
#[test]
fn the_rate_of_a_client_is_forgotten_when_all_is_taken() {
    let rate = Rate::of_responses(&crate::limits::Limits::default());
    let mut output = WriteBuf::<Part>::default();
    let later = |now: Seconds, seconds| now.plus(core::time::Duration::from_secs(seconds));
    for now in [Seconds::START, Seconds::of(1000)] {
        output.push(b"a response");
        assert_eq!(output.due(now, &rate), later(now, 11));
        output.advance(1);
        output.taken(1, now, later(now, 9), &rate);
        assert_eq!(output.due(later(now, 9), &rate), later(now, 11));
        output.advance(9);
    }
}
