//! The certificates of a `Tls`, by the name that a client asks for.

use super::engine::{Certificate, Options};
use super::error::TlsError;
use super::source::{Source, Stamps};
use super::validity::now;
use crate::log::event;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often files are looked at for changes.
const RECHECK: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Entry {
    /// In lower case. `None`: the default.
    name: Option<Box<str>>,
    loaded: Loaded,
    source: Arc<Source>,
    /// Of the files that `loaded` is from.
    stamps: Stamps,
    /// Why files that have changed since could not be used. They are tried again: their rights may change.
    failure: Option<String>,
}

/// A certificate, and whether a warning was given that it is not valid.
#[derive(Clone, Debug)]
struct Loaded {
    certificate: Certificate,
    is_warned: bool,
}

impl Loaded {
    fn new(name: Option<&str>, source: &Source, options: &Options) -> Result<Loaded, TlsError> {
        let certificate = checked(name, source, options)?;
        let mut loaded = Loaded {
            certificate,
            is_warned: false,
        };
        if let Some(problem) = loaded.new_problem() {
            warn(name, problem);
        }
        Ok(loaded)
    }

    /// Tells once why clients refuse the certificate because of its time.
    fn new_problem(&mut self) -> Option<&'static str> {
        let problem = self.certificate.validity()?.problem(now())?;
        (!std::mem::replace(&mut self.is_warned, true)).then_some(problem)
    }
}

fn warn(name: Option<&str>, problem: &str) {
    event!(Warn, "the certificate for {} {problem}", shown(name));
}

/// A name as clients send it: in lower case, without the dot at the end (RFC 6066 section 3).
fn server_name(name: &str) -> Result<Box<str>, TlsError> {
    let name = name.strip_suffix('.').unwrap_or(name);
    match name.parse::<IpAddr>() {
        Ok(_) => Err(TlsError::IsAddress(name.to_owned())),
        Err(_) => Ok(name.to_ascii_lowercase().into()),
    }
}

fn shown(name: Option<&str>) -> &str {
    name.unwrap_or("the default")
}

fn checked(
    name: Option<&str>,
    source: &Source,
    options: &Options,
) -> Result<Certificate, TlsError> {
    let certificate = source.load(options)?;
    match name {
        Some(name) if !certificate.is_for(name) => Err(TlsError::WrongName(name.to_owned())),
        _ => Ok(certificate),
    }
}

/// Certificates that all connections of a [`Tls`](super::Tls) share. A lock is taken once for each handshake. No file is
/// read while it is held.
#[derive(Debug, Default)]
pub(crate) struct Store {
    entries: Mutex<Entries>,
    /// Held while files are read, so that older ones do not replace newer ones.
    reading: Mutex<()>,
}

#[derive(Debug, Default)]
struct Entries {
    /// Sorted by name, so that the default is the first.
    sorted: Vec<Entry>,
    checked: Option<Instant>,
    /// How keys are loaded.
    options: Options,
}

impl Entries {
    /// `None`: it has been replaced since it was copied.
    fn find(&mut self, copy: &Copied) -> Option<&mut Entry> {
        let mut sorted = self.sorted.iter_mut();
        sorted.find(|entry| Arc::ptr_eq(&entry.source, &copy.source))
    }
}

/// An entry outside the lock.
struct Copied {
    name: Option<Box<str>>,
    source: Arc<Source>,
    stamps: Stamps,
}

impl Store {
    pub(crate) fn add(&self, name: Option<&str>, source: Source) -> Result<(), TlsError> {
        let name = name.map(server_name).transpose()?;
        let options = self.lock().options.clone();
        // Before the files are read: what is written meanwhile is seen the next time.
        let stamps = source.stamps();
        let entry = Entry {
            loaded: Loaded::new(name.as_deref(), &source, &options)?,
            name,
            source: Arc::new(source),
            stamps,
            failure: None,
        };
        let sorted = &mut self.lock().sorted;
        match sorted.binary_search_by(|other| other.name.cmp(&entry.name)) {
            Ok(at) => sorted[at] = entry,
            Err(at) => sorted.insert(at, entry),
        }
        Ok(())
    }

    /// The certificate for a client that asks for this name.
    pub(crate) fn certificate(&self, name: Option<&str>) -> Option<Certificate> {
        let mut entries = self.lock();
        let now = Instant::now();
        let is_recent = |checked| now.saturating_duration_since(checked) < RECHECK;
        if !entries.checked.is_some_and(is_recent) {
            entries.checked = Some(now);
            drop(entries);
            self.recheck();
            entries = self.lock();
        }
        let find = |name: Option<&str>| {
            let found = entries
                .sorted
                .binary_search_by(|entry| entry.name.as_deref().cmp(&name));
            found
                .ok()
                .map(|at| entries.sorted[at].loaded.certificate.clone())
        };
        let Some(name) = name.map(str::to_ascii_lowercase) else {
            return find(None);
        };
        let wildcard = name.split_once('.').map(|(_, rest)| format!("*.{rest}"));
        find(Some(&name))
            .or_else(|| wildcard.and_then(|name| find(Some(&name))))
            .or_else(|| find(None))
    }

    pub(crate) fn reload(&self) -> Result<(), TlsError> {
        let _reading = lock(&self.reading);
        let (copies, options) = self.copies();
        let reload = |copy: &Copied| self.reload_one(copy, copy.source.stamps(), &options);
        copies.iter().try_for_each(reload)
    }

    /// Loads keys with these options from now on.
    pub(crate) fn set_options(&self, options: &Options) -> Result<(), TlsError> {
        self.lock().options = options.clone();
        self.reload()
    }

    /// Reads files that have changed.
    fn recheck(&self) {
        // Another thread reads them already.
        let Ok(_reading) = self.reading.try_lock() else {
            return;
        };
        let (copies, options) = self.copies();
        for copy in &copies {
            let (name, stamps) = (copy.name.as_deref(), copy.source.stamps());
            if stamps == copy.stamps {
                continue;
            }
            let name = shown(name);
            match self.reload_one(copy, stamps, &options) {
                Ok(()) => event!(Info, "the certificate for {name} was read again"),
                Err(error) if self.is_new(copy, &error) => event!(
                    Warn,
                    "the certificate for {name} stays as it was, the changed files cannot be used: {error}"
                ),
                Err(_) => {}
            }
        }
        // A log may be slow, so no lock is held.
        let mut problems = Vec::new();
        for Entry { name, loaded, .. } in &mut self.lock().sorted {
            problems.extend(loaded.new_problem().map(|problem| (name.clone(), problem)));
        }
        for (name, problem) in problems {
            warn(name.as_deref(), problem);
        }
    }

    /// Whether the last attempt has failed for another reason, or not.
    fn is_new(&self, copy: &Copied, error: &TlsError) -> bool {
        let text = Some(error.to_string());
        let mut entries = self.lock();
        let entry = entries.find(copy);
        entry.is_some_and(|entry| text != std::mem::replace(&mut entry.failure, text.clone()))
    }

    /// Reads the files of one entry.
    fn reload_one(&self, copy: &Copied, stamps: Stamps, options: &Options) -> Result<(), TlsError> {
        let loaded = Loaded::new(copy.name.as_deref(), &copy.source, options);
        if let Some(entry) = self.lock().find(copy) {
            entry.loaded = loaded?;
            entry.stamps = stamps;
            entry.failure = None;
        }
        Ok(())
    }

    fn copies(&self) -> (Vec<Copied>, Options) {
        let entries = self.lock();
        let copy = |entry: &Entry| Copied {
            name: entry.name.clone(),
            source: entry.source.clone(),
            stamps: entry.stamps,
        };
        let copies = entries.sorted.iter().map(copy).collect();
        (copies, entries.options.clone())
    }

    /// Has the next handshake look at the files.
    #[cfg(all(test, feature = "tls-self-signed"))]
    fn look_again(&self) {
        self.lock().checked = None;
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        lock(&self.entries)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, feature = "tls-self-signed"))]
mod tests {
    use super::*;
    use crate::runtime::tls::self_signed::pem;
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicU32, Ordering};

    fn memory([chain, key]: &[String; 2]) -> Source {
        Source::Memory(chain.as_bytes().into(), key.as_bytes().into())
    }

    /// Which of the certificates a client gets.
    fn chosen(store: &Store, name: Option<&str>) -> Vec<u8> {
        store
            .certificate(name)
            .expect("a certificate")
            .der()
            .to_vec()
    }

    #[test]
    fn an_exact_name_goes_before_a_wildcard_and_that_before_the_default() {
        let store = Store::default();
        store
            .add(None, memory(&pem("default.example")))
            .expect("a default");
        for name in ["a.example", "*.a.example", "b.a.example"] {
            store
                .add(Some(name), memory(&pem(name)))
                .expect("a certificate for its name");
        }
        let of = |name: &str| chosen(&store, Some(name));
        let default = chosen(&store, None);
        assert_ne!(of("a.example"), default);
        assert_eq!(of("A.Example"), of("a.example"));
        assert_ne!(of("b.a.example"), of("c.a.example"));
        assert_eq!(of("c.a.example"), of("d.a.example"));
        assert_eq!(of("d.c.a.example"), default, "a wildcard is one label");
        assert_eq!(of("other.example"), default);
        assert_eq!(of("localhost"), default);

        let wrong = store.add(Some("c.example"), memory(&pem("d.example")));
        assert!(matches!(wrong, Err(TlsError::WrongName(name)) if name == "c.example"));
        let again = memory(&pem("a.example"));
        let before = of("a.example");
        store
            .add(Some("a.example"), again)
            .expect("in the place of the other one");
        assert_ne!(of("a.example"), before);
    }

    #[test]
    fn what_is_wrong_with_a_pair_is_said() {
        let (one, other) = (pem("a.example"), pem("a.example"));
        let error = |chain: &str, key: &str| {
            let source = Source::Memory(chain.as_bytes().into(), key.as_bytes().into());
            Store::default().add(None, source).expect_err("not a pair")
        };
        assert!(matches!(error(&one[0], &other[1]), TlsError::KeyMismatch));
        assert!(matches!(error(&one[1], &one[1]), TlsError::NoCertificate));
        assert!(matches!(error(&one[0], &one[0]), TlsError::NoKey));
        let encrypted = one[1].replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        assert!(matches!(error(&one[0], &encrypted), TlsError::EncryptedKey));
        let broken = one[0].replace("MII", "???");
        assert!(matches!(error(&broken, &one[1]), TlsError::Pem(_)));
    }

    #[test]
    fn keys_are_not_in_debug_output() {
        let store = Store::default();
        let pair = pem("a.example");
        store.add(None, memory(&pair)).expect("a pair");
        let key = pair[1].as_bytes()[100..110].to_vec();
        let shown = format!("{store:?}");
        assert!(shown.contains("source: Memory"), "{shown}");
        assert!(
            !shown.contains(format!("{key:?}").trim_matches(['[', ']'])),
            "{shown}"
        );
    }

    /// Files of a test, in a folder of their own.
    struct Files(PathBuf);

    impl Files {
        fn new() -> Files {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("peregrine-tls-{}-{count}", std::process::id());
            let folder = std::env::temp_dir().join(name);
            fs::create_dir(&folder).expect("a new folder");
            Files(folder)
        }

        fn paths(&self) -> [PathBuf; 2] {
            ["cert.pem", "key.pem"].map(|name| self.0.join(name))
        }

        fn write(&self, which: usize, text: &str) {
            fs::write(&self.paths()[which], text).expect("written");
        }
    }

    impl Drop for Files {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn files_are_read_again_when_both_have_changed() {
        let files = Files::new();
        let (first, second) = (pem("a.example"), pem("other.a.example"));
        files.write(0, &first[0]);
        files.write(1, &first[1]);
        let store = Store::default();
        let [chain, key] = files.paths();
        store
            .add(None, Source::files(&chain, &key))
            .expect("a pair");
        let before = chosen(&store, None);

        // The names have other lengths, so that the change is seen whatever the clock of the disk is.
        files.write(0, &second[0]);
        store.look_again();
        assert_eq!(chosen(&store, None), before, "the key has not followed yet");
        let error = store.reload().expect_err("half a change");
        assert!(matches!(error, TlsError::In(path, inner) if path == key
            && matches!(*inner, TlsError::KeyMismatch)));
        files.write(1, &second[1]);
        store.reload().expect("both have changed");
        let after = chosen(&store, None);
        assert_ne!(after, before);

        files.write(0, &first[0]);
        files.write(1, &first[1]);
        assert_eq!(
            chosen(&store, None),
            after,
            "the files are not looked at for a while"
        );
        store.look_again();
        assert_eq!(chosen(&store, None), before);
        fs::remove_file(&key).expect("removed");
        store.look_again();
        assert_eq!(chosen(&store, None), before, "what is gone changes nothing");
    }

    /// A key that cannot be read for a moment, as while a program sets its mode.
    #[test]
    #[cfg(unix)]
    fn files_that_could_not_be_read_are_tried_again() {
        use std::os::unix::fs::symlink;
        let files = Files::new();
        let (first, second) = (pem("a.example"), pem("a.example"));
        let [chain, key] = files.paths();
        files.write(0, &first[0]);
        files.write(1, &first[1]);
        let store = Store::default();
        store
            .add(None, Source::files(&chain, &key))
            .expect("a pair");
        let before = chosen(&store, None);

        // A folder cannot be read, whatever the rights of this process are.
        let real = files.0.join("real");
        fs::create_dir(&real).expect("a folder");
        files.write(0, &second[0]);
        fs::remove_file(&key).expect("removed");
        symlink(&real, &key).expect("a link");
        for _ in 0..2 {
            store.look_again();
            assert_eq!(chosen(&store, None), before);
            let failure = store.lock().sorted[0].failure.clone();
            assert!(failure.is_some_and(|text| text.contains("key.pem")));
        }
        // The link stays: what has changed is behind it.
        fs::remove_dir(&real).expect("removed");
        fs::write(&real, &second[1]).expect("written");
        store.look_again();
        assert_ne!(chosen(&store, None), before);
        assert_eq!(store.lock().sorted[0].failure, None);
    }

    #[test]
    fn the_error_names_the_file() {
        let files = Files::new();
        let pair = pem("a.example");
        let paths = files.paths();
        for (at, text) in [(0, "no PEM"), (1, "no PEM"), (1, &pair[1][..80])] {
            files.write(0, &pair[0]);
            files.write(1, &pair[1]);
            files.write(at, text);
            let source = Source::files(&paths[0], &paths[1]);
            let error = Store::default().add(None, source).expect_err("not a pair");
            assert!(
                matches!(&error, TlsError::In(path, _) if *path == paths[at]),
                "{error}"
            );
        }
    }

    #[test]
    fn names_that_no_client_sends() {
        let store = Store::default();
        let of = |name: &str| store.add(Some(name), memory(&pem("127.0.0.1")));
        for name in ["127.0.0.1", "::1"] {
            assert!(matches!(of(name), Err(TlsError::IsAddress(shown)) if shown == name));
        }
        store
            .add(None, memory(&pem("b.example")))
            .expect("a default");
        store
            .add(Some("a.example."), memory(&pem("a.example")))
            .expect("a name");
        assert_ne!(chosen(&store, Some("a.example")), chosen(&store, None));
    }

    /// Browsers say that to their users; the server says it once in its log.
    #[test]
    fn a_certificate_that_has_expired_is_told_once() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certs");
        for (name, is_warned) in [("expired", true), ("exact", false)] {
            let [chain, key] = ["pem", "key"].map(|kind| folder.join(format!("{name}.{kind}")));
            let store = Store::default();
            store
                .add(None, Source::files(&chain, &key))
                .expect("a pair");
            assert_eq!(store.lock().sorted[0].loaded.is_warned, is_warned);
        }
    }
}
