//! `WebSocketRouter`: a router with a handler of WebSocket connections.

use super::{Route, Router};
use crate::http::handler::{Handler, forward_rest};
use crate::http::request::Request;
use crate::http::request_body::BodyPlan;
use crate::http::response::{Done, Response};
use crate::websocket::upgrade::Upgrade;
use crate::websocket::{WebSocketHandler, forward_hooks};
use std::sync::Arc;

/// A router with a handler of WebSocket connections. [`Router::websocket`] makes it.
pub struct WebSocketRouter<W> {
    router: Router,
    handler: Arc<W>,
    /// The handler of the route.
    route: Arc<dyn Handler>,
}

impl Router {
    /// Serves WebSocket connections at `pattern`, beside the routes. It comes last, because the result is no router any more.
    /// Serve it by [`Server::websocket`](crate::Server::websocket).
    ///
    /// [`WebSocketHandler::accept_ws`] is called for handshakes whose path has this pattern, unless a layer refuses the
    /// request; it can ask for [`Request::param`]. [`Handler::handle_request`] of `handler` responds to all other GET requests
    /// with this path, and to handshakes that it leaves to it.
    ///
    /// **A layer protects handshakes if it refuses requests by their heads** ([`Layer::refuse`](crate::layers::Layer::refuse)), as
    /// [`layers::check`](crate::layers::check), [`BasicAuth`](crate::layers::BasicAuth) and all others of the library do. A closure
    /// of [`layers::from_fn`](crate::layers::from_fn) is not called for a handshake.
    ///
    /// ```
    /// use peregrine::ws::{Message, Upgrade, WebSocketHandler, Ws};
    /// use peregrine::{Done, Handler, Request, Response, Router};
    ///
    /// struct Echo;
    ///
    /// impl Handler for Echo {
    ///     fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
    ///         res.status(426).header("Upgrade", "websocket").text("a WebSocket\n")
    ///     }
    /// }
    ///
    /// impl WebSocketHandler for Echo {
    ///     type Conn = ();
    ///
    ///     fn accept_ws(&self, _: &Request<'_>, _: &mut Upgrade<'_>) -> Option<()> {
    ///         Some(())
    ///     }
    ///
    ///     fn handle_ws_frame(&self, ws: &mut Ws<'_, ()>, message: Message<'_>) {
    ///         ws.send(message);
    ///     }
    /// }
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let app = Router::new()
    ///     .get("/", |_, res| res.html("<script src=/echo.js></script>"))
    ///     .websocket("/echo", Echo);
    /// # assert_eq!(peregrine::testing::get(&app, "/").status(), 200);
    /// # assert_eq!(peregrine::testing::get(&app, "/echo").status(), 426);
    /// # assert!(peregrine::testing::WebSocket::connect(&app, "/echo").is_ok());
    /// # assert!(peregrine::testing::WebSocket::connect(&app, "/").is_err());
    /// let server = peregrine::Server::new(app).websocket().bind("127.0.0.1:0").start()?;
    /// # server.stop();
    /// # server.wait().map(|_| ())
    /// # }
    /// ```
    ///
    /// A program has one such handler. For several paths, give it a pattern with a parameter or a tail.
    ///
    /// # Panics
    ///
    /// Those of [`Router::route`].
    #[track_caller]
    pub fn websocket<W: WebSocketHandler>(self, pattern: &str, handler: W) -> WebSocketRouter<W> {
        let handler = Arc::new(handler);
        let route = Route::handler(Some("GET"), pattern, handler.clone());
        WebSocketRouter {
            route: route.handler.clone(),
            router: self.route(route),
            handler,
        }
    }
}

#[deny(clippy::missing_trait_methods)]
impl<W: WebSocketHandler> Handler for WebSocketRouter<W> {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        self.router.handle_request(req, res)
    }

    fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
        self.router.body_plan(req)
    }

    forward_rest!(self => self.router);
}

#[deny(clippy::missing_trait_methods)]
impl<W: WebSocketHandler> WebSocketHandler for WebSocketRouter<W> {
    type Conn = W::Conn;

    fn accept_ws(&self, req: &Request<'_>, upgrade: &mut Upgrade<'_>) -> Option<W::Conn> {
        let (endpoint, route) = self.router.find_matched(req).ok()?;
        let layers = [&self.router.layers, &endpoint.route.layers];
        // A request that a layer refuses is passed on, so that the layer responds to it.
        if !Arc::ptr_eq(&endpoint.route.handler, &self.route)
            || layers.iter().any(|layers| layers.is_refused(req))
        {
            return None;
        }
        self.handler.accept_ws(&req.with_route(&route), upgrade)
    }

    forward_hooks!(self => self.handler);
}

impl<W> std::fmt::Debug for WebSocketRouter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebSocketRouter")
            .field("router", &self.router)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::BearerAuth;
    use crate::router::Slash;
    use crate::testing::{Client, WebSocket, get};
    use crate::websocket::ws::Ws;
    use peregrine_protocol::ws::frame::Message;

    /// A room by its name. `closed` leaves the handshake to the handler of requests.
    struct Rooms;

    impl Handler for Rooms {
        fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
            let name = req.param_str("name").unwrap_or_default();
            res.text(format!("{name} {}", req.route().unwrap_or("none")))
        }
    }

    impl WebSocketHandler for Rooms {
        type Conn = String;

        fn accept_ws(&self, req: &Request<'_>, _: &mut Upgrade<'_>) -> Option<String> {
            let name: String = req.param("name").ok()?;
            (name != "closed").then_some(name)
        }

        fn handle_ws_conn(&self, ws: &mut Ws<'_, String>) {
            let name = ws.conn.clone();
            ws.send(&*name);
        }

        fn handle_ws_frame(&self, _: &mut Ws<'_, String>, _: Message<'_>) {}
    }

    #[test]
    fn handshakes_of_its_pattern_are_accepted_and_others_are_requests() {
        let app = Router::new()
            .get("/rooms/all", |_, res| res.text("all"))
            .post("/rooms/{name}", |_, res| res.text("posted"))
            .websocket("/rooms/{name}", Rooms);
        let mut socket = WebSocket::connect(&app, "/rooms/a%2Fb").expect("accepted");
        assert!(String::from_utf8_lossy(&socket.take_received()).ends_with("a/b"));
        for path in ["/rooms/all", "/rooms/closed", "/rooms/", "/elsewhere"] {
            assert!(WebSocket::connect(&app, path).is_err(), "{path}");
        }
        assert_eq!(get(&app, "/rooms/x").text(), "x /rooms/{name}");
        assert_eq!(get(&app, "/rooms/all").text(), "all");
        let mut client = Client::new(&app);
        assert_eq!(client.post("/rooms/x").send().text(), "posted");
        let put = client.request("PUT", "/rooms/x").send();
        let allowed = Some("GET, HEAD, OPTIONS, POST");
        assert_eq!((put.status(), put.header("allow")), (405, allowed));
    }

    #[test]
    fn a_handshake_may_have_a_slash_more_where_a_request_may() {
        for (slash, is_accepted) in [
            (Slash::Exact, false),
            (Slash::Redirect, false),
            (Slash::Same, true),
        ] {
            let app = Router::new().slash(slash).websocket("/rooms/{name}", Rooms);
            assert!(WebSocket::connect(&app, "/rooms/a").is_ok());
            let connected = WebSocket::connect(&app, "/rooms/a/");
            assert_eq!(connected.is_ok(), is_accepted, "{slash:?}");
            if let Ok(mut socket) = connected {
                assert!(socket.take_received().ends_with(b"a"));
            }
        }
    }

    #[test]
    fn a_layer_refuses_handshakes() {
        let app = Router::new()
            .layer(BearerAuth::new("rooms", |token| token == "secret"))
            .websocket("/rooms/{name}", Rooms);
        assert!(WebSocket::connect(&app, "/rooms/a").is_err());
        assert_eq!(get(&app, "/rooms/a").status(), 401);
    }

    #[test]
    #[should_panic(expected = "`GET /{name}`")]
    fn a_conflict_with_a_route_is_found_at_the_start() {
        let _ = Router::new()
            .get("/{id}", |_, res| res.text(""))
            .websocket("/{name}", Rooms);
    }
}
