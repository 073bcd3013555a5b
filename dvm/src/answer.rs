//! The events that answer: results (6xxx), feedback (7000) and the announcement (31990).

use brotr_storage::Job;
use nostr::{EventBuilder, Kind, Tag, TagKind};

use crate::{JOB_KINDS, JobRequest, result_kind};

const FEEDBACK: u16 = 7_000;
/// The announcement's `d`: one for each key.
const HANDLER: &str = "brotr";

fn tag<const N: usize>(name: &str, values: [&str; N]) -> Tag {
    Tag::custom(TagKind::custom(name), values)
}

fn common(job: &Job) -> [Tag; 2] {
    [Tag::event(job.id), Tag::public_key(job.customer)]
}

pub(crate) fn feedback(job: &Job, status: &str, text: &str) -> EventBuilder {
    let status = if text.is_empty() { tag("status", [status]) } else { tag("status", [status, text]) };
    EventBuilder::new(Kind::from(FEEDBACK), text).tag(status).tags(common(job)).allow_self_tagging()
}

pub(crate) fn result(job: &Job, request: &JobRequest, content: &str) -> EventBuilder {
    EventBuilder::new(result_kind(job.kind), content)
        .tag(tag("request", [&job.request]))
        .tags(common(job))
        .tags(request.input_tags.iter().cloned())
        // Nothing is owed. Readers that follow the published schemas want the tag even so.
        .tag(tag("amount", ["0"]))
        // The customer may be ourselves.
        .allow_self_tagging()
}

pub(crate) fn announcement(profile: &serde_json::Value) -> EventBuilder {
    EventBuilder::new(Kind::Custom(31_990), profile.to_string())
        .tag(Tag::identifier(HANDLER))
        .tags(JOB_KINDS.iter().map(|kind| tag("k", [&kind.to_string()])))
}
