//! Requests as clients write them, and the answers they get.

use std::sync::Arc;

use brotr_dvm::{Acceptance, Answer, Dvm};
use brotr_keys::Signer;
use brotr_storage::{Archive, Batch, Event, JobStatus, Network, Options};
use nostr::{EventBuilder, JsonUtil, Kind, Tag, TagKind, Timestamp};

const NOW: i64 = 1_700_000_000;

struct Desk {
    _dir: tempfile::TempDir,
    archive: Arc<dyn Archive>,
    dvm: Dvm,
    agent: Signer,
    customer: Signer,
}

async fn desk() -> Desk {
    let dir = tempfile::tempdir().expect("a directory");
    let archive = brotr_storage::open(&format!("sqlite://{}/db", dir.path().display()), Options::default())
        .await
        .expect("opened");
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
    let dvm = Dvm::new(archive.clone(), agent.clone(), canonical, 3_600);
    Desk { _dir: dir, archive, dvm, agent, customer: Signer::throwaway() }
}

impl Desk {
    fn request(&self, content: &str, tags: &[&[&str]], at: i64) -> nostr::Event {
        let tags = tags.iter().map(|t| Tag::custom(TagKind::custom(t[0]), t[1..].iter().copied()));
        let builder = EventBuilder::new(Kind::from(5_400), content).tags(tags);
        self.customer.sign(builder.custom_created_at(Timestamp::from(at.cast_unsigned()))).expect("signed")
    }

    async fn ask(&self, content: &str, tags: &[&[&str]]) -> Answer {
        let request = self.request(content, tags, NOW);
        assert_eq!(self.dvm.accept(&request, NOW).await.expect("kept"), Acceptance::New);
        let job = self.archive.take_job().await.expect("asked").expect("there");
        let answer = self.dvm.run(&job).await.expect("signed");
        answer.event.verify().expect("valid");
        assert_eq!(answer.event.pubkey, self.agent.public_key());
        assert_eq!(answer.event.tags.event_ids().next(), Some(&request.id));
        assert_eq!(answer.event.tags.public_keys().next(), Some(&self.customer.public_key()));
        self.archive.end_job(job.id, answer.status, NOW, &[]).await.expect("ended");
        answer
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
async fn a_wrong_request_is_told_what_is_wrong() {
    let desk = desk().await;
    let many = format!("[{}]", vec!["{}"; 21].join(","));
    let table: [(&str, &[&[&str]], &str); 9] = [
        ("how many?", &[], "not a JSON list of filters"),
        (r#"[{"kindz":[1]}]"#, &[], "kindz"),
        (r#"[{"kinds":["one"]}]"#, &[], "not a filter"),
        (r#"[{"search":"cats"}]"#, &[], "full-text"),
        ("[3]", &[], "JSON object"),
        (&many, &[], "too many filters"),
        ("", &[&["param", "group", "pubkey"]], "group"),
        ("", &[&["param", "relay", "http://x"]], "not a wss:// address"),
        ("", &[&["encrypted"]], "encrypted"),
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
async fn what_is_not_for_us_is_left_alone() {
    let desk = desk().await;
    let other = Signer::throwaway().public_key().to_hex();
    let ours = desk.agent.public_key().to_hex();
    let ignored = |request: nostr::Event| async {
        let request = request;
        matches!(desk.dvm.accept(&request, NOW).await.expect("looked at"), Acceptance::Ignored(_))
    };
    assert!(ignored(desk.request("", &[&["p", &other]], NOW)).await, "to another");
    assert!(ignored(desk.request("", &[], NOW - 3_601)).await, "too old");
    assert!(ignored(desk.request("", &[], NOW + 901)).await, "from the future");
    assert!(ignored(desk.request(&" ".repeat(70_000), &[], NOW)).await, "too large");
    assert!(ignored(desk.customer.sign(EventBuilder::text_note("5400")).expect("signed")).await, "no job");
    assert!(!ignored(desk.request("", &[&["p", &other], &["p", &ours]], NOW)).await, "to us among others");
}

#[tokio::test]
async fn a_request_is_kept_once() {
    let desk = desk().await;
    let request = desk.request("", &[&["relays", "wss://r.example", "http://no", "wss://s.example/"]], NOW);
    assert_eq!(desk.dvm.accept(&request, NOW).await.expect("kept"), Acceptance::New);
    assert_eq!(desk.dvm.accept(&request, NOW + 1).await.expect("kept"), Acceptance::Known);
    let job = desk.archive.take_job().await.expect("asked").expect("there");
    assert_eq!(desk.archive.take_job().await.expect("asked"), None);
    assert_eq!(desk.dvm.reply_relays(&job), ["wss://r.example/", "wss://s.example/"]);
    let feedback = desk.dvm.processing(&job).expect("signed");
    assert_eq!(feedback.kind.as_u16(), 7_000);
    let announcement = desk.dvm.announcement(&serde_json::json!({"name": "x"})).expect("signed");
    assert_eq!(announcement.kind.as_u16(), 31_990);
    assert_eq!(announcement.tags.find(TagKind::k()).expect("k").content(), Some("5400"));
}
