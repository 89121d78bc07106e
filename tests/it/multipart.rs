//! Forms with files: over sockets by hand and by curl, and what is left on the disk.

use super::clients::curl;
use super::support::{Answer, Asked, Client, Random, start, wait_until, workers};
use peregrine::body::{BodySink, Flow, Incoming};
use peregrine::multipart::{MultipartError, MultipartLimits, Upload, UploadError};
use peregrine::router::Route;
use peregrine::server::Running;
use peregrine::{BodyPlan, Done, Handler, Limits, Request, Response, Router, from_fn, testing};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

const CONTENT_TYPE: &str = "multipart/form-data; boundary=X-y";

/// A folder for uploads, removed when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("peregrine-upload-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("a folder of our own");
        Folder(path)
    }

    /// Names of what is in it, in order.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("our folder");
        let name = |entry: fs::DirEntry| entry.file_name().into_string().expect("ASCII");
        let mut names: Vec<_> = entries.map(|e| name(e.expect("an entry"))).collect();
        names.sort();
        names
    }

    fn upload(&self) -> Upload {
        let limits = MultipartLimits::default();
        Upload::new(CONTENT_TYPE, limits, &self.0).expect("a boundary")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A server that returns what it has parsed of a form, and keeps nothing of it.
fn server(folder: &Path, limits: MultipartLimits) -> (Running, SocketAddr) {
    let folder = folder.to_owned();
    let handle = move |req: &Request<'_>, res: Response<'_>| -> Done {
        let content_type = req.content_type().unwrap_or_default();
        let form = match Upload::read(content_type, req.body(), limits, &folder) {
            Ok(form) => form,
            Err(error) => return res.status(error.status()).text(error.to_string()),
        };
        let mut text = String::new();
        for (name, value) in form.texts() {
            text += &format!("{name:?} is {value:?}\n");
        }
        for file in form.files() {
            let bytes = fs::read(file.path()).expect("the file");
            assert_eq!(bytes.len() as u64, file.len());
            let (name, sent, kind) = (file.name(), file.file_name(), file.content_type());
            let kind = kind.unwrap_or("nothing");
            let shown = bytes.escape_ascii().to_string();
            let shown = &shown[..shown.len().min(20)];
            text += &format!("{name:?} is {sent:?}, {kind}, {}: {shown}\n", bytes.len());
        }
        res.text(&text)
    };
    let limits = Limits::default().body_bytes(4 << 20);
    let config = workers(1).limits(limits);
    start(from_fn(handle), config)
}

#[track_caller]
fn post(addr: SocketAddr, content_type: &str, body: &str) -> Answer {
    let mut client = Client::connect(addr);
    let length = body.len();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: {content_type}\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    ));
    client.answer(Asked::Other)
}

/// A part, from its boundary to the end of its data.
fn part(disposition: &str, data: &str) -> String {
    format!("--X-y\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{data}\r\n")
}

#[test]
fn texts_and_files_over_a_socket() {
    let folder = Folder::new();
    let (_server, addr) = server(&folder.0, MultipartLimits::default());
    let body = [
        part("name=title", "A falcon"),
        part("name=photo; filename=\"../f.jpg\"", "\r\n1\r\n"),
        part("name=empty; filename=\"\"", ""),
        part("name=unnamed; filename=\"\"", "2"),
        part("name=none; filename=n", ""),
        part("name=title", ""),
        "--X-y--\r\n".to_owned(),
    ];
    let answer = post(addr, CONTENT_TYPE, &body.concat());
    let expected = "\"title\" is \"A falcon\"\n\"title\" is \"\"\n\
        \"photo\" is \"../f.jpg\", nothing, 5: \\r\\n1\\r\\n\n\
        \"unnamed\" is \"\", nothing, 1: 2\n\"none\" is \"n\", nothing, 0: \n";
    assert_eq!((answer.status, answer.text()), (200, expected));
    assert_eq!(folder.names(), [""; 0], "nothing is left");
}

#[test]
fn refusals_over_a_socket() {
    let folder = Folder::new();
    let limits = MultipartLimits::default().file_bytes(3);
    let (_server, addr) = server(&folder.0, limits);
    let file = part("name=a; filename=b", "1234") + "--X-y--";
    let unfinished = part("name=a; filename=b", "123");
    for (content_type, body, status, text) in [
        ("text/plain", &file, 415, "not multipart/form-data"),
        (
            "multipart/form-data",
            &file,
            400,
            "Content-Type has no valid boundary",
        ),
        (CONTENT_TYPE, &file, 413, "a file in the form is too long"),
        (
            CONTENT_TYPE,
            &unfinished,
            400,
            "the form ends before its closing boundary",
        ),
    ] {
        let answer = post(addr, content_type, body);
        assert_eq!((answer.status, answer.text()), (status, text));
        assert_eq!(folder.names(), [""; 0], "nothing is left");
    }
}

/// Bytes of all values, with line ends and hyphens.
fn bytes(count: usize) -> Vec<u8> {
    let mut random = Random(7);
    let mut byte = || match random.below(4) {
        0 => b"\r\n-"[random.below(3)],
        _ => random.below(256) as u8,
    };
    (0..count).map(|_| byte()).collect()
}

#[test]
fn curl_sends_texts_and_files() {
    let (folder, sent) = (Folder::new(), Folder::new());
    let (_server, addr) = server(&folder.0, MultipartLimits::default());
    let (small, large) = (sent.0.join("small.txt"), sent.0.join("large.bin"));
    fs::write(&small, "A\r\nB\n").expect("written");
    fs::write(&large, bytes(3 << 20)).expect("written");
    let options = [
        "--form-string".to_owned(),
        "who=Ada & \"Bo\" =ü;".to_owned(),
        "--form".to_owned(),
        format!("note=@{};type=text/x-note", small.display()),
        "--form".to_owned(),
        format!("odd=@{};filename=\"a\\\"b;c ü.txt\"", small.display()),
        "--form".to_owned(),
        format!("large=@{}", large.display()),
    ];
    let options: Vec<_> = options.iter().map(String::as_str).collect();
    let Some(printed) = curl(&options, &format!("http://{addr}/")) else {
        return;
    };
    let printed = String::from_utf8(printed).expect("text");
    let start: String = bytes(20).escape_ascii().to_string()[..20].to_owned();
    let expected = format!(
        "\"who\" is \"Ada & \\\"Bo\\\" =ü;\"\n\
         \"note\" is \"small.txt\", text/x-note, 5: A\\r\\nB\\n\n\
         \"odd\" is \"a\\\"b;c ü.txt\", text/plain, 5: A\\r\\nB\\n\n\
         \"large\" is \"large.bin\", application/octet-stream, 3145728: {start}\n"
    );
    assert_eq!(printed, expected);
    assert_eq!(folder.names(), [""; 0], "nothing is left");
}

/// A file much longer than any piece, split at odd positions, is unchanged on the disk.
#[test]
fn a_file_in_pieces() {
    let (folder, data) = (Folder::new(), bytes(2 << 20));
    let head = part("name=f; filename=g", "");
    let head = head.strip_suffix("\r\n").expect("a line end");
    let body = [head.as_bytes(), &data, b"\r\n--X-y--\r\n"].concat();
    let mut upload = folder.upload();
    let (mut rest, mut random) = (&body[..], Random(3));
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.len().min(1 + random.below(9000)));
        upload.write(piece).expect("taken");
        rest = after;
    }
    let form = upload.finish().expect("a form");
    let file = form.file("f").expect("the file");
    assert!(fs::read(file.path()).expect("the file") == data);
    assert_eq!(file.path().parent(), Some(folder.0.as_path()));
}

/// Wherever an upload is given up, and however, no file is left.
#[test]
fn no_file_is_left_of_an_upload_that_was_aborted() {
    let folder = Folder::new();
    let body = part("name=a; filename=b", "1") + &part("name=c; filename=d", "2") + "--X-y--";
    let (mut most, mut failed) = (0, 0);
    for end in 0..body.len() {
        let piece = &body.as_bytes()[..end];
        let mut upload = folder.upload();
        upload.write(piece).expect("a beginning");
        most = most.max(folder.names().len());
        drop(upload);
        assert_eq!(folder.names(), [""; 0], "dropped after {end} bytes");

        let mut upload = folder.upload();
        upload.write(piece).expect("a beginning");
        let error = upload.finish().expect_err("unfinished");
        assert!(matches!(
            error,
            UploadError::Form(MultipartError::Unfinished)
        ));
        assert_eq!(folder.names(), [""; 0], "ended after {end} bytes");

        let mut upload = folder.upload();
        upload.write(piece).expect("a beginning");
        if upload.write(b"\r\n--X-y--X").is_err() {
            failed += 1;
            assert_eq!(folder.names(), [""; 0], "failed after {end} bytes");
        }
    }
    assert_eq!(most, 2, "files are there while the upload is");
    assert!(failed > body.len() / 2, "most of them fail: {failed}");
    let mut upload = folder.upload();
    upload.write(body.as_bytes()).expect("a form");
    drop(upload.finish().expect("a form"));
    assert_eq!(folder.names(), [""; 0], "a dropped form");
}

#[test]
fn kept_files_stay() {
    let folder = Folder::new();
    let body = part("name=a; filename=b", "1") + &part("name=c; filename=d", "2") + "--X-y--";
    let mut upload = folder.upload();
    upload.write(body.as_bytes()).expect("a form");
    let mut files = upload.finish().expect("a form").into_files();
    let kept = files.remove(1).keep();
    drop(files);
    assert_eq!(fs::read(&kept).expect("the file"), b"2");
    assert_eq!(folder.names().len(), 1);
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let mode = fs::metadata(&kept).expect("the file").mode();
        assert_eq!(mode & 0o777, 0o600, "for its owner only");
    }
}

#[test]
fn the_program_may_name_files() {
    let folder = Folder::new();
    let body = part("name=a; filename=b.txt", "1") + "--X-y--";
    let write = |name: &'static str| {
        let mut upload = folder.upload();
        upload.name_files(move |head| {
            assert_eq!((head.name(), head.file_name()), ("a", Some("b.txt")));
            name.to_owned()
        });
        upload.write(body.as_bytes())?;
        upload.finish()
    };
    let form = write("one").expect("a form");
    assert_eq!(form.files()[0].path(), folder.0.join("one"));

    let taken = write("one").expect_err("it is there");
    assert_eq!(taken.status(), 500);
    assert_eq!(folder.names(), ["one"], "the first is not removed");
    for outside in ["../one", "", ".", "a/b"] {
        assert!(
            matches!(write(outside), Err(UploadError::Io(_))),
            "{outside}"
        );
    }
    drop(form);
    assert_eq!(folder.names(), [""; 0]);
}

/// A link at the path of a new file is not followed.
#[cfg(unix)]
#[test]
fn links_are_not_followed() {
    let (folder, elsewhere) = (Folder::new(), Folder::new());
    let target = elsewhere.0.join("target");
    std::os::unix::fs::symlink(&target, folder.0.join("one")).expect("a link");
    let mut upload = folder.upload();
    upload.name_files(|_| "one".to_owned());
    let body = part("name=a; filename=b", "1") + "--X-y--";
    let error = upload.write(body.as_bytes()).expect_err("a link");
    assert!(matches!(error, UploadError::Io(_)), "{error}");
    assert_eq!(
        (folder.names(), elsewhere.names().len()),
        (vec!["one".to_owned()], 0)
    );
}

#[test]
fn a_folder_that_is_not_there() {
    let folder = Folder::new();
    let missing = folder.0.join("missing");
    let mut upload = Upload::new(CONTENT_TYPE, MultipartLimits::default(), missing).expect("new");
    let text = part("name=a", "1");
    upload.write(text.as_bytes()).expect("no file yet");
    let file = part("name=a; filename=b", "1");
    let error = upload.write(file.as_bytes()).expect_err("no folder");
    assert_eq!(error.status(), 500);
    let again = upload.write(b"").expect_err("it had failed");
    assert!(matches!(again, UploadError::Form(MultipartError::Stopped)));
}

// --------------------------------------------------------------------- bodies that are not buffered

struct Receiving {
    upload: Upload,
    failed: Option<UploadError>,
}

impl BodySink for Receiving {
    fn piece(&mut self, piece: &[u8], _: &mut Incoming<'_>) -> Flow {
        self.failed = self.upload.write(piece).err();
        match self.failed {
            None => Flow::Continue,
            Some(_) => Flow::Respond,
        }
    }

    fn finish(self: Box<Self>, _: &Request<'_>, res: Response<'_>) -> Done {
        let Receiving { upload, failed } = *self;
        match failed.map_or_else(|| upload.finish(), Err) {
            Ok(form) => res.body(fs::read(form.files()[0].path()).expect("the file")),
            Err(error) => res.status(error.status()).text(error.to_string()),
        }
    }
}

/// Streams every body into its folder.
struct Streaming(PathBuf);

impl Handler for Streaming {
    fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
        let limits = MultipartLimits::default().file_bytes(4 << 20);
        let content_type = req.content_type().unwrap_or_default();
        match Upload::new(content_type, limits, &self.0) {
            Ok(upload) => BodyPlan::stream(Receiving {
                upload,
                failed: None,
            }),
            Err(error) => BodyPlan::Refuse(error.status()),
        }
    }

    fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
        res.status(404).text("nothing here")
    }
}

/// More than a buffered body may have, and what is on the disk is what was sent.
#[test]
fn a_streamed_form_over_a_socket() {
    let folder = Folder::new();
    let (_server, addr) = start(Streaming(folder.0.clone()), workers(1));
    let head = part("name=f; filename=g", "");
    let head = head.strip_suffix("\r\n").expect("a line end");
    for (size, status) in [(4 << 20, 200), ((4 << 20) + 1, 413)] {
        let data = bytes(size);
        let body = [head.as_bytes(), &data, b"\r\n--X-y--\r\n"].concat();
        let mut client = Client::connect(addr);
        let length = body.len();
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: {CONTENT_TYPE}\r\n\
             Content-Length: {length}\r\n\r\n"
        ));
        client.send(&body);
        let answer = client.answer(Asked::Other);
        assert_eq!(answer.status, status);
        assert!(
            status != 200 || answer.body == data,
            "{size} bytes come back"
        );
        wait_until("the file is gone", || folder.names().is_empty());
    }
    let answer = post(addr, "text/plain", "1");
    assert_eq!(answer.status, 415);
}

/// A client that leaves in the middle leaves no file.
#[test]
fn a_client_that_leaves_a_streamed_form() {
    let folder = Folder::new();
    let (_server, addr) = start(Streaming(folder.0.clone()), workers(1));
    let mut client = Client::connect(addr);
    let body = part("name=f; filename=g", "12345");
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: {CONTENT_TYPE}\r\n\
         Content-Length: 1000\r\n\r\n{body}"
    ));
    wait_until("the file is there", || folder.names().len() == 1);
    drop(client);
    wait_until("the file is gone", || folder.names().is_empty());
}

#[test]
fn a_plan_for_a_form_responds_once_and_leaves_no_file() {
    let folder = Folder::new();
    let (limits, path) = (
        MultipartLimits::default().file_bytes(4).total_bytes(1000),
        folder.0.clone(),
    );
    let route = Route::post("/", |_, res| res.status(411).body("")).body_plan(move |req| {
        BodyPlan::form(req, limits, &path, |form, _, res| {
            let form = form?;
            let lengths = form.files().iter().map(|file| file.len());
            Ok::<_, UploadError>(res.text(format!("{:?}", lengths.collect::<Vec<_>>())))
        })
    });
    let app = Router::new().route(route);
    let part = "Content-Disposition: form-data; name=f; filename=g";
    let form = |content: &str| format!("--X-y\r\n{part}\r\n\r\n{content}\r\n--X-y--");
    let long = form(&"a".repeat(2000));
    for (content_type, body, status, text) in [
        (CONTENT_TYPE, &*form("1234"), 200, "[4]"),
        // Limits of a form, in the words of its error; the body limit is that of the library.
        (CONTENT_TYPE, &*form("12345"), 413, "file"),
        (CONTENT_TYPE, &*long, 413, ""),
        (CONTENT_TYPE, "--X-y\r\n", 400, ""),
        ("text/plain", "hi", 415, ""),
        ("multipart/form-data", "hi", 400, ""),
        (CONTENT_TYPE, "", 411, ""),
    ] {
        let mut client = testing::Client::new(&app);
        let request = client.post("/").header("Content-Type", content_type);
        let response = request.body(body).send();
        assert_eq!(response.status(), status, "{body}");
        assert!(response.text().contains(text), "{}", response.text());
    }
    // A client that leaves in the middle.
    let mut client = testing::Connection::new(&app);
    let begun = format!("--X-y\r\n{part}\r\n\r\nab");
    let head = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: 500\r\n\r\n"
    );
    client.send(format!("{head}{begun}").as_bytes());
    assert_eq!(folder.names().len(), 1);
    drop(client);
    assert_eq!(folder.names(), [""; 0]);
}
