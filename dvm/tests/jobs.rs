//! Requests as clients write them, and the answers they get.

use std::sync::Arc;

use brotr_core::{Event, Network};
use brotr_dvm::{Acceptance, Answer, Dvm, Limits, Outcome, Terms, job_kinds};
use brotr_keys::Signer;
use brotr_storage::{Archive, Batch, JobStatus, Options};
use nostr::{EventBuilder, JsonUtil, Kind, NostrSigner, Tag, TagKind, Timestamp};
use serde_json::{Value, json};

const NOW: i64 = 1_700_000_000;

struct Desk {
    _dir: tempfile::TempDir,
    archive: Arc<dyn Archive>,
    dvm: Dvm,
    agent: Signer,
    customer: Signer,
    asked: std::sync::atomic::AtomicI64,
}

async fn desk() -> Desk {
    desk_with(Options::default(), Limits { per_minute: 1_000, open: 1_000, ..Limits::default() }).await
}

async fn desk_with(options: Options, limits: Limits) -> Desk {
    let dir = tempfile::tempdir().expect("a directory");
    let archive = brotr_storage::open(&format!("sqlite://{}/db", dir.path().display()), options).await.expect("opened");
    let author = Signer::throwaway();
    let events = (0..10_u64).map(|i| {
        let builder = EventBuilder::new(Kind::from([7, 1, 2][i as usize % 3]), i.to_string()).tag(Tag::hashtag("x"));
        let event = author.sign(builder.custom_created_at(Timestamp::from(i))).expect("signed");
        Event::from(&event).verify().expect("verified")
    });
    let relay = Some(("wss://a.example/".to_owned(), Network::Clearnet));
    archive.store(Batch { relay, events: events.collect(), ..Batch::default() }).await.expect("stored");
    let agent = Signer::throwaway();
    let canonical = Arc::new(|url: &str| match url.strip_prefix("wss://") {
        Some(_) => Ok(format!("{}/", url.trim_end_matches('/'))),
        None => Err("not a wss:// address".to_owned()),
    });
    let dvm = Dvm::new(archive.clone(), agent.clone(), canonical, Terms { limits, ..Terms::default() });
    Desk { _dir: dir, archive, dvm, agent, customer: Signer::throwaway(), asked: 0.into() }
}

/// Runs a job that costs nothing; returns its answer.
async fn ran(dvm: &Dvm, job: &brotr_storage::Job) -> Answer {
    let (partial, _) = tokio::sync::watch::channel(String::new());
    match dvm.run(&dvm.prepare(job.clone()).await, &partial).await.expect("signed") {
        Outcome::Answer(answer) => answer,
        Outcome::Billed(billed) => panic!("nothing costs anything: {:?}", billed.bill),
        Outcome::Later(other) => panic!("nothing waits: {other}"),
    }
}

fn on_its_way(answer: &Answer) -> brotr_storage::Outgoing {
    brotr_storage::Outgoing {
        event: answer.event.id,
        relay: "wss://r.example/".into(),
        body: answer.event.as_json(),
        slot: None,
        attempts: 0,
        rank: 0,
    }
}

impl Desk {
    fn request(&self, content: &str, tags: &[&[&str]], at: i64) -> nostr::Event {
        self.request_of(5_400, content, tags, at)
    }

    fn request_of(&self, kind: u16, content: &str, tags: &[&[&str]], at: i64) -> nostr::Event {
        let tags = tags.iter().map(|t| Tag::custom(TagKind::custom(t[0]), t[1..].iter().copied()));
        let builder = EventBuilder::new(Kind::from(kind), content).tags(tags);
        self.customer.sign(builder.custom_created_at(Timestamp::from(at.cast_unsigned()))).expect("signed")
    }

    async fn ask(&self, content: &str, tags: &[&[&str]]) -> Answer {
        self.answer(self.request(content, tags, NOW)).await
    }

    /// Returns the content of the answer to a request of a kind.
    async fn said(&self, kind: u16, tags: &[&[&str]]) -> String {
        // The same request twice is one request.
        let at = NOW - self.asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.answer(self.request_of(kind, "", tags, at)).await.event.content
    }

    async fn answer(&self, request: nostr::Event) -> Answer {
        assert_eq!(self.dvm.accept(&request, NOW).await.expect("kept"), Acceptance::New);
        let job = self.archive.take_job(1).await.expect("asked").expect("there");
        let answer = ran(&self.dvm, &job).await;
        answer.event.verify().expect("valid");
        assert_eq!(answer.event.pubkey, self.agent.public_key());
        assert_eq!(answer.event.tags.event_ids().next(), Some(&request.id));
        assert_eq!(answer.event.tags.public_keys().next(), Some(&self.customer.public_key()));
        self.archive.end_job(job.id, answer.status, NOW, &[on_its_way(&answer)]).await.expect("ended");
        answer
    }

    /// Archives an event and returns it.
    async fn archive(&self, author: &Signer, kind: u16, content: &str, tags: &[&[&str]], at: i64) -> nostr::Event {
        let tags = tags.iter().map(|t| Tag::custom(TagKind::custom(t[0]), t[1..].iter().copied()));
        let builder = EventBuilder::new(Kind::from(kind), content).tags(tags).allow_self_tagging();
        let event = author.sign(builder.custom_created_at(Timestamp::from(at.cast_unsigned()))).expect("signed");
        let events = vec![Event::from(&event).verify().expect("verified")];
        self.archive.store(Batch { events, ..Batch::default() }).await.expect("stored");
        event
    }
}

#[tokio::test]
async fn counts_are_right() {
    let desk = desk().await;
    let table: [(&str, &[&[&str]], &str); 10] = [
        ("", &[], "10"),
        (r#"[{"kinds":[1]}]"#, &[], "3"),
        (r#"{"kinds":[1]}"#, &[], "3"),
        (r##"[{"#kinds":[1]},{"kinds":[1,2]}]"##, &[], "6"),
        ("", &[&["i", r#"{"until":4}"#, "text"]], "5"),
        ("", &[&["i", r#"{"until":4}"#]], "5"),
        ("", &[&["i", "x"]], "10"),
        ("", &[&["i", "nowhere"]], "0"),
        ("", &[&["param", "relay", "wss://a.example"]], "10"),
        ("", &[&["param", "relay", "wss://b.example"]], "0"),
    ];
    for (content, tags, wanted) in table {
        let answer = desk.ask(content, tags).await;
        assert_eq!(answer.event.content, wanted, "{content} {tags:?}");
        assert_eq!((answer.status, answer.event.kind.as_u16()), (JobStatus::Answered, 6_400));
        let request = answer.event.tags.find(TagKind::custom("request")).expect("a request tag");
        let request = nostr::Event::from_json(request.content().expect("a value")).expect("the request itself");
        request.verify().expect("as the customer signed it");
        let inputs = answer.event.tags.filter(TagKind::i()).count();
        assert_eq!(inputs, tags.iter().filter(|t| t[0] == "i").count());
    }
}

#[tokio::test]
async fn an_invalid_request_gets_a_specific_error() {
    let desk = desk().await;
    let many = format!("[{}]", vec!["{}"; 21].join(","));
    let four = [&["param", "group", "pubkey"][..]; 4];
    let table: [(&str, &[&[&str]], &str); 11] = [
        ("how many?", &[], "not a JSON list of filters"),
        (r#"[{"kindz":[1]}]"#, &[], "kindz"),
        (r#"[{"kinds":["one"]}]"#, &[], "not a filter"),
        (r#"[{"search":"cats"}]"#, &[], "full-text"),
        ("[3]", &[], "JSON object"),
        (&many, &[], "too many filters"),
        ("", &four, "groups within groups"),
        ("", &[&["param", "group", "pubkey"], &["param", "relay", "wss://a.example"]], "leave relay out"),
        ("", &[&["param", "relay", "http://x"]], "not a wss:// address"),
        ("", &[&["i", "https://x.example", "url"]], "not fetched"),
        ("", &[&["i", &"0".repeat(64), "job"]], "no result of the job"),
    ];
    for (content, tags, wanted) in table {
        let answer = desk.ask(content, tags).await;
        assert_eq!((answer.status, answer.event.kind.as_u16()), (JobStatus::Failed, 7_000), "{content}");
        assert!(answer.event.content.contains(wanted), "{content} {tags:?} gave {}", answer.event.content);
        let status = answer.event.tags.find(TagKind::custom("status")).expect("a status");
        assert_eq!(status.as_slice()[1], "error");
    }
}

#[tokio::test]
async fn requests_for_others_are_ignored() {
    let desk = desk().await;
    let other = Signer::throwaway().public_key().to_hex();
    let ours = desk.agent.public_key().to_hex();
    let ignored = |request: nostr::Event| async {
        let request = request;
        matches!(desk.dvm.accept(&request, NOW).await.expect("looked at"), Acceptance::Ignored(_))
    };
    assert!(ignored(desk.request("", &[&["p", &other]], NOW)).await, "to another");
    assert!(ignored(desk.request("", &[], NOW - 3_601)).await, "too old");
    let (past, future) = ((NOW - 1).to_string(), (NOW + 60).to_string());
    assert!(ignored(desk.request("", &[&["expiration", &past]], NOW)).await, "expired");
    assert!(!ignored(desk.request("", &[&["expiration", &future]], NOW)).await, "not expired yet");
    assert!(ignored(desk.request("", &[], NOW + 901)).await, "from the future");
    assert!(ignored(desk.request(&" ".repeat(70_000), &[], NOW)).await, "too large");
    assert!(ignored(desk.customer.sign(EventBuilder::text_note("5400")).expect("signed")).await, "no job");
    assert!(!ignored(desk.request("", &[&["p", &other], &["p", &ours]], NOW)).await, "to us among others");
}

#[tokio::test]
async fn a_request_is_stored_once() {
    let desk = desk().await;
    let request = desk.request("", &[&["relays", "wss://r.example", "http://no", "wss://s.example/"]], NOW);
    assert_eq!(desk.dvm.accept(&request, NOW).await.expect("kept"), Acceptance::New);
    assert_eq!(desk.dvm.accept(&request, NOW + 1).await.expect("kept"), Acceptance::Known);
    let job = desk.archive.take_job(1).await.expect("asked").expect("there");
    assert_eq!(desk.archive.take_job(1).await.expect("asked"), None);
    assert_eq!(
        desk.dvm.reply_relays(&desk.dvm.prepare(job.clone()).await).await.expect("asked"),
        ["wss://r.example/", "wss://s.example/"]
    );
    let feedback = desk.dvm.processing(&desk.dvm.prepare(job.clone()).await).await.expect("signed");
    assert_eq!(feedback.kind.as_u16(), 7_000);
    assert!(feedback.tags.find(TagKind::Expiration).is_some(), "feedback is of no use for ever (NIP-40)");
    let announcement = desk.dvm.announcement(&serde_json::json!({"name": "x"})).expect("signed");
    assert_eq!(announcement.kind.as_u16(), 31_990);
    let kinds: Vec<_> = announcement.tags.filter(TagKind::k()).filter_map(|tag| tag.content()).collect();
    assert_eq!(kinds, ["5300", "5301", "5302", "5303", "5400"]);
    let says: Value = serde_json::from_str(&announcement.content).expect("JSON");
    assert_eq!((&says["name"], &says["encryptionSupported"]), (&json!("x"), &json!(true)));
    assert!(says["nip90Params"]["group"]["values"].as_array().is_some_and(|values| values.contains(&json!("pubkey"))));
    assert_eq!(job_kinds(), [5_300, 5_301, 5_302, 5_303, 5_400]);
}

#[tokio::test]
async fn numbers_are_given_by_group() {
    let desk = desk().await;
    let (a, b) = (Signer::throwaway(), Signer::throwaway());
    let (root, mid) = ("a".repeat(64), "b".repeat(64));
    for (author, content) in [(&a, "+"), (&a, "-"), (&b, "+"), (&b, "+")] {
        desk.archive(
            author,
            7_777,
            content,
            &[&["e", &root, "", "root"], &["e", &mid, "", "reply"], &["x", content]],
            5,
        )
        .await;
        // Another event each time.
        desk.archive(author, 7_777, content, &[&["e", &root], &["r", content]], 6).await;
    }
    let filter = r#"{"kinds":[7777]}"#;
    let group = async |groups: &[&str]| -> Value {
        let mut tags: Vec<Vec<&str>> = vec![vec!["i", filter]];
        tags.extend(groups.iter().map(|group| vec!["param", "group", *group]));
        let tags: Vec<&[&str]> = tags.iter().map(Vec::as_slice).collect();
        serde_json::from_str(&desk.said(5_400, &tags).await).expect("JSON")
    };
    // Of b's four events two are the same as others and are one each.
    assert_eq!(group(&["content"]).await, json!({"+": 4, "-": 2}));
    let (a, b) = (a.public_key().to_hex(), b.public_key().to_hex());
    assert_eq!(group(&["pubkey"]).await, json!({&a: 4, &b: 2}));
    assert_eq!(group(&["pubkey", "content"]).await, json!({&a: {"+": 2, "-": 2}, &b: {"+": 2}}));
    assert_eq!(group(&["root"]).await, json!({&root: 6}));
    assert_eq!(group(&["reply"]).await, json!({&root: 3, &mid: 3}));
    assert_eq!(group(&["x"]).await, json!({"+": 2, "-": 1}));
    assert_eq!(group(&["nothing"]).await, json!({}));
}

#[tokio::test]
async fn search_finds_events_and_profiles() {
    let desk = desk_with(Options { search: true, ..Options::default() }, Limits::default()).await;
    let (alice, bob) = (Signer::throwaway(), Signer::throwaway());
    desk.archive(&alice, 0, r#"{"name":"Alice of the relays"}"#, &[], 10).await;
    desk.archive(&bob, 0, r#"{"name":"Bob"}"#, &[], 10).await;
    let old = desk.archive(&alice, 1, "on relays and rivers", &[], 100).await;
    let new = desk.archive(&bob, 1, "Relays! And more relays", &[], 200).await;
    let long = desk.archive(&bob, 30_023, "what relays do", &[&["d", "essay"]], 150).await;
    let address = format!("30023:{}:essay", bob.public_key().to_hex());
    let (old, new, alice, bob) =
        (old.id.to_hex(), new.id.to_hex(), alice.public_key().to_hex(), bob.public_key().to_hex());
    let list = |text: String| -> Value { serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}")) };
    let relays: &[&str] = &["i", "relays", "text"];
    assert_eq!(list(desk.said(5_302, &[relays]).await), json!([["e", new], ["a", address], ["e", old]]));
    assert_eq!(list(desk.said(5_302, &[relays, &["i", "rivers"]]).await), json!([["e", old]]));
    let since: &[&str] = &["param", "since", "160"];
    assert_eq!(list(desk.said(5_302, &[relays, since]).await), json!([["e", new]]));
    let users = format!(r#"[["p","{alice}"]]"#);
    assert_eq!(list(desk.said(5_302, &[relays, &["param", "users", &users]]).await), json!([["e", old]]));
    let one: &[&str] = &["param", "max_results", "1"];
    assert_eq!(list(desk.said(5_302, &[relays, one]).await), json!([["e", new]]));
    assert_eq!(list(desk.said(5_303, &[relays]).await), json!([["p", alice]]));
    assert_eq!(list(desk.said(5_303, &[&["i", "bob"]]).await), json!([["p", bob]]));
    // An event as the input is what it says.
    assert_eq!(list(desk.said(5_302, &[&["i", &long.id.to_hex(), "event"]]).await), json!([["a", address]]));
    for (tags, wanted) in [
        (vec![], "nothing to search for"),
        (vec![relays, &["param", "max_results", "many"][..]], "max_results"),
        (vec![relays, &["param", "max_results", "501"][..]], "from 1 to 500"),
        (vec![relays, &["param", "since", "9"][..], &["param", "until", "8"][..]], "since lies after until"),
        (vec![relays, &["param", "users", "nobody"][..]], "no public key"),
        (vec![&["i", "x", "image"][..]], "\"image\""),
    ] {
        let said = desk.said(5_302, &tags).await;
        assert!(said.contains(wanted), "{tags:?}: {said}");
    }
}

#[tokio::test]
async fn popular_events_rank_those_of_follows_first() {
    let desk = desk().await;
    let people: Vec<Signer> = (0..6).map(|_| Signer::throwaway()).collect();
    let (author, friend) = (&people[0], &people[1]);
    let loved = desk.archive(author, 1, "loved by many", &[], NOW - 500).await;
    let shared = desk.archive(&people[2], 1, "shared by a friend", &[], NOW - 500).await;
    let vain = desk.archive(&people[3], 1, "loved by itself", &[], NOW - 500).await;
    let react = async |by: &Signer, kind: u16, to: &nostr::Event, at: i64| {
        let (id, of) = (to.id.to_hex(), to.pubkey.to_hex());
        desk.archive(by, kind, "+", &[&["e", &id], &["p", &of], &["at", &at.to_string()]], at).await;
    };
    for by in &people[2..6] {
        react(by, 7, &loved, NOW - 400).await;
        // Twice is not two people.
        react(by, 7, &loved, NOW - 399).await;
    }
    react(friend, 7, &shared, NOW - 400).await;
    react(friend, 6, &shared, NOW - 300).await;
    for n in 0..20 {
        react(&people[3], 7, &vain, NOW - 200 - n).await;
    }
    let list = async |kind: u16, tags: &[&[&str]]| -> Vec<[String; 2]> {
        serde_json::from_str(&desk.said(kind, tags).await).expect("a list of tags")
    };
    let until = NOW.to_string();
    let until: &[&str] = &["param", "until", &until];
    let e = |event: &nostr::Event| ["e".to_owned(), event.id.to_hex()];
    let p = |key: &Signer| ["p".to_owned(), key.public_key().to_hex()];
    assert_eq!(list(5_300, &[until]).await, [e(&loved), e(&shared)], "four hearts before a heart and a repost");
    desk.archive(&desk.customer, 3, "", &[&["p", &friend.public_key().to_hex()]], NOW - 1_000).await;
    assert_eq!(list(5_300, &[until]).await, [e(&shared), e(&loved)], "a friend counts for more");
    assert_eq!(list(5_300, &[until, &["i", "MANY"]]).await, [e(&loved)]);
    assert_eq!(list(5_301, &[until]).await, [p(&people[2]), p(author)]);
    // Who is followed already is no discovery.
    desk.archive(&desk.customer, 3, "", &[&["p", &people[2].public_key().to_hex()]], NOW - 900).await;
    assert_eq!(list(5_301, &[until]).await, [p(author)]);
    let long_ago = (NOW - 86_400 * 30).to_string();
    assert!(list(5_300, &[&["param", "until", &long_ago]]).await.is_empty());
}

#[tokio::test]
async fn hidden_and_disliked_events_are_not_popular() {
    let desk = desk().await;
    let people: Vec<Signer> = (0..5).map(|_| Signer::throwaway()).collect();
    let author = &people[0];
    let at = NOW - 500;
    let react = async |to: &[&str], content: &str, by: usize| {
        let of = author.public_key().to_hex();
        desk.archive(&people[by], 7, content, &[to, &["p", &of]], NOW - 400).await;
    };
    let id = |event: &nostr::Event| event.id.to_hex();
    let deleted = desk.archive(author, 1, "deleted", &[], at).await;
    let expired = desk.archive(author, 1, "expired", &[&["expiration", &(NOW - 10).to_string()]], at).await;
    let replaced = desk.archive(author, 0, "replaced", &[], at).await;
    desk.archive(author, 0, "current", &[], at + 1).await;
    let unknown = "ab".repeat(32);
    for gone in [&id(&deleted), &id(&expired), &id(&replaced), &unknown] {
        for by in 1..5 {
            react(&["e", gone], "+", by).await;
        }
    }
    desk.archive(author, 5, "", &[&["e", &id(&deleted)]], at + 1).await;
    // An article counts by its address, in its current version; one that was deleted does not.
    let [article, gone] = ["kept", "gone"].map(|d| format!("30023:{}:{d}", author.public_key().to_hex()));
    desk.archive(author, 30_023, "first version", &[&["d", "kept"]], at).await;
    desk.archive(author, 30_023, "second version", &[&["d", "kept"]], at + 1).await;
    desk.archive(author, 30_023, "an article", &[&["d", "gone"]], at).await;
    for (address, by) in [(&article, 1), (&article, 2), (&gone, 1), (&gone, 2), (&gone, 3)] {
        react(&["a", address], "+", by).await;
    }
    desk.archive(author, 5, "", &[&["a", &gone]], at + 1).await;
    // Four dislikes and one like are one like.
    let (liked, disliked) =
        (desk.archive(author, 1, "liked", &[], at).await, desk.archive(author, 1, "disliked", &[], at).await);
    for by in 1..4 {
        react(&["e", &id(&liked)], "+", by).await;
        react(&["e", &id(&disliked)], "-", by).await;
    }
    react(&["e", &id(&disliked)], "\u{2764}", 4).await;
    let until = NOW.to_string();
    let until: &[&str] = &["param", "until", &until];
    let list = async |more: &[&[&str]]| -> Vec<[String; 2]> {
        let tags = [&[until], more].concat();
        serde_json::from_str(&desk.said(5_300, &tags).await).expect("a list of tags")
    };
    let named = |name: &str, value: &str| [name.to_owned(), value.to_owned()];
    let wanted = [named("e", &id(&liked)), named("a", &article), named("e", &id(&disliked))];
    assert_eq!(list(&[]).await, wanted);
    assert_eq!(list(&[&["i", "second VERSION"]]).await, wanted[1..2]);
}

#[tokio::test]
async fn an_encrypted_request_gets_an_encrypted_answer() {
    let desk = desk().await;
    let ours = desk.agent.public_key();
    let plain = json!([["i", r#"{"kinds":[1]}"#, "text"], ["relays", "wss://secret.example"]]).to_string();
    let bare = plain[1..plain.len() - 1].to_owned();
    let customer = &desk.customer;
    let sealed = [
        customer.nip44_encrypt(&ours, &plain).await.expect("encrypted"),
        customer.nip04_encrypt(&ours, &plain).await.expect("encrypted"),
        customer.nip44_encrypt(&ours, &bare).await.expect("encrypted"),
    ];
    for (n, content) in sealed.iter().enumerate() {
        let request = desk.request(content, &[&["encrypted"], &["p", &ours.to_hex()]], NOW);
        assert_eq!(desk.dvm.accept(&request, NOW).await.expect("kept"), Acceptance::New);
        let job = desk.archive.take_job(1).await.expect("asked").expect("there");
        assert_eq!(
            desk.dvm.reply_relays(&desk.dvm.prepare(job.clone()).await).await.expect("asked"),
            ["wss://secret.example/"]
        );
        let open = async |event: &nostr::Event| match n {
            1 => customer.nip04_decrypt(&ours, &event.content).await.expect("decrypted"),
            _ => customer.nip44_decrypt(&ours, &event.content).await.expect("decrypted"),
        };
        let feedback = desk.dvm.processing(&desk.dvm.prepare(job.clone()).await).await.expect("signed");
        assert!(feedback.tags.find(TagKind::custom("status")).is_none(), "{feedback:?}");
        let hidden: Vec<Vec<String>> = serde_json::from_str(&open(&feedback).await).expect("tags");
        assert_eq!(hidden[0], ["status", "processing"]);
        let answer = ran(&desk.dvm, &job).await;
        assert_eq!((answer.status, open(&answer.event).await.as_str()), (JobStatus::Answered, "3"));
        assert_eq!(answer.event.tags.filter(TagKind::i()).count(), 0, "the inputs would tell");
        assert!(!answer.event.as_json().contains("kinds\\\":[1]"), "{}", answer.event.as_json());
        desk.archive.end_job(job.id, answer.status, NOW, &[]).await.expect("ended");
    }
    // What was encrypted to another, or is no list of tags, gets one error.
    let nonsense = customer.nip44_encrypt(&ours, "how many?").await.expect("encrypted");
    for (content, wanted) in [("not encrypted", "cannot be decrypted"), (nonsense.as_str(), "no JSON list of tags")] {
        let request = desk.request(content, &[&["encrypted"], &["p", &ours.to_hex()]], NOW);
        let answer = desk.answer(request).await;
        assert_eq!(answer.status, JobStatus::Failed);
        let hidden = customer.nip44_decrypt(&ours, &answer.event.content).await.expect("decrypted");
        assert!(hidden.contains(wanted), "{hidden}");
    }
    let request = desk.request(&sealed[0], &[&["encrypted"]], NOW);
    assert!(matches!(desk.dvm.accept(&request, NOW).await.expect("looked at"), Acceptance::Ignored(_)), "to nobody");
}

#[tokio::test]
async fn jobs_are_chained_cancelled_and_answered_where_the_customer_reads() {
    let desk = desk().await;
    let first = desk.request(r#"{"kinds":[1]}"#, &[], NOW);
    assert_eq!(desk.answer(first.clone()).await.event.content, "3");
    // The result of the first is a tag value to the second.
    let note = desk.archive(&desk.agent, 1, "three", &[&["k", "3"]], 50).await;
    assert_eq!(desk.said(5_400, &[&["i", &first.id.to_hex(), "job"]]).await, "1", "{}", note.id);
    // What names the events of a list, as other jobs give it.
    let list = json!([["e", note.id], ["e", first.id]]).to_string();
    desk.archive(&desk.agent, 7, "+", &[&["e", &note.id.to_hex()]], 51).await;
    assert_eq!(desk.said(5_400, &[&["i", &list]]).await, "1");
    // A secret result is opened for whom it was meant, and for nobody else.
    let ours = desk.agent.public_key();
    let hidden = json!([["i", r#"{"kinds":[1]}"#]]).to_string();
    let sealed = desk.customer.nip44_encrypt(&ours, &hidden).await.expect("encrypted");
    let secret = desk.request(&sealed, &[&["encrypted"], &["p", &ours.to_hex()]], NOW);
    assert_eq!(desk.answer(secret.clone()).await.status, JobStatus::Answered);
    desk.archive(&desk.agent, 1, "four", &[&["k", "4"]], 52).await;
    assert_eq!(desk.said(5_400, &[&["i", &secret.id.to_hex(), "job"]]).await, "1", "four notes, and one says so");
    let builder =
        EventBuilder::new(Kind::from(5_400), "").tag(Tag::custom(TagKind::i(), [secret.id.to_hex(), "job".into()]));
    let stranger = Signer::throwaway();
    let request = stranger.sign(builder.custom_created_at(Timestamp::from(NOW.cast_unsigned()))).expect("signed");
    assert_eq!(desk.dvm.accept(&request, NOW).await.expect("kept"), Acceptance::New);
    let job = desk.archive.take_job(1).await.expect("asked").expect("there");
    let answer = ran(&desk.dvm, &job).await;
    assert!(answer.event.content.contains("encrypted to another"), "{}", answer.event.content);
    desk.archive.end_job(job.id, answer.status, NOW, &[]).await.expect("ended");
    // A customer without `relays` is answered where they read.
    let tags: &[&[&str]] =
        &[&["r", "wss://in.example", "read"], &["r", "wss://out.example", "write"], &["r", "wss://both.example"]];
    desk.archive(&desk.customer, 10_002, "", tags, 60).await;
    let request = desk.request("", &[], NOW + 1);
    desk.dvm.accept(&request, NOW).await.expect("kept");
    let job = desk.archive.take_job(1).await.expect("asked").expect("there");
    assert_eq!(
        desk.dvm.reply_relays(&desk.dvm.prepare(job.clone()).await).await.expect("asked"),
        ["wss://in.example/", "wss://both.example/"]
    );
    // Taken back by the customer, and by nobody else.
    let deletion =
        |by: &Signer| by.sign(EventBuilder::new(Kind::EventDeletion, "").tag(Tag::event(job.id))).expect("signed");
    let stranger = desk.dvm.accept(&deletion(&Signer::throwaway()), NOW).await.expect("looked at");
    assert!(matches!(stranger, Acceptance::Ignored(_)));
    assert_eq!(desk.dvm.accept(&deletion(&desk.customer), NOW).await.expect("taken back"), Acceptance::Cancelled);
    assert!(!desk.archive.end_job(job.id, JobStatus::Answered, NOW, &[]).await.expect("asked"), "no result afterwards");
}

#[tokio::test]
async fn invalid_requests_do_not_delay_honest_customers() {
    let limits = Limits { per_minute: 5, open: 3, ..Limits::default() };
    let desk = desk_with(Options::default(), limits).await;
    let loud = Signer::throwaway();
    let mut kept = 0;
    for n in 0..300_i64 {
        let builder = EventBuilder::new(Kind::from(5_400), n.to_string());
        let request = loud.sign(builder.custom_created_at(Timestamp::from(NOW.cast_unsigned()))).expect("signed");
        kept += u32::from(desk.dvm.accept(&request, NOW).await.expect("looked at") == Acceptance::New);
    }
    assert_eq!(kept, 3, "as many as may wait");
    let honest = desk.request("", &[], NOW);
    assert_eq!(desk.dvm.accept(&honest, NOW).await.expect("kept"), Acceptance::New);
    let first = desk.archive.take_job(1).await.expect("asked").expect("there").id;
    let second = desk.archive.take_job(1).await.expect("asked").expect("there").id;
    assert!([first, second].contains(&honest.id), "the honest one is the second at the latest");
    let (allowed, denied) = (Signer::throwaway(), Signer::throwaway());
    let limits = Limits { allow: vec![allowed.public_key()], deny: vec![denied.public_key()], ..Limits::default() };
    let desk = desk_with(Options::default(), limits).await;
    for (by, wanted) in [(&allowed, true), (&denied, false), (&loud, false)] {
        let builder = EventBuilder::new(Kind::from(5_400), "").custom_created_at(Timestamp::from(NOW.cast_unsigned()));
        let taken = desk.dvm.accept(&by.sign(builder).expect("signed"), NOW).await.expect("looked at");
        assert_eq!(taken == Acceptance::New, wanted);
    }
    let desk = desk_with(Options::default(), Limits { pow: 8, ..Limits::default() }).await;
    for (bits, wanted) in [(0, false), (8, true)] {
        let builder = EventBuilder::new(Kind::from(5_400), "x").custom_created_at(Timestamp::from(NOW.cast_unsigned()));
        let builder = if bits > 0 { builder.pow(bits) } else { builder.tag(Tag::hashtag("seven")) };
        let request = loud.sign(builder).expect("signed");
        if bits == 0 && request.check_pow(8) {
            continue;
        }
        assert_eq!(desk.dvm.accept(&request, NOW).await.expect("looked at") == Acceptance::New, wanted);
    }
}

#[tokio::test]
async fn follows_of_follows_are_trusted() {
    let [root, friend, third, stranger] = [(); 4].map(|()| Signer::throwaway());
    let limits = Limits { trust: vec![root.public_key()], ..Limits::default() };
    let desk = desk_with(Options::default(), limits).await;
    let follows = |who: &Signer, whom: &Signer| {
        let builder = EventBuilder::new(Kind::ContactList, "").tag(Tag::public_key(whom.public_key()));
        Event::from(&who.sign(builder).expect("signed")).verify().expect("verified")
    };
    // A stranger's own list says nothing for them.
    let events = vec![follows(&root, &friend), follows(&friend, &third), follows(&stranger, &root)];
    desk.archive.store(Batch { events, ..Batch::default() }).await.expect("stored");
    let asks = async |who: &Signer| {
        let builder = EventBuilder::new(Kind::from(5_400), "").custom_created_at(Timestamp::from(NOW.cast_unsigned()));
        // Lists are dated today, jobs long ago.
        desk.dvm.accept(&who.sign(builder).expect("signed"), NOW).await.expect("asked")
    };
    for who in [&root, &friend, &third] {
        assert_eq!(asks(who).await, Acceptance::New);
    }
    let Acceptance::Ignored(why) = asks(&stranger).await else { panic!("nobody knows them") };
    assert!(why.contains("follows"), "{why}");
}

#[tokio::test]
async fn a_ping_is_answered_once() {
    let desk = desk().await;
    let ping = |to: &Signer, at: i64| {
        let builder = EventBuilder::new(Kind::Custom(7_007), "").tag(Tag::public_key(to.public_key()));
        let builder = builder.allow_self_tagging().custom_created_at(Timestamp::from(at.cast_unsigned()));
        desk.customer.sign(builder).expect("signed")
    };
    let ours = ping(&desk.agent, NOW);
    assert_eq!(desk.dvm.accept(&ours, NOW).await.expect("asked"), Acceptance::Ping);
    for other in [ping(&desk.customer, NOW), ping(&desk.agent, NOW - 100)] {
        assert!(matches!(desk.dvm.accept(&other, NOW).await.expect("asked"), Acceptance::Ignored(_)));
    }
    let (pong, again) = (desk.dvm.pong(&ours).expect("signed"), desk.dvm.pong(&ours).expect("signed"));
    assert_eq!((pong.kind, pong.id), (Kind::Custom(7_000), again.id), "the same event, however often it is heard");
    assert!(pong.tags.iter().any(|tag| tag.as_slice() == ["status", "pong"]), "{pong:?}");
    assert_eq!(pong.tags.event_ids().next(), Some(&ours.id));
}

#[tokio::test]
async fn partial_results_are_reported() {
    let desk = desk().await;
    let request = desk.request("", &[&["param", "group", "content"]], NOW);
    assert_eq!(desk.dvm.accept(&request, NOW).await.expect("kept"), Acceptance::New);
    let job = desk.archive.take_job(1).await.expect("asked").expect("there");
    let prepared = desk.dvm.prepare(job).await;
    let (sender, receiver) = tokio::sync::watch::channel(String::new());
    let Outcome::Answer(answer) = desk.dvm.run(&prepared, &sender).await.expect("signed") else { panic!("free") };
    // Ten events are one page: all is known with the first part.
    assert_eq!(*receiver.borrow(), answer.event.content);
    let event = desk.dvm.partial(&prepared, "{}").await.expect("signed");
    assert!(event.tags.iter().any(|tag| tag.as_slice() == ["status", "partial", "{}"]), "{event:?}");
}

#[tokio::test]
async fn a_job_that_depends_on_another_blocks_no_worker() {
    let desk = desk().await;
    let now = i64::try_from(Timestamp::now().as_secs()).expect("a time");
    let first = desk.request(r#"{"kinds":[1]}"#, &[], now);
    let second = desk.request("", &[&["i", &first.id.to_hex(), "job"]], now);
    let (partial, _) = tokio::sync::watch::channel(String::new());
    // In the wrong order.
    assert_eq!(desk.dvm.accept(&second, now).await.expect("kept"), Acceptance::New);
    let job = desk.archive.take_job(now).await.expect("asked").expect("there");
    let prepared = desk.dvm.prepare(job.clone()).await;
    let Outcome::Later(other) = desk.dvm.run(&prepared, &partial).await.expect("signed") else { panic!("too early") };
    assert_eq!(other, first.id);
    assert!(desk.archive.postpone_job(job.id, now + 60, other).await.expect("put back"));
    assert_eq!(desk.archive.take_job(now).await.expect("asked"), None, "it is not in anybody's way");
    assert_eq!(desk.dvm.accept(&first, now).await.expect("kept"), Acceptance::New);
    let earlier = desk.archive.take_job(now).await.expect("asked").expect("there");
    let Outcome::Later(_) = desk.dvm.run(&prepared, &partial).await.expect("signed") else { panic!("too early") };
    let answer = ran(&desk.dvm, &earlier).await;
    desk.archive.end_job(earlier.id, answer.status, now, &[on_its_way(&answer)]).await.expect("ended");
    // Its end wakes the other, which takes its result: "3", a tag value that nothing has.
    let job = desk.archive.take_job(now).await.expect("asked").expect("at once");
    assert_eq!((job.id, job.waits_for), (second.id, Some(first.id)));
    assert_eq!(ran(&desk.dvm, &job).await.event.content, "0");
    // What never comes is told so.
    let late = brotr_storage::Job { received_at: now - 5, ..job };
    let unknown = desk.request("", &[&["i", &"ab".repeat(32), "job"]], now);
    let late = brotr_storage::Job { request: unknown.as_json(), ..late };
    assert!(ran(&desk.dvm, &late).await.event.content.contains("ask for it first"));
}

#[tokio::test]
async fn kinds_beyond_sixteen_bits_are_no_other_kinds() {
    let desk = desk().await;
    // 65,537 is 1 in sixteen bits, and there are three events of kind 1.
    for filter in [r#"{"kinds":[65537]}"#, r##"[{"#kinds":[65537]}]"##, r#"{"kinds":[4294967297]}"#] {
        let answer = desk.ask(filter, &[]).await;
        let counted = answer.status == JobStatus::Answered;
        assert!(!counted || answer.event.content == "0", "{filter}: {}", answer.event.content);
    }
}
