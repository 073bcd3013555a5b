//! Faults of our own that a seed draws, and which of them a run has.

use crate::scenario::{Act, DAY, Draw, HOUR, MINUTE};
use crate::world::Database;

/// Names the faults that a run has, by their numbers, with commas between; all without it.
pub(crate) const FAULTS: &str = "SIMULATION_FAULTS";
/// Its value for a run without faults.
pub(crate) const NONE: &str = "none";

/// One fault: its beginning and, if it has one, its end.
pub(crate) type OwnFault = Vec<(i64, Act)>;

/// Draws the faults of a run.
pub(crate) fn draw(draw: &mut Draw) -> Vec<OwnFault> {
    let mut faults = pauses(draw);
    faults.extend(others(draw));
    faults
}

/// Returns what happens in a run that has only the faults that the environment names.
///
/// # Panics
/// Panics if one of them does not exist.
pub(crate) fn kept(faults: Vec<OwnFault>) -> impl Iterator<Item = (i64, Act)> {
    let chosen = chosen();
    if let Some(wrong) = chosen.iter().flatten().find(|n| **n >= faults.len()) {
        panic!("there is no fault {wrong}, but {} of them", faults.len());
    }
    let is_kept = move |n| chosen.as_ref().is_none_or(|chosen| chosen.contains(&n));
    for (n, fault) in faults.iter().enumerate() {
        println!("fault {n}{}: {fault:?}", if is_kept(n) { "" } else { " (left out)" });
    }
    faults.into_iter().enumerate().filter(move |(n, _)| is_kept(*n)).flat_map(|(_, fault)| fault)
}

/// Returns the faults that the environment names, if it does.
pub(crate) fn chosen() -> Option<Vec<usize>> {
    let named = std::env::var(FAULTS).ok()?;
    let parts = named.split(',').filter(|part| *part != NONE);
    Some(parts.map(|part| part.parse().unwrap_or_else(|_| panic!("{FAULTS} has numbers: {named}"))).collect())
}

/// Pauses that are shorter than a lease.
fn pauses(draw: &mut Draw) -> Vec<OwnFault> {
    let pause = |draw: &mut Draw| {
        let (at, seconds) = (HOUR + draw.below(draw.length() - HOUR), 5 + draw.below(60).unsigned_abs());
        vec![(at, Act::PauseInCheck(seconds))]
    };
    (0..3 * draw.length() / DAY).map(|_| pause(draw)).collect()
}

/// The others. Each is over before the next begins.
fn others(draw: &mut Draw) -> Vec<OwnFault> {
    let mut faults = Vec::new();
    let mut at = 2 * HOUR + draw.below(6 * HOUR);
    while at < draw.length() {
        let (lasts, fault) = one(draw, at);
        faults.push(fault);
        at += lasts + HOUR + draw.below(DAY);
    }
    faults
}

/// Returns one that begins at a time, and for how long it lasts.
fn one(draw: &mut Draw, at: i64) -> (i64, OwnFault) {
    match draw.dice.below(13) {
        0 => {
            let after = 5 + draw.below(HOUR);
            (after, vec![(at, Act::Restart { orderly: true, after })])
        }
        1 => {
            let after = 5 + draw.below(6 * HOUR);
            (after, vec![(at, Act::Restart { orderly: false, after })])
        }
        2 | 3 => {
            let most = if draw.one_in(2) { HOUR } else { 10 * HOUR };
            let lasts = 2 * MINUTE + draw.below(most);
            (lasts, vec![(at, Act::Disconnect), (at + lasts, Act::Connect)])
        }
        4 | 5 => {
            let wrong = (draw.below(6 * DAY) - 3 * DAY) / if draw.one_in(2) { 3_000 } else { 1 };
            // A clock that is wrong for longer is believed, unless it is wrong by little.
            let most = if wrong.abs() < 100 {
                2 * HOUR
            } else if wrong > 0 {
                9 * MINUTE
            } else {
                40
            };
            let lasts = 10 + draw.below(most);
            (lasts, vec![(at, Act::ClockWrongBy(wrong)), (at + lasts, Act::ClockWrongBy(0))])
        }
        6 => {
            let lives: Vec<i64> = (0..5).map(|_| draw.below(20)).collect();
            (lives.iter().sum(), vec![(at, Act::CrashLoop(lives))])
        }
        7 => {
            let lasts = MINUTE + draw.below(2 * HOUR);
            let service = draw.pick(&["monitor", "synchronizer"]);
            (lasts, vec![(at, Act::Pause(service, true)), (at + lasts, Act::Pause(service, false))])
        }
        8 => {
            let lasts = MINUTE + draw.below(8 * HOUR);
            (lasts, vec![(at, if draw.one_in(2) { Act::Suspend(lasts) } else { Act::Stop(lasts) })])
        }
        _ => {
            let health =
                draw.pick(&[Database::Fails, Database::Fails, Database::Away, Database::DiskFull, Database::Slow]);
            let lasts = 10 + draw.below(2 * HOUR);
            (lasts, vec![(at, Act::Database(health)), (at + lasts, Act::Database(Database::Works))])
        }
    }
}
