//! NIP-66: results as events. What was not measured has no tag. `docs/MONITORING.md` has the table.

use brotr_net::info::Info;
use nostr::{EventBuilder, Kind, PublicKey, Tag, TagKind, Timestamp};

use super::{Health, Requirement};
use crate::agent::Agent;
use crate::clock::timestamp;
use crate::config::Check;

/// Kind of relay discovery events.
pub const DISCOVERY: Kind = Kind::Custom(30_166);
/// Kind of monitor announcements.
const ANNOUNCEMENT: Kind = Kind::Custom(10_166);
/// The largest document that is embedded, in bytes: few relays accept larger events.
const MAX_CONTENT: usize = 16 << 10;
/// Characters of a relay's geohash: a few kilometres, which is the accuracy of such databases.
const GEOHASH: usize = 5;
/// The most NIPs of a document that become tags.
const MOST_NIPS: usize = 200;
/// The most topics, languages and kinds of a document that become tags.
const MOST: usize = 50;

fn tag<const N: usize>(name: &str, values: [&str; N]) -> Tag {
    Tag::custom(TagKind::custom(name), values)
}

/// Returns kind 30166: one relay, as found at `at`.
#[must_use]
pub fn discovery(health: &Health, at: i64) -> EventBuilder {
    let mut tags = vec![tag("d", [&health.url]), tag("n", [health.network.as_str()])];
    for name in ["open", "read", "write"] {
        if let Some(ms) = health.checks.get(name).and_then(|outcome| outcome.ms) {
            tags.push(tag(&format!("rtt-{name}"), [&ms.to_string()]));
        }
    }
    requirements(health, &mut tags);
    seen(health, &mut tags);
    labels(health, &mut tags);
    let mut content = "";
    if let Some(info) = &health.info {
        // Claims that this check refuted are not repeated.
        let refuted =
            |nip: &u16| health.probes.get(format!("nip{nip}").as_str()).is_some_and(|p| p.found == Some(false));
        let nips = info.nips().into_iter().filter(|nip| !refuted(nip)).take(MOST_NIPS);
        tags.extend(nips.map(|nip| tag("N", [&nip.to_string()])));
        tags.extend(info.topics().take(MOST).map(|topic| tag("t", [&topic])));
        tags.extend(info.refused_kinds().take(MOST).map(|kind| tag("k", [&format!("!{kind}")])));
        if info.text.len() <= MAX_CONTENT {
            content = &info.text;
        }
    }
    EventBuilder::new(DISCOVERY, content).tags(tags).custom_created_at(Timestamp::from(at.cast_unsigned()))
}

/// Adds `R`. Without a document and without a refusal nothing is known of requirements, and no tag is added.
fn requirements(health: &Health, tags: &mut Vec<Tag>) {
    // A read and a write that succeeded without it outweigh a document that requires it.
    let found = |name: &str| health.probes.get(name).and_then(|probe| probe.found);
    for requirement in [Requirement::Auth, Requirement::Payment, Requirement::Pow, Requirement::Writes] {
        let disproven =
            requirement == Requirement::Auth && found("auth_required") == Some(false) && health.is_good("write");
        if health.requires.contains(&requirement) && !disproven {
            tags.push(tag("R", [requirement.as_str()]));
        } else if disproven || health.info.as_ref().is_some_and(|info| claims(info, requirement).is_some()) {
            tags.push(tag("R", [&format!("!{}", requirement.as_str())]));
        }
    }
}

/// Adds what was seen of its name, certificate, address and server.
fn seen(health: &Health, tags: &mut Vec<Tag>) {
    let trace = &health.trace;
    if let Some(lookup) = trace.lookup.as_ref().filter(|_| health.is_good("dns")) {
        for ip in &lookup.addresses {
            tags.push(tag(if ip.is_ipv4() { "dns-ip" } else { "dns-ip6" }, [&ip.to_string()]));
        }
        tags.extend(lookup.cname.as_ref().map(|name| tag("dns-cname", [name])));
        tags.push(tag("dns-ttl", [&lookup.ttl.to_string()]));
    }
    if health.checks.contains_key("ssl")
        && let Some(tls) = trace.tls()
        && let Some(certificate) = &tls.certificate
    {
        tags.push(tag("ssl", [if tls.refused.is_none() { "valid" } else { "!valid" }]));
        tags.push(tag("ssl-expires", [&certificate.not_after.to_string()]));
        tags.push(tag("ssl-issuer", [&certificate.issuer]));
    }
    if let Some(peer) = trace.peer.filter(|_| health.checks.contains_key("net")) {
        tags.push(tag(if peer.is_ipv4() { "net-ip" } else { "net-ipv6" }, [&peer.ip().to_string()]));
    }
    if let Some(place) = &health.place {
        tags.extend(place.asn.map(|asn| tag("net-asn", [&asn.to_string()])));
        tags.extend(place.organisation.as_ref().map(|name| tag("net-asn-org", [name])));
        tags.extend(place.country.as_ref().map(|country| tag("geo-country", [country])));
        tags.extend(place.city.as_ref().map(|city| tag("geo-city", [city])));
        tags.extend(place.latitude.map(|degrees| tag("geo-lat", [&degrees.to_string()])));
        tags.extend(place.longitude.map(|degrees| tag("geo-lon", [&degrees.to_string()])));
        tags.extend(place.time_zone.as_ref().map(|zone| tag("geo-tz", [zone])));
        tags.extend(place.geohash(GEOHASH).map(|hash| tag("g", [&hash])));
    }
    tags.extend(trace.server.as_ref().map(|server| tag("http-server", [server])));
    tags.extend(trace.powered_by.as_ref().map(|by| tag("http-powered-by", [by])));
}

/// Adds labels (NIP-32): the same facts in a form that clients can filter by.
fn labels(health: &Health, tags: &mut Vec<Tag>) {
    let mut label = |space: &str, value: &str| {
        if !tags.iter().any(|tag| tag.as_slice() == ["L", space]) {
            tags.push(tag("L", [space]));
        }
        tags.push(tag("l", [value, space]));
    };
    for language in health.info.iter().flat_map(Info::languages).take(MOST) {
        label("ISO-639-1", &language);
    }
    let Some(place) = &health.place else { return };
    if let Some(country) = &place.country {
        label("ISO-3166-1", country);
    }
    if let Some(city) = &place.city {
        label("nip66.label.city", city);
    }
    if let Some(zone) = &place.time_zone {
        label("IANA-tz", zone);
    }
    if let Some(asn) = place.asn {
        label("IANA-asn", &asn.to_string());
    }
    if let Some(name) = &place.organisation {
        label("IANA-asnOrg", name);
    }
}

/// Returns what a document says about a requirement, if anything.
fn claims(info: &Info, requirement: Requirement) -> Option<bool> {
    info.limitation(match requirement {
        Requirement::Auth => "auth_required",
        Requirement::Payment => "payment_required",
        Requirement::Pow => "min_pow_difficulty",
        Requirement::Writes => "restricted_writes",
    })
}

/// Returns kind 5: the published result of a relay no longer holds.
#[must_use]
pub fn withdrawal(author: PublicKey, url: &str) -> EventBuilder {
    let address = format!("{}:{}:{url}", DISCOVERY.as_u16(), author.to_hex());
    let tags = [tag("a", [&address]), tag("k", [&DISCOVERY.as_u16().to_string()])];
    EventBuilder::new(Kind::EventDeletion, "this result does not hold any more")
        .tags(tags)
        .custom_created_at(timestamp())
}

/// Returns kind 10166: that this agent monitors relays, how often, from where, and what is checked.
#[must_use]
pub fn announcement<A: ?Sized>(agent: &Agent<A>) -> EventBuilder {
    let monitor = &agent.config.monitor;
    let limits = agent.dialer.limits(brotr_core::Network::Clearnet);
    let mut tags = vec![tag("frequency", [&monitor.interval.as_secs().to_string()])];
    // Without a database of cities, locations are not checked.
    let made = |check: &&Check| **check != Check::Geo || monitor.geo.city.is_some();
    for check in monitor.checks.iter().filter(made) {
        // The test comes first, as in the example of NIP-66 and from other monitors; its prose has it the other way.
        let timeout = match check {
            Check::Read | Check::Write | Check::Nip11 => limits.request_timeout,
            _ => limits.connect_timeout,
        };
        tags.push(tag("timeout", [check.as_str(), &timeout.as_millis().to_string()]));
    }
    tags.extend(monitor.checks.iter().filter(made).map(|check| tag("c", [check.as_str()])));
    tags.extend(agent.dialer.networks().iter().map(|network| tag("n", [network.as_str()])));
    tags.extend(monitor.geohash.as_ref().map(|hash| tag("g", [hash])));
    EventBuilder::new(ANNOUNCEMENT, "").tags(tags)
}
