//! The Python module `peregrine._peregrine`: peregrine for handlers in Python and WSGI applications.
//!
//! A worker thread reads requests and calls Python with its lock (`raw`). `app` decides what a request goes to:
//! files, a native handler (`request`, `response`, `stream`, `websocket`) or a WSGI application (`wsgi`). Code that blocks
//! runs on threads that Python has started (`pool`). The package around it (`python/peregrine`) has the command line, the
//! processes and the signals.

mod app;
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
mod websocket;
mod wsgi;

#[pyo3::pymodule]
mod _peregrine {
    #[pymodule_export]
    use super::request::PyRequest;
    #[pymodule_export]
    use super::response::PyResponse;
    #[pymodule_export]
    use super::server::PyServer;
    #[pymodule_export]
    use super::stream::{PyBodyReader, PyResponder, PyStream};
    #[pymodule_export]
    use super::websocket::{PyHub, PyWs};
    #[pymodule_export]
    use super::wsgi::FileWrapper;
}
