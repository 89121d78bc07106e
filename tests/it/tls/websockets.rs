//! WebSockets over TLS (`wss`).

use super::client::{client_config, tcp};
use super::self_signed;
use crate::support::{ended, own_addr};
use crate::ws_sockets::{App, config};
use peregrine::Server;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use std::sync::Arc;
use tungstenite::Message;

#[test]
fn messages_of_all_sizes_come_back() {
    let app = Arc::new(App::default());
    let server = Server::new(app).config(config(1)).websocket();
    let running = server
        .bind_tls(own_addr(), self_signed())
        .start()
        .expect("a server");
    let addr = running.local_addr().expect("an address");
    let name = ServerName::try_from("localhost").expect("a name");
    let client = ClientConnection::new(Arc::new(client_config()), name).expect("a client");
    let stream = StreamOwned::new(client, tcp(addr));
    let (mut ws, _) =
        tungstenite::client(format!("wss://{addr}/echo"), stream).expect("a WebSocket");
    for len in [0, 1, 125, 126, 16_000, 16_384, 65_536, 1_000_000] {
        let message = Message::binary((0..len).map(|i| (i * 7) as u8).collect::<Vec<_>>());
        ws.send(message.clone()).expect("sent");
        assert_eq!(ws.read().expect("an echo"), message, "{len}");
    }
    // Many at once.
    for i in 0..1000 {
        ws.write(Message::text(format!("message {i}")))
            .expect("queued");
    }
    ws.flush().expect("sent");
    for i in 0..1000 {
        assert_eq!(
            ws.read().expect("an echo"),
            Message::text(format!("message {i}"))
        );
    }
    ws.close(None).expect("sent");
    let end = loop {
        if let Err(end) = ws.read() {
            break end;
        }
    };
    assert!(matches!(end, tungstenite::Error::ConnectionClosed), "{end}");
    running.stop();
    ended(running);
}
