//! The Python module `peregrine._peregrine`: peregrine for handlers in Python, WSGI and ASGI applications.
//!
//! A worker thread reads requests and calls Python with its lock (`raw`). `app` decides what a request goes to:
//! files, a native handler (`request`, `response`, `stream`, `websocket`), a WSGI application (`wsgi`) or an ASGI application (`asgi`). Code that blocks
//! runs on threads that Python has started (`pool`). The package around it (`python/peregrine`) has the command line, the
//! processes and the signals.

mod app;
mod asgi;
mod fields;
mod pieces;
mod pool;
mod raw;
mod report;
mod request;
mod response;
mod server;
mod settings;
mod stream;
mod tls;
mod websocket;
mod wsgi;

#[pyo3::pymodule]
mod _peregrine {
    #[pymodule_export]
    use super::asgi::Bridge;
    #[pymodule_export]
    use super::request::PyRequest;
    #[pymodule_export]
    use super::response::PyResponse;
    #[pymodule_export]
    use super::server::{PyServer, after_fork};
    #[pymodule_export]
    use super::stream::{PyBodyReader, PyResponder, PyStream};
    #[pymodule_export]
    use super::websocket::{PyHub, PyWs};
    #[pymodule_export]
    use super::wsgi::{FileWrapper, PyInput};
}
