//! Tests that count what their process has need one of their own.

use std::fs;
use std::process::Command;

const MARK: &str = "PEREGRINE_TEST_ALONE";

/// Runs a test of this program in a process of its own, so that what others need is not counted.
/// False in there.
#[track_caller]
pub(crate) fn alone(test: &str) -> bool {
    alone_after("", test)
}

/// The same with commands of the shell before it, as for a limit of the process.
#[track_caller]
pub(crate) fn alone_after(shell: &str, test: &str) -> bool {
    if std::env::var_os(MARK).is_some() {
        return false;
    }
    let mut command = this_program(shell, test);
    let output = command.env(MARK, "1").output().expect("started");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{errors}"
    );
    print!("{text}");
    true
}

/// This program, told to run one test, behind commands of the shell. Signals have their default action there, even if
/// this program was started with some ignored, as a shell does it for a command in the background.
pub(crate) fn this_program(shell: &str, test: &str) -> Command {
    let program = std::env::current_exe().expect("this program");
    let script = format!(
        "{shell}\nreset='env --default-signal=INT,TERM'\n$reset true 2>/dev/null || reset=\nexec $reset \"$0\" \"$@\""
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script]).arg(program);
    command.args(["--exact", test, "--nocapture", "--include-ignored"]);
    command
}

/// The bytes that this process has in memory.
pub(crate) fn resident() -> usize {
    memory("VmRSS:")
}

/// The most that it ever had there.
pub(crate) fn most_resident() -> usize {
    memory("VmHWM:")
}

fn memory(what: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("readable");
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix(what));
    let kib = line.and_then(|line| line.trim().split(' ').next());
    kib.expect("a size").parse::<usize>().expect("a number") << 10
}

/// Descriptors that this process has open.
pub(crate) fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("readable").count()
}
