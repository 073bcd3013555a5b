//! Faults of our own that a seed draws, and which of them a run has.

use crate::scenario::{Act, DAY, Draw, HOUR, MINUTE};
use crate::world::Database;

/// Names the faults that a run has, by their numbers, with commas between; all without it.
pub(crate) const TROUBLES: &str = "SIMULATION_TROUBLES";
/// Its value for a run without faults.
pub(crate) const NONE: &str = "none";

/// One fault: its beginning and, if it has one, its end.
pub(crate) type Trouble = Vec<(i64, Act)>;

/// Draws the faults of a run.
pub(crate) fn draw(draw: &mut Draw) -> Vec<Trouble> {
    let mut troubles = pauses(draw);
    troubles.extend(others(draw));
    troubles
}

/// Returns what happens in a run that has only the faults that the environment names.
pub(crate) fn kept(troubles: Vec<Trouble>) -> impl Iterator<Item = (i64, Act)> {
    let named = std::env::var(TROUBLES).ok();
    let named: Option<Vec<usize>> = named.map(|text| {
        text.split(',').filter(|part| *part != NONE).map(|part| part.parse().expect("numbers of faults")).collect()
    });
    for (n, trouble) in troubles.iter().enumerate() {
        let is_kept = named.as_ref().is_none_or(|named| named.contains(&n));
        println!("trouble {n}{}: {trouble:?}", if is_kept { "" } else { " (left out)" });
    }
    let kept = troubles.into_iter().enumerate();
    kept.filter(move |(n, _)| named.as_ref().is_none_or(|named| named.contains(n))).flat_map(|(_, trouble)| trouble)
}

/// Pauses that are shorter than a lease.
fn pauses(draw: &mut Draw) -> Vec<Trouble> {
    let pause = |draw: &mut Draw| {
        let (at, seconds) = (HOUR + draw.below(draw.length() - HOUR), 5 + draw.below(60).unsigned_abs());
        vec![(at, Act::PauseInCheck(seconds))]
    };
    (0..3 * draw.length() / DAY).map(|_| pause(draw)).collect()
}

/// The others. Each is over before the next begins.
fn others(draw: &mut Draw) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    let mut at = 2 * HOUR + draw.below(6 * HOUR);
    while at < draw.length() {
        let (lasts, trouble) = one(draw, at);
        troubles.push(trouble);
        at += lasts + HOUR + draw.below(DAY);
    }
    troubles
}

/// Returns one that begins at a time, and for how long it lasts.
fn one(draw: &mut Draw, at: i64) -> (i64, Trouble) {
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
            let health = draw.pick(&[Database::Fails, Database::Fails, Database::Away, Database::Full, Database::Slow]);
            let lasts = 10 + draw.below(2 * HOUR);
            (lasts, vec![(at, Act::Database(health)), (at + lasts, Act::Database(Database::Works))])
        }
    }
}
