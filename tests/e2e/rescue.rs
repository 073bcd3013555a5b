//! `brotr rescue`: events that only failing or closing relays hold.

use brotr_core::{Event, Network, RelayState};
use brotr_storage::{Archive, Batch, CheckRecord, Options};
use brotr_tests::{Fault, Script, ScriptedRelay, events};
use nostr::{EventBuilder, Keys, Kind, Tag, Timestamp};
use serde_json::json;

use super::main_job::{Client, relay};
use super::program::Place;

const A_DAY: i64 = 86_400;

fn now() -> i64 {
    brotr_core::clock::system_ms().div_euclid(1_000)
}

async fn hold(archive: &dyn Archive, relay: &str, list: &[&nostr::Event]) {
    let (known, new): (Vec<_>, Vec<_>) = {
        let ids: Vec<_> = list.iter().map(|event| event.id).collect();
        let known = archive.known(&ids).await.expect("known");
        list.iter().partition(|event| known.contains(&event.id))
    };
    let batch = Batch {
        relay: Some((format!("wss://{relay}.example/"), Network::Clearnet)),
        seen_at: now(),
        events: new.into_iter().map(|event: &&nostr::Event| Event::from(*event).verify().expect("signed")).collect(),
        known: known.into_iter().map(|event| event.id).collect(),
        ..Batch::default()
    };
    archive.store(batch).await.expect("stored");
}

async fn check(archive: &dyn Archive, relay: &str, ago: i64, state: RelayState, nip11: Option<&str>) {
    let check = CheckRecord {
        at: now() - ago * A_DAY,
        due_at: i64::MAX,
        state,
        nip11: nip11.map(str::to_owned),
        ..CheckRecord::default()
    };
    archive.record_check(&format!("wss://{relay}.example/"), Network::Clearnet, &check).await.expect("recorded");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_failing_and_closing_relays_are_found_and_published() {
    let list = events::signed(6, 1_700_000_000);
    let secret = EventBuilder::new(Kind::EncryptedDirectMessage, "secret").sign_with_keys(&Keys::generate());
    let secret = secret.expect("signed");
    let protected = EventBuilder::text_note("protected").tag(Tag::protected());
    let protected = protected.custom_created_at(Timestamp::from(9)).sign_with_keys(&Keys::generate()).expect("signed");
    let place = Place::with("");
    place.run(&["init"]).ok();
    let file = place.path().join("brotr-data/brotr.db");
    let archive =
        brotr_storage::open(&format!("sqlite://{}", file.display()), Options::default()).await.expect("opened");
    let archive = archive.as_ref();
    // The first is only on a relay that is down, the second on one that closes, the third on both; the rest are on a sound one.
    hold(archive, "down", &[&list[0], &list[2], &list[3], &secret, &protected]).await;
    hold(archive, "closing", &[&list[1], &list[2], &list[3]]).await;
    hold(archive, "sound", &[&list[3], &list[4]]).await;
    hold(archive, "other", &[&list[5], &list[4]]).await;
    for ago in [20, 9, 0] {
        check(archive, "down", ago, RelayState::Down, None).await;
        let says = r#"{"name": "A relay", "description": "Thanks to all! We will shut down on May 1."}"#;
        check(archive, "closing", ago, RelayState::Up, Some(says)).await;
        check(archive, "sound", ago, RelayState::Up, Some(r#"{"name": "A sound relay"}"#)).await;
    }
    archive.close().await;

    let found = place.run(&["rescue", "--json"]).ok().json().remove(0);
    assert_eq!((&found["examined"], &found["at_risk"]), (&json!(7), &json!(4)), "{found}");
    let relays = json!([
        {"relay": "wss://down.example/", "why": "down for 20 days", "events": 3},
        {"relay": "wss://closing.example/", "why": "announces: We will shut down on May 1.", "events": 2},
    ]);
    assert_eq!(found["relays"], relays);
    let alone = place.run(&["rescue", "--alone", "--json"]).ok().json().remove(0);
    assert_eq!(alone["at_risk"], 5, "{alone}");
    let named = place.run(&["rescue", "--relay", "wss://closing.example", "--json"]).ok().json().remove(0);
    assert_eq!(named["at_risk"], 2, "{named}");
    let said = place.run(&["rescue", r#"{"kinds":[4]}"#]).ok().stdout;
    assert!(said.contains("1 of 1 event may be lost"), "{said}");

    let (_relay, url) = relay(&list[..1]).await;
    let args = ["rescue", "--output", "rescued.jsonl", "--to", &url, "--rate", "50", "--json"];
    let done = place.run(&args).ok().json().remove(0);
    let published = json!([{"relay": url.trim_end_matches('/').to_owned() + "/", "accepted": 2, "held": 1, "left_out": 1,
        "refused": {}, "given_up": null}]);
    assert_eq!(done["published"], published);
    let mut client = Client::connect(&url).await;
    assert_eq!(client.fetch(json!({"limit": 100})).await.len(), 3);
    let written = std::fs::read_to_string(place.path().join("rescued.jsonl")).expect("written");
    assert_eq!(written.lines().count(), 4);
    let again = place.run(&args).ok().json().remove(0);
    assert_eq!((&again["published"][0]["held"], &again["published"][0]["accepted"]), (&json!(3), &json!(0)));

    // A relay that refuses events, one that does not answer, and one that is failing itself.
    let script = Script { refuses: Some("blocked: full".into()), ..Script::honest(list[..2].to_vec()) };
    let full = ScriptedRelay::start(script).await.expect("a relay");
    let refused = place.run(&["rescue", "--to", &full.url, "--json"]);
    let to = &refused.json()[0]["published"][0];
    assert_eq!((refused.status, &to["held"], &to["refused"]), (1, &json!(2), &json!({"blocked: full": 1})), "{to}");
    let deaf = ScriptedRelay::start(Script::wrong(vec![], Fault::Mute)).await.expect("a relay");
    let refused = place.run(&["rescue", "--to", &deaf.url, "--json"]);
    assert_eq!((refused.status, refused.json()[0]["published"][0]["given_up"].is_string()), (1, true));
    let vain = place.run(&["rescue", "--to", "wss://down.example"]);
    assert_eq!(vain.status, 2);
    assert!(vain.stderr.contains("no place to publish to: down for 20 days"), "{}", vain.stderr);
}
