//! `brotr job`: the customer's side of NIP-90.

use std::time::Duration;

use anyhow::{Result, bail};
use brotr_core::{RelayUrl, sanitize};
use brotr_dvm::result_kind;
use brotr_keys::Signer;
use nostr::{Event, EventBuilder, Filter, Kind, NostrSigner, PublicKey, Tag, TagKind};
use nostr_sdk::{Client, RelayPoolNotification};
use serde_json::json;

use super::failure::Failure;
use super::{Done, Shared, output};
use crate::agent;
use crate::client::client;

const FEEDBACK: Kind = Kind::Custom(7_000);

#[derive(Debug, Clone, clap::Args)]
pub(super) struct Args {
    /// The kind of job, 5000 to 5999
    #[arg(value_parser = clap::value_parser!(u16).range(5_000..6_000))]
    kind: u16,
    /// An input; its type is text, url, event or job (text if left out)
    #[arg(long, value_name = "DATA[:TYPE]")]
    input: Vec<String>,
    /// A parameter
    #[arg(long, value_name = "NAME=VALUE")]
    param: Vec<String>,
    /// Relays to ask and to listen on; dvm.relays or identity.relays if left out
    #[arg(long, value_name = "URL")]
    relay: Vec<String>,
    /// Ask only this data vending machine (hex or npub)
    #[arg(long, value_name = "PUBKEY")]
    to: Option<String>,
    /// Encrypt the request (NIP-44); needs --to
    #[arg(long, requires = "to")]
    encrypt: bool,
    /// How long to wait for the result
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

pub(super) async fn main(shared: &Shared, args: Args) -> Result<Done> {
    let config = shared.load()?;
    let signer = agent::load_key(&config)?.unwrap_or_else(Signer::throwaway);
    let dialer = agent::dialer(&config, &signer)?;
    let to = args.to.as_deref().map(PublicKey::parse).transpose();
    let to = to.map_err(|_| Failure::usage("--to is neither 64 hex digits nor an npub"))?;
    let named = [&args.relay, &config.dvm.relays, &config.identity.relays].into_iter().find(|list| !list.is_empty());
    let Some(named) = named else {
        return Err(Failure::usage(format_args!("no relay to ask on: give --relay, or set dvm.relays")).into());
    };
    let (mut relays, mut connect_timeout) = (Vec::new(), Duration::ZERO);
    for url in named {
        let address = RelayUrl::parse(url, dialer.guard()).map_err(|e| Failure::usage(format_args!("{url}: {e}")))?;
        relays.push(nostr::RelayUrl::parse(address.as_str())?);
        connect_timeout = connect_timeout.max(dialer.limits(address.network()).connect_timeout);
    }
    let request = signer.sign(request(&args, to, &relays, &signer).await?)?;

    let client = client(signer.clone(), &dialer);
    let asked =
        Asked { shared, kind: args.kind, signer: &signer, relays: &relays, connect_timeout, to, request: &request };
    let done = tokio::time::timeout(args.timeout, asked.answered(&client)).await;
    client.shutdown().await;
    match done {
        Ok(done) => done,
        Err(_) => bail!("no result within {}", humantime::format_duration(args.timeout)),
    }
}

/// A request, and where and by whom it is answered.
struct Asked<'a> {
    shared: &'a Shared,
    kind: u16,
    signer: &'a Signer,
    relays: &'a [nostr::RelayUrl],
    /// How long connecting may take.
    connect_timeout: Duration,
    /// The service provider, if only one is asked.
    to: Option<PublicKey>,
    request: &'a Event,
}

impl Asked<'_> {
    /// Sends the request and prints answers until the job ends.
    async fn answered(&self, client: &Client) -> Result<Done> {
        let Self { shared, kind, signer, relays, connect_timeout, to, request } = *self;
        for url in relays {
            client.add_relay(url).await?;
        }
        let connected = client.try_connect(connect_timeout).await;
        if connected.success.is_empty() {
            let reasons: Vec<_> =
                connected.failed.iter().map(|(url, reason)| format!("{url}: {}", sanitize(reason))).collect();
            bail!("no relay could be reached: {}", reasons.join("; "));
        }
        let mut notifications = client.notifications();
        let answers = Filter::new().kinds([result_kind(kind), FEEDBACK]).event(request.id);
        client.subscribe(answers, None).await?;
        let sent = client.send_event(request).await?;
        if sent.success.is_empty() {
            let reasons: Vec<_> =
                sent.failed.iter().map(|(url, reason)| format!("{url}: {}", sanitize(reason))).collect();
            bail!("no relay took the request: {}", reasons.join("; "));
        }
        loop {
            let event = match notifications.recv().await {
                Ok(RelayPoolNotification::Event { event, .. }) => event,
                Ok(_) => continue,
                Err(error) => bail!("the connection was lost: {error}"),
            };
            let about_it = event.tags.event_ids().any(|id| *id == request.id);
            if !about_it || to.is_some_and(|to| to != event.pubkey) {
                continue;
            }
            if let Some(done) = tell(shared, kind, &opened(signer, *event).await)? {
                return Ok(done);
            }
        }
    }
}

async fn request(
    args: &Args,
    to: Option<PublicKey>,
    relays: &[nostr::RelayUrl],
    signer: &Signer,
) -> Result<EventBuilder> {
    let tag = |name: &str, values: Vec<String>| Tag::custom(TagKind::custom(name), values);
    let mut tags = Vec::new();
    for input in &args.input {
        let types = ["text", "url", "event", "job"];
        let (data, kind) = match input.rsplit_once(':') {
            Some((data, kind)) if types.contains(&kind) => (data, kind),
            _ => (input.as_str(), "text"),
        };
        tags.push(tag("i", vec![data.to_owned(), kind.to_owned()]));
    }
    for param in &args.param {
        let Some((name, value)) = param.split_once('=') else {
            return Err(Failure::usage(format_args!("--param {param:?} has no =: write NAME=VALUE")).into());
        };
        tags.push(tag("param", vec![name.to_owned(), value.to_owned()]));
    }
    tags.push(tag("relays", relays.iter().map(ToString::to_string).collect()));
    let mut content = String::new();
    if let (true, Some(to)) = (args.encrypt, &to) {
        content = signer.nip44_encrypt(to, &serde_json::to_string(&tags)?).await?;
        tags = vec![tag("encrypted", vec![])];
    }
    tags.extend(to.map(Tag::public_key));
    Ok(EventBuilder::new(Kind::from(args.kind), content).tags(tags).allow_self_tagging())
}

/// Returns an answer with its encrypted part decrypted: the tags of feedback, the content of a result. An answer that cannot be
/// decrypted is returned unchanged.
async fn opened(signer: &Signer, mut event: Event) -> Event {
    if !event.tags.iter().any(|tag| tag.as_slice()[0] == "encrypted") {
        return event;
    }
    let Ok(text) = signer.nip44_decrypt(&event.pubkey, &event.content).await else { return event };
    if event.kind != FEEDBACK {
        event.content = text;
        return event;
    }
    let hidden: Vec<Vec<String>> = serde_json::from_str(&text).unwrap_or_default();
    event.content.clear();
    for tag in hidden {
        match tag.as_slice() {
            [name, content] if name == "content" => event.content.clone_from(content),
            _ => event.tags.extend(Tag::parse(tag).ok()),
        }
    }
    event
}

/// Prints an answer; returns how the job ended, if it ended.
fn tell(shared: &Shared, kind: u16, event: &Event) -> Result<Option<Done>> {
    let value = |name: &str| event.tags.find(TagKind::custom(name)).and_then(|tag| tag.content());
    // A relay may send events that were not asked for.
    if event.kind != FEEDBACK && event.kind != result_kind(kind) {
        return Ok(None);
    }
    if event.kind != FEEDBACK {
        if shared.json {
            output::json(&json!({"status": "success", "result": event}))?;
        } else {
            output::line(&event.content.replace(|c: char| c.is_control() && c != '\n', " "))?;
        }
        return Ok(Some(Done::Well));
    }
    // Some clients write the status with an underscore.
    let status = value("status").unwrap_or("?").replace('_', "-");
    let amount = value("amount").and_then(|n| n.parse::<u64>().ok());
    let owed = event.tags.find(TagKind::custom("amount")).and_then(|tag| tag.as_slice().get(2));
    if shared.json {
        let mut answer = json!({"status": status, "content": event.content, "amount": amount});
        if let Some(invoice) = owed {
            answer["invoice"] = json!(invoice);
        }
        output::json(&answer)?;
    } else {
        let amount = amount.map(|n| format!(" ({n} msat)")).unwrap_or_default();
        eprintln!("{status}{amount} {}", event.content.escape_debug());
        if let Some(invoice) = owed {
            eprintln!("invoice: {}", invoice.escape_debug());
        }
    }
    Ok((status == "error").then_some(Done::Badly))
}
