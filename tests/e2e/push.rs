//! `brotr push`, against a relay of rust-nostr's and relays that misbehave.

use brotr_tests::{Fault, Negentropy, Postgres, Script, ScriptedRelay, events};
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

#[tokio::test(flavor = "multi_thread")]
async fn push_waits_for_a_slow_relay() {
    let place = Place::with("");
    let list = events::signed(34, 1_700_000_000);
    let file = place.write("events.jsonl", &list.iter().map(JsonUtil::as_json).collect::<Vec<_>>().join("\n"));
    place.run(&["import", file.to_str().expect("text")]).ok();
    // All are sent at once; their answers take longer than the time limit of a silent relay.
    let script =
        Script { negentropy: Negentropy::Speaks { withholds: 0 }, ..Script::wrong(vec![], Fault::SlowOks(1_000)) };
    let relay = ScriptedRelay::start(script).await.expect("started");
    let pushed = place.run(&["push", &relay.url, "--json"]).ok().json();
    assert_eq!((&pushed[0]["missing"], &pushed[0]["sent"]), (&json!(34), &json!(34)));
    assert_eq!(relay.events().len(), 34);
}

#[tokio::test(flavor = "multi_thread")]
async fn push_says_what_it_cannot_send() {
    let relay =
        || ScriptedRelay::start(Script { negentropy: Negentropy::Speaks { withholds: 0 }, ..Script::honest(vec![]) });
    let place = Place::with("profile: lilbrotr");
    let file = place.write("events.jsonl", &events::signed(1, 1_700_000_000)[0].as_json());
    place.run(&["import", file.to_str().expect("text")]).ok();
    let without_contents = relay().await.expect("started");
    let ran = place.run(&["push", &without_contents.url]);
    assert!(ran.status == 1 && ran.stderr.contains("lilbrotr"), "{ran:?}");
    assert_eq!(without_contents.counts.comparisons.load(std::sync::atomic::Ordering::Relaxed), 0);

    // rust-nostr has no such events.
    let place = Place::with("");
    let id = "5724bb6265d36fc1026aca9e5aa727b719342038ce18ff9d08d62ec4a9496df4";
    let pubkey = "079264c4b4bfcd7fe3a7b7b92b6c439f3a5b3abcd29189bf7b54d781ff03d722";
    let sig = "9d7e2ccfc88bb8750406d19a533005e32a6c270d18926d4e1a117aad792a2fae1286612b952c3ad4a4c5810019dc0c6af66249b4af5c1608fa92720edc2a6f91";
    let odd = json!({"id": id, "pubkey": pubkey, "created_at": 1700000000, "kind": 1, "tags": [[], ["t", "x"]],
        "content": "an empty tag", "sig": sig});
    let sendable = events::signed(1, 1_700_000_000).remove(0);
    let file = place.write("events.jsonl", &format!("{odd}\n{}", sendable.as_json()));
    place.run(&["import", file.to_str().expect("text")]).ok();
    let relay = relay().await.expect("started");
    let ran = place.run(&["push", &relay.url]);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.stdout.contains("lacks 2 of 2 events, 1 sent") && ran.stdout.contains("1 event not sent"), "{ran:?}");
    assert_eq!(relay.events(), [sendable]);
}
