//! Hands connections over to another protocol.

use super::h1::Moved;
use super::handler::Handler;
use super::service::{NoUpgrade, Upgrades};
use crate::runtime::transport::Transport;

/// How a worker hands over connections that have been upgraded. Each worker has its own value.
pub(crate) trait UpgradeMode<H, T>: Upgrades<H> + Send + 'static {
    /// Hands over the connection whose upgrade was accepted last. Returns how many connections had to be
    /// closed, because their thread has ended.
    fn hand_over(&mut self, moved: Moved<T>) -> u64;

    /// A panic has ended the turn of a connection: drops an upgrade that was accepted in it.
    fn recover(&mut self);
}

impl<H: Handler, T: Transport> UpgradeMode<H, T> for NoUpgrade {
    /// No upgrade is ever accepted.
    fn hand_over(&mut self, _: Moved<T>) -> u64 {
        0
    }

    fn recover(&mut self) {}
}
