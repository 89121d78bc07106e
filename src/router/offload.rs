//! Handlers that block, for routes.

use crate::http::handler_error::{BoxError, HandlerResult};
use crate::http::request::Request;
use crate::http::response::{Done, Response};
use crate::shared::panic_guard::Quiet;
use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A handler that runs `handler` on a thread of the pool, because it blocks; see [`Response::offload`]. If the pool is full, the
/// response is 503. What `handler` has captured is shared by all calls.
///
/// ```
/// use peregrine::Router;
/// use peregrine::router::offload;
/// use std::sync::{Arc, Mutex};
///
/// let visits = Arc::new(Mutex::new(0));
/// let app = Router::new().get("/report", offload(move |_, res| {
///     let mut visits = visits.lock().unwrap();
///     *visits += 1;
///     res.text(format!("report {visits}"))
/// }));
/// # let mut client = peregrine::testing::Connection::new(&app);
/// # client.send(b"GET /report HTTP/1.1\r\nHost: a\r\n\r\n");
/// # assert!(client.wait(std::time::Duration::from_secs(60)));
/// # assert!(client.received().ends_with(b"\r\n\r\nreport 1"));
/// ```
#[doc(alias("blocking", "spawn_blocking"))]
pub fn offload<F, R>(
    handler: F,
) -> impl Fn(&Request<'_>, Response<'_>) -> Done + Send + Sync + 'static
where
    F: Fn(&Request<'_>, Response<'_>) -> R + Send + Sync + 'static,
    R: HandlerResult,
{
    let handler = Arc::new(handler);
    move |req, res| {
        let handler = handler.clone();
        res.offload(req, move |req, res| handler(req, res))
    }
}

thread_local! {
    /// The values of this thread, by the number of their `PerThread`.
    static OWNED: RefCell<HashMap<u64, Box<dyn Any>>> = RefCell::new(HashMap::new());
}

/// The number of the next `PerThread`.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A handler that runs on a thread of the pool, as by [`offload`], with a value that `make` has made for this thread, such as a
/// connection to a database. It is short for [`PerThread::new`] and [`PerThread::offload`], and has the rules of
/// [`PerThread`]. Each call of this function has values of its own: routes that should share theirs share a `PerThread`.
///
/// ```
/// use peregrine::Router;
/// use peregrine::error::BoxError;
/// use peregrine::router::offload_with;
/// use std::cell::Cell;
///
/// // In place of a connection to a database. It cannot be shared by threads.
/// let connect = || Ok::<_, BoxError>(Cell::new(0));
/// let app = Router::new().get("/count", offload_with(connect, |count, _, res| {
///     count.set(count.get() + 1);
///     res.text(count.get().to_string())
/// }));
/// # let mut client = peregrine::testing::Connection::new(&app);
/// # client.send(b"GET /count HTTP/1.1\r\nHost: a\r\n\r\n");
/// # assert!(client.wait(std::time::Duration::from_secs(60)));
/// # assert!(client.received().ends_with(b"\r\n\r\n1"));
/// ```
pub fn offload_with<T, E, M, F, R>(
    make: M,
    handler: F,
) -> impl Fn(&Request<'_>, Response<'_>) -> Done + Send + Sync + 'static
where
    T: 'static,
    E: Into<BoxError>,
    M: Fn() -> Result<T, E> + Send + Sync + 'static,
    F: Fn(&mut T, &Request<'_>, Response<'_>) -> R + Send + Sync + 'static,
    R: HandlerResult,
{
    PerThread::new(make).offload(handler)
}

/// A value for each thread of the pool, such as a connection to a database. Handlers that block use it, and share it with each
/// other. So clients that are not `Sync` can be used, and no call waits for another one. Clones share the values.
///
/// The function of [`PerThread::new`] is called on a thread of the pool, before the first handler there needs the value. If it
/// fails, the response is 500, the error is reported as that of a handler ([`HandlerError`](crate::error::HandlerError)), and
/// the next request there calls it again. If a handler panics, the value is dropped, and the next request gets a new one.
/// [`PerThread::keep_if`] finds connections that have ended.
///
/// A server has at most [`Config::pool_threads`](crate::Config::pool_threads) values at a time; servers that share a `PerThread`
/// have as many each. Values are dropped at the end of their thread, not with the `PerThread`. So make it once at the start:
/// one for each request, or for each router that replaces another one, would leave its values until the server ends.
///
/// ```
/// use peregrine::Router;
/// use peregrine::error::BoxError;
/// use peregrine::router::PerThread;
///
/// # struct Database;
/// # impl Database {
/// #     fn open(_: &str) -> Result<Database, std::io::Error> { Ok(Database) }
/// #     fn list(&self) -> Result<String, BoxError> { Ok("a, b".to_owned()) }
/// #     fn remove(&mut self, _: u64) -> Result<(), BoxError> { Ok(()) }
/// # }
/// let db = PerThread::new(|| Database::open("notes.db"));
/// let app = Router::new()
///     .get("/notes", db.offload(|db, _, res| -> Result<_, BoxError> {
///         Ok(res.text(db.list()?))
///     }))
///     .delete("/notes/{id}", db.offload(|db, req, res| -> Result<_, BoxError> {
///         db.remove(req.param("id")?)?;
///         Ok(res.status(204).body(""))
///     }));
/// # let mut client = peregrine::testing::Client::new(&app);
/// # assert_eq!(client.get("/notes").send().text(), "a, b");
/// # assert_eq!(client.request("DELETE", "/notes/1").send().status(), 204);
/// ```
#[doc(alias("pool", "r2d2", "thread_local"))]
pub struct PerThread<T> {
    id: u64,
    make: Arc<Make<T>>,
    keep: Option<Arc<Keep<T>>>,
}

type Make<T> = dyn Fn() -> Result<T, BoxError> + Send + Sync;
type Keep<T> = dyn Fn(&mut T) -> bool + Send + Sync;

impl<T: 'static> PerThread<T> {
    /// Values that `make` makes, one on each thread that needs it.
    pub fn new<E, M>(make: M) -> PerThread<T>
    where
        E: Into<BoxError>,
        M: Fn() -> Result<T, E> + Send + Sync + 'static,
    {
        PerThread {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            make: Arc::new(move || make().map_err(Into::into)),
            keep: None,
        }
    }

    /// Asks `keep` before a value is used again. If it returns false, the value is dropped, and a new one is made. It is for
    /// connections that end by themselves, as when the database is started again. Default: a value is used until a
    /// handler panics. If `keep` panics, the value is dropped and the response is 500.
    ///
    /// `keep` runs on the thread of the pool before each request: a flag of the client costs nothing, a question to the database
    /// costs the time of its reply. A client that notices the end of a connection only when it is used costs one request on each
    /// thread. Clones that were made before, and their routes, do not ask: call it first.
    ///
    /// ```
    /// use peregrine::router::PerThread;
    /// use std::io::Error;
    ///
    /// # #[derive(Default)] struct Connection;
    /// # impl Connection { fn is_open(&self) -> bool { true } }
    /// let db = PerThread::new(|| Ok::<_, Error>(Connection::default())).keep_if(|db| db.is_open());
    /// # let app = peregrine::from_fn(move |req, res| db.respond(req, res, |_, _, res| res.text("a")));
    /// # assert_eq!(peregrine::testing::get(&app, "/").text(), "a");
    /// ```
    #[must_use]
    pub fn keep_if(self, keep: impl Fn(&mut T) -> bool + Send + Sync + 'static) -> PerThread<T> {
        PerThread {
            keep: Some(Arc::new(keep)),
            ..self
        }
    }

    /// A handler that runs `handler` on a thread of the pool with the value of this thread, as by [`offload`]. If the pool is
    /// full, the response is 503.
    pub fn offload<F, R>(
        &self,
        handler: F,
    ) -> impl Fn(&Request<'_>, Response<'_>) -> Done + Send + Sync + 'static + use<T, F, R>
    where
        F: Fn(&mut T, &Request<'_>, Response<'_>) -> R + Send + Sync + 'static,
        R: HandlerResult,
    {
        let values = self.clone();
        offload(move |req, res| values.run(req, res, &handler))
    }

    /// Runs `f` once on a thread of the pool with the value of this thread, as [`Response::offload`] does. It is for handlers
    /// that are no routes, and for `f` that own something, such as the form that has arrived.
    ///
    /// ```
    /// use peregrine::router::PerThread;
    /// use std::io::Error;
    ///
    /// let lists = PerThread::new(|| Ok::<_, Error>(Vec::new()));
    /// let app = peregrine::from_fn(move |req, res| {
    ///     let word = req.query("word").unwrap_or_default().into_owned();
    ///     lists.respond(req, res, move |list, _, res| {
    ///         list.push(word);
    ///         res.text(list.join(" "))
    ///     })
    /// });
    /// assert_eq!(peregrine::testing::get(&app, "/?word=hi").text(), "hi");
    /// ```
    pub fn respond<F, R>(&self, req: &Request<'_>, res: Response<'_>, f: F) -> Done
    where
        F: FnOnce(&mut T, &Request<'_>, Response<'_>) -> R + Send + 'static,
        R: HandlerResult,
    {
        let values = self.clone();
        res.offload(req, move |req, res| values.run(req, res, f))
    }

    fn run<R: HandlerResult>(
        &self,
        req: &Request<'_>,
        mut res: Response<'_>,
        f: impl FnOnce(&mut T, &Request<'_>, Response<'_>) -> R,
    ) -> Done {
        // While the handler runs, the value is its own: a panic drops it.
        let owned = OWNED.with_borrow_mut(|owned| owned.remove(&self.id));
        let owned = owned.and_then(|value| value.downcast::<Quiet<T>>().ok());
        let owned = owned.and_then(|mut value| match &self.keep {
            Some(keep) => keep(&mut value).then_some(value),
            None => Some(value),
        });
        let mut value = match owned {
            Some(value) => value,
            None => match (self.make)() {
                Ok(value) => Box::new(Quiet::new(value)),
                Err(error) => return Err::<Done, BoxError>(error).settle(req, res),
            },
        };
        let result = f(&mut value, req, res.reborrow());
        OWNED.with_borrow_mut(|owned| owned.insert(self.id, value));
        result.settle(req, res)
    }
}

impl<T> Clone for PerThread<T> {
    fn clone(&self) -> PerThread<T> {
        PerThread {
            id: self.id,
            make: self.make.clone(),
            keep: self.keep.clone(),
        }
    }
}

impl<T> std::fmt::Debug for PerThread<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PerThread").finish_non_exhaustive()
    }
}
