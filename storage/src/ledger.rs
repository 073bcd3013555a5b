//! Relays, documents, service state and the outbox: statements that SQLite and PostgreSQL read alike.

use std::collections::BTreeMap;

use async_trait::async_trait;
use brotr_core::{Network, RelayState};
use data_encoding::HEXLOWER;
use nostr::{EventId, PublicKey};
use sha2::{Digest, Sha256};

use crate::archive::Ledger;
use crate::database::{Database, Dialect, Row, Transaction, Value, args};
use crate::rows::{
    Aftermath, CheckRecord, CoverageReport, Deliveries, Delivery, Document, DocumentType, Lane, Lease, Outgoing,
    Overview, Progress, Relay, RelayQuery, Task, Visit,
};
use crate::{StorageError, claims, future};

type Result<T> = std::result::Result<T, StorageError>;

/// The content hash under which a document is kept.
fn document_id(data: &str) -> Vec<u8> {
    Sha256::digest(data).to_vec()
}

pub(crate) fn event_id(bytes: &[u8]) -> Result<EventId> {
    EventId::from_slice(bytes).map_err(|e| StorageError::Damaged { what: "event id", detail: e.to_string() })
}

pub(crate) fn public_key(bytes: &[u8]) -> Result<PublicKey> {
    PublicKey::from_slice(bytes).map_err(|e| StorageError::Damaged { what: "public key", detail: e.to_string() })
}

/// Which relays a query asks for, by the values of [`relay_args`].
macro_rules! relays_where {
    () => {
        "where url > $1 and ($2 = '' or ' ' || $2 || ' ' like '% ' || network || ' %') \
         and ($6 = '' or ' ' || $6 || ' ' like '% ' || state || ' %') and check_due_at <= $3 and sync_due_at <= $4 \
         and url like '%' || $7 || '%' escape '!' "
    };
}

/// Now, as the database has it.
macro_rules! sqlite_clock {
    () => {
        "unixepoch()"
    };
}
macro_rules! postgres_clock {
    () => {
        "cast(floor(extract(epoch from now())) as bigint)"
    };
}

/// Claims relays that are due and not leased by another holder. `$lock` follows the query that picks them.
macro_rules! claim {
    ($task:literal, $clock:expr, $lock:literal) => {
        concat!(
            "update relay set ",
            $task,
            "_lease = ",
            $clock,
            " + cast($9 as bigint), ",
            $task,
            "_by = $8 \
             where k in (select k from relay ",
            relays_where!(),
            "and ",
            $task,
            "_due_at <= ",
            $clock,
            " and ",
            $task,
            "_lease <= ",
            $clock,
            " order by ",
            $task,
            "_due_at, url limit $5",
            $lock,
            ") returning url, network, state, discovered_at, checked_at, failures"
        )
    };
}

macro_rules! renew {
    ($task:literal, $clock:expr) => {
        concat!(
            "update relay set ",
            $task,
            "_lease = ",
            $clock,
            " + cast($3 as bigint) where url = $1 and ",
            $task,
            "_by = $2 and ",
            $task,
            "_lease > 0"
        )
    };
}

macro_rules! lead {
    ($clock:expr) => {
        concat!(
            "insert into lease (name, holder, until) values ($1, $2, ",
            $clock,
            " + cast($3 as bigint)) \
             on conflict (name) do update set holder = excluded.holder, until = excluded.until \
             where lease.holder = excluded.holder or lease.until <= ",
            $clock
        )
    };
}

/// The same with the order in which they are listed.
fn listed_args(query: &RelayQuery) -> Vec<Value> {
    let order = match (query.check_due, query.sync_due) {
        (Some(_), _) => "check",
        (None, Some(_)) => "sync",
        (None, None) => "",
    };
    let mut listed = relay_args(query);
    listed.extend(args![order]);
    listed
}

fn relay_args(query: &RelayQuery) -> Vec<Value> {
    let networks = query.networks.iter().map(|n| n.as_str()).collect::<Vec<_>>().join(" ");
    let states = query.states.iter().map(|s| s.as_str()).collect::<Vec<_>>().join(" ");
    // No address holds NUL: none contains it, and what sorts after an address with one sorts after the part before it.
    let contains: String = query
        .contains
        .replace('\0', "\u{FFFD}")
        .chars()
        .flat_map(|c| ['!'].into_iter().filter(move |_| "!%_".contains(c)).chain([c]))
        .collect();
    let after = query.after.as_deref().unwrap_or_default().split('\0').next();
    args![
        after.unwrap_or_default(),
        networks,
        query.check_due.unwrap_or(i64::MAX),
        query.sync_due.unwrap_or(i64::MAX),
        query.limit,
        states,
        contains
    ]
}

fn relay(row: &Row) -> Result<Relay> {
    Ok(Relay {
        url: row.text(0)?,
        network: row.text(1)?.parse()?,
        state: row.text(2)?.parse()?,
        discovered_at: row.int(3)?,
        checked_at: row.opt_int(4)?,
        failures: row.int(5)?,
    })
}

/// Forgets in which order events arrived before `$1`, as far as the finder has read them: it is the only reader that goes on
/// from where it was after a restart. Its cursor counts a million places for each arrival.
const FORGET_ARRIVALS: &str = "delete from arrival where at < $1 and n < (select cast(state_value as bigint) / 1048576 \
    from service_state where service_name = 'finder' and state_type = 'cursor' and state_key = 'events' \
    and state_value ~ '^[0-9]{1,18}$')";

/// Locks all relays, or those that a holder claimed, in the order of their numbers. Every transaction that writes several
/// does so: two that lock the same rows in different orders wait for each other. SQLite has one writer.
pub(crate) async fn lock_relays(tx: &mut dyn Transaction, holder: Option<i64>) -> Result<()> {
    if let Dialect::Postgres = tx.dialect() {
        let sql = "select k from relay where cast($1 as bigint) is null or check_by = $1 or sync_by = $1 order by k \
                   for no key update";
        tx.rows(sql, args![holder]).await?;
    }
    Ok(())
}

/// Returns the number of a relay, which is added if it is not known.
///
/// An insert comes only after the relay was looked up in vain: on PostgreSQL each takes a number from the sequence, even one
/// that finds the relay there.
pub(crate) async fn relay_key(tx: &mut dyn Transaction, url: &str, network: Network, now: i64) -> Result<i64> {
    let find = "select k from relay where url = $1";
    if let Some(row) = tx.rows(find, args![url]).await?.first() {
        return row.int(0);
    }
    add_relay(tx, url, network, now).await?;
    let rows = tx.rows(find, args![url]).await?;
    rows.first().ok_or(StorageError::Damaged { what: "relay", detail: url.to_owned() })?.int(0)
}

async fn add_relay(tx: &mut dyn Transaction, url: &str, network: Network, now: i64) -> Result<u64> {
    tx.execute(
        "insert into relay (url, network, discovered_at, check_due_at, sync_due_at) select $1, $2, $3, $3, $3 \
         where not exists (select 1 from relay where url = $1) on conflict (url) do nothing",
        args![url, network.as_str(), now],
    )
    .await
}

/// Returns the number of a document, which is added if it is not known.
///
/// On PostgreSQL it stays locked until the transaction that refers to it ends, so that nobody forgets it meanwhile.
async fn document_key(tx: &mut dyn Transaction, kind: DocumentType, data: &str) -> Result<i64> {
    let id = document_id(data);
    let find = match tx.dialect() {
        Dialect::Sqlite => "select k from document where id = $1 and type = $2",
        Dialect::Postgres => "select k from document where id = $1 and type = $2 for key share",
    };
    let found = tx.rows(find, args![id.as_slice(), kind.as_str()]).await?;
    if let Some(row) = found.first() {
        return row.int(0);
    }
    tx.execute(
        "insert into document (id, type, data) values ($1, $2, $3) on conflict (id, type) do nothing",
        args![id.as_slice(), kind.as_str(), data],
    )
    .await?;
    let found = tx.rows(find, args![id.as_slice(), kind.as_str()]).await?;
    found.first().ok_or(StorageError::Damaged { what: "document", detail: HEXLOWER.encode(&id) })?.int(0)
}

pub(crate) async fn write_outgoing(tx: &mut dyn Transaction, outgoing: &[Outgoing], now: i64) -> Result<()> {
    for one in outgoing {
        let event = one.event.as_bytes().as_slice();
        if let Some(slot) = &one.slot {
            // A newer version of what still waits takes its place.
            tx.execute(
                "delete from outbox where relay = $1 and slot = $2 and due_at is not null and event <> $3",
                args![&one.relay, slot, event],
            )
            .await?;
        }
        tx.execute(
            "insert into outbox (event, relay, body, slot, queued_at, due_at, rank) values ($1, $2, $3, $4, $5, $5, $6) \
             on conflict (event, relay) do nothing",
            args![event, &one.relay, &one.body, one.slot.as_deref(), now, one.rank],
        )
        .await?;
    }
    Ok(())
}

async fn write_state(tx: &mut dyn Transaction, [service, kind, key, value]: [&str; 4]) -> Result<()> {
    tx.execute(
        "insert into service_state (service_name, state_type, state_key, state_value) values ($1, $2, $3, $4) \
         on conflict (service_name, state_type, state_key) do update set state_value = excluded.state_value",
        args![service, kind, key, value],
    )
    .await?;
    Ok(())
}

async fn write_aftermath(tx: &mut dyn Transaction, aftermath: &Aftermath, now: i64) -> Result<()> {
    for state in &aftermath.states {
        write_state(tx, [state.service, state.kind, &state.key, &state.value]).await?;
    }
    write_outgoing(tx, &aftermath.outgoing, now).await
}

#[async_trait]
impl<D: Database> Ledger for D {
    async fn add_relays(&self, relays: &[(String, Network)], now: i64) -> Result<usize> {
        // In order, so that two writers take their row locks in the same order.
        let mut relays: Vec<_> = relays.iter().collect();
        relays.sort_unstable();
        let mut added = 0;
        let mut tx = self.begin().await?;
        for (url, network) in relays {
            added += add_relay(tx.as_mut(), url, *network, now).await?;
        }
        tx.commit().await?;
        Ok(usize::try_from(added).unwrap_or(usize::MAX))
    }

    async fn relays(&self, query: &RelayQuery) -> Result<Vec<Relay>> {
        let sql = concat!(
            "select url, network, state, discovered_at, checked_at, failures from relay ",
            relays_where!(),
            "order by case $8 when 'check' then check_due_at when 'sync' then sync_due_at else 0 end, url limit $5"
        );
        self.rows(sql, listed_args(query)).await?.iter().map(relay).collect()
    }

    async fn overview(&self, query: &RelayQuery) -> Result<Vec<Overview>> {
        let sql = concat!(
            "select url, network, state, discovered_at, checked_at, failures, visit.rtt_open_ms, visit.rtt_read_ms, \
             visit.rtt_write_ms, document.data \
             from relay left join visit on visit.relay = relay.k and visit.at = relay.checked_at \
             left join document on document.k = visit.nip66 ",
            relays_where!(),
            "order by case $8 when 'check' then check_due_at when 'sync' then sync_due_at else 0 end, url limit $5"
        );
        let overview = |row: &Row| {
            let rtt_ms = [row.opt_int(6)?, row.opt_int(7)?, row.opt_int(8)?];
            Ok(Overview { relay: relay(row)?, rtt_ms, nip66: row.opt_text(9)? })
        };
        self.rows(sql, listed_args(query)).await?.iter().map(overview).collect()
    }

    async fn claim(&self, task: Task, query: &RelayQuery, lease: Lease) -> Result<Vec<Relay>> {
        let sql = match (task, self.dialect()) {
            (Task::Check, Dialect::Sqlite) => claim!("check", sqlite_clock!(), ""),
            (Task::Check, Dialect::Postgres) => claim!("check", postgres_clock!(), " for no key update skip locked"),
            (Task::Sync, Dialect::Sqlite) => claim!("sync", sqlite_clock!(), ""),
            (Task::Sync, Dialect::Postgres) => claim!("sync", postgres_clock!(), " for no key update skip locked"),
        };
        let mut args = relay_args(query);
        args.extend(args![lease.holder, lease.seconds]);
        let mut tx = self.begin().await?;
        let claimed = tx.rows(sql, args).await?;
        tx.commit().await?;
        claimed.iter().map(relay).collect()
    }

    async fn renew(&self, task: Task, url: &str, lease: Lease) -> Result<bool> {
        let sql = match (task, self.dialect()) {
            (Task::Check, Dialect::Sqlite) => renew!("check", sqlite_clock!()),
            (Task::Check, Dialect::Postgres) => renew!("check", postgres_clock!()),
            (Task::Sync, Dialect::Sqlite) => renew!("sync", sqlite_clock!()),
            (Task::Sync, Dialect::Postgres) => renew!("sync", postgres_clock!()),
        };
        let mut tx = self.begin().await?;
        let renewed = tx.execute(sql, args![url, lease.holder, lease.seconds]).await?;
        tx.commit().await?;
        Ok(renewed == 1)
    }

    async fn release(&self, task: Task, url: Option<&str>, holder: i64) -> Result<()> {
        let sql = match task {
            Task::Check => {
                "update relay set check_lease = 0 where check_by = $2 and check_lease > 0 and ($1 = '' or url = $1)"
            }
            Task::Sync => {
                "update relay set sync_lease = 0 where sync_by = $2 and sync_lease > 0 and ($1 = '' or url = $1)"
            }
        };
        let mut tx = self.begin().await?;
        if url.is_none() {
            lock_relays(tx.as_mut(), Some(holder)).await?;
        }
        tx.execute(sql, args![url.unwrap_or_default(), holder]).await?;
        tx.commit().await
    }

    async fn resign(&self, holder: i64) -> Result<()> {
        let mut tx = self.begin().await?;
        tx.execute("delete from lease where holder = $1", args![holder]).await?;
        tx.commit().await
    }

    async fn lead(&self, name: &str, lease: Lease) -> Result<bool> {
        let sql = match self.dialect() {
            Dialect::Sqlite => lead!(sqlite_clock!()),
            Dialect::Postgres => lead!(postgres_clock!()),
        };
        let mut tx = self.begin().await?;
        let led = tx.execute(sql, args![name, lease.holder, lease.seconds]).await?;
        tx.commit().await?;
        Ok(led == 1)
    }

    async fn relay(&self, url: &str) -> Result<Option<Relay>> {
        let rows = self
            .rows(
                "select url, network, state, discovered_at, checked_at, failures from relay where url = $1",
                args![url],
            )
            .await?;
        rows.first().map(relay).transpose()
    }

    async fn record_check(&self, (url, network): (&str, Network), check: &CheckRecord) -> Result<()> {
        let mut tx = self.begin().await?;
        let relay = relay_key(tx.as_mut(), url, network, check.at).await?;
        tx.execute(
            "update relay set state = $2, checked_at = $3, check_due_at = $4, check_lease = 0, \
             failures = case when $2 = 'down' then failures + 1 else 0 end where k = $1",
            args![relay, check.state.as_str(), check.at, check.due_at],
        )
        .await?;
        let nip11 = match &check.nip11 {
            Some(data) => Some(document_key(tx.as_mut(), DocumentType::Nip11, data).await?),
            None => None,
        };
        let nip66 = document_key(tx.as_mut(), DocumentType::Nip66, &check.nip66).await?;
        let up = i64::from(check.state != RelayState::Down);
        // Numbers are given as they are and made what the columns are, for PostgreSQL has several kinds.
        tx.execute(
            "insert into visit (relay, at, up, nip11, nip66, rtt_open_ms, rtt_read_ms, rtt_write_ms, dns_ttl) \
             values ($1, $2, $3 = 1, $4, $5, cast($6 as int), cast($7 as int), cast($8 as int), cast($9 as int)) \
             on conflict (relay, at) do update set up = excluded.up, nip11 = excluded.nip11, nip66 = excluded.nip66, \
             rtt_open_ms = excluded.rtt_open_ms, rtt_read_ms = excluded.rtt_read_ms, rtt_write_ms = excluded.rtt_write_ms, \
             dns_ttl = excluded.dns_ttl",
            args![relay, check.at, up, nip11, nip66, check.rtt_ms[0], check.rtt_ms[1], check.rtt_ms[2], check.dns_ttl],
        )
        .await?;
        write_aftermath(tx.as_mut(), &check.aftermath, check.at).await?;
        tx.commit().await
    }

    async fn set_check_due(&self, url: &str, due_at: i64) -> Result<()> {
        let mut tx = self.begin().await?;
        tx.execute("update relay set check_due_at = $2 where url = $1", args![url, due_at]).await?;
        tx.commit().await
    }

    async fn visits(&self, url: &str, since: i64, limit: i64) -> Result<Vec<Visit>> {
        let rows = self
            .rows(
                "select checked_at, up, rtt_open_ms, rtt_read_ms, rtt_write_ms from relay_checks \
                 where relay_url = $1 and checked_at >= $2 order by checked_at desc limit $3",
                args![url, since, limit],
            )
            .await?;
        let visit = |row: &Row| {
            Ok(Visit {
                at: row.int(0)?,
                up: row.int(1)? == 1,
                rtt_ms: [row.opt_int(2)?, row.opt_int(3)?, row.opt_int(4)?],
            })
        };
        rows.iter().map(visit).collect()
    }

    async fn forget_visits(&self, before: i64) -> Result<u64> {
        let mut tx = self.begin().await?;
        // The newest of each relay stays, and what it refers to.
        let gone = tx
            .execute(
                "delete from visit where at < $1 and at < (select max(v.at) from visit v where v.relay = visit.relay) \
                 and at <> (select coalesce(max(v.at), -1) from visit v where v.relay = visit.relay and v.nip11 is not null)",
                args![before],
            )
            .await?;
        if gone > 0 {
            if let Dialect::Postgres = tx.dialect() {
                // Waits for those who are about to refer to a document, and keeps others from it.
                tx.execute("lock table document in exclusive mode", args![]).await?;
            }
            tx.execute(
                "delete from document where k in (select k from document \
                 except select nip11 from visit except select nip66 from visit)",
                args![],
            )
            .await?;
        }
        tx.commit().await?;
        Ok(gone)
    }

    async fn deliveries(&self) -> Result<Vec<Deliveries>> {
        let rows = self
            .rows(
                "select relay, count(sent_at), count(*) - count(sent_at) - count(due_at), count(due_at), \
                 (select o.trouble from outbox o where o.relay = outbox.relay and o.trouble is not null order by o.k desc limit 1) \
                 from outbox group by relay order by relay",
                args![],
            )
            .await?;
        let one = |row: &Row| {
            Ok(Deliveries {
                relay: row.text(0)?,
                accepted: row.int(1)?,
                refused: row.int(2)?,
                waiting: row.int(3)?,
                trouble: row.opt_text(4)?,
            })
        };
        rows.iter().map(one).collect()
    }

    async fn documents(&self, url: &str) -> Result<Vec<Document>> {
        let rows = self
            .rows(
                "select m.type, m.generated_at, d.data, m.rtt_open_ms, m.rtt_read_ms, m.rtt_write_ms \
                 from relay_metadata_latest m join document d on d.id = m.metadata_id and d.type = m.type \
                 where m.relay_url = $1 order by m.type",
                args![url],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Document {
                    kind: row.text(0)?.parse()?,
                    generated_at: row.int(1)?,
                    data: row.text(2)?,
                    rtt_ms: [row.opt_int(3)?, row.opt_int(4)?, row.opt_int(5)?],
                })
            })
            .collect()
    }

    async fn set_sync_due(&self, url: &str, due_at: i64) -> Result<()> {
        let mut tx = self.begin().await?;
        tx.execute("update relay set sync_due_at = $2 where url = $1", args![url, due_at]).await?;
        tx.commit().await
    }

    async fn coverage(&self, url: Option<&str>) -> Result<Vec<CoverageReport>> {
        let url = url.unwrap_or_default();
        let covered = self
            .rows(
                "select relay.url, filter, since, until, method, proven_at from coverage \
                 join relay on relay.k = coverage.relay where $1 = '' or relay.url = $1 order by relay.url, filter, since",
                args![url],
            )
            .await?;
        let gaps = self
            .rows(
                "select relay.url, filter, since, until, reason, count, tried_at from gap \
                 join relay on relay.k = gap.relay where $1 = '' or relay.url = $1 order by relay.url, filter, since",
                args![url],
            )
            .await?;
        claims::reports(&covered, &gaps)
    }

    async fn progress(&self, now: i64) -> Result<Progress> {
        let rows = self
            .rows(
                "select (select count(distinct relay) from coverage), (select count(*) from gap), \
                 (select cast(avg(case when $1 > ends then $1 - ends else 0 end) as bigint) from \
                  (select max(until) as ends from coverage join relay on relay.k = coverage.relay \
                   where relay.state = 'up' group by coverage.relay) of_relay)",
                args![now],
            )
            .await?;
        let row = rows.first().ok_or(StorageError::Damaged { what: "count", detail: "none".into() })?;
        Ok(Progress { relays: row.int(0)?, gaps: row.int(1)?, lag: row.opt_int(2)? })
    }

    async fn clamp_future(&self, now: i64, longest_wait: i64) -> Result<u64> {
        // Several agents share a PostgreSQL database, and its clock.
        let now = match self.dialect() {
            Dialect::Sqlite => now,
            Dialect::Postgres => {
                let rows = self.rows(concat!("select ", postgres_clock!()), args![]).await?;
                now.max(rows.first().map_or(Ok(now), |row| row.int(0))?)
            }
        };
        if !future::is_marked(self, now, longest_wait).await? {
            return Ok(0);
        }
        let mut tx = self.begin().await?;
        lock_relays(tx.as_mut(), None).await?;
        let changed = future::clamp(tx.as_mut(), now, longest_wait).await?;
        tx.commit().await?;
        Ok(changed)
    }

    async fn state(&self, service: &str, kind: &str, key: &str) -> Result<Option<String>> {
        let rows = self
            .rows(
                "select state_value from service_state where service_name = $1 and state_type = $2 and state_key = $3",
                args![service, kind, key],
            )
            .await?;
        rows.first().map(|row| row.text(0)).transpose()
    }

    async fn states(&self, service: &str, kind: &str) -> Result<BTreeMap<String, String>> {
        let rows = self
            .rows(
                "select state_key, state_value from service_state where service_name = $1 and state_type = $2",
                args![service, kind],
            )
            .await?;
        rows.iter().map(|row| Ok((row.text(0)?, row.text(1)?))).collect()
    }

    async fn register_agent(&self, key: &PublicKey, now: i64) -> Result<()> {
        let sql = "insert into agent (pubkey, since, seen_at) values ($1, $2, $2) \
                   on conflict (pubkey) do update set seen_at = excluded.seen_at";
        let mut tx = self.begin().await?;
        tx.rows(sql, args![key.to_bytes().to_vec(), now]).await?;
        tx.commit().await
    }

    async fn set_state(&self, service: &str, kind: &str, key: &str, value: &str) -> Result<()> {
        let mut tx = self.begin().await?;
        write_state(tx.as_mut(), [service, kind, key, value]).await?;
        tx.commit().await
    }

    async fn enqueue(&self, outgoing: &[Outgoing], now: i64) -> Result<()> {
        let mut tx = self.begin().await?;
        write_outgoing(tx.as_mut(), outgoing, now).await?;
        tx.commit().await
    }

    async fn enqueue_with_state(&self, aftermath: &Aftermath, now: i64) -> Result<()> {
        let mut tx = self.begin().await?;
        write_aftermath(tx.as_mut(), aftermath, now).await?;
        tx.commit().await
    }

    async fn due_relays(&self, now: i64) -> Result<Vec<(String, Lane)>> {
        let rows = self
            .rows(
                "select relay, case when slot is null then 1 else 0 end as answers from outbox \
                 where due_at is not null and due_at <= $1 group by relay, case when slot is null then 1 else 0 end order by min(due_at)",
                args![now],
            )
            .await?;
        let place = |row: &Row| {
            let lane = if row.int(1)? == 1 { Lane::Answers } else { Lane::Versions };
            Ok((row.text(0)?, lane))
        };
        rows.iter().map(place).collect()
    }

    async fn due_outgoing(&self, relay: &str, lane: Lane, now: i64, limit: i64) -> Result<Vec<Outgoing>> {
        let rows = self
            .rows(
                "select event, relay, body, slot, attempts, rank from outbox \
                 where relay = $1 and due_at is not null and due_at <= $2 and (slot is null) = ($4 = 1) order by rank, k limit $3",
                args![relay, now, limit, i64::from(lane == Lane::Answers)],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Outgoing {
                    event: event_id(&row.bytes(0)?)?,
                    relay: row.text(1)?,
                    body: row.text(2)?,
                    slot: row.opt_text(3)?,
                    attempts: row.int(4)?,
                    rank: row.int(5)?,
                })
            })
            .collect()
    }

    async fn delivered(&self, ended: &[(Outgoing, Delivery)], now: i64) -> Result<()> {
        let mut tx = self.begin().await?;
        for (outgoing, delivery) in ended {
            let (sent_at, trouble, due_at) = match delivery {
                Delivery::Accepted => (Some(now), None, None),
                Delivery::Refused(reason) => (None, Some(reason.as_str()), None),
                Delivery::Postponed { reason, due_at } | Delivery::Delayed { reason, due_at } => {
                    (None, Some(reason.as_str()), Some(*due_at))
                }
            };
            tx.execute(
                "update outbox set sent_at = $3, trouble = $4, due_at = $5, attempts = attempts + 1 where event = $1 and relay = $2",
                args![outgoing.event.as_bytes().as_slice(), &outgoing.relay, sent_at, trouble, due_at],
            )
            .await?;
            if let Delivery::Delayed { due_at, .. } = delivery {
                // They were not tried themselves, and that is not counted.
                tx.execute(
                    "update outbox set due_at = $2 where relay = $1 and due_at < $2",
                    args![&outgoing.relay, *due_at],
                )
                .await?;
            }
        }
        tx.commit().await
    }

    async fn prune(&self, before: i64) -> Result<u64> {
        let mut tx = self.begin().await?;
        let queued = tx.execute("delete from outbox where queued_at < $1", args![before]).await?;
        let jobs = tx.execute("delete from job where ended_at < $1", args![before]).await?;
        if let Dialect::Postgres = tx.dialect() {
            tx.execute(FORGET_ARRIVALS, args![before]).await?;
        }
        tx.execute(
            "delete from invoice where expires_at < $1 and not exists (select 1 from job where job.id = invoice.job)",
            args![before],
        )
        .await?;
        tx.commit().await?;
        Ok(queued + jobs)
    }

    async fn ping(&self) -> Result<()> {
        self.rows("select 1", args![]).await?;
        Ok(())
    }

    async fn close(&self) {
        self.shut().await;
    }
}
