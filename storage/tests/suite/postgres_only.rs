//! What only PostgreSQL could get wrong.

use super::*;

async fn opened(server: &brotr_tests::Postgres, name: &str) -> (Arc<dyn Archive>, String) {
    let url = server.database(name).expect("a database");
    (open(&url, Options::default()).await.expect("opened"), url)
}

#[tokio::test(flavor = "multi_thread")]
async fn known_relays_take_no_numbers() {
    let server = brotr_tests::Postgres::start().expect("PostgreSQL started");
    let (archive, url) = opened(&server, "numbers").await;
    let relays = [(RELAY.to_owned(), Network::Clearnet)];
    let check = |at| CheckRecord { at, nip11: Some("{}".into()), ..CheckRecord::default() };
    archive.store(batch(vec![])).await.expect("stored");
    archive.record_check((RELAY, Network::Clearnet), &check(0)).await.expect("kept");
    let taken = "select string_agg(sequencename || '=' || coalesce(last_value, 0), ' ' order by sequencename) from pg_sequences \
                 where sequencename in ('relay_k_seq', 'document_k_seq', 'author_k_seq')";
    let before = shell(&url, taken);
    for n in 1..=334 {
        archive.store(batch(vec![])).await.expect("stored");
        archive.record_check((RELAY, Network::Clearnet), &check(n)).await.expect("kept");
        assert_eq!(archive.add_relays(&relays, n).await.expect("added"), 0);
    }
    assert_eq!(shell(&url, taken), before);
    // And there is room beyond 31 bits.
    shell(
        &url,
        "alter table relay alter column k restart with 3000000000; alter table document alter column k restart with 3000000000",
    );
    let late = "wss://late.example/";
    let other = CheckRecord { nip11: Some("{\"name\":\"late\"}".into()), nip66: "{\"late\":1}".into(), ..check(5) };
    archive.record_check((late, Network::Clearnet), &other).await.expect("kept");
    archive
        .store(Batch { relay: Some((late.into(), Network::Clearnet)), ..batch(vec![event("late", vec![], 1)]) })
        .await
        .expect("stored");
    assert_eq!(archive.documents(late).await.expect("documents").len(), 2);
    assert_eq!(archive.visits(late, 0, 9).await.expect("visits").len(), 1);
    archive.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_sort_by_their_bytes() {
    let server = brotr_tests::Postgres::start().expect("PostgreSQL started");
    let maintenance = server.url("postgres");
    shell(
        &maintenance,
        "create database sorted template template0 encoding 'UTF8' locale_provider icu icu_locale 'en' locale 'C'",
    );
    let archive = open(&server.url("sorted"), Options::default()).await.expect("opened");
    // A language would pass over the punctuation.
    let sorted =
        ["wss://a-z.example/", "wss://a.b.example/", "wss://a.example/", "wss://a_.example/", "wss://ab.example/"];
    let relays: Vec<_> = sorted.iter().rev().map(|url| (url.to_string(), Network::Clearnet)).collect();
    archive.add_relays(&relays, 1).await.expect("added");
    let query = RelayQuery { limit: 3, ..RelayQuery::default() };
    let page = archive.relays(&query).await.expect("listed");
    let next = RelayQuery { after: Some(page[2].url.clone()), ..query };
    let rest = archive.relays(&next).await.expect("listed");
    assert_eq!(page.iter().chain(&rest).map(|relay| relay.url.as_str()).collect::<Vec<_>>(), sorted);
    archive.close().await;
}
