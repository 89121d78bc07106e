//! The first commands of a connection: version, password, role, scripts.

use crate::config::Config;
use crate::resp::{Parser, Value, command};
use crate::scripts;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// What a server has said of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Server {
    /// The process, or `-` if its restarts lose nothing.
    pub(crate) run_id: String,
    /// The names of [`scripts::ALL`].
    pub(crate) scripts: Vec<String>,
}

fn invalid(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}

/// Connects, within [`Config::connect_timeout`].
pub(crate) fn handshake(config: &Config) -> Result<(TcpStream, Server)> {
    let end = Instant::now() + config.connect_timeout;
    let left = || {
        let left = end.saturating_duration_since(Instant::now());
        left.max(Duration::from_millis(1))
    };
    let mut result = Err(Error::new(ErrorKind::NotFound, "the name has no address"));
    for addr in config.addr.to_socket_addrs()? {
        result = TcpStream::connect_timeout(&addr, left());
        if result.is_ok() {
            break;
        }
    }
    let mut stream = result?;
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(2 * config.ping_interval))?;
    let (out, count) = commands(config);
    stream.write_all(&out)?;
    let mut parser = Parser::new(1 << 20);
    let (mut replies, mut buf) = (Vec::new(), [0; 4096]);
    while replies.len() < count {
        if Instant::now() >= end {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left()))?;
        let read = stream.read(&mut buf)?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        parser.push(&buf[..read]);
        while let Some(reply) = parser.next().map_err(|_| invalid("not a Redis server"))? {
            if let Value::Error(error) = reply {
                return Err(Error::other(error));
            }
            replies.push(reply);
        }
    }
    stream.set_read_timeout(None)?;
    Ok((stream, server(config, &replies)?))
}

/// The commands, and how many replies they have.
fn commands(config: &Config) -> (Vec<u8>, usize) {
    let mut out = Vec::new();
    let mut hello: Vec<&[u8]> = vec![b"HELLO", b"3"];
    if let Some(password) = &config.password {
        let username = config.username.as_deref().unwrap_or("default");
        hello.extend([b"AUTH", username.as_bytes(), password.as_bytes()]);
    }
    command(&hello, &mut out);
    command(&[b"INFO", b"server"], &mut out);
    for script in scripts::ALL {
        command(&[b"SCRIPT", b"LOAD", script.as_bytes()], &mut out);
    }
    // A user without a right to channels is refused here. Nothing is sent to this one.
    let probe = format!("{}c:", config.prefix);
    command(&[b"SUBSCRIBE", probe.as_bytes()], &mut out);
    (out, 3 + scripts::ALL.len())
}

fn server(config: &Config, replies: &[Value]) -> Result<Server> {
    let (hello, info, scripts) = match replies {
        [hello, info, scripts @ .., _subscribed] => (hello, info, scripts),
        _ => return Err(invalid("too few replies")),
    };
    let hello = hello.as_array().unwrap_or_default().chunks(2);
    for pair in hello {
        // A replica refuses to write. After a failover the name leads to another server.
        if pair[0].as_bytes() == Some(b"role")
            && pair.last().and_then(Value::as_bytes) == Some(b"replica")
        {
            return Err(invalid("the server is a replica"));
        }
    }
    let info = info.as_text().ok_or_else(|| invalid("no information"))?;
    let run_id = info
        .lines()
        .find_map(|line| line.trim().strip_prefix("run_id:"));
    let scripts = scripts
        .iter()
        .map(|reply| reply.as_text().map(str::to_owned));
    let run_id = run_id.ok_or_else(|| invalid("no run_id"))?;
    Ok(Server {
        run_id: match config.trusts_restarts {
            true => "-".to_owned(),
            false => run_id.to_owned(),
        },
        scripts: scripts
            .collect::<Option<_>>()
            .ok_or_else(|| invalid("no script"))?,
    })
}
