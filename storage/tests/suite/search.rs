//! Search in texts and profiles.

use super::*;

/// Frequent words are searched in another way than rare ones.
pub(super) async fn frequent_terms_are_found_newest_first(archive: Arc<dyn Archive>, url: String) {
    archive.close().await;
    drop(archive);
    let archive = open(&url, Options { search: true, ..Options::default() }).await.expect("opened again");
    let keys = Keys::generate();
    let kinds = [1_u16, 30_023, 1, 7, 1];
    let signed = (0..4_000_usize).map(|i| {
        let word = if i % 3 == 0 { "rare" } else { "common" };
        // Dates in no order, several events in a second.
        let at = (i * 7_919 % 2_000) as u64;
        let builder = EventBuilder::new(Kind::from(kinds[i % 5]), format!("{word} {i}"));
        let builder = builder.tag(Tag::identifier(i.to_string())).custom_created_at(Timestamp::from(at));
        Event::from(&builder.sign_with_keys(&keys).expect("signed")).verify().expect("verified")
    });
    let events: Vec<Verified> = signed.collect();
    archive.store(batch(events.clone())).await.expect("stored");
    let all: Vec<Event> = events.into_iter().map(Verified::into_event).collect();
    for (word, filter) in [
        ("common", Filter::new()),
        ("rare", Filter::new()),
        ("common", Filter::new().kind(Kind::from(30_023))),
        ("common", Filter::new().since(Timestamp::from(500)).until(Timestamp::from(900))),
        ("common", Filter::new().author(keys.public_key())),
        ("common", Filter::new().kind(Kind::from(7))),
    ] {
        let filter = filter.search(word);
        let mut wanted: Vec<&Event> = all
            .iter()
            .filter(|event| matches(&filter, event) && event.kind != 7 && event.content.starts_with(word))
            .collect();
        wanted.sort_by(|a, b| b.created_at.cmp(&a.created_at).then(a.id.cmp(&b.id)));
        for limit in [1, 7, 100, 5_000] {
            let found = archive.page(&filter, View::All, None, limit).await.expect("a page");
            let ids: Vec<_> = found.iter().map(|event| event.id).collect();
            assert_eq!(ids, wanted.iter().take(limit).map(|event| event.id).collect::<Vec<_>>(), "{filter:?} {limit}");
        }
        // On from the middle.
        if let Some(middle) = wanted.get(50) {
            let after = Cursor { created_at: middle.created_at, id: middle.id };
            let found = archive.page(&filter, View::All, Some(after), 20).await.expect("a page");
            let ids: Vec<_> = found.iter().map(|event| event.id).collect();
            assert_eq!(ids, wanted[51..].iter().take(20).map(|event| event.id).collect::<Vec<_>>(), "{filter:?}");
        }
    }
    archive.close().await;
}

pub(super) async fn text_is_found_where_it_is_indexed(archive: Arc<dyn Archive>, url: String) {
    let keys = Keys::generate();
    let of = |kind: u16, content: &str, at: i64, tags: Vec<Vec<String>>| {
        let tags = tags.into_iter().map(|t| Tag::parse(t).expect("a tag"));
        let builder = EventBuilder::new(Kind::from(kind), content).tags(tags);
        let builder = builder.custom_created_at(Timestamp::from(at.cast_unsigned()));
        Event::from(&builder.sign_with_keys(&keys).expect("signed")).verify().expect("verified")
    };
    let search = |text: &str| Filter::new().search(text);
    let title = vec![vec!["d".to_owned(), "x".to_owned()], vec!["title".to_owned(), "On \"relays\"".to_owned()]];
    let first = vec![
        of(1, "Good MORNING, relays and \0 friends at https://Zürich.example/caf\u{e9}, 12:30", 1, vec![]),
        of(7, "morning", 2, vec![]),
    ];
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
    let table: [(&str, &[i64]); 16] = [
        ("morning", &[3, 1]),
        // Extensions are ignored, whether they are known or not; addresses are none.
        ("long read colour:green sort_by:new", &[4]),
        ("https://zurich.example", &[1]),
        ("zürich ZURICH", &[1]),
        ("example cafe", &[1]),
        ("relays\0friends", &[1]),
        ("12:30", &[1]),
        ("12:31", &[]),
        ("'quoted' \\ & | ! (relays)", &[]),
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
    // An index that was made by other rules is made again.
    shell(&url, "update archive set search = 1");
    let read = open_to_read(&url, Options::default()).await.expect("opened to read");
    assert!(matches!(read.count(&[search("relays")], View::All, &[]).await, Err(StorageError::NoSearch)));
    read.close().await;
    let archive = open(&url, Options { search: true, ..Options::default() }).await.expect("opened again");
    assert_eq!(find(&archive, "relays").await, [4]);
    archive.close().await;
}

/// Words that differ in case, accents, marks and what stands between them, so that texts and searches meet often.
fn phrase() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "Zürich",
        "zurich",
        "ZU\u{308}RICH",
        "relay",
        "ｒｅｌａｙ",
        "wss",
        "example",
        "12",
        "30",
        "ガーデン",
        "한글",
        "की",
        "का",
        "οδός",
        "ΟΔΟΣ",
        "İ",
        "'",
        "\\",
        "don't",
        "ﬁne",
        "1",
    ]);
    let between = prop::sample::select(vec![" ", "://", ".", ":", "-", "\0", "_", "\n", "|", " & ", ""]);
    let odd = prop_oneof![9 => (word, between).prop_map(|(a, b)| format!("{a}{b}")), 1 => any::<String>()];
    prop::collection::vec(odd, 0..6).prop_map(|parts| parts.concat())
}

/// Both backends find what [`search_matches`] says.
pub(super) async fn both_backends_search_alike(archive: Arc<dyn Archive>, url: String) {
    archive.close().await;
    drop(archive);
    let archive = open(&url, Options { search: true, ..Options::default() }).await.expect("opened again");
    let handle = tokio::runtime::Handle::current();
    let run = move || {
        let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases(16)) };
        let worlds = (prop::collection::vec(phrase(), 1..30), prop::collection::vec(phrase(), 1..20));
        TestRunner::new(config).run(&worlds, |(texts, searches)| {
            handle.block_on(async {
                archive.clear().await.expect("emptied");
                let events: Vec<_> = (0..).zip(&texts).map(|(at, text)| event(text, vec![], at)).collect();
                archive.store(batch(events.clone())).await.expect("stored");
                for search in &searches {
                    let filter = Filter::new().search(search);
                    let found = archive.page(&filter, View::All, None, 100).await.expect("a page");
                    let wanted: Vec<_> =
                        events.iter().rev().map(Verified::event).filter(|e| search_matches(search, e)).collect();
                    prop_assert_eq!(found.iter().collect::<Vec<_>>(), wanted, "{:?}", search);
                    let count = archive.count(&[filter], View::All, &[]).await.expect("a count");
                    prop_assert_eq!(count, found.len() as u64, "{:?}", search);
                }
                Ok(())
            })
        })?;
        handle.block_on(archive.close());
        Ok::<_, proptest::test_runner::TestError<_>>(())
    };
    tokio::task::spawn_blocking(run).await.expect("no panic").expect("holds for every case");
}
