//! Kind 5300: what is popular, in a span of time, by those whom the customer follows before others.

use async_trait::async_trait;
use nostr::{EventId, Filter};

use super::tally::{PARAMS, deeds, rank};
use super::{Desk, Param, Work, keys, tags, wanted};
use crate::{JobError, JobRequest};

/// Of so many times as many as are wanted it is looked whether they have the words that are asked for.
const LOOKED_AT: usize = 10;

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

    async fn run(&self, desk: &Desk<'_>, request: &JobRequest) -> Result<String, JobError> {
        let whom = keys(request, "user")?.first().copied().unwrap_or(request.customer);
        let friends = desk.follows(whom).await?;
        let ranked = rank(&deeds(desk, request).await?, &friends, |deed| Some(deed.to.clone()));
        let (wanted, words) = (wanted(request)?, desk.words(request).await?);
        if words.trim().is_empty() {
            return Ok(tags(ranked.into_iter().take(wanted)));
        }
        // With words in the inputs: those that have all of them.
        let words: Vec<String> = words.split_whitespace().map(str::to_lowercase).collect();
        let ranked: Vec<_> = ranked.into_iter().take(wanted * LOOKED_AT).collect();
        let ids = ranked.iter().filter(|[name, _]| name == "e").filter_map(|[_, id]| EventId::from_hex(id).ok());
        let found = desk.page(&Filter::new().ids(ids), wanted * LOOKED_AT).await?;
        let has_words = |content: &str| {
            let content = content.to_lowercase();
            words.iter().all(|word| content.contains(word.as_str()))
        };
        let right: std::collections::HashSet<String> =
            found.iter().filter(|event| has_words(&event.content)).map(|event| event.id.to_hex()).collect();
        Ok(tags(ranked.into_iter().filter(|[_, id]| right.contains(id)).take(wanted)))
    }
}
