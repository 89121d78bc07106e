//! `Mode`: whether a server has WebSockets.

use super::launch::Launch;
use super::running::Running;
use super::{NoUpgrade, Server};
use crate::http::handler::Handler;
use crate::runtime::transport::OverSocket;
use std::io;
use std::sync::Arc;

/// Whether a [`Server`] has WebSockets: [`NoUpgrade`] without, `peregrine::ws::WebSockets` with them.
///
/// The trait is sealed: there are no other modes. It is for functions that take both kinds of servers:
///
/// ```
/// use peregrine::Server;
/// use peregrine::server::{Mode, Running};
/// use std::io;
///
/// fn start_on_any_port<H, M: Mode<H>>(server: Server<H, M>) -> io::Result<Running> {
///     server.bind("127.0.0.1:0").start()
/// }
/// # drop(start_on_any_port(Server::from_fn(|_, res| res.text("hi"))).unwrap());
/// ```
pub trait Mode<H>: sealed::Start<H> {}

impl<H, M: sealed::Start<H>> Mode<H> for M {}

pub(super) mod sealed {
    use super::{OverSocket, Running, Server, io};

    /// Starts servers of one mode.
    pub trait Start<H>: Sized {
        /// Starts with a transport for the bytes of each connection.
        #[expect(private_bounds, reason = "no other crate can name this trait")]
        fn start<T: OverSocket>(server: Server<H, Self>) -> io::Result<Running>;
    }
}

impl<H: Handler> sealed::Start<H> for NoUpgrade {
    #[expect(private_bounds, reason = "no other crate can name the trait")]
    fn start<T: OverSocket>(mut server: Server<H>) -> io::Result<Running> {
        let places = server.take_places();
        let launch = Launch::new(server.config, places, Vec::new(), server.timers)?;
        let handler = Arc::new(server.handler);
        let running = launch.start::<_, _, T>(handler, &server.stats, || NoUpgrade)?;
        running.at_start(&server.at_start, &server.stats)
    }
}
