//! `brotr push`, against a relay of rust-nostr's and relays that misbehave.

use brotr_tests::{Negentropy, Postgres, Script, ScriptedRelay, events};
use nostr::nips::nip09::EventDeletionRequest;
use nostr::{Event, EventBuilder, JsonUtil, Keys, Tag, Timestamp};
use serde_json::json;

use super::main_job::{Client, relay};
use super::program::Place;

fn sign(keys: &Keys, builder: EventBuilder, at: u64) -> Event {
    builder.custom_created_at(Timestamp::from(at)).sign_with_keys(keys).expect("signed")
}

#[tokio::test(flavor = "multi_thread")]
async fn push_sends_what_a_relay_lacks_and_clients_see() {
    let list = events::signed(300, 1_700_000_000);
    let (_relay, url) = relay(&list[..100]).await;
    let keys = Keys::generate();
    let deleted = sign(&keys, EventBuilder::text_note("deleted"), 1_700_000_000);
    let protected = sign(&keys, EventBuilder::text_note("protected").tag(Tag::protected()), 1_700_000_000);
    let deletion = EventDeletionRequest::new().id(deleted.id);
    let deletion = sign(&keys, EventBuilder::delete(deletion), 1_700_000_001);
    let place = Place::with("");
    let lines: Vec<_> = list.iter().chain([&deleted, &protected, &deletion]).map(JsonUtil::as_json).collect();
    let file = place.write("events.jsonl", &lines.join("\n"));
    place.run(&["import", file.to_str().expect("text")]).ok();

    let tried = place.run(&["push", &url, "--dry-run", "--json"]).ok().json();
    assert_eq!(tried[0]["missing"], 201, "{tried:?}");
    assert_eq!(tried[0]["sent"], 0);
    let some = json!({"since": list[150].created_at, "until": list[199].created_at}).to_string();
    let pushed = place.run(&["push", &url, &some, "--json"]).ok().json();
    assert_eq!((&pushed[0]["held"], &pushed[0]["missing"], &pushed[0]["sent"]), (&json!(50), &json!(50), &json!(50)));
    let said = place.run(&["push", &url]).ok().stdout;
    assert!(said.contains("lacks 151 of 301 events, 151 sent"), "{said}");
    let again = place.run(&["push", &url, "--json"]).ok().json();
    assert_eq!((&again[0]["missing"], &again[0]["sent"]), (&json!(0), &json!(0)));

    let mut client = Client::connect(&url).await;
    assert_eq!(client.fetch(json!({"ids": [deleted.id, protected.id]})).await, []);
    assert_eq!(client.fetch(json!({"authors": [keys.public_key()], "kinds": [5]})).await, [deletion]);
    for part in list.chunks(100) {
        let ids: Vec<_> = part.iter().map(|event| event.id).collect();
        assert_eq!(client.fetch(json!({ "ids": ids })).await.len(), part.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn push_says_why_a_relay_cannot_be_pushed_to() {
    let place = Place::with("");
    let lines: Vec<_> = events::signed(3, 1_700_000_000).iter().map(JsonUtil::as_json).collect();
    let file = place.write("events.jsonl", &lines.join("\n"));
    place.run(&["import", file.to_str().expect("text")]).ok();
    let plain = ScriptedRelay::start(Script::honest(vec![])).await.expect("started");
    for (args, status, wanted) in [
        (vec!["push", plain.url.as_str()], 1, "NIP-77"),
        (vec!["push", "ws://127.0.0.1:9/"], 1, "failed to connect"),
        (vec!["push", "wss://10.0.0.1/"], 2, "10.0.0.1"),
        (vec!["push", plain.url.as_str(), "{\"limit\":5}"], 2, "limit"),
        (vec!["push", plain.url.as_str(), "{"], 2, "not JSON"),
    ] {
        let ran = place.run(&args);
        assert_eq!(ran.status, status, "{args:?}: {ran:?}");
        assert!(ran.stderr.contains(wanted), "{args:?}: {ran:?}");
    }
}

/// The client's database is the archive, and a relay can send events that nobody asked for.
#[tokio::test(flavor = "multi_thread")]
async fn push_stores_nothing_that_the_relay_sends() {
    let server = Postgres::start().expect("PostgreSQL started");
    let place = Place::with(&format!("#storage {}", server.database("brotr").expect("a database")));
    let list = events::signed(3, 1_700_000_000);
    let file = place.write("events.jsonl", &list[..2].iter().map(JsonUtil::as_json).collect::<Vec<_>>().join("\n"));
    place.run(&["import", file.to_str().expect("text")]).ok();
    // In reply to each message about ids.
    let unasked = json!(["EVENT", "nobody asked", list[2]]).to_string();
    let negentropy = Negentropy::Says(Box::leak(unasked.into_boxed_str()));
    let relay = ScriptedRelay::start(Script { negentropy, ..Script::honest(vec![]) }).await.expect("started");
    for args in [vec!["push", relay.url.as_str(), "--dry-run"], vec!["push", relay.url.as_str()]] {
        assert_eq!(place.run(&args).status, 1);
    }
    assert!(relay.counts.comparisons.load(std::sync::atomic::Ordering::Relaxed) >= 2, "it was asked each time");
    assert_eq!(place.run(&["query", "--count", "--all"]).ok().stdout.trim(), "2");
}
