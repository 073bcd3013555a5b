//! The events that answer: results (6xxx), feedback (7000) and the announcement (31990).

use brotr_keys::Signer;
use brotr_storage::Job;
use nostr::{Event, EventBuilder, Kind, SignerError, Tag, TagKind, Timestamp};
use serde_json::json;

use crate::jobs::JOBS;
use crate::seal::Seal;
use crate::{JobRequest, result_kind};

const FEEDBACK: u16 = 7_000;
/// The announcement's `d`: one for each key.
const HANDLER: &str = "brotr";
/// Feedback is of no use to anybody after so many seconds (NIP-40).
const FEEDBACK_LASTS: u64 = 86_400;

fn tag<const N: usize>(name: &str, values: [&str; N]) -> Tag {
    Tag::custom(TagKind::custom(name), values)
}

fn common(job: &Job) -> [Tag; 2] {
    [Tag::event(job.id), Tag::public_key(job.customer)]
}

/// What is said of a job before its end, or in place of a result. What was asked for in secret is answered so.
pub(crate) async fn feedback(
    signer: &Signer,
    job: &Job,
    seal: Option<Seal>,
    status: &str,
    text: &str,
) -> Result<Event, SignerError> {
    let status = if text.is_empty() { tag("status", [status]) } else { tag("status", [status, text]) };
    let ends = Timestamp::now() + FEEDBACK_LASTS;
    let builder = match seal {
        None => EventBuilder::new(Kind::from(FEEDBACK), text).tag(status),
        Some(seal) => {
            let hidden = json!([status, ["content", text]]).to_string();
            let content = seal.close(signer, &job.customer, &hidden).await?;
            EventBuilder::new(Kind::from(FEEDBACK), content).tag(tag("encrypted", []))
        }
    };
    // The customer may be ourselves.
    signer.sign(builder.tags(common(job)).tag(Tag::expiration(ends)).allow_self_tagging())
}

/// The result of a job.
pub(crate) async fn result(
    signer: &Signer,
    job: &Job,
    request: &JobRequest,
    content: &str,
) -> Result<Event, SignerError> {
    let kind = result_kind(job.kind);
    let builder = match request.seal {
        None => EventBuilder::new(kind, content).tags(request.input_tags.iter().cloned()),
        // The inputs would tell what was asked; the request itself holds them encrypted.
        Some(seal) => {
            EventBuilder::new(kind, seal.close(signer, &job.customer, content).await?).tag(tag("encrypted", []))
        }
    };
    let builder = builder
        .tag(tag("request", [&job.request]))
        .tags(common(job))
        // Nothing is owed. Readers that follow the published schemas want the tag even so.
        .tag(tag("amount", ["0"]));
    signer.sign(builder.allow_self_tagging())
}

/// What is done here, with the parameters of each kind.
pub(crate) fn announcement(profile: &serde_json::Value) -> EventBuilder {
    let mut profile = profile.clone();
    let params = JOBS.iter().flat_map(|work| work.params()).map(|param| {
        let values: Vec<&str> = param.values.to_vec();
        (param.name.to_owned(), json!({"required": false, "values": values, "about": param.about}))
    });
    profile["nip90Params"] = params.collect();
    profile["encryptionSupported"] = json!(true);
    EventBuilder::new(Kind::Custom(31_990), profile.to_string())
        .tag(Tag::identifier(HANDLER))
        .tags(JOBS.iter().map(|work| tag("k", [&work.kind().to_string()])))
}
