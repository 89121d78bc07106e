//! Where a server listens.

#[cfg(feature = "http2")]
use crate::config::Http2;
#[cfg(feature = "http3")]
use crate::config::Http3;
use crate::runtime::listener::BindAddr;
#[cfg(feature = "tls")]
use crate::runtime::listener::ListenAddr;
#[cfg(feature = "tls")]
use crate::runtime::tls::Tls;
#[cfg(feature = "tls")]
use crate::runtime::transport::ListenerConfig;
use std::io;

/// Where a server listens, in the order of the calls.
#[derive(Debug, Default)]
pub(crate) struct Places {
    pub(crate) addrs: Vec<BindAddr>,
    /// Which of them have their own setting of HTTP/2.
    #[cfg(feature = "http2")]
    pub(crate) http2: Vec<(usize, Http2)>,
    /// Which of them have their own setting of HTTP/3.
    #[cfg(feature = "http3")]
    pub(crate) http3: Vec<(usize, Http3)>,
    /// Which of them begin with a PROXY header, counted from 1.
    pub(crate) proxied: Vec<usize>,
    /// Which of them have TLS.
    #[cfg(feature = "tls")]
    pub(crate) secured: Vec<(usize, Tls)>,
    /// Which of them redirect to those.
    #[cfg(feature = "tls")]
    pub(crate) redirecting: Vec<usize>,
}

pub(crate) fn cannot_bind(place: impl std::fmt::Display, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot listen on {place}: {error}"))
}

#[cfg(feature = "tls")]
impl Places {
    /// Whether connections need a transport that may have TLS.
    pub(super) fn has_tls(&self) -> bool {
        !self.secured.is_empty() || !self.redirecting.is_empty()
    }

    pub(super) fn push_tls(&mut self, place: BindAddr, tls: Tls) {
        self.secured.push((self.addrs.len(), tls));
        self.addrs.push(place);
    }
}

/// Gives the places where a server listens their TLS: their settings, and how they are shown.
#[cfg(feature = "tls")]
pub(super) fn secure(
    configs: &mut [ListenerConfig],
    addrs: &mut [ListenAddr],
    secured: Vec<(usize, Tls)>,
    redirecting: &[usize],
) -> io::Result<()> {
    let mut first_port = None;
    for (place, tls) in secured {
        let (config, addr) = (&mut configs[place], &mut addrs[place]);
        #[cfg(feature = "http2")]
        let tls = tls.with_http2(config.http2);
        config.tls = Some(tls);
        if let ListenAddr::Tcp(tcp) = *addr {
            *addr = ListenAddr::Tls(tcp);
            first_port = first_port.or(Some(tcp.port()));
            config.redirect = Some(tcp.port()).filter(|_| !redirecting.is_empty());
        }
    }
    for &place in redirecting {
        let text = "Server::redirect_to_https needs an address of Server::bind_tls to redirect to";
        let error = || io::Error::new(io::ErrorKind::InvalidInput, text);
        configs[place].redirect = Some(first_port.ok_or_else(error)?);
    }
    Ok(())
}
