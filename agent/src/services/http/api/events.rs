//! Events and counts: filters as JSON, or by their fields.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use brotr_core::Event;
use brotr_storage::{Cursor, View};
use nostr::{EventId, Filter, PublicKey};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::super::AppState;
use super::super::access::Problem;
use super::address::address;
use super::{Answer, Params, USUAL, rows, run_query};
use crate::agent::now;

/// Events read per query, and the bytes after which a page of events ends.
const PART: usize = 50;
const MAX_PAGE: usize = 4 << 20;

/// Declares the parameters of a request: a filter, and others.
macro_rules! params {
    ($name:ident { $($(#[$meta:meta])* $other:ident: $type:ty),* $(,)? }) => {
        #[derive(Deserialize, IntoParams)]
        #[serde(deny_unknown_fields)]
        #[into_params(parameter_in = Query)]
        pub(super) struct $name {
            /// A NIP-01 filter as JSON; all events if not given
            filter: Option<String>,
            /// Instead of `filter`: only these ids, in hexadecimal or as NIP-19 writes them (note, nevent), separated by commas
            #[param(pattern = "^([0-9a-f]{64}(,[0-9a-f]{64})*|(note|nevent)1[0-9a-z]+)?$")]
            ids: Option<String>,
            /// Only these authors: public keys in hexadecimal or as NIP-19 writes them (npub, nprofile), separated by commas
            #[param(pattern = "^([0-9a-f]{64}(,[0-9a-f]{64})*|(npub|nprofile)1[0-9a-z]+)?$")]
            authors: Option<String>,
            /// Only these kinds, separated by commas
            #[param(pattern = "^([0-9]{1,4}(,[0-9]{1,4})*)?$")]
            kinds: Option<String>,
            /// Not before this time, in unix seconds
            #[param(pattern = "^([0-9]{1,10})?$")]
            since: Option<String>,
            /// Not after this time
            #[param(pattern = "^([0-9]{1,10})?$")]
            until: Option<String>,
            /// Only texts with these words (NIP-50)
            search: Option<String>,
            $($(#[$meta])* $other: $type,)*
        }

        impl $name {
            fn filter(&self) -> Result<Filter, Problem> {
                let Self { ids, authors, kinds, since, until, search, .. } = self;
                let fields = [("ids", ids), ("authors", authors), ("kinds", kinds), ("since", since), ("until", until), ("search", search)];
                filter(self.filter.as_deref(), fields)
            }
        }
    };
}

params!(EventsParams {
    /// Only events after this one: `next` of the previous page
    after: Option<String>,
    /// 1 to 1000; default 100
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
});

params!(CountParams {
    /// Only events seen on this relay
    relay: Option<String>,
});

#[derive(Serialize, ToSchema)]
pub(super) struct Events {
    /// As signed, newest first
    #[schema(value_type = Vec<Object>)]
    events: Vec<Event>,
    /// Pass as `after` for the next page; null on the last page
    next: Option<String>,
}

/// Returns the filter of a request: `text` as JSON, or these fields.
fn filter(text: Option<&str>, fields: [(&str, &Option<String>); 6]) -> Result<Filter, Problem> {
    let wrong = |error: &dyn std::fmt::Display| Problem::wrong(format!("filter: {error}"));
    let given =
        fields.into_iter().filter_map(|(name, text)| Some((name, text.as_ref().filter(|text| !text.is_empty())?)));
    let fields = given.map(|(name, text)| Ok((name.to_owned(), field(name, text)?)));
    let fields = fields.collect::<Result<serde_json::Map<_, _>, Problem>>()?;
    match text {
        None => brotr_core::parse_filter(&Value::Object(fields)).map_err(|error| wrong(&error)),
        Some(_) if !fields.is_empty() => Err(Problem::wrong("filter is given, and fields of a filter beside it")),
        Some(text) => {
            let value: Value =
                serde_json::from_str(text).map_err(|error| Problem::wrong(format!("filter is no JSON: {error}")))?;
            brotr_core::parse_filter(&value).map_err(|error| wrong(&error))
        }
    }
}

/// Returns a field of a filter as JSON.
fn field(name: &str, text: &str) -> Result<Value, Problem> {
    let each = |text: &str, parse: fn(&str) -> Option<String>| {
        let wrong = |text: &str| Problem::wrong(format!("{name}: {text:?} is neither hexadecimal nor of NIP-19"));
        text.split(',').map(str::trim).map(|text| parse(text).map(Value::from).ok_or_else(|| wrong(text))).collect()
    };
    let number = |text: &str| {
        let parsed = text.trim().parse::<u64>();
        parsed.map(Value::from).map_err(|_| Problem::wrong(format!("{name} is no number: {text:?}")))
    };
    match name {
        "since" | "until" => number(text),
        "kinds" => Ok(Value::Array(text.split(',').map(number).collect::<Result<_, _>>()?)),
        "search" => Ok(text.into()),
        "authors" => each(text, |text| PublicKey::parse(text).ok().map(|key| key.to_hex())),
        _ => each(text, |text| EventId::parse(text).ok().map(|id| id.to_hex())),
    }
}

/// List events that match a filter, as a relay would return them, page by page
#[utoipa::path(get, path = "/api/v1/events", params(EventsParams), responses((status = 200, body = Events)))]
pub(super) async fn events(State(state): State<AppState>, Params(params): Params<EventsParams>) -> Answer<Events> {
    let filter = params.filter()?;
    rows(params.limit)?;
    let (after, left) = match params.after.as_deref().filter(|after| !after.is_empty()) {
        Some(text) => after(text).ok_or_else(|| Problem::wrong("after is not what was given as next"))?,
        None => (None, None),
    };
    // The filter's limit applies to all pages together: what is left of it is in `next`.
    let left = filter.limit.map(|limit| left.unwrap_or(limit).min(limit));
    let limit = usize::from(params.limit.unwrap_or(USUAL)).min(left.unwrap_or(usize::MAX));
    let view = View::Client { now: now() };
    let (mut events, mut bytes, mut more) = (Vec::new(), 0, limit > 0);
    let mut cursor = after;
    while more {
        let part = PART.min(limit - events.len());
        let page = run_query(state.agent.archive.page(&filter, view, cursor, part)).await?;
        more = page.len() == part;
        for event in page {
            bytes += event.content.len() + event.tags.iter().flatten().map(String::len).sum::<usize>();
            cursor = Some(Cursor { created_at: event.created_at, id: event.id });
            events.push(event);
        }
        // A page ends at the size that is sent in one piece, if it has fewer events than requested.
        if events.len() == limit || bytes > MAX_PAGE {
            break;
        }
    }
    let left = left.map(|left| left - events.len());
    let next = events.last().filter(|_| more && left != Some(0)).map(|last| {
        let left = left.map(|left| format!(":{left}")).unwrap_or_default();
        format!("{}:{}{left}", last.created_at, last.id)
    });
    Ok(Json(Events { events, next }))
}

/// An event and the relays that hold it
#[derive(Serialize, ToSchema)]
pub(super) struct Found {
    /// As signed
    #[schema(value_type = Object)]
    event: Event,
    /// Their URLs
    relays: Vec<String>,
}

/// Show an event and the relays that hold it
#[utoipa::path(get, path = "/api/v1/events/{id}", params(("id" = String, Path, description = "Its id, in hexadecimal or as NIP-19 writes it")),
    responses((status = 200, body = Found), (status = 404, description = "Not archived, or deleted, replaced or expired")))]
pub(super) async fn event(State(state): State<AppState>, Path(id): Path<String>) -> Answer<Found> {
    let wrong = |_| {
        Problem::new(StatusCode::NOT_FOUND, format!("{id:?} is no id: give it in hexadecimal, or as note1 or nevent1"))
    };
    let id = EventId::parse(&id).map_err(wrong)?;
    let archive = &state.agent.archive;
    let page = run_query(archive.page(&Filter::new().id(id), View::Client { now: now() }, None, 1)).await?;
    let event = page
        .into_iter()
        .next()
        .ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, format!("the event {id} is not archived")))?;
    let relays = run_query(state.sightings.holders(&[id])).await?.remove(&id).unwrap_or_default();
    Ok(Json(Found { event, relays }))
}

/// Parses `next`: where to continue, and what is left of the filter's limit.
pub(super) fn after(text: &str) -> Option<(Option<Cursor>, Option<usize>)> {
    let mut parts = text.split(':');
    let (at, id, left) = (parts.next()?.parse().ok()?, EventId::from_hex(parts.next()?).ok()?, parts.next());
    let left = left.map(str::parse).transpose().ok()?;
    parts.next().is_none().then_some((Some(Cursor { created_at: at, id }), left))
}

#[derive(Serialize, ToSchema)]
pub(super) struct Count {
    count: u64,
}

/// Count the events that match a filter
#[utoipa::path(get, path = "/api/v1/count", params(CountParams), responses((status = 200, body = Count)))]
pub(super) async fn count(State(state): State<AppState>, Params(params): Params<CountParams>) -> Answer<Count> {
    let filter = params.filter()?;
    let relay = params
        .relay
        .filter(|relay| !relay.is_empty())
        .map(|url| address(&state, &url).map(|address| address.as_str().to_owned()))
        .transpose()?;
    let relays: Vec<String> = relay.into_iter().collect();
    let view = View::Client { now: now() };
    Ok(Json(Count { count: run_query(state.agent.archive.count(&[filter], view, &relays)).await? }))
}
