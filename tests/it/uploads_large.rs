//! Uploads that are larger than the memory they may take, on their way to the disk, and disks that
//! do not take them.

use crate::alone::{alone, alone_after, most_resident, resident};
use crate::scratch::Scratch;
use crate::support::{Asked, Client, Random, ended, start, wait_until, workers};
use peregrine::body::{BodySink, Flow, Incoming};
#[cfg(feature = "multipart")]
use peregrine::multipart::{Form, MultipartLimits};
use peregrine::{BodyPlan, Done, Handler, Request, Response};
use sha1::{Digest, Sha1};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

const MIB: usize = 1 << 20;
#[cfg(feature = "multipart")]
const BOUNDARY: &str = "a-boundary";

// ----------------------------------------------------------------------------------- the server

/// Keeps bodies in a folder: unchanged, as the files of a form, or on a full disk.
struct Keep(PathBuf);

/// One body, removed unless it is complete.
struct Raw {
    file: File,
    path: Option<PathBuf>,
    hash: Sha1,
    failed: Option<io::Error>,
}

impl Raw {
    fn plan(file: io::Result<File>, path: Option<PathBuf>) -> BodyPlan {
        let sink = Raw {
            file: file.expect("a place for it"),
            path,
            hash: Sha1::new(),
            failed: None,
        };
        BodyPlan::stream_up_to(sink, u64::MAX)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            fs::remove_file(path).expect("our own file");
        }
    }
}

impl BodySink for Raw {
    fn piece(&mut self, piece: &[u8], _: &mut Incoming<'_>) -> Flow {
        self.hash.update(piece);
        self.failed = self.file.write_all(piece).err();
        match self.failed {
            None => Flow::Continue,
            Some(_) => Flow::Respond,
        }
    }

    fn finish(mut self: Box<Self>, _: &Request<'_>, res: Response<'_>) -> Done {
        match self.failed.as_ref().map(io::Error::kind) {
            None => {
                self.path = None;
                let digest = self.hash.clone().finalize();
                res.text(hex(&digest))
            }
            Some(ErrorKind::StorageFull | ErrorKind::FileTooLarge) => {
                res.status(507).text("the disk is full")
            }
            Some(_) => res.status(500).text("the disk has failed"),
        }
    }
}

#[cfg(feature = "multipart")]
fn kept(form: Form) -> Vec<String> {
    let files = form.into_files().into_iter();
    let names = files.map(|file| file.keep().file_name().map(|name| name.to_owned()));
    names
        .map(|name| {
            name.and_then(|name| name.into_string().ok())
                .expect("ASCII")
        })
        .collect()
}

impl Handler for Keep {
    fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
        match req.path() {
            "/full" => Raw::plan(File::options().write(true).open("/dev/full"), None),
            #[cfg(feature = "multipart")]
            "/form" => {
                let limits = MultipartLimits::default()
                    .file_bytes(u64::MAX)
                    .total_bytes(u64::MAX);
                BodyPlan::form(req, limits, &self.0, |form, _, res| match form {
                    Ok(form) => res.text(kept(form).join(" ")),
                    Err(error) => res.status(error.status()).text("not kept"),
                })
            }
            path => {
                let path = self.0.join(&path[1..]);
                Raw::plan(File::create_new(&path), Some(path))
            }
        }
    }

    fn handle_request(&self, _: &Request<'_>, res: Response<'_>) -> Done {
        res.text("here")
    }
}

// ----------------------------------------------------------------------------------- the client

/// What is sent: blocks of a MiB that look random, each with its number at the start.
struct Content {
    block: Vec<u8>,
    blocks: u64,
}

impl Content {
    fn new(len: u64) -> Content {
        let mut random = Random(0x1234_5678_9abc_def1);
        let block = (0..MIB).map(|_| random.below(256) as u8).collect();
        assert_eq!(len % MIB as u64, 0);
        Content {
            block,
            blocks: len / MIB as u64,
        }
    }

    fn len(&self) -> u64 {
        self.blocks * MIB as u64
    }

    fn each(&mut self, mut take: impl FnMut(&[u8])) {
        for n in 0..self.blocks {
            self.block[..8].copy_from_slice(&n.to_le_bytes());
            take(&self.block);
        }
    }

    fn sha1(&mut self) -> String {
        let mut hash = Sha1::new();
        self.each(|block| hash.update(block));
        hex(&hash.finalize())
    }
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Length,
    Chunks,
    #[cfg(feature = "multipart")]
    Form,
}

/// Sends the content, and returns the status and text of the response.
fn upload(client: &mut Client, way: Way, content: &mut Content) -> (u16, String) {
    let len = content.len();
    match way {
        Way::Length => {
            client.send(format!(
                "PUT /raw HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n"
            ));
            content.each(|block| client.send(block));
        }
        Way::Chunks => {
            client.send("PUT /raw HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
            let mut random = Random(0xfeed_5678_9abc_def1);
            content.each(|mut block| {
                while !block.is_empty() {
                    let size = 1 + random.below(200_000);
                    let (chunk, rest) = block.split_at(size.min(block.len()));
                    client.send(format!("{:x}\r\n", chunk.len()));
                    client.send(chunk);
                    client.send("\r\n");
                    block = rest;
                }
            });
            client.send("0\r\n\r\n");
        }
        #[cfg(feature = "multipart")]
        Way::Form => {
            let (start, end) = around("large");
            client.send(form_head(start.len() as u64 + len + end.len() as u64));
            client.send(start);
            content.each(|block| client.send(block));
            client.send(end);
        }
    }
    let answer = client.answer(Asked::Other);
    (answer.status, answer.text().to_owned())
}

#[cfg(feature = "multipart")]
fn form_head(len: u64) -> String {
    format!(
        "POST /form HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\
         Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
    )
}

/// What stands before and behind the one file of a form.
#[cfg(feature = "multipart")]
fn around(name: &str) -> (String, String) {
    let disposition = format!("Content-Disposition: form-data; name=\"{name}\"; filename=\"f\"");
    (
        format!("--{BOUNDARY}\r\n{disposition}\r\n\r\n"),
        format!("\r\n--{BOUNDARY}--\r\n"),
    )
}

fn sha1_of(path: &Path) -> String {
    let mut file = File::open(path).expect("kept");
    let mut hash = Sha1::new();
    let mut part = vec![0; MIB];
    loop {
        match file.read(&mut part).expect("readable") {
            0 => return hex(&hash.finalize()),
            n => hash.update(&part[..n]),
        }
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("our folder");
    let name = |entry: io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
    entries
        .map(|entry| name(entry).into_string().expect("ASCII"))
        .collect()
}

// ----------------------------------------------------------------------------------- to the disk

/// Memory of the whole process, client included, is less than 20 MiB above what it was before, at
/// any moment.
fn goes_to_disk(way: Way, len: u64) {
    let scratch = Scratch::new();
    let (server, addr) = start(Keep(scratch.root()), workers(1));
    let mut content = Content::new(len);
    let expected = content.sha1();
    let mut client = Client::connect(addr);
    assert_eq!(client.get("/").text(), "here");
    let before = resident();
    let clock = Instant::now();
    let (status, text) = upload(&mut client, way, &mut content);
    let took = clock.elapsed();
    let grown = most_resident().saturating_sub(before);
    assert_eq!(status, 200);
    let names = names(&scratch.root());
    let [name] = &names[..] else {
        panic!("one file: {names:?}");
    };
    // The sink says what it was given, a form where that is.
    let said = if name == "raw" { &expected } else { name };
    assert_eq!(&text, said, "{way:?}");
    assert_eq!(sha1_of(&scratch.path(name)), expected, "{way:?}");
    println!(
        "{way:?}: {} MiB in {took:.1?}, memory grown by {} KiB",
        len >> 20,
        grown >> 10
    );
    assert!(grown < 20 * MIB, "{way:?}: grown by {grown} bytes");
    assert_eq!(client.get("/").text(), "here");
    drop(client);
    server.stop();
    let counters = ended(server).counters;
    assert_eq!((counters.refused, counters.connection_errors), (0, 0));
}

/// Far above what memory may grow by.
const SMALL: u64 = 64 << 20;
const FULL: u64 = 2 << 30;

#[test]
fn a_body_with_a_length() {
    if !alone("uploads_large::a_body_with_a_length") {
        goes_to_disk(Way::Length, SMALL);
    }
}

#[test]
fn a_body_in_chunks() {
    if !alone("uploads_large::a_body_in_chunks") {
        goes_to_disk(Way::Chunks, SMALL);
    }
}

#[cfg(feature = "multipart")]
#[test]
fn a_form_with_a_file() {
    if !alone("uploads_large::a_form_with_a_file") {
        goes_to_disk(Way::Form, SMALL);
    }
}

/// `cargo test --release --all-features -- --ignored --nocapture full_size` says how long it took.
#[test]
#[ignore = "2 GiB on the disk, and minutes without --release"]
fn a_body_with_a_length_of_full_size() {
    if !alone("uploads_large::a_body_with_a_length_of_full_size") {
        goes_to_disk(Way::Length, FULL);
    }
}

#[test]
#[ignore = "2 GiB on the disk, and minutes without --release"]
fn a_body_in_chunks_of_full_size() {
    if !alone("uploads_large::a_body_in_chunks_of_full_size") {
        goes_to_disk(Way::Chunks, FULL);
    }
}

#[cfg(feature = "multipart")]
#[test]
#[ignore = "2 GiB on the disk, and minutes without --release"]
fn a_form_with_a_file_of_full_size() {
    if !alone("uploads_large::a_form_with_a_file_of_full_size") {
        goes_to_disk(Way::Form, FULL);
    }
}

// ------------------------------------------------------------------------- disks that do not take it

/// The device says what a full disk says.
#[test]
fn a_full_disk_is_507() {
    let scratch = Scratch::new();
    let (server, addr) = start(Keep(scratch.root()), workers(1));
    let mut client = Client::connect(addr);
    client.send("PUT /full HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nfive.");
    let answer = client.answer(Asked::Other);
    assert_eq!((answer.status, answer.text()), (507, "the disk is full"));
    assert_eq!(client.get("/").text(), "here");

    // A large one ends the connection. A client that is still sending can read the response.
    let len = 1u64 << 40;
    client.send(format!(
        "PUT /full HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n"
    ));
    client.send(vec![b'x'; 1000]);
    let answer = client.answer(Asked::Other);
    assert_eq!((answer.status, answer.closes()), (507, true));
    client.expect_end();
    drop(client);
    server.stop();
    ended(server);
}

/// A limit of the process makes real writes fail in the middle of a file: 1 MiB is the most.
#[test]
fn no_file_is_left_of_an_upload_that_the_disk_refuses() {
    let limit = "trap '' XFSZ; ulimit -f 2048 || exit 1";
    let test = "uploads_large::no_file_is_left_of_an_upload_that_the_disk_refuses";
    if alone_after(limit, test) {
        return;
    }
    let scratch = Scratch::new();
    let (server, addr) = start(Keep(scratch.root()), workers(1));
    for way in [
        Way::Length,
        Way::Chunks,
        #[cfg(feature = "multipart")]
        Way::Form,
    ] {
        let mut client = Client::connect(addr);
        let (status, _) = upload_until_answered(&mut client, way);
        assert_eq!(status, 507, "{way:?}");
        wait_until("all is removed", || names(&scratch.root()).is_empty());
        // What the disk takes is kept.
        let mut small = Content::new(MIB as u64);
        let expected = small.sha1();
        let (status, _) = upload(&mut Client::connect(addr), way, &mut small);
        assert_eq!(status, 200, "{way:?}");
        let kept = names(&scratch.root());
        let path = scratch.path(&kept[0]);
        assert_eq!((kept.len(), sha1_of(&path)), (1, expected), "{way:?}");
        fs::remove_file(path).expect("ours");
    }
    server.stop();
    ended(server);
}

/// Sends 1.1 MiB of a body that claims to have 2, so that nothing is lost in a reset.
fn upload_until_answered(client: &mut Client, way: Way) -> (u16, String) {
    let block = vec![b'x'; MIB + MIB / 10];
    match way {
        Way::Length => client.send(format!(
            "PUT /raw HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
            2 * MIB
        )),
        Way::Chunks => client.send(format!(
            "PUT /raw HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n",
            2 * MIB
        )),
        #[cfg(feature = "multipart")]
        Way::Form => {
            // One that is complete comes first, and must not stay either.
            let first =
                format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=a; filename=a");
            let start = format!("{first}\r\n\r\nfirst\r\n{}", around("large").0);
            client.send(form_head(2 * MIB as u64));
            client.send(start);
        }
    }
    client.send(block);
    let answer = client.answer(Asked::Other);
    assert!(answer.closes());
    client.expect_end();
    (answer.status, answer.text().to_owned())
}
