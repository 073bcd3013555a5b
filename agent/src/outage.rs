//! Tells an outage of our own network from relays that are down, by whether any other host still answers.
//!
//! This module does no I/O: the monitor reports its observations, and connects to other relays if the verdict is
//! [`Verdict::Ask`]. Each network (clearnet, Tor, ...) is judged separately.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

use brotr_core::Network;
use tokio::sync::watch;

/// Other hosts that must fail to answer before an outage is assumed. If fewer are known there is no evidence, and the result of
/// the check is recorded.
pub const ENOUGH: usize = 3;

/// What a failed check means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The network worked while the relay was silent: the relay is down.
    Relay,
    /// No host answers: the failure says nothing about the relay.
    Ours,
    /// No host has answered lately: others must be asked.
    Ask,
}

/// A check that failed.
#[derive(Debug, Clone, Copy)]
pub struct Failure<'a> {
    /// The relay's network.
    pub network: Network,
    /// The relay's host; other relays on it are not independent evidence.
    pub host: &'a str,
    /// When the check began.
    pub began: Instant,
    /// When it ended.
    pub ended: Instant,
}

impl Failure<'_> {
    /// Returns the time from which an answer of another host shows that the network worked. If an outage began later, the relay
    /// still had the first half of the check to answer.
    fn middle(&self) -> Instant {
        self.began + self.ended.saturating_duration_since(self.began) / 2
    }
}

/// The result of asking relays on other hosts after a failed check.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// Hosts that did not answer. None has answered.
    pub silent: usize,
    /// Whether neither the check nor the asking came beyond this machine: no name server answered, or there was no route. One
    /// other host is enough then.
    pub is_local: bool,
    /// When the first was asked.
    pub began: Instant,
    /// When the last had failed.
    pub ended: Instant,
}

/// The state of one network.
#[derive(Debug, Default)]
struct Line {
    /// The last answers of two different hosts, the newest first.
    answers: [Option<(String, Instant)>; 2],
    /// When the current outage was detected, if there is one.
    out_since: Option<Instant>,
    /// When the last outage ended.
    out_until: Option<Instant>,
}

/// A shared record of which hosts answer. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Outage {
    lines: Arc<Mutex<BTreeMap<&'static str, Line>>>,
    /// Notified of each answer.
    heard: Arc<watch::Sender<()>>,
}

impl Outage {
    fn with<T>(&self, network: Network, act: impl FnOnce(&mut Line) -> T) -> T {
        act(self.lines.lock().unwrap_or_else(PoisonError::into_inner).entry(network.as_str()).or_default())
    }

    /// Records that a host answered at a time. Ends an outage.
    pub fn answered(&self, network: Network, host: &str, at: Instant) {
        let ended = self.with(network, |line| {
            let [first, second] = &mut line.answers;
            match first {
                Some((known, last)) if known == host => *last = at.max(*last),
                _ => *second = first.replace((host.to_owned(), at)),
            }
            let since = line.out_since.take_if(|since| at > *since)?;
            line.out_until = Some(at);
            Some(since)
        });
        self.heard.send_replace(());
        if let Some(since) = ended {
            let seconds = since.elapsed().as_secs();
            tracing::info!(%network, host, seconds, "relays answer again: our own outage is over");
        }
    }

    /// Returns a receiver that is notified of each further answer, after which a failed check may be judged again.
    #[must_use]
    pub fn listen(&self) -> watch::Receiver<()> {
        self.heard.subscribe()
    }

    /// Judges a failed check.
    #[must_use]
    pub fn judge(&self, failure: &Failure<'_>) -> Verdict {
        self.with(failure.network, |line| {
            let middle = failure.middle();
            let witness = |answer: &Option<(String, Instant)>| {
                answer.as_ref().is_some_and(|(host, at)| host != failure.host && *at >= middle)
            };
            let was_out = line.out_until.is_some_and(|until| failure.began <= until);
            if line.out_since.is_some() || was_out {
                Verdict::Ours
            } else if line.answers.iter().any(witness) {
                Verdict::Relay
            } else {
                Verdict::Ask
            }
        })
    }

    /// Judges a failed check after relays on other hosts were asked and did not answer.
    #[must_use]
    pub fn judge_asked(&self, network: Network, asked: Asked) -> Verdict {
        let Asked { silent, is_local, began, ended } = asked;
        let known = self.with(network, |line| {
            // A relay that was not asked may have answered meanwhile.
            let heard = line.answers.iter().flatten().any(|(_, at)| *at >= began);
            let enough = if is_local { 1 } else { ENOUGH };
            (silent >= enough && !heard).then(|| line.out_since.replace(ended).is_some())
        });
        let Some(known) = known else { return Verdict::Relay };
        if !known {
            let seen = if is_local { "names do not resolve, or there is no route" } else { "no relay answers" };
            tracing::warn!(%network, silent, "{seen}: assuming an outage of our own, nothing is recorded as down; see brotr doctor");
        }
        Verdict::Ours
    }

    /// Returns true while an outage of a network is assumed.
    #[must_use]
    pub fn is_out(&self, network: Network) -> bool {
        self.with(network, |line| line.out_since.is_some())
    }

    /// Describes current outages; `None` if there are none.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let out: Vec<String> = lines
            .iter()
            .filter_map(|(network, line)| Some((network, line.out_since?.elapsed())))
            .map(|(network, since)| format!("no {network} relay has answered for {}", rounded(since)))
            .collect();
        (!out.is_empty()).then(|| format!("{}: our own network seems to be down", out.join(", ")))
    }
}

fn rounded(since: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(since.as_secs()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NET: Network = Network::Clearnet;

    fn failure(host: &str, began: Instant, ended: Instant) -> Failure<'_> {
        Failure { network: NET, host, began, ended }
    }

    #[test]
    fn only_another_host_confirms_an_outage() {
        let outage = Outage::default();
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let a = failure("a", at(10), at(20));
        assert_eq!(outage.judge(&a), Verdict::Ask);
        outage.answered(NET, "a", at(19));
        outage.answered(Network::Tor, "x", at(19));
        assert_eq!(outage.judge(&a), Verdict::Ask, "neither itself nor another network");
        outage.answered(NET, "b", at(14));
        assert_eq!(outage.judge(&a), Verdict::Ask, "the network may have failed early in the check");
        outage.answered(NET, "b", at(15));
        outage.answered(NET, "a", at(20));
        assert_eq!(outage.judge(&a), Verdict::Relay, "b answered, though a was heard last");
        let asked = |silent, began| Asked { silent, is_local: false, began: at(began), ended: at(21) };
        assert_eq!(outage.judge_asked(NET, asked(ENOUGH - 1, 21)), Verdict::Relay, "too few to tell");
        assert_eq!(outage.judge_asked(NET, asked(ENOUGH, 20)), Verdict::Relay, "somebody answered meanwhile");
        assert_eq!((outage.judge_asked(NET, asked(ENOUGH, 21)), outage.is_out(NET)), (Verdict::Ours, true));
        assert_eq!(outage.judge(&a), Verdict::Ours);
        assert!(outage.trouble().is_some_and(|why| why.contains("clearnet")) && !outage.is_out(Network::Tor));
        outage.answered(NET, "b", at(21));
        assert!(outage.is_out(NET), "an answer from before it was noticed");
        outage.answered(NET, "b", at(22));
        assert!(!outage.is_out(NET) && outage.trouble().is_none());
        assert_eq!(outage.judge(&failure("a", at(20), at(23))), Verdict::Ours, "it began in the outage");
        assert_eq!(outage.judge(&failure("a", at(23), at(33))), Verdict::Ask);
    }

    #[test]
    fn one_other_host_is_enough_if_nothing_beyond_this_machine_answers() {
        let at = Instant::now();
        let asked = |silent, is_local| Asked { silent, is_local, began: at, ended: at };
        for (silent, is_local, wanted) in [
            (0, true, Verdict::Relay),
            (1, true, Verdict::Ours),
            (1, false, Verdict::Relay),
            (ENOUGH, false, Verdict::Ours),
        ] {
            assert_eq!(Outage::default().judge_asked(NET, asked(silent, is_local)), wanted, "{silent} {is_local}");
        }
    }

    proptest! {
        /// Checks of many hosts while the network comes and goes: a failure during an outage is never recorded, and a relay
        /// that is down while others answer always is.
        #[test]
        fn an_outage_is_not_recorded(
            // Alternating seconds up and down, longer than a check takes.
            spans in prop::collection::vec(12..60_u64, 1..8),
            dead in prop::collection::btree_set(0..8_usize, 0..5),
            offsets in prop::collection::vec(0..10_u64, 8),
        ) {
            const TIMEOUT: u64 = 10;
            const HOSTS: usize = 8;
            let outage = Outage::default();
            let start = Instant::now();
            let at = |second: u64| start + Duration::from_secs(second);
            let total: u64 = spans.iter().sum();
            let works = |second: u64| {
                let mut end = 0;
                spans.iter().position(|span| { end += span; second < end }).is_none_or(|n| n % 2 == 0)
            };
            let names: Vec<String> = (0..HOSTS).map(|n| n.to_string()).collect();
            // Each host is checked every ten seconds or so; checks end in the order of time.
            let mut checks: Vec<(u64, u64, usize)> = Vec::new();
            for (host, offset) in offsets.iter().enumerate() {
                for began in (*offset..total).step_by(TIMEOUT as usize) {
                    let alive = !dead.contains(&host) && works(began);
                    checks.push((if alive { began } else { began + TIMEOUT }, began, host));
                }
            }
            checks.sort_unstable();
            for (ended, began, host) in checks {
                if ended == began {
                    outage.answered(NET, &names[host], at(ended));
                    continue;
                }
                let failed = failure(&names[host], at(began), at(ended));
                let mut verdict = outage.judge(&failed);
                if verdict == Verdict::Ask {
                    let others: Vec<usize> = (0..HOSTS).filter(|other| *other != host).collect();
                    verdict = match others.iter().find(|other| works(ended) && !dead.contains(other)) {
                        Some(other) => {
                            outage.answered(NET, &names[*other], at(ended));
                            outage.judge(&failed)
                        }
                        None => {
                            let (began, ended) = (at(ended), at(ended));
                            outage.judge_asked(NET, Asked { silent: others.len(), is_local: false, began, ended })
                        }
                    };
                }
                let was_out = (began..=ended).all(|second| !works(second));
                prop_assert!(!was_out || verdict == Verdict::Ours, "{host} from {began} to {ended}: {verdict:?}");
                // The end was detected when the first host answered.
                let over = outage.with(NET, |line| line.out_until.is_none_or(|until| at(began) > until));
                if (began..=ended).all(works) && over && !outage.is_out(NET) {
                    prop_assert_eq!(verdict, Verdict::Relay, "{} from {} to {}", host, began, ended);
                }
            }
        }
    }
}
