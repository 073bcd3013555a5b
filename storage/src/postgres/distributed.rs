//! The archive on several servers (Citus): events, their texts and what hides them are distributed by the first 64 bits of the
//! id, sightings by relay; small tables stay on the coordinator.

use sqlx::PgConnection;

use crate::StorageError;
use crate::query::postgres;

/// Distributes the tables. `pair` has the kinds of each author, which would have to be looked up on all servers. Views that
/// join tables which are no longer together are replaced.
const DISTRIBUTE: &str = "
drop view events_relays;
drop view events_relays_lost;
alter table sighting drop constraint if exists sighting_relay_fkey;
alter table lost drop constraint if exists lost_relay_fkey;
create table if not exists pair (author integer, kind integer, primary key (author, kind));
insert into pair select distinct author, kind from event on conflict do nothing;
select create_distributed_table('event', 'k');
select create_distributed_table('search', 'event', colocate_with => 'event');
select create_distributed_table('hidden', 'event', colocate_with => 'event');
select create_distributed_table('lost', 'event', colocate_with => 'event');
select create_distributed_table('sighting', 'relay', colocate_with => 'none');
create view events_relays as
with held as materialized
       (select sighting.relay, relay.url, seen_at, unnest(sighting.events) as k from sighting join relay on relay.k = sighting.relay)
select event.id as event_id, held.url as relay_url, held.seen_at from event join held on held.k = event.k;
create view events_relays_lost as
with held as materialized
       (select relay, unnest(events) as k from sighting where events && (select array_agg(event) from lost)),
     gone as materialized
       (select event.id, lost.event as k, lost.relay, lost.seen_at, lost.missed_at from lost join event on event.k = lost.event)
select gone.id as event_id, relay.url as relay_url, gone.seen_at, gone.missed_at
  from gone join relay on relay.k = gone.relay
 where not exists (select 1 from held where held.k = gone.k and held.relay = gone.relay);
";

/// Returns true if the archive is distributed; `None` if it is to be.
pub(super) async fn is_distributed(connection: &mut PgConnection) -> Result<Option<bool>, StorageError> {
    let citus: bool = sqlx::query_scalar(postgres!("citus_is_installed")).fetch_one(&mut *connection).await?;
    if !citus {
        return Ok(Some(false));
    }
    let done: bool =
        sqlx::query_scalar("select exists (select 1 from pg_dist_partition where logicalrelid = 'event'::regclass)")
            .fetch_one(connection)
            .await?;
    Ok(done.then_some(true))
}

/// Distributes the tables if Citus is installed and they are not distributed yet.
pub(super) async fn distribute(connection: &mut PgConnection) -> Result<(), StorageError> {
    if is_distributed(connection).await?.is_none() {
        sqlx::raw_sql(DISTRIBUTE).execute(connection).await?;
    }
    Ok(())
}
