//! The examples of `docs/CLIENTS.md`, as written there.

use brotr::relay_retention::{Authors, Question, RETENTION};
use brotr::state::Json;
use brotr_core::{Covered, Event, Interval, Method, Network, Offset, RelayState, Sketch};
use brotr_storage::{Batch, CheckRecord, Options};
use brotr_tests::browser::http;
use nostr::{EventBuilder, JsonUtil, Keys, Kind, Tag, Timestamp};
use serde_json::Value;

use super::http::House;
use super::program::Place;
use super::relay_server::{Client, served};

const PAGE: &str = include_str!("../../docs/CLIENTS.md");

/// Returns the blocks of code, with their languages.
fn blocks() -> Vec<(&'static str, &'static str)> {
    let fenced = PAGE.split("```").skip(1).step_by(2);
    fenced.filter_map(|block| block.split_once('\n')).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_for_clients_work() {
    let (alice, bob) = (Keys::generate(), Keys::generate());
    let sign = |keys: &Keys, kind: u16, at: u64, content: &str| {
        let builder = EventBuilder::new(Kind::from(kind), content).custom_created_at(Timestamp::from(at));
        let tags = (kind == 10_002).then(|| Tag::parse(["r", "wss://old.example/"]).expect("a tag"));
        builder.tags(tags).sign_with_keys(keys).expect("signed")
    };
    let [first, second] = [(1_600_000_000, "Alice"), (1_700_000_050, "Alice L.")]
        .map(|(at, name)| sign(&alice, 0, at, &serde_json::json!({"name": name}).to_string()));
    let newest = sign(&alice, 1, 1_700_000_100, "newest");
    let note = sign(&bob, 1, 1_700_000_010, "hello");
    let both = [sign(&alice, 1, 1_700_000_000, "both"), sign(&alice, 1, 1_700_000_020, "both again")];
    let follows = EventBuilder::new(Kind::ContactList, "")
        .tag(Tag::public_key(alice.public_key()))
        .custom_created_at(Timestamp::from(1_700_000_005))
        .sign_with_keys(&bob)
        .expect("signed");
    let old = sign(&alice, 1, 1_600_000_000, "old");
    let list = sign(&alice, 10_002, 1_690_000_000, "");
    let one = [&first, &second, &newest, &both[0], &both[1], &list];
    let two = [&note, &old, &follows];

    let place = Place::with(
        "monitor: {enabled: false}\nsynchronizer: {enabled: false}\nfinder: {enabled: false}\n\
         relay: {enabled: true, listen: \"127.0.0.1:0\"}",
    );
    place.run(&["init"]).ok();
    let file = place.path().join("brotr-data/brotr.db");
    let archive =
        brotr_storage::open(&format!("sqlite://{}", file.display()), Options::default()).await.expect("opened");
    let batch = |url: &str, new: &[&nostr::Event], known: &[nostr::Event]| Batch {
        relay: Some((url.to_owned(), Network::Clearnet)),
        seen_at: 1_700_000_200,
        events: new.iter().map(|event| Event::from(*event).verify().expect("signed")).collect(),
        known: known.iter().map(|event| event.id).collect(),
        ..Batch::default()
    };
    let everything = Covered {
        interval: Interval::new(0, 1_700_000_200).expect("in order"),
        method: Method::Paged,
        proven_at: 1_700_000_200,
    };
    let of_one = Batch { covered: vec![everything], filter: "{}".into(), ..batch("wss://one.example/", &one, &[]) };
    archive.store(of_one).await.expect("stored");
    archive.store(batch("wss://two.example/", &two, &both)).await.expect("stored");
    for (url, state) in [("one", RelayState::Up), ("two", RelayState::Up), ("old", RelayState::Down)] {
        let check = CheckRecord { at: 1_700_000_200, due_at: i64::MAX, state, ..CheckRecord::default() };
        archive.record_check(&format!("wss://{url}.example/"), Network::Clearnet, &check).await.expect("recorded");
    }
    let mut authors = Authors::new(7);
    [&alice, &bob].into_iter().for_each(|keys| authors.add(keys.public_key(), 1));
    let (url, archived) = ("wss://one.example/", archive.as_ref());
    let question = Question::of(archived, url, &authors, 1_000, 1_700_000_300).await.expect("asked");
    let coverage = archive.coverage(Some(url)).await.expect("read");
    let held = one.iter().map(|event| event.id).collect();
    RETENTION.set(archived, url, &Json(question.answered(&held, &coverage))).await.expect("stored");
    archive.close().await;

    let house = House::start(&place);
    let mut relay = Client::connect(&served(&house.daemon).await).await;
    let offset = Offset::of_value(&alice.public_key().to_hex());
    let followers: Sketch = [(bob.public_key(), offset)].into_iter().collect();
    let fill = |text: &str| {
        let named = [
            ("\"<first>\"", first.as_json()),
            ("\"<second>\"", second.as_json()),
            ("\"<note>\"", note.as_json()),
            ("\"<newest>\"", newest.as_json()),
            ("<alice>", alice.public_key().to_hex()),
            ("<bob>", bob.public_key().to_hex()),
            ("<registers>", followers.to_string()),
        ];
        named.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    };
    let json = |text: &str| serde_json::from_str::<Value>(&fill(text)).unwrap_or_else(|e| panic!("{e} in {text}"));
    let (mut asked, mut answered) = (0, 0);
    let mut request = None;
    for (language, block) in blocks() {
        match language {
            "http" => request = Some(fill(block.trim())),
            "json" => {
                let request = request.take().expect("an answer follows its request");
                let mut words = request.splitn(3, ' ');
                let (method, path) = (words.next().expect("a method"), words.next().expect("a path"));
                let answer = http(method, &house.address, path, &[], words.next().unwrap_or_default()).await;
                assert_eq!(answer.expect("an answer").json(), json(block), "{request}");
                asked += 1;
            }
            "nostr" => {
                for line in block.lines() {
                    match line.split_at(3) {
                        ("-> ", text) => relay.say(json(text)).await,
                        ("<- ", text) => assert_eq!(relay.hear().await, json(text), "{line}"),
                        _ => panic!("neither sent nor received: {line}"),
                    }
                    answered += 1;
                }
            }
            other => panic!("no test runs a block of {other:?}"),
        }
    }
    assert_eq!((asked, answered), (4, 8));
}
