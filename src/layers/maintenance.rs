//! Maintenance: the program runs, and tells clients to come back later.

use super::Layer;
use crate::http::handler_error::Problem;
use crate::http::request::Request;
use crate::http::request_body::Respond;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

type Excepted = Arc<dyn Fn(&Request<'_>) -> bool + Send + Sync>;

/// Responds to all requests with 503 and `Retry-After` while it is on. A clone is the same switch.
///
/// ```
/// use peregrine::Router;
/// use peregrine::layers::Maintenance;
/// use peregrine::testing::get;
///
/// let maintenance = Maintenance::new().except(|req| req.path() == "/health");
/// let app = Router::new()
///     .get("/", |_, res| res.text("hi"))
///     .get("/health", |_, res| res.text("ok"))
///     .layer(maintenance.clone());
/// maintenance.set(true);
/// assert_eq!(get(&app, "/").status(), 503);
/// assert_eq!(get(&app, "/health").status(), 200);
/// maintenance.set(false);
/// assert_eq!(get(&app, "/").status(), 200);
/// ```
#[derive(Clone)]
pub struct Maintenance {
    is_on: Arc<AtomicBool>,
    retry_after: Duration,
    excepted: Option<Excepted>,
}

impl Default for Maintenance {
    fn default() -> Maintenance {
        Maintenance::new()
    }
}

impl Maintenance {
    /// It is off.
    pub fn new() -> Maintenance {
        Maintenance {
            is_on: Arc::default(),
            retry_after: Duration::from_secs(60),
            excepted: None,
        }
    }

    /// Switches it, from any thread, for requests that come from now on.
    pub fn set(&self, is_on: bool) {
        self.is_on.store(is_on, Ordering::Relaxed);
    }

    /// Whether it is on.
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Sets when clients should come back, in whole seconds. Default: 60 s.
    #[must_use]
    pub fn retry_after(mut self, time: Duration) -> Maintenance {
        self.retry_after = time;
        self
    }

    /// Lets requests pass for which `is_excepted` returns true.
    #[must_use]
    pub fn except(
        mut self,
        is_excepted: impl Fn(&Request<'_>) -> bool + Send + Sync + 'static,
    ) -> Maintenance {
        self.excepted = Some(Arc::new(is_excepted));
        self
    }
}

impl Layer for Maintenance {
    fn refuse(&self, req: &Request<'_>) -> Option<Respond> {
        let is_excepted = || {
            self.excepted
                .as_ref()
                .is_some_and(|is_excepted| is_excepted(req))
        };
        if !self.is_on() || is_excepted() {
            return None;
        }
        let after = self.retry_after.as_secs().to_string();
        Some(Box::new(move |req, res| {
            let problem = Problem::new(503).detail("the server is being maintained");
            problem.respond_to(req, res.header("Retry-After", after))
        }))
    }
}

impl std::fmt::Debug for Maintenance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Maintenance").field(&self.is_on()).finish()
    }
}
