//! What waits to be sent, and the channels that are subscribed.

use super::Command;
use super::connection::{Connection, Out};
use std::collections::{BTreeSet, VecDeque};
use std::io::{Error, Result};

/// Bytes that are encoded ahead of the socket.
const AHEAD: usize = 256 * 1024;
/// Channels of one SUBSCRIBE.
const CHANNELS: usize = 1000;
/// Changes of channels that wait. Above it, the connection is made again, with all channels that there are.
pub(super) const CHANGES: usize = 65_536;

pub(super) enum Item {
    Command(Command),
    /// It is subscribed, or is not any more.
    Channel(bool, Vec<u8>),
}

#[derive(Default)]
pub(super) struct Queue {
    pub(super) items: VecDeque<Item>,
    /// Of `items`, and of the commands that are not answered: of those that are not kept, and of those that are. So
    /// messages that wait refuse no read.
    pub(super) bytes: [usize; 2],
    /// The number of the last command that is kept.
    pub(super) number: u64,
    pub(super) channels: BTreeSet<Vec<u8>>,
    /// Number of channels in `items`.
    pub(super) changes: usize,
    /// No attempt to connect is made.
    pub(super) is_waiting: bool,
    pub(super) is_closed: bool,
    pub(super) last_error: Option<String>,
}

impl Queue {
    /// Nothing waits, and all commands are answered.
    pub(super) fn is_idle(&self) -> bool {
        self.bytes == [0, 0]
    }

    /// Encodes what waits.
    pub(super) fn take(&mut self, connection: &Connection, out: &mut Out) -> Result<()> {
        if self.changes > CHANGES {
            return Err(Error::other("too many subscriptions wait"));
        }
        while out.iter().map(Vec::len).sum::<usize>() < AHEAD {
            match self.items.pop_front() {
                // A read behind a subscription must not come before it.
                Some(command @ Item::Command(_)) if connection.is_subscribing() => {
                    self.items.push_front(command);
                    break;
                }
                Some(Item::Command(command)) => connection.send(command, out),
                Some(Item::Channel(is_subscribe, channel)) => {
                    self.changes -= 1;
                    connection.change(is_subscribe, &[&channel], out);
                }
                None => break,
            }
        }
        Ok(())
    }
}

/// Subscribes all channels that there are.
pub(super) fn subscribe(queue: &mut Queue, connection: &Connection, out: &mut Out) {
    let channels: Vec<&[u8]> = queue.channels.iter().map(Vec::as_slice).collect();
    for channels in channels.chunks(CHANNELS) {
        connection.change(true, channels, out);
    }
    connection.expect(channels.len());
    // These changes are among the channels already.
    queue.changes = 0;
    queue.items.retain(|item| matches!(item, Item::Command(_)));
}
