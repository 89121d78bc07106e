//! The first commands of a connection: version, password, role, scripts.

use crate::config::{Config, Login};
use crate::link::{Link, first_of, resolve};
use crate::resp::{Parser, Value, command};
use crate::scripts;
use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::time::Instant;

/// Bytes of a reply to a first command.
const REPLY: usize = 1 << 20;

/// What a server has said of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Server {
    /// The name of its data. It changes when messages may have been lost.
    pub(crate) generation: String,
    /// The names of [`scripts::ALL`].
    pub(crate) scripts: Vec<String>,
}

/// A connection whose first commands are answered.
pub(crate) struct Opened {
    pub(crate) server: Server,
    /// For commands, and if it is the only one, for channels; a second one for channels in version 2 of RESP.
    pub(crate) links: Vec<Link>,
    /// Further nodes of the cluster.
    pub(crate) nodes: Vec<String>,
}

pub(crate) fn invalid(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}

/// Opens a connection to a server at this address.
///
/// # Errors
///
/// An error of the server has its text, as `MOVED 7 10.0.0.2:6379`.
pub(crate) fn open(config: &Config, addr: &str, end: Instant) -> Result<Opened> {
    first_of(&resolve(addr)?, end, |target, end| {
        open_at(config, addr, target, end)
    })
}

/// At one of the addresses of a name.
fn open_at(config: &Config, name: &str, target: SocketAddr, end: Instant) -> Result<Opened> {
    let link = Link::connect(config, name, target, end)?;
    let mut out = Vec::new();
    let mut hello: Vec<&[u8]> = vec![b"HELLO", b"3"];
    if let Some(password) = &config.login.password {
        let username = config.login.username.as_deref().unwrap_or("default");
        hello.extend([b"AUTH", username.as_bytes(), password.as_bytes()]);
    }
    command(&hello, &mut out);
    let count = 1 + first_commands(config, &mut out) + probe(config, &mut out);
    let replies = match ask(&link, &out, count, end) {
        Err(error) if is_without_version_3(&error) => {
            return open_version_2(config, name, target, end);
        }
        replies => hidden(replies, &config.login)?,
    };
    opened(config, vec![link], &replies[1..])
}

/// A server that does not know HELLO, or version 3.
fn is_without_version_3(error: &Error) -> bool {
    let text = error.to_string();
    text.starts_with("NOPROTO") || text.starts_with("ERR unknown command")
}

/// A connection that is subscribed runs no other commands, so there are two.
fn open_version_2(config: &Config, name: &str, target: SocketAddr, end: Instant) -> Result<Opened> {
    // Both lead to the same server.
    let [commands, channels] = [
        Link::connect(config, name, target, end)?,
        Link::connect(config, name, target, end)?,
    ];
    let mut out = Vec::new();
    let logins = log_in(&config.login, &mut out);
    let count = first_commands(config, &mut out);
    let replies = ask(&commands, &out, logins + count, end);
    let replies = hidden(replies, &config.login)?;
    out.clear();
    let count = log_in(&config.login, &mut out) + probe(config, &mut out);
    hidden(ask(&channels, &out, count, end), &config.login)?;
    opened(config, vec![commands, channels], &replies[logins..])
}

/// AUTH, if there is a password. Returns how many replies there are.
pub(crate) fn log_in(login: &Login, out: &mut Vec<u8>) -> usize {
    let Some(password) = &login.password else {
        return 0;
    };
    let mut parts: Vec<&[u8]> = vec![b"AUTH"];
    parts.extend(login.username.as_deref().map(str::as_bytes));
    parts.push(password.as_bytes());
    command(&parts, out);
    1
}

/// Returns how many replies there are.
fn first_commands(config: &Config, out: &mut Vec<u8>) -> usize {
    let generation = format!("{}generation", config.prefix);
    if config.is_cluster() {
        // A node that has not the slot says which one has it. So does a replica.
        command(&[b"EXISTS", generation.as_bytes()], out);
        command(&[b"CLUSTER", b"SLOTS"], out);
    }
    command(&[b"INFO", b"replication"], out);
    let texts = scripts::all(config.is_cluster());
    for text in &texts {
        command(&[b"SCRIPT", b"LOAD", text.as_bytes()], out);
    }
    let is_trusted: &[u8] = match config.trusts_restarts {
        true => b"1",
        false => b"0",
    };
    let new = crate::random();
    let begin = scripts::BEGIN_TEXT.as_bytes();
    command(
        &[
            b"EVAL",
            begin,
            b"1",
            generation.as_bytes(),
            new.as_bytes(),
            is_trusted,
        ],
        out,
    );
    let of_cluster = if config.is_cluster() { 2 } else { 0 };
    of_cluster + 2 + texts.len()
}

/// A user without a right to channels is refused here. Nothing is sent to this one.
fn probe(config: &Config, out: &mut Vec<u8>) -> usize {
    let channel = format!("{}c:", config.prefix);
    let verb: &[u8] = match config.is_cluster() {
        true => b"SSUBSCRIBE",
        false => b"SUBSCRIBE",
    };
    command(&[verb, channel.as_bytes()], out);
    1
}

/// Sends commands, and waits for as many replies. An error among them is one of this function.
pub(crate) fn ask(link: &Link, commands: &[u8], count: usize, end: Instant) -> Result<Vec<Value>> {
    link.write(commands)?;
    let (mut parser, mut replies, mut buf) = (Parser::new(REPLY), Vec::new(), Link::buffer());
    while replies.len() < count {
        let read = link.read_until(end, &mut buf)?;
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
    Ok(replies)
}

/// An error without the password. A server repeats the arguments of a command that it does not know, the beginning of long ones.
pub(crate) fn hidden<T>(result: Result<T>, login: &Login) -> Result<T> {
    result.map_err(|error| {
        let text = error.to_string();
        if text.contains("unknown command") {
            let end = text.find(',').unwrap_or(text.len());
            return Error::new(error.kind(), &text[..end]);
        }
        match &login.password {
            // An address is no password, but may have its letters.
            Some(password) if !password.is_empty() && !text.starts_with("MOVED ") => {
                Error::new(error.kind(), text.replace(&**password, "(secret)"))
            }
            _ => error,
        }
    })
}

/// The replies of [`first_commands`].
fn opened(config: &Config, links: Vec<Link>, replies: &[Value]) -> Result<Opened> {
    let (nodes, replies) = match (config.is_cluster(), replies) {
        (true, [_, slots, rest @ ..]) => (nodes(slots), rest),
        _ => (Vec::new(), replies),
    };
    let (info, replies) = replies
        .split_first()
        .ok_or_else(|| invalid("too few replies"))?;
    let info = info.as_text().ok_or_else(|| invalid("no information"))?;
    let role = info
        .lines()
        .find_map(|line| line.trim().strip_prefix("role:"));
    if role != Some("master") {
        // It refuses to write. After a failover the name leads to another server.
        return Err(invalid("the server is a replica"));
    }
    let texts: Option<Vec<_>> = replies[..scripts::COUNT + 1]
        .iter()
        .map(|reply| reply.as_text().map(str::to_owned))
        .collect();
    let mut scripts = texts.ok_or_else(|| invalid("no script"))?;
    let generation = scripts.pop().unwrap_or_default();
    let server = Server {
        generation,
        scripts,
    };
    Ok(Opened {
        server,
        links,
        nodes,
    })
}

/// The masters of a cluster.
pub(crate) fn nodes(slots: &Value) -> Vec<String> {
    let ranges = slots.as_array().unwrap_or_default().iter();
    let master = |range: &Value| {
        let [_, _, master, ..] = range.as_array()? else {
            return None;
        };
        let [host, port, ..] = master.as_array()? else {
            return None;
        };
        let host = host
            .as_text()
            .filter(|host| !host.is_empty() && *host != "?")?;
        Some(join(host, port.as_u64()?))
    };
    let mut nodes: Vec<_> = ranges.filter_map(master).collect();
    nodes.dedup();
    nodes.truncate(crate::config::ADDRS);
    nodes
}

/// An address as [`Config::new`] takes it.
pub(crate) fn join(host: &str, port: u64) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::process::{Child, Command, Stdio};
    use std::time::Duration;

    /// A redis-server on a free port, which another program may take meanwhile.
    fn server() -> (Child, SocketAddr) {
        loop {
            let free = TcpListener::bind("127.0.0.1:0").expect("a port");
            let addr = free.local_addr().expect("an address");
            drop(free);
            let mut command = Command::new("redis-server");
            let port = addr.port().to_string();
            command.args(["--port", &port, "--bind", "127.0.0.1", "--save", ""]);
            let child = command.stdout(Stdio::null()).spawn();
            let mut child = child.expect("redis-server is installed");
            while child.try_wait().expect("its own process").is_none() {
                let link = Link::connect(
                    &Config::new(""),
                    "",
                    addr,
                    Instant::now() + Duration::from_secs(60),
                );
                if link.is_ok() {
                    return (child, addr);
                }
                std::thread::yield_now();
            }
        }
    }

    /// The system accepts its connections, and no one answers.
    #[test]
    fn a_silent_address_leaves_time_to_the_others_of_its_name() {
        let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
        let silent = silent.local_addr().map(|addr| (silent, addr));
        let (_silent, addr) = silent.expect("an address");
        let (mut child, real) = server();
        let config = Config::new("");
        // A third of it is enough for a handshake on a busy machine.
        let end = || Instant::now() + Duration::from_secs(12);
        let open = |targets: &[SocketAddr]| {
            first_of(targets, end(), |target, end| {
                open_at(&config, "", target, end)
            })
        };
        let opened = [&[addr, real][..], &[addr, addr, real], &[real, addr]].map(open);
        child.kill().expect("its own process");
        child.wait().expect("its own process");
        for opened in opened {
            let opened = opened.map(|opened| opened.server.scripts.len());
            assert_eq!(opened.ok(), Some(scripts::COUNT));
        }
        // What a server says is not hidden behind an address that is silent.
        let mut said = [Error::other("NOAUTH"), ErrorKind::TimedOut.into()].into_iter();
        let attempt = |_, _| Err::<(), _>(said.next().expect("two addresses"));
        let error = first_of(&[real, addr], end(), attempt).expect_err("none succeeds");
        assert_eq!(error.to_string(), "NOAUTH");
    }

    #[test]
    fn nodes_of_a_cluster() {
        let reply: &[u8] = b"*3\r\n\
            *4\r\n:0\r\n:5\r\n*4\r\n$1\r\na\r\n:1\r\n+id\r\n*0\r\n*3\r\n$1\r\nb\r\n:2\r\n+id\r\n\
            *3\r\n:6\r\n:9\r\n*2\r\n$3\r\n::1\r\n:3\r\n\
            *3\r\n:10\r\n:11\r\n*2\r\n_\r\n:4\r\n";
        let mut parser = Parser::new(1000);
        parser.push(reply);
        let reply = parser.next().expect("valid").expect("complete");
        assert_eq!(nodes(&reply), ["a:1", "[::1]:3"]);
        assert_eq!(nodes(&Value::Nil), [""; 0]);
    }
}
