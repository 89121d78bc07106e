//! What both threads of a connection share: what is sent, and when the last byte came.

use super::{Command, Part};
use crate::handshake::Server;
use crate::resp::command;
use std::collections::VecDeque;
use std::io::{Error, ErrorKind, Result};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What a reply, or a confirmation, is awaited for.
pub(super) enum Sent {
    Command(Command),
    /// SUBSCRIBE or UNSUBSCRIBE with so many channels that are not confirmed. Each is confirmed by a push.
    Channels(usize),
    Ping,
}

pub(super) struct Connection {
    server: Server,
    /// When the last byte came.
    heard: Mutex<Instant>,
    sent: Mutex<VecDeque<Sent>>,
    /// Channels of the beginning that are not confirmed.
    first: AtomicUsize,
    /// The number of the last kept command that was sent, and of the last one that was answered.
    numbers: [AtomicU64; 2],
    /// Why the reader has ended.
    over: Mutex<Option<Error>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Connection {
    pub(super) fn new(server: Server) -> Connection {
        Connection {
            server,
            heard: Mutex::new(Instant::now()),
            sent: Mutex::default(),
            first: AtomicUsize::new(0),
            numbers: Default::default(),
            over: Mutex::new(None),
        }
    }

    pub(super) fn sent(&self) -> MutexGuard<'_, VecDeque<Sent>> {
        lock(&self.sent)
    }

    pub(super) fn hear(&self) {
        *lock(&self.heard) = Instant::now();
    }

    pub(super) fn end(&self, error: Error) {
        *lock(&self.over) = Some(error);
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
            Part::Run => self.server.run_id.as_bytes(),
            Part::Number => number.as_bytes(),
            Part::Before => before.as_bytes(),
        }));
        command(&parts, out);
        if sent.is_kept {
            self.numbers[0].store(sent.number, Ordering::Release);
        }
    }

    /// It is among those that are sent before its reply can come.
    pub(super) fn send(&self, command: Command, out: &mut Vec<u8>) {
        self.encode(&command, out);
        self.sent().push_back(Sent::Command(command));
    }

    /// SUBSCRIBE or UNSUBSCRIBE.
    pub(super) fn change(&self, verb: &str, channels: &[&[u8]], out: &mut Vec<u8>) {
        let mut parts = vec![verb.as_bytes()];
        parts.extend(channels);
        command(&parts, out);
        self.sent().push_back(Sent::Channels(channels.len()));
    }

    /// It is ready when as many channels are confirmed.
    pub(super) fn expect(&self, first: usize) {
        self.first.store(first, Ordering::Release);
    }

    pub(super) fn is_ready(&self) -> bool {
        self.first.load(Ordering::Acquire) == 0
    }

    /// One channel is subscribed, or is not any more. False if that was not asked for.
    pub(super) fn confirm(&self) -> bool {
        let mut sent = self.sent();
        let Some(Sent::Channels(left)) = sent.front_mut() else {
            return false;
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
        let sent = std::mem::take(&mut *self.sent()).into_iter();
        let commands = sent.filter_map(|sent| match sent {
            Sent::Command(command) => Some(command),
            Sent::Channels(_) | Sent::Ping => None,
        });
        commands.collect()
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
