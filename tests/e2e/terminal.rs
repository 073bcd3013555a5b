//! What people see: tables that fit the terminal, and nothing that a relay could do to it.

use std::time::Duration;

use brotr_tests::{Script, ScriptedRelay};
use nostr::{EventBuilder, Keys, Timestamp};
use serde_json::json;

use super::program::{Place, Terminal};

/// A window title, the same with C1 controls, a cleared screen, an overridden direction, and a bell.
const HOSTILE: &str = "\u{1b}]0;owned\u{7}\u{9d}0;owned\u{9c}\u{1b}[2J\u{9b}2J\u{202e}owned\u{2066}";

/// Returns a place with an archive of one relay, all of whose texts are hostile, and one that is down.
async fn place() -> (Place, ScriptedRelay) {
    let sign = |at: u64| {
        let builder = EventBuilder::text_note(format!("{HOSTILE} {at} {}", "long ".repeat(60)));
        builder.custom_created_at(Timestamp::from(at)).sign_with_keys(&Keys::generate()).expect("signed")
    };
    let mut script = Script::honest((1..=20).map(|n| sign(1_600_000_000 + n)).collect());
    let document = json!({"name": HOSTILE, "software": format!("https://example.com/{HOSTILE}"), "version": HOSTILE,
        "description": HOSTILE.repeat(20), "supported_nips": [1, 11, 42], "limitation": {"max_limit": 100, HOSTILE: HOSTILE}});
    script.nip11 = Some(document.to_string());
    script.refuses = Some(format!("blocked: {HOSTILE}"));
    let relay = ScriptedRelay::start(script).await.expect("started");
    let place = Place::with("finder: {enabled: false}");
    place.run(&["relays", "add", &relay.url, "ws://127.0.0.1:9/"]).ok();
    place.run(&["monitor"]);
    place.run(&["sync"]);
    (place, relay)
}

/// Removes colours.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut parts = text.split("\u{1b}[");
    plain.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (code, rest) = part.split_once('m').expect("a colour");
        assert!(code.chars().all(|c| c.is_ascii_digit() || c == ';'), "not a colour: {code:?} in {text:?}");
        plain.push_str(rest);
    }
    plain
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_fit_the_terminal() {
    let (place, relay) = place().await;
    for columns in [60, 120] {
        for args in [
            &["stats"][..],
            &["relays", "list"],
            &["relays", "show", &relay.url],
            &["coverage"],
            &["check", &relay.url],
            &["sql", "select * from events limit 5"],
        ] {
            let shown = plain(&place.run_on_terminal(args, columns));
            let lines: Vec<&str> = shown.lines().collect();
            assert!(lines.len() >= 3, "{args:?}: {shown}");
            let widest = lines.iter().map(|line| line.chars().count()).max().unwrap_or_default();
            assert!(widest <= usize::from(columns), "{args:?} on {columns} columns: {widest}\n{shown}");
        }
    }
    let wide = plain(&place.run_on_terminal(&["relays", "list"], 120));
    let down = wide.lines().find(|line| line.starts_with("down")).expect("listed");
    assert!(down.contains("connection_refused") && down.contains("ago"), "{wide}");
    let up = wide.lines().find(|line| line.starts_with("up")).expect("listed");
    assert!(up.contains(" ms ") && up.contains("100 %"), "{wide}");
}

#[test]
fn the_log_has_colours_on_a_terminal_unless_they_are_ruled_out() {
    let place = Place::with("monitor: {enabled: false}\nsynchronizer: {enabled: false}\nfinder: {enabled: false}");
    let log = |variable: &str| {
        let shown = place.run_on_terminal_by(&format!("env {variable} timeout -s INT 3"), &["run"], 100);
        assert!(shown.contains("is running"), "{shown}");
        shown.contains('\x1b')
    };
    assert!(log("A=1") && !log("NO_COLOR=1") && !log("TERM=dumb"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_relay_says_reaches_the_terminal_unescaped() {
    let (place, relay) = place().await;
    for args in [
        &["check", &relay.url][..],
        &["monitor", &relay.url],
        &["sync", &relay.url],
        &["relays", "list"],
        &["relays", "show", &relay.url, "--documents"],
        &["relays", "show", &relay.url, "--json"],
        &["coverage"],
        &["stats"],
        &["query", "{}"],
        &["export"],
        &["sql", "select content, sig from events"],
        &["sql", "--csv", "select content from events"],
        &["sql", "--json", "select content from events"],
        &["push", &relay.url],
        &["job", "--relay", &relay.url, "--kind", "5400"],
    ] {
        let shown = place.run_on_terminal(args, 100);
        for bad in ["\u{1b}]", "\u{1b}[2J", "\u{7}", "\u{9b}", "\u{9c}", "\u{9d}", "\u{202e}", "\u{2066}"] {
            assert!(!shown.contains(bad), "{bad:?} by {args:?}: {shown:?}");
        }
    }
    // The JSON that a terminal gets is the JSON that a pipe gets.
    let piped = place.run(&["query", "{\"limit\": 1}"]).ok().json();
    let shown = place.run_on_terminal(&["query", "{\"limit\": 1}"], 100);
    assert_eq!(serde_json::from_str::<serde_json::Value>(shown.trim()).expect("JSON"), piped[0]);
    assert!(piped[0]["content"].as_str().is_some_and(|content| content.starts_with(HOSTILE)), "{piped:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn relays_are_filtered_and_sorted() {
    let (place, relay) = place().await;
    let list = |args: &[&str]| place.run(&[&["--json", "relays", "list"], args].concat()).ok().json();
    assert_eq!(list(&[]).len(), 2);
    for (args, wanted) in [
        (&["--state", "down"][..], 0),
        (&["--state", "up,down", "--sort", "rtt", "--limit", "1"], 1),
        (&["--sort", "uptime", "--limit", "1"], 1),
        (&["--nip", "11,42"], 1),
        (&["--software", "EXAMPLE.com"], 1),
        (&["owned"], 1),
        (&["127.0.0.1:9/"], 0),
    ] {
        let listed = list(args);
        assert_eq!(listed.len(), 1, "{args:?}");
        let is_relay =
            listed[0]["url"].as_str().is_some_and(|url| url.trim_end_matches('/') == relay.url.trim_end_matches('/'));
        assert_eq!(usize::from(is_relay), wanted, "{args:?}: {listed:?}");
    }
    assert!(
        list(&["--nip", "99"]).is_empty()
            && list(&["--country", "DE"]).is_empty()
            && list(&["--network", "tor"]).is_empty()
    );
    let down = &list(&["--state", "down"])[0];
    assert_eq!((&down["failure"], &down["uptime_month"]), (&json!("connection_refused"), &json!(0.0)));
    let refused = place.run(&["relays", "list", "--state", "sideways"]);
    assert!(refused.status == 2 && refused.stderr.contains("sideways"), "{refused:?}");
}

#[test]
fn sql_takes_its_statement_from_a_file_or_stdin_and_prints_csv() {
    let place = Place::with("");
    place.run(&["init"]).ok();
    let file = place.write("statement.sql", "select 'a,b' as text, 1 as n\nunion all select 'c\"d', null order by 1");
    let file = file.to_str().expect("UTF-8");
    let csv = "text,n\n\"a,b\",1\n\"c\"\"d\",\n";
    assert_eq!(place.run(&["sql", "--csv", "-f", file]).ok().stdout, csv);
    let text = std::fs::read_to_string(file).expect("written");
    assert_eq!(place.run_with(&["sql", "--csv"], &text, &[]).ok().stdout, csv);
    assert_eq!(place.run_with(&["sql", "-f", "-"], &text, &[]).ok().stdout, "a,b|1\nc\"d|\n");
    let wrong = place.run(&["sql", "select * from nowhere"]);
    assert_eq!(wrong.status, 1);
    assert_eq!(wrong.stderr.matches("nowhere").count(), 1, "{wrong:?}");
    assert!(!wrong.stderr.contains("Error code"), "{wrong:?}");
    let both = place.run(&["sql", "select 1", "-f", file]);
    assert_eq!(both.status, 2, "{both:?}");
}

#[test]
fn the_sql_shell_survives_errors_and_stops_a_statement_at_ctrl_c() {
    let place = Place::with("");
    place.run(&["init"]).ok();
    let mut shell = place.terminal(&["sql"]);
    let wait = |shell: &mut Terminal, text: &str| {
        assert!(shell.shows(text, Duration::from_secs(20)), "{text:?} is missing in {}", shell.shown());
    };
    wait(&mut shell, "brotr> ");
    for (say, shown) in [
        ("\\d\n", "relay_coverage"),
        ("select * from nowhere;\n", "no such table"),
        ("select 'two' ||\n", "..> "),
        ("' lines' as joined;\n", "two lines"),
    ] {
        shell.say(say);
        wait(&mut shell, shown);
    }
    wait(&mut shell, "brotr> ");
    shell.say("with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n;\n");
    // At the prompt, before the statement begins, Ctrl-C does nothing.
    let cancelled = (0..40).any(|_| {
        shell.say("\u{3}");
        shell.shows("cancelled", Duration::from_millis(500))
    });
    assert!(cancelled, "{}", shell.shown());
    shell.say("select 41 + 1 as answer;\n");
    wait(&mut shell, "42");
    wait(&mut shell, "(1 row)");
    shell.say("\\q\n");
    assert_eq!(shell.status(), Some(0), "the statement has ended too: {}", shell.shown());
    let history = std::fs::read_to_string(place.path().join("brotr-data/sql_history")).expect("kept");
    assert!(history.contains("41 + 1"), "{history}");
}
