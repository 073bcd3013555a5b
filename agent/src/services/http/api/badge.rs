//! The badge of a relay: its state and uptime as a small picture.

use brotr_core::RelayState;

use crate::history::percent;

/// Average width of a character of the badge's font, in pixels.
const CHARACTER: usize = 7;
const PADDING: usize = 6;

/// Returns the badge as SVG. Nothing that a relay wrote is in it.
pub(super) fn svg(state: RelayState, uptime: Option<f64>) -> String {
    let (word, colour) = match state {
        RelayState::Up => ("up", "#1a7f37"),
        RelayState::Down => ("down", "#b3261e"),
        RelayState::New => ("unchecked", "#57606a"),
        RelayState::Alias => ("alias", "#57606a"),
        RelayState::OptedOut => ("not checked", "#57606a"),
    };
    let text = uptime
        .filter(|_| state != RelayState::OptedOut)
        .map_or_else(|| word.to_owned(), |uptime| format!("{word}, {} in 30 d", percent(uptime)));
    let width = |text: &str| text.chars().count() * CHARACTER + 2 * PADDING;
    let (left, right) = (width("relay"), width(&text));
    let (all, place) = (left + right, left + PADDING);
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{all}" height="20" role="img" aria-label="relay: {text}">
<title>relay: {text}</title>
<rect width="{all}" height="20" rx="3" fill="{colour}"/>
<path d="M3 0H{left}V20H3a3 3 0 0 1-3-3V3a3 3 0 0 1 3-3z" fill="#24292f"/>
<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">
<text x="{PADDING}" y="14">relay</text>
<text x="{place}" y="14">{text}</text>
</g>
</svg>
"##
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_badge_says_the_state_and_does_not_round_up() {
        for (state, uptime, text) in [
            (RelayState::Up, Some(1.0), "relay: up, 100 % in 30 d"),
            (RelayState::Up, Some(0.999_99), "relay: up, 99.9 % in 30 d"),
            (RelayState::Down, Some(0.0), "relay: down, 0.0 % in 30 d"),
            (RelayState::New, None, "relay: unchecked"),
        ] {
            let svg = svg(state, uptime);
            assert!(svg.contains(&format!("<title>{text}</title>")), "{svg}");
        }
    }
}
