//! Behind a proxy: the address, scheme and host that the client has used.
//!
//! A proxy opens its own connection to this server. So [`Request::peer_addr`](crate::Request::peer_addr) is the address
//! of the proxy. [`Request::client_addr`](crate::Request::client_addr), [`Request::scheme`](crate::Request::scheme) and
//! [`Request::host`](crate::Request::host) are what the client has used, if two settings say that the proxy is believed:
//!
//! - [`Config::trusted_proxies`](crate::Config::trusted_proxies): the networks of the proxies. The default is the
//!   loopback.
//! - [`Config::forwarded`](crate::Config::forwarded): the fields that they write. The default is none.
//!
//! ```
//! use peregrine::config::{ForwardedFields, IpNetwork};
//! use peregrine::{Config, Server};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut config = Config::default().forwarded(ForwardedFields::X { proto: true, host: false });
//! config.trusted_proxies = vec!["10.1.0.0/16".parse::<IpNetwork>()?];
//! let server = Server::from_fn(|req, res| match req.scheme() {
//!     "https" => res.text(format!("hello, {:?}", req.client_addr())),
//!     _ => res.status(403).text("https only"),
//! });
//! # drop(server.config(config).bind("127.0.0.1:0").start()?);
//! # Ok(())
//! # }
//! ```
//!
//! # What the proxy has to do
//!
//! | proxy | its settings | setting here |
//! |---|---|---|
//! | nginx | `proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;` and `proxy_set_header X-Forwarded-Proto $scheme;` | `X { proto: true, host: false }` |
//! | HAProxy | `option forwardfor` and `http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]` | `X { proto: true, host: false }` |
//! | HAProxy, from 2.8 | `option forwarded proto host for` after `http-request del-header forwarded` | `Forwarded` |
//! | Caddy | nothing | `X { proto: true, host: true }` |
//!
//! **Set only what each of your proxies writes.** A proxy passes other fields on as a client has sent them. If it adds
//! `X-Forwarded-For` only, a client could choose its scheme by `X-Forwarded-Proto`. So no setting reads all fields.
//!
//! **Put nothing into `Forwarded` that a client chooses, unless the proxy quotes it.** nginx has no function that does: with
//! `host="$http_host"` in its configuration, a client whose `Host` has a quote writes an element of its own. Use
//! `X-Forwarded-For` and `proxy_set_header Host $http_host` there. `$host` has no port: behind a proxy on another port than
//! 80 and 443, the checks of origins then refuse WebSockets and forms of the own pages with 403.
//!
//! Without `proxy_set_header Host` nginx sends the address in `proxy_pass`, such as `Host: 127.0.0.1:8080`.
//!
//! # Balancers in TCP mode: the PROXY protocol
//!
//! A balancer that knows no HTTP, or passes TLS through, cannot add a field. It sends a PROXY header at the beginning of
//! each connection instead. [`Server::proxy_protocol`](crate::Server::proxy_protocol) expects it on one address, from
//! [`Config::trusted_proxies`](crate::Config::trusted_proxies) only, and within
//! [`Config::proxy_header_timeout`](crate::Config::proxy_header_timeout) (3 s). Connections without a header are closed
//! there. So give balancers an address of their own. Of several addresses it is the one before the call:
//! `.bind("0.0.0.0:8080").bind("10.0.0.5:8081").proxy_protocol()` expects it on port 8081.
//!
//! ```
//! use peregrine::{Config, Server};
//!
//! # fn main() -> std::io::Result<()> {
//! let server = Server::from_fn(|req, res| {
//!     let header = req.proxy_header();
//!     let name = header.and_then(|header| header.authority()).unwrap_or("unknown");
//!     res.text(format!("{:?} has asked for {name}", req.client_addr()))
//! });
//! let server = server.bind("127.0.0.1:0").proxy_protocol().start()?;
//! # use std::io::{Read, Write};
//! # let mut client = std::net::TcpStream::connect(server.local_addr().expect("an address"))?;
//! # client.write_all(b"PROXY TCP4 192.0.2.1 192.0.2.9 56324 443\r\nGET / HTTP/1.0\r\n\r\n")?;
//! # let mut response = String::new();
//! # client.read_to_string(&mut response)?;
//! # assert!(response.ends_with("Some(192.0.2.1:56324) has asked for unknown"), "{response}");
//! # Ok(())
//! # }
//! ```
//!
//! | balancer | setting |
//! |---|---|
//! | HAProxy | `server app 10.0.0.5:8080 send-proxy-v2`, or `send-proxy` for version 1; its checks send the header, too |
//! | nginx, module `stream` (Debian: `libnginx-mod-stream`) | `proxy_protocol on;` |
//! | AWS, network load balancer | the attributes `proxy_protocol_v2.enabled` = true and `preserve_client_ip.enabled` = false of the target group |
//!
//! If the balancer keeps the address of the client for the connection itself, as that of AWS does by default for instances, the
//! connection does not come from a trusted proxy and is closed, with a warning in the log. Do not trust `0.0.0.0/0` then: everybody could send a header.
//!
//! A header without addresses (`PROXY UNKNOWN`, `LOCAL`) comes from checks of the balancer, and from clients whose address it
//! does not know, such as those of a Unix socket. Then the address is that of the balancer, no field of the request is believed,
//! and the limits per address do not apply, because the balancer is trusted.
//!
//! [`ProxyHeader`](crate::proxies::ProxyHeader) has what the header says beside the address of the client: the address
//! to which it has connected, and in version 2 the TLS of the client, its ALPN and a name of the connection.
//!
//! # Which address is that of the client
//!
//! Each proxy appends an element with the address of the connection that it has accepted. The elements are read from the
//! last one to the first one. As long as an address belongs to a trusted proxy, the element before it is read. The first
//! address that belongs to none is that of the client. What a client writes itself stands before that and is not read.
//!
//! The scheme and host of `Forwarded` are those of the same element. `X-Forwarded-Proto` and `X-Forwarded-Host` have one
//! value for all proxies: the last one counts.
//!
//! An element without an address ends the search: malformed, `unknown`, or an obfuscated identifier (RFC 7239 section 6).
//! Then the address of the proxy that has written it is the result.
//!
//! **Trust no address that browsers have.** The loopback is trusted by default. A page in a browser on this machine can send
//! a request there, with fields of its own: with `host: true` or `Forwarded` it could choose the host that
//! [`Config::allowed_hosts`](crate::Config::allowed_hosts) checks. Where browsers run beside the server, connect the proxy by
//! a Unix socket.
//!
//! # Taking a server out
//!
//! The balancer asks `/readyz` of [`Health`](crate::server::Health). For HAProxy, in TCP mode as well:
//!
//! ```text
//! backend app
//!     option httpchk
//!     http-check send meth GET uri /health/readyz ver HTTP/1.1 hdr Host app.example
//!     server a 10.0.0.5:8080 check inter 2s fall 2
//!     server b 10.0.0.6:8080 check inter 2s fall 2
//! ```
//!
//! - A server that [drains](crate::guide::draining) says 503 and serves on for
//!   [`Config::drain_delay`](crate::Config::drain_delay): with these numbers 5 s are enough.
//! - Without `option httpchk` HAProxy only connects. It then learns of a stop when clients are already refused.
//! - `Host` has to be in [`Config::allowed_hosts`](crate::Config::allowed_hosts), if that is set. A check without this field, or
//!   with another one, gets 421, and the server is never used.
//! - Checks have lines in the access log, and during a drain they count as responses with 5xx. If they ask a
//!   [second server](crate::guide::operation#an-address-for-operators) (`check port 8081`), they have neither.
//! - nginx has no such checks in its free version: it takes a server out when connections fail, so let it try the next one
//!   (`proxy_next_upstream error timeout`).
//!
//! # What uses it
//!
//! | part | address or host |
//! |---|---|
//! | [`AccessLog`](crate::access_log::AccessLog) | the address of the client |
//! | [`Config::allowed_hosts`](crate::Config::allowed_hosts) | the host that the client has used |
//! | [`Request::is_same_origin`](crate::Request::is_same_origin), `Config::ws_origins` | the host that the client has used |
//! | `Server::redirect_to_https` | the host that the client has used |
//! | `Ws::client_addr` | the client of the handshake |
//! | [`Config::connections_per_address`](crate::Config::connections_per_address) | the address of the PROXY header, or else of the socket; trusted proxies are not counted |
//! | [`Config::connection_rate`](crate::Config::connection_rate) | the same |
//! | [`Config::request_rate`](crate::Config::request_rate), [`layers::RateLimit`](crate::layers::RateLimit) | the client, also if one connection of a proxy has the requests of many; `request_rate` does not count what trusted proxies ask for themselves |
//! | `Request::is_secure`, `Request::tls` | the connection to this server |
