//! Time limits of responses that come later.

use super::{Layer, Next};
use crate::http::request::Request;
use crate::http::response::{Done, Response};
use std::time::Duration;

/// Sets the time in which a response has to come, in place of
/// [`Limits::response_timeout`](crate::Limits::response_timeout). It applies to responses that come later: offloaded, deferred,
/// and the pieces of streamed ones. The client gets 503 after it, and an offloaded handler that still waits for a thread is not
/// called. A handler that has begun is not interrupted. See [`Response::timeout`].
///
/// [`Route::timeout`](crate::router::Route::timeout) is the same for one route.
///
/// ```
/// use peregrine::Router;
/// use peregrine::layers::Timeout;
/// use peregrine::router::offload;
/// use std::time::Duration;
///
/// let reports = Router::new()
///     .get("/year", offload(|_, res| res.text("a long computation")))
///     .layer(Timeout::new(Duration::from_secs(300)));
/// let app = Router::new().nest("/reports", reports);
/// # assert_eq!(peregrine::testing::get(&app, "/reports/year").text(), "a long computation");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Timeout(Duration);

impl Timeout {
    /// This time, which is checked once a second.
    pub fn new(time: Duration) -> Timeout {
        Timeout(time)
    }
}

impl Layer for Timeout {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>, next: Next<'_>) -> Done {
        next.run(req, res.timeout(self.0))
    }
}
