//! Requests as clients write them, and the answers they get.

mod answers;
mod requests;

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
