//! One suite for both backends: whatever holds for SQLite holds for PostgreSQL.

mod exact;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use brotr_storage::*;
use nostr::{Alphabet, EventBuilder, Filter, Keys, Kind, SingleLetterTag, Tag, TagKind, Timestamp};
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};

/// Runs every test of the list against one archive each, on one backend.
macro_rules! suite {
    ($($name:ident),+ $(,)?) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn sqlite() {
            $({
                let dir = tempfile::tempdir().expect("a directory");
                let url = format!("sqlite://{}", dir.path().join("new/brotr.db").display());
                eprintln!("SQLite: {}", stringify!($name));
                $name(open(&url, Options::default()).await.expect("opened"), url).await;
            })+
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn postgres() {
            let server = brotr_tests::Postgres::start().expect("PostgreSQL started");
            $({
                let url = server.database(stringify!($name)).expect("a database");
                eprintln!("PostgreSQL: {}", stringify!($name));
                $name(open(&url, Options::default()).await.expect("opened"), url).await;
            })+
        }
    };
}

suite!(
    events_come_back_exactly,
    a_batch_is_stored_once,
    any_filter_finds_what_a_naive_one_finds,
    clients_see_what_a_good_relay_would_give,
    pages_follow_each_other,
    coverage_merges_and_takes_gaps_away,
    relays_are_added_once_and_listed_in_pages,
    checks_are_kept_by_content,
    a_job_is_taken_and_ended_once,
    the_outbox_keeps_what_is_not_delivered,
    text_is_found_where_it_is_indexed,
    lilbrotr_keeps_what_can_be_counted,
    rust_nostr_can_stand_on_it,
    statistics_count_what_is_there,
    the_public_shape_is_there,
    opening_again_keeps_everything,
    a_backup_holds_what_the_archive_holds,
    a_newer_database_is_refused,
);

const RELAY: &str = "wss://relay.example/";

fn event(content: &str, tags: Vec<Vec<&str>>, created_at: i64) -> Verified {
    // Signed by hand, since the library refuses the empty inner tag that this archive must keep.
    let keys = Keys::generate();
    let tags: Vec<Vec<String>> = tags.into_iter().map(|t| t.into_iter().map(str::to_owned).collect()).collect();
    let preimage = serde_json::json!([0, keys.public_key().to_hex(), created_at, 1, tags, content]).to_string();
    let id: [u8; 32] = <sha2::Sha256 as sha2::Digest>::digest(preimage).into();
    let sig = keys.sign_schnorr(&nostr::secp256k1::Message::from_digest(id));
    let id = nostr::EventId::from_byte_array(id);
    Event { id, pubkey: keys.public_key(), created_at, kind: 1, tags, content: content.into(), sig: sig.serialize() }
        .verify()
        .expect("signed")
}

fn batch(events: Vec<Verified>) -> Batch {
    Batch {
        relay: Some((RELAY.into(), Network::Clearnet)),
        seen_at: 1_700_000_000,
        events,
        filter: "{}".into(),
        ..Batch::default()
    }
}

async fn all(archive: &Arc<dyn Archive>) -> Vec<Event> {
    archive.page(&Filter::new(), View::All, None, 10_000).await.expect("a page")
}

async fn events_come_back_exactly(archive: Arc<dyn Archive>, _: String) {
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

async fn a_batch_is_stored_once(archive: Arc<dyn Archive>, _: String) {
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
}

/// A small world, so that filters hit often: 3 authors, 4 kinds, 3 tag names, 4 values, 20 seconds.
fn worlds() -> impl Strategy<Value = (Vec<Verified>, Vec<Filter>)> {
    let keys: Vec<Keys> = (0..3).map(|_| Keys::generate()).collect();
    let authors: Vec<_> = keys.iter().map(Keys::public_key).collect();
    let value = || prop::sample::select(vec!["", "a", "b", "A"]);
    let letter = || prop::sample::select(vec![Alphabet::D, Alphabet::E, Alphabet::T]);
    let tag = (letter(), any::<bool>(), prop::collection::vec(value(), 0..3)).prop_map(|(letter, upper, values)| {
        let letter = SingleLetterTag { character: letter, uppercase: upper };
        Tag::custom(TagKind::SingleLetter(letter), values)
    });
    let event =
        (0..3_usize, 0..4_u16, 0..20_u64, prop::collection::vec(tag, 0..4)).prop_map(move |(who, kind, at, tags)| {
            let signed = EventBuilder::new(Kind::from(kind), format!("{at}"))
                .tags(tags)
                .allow_self_tagging()
                .custom_created_at(Timestamp::from(at))
                .sign_with_keys(&keys[who])
                .expect("signed");
            Event::from(&signed).verify().expect("verified")
        });
    let events = prop::collection::vec(event, 0..40);
    let filter = move |ids: Vec<nostr::EventId>| {
        (
            prop::option::weighted(0.2, prop::sample::subsequence(ids.clone(), 0..=ids.len().min(4))),
            prop::option::weighted(0.3, prop::sample::subsequence(authors.clone(), 0..=2)),
            prop::option::weighted(0.3, prop::collection::vec(0..4_u16, 0..3)),
            prop::option::weighted(0.3, 0..20_u64),
            prop::option::weighted(0.3, 0..20_u64),
            prop::option::weighted(0.5, (letter(), prop::collection::vec(value(), 1..3))),
            prop::option::weighted(0.3, 0..10_usize),
        )
            .prop_map(|(ids, authors, kinds, since, until, tag, limit)| {
                let mut filter = Filter::new();
                filter.ids = ids.map(|v| v.into_iter().collect());
                filter.authors = authors.map(|v| v.into_iter().collect());
                filter.kinds = kinds.map(|v| v.into_iter().map(Kind::from).collect());
                filter.since = since.map(Timestamp::from);
                filter.until = until.map(Timestamp::from);
                filter.limit = limit;
                if let Some((letter, values)) = tag {
                    filter = filter.custom_tags(SingleLetterTag::lowercase(letter), values);
                }
                filter
            })
    };
    events.prop_flat_map(move |events| {
        let ids = events.iter().map(|e| e.event().id).collect::<BTreeSet<_>>().into_iter().collect();
        (Just(events), prop::collection::vec(filter(ids), 1..4))
    })
}

async fn any_filter_finds_what_a_naive_one_finds(archive: Arc<dyn Archive>, _: String) {
    let handle = tokio::runtime::Handle::current();
    let run = move || {
        let mut runner =
            TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) });
        runner.run(&worlds(), |(events, filters)| {
            handle.block_on(async {
                archive.clear().await.expect("emptied");
                archive.store(batch(events.clone())).await.expect("stored");
                // Of two signatures for one id the first one counts.
                let mut world: BTreeMap<_, _> =
                    events.iter().rev().map(|e| (e.event().id, e.event().clone())).collect();
                for filter in &filters {
                    let mut wanted: Vec<_> = world.values().filter(|e| naive(filter, e)).cloned().collect();
                    wanted.sort_by(|a, b| b.created_at.cmp(&a.created_at).then(a.id.cmp(&b.id)));
                    let times: Vec<_> = wanted.iter().rev().map(|e| e.created_at).collect();
                    let ids = archive.ids(filter, View::All).await.expect("ids");
                    prop_assert_eq!(ids.iter().map(|(_, at)| *at).collect::<Vec<_>>(), times);
                    let limit = filter.limit.unwrap_or(1_000);
                    wanted.truncate(limit);
                    let found = archive.page(filter, View::All, None, limit).await.expect("a page");
                    prop_assert_eq!(found, wanted, "{:?}", filter);
                }
                world.retain(|_, e| filters.iter().any(|f| naive(f, e)));
                let count = archive.count(&filters, View::All, &[]).await.expect("a count");
                prop_assert_eq!(count, world.len() as u64);
                Ok(())
            })
        })
    };
    tokio::task::spawn_blocking(run).await.expect("no panic").expect("holds for every case");
}

/// NIP-01, read off the text and nothing else.
fn naive(filter: &Filter, event: &Event) -> bool {
    let f = serde_json::to_value(filter).expect("json");
    let e = serde_json::to_value(event).expect("json");
    let lists = [("ids", "id"), ("authors", "pubkey"), ("kinds", "kind")];
    lists.iter().all(|(list, field)| f[list].as_array().is_none_or(|l| l.contains(&e[field])))
        && f["since"].as_i64().is_none_or(|s| event.created_at >= s)
        && f["until"].as_i64().is_none_or(|u| event.created_at <= u)
        && f.as_object().expect("an object").iter().filter(|(key, _)| key.starts_with('#')).all(|(key, values)| {
            event.tags.iter().any(|tag| {
                tag.len() > 1 && tag[0] == key[1..] && values.as_array().expect("a list").iter().any(|v| v == &tag[1])
            })
        })
}

/// What an event is made of, in a world where events take each other back.
#[derive(Debug, Clone)]
struct Spec {
    author: usize,
    kind: u16,
    created_at: i64,
    d: Option<&'static str>,
    expiration: Option<&'static str>,
    protected: bool,
    /// Events and addresses named in `e`, `a` and `p` tags, by place among those before it.
    names: Vec<usize>,
    everywhere: bool,
}

fn specs() -> impl Strategy<Value = Vec<Spec>> {
    let kind = prop::sample::select(vec![0_u16, 1, 5, 5, 5, 62, 1_059, 10_002, 20_001, 30_023, 30_023]);
    let spec = (
        (0..3_usize, kind, 0..12_i64),
        prop::option::weighted(0.7, prop::sample::select(vec!["", "x", "a:b"])),
        prop::option::weighted(0.2, prop::sample::select(vec!["5", "15", "-3", "soon"])),
        prop::bool::weighted(0.1),
        prop::collection::vec(0..40_usize, 0..3),
        any::<bool>(),
    );
    let spec = spec.prop_map(|((author, kind, created_at), d, expiration, protected, names, everywhere)| Spec {
        author,
        kind,
        created_at,
        d,
        expiration,
        protected,
        names,
        everywhere,
    });
    prop::collection::vec(spec, 1..40)
}

fn world(keys: &[Keys], specs: &[Spec]) -> Vec<Verified> {
    let mut events: Vec<Verified> = Vec::new();
    for (n, spec) in specs.iter().enumerate() {
        let mut tags: Vec<Vec<String>> = vec![vec!["n".into(), n.to_string()]];
        tags.extend(spec.d.map(|d| vec!["d".into(), d.into()]));
        tags.extend(spec.expiration.map(|at| vec!["expiration".into(), at.into()]));
        tags.extend(spec.protected.then(|| vec!["-".into()]));
        for named in spec.names.iter().filter_map(|place| events.get(*place)).map(Verified::event) {
            tags.push(vec!["e".into(), named.id.to_hex()]);
            tags.push(vec!["p".into(), named.pubkey.to_hex()]);
            let d = named.tags.iter().find(|t| t[0] == "d").map_or("", |t| t[1].as_str());
            tags.push(vec!["a".into(), format!("{}:{}:{d}", named.kind, named.pubkey.to_hex())]);
        }
        if spec.kind == 62 {
            let relay = if spec.everywhere { "ALL_RELAYS" } else { "wss://one.example" };
            tags.push(vec!["relay".into(), relay.into()]);
        }
        events.push(sign(&keys[spec.author], spec.kind, spec.created_at, tags));
    }
    events
}

fn sign(keys: &Keys, kind: u16, created_at: i64, tags: Vec<Vec<String>>) -> Verified {
    let preimage = serde_json::json!([0, keys.public_key().to_hex(), created_at, kind, tags, ""]).to_string();
    let id: [u8; 32] = <sha2::Sha256 as sha2::Digest>::digest(preimage).into();
    let sig = keys.sign_schnorr(&nostr::secp256k1::Message::from_digest(id)).serialize();
    let id = nostr::EventId::from_byte_array(id);
    let event = Event { id, pubkey: keys.public_key(), created_at, kind, tags, content: String::new(), sig };
    event.verify().expect("signed")
}

/// What NIP-01, 09, 40, 62 and 70 say of one event among all, read off the text.
fn is_shown(event: &Event, all: &[Event], now: i64) -> bool {
    let tag =
        |e: &Event, name: &str| e.tags.iter().find(|t| t[0] == name).map(|t| t.get(1).cloned().unwrap_or_default());
    let has = |e: &Event, name: &str, value: &str| {
        e.tags.iter().any(|t| t[0] == name && t.get(1).is_some_and(|v| v == value))
    };
    let replaceable = matches!(event.kind, 0 | 3 | 10_000..=19_999);
    let addressable = matches!(event.kind, 30_000..=39_999);
    let d = |e: &Event| if addressable { tag(e, "d").unwrap_or_default() } else { String::new() };
    let same_slot = |o: &Event| {
        (replaceable || addressable) && o.pubkey == event.pubkey && o.kind == event.kind && d(o) == d(event)
    };
    let newer = |o: &Event| o.created_at > event.created_at || o.created_at == event.created_at && o.id < event.id;
    let address = format!("{}:{}:{}", event.kind, event.pubkey.to_hex(), d(event));
    let deletes = |o: &Event| {
        let by_id = has(o, "e", &event.id.to_hex()) && !matches!(event.kind, 5 | 62);
        let by_address = (replaceable || addressable) && has(o, "a", &address) && event.created_at <= o.created_at;
        o.kind == 5 && o.pubkey == event.pubkey && (by_id || by_address)
    };
    let vanishes = |o: &Event| {
        let takes = o.pubkey == event.pubkey || event.kind == 1_059 && has(event, "p", &o.pubkey.to_hex());
        o.kind == 62 && has(o, "relay", "ALL_RELAYS") && takes && event.created_at <= o.created_at && event.kind != 62
    };
    !all.iter().any(|o| same_slot(o) && newer(o) || deletes(o) || vanishes(o))
        && tag(event, "expiration").and_then(|at| at.parse::<i64>().ok()).is_none_or(|at| at > now)
        && !event.tags.iter().any(|t| t[0] == "-")
        && !matches!(event.kind, 20_000..=29_999)
}

async fn clients_see_what_a_good_relay_would_give(archive: Arc<dyn Archive>, _: String) {
    let handle = tokio::runtime::Handle::current();
    let keys: Vec<Keys> = (0..3).map(|_| Keys::generate()).collect();
    let run = move || {
        let mut runner =
            TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases(48)) });
        let worlds =
            (specs(), any::<prop::sample::Index>(), prop::collection::vec(any::<prop::sample::Index>(), 3), 0..20_i64);
        let worlds = (worlds, prop::option::weighted(0.3, 0..12_u64));
        runner.run(&worlds, |((specs, cut, order, now), removed)| {
            handle.block_on(async {
                archive.clear().await.expect("emptied");
                let mut events = world(&keys, &specs);
                // They arrive in any order, in two batches from two relays, some twice.
                for index in &order {
                    let n = events.len();
                    events.rotate_left(index.index(n));
                    events.swap(0, n / 2);
                }
                let (first, second) = events.split_at(cut.index(events.len()));
                let other = Some(("wss://other.example/".to_owned(), Network::Clearnet));
                archive.store(batch(first.to_vec())).await.expect("stored");
                archive
                    .store(Batch { relay: other, seen_at: 1_700_000_009, ..batch(second.to_vec()) })
                    .await
                    .expect("stored");
                archive
                    .store(Batch { known: first.iter().map(|e| e.event().id).collect(), ..batch(second.to_vec()) })
                    .await
                    .expect("stored");
                let mut distinct: BTreeMap<_, _> =
                    events.iter().rev().map(|e| (e.event().id, e.event().clone())).collect();
                let mut all: Vec<Event> = distinct.values().cloned().collect();
                check_statistics(&archive, &all, first, second).await?;
                let view = View::Client { now };
                let wanted: BTreeSet<_> = all.iter().filter(|e| is_shown(e, &all, now)).map(|e| e.id).collect();
                let page = archive.page(&Filter::new(), view, None, 100).await.expect("a page");
                prop_assert_eq!(page.iter().map(|e| e.id).collect::<BTreeSet<_>>(), wanted.clone());
                prop_assert_eq!(archive.ids(&Filter::new(), view).await.expect("ids").len(), wanted.len());
                for filter in [
                    Filter::new(),
                    Filter::new().kinds([Kind::Metadata, Kind::from(30_023)]),
                    Filter::new().author(keys[0].public_key()),
                ] {
                    let count = archive.count(std::slice::from_ref(&filter), view, &[]).await.expect("a count");
                    let matching = all.iter().filter(|e| naive(&filter, e) && wanted.contains(&e.id)).count();
                    prop_assert_eq!(count, matching as u64, "{:?}", filter);
                }
                if let Some(until) = removed {
                    let filter = Filter::new().until(Timestamp::from(until));
                    archive.remove(&filter, u64::MAX).await.expect("removed");
                    distinct.retain(|_, e| !naive(&filter, e));
                    all.retain(|e| !naive(&filter, e));
                    let left = |list: &[Verified]| {
                        list.iter().filter(|e| !naive(&filter, e.event())).cloned().collect::<Vec<_>>()
                    };
                    check_statistics(&archive, &all, &left(first), &left(second)).await?;
                }
                Ok(())
            })
        })
    };
    tokio::task::spawn_blocking(run).await.expect("no panic").expect("holds for every case");
}

/// More by hand: `BROTR_TEST_CASES=5000 cargo test -p brotr-storage`.
fn cases(usual: u32) -> u32 {
    std::env::var("BROTR_TEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

/// The five statistics against a count by hand. The first relay was seen to hold all events, the other the second part.
async fn check_statistics(
    archive: &Arc<dyn Archive>,
    all: &[Event],
    first: &[Verified],
    second: &[Verified],
) -> Result<(), TestCaseError> {
    let stats = archive.stats().await.expect("stats");
    let ids = |list: &[Verified]| list.iter().map(|e| e.event().id).collect::<BTreeSet<_>>();
    prop_assert_eq!(stats.events, all.len() as i64);
    prop_assert_eq!(stats.pubkeys, all.iter().map(|e| e.pubkey).collect::<BTreeSet<_>>().len() as i64);
    let both: BTreeSet<_> = ids(first).union(&ids(second)).copied().collect();
    prop_assert_eq!(stats.sightings, (both.len() + ids(second).len()) as i64);
    let mut kinds = BTreeMap::<i64, i64>::new();
    all.iter().for_each(|e| *kinds.entry(e.kind.into()).or_default() += 1);
    prop_assert_eq!(stats.kinds, kinds);
    exact::exact(archive).await;
    Ok(())
}

async fn pages_follow_each_other(archive: Arc<dyn Archive>, _: String) {
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

fn span(since: i64, until: i64) -> Interval {
    Interval::new(since, until).expect("in order")
}

async fn coverage_merges_and_takes_gaps_away(archive: Arc<dyn Archive>, _: String) {
    let claim = |s, u| Covered { interval: span(s, u), method: Method::Paged, proven_at: 7 };
    let gap = |s, u, reason| Gap { interval: span(s, u), reason, count: None, tried_at: 7 };
    let first = Batch {
        covered: vec![claim(50, 60), claim(80, 90)],
        gaps: vec![gap(0, 49, GapReason::Timeout), gap(61, 79, GapReason::Closed)],
        ..batch(vec![])
    };
    archive.store(first).await.expect("stored");
    let second = Batch { covered: vec![claim(61, 70), claim(20, 30)], ..batch(vec![]) };
    archive.store(second).await.expect("stored");
    archive.store(Batch { gaps: vec![gap(75, 79, GapReason::DenseSecond)], ..batch(vec![]) }).await.expect("stored");
    let reports = archive.coverage(Some(RELAY)).await.expect("a report");
    let [report] = reports.as_slice() else { panic!("one filter: {reports:?}") };
    assert_eq!(
        report.covered.iter().map(|c| c.interval).collect::<Vec<_>>(),
        [span(20, 30), span(50, 70), span(80, 90)]
    );
    let gaps: Vec<_> = report.gaps.iter().map(|g| (g.interval, g.reason)).collect();
    let wanted = [
        (span(0, 19), GapReason::Timeout),
        (span(31, 49), GapReason::Timeout),
        (span(71, 74), GapReason::Closed),
        (span(75, 79), GapReason::DenseSecond),
    ];
    assert_eq!(gaps, wanted);
    let later = Covered { interval: span(91, 95), method: Method::Paged, proven_at: 9 };
    archive.store(Batch { covered: vec![later], ..batch(vec![]) }).await.expect("stored");
    let report = archive.coverage(Some(RELAY)).await.expect("a report").remove(0);
    let last = report.covered.last().expect("merged");
    assert_eq!((last.interval, last.proven_at), (span(80, 95), 9), "its last part was proven at 9");
    assert!(archive.coverage(Some("wss://unheard.example/")).await.expect("a report").is_empty());
}

async fn relays_are_added_once_and_listed_in_pages(archive: Arc<dyn Archive>, _: String) {
    let list: Vec<_> = (0..25).map(|i| (format!("wss://r{i:02}.example/"), Network::Clearnet)).collect();
    assert_eq!(archive.add_relays(&list, 9).await.expect("added"), 25);
    assert_eq!(archive.add_relays(&list, 10).await.expect("added"), 0);
    archive.add_relays(&[("ws://x.onion/".into(), Network::Tor)], 9).await.expect("added");
    let clear = RelayQuery { networks: vec![Network::Clearnet], limit: 20, ..RelayQuery::default() };
    let page = archive.relays(&clear).await.expect("listed");
    assert_eq!((page.len(), page[0].discovered_at, page[0].state), (20, 9, RelayState::New));
    let rest = RelayQuery { after: Some(page[19].url.clone()), ..clear.clone() };
    assert_eq!(archive.relays(&rest).await.expect("listed").len(), 5);
    let tor = RelayQuery { networks: vec![Network::Tor], ..clear.clone() };
    assert_eq!(archive.relays(&tor).await.expect("listed").len(), 1);
    let fresh = RelayQuery { check_due: Some(8), ..clear.clone() };
    assert!(
        archive.relays(&fresh).await.expect("listed").is_empty(),
        "due when they were found, not before all others"
    );
    archive.set_sync_due(&list[3].0, 100).await.expect("set");
    let due = RelayQuery { sync_due: Some(99), limit: 100, ..clear };
    assert_eq!(archive.relays(&due).await.expect("listed").len(), 24);
    // Those that wait longest come first, wherever their names sort.
    for (i, (url, _)) in list.iter().enumerate() {
        archive.set_sync_due(url, 50 - i as i64).await.expect("set");
    }
    let due = RelayQuery { limit: 2, ..due };
    let first: Vec<_> = archive.relays(&due).await.expect("listed").into_iter().map(|r| r.url).collect();
    assert_eq!(first, [list[24].0.clone(), list[23].0.clone()]);
}

async fn checks_are_kept_by_content(archive: Arc<dyn Archive>, _: String) {
    for (at, up) in [(10, false), (20, false), (30, true)] {
        let check = CheckRecord {
            at,
            up,
            due_at: at + 5,
            nip11: up.then(|| "{\"name\": \"x\"}".to_owned()),
            nip66: format!("{{\"up\":{up}}}"),
            rtt_ms: [Some(at), None, Some(3)],
        };
        archive.record_check((RELAY, Network::Clearnet), &check).await.expect("kept");
        let relay = archive.relay(RELAY).await.expect("read").expect("there");
        let state = if up { (RelayState::Up, 0) } else { (RelayState::Down, at / 10) };
        assert_eq!((relay.state, relay.failures), state);
        assert_eq!(relay.checked_at, Some(at));
    }
    let documents = archive.documents(RELAY).await.expect("documents");
    let [nip11, nip66] = documents.as_slice() else { panic!("{documents:?}") };
    assert_eq!((nip11.data.as_str(), nip11.generated_at), ("{\"name\": \"x\"}", 30));
    assert_eq!((nip66.data.as_str(), nip66.rtt_ms), ("{\"up\":true}", [Some(30), None, Some(3)]));
    let due = RelayQuery { check_due: Some(34), limit: 9, ..RelayQuery::default() };
    assert!(archive.relays(&due).await.expect("listed").is_empty());
    let down = RelayQuery { states: vec![RelayState::New, RelayState::Down], limit: 9, ..RelayQuery::default() };
    assert!(archive.relays(&down).await.expect("listed").is_empty());
    let due = RelayQuery { states: vec![RelayState::Up], check_due: Some(35), ..due };
    assert_eq!(archive.relays(&due).await.expect("listed").len(), 1);
}

fn outgoing(id: nostr::EventId, relay: &str) -> Outgoing {
    Outgoing { event: id, relay: relay.into(), body: "{}".into(), slot: None, attempts: 0 }
}

async fn a_job_is_taken_and_ended_once(archive: Arc<dyn Archive>, _: String) {
    let request = event("how many?", vec![], 1).into_event();
    let job = Job {
        id: request.id,
        kind: 5400,
        customer: request.pubkey,
        request: request.to_json(),
        received_at: 3,
        status: JobStatus::Received,
    };
    assert!(archive.accept_job(&job).await.expect("kept"));
    assert!(!archive.accept_job(&job).await.expect("kept"), "the same request again");
    let takers: Vec<_> = futures::future::join_all((0..8).map(|_| archive.take_job())).await;
    let taken: Vec<Job> = takers.into_iter().filter_map(|taker| taker.expect("asked")).collect();
    assert_eq!(taken, [Job { status: JobStatus::Working, ..job.clone() }], "one of eight");
    assert_eq!(archive.put_back_jobs().await.expect("put back"), 1);
    assert!(!archive.end_job(job.id, JobStatus::Answered, 4, &[]).await.expect("asked"), "not in work");
    archive.take_job().await.expect("asked").expect("there again");
    let answer = [outgoing(job.id, RELAY)];
    assert!(archive.end_job(job.id, JobStatus::Answered, 4, &answer).await.expect("ended"));
    assert!(!archive.end_job(job.id, JobStatus::Failed, 5, &answer).await.expect("asked"), "ended already");
    assert_eq!(archive.job(job.id).await.expect("read").expect("there").status, JobStatus::Answered);
    assert_eq!(archive.due_outgoing(RELAY, 4, 10).await.expect("due").len(), 1);
    assert_eq!(archive.take_job().await.expect("asked"), None);
}

async fn the_outbox_keeps_what_is_not_delivered(archive: Arc<dyn Archive>, _: String) {
    let ids: Vec<_> = (0..3).map(|i| event(&i.to_string(), vec![], 1).event().id).collect();
    let list: Vec<_> = ids.iter().map(|id| outgoing(*id, RELAY)).collect();
    archive.enqueue(&list, 10).await.expect("queued");
    archive.enqueue(&list, 11).await.expect("queued again, once");
    archive.delivered(&list[0], &Delivery::Accepted, 12).await.expect("kept");
    archive.delivered(&list[1], &Delivery::Refused("blocked: no".into()), 12).await.expect("kept");
    assert_eq!(archive.due_relays(12).await.expect("due"), [RELAY]);
    let later = Delivery::Delayed { reason: "timeout".into(), due_at: 50 };
    archive.delivered(&list[2], &later, 12).await.expect("kept");
    assert!(archive.due_outgoing(RELAY, 49, 10).await.expect("due").is_empty());
    let due = archive.due_outgoing(RELAY, 50, 10).await.expect("due");
    assert_eq!(due, [Outgoing { attempts: 1, ..list[2].clone() }]);
    // What waits behind a delayed event waits with it; other relays do not.
    let behind = [
        outgoing(ids[0], "wss://slow.example/"),
        outgoing(ids[1], "wss://slow.example/"),
        outgoing(ids[2], "wss://quick.example/"),
    ];
    archive.enqueue(&behind, 60).await.expect("queued");
    let later = Delivery::Delayed { reason: "rate-limited: slow".into(), due_at: 90 };
    archive.delivered(&behind[0], &later, 61).await.expect("kept");
    archive.delivered(&list[2], &Delivery::Accepted, 61).await.expect("kept");
    assert_eq!(archive.due_relays(89).await.expect("due"), ["wss://quick.example/"]);
    // A newer version takes the place of one that waits, and of nothing else.
    let version = |n: usize| Outgoing { slot: Some("30166:d".into()), ..outgoing(ids[n], "wss://r.example/") };
    archive.enqueue(&[version(0), outgoing(ids[2], "wss://r.example/")], 62).await.expect("queued");
    archive.enqueue(&[version(1)], 63).await.expect("queued");
    let waiting = archive.due_outgoing("wss://r.example/", 63, 9).await.expect("due");
    assert_eq!(waiting.iter().map(|one| one.event).collect::<Vec<_>>(), [ids[2], ids[1]]);
    // What is done with is forgotten, what waits is not.
    assert_eq!(archive.prune(60).await.expect("pruned"), 3);
    assert_eq!(archive.due_outgoing("wss://r.example/", 63, 9).await.expect("due").len(), 2);
    let slow = archive.due_outgoing("wss://slow.example/", 90, 10).await.expect("due");
    assert_eq!(slow.iter().map(|one| one.attempts).collect::<Vec<_>>(), [1, 1]);
}

async fn text_is_found_where_it_is_indexed(archive: Arc<dyn Archive>, url: String) {
    let keys = Keys::generate();
    let of = |kind: u16, content: &str, at: i64, tags: Vec<Vec<String>>| {
        let tags = tags.into_iter().map(|t| Tag::parse(t).expect("a tag"));
        let builder = EventBuilder::new(Kind::from(kind), content).tags(tags);
        let builder = builder.custom_created_at(Timestamp::from(at.cast_unsigned()));
        Event::from(&builder.sign_with_keys(&keys).expect("signed")).verify().expect("verified")
    };
    let search = |text: &str| Filter::new().search(text);
    let title = vec![vec!["d".to_owned(), "x".to_owned()], vec!["title".to_owned(), "On \"relays\"".to_owned()]];
    let first = vec![of(1, "Good MORNING, relays and \0 friends", 1, vec![]), of(7, "morning", 2, vec![])];
    archive.store(batch(first)).await.expect("stored");
    let error = archive.count(&[search("morning")], View::All, &[]).await.expect_err("no index yet").to_string();
    assert!(error.contains("storage.search"), "{error}");
    archive.close().await;
    drop(archive);
    // What was there before is indexed too.
    let archive = open(&url, Options { search: true, ..Options::default() }).await.expect("opened again");
    let second = vec![of(0, r#"{"name":"morning star"}"#, 3, vec![]), of(30_023, "a long read", 4, title)];
    archive.store(batch(second)).await.expect("stored");
    let find = async |archive: &Arc<dyn Archive>, text: &str| {
        let page = archive.page(&search(text), View::All, None, 10).await.expect("a page");
        let count = archive.count(&[search(text)], View::All, &[]).await.expect("a count");
        assert_eq!(count, page.len() as u64, "{text}");
        page.iter().map(|e| e.created_at).collect::<Vec<_>>()
    };
    let table: [(&str, &[i64]); 8] = [
        ("morning", &[3, 1]),
        ("MORNING good", &[1]),
        ("morning evening", &[]),
        ("relays", &[4, 1]),
        ("long read language:en", &[4]),
        ("\"relays\" OR", &[]),
        ("friends", &[1]),
        ("*", &[]),
    ];
    for (text, wanted) in table {
        assert_eq!(find(&archive, text).await, wanted, "{text}");
    }
    let narrow = search("relays").kind(Kind::TextNote).author(keys.public_key());
    assert_eq!(archive.page(&narrow, View::All, None, 10).await.expect("a page").len(), 1);
    archive.remove(&Filter::new().kind(Kind::TextNote), u64::MAX).await.expect("removed");
    assert_eq!(find(&archive, "relays").await, [4]);
    archive.close().await;
    let read = open_to_read(&url, Options::default()).await.expect("opened to read");
    assert_eq!(find(&read, "relays").await, [4]);
    read.close().await;
}

async fn lilbrotr_keeps_what_can_be_counted(archive: Arc<dyn Archive>, url: String) {
    archive.close().await;
    let lil = Options { profile: Profile::Lilbrotr, search: true };
    let error = open(&url, lil).await.expect_err("another profile").to_string();
    assert!(error.contains("bigbrotr") && error.contains("lilbrotr"), "{error}");
    // As it would be made.
    if url.starts_with("sqlite:") {
        shell(&url, "update archive set profile = 'lilbrotr'");
    } else {
        shell(&url, "update archive set profile = null");
    }
    let archive = open(&url, lil).await.expect("opened");
    let one = event("a secret", vec![vec!["t", "x", "more"], vec!["long", "y"]], 3);
    archive.store(batch(vec![one.clone()])).await.expect("stored");
    let tagged = Filter::new().hashtag("x");
    assert_eq!(archive.count(std::slice::from_ref(&tagged), View::All, &[]).await.expect("counted"), 1);
    assert_eq!(archive.ids(&tagged, View::All).await.expect("ids"), [(one.event().id, 3)]);
    let error = archive.page(&tagged, View::All, None, 1).await.expect_err("nothing to give").to_string();
    assert!(error.contains("lilbrotr"), "{error}");
    let searched = [Filter::new().search("secret")];
    let error = archive.count(&searched, View::All, &[]).await.expect_err("no text").to_string();
    assert!(error.contains("lilbrotr"), "{error}");
    let row = sql_rows(&archive, "select content, sig, tagvalues, tags from events").await.remove(0);
    assert_eq!((row[0].as_str(), row[1].is_null()), (Some(""), true));
    assert!(row[2].as_str().is_some_and(|values| values.contains("t:x")), "{row:?}");
    assert!(row[3].as_str().is_some_and(|tags| !tags.contains("more") && !tags.contains("long")), "{row:?}");
    archive.remove(&tagged, u64::MAX).await.expect("removed");
    assert_eq!(archive.stats().await.expect("stats").events, 0);
}

async fn rust_nostr_can_stand_on_it(archive: Arc<dyn Archive>, _: String) {
    use nostr_database::{NostrDatabase, SaveEventStatus};
    let db = NostrArchive(archive.clone());
    let keys = Keys::generate();
    let events: Vec<_> = (0..5_u64)
        .map(|i| {
            EventBuilder::text_note(i.to_string())
                .custom_created_at(Timestamp::from(i))
                .sign_with_keys(&keys)
                .expect("signed")
        })
        .collect();
    for event in &events {
        assert_eq!(db.save_event(event).await.expect("saved"), SaveEventStatus::Success);
        assert!(!db.save_event(event).await.expect("answered").is_success(), "a duplicate");
    }
    let mut forged = events[0].clone();
    forged.content = "forged".into();
    assert!(!db.save_event(&forged).await.expect("answered").is_success(), "what the trait takes on trust");
    assert_eq!(db.count(Filter::new()).await.expect("counted"), 5);
    let newest = db.query(Filter::new().author(keys.public_key()).limit(2)).await.expect("queried").to_vec();
    assert_eq!(newest, [events[4].clone(), events[3].clone()]);
    assert_eq!(db.event_by_id(&events[1].id).await.expect("read").as_ref(), Some(&events[1]));
    let items = db.negentropy_items(Filter::new()).await.expect("items");
    assert_eq!(items, events.iter().map(|e| (e.id, e.created_at)).collect::<Vec<_>>());
    db.delete(Filter::new().until(Timestamp::from(2))).await.expect("deleted");
    assert_eq!(db.count(Filter::new()).await.expect("counted"), 2);
    db.wipe().await.expect("wiped");
    assert_eq!(db.count(Filter::new()).await.expect("counted"), 0);
}

async fn statistics_count_what_is_there(archive: Arc<dyn Archive>, _: String) {
    assert_eq!(archive.stats().await.expect("stats").events, 0, "an empty archive has statistics too");
    archive.store(batch((0..4).map(|i| event("x", vec![], i)).collect())).await.expect("stored");
    let stats = archive.stats().await.expect("stats");
    assert_eq!((stats.events, stats.sightings, stats.pubkeys), (4, 4, 4));
    assert_eq!(stats.kinds, BTreeMap::from([(1, 4)]));
    assert_eq!(stats.relays, BTreeMap::from([("new".to_owned(), 1)]));
    assert!(stats.disk_bytes > 0);
}

async fn the_public_shape_is_there(archive: Arc<dyn Archive>, url: String) {
    let one = event("seen", vec![vec!["t", "x"], vec!["long", "y"], vec!["p"]], 3);
    archive.store(batch(vec![one])).await.expect("stored");
    let statements = [
        "select url, network, discovered_at from relays",
        "select id, pubkey, created_at, kind, tags, tagvalues, content, sig from events",
        "select event_id, relay_url, seen_at from events_relays",
        "select id, data from nip11",
        "select id, data from nip66",
        "select relay_url, generated_at, type, metadata_id from relay_metadata",
        "select relay_url, generated_at, type, metadata_id from relay_metadata_latest",
        "select service_name, state_type, state_key, state_value from service_state",
        "select * from events_statistics",
        "select * from relays_statistics",
        "select * from kind_counts_total",
        "select * from pubkey_counts_total",
    ];
    for sql in statements {
        let found = sql_rows(&archive, sql).await;
        // SQLite's own shell has not the functions that `events` is made of, and `event_heads` in its stead.
        if !(url.starts_with("sqlite:") && sql.contains("from events")) || sql.contains("events_") {
            shell(&url, sql);
            // Counted by the shell: it prints keys as bytes, and a byte may be a line's end.
            let count = shell(&url, &format!("select count(*) from ({sql}) as s"));
            assert_eq!(count, found.len().to_string(), "{sql}");
        }
    }
    if url.starts_with("sqlite:") {
        assert_eq!(shell(&url, "select created_at, kind from event_heads"), "3|1");
        assert_eq!(sql_rows(&archive, "select tagvalues from events").await, [[r#"["t:x"]"#]]);
        assert_eq!(sql_rows(&archive, "select tags from events").await, [[r#"[["t","x"],["long","y"],["p"]]"#]]);
    } else {
        assert_eq!(sql_rows(&archive, "select tagvalues from events").await, [["{t:x}"]]);
        assert_eq!(shell(&url, "select tags from events"), r#"[["t", "x"], ["long", "y"], ["p"]]"#);
    }
    assert_eq!(sql_rows(&archive, "select content from events").await, [["seen"]]);
    assert_eq!(shell(&url, "select relay_url, seen_at from events_relays"), format!("{RELAY}|1700000000"));
    let (rows, _) = tokio::sync::mpsc::channel(1);
    assert!(archive.sql("delete from event", rows).await.is_err(), "nobody writes this way");
}

/// Runs a statement as `brotr sql` does; gives the rows without the names.
async fn sql_rows(archive: &Arc<dyn Archive>, sql: &str) -> Vec<SqlRow> {
    let (sender, mut receiver) = tokio::sync::mpsc::channel(100);
    archive.sql(sql, sender).await.expect(sql);
    let mut rows = Vec::new();
    while let Some(row) = receiver.recv().await {
        rows.push(row);
    }
    rows.into_iter().skip(1).collect()
}

/// Runs a statement in the shell that people have: sqlite3 or psql.
fn shell(url: &str, sql: &str) -> String {
    let mut command = match url.strip_prefix("sqlite://") {
        Some(path) => {
            let mut command = std::process::Command::new("sqlite3");
            command.args(["-batch", path]);
            command
        }
        None => {
            let mut command = std::process::Command::new("psql");
            command.args(["-At", url, "-c"]);
            command
        }
    };
    let output = command.arg(sql).output().expect("the shell runs");
    assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

async fn opening_again_keeps_everything(archive: Arc<dyn Archive>, url: String) {
    archive.store(batch(vec![event("kept", vec![], 1)])).await.expect("stored");
    archive.set_state("finder", "cursor", "events", "41").await.expect("set");
    archive.set_state("finder", "cursor", "events", "42").await.expect("set");
    archive.close().await;
    drop(archive);
    let again = open(&url, Options::default()).await.expect("opened again");
    assert_eq!(all(&again).await.len(), 1);
    assert_eq!(again.state("finder", "cursor", "events").await.expect("read").as_deref(), Some("42"));
    again.ping().await.expect("answers");
}

async fn a_backup_holds_what_the_archive_holds(archive: Arc<dyn Archive>, url: String) {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("backup");
    let events: Vec<_> = (0..300).map(|i| event(&format!("{i} \0"), vec![vec!["t", "x"]], i)).collect();
    archive.store(batch(events[..200].to_vec())).await.expect("stored");
    // Others write meanwhile.
    let (made, stored) = tokio::join!(archive.backup(&file), archive.store(batch(events[200..].to_vec())));
    stored.expect("stored");
    let counts = made.expect("written");
    assert!(counts.events == 200 || counts.events == 300, "{counts:?}");
    let again = archive.backup(&file).await.expect_err("there already").to_string();
    assert!(again.contains("is there already"), "{again}");
    let second = dir.path().join("second");
    let counts = archive.backup(&second).await.expect("written");
    assert_eq!(counts, Counts { events: 300, sightings: 300, relays: 1 });
    let target = if url.starts_with("sqlite:") {
        format!("sqlite://{}", dir.path().join("restored/brotr.db").display())
    } else {
        shell(&url, "create database restored");
        url.replace("a_backup_holds_what_the_archive_holds", "restored")
    };
    let broken = dir.path().join("broken");
    let bytes = std::fs::read(&second).expect("read");
    std::fs::write(&broken, &bytes[..bytes.len() / 2]).expect("written");
    restore(&target, &broken).await.expect_err("half of it");
    assert_eq!(restore(&target, &second).await.expect("restored"), counts);
    restore(&target, &second).await.expect_err("no second time");
    let restored = open(&target, Options::default()).await.expect("opened");
    assert_eq!(all(&restored).await, all(&archive).await);
    assert_eq!(restored.coverage(None).await.expect("coverage"), archive.coverage(None).await.expect("coverage"));
    restored.store(batch(vec![event("it goes on", vec![], 5)])).await.expect("stored");
    exact::exact(&restored).await;
    restored.close().await;
}

async fn a_newer_database_is_refused(archive: Arc<dyn Archive>, url: String) {
    archive.close().await;
    let columns = "description, installed_on, success, checksum, execution_time";
    let postgres =
        format!("insert into _sqlx_migrations (version, {columns}) select 9999, {columns} from _sqlx_migrations");
    shell(&url, if url.starts_with("sqlite:") { "pragma user_version = 9999" } else { &postgres });
    let error = open(&url, Options::default()).await.expect_err("newer").to_string();
    assert!(error.contains("9999") && error.contains("upgrade brotr"), "{error}");
}

#[tokio::test]
async fn what_cannot_be_opened_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("not-a-database");
    std::fs::write(
        &file,
        "this is not a database, though long enough to be read as the header of one, is it not?".repeat(9),
    )
    .expect("written");
    let error =
        open(&format!("sqlite://{}", file.display()), Options::default()).await.expect_err("no database").to_string();
    assert!(error.contains("not-a-database"), "{error}");
    let error =
        open("postgres://u:secret@127.0.0.1:1/db", Options::default()).await.expect_err("nobody there").to_string();
    assert!(error.contains("127.0.0.1:1") && !error.contains("secret"), "{error}");
    assert!(matches!(open("mysql://x", Options::default()).await, Err(StorageError::Scheme)));
}
