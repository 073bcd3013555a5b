//! Jobs that cost something: a wallet that speaks NIP-47, and zaps.

use std::time::Duration;

use brotr_tests::{Manners, Signal, Wallet, events};
use nostr::{Event, EventBuilder, Keys, Kind, PublicKey, Tag, TagKind};
use serde_json::json;

use super::main_job::{Client, relay};
use super::program::{Place, soon};

/// A place where counting costs 1,000 msat, and its agent's key.
async fn shop(url: &str, wallet: &Wallet, zapper: &Keys, more: &str) -> (Place, PublicKey) {
    let place = Place::with(&format!(
        "dvm:\n  relays: [\"{url}\"]\n  payment:\n    wallet: \"{}\"\n    zappers: [{}]\n    \
         prices: [{{kinds: [5400], job: 600, result: 400}}]\n{more}",
        wallet.uri,
        zapper.public_key()
    ));
    place.run(&["keys", "generate"]).ok();
    let key = place.run(&["keys", "show", "--json"]).ok().json()[0]["pubkey"].as_str().expect("a key").to_owned();
    (place, PublicKey::from_hex(&key).expect("a key"))
}

fn values(event: &Event, name: &str) -> Vec<String> {
    event.tags.find(TagKind::custom(name)).map(|tag| tag.as_slice()[1..].to_vec()).unwrap_or_default()
}

async fn request(client: &mut Client, customer: &Keys, tags: &[Tag]) -> Event {
    let builder = EventBuilder::new(Kind::from(5_400), r#"{"kinds":[7]}"#).tags(tags.iter().cloned());
    // The same twice in a second would be one.
    let builder = builder.tag(Tag::custom(TagKind::custom("nonce"), [Keys::generate().public_key().to_hex()]));
    let request = builder.sign_with_keys(customer).expect("signed");
    client.publish(&request).await;
    request
}

/// The feedback of a request that has this status, and is not that of before.
async fn told(client: &mut Client, request: &Event, status: &str, before: Option<&Event>) -> Event {
    soon(30, status, async || {
        let mut found = client.fetch(json!({"kinds": [7_000], "#e": [request.id]})).await;
        found.retain(|event| values(event, "status").first().is_some_and(|word| word == status));
        found.into_iter().find(|event| before.is_none_or(|before| before.id != event.id))
    })
    .await
}

async fn results(client: &mut Client, request: &Event) -> Vec<Event> {
    client.fetch(json!({"kinds": [6_400], "#e": [request.id]})).await
}

async fn result(client: &mut Client, request: &Event) -> Event {
    soon(30, "result", async || results(client, request).await.pop()).await
}

async fn an_invoice_is_paid(manners: Manners) {
    let (relay, url) = relay(&events::signed(40, 1_600_000_000)).await;
    let wallet = Wallet::start(&url, manners).await.expect("a wallet");
    let (zapper, customer) = (Keys::generate(), Keys::generate());
    let (place, _) = shop(&url, &wallet, &zapper, "    free_per_day: 1").await;
    let daemon = place.daemon();
    let mut client = Client::connect(&url).await;

    // The first of the day is free.
    let first = request(&mut client, &customer, &[]).await;
    assert_eq!(values(&result(&mut client, &first).await, "amount"), ["0"]);

    // The second is not. Asked in secret, it is billed and answered so.
    let second = request(&mut client, &customer, &[]).await;
    let asked = told(&mut client, &second, "payment-required", None).await;
    let [amount, bolt11] = values(&asked, "amount").try_into().expect("an amount and an invoice");
    assert_eq!(amount, "1000");
    assert!(asked.content.contains("1000 msat"), "{}", asked.content);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(results(&mut client, &second).await.is_empty(), "held back");
    let listed = place.run(&["dvm", "list", "--status", "unpaid", "--json"]).ok().json();
    assert_eq!((listed.len(), &listed[0]["id"]), (1, &json!(second.id)));
    // It waits across a restart.
    assert_eq!(daemon.end(Signal::TERM).0, Some(0));
    let daemon = place.daemon();
    wallet.pay(&bolt11, 1_000);
    let given = result(&mut client, &second).await;
    assert_eq!(values(&given, "amount"), [amount, bolt11]);
    assert_eq!(given.content, "0", "nothing is archived here");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(results(&mut client, &second).await.len(), 1, "once");
    assert_eq!(wallet.made(), (1, 1_000));

    // A bid that is too low is told so, and no invoice is made.
    let low = request(&mut client, &customer, &[Tag::custom(TagKind::custom("bid"), ["999"])]).await;
    let refused = told(&mut client, &low, "error", None).await;
    assert!(refused.content.contains("1000 msat") && refused.content.contains("999"), "{}", refused.content);
    // What fails costs nothing.
    let wrong = EventBuilder::new(Kind::from(5_400), r#"{"kindz":[7]}"#).sign_with_keys(&customer).expect("signed");
    client.publish(&wrong).await;
    told(&mut client, &wrong, "error", None).await;
    assert_eq!(wallet.made().0, 1);
    let revenue = place.run(&["dvm", "revenue", "--json"]).ok().json();
    assert_eq!((&revenue[0]["msat"], &revenue[0]["payments"]), (&json!(1_000), &json!(1)));
    let customers = place.run(&["dvm", "customers", "--json"]).ok().json();
    assert_eq!(
        (&customers[0]["jobs"], &customers[0]["failed"], &customers[0]["msat"]),
        (&json!(4), &json!(2), &json!(1_000))
    );
    assert_eq!(daemon.end(Signal::TERM).0, Some(0));
    relay.shutdown();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paid_invoice_releases_the_result() {
    an_invoice_is_paid(Manners { nip44: true, tells: true }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_of_an_old_wallet_is_paid_and_looked_up() {
    an_invoice_is_paid(Manners::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn zaps_pay_in_part_and_in_full_and_too_much_and_invoices_expire() {
    let (relay, url) = relay(&[]).await;
    let wallet = Wallet::start(&url, Manners { nip44: true, tells: true }).await.expect("a wallet");
    let (zapper, customer) = (Keys::generate(), Keys::generate());
    let (place, agent) = shop(&url, &wallet, &zapper, "    expiry: 2s").await;
    let daemon = place.daemon();
    let mut client = Client::connect(&url).await;

    let job = request(&mut client, &customer, &[]).await;
    let asked = told(&mut client, &job, "payment-required", None).await;
    // Receipts of somebody whom nobody here knows, and zaps of others, pay nothing.
    client.publish(&wallet.zap(&Keys::generate(), &customer, agent, asked.id, 1_000)).await;
    client.publish(&wallet.zap(&zapper, &customer, customer.public_key(), asked.id, 1_000)).await;
    client.publish(&wallet.zap(&zapper, &customer, agent, job.id, 1_000)).await;
    // One that went to somebody else's address with the same service.
    client.publish(&wallet.foreign_zap(&zapper, &customer, agent, asked.id, 1_000)).await;
    soon(20, "refusal", async || daemon.log().contains("did not come to the wallet").then_some(())).await;
    // In part.
    client.publish(&wallet.zap(&zapper, &customer, agent, asked.id, 300)).await;
    let rest = told(&mut client, &job, "payment-required", Some(&asked)).await;
    assert_eq!(values(&rest, "amount")[0], "700");
    assert!(rest.content.contains("300 msat came in"), "{}", rest.content);
    assert!(results(&mut client, &job).await.is_empty());
    // The rest by somebody else, and more than that.
    client.publish(&wallet.zap(&zapper, &Keys::generate(), agent, rest.id, 900)).await;
    result(&mut client, &job).await;
    assert!(daemon.log().contains("excess=200"), "{}", daemon.log());

    // Nobody pays.
    let other = request(&mut client, &customer, &[]).await;
    let asked = told(&mut client, &other, "payment-required", None).await;
    let expired = soon(60, "end", async || {
        let mut found = client.fetch(json!({"kinds": [7_000], "#e": [other.id]})).await;
        found.retain(|event| values(event, "status")[0] == "error");
        found.pop()
    })
    .await;
    assert!(expired.content.contains("expired"), "{}", expired.content);
    // And yet, later.
    client.publish(&wallet.zap(&zapper, &customer, agent, asked.id, 1_000)).await;
    result(&mut client, &other).await;
    assert_eq!(results(&mut client, &other).await.len(), 1);
    assert_eq!(place.run(&["dvm", "revenue", "--json"]).ok().json()[0]["msat"], json!(300 + 900 + 1_000));
    assert_eq!(daemon.end(Signal::TERM).0, Some(0));
    relay.shutdown();
}
