//! Compares the totals with a count of the rows.

use std::sync::Arc;

use brotr_storage::Archive;

/// Asserts that the totals are those of the rows.
pub(crate) async fn exact(archive: &Arc<dyn Archive>) {
    let sightings = match archive.backend() {
        "SQLite" => "select relay, count(*) as n from sighting group by relay",
        _ => "select relay, sum(cardinality(events)) as n from sighting group by relay",
    };
    let authors = match archive.backend() {
        "SQLite" => {
            "(select k, author.events + coalesce(r.events, 0) as events, author.kinds + coalesce(r.kinds, 0) as kinds \
             from author left join recent_author r on r.author = k) a"
        }
        _ => "author",
    };
    // Not kept where the archive is distributed.
    let is_kept = if archive.backend() == "SQLite" { "1 = 1" } else { "to_regclass('pair') is null" };
    let hidden = format!(
        "select kind, hidden from kind where {is_kept} and hidden <> (select count(*) from event e \
         where e.kind = kind.kind and exists (select 1 from hidden h where h.event = e.k and h.since = 0))"
    );
    let wrong = [
        hidden,
        "select * from archive where events <> (select count(*) from event)".to_owned(),
        "select * from archive where pubkeys <> (select count(distinct author) from event)".to_owned(),
        format!("select * from archive where sightings <> (select sum(n) from ({sightings}) s)"),
        format!(
            "select * from relay left join ({sightings}) s on s.relay = relay.k where relay.events <> coalesce(n, 0)"
        ),
        "select kind, events, pubkeys from kind where events + pubkeys <> 0 \
         except select kind, count(*), count(distinct author) from event group by kind"
            .to_owned(),
        "select kind, count(*), count(distinct author) from event group by kind \
         except select kind, events, pubkeys from kind"
            .to_owned(),
        format!(
            "select k, events, kinds from {authors} where events + kinds <> 0 \
             except select author, count(*), count(distinct kind) from event group by author"
        ),
        format!(
            "select author, count(*), count(distinct kind) from event group by author \
             except select k, events, kinds from {authors}"
        ),
        "select count(*) from event group by id having count(*) > 1".to_owned(),
    ];
    for sql in wrong {
        let (sender, mut rows) = tokio::sync::mpsc::channel(10_000);
        archive.sql(&sql, sender).await.expect(&sql);
        let _names = rows.recv().await;
        assert_eq!(rows.recv().await, None, "{sql}");
    }
}
