//! A client of `rustls` that takes any certificate.

pub(crate) use crate::support::trusting::{
    client_config, client_config_with, client_config_with_chain, der, key, path, pem,
};
use crate::support::{Client, PATIENCE};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

/// A client of the library's tests over TLS.
pub(crate) type TlsClient = Client<StreamOwned<ClientConnection, TcpStream>>;

#[track_caller]
pub(crate) fn tcp(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).expect("a connection");
    stream.set_nodelay(true).expect("an open socket");
    let limit = Some(PATIENCE);
    stream.set_read_timeout(limit).expect("an open socket");
    stream.set_write_timeout(limit).expect("an open socket");
    stream
}

/// Its handshake comes with the first bytes that are sent.
#[track_caller]
pub(crate) fn connect(addr: SocketAddr) -> TlsClient {
    connect_with(addr, &Arc::new(client_config()), "localhost")
}

#[track_caller]
pub(crate) fn connect_with(addr: SocketAddr, config: &Arc<ClientConfig>, name: &str) -> TlsClient {
    over(tcp(addr), config, name)
}

/// Over a connection that is there already.
#[track_caller]
pub(crate) fn over(stream: TcpStream, config: &Arc<ClientConfig>, name: &str) -> TlsClient {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let client = ClientConnection::new(config.clone(), name).expect("a client");
    Client::over(StreamOwned::new(client, stream))
}
