//! Commands that write, beside a running daemon.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use brotr_tests::{Fault, Script, ScriptedRelay, Signal, events};
use nostr::JsonUtil;
use serde_json::{Value, json};

use super::program::{Place, soon};

const QUIET: &str = "monitor: {interval: 1d}\nsynchronizer: {interval: 1d, live: false}\nfinder: {enabled: false}";

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_write_work_beside_the_daemon() {
    let relay = ScriptedRelay::start(Script::honest(events::signed(30, 1_600_000_000))).await.expect("started");
    let place = Place::with(QUIET);
    let daemon = place.daemon();
    let socket = place.path().join("brotr-data/brotr.sock");
    soon(30, "socket", async || socket.exists().then_some(())).await;
    assert_eq!(std::fs::metadata(&socket).expect("there").permissions().mode() & 0o777, 0o600);

    // A file that the client names relative to its own directory, stdin, and a URL.
    place.write("list.txt", "ws://127.0.0.1:9/\nws://10.1.2.3/\n");
    let args = ["--json", "relays", "add", "list.txt", "-", "ws://127.0.0.1:8/"];
    let added = place.run_with(&args, "ws://127.0.0.1:7/", &[]).ok().json();
    assert_eq!((&added[0]["added"], added[0]["refused"].as_array().map(Vec::len)), (&json!(3), Some(1)));
    let text = place.run(&["relays", "add", "ws://127.0.0.1:9/"]).ok().stdout;
    assert!(text.contains("known      1"), "{text}");

    // More than a socket holds, in one line.
    let many: String = (0..20_000).map(|n| format!("not a relay {n}\n")).collect();
    let refused = place.run_with(&["--json", "relays", "add", "-"], &many, &[]);
    assert_eq!((refused.status, refused.json()[0]["malformed"].as_array().map(Vec::len)), (1, Some(20_000)));

    let synchronized = place.run(&["--json", "sync", &relay.url]).ok().json();
    assert_eq!(synchronized.last().map(|total| total["total"]["stored"].clone()), Some(json!(30)));
    let checked = place.run(&["monitor", &relay.url]).ok().stdout;
    assert!(checked.starts_with("up ") && checked.contains("1 relay checked, 1 up"), "{checked}");
    place.run(&["find"]).ok();

    let lines = events::signed(5, 1_500_000_000).iter().map(JsonUtil::as_json).collect::<Vec<_>>().join("\n");
    let file = place.write("events.jsonl", &format!("{lines}\nno event\n"));
    let imported = place.run(&["import", "--relay", "ws://127.0.0.1:9/", file.to_str().expect("UTF-8")]);
    assert_eq!(imported.status, 1, "a line was rejected: {imported:?}");
    assert!(imported.stdout.starts_with("6 read, 5 new, 0 known, 1 rejected"), "{imported:?}");
    assert!(imported.stderr.contains("line 6: "), "{imported:?}");
    let again = place.run_with(&["--json", "import"], &lines, &[]).ok().json();
    assert_eq!((&again[0]["known"], &again[0]["stored"]), (&json!(5), &json!(0)));
    assert_eq!(place.run(&["query", "--count", "--all"]).ok().stdout.trim(), "35");

    let wrong = place.run(&["sync", "ws://10.1.2.3/"]);
    assert!(wrong.status == 2 && wrong.stderr.contains("10.1.2.3"), "{wrong:?}");
    assert!(place.run(&["doctor", "--offline"]).ok().stdout.contains("daemon         runs"));

    // One that was killed leaves its socket, which is no obstacle to commands or to the next one.
    assert_eq!(daemon.end(Signal::KILL).0, None);
    assert!(socket.exists());
    place.run(&["relays", "add", "ws://127.0.0.1:6/"]).ok();
    let daemon = place.daemon();
    soon(30, "start", async || daemon.log().contains("is running").then_some(())).await;
    soon(30, "command", async || (place.run(&["relays", "add", "ws://127.0.0.1:5/"]).status == 0).then_some(())).await;
    assert_eq!(daemon.end(Signal::TERM).0, Some(0));
    assert!(!socket.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_takes_nothing_but_these_commands_and_survives_bad_clients() {
    let slow =
        ScriptedRelay::start(Script::wrong(events::signed(5, 1_600_000_000), Fault::TarPit)).await.expect("started");
    let place = Place::with(QUIET);
    let daemon = place.daemon();
    let socket = place.path().join("brotr-data/brotr.sock");
    soon(30, "socket", async || socket.exists().then_some(())).await;
    let archive = place.path().join("brotr-data/brotr.db").canonicalize().expect("there");
    let ask = |request: &str| {
        let request = request.replace("{\"args\"", &format!("{{\"archive\": {}, \"args\"", json!(archive)));
        let mut stream = UnixStream::connect(&socket).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
        stream.write_all(request.as_bytes()).expect("sent");
        stream.shutdown(std::net::Shutdown::Write).expect("ended");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("text");
        answer.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")).collect::<Vec<_>>()
    };
    for request in [
        "",
        "nonsense\n",
        "{\"args\": []}\n",
        "{\"archive\": \"/elsewhere/brotr.db\", \"args\": [\"find\"]}\n",
        "{\"args\": [\"run\"]}\n",
        "{\"args\": [\"keys\", \"show\", \"--secret\"]}\n",
        "{\"args\": [\"export\"]}\n",
        "{\"args\": [\"relays\", \"show\", \"ws://127.0.0.1:9\"]}\n",
        "{\"args\": [\"sync\", \"--no-such-option\"]}\n",
    ] {
        let answers = ask(request);
        assert!(answers.iter().all(|answer| answer["out"].is_null()), "{request:?}: {answers:?}");
        let status = answers.last().expect("a status")["status"].as_u64();
        assert!(status.is_some_and(|status| status != 0), "{request:?}: {answers:?}");
    }
    // One that never ends its line is cut off.
    let mut endless = UnixStream::connect(&socket).expect("it listens");
    let sent = (0..64).map(|_| endless.write_all(&[b'x'; 1 << 20])).find(Result::is_err);
    assert!(sent.is_some(), "64 MiB were taken for a request");
    // The end of the client's input interrupts the command: it reports what it did so far.
    let began = std::time::Instant::now();
    let answers = ask(&format!("{}\n", json!({"args": ["sync", slow.url]})));
    let said = answers.iter().filter_map(|answer| answer["out"].as_str()).collect::<String>();
    assert!(said.contains("interrupted: 0 relays"), "{answers:?}");
    assert!(began.elapsed() < Duration::from_secs(30));
    // Clients that say nothing hold no place for long, and the daemon ends while they wait.
    let silent: Vec<_> = (0..3).map(|_| UnixStream::connect(&socket).expect("it listens")).collect();
    assert!(place.run(&["relays", "add", "ws://127.0.0.1:9/"]).ok().stdout.contains("added      1"));
    assert_eq!(daemon.end(Signal::TERM).0, Some(0));
    drop(silent);
}
