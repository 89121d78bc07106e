//! `Health`: whether the program lives and is ready.

mod check;

use crate::http::handler::Handler;
use crate::http::json_string::push_string;
use crate::http::request::Request;
use crate::http::response::{Done, Response};
use crate::relay::RelayHandle;
use crate::runtime::phase::Phase;
use check::{Check, Latest};
use std::fmt::Display;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Whether a program lives and is ready, for load balancers and orchestrators.
///
/// It is a [`Handler`] for two paths, with any prefix, by GET and HEAD. [`Router::mount`](crate::Router::mount) gives it a
/// prefix.
///
/// | path | status | when |
/// |---|---|---|
/// | `/livez` | 200 | always: a program that drains or stops is not to be killed |
/// | `/readyz` | 200 | the server serves and all checks pass |
/// | `/readyz` | 503 | the server has not started, drains or stops, a check fails, or a [relay](crate::relay) of the server is not connected |
///
/// The body is JSON: `{"status":"ready"}`, `"alive"`, `"starting"`, `"draining"`, or
/// `{"status":"failing","checks":{"database":"no connection"}}`. Every client that can send the request can read it: keep secrets
/// out of the texts of checks, or serve it on an address of its own.
///
/// It is made before the server, as [`Stats`](crate::metrics::Stats) is, and connected by
/// [`Server::health`](crate::Server::health). Clones are the same. It may be given to several servers; then all that have
/// started have to serve. A server that has ended is "draining" until another one starts with the same `Health`, as after a
/// restart within the process. A server that has [handed over](crate::server::hand_over) counts as ready, because its
/// address is served.
///
/// ```
/// use peregrine::server::Health;
/// use peregrine::{Router, Server};
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicBool, Ordering};
///
/// # fn main() -> std::io::Result<()> {
/// let is_loaded = Arc::new(AtomicBool::new(false));
/// let loaded = is_loaded.clone();
/// let health = Health::new().check("cache", move || match loaded.load(Ordering::Relaxed) {
///     true => Ok(()),
///     false => Err("is being loaded"),
/// });
/// let app = Router::new()
///     .get("/", |_, res| res.text("hi"))
///     .mount("/health", health.clone()); // /health/livez, /health/readyz
/// let server = Server::new(app).health(&health).bind("127.0.0.1:0").start()?;
/// assert!(!health.is_ready());
/// is_loaded.store(true, Ordering::Relaxed);
/// assert!(health.is_ready());
/// # drop(server);
/// # Ok(())
/// # }
/// ```
///
/// [`Config::allowed_hosts`](crate::Config::allowed_hosts) applies to these requests, too: a probe has to send one of the
/// names.
#[derive(Clone, Default)]
#[doc(alias("liveness", "readiness", "healthz", "probe"))]
pub struct Health(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// Of the servers that have been started with it, without those that had ended when the last one started.
    servers: Mutex<Vec<Arc<Phase>>>,
    checks: Mutex<Vec<Check>>,
    /// Those of the servers that have been started with it, without those that had stopped at the last look.
    relays: Mutex<Vec<(RelayHandle, Check)>>,
}

/// What `/readyz` says.
enum Readiness {
    Ready,
    Starting,
    Draining,
    /// Names and texts of the checks that fail.
    Failing(Vec<(String, String)>),
}

impl Health {
    /// Without checks, and not ready before a server has started with it.
    pub fn new() -> Health {
        Health::default()
    }

    /// Adds a check: while it returns an error, the program is not ready, and the error is in the response.
    ///
    /// Each request for `/readyz` calls it, on the thread of a worker. So it must not block: read an atomic, a lock that is
    /// held briefly, or a length. [`Health::check_every`] is for others. If it panics, it fails. It must not ask this
    /// `Health` whether it is ready, which would call it again. Give each check a name of its own: it is a key of the JSON.
    ///
    /// ```
    /// use peregrine::server::Health;
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicBool, Ordering};
    ///
    /// let is_loaded = Arc::new(AtomicBool::new(false));
    /// let loaded = is_loaded.clone();
    /// let health = Health::new().check("index", move || match loaded.load(Ordering::Relaxed) {
    ///     true => Ok(()),
    ///     false => Err("is being loaded"),
    /// });
    /// // A server that has this `Health` is not ready before this.
    /// is_loaded.store(true, Ordering::Relaxed);
    /// # let _ = health;
    /// ```
    #[must_use = "it is the same `Health`"]
    pub fn check<E: Display>(
        self,
        name: &str,
        check: impl Fn() -> Result<(), E> + Send + Sync + 'static,
    ) -> Health {
        let check = move || check().map_err(|error| error.to_string());
        self.add(name, Box::new(check));
        self
    }

    /// Adds a check that may block, as a query to a database does. A thread of its own calls it at once, and again when
    /// `every`, at least 1 ms, has passed since the last call has ended.
    ///
    /// The last result counts. Until there is one, and if a call takes longer than `every` and 5 seconds, it fails. If it
    /// panics, it fails. The thread ends when the last clone of the `Health` is dropped, after its call.
    ///
    /// ```
    /// use peregrine::server::Health;
    /// use std::net::TcpStream;
    /// use std::time::Duration;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let health = Health::new();
    /// let database = "127.0.0.1:5432".parse().expect("an address");
    /// health.check_every("database", Duration::from_secs(5), move || {
    ///     TcpStream::connect_timeout(&database, Duration::from_secs(1)).map(drop)
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The system has no more threads.
    pub fn check_every<E: Display>(
        &self,
        name: &str,
        every: Duration,
        mut check: impl FnMut() -> Result<(), E> + Send + 'static,
    ) -> io::Result<()> {
        let check = move || check().map_err(|error| error.to_string());
        let latest = Latest::spawn(every, check)?;
        self.add(name, Box::new(move || latest.result()));
        Ok(())
    }

    /// Whether `/readyz` responds with 200 now. It calls the checks.
    pub fn is_ready(&self) -> bool {
        matches!(self.readiness(), Readiness::Ready)
    }

    /// Whether a server drains or stops.
    pub fn is_draining(&self) -> bool {
        lock(&self.0.servers)
            .iter()
            .any(|server| !server.is_ready())
    }

    /// A server has started with it. Those that have ended before count no more.
    pub(super) fn serves(&self, phase: &Arc<Phase>) {
        let mut servers = lock(&self.0.servers);
        servers.retain(|server| !server.has_ended());
        servers.push(phase.clone());
    }

    /// A server with this relay has started.
    pub(super) fn needs(&self, relay: &RelayHandle) {
        let mut relays = lock(&self.0.relays);
        if relays.iter().any(|(known, _)| known.is_same(relay)) {
            return;
        }
        let is_free = |name: &String| relays.iter().all(|(_, check)| check.name() != name);
        let names = (2..).map(|number| format!("relay-{number}"));
        let mut names = std::iter::once("relay".to_owned()).chain(names);
        let name = names.find(is_free).unwrap_or_default();
        let asked = relay.clone();
        // It may stop between the look at the list and this one.
        let check = move || match asked.is_ready() || asked.has_stopped() {
            true => Ok(()),
            false => Err("not connected to the broker".to_owned()),
        };
        relays.push((relay.clone(), Check::new(&name, Box::new(check))));
    }

    /// The checks of the relays that have not stopped.
    fn relay_checks(&self) -> Vec<Check> {
        let mut relays = lock(&self.0.relays);
        let all = std::mem::take(&mut *relays).into_iter();
        let (stopped, left): (Vec<_>, _) = all.partition(|(relay, _)| relay.has_stopped());
        *relays = left;
        let checks = relays.iter().map(|(_, check)| check.clone()).collect();
        drop(relays);
        // Perhaps the last owners: that calls code of the program.
        drop(stopped);
        checks
    }

    fn add(&self, name: &str, run: Box<dyn Fn() -> Result<(), String> + Send + Sync>) {
        lock(&self.0.checks).push(Check::new(name, run));
    }

    fn readiness(&self) -> Readiness {
        if self.is_draining() {
            return Readiness::Draining;
        }
        if lock(&self.0.servers).is_empty() {
            return Readiness::Starting;
        }
        // A check may take the lock of another one, but none calls this `Health`.
        let mut checks = lock(&self.0.checks).clone();
        checks.extend(self.relay_checks());
        let failing: Vec<_> = checks.iter().filter_map(Check::failure).collect();
        match failing.is_empty() {
            true => Readiness::Ready,
            false => Readiness::Failing(failing),
        }
    }
}

impl Readiness {
    fn json(&self) -> String {
        let status = match self {
            Readiness::Ready => "ready",
            Readiness::Starting => "starting",
            Readiness::Draining => "draining",
            Readiness::Failing(_) => "failing",
        };
        let mut json = format!("{{\"status\":\"{status}\"");
        if let Readiness::Failing(checks) = self {
            let mut before = ",\"checks\":{";
            for (name, text) in checks {
                json.push_str(before);
                push_string(name, &mut json);
                json.push(':');
                push_string(text, &mut json);
                before = ",";
            }
            json.push('}');
        }
        json.push_str("}\n");
        json
    }
}

impl Handler for Health {
    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        let (status, json) = match req.path().rsplit('/').next() {
            Some("livez") => (200, "{\"status\":\"alive\"}\n".to_owned()),
            Some("readyz") => match self.readiness() {
                Readiness::Ready => (200, Readiness::Ready.json()),
                readiness => (503, readiness.json()),
            },
            _ => return res.status(404).text("not found\n"),
        };
        if !matches!(req.method(), "GET" | "HEAD") {
            let res = res.status(405).header("Allow", "GET, HEAD");
            return res.text("use GET\n");
        }
        res.status(status)
            .header("Content-Type", "application/json")
            .header("Cache-Control", "no-store")
            .body(json)
    }
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Health").finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
