//! Commands as people type them, right and wrong.

use std::os::unix::fs::PermissionsExt;

use brotr_tests::dns::Answer;
use brotr_tests::{Dns, Script, ScriptedRelay, events};
use nostr::JsonUtil;
use serde_json::json;

use super::program::{Place, soon};

#[test]
fn init_creates_a_directory_once() {
    let place = Place::empty();
    // The template seeds from the built-in list, which needs no network.
    let first = place.run(&["init", "--json"]).ok().json();
    assert_eq!(first[0]["config_written"], true);
    assert!(first[0]["relays"].as_i64().expect("a count") >= 40);
    let mode = |name: &str| {
        let found = std::fs::metadata(place.path().join(name));
        found.unwrap_or_else(|e| panic!("{name}: {e}")).permissions().mode() & 0o777
    };
    assert_eq!(["brotr-data", "brotr-data/agent.key", "brotr-data/brotr.db"].map(mode), [0o700, 0o600, 0o600]);
    place.run(&["config", "check"]).ok();
    let mut config = std::fs::read_to_string(place.path().join("brotr.yaml")).expect("written");
    config.push_str("# mine\n");
    place.write("brotr.yaml", &config);
    let second = place.run(&["init", "--json"]).ok().json();
    assert_eq!((&second[0]["config_written"], &second[0]["npub"]), (&json!(false), &first[0]["npub"]));
    assert_eq!(std::fs::read_to_string(place.path().join("brotr.yaml")).expect("there"), config);
}

#[test]
fn an_invalid_configuration_exits_with_2_and_names_the_error() {
    for (text, wanted) in [
        ("version: 1\nmonitr: {}\n", "brotr.yaml:2: unknown key monitr: did you mean monitor?"),
        ("version: 1\nhttp:\n  listen: here\n", "brotr.yaml:3: http.listen"),
        ("version: 7\n", "version is 7"),
        (": : :\n", "brotr.yaml"),
    ] {
        let place = Place::empty();
        place.write("brotr.yaml", text);
        for command in [&["run"][..], &["stats"], &["config", "check"], &["query"]] {
            let ran = place.run(command);
            assert_eq!(ran.status, 2, "{command:?}: {ran:?}");
            assert!(ran.stderr.contains(wanted), "{command:?}: {ran:?}");
        }
        let checked = place.run(&["config", "check", "--json"]);
        assert_eq!((checked.status, &checked.json()[0]["ok"]), (2, &json!(false)));
        let doctor = place.run(&["doctor", "--json"]);
        assert_eq!((doctor.status, &doctor.json()[0]["ok"]), (1, &json!(false)));
    }
    let place = Place::empty();
    let ran = place.run(&["--config", "not-there.yaml", "stats"]);
    assert!(ran.status == 2 && ran.stderr.contains("not-there.yaml"), "{ran:?}");
    let ran = place.run_with(&["stats"], "", &[("BROTR_MONITOR__INTERVL", "1h")]);
    assert!(ran.status == 2 && ran.stderr.contains("BROTR_MONITOR__INTERVL"), "{ran:?}");
    assert_eq!(place.run(&["no-such-command"]).status, 2);
    assert_eq!(place.run(&["job", "4000"]).status, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_names_what_is_missing_and_what_to_do() {
    let relay = ScriptedRelay::start(Script::honest(vec![])).await.expect("started");
    let dns = Dns::start(|name, _| (name == "relay.example.test").then(|| Answer::of(&["127.0.0.1"])));
    let dns = dns.await.expect("started");
    let port = relay.url.trim_end_matches('/').rsplit(':').next().expect("a port");
    let with = |host: &str, taken: &str| {
        let place = Place::empty();
        let config = json!({"version": 1, "initializer": {"seeds": []}, "http": {"listen": "127.0.0.1:0"},
            "network": {"allow": ["127.0.0.0/8"], "nameservers": [dns.address], "tor": {"enabled": false},
                "clearnet": {"connect_timeout": "2s"}},
            "identity": {"relays": [format!("ws://{host}:{port}")]}, "dvm": {"relays": [taken]}});
        place.write("brotr.yaml", &config.to_string());
        place
    };
    let checks = |place: &Place, args: &[&str], status| {
        let ran = place.run(&[&["doctor", "--json"], args].concat());
        assert_eq!(ran.status, status, "{ran:?}");
        let checks = ran.json()[0]["checks"].as_array().expect("checks").clone();
        move |name: &str| checks.iter().find(|check| check["name"] == name).cloned()
    };
    let well = with("relay.example.test", &relay.url);
    let found = checks(&well, &[], 0);
    assert_eq!(found("names").expect("looked up")["detail"], "relay.example.test is 127.0.0.1");
    for name in ["own relays", "job relays"] {
        assert!(found(name).expect("dialed")["detail"].as_str().expect("text").ends_with("answers"), "{name}");
    }
    let ill = with("nowhere.example.test", "ws://127.0.0.1:9");
    let found = checks(&ill, &[], 1);
    for (name, wanted) in [("names", "nowhere.example.test"), ("own relays", "resolve"), ("job relays", "127.0.0.1:9")]
    {
        let check = found(name).expect("tried");
        assert_eq!(check["ok"], false);
        assert!(check["detail"].as_str().expect("text").contains(wanted), "{check}");
        assert!(check["remedy"].is_string(), "{check}");
    }
    let asked = dns.asked().len();
    let found = checks(&ill, &["--offline"], 0);
    assert!(found("names").is_none() && found("database").is_some());
    assert_eq!(dns.asked().len(), asked);
}

#[test]
fn a_closed_pipe_is_not_an_error_of_completions() {
    let whole = Place::empty().run(&["completions", "bash"]).ok().stdout;
    assert!(whole.starts_with("_brotr()") && whole.contains("complete -F _brotr"), "{whole}");
    let program = env!("CARGO_BIN_EXE_brotr");
    let line = format!("set -o pipefail; {program} completions bash | head -c 1");
    let ran = std::process::Command::new("bash").args(["-c", &line]).output().expect("started");
    assert_eq!((ran.stdout.as_slice(), String::from_utf8_lossy(&ran.stderr).as_ref()), (b"_".as_slice(), ""));
}

#[test]
fn a_key_that_cannot_be_read_is_named_and_not_replaced() {
    let place = Place::with("");
    std::fs::create_dir(place.path().join("brotr-data")).expect("made");
    let key = place.write("brotr-data/agent.key", "nsec1notakey\n");
    let ran = place.run(&["run"]);
    assert!(ran.status == 1 && ran.stderr.contains("agent.key") && !ran.stderr.contains("nsec1notakey"), "{ran:?}");
    assert_eq!(std::fs::read_to_string(key).expect("still there"), "nsec1notakey\n");
}

#[test]
fn keys_are_loaded_from_every_source_and_shown_on_request_only() {
    let hex = "3501454135014541350145413501453fefb02227e449e57cf4d3a3ce05378683";
    let place = Place::with("");
    let none = place.run(&["keys", "show"]);
    assert!(none.status == 1 && none.stderr.contains("brotr keys generate"), "{none:?}");
    let imported = place.run_with(&["keys", "import", "--json"], hex, &[]).ok();
    let npub = imported.json()[0]["npub"].clone();
    let shown = place.run(&["keys", "show", "--json"]).ok();
    assert!(shown.json()[0]["npub"] == npub && !shown.stdout.contains("nsec"), "{shown:?}");
    let secret = place.run(&["keys", "show", "--secret"]).ok().stdout;
    assert!(secret.contains("nsec1"));
    assert_eq!(place.run(&["keys", "generate"]).status, 1, "a key that is there is not replaced");
    let pass = place.write("pass", "a long passphrase\n");
    let env = [("BROTR_IDENTITY__PASSPHRASE_FILE", pass.to_str().expect("text"))];
    place.run_with(&["keys", "encrypt", "sealed"], "", &env).ok();
    let sealed = place.path().join("sealed");
    let sealed = [("BROTR_IDENTITY__SECRET_FILE", sealed.to_str().expect("text")), env[0]];
    assert_eq!(place.run_with(&["keys", "show", "--json"], "", &sealed).ok().json()[0]["npub"], npub);
    let closed = place.run_with(&["keys", "show"], "", &sealed[..1]);
    assert!(closed.status == 1 && closed.stderr.contains("passphrase"), "{closed:?}");
    let shown = place.run_with(&["config", "show"], "", &[("BROTR_IDENTITY__SECRET", hex)]).ok();
    assert!(!shown.stdout.contains(&hex[..8]) && shown.stdout.contains("*****"), "{shown:?}");
}

#[test]
fn a_database_that_cannot_be_reached_is_named() {
    let place = Place::with("#storage postgres://u:hunter2@127.0.0.1:1/brotr\n");
    for command in [&["run"][..], &["stats"], &["import", "/dev/null"]] {
        let ran = place.run(command);
        assert_eq!(ran.status, 1, "{ran:?}");
        assert!(ran.stderr.contains("127.0.0.1:1") && !ran.stderr.contains("hunter2"), "{ran:?}");
    }
    let place = Place::with("");
    let ran = place.run(&["query"]);
    assert!(ran.status == 1 && ran.stderr.contains("no archive") && ran.stderr.contains("brotr init"), "{ran:?}");
    assert!(!place.path().join("brotr-data").exists(), "a look leaves nothing behind");
}

#[test]
fn import_stores_events_and_names_bad_lines() {
    let place = Place::with("");
    let list = events::signed(40, 1_000);
    let mut lines: Vec<String> = list.iter().map(JsonUtil::as_json).collect();
    let mut forged = list[3].clone();
    forged.content = "forged".into();
    lines.insert(10, forged.as_json());
    lines.insert(20, "{\"id\": 7}".into());
    lines.insert(30, "not json \u{1F525}".into());
    lines.push(lines[0].clone());
    lines.push(String::new());
    let file = place.write("events.jsonl", &lines.join("\n"));
    let ran = place.run(&["import", file.to_str().expect("text"), "--relay", "wss://seen.example", "--json"]);
    assert_eq!(ran.status, 1, "not everything was taken");
    let ran = ran.json();
    assert_eq!((&ran[0]["read"], &ran[0]["stored"], &ran[0]["known"]), (&json!(44), &json!(40), &json!(1)));
    let named: Vec<_> = ran[0]["rejected"].as_array().expect("a list").iter().map(|r| r["line"].as_i64()).collect();
    assert_eq!(named, [Some(11), Some(21), Some(31)]);
    assert!(ran[0]["rejected"][0]["reason"].as_str().expect("text").contains("wrong id"));

    let out = place.path().join("out.jsonl");
    // A file that is there already stays as it is until the new one is complete.
    std::fs::write(&out, "old").expect("written");
    let part = out.with_extension("jsonl.part");
    std::fs::create_dir(&part).expect("made");
    assert_eq!(place.run(&["export", "--output", out.to_str().expect("text")]).status, 1);
    assert_eq!(std::fs::read_to_string(&out).expect("there"), "old");
    std::fs::remove_dir(&part).expect("removed");
    place.run(&["export", "--output", out.to_str().expect("text")]).ok();
    assert!(!part.exists());
    let exported = std::fs::read_to_string(out).expect("written");
    let newest_first: Vec<String> = list.iter().rev().map(JsonUtil::as_json).collect();
    assert_eq!(exported.lines().collect::<Vec<_>>(), newest_first);
    let other = Place::with("");
    assert_eq!(other.run_with(&["import", "--json"], &exported, &[]).ok().json()[0]["stored"], 40);
    assert_eq!(other.run(&["export"]).ok().stdout, exported);

    let two = place.run(&["query", r#"{"kinds":[1],"limit":2}"#, "--seen"]).ok().json();
    assert_eq!((two.len(), &two[0]["relays"]), (2, &json!(["wss://seen.example/"])));
    assert_eq!(place.run(&["query", r#"{"kinds":[1]}"#, "--count", "--json"]).ok().json(), [json!({"count": 10})]);
    for (filter, wanted) in [("{\"kindz\":[1]}", "kindz"), ("[", "not JSON")] {
        let ran = place.run(&["query", filter]);
        assert!(ran.status == 2 && ran.stderr.contains(wanted), "{ran:?}");
    }
    let stats = place.run(&["stats", "--json"]).ok().json();
    assert_eq!((&stats[0]["events"], &stats[0]["sightings"]), (&json!(40), &json!(40)));
}

#[test]
fn relays_are_added_from_anywhere_with_a_report_of_what_was_refused() {
    let place = Place::empty();
    place.write("brotr.yaml", "version: 1\ninitializer: {seeds: []}\n");
    let list = place.write("list.txt", "# mine\nwss://a.example\nWSS://A.example:443/\n\nwss://192.168.1.1\n");
    let ran = place.run_with(
        &["relays", "add", "wss://b.example", list.to_str().expect("text"), "-", "--json"],
        "http://c.example\nwss://d.examplewss://e.example\nwss://localhost\n",
        &[],
    );
    let added = &ran.ok().json()[0];
    assert_eq!((&added["added"], &added["known"]), (&json!(2), &json!(1)), "{added}");
    assert_eq!(
        added["refused"][0],
        json!({"input": "wss://192.168.1.1", "reason": "private address (private network)"})
    );
    assert_eq!(added["refused"][1]["input"], "wss://localhost");
    assert_eq!(added["malformed"].as_array().map(Vec::len), Some(2), "{added}");
    assert_eq!(place.run(&["relays", "add", "wss://b.example", "--json"]).ok().json()[0]["known"], 1);
    let listed = place.run(&["relays", "list", "--json"]).ok().json();
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[0]["url"], "wss://a.example/");
    assert_eq!((&listed[0]["state"], &listed[0]["checked_at"]), (&json!("new"), &json!(null)));
    let missing = place.run(&["relays", "add", "not-there.txt"]);
    assert!(missing.status == 1 && missing.stderr.contains("not-there.txt"), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_prints_a_report() {
    let relay = ScriptedRelay::start(Script {
        nip11: Some(r#"{"name":"x\u001b[31m","supported_nips":[1]}"#.into()),
        ..Script::honest(vec![])
    })
    .await
    .expect("started");
    let place = Place::with("");
    let ran = tokio::task::block_in_place(|| place.run(&["check", &relay.url])).ok();
    assert!(ran.stdout.contains("  up\n") && ran.stdout.contains("nip11") && !ran.stdout.contains('\u{1b}'), "{ran:?}");
    let ran = place.run(&["check", &relay.url, "ws://127.0.0.1:9", "--json"]);
    assert_eq!(ran.status, 1, "one of them is down");
    let lines = ran.json();
    assert_eq!((&lines[0]["up"], &lines[1]["up"]), (&json!(true), &json!(false)));
    for name in ["open", "read", "write", "nip11"] {
        assert_eq!(lines[0]["checks"][name]["ok"], true, "{lines:?}");
        assert!(lines[0]["checks"][name]["ms"].is_u64() && lines[0]["checks"][name]["reason"].is_null());
    }
    assert!(lines[1]["checks"]["open"]["reason"].as_str().expect("a reason").contains("failed to connect"));
    assert_eq!((&lines[0]["failure"], &lines[1]["failure"]), (&json!(null), &json!("connection_refused")));
    assert_eq!(relay.events().len(), 0, "a check leaves nothing behind");
    assert_eq!(relay.counts.published.load(std::sync::atomic::Ordering::Relaxed), 2, "one ephemeral event each time");
    place.run(&["check", &relay.url, "--no-write"]).ok();
    assert_eq!(relay.counts.published.load(std::sync::atomic::Ordering::Relaxed), 2);
    assert!(!place.path().join("brotr-data").exists(), "here neither");
    let refused = place.run(&["check", "ws://10.0.0.1"]);
    assert!(refused.status == 2 && refused.stderr.contains("private address"), "{refused:?}");
}

#[test]
fn a_closed_pipe_is_not_an_error() {
    let place = Place::with("");
    let list: Vec<String> = events::signed(2_000, 1_000).iter().map(JsonUtil::as_json).collect();
    place.run_with(&["import"], &list.join("\n"), &[]).ok();
    let command = format!("'{}' export | head -n 1", env!("CARGO_BIN_EXE_brotr"));
    let ran = std::process::Command::new("bash")
        .args(["-o", "pipefail", "-c", &command])
        .current_dir(place.path())
        .output()
        .expect("ran");
    assert!(ran.status.success() && ran.stderr.is_empty(), "{ran:?}");
}

#[test]
fn an_archive_is_backed_up_beside_the_daemon_and_restored_elsewhere() {
    let place = Place::with("backup: {enabled: true, interval: 1s, keep: 2}");
    let lines: Vec<String> = events::signed(40, 1_700_000_000).iter().map(JsonUtil::as_json).collect();
    let import = place.run_with(&["import", "--json"], &lines.join("\n"), &[]).ok().json();
    assert_eq!(import[0]["stored"], 40);
    let daemon = place.daemon();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(120);
    while !daemon.log().contains("is running") && std::time::Instant::now() < end {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let second = place.run(&["run"]);
    assert!(second.status == 1 && second.stderr.contains("in use by another brotr"), "{second:?}");
    let directory = place.path().join("brotr-data/backups");
    let backups = || {
        let entries = std::fs::read_dir(&directory).into_iter().flatten().flatten();
        entries.map(|e| e.file_name().into_string().expect("UTF-8")).filter(|n| n.ends_with(".db")).collect::<Vec<_>>()
    };
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 4 && std::time::Instant::now() < end {
        seen.extend(backups());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let now = place.run(&["backup", "by-hand.db", "--json"]).ok().json();
    assert_eq!(now[0]["events"], 40, "beside the running daemon");
    daemon.end(brotr_tests::Signal::TERM);
    assert!(seen.len() >= 4 && backups().len() <= 3, "one a second, two kept: {seen:?} {:?}", backups());
    let elsewhere = Place::with("");
    let file = directory.join(backups().pop().expect("one"));
    let restored = elsewhere.run(&["restore", file.to_str().expect("UTF-8"), "--json"]).ok().json();
    assert_eq!(restored[0]["events"], 40);
    let mut back: Vec<String> = elsewhere.run(&["export"]).ok().stdout.lines().map(str::to_owned).collect();
    let mut lines = lines;
    lines.sort();
    back.sort();
    assert_eq!(back, lines, "byte for byte");
    assert!(!elsewhere.path().join("brotr-data/agent.key").exists(), "the key is not in a backup");
    let again = elsewhere.run(&["restore", file.to_str().expect("UTF-8")]);
    assert!(again.status == 1 && again.stderr.contains("is there already"), "{again:?}");
    let sql = elsewhere.run(&["sql", "select kind, events from kind_counts_total order by kind"]).ok();
    assert_eq!(sql.stdout, "1|10\n6|10\n7|10\n30023|10\n");
    let content = elsewhere.run(&["--json", "sql", "select content, hex(id) as id from events limit 1"]).ok().json();
    assert!(content[0]["content"].as_str().is_some_and(|text| text.contains("says")), "{content:?}");
}

#[test]
fn query_hides_what_clients_do_not_see_unless_all_is_given() {
    use nostr::{EventBuilder, Keys, Kind, Tag, Timestamp};
    let place = Place::with("");
    let keys = Keys::generate();
    let sign = |builder: EventBuilder, at: u64| {
        builder.custom_created_at(Timestamp::from(at)).sign_with_keys(&keys).expect("signed")
    };
    let old = sign(EventBuilder::new(Kind::Metadata, "{\"name\":\"old\"}"), 1);
    let new = sign(EventBuilder::new(Kind::Metadata, "{\"name\":\"new\"}"), 2);
    let note = sign(EventBuilder::text_note("taken back"), 3);
    let expired = sign(EventBuilder::text_note("gone").tag(Tag::expiration(Timestamp::from(5))), 4);
    let deletion = sign(EventBuilder::new(Kind::EventDeletion, "").tag(Tag::event(note.id)), 6);
    let lines: Vec<String> = [&deletion, &old, &new, &note, &expired].map(JsonUtil::as_json).into();
    place.run_with(&["import"], &lines.join("\n"), &[]).ok();
    let ids = |args: &[&str]| {
        let lines = place.run(args).ok().json();
        lines.iter().map(|e| e["id"].as_str().expect("an id").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&["query"]), [deletion.id.to_hex(), new.id.to_hex()]);
    assert_eq!(ids(&["query", "--all"]).len(), 5);
    assert_eq!(place.run(&["query", "--count"]).ok().stdout, "2\n");
    assert_eq!(place.run(&["query", "--count", "--all"]).ok().stdout, "5\n");
    assert_eq!(ids(&["query", r#"{"search":"NEW"}"#]), [new.id.to_hex()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_configuration_is_taken_up_and_a_wrong_one_is_not() {
    let place = Place::with("synchronizer: {enabled: false}");
    let right = std::fs::read_to_string(place.path().join("brotr.yaml")).expect("there");
    let daemon = place.daemon();
    let says = async |word: &str, n: usize| {
        super::program::soon(20, word, async || (daemon.log().matches(word).count() >= n).then_some(())).await;
    };
    says("is running", 1).await;
    place.write("brotr.yaml", &right.replace("synchronizer", "synchronizzer"));
    daemon.signal(brotr_tests::Signal::HUP);
    says("the configuration is left as it was", 1).await;
    assert!(daemon.log().contains("synchronizzer"), "it says what is wrong: {}", daemon.log());
    let address = daemon.http().replace("http://", "");
    let health = brotr_tests::browser::http("GET", &address, "/healthz", &[], "").await.expect("it runs on");
    assert_eq!(health.json()["status"], "up");
    place.write("brotr.yaml", &right.replace("http: {", "relay: {enabled: true, listen: \"127.0.0.1:0\"}\nhttp: {"));
    daemon.signal(brotr_tests::Signal::HUP);
    says("is running", 2).await;
    says("the archive is a relay", 1).await;
    // The same process, and as obedient.
    assert_eq!(daemon.end(brotr_tests::Signal::TERM).0, Some(0));
}

#[test]
fn completions_and_manuals_are_written() {
    let place = Place::empty();
    for shell in ["bash", "zsh", "fish"] {
        let completions = place.run(&["completions", shell]).ok().stdout;
        assert!(completions.contains("coverage") && completions.contains("json"), "{shell}");
    }
    place.run(&["man", "manual"]).ok();
    let page = std::fs::read_to_string(place.path().join("manual/brotr-relays-show.1")).expect("a page");
    assert!(page.contains("Show one relay"), "{page}");
    assert!(place.path().join("manual/brotr.1").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_url_of_a_relay_is_a_seed() {
    let place = Place::with("monitor: {enabled: false}\nsynchronizer: {enabled: false}\nfinder: {enabled: false}");
    let text = std::fs::read_to_string(place.path().join("brotr.yaml")).expect("written");
    place.write("brotr.yaml", &text.replace("seeds: []", "seeds: [\"ws://127.0.0.1:9/\"]"));
    let _daemon = place.daemon();
    let listed = soon(10, "relay", async || place.run(&["--json", "relays", "list"]).json().pop()).await;
    assert_eq!(listed["url"], "ws://127.0.0.1:9/");
}
