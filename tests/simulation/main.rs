//! The whole daemon in a simulated network, on virtual time: days pass in seconds, and the order of things is drawn from a
//! seed. What the agent recorded is then compared with what the model knows to be true.
//!
//! ```sh
//! tests/simulate --seeds 200 --days 5    # many seeds
//! tests/simulate --seed 17 --days 5      # one of them again
//! ```
//!
//! Each seed runs in a process of its own. Relays, authors, customers and faults are functions of the seed; the order in which
//! tasks run within one instant is not.

mod checks;
mod clients;
mod customers;
#[path = "../../storage/tests/exact/mod.rs"]
mod exact;
mod faults;
mod life;
mod scenario;
mod world;

use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};

/// Names the seed that a process runs.
const SEED: &str = "SIMULATION_SEED";

/// The real time that a seed may take: a task that never yields would take forever.
const LONGEST: Duration = Duration::from_secs(3_600);

/// Lines of its log that are shown of a seed that failed.
const LAST: usize = 150;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number: {text}")))
}

fn days() -> u64 {
    number("SIMULATION_DAYS", 1)
}

fn relays() -> u64 {
    number("SIMULATION_RELAYS", 12)
}

fn main() -> ExitCode {
    if std::env::var_os(SEED).is_some() {
        return scenario::run(number(SEED, 0), days(), usize::try_from(relays()).expect("a number of relays"));
    }
    let first = number("SIMULATION_FIRST", 1);
    let trial = |seed: u64| Trial::test(format!("seed_{seed}"), move || run(seed));
    let trials = (first..first + number("SIMULATION_SEEDS", 8)).map(trial).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// Runs a seed in a process of its own, and again with fewer faults if it fails and that is asked for.
fn run(seed: u64) -> Result<(), Failed> {
    let mut chosen = faults::chosen();
    let (failed, said) = attempt(seed, chosen.as_deref())?;
    let is_alone = std::env::var_os("SIMULATION_LOG").is_some();
    let lines: Vec<&str> = said.lines().collect();
    if !failed {
        lines.iter().filter(|line| is_alone || line.starts_with("seed ")).for_each(|line| eprintln!("{line}"));
        return Ok(());
    }
    if std::env::var("SIMULATION_SHRINK").is_ok_and(|text| text == "yes") {
        let all = || (0..lines.iter().filter(|line| line.starts_with("fault ")).count()).collect();
        let needed = chosen.unwrap_or_else(all);
        chosen = Some(shrink(needed, |kept| attempt(seed, Some(kept)).is_ok_and(|(failed, _)| failed)));
    }
    let last = if is_alone { 0 } else { lines.len().saturating_sub(LAST) };
    let mut again = format!("tests/simulate --seed {seed} --days {} --relays {}", days(), relays());
    if let Some(chosen) = chosen {
        again = format!("{again} --faults {}", join(&chosen));
    }
    Err(format!("{}\nagain: {again}", lines[last..].join("\n")).into())
}

/// Removes parts of a list, smaller and smaller ones, as long as the rest still fails. A rest that fails only now and then may be
/// taken for one that does not.
fn shrink(mut needed: Vec<usize>, fails: impl Fn(&[usize]) -> bool) -> Vec<usize> {
    let mut size = needed.len();
    while size > 0 {
        let mut from = 0;
        while from < needed.len() {
            let rest = [&needed[..from], &needed[(from + size).min(needed.len())..]].concat();
            eprintln!("with faults {} of {}", join(&rest), needed.len());
            if fails(&rest) {
                needed = rest;
            } else {
                from += size;
            }
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    needed
}

/// Returns a list of faults as [`faults::FAULTS`] has it.
fn join(numbers: &[usize]) -> String {
    if numbers.is_empty() {
        return faults::NONE.to_owned();
    }
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// Runs a seed, with all faults or some of them; returns whether it failed, and its output.
fn attempt(seed: u64, chosen: Option<&[usize]>) -> Result<(bool, String), Failed> {
    let began = Instant::now();
    let directory = tempfile::tempdir()?;
    let out = std::fs::File::create(directory.path().join("out"))?;
    let mut command = Command::new(std::env::current_exe()?);
    if let Some(chosen) = chosen {
        command.env(faults::FAULTS, join(chosen));
    }
    command.env(SEED, seed.to_string()).stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
    let mut child = command.spawn()?;
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if began.elapsed() > LONGEST => {
                child.kill()?;
                break child.wait()?;
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let said = String::from_utf8_lossy(&std::fs::read(directory.path().join("out"))?).into_owned();
    Ok((!status.success(), format!("{said}\n{status}")))
}
