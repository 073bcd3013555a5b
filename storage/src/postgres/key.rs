//! Numbers of events.

use nostr::EventId;

/// Returns the number of an event: the first 64 bits of its id.
pub(super) fn event_key(id: &EventId) -> i64 {
    i64::from_be_bytes(id.as_bytes()[..8].try_into().expect("an id has 32 bytes"))
}

/// Returns a subquery for the event with a number, by the primary key: the number is the first 64 bits of the id.
pub(super) fn event_of(k: &str) -> String {
    format!(
        "(select * from event where event.k = {k} and event.id >= int8send({k}) \
         and event.id <= int8send({k}) || decode(repeat('ff', 24), 'hex') offset 0)"
    )
}

pub(super) fn id_bytes<'a>(ids: impl IntoIterator<Item = &'a EventId>) -> Vec<&'a [u8]> {
    ids.into_iter().map(|id| id.as_bytes().as_slice()).collect()
}
