//! Load for a server of HTTP/3 on this machine, and what it costs the server; see benches/README.md.
//!
//! `http3-load PID ADDRESS PATH CONNECTIONS STREAMS REQUESTS`: on each of `CONNECTIONS` connections, `STREAMS`
//! requests are under way at a time, until `REQUESTS` in all are answered. Prints how much CPU time the process `PID`
//! has used for each. `REQUESTS` 0: one request on each connection, then a line with what memory each connection costs.

use quinn::{ClientConfig, Connection, Endpoint, TransportConfig, VarInt};
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Bounds a run.
const AT_MOST: Duration = Duration::from_secs(120);
const LARGEST_RESPONSE: usize = 16 << 20;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [pid, address, path, connections, streams, requests] = &arguments[..] else {
        return Err("arguments: PID ADDRESS PATH CONNECTIONS STREAMS REQUESTS".into());
    };
    let load = Load {
        pid: pid.parse()?,
        address: address.parse()?,
        request: request(address, path),
        connections: connections.parse()?,
        streams: streams.parse()?,
        requests: requests.parse()?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = tokio::task::LocalSet::new();
    runtime.block_on(local.run_until(async { tokio::time::timeout(AT_MOST, load.run()).await? }))
}

struct Load {
    pid: u32,
    address: SocketAddr,
    request: Vec<u8>,
    connections: usize,
    streams: usize,
    requests: usize,
}

impl Load {
    async fn run(&self) -> Result<()> {
        let mut endpoint = Endpoint::client(([127, 0, 0, 1], 0).into())?;
        endpoint.set_default_client_config(client_config()?);
        if self.requests == 0 {
            return self.idle(&endpoint).await;
        }
        let mut connections = Vec::new();
        for _ in 0..self.connections {
            connections.push(self.connect(&endpoint).await?);
        }
        let left = Rc::new(Cell::new(self.requests));
        let (before, began) = (cpu_time(self.pid)?, Instant::now());
        let mut tasks = Vec::new();
        for connection in connections
            .iter()
            .flat_map(|one| std::iter::repeat_n(one, self.streams))
        {
            let (connection, left, request) =
                (connection.clone(), Rc::clone(&left), self.request.clone());
            tasks.push(tokio::task::spawn_local(async move {
                while left.get() > 0 {
                    left.set(left.get() - 1);
                    if let Err(error) = exchange(&connection, &request).await {
                        return Err(error.to_string());
                    }
                }
                Ok(())
            }));
        }
        for task in tasks {
            task.await??;
        }
        let (after, took) = (cpu_time(self.pid)?, began.elapsed());
        let each = |seconds: f64| seconds * 1e6 / self.requests as f64;
        let (user, system) = (each(after.0 - before.0), each(after.1 - before.1));
        let (datagrams, bytes) = connections.iter().fold((0, 0), |(datagrams, bytes), one| {
            let udp = one.stats().udp_rx;
            (datagrams + udp.datagrams, bytes + udp.bytes)
        });
        println!(
            "{} requests in {:.2} s: {:.2} us of CPU each ({user:.2} user, {system:.2} system); {:.3} datagrams of {} bytes each",
            self.requests,
            took.as_secs_f64(),
            user + system,
            datagrams as f64 / self.requests as f64,
            bytes / datagrams.max(1),
        );
        Ok(())
    }

    /// Connections that have been served once.
    async fn idle(&self, endpoint: &Endpoint) -> Result<()> {
        let mut kept = Vec::new();
        // The first ones make what is kept for all.
        for _ in 0..100 {
            kept.push(self.connect(endpoint).await?);
        }
        let before = anonymous(self.pid)?;
        for _ in 0..self.connections {
            kept.push(self.connect(endpoint).await?);
        }
        let each = (anonymous(self.pid)? - before) / self.connections as f64;
        println!(
            "{} idle connections: {each:.0} bytes each",
            self.connections
        );
        Ok(())
    }

    /// A connection on which one request has been answered.
    async fn connect(&self, endpoint: &Endpoint) -> Result<Connection> {
        let connection = endpoint.connect(self.address, "localhost")?.await?;
        let mut control = connection.open_uni().await?;
        // The type of the stream, and SETTINGS without any.
        control.write_all(&[0x00, 0x04, 0x00]).await?;
        // The stream must not end: it lives as long as the connection.
        std::mem::forget(control);
        exchange(&connection, &self.request).await?;
        Ok(connection)
    }
}

async fn exchange(connection: &Connection, request: &[u8]) -> Result<()> {
    let (mut send, mut receive) = connection.open_bi().await?;
    send.write_all(request).await?;
    send.finish()?;
    let response = receive.read_to_end(LARGEST_RESPONSE).await?;
    if is_ok(&response) {
        Ok(())
    } else {
        Err(format!("not 200: {:x?}", &response[..response.len().min(80)]).into())
    }
}

/// HEADERS with `:status: 200` of the static table of QPACK first.
fn is_ok(response: &[u8]) -> bool {
    let [0x01, length, rest @ ..] = response else {
        return false;
    };
    let section = rest
        .get(if *length < 0x40 { 0 } else { 1 }..)
        .unwrap_or_default();
    section.starts_with(&[0, 0, 0xc0 | 25])
}

/// HEADERS with a GET, without dynamic table and Huffman code.
fn request(authority: &str, path: &str) -> Vec<u8> {
    // :method: GET and :scheme: https.
    let mut section = vec![0, 0, 0xc0 | 17, 0xc0 | 23];
    for (name, value) in [(0, authority), (1, path)] {
        section.extend([0x50 | name, value.len() as u8]);
        section.extend(value.as_bytes());
    }
    let mut frame = vec![0x01, 0x40, section.len() as u8];
    frame.extend(section);
    frame
}

fn client_config() -> Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Any(provider)))
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let mut config = ClientConfig::new(Arc::new(
        quinn::crypto::rustls::QuicClientConfig::try_from(tls)?,
    ));
    let mut transport = TransportConfig::default();
    transport.max_idle_timeout(Some(VarInt::from_u32(60_000).into()));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// Takes any certificate: the servers make one for each run.
#[derive(Debug)]
struct Any(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for Any {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> std::result::Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> std::result::Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &rustls::pki_types::CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> std::result::Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Seconds that a process has used, in user mode and in system mode.
fn cpu_time(pid: u32) -> Result<(f64, f64)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name of the program, in parentheses, may have spaces.
    let after = stat.rsplit_once(')').ok_or("no stat")?.1;
    let fields: Vec<&str> = after.split_whitespace().collect();
    // utime and stime, in ticks of 10 ms.
    let seconds = |field: &str| field.parse::<f64>().map(|ticks| ticks / 100.0);
    Ok((seconds(fields[11])?, seconds(fields[12])?))
}

/// Bytes of memory that are a process's own: heap and stacks.
fn anonymous(pid: u32) -> Result<f64> {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = rollup
        .lines()
        .find(|line| line.starts_with("Anonymous:"))
        .ok_or("no Anonymous")?;
    Ok(line
        .split_whitespace()
        .nth(1)
        .ok_or("no number")?
        .parse::<f64>()?
        * 1024.0)
}
