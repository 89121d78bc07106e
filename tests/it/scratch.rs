//! A folder of a test's own, and requests to what serves it.

use crate::support::{Answer, Asked, read_answer};
use peregrine::Handler;
use peregrine::testing::Connection;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, UNIX_EPOCH};

/// 1 January 2020, 00:00:00.
pub(crate) const THEN: u64 = 1_577_836_800;

/// Between two checks of a file, longer than any test. A new file on the disk gets another tag at each check, because it
/// may still change within one tick of the file system's clock.
pub(crate) const AN_HOUR: Duration = Duration::from_secs(3600);

/// Removed when the test ends.
pub(crate) struct Scratch {
    outside: PathBuf,
}

impl Scratch {
    pub(crate) fn new() -> Scratch {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("peregrine-dir-{}-{count}", std::process::id());
        let outside = std::env::temp_dir().join(name);
        // Of a process of the same number that was killed.
        let _ = fs::remove_dir_all(&outside);
        fs::create_dir_all(outside.join("site")).expect("a folder of our own");
        Scratch { outside }
    }

    /// What is served.
    pub(crate) fn root(&self) -> PathBuf {
        self.outside.join("site")
    }

    /// The folder that the root is in, which must not be.
    pub(crate) fn outside(&self) -> &Path {
        &self.outside
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// A file as of [`THEN`].
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        self.write_at(name, bytes, THEN);
    }

    /// A file as of a second since 1970.
    pub(crate) fn write_at(&self, name: &str, bytes: impl AsRef<[u8]>, modified: u64) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        fs::write(&path, bytes).expect("written");
        let file = File::options().write(true).open(&path).expect("opened");
        let time = UNIX_EPOCH + Duration::from_secs(modified);
        file.set_modified(time).expect("set");
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.outside);
    }
}

/// The response to `method path` with these field lines.
#[track_caller]
pub(crate) fn ask<H: Handler>(handler: &H, method: &str, path: &str, lines: &str) -> Answer {
    let mut client = Connection::new(handler);
    let request = format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    client.send(request.as_bytes());
    let asked = match method {
        "HEAD" => Asked::Head,
        _ => Asked::Other,
    };
    let answer = read_answer(client.received(), asked).expect("a correct answer");
    let (answer, rest) = answer.expect("a complete answer");
    assert!(rest.is_empty(), "{method} {path}: more than one answer");
    answer
}

#[track_caller]
pub(crate) fn get<H: Handler>(handler: &H, path: &str) -> Answer {
    ask(handler, "GET", path, "")
}
