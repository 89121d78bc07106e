//! What a broker has sent, and what follows from it.

use super::{Driver, End, LOOK};
use crate::connection::{Connection, MOST_ADDRESSES, Phase, after, resolve};
use crate::events::Event;
use crate::protocol::{Address, Protocol, Received, ServerInfo, Session};
use crate::shared::lock;
use std::sync::atomic::Ordering;
use std::time::Instant;

impl<P: Protocol> Driver<P> {
    /// Handles what has arrived.
    pub(super) fn handle(&mut self, connection: &mut Connection<P::Session>) -> Result<(), End> {
        loop {
            let Connection {
                session,
                input,
                output,
                ..
            } = connection;
            let unread = input.unread();
            if unread.is_empty() {
                return Ok(());
            }
            let all = unread.len();
            let (used, received) = session
                .receive(unread, &mut output.bytes)
                .map_err(|error| error.to_string())?;
            match received {
                Received::Incomplete if used < all && all > self.settings.most_unread() => {
                    return Err("a message is larger than `message_bytes`".to_owned().into());
                }
                Received::Incomplete => {
                    input.used(used);
                    return Ok(());
                }
                Received::Nothing => input.used(used),
                Received::Message { topic, payload } => {
                    self.deliver(topic, payload);
                    input.used(used);
                }
                Received::Pong => {
                    input.used(used);
                    self.pong(connection)?;
                }
                Received::Ready => {
                    input.used(used);
                    self.ready(connection);
                }
                Received::Server(info) => {
                    input.used(used);
                    self.learn(connection, info)?;
                }
                Received::Refused(text) => {
                    input.used(used);
                    self.refused(&text);
                }
                Received::Elsewhere(address) => return Err(self.redirect(connection, address)),
            }
            if used == 0 {
                return Err("the protocol makes no progress".to_owned().into());
            }
        }
    }

    fn deliver(&mut self, topic: Option<&str>, payload: &[u8]) {
        let missing = |node, number| self.incoming.missing(topic, node, number);
        let tell = |event: Event<'_>| self.listener.tell(event);
        self.arrivals.deliver(topic, payload, missing, tell);
    }

    /// The login is complete.
    fn ready(&mut self, connection: &mut Connection<P::Session>) {
        if connection.phase != Phase::LogIn {
            return;
        }
        let wanted = lock(&self.shared.wanted).all();
        self.incoming.subscribe_only(&wanted);
        let topics = wanted.into_iter().map(|topic| (Some(topic), true));
        connection.topics = topics.chain([(None, true)]).collect();
        connection.phase = Phase::Subscribing;
    }

    /// The broker has answered a PING.
    fn pong(&mut self, connection: &mut Connection<P::Session>) -> Result<(), End> {
        if !connection.pong() {
            return Err("an answer to no PING".to_owned().into());
        }
        if connection.phase == Phase::Subscribing {
            connection.phase = Phase::Online;
            self.expire(Instant::now());
            self.shared.connected();
            log::info!("{}: connected to {}", P::NAME, connection.address);
            self.listener.tell(Event::Connected);
        }
        Ok(())
    }

    fn start_tls(&mut self, connection: &mut Connection<P::Session>) -> Result<(), End> {
        if !connection.input.unread().is_empty() {
            // They would count as secured.
            return Err("bytes before the handshake of TLS".to_owned().into());
        }
        self.secure(connection)?;
        connection
            .session
            .connected(true, &mut connection.output.bytes);
        Ok(())
    }

    /// The broker says something about itself.
    fn learn(
        &mut self,
        connection: &mut Connection<P::Session>,
        info: ServerInfo,
    ) -> Result<(), End> {
        if let Some(most) = info.max_message {
            self.shared.max_message.store(most, Ordering::Relaxed);
        }
        for address in info.addresses {
            if self.addresses.len() < MOST_ADDRESSES && !self.addresses.contains(&address) {
                self.addresses.push(address);
            }
        }
        if info.is_leaving {
            return Err("the broker leaves".to_owned().into());
        }
        match info.starts_tls {
            true => self.start_tls(connection),
            false => Ok(()),
        }
    }

    /// The broker has refused a command. It may do so for each message.
    fn refused(&mut self, text: &str) {
        let now = Instant::now();
        if self.refused_at.is_none_or(|at| now >= after(at, LOOK)) {
            self.refused_at = Some(now);
            log::warn!("{}: refused: {text}", P::NAME);
        }
        self.shared.refused(text);
    }

    /// The next attempt is to another address, at once.
    fn redirect(&mut self, connection: &Connection<P::Session>, mut address: Address) -> End {
        if connection.address.is_redirected {
            return "redirected twice".to_owned().into();
        }
        address.is_redirected = true;
        match resolve(&address) {
            Ok(found) => {
                for target in found.into_iter().rev() {
                    self.round.push_front((address.clone(), target));
                }
                format!("redirected to {address}").into()
            }
            Err(error) => format!("redirected to {address}: {error}").into(),
        }
    }
}
