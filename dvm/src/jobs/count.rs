//! Kind 5400: counts events.
//!
//! What is counted is given as NIP-01 filters, in the content or in `i` inputs, as one object or a list; an input that is not
//! JSON is a tag value, and events that have it in a one-letter tag are counted. `relay` parameters restrict the count to
//! events seen on those relays; `group` parameters request a count for each content, author, event replied to, root or tag
//! value, nested in their order.

use std::collections::BTreeMap;

use async_trait::async_trait;
use brotr_core::{Event, parse_filter};
use brotr_storage::Cursor;
use nostr::{Alphabet, Filter, SingleLetterTag};
use serde_json::Value;

use super::{JobContext, Param, Work, failed};
use crate::request::InputType;
use crate::{JobError, JobRequest};

/// The most filters in one request.
const MAX_FILTERS: usize = 20;
/// Tags of another job's result that are counted.
const MAX_TAGS: usize = 500;
/// The most nested groups.
const MAX_DEPTH: usize = 3;
/// The most events that are grouped, and how many are read per query.
const MAX_GROUPED: u64 = 20_000;
const PAGE: usize = 1_000;
/// The most groups in one answer, and the longest name of a group in bytes.
const MAX_GROUPS: usize = 1_000;
const MAX_NAME: usize = 128;
/// The tags that are searched for a bare value.
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

/// The job.
pub(crate) struct Count;

#[async_trait]
impl Work for Count {
    fn kind(&self) -> u16 {
        5_400
    }

    fn params(&self) -> &'static [Param] {
        &[
            Param { name: "relay", values: &[], about: "only events seen on this relay; may be repeated" },
            Param {
                name: "group",
                values: &["content", "pubkey", "reply", "root"],
                about: "a number of each; or the name of a tag; may be repeated, one within the other",
            },
        ]
    }

    async fn run(&self, context: &JobContext<'_>, request: &JobRequest) -> Result<String, JobError> {
        let filters = filters(context, request).await?;
        let relays = request
            .param("relay")
            .map(|url| (context.canonical)(url).map_err(|reason| JobError::Wrong(format!("relay {url:?}: {reason}"))))
            .collect::<Result<Vec<_>, _>>()?;
        let groups: Vec<&str> = request.param("group").collect();
        let count = context.events.count(&filters, context.view(), &relays).await.map_err(failed)?;
        if groups.is_empty() {
            return Ok(count.to_string());
        }
        if groups.len() > MAX_DEPTH {
            return Err(JobError::Wrong(format!("too many groups within groups: at most {MAX_DEPTH}")));
        }
        if !relays.is_empty() {
            return Err(JobError::Wrong("counting by group on single relays is not done here: leave relay out".into()));
        }
        if count > MAX_GROUPED {
            let why = format!(
                "{count} events are too many to group: at most {MAX_GROUPED}, narrow the filter by since or kinds"
            );
            return Err(JobError::Wrong(why));
        }
        let mut counted = Group::default();
        let mut met = std::collections::HashSet::new();
        for filter in &filters {
            let mut after = None;
            loop {
                let page = context.events.page(filter, context.view(), after, PAGE).await.map_err(failed)?;
                let Some(last) = page.last() else { break };
                after = Some(Cursor { created_at: last.created_at, id: last.id });
                for event in page.iter().filter(|event| met.insert(event.id)) {
                    counted.add(event, &groups);
                }
                if let Some(partial) = context.partial.filter(|_| counted.size() <= MAX_GROUPS) {
                    partial.send_replace(counted.to_value(groups.len()).to_string());
                }
            }
        }
        let value = counted.to_value(groups.len());
        let text = value.to_string();
        if counted.size() > MAX_GROUPS {
            let why = format!(
                "{} groups are too many for an answer: at most {MAX_GROUPS}, narrow the filter",
                counted.size()
            );
            return Err(JobError::Wrong(why));
        }
        Ok(text)
    }
}

/// Counts by name, each with the counts of the next group.
#[derive(Default)]
struct Group {
    events: u64,
    within: BTreeMap<String, Group>,
}

impl Group {
    fn add(&mut self, event: &Event, groups: &[&str]) {
        self.events += 1;
        let Some((first, rest)) = groups.split_first() else { return };
        for name in names(event, first) {
            self.within.entry(name).or_default().add(event, rest);
        }
    }

    fn size(&self) -> usize {
        self.within.values().map(|group| 1 + group.size()).sum()
    }

    fn to_value(&self, depth: usize) -> Value {
        if depth == 0 {
            return self.events.into();
        }
        self.within.iter().map(|(name, group)| (name.clone(), group.to_value(depth - 1))).collect()
    }
}

/// Returns the groups that an event is in.
fn names(event: &Event, group: &str) -> Vec<String> {
    let clip = |text: &str| {
        text.chars()
            .scan(0, |bytes, c| {
                *bytes += c.len_utf8();
                (*bytes <= MAX_NAME).then_some(c)
            })
            .collect::<String>()
    };
    let tags = |name: &str| event.tags.iter().filter(move |tag| tag.len() > 1 && tag[0] == name).collect::<Vec<_>>();
    // By their markers (NIP-10), else by their positions.
    let marked = |marker: &str| {
        tags("e").into_iter().find(|tag| tag.get(3).is_some_and(|m| m == marker)).map(|tag| tag[1].clone())
    };
    match group {
        "content" => vec![clip(&event.content)],
        "pubkey" => vec![event.pubkey.to_hex()],
        "root" => marked("root").or_else(|| tags("e").first().map(|tag| tag[1].clone())).into_iter().collect(),
        "reply" => marked("reply")
            .or_else(|| marked("root"))
            .or_else(|| tags("e").last().map(|tag| tag[1].clone()))
            .into_iter()
            .collect(),
        name => {
            let mut values: Vec<String> = tags(name).into_iter().map(|tag| clip(&tag[1])).collect();
            values.sort_unstable();
            values.dedup();
            values
        }
    }
}

async fn filters(context: &JobContext<'_>, request: &JobRequest) -> Result<Vec<Filter>, JobError> {
    let mut filters = Vec::new();
    if !request.content.trim().is_empty() {
        let value = serde_json::from_str(&request.content)
            .map_err(|e| JobError::Wrong(format!("the content is not a JSON list of filters: {e}")))?;
        add(value, &mut filters)?;
    }
    for input in &request.inputs {
        // An event's id is a tag value too: that of replies and reactions to it.
        let data = if input.kind == InputType::Event { input.data.clone() } else { context.text(input).await? };
        match serde_json::from_str(&data) {
            Ok(value @ (Value::Object(_) | Value::Array(_))) => add(value, &mut filters)?,
            _ => filters.extend(
                LETTERS.map(|letter| Filter::new().custom_tag(SingleLetterTag::lowercase(letter), data.as_str())),
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
    let are_tags = list.iter().all(Value::is_array);
    if filters.len() + list.len() > if are_tags { MAX_TAGS } else { MAX_FILTERS } {
        return Err(JobError::Wrong(format!("too many filters: at most {MAX_FILTERS}")));
    }
    for mut value in list {
        // A list of tags, as other jobs return it: events that name any of those.
        if let Some([Value::String(name), Value::String(tagged)]) = value.as_array().map(Vec::as_slice) {
            let letter = name.parse::<SingleLetterTag>();
            let letter = letter.map_err(|_| JobError::Wrong(format!("{name:?} is no tag of one letter")))?;
            match filters
                .last_mut()
                .filter(|last| last.generic_tags.len() == 1 && last.generic_tags.contains_key(&letter))
            {
                Some(last) => *last = last.clone().custom_tag(letter, tagged.as_str()),
                None => filters.push(Filter::new().custom_tag(letter, tagged.as_str())),
            }
            continue;
        }
        // The registry's own example has this key.
        if let Some(kinds) = value.as_object_mut().and_then(|object| object.remove("#kinds")) {
            value["kinds"] = kinds;
        }
        filters.push(parse_filter(&value).map_err(|error| JobError::Wrong(error.to_string()))?);
    }
    Ok(())
}
