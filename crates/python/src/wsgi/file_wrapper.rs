//! `wsgi.file_wrapper`.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
use std::fs::File;
use std::ops::Range;

/// The iterable of a file. A file of the disk is sent by `sendfile` if the system has it.
#[pyclass(module = "peregrine", frozen)]
pub(crate) struct FileWrapper {
    file: Py<PyAny>,
    block: usize,
}

#[pymethods]
impl FileWrapper {
    #[new]
    #[pyo3(signature = (file, block_size=8192))]
    fn new(file: Py<PyAny>, block_size: usize) -> FileWrapper {
        FileWrapper {
            file,
            block: block_size.max(1),
        }
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let block = self
            .file
            .bind(py)
            .call_method1(pyo3::intern!(py, "read"), (self.block,))?;
        Ok((!block.is_empty().unwrap_or(false)).then_some(block))
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let file = self.file.bind(py);
        if file.hasattr(pyo3::intern!(py, "close"))? {
            file.call_method0(pyo3::intern!(py, "close"))?;
        }
        Ok(())
    }
}

/// A part of a file that is opened again, so the file of the application can be closed.
pub(super) struct FileRange {
    pub(super) file: File,
    pub(super) range: Range<u64>,
}

impl FileRange {
    pub(super) fn len(&self) -> u64 {
        self.range.end - self.range.start
    }
}

static RAW_FILES: PyOnceLock<[Py<PyType>; 2]> = PyOnceLock::new();

/// What is left of the file in `result`. `None` if `result` is no [`FileWrapper`], or its file is not a plain one: only
/// types whose bytes are those of the descriptor are sent this way, and `GzipFile`, for example, is none.
pub(super) fn range(result: &Bound<'_, PyAny>) -> PyResult<Option<FileRange>> {
    let py = result.py();
    let Ok(wrapper) = result.cast_exact::<FileWrapper>() else {
        return Ok(None);
    };
    let file = wrapper.get().file.bind(py);
    let types = RAW_FILES.get_or_try_init(py, || {
        let io = py.import("io")?;
        let class = |name| Ok::<_, PyErr>(io.getattr(name)?.cast_into::<PyType>()?.unbind());
        Ok::<_, PyErr>([class("BufferedReader")?, class("FileIO")?])
    })?;
    if !types.iter().any(|class| file.get_type().is(class)) {
        return Ok(None);
    }
    let opened = || -> PyResult<FileRange> {
        let fd: i32 = file.call_method0("fileno")?.extract()?;
        let start: u64 = file.call_method0("tell")?.extract()?;
        let file = File::open(format!("/dev/fd/{fd}"))?;
        let about = file.metadata()?;
        match about.is_file() {
            true => Ok(FileRange {
                range: start.min(about.len())..about.len(),
                file,
            }),
            false => Err(pyo3::exceptions::PyOSError::new_err(
                "not a file of the disk",
            )),
        }
    };
    // A file that cannot be opened again is read in pieces.
    Ok(opened().ok())
}
