//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// Serves folders, fixed responses and echoes over HTTP/1.1, HTTP/2, TLS and WebSockets.
#[derive(Debug, Parser)]
#[command(
    name = "peregrine",
    version,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serves the files of a folder, with lists that sort, filter and show pictures
    Serve(Serve),
    /// Responds to every request with one text
    Respond(Respond),
    /// Sends back what it gets: requests over HTTP, messages over WebSockets
    Echo(Common),
    /// Asks a server whether it responds, for health checks; code 0 if it does with a status below 500
    Check {
        /// Its address and port
        #[arg(default_value = "127.0.0.1:8080")]
        addr: SocketAddr,
    },
    /// Writes completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Writes the man page of all commands
    Man,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The folder
    #[arg(default_value = ".")]
    pub(crate) folder: PathBuf,
    #[command(flatten)]
    pub(crate) common: Common,

    /// Does not list folders that have no index.html
    #[arg(long, help_heading = "Files")]
    pub(crate) no_list: bool,
    /// Responds to paths without a file with index.html (single-page application)
    #[arg(long, help_heading = "Files")]
    pub(crate) spa: bool,
    /// Serves files whose name begins with a dot
    #[arg(long, help_heading = "Files")]
    pub(crate) dotfiles: bool,
    /// Does not follow symbolic links; those that lead out of the folder are never followed
    #[arg(long, help_heading = "Files")]
    pub(crate) no_links: bool,
    /// Seconds for which browsers use a file without asking again
    #[arg(long, value_name = "SECONDS", help_heading = "Files")]
    pub(crate) cache: Option<u32>,
    /// Does not compress
    #[arg(long, help_heading = "Files")]
    pub(crate) no_compress: bool,

    /// Takes uploads: PUT makes a new file. Pages of the folder then run no scripts
    #[arg(long, help_heading = "Changes (off without these options)")]
    pub(crate) upload: bool,
    /// Uploads may replace files
    #[arg(
        long,
        requires = "upload",
        help_heading = "Changes (off without these options)"
    )]
    pub(crate) overwrite: bool,
    /// The most bytes of an upload
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 30, help_heading = "Changes (off without these options)")]
    pub(crate) upload_bytes: u64,
    /// Takes DELETE for files and empty folders
    #[arg(long, help_heading = "Changes (off without these options)")]
    pub(crate) delete: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Respond {
    /// The text
    pub(crate) text: String,
    /// The status
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(200..600))]
    pub(crate) status: u16,
    /// A header field, such as 'Cache-Control: no-store'; may be given several times
    #[arg(long = "header", value_name = "FIELD", value_parser = field)]
    pub(crate) headers: Vec<(String, String)>,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct Common {
    /// Address to listen on; 0.0.0.0 and :: are all addresses of this machine
    #[arg(short, long, default_value = "127.0.0.1", help_heading = "Address")]
    pub(crate) addr: IpAddr,
    /// Port; 0 takes any free one
    #[arg(short, long, default_value_t = 8080, help_heading = "Address")]
    pub(crate) port: u16,
    /// Threads; one for each CPU without this option
    #[arg(long, value_name = "N", help_heading = "Address")]
    pub(crate) workers: Option<usize>,

    /// Asks for this name and password (basic authentication)
    #[arg(long, value_name = "NAME:PASSWORD", value_parser = credentials, help_heading = "Access")]
    pub(crate) auth: Option<(String, String)>,
    /// Another host name that requests may use; may be given several times. On a loopback address the names of this
    /// machine are allowed, elsewhere all names unless this option is given
    #[arg(long = "host", value_name = "NAME", help_heading = "Access")]
    pub(crate) hosts: Vec<String>,
    /// Lets pages of all origins read responses (CORS): GET and HEAD only
    #[arg(long, help_heading = "Access")]
    pub(crate) cors: bool,

    /// Certificate chain for TLS (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key", help_heading = "TLS")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert", help_heading = "TLS")]
    pub(crate) tls_key: Option<PathBuf>,
    /// TLS with a certificate that is made for this run
    #[arg(long, conflicts_with = "tls_cert", help_heading = "TLS")]
    pub(crate) self_signed: bool,

    /// Form of the access log; auto is pretty on a terminal and plain elsewhere
    #[arg(long, value_enum, default_value_t = Log::Auto, help_heading = "Output")]
    pub(crate) log: Log,
    /// No QR code of the address in the network
    #[arg(long, help_heading = "Output")]
    pub(crate) no_qr: bool,
    /// One line with the address, and no banner
    #[arg(short, long, help_heading = "Output")]
    pub(crate) quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Log {
    Auto,
    /// Columns with colours
    Pretty,
    /// The common log format
    Plain,
    /// A JSON object for each request
    Json,
    Off,
}

fn credentials(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, password)) if !password.is_empty() => Ok((name.into(), password.into())),
        _ => Err("a name, a colon and a password are expected".into()),
    }
}

fn field(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) => Ok((name.trim().into(), value.trim().into())),
        None => Err("a name, a colon and a value are expected".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
