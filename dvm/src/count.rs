//! Kind 5400: how many events match.
//!
//! What is counted is given as NIP-01 filters, in the content or in `i` inputs, as one object or a list; an input
//! that is no JSON is a tag value, and events that carry it in a one-letter tag are counted. `relay` parameters
//! narrow the count to events seen on those relays.

use brotr_storage::{Archive, StorageError, View, parse_filter};
use nostr::{Alphabet, Filter, SingleLetterTag};
use serde_json::Value;

use crate::{Canonical, InputType, JobError, JobRequest};

pub(crate) const KIND: u16 = 5_400;

/// The most filters in one request.
const MAX_FILTERS: usize = 20;
/// The tags in which a bare value is looked for.
const LETTERS: [Alphabet; 9] = [
    Alphabet::A,
    Alphabet::D,
    Alphabet::E,
    Alphabet::I,
    Alphabet::K,
    Alphabet::P,
    Alphabet::Q,
    Alphabet::R,
    Alphabet::T,
];

/// Counts; gives the number as text.
pub(crate) async fn run(
    archive: &dyn Archive,
    request: &JobRequest,
    canonical: &Canonical,
) -> Result<String, JobError> {
    if request.param("group").next().is_some() {
        return Err(JobError::Wrong("counting by group is not done here yet: leave the parameter group out".into()));
    }
    let filters = filters(request)?;
    let relays = request
        .param("relay")
        .map(|url| canonical(url).map_err(|reason| JobError::Wrong(format!("relay {url:?}: {reason}"))))
        .collect::<Result<Vec<_>, _>>()?;
    let view = View::Client { now: i64::try_from(nostr::Timestamp::now().as_secs()).unwrap_or(i64::MAX) };
    match archive.count(&filters, view, &relays).await {
        Ok(count) => Ok(count.to_string()),
        Err(error @ (StorageError::NoSearch | StorageError::NoContents)) => Err(JobError::Wrong(error.to_string())),
        Err(error) => {
            tracing::error!(%error, "failed to count for a job");
            Err(JobError::Internal)
        }
    }
}

fn filters(request: &JobRequest) -> Result<Vec<Filter>, JobError> {
    let mut filters = Vec::new();
    if !request.content.trim().is_empty() {
        let value = serde_json::from_str(&request.content)
            .map_err(|e| JobError::Wrong(format!("the content is not a JSON list of filters: {e}")))?;
        add(value, &mut filters)?;
    }
    for input in &request.inputs {
        if input.kind != InputType::Text && input.kind != InputType::Event {
            return Err(JobError::Wrong(format!("an input of type {:?} cannot be counted: use text", input.kind)));
        }
        match serde_json::from_str(&input.data) {
            Ok(value @ (Value::Object(_) | Value::Array(_))) => add(value, &mut filters)?,
            _ => filters.extend(
                LETTERS.map(|letter| Filter::new().custom_tag(SingleLetterTag::lowercase(letter), input.data.as_str())),
            ),
        }
        if filters.len() > MAX_FILTERS * LETTERS.len() {
            return Err(JobError::Wrong(format!("too many filters: at most {MAX_FILTERS}")));
        }
    }
    if filters.is_empty() {
        filters.push(Filter::new());
    }
    Ok(filters)
}

fn add(value: Value, filters: &mut Vec<Filter>) -> Result<(), JobError> {
    let list = match value {
        Value::Array(list) => list,
        one => vec![one],
    };
    if filters.len() + list.len() > MAX_FILTERS {
        return Err(JobError::Wrong(format!("too many filters: at most {MAX_FILTERS}")));
    }
    for mut value in list {
        // The registry's own example spells the key so.
        if let Some(kinds) = value.as_object_mut().and_then(|object| object.remove("#kinds")) {
            value["kinds"] = kinds;
        }
        filters.push(parse_filter(&value).map_err(|error| JobError::Wrong(error.to_string()))?);
    }
    Ok(())
}
