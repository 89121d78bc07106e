//! `peregrine`: serves folders, fixed responses and echoes.

mod args;
mod banner;
mod check;
mod color;
mod echo;
mod folder;
mod listing;
mod log;
mod man;
mod serve;
mod upload;

use args::{Cli, Command};
use clap::{CommandFactory, Parser};
use std::io;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peregrine: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> io::Result<()> {
    match command {
        Command::Serve(args) => serve::folder(args),
        Command::Respond(args) => serve::respond(args),
        Command::Echo(args) => serve::echo(args),
        Command::Check { addr } => check::check(addr),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "peregrine", &mut io::stdout());
            Ok(())
        }
        Command::Man => man::write(&mut io::stdout()),
    }
}
