//! Whether the totals that are kept up are those that are there.

use std::sync::Arc;

use brotr_storage::Archive;

/// The totals against a count of the rows.
pub(crate) async fn exact(archive: &Arc<dyn Archive>) {
    let sightings = match archive.backend() {
        "SQLite" => "select relay, count(*) as n from sighting group by relay",
        _ => "select relay, sum(cardinality(events)) as n from sighting group by relay",
    };
    let wrong = [
        "select * from archive where events <> (select count(*) from event)".to_owned(),
        "select * from archive where pubkeys <> (select count(distinct author) from event)".to_owned(),
        format!("select * from archive where sightings <> (select sum(n) from ({sightings}) s)"),
        format!(
            "select * from relay left join ({sightings}) s on s.relay = relay.k where relay.events <> coalesce(n, 0)"
        ),
        "select * from kind k where events <> (select count(*) from event e where e.kind = k.kind) \
         or pubkeys <> (select count(distinct author) from event e where e.kind = k.kind)"
            .to_owned(),
        "select * from author a where events <> (select count(*) from event e where e.author = a.k) \
         or kinds <> (select count(distinct kind) from event e where e.author = a.k)"
            .to_owned(),
        "select count(*) from event group by id having count(*) > 1".to_owned(),
    ];
    for sql in wrong {
        let (sender, mut rows) = tokio::sync::mpsc::channel(10_000);
        archive.sql(&sql, sender).await.expect(&sql);
        let _names = rows.recv().await;
        assert_eq!(rows.recv().await, None, "{sql}");
    }
}
