//! Looks for the server: at an address, by Sentinels, in a cluster.

use crate::config::{Config, Login, Place};
use crate::handshake::{Opened, ask, hidden, invalid, join, log_in, open};
use crate::link::{Link, first_of, resolve};
use crate::resp::{Value, command};
use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How often a node of a cluster may name another one, for one connection.
const MOVES: usize = 5;

/// What earlier connections have shown.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The node of the cluster that has, or should have, the slot.
    first: Option<String>,
    /// The nodes of the cluster.
    nodes: Vec<String>,
}

impl Known {
    /// Opens a connection, within [`Config::connect_timeout`].
    pub(crate) fn open(&mut self, config: &Config) -> Result<Opened> {
        let end = Instant::now() + config.connect_timeout;
        match &config.place {
            Place::Fixed => {
                let addr = config.addrs.first().map_or("", String::as_str);
                open(config, addr, end)
            }
            Place::Sentinel { name, login } => by_sentinels(config, name, login, end),
            Place::Cluster => self.in_cluster(config, end),
        }
    }

    /// A connection has ended. The error may name another node.
    pub(crate) fn ended(&mut self, error: &Error) {
        if let Some(moved) = moved(error, self.first.as_deref().unwrap_or_default()) {
            self.first = Some(moved);
        }
    }

    fn in_cluster(&mut self, config: &Config, end: Instant) -> Result<Opened> {
        let mut addrs: Vec<String> = Vec::new();
        for addr in self
            .first
            .take()
            .iter()
            .chain(&self.nodes)
            .chain(&config.addrs)
        {
            if !addrs.contains(addr) {
                addrs.push(addr.clone());
            }
        }
        let share = share(config, addrs.len());
        let mut last = None;
        for addr in addrs {
            match follow(config, addr, (Instant::now() + share).min(end)) {
                Ok((addr, mut opened)) => {
                    self.first = Some(addr);
                    self.nodes = std::mem::take(&mut opened.nodes);
                    return Ok(opened);
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(no_address))
    }
}

fn no_address() -> Error {
    Error::new(ErrorKind::NotFound, "there is no address")
}

/// The time for one of so many: one that is silent leaves some to the others.
fn share(config: &Config, count: usize) -> Duration {
    config.connect_timeout / u32::try_from(count.max(1)).unwrap_or(u32::MAX)
}

/// Goes on to the node that has the slot.
fn follow(config: &Config, addr: String, end: Instant) -> Result<(String, Opened)> {
    let mut addr = addr;
    for _ in 0..MOVES {
        match open(config, &addr, end) {
            Ok(opened) => return Ok((addr, opened)),
            Err(error) => addr = moved(&error, &addr).ok_or(error)?,
        }
    }
    Err(invalid("the nodes of the cluster name each other"))
}

/// The address in an error as `MOVED 7 10.0.0.2:6379`. Without a host it is that of the node that says so.
fn moved(error: &Error, of: &str) -> Option<String> {
    let text = error.to_string();
    let (_, addr) = text.strip_prefix("MOVED ")?.split_once(' ')?;
    let (host, port) = addr.rsplit_once(':')?;
    let port = port.parse().ok()?;
    Some(match host {
        "" => {
            let (host, _) = of.rsplit_once(':')?;
            format!("{host}:{port}")
        }
        host => join(host.trim_matches(['[', ']']), port),
    })
}

/// Asks one after the other. One of them may not know yet that the master is another one, so all that they name are tried.
fn by_sentinels(config: &Config, name: &str, login: &Login, end: Instant) -> Result<Opened> {
    let share = share(config, config.addrs.len() + 1);
    let (mut tried, mut last) = (Vec::new(), None);
    for sentinel in &config.addrs {
        let until = (Instant::now() + share).min(end);
        let found = resolve(sentinel).and_then(|targets| {
            first_of(&targets, until, |target, end| {
                master(config, (sentinel, target), name, login, end)
            })
        });
        let opened = match found {
            Ok(addr) if tried.contains(&addr) => continue,
            Ok(addr) => {
                let opened = open(config, &addr, (Instant::now() + share).min(end));
                tried.push(addr);
                opened
            }
            Err(error) => Err(error),
        };
        match opened {
            Ok(opened) => return Ok(opened),
            Err(error) => {
                last = Some(Error::new(
                    error.kind(),
                    format!("by Sentinel {sentinel}: {error}"),
                ))
            }
        }
    }
    Err(last.unwrap_or_else(no_address))
}

/// The address of the master that a Sentinel names.
fn master(
    config: &Config,
    (sentinel, target): (&str, SocketAddr),
    name: &str,
    login: &Login,
    end: Instant,
) -> Result<String> {
    let link = Link::connect(config, sentinel, target, end)?;
    let mut out = Vec::new();
    let logins = log_in(login, &mut out);
    command(
        &[b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", name.as_bytes()],
        &mut out,
    );
    let replies = hidden(ask(&link, &out, logins + 1, end), login)?;
    match replies.last().and_then(Value::as_array) {
        Some([host, port]) => {
            let port = port.as_text().and_then(|port| port.parse().ok());
            let addr = host
                .as_text()
                .zip(port)
                .map(|(host, port)| join(host, port));
            addr.ok_or_else(|| invalid("a Sentinel names no address"))
        }
        _ => Err(Error::new(
            ErrorKind::NotFound,
            format!("no master is called {name}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_names_another_one() {
        let cases = [
            ("MOVED 7 10.0.0.2:6380", Some("10.0.0.2:6380")),
            ("MOVED 7 ::1:6380", Some("[::1]:6380")),
            ("MOVED 7 [::1]:6380", Some("[::1]:6380")),
            ("MOVED 7 :6380", Some("10.0.0.1:6380")),
            ("MOVED 7 node.example:1", Some("node.example:1")),
            ("MOVED 7", None),
            ("MOVED 7 a:b", None),
            ("ASK 7 10.0.0.2:6380", None),
        ];
        for (text, addr) in cases {
            let found = moved(&Error::other(text), "10.0.0.1:6379");
            assert_eq!(found.as_deref(), addr, "{text}");
        }
    }
}
