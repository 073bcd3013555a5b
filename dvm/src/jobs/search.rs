//! Kinds 5302 and 5303: search of events and people by words.

use async_trait::async_trait;
use nostr::{Filter, Kind};

use super::{JobContext, MAX_RESULTS, Param, Work, keys, reference, span, tags, wanted};
use crate::{JobError, JobRequest};

/// Kind 5302: notes and articles that have all words of the inputs, optionally by author and time.
pub(crate) struct Content;

#[async_trait]
impl Work for Content {
    fn kind(&self) -> u16 {
        5_302
    }

    fn params(&self) -> &'static [Param] {
        &[
            MAX_RESULTS,
            Param { name: "users", values: &[], about: "only events of these people: a JSON list of p tags, or keys" },
            Param { name: "since", values: &[], about: "unix seconds" },
            Param { name: "until", values: &[], about: "unix seconds" },
        ]
    }

    async fn run(&self, context: &JobContext<'_>, request: &JobRequest) -> Result<String, JobError> {
        let words = something(context, request).await?;
        let mut filter = span(request, Filter::new().kinds([Kind::TextNote, Kind::LongFormTextNote]).search(words))?;
        let mut users = keys(request, "users")?;
        users.extend(keys(request, "user")?);
        if !users.is_empty() {
            filter = filter.authors(users);
        }
        let found = context.page(&filter, wanted(request)?).await?;
        Ok(tags(found.iter().map(reference)))
    }
}

/// Kind 5303: people whose profiles have all words of the inputs.
pub(crate) struct People;

#[async_trait]
impl Work for People {
    fn kind(&self) -> u16 {
        5_303
    }

    fn params(&self) -> &'static [Param] {
        &[MAX_RESULTS]
    }

    async fn run(&self, context: &JobContext<'_>, request: &JobRequest) -> Result<String, JobError> {
        let words = something(context, request).await?;
        let found = context.page(&Filter::new().kind(Kind::Metadata).search(words), wanted(request)?).await?;
        Ok(tags(found.iter().map(|event| ["p".into(), event.pubkey.to_hex()])))
    }
}

async fn something(context: &JobContext<'_>, request: &JobRequest) -> Result<String, JobError> {
    let words = context.words(request).await?;
    if words.trim().is_empty() {
        return Err(JobError::Wrong("nothing to search for: give words in an input".into()));
    }
    Ok(words)
}
