//! Signed events for tests.

use nostr::{Event, EventBuilder, Keys, Kind, Tag, Timestamp};

/// Returns `n` signed events of a few kinds by a few authors, one per second from `start` on, oldest first.
#[must_use]
pub fn signed(n: usize, start: u64) -> Vec<Event> {
    let authors: Vec<Keys> = (0..5).map(|_| Keys::generate()).collect();
    (0..n)
        .map(|i| {
            let kind = [Kind::TextNote, Kind::Reaction, Kind::Custom(30_023), Kind::Repost][i % 4];
            at(&authors[i % authors.len()], kind, start + i as u64, &format!("event {i} says \"hé\\llo\"\n\u{1F919}"))
        })
        .collect()
}

/// Returns one signed event.
#[must_use]
pub fn at(author: &Keys, kind: Kind, created_at: u64, content: &str) -> Event {
    EventBuilder::new(kind, content)
        .tag(Tag::identifier(format!("{created_at}")))
        .tag(Tag::hashtag("brotr"))
        .custom_created_at(Timestamp::from(created_at))
        .sign_with_keys(author)
        .expect("a fresh key signs")
}
