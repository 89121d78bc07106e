//! The entry of peregrine for HttpArena: every profile that the library can serve, with its default settings.
//!
//! Ports: 8080 HTTP/1, 8081 HTTP/1 over TLS, 8082 HTTP/2 without TLS, 8443 HTTP/2 and HTTP/1 over TLS. The environment
//! moves them and the folders, for tests: `PORT`, `H1TLS_PORT`, `H2C_PORT`, `H2_PORT`, `DATA`, `CERTS`.

use peregrine::body::{BodySink, Flow, Incoming};
use peregrine::compression::Compress;
use peregrine::config::Http2;
use peregrine::error::{BoxError, Status};
use peregrine::files::{DirConfig, DirServer};
use peregrine::router::Route;
use peregrine::server::Running;
use peregrine::ws::{Message, Upgrade, WebSocketHandler, WebSockets, Ws};
use peregrine::{BodyPlan, Config, Done, Handler, Request, Response, Router, Server, Tls};
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs};

/// The largest upload.
const UPLOAD: u64 = 64 << 20;

/// The body of a request to `/echo` is at most 100 KB.
const ECHO: usize = 100_000;

/// A row of the data set.
#[derive(Deserialize)]
struct Item {
    id: u64,
    name: String,
    category: String,
    price: i64,
    quantity: i64,
    active: bool,
    tags: Vec<String>,
    rating: Rating,
}

#[derive(Deserialize, Serialize)]
struct Rating {
    score: i64,
    count: i64,
}

/// The same with its total.
#[derive(Serialize)]
struct Priced<'a> {
    id: u64,
    name: &'a str,
    category: &'a str,
    price: i64,
    quantity: i64,
    active: bool,
    tags: &'a [String],
    rating: &'a Rating,
    total: i64,
}

#[derive(Serialize)]
struct Page<'a> {
    items: Vec<Priced<'a>>,
    count: usize,
}

fn number(req: &Request<'_>, name: &str) -> Result<i64, BoxError> {
    Ok(req.query(name).ok_or(Status(400))?.parse()?)
}

/// The sum of two parameters and of the body.
fn baseline(req: &Request<'_>, res: Response<'_>) -> Result<Done, BoxError> {
    let body = match req.body() {
        [] => 0,
        body => std::str::from_utf8(body)?.trim().parse::<i64>()?,
    };
    let sum = number(req, "a")?.checked_add(number(req, "b")?);
    let sum = sum.and_then(|sum| sum.checked_add(body));
    Ok(res.text(sum.ok_or(Status(400))?.to_string()))
}

/// The number, after as many milliseconds.
fn delay(req: &Request<'_>, res: Response<'_>) -> Result<Done, BoxError> {
    let ms: u64 = req.param("ms")?;
    let timers = res.timers();
    let (done, responder) = res.defer();
    timers.after(Duration::from_millis(ms), move || {
        // The client may have left.
        let _ = responder.send(|res| res.text(ms.to_string()));
    })?;
    Ok(done)
}

fn json(items: &[Item], req: &Request<'_>, res: Response<'_>) -> Result<Done, BoxError> {
    let count: usize = req.param("count")?;
    let by = match req.query("m") {
        Some(by) => by.parse()?,
        None => 1,
    };
    let priced = |item: &'_ Item| item.price.checked_mul(item.quantity)?.checked_mul(by);
    let mut page = Page {
        items: Vec::with_capacity(count.min(items.len())),
        count: 0,
    };
    for item in items.iter().take(count) {
        page.items.push(Priced {
            id: item.id,
            name: &item.name,
            category: &item.category,
            price: item.price,
            quantity: item.quantity,
            active: item.active,
            tags: &item.tags,
            rating: &item.rating,
            total: priced(item).ok_or(Status(400))?,
        });
    }
    page.count = page.items.len();
    Ok(res.json(&page))
}

/// Counts the bytes of an upload, and keeps none.
struct Count(u64);

impl BodySink for Count {
    fn piece(&mut self, piece: &[u8], _: &mut Incoming<'_>) -> Flow {
        self.0 += piece.len() as u64;
        Flow::Continue
    }

    fn finish(self: Box<Self>, _: &Request<'_>, res: Response<'_>) -> Done {
        res.text(self.0.to_string())
    }
}

fn router(items: Arc<[Item]>, files: Option<DirServer>) -> Router {
    let router = Router::new()
        .get("/baseline11", baseline)
        .post("/baseline11", baseline)
        .get("/baseline2", baseline)
        .get("/pipeline", |_, res| res.text("ok"))
        .get("/delay/{ms}", delay)
        .get("/json/{count}", move |req, res| json(&items, req, res))
        .route(
            Route::post("/echo", |req, res| {
                res.header("Content-Type", "application/octet-stream")
                    .body(req.body())
            })
            .body_limit(ECHO),
        )
        .route(
            Route::post("/upload", |_, res| res.status(500).text("the plan counts"))
                .body_plan(|_| BodyPlan::stream_up_to(Count(0), UPLOAD)),
        );
    match files {
        Some(files) => router.mount("/static", files),
        None => router,
    }
}

/// The routes, and WebSockets that send everything back.
struct App(Compress<Router>);

impl Handler for App {
    fn body_plan(&self, req: &Request<'_>) -> BodyPlan {
        self.0.body_plan(req)
    }

    fn handle_request(&self, req: &Request<'_>, res: Response<'_>) -> Done {
        self.0.handle_request(req, res)
    }
}

impl WebSocketHandler for App {
    type Conn = ();

    fn accept_ws(&self, req: &Request<'_>, _: &mut Upgrade<'_>) -> Option<()> {
        (req.path() == "/ws").then_some(())
    }

    fn handle_ws_frame(&self, ws: &mut Ws<'_, ()>, message: Message<'_>) {
        ws.send(message);
    }
}

fn port(name: &str, default: u16) -> Result<SocketAddr, BoxError> {
    let port = match env::var(name) {
        Ok(port) => port.parse()?,
        Err(_) => default,
    };
    Ok((Ipv4Addr::UNSPECIFIED, port).into())
}

fn folder(name: &str, default: &str) -> PathBuf {
    env::var_os(name).map_or_else(|| default.into(), PathBuf::from)
}

/// A server of one port.
fn server(data: &Path, http2: Http2) -> Result<Server<App, WebSockets>, BoxError> {
    let items: Arc<[Item]> = match fs::read(data.join("dataset.json")) {
        Ok(text) => serde_json::from_slice::<Vec<Item>>(&text)?.into(),
        Err(_) => Arc::new([]),
    };
    let config = DirConfig::default().precompressed(true);
    let files = DirServer::with_config(data.join("static"), config).ok();
    let config = Config::default().http2(http2);
    let app = App(Compress::new(router(items, files)));
    Ok(Server::new(app).config(config).websocket())
}

fn main() -> Result<(), BoxError> {
    let (data, certs) = (folder("DATA", "/data"), folder("CERTS", "/certs"));
    let mut all: Vec<Running> = vec![
        server(&data, Http2::Off)?
            .bind(port("PORT", 8080)?)
            .stop_on_signals()
            .start()?,
        server(&data, Http2::Only)?
            .bind(port("H2C_PORT", 8082)?)
            .stop_on_signals()
            .start()?,
    ];
    let pair = (certs.join("server.crt"), certs.join("server.key"));
    if pair.0.exists() {
        for (name, default, http2) in [
            ("H1TLS_PORT", 8081, Http2::Off),
            ("H2_PORT", 8443, Http2::On),
        ] {
            let tls = Tls::from_pem_files(&pair.0, &pair.1)?;
            let server = server(&data, http2)?.bind_tls(port(name, default)?, tls);
            all.push(server.stop_on_signals().start()?);
        }
    }
    for running in &all {
        println!("listening on {}", running.local_addrs()[0]);
    }
    for running in all {
        running.wait()?;
    }
    Ok(())
}
