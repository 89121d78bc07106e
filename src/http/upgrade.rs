//! Where connections go that leave HTTP.

use super::connection::Moved;
use super::handler::Handler;
use super::service::{NoUpgrade, Upgrades};
use crate::runtime::transport::Transport;
use std::io;

/// What a worker does with connections that have been upgraded; each has its own.
pub(crate) trait UpgradeMode<H, T>: Upgrades<H> + Send + 'static {
    /// Takes the connection whose upgrade has been accepted last. Returns how many had to be closed, as
    /// their thread has ended.
    fn hand_over(&mut self, moved: Moved<T>) -> u64;

    /// A panic has ended the turn of a connection: forgets an upgrade that was accepted in it.
    fn recover(&mut self);
}

impl<H: Handler, T: Transport> UpgradeMode<H, T> for NoUpgrade {
    /// Nothing is ever accepted.
    fn hand_over(&mut self, _: Moved<T>) -> u64 {
        0
    }

    fn recover(&mut self) {}
}

/// The error of a setting that cannot work.
pub(crate) fn wrong_setting(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}
