//! Servers before their start.

use crate::codes::{PRG_ARGUMENT, PRG_IO, PRG_STATE};
use crate::guard::{exclusive, free, give, guard, shared};
use crate::handler::{App, prg_handler};
use crate::request::length;
use crate::running::prg_running;
use crate::sigpipe;
use crate::values::{Versioned, copy, read, text};
use crate::ws_hub::prg_hub;
use peregrine::metrics::Stats;
use peregrine::ws::Hub;
use peregrine::{Config, Server};
use std::ffi::c_char;
use std::io;
use std::time::Duration;

/// A server before its start. It is owned by the program: it ends with prg_server_free, also after its start.
pub struct prg_server {
    app: Option<App>,
    config: Config,
    places: Vec<Place>,
    hub: Hub,
    on_signals: bool,
    /// Why the last call has failed.
    message: String,
}

enum Place {
    Tcp(String),
    Unix(String),
    #[cfg(feature = "tls")]
    Tls(String, peregrine::Tls),
}

/// Settings. A member that is 0 has the default of the library.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct prg_config {
    /// sizeof(prg_config).
    pub size: usize,
    /// Threads that serve connections. Default: one for each CPU.
    pub workers: usize,
    /// Threads that serve WebSockets. Default: one for each CPU.
    pub ws_threads: usize,
    /// The most connections at a time.
    pub connections: usize,
    /// The largest request body that is read into memory, in bytes.
    pub body_bytes: usize,
    /// How long a response that comes later may take, in milliseconds.
    pub response_timeout_millis: u64,
    /// How long a stop waits for open connections, in milliseconds.
    pub stop_timeout_millis: u64,
    /// How long a drain serves on, in milliseconds.
    pub drain_delay_millis: u64,
}

// SAFETY: numbers may be zero, and the size is first.
unsafe impl Versioned for prg_config {}

/// Makes a server. The struct is copied.
///
/// `*out` is owned by the caller: it ends with prg_server_free. handler.drop is called when neither the server nor what was started
/// with it needs `user` any more. Errors: PRG_ARGUMENT (`request` is missing, too), PRG_UNSUPPORTED; handler.drop is not called then.
/// Thread: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_server_new(
    handler: *const prg_handler,
    out: *mut *mut prg_server,
) -> i32 {
    guard(|| {
        let (out, table) = (exclusive(out)?, read(handler)?);
        if table.request.is_none() {
            return Err(PRG_ARGUMENT);
        }
        *out = give(prg_server {
            app: Some(App(table)),
            config: Config::default(),
            places: Vec::new(),
            hub: Hub::new(),
            on_signals: false,
            message: String::new(),
        });
        Ok(())
    })
}

impl prg_server {
    fn before_start(&mut self) -> Result<&mut prg_server, i32> {
        match self.app {
            Some(_) => Ok(self),
            None => Err(PRG_STATE),
        }
    }

    fn failed(&mut self, error: &dyn std::error::Error) -> i32 {
        self.message = error.to_string();
        PRG_IO
    }

    fn start(&mut self) -> Result<prg_running, i32> {
        let app = self.app.take().ok_or(PRG_STATE)?;
        let stats = Stats::new();
        let timers;
        // Both are the same code for different modes.
        macro_rules! start {
            ($server:expr) => {{
                let mut server = $server.config(self.config.clone()).stats(&stats);
                if self.on_signals {
                    server = server.stop_on_signals();
                }
                for place in self.places.drain(..) {
                    server = match place {
                        Place::Tcp(addr) => server.bind(addr),
                        #[cfg(unix)]
                        Place::Unix(path) => server.bind_unix(path),
                        #[cfg(not(unix))]
                        Place::Unix(_) => return Err(crate::codes::PRG_UNSUPPORTED),
                        #[cfg(feature = "tls")]
                        Place::Tls(addr, tls) => server.bind_tls(addr, tls),
                    };
                }
                timers = server.timers();
                sigpipe::blocked(|| server.start())
            }};
        }
        let started: io::Result<_> = match app.0.ws_accept {
            Some(_) => start!(Server::new(app).websocket().with_hub(&self.hub)),
            None => start!(Server::new(app)),
        };
        match started {
            Ok(running) => Ok(prg_running {
                running,
                stats,
                timers,
            }),
            Err(error) => Err(self.failed(&error)),
        }
    }
}

/// Applies settings. The struct is copied. Errors: PRG_STATE after the start, PRG_ARGUMENT, PRG_UNSUPPORTED. Thread: any, one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_server_configure(
    server: *mut prg_server,
    config: *const prg_config,
) -> i32 {
    guard(|| {
        let server = exclusive(server)?.before_start()?;
        let from = read(config)?;
        let to = &mut server.config;
        let set = |to: &mut usize, from: usize| {
            if from > 0 {
                *to = from;
            }
        };
        set(&mut to.workers, from.workers);
        set(&mut to.ws_threads, from.ws_threads);
        set(&mut to.connections, from.connections);
        set(&mut to.limits.body_bytes, from.body_bytes);
        let set = |to: &mut Duration, from: u64| {
            if from > 0 {
                *to = Duration::from_millis(from);
            }
        };
        set(
            &mut to.limits.response_timeout,
            from.response_timeout_millis,
        );
        set(&mut to.stop_timeout, from.stop_timeout_millis);
        set(&mut to.drain_delay, from.drain_delay_millis);
        Ok(())
    })
}

/// Adds an address, for example 127.0.0.1:8080. Port 0 takes any free one.
///
/// Errors: PRG_STATE after the start, PRG_ARGUMENT. What is wrong with the address is an error of prg_server_start. Thread: any, one at a
/// time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_server_bind(
    server: *mut prg_server,
    addr: *const c_char,
    addr_len: usize,
) -> i32 {
    guard(|| {
        let addr = text(addr, addr_len)?.to_owned();
        exclusive(server)?
            .before_start()?
            .places
            .push(Place::Tcp(addr));
        Ok(())
    })
}

/// Adds a Unix socket. Errors: PRG_STATE after the start, PRG_ARGUMENT; PRG_UNSUPPORTED of prg_server_start on other systems. Thread: any, one at
/// a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_server_bind_unix(
    server: *mut prg_server,
    path: *const c_char,
    path_len: usize,
) -> i32 {
    guard(|| {
        let path = text(path, path_len)?.to_owned();
        exclusive(server)?
            .before_start()?
            .places
            .push(Place::Unix(path));
        Ok(())
    })
}

/// Adds an address with TLS 1.3. `certificates` and `key` are paths of files in PEM.
///
/// Errors: PRG_IO with a message, PRG_UNSUPPORTED if the library was built without it, PRG_STATE after the start, PRG_ARGUMENT.
/// Thread: any, one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_server_bind_tls(
    server: *mut prg_server,
    addr: *const c_char,
    addr_len: usize,
    certificates: *const c_char,
    certificates_len: usize,
    key: *const c_char,
    key_len: usize,
) -> i32 {
    guard(|| {
        let (certificates, key) = (text(certificates, certificates_len)?, text(key, key_len)?);
        let addr = text(addr, addr_len)?.to_owned();
        let server = exclusive(server)?.before_start()?;
        #[cfg(feature = "tls")]
        return match peregrine::Tls::from_pem_files(certificates, key) {
            Ok(tls) => {
                server.places.push(Place::Tls(addr, tls));
                Ok(())
            }
            Err(error) => Err(server.failed(&error)),
        };
        #[cfg(not(feature = "tls"))]
        {
            let _ = (certificates, key, addr, server);
            Err(crate::codes::PRG_UNSUPPORTED)
        }
    })
}

/// Connects a hub to the WebSockets of this server. Both keep their own handle. Errors: PRG_STATE after the start, PRG_ARGUMENT. Thread: any,
/// one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_server_hub(server: *mut prg_server, hub: *const prg_hub) -> i32 {
    guard(|| {
        let hub = shared(hub)?.0.clone();
        exclusive(server)?.before_start()?.hub = hub;
        Ok(())
    })
}

/// Lets SIGTERM drain and SIGINT stop the server, of the whole process. Errors: PRG_STATE after the start, PRG_ARGUMENT. Thread: any, one at a
/// time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_server_stop_on_signals(server: *mut prg_server) -> i32 {
    guard(|| {
        exclusive(server)?.before_start()?.on_signals = true;
        Ok(())
    })
}

/// Starts the server, and returns when it listens. It can be started once, also if that fails. The threads of the server block SIGPIPE;
/// programs that are executed in a callback inherit this.
///
/// `*out` is owned by the caller: it ends with prg_running_wait or prg_running_free. `server` is still to be freed. Errors: PRG_IO with a
/// message (prg_server_message), PRG_STATE, PRG_ARGUMENT. Thread: any, one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_server_start(
    server: *mut prg_server,
    out: *mut *mut prg_running,
) -> i32 {
    guard(|| {
        let out = exclusive(out)?;
        *out = give(exclusive(server)?.start()?);
        Ok(())
    })
}

/// Copies the message of the last call that returned PRG_IO into `buf`, with a NUL, as far as `room` bytes allow.
///
/// Returns the length of the whole text without NUL. Errors: PRG_ARGUMENT. Thread: any, one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_server_message(
    server: *const prg_server,
    buf: *mut c_char,
    room: usize,
) -> i64 {
    length(|| copy(shared(server)?.message.as_bytes(), buf, room))
}

/// Frees a server. What was started with it goes on. NULL is allowed. Thread: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prg_server_free(server: *mut prg_server) {
    free(server);
}
