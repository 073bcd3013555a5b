//! Popularity: who reacted to, reposted and zapped which events in a span of time.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;

use nostr::{Filter, Kind, PublicKey};

use super::{JobContext, MAX_RESULTS, Param, span};
use crate::{JobError, JobRequest};

/// The most reactions that are read, newest first.
const SAMPLE: usize = 10_000;
/// The span if the request has none, in seconds.
const A_DAY: u64 = 86_400;
/// The weight of a person whom the customer follows.
const A_FRIEND: f64 = 5.0;

/// The parameters of jobs that rank by popularity.
pub(super) const PARAMS: &[Param] = &[
    MAX_RESULTS,
    Param { name: "since", values: &[], about: "unix seconds; a day before until if not given" },
    Param { name: "until", values: &[], about: "unix seconds; now if not given" },
    Param { name: "user", values: &[], about: "for whom: a key; the customer if not given" },
];

/// An action of a person on an event of another.
pub(super) struct Deed {
    pub(super) by: PublicKey,
    pub(super) kind: u16,
    /// The event, as `e` or `a` names it.
    pub(super) to: [String; 2],
    /// Its author, if named.
    pub(super) of: Option<PublicKey>,
}

impl Deed {
    fn weight(&self) -> f64 {
        match self.kind {
            // A payment weighs more than a like.
            9_735 => 3.0,
            6 | 16 => 2.0,
            _ => 1.0,
        }
    }
}

/// Returns reactions (7), reposts (6, 16) and zaps (9735) of a span of time.
pub(super) async fn deeds(context: &JobContext<'_>, request: &JobRequest) -> Result<Vec<Deed>, JobError> {
    let kinds = [Kind::Reaction, Kind::Repost, Kind::GenericRepost, Kind::ZapReceipt];
    let mut filter = span(request, Filter::new().kinds(kinds))?;
    if filter.since.is_none() {
        let until = filter.until.map_or(context.now.max(0).cast_unsigned(), |until| until.as_secs());
        filter = filter.since(until.saturating_sub(A_DAY).into());
    }
    let events = context.page(&filter, SAMPLE).await?;
    let deeds = events.into_iter().filter_map(|event| {
        // A dislike (NIP-25) does not count.
        if event.kind == 7 && event.content.trim() == "-" {
            return None;
        }
        let last =
            |name: &str| event.tags.iter().rev().find(|tag| tag.len() > 1 && tag[0] == name).map(|tag| tag[1].clone());
        let to = match last("a") {
            Some(address) => ["a".to_owned(), address],
            None => ["e".to_owned(), last("e")?],
        };
        // A zap receipt is signed by a service; the payer is in its P tag.
        let by = match event.kind {
            9_735 => PublicKey::from_hex(&last("P")?).ok()?,
            _ => event.pubkey,
        };
        let of = last("p").and_then(|key| PublicKey::from_hex(&key).ok());
        Some(Deed { by, kind: event.kind, to, of })
    });
    Ok(deeds.collect())
}

/// Returns scores, best first: each person counts once for each kind of action, follows more.
pub(super) fn rank<T: Hash + Eq + Ord + Clone>(
    deeds: &[Deed],
    friends: &HashSet<PublicKey>,
    thing: impl Fn(&Deed) -> Option<T>,
) -> Vec<T> {
    let mut seen = HashSet::new();
    let mut scores = HashMap::<T, f64>::new();
    for deed in deeds {
        let Some(thing) = thing(deed) else { continue };
        // Actions on one's own events do not count.
        if deed.of == Some(deed.by) || !seen.insert((thing.clone(), deed.by, deed.kind)) {
            continue;
        }
        let friend = if friends.contains(&deed.by) { A_FRIEND } else { 1.0 };
        *scores.entry(thing).or_default() += deed.weight() * friend;
    }
    let mut ranked: BTreeSet<(u64, T)> = BTreeSet::new();
    for (thing, score) in scores {
        // As integers, greatest first, with a fixed order of equal scores.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "small sums of ones, twos and threes"
        )]
        ranked.insert((u64::MAX - (score * 16.0) as u64, thing));
    }
    ranked.into_iter().map(|(_, thing)| thing).collect()
}
