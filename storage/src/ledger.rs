//! The statements that SQLite and PostgreSQL read alike, written once.
//!
//! sqlx has a type for each backend and no way to be generic over both that does not cost more than it saves, so
//! this is a macro: `ledger!(SqliteArchive, sqlx::SqliteConnection)` implements [`crate::Ledger`] for a backend that has
//! `reader()` (a pool), `begin()` (a transaction that may write) and `close_pools()`.

use nostr::{EventId, PublicKey};
use sha2::{Digest, Sha256};

use crate::rows::{CoverageReport, Covered, Gap, Job, Relay};
use crate::{Interval, StorageError};

/// The content hash under which a document is kept.
pub(crate) fn document_id(data: &str) -> Vec<u8> {
    Sha256::digest(data).to_vec()
}

pub(crate) fn event_id(bytes: &[u8]) -> Result<EventId, StorageError> {
    EventId::from_slice(bytes).map_err(|e| StorageError::Damaged { what: "event id", detail: e.to_string() })
}

pub(crate) fn public_key(bytes: &[u8]) -> Result<PublicKey, StorageError> {
    PublicKey::from_slice(bytes).map_err(|e| StorageError::Damaged { what: "public key", detail: e.to_string() })
}

pub(crate) fn interval(since: i64, until: i64) -> Result<Interval, StorageError> {
    Interval::new(since, until)
        .ok_or_else(|| StorageError::Damaged { what: "interval", detail: format!("{since} to {until}") })
}

pub(crate) type RelayRow = (String, String, String, i64, Option<i64>, i64);

pub(crate) fn relay(row: RelayRow) -> Result<Relay, StorageError> {
    let (url, network, state, discovered_at, checked_at, failures) = row;
    Ok(Relay { url, network: network.parse()?, state: state.parse()?, discovered_at, checked_at, failures })
}

pub(crate) type JobRow = (Vec<u8>, i64, Vec<u8>, String, i64, String);

pub(crate) fn job(row: JobRow) -> Result<Job, StorageError> {
    let (id, kind, customer, request, received_at, status) = row;
    Ok(Job {
        id: event_id(&id)?,
        kind: u16::try_from(kind).map_err(|_| StorageError::Damaged { what: "job kind", detail: kind.to_string() })?,
        customer: public_key(&customer)?,
        request,
        received_at,
        status: status.parse()?,
    })
}

pub(crate) type CoveredRow = (String, String, i64, i64, String, i64);
pub(crate) type GapRow = (String, String, i64, i64, String, Option<i64>, i64);

/// Gathers rows, each in order of relay, filter and time, into a report for each relay and filter.
pub(crate) fn coverage_reports(
    covered: Vec<CoveredRow>,
    gaps: Vec<GapRow>,
) -> Result<Vec<CoverageReport>, StorageError> {
    let mut reports = std::collections::BTreeMap::new();
    let new = |(relay, filter): (String, String)| CoverageReport { relay, filter, covered: vec![], gaps: vec![] };
    for (relay, filter, since, until, method, proven_at) in covered {
        let key = (relay, filter);
        reports.entry(key.clone()).or_insert_with(|| new(key)).covered.push(Covered {
            interval: interval(since, until)?,
            method: method.parse()?,
            proven_at,
        });
    }
    for (relay, filter, since, until, reason, count, tried_at) in gaps {
        let key = (relay, filter);
        reports.entry(key.clone()).or_insert_with(|| new(key)).gaps.push(Gap {
            interval: interval(since, until)?,
            reason: reason.parse()?,
            count,
            tried_at,
        });
    }
    Ok(reports.into_values().collect())
}

/// Implements `Ledger` for a backend, and the two steps of `Events::store` that both do alike.
macro_rules! ledger {
    ($backend:ty, $connection:ty) => {
        /// The surrogate of a relay, which is added when it is not known.
        async fn relay_key(
            connection: &mut $connection,
            url: &str,
            network: $crate::Network,
            now: i64,
        ) -> Result<i64, $crate::StorageError> {
            sqlx::query(
                "insert into relay (url, network, discovered_at, check_due_at, sync_due_at) values ($1, $2, $3, $3, $3) \
                 on conflict (url) do nothing",
            )
            .bind(url)
            .bind(network.as_str())
            .bind(now)
            .execute(&mut *connection)
            .await?;
            Ok(sqlx::query_scalar("select k from relay where url = $1").bind(url).fetch_one(connection).await?)
        }

        /// Writes what a batch proves and what it could not prove. A claim is merged with those it touches and
        /// takes its span out of the gaps; a gap replaces the gaps it overlaps.
        async fn write_claims(
            connection: &mut $connection,
            relay: i64,
            batch: &$crate::Batch,
        ) -> Result<(), $crate::StorageError> {
            for claim in &batch.covered {
                let (mut since, mut until, mut proven_at) =
                    (claim.interval.since, claim.interval.until, claim.proven_at);
                let touching: Vec<(i64, i64, i64)> = sqlx::query_as(
                    "delete from coverage where relay = $1 and filter = $2 and method = $3 and since <= $4 and until >= $5 \
                     returning since, until, proven_at",
                )
                .bind(relay)
                .bind(&batch.filter)
                .bind(claim.method.as_str())
                .bind(until.saturating_add(1))
                .bind(since.saturating_sub(1))
                .fetch_all(&mut *connection)
                .await?;
                for (s, u, at) in touching {
                    since = since.min(s);
                    until = until.max(u);
                    proven_at = proven_at.max(at);
                }
                sqlx::query("insert into coverage (relay, filter, since, until, method, proven_at) values ($1, $2, $3, $4, $5, $6)")
                    .bind(relay)
                    .bind(&batch.filter)
                    .bind(since)
                    .bind(until)
                    .bind(claim.method.as_str())
                    .bind(proven_at)
                    .execute(&mut *connection)
                    .await?;
            }
            let spans = batch.covered.iter().map(|c| c.interval).chain(batch.gaps.iter().map(|g| g.interval));
            for span in spans {
                let cut: Vec<(i64, i64, String, Option<i64>, i64)> = sqlx::query_as(
                    "delete from gap where relay = $1 and filter = $2 and since <= $3 and until >= $4 returning since, until, reason, count, tried_at",
                )
                .bind(relay)
                .bind(&batch.filter)
                .bind(span.until)
                .bind(span.since)
                .fetch_all(&mut *connection)
                .await?;
                for (since, until, reason, count, tried_at) in cut {
                    for rest in $crate::ledger::interval(since, until)?.minus(span) {
                        write_gap(connection, relay, &batch.filter, (rest, &reason, count, tried_at)).await?;
                    }
                }
            }
            for gap in &batch.gaps {
                let row = (gap.interval, gap.reason.as_str(), gap.count, gap.tried_at);
                write_gap(connection, relay, &batch.filter, row).await?;
            }
            Ok(())
        }

        async fn write_gap(
            connection: &mut $connection,
            relay: i64,
            filter: &str,
            (interval, reason, count, tried_at): ($crate::Interval, &str, Option<i64>, i64),
        ) -> Result<(), $crate::StorageError> {
            sqlx::query("insert into gap (relay, filter, since, until, reason, count, tried_at) values ($1, $2, $3, $4, $5, $6, $7)")
                .bind(relay)
                .bind(filter)
                .bind(interval.since)
                .bind(interval.until)
                .bind(reason)
                .bind(count)
                .bind(tried_at)
                .execute(connection)
                .await?;
            Ok(())
        }

        async fn write_document(
            connection: &mut $connection,
            relay: i64,
            at: i64,
            kind: $crate::DocumentType,
            data: &str,
            rtt_ms: [Option<i64>; 3],
        ) -> Result<(), $crate::StorageError> {
            let id = $crate::ledger::document_id(data);
            sqlx::query("insert into document (id, type, data) values ($1, $2, $3) on conflict (id, type) do nothing")
                .bind(&id)
                .bind(kind.as_str())
                .bind(data)
                .execute(&mut *connection)
                .await?;
            sqlx::query(
                "insert into metadata (relay, generated_at, type, document, rtt_open_ms, rtt_read_ms, rtt_write_ms) \
                 values ($1, $2, $3, $4, $5, $6, $7) on conflict (relay, type, generated_at) do update set document = excluded.document, \
                 rtt_open_ms = excluded.rtt_open_ms, rtt_read_ms = excluded.rtt_read_ms, rtt_write_ms = excluded.rtt_write_ms",
            )
            .bind(relay)
            .bind(at)
            .bind(kind.as_str())
            .bind(&id)
            .bind(rtt_ms[0])
            .bind(rtt_ms[1])
            .bind(rtt_ms[2])
            .execute(connection)
            .await?;
            Ok(())
        }

        async fn write_outgoing(
            connection: &mut $connection,
            outgoing: &[$crate::Outgoing],
            now: i64,
        ) -> Result<(), $crate::StorageError> {
            for one in outgoing {
                if let Some(slot) = &one.slot {
                    // A newer version of what still waits takes its place.
                    sqlx::query("delete from outbox where relay = $1 and slot = $2 and due_at is not null and event <> $3")
                        .bind(&one.relay)
                        .bind(slot)
                        .bind(one.event.as_bytes().as_slice())
                        .execute(&mut *connection)
                        .await?;
                }
                sqlx::query(
                    "insert into outbox (event, relay, body, slot, queued_at, due_at) values ($1, $2, $3, $4, $5, $5) \
                     on conflict (event, relay) do nothing",
                )
                .bind(one.event.as_bytes().as_slice())
                .bind(&one.relay)
                .bind(&one.body)
                .bind(&one.slot)
                .bind(now)
                .execute(&mut *connection)
                .await?;
            }
            Ok(())
        }

        #[async_trait::async_trait]
        impl $crate::Ledger for $backend {
            async fn add_relays(&self, relays: &[(String, $crate::Network)], now: i64) -> Result<usize, $crate::StorageError> {
                // In order, so that two writers take their row locks in the same order.
                let mut relays: Vec<_> = relays.iter().collect();
                relays.sort_unstable();
                let mut added = 0;
                let mut tx = self.begin().await?;
                for (url, network) in relays {
                    let done = sqlx::query(
                        "insert into relay (url, network, discovered_at, check_due_at, sync_due_at) values ($1, $2, $3, $3, $3) \
                 on conflict (url) do nothing",
                    )
                    .bind(url)
                    .bind(network.as_str())
                    .bind(now)
                    .execute(&mut *tx)
                    .await?;
                    added += usize::try_from(done.rows_affected()).unwrap_or(0);
                }
                tx.commit().await?;
                Ok(added)
            }

            async fn relays(&self, query: &$crate::RelayQuery) -> Result<Vec<$crate::Relay>, $crate::StorageError> {
                let networks = query.networks.iter().map(|n| n.as_str()).collect::<Vec<_>>().join(" ");
                let states = query.states.iter().map(|s| s.as_str()).collect::<Vec<_>>().join(" ");
                let rows: Vec<$crate::ledger::RelayRow> = sqlx::query_as(
                    "select url, network, state, discovered_at, checked_at, failures from relay \
                     where url > $1 and ($2 = '' or ' ' || $2 || ' ' like '% ' || network || ' %') and ($6 = '' or ' ' || $6 || ' ' like '% ' || state || ' %') \
                     and check_due_at <= $3 and sync_due_at <= $4 \
                     order by case $7 when 'check' then check_due_at when 'sync' then sync_due_at else 0 end, url limit $5",
                )
                .bind(query.after.as_deref().unwrap_or_default())
                .bind(networks)
                .bind(query.check_due.unwrap_or(i64::MAX))
                .bind(query.sync_due.unwrap_or(i64::MAX))
                .bind(query.limit)
                .bind(states)
                .bind(match (query.check_due, query.sync_due) {
                    (Some(_), _) => "check",
                    (None, Some(_)) => "sync",
                    (None, None) => "",
                })
                .fetch_all(self.reader())
                .await?;
                rows.into_iter().map($crate::ledger::relay).collect()
            }

            async fn relay(&self, url: &str) -> Result<Option<$crate::Relay>, $crate::StorageError> {
                let row: Option<$crate::ledger::RelayRow> = sqlx::query_as(
                    "select url, network, state, discovered_at, checked_at, failures from relay where url = $1",
                )
                .bind(url)
                .fetch_optional(self.reader())
                .await?;
                row.map($crate::ledger::relay).transpose()
            }

            async fn record_check(
                &self,
                (url, network): (&str, $crate::Network),
                check: &$crate::CheckRecord,
            ) -> Result<(), $crate::StorageError> {
                let mut tx = self.begin().await?;
                let relay = relay_key(&mut tx, url, network, check.at).await?;
                let state = if check.up { $crate::RelayState::Up } else { $crate::RelayState::Down };
                sqlx::query(
                    "update relay set state = $2, checked_at = $3, check_due_at = $4, \
                     failures = case when $2 = 'up' then 0 else failures + 1 end where k = $1",
                )
                .bind(relay)
                .bind(state.as_str())
                .bind(check.at)
                .bind(check.due_at)
                .execute(&mut *tx)
                .await?;
                if let Some(nip11) = &check.nip11 {
                    write_document(&mut tx, relay, check.at, $crate::DocumentType::Nip11, nip11, [None; 3]).await?;
                }
                write_document(&mut tx, relay, check.at, $crate::DocumentType::Nip66, &check.nip66, check.rtt_ms).await?;
                tx.commit().await?;
                Ok(())
            }

            async fn documents(&self, url: &str) -> Result<Vec<$crate::Document>, $crate::StorageError> {
                let rows: Vec<(String, i64, String, Option<i64>, Option<i64>, Option<i64>)> = sqlx::query_as(
                    "select m.type, m.generated_at, d.data, m.rtt_open_ms, m.rtt_read_ms, m.rtt_write_ms \
                     from relay_metadata_latest m join document d on d.id = m.metadata_id and d.type = m.type \
                     where m.relay_url = $1 order by m.type",
                )
                .bind(url)
                .fetch_all(self.reader())
                .await?;
                rows.into_iter()
                    .map(|(kind, generated_at, data, open, read, write)| {
                        Ok($crate::Document { kind: kind.parse()?, generated_at, data, rtt_ms: [open, read, write] })
                    })
                    .collect()
            }

            async fn set_sync_due(&self, url: &str, due_at: i64) -> Result<(), $crate::StorageError> {
                let mut tx = self.begin().await?;
                sqlx::query("update relay set sync_due_at = $2 where url = $1")
                    .bind(url)
                    .bind(due_at)
                    .execute(&mut *tx)
                    .await?;
                tx.commit().await?;
                Ok(())
            }

            async fn coverage(&self, url: Option<&str>) -> Result<Vec<$crate::CoverageReport>, $crate::StorageError> {
                let covered = sqlx::query_as(
                    "select relay.url, filter, since, until, method, proven_at from coverage \
                     join relay on relay.k = coverage.relay where $1 = '' or relay.url = $1 order by relay.url, filter, since",
                )
                .bind(url.unwrap_or_default())
                .fetch_all(self.reader())
                .await?;
                let gaps = sqlx::query_as(
                    "select relay.url, filter, since, until, reason, count, tried_at from gap \
                     join relay on relay.k = gap.relay where $1 = '' or relay.url = $1 order by relay.url, filter, since",
                )
                .bind(url.unwrap_or_default())
                .fetch_all(self.reader())
                .await?;
                $crate::ledger::coverage_reports(covered, gaps)
            }

            async fn state(&self, service: &str, kind: &str, key: &str) -> Result<Option<String>, $crate::StorageError> {
                Ok(sqlx::query_scalar(
                    "select state_value from service_state where service_name = $1 and state_type = $2 and state_key = $3",
                )
                .bind(service)
                .bind(kind)
                .bind(key)
                .fetch_optional(self.reader())
                .await?)
            }

            async fn set_state(&self, service: &str, kind: &str, key: &str, value: &str) -> Result<(), $crate::StorageError> {
                let mut tx = self.begin().await?;
                sqlx::query(
                    "insert into service_state (service_name, state_type, state_key, state_value) values ($1, $2, $3, $4) \
                     on conflict (service_name, state_type, state_key) do update set state_value = excluded.state_value",
                )
                .bind(service)
                .bind(kind)
                .bind(key)
                .bind(value)
                .execute(&mut *tx)
                .await?;
                tx.commit().await?;
                Ok(())
            }

            async fn accept_job(&self, job: &$crate::Job) -> Result<bool, $crate::StorageError> {
                let mut tx = self.begin().await?;
                let done = sqlx::query(
                    "insert into job (id, kind, customer, request, received_at, status) values ($1, $2, $3, $4, $5, $6) on conflict (id) do nothing",
                )
                .bind(job.id.as_bytes().as_slice())
                .bind(i64::from(job.kind))
                .bind(job.customer.to_bytes().as_slice())
                .bind(&job.request)
                .bind(job.received_at)
                .bind(job.status.as_str())
                .execute(&mut *tx)
                .await?;
                tx.commit().await?;
                Ok(done.rows_affected() == 1)
            }

            async fn take_job(&self) -> Result<Option<$crate::Job>, $crate::StorageError> {
                let mut tx = self.begin().await?;
                let row: Option<$crate::ledger::JobRow> = sqlx::query_as(
                    "update job set status = 'working' where id = (select id from job where status = 'received' \
                     order by received_at, id limit 1) and status = 'received' \
                     returning id, kind, customer, request, received_at, status",
                )
                .fetch_optional(&mut *tx)
                .await?;
                tx.commit().await?;
                row.map($crate::ledger::job).transpose()
            }

            async fn put_back_jobs(&self) -> Result<u64, $crate::StorageError> {
                let mut tx = self.begin().await?;
                let done = sqlx::query("update job set status = 'received' where status = 'working'").execute(&mut *tx).await?;
                tx.commit().await?;
                Ok(done.rows_affected())
            }

            async fn end_job(
                &self,
                id: nostr::EventId,
                status: $crate::JobStatus,
                now: i64,
                answer: &[$crate::Outgoing],
            ) -> Result<bool, $crate::StorageError> {
                let mut tx = self.begin().await?;
                let done = sqlx::query("update job set status = $2, ended_at = $3 where id = $1 and status = 'working'")
                    .bind(id.as_bytes().as_slice())
                    .bind(status.as_str())
                    .bind(now)
                    .execute(&mut *tx)
                    .await?;
                let ended = done.rows_affected() == 1;
                if ended {
                    write_outgoing(&mut tx, answer, now).await?;
                }
                tx.commit().await?;
                Ok(ended)
            }

            async fn job(&self, id: nostr::EventId) -> Result<Option<$crate::Job>, $crate::StorageError> {
                let row: Option<$crate::ledger::JobRow> =
                    sqlx::query_as("select id, kind, customer, request, received_at, status from job where id = $1")
                        .bind(id.as_bytes().as_slice())
                        .fetch_optional(self.reader())
                        .await?;
                row.map($crate::ledger::job).transpose()
            }

            async fn enqueue(&self, outgoing: &[$crate::Outgoing], now: i64) -> Result<(), $crate::StorageError> {
                let mut tx = self.begin().await?;
                write_outgoing(&mut tx, outgoing, now).await?;
                tx.commit().await?;
                Ok(())
            }

            async fn due_relays(&self, now: i64) -> Result<Vec<String>, $crate::StorageError> {
                Ok(sqlx::query_scalar(
                    "select relay from outbox where due_at is not null and due_at <= $1 group by relay order by min(due_at)",
                )
                .bind(now)
                .fetch_all(self.reader())
                .await?)
            }

            async fn due_outgoing(&self, relay: &str, now: i64, limit: i64) -> Result<Vec<$crate::Outgoing>, $crate::StorageError> {
                let rows: Vec<(Vec<u8>, String, String, Option<String>, i64)> = sqlx::query_as(
                    "select event, relay, body, slot, attempts from outbox where relay = $1 and due_at is not null and due_at <= $2 \
                     order by k limit $3",
                )
                .bind(relay)
                .bind(now)
                .bind(limit)
                .fetch_all(self.reader())
                .await?;
                rows.into_iter()
                    .map(|(event, relay, body, slot, attempts)| {
                        Ok($crate::Outgoing { event: $crate::ledger::event_id(&event)?, relay, body, slot, attempts })
                    })
                    .collect()
            }

            async fn delivered(
                &self,
                outgoing: &$crate::Outgoing,
                delivery: &$crate::Delivery,
                now: i64,
            ) -> Result<(), $crate::StorageError> {
                let (sent_at, trouble, due_at) = match delivery {
                    $crate::Delivery::Accepted => (Some(now), None, None),
                    $crate::Delivery::Refused(reason) => (None, Some(reason.as_str()), None),
                    $crate::Delivery::Delayed { reason, due_at } => (None, Some(reason.as_str()), Some(*due_at)),
                };
                let mut tx = self.begin().await?;
                sqlx::query(
                    "update outbox set sent_at = $3, trouble = $4, due_at = $5, attempts = attempts + 1 where event = $1 and relay = $2",
                )
                .bind(outgoing.event.as_bytes().as_slice())
                .bind(&outgoing.relay)
                .bind(sent_at)
                .bind(trouble)
                .bind(due_at)
                .execute(&mut *tx)
                .await?;
                if let Some(due_at) = due_at {
                    // What holds up one event holds up those that wait behind it.
                    sqlx::query("update outbox set due_at = $2, attempts = attempts + 1 where relay = $1 and due_at < $2")
                        .bind(&outgoing.relay)
                        .bind(due_at)
                        .execute(&mut *tx)
                        .await?;
                }
                tx.commit().await?;
                Ok(())
            }

            async fn prune(&self, before: i64) -> Result<u64, $crate::StorageError> {
                let mut tx = self.begin().await?;
                let sent = sqlx::query("delete from outbox where queued_at < $1")
                    .bind(before)
                    .execute(&mut *tx)
                    .await?;
                let jobs = sqlx::query("delete from job where ended_at < $1").bind(before).execute(&mut *tx).await?;
                tx.commit().await?;
                Ok(sent.rows_affected() + jobs.rows_affected())
            }

            async fn ping(&self) -> Result<(), $crate::StorageError> {
                sqlx::query("select 1").execute(self.reader()).await?;
                Ok(())
            }

            async fn close(&self) {
                self.close_pools().await;
            }
        }
    };
}
pub(crate) use ledger;
