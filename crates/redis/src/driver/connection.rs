//! What both threads of a connection share: what is sent, and when the last byte came.

use super::{Command, RUN};
use crate::handshake::Server;
use crate::resp::command;
use std::collections::VecDeque;
use std::io::{Error, ErrorKind, Result};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub(super) struct Connection {
    server: Server,
    /// When the last byte came.
    heard: Mutex<Instant>,
    sent: Mutex<VecDeque<Command>>,
    /// Why the reader has ended.
    over: Mutex<Option<Error>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Connection {
    /// A connection on which the commands of an earlier one are sent again.
    pub(super) fn new(server: Server, sent: VecDeque<Command>) -> Connection {
        Connection {
            server,
            heard: Mutex::new(Instant::now()),
            sent: Mutex::new(sent),
            over: Mutex::new(None),
        }
    }

    pub(super) fn sent(&self) -> MutexGuard<'_, VecDeque<Command>> {
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

    pub(super) fn encode(&self, sent: &Command, out: &mut Vec<u8>) {
        let mut parts: Vec<&[u8]> = Vec::with_capacity(sent.parts.len() + 2);
        if let Some(script) = sent.script {
            parts.extend([&b"EVALSHA"[..], self.server.scripts[script].as_bytes()]);
        }
        parts.extend(sent.parts.iter().map(|part| match &part[..] {
            RUN => self.server.run_id.as_bytes(),
            part => part,
        }));
        command(&parts, out);
    }

    /// It is among those that are sent before its reply can come.
    pub(super) fn send(&self, command: Command, out: &mut Vec<u8>) {
        self.encode(&command, out);
        self.sent().push_back(command);
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
        let ping = Command {
            script: None,
            parts: vec![b"PING".to_vec()],
            is_kept: false,
            on_reply: Box::new(|_| {}),
        };
        self.send(ping, out);
        Ok(now + interval)
    }
}
