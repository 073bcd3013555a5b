//! Printing: JSON lines and text on stdout, progress on stderr.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use brotr_core::escape;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::remote::Remote;

/// The exit status of a program that Ctrl-C ended: 128 and the number of the signal.
const INTERRUPTED: i32 = 130;

/// Prints one JSON document on a line.
pub(super) fn json(value: &impl Serialize) -> Result<()> {
    line(&serde_json::to_string(value)?)
}

/// Prints one or more lines; unlike `println!`, a closed pipe is an error and not a panic. On a terminal, characters that it may
/// act on are escaped: texts come from relays.
pub(super) fn line(text: &str) -> Result<()> {
    if let Some(remote) = Remote::current() {
        return remote.out(text);
    }
    let mut out = std::io::stdout().lock();
    if out.is_terminal() {
        writeln!(out, "{}", lines(text))?
    } else {
        writeln!(out, "{text}")?
    }
    Ok(())
}

/// Prints one or more lines on stderr.
pub(super) fn note(text: &str) -> Result<()> {
    match Remote::current() {
        Some(remote) => remote.err(text),
        None => {
            eprintln!("{}", lines(text));
            Ok(())
        }
    }
}

/// Returns a text of several lines in which everything but the line breaks is safe to show.
pub(super) fn lines(text: &str) -> String {
    text.split('\n').map(escape).collect::<Vec<_>>().join("\n")
}

/// Escapes a line, and cuts it to the width of the terminal, if there is one.
pub(super) fn fit(line: &str) -> String {
    let line = escape(line);
    // Of wide characters fewer fit, and the line wraps.
    match super::table::terminal_width().map(usize::from) {
        Some(width) if line.chars().count() > width => {
            line.chars().take(width.saturating_sub(1)).chain(['…']).collect()
        }
        _ => line.into_owned(),
    }
}

/// Prints the heading of a part of a report, after an empty line if it begins with one.
pub(super) fn heading(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let text = match text.strip_prefix('\n') {
        Some(rest) => {
            writeln!(out)?;
            rest
        }
        None => text,
    };
    match super::table::is_coloured() {
        true => writeln!(out, "\x1b[1m{}\x1b[0m", escape(text))?,
        false => writeln!(out, "{}", escape(text))?,
    }
    Ok(())
}

/// What a progress bar counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Things,
    Bytes,
}

/// Returns a progress bar on a terminal, and a hidden one elsewhere.
pub(super) fn progress(total: u64, what: &str, unit: Unit) -> ProgressBar {
    if !std::io::stderr().is_terminal() || Remote::current().is_some() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(total);
    let counts = match unit {
        Unit::Things => "{human_pos}/{human_len} {per_sec:.0}",
        Unit::Bytes => "{bytes}/{total_bytes} {bytes_per_sec}",
    };
    // Without a total there is neither a share nor an end.
    let template = match total {
        0 => "{spinner} {prefix} {elapsed} {wide_msg}".to_owned(),
        _ => format!("{{prefix}} [{{bar:10}}] {{percent:>3}} % {counts} ETA {{eta}} {{wide_msg}}"),
    };
    let style = ProgressStyle::with_template(&template);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
    bar.set_prefix(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Ctrl-C during a command: the first one is for the command, which prints what was done so far; the second one ends the
/// program at once.
pub(super) struct Interrupt {
    came: Arc<Notify>,
    _waits: JoinSet<()>,
}

impl Interrupt {
    /// Starts to listen.
    pub(super) fn new() -> Self {
        let came = Arc::new(Notify::new());
        let (mut waits, notify) = (JoinSet::new(), came.clone());
        match Remote::current() {
            Some(remote) => {
                waits.spawn(async move {
                    remote.interrupt().await;
                    notify.notify_one();
                });
            }
            None => {
                waits.spawn(async move {
                    // If it cannot listen, the system's default ends the program.
                    if tokio::signal::ctrl_c().await.is_ok() {
                        notify.notify_one();
                        if tokio::signal::ctrl_c().await.is_ok() {
                            std::process::exit(INTERRUPTED);
                        }
                    }
                });
            }
        }
        Self { came, _waits: waits }
    }

    /// Waits until the command is interrupted. Returns once.
    pub(super) async fn wait(&self) {
        self.came.notified().await;
    }
}

/// Returns how long something took, and its rate: `in 2.5 s, 400/s`.
pub(super) fn rate(n: u64, took: Duration) -> String {
    let seconds = took.as_secs_f64();
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "a rate")]
    let rate = (n as f64 / seconds.max(0.001)) as u64;
    format!("in {seconds:.1} s, {}/s", number(rate))
}

/// Returns a container for several bars, hidden unless stderr is a terminal.
pub(super) fn bars() -> MultiProgress {
    let shown = std::io::stderr().is_terminal() && Remote::current().is_none();
    MultiProgress::with_draw_target(if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() })
}

/// Returns a spinner for work whose total is not known.
pub(super) fn spinner(what: String) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {prefix} {elapsed} {wide_msg}");
    let spinner = ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    spinner.set_prefix(what);
    spinner
}

/// Formats a number with thousands separators.
pub(super) fn number(n: impl Into<i128>) -> String {
    let n = n.into();
    let digits = n.unsigned_abs().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if n < 0 {
        text.push('-');
    }
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats a number of bytes in binary units.
pub(super) fn bytes(n: i64) -> String {
    bytesize::ByteSize::b(n.max(0).cast_unsigned()).display().iec().to_string()
}

/// Formats how long ago a time was, in its largest unit.
pub(super) fn ago(at: i64, now: i64) -> String {
    let seconds = now.saturating_sub(at).max(0);
    match seconds {
        ..60 => format!("{seconds} s ago"),
        60..3_600 => format!("{} min ago", seconds / 60),
        3_600..172_800 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} days ago", number(seconds / 86_400)),
    }
}

/// Returns `1 thing` or `2 things`.
pub(super) fn counted(n: impl Into<u64>, thing: &str) -> String {
    let n = n.into();
    format!("{} {thing}{}", number(n), if n == 1 { "" } else { "s" })
}

/// Formats a time in UTC (RFC 3339).
pub(super) fn time(seconds: i64) -> String {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds.max(0).cast_unsigned());
    // RFC 3339 ends with the year 9999.
    if seconds > 253_402_300_799 { seconds.to_string() } else { humantime::format_rfc3339_seconds(time).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_separators() {
        for (n, wanted) in [(0, "0"), (999, "999"), (1_000, "1,000"), (-1_234_567, "-1,234,567"), (100_000, "100,000")]
        {
            assert_eq!(number(n), wanted);
        }
        assert_eq!(number(i64::MIN), "-9,223,372,036,854,775,808");
        assert_eq!((counted(1_u64, "event"), counted(2_000_u64, "event")), ("1 event".into(), "2,000 events".into()));
    }
}
