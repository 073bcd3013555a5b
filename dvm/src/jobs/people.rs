//! Kind 5301: people whose events are popular, and whom the customer does not follow yet.

use async_trait::async_trait;

use super::tally::{PARAMS, deeds, rank};
use super::{JobContext, Param, Work, keys, tags, wanted};
use crate::{JobError, JobRequest};

/// People, as `p` tags, best first.
pub(crate) struct Discovery;

#[async_trait]
impl Work for Discovery {
    fn kind(&self) -> u16 {
        5_301
    }

    fn params(&self) -> &'static [Param] {
        PARAMS
    }

    async fn run(&self, context: &JobContext<'_>, request: &JobRequest) -> Result<String, JobError> {
        let whom = keys(request, "user")?.first().copied().unwrap_or(request.customer);
        let friends = context.follows(whom).await?;
        let ranked = rank(&deeds(context, request).await?, &friends, |deed| deed.of);
        let new = ranked.into_iter().filter(|key| *key != whom && !friends.contains(key));
        Ok(tags(new.take(wanted(request)?).map(|key| ["p".into(), key.to_hex()])))
    }
}
