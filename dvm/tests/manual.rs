//! The examples of `docs/DVM.md`, as written there.

use std::sync::Arc;

use brotr_core::Event;
use brotr_dvm::{Acceptance, Dvm, Outcome, Terms};
use brotr_keys::Signer;
use brotr_storage::{Batch, JobStatus, Options};
use nostr::{EventBuilder, Kind, Tag, Timestamp};
use serde_json::Value;

const MANUAL: &str = include_str!("../../docs/DVM.md");
const NOW: u64 = 1_700_003_600;

/// Pairs of request and result.
fn examples() -> Vec<(Value, Value)> {
    let blocks: Vec<&str> =
        MANUAL.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next()).map(str::trim).collect();
    let pairs = blocks.chunks(2).map(|pair| pair.iter().map(|text| serde_json::from_str(text).expect("JSON")));
    pairs.map(|mut pair| (pair.next().expect("a request"), pair.next().expect("a result"))).collect()
}

#[tokio::test]
async fn the_examples_of_the_api_work() {
    let dir = tempfile::tempdir().expect("a directory");
    let url = format!("sqlite://{}/db", dir.path().display());
    let archive = brotr_storage::open(&url, Options { search: true, ..Options::default() }).await.expect("opened");
    let (alice, bob, customer) = (Signer::throwaway(), Signer::throwaway(), Signer::throwaway());
    let sign = |by: &Signer, kind: u16, content: &str, tags: Vec<Tag>, at: u64| {
        let builder = EventBuilder::new(Kind::from(kind), content).tags(tags);
        by.sign(builder.custom_created_at(Timestamp::from(at))).expect("signed")
    };
    let note = sign(&alice, 1, "All relays great and small", vec![], 1_700_000_000);
    let profile = sign(&alice, 0, r#"{"name":"Alice in Wonderland"}"#, vec![], 1_600_000_000);
    let tags = vec![Tag::event(note.id), Tag::public_key(alice.public_key())];
    let reaction = sign(&bob, 7, "+", tags, 1_700_000_060);
    let events = [&note, &profile, &reaction].map(|event| Event::from(event).verify().expect("verified"));
    archive.store(Batch { events: events.into(), ..Batch::default() }).await.expect("stored");
    let dvm = Dvm::new(archive.clone(), Signer::throwaway(), Arc::new(|_| Err("none".into())), Terms::default());
    let fill = |value: &Value| {
        let named = [
            ("<alice>", alice.public_key().to_hex()),
            ("<bob>", bob.public_key().to_hex()),
            ("<note>", note.id.to_hex()),
        ];
        named.iter().fold(value.to_string(), |text, (name, value)| text.replace(name, value))
    };
    let examples = examples();
    assert_eq!(examples.len(), 6, "one for each kind and one by group");
    for (request, wanted) in examples {
        let request: Value = serde_json::from_str(&fill(&request)).expect("JSON");
        let tags: Vec<Vec<String>> = serde_json::from_value(request["tags"].clone()).expect("tags");
        let tags = tags.into_iter().map(|tag| Tag::parse(tag).expect("a tag")).collect();
        let kind = u16::try_from(request["kind"].as_u64().expect("a kind")).expect("a kind");
        let event = sign(&customer, kind, request["content"].as_str().expect("a content"), tags, NOW);
        assert_eq!(dvm.accept(&event, NOW as i64).await.expect("kept"), Acceptance::New);
        let job = archive.take_job(1).await.expect("asked").expect("there");
        let (partial, _) = tokio::sync::watch::channel(String::new());
        let Outcome::Answer(answer) = dvm.run(&dvm.prepare(job.clone()).await, &partial).await.expect("signed") else {
            panic!("free")
        };
        assert_eq!(answer.status, JobStatus::Answered, "{request}: {}", answer.event.content);
        assert_eq!(answer.event.kind, Kind::from(kind + 1_000));
        let said: Value = serde_json::from_str(&answer.event.content).expect("JSON");
        assert_eq!(said.to_string(), fill(&wanted), "{request}");
        archive.end_job(job.id, answer.status, NOW as i64, &[]).await.expect("ended");
    }
}
