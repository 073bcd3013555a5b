//! Only public addresses, and those that are allowed, are dialed: 127.0.0.1 is allowed here and 127.0.0.2 is not, and who listens
//! there must see nobody.

use std::net::Ipv4Addr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use brotr_core::{RelayUrl, RelayUrlError};
use brotr_net::http::{self, HttpError};
use brotr_net::{DialError, Dialer, Internet, Lookup, LookupError, Purpose, Stream, Trace, info};
use brotr_tests::dns::{Answer, TTL};
use brotr_tests::{Dns, Script, ScriptedRelay};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::faults::{Place, place_on};

const ALLOWED: &str = "127.0.0.1";
const PRIVATE: &str = "127.0.0.2";

/// An honest relay on each of both addresses, at the same port.
async fn relays() -> (ScriptedRelay, ScriptedRelay, u16) {
    for _ in 0..50 {
        let good = ScriptedRelay::start(Script::honest(vec![])).await.expect("started");
        let port: u16 = good.url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
        let private = Ipv4Addr::new(127, 0, 0, 2);
        if let Ok(trap) = ScriptedRelay::start_on((private, port), Script::honest(vec![])).await {
            return (good, trap, port);
        }
    }
    panic!("no port that is free on both addresses");
}

fn zone(name: &str, times: usize) -> Option<Answer> {
    Some(match name {
        "good.example" => Answer::of(&[ALLOWED]),
        "alias.example" => Answer { cname: Some("good.example".into()), ..Answer::of(&[ALLOWED]) },
        "private.example" => Answer::of(&[PRIVATE]),
        "mixed.example" => Answer::of(&[ALLOWED, PRIVATE]),
        // Allowed when it is looked up first, and not from then on.
        "rebinding.example" => Answer::of(&[if times == 0 { ALLOWED } else { PRIVATE }]),
        "mapped.example" => Answer::of(&["::ffff:127.0.0.2"]),
        "sixtofour.example" => Answer::of(&["2002:7f00:2::1"]),
        "nat64.example" => Answer::of(&["64:ff9b::7f00:2"]),
        "unique-local.example" => Answer::of(&["fd00::1"]),
        "metadata.example" => Answer::of(&["169.254.169.254"]),
        _ => return None,
    })
}

async fn guarded(dns: &Dns) -> Place {
    let network = json!({"allow": [format!("{ALLOWED}/32")], "nameservers": [dns.address],
        "clearnet": {"connect_timeout": "2s", "request_timeout": "2s"}});
    place_on(&network.to_string(), "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checked_address_is_the_one_that_is_dialed() {
    let (good, trap, port) = relays().await;
    let dns = Dns::start(zone).await.expect("started");
    let place = guarded(&dns).await;
    let dialer = &place.agent.dialer;
    let address = |host: &str| RelayUrl::parse(&format!("ws://{host}:{port}"), dialer.guard()).expect("an address");
    let mut trace = Trace::default();
    drop(dialer.dial_traced(&address("alias.example"), Purpose::Visit, &mut trace).await.expect("allowed"));
    let lookup = trace.lookup.expect("it was looked up");
    assert_eq!((lookup.cname.as_deref(), lookup.ttl), (Some("good.example"), TTL));
    assert_eq!(trace.peer.map(|peer| peer.ip().to_string()).as_deref(), Some(ALLOWED));

    let before = dns.asked().len();
    drop(dialer.dial(&address("rebinding.example"), Purpose::Visit).await.expect("allowed at first"));
    // Once for IPv4 and once for IPv6, and never again for this connection.
    assert_eq!(dns.asked().len() - before, 2, "{:?}", dns.asked());
    for host in [
        "rebinding.example",
        "private.example",
        "mixed.example",
        "mapped.example",
        "sixtofour.example",
        "nat64.example",
        "unique-local.example",
        "metadata.example",
    ] {
        let error = dialer.dial(&address(host), Purpose::Visit).await.err().expect(host);
        assert!(matches!(error, DialError::Private { .. }), "{host}: {error}");
        let error = info::fetch(dialer, &address(host)).await.expect_err(host).to_string();
        assert!(error.contains("private address"), "{host}: {error}");
    }
    let error = dialer.dial(&address("nobody.example"), Purpose::Visit).await.err().expect("no such name");
    assert!(matches!(error, DialError::Resolve(..)), "{error}");
    assert_eq!(good.counts.connections.load(Ordering::Relaxed), 2);
    assert_eq!(trap.counts.connections.load(Ordering::Relaxed), 0, "somebody knocked at a private address");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_lookup_says_why() {
    let dns = Dns::start(|name, _| (name == "empty.example").then(Answer::default)).await.expect("started");
    let place = guarded(&dns).await;
    let dialer = &place.agent.dialer;
    for (host, wanted, code) in [
        ("nobody.example", LookupError::NoName, "dns_nxdomain"),
        ("empty.example", LookupError::NoAddress, "dns_no_address"),
    ] {
        let address = RelayUrl::parse(&format!("ws://{host}/"), dialer.guard()).expect("an address");
        let error = dialer.dial(&address, Purpose::Visit).await.err().expect(host);
        assert_eq!((error.code(), error.is_local()), (code.into(), false));
        assert_eq!(error.to_string(), format!("failed to resolve {host}: {wanted}"));
    }
    // Nothing listens there any more.
    drop(dns);
    let address = RelayUrl::parse("ws://nobody.example/", dialer.guard()).expect("an address");
    let error = dialer.dial(&address, Purpose::Visit).await.err().expect("no name server");
    assert_eq!((error.code(), error.is_local()), ("dns_timeout".into(), true), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn private_addresses_are_refused_in_every_spelling() {
    let (_good, trap, port) = relays().await;
    let dns = Dns::start(zone).await.expect("started");
    let place = guarded(&dns).await;
    let dialer = &place.agent.dialer;
    for host in [
        "127.0.0.2",
        "2130706434",
        "0x7f000002",
        "0x7f.0.0.2",
        "0177.0.0.2",
        "127.2",
        "127.0.0.2..",
        "[::ffff:127.0.0.2]",
        "[::ffff:7f00:2]",
        "[2002:7f00:2::1]",
        "[64:ff9b::127.0.0.2]",
        "[::1]",
        "[fe80::1]",
        "169.254.169.254",
    ] {
        let error = RelayUrl::parse(&format!("ws://{host}:{port}"), dialer.guard()).expect_err(host);
        assert!(matches!(error, RelayUrlError::Refused(_)), "{host}: {error}");
        let error = http::get(dialer, &format!("http://{host}:{port}/"), "*/*", 99).await.expect_err(host);
        assert!(matches!(error, HttpError::Refused(_)), "{host}: {error}");
    }
    // Local names, where nothing local is allowed.
    let closed = place_on("{}", "").await;
    for host in ["localhost", "a.localhost", "relay.internal", "relay.local", "router.lan", "relay", "x.home.arpa"] {
        let error = RelayUrl::parse(&format!("ws://{host}:{port}"), closed.agent.dialer.guard()).expect_err(host);
        assert!(matches!(error, RelayUrlError::Refused(_)), "{host}: {error}");
    }
    assert_eq!(trap.counts.connections.load(Ordering::Relaxed), 0, "somebody knocked at a private address");
    assert_eq!(dns.asked(), Vec::<String>::new(), "an address is not looked up");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed() {
    let (_good, trap, port) = relays().await;
    let dns = Dns::start(zone).await.expect("started");
    let place = guarded(&dns).await;
    for to in ["http://169.254.169.254/latest/meta-data".to_owned(), format!("http://{PRIVATE}:{port}/")] {
        let listener = tokio::net::TcpListener::bind((ALLOWED, 0)).await.expect("a port");
        let host = format!("good.example:{}", listener.local_addr().expect("bound").port());
        let answer = format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a guest");
            let mut request = [0; 2_048];
            let n = stream.read(&mut request).await.expect("a request");
            stream.write_all(answer.as_bytes()).await.expect("answered");
            String::from_utf8_lossy(&request[..n]).into_owned()
        });
        let address = RelayUrl::parse(&format!("ws://{host}"), place.agent.dialer.guard()).expect("an address");
        let error = info::fetch(&place.agent.dialer, &address).await.expect_err("a redirect");
        assert!(matches!(&error, HttpError::Redirect(target) if *target == to), "{error}");
        let request = server.await.expect("served").to_lowercase();
        assert!(request.contains(&format!("host: {host}")), "{request}");
        assert!(request.contains("accept: application/nostr+json"), "{request}");
        assert!(request.contains("user-agent: brotr/"), "{request}");
    }
    assert_eq!(trap.counts.connections.load(Ordering::Relaxed), 0, "somebody followed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_address_does_not_block_the_other_family() {
    let alive = tokio::net::TcpListener::bind("[::1]:0").await.expect("a port");
    let port = alive.local_addr().expect("bound").port();
    // Linux drops what asks for a connection while nobody takes those that wait.
    let dead = tokio::net::TcpSocket::new_v4().expect("a socket");
    dead.bind(([127, 0, 0, 9], port).into()).expect("free");
    let _dead = dead.listen(1).expect("listens");
    let mut waiting = Vec::new();
    let knock = || tokio::net::TcpStream::connect(("127.0.0.9", port));
    while let Ok(stream) = tokio::time::timeout(Duration::from_millis(300), knock()).await {
        waiting.push(stream.expect("waits"));
        assert!(waiting.len() < 100, "nobody is turned away");
    }
    let relay = async {
        let (stream, _) = alive.accept().await.expect("a guest");
        tokio_tungstenite::accept_async(stream).await.expect("upgraded")
    };
    let dns = Dns::start(|name, _| (name == "two.example").then(|| Answer::of(&["127.0.0.9", "::1"])));
    let dns = dns.await.expect("started");
    let network = json!({"allow": ["127.0.0.0/8", "::1/128"], "nameservers": [dns.address],
        "clearnet": {"connect_timeout": "3s", "request_timeout": "2s"}});
    let place = place_on(&network.to_string(), "").await;
    let dialer = &place.agent.dialer;
    let address = RelayUrl::parse(&format!("ws://two.example:{port}"), dialer.guard()).expect("an address");
    let mut trace = Trace::default();
    let (dialed, _) = tokio::join!(dialer.dial_traced(&address, Purpose::Visit, &mut trace), relay);
    drop(dialed.expect("by the other address"));
    assert_eq!(trace.peer.map(|peer| peer.ip().to_string()).as_deref(), Some("::1"));
}

/// An internet in which a host has both kinds of addresses, and connecting fails as it says: IPv4 first.
struct Failing([i32; 2]);

#[async_trait::async_trait]
impl Internet for Failing {
    async fn lookup(&self, _host: &str) -> Result<Lookup, LookupError> {
        let addresses = ["9.9.9.9", "2620:fe::fe"].map(|ip| ip.parse().expect("an address")).to_vec();
        Ok(Lookup { addresses, ..Lookup::default() })
    }

    async fn connect(&self, to: std::net::SocketAddr) -> std::io::Result<Box<dyn Stream>> {
        Err(std::io::Error::from_raw_os_error(self.0[usize::from(to.is_ipv6())]))
    }
}

#[tokio::test]
async fn an_address_without_a_route_does_not_hide_why_the_other_one_failed() {
    let place = place_on("{}", "").await;
    let (refused, no_route) =
        (rustix::io::Errno::CONNREFUSED.raw_os_error(), rustix::io::Errno::NETUNREACH.raw_os_error());
    for (errors, code, is_local) in [
        ([refused, no_route], "connection_refused", false),
        ([no_route, refused], "connection_refused", false),
        ([no_route, no_route], "no_route", true),
    ] {
        let settings = place.agent.config.network_settings();
        let dialer = Dialer::over(std::sync::Arc::new(Failing(errors)), settings, "test", Default::default());
        let address = RelayUrl::parse("ws://two.example/", &Default::default()).expect("an address");
        let error = dialer.expect("a dialer").dial(&address, Purpose::Visit).await.err().expect("it fails");
        assert_eq!((error.code(), error.is_local()), (code.into(), is_local), "{error}");
    }
}

/// An internet in which a neighbourhood does not answer. One host has an address there, and another one that refuses.
struct Silent;

#[async_trait::async_trait]
impl Internet for Silent {
    async fn lookup(&self, host: &str) -> Result<Lookup, LookupError> {
        let addresses = if host == "two.example" { &["9.9.8.8", "9.9.9.200"][..] } else { &["9.9.9.9"] };
        let addresses = addresses.iter().map(|ip| ip.parse().expect("an address")).collect();
        Ok(Lookup { addresses, ..Lookup::default() })
    }

    async fn connect(&self, to: std::net::SocketAddr) -> std::io::Result<Box<dyn Stream>> {
        if to.ip().to_string() == "9.9.8.8" {
            return Err(std::io::Error::from_raw_os_error(rustix::io::Errno::CONNREFUSED.raw_os_error()));
        }
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_host_of_which_an_address_was_not_tried_is_not_down() {
    let place = place_on("{}", "").await;
    let settings = place.agent.config.network_settings();
    let dialer = Dialer::over(std::sync::Arc::new(Silent), settings, "test", Default::default()).expect("a dialer");
    let url = |host: &str| RelayUrl::parse(&format!("ws://{host}.example/"), &Default::default()).expect("an address");
    let neighbours: Vec<_> = (0..8).map(|n| url(&format!("silent{n}"))).collect();
    let crowd = neighbours.iter().map(|address| dialer.dial(address, Purpose::Visit));
    let two = url("two");
    let error = tokio::select! {
        _ = futures::future::join_all(crowd) => unreachable!("they wait for ten seconds"),
        dialed = async {
            // The others are in the queue by then.
            tokio::time::sleep(Duration::from_millis(200)).await;
            dialer.dial(&two, Purpose::Visit).await
        } => dialed.err().expect("it fails"),
    };
    assert_eq!((error.code(), error.is_ours()), ("busy".into(), true), "{error}");
}
