//! Runs the tests of the crate `httpwg` (RFC 9113) against a server of peregrine that speaks HTTP/2 alone.
//!
//! ```sh
//! cargo run --release          # the tests
//! cargo run --release -- 8080  # only the server, for other tools such as h2spec
//! ```
//!
//! The crate `httpwg-cli` has a program for it, which does not build with its newest dependencies.

use buffet::IntoHalves;
use buffet::net::TcpStream;
use httpwg::{Config, Conn};
use peregrine::Server;
use peregrine::config::Http2;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::exit;
use std::rc::Rc;
use std::time::Duration;

httpwg_macros::gen_catalog!(catalog);

type Catalog<IO> =
    HashMap<&'static str, HashMap<&'static str, HashMap<&'static str, BoxedTest<IO>>>>;

/// How long a frame may take. A test that expects none waits for as long.
const FRAME: Duration = Duration::from_secs(2);

fn main() {
    let port = std::env::args().nth(1);
    // The tests want a response with 200 and a body to every request.
    let server = Server::from_fn(|_, res| res.text("Hello, World!"))
        .bind(format!("127.0.0.1:{}", port.as_deref().unwrap_or("0")))
        .http2(Http2::Only);
    if port.is_some() {
        server.run().expect("a server");
        return;
    }
    let running = server.start().expect("a server");
    let address = running.local_addr().expect("an address");
    buffet::start(run(address));
}

async fn run(address: SocketAddr) {
    let all: Catalog<TcpStream> = catalog();
    let (mut passed, mut failed) = (0, 0);
    for (section, tests) in all.into_values().flatten() {
        for (name, test) in tests {
            let config = Config {
                timeout: FRAME,
                ..Config::default()
            };
            let stream = TcpStream::connect(address).await.expect("a connection");
            // A panic ends the task alone.
            let task = tokio::task::spawn_local(test(Conn::new(Rc::new(config), stream)));
            let error = match task.await {
                Ok(Ok(())) => {
                    passed += 1;
                    continue;
                }
                Ok(Err(error)) => format!("{error:?}"),
                Err(error) => error.to_string(),
            };
            failed += 1;
            println!("FAILED httpwg: {section}: {name}: {error}");
        }
    }
    println!("httpwg: {passed} of {} tests passed", passed + failed);
    exit(i32::from(failed > 0));
}
