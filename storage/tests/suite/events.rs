//! Events and sightings.

use futures::StreamExt;

use super::*;

pub(super) async fn events_come_back_exactly(archive: Arc<dyn Archive>, _: String) {
    let odd = vec![
        event("a NUL \0 within", vec![vec!["d", "with\0nul"]], 5),
        event("\u{FFFD} is not NUL", vec![vec![], vec![""], vec!["e"], vec!["é\u{2028}\"\\\n\t\u{7}\u{7f}"]], 4),
        event("", vec![], 0),
        event("the last second there is", vec![vec!["x", &"y".repeat(100_000)]], i64::MAX),
    ];
    archive.store(batch(odd.clone())).await.expect("stored");
    for verified in &odd {
        let id = verified.event().id;
        let back = archive.page(&Filter::new().id(id), View::All, None, 2).await.expect("a page");
        assert_eq!(back, [verified.event().clone()]);
        assert_eq!(back[0].to_json(), verified.event().to_json());
        back[0].clone().verify().expect("still what was signed");
    }
}

pub(super) async fn a_batch_is_stored_once(archive: Arc<dyn Archive>, _: String) {
    let (a, b) = (event("a", vec![], 1), event("b", vec![vec!["t", "x"], vec!["t", "x"]], 2));
    let twice = vec![a.clone(), b.clone(), a.clone()];
    assert_eq!(archive.store(batch(twice)).await.expect("stored"), Stored { stored: 2, known: 1 });
    assert_eq!(archive.store(batch(vec![a.clone()])).await.expect("stored"), Stored { stored: 0, known: 1 });
    let other = Batch {
        relay: Some(("wss://other.example/".into(), Network::Clearnet)),
        known: vec![a.event().id],
        ..batch(vec![])
    };
    assert_eq!(archive.store(other).await.expect("stored"), Stored { stored: 0, known: 1 });
    for (relays, wanted) in
        [(vec![], 2), (vec![RELAY], 2), (vec!["wss://other.example/"], 1), (vec!["wss://no.example/"], 0)]
    {
        let relays: Vec<String> = relays.into_iter().map(str::to_owned).collect();
        assert_eq!(
            archive.count(&[Filter::new(), Filter::new()], View::All, &relays).await.expect("counted"),
            wanted,
            "{relays:?}"
        );
    }
    assert_eq!(archive.count(&[], View::All, &[]).await.expect("counted"), 0);
    let holders = archive.holders(&[a.event().id, b.event().id]).await.expect("holders");
    assert_eq!(holders[&a.event().id], ["wss://other.example/", RELAY]);
    assert_eq!(holders[&b.event().id], [RELAY]);
    let unknown = nostr::EventId::all_zeros();
    assert_eq!(archive.known(&[a.event().id, unknown]).await.expect("known"), HashSet::from([a.event().id]));
    let numbered = archive.stored_after(0, 10).await.expect("in order");
    assert_eq!(numbered.len(), 2);
    assert_eq!(archive.stored_after(numbered[0].0, 10).await.expect("in order").len(), 1);
    let last = archive.last_stored().await.expect("a number");
    assert!(archive.stored_after(last, 10).await.expect("in order").is_empty());
    archive.store(batch(vec![event("c", vec![], 0)])).await.expect("stored");
    assert_eq!(archive.stored_after(last, 10).await.expect("in order").len(), 1, "what came since");
    // What was removed is passed over, however much it is.
    archive.store(batch((0..50).map(|i| event(&i.to_string(), vec![], 1_000 + i)).collect())).await.expect("stored");
    archive.store(batch(vec![event("d", vec![], 9_000)])).await.expect("stored");
    let gone = Filter::new().since(Timestamp::from(1_000)).until(Timestamp::from(8_000));
    assert_eq!(archive.remove(&gone, 1_000).await.expect("removed"), 50);
    let (mut after, mut contents) = (last, Vec::new());
    while let Some((n, event)) = archive.stored_after(after, 1).await.expect("in order").pop() {
        after = n;
        contents.push(event.content);
    }
    assert_eq!(contents, ["c", "d"]);
}

/// What a look-up found may no longer be so when the batch is stored.
pub(super) async fn a_batch_is_stored_as_the_archive_is_then(archive: Arc<dyn Archive>, _: String) {
    let events: Vec<Verified> = (0..6).map(|n| event(&format!("event {n}"), vec![], n)).collect();
    let ids: Vec<_> = events.iter().map(|event| event.event().id).collect();
    let known = async |ids: &[nostr::EventId]| archive.known(ids).await.expect("looked up").len();
    let other = |batch: Batch| Batch { relay: Some(("wss://other.example/".into(), Network::Clearnet)), ..batch };
    archive.store(batch(events[..3].to_vec())).await.expect("stored");

    // Removed after it was found.
    assert_eq!(known(&ids[..2]).await, 2);
    assert_eq!(archive.remove(&Filter::new().id(ids[0]), 10).await.expect("removed"), 1);
    let seen = archive.store(other(Batch { known: ids[..2].to_vec(), ..batch(vec![]) })).await.expect("stored");
    assert_eq!(seen.stored, 0);
    let holders = archive.holders(&ids).await.expect("holders");
    assert_eq!(holders.get(&ids[0]), None);
    assert_eq!(holders[&ids[1]], ["wss://other.example/", RELAY]);
    assert_eq!(archive.stats().await.expect("stats").sightings, 3, "two of one relay and one of the other");

    // Stored by another batch after it was not found.
    assert_eq!(known(&ids[3..]).await, 0);
    assert_eq!(archive.store(batch(events[3..5].to_vec())).await.expect("stored").stored, 2);
    let again = archive.store(other(batch(events[3..].to_vec()))).await.expect("stored");
    assert_eq!(again, Stored { stored: 1, known: 2 });
    let holders = archive.holders(&ids).await.expect("holders");
    assert_eq!(holders[&ids[3]], ["wss://other.example/", RELAY]);
    assert_eq!(holders[&ids[5]], ["wss://other.example/"]);

    // Found, removed, and stored again.
    assert_eq!(known(&ids[4..5]).await, 1);
    assert_eq!(archive.remove(&Filter::new().id(ids[4]), 10).await.expect("removed"), 1);
    assert_eq!(known(&ids[4..5]).await, 0);
    assert_eq!(archive.store(batch(events[4..5].to_vec())).await.expect("stored").stored, 1);
    assert_eq!(archive.count(&[Filter::new()], View::All, &[]).await.expect("counted"), 5);
    exact::exact(&archive).await;
}

/// Relays that return the same events at once: each event is looked up by several before one of them stores it.
pub(super) async fn events_of_several_relays_are_stored_once(archive: Arc<dyn Archive>, _: String) {
    const RELAYS: usize = 8;
    let events: Vec<Verified> = (0..1_000).map(|n| event(&format!("event {n}"), vec![], n)).collect();
    let reads = (0..RELAYS).map(|relay| {
        let (archive, mut pages) = (archive.clone(), events.chunks(10).map(<[_]>::to_vec).collect::<Vec<_>>());
        pages.rotate_left(relay % 3);
        let read = move |page: Vec<Verified>| {
            let archive = archive.clone();
            async move {
                let ids: Vec<_> = page.iter().map(|event| event.event().id).collect();
                let known = archive.known(&ids).await.expect("looked up");
                let (old, new): (Vec<_>, Vec<_>) =
                    page.into_iter().partition(|event| known.contains(&event.event().id));
                let relay = Some((format!("wss://relay{relay}.example/"), Network::Clearnet));
                let known = old.iter().map(|event| event.event().id).collect();
                archive.store(Batch { relay, known, ..batch(new) }).await.expect("stored");
            }
        };
        // Some pages are looked up while others are being stored.
        futures::stream::iter(pages).map(read).buffer_unordered(1 + relay).for_each(|()| std::future::ready(()))
    });
    futures::future::join_all(reads).await;
    let stats = archive.stats().await.expect("stats");
    assert_eq!(stats.events, 1_000);
    assert_eq!(stats.sightings, 1_000 * RELAYS as i64);
    assert_eq!(archive.stored_after(0, 2_000).await.expect("read").len(), 1_000);
    exact::exact(&archive).await;
}

/// A reader that waits for new events is woken when there are some, and finds them.
pub(super) async fn readers_are_told_of_new_events(archive: Arc<dyn Archive>, _: String) {
    let mut new = archive.new_events();
    for n in 0..3 {
        let after = archive.last_stored().await.expect("a number");
        let storing = archive.store(batch(vec![event(&format!("event {n}"), vec![], n)]));
        let (stored, found) = tokio::join!(storing, async {
            loop {
                let woken = tokio::time::timeout(std::time::Duration::from_secs(20), new.wait());
                woken.await.expect("woken");
                let found = archive.stored_after(after, 10).await.expect("read");
                if !found.is_empty() {
                    return found;
                }
            }
        });
        assert_eq!(stored.expect("stored").stored, 1);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].1.content, format!("event {n}"));
    }
}

pub(super) async fn sightings_of_lost_events_are_removed(archive: Arc<dyn Archive>, url: String) {
    let events: Vec<_> = (0..5).map(|i| event(&i.to_string(), vec![], i)).collect();
    let ids: Vec<_> = events.iter().map(|one| one.event().id).collect();
    let other = Batch { relay: Some(("wss://other.example/".into(), Network::Clearnet)), ..batch(events.clone()) };
    archive.store(batch(events)).await.expect("stored");
    archive.store(other.clone()).await.expect("stored");
    // One of these was never there.
    let gone = vec![ids[1], ids[3], nostr::EventId::all_zeros()];
    archive.store(Batch { gone: gone.clone(), seen_at: 1_700_000_500, ..batch(vec![]) }).await.expect("stored");
    let holders = archive.holders(&ids).await.expect("holders");
    assert_eq!(holders[&ids[0]], ["wss://other.example/", RELAY]);
    assert_eq!(holders[&ids[1]], ["wss://other.example/"]);
    assert_eq!(archive.stats().await.expect("stats").sightings, 8);
    let seen = archive.count(&[Filter::new()], View::All, &[RELAY.to_owned()]).await.expect("counted");
    assert_eq!(seen, 3);
    assert_eq!(shell(&url, &format!("select events from relays_statistics where relay_url = '{RELAY}'")), "3");
    let lost = "select relay_url, seen_at, missed_at from events_relays_lost";
    let row = format!("{RELAY}|1700000000|1700000500");
    assert_eq!(shell(&url, lost), format!("{row}\n{row}"));
    let lost_by = archive.lost(&ids).await.expect("lost");
    assert_eq!((lost_by.len(), &lost_by[&ids[1]]), (2, &vec![RELAY.to_owned()]));
    // Once more is no news; and what comes back is there again.
    archive.store(Batch { gone, seen_at: 1_700_000_900, ..batch(vec![]) }).await.expect("stored");
    assert_eq!(shell(&url, lost), format!("{row}\n{row}"));
    archive.store(Batch { known: vec![ids[1]], ..batch(vec![]) }).await.expect("stored");
    assert_eq!(shell(&url, lost), row);
    assert_eq!(archive.stats().await.expect("stats").sightings, 9);
    archive.remove(&Filter::new().id(ids[3]), 9).await.expect("removed");
    assert_eq!(shell(&url, lost), "");
}

pub(super) async fn pages_follow_each_other(archive: Arc<dyn Archive>, _: String) {
    let events: Vec<_> = (0..50).map(|i| event(&i.to_string(), vec![], i64::from(i / 10))).collect();
    archive.store(batch(events)).await.expect("stored");
    let (mut got, mut after) = (Vec::new(), None);
    loop {
        let page = archive.page(&Filter::new(), View::All, after, 7).await.expect("a page");
        let Some(last) = page.last() else { break };
        after = Some(Cursor { created_at: last.created_at, id: last.id });
        got.extend(page);
    }
    assert_eq!(got, all(&archive).await);
    assert_eq!(got.len(), 50);
}

pub(super) async fn a_frequent_tag_has_the_results_of_a_rare_one(archive: Arc<dyn Archive>, _: String) {
    // More than are read before another way is tried (PostgreSQL): one tag that most have, one that most have whom clients
    // do not see, and one that only the oldest have.
    const NOW: i64 = 1_000_000;
    let mut events: Vec<Event> = Vec::new();
    for i in 0..9_000_i64 {
        let mut tags = vec![vec!["t", if i % 7 == 0 { "few" } else { "many" }]];
        if i < 4_500 {
            tags.push(vec!["t", "old"]);
        }
        if i % 2 == 0 {
            tags.push(vec!["l", "seen"]);
        }
        if i % 400 != 3 {
            tags.push(vec!["t", "expired"]);
            tags.push(vec!["expiration", "5"]);
        }
        if i % 2 == 0 {
            tags.retain(|tag| tag[0] != "expiration");
        }
        events.push(event(&i.to_string(), tags, i / 5).into_event());
    }
    for part in events.chunks(3_000) {
        let part = part.iter().map(|event| event.clone().verify().expect("signed")).collect();
        archive.store(batch(part)).await.expect("stored");
    }
    events.sort_by(|a, b| b.created_at.cmp(&a.created_at).then(a.id.cmp(&b.id)));
    let expired = |event: &Event| event.tags.iter().any(|tag| tag[0] == "expiration");
    let middle = Cursor { created_at: events[5_000].created_at, id: events[5_000].id };
    let seen = SingleLetterTag::lowercase(Alphabet::L);
    for filter in [
        Filter::new().hashtag("many"),
        Filter::new().hashtag("old"),
        Filter::new().hashtag("expired"),
        Filter::new().hashtag("few"),
        Filter::new().hashtags(["many", "old"]).kind(Kind::TextNote).until(Timestamp::from(1_200)),
        Filter::new().hashtag("many").kinds([Kind::TextNote, Kind::Reaction]).since(Timestamp::from(700)),
        Filter::new().hashtag("expired").custom_tag(seen, "seen"),
        Filter::new().hashtag("many").kind(Kind::Reaction),
        // And so many authors that the newest of all are looked at first.
        Filter::new().authors(events.iter().step_by(20).map(|event| event.pubkey)),
        Filter::new().authors(events.iter().skip(6_000).step_by(9).map(|event| event.pubkey)).kind(Kind::TextNote),
        Filter::new().authors(events.iter().step_by(20).map(|event| event.pubkey)).hashtag("many"),
    ] {
        for (view, limit, after) in [
            (View::All, 50, None),
            (View::Client { now: NOW }, 50, None),
            (View::Client { now: NOW }, 50, Some(middle)),
            (View::Client { now: NOW }, 4_400, None),
            (View::All, 10_000, None),
        ] {
            let wanted: Vec<_> = events
                .iter()
                .skip(if after.is_some() { 5_001 } else { 0 })
                .filter(|event| matches(&filter, event) && (view == View::All || !expired(event)))
                .take(limit)
                .map(|event| event.id)
                .collect();
            let page = archive.page(&filter, view, after, limit).await.expect("a page");
            let got: Vec<_> = page.iter().map(|event| event.id).collect();
            assert!(got == wanted, "{filter:?} {view:?} {limit}: {} of {}", got.len(), wanted.len());
        }
    }
}

pub(super) async fn a_query_is_cancelled_at_its_time_limit(archive: Arc<dyn Archive>, _: String) {
    let events = (0..2_000).map(|i| event(&format!("{i}"), vec![vec!["t", "x"]], 1_000 + i)).collect();
    archive.store(batch(events)).await.expect("stored");
    let tagged = || Filter::new().hashtag("x");
    let filters: Vec<Filter> = (0..100).map(|i| tagged().since(i.into())).collect();
    let at_once = std::time::Duration::from_millis(1);
    let view = View::Client { now: 5_000 };
    let ended = with_time_limit(at_once, archive.count(&filters, view, &[])).await.expect_err("too long");
    assert!(matches!(ended, StorageError::TooLong(longest) if longest == at_once), "{ended}");
    assert!(ended.to_string().contains("narrow the filter"), "{ended}");
    // The connection is as good as before, and bound by nothing.
    for _ in 0..10 {
        assert_eq!(archive.count(&filters, view, &[]).await.expect("counted"), 2_000);
        assert_eq!(archive.page(&tagged(), view, None, 5_000).await.expect("a page").len(), 2_000);
    }
    let patient = with_time_limit(std::time::Duration::from_secs(60), archive.ids(&tagged(), view)).await;
    assert_eq!(patient.expect("in time").len(), 2_000);
}
