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
    /// What handlers own on this thread, by the number of the handler.
    static OWNED: RefCell<HashMap<u64, Box<dyn Any>>> = RefCell::new(HashMap::new());
}

/// The number of the next handler.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A handler that runs on a thread of the pool, as by [`offload`], with a value that `make` has made for this thread, such as a
/// connection to a database. So clients that block and are not `Sync` can be used, and no call waits for another one.
///
/// `make` is called on a thread of the pool, before the first request that this handler gets there. If it fails, the
/// response is 500, the error is reported as that of a handler ([`HandlerError`](crate::error::HandlerError)), and
/// the next request there calls it again. If `handler` panics, the value is dropped, and the next request gets a new one. Values are
/// dropped at the end of their thread. At most [`Config::pool_threads`](crate::Config::pool_threads) values exist for each handler.
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
pub fn offload_with<T, M, F, R>(
    make: M,
    handler: F,
) -> impl Fn(&Request<'_>, Response<'_>) -> Done + Send + Sync + 'static
where
    T: 'static,
    M: Fn() -> Result<T, BoxError> + Send + Sync + 'static,
    F: Fn(&mut T, &Request<'_>, Response<'_>) -> R + Send + Sync + 'static,
    R: HandlerResult,
{
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    offload(move |req, mut res| {
        // While the handler runs, the value is its own: a panic drops it.
        let owned = OWNED.with_borrow_mut(|owned| owned.remove(&id));
        let owned = owned.and_then(|value| value.downcast::<Quiet<T>>().ok());
        let mut value = match owned {
            Some(value) => value,
            None => match make() {
                Ok(value) => Box::new(Quiet::new(value)),
                Err(error) => return Err::<Done, BoxError>(error).settle(req, res),
            },
        };
        let result = handler(&mut value, req, res.reborrow());
        OWNED.with_borrow_mut(|owned| owned.insert(id, value));
        result.settle(req, res)
    })
}
