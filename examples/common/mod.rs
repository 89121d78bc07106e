//! Code of all examples: options, and running a server that prints a line at its start and at its end.

use lexopt::prelude::*;
#[cfg(feature = "tls")]
use peregrine::Tls;
use peregrine::config::AcceptThreads;
use peregrine::server::Running;
use peregrine::{Config, Done, Handler, Response, Server};
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::process::exit;
use std::time::Duration;

/// There is none.
#[cfg(not(feature = "tls"))]
enum Tls {}

const OPTIONS: &str = "\
Options:
  --addr IP            Address to listen on (default: 127.0.0.1)
  --port N             Port; 0 takes any free one (default: 8080)
  --workers N          Threads that serve connections (default: one per CPU)
  --accept-threads N   Threads that only accept; 0: the workers do (default: the library's)
  --ws-threads N       Threads for WebSockets, where there are any (default: one per CPU)
  --tls-cert FILE      Serves over TLS with this certificate chain (PEM), and with
  --tls-key FILE       its private key
  --tls-client-ca FILE Requires client certificates of these authorities (PEM)
  --tls-self-signed    Serves over TLS with a certificate that is made for this run
  --help               This text
";

/// The options of every example.
#[derive(Debug)]
pub(crate) struct Args {
    pub(crate) addr: SocketAddr,
    pub(crate) workers: Option<usize>,
    pub(crate) accept_threads: Option<usize>,
    pub(crate) ws_threads: Option<usize>,
    tls_cert: Option<OsString>,
    tls_key: Option<OsString>,
    tls_client_ca: Option<OsString>,
    tls_self_signed: bool,
}

impl Args {
    /// Reads the command line. Ends the program after `--help`, whose text begins with `about`, and with code
    /// 2 after an option that is not valid.
    #[allow(dead_code)] // Not by every example.
    pub(crate) fn parse(about: &str) -> Args {
        Args::parse_with(about, "", |arg| Err(arg.unexpected()))
    }

    /// As `parse`, for an example with its own options: `help` has a line for each, and `own` takes them.
    #[allow(dead_code)]
    pub(crate) fn parse_with(
        about: &str,
        help: &str,
        own: impl FnMut(lexopt::Arg<'_>) -> Result<(), lexopt::Error>,
    ) -> Args {
        let args = Args::read(lexopt::Parser::from_env(), &[], &mut [], own);
        Args::or_exit(args, about, help)
    }

    /// As `parse`, for an example whose own options `names` have values. Returns the options that were given.
    #[allow(dead_code)]
    pub(crate) fn parse_values<const N: usize>(
        about: &str,
        help: &str,
        names: [&str; N],
    ) -> (Args, [Option<OsString>; N]) {
        let mut values = [const { None }; N];
        let parser = lexopt::Parser::from_env();
        let args = Args::read(parser, &names, &mut values, |arg| Err(arg.unexpected()));
        (Args::or_exit(args, about, help), values)
    }

    fn or_exit(args: Result<Option<Args>, lexopt::Error>, about: &str, help: &str) -> Args {
        match args {
            Ok(Some(args)) => args,
            Ok(None) => {
                print!("{about}\n\n{OPTIONS}{help}");
                exit(0);
            }
            Err(error) => {
                eprintln!("{error}; --help lists the options");
                exit(2);
            }
        }
    }

    /// `None` if help is asked for.
    fn read(
        mut parser: lexopt::Parser,
        names: &[&str],
        values: &mut [Option<OsString>],
        mut own: impl FnMut(lexopt::Arg<'_>) -> Result<(), lexopt::Error>,
    ) -> Result<Option<Args>, lexopt::Error> {
        let mut args = Args {
            addr: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 8080),
            workers: None,
            accept_threads: None,
            ws_threads: None,
            tls_cert: None,
            tls_key: None,
            tls_client_ca: None,
            tls_self_signed: false,
        };
        while let Some(option) = parser.next()? {
            match option {
                Long("addr") => args.addr.set_ip(parser.value()?.parse::<IpAddr>()?),
                Long("port") => args.addr.set_port(parser.value()?.parse()?),
                Long("workers") => args.workers = Some(parser.value()?.parse()?),
                Long("accept-threads") => args.accept_threads = Some(parser.value()?.parse()?),
                Long("ws-threads") => args.ws_threads = Some(parser.value()?.parse()?),
                Long("tls-cert") => args.tls_cert = Some(parser.value()?),
                Long("tls-key") => args.tls_key = Some(parser.value()?),
                Long("tls-client-ca") => args.tls_client_ca = Some(parser.value()?),
                Long("tls-self-signed") => args.tls_self_signed = true,
                Long("help") | Short('h') => return Ok(None),
                option => {
                    let place = match &option {
                        Long(option) => names.iter().position(|name| name == option),
                        _ => None,
                    };
                    match place {
                        Some(place) => values[place] = Some(parser.value()?),
                        None => own(option)?,
                    }
                }
            }
        }
        Ok(Some(args))
    }

    /// The default settings of the library, changed by the command line.
    pub(crate) fn config(&self) -> Config {
        let mut config = Config::default();
        config.workers = self.workers.unwrap_or(config.workers);
        config.accept_threads = match self.accept_threads {
            None => AcceptThreads::Auto,
            Some(0) => AcceptThreads::Workers,
            Some(n) => AcceptThreads::Dedicated(n),
        };
        #[cfg(feature = "websocket")]
        if let Some(n) = self.ws_threads {
            config.ws_threads = n;
        }
        config
    }
}

impl Args {
    /// Binds the address, with TLS if that is asked for. Ends the program with code 1 if it cannot be had.
    pub(crate) fn bind<H, M>(&self, server: Server<H, M>) -> Server<H, M> {
        let Some(tls) = self.tls() else {
            return server.bind(self.addr);
        };
        #[cfg(not(feature = "tls"))]
        match tls {}
        #[cfg(feature = "tls")]
        server.bind_tls(self.addr, tls)
    }

    /// As `bind`, for a socket that another program has bound.
    #[allow(dead_code)]
    pub(crate) fn listen<H, M>(&self, server: Server<H, M>, on: TcpListener) -> Server<H, M> {
        let Some(tls) = self.tls() else {
            return server.listener(on);
        };
        #[cfg(not(feature = "tls"))]
        match tls {}
        #[cfg(feature = "tls")]
        server.listener_tls(on, tls)
    }

    /// `None` if TLS is not asked for.
    fn tls(&self) -> Option<Tls> {
        let is_asked_for =
            self.tls_self_signed || self.tls_cert.is_some() || self.tls_key.is_some();
        is_asked_for.then(|| self.certified().unwrap_or_else(|error| fail(&error)))
    }

    #[cfg(not(feature = "tls"))]
    #[allow(clippy::unused_self, reason = "another build has a use for it")]
    fn certified(&self) -> Result<Tls, String> {
        Err("TLS needs the feature `tls`: cargo run --features tls".to_owned())
    }

    #[cfg(feature = "tls")]
    fn certified(&self) -> Result<Tls, String> {
        let tls = self.certificate()?;
        let Some(file) = &self.tls_client_ca else {
            return Ok(tls);
        };
        let authorities =
            std::fs::read(file).map_err(|error| format!("{}: {error}", file.to_string_lossy()))?;
        let tls = tls.require_client_certificates(&authorities);
        tls.map_err(|error| error.to_string())
    }

    #[cfg(feature = "tls")]
    fn certificate(&self) -> Result<Tls, String> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(cert), Some(key)) => {
                Tls::from_pem_files(cert, key).map_err(|error| error.to_string())
            }
            (None, None) => self.self_signed(),
            _ => Err("--tls-cert and --tls-key go together".to_owned()),
        }
    }

    #[cfg(feature = "tls-self-signed")]
    fn self_signed(&self) -> Result<Tls, String> {
        let own = self.addr.ip().to_string();
        let names = ["localhost", "127.0.0.1", "::1", &own];
        Tls::self_signed(&names).map_err(|error| error.to_string())
    }

    #[cfg(all(feature = "tls", not(feature = "tls-self-signed")))]
    #[allow(clippy::unused_self, reason = "another build has a use for it")]
    fn self_signed(&self) -> Result<Tls, String> {
        Err("--tls-self-signed needs the feature `tls-self-signed`".to_owned())
    }
}

impl Args {
    /// As `config`, for servers that pages from other sites must not reach: at a loopback address they accept
    /// only host names of this machine (DNS rebinding).
    #[allow(dead_code)]
    pub(crate) fn private_config(&self) -> Config {
        let names = ["localhost", "127.0.0.1", "[::1]"].map(String::from);
        let own = match self.addr.ip() {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        match self.addr.ip().is_loopback() {
            true => self.config().allowed_hosts(names.into_iter().chain([own])),
            false => self.config(),
        }
    }
}

/// Asks a server for `path`. An error unless it responds with a status of 200 to 299, within five seconds for each
/// step.
#[allow(dead_code)]
pub(crate) fn check(mut addr: SocketAddr, path: &str) -> io::Result<()> {
    const LIMIT: Duration = Duration::from_secs(5);
    // The address of a server that listens on all of them.
    if addr.ip().is_unspecified() {
        addr.set_ip(match addr {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    let mut server = TcpStream::connect_timeout(&addr, LIMIT)?;
    server.set_read_timeout(Some(LIMIT))?;
    server.set_write_timeout(Some(LIMIT))?;
    write!(
        server,
        "GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n"
    )?;
    let mut line = [0; "HTTP/1.1 2".len()];
    server.read_exact(&mut line)?;
    match &line {
        b"HTTP/1.1 2" => Ok(()),
        _ => Err(io::Error::other(format!("{path} is not well"))),
    }
}

/// Responds to a request with a method that the resource does not support (RFC 9110 section 15.5.6).
#[allow(dead_code)]
pub(crate) fn not_allowed(res: Response<'_>, allowed: &str) -> Done {
    let res = res.status(405).header("Allow", allowed);
    res.text(format!("only {allowed}\n"))
}

/// SIGINT and SIGTERM stop the server.
#[allow(dead_code)]
pub(crate) fn until_signal<H, M>(server: Server<H, M>) -> Server<H, M> {
    #[cfg(feature = "signals")]
    let server = server.stop_on_signals();
    server
}

/// Runs a server with these options until a signal stops it.
#[allow(dead_code, reason = "a server with WebSockets is of another type")]
pub(crate) fn run<H: Handler>(server: Server<H>, args: &Args) -> io::Result<()> {
    let server = args.bind(server.config(args.config()));
    wait(until_signal(server).start())
}

/// Waits until the server has stopped. Prints a line for each address at the start, and one line at the
/// end.
pub(crate) fn wait(started: io::Result<Running>) -> io::Result<()> {
    let running = started.unwrap_or_else(|error| fail(&error.to_string()));
    let mut out = io::stdout();
    for addr in running.local_addrs() {
        writeln!(out, "listening on {addr}")?;
    }
    out.flush()?;
    let stopped = running.wait()?;
    let (drained, aborted) = (stopped.drained, stopped.aborted);
    writeln!(
        out,
        "stopped: {drained} connections drained, {aborted} aborted"
    )?;
    out.flush()
}

fn fail(error: &str) -> ! {
    eprintln!("{error}");
    exit(1)
}
