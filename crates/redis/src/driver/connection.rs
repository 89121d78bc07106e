//! What the threads of a connection share: what is sent, and when the last byte came.

use super::{Command, Part};
use crate::handshake::Server;
use crate::link::Link;
use crate::resp::command;
use std::collections::VecDeque;
use std::io::{Error, ErrorKind, Result};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What a reply, or a confirmation, is awaited for.
pub(super) enum Sent {
    Command(Command),
    /// SUBSCRIBE or UNSUBSCRIBE with so many channels that are not confirmed. Each is confirmed by a push.
    Channels {
        is_subscribe: bool,
        left: usize,
    },
    Ping,
}

/// Bytes that are to be sent, for each lane.
pub(super) type Out = [Vec<u8>; 2];

/// A link, and what is awaited on it.
pub(super) struct Lane {
    pub(super) link: Link,
    /// When the last byte came.
    heard: Mutex<Instant>,
    sent: Mutex<VecDeque<Sent>>,
}

pub(super) struct Connection {
    pub(super) server: Server,
    /// The first one is for commands, the last one for channels. In version 3 of RESP they are one.
    pub(super) lanes: Vec<Lane>,
    is_cluster: bool,
    /// Channels of the beginning that are not confirmed.
    first: AtomicUsize,
    /// The number of the last kept command that was sent, and of the last one that was answered.
    numbers: [AtomicU64; 2],
    /// The server has refused a kept command, and those that were sent after it.
    has_refused: AtomicBool,
    /// Why a reader has ended.
    over: Mutex<Option<Error>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lane {
    fn new(link: Link) -> Lane {
        Lane {
            link,
            heard: Mutex::new(Instant::now()),
            sent: Mutex::default(),
        }
    }

    pub(super) fn sent(&self) -> MutexGuard<'_, VecDeque<Sent>> {
        lock(&self.sent)
    }

    pub(super) fn hear(&self) {
        *lock(&self.heard) = Instant::now();
    }

    /// When to look again. Sends a PING if no byte has come for long.
    pub(super) fn check(
        &self,
        now: Instant,
        interval: Duration,
        pinged: &mut Option<Instant>,
        out: &mut Vec<u8>,
    ) -> Result<Instant> {
        let heard = *lock(&self.heard);
        *pinged = pinged.filter(|pinged| heard < *pinged);
        if let Some(pinged) = *pinged {
            return match now >= pinged + interval {
                true => Err(Error::new(ErrorKind::TimedOut, "no reply to a PING")),
                false => Ok(pinged + interval),
            };
        }
        if now < heard + interval {
            return Ok(heard + interval);
        }
        *pinged = Some(now);
        command(&[b"PING"], out);
        self.sent().push_back(Sent::Ping);
        Ok(now + interval)
    }
}

impl Connection {
    pub(super) fn new(server: Server, links: Vec<Link>, is_cluster: bool) -> Connection {
        Connection {
            server,
            lanes: links.into_iter().map(Lane::new).collect(),
            is_cluster,
            first: AtomicUsize::new(0),
            numbers: Default::default(),
            has_refused: AtomicBool::new(false),
            over: Mutex::new(None),
        }
    }

    pub(super) fn end(&self, error: Error) {
        let mut over = lock(&self.over);
        // The first one is the cause of the others.
        over.get_or_insert(error);
    }

    pub(super) fn ended(&self) -> Option<Error> {
        lock(&self.over).take()
    }

    pub(super) fn is_open(&self) -> bool {
        lock(&self.over).is_none()
    }

    /// A kept command has been answered, and is not sent again.
    pub(super) fn answered(&self, number: u64) {
        self.numbers[1].store(number, Ordering::Release);
    }

    /// A kept command has been refused: it and those after it were not carried out on this connection.
    pub(super) fn refused(&self) {
        self.has_refused.store(true, Ordering::Release);
    }

    fn encode(&self, sent: &Command, out: &mut Vec<u8>) {
        let [last, answered] = &self.numbers;
        let last = last.load(Ordering::Acquire);
        let before = match last > answered.load(Ordering::Acquire) {
            true => last,
            false => 0,
        };
        let (number, before) = (sent.number.to_string(), before.to_string());
        let mut parts: Vec<&[u8]> = Vec::with_capacity(sent.parts.len() + 2);
        if let Some(script) = sent.script {
            parts.extend([&b"EVALSHA"[..], self.server.scripts[script].as_bytes()]);
        }
        parts.extend(sent.parts.iter().map(|part| match part {
            Part::Bytes(bytes) => &bytes[..],
            Part::Number => number.as_bytes(),
            Part::Before => before.as_bytes(),
        }));
        command(&parts, out);
        if sent.is_kept {
            self.numbers[0].store(sent.number, Ordering::Release);
        }
    }

    /// It is among those that are sent before its reply can come.
    pub(super) fn send(&self, command: Command, out: &mut Out) {
        self.encode(&command, &mut out[0]);
        self.lanes[0].sent().push_back(Sent::Command(command));
    }

    /// SUBSCRIBE or UNSUBSCRIBE.
    pub(super) fn change(&self, is_subscribe: bool, channels: &[&[u8]], out: &mut Out) {
        let verb: &[u8] = match (self.is_cluster, is_subscribe) {
            (false, true) => b"SUBSCRIBE",
            (false, false) => b"UNSUBSCRIBE",
            (true, true) => b"SSUBSCRIBE",
            (true, false) => b"SUNSUBSCRIBE",
        };
        let mut parts = vec![verb];
        parts.extend(channels);
        let last = self.lanes.len() - 1;
        command(&parts, &mut out[last]);
        let left = channels.len();
        self.lanes[last]
            .sent()
            .push_back(Sent::Channels { is_subscribe, left });
    }

    /// On two links, a command may overtake what was subscribed before it.
    pub(super) fn is_subscribing(&self) -> bool {
        let is_change = |sent: &Sent| matches!(sent, Sent::Channels { .. });
        self.lanes.len() > 1 && self.lanes[1].sent().iter().any(is_change)
    }

    /// It is ready when as many channels are confirmed.
    pub(super) fn expect(&self, first: usize) {
        self.first.store(first, Ordering::Release);
    }

    pub(super) fn is_ready(&self) -> bool {
        self.first.load(Ordering::Acquire) == 0
    }

    /// One channel is subscribed, or is not any more. False if that was not asked for.
    pub(super) fn confirm(&self, lane: &Lane, subscribed: bool) -> bool {
        let mut sent = lane.sent();
        let left = match sent.front_mut() {
            Some(Sent::Channels { is_subscribe, left }) if *is_subscribe == subscribed => left,
            _ => return false,
        };
        *left -= 1;
        if *left == 0 {
            sent.pop_front();
        }
        // Only the thread that reads changes it now.
        let first = self.first.load(Ordering::Acquire);
        self.first.store(first.saturating_sub(1), Ordering::Release);
        true
    }

    /// The commands that have no reply, at its end.
    pub(super) fn unanswered(&self) -> VecDeque<Command> {
        let is_sure = self.has_refused.load(Ordering::Acquire);
        let sent = std::mem::take(&mut *self.lanes[0].sent()).into_iter();
        let commands = sent.filter_map(|sent| match sent {
            Sent::Command(mut command) => {
                command.is_unsure |= !is_sure;
                Some(command)
            }
            Sent::Channels { .. } | Sent::Ping => None,
        });
        commands.collect()
    }
}
