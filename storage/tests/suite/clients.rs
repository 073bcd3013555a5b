//! What filters match, and what clients see.

use super::*;

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

pub(super) async fn filters_agree_with_a_naive_implementation(archive: Arc<dyn Archive>, _: String) {
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
                    let sketch = sketch_of(&wanted);
                    prop_assert_eq!(archive.sketch(filter, View::All, offset()).await.expect("sketched"), sketch);
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

fn offset() -> Offset {
    Offset::of_value("any")
}

/// Returns how many events there are, and a sketch of their authors.
fn sketch_of(events: &[Event]) -> (u64, Sketch) {
    let mut sketch = Sketch::default();
    events.iter().for_each(|event| sketch.add(event.pubkey.as_bytes(), offset()));
    (events.len() as u64, sketch)
}

/// NIP-01, implemented naively.
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

/// The parts of an event, in a world where events delete each other.
#[derive(Debug, Clone)]
struct Spec {
    author: usize,
    kind: u16,
    created_at: i64,
    d: Option<&'static str>,
    expiration: Option<&'static str>,
    protected: bool,
    /// Events and addresses named in `e`, `a` and `p` tags, by index among the preceding ones.
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

/// Returns whether clients see an event among all, by NIP-01, 09, 40, 62 and 70, implemented naively.
fn is_shown(event: &Event, all: &[Event], now: i64) -> bool {
    let reasons = reasons_to_hide(event, all, now);
    reasons.is_empty()
}

/// Returns why clients do not see an event: `replaced`, `deleted by address`, or `other`.
fn reasons_to_hide(event: &Event, all: &[Event], now: i64) -> BTreeSet<&'static str> {
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
    let deletes = |o: &Event| o.kind == 5 && o.pubkey == event.pubkey;
    let by_id = |o: &Event| deletes(o) && has(o, "e", &event.id.to_hex()) && !matches!(event.kind, 5 | 62);
    let by_address = |o: &Event| {
        deletes(o) && (replaceable || addressable) && has(o, "a", &address) && event.created_at <= o.created_at
    };
    let vanishes = |o: &Event| {
        let takes = o.pubkey == event.pubkey || event.kind == 1_059 && has(event, "p", &o.pubkey.to_hex());
        o.kind == 62 && has(o, "relay", "ALL_RELAYS") && takes && event.created_at <= o.created_at && event.kind != 62
    };
    let other = all.iter().any(|o| by_id(o) || vanishes(o))
        || tag(event, "expiration").and_then(|at| at.parse::<i64>().ok()).is_some_and(|at| at <= now)
        || event.tags.iter().any(|t| t[0] == "-")
        || matches!(event.kind, 20_000..=29_999);
    let replaced = all.iter().any(|o| same_slot(o) && newer(o));
    let reasons = [(replaced, "replaced"), (all.iter().any(by_address), "deleted by address"), (other, "other")];
    reasons.into_iter().filter_map(|(holds, reason)| holds.then_some(reason)).collect()
}

pub(super) async fn hidden_events_agree_with_a_naive_implementation(archive: Arc<dyn Archive>, _: String) {
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
                let of_kinds = |kinds: &[u16]| Filter::new().kinds(kinds.iter().copied().map(Kind::from));
                let authors = || keys.iter().take(2).map(Keys::public_key);
                for filter in [
                    Filter::new(),
                    of_kinds(&[0, 1, 10_002, 30_023]).authors(authors()),
                    of_kinds(&[0, 10_002]).authors(authors()).until(Timestamp::from(6)).since(Timestamp::from(2)),
                    of_kinds(&[0, 10_002, 30_023]).authors(authors()).identifier("x"),
                ] {
                    let page = archive.page(&filter, view, None, 100).await.expect("a page");
                    let shown = all.iter().filter(|e| naive(&filter, e) && wanted.contains(&e.id));
                    let shown: BTreeSet<_> = shown.map(|e| e.id).collect();
                    prop_assert_eq!(page.iter().map(|e| e.id).collect::<BTreeSet<_>>(), shown, "{:?}", filter);
                }
                let versions = View::Versions { now };
                let (mut old, mut deleted) = (BTreeSet::new(), BTreeSet::new());
                for event in &all {
                    let reasons = reasons_to_hide(event, &all, now);
                    if reasons.iter().all(|reason| *reason == "replaced") {
                        old.insert(event.id);
                    } else if reasons.contains("replaced") && !reasons.contains("other") {
                        // Whether it was deleted before it was replaced depends on the order in which they came.
                        deleted.insert(event.id);
                    }
                }
                for filter in [Filter::new(), of_kinds(&[0, 10_002, 30_023]).authors(authors())] {
                    let page = archive.page(&filter, versions, None, 100).await.expect("a page");
                    let page: BTreeSet<_> = page.iter().map(|e| e.id).filter(|id| !deleted.contains(id)).collect();
                    let matching = all.iter().filter(|e| naive(&filter, e) && old.contains(&e.id));
                    prop_assert_eq!(&page, &matching.map(|e| e.id).collect::<BTreeSet<_>>(), "{:?}", filter);
                    let count = archive.count(&[filter], versions, &[]).await.expect("a count");
                    prop_assert!((page.len()..=page.len() + deleted.len()).contains(&(count as usize)), "{}", count);
                }
                prop_assert_eq!(archive.ids(&Filter::new(), view).await.expect("ids").len(), wanted.len());
                for filter in [
                    Filter::new(),
                    Filter::new().kinds([Kind::Metadata, Kind::from(30_023)]),
                    Filter::new().author(keys[0].public_key()),
                ] {
                    let count = archive.count(std::slice::from_ref(&filter), view, &[]).await.expect("a count");
                    let matching = all.iter().filter(|e| naive(&filter, e) && wanted.contains(&e.id)).cloned();
                    let (matching, sketch) = sketch_of(&matching.collect::<Vec<_>>());
                    prop_assert_eq!(count, matching, "{:?}", filter);
                    let sketched = archive.sketch(&filter, view, offset()).await.expect("sketched");
                    prop_assert_eq!(sketched, (matching, sketch), "{:?}", filter);
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
                    // What was removed comes back, and what it replaced in the meantime is marked.
                    archive.store(batch(events.clone())).await.expect("stored");
                    exact::exact(&archive).await;
                }
                Ok(())
            })
        })
    };
    tokio::task::spawn_blocking(run).await.expect("no panic").expect("holds for every case");
}

/// Compares the five statistics with a count by hand. The first relay was seen to hold all events, the other the second part.
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
