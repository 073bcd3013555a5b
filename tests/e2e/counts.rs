//! Counts and sketches of authors (NIP-45), as relay and as client of relays.

use brotr_core::{Offset, Sketch};
use brotr_tests::{Fault, Script, ScriptedRelay, Signal, events};
use nostr::{Event, EventBuilder, Keys, Kind, Tag, Timestamp};
use serde_json::json;

use super::program::Place;
use super::relay_server::{Client, house, import, served};

/// A reaction of somebody to an event.
fn reaction(author: &Keys, of: &Event) -> Event {
    EventBuilder::new(Kind::Reaction, "+")
        .tag(Tag::event(of.id))
        .custom_created_at(Timestamp::from(1_700_000_000))
        .sign_with_keys(author)
        .expect("signed")
}

#[tokio::test(flavor = "multi_thread")]
async fn authors_are_sketched_and_sketches_of_relays_merged() {
    let note = events::signed(1, 1_600_000_000).remove(0);
    let authors: Vec<Keys> = (0..60).map(|_| Keys::generate()).collect();
    let reactions: Vec<Event> = authors.iter().map(|author| reaction(author, &note)).collect();
    let (first, second) = (house(""), house(""));
    import(&first, &reactions[..40]);
    import(&second, &reactions[20..]);
    let daemons = (first.daemon(), second.daemon());
    let urls = (served(&daemons.0).await, served(&daemons.1).await);
    let deaf = ScriptedRelay::start(Script::wrong(vec![], Fault::Mute)).await.expect("a relay");

    let filter = json!({"kinds": [7], "#e": [note.id]});
    let offset = Offset::of_value(&note.id.to_hex());
    let sketch = |authors: &[Keys]| -> Sketch { authors.iter().map(|keys| (keys.public_key(), offset)).collect() };
    let mut client = Client::connect(&urls.0).await;
    let answer = client.ask(json!(["COUNT", "c", filter])).await;
    assert_eq!(answer, json!(["COUNT", "c", {"count": 40, "hll": sketch(&authors[..40]).to_string()}]));
    for other in [json!({"kinds": [7]}), json!({"kinds": [7, 6], "#e": [note.id]})] {
        assert_eq!(client.ask(json!(["COUNT", "c", other])).await, json!(["COUNT", "c", {"count": 40}]), "{other}");
    }
    let both = client.ask(json!(["COUNT", "c", filter, filter])).await;
    assert_eq!(both, json!(["COUNT", "c", {"count": 40}]), "of one filter only");

    let asker = Place::with("");
    let filter = filter.to_string();
    let urls = [urls.0.as_str(), &urls.1, deaf.url.as_str()];
    let relays = urls.iter().flat_map(|url| ["--relay", url]);
    let args: Vec<&str> = ["query", "--count", &filter].into_iter().chain(relays).collect();
    let counted = asker.run(&[&args[..], &["--json"]].concat()).ok().json();
    let about = |authors: &[Keys]| json!(sketch(authors).estimate());
    assert_eq!(counted[0]["count"], 40);
    assert_eq!(counted[0]["authors"], about(&authors[..40]));
    assert_eq!(counted[1]["authors"], about(&authors[20..]));
    assert_eq!((&counted[2]["count"], counted[2]["error"].is_string()), (&json!(null), true));
    assert_eq!(counted[3]["authors"], about(&authors), "each author once");
    assert_eq!(counted[3]["hll"], sketch(&authors).to_string());
    let said = asker.run(&args).ok().stdout;
    assert!(said.contains("together: about"), "{said}");
    assert_eq!(daemons.0.end(Signal::TERM).0, Some(0));
}
