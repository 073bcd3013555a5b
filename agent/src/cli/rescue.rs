//! `brotr rescue`: finds the events that would be lost with their relays, and publishes them elsewhere.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use brotr_core::{Event, RelayUrl};
use brotr_keys::Signer;
use brotr_net::{Dialer, End, Purpose, Session, Verdict};
use brotr_storage::{Archive, View};
use futures::future::join_all;
use nostr::{EventId, Filter, JsonUtil};
use serde_json::{Value as Json, json};
use tokio::time::{Interval, MissedTickBehavior};

use super::export;
use super::failure::Failure;
use super::query::{Pages, parse};
use super::table::{Column, Table};
use super::{Access, Done, Shared, output};
use crate::agent::{self, now};
use crate::rescue::{Danger, Search, endangered, is_public};

/// Time limit of a relay's answer to an event.
const ANSWER: Duration = Duration::from_secs(15);
/// A relay that asks for less gets nothing for this long.
const PAUSE: Duration = Duration::from_secs(30);
/// After this many events in a row that a relay did not accept, nothing more is sent to it.
const HOPELESS: u32 = 20;
/// Reasons of refusals that are kept for each relay.
const MAX_REASONS: usize = 20;
/// Relays that are printed.
const SHOWN: usize = 50;

#[derive(Debug, Clone, clap::Args)]
pub(super) struct Args {
    /// Look only at events that match this NIP-01 filter, such as '{"since":1700000000}'
    filter: Option<String>,
    /// Look only at events that this relay holds, and expect it to close; repeat it for several relays
    #[arg(long, value_name = "URL")]
    relay: Vec<String>,
    /// Find events that a single relay holds as well, whatever its state
    #[arg(long)]
    alone: bool,
    /// Write the events to this file, as JSON lines
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Publish the events to this relay; repeat it for several relays. Events that are encrypted, protected or of a group are left out
    #[arg(long, value_name = "URL")]
    to: Vec<String>,
    /// Events per second that each relay is sent
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=50))]
    rate: u32,
}

pub(super) async fn main(shared: &Shared, args: Args) -> Result<Done> {
    let filter = parse(args.filter.as_deref())?;
    let config = shared.load()?;
    let signer = agent::load_key(&config)?.unwrap_or_else(Signer::throwaway);
    let dialer = agent::dialer(&config, &signer)?;
    let address = |url: &String| {
        RelayUrl::parse(url, dialer.guard()).map_err(|error| Failure::usage(format_args!("{url}: {error}")))
    };
    let named = args.relay.iter().map(address).collect::<Result<Vec<_>, _>>()?;
    let targets = args.to.iter().map(address).collect::<Result<Vec<_>, _>>()?;
    let archive = shared.archive(&config, Access::Read).await?;
    // An archive without contents says so now.
    archive.page(&filter, View::All, None, 1).await?;
    let at = now();
    let mut dangers = endangered(archive.as_ref(), at).await?;
    dangers.extend(named.iter().map(|url| (url.as_str().to_owned(), Danger::Named)));
    for target in &targets {
        match dangers.get(target.as_str()) {
            // Its document may mean something else.
            Some(danger @ Danger::Closing(_)) => output::note(&format!("note: {target} {}", danger.reason(at)))?,
            Some(danger) => {
                let why = danger.reason(at);
                return Err(Failure::usage(format_args!("{target} is no place to publish to: {why}")).into());
            }
            None => {}
        }
    }
    let search = Search {
        endangered: dangers.keys().cloned().collect(),
        of: named.iter().map(|url| url.as_str().to_owned()).collect(),
        alone: args.alone,
    };
    let mut rescue = Rescue {
        archive: archive.as_ref(),
        search,
        examined: 0,
        found: Found::default(),
        out: args.output.as_deref().map(export::Target::file).transpose()?,
        targets: targets.into_iter().map(|address| Target::new(address, args.rate)).collect(),
    };
    let is_vain = rescue.search.endangered.is_empty() && !args.alone;
    let interrupted = !is_vain && rescue.run(filter, &dialer).await?;
    if let (Some(out), Some(path)) = (&mut rescue.out, &args.output) {
        if interrupted { out.flush()? } else { out.complete(path)? }
    }
    for target in &mut rescue.targets {
        target.close().await;
    }
    let done = !interrupted && rescue.targets.iter().all(Target::is_done);
    if shared.json {
        output::json(&rescue.to_json(&dangers, at, interrupted))?;
    } else {
        if is_vain {
            output::line("no relay that holds events is failing, or announces that it will close")?;
        }
        rescue.print(&dangers, at, interrupted)?;
        if let Some(path) = &args.output {
            let path = if interrupted { export::part(path) } else { path.clone() };
            output::line(&format!("written to {}", path.display()))?;
        }
    }
    Ok(Done::of(done))
}

/// A search through the archive.
struct Rescue<'a> {
    archive: &'a dyn Archive,
    search: Search,
    examined: u64,
    found: Found,
    out: Option<export::Target>,
    targets: Vec<Target>,
}

/// What was found.
#[derive(Debug, Default)]
struct Found {
    events: u64,
    by_relay: BTreeMap<String, u64>,
    by_kind: BTreeMap<u16, u64>,
}

impl Rescue<'_> {
    /// Goes through the events that match; returns true if Ctrl-C ended it.
    async fn run(&mut self, filter: Filter, dialer: &Dialer) -> Result<bool> {
        let total = match filter == Filter::default() {
            true => u64::try_from(self.archive.stats().await?.events).unwrap_or_default(),
            false => 0,
        };
        let bar = output::progress(total, "searching", output::Unit::Things);
        let mut pages = Pages::new(self.archive, filter, View::Client { now: now() });
        let interrupt = output::Interrupt::new();
        let interrupted = loop {
            let step = async {
                let Some(page) = pages.next().await? else { return Ok::<_, anyhow::Error>(None) };
                let seen = page.len() as u64;
                self.take(page, dialer).await?;
                Ok(Some(seen))
            };
            tokio::select! {
                step = step => match step? {
                    Some(seen) => bar.inc(seen),
                    None => break false,
                },
                () = interrupt.wait() => break true,
            }
        };
        bar.finish_and_clear();
        Ok(interrupted)
    }

    async fn take(&mut self, page: Vec<Event>, dialer: &Dialer) -> Result<()> {
        let ids: Vec<EventId> = page.iter().map(|event| event.id).collect();
        let holders = self.archive.holders(&ids).await?;
        self.examined += ids.len() as u64;
        let mut rescued = Vec::new();
        for event in page {
            let Some(relays) = self.search.at_risk(event.id, &holders) else { continue };
            self.found.events += 1;
            *self.found.by_kind.entry(event.kind).or_default() += 1;
            for relay in relays {
                *self.found.by_relay.entry(relay.clone()).or_default() += 1;
            }
            if let Some(out) = &mut self.out {
                out.print(&event.to_json())?;
            }
            rescued.push(event);
        }
        if !rescued.is_empty() {
            join_all(self.targets.iter_mut().map(|target| target.publish(&rescued, dialer))).await;
        }
        Ok(())
    }

    fn to_json(&self, dangers: &BTreeMap<String, Danger>, at: i64, interrupted: bool) -> Json {
        let relays: Vec<Json> = self
            .relays(dangers)
            .into_iter()
            .map(|(relay, at_risk)| {
                json!({"relay": relay, "why": dangers.get(relay).map(|danger| danger.reason(at)), "events": at_risk})
            })
            .collect();
        let targets: Vec<Json> = self.targets.iter().map(Target::to_json).collect();
        json!({"examined": self.examined, "at_risk": self.found.events, "kinds": self.found.by_kind, "relays": relays,
            "published": targets, "interrupted": interrupted})
    }

    /// Returns the relays that matter, those with most events first.
    fn relays<'a>(&'a self, dangers: &'a BTreeMap<String, Danger>) -> Vec<(&'a str, u64)> {
        let found = |relay: &String| self.found.by_relay.get(relay).copied().unwrap_or_default();
        let others = self.found.by_relay.keys().filter(|relay| !dangers.contains_key(*relay));
        let mut relays: Vec<_> = dangers.keys().chain(others).map(|relay| (relay.as_str(), found(relay))).collect();
        relays.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        relays
    }

    fn print(&self, dangers: &BTreeMap<String, Danger>, at: i64, interrupted: bool) -> Result<()> {
        let relays = self.relays(dangers);
        let mut table = Table::new(&[Column::Number("Only there"), Column::Key("Relay"), Column::Text("Why")]);
        for (relay, events) in relays.iter().take(SHOWN) {
            let why = dangers.get(*relay).map_or_else(|| "the only one".to_owned(), |danger| danger.reason(at));
            table.add(vec![output::number(*events).into(), (*relay).into(), why.into()]);
        }
        if !relays.is_empty() {
            table.print(0)?;
        }
        if relays.len() > SHOWN {
            output::line(&format!("and {} with fewer", output::counted((relays.len() - SHOWN) as u64, "relay")))?;
        }
        let stopped = if interrupted { "interrupted: " } else { "" };
        let (found, examined) = (output::number(self.found.events), output::counted(self.examined, "event"));
        output::line(&format!("{stopped}{found} of {examined} may be lost"))?;
        for target in &self.targets {
            target.print()?;
        }
        Ok(())
    }
}

/// A relay to which events are published.
struct Target {
    address: RelayUrl,
    session: Option<Session>,
    pace: Interval,
    /// Events that it held already, that it accepted, and that are not for everybody.
    held: u64,
    accepted: u64,
    left_out: u64,
    /// Events that it did not accept, by reason.
    refused: BTreeMap<String, u64>,
    /// How many of the last ones it did not accept,
    in_a_row: u32,
    /// and why nothing more is sent.
    given_up: Option<String>,
}

impl Target {
    fn new(address: RelayUrl, rate: u32) -> Self {
        let mut pace = tokio::time::interval(Duration::from_secs(1) / rate);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            address,
            session: None,
            pace,
            held: 0,
            accepted: 0,
            left_out: 0,
            refused: BTreeMap::new(),
            in_a_row: 0,
            given_up: None,
        }
    }

    /// Publishes those of the events that anybody may read and the relay does not hold.
    async fn publish(&mut self, events: &[Event], dialer: &Dialer) {
        let (public, others): (Vec<_>, Vec<_>) = events.iter().partition(|event| is_public(event));
        if self.given_up.is_some() {
            return;
        }
        self.left_out += others.len() as u64;
        if public.is_empty() {
            return;
        }
        let wanted = Filter::new().ids(public.iter().map(|event| event.id)).limit(public.len());
        let Some(session) = self.session(dialer).await else { return };
        let mut page = session.request(&wanted).await;
        if matches!(page.end, End::Disconnect(_)) {
            // Nothing was said for long.
            self.session = None;
            let Some(session) = self.session(dialer).await else { return };
            page = session.request(&wanted).await;
        }
        if let End::Timeout | End::Disconnect(_) = page.end {
            self.given_up = Some("no answer to a request".into());
            return;
        }
        // A relay that refuses to be read may be written to.
        let held: Vec<EventId> = page.events.iter().map(|event| event.id).collect();
        for event in public {
            if held.contains(&event.id) {
                self.held += 1;
                continue;
            }
            let Ok(event) = nostr::Event::from_json(event.to_json()) else {
                self.refuse("cannot be sent by this command".into());
                continue;
            };
            self.send(&event, dialer).await;
            if self.given_up.is_some() {
                return;
            }
        }
    }

    async fn send(&mut self, event: &nostr::Event, dialer: &Dialer) {
        let mut verdict = self.try_to_send(event, dialer).await;
        match &verdict {
            Some(Verdict::Refused(reason)) if reason.starts_with("rate-limited:") => {
                tokio::time::sleep(PAUSE).await;
                verdict = self.try_to_send(event, dialer).await;
            }
            Some(Verdict::Unanswered(End::Disconnect(_))) => {
                self.session = None;
                verdict = self.try_to_send(event, dialer).await;
            }
            _ => {}
        }
        if let Some(verdict) = verdict {
            self.count(verdict);
        }
    }

    async fn try_to_send(&mut self, event: &nostr::Event, dialer: &Dialer) -> Option<Verdict> {
        self.pace.tick().await;
        Some(self.session(dialer).await?.publish_watched(event, ANSWER).await.0)
    }

    fn count(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Accepted => (self.accepted, self.in_a_row) = (self.accepted + 1, 0),
            Verdict::Refused(reason) => self.refuse(reason),
            Verdict::Unanswered(end) => {
                if matches!(end, End::Disconnect(_)) {
                    self.session = None;
                }
                self.refuse(match end {
                    End::Disconnect(why) => format!("disconnected: {why}"),
                    End::Notice(text) => format!("NOTICE: {text}"),
                    End::Closed(reason) => reason,
                    End::Timeout | End::Eose | End::Overflow => "no answer".into(),
                });
            }
        }
    }

    fn refuse(&mut self, reason: String) {
        let reason = if self.refused.len() < MAX_REASONS { reason } else { "other reasons".into() };
        *self.refused.entry(reason.clone()).or_default() += 1;
        self.in_a_row += 1;
        if self.in_a_row >= HOPELESS {
            self.given_up = Some(format!("{HOPELESS} events in a row not accepted, the last one: {reason}"));
        }
    }

    /// Returns the open connection, or opens one.
    async fn session(&mut self, dialer: &Dialer) -> Option<&mut Session> {
        if self.session.is_none() {
            match Session::open(dialer, &self.address, Purpose::Visit).await {
                Ok(session) => self.session = Some(session),
                Err(error) => self.given_up = Some(error.to_string()),
            }
        }
        self.session.as_mut()
    }

    /// Returns true if it holds every event that it was to hold.
    fn is_done(&self) -> bool {
        self.given_up.is_none() && self.refused.is_empty()
    }

    async fn close(&mut self) {
        if let Some(session) = self.session.take() {
            session.close().await;
        }
    }

    fn to_json(&self) -> Json {
        json!({"relay": self.address.as_str(), "accepted": self.accepted, "held": self.held, "left_out": self.left_out,
            "refused": self.refused, "given_up": self.given_up})
    }

    fn print(&self) -> Result<()> {
        let (accepted, held) = (output::counted(self.accepted, "event"), output::number(self.held));
        let left_out = output::number(self.left_out);
        output::line(&format!(
            "{}: accepted {accepted}; held {held} already; {left_out} left out that are encrypted, protected or of a group",
            self.address
        ))?;
        for (reason, count) in &self.refused {
            output::line(&output::fit(&format!("  {} refused: {reason}", output::counted(*count, "event"))))?;
        }
        if let Some(why) = &self.given_up {
            output::line(&output::fit(&format!("  given up: {why}")))?;
        }
        Ok(())
    }
}
