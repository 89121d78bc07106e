//! The man page: one page with all commands and their options.

use crate::args::Cli;
use clap::CommandFactory;
use clap_mangen::Man;
use std::io::{self, Write};

pub(crate) fn write(out: &mut impl Write) -> io::Result<()> {
    let mut program = Cli::command();
    // The commands then have their full names, as `peregrine serve`.
    program.build();
    let page = Man::new(program.clone());
    page.render_title(out)?;
    page.render_name_section(out)?;
    page.render_synopsis_section(out)?;
    page.render_description_section(out)?;
    for command in program.get_subcommands() {
        if command.get_name() == "help" {
            continue;
        }
        writeln!(
            out,
            ".SH \"PEREGRINE {}\"",
            command.get_name().to_uppercase()
        )?;
        let mut part = Vec::new();
        let section = Man::new(command.clone());
        section.render_description_section(&mut part)?;
        section.render_synopsis_section(&mut part)?;
        section.render_options_section(&mut part)?;
        // Sections of the page of the command are parts of its section here.
        let part = String::from_utf8_lossy(&part).replace(".SH ", ".SS ");
        out.write_all(part.as_bytes())?;
    }
    page.render_version_section(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_all_commands_and_their_options() {
        let mut page = Vec::new();
        write(&mut page).expect("written");
        let page = String::from_utf8(page).expect("text");
        assert_eq!(page.matches(".TH ").count(), 1);
        // No pages that do not exist.
        assert!(!page.contains("(1)\n"), "{page}");
        let plain = page.replace('\\', "");
        for command in Cli::command().get_subcommands() {
            let name = command.get_name().to_uppercase();
            assert!(
                plain.contains(&format!(".SH \"PEREGRINE {name}\"")),
                "{name}"
            );
            for option in command.get_arguments().filter_map(|arg| arg.get_long()) {
                assert!(plain.contains(&format!("--{option}")), "{option}");
            }
        }
    }
}
