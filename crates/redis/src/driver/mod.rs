//! One connection to Redis: it connects again by itself, and keeps what must not be lost.
//!
//! - One thread connects and writes. While there is a connection, a second one reads. A server without version 3 of RESP has
//!   a second link, for channels, and a third thread that reads it.
//! - Commands that are kept are sent again on the next connection until they are answered, unless the data of the server is another
//!   one: then it is not known whether those without an answer were carried out. All others fail when the connection breaks or
//!   cannot be made.
//! - On a new connection all channels are subscribed before anything else is sent.
//! - A connection that is silent is asked by PING, and given up if no byte comes. So a peer that has vanished without a word
//!   is noticed.

mod command;
mod connection;
mod queue;
mod threads;

use crate::config::Config;
pub(crate) use command::{Command, OnReply, Part};
use queue::{CHANGES, Item, Queue};
use std::io::Result;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What the user of a connection is told, on its thread.
pub(crate) trait Listen: Send + Sync {
    /// A message of a channel.
    fn message(&self, channel: &[u8], message: &[u8]);
    /// There is a connection, and all channels are about to be subscribed.
    fn connected(&self);
    /// A channel is subscribed, and all of the beginning are, if `is_ready`.
    fn subscribed(&self, channel: &[u8], is_ready: bool);
    /// The connection has ended, or the attempt to make one.
    fn disconnected(&self);
    /// Called as often as [`Config::heartbeat`] says, while there is a connection.
    fn tick(&self);
}

/// Why a command was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Full,
    Closed,
    /// There is no connection, and no attempt is made.
    Waiting,
}

pub(crate) struct Driver {
    config: Config,
    queue: Mutex<Queue>,
    changed: Condvar,
    listener: OnceLock<Box<dyn Listen>>,
    is_connected: AtomicBool,
    connections: AtomicU64,
    dropped: AtomicU64,
    unconfirmed: AtomicU64,
}

impl Driver {
    pub(crate) fn new(config: Config) -> Arc<Driver> {
        Arc::new(Driver {
            config: config.tagged(),
            queue: Mutex::default(),
            changed: Condvar::new(),
            listener: OnceLock::new(),
            is_connected: AtomicBool::new(false),
            connections: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            unconfirmed: AtomicU64::new(0),
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

    /// Number of connections so far, of commands that were refused here or are lost by an error, and of those of which it is not known whether they were
    /// carried out.
    pub(crate) fn counts(&self) -> [u64; 3] {
        [&self.connections, &self.dropped, &self.unconfirmed]
            .map(|count| count.load(Ordering::Relaxed))
    }

    pub(crate) fn last_error(&self) -> Option<String> {
        self.queue().last_error.clone()
    }

    /// Something has failed that is not seen here.
    pub(crate) fn fails(&self, error: &str) {
        self.queue().last_error = Some(error.to_owned());
    }

    /// Queues a command. Without a connection, one that is not kept fails at once: its function is called here.
    pub(crate) fn send(&self, command: Command) -> std::result::Result<(), Refused> {
        let Err((refused, command)) = self.offer(command) else {
            return Ok(());
        };
        (command.on_reply)(None);
        match refused {
            Refused::Waiting => Ok(()),
            refused => Err(refused),
        }
    }

    /// Queues a command, or gives it back.
    pub(crate) fn offer(
        &self,
        mut command: Command,
    ) -> std::result::Result<(), (Refused, Command)> {
        let mut queue = self.queue();
        let bytes = command.bytes();
        let kind = usize::from(command.is_kept);
        if queue.is_closed || queue.bytes[kind] + bytes > self.config.queue_bytes {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            let refused = match queue.is_closed {
                true => Refused::Closed,
                false => Refused::Full,
            };
            return Err((refused, command));
        }
        if queue.is_waiting && !command.is_kept {
            return Err((Refused::Waiting, command));
        }
        queue.bytes[kind] += bytes;
        if command.is_kept {
            queue.number += 1;
            command.number = queue.number;
        }
        match command.is_first {
            true => queue.items.push_front(Item::Command(command)),
            false => queue.items.push_back(Item::Command(command)),
        }
        drop(queue);
        self.changed.notify_all();
        Ok(())
    }

    pub(crate) fn subscribe(&self, channel: Vec<u8>) {
        self.change(true, channel);
    }

    pub(crate) fn unsubscribe(&self, channel: Vec<u8>) {
        self.change(false, channel);
    }

    fn change(&self, is_subscribe: bool, channel: Vec<u8>) {
        let mut queue = self.queue();
        let is_changed = match is_subscribe {
            true => queue.channels.insert(channel.clone()),
            false => queue.channels.remove(&channel),
        };
        // A new connection subscribes all channels that there are.
        if is_changed && !queue.is_waiting {
            queue.changes += 1;
            if queue.changes > CHANGES {
                // Redis takes nothing for long. The next connection subscribes what is left.
                return;
            }
            queue.items.push_back(Item::Channel(is_subscribe, channel));
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
