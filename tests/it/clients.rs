//! Clients that share no code with the library or with these tests.

use super::support::{ended, limits, start, workers};
use peregrine::server::Running;
use peregrine::{Done, Request, Response, from_fn};
use std::net::SocketAddr;
use std::process::Command;
use ureq::{Agent, Body, SendBody, http};

const MIB: usize = 1 << 20;

/// Says which method, version and client it was, and gives the body back.
fn app(req: &Request<'_>, res: Response<'_>) -> Done {
    let peer = req.peer_addr().map_or(0, |peer| peer.port());
    let coding = req.header("transfer-encoding").unwrap_or("none");
    let res = res.header("Peer", peer.to_string());
    let res = res
        .header("Coding", coding)
        .header("Version", req.version().to_string());
    match (req.method(), req.path()) {
        ("GET" | "HEAD", "/") => res.text("Hello, World!"),
        ("POST" | "PUT", "/echo") => res.body(req.body()),
        _ => res.status(404).text("nothing here"),
    }
}

fn server() -> (Running, SocketAddr) {
    let limits = limits().body_bytes(MIB);
    let config = workers(2).limits(limits);
    start(from_fn(app), config)
}

/// Bytes of all values.
fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|i| (i * 7 + i / 256) as u8).collect()
}

// --------------------------------------------------------------------------------- ureq

fn field<'a>(answer: &'a http::Response<Body>, name: &str) -> &'a str {
    let value = answer.headers().get(name).expect("the field");
    value.to_str().expect("text")
}

#[test]
fn ureq_gets_and_posts_over_one_connection() {
    let (server, addr) = server();
    let agent: Agent = Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .into();
    let root = format!("http://{addr}/");
    let echo = format!("http://{addr}/echo");
    let mut peers = Vec::new();
    for _ in 0..3 {
        let mut answer = agent.get(&root).call().expect("GET");
        peers.push(field(&answer, "peer").to_owned());
        assert_eq!(field(&answer, "content-type"), "text/plain; charset=utf-8");
        let body = answer.body_mut().read_to_string().expect("a body");
        assert_eq!(body, "Hello, World!");

        let answer = agent.head(&root).call().expect("HEAD");
        assert_eq!(
            (answer.status().as_u16(), field(&answer, "content-length")),
            (200, "13")
        );
        peers.push(field(&answer, "peer").to_owned());
        drop(answer);

        let missing = format!("{root}missing");
        let mut answer = agent.get(missing).call().expect("an answer");
        assert_eq!(answer.status().as_u16(), 404);
        peers.push(field(&answer, "peer").to_owned());
        assert_eq!(
            answer.body_mut().read_to_string().expect("a body"),
            "nothing here"
        );

        for size in [0, 1, 1000, MIB] {
            let sent = bytes(size);
            let mut answer = agent.post(&echo).send(&sent).expect("POST");
            assert_eq!(field(&answer, "coding"), "none");
            peers.push(field(&answer, "peer").to_owned());
            let body = answer.body_mut().read_to_vec().expect("a body");
            assert!(body == sent, "{size} bytes come back");

            let mut reader = &sent[..];
            let body = SendBody::from_reader(&mut reader);
            let mut answer = agent.put(&echo).send(body).expect("a chunked PUT");
            assert_eq!(field(&answer, "coding"), "chunked");
            peers.push(field(&answer, "peer").to_owned());
            let body = answer.body_mut().read_to_vec().expect("a body");
            assert!(body == sent, "{size} bytes come back from chunks");
        }
    }
    assert!(peers.iter().all(|peer| *peer == peers[0]), "{peers:?}");
    drop(agent);
    server.stop();
    let counters = ended(server).counters;
    assert_eq!((counters.accepted, counters.requests), (1, 33));
    assert_eq!((counters.refused, counters.connection_errors), (0, 0));
}

/// The refusal is read although the body was being sent when it came.
#[test]
fn ureq_reads_why_its_body_is_too_large() {
    let (server, addr) = server();
    let agent: Agent = Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .into();
    for _ in 0..3 {
        // Little more than the limit, so that what is left is read and thrown away.
        let sent = bytes(MIB + 1000);
        let chunked = SendBody::from_owned_reader(std::io::Cursor::new(sent));
        let echo = format!("http://{addr}/echo");
        let mut answer = agent.post(echo).send(chunked).expect("an answer");
        assert_eq!(answer.status().as_u16(), 413);
        let text = answer.body_mut().read_to_string().expect("a body");
        assert_eq!(text, "request body too large\n");
    }
    assert_eq!(server.counters().refused, 3);
}

// --------------------------------------------------------------------------------- curl

/// What curl prints; `None` if there is no curl.
pub(crate) fn curl(options: &[&str], url: &str) -> Option<Vec<u8>> {
    let mut command = Command::new("curl");
    command.args([
        "--silent",
        "--show-error",
        "--max-time",
        "120",
        "--noproxy",
        "*",
    ]);
    let output = match command.args(options).arg(url).output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("skipped: curl is not installed");
            return None;
        }
        Err(error) => panic!("curl does not start: {error}"),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{options:?}: {said}");
    Some(output.stdout)
}

/// The head that curl has printed, in lower case, and the body.
fn split(printed: &[u8]) -> (String, &[u8]) {
    let end = printed.windows(4).position(|four| four == b"\r\n\r\n");
    let (head, body) = printed.split_at(end.expect("a head") + 4);
    (String::from_utf8_lossy(head).to_ascii_lowercase(), body)
}

#[test]
fn curl_gets_with_both_versions_and_head() {
    let (server, addr) = server();
    let url = format!("http://{addr}/");
    for (version, spoken, connection) in [
        (
            "--http1.0",
            "version: http/1.0",
            "\r\nconnection: close\r\n",
        ),
        ("--http1.1", "version: http/1.1", "\r\n"),
    ] {
        let Some(printed) = curl(&[version, "--include"], &url) else {
            return;
        };
        let (head, body) = split(&printed);
        assert!(head.starts_with("http/1.1 200 ok\r\n"), "{head}");
        assert!(head.contains(spoken) && head.contains(connection), "{head}");
        assert_eq!(body, b"Hello, World!");
    }
    let Some(printed) = curl(&["--head"], &url) else {
        return;
    };
    let (head, body) = split(&printed);
    assert!(head.contains("\r\ncontent-length: 13\r\n"), "{head}");
    assert_eq!(body, b"");
    // Two of them in one call use one connection.
    let printed = curl(&["--write-out", " %{num_connects} ", &url], &url);
    let printed = String::from_utf8(printed.unwrap_or_default()).expect("text");
    assert_eq!(printed, "Hello, World! 1 Hello, World! 0 ");
    assert_eq!(server.counters().accepted, 4);
}

#[test]
fn curl_uploads_in_chunks_and_after_100() {
    let (server, addr) = server();
    let url = format!("http://{addr}/echo");
    let file = std::env::temp_dir().join(format!("peregrine-{}-upload", std::process::id()));
    let sent = bytes(300_000);
    std::fs::write(&file, &sent).expect("a file to send");
    let data = format!("@{}", file.display());
    let upload = ["--data-binary", &data, "--dump-header", "-"];
    let ways = [
        (&["--header", "Expect:"][..], "coding: none"),
        (
            &[
                "--header",
                "Expect:",
                "--header",
                "Transfer-Encoding: chunked",
            ],
            "coding: chunked",
        ),
        // It would send the body after this many seconds without a 100, too late for us.
        (
            &[
                "--header",
                "Expect: 100-continue",
                "--expect100-timeout",
                "1000",
            ],
            "coding: none",
        ),
    ];
    for (options, coding) in ways {
        let Some(printed) = curl(&[&upload[..], options].concat(), &url) else {
            break;
        };
        let (mut head, mut body) = split(&printed);
        if options[1].starts_with("Expect: ") {
            assert_eq!(head, "http/1.1 100 continue\r\n\r\n");
            (head, body) = split(body);
        }
        assert!(head.starts_with("http/1.1 200 ok\r\n"), "{head}");
        assert!(head.contains(coding), "{head}");
        assert!(body == sent, "{options:?}: {} bytes came back", body.len());
    }
    std::fs::remove_file(&file).expect("our file");
    assert_eq!(server.counters().refused, 0);
}
