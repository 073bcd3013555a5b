//! What must hold after a simulation, compared with what the model knows.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use brotr::history::History;
use brotr_core::RelayState;
use brotr_storage::{Archive, RelayQuery, SqlRow, Visit};
use nostr::{EventId, Kind};

use crate::customers::Ask;
use crate::life::{CHECKED_EVERY, SYNCHRONIZED_EVERY};
use crate::world::{Away, BEGIN, Load, Relay, SETTLES, Story, calls, locked, true_now};

/// Around a moment, the time in which a relay's state may be seen either way: a check takes a while.
const BLUR: i64 = 150;

/// Returns what does not hold.
pub(crate) async fn all(story: &Story, archive: &Arc<dyn Archive>) -> Vec<String> {
    let mut broken = Vec::new();
    broken.extend(coverage(story, archive).await);
    broken.extend(visits(story, archive).await);
    broken.extend(jobs(story));
    broken.extend(publications(story));
    broken.extend(manners(story));
    broken.extend(clients(story, archive).await);
    broken.extend(bounds(story, archive).await);
    let integrity = ask(archive, "pragma integrity_check").await;
    if integrity != ["\"ok\""] {
        broken.push(format!("the database is not sound: {integrity:?}"));
    }
    crate::exact::exact(archive).await;
    broken
}

/// Runs a statement with one column.
async fn ask(archive: &Arc<dyn Archive>, sql: &str) -> Vec<String> {
    let (sender, mut rows) = tokio::sync::mpsc::channel::<SqlRow>(100);
    let read = async {
        let _names = rows.recv().await;
        let mut found = Vec::new();
        while let Some(row) = rows.recv().await {
            found.push(row[0].to_string());
        }
        found
    };
    let (asked, found) = tokio::join!(archive.sql(sql, sender), read);
    asked.expect(sql);
    found
}

/// Every event that a relay held is archived, or lies in a gap; no claim covers one that is missing, and none reaches into the
/// future.
async fn coverage(story: &Story, archive: &Arc<dyn Archive>) -> Vec<String> {
    let mut broken = Vec::new();
    let reports = archive.coverage(None).await.expect("read");
    let now = true_now();
    for relay in &story.world.relays {
        let reports: Vec<_> = reports.iter().filter(|report| report.relay == relay.url).collect();
        let held = locked(&relay.held).clone();
        let ids: Vec<EventId> = held.iter().map(|one| one.event.id).collect();
        let mut holders = HashMap::new();
        for ids in ids.chunks(500) {
            holders.extend(archive.holders(ids).await.expect("read"));
        }
        let has = |id: &EventId| holders.get(id).is_some_and(|urls| urls.contains(&relay.url));
        for claim in reports.iter().flat_map(|report| &report.covered) {
            if claim.interval.until > now || claim.proven_at > now {
                broken.push(format!("{}: {claim:?} reaches into the future ({now})", name(relay)));
            }
        }
        for one in held.iter().filter(|one| !has(&one.event.id)) {
            let at = one.event.created_at.as_secs().cast_signed();
            let within = |since: i64, until: i64| (since..=until).contains(&at);
            let claim = reports
                .iter()
                .flat_map(|report| &report.covered)
                .find(|claim| within(claim.interval.since, claim.interval.until));
            let in_gap = reports
                .iter()
                .flat_map(|report| &report.gaps)
                .any(|gap| within(gap.interval.since, gap.interval.until));
            let facts = format!(
                "{}: {} of {} (kind {}), held from {} until {:?}",
                name(relay),
                one.event.id,
                span_of(at),
                one.event.kind,
                span_of(one.from),
                one.until.map(span_of)
            );
            let punctual = one.from <= at + SETTLES;
            // One event per request is told from a complete second only once it was seen to be a cap.
            let alone = held.iter().filter(|other| other.event.created_at == one.event.created_at).count() == 1;
            let is_told = alone || !relay.manner.starts_with("SlowPages");
            if let Some(claim) = claim
                && punctual
                && is_told
                && one.until.is_none()
                && !relay.manner.starts_with("BadSignatures")
            {
                broken.push(format!("{facts}: is missing, and {claim:?} covers it"));
            }
            // The last hours are calm: a relay that is up then was synchronized since.
            let was_there = relay.settled_for() > 3 * HOUR && one.from < now - 3 * SYNCHRONIZED_EVERY;
            // Of a relay whose newest events are out of order, those that are not the newest are expected too.
            let orderly = relay.honest || (relay.manner.starts_with("Jitter") && at < BEGIN);
            if orderly && was_there && punctual && one.until.is_none() && !in_gap && at <= now - HOUR {
                broken.push(format!("{facts}: is neither archived nor in a gap"));
            }
        }
    }
    broken
}

const HOUR: i64 = 3_600;

/// No relay is recorded as down that was up, or as up that was down; and each is checked in time.
async fn visits(story: &Story, archive: &Arc<dyn Archive>) -> Vec<String> {
    let mut broken = Vec::new();
    let now = true_now();
    let query = RelayQuery { limit: 100_000, ..RelayQuery::default() };
    let known = archive.relays(&query).await.expect("read");
    for relay in &story.world.relays {
        let Some(row) = known.iter().find(|row| row.url == relay.url) else {
            broken.push(format!("{}: was never found", name(relay)));
            continue;
        };
        let mut visits = archive.visits(&relay.url, 0, 1_000_000).await.expect("read");
        visits.reverse();
        if let Some(late) = visits.iter().find(|visit| visit.at > now) {
            broken.push(format!("{}: was checked in the future: {late:?}", name(relay)));
        }
        if !relay.honest {
            continue;
        }
        for Visit { at, up, .. } in &visits {
            if relay.was(!up, at - BLUR, at + 30) {
                let (said, was) = if *up { ("up", "down") } else { ("down", "up") };
                broken.push(format!("{}: recorded as {said} at {}, but was {was}", name(relay), span_of(*at)));
            }
        }
        if relay.settled_for() > 3 * HOUR && row.state != RelayState::Up {
            broken.push(format!("{}: is {:?}, but has been up for hours", name(relay), row.state));
        }
        if let Some(alias) = &relay.alias
            && let Some(document) = relay.house.document()
            && relay.settled_for() > 3 * HOUR
        {
            let said = known.iter().find(|row| row.url == *alias);
            if said.is_none_or(|row| row.state != RelayState::Alias) {
                broken.push(format!("{alias}: is {said:?}, but is {} with {document}", relay.url));
            }
        }
        broken.extend(uptime(story, relay, &visits, now));
        broken.extend(resumed(story, relay, &visits));
        // Between two checks of a relay that stayed up there are two intervals at most, when the agent could work.
        let ends = visits.iter().map(|visit| (visit.at, visit.up)).chain([(now, true)]).collect::<Vec<_>>();
        for pair in ends.windows(2) {
            let ((from, up), (until, _)) = (pair[0], pair[1]);
            let idle = until - from - away(&story.away, from, until);
            if up && relay.was(true, from - 1, until) && idle > 2 * CHECKED_EVERY + BLUR {
                broken.push(format!("{}: was not checked from {} to {}", name(relay), span_of(from), span_of(until)));
            }
        }
    }
    broken
}

/// The uptime is within two points of the truth, and of what changed between two checks.
fn uptime(story: &Story, relay: &Relay, visits: &[Visit], now: i64) -> Option<String> {
    let first = visits.first()?.at;
    let newest_first: Vec<Visit> = visits.iter().rev().copied().collect();
    let said = History::of(&newest_first, now).uptime[3].1?;
    let (mut up, mut changes, mut since) = (0, 0, None);
    for (at, is_up) in locked(&relay.changes).iter().copied().chain([(now, false)]) {
        changes += i64::from(at > first);
        up += since.map_or(0, |since: i64| at - since.max(first)).max(0);
        since = is_up.then_some(at);
    }
    let length = (now - first).max(1);
    // Of a change while it could not work, the agent knows nothing; a relay that is down is checked less often.
    let blind = if changes > 1 {
        away(&story.away, first, now) + 4 * changes * CHECKED_EVERY + relay.noticed_late()
    } else {
        0
    };
    #[expect(clippy::cast_precision_loss, reason = "seconds of some years")]
    let (truth, blur) = (up as f64 / length as f64, 0.02 + blind as f64 / length as f64);
    let is_wrong = (said - truth).abs() > blur;
    is_wrong.then(|| format!("{}: uptime {said:.3}, in truth {truth:.3} (+-{blur:.3})", name(relay)))
}

/// A relay whose check was cut off by a short pause of the monitor is checked soon after it: before a lease would have ended.
fn resumed(story: &Story, relay: &Relay, visits: &[Visit]) -> Vec<String> {
    const SOON: i64 = 120;
    let late = |(place, pause): &&(usize, Away)| {
        let Away { from, until } = *pause;
        let is_calm = story.away.iter().all(|other| other.from > until + SOON || other.until + SOON < from);
        let was_up = relay.was(true, from - HOUR, until + SOON);
        let is_checked = visits.iter().any(|visit| (from - 30..=until + SOON).contains(&visit.at));
        // With a second URL, it may have been that one's check.
        let is_meant = story.world.relays[*place].url == relay.url && relay.alias.is_none();
        is_meant && is_calm && was_up && !is_checked
    };
    let say = |(_, pause): &(usize, Away)| {
        format!("{}: its check was cut off, and not repeated soon after {}", name(relay), span_of(pause.until))
    };
    story.cut_off.iter().filter(late).map(say).collect()
}

/// Returns for how much of a span the agent could not work, with the time it needs to recover.
fn away(spans: &[Away], from: i64, until: i64) -> i64 {
    spans.iter().map(|away| ((away.until + CHECKED_EVERY).min(until) - away.from.max(from)).max(0)).sum()
}

/// Seconds in which a job is answered: the default of `dvm.deadline`, and what it takes to send the answer.
const ANSWERED_IN: i64 = 30 + 30;
/// Seconds more after the agent could not work: it starts, and connects again.
const BACK_IN: i64 = 600;

/// Every request is answered once, in time if the agent could work when it came.
fn jobs(story: &Story) -> Vec<String> {
    let mut broken = Vec::new();
    let answers = locked(&story.answers);
    for (Ask { request, is_owed }, at) in &story.asked {
        let answers: Vec<i64> = answers.get(&request.id).into_iter().flat_map(BTreeMap::values).copied().collect();
        // It is answered after the agent is back, if it is not too old by then.
        let delays = story.away.iter().filter(|away| away.from - 120 <= *at && *at <= away.until + 120);
        let back = delays.map(|away| away.until + BACK_IN).max();
        let is_owed = *is_owed && *at > BEGIN + HOUR;
        let (id, sent) = (request.id, span_of(*at));
        match answers.as_slice() {
            [] if is_owed && back.is_none() => broken.push(format!("the request {id} of {sent} has no answer")),
            [answer] if is_owed && *answer > back.unwrap_or(*at) + ANSWERED_IN => {
                broken.push(format!("the request {id} of {sent} was answered at {}", span_of(*answer)));
            }
            [_, _, ..] => broken.push(format!("the request {id} of {sent} has {} answers", answers.len())),
            _ => {}
        }
    }
    broken
}

/// No published measurement says that a relay is there while it is not, and each comes from a check.
fn publications(story: &Story) -> Vec<String> {
    let mut broken = Vec::new();
    for event in story.world.relays[0].house.events().iter().filter(|event| event.kind == Kind::from(30_166)) {
        let at = event.created_at.as_secs().cast_signed();
        let named = event.tags.identifier().map(ToOwned::to_owned);
        // Another URL of a relay without a document cannot be told from a relay of its own.
        let about = |one: &&Arc<Relay>| [Some(&one.url), one.alias.as_ref()].contains(&named.as_ref());
        let Some(relay) = story.world.relays.iter().find(about) else {
            broken.push(format!("{} is about no relay: {:?}", event.id, event.tags));
            continue;
        };
        if relay.was(false, at - BLUR, at + 30) {
            broken.push(format!("{}: published as alive at {}, but was down", name(relay), span_of(at)));
        }
    }
    for relay in &story.world.relays {
        broken.extend(withdrawal(story, relay));
    }
    // The customers' and the authors' own events may be dated in the future.
    let ours = |kind: u16| [5, 6_400, 7_000, 10_166, 30_166, 31_990].contains(&kind);
    for event in story.world.relays[0].house.events().iter().filter(|event| ours(event.kind.as_u16())) {
        if event.created_at.as_secs().cast_signed() > true_now() {
            broken.push(format!("{} (kind {}) is dated in the future: {}", event.id, event.kind, event.created_at));
        }
    }
    broken
}

/// What was published of a relay that is down for long is withdrawn.
fn withdrawal(story: &Story, relay: &Relay) -> Option<String> {
    let (since, up) = locked(&relay.changes).last().copied()?;
    let idle = true_now() - since - away(&story.away, since, true_now());
    if up || idle < 20 * HOUR {
        return None;
    }
    let said = story.world.relays[0].house.events();
    let published = said
        .iter()
        .filter(|event| event.kind == Kind::from(30_166) && event.tags.identifier() == Some(relay.url.as_str()));
    let published = published.map(|event| event.created_at).max()?;
    let names = |tag: &nostr::Tag| matches!(tag.as_slice(), [name, value, ..] if name == "a" && value.starts_with("30166:") && value.ends_with(&relay.url));
    let withdrawn = said
        .iter()
        .any(|event| event.kind == Kind::EventDeletion && event.created_at > published && event.tags.iter().any(names));
    (!withdrawn).then(|| format!("{}: down since {}, and not withdrawn", name(relay), span_of(since)))
}

/// No relay is connected to far more often than the configuration asks for.
fn manners(story: &Story) -> Vec<String> {
    const SPAN: i64 = 600;
    // A check with its document, a pass, a live subscription and a retry of each; at its own relay the agent also publishes.
    const MOST: usize = 30;
    let mut broken = Vec::new();
    for relay in story.world.relays.iter().filter(|relay| relay.honest) {
        let visited = locked(&relay.visited);
        if let Some(span) = visited.windows(MOST + 1).find(|span| span[MOST] - span[0] < SPAN) {
            broken.push(format!(
                "{}: {MOST} connections from {} to {}",
                name(relay),
                span_of(span[0]),
                span_of(span[MOST])
            ));
        }
    }
    broken
}

/// Every client that reads is served as long as the agent can work, and its live subscription brings every event.
async fn clients(story: &Story, archive: &Arc<dyn Archive>) -> Vec<String> {
    let mut broken = Vec::new();
    let is_calm = |from: i64, until: i64| {
        from > BEGIN + HOUR && story.away.iter().all(|away| away.until + BACK_IN < from || until + 60 < away.from)
    };
    let sql = "select lower(hex(event_id)) || ' ' || min(seen_at) from events_relays where kind = 1 group by event_id";
    let stored = ask(archive, sql).await;
    let stored: Vec<(EventId, i64)> = stored
        .iter()
        .map(|row| {
            let (id, at) = row.trim_matches('"').split_once(' ').expect("two values");
            (EventId::from_hex(id).expect("an id"), at.parse().expect("a time"))
        })
        .collect();
    let (now, mut all_owed) = (true_now(), 0);
    for (n, log) in story.client_logs.iter().enumerate() {
        let log = locked(log);
        for (from, until) in log.unserved.iter().filter(|(from, until)| is_calm(*from, *until)) {
            broken.push(format!("client {n} was not served from {} to {}", span_of(*from), span_of(*until)));
        }
        let subscribed = |at: i64| {
            // A clock that is wrong by little is believed, and dates what is seen.
            let lasts = |(from, until): &&(i64, Option<i64>)| from + 120 <= at && at <= until.unwrap_or(now) - 120;
            log.subscribed.iter().any(|span| lasts(&span))
        };
        let owed = stored.iter().filter(|(_, at)| is_calm(*at, *at) && subscribed(*at));
        for (id, at) in owed.clone().filter(|(id, _)| !log.received.contains(id)) {
            broken.push(format!("client {n} did not receive {id}, stored at {}", span_of(*at)));
        }
        all_owed += owed.clone().count();
        println!("client {n}: {} answers, {} events, {} of them owed", log.answers, log.received.len(), owed.count());
    }
    if all_owed == 0 {
        broken.push("no client was owed an event: nothing is known of live subscriptions".to_owned());
    }
    broken
}

/// What the process holds is bounded, whatever happens: descriptors, tasks, memory and what waits to be sent.
async fn bounds(story: &Story, archive: &Arc<dyn Archive>) -> Vec<String> {
    /// Of the archive's connections, three each.
    const DESCRIPTORS: usize = 60;
    /// A few per relay, of which half are the model's.
    const TASKS: usize = 60;
    const TASKS_PER_RELAY: usize = 10;
    /// With the model, which keeps all events twice.
    const MEMORY_MIB: u64 = 500;
    let mut broken = Vec::new();
    let Load { descriptors, tasks, resident } = story.peak;
    println!("claims by method: {:?}", archive.claims_by_method().await.expect("read"));
    println!("store calls: {:?}", calls());
    println!("the process held {descriptors} descriptors, {tasks} tasks, {resident} MiB");
    if descriptors > DESCRIPTORS {
        broken.push(format!("{descriptors} descriptors were open"));
    }
    if tasks > TASKS + TASKS_PER_RELAY * story.world.relays.len() {
        broken.push(format!("{tasks} tasks were alive"));
    }
    if resident > MEMORY_MIB {
        broken.push(format!("{resident} MiB were resident"));
    }
    // Its own relay takes everything, and has been up all the time.
    for queue in archive.deliveries().await.expect("read") {
        if queue.relay == story.world.relays[0].url && queue.waiting > 0 {
            broken.push(format!("{} events wait to be sent to {}", queue.waiting, queue.relay));
        }
    }
    broken
}

fn name(relay: &Relay) -> String {
    format!("{} ({})", relay.url, relay.manner)
}

/// Writes a time as days and hours since the beginning.
fn span_of(at: i64) -> String {
    if at == i64::MIN {
        return "the beginning".to_owned();
    }
    let since = at - BEGIN;
    let (sign, since) = (if since < 0 { "-" } else { "" }, since.abs());
    format!("{sign}{}d {:02}:{:02}:{:02}", since / 86_400, since / 3_600 % 24, since / 60 % 60, since % 60)
}
