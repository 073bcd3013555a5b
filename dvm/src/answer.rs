//! Events that answer jobs: results (6xxx), feedback (7000) and the announcement (31990).

use brotr_keys::Signer;
use brotr_storage::Job;
use nostr::{Event, EventBuilder, Kind, SignerError, Tag, TagKind, Timestamp};
use serde_json::json;

use crate::jobs::JOBS;
use crate::payment::Owed;
use crate::{JobRequest, PreparedJob, result_kind};

const FEEDBACK: u16 = 7_000;
/// The kind of the announcement,
const HANDLER_KIND: u16 = 31_990;
/// and its `d`: one per key.
const HANDLER: &str = "brotr";
/// Seconds after which feedback expires (NIP-40).
const FEEDBACK_LASTS: u64 = 86_400;

fn tag<const N: usize>(name: &str, values: [&str; N]) -> Tag {
    Tag::custom(TagKind::custom(name), values)
}

fn common(job: &Job) -> [Tag; 2] {
    [Tag::event(job.id), Tag::public_key(job.customer)]
}

/// What feedback says.
pub(crate) struct Feedback<'a> {
    /// The status, such as `processing`.
    pub(crate) status: &'a str,
    /// What it says to the customer, or a partial result.
    pub(crate) text: &'a str,
    /// The payment that it requests.
    pub(crate) owed: Option<Owed<'a>>,
}

/// Returns feedback on a job. Feedback on an encrypted request is encrypted.
pub(crate) async fn feedback(
    signer: &Signer,
    PreparedJob { job, seal, .. }: &PreparedJob,
    Feedback { status, text, owed }: Feedback<'_>,
    at: Timestamp,
) -> Result<Event, SignerError> {
    let status = if text.is_empty() { tag("status", [status]) } else { tag("status", [status, text]) };
    let ends = at + FEEDBACK_LASTS;
    let builder = match seal {
        None => EventBuilder::new(Kind::from(FEEDBACK), text).tag(status),
        Some(seal) => {
            let hidden = json!([status, ["content", text]]).to_string();
            let content = seal.close(signer, &job.customer, &hidden).await?;
            EventBuilder::new(Kind::from(FEEDBACK), content).tag(tag("encrypted", []))
        }
    };
    let owed = owed.map(amount);
    // The customer may be ourselves.
    signer.sign(
        builder.tags(common(job)).tags(owed).tag(Tag::expiration(ends)).allow_self_tagging().custom_created_at(at),
    )
}

fn amount(owed: Owed<'_>) -> Tag {
    tag("amount", [&owed.msat.to_string(), owed.bolt11])
}

/// Returns the result of a job.
pub(crate) async fn result(
    signer: &Signer,
    job: &Job,
    request: &JobRequest,
    Content { text: content, left_out }: &Content,
    owed: Option<Owed<'_>>,
    at: Timestamp,
) -> Result<Event, SignerError> {
    let kind = result_kind(job.kind);
    let builder = match request.seal {
        None => EventBuilder::new(kind, content).tags(request.input_tags.iter().cloned()),
        // The inputs would reveal the request, which holds them encrypted.
        Some(seal) => {
            EventBuilder::new(kind, seal.close(signer, &job.customer, content).await?).tag(tag("encrypted", []))
        }
    };
    let builder = builder
        .tag(tag("request", [&job.request]))
        .tags(common(job))
        // Clients that follow the published schemas expect the tag even if nothing is to be paid.
        .tag(owed.map_or_else(|| tag("amount", ["0"]), amount))
        .tags((*left_out > 0).then(|| tag("left_out", [&left_out.to_string()])));
    signer.sign(builder.allow_self_tagging().custom_created_at(at))
}

/// The content of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) text: String,
    /// Entries of a list that did not fit.
    pub(crate) left_out: usize,
}

impl Content {
    /// Shortens a list that is longer than `most` bytes. Other content is unchanged.
    pub(crate) fn shorten(text: String, most: usize) -> Self {
        if text.len() <= most {
            return Self { text, left_out: 0 };
        }
        let Ok(mut list) = serde_json::from_str::<Vec<serde_json::Value>>(&text) else {
            return Self { text, left_out: 0 };
        };
        let (all, mut length) = (list.len(), 2);
        let kept = list.iter().take_while(|entry| {
            length += entry.to_string().len() + 1;
            length <= most
        });
        let kept = kept.count();
        list.truncate(kept);
        Self { text: serde_json::Value::Array(list).to_string(), left_out: all - kept }
    }
}

/// Returns the announcement: the kinds of jobs and their parameters.
pub(crate) fn announcement(profile: &serde_json::Value, costs: bool, at: Timestamp) -> EventBuilder {
    let mut profile = profile.clone();
    let params = JOBS.iter().flat_map(|work| work.params()).map(|param| {
        let values: Vec<&str> = param.values.to_vec();
        (param.name.to_owned(), json!({"required": false, "values": values, "about": param.about}))
    });
    profile["nip90Params"] = params.collect();
    profile["encryptionSupported"] = json!(true);
    profile["amount"] = json!(if costs { "flexible" } else { "free" });
    EventBuilder::new(Kind::Custom(HANDLER_KIND), profile.to_string())
        .tag(Tag::identifier(HANDLER))
        .tags(JOBS.iter().map(|work| tag("k", [&work.kind().to_string()])))
        .custom_created_at(at)
}

/// Returns the withdrawal of the announcement.
pub(crate) fn withdrawal(signer: &Signer, at: Timestamp) -> Result<Event, SignerError> {
    let address = format!("{HANDLER_KIND}:{}:{HANDLER}", signer.public_key().to_hex());
    let kind = tag("k", [&HANDLER_KIND.to_string()]);
    let builder = EventBuilder::new(Kind::EventDeletion, "").tag(tag("a", [&address])).tag(kind);
    signer.sign(builder.custom_created_at(at))
}

/// Answers a ping. It has the timestamp of the ping, so that one ping is answered once, however often it is received.
pub(crate) fn pong(signer: &Signer, ping: &Event) -> Result<Event, SignerError> {
    let builder = EventBuilder::new(Kind::from(FEEDBACK), "")
        .tag(tag("status", ["pong"]))
        .tags([Tag::event(ping.id), Tag::public_key(ping.pubkey)])
        .tag(Tag::expiration(ping.created_at + FEEDBACK_LASTS));
    signer.sign(builder.custom_created_at(ping.created_at).allow_self_tagging())
}

/// Returns a heartbeat: the announced handler is available, for `lasts` seconds (nostr-protocol/nips#2465). Clients find the
/// handler by its `d`.
pub(crate) fn heartbeat(signer: &Signer, lasts: u64, at: Timestamp) -> Result<Event, SignerError> {
    let builder = EventBuilder::new(Kind::Custom(11_998), "").tags([
        Tag::identifier(HANDLER),
        tag("status", ["online"]),
        Tag::expiration(at + lasts),
    ]);
    signer.sign(builder.custom_created_at(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 40_000;

    #[test]
    fn only_lists_are_shortened_to_the_size_limit() {
        let list = serde_json::to_string(&vec![["a", &"x".repeat(300)]; 200]).expect("JSON");
        let Content { text: short, left_out } = Content::shorten(list.clone(), MOST);
        assert!((MOST - 400..=MOST).contains(&short.len()), "{}", short.len());
        assert!(list.starts_with(&short[..short.len() - 1]), "the first of them");
        let kept: Vec<serde_json::Value> = serde_json::from_str(&short).expect("JSON");
        assert_eq!(kept.len() + left_out, 200);
        for text in ["[]".to_owned(), "12".to_owned(), "x".repeat(MOST + 1), format!("{{\"{list}\":1}}")] {
            assert_eq!(Content::shorten(text.clone(), MOST), Content { text, left_out: 0 });
        }
    }
}
