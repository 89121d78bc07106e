//! PROXY headers of new connections, read before anything else is done with them.
//!
//! The thread that accepts reads the header, and then hands the connection to a worker. So all that follows knows the
//! client: the limits per address, TLS, HTTP. Only the bytes of the header are taken from the socket.

use super::connection_limit::ip_text;
use super::poll::{Interest, Poll, Token};
use super::server_state::{Accepted, ServerState};
use super::transport::Transport;
use crate::log::event;
use peregrine_protocol::proxy_header::{MOST_BYTES, Parsed, ProxyHeader};
use std::io;
use std::time::{Duration, Instant};

/// How often connections are looked at whose header has not come.
pub(crate) const CHECK: Duration = Duration::from_millis(500);

/// A connection whose header is incomplete.
#[derive(Debug)]
struct Greeting {
    accepted: Accepted,
    received: Vec<u8>,
    until: Instant,
}

/// The connections of one thread whose header is incomplete. They are registered with its poller.
#[derive(Debug, Default)]
pub(crate) struct Greetings {
    slots: Vec<Option<Greeting>>,
    free: Vec<usize>,
    checked: Option<Instant>,
}

impl Greetings {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.len() == self.free.len()
    }

    /// Reads what has come of the header of a new connection. Returns it if it is complete, or if the listener has no
    /// headers. An incomplete one is kept, and one that is refused is closed.
    pub(crate) fn begin(
        &mut self,
        accepted: Accepted,
        (control, poll): (&ServerState, &Poll),
    ) -> Option<Accepted> {
        let Some(sources) = &control.listener_config(accepted.listener).proxied else {
            return Some(accepted);
        };
        if !sources.proxies.are_trusted(accepted.peer) {
            control.capacity.tell_untrusted(accepted.peer);
            refuse(
                accepted,
                &"its address is not in Config::trusted_proxies",
                control,
            );
            return None;
        }
        let greeting = Greeting {
            accepted,
            received: Vec::new(),
            until: super::clock::after(sources.timeout),
        };
        match greeting.step() {
            Step::Complete(accepted) => Some(accepted),
            Step::Partial(greeting) => {
                self.keep(greeting, control, poll);
                None
            }
            Step::Refused(accepted, error) => {
                refuse(accepted, &error, control);
                None
            }
        }
    }

    /// The connection with this token is ready. Returns it if its header is complete.
    pub(crate) fn ready(
        &mut self,
        token: Token,
        (control, poll): (&ServerState, &Poll),
    ) -> Option<Accepted> {
        let index = token.greeting()?;
        let greeting = self.slots.get_mut(index)?.take()?;
        match greeting.step() {
            Step::Complete(accepted) => {
                self.free.push(index);
                let _ = poll.remove(&accepted.socket);
                Some(accepted)
            }
            Step::Partial(greeting) => {
                if poll.is_oneshot() {
                    let _ = poll.modify(&greeting.accepted.socket, token, Interest::Read);
                }
                self.slots[index] = Some(greeting);
                None
            }
            Step::Refused(accepted, error) => {
                self.free.push(index);
                let _ = poll.remove(&accepted.socket);
                refuse(accepted, &error, control);
                None
            }
        }
    }

    /// Closes the connections whose header has not come in time.
    pub(crate) fn expire(&mut self, control: &ServerState, poll: &Poll) {
        let now = Instant::now();
        if self.checked.is_some_and(|at| now < at + CHECK) {
            return;
        }
        self.checked = Some(now);
        self.close(
            &"its PROXY header has not come in time",
            control,
            poll,
            |greeting| now >= greeting.until,
        );
    }

    /// Closes all. None of them has sent a request.
    pub(crate) fn end(&mut self, control: &ServerState, poll: &Poll) {
        self.close(&"the server stops", control, poll, |_| true);
    }

    fn close(
        &mut self,
        why: &dyn std::fmt::Display,
        control: &ServerState,
        poll: &Poll,
        is_over: impl Fn(&Greeting) -> bool,
    ) {
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if let Some(greeting) = slot.take_if(|greeting| is_over(greeting)) {
                self.free.push(index);
                let _ = poll.remove(&greeting.accepted.socket);
                refuse(greeting.accepted, why, control);
            }
        }
        if self.is_empty() {
            *self = Greetings::default();
        }
    }

    fn keep(&mut self, greeting: Greeting, control: &ServerState, poll: &Poll) {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        let token = Token::of_greeting(index);
        match poll.add(&greeting.accepted.socket, token, Interest::Read) {
            Ok(()) => self.slots[index] = Some(greeting),
            Err(error) => {
                self.free.push(index);
                refuse(greeting.accepted, &error, control);
            }
        }
    }
}

/// Closes a connection that has no valid header.
#[cold]
fn refuse(accepted: Accepted, why: &dyn std::fmt::Display, control: &ServerState) {
    // Counted first, because the client can see the end at once.
    control.capacity.counters.proxy_refused.add_shared(1);
    let addr = ip_text(accepted.peer);
    event!(Debug, "a connection from {addr} is closed: {why}");
    drop(accepted);
    control.give_back(None);
}

/// What has become of a connection.
enum Step {
    Complete(Accepted),
    Partial(Greeting),
    Refused(Accepted, io::Error),
}

impl Greeting {
    /// Looks at what has arrived, and takes from the socket what belongs to the header.
    fn step(mut self) -> Step {
        let mut bytes = [0; MOST_BYTES];
        let before = self.received.len();
        bytes[..before].copy_from_slice(&self.received);
        match self.look(&mut bytes) {
            Ok(Some(header)) => {
                self.accepted.proxied = Some(Box::new(header));
                Step::Complete(self.accepted)
            }
            Ok(None) => Step::Partial(self),
            Err(error) => Step::Refused(self.accepted, error),
        }
    }

    fn look(&mut self, bytes: &mut [u8]) -> io::Result<Option<ProxyHeader>> {
        let before = self.received.len();
        let socket = &mut self.accepted.socket;
        let seen = match socket.peek(&mut bytes[before..]) {
            Err(error) if super::transport::can_wait(&error, &mut false) => return Ok(None),
            seen => seen?,
        };
        if seen == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let parsed = ProxyHeader::parse(&bytes[..before + seen]);
        let (header, end) = match parsed.map_err(io::Error::other)? {
            Parsed::Complete(header, end) => (Some(header), end),
            Parsed::Partial => (None, before + seen),
        };
        let mut at = before;
        while at < end {
            match socket.read(&mut bytes[at..end])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => at += n,
            }
        }
        self.received = bytes[..end].to_vec();
        Ok(header)
    }
}
