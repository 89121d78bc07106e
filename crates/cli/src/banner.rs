//! What is printed when the server has started.

use crate::log::colors_are_wanted;
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use std::io::{self, IsTerminal, Write, stderr, stdout};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

pub(crate) struct Banner<'a> {
    pub(crate) scheme: &'a str,
    pub(crate) addr: SocketAddr,
    pub(crate) what: &'a str,
    pub(crate) has_qr: bool,
    /// Everyone who reaches the address may use it.
    pub(crate) is_open: bool,
}

impl Banner<'_> {
    /// Prints it to standard output, or to standard error if programs read standard output.
    pub(crate) fn print(&self, is_for_programs: bool) -> io::Result<()> {
        match is_for_programs {
            true => self.write(&mut stderr(), stderr().is_terminal()),
            false => self.write(&mut stdout(), stdout().is_terminal()),
        }
    }

    fn write(&self, out: &mut impl Write, is_terminal: bool) -> io::Result<()> {
        let (bold, dim, off) = match is_terminal && colors_are_wanted() {
            true => ("\x1b[1m", "\x1b[2m", "\x1b[0m"),
            false => ("", "", ""),
        };
        writeln!(
            out,
            "{bold}peregrine {}{off} serves {}\n",
            env!("CARGO_PKG_VERSION"),
            self.what
        )?;
        // The first of them in the form that scripts look for.
        writeln!(out, "listening on {}", self.local())?;
        let network = self.network();
        if let Some(url) = &network {
            writeln!(out, "in the network {bold}{url}{off}")?;
        }
        if let Some(reach) = self.reach(network.is_some()) {
            writeln!(out, "{dim}{reach}{off}")?;
        }
        if let Some(url) = network.filter(|_| self.has_qr && is_terminal) {
            if let Ok(code) = QrCode::new(url.as_bytes()) {
                let mut image = code.render::<Dense1x2>();
                let image = image
                    .dark_color(Dense1x2::Light)
                    .light_color(Dense1x2::Dark)
                    .build();
                writeln!(out, "\n{image}")?;
            }
        }
        writeln!(out, "{dim}Ctrl-C stops it.{off}\n")
    }

    /// Who can reach the server.
    fn reach(&self, is_known: bool) -> Option<&'static str> {
        match (self.addr.ip().is_loopback(), self.is_open, is_known) {
            (true, _, _) => {
                Some("Only this machine can reach it: --addr 0.0.0.0 opens it to the network.")
            }
            (false, true, true) => {
                Some("Everyone in the network can reach it: --auth asks for a password.")
            }
            (false, true, false) => Some(
                "Everyone in the networks of this machine can reach it, at each of its addresses: --auth asks for a password.",
            ),
            (false, false, true) => None,
            (false, false, false) => {
                Some("The networks of this machine can reach it, at each of its addresses.")
            }
        }
    }

    fn url(&self, ip: IpAddr) -> String {
        format!(
            "{}://{}",
            self.scheme,
            SocketAddr::new(ip, self.addr.port())
        )
    }

    /// The address for this machine.
    fn local(&self) -> String {
        self.url(match self.addr.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        })
    }

    /// The address for other machines, if they can reach it.
    fn network(&self) -> Option<String> {
        match self.addr.ip() {
            ip if ip.is_loopback() => None,
            ip if ip.is_unspecified() => own_address(ip).map(|ip| self.url(ip)),
            ip => Some(self.url(ip)),
        }
    }
}

/// The address that this machine would send from. No packet is sent: to connect a UDP socket only looks up the route.
/// The addresses are of networks for documentation (RFC 5737 and 3849).
fn own_address(any: IpAddr) -> Option<IpAddr> {
    let far: SocketAddr = match any {
        IpAddr::V4(_) => (Ipv4Addr::new(192, 0, 2, 1), 9).into(),
        IpAddr::V6(_) => (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 9).into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(far).ok()?;
    let own = socket.local_addr().ok()?.ip();
    (!own.is_unspecified() && !own.is_loopback()).then_some(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_for_this_machine_and_others() {
        let of = |addr: &str| {
            let banner = Banner {
                scheme: "http",
                addr: addr.parse().expect("an address"),
                what: "",
                has_qr: false,
                is_open: true,
            };
            (banner.local(), banner.network())
        };
        assert_eq!(of("127.0.0.1:80"), ("http://127.0.0.1:80".into(), None));
        assert_eq!(of("0.0.0.0:81").0, "http://127.0.0.1:81");
        assert_eq!(of("[::]:81").0, "http://[::1]:81");
        let own = "http://192.0.2.7:80".to_owned();
        assert_eq!(of("192.0.2.7:80"), (own.clone(), Some(own)));
    }

    #[test]
    fn the_banner_says_who_can_reach_the_server() {
        let reach = |addr: &str, is_open, is_known| {
            let banner = Banner {
                scheme: "http",
                addr: addr.parse().expect("an address"),
                what: "",
                has_qr: false,
                is_open,
            };
            banner.reach(is_known).unwrap_or_default()
        };
        assert!(reach("127.0.0.1:80", true, false).starts_with("Only this machine"));
        assert!(reach("192.0.2.7:80", true, true).starts_with("Everyone in the network can"));
        assert_eq!(reach("192.0.2.7:80", false, true), "");
        // A machine without a default route.
        assert!(reach("0.0.0.0:80", true, false).starts_with("Everyone in the networks"));
        assert!(reach("[::]:80", false, false).starts_with("The networks of this machine"));
    }
}
