//! The threads of a connection.

use super::connection::{Connection, Lane, Out, Sent};
use super::queue::{Item, subscribe};
use super::{Command, Driver};
use crate::handshake::Opened;
use crate::link::Link;
use crate::resp::{Parser, Value};
use crate::seek::Known;
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::io::{Error, ErrorKind, Result};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::Instant;

/// Commands that were sent and are not answered, and the generation of the data for which that is so.
#[derive(Default)]
struct Unanswered {
    commands: VecDeque<Command>,
    generation: String,
}

impl Driver {
    pub(super) fn run(&self) {
        let mut failed = 0;
        let (mut known, mut sent) = (Known::default(), Unanswered::default());
        while !self.queue().is_closed {
            self.queue().is_waiting = false;
            let begun = Instant::now();
            let result = known
                .open(&self.config)
                .and_then(|opened| self.serve(opened, &mut sent));
            self.is_connected.store(false, Ordering::Release);
            if let Err(error) = result {
                known.ended(&error);
                self.queue().last_error = Some(error.to_string());
            }
            // After a connection that lasted, the times begin anew.
            let (_, longest) = self.config.backoff;
            failed = match begun.elapsed() > longest + self.config.connect_timeout {
                true => 1,
                false => failed + 1,
            };
            self.fail(&mut sent.commands);
            if let Some(listener) = self.listener.get() {
                listener.disconnected();
            }
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
        for command in sent.commands.into_iter().chain(rest) {
            self.answer(command, None);
        }
    }

    fn serve(&self, opened: Opened, sent: &mut Unanswered) -> Result<()> {
        self.forget(sent, &opened.server.generation);
        let connection = Connection::new(opened.server, opened.links, self.config.is_cluster());
        let mut out = Out::default();
        subscribe(&mut self.queue(), &connection, &mut out);
        for command in sent.commands.drain(..) {
            connection.send(command, &mut out);
        }
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.look(&connection);
        let result = thread::scope(|scope| {
            let readers: Result<Vec<_>> = connection
                .lanes
                .iter()
                .map(|lane| self.start_reader(scope, &connection, lane))
                .collect();
            let result = match &readers {
                Ok(_) => self.write(&connection, out),
                Err(error) => Err(Error::new(error.kind(), error.to_string())),
            };
            // The readers end, too.
            connection.lanes.iter().for_each(|lane| lane.link.close());
            let mut readers = readers.into_iter().flatten();
            match readers.all(|reader| reader.join().is_ok()) {
                true => result,
                // The thread that connects goes on.
                false => Err(Error::other("a thread that reads has panicked")),
            }
        });
        sent.commands = connection.unanswered();
        sent.generation = connection.server.generation;
        result
    }

    /// Commands that may have been carried out are not sent again if the server has other data: it would not know them.
    fn forget(&self, sent: &mut Unanswered, generation: &str) {
        if sent.generation == generation {
            return;
        }
        let commands = std::mem::take(&mut sent.commands).into_iter();
        let (unsure, rest): (Vec<_>, _) = commands.partition(|command| command.is_unsure);
        sent.commands = rest.into();
        self.unconfirmed
            .fetch_add(unsure.len() as u64, Ordering::Relaxed);
        for command in unsure {
            self.answer(command, None);
        }
    }

    fn start_reader<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        connection: &'scope Connection,
        lane: &'scope Lane,
    ) -> Result<ScopedJoinHandle<'scope, ()>> {
        let thread = thread::Builder::new().name("pg-redis-read".to_owned());
        thread.spawn_scoped(scope, || {
            let error = match self.read(connection, lane) {
                Ok(()) => ErrorKind::UnexpectedEof.into(),
                Err(error) => error,
            };
            connection.end(error);
            self.notify_writer();
        })
    }

    /// The thread that writes looks again. Under the lock, so that it does not miss it.
    fn notify_writer(&self) {
        drop(self.queue());
        self.changed.notify_all();
    }

    fn write(&self, connection: &Connection, out: Out) -> Result<()> {
        let mut out = out;
        send(connection, &out)?;
        if let Some(listener) = self.listener.get() {
            listener.connected();
        }
        let mut next_tick = Instant::now();
        let mut pinged = [None; 2];
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
            let mut look = next_tick;
            for ((lane, pinged), out) in connection.lanes.iter().zip(&mut pinged).zip(&mut out) {
                out.clear();
                look = look.min(lane.check(now, self.config.ping_interval, pinged, out)?);
            }
            let mut queue = self.queue();
            queue.take(connection, &mut out)?;
            let is_over = queue.is_closed && queue.is_idle();
            let is_empty = out.iter().all(Vec::is_empty);
            if is_empty && !is_over && connection.is_open() {
                let wait = look.saturating_duration_since(now);
                drop(self.changed.wait_timeout(queue, wait));
                continue;
            }
            drop(queue);
            send(connection, &out)?;
            if is_over {
                return Ok(());
            }
        }
    }

    fn read(&self, connection: &Connection, lane: &Lane) -> Result<()> {
        let mut parser = Parser::new(self.config.reply_bytes);
        let mut buf = Link::buffer();
        // In version 2 all that comes on the link of channels is an array, also the reply to a PING.
        let is_second = connection.lanes.len() > 1 && std::ptr::eq(lane, &connection.lanes[1]);
        loop {
            let count = lane.link.read(&mut buf)?;
            if count == 0 {
                return Ok(());
            }
            lane.hear();
            parser.push(&buf[..count]);
            let invalid = |_| {
                Error::new(
                    ErrorKind::InvalidData,
                    "not RESP, or a reply that is too large",
                )
            };
            while let Some(value) = parser.next().map_err(invalid)? {
                match value {
                    Value::Array(parts) if is_second && !is_pong(&parts) => {
                        self.pushed(connection, lane, &parts)?;
                    }
                    Value::Push(parts) => self.pushed(connection, lane, &parts)?,
                    value => self.replied(connection, lane, value)?,
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

    fn pushed(&self, connection: &Connection, lane: &Lane, parts: &[Value]) -> Result<()> {
        match parts {
            [
                Value::Bytes(kind),
                Value::Bytes(channel),
                Value::Bytes(message),
            ] if kind == b"message" || kind == b"smessage" => {
                if let Some(listener) = self.listener.get() {
                    listener.message(channel, message);
                }
            }
            [Value::Bytes(kind), rest @ ..] => {
                let is_subscribe = match &kind[..] {
                    b"subscribe" | b"ssubscribe" => true,
                    // A node of a cluster says so by itself, when it gives the slot away.
                    b"unsubscribe" | b"sunsubscribe" => false,
                    _ => return Ok(()),
                };
                if !connection.confirm(lane, is_subscribe) {
                    return Err(unasked());
                }
                self.look(connection);
                let channel = rest.first().and_then(Value::as_bytes);
                let listener = self.listener.get().filter(|_| is_subscribe);
                if let Some((listener, channel)) = listener.zip(channel) {
                    listener.subscribed(channel, connection.is_ready());
                }
                if connection.lanes.len() > 1 {
                    // Commands may have waited for it.
                    self.notify_writer();
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn replied(&self, connection: &Connection, lane: &Lane, value: Value) -> Result<()> {
        let first = lane.sent().pop_front();
        let first = match (first, value) {
            (Some(Sent::Command(first)), value) => (first, value),
            (Some(Sent::Ping), Value::Bytes(_) | Value::Array(_)) => return Ok(()),
            // Without its subscriptions a connection is of no use.
            (Some(Sent::Ping | Sent::Channels { .. }), Value::Error(error)) => {
                return Err(Error::other(error));
            }
            _ => return Err(unasked()),
        };
        let (first, value) = first;
        if let Value::Error(error) = &value {
            if is_temporary(error) {
                // Those that are kept are sent again.
                match first.is_kept {
                    true => {
                        lane.sent().push_front(Sent::Command(first));
                        connection.refused();
                    }
                    false => self.answer(first, None),
                }
                return Err(Error::other(error.clone()));
            }
            self.queue().last_error = Some(error.clone());
            // The message is lost, and no function waits for its reply.
            self.dropped
                .fetch_add(u64::from(first.is_kept), Ordering::Relaxed);
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

fn send(connection: &Connection, out: &Out) -> Result<()> {
    let mut both = connection.lanes.iter().zip(out);
    both.try_for_each(|(lane, out)| match out.is_empty() {
        true => Ok(()),
        false => lane.link.write(out),
    })
}

/// The reply to a PING on a link with channels, in version 2 of RESP.
fn is_pong(parts: &[Value]) -> bool {
    parts.first().and_then(Value::as_bytes) == Some(b"pong")
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
        "MOVED",
        "ASK",
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
