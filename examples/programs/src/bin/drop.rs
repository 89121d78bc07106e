//! A drop box: users send files of any size into their own folders, continue what was interrupted, watch the progress, and
//! fetch files or parts of them.
//!
//! ```sh
//! cargo run --manifest-path examples/programs/Cargo.toml --bin drop -- box 127.0.0.1:8080 ada:engine bob:motor
//! curl -u ada:engine -T film.mp4 localhost:8080/files/           # the whole file
//! curl -u ada:engine localhost:8080/parts/film.mp4               # bytes that are there after an interruption
//! curl -u ada:engine -T rest 'localhost:8080/files/film.mp4?from=1048576'
//! curl -u ada:engine -r 0-999 localhost:8080/files/film.mp4
//! ```
//!
//! Behind a proxy the log has the addresses of the clients, because the fields `X-Forwarded-*` of a proxy on this machine are
//! read. For nginx: `proxy_request_buffering off`, `proxy_buffering off`, `proxy_set_header X-Forwarded-For $remote_addr`,
//! `proxy_set_header Host $http_host`.

use peregrine::access_log::{AccessLog, LogWriter};
use peregrine::body::{BodySink, Flow, Incoming};
use peregrine::config::ForwardedFields;
use peregrine::error::{BoxError, Problem, Status};
use peregrine::files::{DirConfig, DirServer};
use peregrine::layers::{BasicAuth, Csrf, RateLimit, SecurityHeaders, is_same_secret};
use peregrine::router::{Route, offload};
use peregrine::sse::EventHub;
use peregrine::{BodyPlan, Config, Done, Request, Response, Router, Server};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes that a user may store, those that are arriving included.
const QUOTA: u64 = 10 << 30;

/// Bytes between two messages about the progress of a file.
const STEP: u64 = 4 << 20;

type Handled = Result<Done, BoxError>;

#[derive(Serialize)]
struct Entry {
    name: String,
    bytes: u64,
}

struct Boxes {
    /// `NAME/files` and `NAME/parts` for each user.
    root: PathBuf,
    folders: DirServer,
    passwords: BTreeMap<String, String>,
    state: Mutex<State>,
    /// The progress of uploads. The topic is the name of the user.
    progress: EventHub,
}

#[derive(Default)]
struct State {
    /// Bytes of each user.
    used: HashMap<String, u64>,
    /// The parts that are arriving, which no other request may write.
    arriving: Vec<PathBuf>,
}

fn size(file: &Path) -> io::Result<u64> {
    match fs::metadata(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        metadata => Ok(metadata?.len()),
    }
}

fn entries(folder: &Path) -> io::Result<Vec<Entry>> {
    let entry = |entry: io::Result<fs::DirEntry>| {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let bytes = entry.metadata()?.len();
        Ok(Entry { name, bytes })
    };
    let mut entries = fs::read_dir(folder)?
        .map(entry)
        .collect::<io::Result<Vec<_>>>()?;
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

fn problem(status: u16, detail: &'static str) -> Problem {
    Problem::new(status).detail(detail)
}

/// The user, whose password a layer has checked.
fn user(req: &Request<'_>) -> String {
    req.basic_auth().map(|(user, _)| user).unwrap_or_default()
}

/// The last segment of the path, which is still encoded.
fn name<'a>(req: &Request<'a>) -> &'a str {
    req.path().rsplit('/').next().unwrap_or_default()
}

impl Boxes {
    fn new(root: &Path, passwords: BTreeMap<String, String>) -> Result<Boxes, BoxError> {
        let mut state = State::default();
        for user in passwords.keys() {
            let mut used = 0;
            for kind in ["files", "parts"] {
                let folder = root.join(user).join(kind);
                fs::create_dir_all(&folder)?;
                used += entries(&folder)?
                    .iter()
                    .map(|entry| entry.bytes)
                    .sum::<u64>();
            }
            state.used.insert(user.clone(), used);
        }
        Ok(Boxes {
            root: root.to_owned(),
            // A file that was replaced a moment ago is sent as it is now.
            folders: DirServer::with_config(root, DirConfig::default().recheck(Duration::ZERO))?,
            passwords,
            state: Mutex::new(state),
            progress: EventHub::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what a user has stored. False if it would be more than the quota.
    fn store(&self, user: &str, more: u64, less: u64) -> bool {
        let mut state = self.state();
        let Some(used) = state.used.get_mut(user) else {
            return false;
        };
        let after = (*used + more).saturating_sub(less);
        let fits = more == 0 || after <= QUOTA;
        if fits {
            *used = after;
        }
        fits
    }

    fn knows(&self, user: &str, password: &str) -> bool {
        let right = self.passwords.get(user).map_or("", |right| right);
        is_same_secret(password.as_bytes(), right.as_bytes()) && !right.is_empty()
    }

    fn list(&self, req: &Request<'_>, res: Response<'_>) -> Handled {
        Ok(res.json(&entries(&self.root.join(user(req)).join("files"))?))
    }

    fn part(&self, req: &Request<'_>, res: Response<'_>) -> Handled {
        Ok(res.json(&size(&self.place(req, "parts")?)?))
    }

    fn fetch(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        let path = format!("/{}/files/{}", user(req), name(req));
        // What a user has sent must not run as a page of this server.
        let res = res
            .attachment(req.param_str("name").unwrap_or_default())
            .header("Cache-Control", "private, no-cache");
        self.folders.serve_path(&path, req, res)
    }

    fn delete(&self, req: &Request<'_>, res: Response<'_>) -> Handled {
        let place = self.place(req, "files")?;
        let bytes = fs::metadata(&place).map_err(|_| Status(404))?.len();
        fs::remove_file(&place)?;
        self.store(&user(req), 0, bytes);
        Ok(res.status(204).body(""))
    }

    fn watch(&self, req: &Request<'_>, res: Response<'_>) -> Handled {
        let (done, page) = res.events();
        self.progress.subscribe(page, [user(req)])?;
        Ok(done)
    }

    /// The place of the file that the path of a request names, in a folder of its user.
    fn place(&self, req: &Request<'_>, kind: &str) -> Result<PathBuf, Problem> {
        let place = self
            .folders
            .place(&format!("/{}/{kind}/{}", user(req), name(req)));
        place.ok_or(problem(404, "This cannot be the name of a file."))
    }
}

/// A file that arrives.
struct Arriving {
    boxes: Arc<Boxes>,
    user: String,
    part: PathBuf,
    place: PathBuf,
    file: File,
    /// Bytes that are there, that are announced, and of which the pages of the user know.
    have: u64,
    total: u64,
    told: u64,
    fault: Option<io::Error>,
}

impl Arriving {
    /// Decides by the head of the request.
    fn begin(boxes: &Arc<Boxes>, req: &Request<'_>) -> Result<Arriving, BoxError> {
        let (part, place) = (boxes.place(req, "parts")?, boxes.place(req, "files")?);
        let from = req.query("from").map_or(Ok(0), |from| from.parse::<u64>());
        let from = from.map_err(|_| problem(400, "`from` is no number."))?;
        let length = req
            .header("content-length")
            .and_then(|length| length.parse().ok());
        let length: u64 = length.ok_or(problem(411, "Content-Length is missing."))?;
        let is_free = |state: &mut State| {
            let is_free = !state.arriving.contains(&part);
            state.arriving.extend(is_free.then(|| part.clone()));
            is_free
        };
        if !is_free(&mut boxes.state()) {
            return Err(problem(409, "This file is arriving already.").into());
        }
        // From here on its drop makes the part free.
        let mut file = OpenOptions::new();
        let file = file.create(true).append(true).open(&part);
        let mut arriving = Arriving {
            boxes: boxes.clone(),
            user: user(req),
            have: size(&part)?,
            file: file?,
            part,
            place,
            total: 0,
            told: 0,
            fault: None,
        };
        arriving.start(from, length)?;
        Ok(arriving)
    }

    fn start(&mut self, from: u64, length: u64) -> Result<(), BoxError> {
        self.total = self.have;
        if from == 0 {
            self.file.set_len(0)?;
            self.boxes.store(&self.user, 0, self.have);
            (self.have, self.total) = (0, 0);
        }
        if from != self.have {
            return Err(problem(409, "`from` is not what /parts says.").into());
        }
        if !self.boxes.store(&self.user, length, 0) {
            return Err(problem(413, "The files of a user have 10 GiB at most.").into());
        }
        self.total = from + length;
        Ok(())
    }

    fn tell(&mut self) {
        let name = self.place.file_name().unwrap_or_default().to_string_lossy();
        let text = format!("{}\t{}\t{name}", self.have, self.total);
        self.told = self.have;
        // Without a page, no client has to know.
        let _ = self.boxes.progress.publish(&self.user, text);
    }

    fn end(mut self, res: Response<'_>) -> Handled {
        if let Some(fault) = self.fault.take() {
            return Err(fault.into());
        }
        let replaced = size(&self.place)?;
        fs::rename(&self.part, &self.place)?;
        self.boxes.store(&self.user, 0, replaced);
        self.tell();
        Ok(res.status(201).body(""))
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.boxes.store(&self.user, 0, self.total - self.have);
        self.boxes
            .state()
            .arriving
            .retain(|part| *part != self.part);
    }
}

impl BodySink for Arriving {
    fn piece(&mut self, piece: &[u8], _: &mut Incoming<'_>) -> Flow {
        if let Err(error) = self.file.write_all(piece) {
            self.fault = Some(error);
            return Flow::Respond;
        }
        self.have += piece.len() as u64;
        if self.have - self.told >= STEP {
            self.tell();
        }
        Flow::Continue
    }

    fn finish(self: Box<Self>, req: &Request<'_>, res: Response<'_>) -> Done {
        res.attempt(req, |res| self.end(res))
    }
}

fn routes(boxes: &Arc<Boxes>) -> Router {
    let with = |f: fn(&Boxes, &Request<'_>, Response<'_>) -> Handled| {
        let own = boxes.clone();
        move |req: &Request<'_>, res: Response<'_>| f(&own, req, res)
    };
    let (planning, checking, empty) = (boxes.clone(), boxes.clone(), boxes.clone());
    let plan = move |req: &Request<'_>| match Arriving::begin(&planning, req) {
        Ok(arriving) => BodyPlan::stream_up_to(arriving, QUOTA),
        Err(error) => BodyPlan::respond(move |_, _| Err::<Done, _>(error)),
    };
    // An empty file has no body, so no plan.
    let put = Route::put("/files/{name}", move |req, res| {
        Arriving::begin(&empty, req)?.end(res)
    });
    Router::new()
        .get("/files", offload(with(Boxes::list)))
        .route(put.body_plan(plan))
        .get(
            "/files/{name}",
            with(|own, req, res| Ok(own.fetch(req, res))),
        )
        .delete("/files/{name}", offload(with(Boxes::delete)))
        .get("/parts/{name}", offload(with(Boxes::part)))
        .get("/progress", with(Boxes::watch))
        .layer(SecurityHeaders::new())
        .layer(RateLimit::new(100, Duration::from_secs(10)))
        .layer(Csrf::new())
        .layer(BasicAuth::new("drop", move |user, password| {
            checking.knows(user, password)
        }))
}

fn main() -> Result<(), BoxError> {
    let mut args = std::env::args().skip(1);
    let root = args.next().unwrap_or("box".to_owned());
    let address = args.next().unwrap_or("127.0.0.1:8080".to_owned());
    let users: Option<BTreeMap<_, _>> = args
        .map(|user| {
            let (name, password) = user.split_once(':')?;
            Some((name.to_owned(), password.to_owned()))
        })
        .collect();
    let boxes = Boxes::new(Path::new(&root), users.ok_or("a user is NAME:PASSWORD")?)?;
    let app = AccessLog::new(routes(&Arc::new(boxes)), LogWriter::new(std::io::stdout())?);
    let config = Config::default().forwarded(ForwardedFields::X {
        proto: true,
        host: false,
    });
    let running = Server::new(app)
        .config(config)
        .stop_on_signals()
        .bind(&*address)
        .start()?;
    println!("listening on {}", running.local_addrs()[0]);
    running.wait()?;
    Ok(())
}

#[cfg(test)]
#[path = "../tests/drop.rs"]
mod tests;
