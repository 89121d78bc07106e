//! A room with a history. Each page that comes gets the earlier messages and then all new ones, without a gap
//! and without a repetition, over a WebSocket or server-sent events.
//!
//! ```sh
//! cargo run --release --example room
//! ```
//!
//! Then open <http://127.0.0.1:8080/>, and <http://127.0.0.1:8080/?sse> for the same over server-sent events.
//! `room.rs` has the method.

#[path = "../common/mod.rs"]
mod common;
mod room;

use peregrine::Server;
use peregrine::ws::Hub;
use room::Room;

fn main() -> std::io::Result<()> {
    let args = common::Args::parse("A room with a history, at / and /?sse.");
    let hub = Hub::new();
    let server = Server::new(Room::new(&hub)).websocket().with_hub(&hub);
    let server = args.bind(server.config(args.private_config()));
    common::wait(common::until_signal(server).start())
}
