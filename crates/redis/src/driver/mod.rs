//! One connection to Redis: it connects again by itself, and keeps what must not be lost.
//!
//! - One thread connects and writes. While there is a connection, a second one reads.
//! - Commands that are kept are sent again on the next connection until they are answered. All others fail when the connection
//!   breaks or cannot be made.
//! - On a new connection all channels are subscribed before anything else is sent.
//! - A connection that is silent is asked by PING, and given up if no byte comes. So a peer that has vanished without a word
//!   is noticed.

mod command;
mod connection;
mod queue;

use crate::config::Config;
use crate::handshake::handshake;
use crate::resp::{Parser, Value};
pub(crate) use command::{Command, OnReply, Part};
use connection::{Connection, Sent};
use queue::{CHANGES, Item, Queue, subscribe};
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What the user of a connection is told, on its thread.
pub(crate) trait Listen: Send + Sync {
    /// A message of a channel.
    fn message(&self, channel: &[u8], message: &[u8]);
    /// There is a connection, and all channels are subscribed.
    fn connected(&self);
    /// Called as often as [`Config::heartbeat`] says, while there is a connection.
    fn tick(&self);
}

/// Why a command was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Full,
    Closed,
}

pub(crate) struct Driver {
    config: Config,
    queue: Mutex<Queue>,
    changed: Condvar,
    listener: OnceLock<Box<dyn Listen>>,
    is_connected: AtomicBool,
    connections: AtomicU64,
    dropped: AtomicU64,
}

impl Driver {
    pub(crate) fn new(config: Config) -> Arc<Driver> {
        Arc::new(Driver {
            config,
            queue: Mutex::default(),
            changed: Condvar::new(),
            listener: OnceLock::new(),
            is_connected: AtomicBool::new(false),
            connections: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        })
    }

    /// Starts the thread.
    pub(crate) fn start(self: &Arc<Driver>, listener: impl Listen + 'static) -> Result<()> {
        let _ = self.listener.set(Box::new(listener));
        let driver = self.clone();
        let thread = thread::Builder::new().name("pg-redis".to_owned());
        thread.spawn(move || driver.run()).map(drop)
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.is_connected.load(Ordering::Acquire)
    }

    /// Number of connections so far, and of commands that were refused.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.connections), read(&self.dropped))
    }

    pub(crate) fn last_error(&self) -> Option<String> {
        self.queue().last_error.clone()
    }

    /// Queues a command. Without a connection, one that is not kept fails at once: its function is called here.
    pub(crate) fn send(&self, mut command: Command) -> std::result::Result<(), Refused> {
        let mut queue = self.queue();
        let bytes = command.bytes();
        let kind = usize::from(command.is_kept);
        let refused = match queue.is_closed {
            true => Some(Refused::Closed),
            false if queue.bytes[kind] + bytes > self.config.queue_bytes => Some(Refused::Full),
            false => None,
        };
        if let Some(refused) = refused {
            drop(queue);
            self.dropped.fetch_add(1, Ordering::Relaxed);
            (command.on_reply)(None);
            return Err(refused);
        }
        if queue.is_waiting && !command.is_kept {
            drop(queue);
            (command.on_reply)(None);
            return Ok(());
        }
        queue.bytes[kind] += bytes;
        if command.is_kept {
            queue.number += 1;
            command.number = queue.number;
        }
        queue.items.push_back(Item::Command(command));
        drop(queue);
        self.changed.notify_all();
        Ok(())
    }

    pub(crate) fn subscribe(&self, channel: Vec<u8>) {
        self.change("SUBSCRIBE", channel);
    }

    pub(crate) fn unsubscribe(&self, channel: Vec<u8>) {
        self.change("UNSUBSCRIBE", channel);
    }

    fn change(&self, verb: &'static str, channel: Vec<u8>) {
        let mut queue = self.queue();
        let is_changed = match verb {
            "SUBSCRIBE" => queue.channels.insert(channel.clone()),
            _ => queue.channels.remove(&channel),
        };
        // A new connection subscribes all channels that there are.
        if is_changed && !queue.is_waiting {
            queue.changes += 1;
            if queue.changes > CHANGES {
                // Redis takes nothing for long. The next connection subscribes what is left.
                return;
            }
            queue.items.push_back(Item::Channel(verb, channel));
            drop(queue);
            self.changed.notify_all();
        }
    }

    /// Waits until all commands are answered, for at most this time. False if they are not.
    pub(crate) fn flush(&self, most: Duration) -> bool {
        let end = Instant::now() + most;
        let mut queue = self.queue();
        while !queue.is_idle() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.changed.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Ends the thread.
    pub(crate) fn close(&self) {
        self.queue().is_closed = true;
        self.changed.notify_all();
    }

    /// No call leaves it half changed.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The threads.
impl Driver {
    fn run(&self) {
        let mut failed = 0;
        // Commands that are sent and not answered.
        let mut sent = VecDeque::new();
        while !self.queue().is_closed {
            self.queue().is_waiting = false;
            let begun = Instant::now();
            let result = self.connect(&mut sent);
            self.is_connected.store(false, Ordering::Release);
            if let Err(error) = result {
                self.queue().last_error = Some(error.to_string());
            }
            // After a connection that lasted, the times begin anew.
            let (_, longest) = self.config.backoff;
            failed = match begun.elapsed() > longest + self.config.connect_timeout {
                true => 1,
                false => failed + 1,
            };
            self.fail(&mut sent);
            self.wait(failed);
        }
        let mut queue = self.queue();
        queue.is_waiting = true;
        let rest = std::mem::take(&mut queue.items).into_iter();
        drop(queue);
        let rest = rest.filter_map(|item| match item {
            Item::Command(command) => Some(command),
            Item::Channel(..) => None,
        });
        for command in sent.into_iter().chain(rest) {
            self.answer(command, None);
        }
    }

    fn connect(&self, sent: &mut VecDeque<Command>) -> Result<()> {
        let (stream, server) = handshake(&self.config)?;
        let connection = Connection::new(server);
        let mut out = Vec::new();
        subscribe(&mut self.queue(), &connection, &mut out);
        for command in sent.drain(..) {
            connection.send(command, &mut out);
        }
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.look(&connection);
        let result = thread::scope(|scope| {
            let reader = thread::Builder::new().name("pg-redis-read".to_owned());
            let reader = reader.spawn_scoped(scope, || {
                let error = match self.read(&stream, &connection) {
                    Ok(()) => ErrorKind::UnexpectedEof.into(),
                    Err(error) => error,
                };
                connection.end(error);
                // Under the lock, so that the writer does not miss it.
                drop(self.queue());
                self.changed.notify_all();
            })?;
            let result = self.write(&stream, &connection, out);
            // The reader ends, too.
            let _ = stream.shutdown(Shutdown::Both);
            match reader.join() {
                Ok(()) => result,
                // The thread that connects goes on.
                Err(_) => Err(Error::other("the thread that reads has panicked")),
            }
        });
        *sent = connection.unanswered();
        result
    }

    fn write(&self, mut stream: &TcpStream, connection: &Connection, out: Vec<u8>) -> Result<()> {
        let mut out = out;
        stream.write_all(&out)?;
        if let Some(listener) = self.listener.get() {
            listener.connected();
        }
        let mut next_tick = Instant::now();
        let mut pinged = None;
        loop {
            if let Some(error) = connection.ended() {
                return Err(error);
            }
            let now = Instant::now();
            if now >= next_tick {
                next_tick = now + self.config.heartbeat();
                if let Some(listener) = self.listener.get() {
                    listener.tick();
                }
            }
            out.clear();
            let look = connection.check(now, self.config.ping_interval, &mut pinged, &mut out)?;
            let mut queue = self.queue();
            queue.take(connection, &mut out)?;
            let is_over = queue.is_closed && queue.is_idle();
            if out.is_empty() && !is_over && connection.is_open() {
                let wait = look.min(next_tick).saturating_duration_since(now);
                drop(self.changed.wait_timeout(queue, wait));
                continue;
            }
            drop(queue);
            stream.write_all(&out)?;
            if is_over {
                return Ok(());
            }
        }
    }

    fn read(&self, mut stream: &TcpStream, connection: &Connection) -> Result<()> {
        let mut parser = Parser::new(self.config.reply_bytes);
        let mut buf = vec![0; 64 * 1024];
        loop {
            let count = match stream.read(&mut buf) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            connection.hear();
            parser.push(&buf[..count]);
            let invalid = |_| {
                Error::new(
                    ErrorKind::InvalidData,
                    "not RESP, or a reply that is too large",
                )
            };
            while let Some(value) = parser.next().map_err(invalid)? {
                match value {
                    Value::Push(parts) => self.pushed(connection, &parts)?,
                    value => self.replied(connection, value)?,
                }
            }
        }
    }

    /// There is a connection when the first subscriptions are confirmed: a relay is ready to receive then.
    fn look(&self, connection: &Connection) {
        if connection.is_ready() {
            self.is_connected.store(true, Ordering::Release);
        }
    }

    fn pushed(&self, connection: &Connection, parts: &[Value]) -> Result<()> {
        match parts {
            [
                Value::Bytes(kind),
                Value::Bytes(channel),
                Value::Bytes(message),
            ] if kind == b"message" => {
                if let Some(listener) = self.listener.get() {
                    listener.message(channel, message);
                }
            }
            [Value::Bytes(kind), ..] if kind == b"subscribe" || kind == b"unsubscribe" => {
                if !connection.confirm() {
                    return Err(unasked());
                }
                self.look(connection);
            }
            _ => {}
        }
        Ok(())
    }

    fn replied(&self, connection: &Connection, value: Value) -> Result<()> {
        let first = connection.sent().pop_front();
        let first = match (first, value) {
            (Some(Sent::Command(first)), value) => (first, value),
            (Some(Sent::Ping), Value::Bytes(_)) => return Ok(()),
            // Without its subscriptions a connection is of no use.
            (Some(Sent::Ping | Sent::Channels(_)), Value::Error(error)) => {
                return Err(Error::other(error));
            }
            _ => return Err(unasked()),
        };
        let (first, value) = first;
        if let Value::Error(error) = &value {
            if is_temporary(error) {
                // Those that are kept are sent again.
                match first.is_kept {
                    true => connection.sent().push_front(Sent::Command(first)),
                    false => self.answer(first, None),
                }
                return Err(Error::other(error.clone()));
            }
            self.queue().last_error = Some(error.clone());
        }
        if first.is_kept {
            connection.answered(first.number);
        }
        self.answer(first, Some(value));
        Ok(())
    }

    fn answer(&self, command: Command, value: Option<Value>) {
        let mut queue = self.queue();
        queue.bytes[usize::from(command.is_kept)] -= command.bytes();
        let is_empty = queue.is_idle();
        drop(queue);
        if is_empty {
            self.changed.notify_all();
        }
        (command.on_reply)(value);
    }

    /// Commands that are not kept fail. New ones fail at once, until the next attempt.
    fn fail(&self, sent: &mut VecDeque<Command>) {
        let mut queue = self.queue();
        queue.is_waiting = true;
        queue.changes = 0;
        let items = std::mem::take(&mut queue.items).into_iter();
        let mut failed = Vec::new();
        for item in items {
            match item {
                Item::Command(command) if command.is_kept => {
                    queue.items.push_back(Item::Command(command));
                }
                Item::Command(command) => failed.push(command),
                Item::Channel(..) => {}
            }
        }
        drop(queue);
        let (kept, not_kept): (Vec<_>, Vec<_>) =
            sent.drain(..).partition(|command| command.is_kept);
        sent.extend(kept);
        for command in not_kept.into_iter().chain(failed) {
            self.answer(command, None);
        }
    }

    /// The time before the next attempt, less up to half of it by chance.
    fn wait(&self, failed: u32) {
        let (first, longest) = self.config.backoff;
        let time = first
            .saturating_mul(1 << failed.saturating_sub(1).min(20))
            .min(longest);
        let chance = RandomState::new().hash_one(failed) % 1000;
        let time = time - time.mul_f64(chance as f64 / 2000.0);
        let end = Instant::now() + time;
        let mut queue = self.queue();
        while !queue.is_closed {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.changed.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn unasked() -> Error {
    Error::new(ErrorKind::InvalidData, "a reply to nothing")
}

/// Whether another connection may have another answer: a server that loads or is a replica, a script that it has forgotten,
/// a user who lacks a right, a message whose predecessor was refused.
fn is_temporary(error: &str) -> bool {
    let codes = [
        "LOADING",
        "READONLY",
        "MASTERDOWN",
        "CLUSTERDOWN",
        "TRYAGAIN",
        "NOSCRIPT",
        "BUSY",
        "OOM",
        "MISCONF",
        "NOREPLICAS",
        "NOAUTH",
        "NOPERM",
        "PREVIOUS",
    ];
    // Redis 6 has the code of an error within a script behind a dash.
    let mut words = error.split(' ');
    let is_code = |word: &str| codes.contains(&word);
    words.next().is_some_and(is_code)
        || words.any(|word| word.strip_prefix('-').is_some_and(is_code))
}
