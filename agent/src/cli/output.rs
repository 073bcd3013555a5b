//! Printing: JSON lines on stdout, progress on stderr.

use std::io::{IsTerminal, Write};

use anyhow::Result;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

/// Prints one JSON document on a line.
pub(super) fn json(value: &impl Serialize) -> Result<()> {
    line(&serde_json::to_string(value)?)
}

/// Prints a line; unlike `println!`, a closed pipe is an error and not a panic.
pub(super) fn line(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(())
}

/// Returns a progress bar on a terminal, and a hidden one elsewhere.
pub(super) fn progress(total: u64, what: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(total);
    let style = ProgressStyle::with_template("{prefix} [{bar:30}] {pos}/{len} {elapsed} {wide_msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
    bar.set_prefix(what.to_owned());
    bar.enable_steady_tick(std::time::Duration::from_millis(200));
    bar
}

/// Returns a container for several bars, hidden unless stderr is a terminal.
pub(super) fn bars() -> MultiProgress {
    let shown = std::io::stderr().is_terminal();
    MultiProgress::with_draw_target(if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() })
}

/// Returns a spinner for work whose total is not known.
pub(super) fn spinner(what: String) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {prefix} {elapsed} {wide_msg}");
    let spinner = ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    spinner.set_prefix(what);
    spinner
}

/// Returns `1 thing` or `2 things`.
pub(super) fn counted(n: impl Into<u64>, thing: &str) -> String {
    let n = n.into();
    format!("{n} {thing}{}", if n == 1 { "" } else { "s" })
}

/// Formats a time in UTC (RFC 3339).
pub(super) fn time(seconds: i64) -> String {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds.max(0).cast_unsigned());
    // RFC 3339 ends with the year 9999.
    if seconds > 253_402_300_799 { seconds.to_string() } else { humantime::format_rfc3339_seconds(time).to_string() }
}
