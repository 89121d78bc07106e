//! A thread that writes log lines to a file, so that no worker waits for the disk.

use crate::log::event;
use crate::shared::panic_guard::{Quiet, catch};
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// Default limit on the bytes that wait to be written.
const BUFFER: usize = 1 << 20;

/// Takes lines from any thread and writes them on its own thread, so that no worker waits for a disk or a
/// pipe.
///
/// Adding a line is a copy under a lock. The lock is never held during a write. At most 1 MiB waits to be
/// written, and twice that during a write; [`LogWriter::with_buffer`] sets another limit. A line that does
/// not fit, or that could not be written, is lost and counted. Later lines are tried again.
///
/// Clones are the same writer. When the last one is dropped, all lines that wait are written, and the writer
/// is flushed and closed. The drop blocks until then. An [`AccessLog`](crate::access_log::AccessLog) has a clone and is
/// dropped with its server. If the writer panics, the lines of this write are lost and counted, and it gets
/// the next ones.
///
/// ```
/// use peregrine::access_log::LogWriter;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let log = LogWriter::new(std::io::sink())?;
/// log.line(b"one request")?;
/// assert_eq!(log.lost(), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct LogWriter {
    inner: Arc<Inner>,
}

/// The error of [`LogWriter::line`]: there was no room for the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LineLost;

impl std::fmt::Display for LineLost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the log has no room for the line")
    }
}

impl std::error::Error for LineLost {}

struct Inner {
    shared: Arc<LogChannel>,
    thread: Option<JoinHandle<()>>,
}

struct LogChannel {
    waiting: Mutex<LogQueue>,
    /// Signalled for new lines, and for the end.
    news: Condvar,
    most: usize,
    lost: AtomicU64,
}

#[derive(Default)]
struct LogQueue {
    lines: Vec<u8>,
    /// No more lines come, or the thread has ended.
    is_over: bool,
}

impl LogWriter {
    /// Starts the thread, which is named `pg-log`. It flushes `writer` whenever no more lines wait.
    ///
    /// # Errors
    ///
    /// The system cannot start another thread.
    pub fn new(writer: impl Write + Send + 'static) -> io::Result<LogWriter> {
        LogWriter::with_buffer(writer, BUFFER)
    }

    /// Starts the thread, as [`LogWriter::new`] does, with another limit on the bytes that wait to be written.
    ///
    /// # Errors
    ///
    /// Those of [`LogWriter::new`].
    pub fn with_buffer(
        writer: impl Write + Send + 'static,
        most_bytes: usize,
    ) -> io::Result<LogWriter> {
        let shared = Arc::new(LogChannel {
            waiting: Mutex::default(),
            news: Condvar::new(),
            most: most_bytes,
            lost: AtomicU64::new(0),
        });
        let seen = shared.clone();
        let thread = thread::Builder::new()
            .name("pg-log".to_owned())
            .spawn(move || Over(&seen).write_all(writer))?;
        Ok(LogWriter {
            inner: Arc::new(Inner {
                shared,
                thread: Some(thread),
            }),
        })
    }

    /// Adds a line and its line end. It blocks only for the copy.
    ///
    /// The caller must not pass a line feed in `line`, because it would make two lines.
    ///
    /// # Errors
    ///
    /// [`LineLost`] if there is no room for the line. It counts in [`LogWriter::lost`].
    pub fn line(&self, line: &[u8]) -> Result<(), LineLost> {
        let shared = &*self.inner.shared;
        let mut waiting = shared.lock();
        if waiting.is_over || line.len() >= shared.most.saturating_sub(waiting.lines.len()) {
            shared.lost.fetch_add(1, Ordering::Relaxed);
            return Err(LineLost);
        }
        let was_empty = waiting.lines.is_empty();
        waiting.lines.extend_from_slice(line);
        waiting.lines.push(b'\n');
        drop(waiting);
        if was_empty {
            shared.news.notify_one();
        }
        Ok(())
    }

    /// Number of lines that were lost so far.
    pub fn lost(&self) -> u64 {
        self.inner.shared.lost.load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for LogWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogWriter")
            .field("lost", &self.lost())
            .finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.news.notify_one();
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl LogChannel {
    fn lock(&self) -> std::sync::MutexGuard<'_, LogQueue> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The side of the thread. When the thread ends, in any way, no more lines are kept for it.
struct Over<'a>(&'a LogChannel);

impl Over<'_> {
    fn write_all(self, writer: impl Write) {
        let shared = self.0;
        let mut writer = Quiet::new(writer);
        let mut lines = Vec::new();
        loop {
            let waiting = shared.lock();
            let idle = |waiting: &mut LogQueue| waiting.lines.is_empty() && !waiting.is_over;
            let waiting = shared.news.wait_while(waiting, idle);
            let mut waiting = waiting.unwrap_or_else(PoisonError::into_inner);
            if waiting.lines.is_empty() {
                return;
            }
            std::mem::swap(&mut waiting.lines, &mut lines);
            drop(waiting);
            let written = catch(|| writer.write_all(&lines).and_then(|()| writer.flush()));
            if let Err(panic) = &written {
                event!(Error, "the writer of a log panicked: {}", panic.message());
            }
            if !matches!(written, Ok(Ok(()))) {
                shared.count_lost(&lines);
            }
            lines.clear();
        }
    }
}

impl Drop for Over<'_> {
    fn drop(&mut self) {
        let mut waiting = self.0.lock();
        waiting.is_over = true;
        let lines = std::mem::take(&mut waiting.lines);
        self.0.count_lost(&lines);
    }
}

impl LogChannel {
    fn count_lost(&self, lines: &[u8]) {
        let lost = memchr::memchr_iter(b'\n', lines).count();
        self.lost.fetch_add(lost as u64, Ordering::Relaxed);
    }
}
