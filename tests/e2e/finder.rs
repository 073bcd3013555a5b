//! Relays found in events and in documents on the web.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use brotr_tests::{Script, ScriptedRelay};
use nostr::{EventBuilder, Keys, Kind, Tag, TagKind, Timestamp};

use super::program::Place;

#[tokio::test(flavor = "multi_thread")]
async fn relays_named_in_events_are_found() {
    let author = Keys::generate();
    let list = EventBuilder::new(Kind::RelayList, "")
        .tag(Tag::custom(TagKind::custom("r"), ["wss://found.example"]))
        .tag(Tag::custom(TagKind::custom("r"), ["wss://10.1.2.3"]))
        .custom_created_at(Timestamp::from(1_600_000_000));
    let relay = ScriptedRelay::start(Script::honest(vec![list.sign_with_keys(&author).expect("signed")]))
        .await
        .expect("started");
    let json = br#"{"relays": [{"url": "wss://listed.example"}, {"url": 7}, {"url": "wss://listed.example/"}]}"#;
    let (web, unchanged) = serve(json.to_vec()).await;
    let place = Place::with(&format!("finder: {{sources: [{{url: \"{web}\", jmespath: \"relays[].url\"}}]}}"));
    place.run(&["sync", &relay.url]).ok();
    let found = place.run(&["find", "--json"]).ok().json();
    assert_eq!(found.last().expect("a total")["total"]["added"], 2, "{found:?}");
    let listed = place.run(&["relays", "list", "--json"]).ok().stdout;
    assert!(listed.contains("wss://found.example/") && listed.contains("wss://listed.example/"), "{listed}");
    assert!(!listed.contains("10.1.2.3"));
    assert_eq!(unchanged.load(Ordering::Relaxed), 0);
    let again = place.run(&["find", "--json"]).ok().json();
    assert_eq!(again.last().expect("a total")["total"]["added"], 0);
    assert_eq!(unchanged.load(Ordering::Relaxed), 1, "read again though it had not changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_of_one_host_add_few_relays() {
    let key = Keys::generate().public_key();
    let paths = (0..30).map(|n| format!("wss://any.example/{n}"));
    let made_up = [format!("wss://users.example/{key}"), "wss://users.example/x/npub1abc".to_owned()];
    let tags = paths.chain(made_up).map(|url| Tag::custom(TagKind::custom("r"), [url]));
    let list = EventBuilder::new(Kind::RelayList, "").tags(tags).custom_created_at(Timestamp::from(1_600_000_000));
    let relay = ScriptedRelay::start(Script::honest(vec![list.sign_with_keys(&Keys::generate()).expect("signed")]))
        .await
        .expect("started");
    let place = Place::with("");
    place.run(&["sync", &relay.url]).ok();
    place.run(&["find"]).ok();
    let listed = place.run(&["relays", "list", "--json"]).ok().json();
    let urls: Vec<&str> = listed.iter().filter_map(|relay| relay["url"].as_str()).collect();
    let of = |host: &str| urls.iter().filter(|url| url.contains(host)).count();
    assert_eq!(of("any.example"), 8 + 1, "eight paths and the root: {urls:?}");
    assert!(urls.contains(&"wss://any.example/") && urls.contains(&"wss://users.example/"), "{urls:?}");
    assert_eq!(of("users.example"), 1, "{urls:?}");
}

/// An HTTP server with one document, and how often it was asked by who had it already.
async fn serve(body: Vec<u8>) -> (String, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/relays.json", listener.local_addr().expect("an address"));
    let unchanged = Arc::new(AtomicUsize::new(0));
    let counted = unchanged.clone();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let read = stream.read(&mut request).await.unwrap_or_default();
            let request = String::from_utf8_lossy(&request[..read]).to_ascii_lowercase();
            if request.contains("if-none-match: \"one\"") {
                counted.fetch_add(1, Ordering::Relaxed);
                let _ = stream.write_all(b"HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n").await;
                continue;
            }
            let head = format!(
                "HTTP/1.1 200 OK\r\nETag: \"one\"\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(&body).await;
        }
    });
    (url, unchanged)
}
