//! `Server`: a server that runs in this process.

use crate::app::{App, Interface, Mount, Quota, Wsgi};
use crate::asgi::Bridge;
use crate::pool::Pool;
use crate::raw;
use crate::settings::Settings;
use crate::websocket::{Hooks, PyHub};
use crate::wsgi::Environ;
use peregrine::access_log::{AccessLog, LogWriter};
use peregrine::files::DirServer;
use peregrine::server::{Running, Stopper};
use peregrine::ws::{Hub, WebSocketHandler};
use peregrine::{Server, Tls};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::io::{self, Write};
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// A server that is started at once and runs on threads of its own.
///
/// `app` is what the interface names, `listeners` are descriptors of sockets that listen, and `notify` is one end of a
/// socket pair, which gets `m` when the quota of requests is used up, and `e` when the server has ended. All descriptors
/// belong to the server from now on.
#[pyclass(name = "Server", module = "peregrine", frozen)]
pub(crate) struct PyServer {
    stopper: Stopper,
    hub: Hub,
    pool: Option<Arc<Pool>>,
    waiter: Mutex<Option<JoinHandle<Ended>>>,
}

/// Connections that ended properly, and those that were aborted; or why the server ended.
type Ended = Result<(u64, u64), String>;

#[pymethods]
impl PyServer {
    #[new]
    fn new(
        py: Python<'_>,
        interface: &str,
        app: &Bound<'_, PyAny>,
        listeners: Vec<(String, i32)>,
        notify: i32,
        settings: Settings,
        more: &Bound<'_, PyDict>,
    ) -> PyResult<PyServer> {
        raw::set_child(false);
        // Owned first, so that an error below closes them.
        let notify = Arc::new(UnixStream::from(raw::descriptor(notify)));
        let listeners: Vec<_> = listeners
            .into_iter()
            .map(|(family, fd)| (family, raw::descriptor(fd)))
            .collect();
        let pool =
            (settings.threads > 1).then(|| Pool::new(settings.threads, settings.limit_concurrency));
        let tell = notify.clone();
        let quota = settings
            .limit_max_requests
            .map(|most| Quota::new(most, move || notice(&tell, b"m")));
        let app = App {
            interface: interface_of(py, interface, app, &settings, more)?,
            mounts: mounts(&settings)?,
            quota,
            most_body: settings.limit_max_body as u64,
            pool: pool.clone(),
        };
        let hub = Hub::new();
        let (config, tls) = (settings.config()?, settings.tls()?);
        let running = match settings.access_log {
            true => start(
                AccessLog::new(app, LogWriter::new(io::stdout())?),
                config,
                &hub,
                listeners,
                tls,
            ),
            false => start(app, config, &hub, listeners, tls),
        }?;
        let stopper = running.stopper();
        let waiter = std::thread::Builder::new()
            .name("pg-waiter".into())
            .spawn(move || {
                let ended = running.wait().map_err(|error| error.to_string());
                notice(&notify, b"e");
                ended.map(|stopped| (stopped.drained, stopped.aborted))
            })?;
        Ok(PyServer {
            stopper,
            hub,
            pool,
            waiter: Mutex::new(Some(waiter)),
        })
    }

    /// Begins to stop and returns at once. Requests that have arrived get their responses.
    fn stop(&self) {
        self.stopper.stop();
    }

    /// Stops at once: open connections are aborted.
    fn stop_now(&self) {
        self.stopper.stop_now();
    }

    /// Waits until the server has ended. Returns the numbers of connections that ended properly and that were aborted.
    fn join(&self, py: Python<'_>) -> PyResult<(u64, u64)> {
        let ended = py.detach(|| {
            let waiter = self
                .waiter
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            let ended = waiter.map(JoinHandle::join);
            if let Some(pool) = &self.pool {
                pool.close();
            }
            ended
        });
        match ended {
            None => Err(PyRuntimeError::new_err("the server has been waited for")),
            Some(Ok(Ok(counts))) => Ok(counts),
            Some(Ok(Err(error))) => Err(PyRuntimeError::new_err(error)),
            Some(Err(_panic)) => Err(PyRuntimeError::new_err("the thread of the server panicked")),
        }
    }

    /// The loop of a thread of the pool.
    fn run_pool_thread(&self, py: Python<'_>) {
        if let Some(pool) = &self.pool {
            pool.run(py);
        }
    }

    /// How many threads of the pool must be started.
    #[getter]
    fn pool_threads(&self) -> usize {
        self.pool.as_ref().map_or(0, |pool| pool.threads())
    }

    #[getter]
    fn hub(&self) -> PyHub {
        PyHub(self.hub.clone())
    }
}

/// For `os.register_at_fork`: this process is a child of `fork`, which serves nothing until it starts a server of its own.
#[pyfunction]
pub(crate) fn after_fork() {
    raw::set_child(true);
}

fn interface_of(
    py: Python<'_>,
    name: &str,
    app: &Bound<'_, PyAny>,
    settings: &Settings,
    more: &Bound<'_, PyDict>,
) -> PyResult<Interface> {
    let given = |key: &str| Ok::<_, PyErr>(more.get_item(key)?.filter(|value| !value.is_none()));
    match name {
        "native" => Ok(Interface::Native {
            handle: app.clone().unbind(),
            plan: given("body_plan")?.map(Bound::unbind),
            hooks: given("websocket")?
                .map(|object| Hooks::new(&object))
                .transpose()?,
            before_wait: given("before_wait")?.map(Bound::unbind),
        }),
        "wsgi" => {
            let base = given("environ")?.ok_or_else(|| PyValueError::new_err("no environ"))?;
            let base = base.cast_into::<PyDict>()?.unbind();
            let environ = Environ::new(py, base, &settings.root_path)?;
            Ok(Interface::Wsgi(Arc::new(Wsgi {
                app: app.clone().unbind(),
                environ,
            })))
        }
        "asgi" => {
            let bridge = given("bridge")?.ok_or_else(|| PyValueError::new_err("no bridge"))?;
            let bridge = bridge.cast_into::<Bridge>()?;
            Ok(Interface::Asgi(bridge.get().shared.inbox.clone()))
        }
        other => Err(PyValueError::new_err(format!("no interface {other:?}"))),
    }
}

fn mounts(settings: &Settings) -> PyResult<Vec<Mount>> {
    let mount = |(prefix, folder): &(String, std::path::PathBuf)| {
        let prefix = prefix.trim_end_matches('/').to_owned();
        Ok(Mount {
            prefix,
            files: DirServer::new(folder)?,
        })
    };
    settings.static_paths.iter().map(mount).collect()
}

fn start<H: WebSocketHandler>(
    handler: H,
    config: peregrine::Config,
    hub: &Hub,
    listeners: Vec<(String, std::os::fd::OwnedFd)>,
    tls: Option<Tls>,
) -> io::Result<Running> {
    let mut server = Server::new(handler)
        .websocket()
        .with_hub(hub)
        .config(config);
    for (family, fd) in listeners {
        server = match (&*family, &tls) {
            ("unix", None) => server.unix_listener(UnixListener::from(fd)),
            ("unix", Some(_)) => {
                let kind = io::ErrorKind::InvalidInput;
                return Err(io::Error::new(kind, "a Unix socket has no TLS"));
            }
            (_, None) => server.listener(TcpListener::from(fd)),
            (_, Some(tls)) => server.listener_tls(TcpListener::from(fd), tls.clone()),
        };
    }
    server.start()
}

/// Tells Python's main thread. If it does not listen any more, it has nothing to do.
fn notice(mut to: &UnixStream, what: &[u8]) {
    let _unheard = to.write_all(what);
}
