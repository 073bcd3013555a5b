//! How far back relays go, measured from what others hold.

use std::collections::BTreeMap;

use brotr_storage::Options;
use brotr_tests::{Script, ScriptedRelay};
use nostr::{Event, EventBuilder, Keys, Kind, Timestamp};
use serde_json::{Value, json};

use super::main_job::{Client, relay};
use super::program::{Place, soon};
use super::schema::assert_sound;

const A_DAY: u64 = 86_400;

/// Returns what was measured of a relay's notes.
fn notes(place: &Place, url: &str) -> Value {
    let shown = place.run(&["relays", "show", url, "--json"]).ok().json().remove(0);
    let classes = shown["retention"]["classes"].as_array().expect("measured").clone();
    classes.into_iter().find(|class| class["class"] == "notes").expect("notes")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_deletes_old_events_is_told_from_one_that_keeps_them() {
    let now = Timestamp::now().as_secs() - 3_600;
    let authors: Vec<Keys> = (0..8).map(|_| Keys::generate()).collect();
    let note = |keys: &Keys, kind: Kind, days: u64| {
        let builder = EventBuilder::new(kind, "").custom_created_at(Timestamp::from(now - days * A_DAY));
        builder.sign_with_keys(keys).expect("signed")
    };
    // A note each second day of a year, and a private message each day.
    let of = |keys: &Keys| -> Vec<Event> {
        let days = (0..360).step_by(2).map(|days| note(keys, Kind::TextNote, days));
        days.chain((0..10).map(|days| note(keys, Kind::EncryptedDirectMessage, days))).collect()
    };
    let all: Vec<Event> = authors.iter().flat_map(of).collect();
    let newer = |days: u64| all.iter().filter(move |event| event.created_at.as_secs() > now - days * A_DAY).cloned();
    let keeper = ScriptedRelay::start(Script::honest(all.clone())).await.expect("a relay");
    let forgetful = ScriptedRelay::start(Script::honest(newer(100).collect())).await.expect("a relay");
    let (_relay, published_to) = relay(&[]).await;
    let place = Place::with(&format!(
        "identity: {{relays: [\"{published_to}\"]}}\nfinder: {{enabled: false}}\nmonitor: {{interval: 3s}}"
    ));
    for url in [&keeper.url, &forgetful.url] {
        place.run(&["sync", url]).ok();
    }
    let full = notes(&place, &keeper.url);
    assert_eq!((&full["authors"], &full["held"]), (&json!(8), &full["events"]), "{full}");
    // The oldest sampled one.
    assert!(full["since"].as_u64().is_some_and(|since| since < now - 180 * A_DAY), "{full}");
    assert_eq!(full["proven_since"], 0);

    // What was there when it was read is deleted, and the relay is measured anew.
    forgetful.replace(newer(35).collect());
    let file = place.path().join("brotr-data/brotr.db");
    let url = format!("{}/", forgetful.url.trim_end_matches('/'));
    let archive = brotr_storage::open(&format!("sqlite://{}", file.display()), Options::default()).await;
    let archive = archive.expect("opened");
    for kind in ["retention", "retention asked at"] {
        archive.set_state("synchronizer", kind, &url, "").await.expect("forgotten");
    }
    archive.close().await;
    place.run(&["sync", &forgetful.url]).ok();
    let partly = notes(&place, &forgetful.url);
    // It holds all of the last 35 days.
    let since = now - 32 * A_DAY;
    assert_eq!((&partly["since"], &partly["events"]), (&json!(since), &full["events"]), "{partly}");
    assert!(partly["lost"].as_u64().is_some_and(|lost| lost > 0), "{partly}");
    let ages: BTreeMap<String, (Value, Value)> = partly["ages"]
        .as_array()
        .expect("ages")
        .iter()
        .map(|age| (age["days"].to_string(), (age["events"].clone(), age["held"].clone())))
        .collect();
    assert_eq!(ages["30"].0, ages["30"].1, "{partly}");
    assert_eq!(ages["365"].1, 0, "{partly}");

    let rows =
        place.run(&["sql", "select class, events, held from relay_retention order by relay_url, class", "--json"]);
    let rows = rows.ok().json();
    assert_eq!(rows.len(), 6, "{rows:?}");
    let is_of_notes = |row: &Value| row["class"] == "notes" || row["events"] == 0;
    assert!(rows.iter().all(is_of_notes), "private messages are not sampled: {rows:?}");
    let said = place.run(&["relays", "show", &forgetful.url]).ok().stdout;
    assert!(said.contains("Retention\n  Measured") && said.contains("notes"), "{said}");

    let daemon = place.daemon();
    let mut client = Client::connect(&published_to).await;
    let event = soon(30, "the relay's event", async || {
        let found = client.fetch(json!({"kinds": [30_166], "#d": [url]})).await;
        found.into_iter().next()
    })
    .await;
    assert_sound(&event);
    let since = since.to_string();
    let tag = event.tags.iter().find(|tag| tag.kind().as_str() == "retention").expect("a tag").as_slice();
    assert_eq!(tag[1..3], ["notes", &since]);
    assert_eq!(tag[5], partly["events"].to_string());
    drop(daemon);
}
