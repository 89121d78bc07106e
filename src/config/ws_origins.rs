//! Which origins may open WebSockets.

use peregrine_protocol::http::origin;

/// Which pages may open WebSockets: [`Config::ws_origins`](crate::Config::ws_origins).
///
/// A browser lets any page open a WebSocket to any server, and sends the cookies of the user for that server.
/// The `Origin` field has the origin of the page (RFC 6455 section 10.2). A request without that field is not
/// from a browser and is always accepted.
///
/// ```
/// use peregrine::Config;
/// use peregrine::ws::WsOrigins;
///
/// let config = Config::default().ws_origins(WsOrigins::List(vec!["https://app.example".into()]));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WsOrigins {
    /// Pages that were loaded from the host and port of the request; see
    /// [`Request::is_same_origin`](crate::Request::is_same_origin).
    #[default]
    Same,
    /// Any page.
    Any,
    /// Pages from one of these origins.
    ///
    /// An origin is a scheme, a host, and a port if it is not the default port of the scheme:
    /// `https://app.example`, `http://localhost:3000`. Case does not matter. `null` stands for pages without
    /// an origin, such as files and sandboxed frames. Pages of the server itself need an entry, too.
    List(Vec<String>),
}

impl WsOrigins {
    /// Whether a handshake with these `Origin` fields is allowed.
    pub(crate) fn allow<'a>(
        &self,
        mut origins: impl Iterator<Item = &'a [u8]>,
        is_same: impl FnOnce() -> bool,
    ) -> bool {
        match (self, origins.next(), origins.next()) {
            (WsOrigins::Any, _, _) | (_, None, _) => true,
            (WsOrigins::Same, _, _) => is_same(),
            (WsOrigins::List(list), Some(origin), None) => {
                list.iter().any(|listed| origin::is_listed(origin, listed))
            }
            (WsOrigins::List(_), _, Some(_)) => false,
        }
    }
}
