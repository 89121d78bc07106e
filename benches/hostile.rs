//! Hostile clients against a server on its defaults; see benches/README.md.
//!
//! ```sh
//! cargo bench --bench hostile              # all scenarios, about two minutes
//! cargo bench --bench hostile -- head idle # some of them
//! cargo bench --bench hostile -- soak      # a million connections
//! SOAK_SECS=3600 cargo bench --bench hostile -- soak
//! SOAK_CONNECTIONS=100000 cargo bench --bench hostile -- soak
//! ```
//!
//! Each scenario has a process for its clients and one for its server. Those that wait for a limit
//! of time run side by side, the others one after the other. The end is an error if a well-behaved
//! client has not got every response, if one of the others did not end as it has to, if descriptors
//! do not return to where they were, or if the memory exceeds its bound. Times are printed only.

#[cfg(target_os = "linux")]
#[allow(dead_code, unused_imports, reason = "parts of it are for other tests")]
#[path = "../tests/it/support.rs"]
mod support;

#[cfg(target_os = "linux")]
#[path = "../tests/it/hostile"]
mod hostile {
    pub(crate) mod app;
    pub(crate) mod attack;
    pub(crate) mod crowd;
    #[cfg(feature = "http2")]
    pub(crate) mod http2;
    pub(crate) mod polite;
    pub(crate) mod process;
    pub(crate) mod scenarios;
    pub(crate) mod script;
    pub(crate) mod scripts;
    mod seen;
}

#[cfg(target_os = "linux")]
#[path = "hostile/soak.rs"]
mod soak;
#[cfg(target_os = "linux")]
#[path = "hostile/table.rs"]
mod table;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // Cargo's own option is not for us.
    let arguments = arguments.iter().filter(|argument| *argument != "--bench");
    let arguments: Vec<&str> = arguments.map(String::as_str).collect();
    match arguments[..] {
        ["--serve"] => {
            hostile::process::serve();
            std::process::ExitCode::SUCCESS
        }
        ["--one", name] => table::one(name),
        ["soak"] => soak::main(),
        _ => table::all(&arguments),
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("skipped: reads /proc");
}
