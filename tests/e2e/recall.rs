//! Which relays give most of an author's events, and earlier versions of an author's lists.

use std::collections::HashSet;
use std::sync::Arc;

use brotr::recall::{Source, Wanted};
use brotr_core::{Event, Guard, Network, RelayState};
use brotr_storage::{Archive, Batch, CheckRecord, Options};
use brotr_tests::authors::{END, World};
use brotr_tests::browser::http;
use nostr::{EventBuilder, JsonUtil, Keys, Kind, Tag, Timestamp};
use serde_json::{Value as Json, json};

use super::http::House;
use super::program::Place;

/// Stores what the archive saw of a world.
async fn archive(world: &World, url: &str) -> Arc<dyn Archive> {
    let archive = brotr_storage::open(url, Options::default()).await.expect("opened");
    let mut known = HashSet::new();
    for relay in 0..world.relays {
        let url = World::url(relay);
        let (new, old): (Vec<_>, Vec<_>) = world.held_by(relay).partition(|event| known.insert(event.id));
        let batch = Batch {
            relay: Some((url.clone(), Network::Clearnet)),
            seen_at: END as i64,
            events: new.into_iter().map(|event| Event::from(event).verify().expect("signed")).collect(),
            known: old.into_iter().map(|event| event.id).collect(),
            ..Batch::default()
        };
        archive.store(batch).await.expect("stored");
        let state = if world.is_up(relay) { RelayState::Up } else { RelayState::Down };
        let check = CheckRecord { at: END as i64, due_at: END as i64 + 3_600, state, ..CheckRecord::default() };
        archive.record_check(&url, Network::Clearnet, &check).await.expect("recorded");
    }
    archive
}

#[tokio::test(flavor = "multi_thread")]
async fn three_relays_give_nearly_all_events_of_an_author_whatever_the_author_says() {
    let world = World::new(100, 120, 40, 7);
    let dir = tempfile::tempdir().expect("a directory");
    let archive = archive(&world, &format!("sqlite://{}", dir.path().join("brotr.db").display())).await;
    let archive = archive.as_ref();
    let source = Source { events: archive, sightings: archive, relays: archive, now: END as i64 };
    let three = Wanted { recall: 1.0, relays: 3 };
    let (mut found, mut listed) = (0.0, 0.0);
    for author in &world.authors {
        let report = source.author(author.keys.public_key(), three, &Guard::default()).await.expect("a report");
        assert!(report.chosen.len() <= 3 && report.located == report.events, "{report:?}");
        let chosen: Vec<String> = report.chosen.iter().map(|choice| choice.relay.clone()).collect();
        // What the chosen relays hold of the sample is what the report says of them.
        let most = report.chosen.last().map_or(0.0, |choice| choice.recall);
        assert!((0.0..=1.0).contains(&most) && report.chosen.windows(2).all(|pair| pair[0].recall < pair[1].recall));
        let list_recall = report.list.as_ref().map_or(-1.0, |list| list.recall);
        assert!(list_recall.is_sign_positive(), "{report:?}");
        assert!(report.relays.iter().all(|share| share.is_up || !chosen.contains(&share.relay)), "{report:?}");
        let list = report.list.expect("every author has one");
        assert_eq!(list.write, author.list.iter().map(|relay| World::url(*relay)).collect::<Vec<_>>());
        found += world.recall(author, &chosen);
        listed += world.recall(author, &world.listed(author, 3));
    }
    let all = world.authors.len() as f64;
    let (found, listed) = (found / all, listed / all);
    println!("recall of held-out posts from three relays: {found:.3} by sightings, {listed:.3} by relay lists");
    assert!(found >= 0.95, "{found}");
    assert!(listed < found - 0.05, "the lists of this world are bad enough to tell: {listed}");

    let keys: Vec<_> = world.authors.iter().map(|author| author.keys.public_key()).collect();
    let report = source.authors(&keys, Wanted { recall: 0.9, relays: 30 }).await.expect("a report");
    let reached = report.chosen.last().expect("relays").recall;
    assert!(reached >= 0.9 && report.chosen[report.chosen.len() - 2].recall < 0.9, "no relay too many: {report:?}");
    let mean = report.authors.iter().filter_map(|author| author.recall).sum::<f64>() / all;
    assert!((mean - reached).abs() < 1e-6, "{mean} and {reached}");
}

/// Signs an event of an author.
fn sign(keys: &Keys, kind: u16, at: u64, tags: &[&[&str]], content: &str) -> nostr::Event {
    let tags = tags.iter().map(|tag| Tag::parse(tag.iter().copied()).expect("a tag"));
    let builder = EventBuilder::new(Kind::from(kind), content).tags(tags).custom_created_at(Timestamp::from(at));
    builder.sign_with_keys(keys).expect("signed")
}

#[tokio::test(flavor = "multi_thread")]
async fn earlier_versions_are_listed_with_what_changed_but_not_what_was_deleted() {
    let keys = Keys::generate();
    let (pubkey, alice, bob, carol) = (keys.public_key().to_hex(), "a".repeat(64), "b".repeat(64), "c".repeat(64));
    let mut events = vec![
        sign(&keys, 0, 1_000, &[], r#"{"name":"old","about":"same"}"#),
        sign(&keys, 0, 2_000, &[], r#"{"name":"new","about":"same"}"#),
        sign(&keys, 0, 3_000, &[], r#"{"about":"same"}"#),
        sign(&keys, 3, 1_000, &[&["p", &alice], &["p", &bob]], ""),
        sign(&keys, 3, 2_000, &[&["p", &bob], &["p", &carol]], ""),
        sign(&keys, 30_023, 1_000, &[&["d", "x"]], "first"),
        sign(&keys, 30_023, 2_000, &[&["d", "x"]], "second"),
        sign(&keys, 30_023, 2_000, &[&["d", "y"]], "another"),
        sign(&keys, 30_023, 3_000, &[&["d", "z"], &["d", "x"]], "the first d tag counts"),
        sign(&keys, 30_023, 3_000, &[], "nameless"),
    ];
    let place = Place::with("monitor: {enabled: false}\nsynchronizer: {enabled: false}\nfinder: {enabled: false}");
    let import = |events: &[nostr::Event]| {
        let lines: String = events.iter().map(|event| event.as_json() + "\n").collect();
        place.run_with(&["import", "-"], &lines, &[]).ok();
    };
    import(&events);
    let history = |args: &[&str]| place.run(&[&["--json", "history", &pubkey], args].concat());
    let profiles = history(&["0"]).ok().json();
    let changes: Vec<_> = profiles.iter().map(|version| version["changes"]["fields"].clone()).collect();
    assert_eq!(changes, [json!({"name": null}), json!({"name": "new"}), Json::Null]);
    let follows = history(&["3"]).ok().json();
    let wanted = json!({"added": [["p", carol]], "removed": [["p", alice]], "fields": {}, "content": false});
    assert_eq!((follows.len(), &follows[0]["changes"], &follows[1]["changes"]), (2, &wanted, &Json::Null));
    assert_eq!(history(&["30023", "x"]).ok().json().len(), 2);
    assert_eq!(history(&["30023"]).ok().json().len(), 1, "one without a d tag is the one whose d is empty");
    let shown = place.run(&["history", &pubkey, "3"]).ok().stdout;
    assert!(
        shown.contains(&format!("+ p {carol}")[..20]) && shown.contains("the oldest in the archive: 2 tags"),
        "{shown}"
    );
    for (args, wanted) in [(&["1"][..], "kind 1 has no versions"), (&["0", "x"], "it has no d tag")] {
        let refused = history(args);
        assert!(refused.status == 2 && refused.stderr.contains(wanted), "{refused:?}");
    }

    // The same over HTTP, in pages.
    {
        let house = House::start(&place);
        let path = format!("/api/v1/authors/{pubkey}/versions?kind=0&limit=2");
        let first = http("GET", &house.address, &path, &[], "").await.expect("an answer").json();
        assert_eq!(first["versions"], json!(profiles[..2]));
        let path = format!("{path}&after={}", first["next"].as_str().expect("more"));
        let second = http("GET", &house.address, &path, &[], "").await.expect("an answer").json();
        assert_eq!((&second["versions"], &second["next"]), (&json!(profiles[2..]), &Json::Null));
        for (path, status) in [("versions?kind=1", 400), ("versions?kind=0&limit=0", 400), ("relays?recall=2", 400)] {
            let answer = http("GET", &house.address, &format!("/api/v1/authors/{pubkey}/{path}"), &[], "").await;
            assert_eq!(answer.expect("an answer").status, status, "{path}");
        }
        let body = json!({"authors": [pubkey], "most": 1}).to_string();
        let list = http("POST", &house.address, "/api/v1/authors/relays", &[], &body).await.expect("an answer").json();
        assert_eq!(list["authors"], json!([{"author": pubkey, "relays": [], "recall": null}]));
    }

    // A deletion by address takes all versions up to its time, those replaced as well; one by id takes one.
    events = vec![
        // It is hidden from clients itself (NIP-70), and counts nevertheless.
        sign(&keys, 5, 2_000, &[&["a", &format!("0:{pubkey}:")], &["-"]], ""),
        sign(&keys, 5, 2_500, &[&["e", &events[3].id.to_hex()]], ""),
    ];
    import(&events);
    assert_eq!(history(&["0"]).ok().json().len(), 1);
    let follows = history(&["3"]).ok().json();
    assert_eq!((follows.len(), &follows[0]["changes"]), (1, &Json::Null));
    // A request to vanish (NIP-62) takes everything.
    import(&[sign(&keys, 62, 4_000, &[&["relay", "ALL_RELAYS"]], "")]);
    let gone = history(&["0"]);
    assert_eq!((gone.status, gone.stdout.as_str()), (1, ""));
}
