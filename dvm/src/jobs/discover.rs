//! Kind 5300: popular events within a span of time, by those whom the customer follows first.

use std::collections::HashMap;

use async_trait::async_trait;
use brotr_core::Event;
use nostr::nips::nip01::Coordinate;
use nostr::{EventId, Filter};

use super::tally::{PARAMS, deeds, rank};
use super::{JobContext, Param, Work, keys, tags, wanted};
use crate::{JobError, JobRequest};

/// Up to this many times the requested number of results are looked up: some are gone or lack the requested words.
const LOOKED_AT: usize = 10;
/// Candidates looked up per query.
const BATCH: usize = 100;

/// Popular events, as `e` and `a` tags, best first.
pub(crate) struct Content;

#[async_trait]
impl Work for Content {
    fn kind(&self) -> u16 {
        5_300
    }

    fn params(&self) -> &'static [Param] {
        PARAMS
    }

    async fn run(&self, context: &JobContext<'_>, request: &JobRequest) -> Result<String, JobError> {
        let whom = keys(request, "user")?.first().copied().unwrap_or(request.customer);
        let friends = context.follows(whom).await?;
        let ranked = rank(&deeds(context, request).await?, &friends, |deed| Some(deed.to.clone()));
        let wanted = wanted(request)?;
        // With words in the inputs: events that have all of them.
        let words: Vec<String> = context.words(request).await?.split_whitespace().map(str::to_lowercase).collect();
        let has_words = |event: &Event| {
            let content = event.content.to_lowercase();
            words.iter().all(|word| content.contains(word.as_str()))
        };
        let candidates = &ranked[..ranked.len().min(wanted * LOOKED_AT)];
        let mut right = Vec::new();
        for batch in candidates.chunks(BATCH) {
            // Replaced, deleted or expired events are not shown, and events that are not archived are unknown.
            let visible = visible(context, batch).await?;
            right.extend(batch.iter().filter(|name| visible.get(*name).is_some_and(&has_words)).cloned());
            if right.len() >= wanted {
                break;
            }
        }
        Ok(tags(right.into_iter().take(wanted)))
    }
}

/// Returns the events of some `e` and `a` names that clients may see.
async fn visible(context: &JobContext<'_>, names: &[[String; 2]]) -> Result<HashMap<[String; 2], Event>, JobError> {
    let ids = names.iter().filter(|[name, _]| name == "e").filter_map(|[_, id]| EventId::from_hex(id).ok());
    let ids: Vec<EventId> = ids.collect();
    let mut found = HashMap::new();
    if !ids.is_empty() {
        for event in context.page(&Filter::new().ids(ids), names.len()).await? {
            found.insert(["e".to_owned(), event.id.to_hex()], event);
        }
    }
    for name in names.iter().filter(|[name, _]| name == "a") {
        let Ok(address) = Coordinate::parse(&name[1]) else { continue };
        let mut filter = Filter::new().author(address.public_key).kind(address.kind);
        if address.kind.is_addressable() {
            filter = filter.identifier(&address.identifier);
        }
        if let Some(event) = context.page(&filter, 1).await?.pop() {
            found.insert(name.clone(), event);
        }
    }
    Ok(found)
}
