//! WSGI (PEP 3333): calls an application, and makes its result a response.

mod environ;
mod file_wrapper;
mod input;
mod start_response;

pub(crate) use environ::Environ;
pub(crate) use file_wrapper::FileWrapper;
pub(crate) use input::{Input, Later, PyInput};
pub(crate) use start_response::StartResponse;

use crate::fields::HeadParts;
use crate::pieces::{Drawn, Pieces, bytes_of, wrong_length};
use crate::raw;
use crate::report::report;
use crate::response::failed;
use file_wrapper::FileRange;
use peregrine::body::SendError;
use peregrine::{Done, Request, Response};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};
use std::sync::Arc;

/// What an application has made of a request.
enum Outcome {
    /// The whole body is there, in pieces.
    Whole(Vec<PyBackedBytes>),
    /// The first bytes, and what follows.
    Stream(PyBackedBytes, Pieces),
    File(FileRange),
}

/// Calls the application on the thread of the worker, which waits for it.
pub(crate) fn call(
    py: Python<'_>,
    app: &Py<PyAny>,
    environ: &Environ,
    req: &Request<'_>,
    res: Response<'_>,
) -> Done {
    let is_head = req.method() == "HEAD";
    let run = environ
        .of(py, req, None)
        .and_then(|environ| run(py, app, environ, is_head));
    let (head, outcome) = match run {
        Ok(run) => run,
        Err(error) => return failed(py, res, error),
    };
    let res = head.apply(res);
    match outcome {
        Outcome::Stream(first, pieces) => {
            res.send_reader(Drawn::new(Some(first), pieces, head.length), head.length)
        }
        outcome => whole(&head, outcome, is_head, res),
    }
}

/// Calls the application on a thread of the pool.
pub(crate) fn call_from_pool(
    py: Python<'_>,
    app: &Py<PyAny>,
    environ: &Environ,
    req: &Request<'_>,
    later: Later,
) {
    let is_head = req.method() == "HEAD";
    let input = match &later {
        Later::Whole(_) => None,
        Later::Streamed(input) => Some(input.clone()),
    };
    let run = environ
        .of(py, req, input)
        .and_then(|environ| run(py, app, environ, is_head));
    // A client that has gone needs no response.
    let _gone = match run {
        Err(error) => later.send(py, false, |py, res| failed(py, res, error)),
        Ok((head, Outcome::Stream(first, pieces))) => {
            send_stream(py, &head, first, pieces, later);
            Ok(())
        }
        Ok((head, outcome)) => later.send(py, false, |_, res| {
            whole(&head, outcome, is_head, head.apply(res))
        }),
    };
}

/// Sends pieces as the application makes them, and waits for the client between them.
fn send_stream(
    py: Python<'_>,
    head: &HeadParts,
    first: PyBackedBytes,
    mut pieces: Pieces,
    later: Later,
) {
    let mut sender = None;
    let _gone = later.send(py, true, |_, res| {
        let res = head.apply(res);
        let (done, body) = match head.length {
            Some(length) => res.stream_exact(length),
            None => res.stream(),
        };
        sender = Some(body);
        done
    });
    let mut next = Some(first);
    while let (Some(body), Some(piece)) = (&mut sender, next.take()) {
        let bytes = piece.to_vec();
        drop(piece);
        match py.detach(|| body.send(bytes)) {
            Ok(()) => {}
            Err(SendError::Length) => {
                report(py, "a response", wrong_length("longer"));
                break;
            }
            Err(_gone) => break,
        }
        match pieces.next(py) {
            Ok(Some(piece)) => next = Some(piece),
            Ok(None) => {
                let finished = py.detach(|| sender.take().map_or(Ok(()), |body| body.finish()));
                if matches!(finished, Err(SendError::Length)) {
                    report(py, "a response", wrong_length("shorter"));
                }
            }
            Err(error) => {
                report(py, "a response", error);
                break;
            }
        }
    }
    pieces.close(py);
    py.detach(|| drop(sender));
}

fn whole(head: &HeadParts, outcome: Outcome, is_head: bool, res: Response<'_>) -> Done {
    let pieces = match outcome {
        Outcome::File(part) if is_head => return bodyless(head.length.or(Some(part.len())), res),
        Outcome::File(part) => return res.send_file(Arc::new(part.file), part.range),
        Outcome::Stream(..) => Vec::new(),
        Outcome::Whole(pieces) => pieces,
    };
    match &pieces[..] {
        [] if is_head => bodyless(head.length, res),
        [piece] => res.body(piece),
        pieces => res.body(
            pieces
                .iter()
                .flat_map(|piece| piece.iter().copied())
                .collect::<Vec<u8>>(),
        ),
    }
}

/// The response to a HEAD whose body the application has not made.
fn bodyless(length: Option<u64>, res: Response<'_>) -> Done {
    let (done, _no_body) = match length {
        Some(length) => res.stream_exact(length),
        None => res.stream(),
    };
    done
}

fn run(
    py: Python<'_>,
    app: &Py<PyAny>,
    environ: Bound<'_, PyDict>,
    is_head: bool,
) -> PyResult<(HeadParts, Outcome)> {
    let start = Py::new(py, StartResponse::default())?;
    let result = app.bind(py).call1((environ, &start))?;
    raw::end_child(py, 0);
    // Lists and tuples have nothing to close, and their pieces can be read without a call.
    if let Ok(list) = result.cast_exact::<PyList>() {
        let pieces = list.iter().map(bytes_of).collect::<PyResult<Vec<_>>>()?;
        return complete(py, &start, pieces, is_head);
    }
    if let Ok(tuple) = result.cast_exact::<PyTuple>() {
        let pieces = tuple.iter().map(bytes_of).collect::<PyResult<Vec<_>>>()?;
        return complete(py, &start, pieces, is_head);
    }
    if result.is_instance_of::<PyBytes>() || result.is_instance_of::<PyString>() {
        let kind = result.get_type();
        return Err(PyTypeError::new_err(format!(
            "an application returns an iterable of bytes, not {kind}"
        )));
    }
    let mut pieces = Pieces::new(&result)?;
    let begun = begin(py, &start, &result, &mut pieces, is_head);
    match begun {
        Ok((head, Begun::Stream(first))) => Ok((head, Outcome::Stream(first, pieces))),
        Ok((head, Begun::Done(outcome))) => {
            pieces.close(py);
            Ok((head, outcome))
        }
        Err(error) => {
            pieces.close(py);
            Err(error)
        }
    }
}

enum Begun {
    Done(Outcome),
    Stream(PyBackedBytes),
}

/// Draws the first piece, and the others if they are known to be few.
fn begin(
    py: Python<'_>,
    start: &Py<StartResponse>,
    result: &Bound<'_, PyAny>,
    pieces: &mut Pieces,
    is_head: bool,
) -> PyResult<(HeadParts, Begun)> {
    if let Some(part) = file_wrapper::range(result)? {
        let head = StartResponse::begin(start, py)?;
        let is_plain = start.borrow(py).written.is_empty()
            && head.length.is_none_or(|length| length == part.len());
        if is_plain {
            return Ok((head, Begun::Done(Outcome::File(part))));
        }
    }
    let is_single = result.len().is_ok_and(|len| len == 1);
    let Some(first) = pieces.next(py)? else {
        let (head, outcome) = complete(py, start, Vec::new(), is_head)?;
        return Ok((head, Begun::Done(outcome)));
    };
    let head = StartResponse::begin(start, py)?;
    let first = match std::mem::take(&mut start.borrow_mut(py).written) {
        written if written.is_empty() => first,
        mut written => {
            written.extend_from_slice(&first);
            PyBackedBytes::from(PyBytes::new(py, &written))
        }
    };
    if is_head {
        return Ok((head, Begun::Done(Outcome::Whole(Vec::new()))));
    }
    // The code behind the last piece runs, too.
    let is_enough = |length| first.len() as u64 >= length;
    if is_single || head.length.is_some_and(is_enough) {
        if pieces.next(py)?.is_some() {
            return Err(wrong_length("longer"));
        }
        let whole = check_length(vec![first], &head, is_head)?;
        return Ok((head, Begun::Done(Outcome::Whole(whole))));
    }
    Ok((head, Begun::Stream(first)))
}

fn complete(
    py: Python<'_>,
    start: &Py<StartResponse>,
    mut pieces: Vec<PyBackedBytes>,
    is_head: bool,
) -> PyResult<(HeadParts, Outcome)> {
    let head = StartResponse::begin(start, py)?;
    let written = std::mem::take(&mut start.borrow_mut(py).written);
    if !written.is_empty() {
        pieces.insert(0, PyBackedBytes::from(PyBytes::new(py, &written)));
    }
    let pieces = check_length(pieces, &head, is_head)?;
    Ok((head, Outcome::Whole(pieces)))
}

/// The pieces of a whole body, whose length is that which was declared.
fn check_length(
    pieces: Vec<PyBackedBytes>,
    head: &HeadParts,
    is_head: bool,
) -> PyResult<Vec<PyBackedBytes>> {
    let len = pieces.iter().map(|piece| piece.len() as u64).sum();
    head.check_length(len, is_head)?;
    match head.length {
        Some(_) if is_head && len == 0 => Ok(Vec::new()),
        _ => Ok(pieces),
    }
}
