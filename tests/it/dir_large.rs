//! Files that are sent from the disk: in bounded memory, beside others, and never another's bytes.

#[cfg(target_os = "linux")]
use crate::alone::{alone, resident};
use crate::scratch::{Scratch, THEN, ask, get};
#[cfg(target_os = "linux")]
use crate::support::ended;
use crate::support::{
    Asked, Client, Framing, PATIENCE, Stream, Witness, read_head, start, workers,
};
use peregrine::Handler;
use peregrine::files::{DirConfig, DirServer};
use peregrine::testing::Connection;
use std::fs::{self, File};
use std::io::Read;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

const MIB: usize = 1 << 20;

/// Bytes that show their position.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 251) as u8).collect()
}

/// 50 clients read a few MiB each of a file of 10 GiB and stop; meanwhile and in between another
/// gets small files.
#[cfg(target_os = "linux")]
#[test]
fn a_huge_file_streams_in_little_memory() {
    const HUGE: u64 = 10 << 30;
    const READERS: usize = 50;
    const STEPS: usize = 4;
    if alone("dir_large::a_huge_file_streams_in_little_memory") {
        return;
    }
    let scratch = Scratch::new();
    let file = File::create(scratch.path("huge.bin")).expect("created");
    file.set_len(HUGE).expect("sparse");
    scratch.write("small.txt", "small");
    let server = DirServer::new(scratch.root()).expect("a folder");
    let (running, addr) = start(server, workers(1));
    let mut other = Client::connect(addr);
    let mut part = vec![1; MIB];
    assert_eq!(other.get("/small.txt").text(), "small");
    let before = resident();
    let mut most = before;
    let mut readers: Vec<Client> = (0..READERS)
        .map(|_| {
            let mut client = Client::connect(addr);
            client.send("GET /huge.bin HTTP/1.1\r\nHost: a\r\n\r\n");
            let (answer, len) = client.head();
            assert_eq!((answer.status, len as u64), (200, HUGE));
            client
        })
        .collect();
    for _ in 0..STEPS {
        for reader in &mut readers {
            reader.body(&mut part);
            assert!(part.iter().all(|b| *b == 0));
        }
        // All of them wait with full buffers; this one does not.
        assert_eq!(other.get("/small.txt").text(), "small");
        most = most.max(resident());
    }
    let grown = most - before;
    assert!(grown < 16 * MIB, "grown by {grown} bytes");
    readers.into_iter().for_each(Client::reset);
    assert_eq!(other.get("/small.txt").text(), "small");
    drop(other);
    running.stop();
    ended(running);
}

/// One client reads as fast as it can; the thread is not its own.
#[test]
fn a_fast_reader_does_not_keep_others_waiting() {
    const LARGE: usize = 256 << 20;
    let scratch = Scratch::new();
    let file = File::create(scratch.path("large.bin")).expect("created");
    file.set_len(LARGE as u64).expect("sparse");
    scratch.write("small.txt", "small");
    let server = DirServer::new(scratch.root()).expect("a folder");
    let (_running, addr) = start(server, workers(1));
    let mut fast = Client::connect(addr);
    fast.send("GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n");
    fast.head();
    let (began, begun) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut part = vec![1; MIB];
        for at in 0..LARGE / MIB {
            fast.body(&mut part);
            if at == 1 {
                began.send(()).expect("the test waits");
            }
        }
    });
    begun.recv_timeout(PATIENCE).expect("begun");
    let mut other = Client::connect(addr);
    for _ in 0..20 {
        assert_eq!(other.get("/small.txt").text(), "small");
    }
    reader.join().expect("all of it");
}

/// All sizes around the limits between kept, copied and sent, whole and in parts, over sockets.
#[test]
fn every_byte_arrives_in_its_place() {
    let scratch = Scratch::new();
    let sizes = [
        0,
        1,
        16_383,
        16_384,
        65_535,
        65_536,
        65_537,
        MIB - 1,
        MIB,
        MIB + 1,
        3 * MIB + 17,
    ];
    let bytes = pattern(3 * MIB + 17);
    for size in sizes {
        scratch.write(&format!("{size}.bin"), &bytes[..size]);
    }
    let server = DirServer::new(scratch.root()).expect("a folder");
    let (_running, addr) = start(server, workers(2));
    let mut client = Client::connect(addr);
    for size in sizes {
        let answer = client.get(&format!("/{size}.bin"));
        assert!(answer.body == bytes[..size], "{size}");
        if size > 2 {
            let range = format!("Range: bytes=1-{}\r\n", size - 2);
            client.send(format!(
                "GET /{size}.bin HTTP/1.1\r\nHost: a\r\n{range}\r\n"
            ));
            let answer = client.answer(Asked::Other);
            assert!(answer.body == bytes[1..size - 1], "part of {size}");
        }
    }
    // Several at once, in order.
    let requests: String = sizes
        .iter()
        .map(|size| format!("GET /{size}.bin HTTP/1.1\r\nHost: a\r\n\r\n"))
        .collect();
    client.send(requests);
    for size in sizes {
        let answer = client.answer(Asked::Other);
        assert!(answer.body == bytes[..size], "{size}, pipelined");
    }
}

/// Requests a file with a small receive buffer.
fn ask_for_file(addr: SocketAddr) -> Client {
    let stream = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let stream = stream.expect("a socket");
    stream.set_recv_buffer_size(16 << 10).expect("a buffer");
    stream.connect(&addr.into()).expect("connected");
    let mut client = Client::over_stream(Stream::over(stream.into()));
    client.send("GET /file.bin HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    client
}

/// Asks for a file and reads its beginning; of a large one, much is not sent then.
fn begin(addr: SocketAddr) -> (Client, usize, Vec<u8>) {
    let mut client = ask_for_file(addr);
    let (answer, len) = client.head();
    assert_eq!(answer.status, 200);
    let mut part = vec![0; 100_000];
    client.body(&mut part);
    (client, len, part)
}

/// A file that is replaced while it is sent is sent whole: running responses have the old file, later ones
/// the new one.
#[test]
fn a_replaced_file_is_sent_whole() {
    const LEN: usize = 32 * MIB;
    let scratch = Scratch::new();
    let old = pattern(LEN);
    let new = vec![b'n'; LEN / 2];
    scratch.write("file.bin", &old);
    let config = DirConfig::default().recheck(Duration::ZERO);
    let server = DirServer::with_config(scratch.root(), config).expect("a folder");
    let (_running, addr) = start(server, workers(1));
    let (mut client, len, mut got) = begin(addr);
    scratch.write_at("next.bin", &new, THEN + 1);
    fs::rename(scratch.path("next.bin"), scratch.path("file.bin")).expect("renamed");
    let answer = Client::connect(addr).get("/file.bin");
    assert!(answer.body == new);
    let mut rest = vec![0; len - got.len()];
    client.body(&mut rest);
    got.append(&mut rest);
    assert!(got == old);
}

/// A file that becomes shorter while it is sent: the connection is closed early. The client must see that the
/// body is incomplete, and gets no byte that is not of the file.
#[test]
fn a_file_that_shrinks_aborts_the_connection() {
    const LEN: usize = 32 * MIB;
    const LEFT: usize = 24 * MIB;
    let scratch = Scratch::new();
    let bytes = pattern(LEN);
    scratch.write("file.bin", &bytes);
    let server = Arc::new(DirServer::new(scratch.root()).expect("a folder"));
    let witness = Witness::new(move |req, res| server.handle_request(req, res));
    let (_running, addr) = start(witness.clone(), workers(1));
    let (client, len, mut got) = begin(addr);
    assert_eq!(len, LEN);
    let file = File::options().write(true).open(scratch.path("file.bin"));
    file.expect("opened").set_len(LEFT as u64).expect("shorter");
    // What is there, and then the end.
    let mut stream = client.stream;
    let _ = stream.read_to_end(&mut got);
    assert!(got.len() <= LEFT && got == bytes[..got.len()]);
    let peer = stream.local_addr().expect("an address");
    witness.one_error("write", peer);

    // The same in memory.
    let config = DirConfig::default().recheck(Duration::from_secs(3600));
    let server = DirServer::with_config(scratch.root(), config).expect("a folder");
    assert_eq!(get(&server, "/file.bin").body.len(), LEFT);
    let file = File::options().write(true).open(scratch.path("file.bin"));
    file.expect("opened").set_len(100_000).expect("shorter");
    let mut client = Connection::new(&server);
    client.send(b"GET /file.bin HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.is_closed());
    let (_, head, len) = read_head(client.received(), Asked::Other)
        .expect("correct")
        .expect("complete");
    assert_eq!(len, Framing::Length(LEFT));
    assert!(client.received()[head..] == bytes[..100_000]);
}

/// A file that grows is sent with its announced length.
#[test]
fn a_file_that_grows_is_sent_as_announced() {
    let scratch = Scratch::new();
    scratch.write("file.bin", pattern(200_000));
    let config = DirConfig::default().recheck(Duration::from_secs(3600));
    let server = DirServer::with_config(scratch.root(), config).expect("a folder");
    assert_eq!(get(&server, "/file.bin").body.len(), 200_000);
    scratch.write("file.bin", pattern(300_000));
    let answer = get(&server, "/file.bin");
    assert!(answer.body == pattern(200_000));
    let head = ask(&server, "HEAD", "/file.bin", "");
    assert_eq!(head.get("content-length"), Some("200000"));
}

/// More files than are kept open, from one thread after another: none stays open behind.
#[cfg(target_os = "linux")]
#[test]
fn open_files_are_bounded() {
    let scratch = Scratch::new();
    for i in 0..200 {
        scratch.write(&format!("{i}.bin"), pattern(70_000 + i));
    }
    let config = DirConfig::default().open_files(16);
    let server = DirServer::with_config(scratch.root(), config).expect("a folder");
    let root = scratch.root();
    let open = || {
        let all = fs::read_dir("/proc/self/fd").expect("a list");
        let paths = all.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        paths.filter(|path| path.starts_with(&root)).count()
    };
    for i in 0..200 {
        assert_eq!(get(&server, &format!("/{i}.bin")).body.len(), 70_000 + i);
        assert!(open() <= 17, "{} files and the root", open());
    }
    drop(server);
    assert_eq!(open(), 0);
}

/// Slow readers of large files have the time that the limits give a client that takes something.
#[test]
fn a_client_that_receives_nothing_is_closed() {
    let scratch = Scratch::new();
    let file = File::create(scratch.path("file.bin")).expect("created");
    file.set_len(1 << 30).expect("sparse");
    let server = Arc::new(DirServer::new(scratch.root()).expect("a folder"));
    let witness = Witness::new(move |req, res| server.handle_request(req, res));
    let mut config = workers(1);
    config.limits.write_timeout = Duration::from_millis(1);
    let (_running, addr) = start(witness.clone(), config);
    // It reads nothing at all, because bytes that it would read could be aborted already.
    let client = ask_for_file(addr);
    let peer = client.stream.local_addr().expect("an address");
    witness.one_error("write timeout", peer);
}
