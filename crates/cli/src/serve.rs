//! Puts a server together from the command line, and runs it.

use crate::args::{Common, Log, Respond, Serve};
use crate::banner::Banner;
use crate::color::Colors;
use crate::echo::Echo;
use crate::folder::Folder;
use crate::log::Form;
use peregrine::access_log::{AccessEntry, AccessLog, LogWriter};
use peregrine::compression::Compress;
use peregrine::config::Config;
use peregrine::layers::{BasicAuth, Cors, Layered, is_same_secret};
use peregrine::server::Mode;
use peregrine::{Handler, Server, Tls, from_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};

pub(crate) fn folder(args: Serve) -> io::Result<()> {
    let what = format!("the files of {}", args.folder.display());
    let folder = Folder::new(&args)?;
    let common = args.common;
    match args.no_compress {
        true => run(Server::new(wrapped(folder, &common)?), &common, &what),
        false => {
            let folder = wrapped(Compress::new(folder), &common)?;
            run(Server::new(folder), &common, &what)
        }
    }
}

pub(crate) fn respond(args: Respond) -> io::Result<()> {
    let (status, headers) = (args.status, args.headers);
    let text = args.text + "\n";
    let respond = from_fn(move |_, res| {
        let mut res = res.status(status);
        for (name, value) in &headers {
            res = res.header(name, value);
        }
        res.text(&text)
    });
    let respond = wrapped(respond, &args.common)?;
    run(Server::new(respond), &args.common, "one text")
}

pub(crate) fn echo(args: Common) -> io::Result<()> {
    let echo = wrapped(Echo, &args)?;
    run(Server::new(echo).websocket(), &args, "what it gets")
}

/// Adds authentication, CORS and the log.
fn wrapped<H: Handler>(handler: H, args: &Common) -> io::Result<AccessLog<Layered<H>, Write>> {
    logged(guarded(handler, args), args)
}

fn guarded<H: Handler>(handler: H, args: &Common) -> Layered<H> {
    let mut handler = Layered::new(handler);
    if args.cors {
        // Pages of other origins may read. PUT and DELETE are for the list of this server.
        handler = handler.layer(Cors::new().any_origin().methods(["GET", "HEAD"]));
    }
    match &args.auth {
        Some((name, password)) => handler.layer(BasicAuth::user("peregrine", name, password)),
        None => handler,
    }
}

type Write = Box<dyn Fn(&AccessEntry<'_>, &mut Vec<u8>) + Send + Sync>;

/// The user of a request, if its password is right: it may be refused before it was asked for.
fn user<'a>(auth: Option<&'a (String, String)>, entry: &AccessEntry<'_>) -> Option<&'a str> {
    let (name, password) = auth?;
    let sent = entry.request()?.basic_auth()?;
    let is_right = is_same_secret(sent.1.as_bytes(), password.as_bytes());
    (sent.0 == *name && is_right).then_some(name)
}

fn logged<H: Handler>(handler: H, args: &Common) -> io::Result<AccessLog<H, Write>> {
    let auth = args.auth.clone();
    let (writer, write): (_, Write) = match Form::of(args.log) {
        Some(form) => (
            match form {
                Form::Pretty { color: true } => LogWriter::new(Colors::new(io::stdout()))?,
                _ => LogWriter::new(io::stdout())?,
            },
            Box::new(move |entry, line| form.write(entry, user(auth.as_ref(), entry), line)),
        ),
        None => (LogWriter::new(io::sink())?, Box::new(|_, _| ())),
    };
    Ok(AccessLog::with_format(handler, writer, write))
}

fn run<H, M>(server: Server<H, M>, args: &Common, what: &str) -> io::Result<()>
where
    H: Handler,
    M: Mode<H>,
{
    let mut config = Config::default();
    if let Some(workers) = args.workers {
        config = config.workers(workers);
    }
    if let Some(hosts) = hosts(args) {
        config = config.allowed_hosts(hosts);
    }
    let addr = SocketAddr::new(args.addr, args.port);
    let tls = tls(args)?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let server = server.config(config).stop_on_signals();
    let server = match tls {
        Some(tls) => server.bind_tls(addr, tls),
        None => server.bind(addr),
    };
    let running = server.start()?;
    let addr = running.local_addr().unwrap_or(addr);
    let banner = Banner {
        scheme,
        addr,
        what,
        has_qr: !args.no_qr,
        is_open: args.auth.is_none(),
    };
    // Standard output has nothing but JSON then.
    let is_json = args.log == Log::Json;
    match args.quiet {
        true if is_json => eprintln!("listening on {scheme}://{addr}"),
        true => println!("listening on {scheme}://{addr}"),
        false => banner.print(is_json)?,
    }
    running.wait()?;
    Ok(())
}

/// The hosts that requests may name. A server for this machine only has the names of this machine: a web page could point
/// its own name at the loopback address (DNS rebinding), and would read the responses.
fn hosts(args: &Common) -> Option<Vec<String>> {
    let own = ["localhost", "127.0.0.1", "[::1]"].map(String::from);
    let addr = match args.addr {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    let hosts = own
        .into_iter()
        .chain([addr])
        .chain(args.hosts.iter().cloned());
    (args.addr.is_loopback() || !args.hosts.is_empty()).then(|| hosts.collect())
}

fn tls(args: &Common) -> io::Result<Option<Tls>> {
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(cert), Some(key)) => Some(Tls::from_pem_files(cert, key)),
        _ if args.self_signed => {
            let own = args.addr.to_string();
            Some(Tls::self_signed(&["localhost", "127.0.0.1", "::1", &own]))
        }
        _ => None,
    };
    tls.transpose().map_err(io::Error::other)
}
