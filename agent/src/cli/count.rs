//! `brotr query --count --relay`: asks relays how many events match (NIP-45).

use anyhow::Result;
use brotr_core::{Offset, RelayUrl, Sketch};
use brotr_keys::Signer;
use brotr_net::{Count, Dialer, End, Purpose, Session};
use futures::StreamExt;
use nostr::Filter;
use serde_json::json;

use super::failure::Failure;
use super::table::{Column, Table, Tone, Value};
use super::{Done, Shared, output};
use crate::agent;
use crate::config::Config;

/// Relays that are asked concurrently.
const BESIDE: usize = 16;

/// Asks relays, and prints their counts, and about how many authors there are: on each, and on all of them together.
pub(super) async fn on_relays(shared: &Shared, config: &Config, filter: &Filter, urls: &[String]) -> Result<Done> {
    let signer = agent::load_key(config)?.unwrap_or_else(Signer::throwaway);
    let dialer = agent::dialer(config, &signer)?;
    let mut addresses: Vec<RelayUrl> = Vec::new();
    for url in urls {
        let address = RelayUrl::parse(url, dialer.guard());
        let address = address.map_err(|error| Failure::usage(format_args!("{url}: {error}")))?;
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    let is_sketched = Offset::of(filter).is_some();
    let mut answers = futures::stream::iter(addresses)
        .map(|address| async {
            let answer = ask(&dialer, &address, filter).await;
            (address, answer)
        })
        .buffered(BESIDE);
    let mut together: Option<Sketch> = None;
    let mut answered = 0;
    let columns = [Column::Key("Relay"), Column::Number("Events"), Column::Number("Authors"), Column::Text("Answer")];
    let mut table = Table::new(&columns);
    while let Some((address, answer)) = answers.next().await {
        // What a relay says of another filter could not be merged.
        let sketch = answer.as_ref().ok().and_then(|count| count.sketch.as_ref()).filter(|_| is_sketched);
        if let Some(sketch) = sketch {
            together.get_or_insert_default().merge(sketch);
        }
        let authors = sketch.map(Sketch::estimate);
        answered += u64::from(answer.is_ok());
        if shared.json {
            let events = answer.as_ref().ok().map(|count| count.events);
            let is_approximate = answer.as_ref().ok().map(|count| count.is_approximate);
            output::json(&json!({"relay": address.as_str(), "count": events, "approximate": is_approximate,
                "authors": authors, "error": answer.err()}))?;
            continue;
        }
        let (events, said) = match answer {
            Ok(count) if count.is_approximate => (output::number(count.events), Value::from("not exact")),
            Ok(count) => (output::number(count.events), "".into()),
            Err(why) => (String::new(), Value::from(why).toned(Tone::Bad)),
        };
        let authors = authors.map(|authors| format!("about {}", output::number(authors)));
        table.add(vec![address.as_str().into(), events.into(), authors.unwrap_or_default().into(), said]);
    }
    if shared.json {
        if let Some(together) = together {
            output::json(&json!({"relay": null, "authors": together.estimate(), "hll": together.to_string()}))?;
        }
        return Ok(Done::of(answered > 0));
    }
    table.print(0)?;
    if let Some(together) = together {
        let authors = output::number(together.estimate());
        output::line(&format!("authors on all of them together: about {authors} (NIP-45, within some 13 %)"))?;
    }
    Ok(Done::of(answered > 0))
}

async fn ask(dialer: &Dialer, address: &RelayUrl, filter: &Filter) -> Result<Count, String> {
    let mut session = Session::open(dialer, address, Purpose::Visit).await.map_err(|error| error.to_string())?;
    let answer = session.count(filter).await.map_err(|end| match end {
        End::Closed(reason) => format!("refused: {reason}"),
        End::Notice(text) => format!("NOTICE: {text}"),
        End::Disconnect(why) => format!("disconnected: {why}"),
        End::Timeout | End::Eose | End::Overflow => "no answer: it may not support NIP-45".to_owned(),
    });
    session.close().await;
    answer
}
