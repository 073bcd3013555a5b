//! Asks other relays whether our own network works, before a relay that was up is recorded as down.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::error::Result;
use brotr_core::{Network, RelayState, RelayUrl};
use brotr_net::{DialError, Purpose};
use brotr_storage::{Relay, RelayQuery};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;

use super::health::Silence;
use super::{Monitor, Stores};
use crate::outage::{Asked, ENOUGH, Failure, Verdict};

/// Relays asked concurrently, each on another host; some may be busy or down themselves.
const ASKED: usize = ENOUGH + 2;
/// Relays from which they are chosen.
const CHOICE: i64 = 1_000;
/// How long a failed check waits for an answer of another relay that is being checked.
const MOMENT: Duration = Duration::from_secs(1);
/// How often others are asked while an outage is assumed.
const AGAIN: Duration = Duration::from_secs(5);

impl<A: Stores + ?Sized> Monitor<A> {
    /// Returns true if a failed check says nothing about the relay because our own network is down.
    pub(super) async fn is_ours(&self, relay: &Relay, address: &RelayUrl, silent: Silence) -> Result<bool> {
        let outage = &self.agent.outage;
        let network = relay.network;
        let failure = Failure { network, host: address.host(), began: silent.span.start, ended: silent.span.end };
        // A relay that was down stays down, unless nothing can be decided at all.
        if relay.state == RelayState::Down {
            return Ok(outage.judge(&failure) == Verdict::Ours);
        }
        let mut answers = outage.listen();
        let judged = async {
            loop {
                match outage.judge(&failure) {
                    Verdict::Ask => drop(answers.changed().await),
                    verdict => return verdict,
                }
            }
        };
        // While many relays are checked, another one answers shortly, and none needs to be asked.
        if let Ok(verdict) = tokio::time::timeout(MOMENT, judged).await {
            return Ok(verdict == Verdict::Ours);
        }
        // When many checks fail at once, one of them asks and the others use its answer.
        let _one = self.asking.lock().await;
        match outage.judge(&failure) {
            Verdict::Ask => Ok(self.ask(network, Some(address.host()), silent.is_local).await? == Verdict::Ours),
            verdict => Ok(verdict == Verdict::Ours),
        }
    }

    /// Connects to relays on other hosts, those that are up first, until one answers. `is_local` says that nothing beyond this
    /// machine answered about the relay itself.
    async fn ask(&self, network: Network, except: Option<&str>, mut is_local: bool) -> Result<Verdict> {
        let dialer = &self.agent.dialer;
        let mut others: Vec<(bool, RelayUrl)> = Vec::new();
        for state in [RelayState::Up, RelayState::New] {
            let query =
                RelayQuery { networks: vec![network], states: vec![state], limit: CHOICE, ..RelayQuery::default() };
            let relays = self.agent.archive.relays(&query).await?;
            let addresses = relays.iter().filter_map(|relay| RelayUrl::parse(&relay.url, dialer.guard()).ok());
            others.extend(addresses.map(|address| (state == RelayState::New, address)));
        }
        // Whether the operator of a relay that is new objects is not known yet; those that are listed are known.
        others.retain(|(_, address)| !self.agent.config.network.avoids(address.as_str(), address.host()));
        fastrand::shuffle(&mut others);
        others.sort_by_key(|(is_new, _)| *is_new);
        let mut hosts: BTreeSet<String> = except.map(str::to_owned).into_iter().collect();
        others.retain(|(_, address)| hosts.insert(address.host().to_owned()));
        others.truncate(ASKED);
        let limit = dialer.limits(network).connect_timeout;
        let began = Instant::now();
        let dials = others.into_iter().map(async |(_, address)| {
            // A host without a free connection counts as not asked.
            (tokio::time::timeout(limit * 2, dialer.dial(&address, Purpose::Visit)).await, address)
        });
        let mut dials: FuturesUnordered<_> = dials.collect();
        let mut silent = 0;
        while let Some((dialed, address)) = dials.next().await {
            match dialed {
                Ok(Ok(_) | Err(DialError::Upgrade(_))) => {
                    self.agent.outage.answered(network, address.host(), Instant::now());
                    return Ok(Verdict::Relay);
                }
                Ok(Err(error)) if error.is_ours() || matches!(error, DialError::Unreachable(..)) => {}
                // It may have waited for a permit.
                Err(_) => is_local = false,
                Ok(Err(error)) => {
                    silent += 1;
                    is_local &= error.is_local();
                }
            }
        }
        let asked = Asked { silent, is_local, began, ended: Instant::now() };
        Ok(self.agent.outage.judge_asked(network, asked))
    }

    /// Asks repeatedly while an outage is assumed; no relay is checked meanwhile.
    pub(super) async fn watch_outage(&self) -> ! {
        loop {
            tokio::time::sleep(AGAIN).await;
            for network in self.agent.dialer.networks() {
                if self.agent.outage.is_out(network) {
                    let _one = self.asking.lock().await;
                    if let Err(error) = self.ask(network, None, true).await {
                        super::later("ask other relays", &error).await;
                    }
                }
            }
        }
    }
}
