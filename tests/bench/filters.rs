//! Latency of clients' queries.

use std::time::{Duration, Instant};

use brotr_storage::{Archive, View};
use brotr_tests::lifelike::Dice;
use nostr::{Filter, Keys, Kind, Timestamp};

const ASKED: usize = 200;
const VIEW: View = View::Client { now: 1_790_000_000 };

/// Runs each kind of filter two hundred times with different values, and prints the median, the 99th percentile and the mean
/// number of returned events.
pub(crate) async fn ask(archive: &dyn Archive, authors: &[Keys]) -> Result<(), brotr_storage::StorageError> {
    println!("{:<58}{:>10}{:>10}{:>8}", "", "median", "p99", "given");
    let mut dice = Dice::new(9);
    let some = archive.page(&Filter::new().kind(Kind::Reaction), View::All, None, 5_000).await?;
    let follows = |dice: &mut Dice, n: usize| -> Vec<_> {
        (0..n).map(|_| authors[dice.low(authors.len())].public_key()).collect()
    };
    type Make<'a> = Box<dyn Fn(&mut Dice) -> Filter + Send + 'a>;
    let notes = || [Kind::TextNote, Kind::Repost];
    let reacted = |dice: &mut Dice| {
        let event = &some[dice.below(some.len())];
        nostr::EventId::from_hex(&event.tags[0][1]).expect("an id")
    };
    let filters: Vec<(&str, Make<'_>)> = vec![
        ("one id", Box::new(|dice| Filter::new().id(some[dice.below(some.len())].id))),
        (
            "a profile: authors 1, kind 0",
            Box::new(|dice| Filter::new().authors(follows(dice, 1)).kind(Kind::Metadata).limit(1)),
        ),
        (
            "profiles: authors 100, kind 0",
            Box::new(|dice| Filter::new().authors(follows(dice, 100)).kind(Kind::Metadata)),
        ),
        (
            "a feed: authors 500, kinds 1 and 6, limit 50",
            Box::new(|dice| Filter::new().authors(follows(dice, 500)).kinds(notes()).limit(50)),
        ),
        (
            "its older part: the same, until",
            Box::new(|dice| {
                let until = 1_760_000_000 - dice.below(120_000) as u64;
                Filter::new().authors(follows(dice, 500)).kinds(notes()).until(Timestamp::from(until)).limit(50)
            }),
        ),
        ("everything of one author, limit 50", Box::new(|dice| Filter::new().authors(follows(dice, 1)).limit(50))),
        ("the newest notes: kind 1, limit 100", Box::new(|_| Filter::new().kind(Kind::TextNote).limit(100))),
        ("three notes: kind 1, limit 3", Box::new(|_| Filter::new().kind(Kind::TextNote).limit(3))),
        ("the newest of all, limit 500", Box::new(|_| Filter::new().limit(500))),
        (
            "mentions: #p 1, kinds 1, 6 and 7, limit 50",
            Box::new(|dice| {
                Filter::new().pubkeys(follows(dice, 1)).kinds([Kind::TextNote, Kind::Repost, Kind::Reaction]).limit(50)
            }),
        ),
        (
            "reactions: #e 50, kind 7",
            Box::new(|dice| {
                Filter::new().events((0..50).map(|_| reacted(dice)).collect::<Vec<_>>()).kind(Kind::Reaction)
            }),
        ),
        (
            "a topic: #t 1, kind 1, limit 50",
            Box::new(|dice| Filter::new().hashtag(format!("topic{}", dice.low(3_000))).kind(Kind::TextNote).limit(50)),
        ),
        (
            "an article: author, kind 30023, #d",
            Box::new(|dice| {
                Filter::new()
                    .authors(follows(dice, 1))
                    .kind(Kind::LongFormTextNote)
                    .identifier(format!("post-{}", dice.below(1_000)))
            }),
        ),
    ];
    for (name, make) in filters {
        let (mut times, mut given) = (Vec::new(), 0);
        for _ in 0..ASKED {
            let filter = make(&mut dice);
            let began = Instant::now();
            given += archive.page(&filter, VIEW, None, filter.limit.unwrap_or(500)).await?.len();
            times.push(began.elapsed());
        }
        show(name, times, Some(given));
    }
    let counts: Vec<(&str, Filter)> = vec![
        ("count of everything", Filter::new()),
        ("count of kind 1", Filter::new().kind(Kind::TextNote)),
        ("count of a frequent author's kind 7", Filter::new().author(authors[0].public_key()).kind(Kind::Reaction)),
        ("count of a frequent #p", Filter::new().pubkey(authors[0].public_key())),
    ];
    for (name, filter) in counts {
        let mut times = Vec::new();
        for _ in 0..20 {
            let began = Instant::now();
            archive.count(std::slice::from_ref(&filter), VIEW, &[]).await?;
            times.push(began.elapsed());
        }
        show(name, times, None);
    }
    for view in ["events_statistics", "relays_statistics", "kind_counts_total", "relay_metadata_latest"] {
        let mut times = Vec::new();
        for _ in 0..20 {
            let (sender, mut rows) = tokio::sync::mpsc::channel(100_000);
            let began = Instant::now();
            archive.sql(&format!("select * from {view}"), sender).await?;
            while rows.recv().await.is_some() {}
            times.push(began.elapsed());
        }
        show(&format!("the view {view}"), times, None);
    }
    let (sender, mut rows) = tokio::sync::mpsc::channel(100_000);
    let began = Instant::now();
    archive.sql("select * from pubkey_counts_total order by events desc limit 100", sender).await?;
    while rows.recv().await.is_some() {}
    show("the view pubkey_counts_total, the 100 busiest", vec![began.elapsed()], None);
    let began = Instant::now();
    let n = archive.ids(&Filter::new(), View::All).await?.len();
    show("all ids, for NIP-77", vec![began.elapsed()], Some(n));
    Ok(())
}

fn show(name: &str, mut times: Vec<Duration>, given: Option<usize>) {
    times.sort_unstable();
    let ms = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1e3);
    let given = given.map_or_else(String::new, |given| format!("{:.1}", given as f64 / times.len() as f64));
    println!("{name:<58}{:>10}{:>10}{given:>8}", ms(times[times.len() / 2]), ms(times[times.len() * 99 / 100]));
}
