//! Every scenario against a server on its defaults, and a table of what came of it.

use crate::hostile::attack::{Outcome, Scale, attack};
use crate::hostile::crowd::Attacks;
use crate::hostile::process::{Process, raise_descriptors};
use crate::hostile::scenarios::{SCENARIOS, Scenario};
use crate::support::over_tls;
use std::cell::Cell;
use std::io::Write;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// For anything to happen.
const PATIENCE: Duration = Duration::from_secs(420);
/// Descriptors that neither process needs for its connections.
const SPARE: usize = 200;
/// What the server may need beside the buffers of its clients, in KiB.
const MARGIN: usize = 32 << 10;

const HEADINGS: [&str; 10] = [
    "scenario",
    "load",
    "p50/p99 before, µs",
    "p50/p99 during, µs",
    "responses during",
    "ended after, s",
    "by (limit)",
    "RSS before/peak/after (bound), MiB",
    "descriptors before/after",
    "CPU of the server (load), s",
];

fn find(name: &str) -> &'static Scenario {
    let found = SCENARIOS.iter().find(|scenario| scenario.name == name);
    found.unwrap_or_else(|| panic!("no scenario {name}"))
}

/// Runs these scenarios, or all, in processes of their own, and prints the table.
pub(crate) fn all(names: &[&str]) -> ExitCode {
    let mut wanted: Vec<_> = names.iter().map(|name| find(name)).collect();
    if wanted.is_empty() {
        wanted = SCENARIOS.iter().collect();
    }
    let from = Instant::now();
    let start = |scenario: &&Scenario| {
        let program = std::env::current_exe().expect("this program");
        let mut command = Command::new(program);
        command
            .args(["--one", scenario.name])
            .stdout(Stdio::piped());
        command.spawn().expect("started")
    };
    let mut rows = vec![HEADINGS.join(" | "), ["---"; HEADINGS.len()].join(" | ")];
    let mut failed = Vec::new();
    let mut end = |scenario: &Scenario, child: std::process::Child| {
        let output = child.wait_with_output().expect("our child");
        let text = String::from_utf8_lossy(&output.stdout);
        let row = text.lines().find_map(|line| line.strip_prefix("row "));
        rows.extend(row.map(str::to_owned));
        match output.status.success() {
            true => println!("ok hostile: {}", scenario.name),
            false => {
                println!("FAILED hostile: {}", scenario.name);
                failed.push(scenario.name);
            }
        }
        let _ = std::io::stdout().flush();
    };
    let (waiting, short): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|s| s.waits);
    for scenario in &short {
        end(scenario, start(scenario));
    }
    let running: Vec<_> = waiting.iter().map(|s| (s, start(s))).collect();
    for (scenario, child) in running {
        end(scenario, child);
    }
    println!("\n| {} |", rows.join(" |\n| "));
    println!("\n{} s, failed: {failed:?}", from.elapsed().as_secs());
    match failed.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// What is read from outside before, at its highest and after.
#[derive(Default)]
struct Readings {
    before: Cell<usize>,
    peak: Cell<usize>,
    after: Cell<usize>,
}

impl Readings {
    fn all(&self) -> [usize; 3] {
        [&self.before, &self.peak, &self.after].map(Cell::get)
    }
}

/// Runs one scenario, and prints its row.
pub(crate) fn one(name: &str) -> ExitCode {
    let wanted = find(name);
    let room = (raise_descriptors() as usize).saturating_sub(SPARE);
    let scenario = &Scenario {
        at_once: wanted.at_once.min(wanted.count).min(room),
        ..*wanted
    };
    // Only what is open at a time needs descriptors.
    let count = match wanted.at_once < wanted.count {
        true => wanted.count,
        false => wanted.count.min(room),
    };
    if scenario.at_once < wanted.at_once.min(wanted.count) {
        let (now, before) = (scenario.at_once, wanted.at_once.min(wanted.count));
        eprintln!("{name}: {now} clients at a time instead of {before}: few descriptors");
    }
    let is_secure = scenario.attacks.is_tls() || over_tls();
    let server = Process::start("--serve", is_secure);
    let scale = Scale {
        count,
        answers: 1000.max(350 * scenario.polite.len()),
        idle: Duration::from_secs(3),
        to_the_end: true,
        late: 240,
        // Far more than it takes, because this machine may be busy with other tests: a client that is shut out waits longer.
        soon: Duration::from_secs(30),
        patience: PATIENCE,
    };
    let (memory, descriptors, cpu) = (Readings::default(), Readings::default(), Cell::default());
    let at_rest = || {
        memory.before.set(server.resident());
        server.forget_peak();
        descriptors.before.set(server.fewest_descriptors());
        cpu.set(server.cpu());
    };
    let over = || {
        cpu.set(server.cpu() - cpu.get());
        memory.peak.set(server.peak());
        let settled = server.settle(descriptors.before.get(), PATIENCE);
        descriptors.after.set(server.fewest_descriptors());
        memory.after.set(server.resident());
        settled.map(|_| ())
    };
    let mut outcome = attack(scenario, server.place(is_secure), &scale, at_rest, over);
    let bound = memory.before.get() + ((scenario.at_once * scenario.bytes) >> 10) + MARGIN;
    if memory.peak.get() > bound {
        outcome.faults.push(format!(
            "{} KiB of memory, more than {bound}",
            memory.peak.get()
        ));
    }
    row(
        scenario,
        count,
        &outcome,
        memory.all(),
        bound,
        descriptors.all(),
        cpu.get(),
    );
    slowdown(scenario, count, &outcome);
    if server.stop() != "0 aborted" {
        outcome
            .faults
            .push("the server did not stop as it should".to_owned());
    }
    for fault in &outcome.faults {
        eprintln!("{}: {fault}", scenario.name);
    }
    match outcome.faults.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn quantile(waits: &[Duration], share: f64) -> Duration {
    waits[((waits.len() - 1) as f64 * share) as usize]
}

/// Of a load with a rate: which rate it had, and how much slower it made the responses to others. It is printed only:
/// clients and server share a machine.
fn slowdown(scenario: &Scenario, count: usize, outcome: &Outcome) {
    let (Attacks::TlsInASecond(_), Some([before, during, _])) = (scenario.attacks, &outcome.waits)
    else {
        return;
    };
    if before.is_empty() || during.is_empty() {
        return;
    }
    let [before, during] = [before, during].map(|waits| quantile(waits, 0.99));
    eprintln!(
        "{}: {:.0} clients a second; p99 of the others {} µs before, {} µs during: {:.1} times as long",
        scenario.name,
        count as f64 / outcome.took.as_secs_f64(),
        before.as_micros(),
        during.as_micros(),
        during.as_secs_f64() / before.as_secs_f64()
    );
}

fn row(
    scenario: &Scenario,
    count: usize,
    outcome: &Outcome,
    memory: [usize; 3],
    bound: usize,
    descriptors: [usize; 3],
    cpu: Duration,
) {
    let quantiles = |waits: &[Duration]| match waits.is_empty() {
        true => "-".to_owned(),
        false => {
            let at = |share| quantile(waits, share).as_micros();
            format!("{} / {}", at(0.5), at(0.99))
        }
    };
    let (before, during, answers) = match &outcome.waits {
        Some([before, during, _]) => (
            quantiles(before),
            quantiles(during),
            during.len().to_string(),
        ),
        None => ("-".into(), "-".into(), "-".into()),
    };
    let cut = outcome.cut.map_or("-".to_owned(), |(first, last)| {
        format!("{:.1} to {:.1}", first.as_secs_f64(), last.as_secs_f64())
    });
    let by = outcome
        .ends
        .iter()
        .map(|(end, count)| format!("{end}: {count}"));
    let by = by.collect::<Vec<_>>().join(", ");
    let [a, b, c] = memory.map(|kib| kib >> 10);
    let [d, _, e] = descriptors;
    let columns = [
        scenario.name.to_owned(),
        format!("{count}: {}", scenario.load),
        before,
        during,
        answers,
        cut,
        format!("{by} ({})", scenario.limit),
        format!("{a} / {b} / {c} ({})", bound >> 10),
        format!("{d} / {e}"),
        format!(
            "{:.1} ({:.1})",
            cpu.as_secs_f64(),
            outcome.took.as_secs_f64()
        ),
    ];
    println!("row {}", columns.join(" | "));
}
