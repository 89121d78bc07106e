//! The driver against brokers that misbehave, over real sockets.

mod broken;
mod flow;
mod peer;
mod toy;
