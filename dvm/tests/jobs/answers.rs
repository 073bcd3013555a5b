//! What jobs answer.

use super::*;

#[tokio::test]
async fn counts_are_right() {
    let desk = desk().await;
    let table: [(&str, &[&[&str]], &str); 10] = [
        ("", &[], "10"),
        (r#"[{"kinds":[1]}]"#, &[], "3"),
        (r#"{"kinds":[1]}"#, &[], "3"),
        (r##"[{"#kinds":[1]},{"kinds":[1,2]}]"##, &[], "6"),
        ("", &[&["i", r#"{"until":4}"#, "text"]], "5"),
        ("", &[&["i", r#"{"until":4}"#]], "5"),
        ("", &[&["i", "x"]], "10"),
        ("", &[&["i", "nowhere"]], "0"),
        ("", &[&["param", "relay", "wss://a.example"]], "10"),
        ("", &[&["param", "relay", "wss://b.example"]], "0"),
    ];
    for (content, tags, wanted) in table {
        let answer = desk.ask(content, tags).await;
        assert_eq!(answer.event.content, wanted, "{content} {tags:?}");
        assert_eq!((answer.status, answer.event.kind.as_u16()), (JobStatus::Answered, 6_400));
        let request = answer.event.tags.find(TagKind::custom("request")).expect("a request tag");
        let request = nostr::Event::from_json(request.content().expect("a value")).expect("the request itself");
        request.verify().expect("as the customer signed it");
        let inputs = answer.event.tags.filter(TagKind::i()).count();
        assert_eq!(inputs, tags.iter().filter(|t| t[0] == "i").count());
    }
}

#[tokio::test]
async fn numbers_are_given_by_group() {
    let desk = desk().await;
    let (a, b) = (Signer::throwaway(), Signer::throwaway());
    let (root, mid) = ("a".repeat(64), "b".repeat(64));
    for (author, content) in [(&a, "+"), (&a, "-"), (&b, "+"), (&b, "+")] {
        desk.archive(
            author,
            7_777,
            content,
            &[&["e", &root, "", "root"], &["e", &mid, "", "reply"], &["x", content]],
            5,
        )
        .await;
        // Another event each time.
        desk.archive(author, 7_777, content, &[&["e", &root], &["r", content]], 6).await;
    }
    let filter = r#"{"kinds":[7777]}"#;
    let group = async |groups: &[&str]| -> Value {
        let mut tags: Vec<Vec<&str>> = vec![vec!["i", filter]];
        tags.extend(groups.iter().map(|group| vec!["param", "group", *group]));
        let tags: Vec<&[&str]> = tags.iter().map(Vec::as_slice).collect();
        serde_json::from_str(&desk.said(5_400, &tags).await).expect("JSON")
    };
    // Of b's four events two are the same as others and are one each.
    assert_eq!(group(&["content"]).await, json!({"+": 4, "-": 2}));
    let (a, b) = (a.public_key().to_hex(), b.public_key().to_hex());
    assert_eq!(group(&["pubkey"]).await, json!({&a: 4, &b: 2}));
    assert_eq!(group(&["pubkey", "content"]).await, json!({&a: {"+": 2, "-": 2}, &b: {"+": 2}}));
    assert_eq!(group(&["root"]).await, json!({&root: 6}));
    assert_eq!(group(&["reply"]).await, json!({&root: 3, &mid: 3}));
    assert_eq!(group(&["x"]).await, json!({"+": 2, "-": 1}));
    assert_eq!(group(&["nothing"]).await, json!({}));
}

#[tokio::test]
async fn search_finds_events_and_profiles() {
    let desk = desk_with(Options { search: true, ..Options::default() }, Limits::default()).await;
    let (alice, bob) = (Signer::throwaway(), Signer::throwaway());
    desk.archive(&alice, 0, r#"{"name":"Alice of the relays"}"#, &[], 10).await;
    desk.archive(&bob, 0, r#"{"name":"Bob"}"#, &[], 10).await;
    let old = desk.archive(&alice, 1, "on relays and rivers", &[], 100).await;
    let new = desk.archive(&bob, 1, "Relays! And more relays", &[], 200).await;
    let long = desk.archive(&bob, 30_023, "what relays do", &[&["d", "essay"]], 150).await;
    let address = format!("30023:{}:essay", bob.public_key().to_hex());
    let (old, new, alice, bob) =
        (old.id.to_hex(), new.id.to_hex(), alice.public_key().to_hex(), bob.public_key().to_hex());
    let list = |text: String| -> Value { serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}")) };
    let relays: &[&str] = &["i", "relays", "text"];
    assert_eq!(list(desk.said(5_302, &[relays]).await), json!([["e", new], ["a", address], ["e", old]]));
    assert_eq!(list(desk.said(5_302, &[relays, &["i", "rivers"]]).await), json!([["e", old]]));
    let since: &[&str] = &["param", "since", "160"];
    assert_eq!(list(desk.said(5_302, &[relays, since]).await), json!([["e", new]]));
    let users = format!(r#"[["p","{alice}"]]"#);
    assert_eq!(list(desk.said(5_302, &[relays, &["param", "users", &users]]).await), json!([["e", old]]));
    let one: &[&str] = &["param", "max_results", "1"];
    assert_eq!(list(desk.said(5_302, &[relays, one]).await), json!([["e", new]]));
    assert_eq!(list(desk.said(5_303, &[relays]).await), json!([["p", alice]]));
    assert_eq!(list(desk.said(5_303, &[&["i", "bob"]]).await), json!([["p", bob]]));
    // An event as the input is what it says.
    assert_eq!(list(desk.said(5_302, &[&["i", &long.id.to_hex(), "event"]]).await), json!([["a", address]]));
    for (tags, wanted) in [
        (vec![], "nothing to search for"),
        (vec![relays, &["param", "max_results", "many"][..]], "max_results"),
        (vec![relays, &["param", "max_results", "501"][..]], "from 1 to 500"),
        (vec![relays, &["param", "since", "9"][..], &["param", "until", "8"][..]], "since lies after until"),
        (vec![relays, &["param", "users", "nobody"][..]], "no public key"),
        (vec![&["i", "x", "image"][..]], "\"image\""),
    ] {
        let said = desk.said(5_302, &tags).await;
        assert!(said.contains(wanted), "{tags:?}: {said}");
    }
}

#[tokio::test]
async fn popular_events_rank_those_of_follows_first() {
    let desk = desk().await;
    let people: Vec<Signer> = (0..6).map(|_| Signer::throwaway()).collect();
    let (author, friend) = (&people[0], &people[1]);
    let loved = desk.archive(author, 1, "loved by many", &[], NOW - 500).await;
    let shared = desk.archive(&people[2], 1, "shared by a friend", &[], NOW - 500).await;
    let vain = desk.archive(&people[3], 1, "loved by itself", &[], NOW - 500).await;
    let react = async |by: &Signer, kind: u16, to: &nostr::Event, at: i64| {
        let (id, of) = (to.id.to_hex(), to.pubkey.to_hex());
        desk.archive(by, kind, "+", &[&["e", &id], &["p", &of], &["at", &at.to_string()]], at).await;
    };
    for by in &people[2..6] {
        react(by, 7, &loved, NOW - 400).await;
        // Twice is not two people.
        react(by, 7, &loved, NOW - 399).await;
    }
    react(friend, 7, &shared, NOW - 400).await;
    react(friend, 6, &shared, NOW - 300).await;
    for n in 0..20 {
        react(&people[3], 7, &vain, NOW - 200 - n).await;
    }
    let list = async |kind: u16, tags: &[&[&str]]| -> Vec<[String; 2]> {
        serde_json::from_str(&desk.said(kind, tags).await).expect("a list of tags")
    };
    let until = NOW.to_string();
    let until: &[&str] = &["param", "until", &until];
    let e = |event: &nostr::Event| ["e".to_owned(), event.id.to_hex()];
    let p = |key: &Signer| ["p".to_owned(), key.public_key().to_hex()];
    assert_eq!(list(5_300, &[until]).await, [e(&loved), e(&shared)], "four hearts before a heart and a repost");
    desk.archive(&desk.customer, 3, "", &[&["p", &friend.public_key().to_hex()]], NOW - 1_000).await;
    assert_eq!(list(5_300, &[until]).await, [e(&shared), e(&loved)], "a friend counts for more");
    assert_eq!(list(5_300, &[until, &["i", "MANY"]]).await, [e(&loved)]);
    assert_eq!(list(5_301, &[until]).await, [p(&people[2]), p(author)]);
    // Who is followed already is no discovery.
    desk.archive(&desk.customer, 3, "", &[&["p", &people[2].public_key().to_hex()]], NOW - 900).await;
    assert_eq!(list(5_301, &[until]).await, [p(author)]);
    let long_ago = (NOW - 86_400 * 30).to_string();
    assert!(list(5_300, &[&["param", "until", &long_ago]]).await.is_empty());
}

#[tokio::test]
async fn hidden_and_disliked_events_are_not_popular() {
    let desk = desk().await;
    let people: Vec<Signer> = (0..5).map(|_| Signer::throwaway()).collect();
    let author = &people[0];
    let at = NOW - 500;
    let react = async |to: &[&str], content: &str, by: usize| {
        let of = author.public_key().to_hex();
        desk.archive(&people[by], 7, content, &[to, &["p", &of]], NOW - 400).await;
    };
    let id = |event: &nostr::Event| event.id.to_hex();
    let deleted = desk.archive(author, 1, "deleted", &[], at).await;
    let expired = desk.archive(author, 1, "expired", &[&["expiration", &(NOW - 10).to_string()]], at).await;
    let replaced = desk.archive(author, 0, "replaced", &[], at).await;
    desk.archive(author, 0, "current", &[], at + 1).await;
    let unknown = "ab".repeat(32);
    for gone in [&id(&deleted), &id(&expired), &id(&replaced), &unknown] {
        for by in 1..5 {
            react(&["e", gone], "+", by).await;
        }
    }
    desk.archive(author, 5, "", &[&["e", &id(&deleted)]], at + 1).await;
    // An article counts by its address, in its current version; one that was deleted does not.
    let [article, gone] = ["kept", "gone"].map(|d| format!("30023:{}:{d}", author.public_key().to_hex()));
    desk.archive(author, 30_023, "first version", &[&["d", "kept"]], at).await;
    desk.archive(author, 30_023, "second version", &[&["d", "kept"]], at + 1).await;
    desk.archive(author, 30_023, "an article", &[&["d", "gone"]], at).await;
    for (address, by) in [(&article, 1), (&article, 2), (&gone, 1), (&gone, 2), (&gone, 3)] {
        react(&["a", address], "+", by).await;
    }
    desk.archive(author, 5, "", &[&["a", &gone]], at + 1).await;
    // Four dislikes and one like are one like.
    let (liked, disliked) =
        (desk.archive(author, 1, "liked", &[], at).await, desk.archive(author, 1, "disliked", &[], at).await);
    for by in 1..4 {
        react(&["e", &id(&liked)], "+", by).await;
        react(&["e", &id(&disliked)], "-", by).await;
    }
    react(&["e", &id(&disliked)], "\u{2764}", 4).await;
    let until = NOW.to_string();
    let until: &[&str] = &["param", "until", &until];
    let list = async |more: &[&[&str]]| -> Vec<[String; 2]> {
        let tags = [&[until], more].concat();
        serde_json::from_str(&desk.said(5_300, &tags).await).expect("a list of tags")
    };
    let named = |name: &str, value: &str| [name.to_owned(), value.to_owned()];
    let wanted = [named("e", &id(&liked)), named("a", &article), named("e", &id(&disliked))];
    assert_eq!(list(&[]).await, wanted);
    assert_eq!(list(&[&["i", "second VERSION"]]).await, wanted[1..2]);
}

#[tokio::test]
async fn follows_of_follows_are_trusted() {
    let [root, friend, third, stranger] = [(); 4].map(|()| Signer::throwaway());
    let limits = Limits { trust: vec![root.public_key()], ..Limits::default() };
    let desk = desk_with(Options::default(), limits).await;
    let follows = |who: &Signer, whom: &Signer| {
        let builder = EventBuilder::new(Kind::ContactList, "").tag(Tag::public_key(whom.public_key()));
        Event::from(&who.sign(builder).expect("signed")).verify().expect("verified")
    };
    // A stranger's own list says nothing for them.
    let events = vec![follows(&root, &friend), follows(&friend, &third), follows(&stranger, &root)];
    desk.archive.store(Batch { events, ..Batch::default() }).await.expect("stored");
    let asks = async |who: &Signer| {
        let builder = EventBuilder::new(Kind::from(5_400), "").custom_created_at(Timestamp::from(NOW.cast_unsigned()));
        // Lists are dated today, jobs long ago.
        desk.dvm.accept(&who.sign(builder).expect("signed"), NOW).await.expect("asked")
    };
    for who in [&root, &friend, &third] {
        assert_eq!(asks(who).await, Acceptance::New);
    }
    let Acceptance::Ignored(why) = asks(&stranger).await else { panic!("nobody knows them") };
    assert!(why.contains("follows"), "{why}");
}

#[tokio::test]
async fn partial_results_are_reported() {
    let desk = desk().await;
    let request = desk.request("", &[&["param", "group", "content"]], NOW);
    assert_eq!(desk.dvm.accept(&request, NOW).await.expect("kept"), Acceptance::New);
    let job = desk.archive.take_job(1).await.expect("asked").expect("there");
    let prepared = desk.dvm.prepare(job).await;
    let (sender, receiver) = tokio::sync::watch::channel(String::new());
    let Outcome::Answer(answer) = desk.dvm.run(&prepared, &sender).await.expect("signed") else { panic!("free") };
    // Ten events are one page: all is known with the first part.
    assert_eq!(*receiver.borrow(), answer.event.content);
    let event = desk.dvm.partial(&prepared, "{}").await.expect("signed");
    assert!(event.tags.iter().any(|tag| tag.as_slice() == ["status", "partial", "{}"]), "{event:?}");
}

#[tokio::test]
async fn answers_are_dated_by_the_clock_that_was_given() {
    let mut desk = desk().await;
    let terms = Terms { now: || NOW, ..Terms::default() };
    desk.dvm = Dvm::new(desk.archive.clone(), desk.agent.clone(), Arc::new(|url: &str| Ok(url.to_owned())), terms);
    let now = Timestamp::from(NOW.cast_unsigned());
    assert_eq!(desk.ask("", &[]).await.event.created_at, now);
    assert_eq!(desk.dvm.heartbeat(60).expect("signed").created_at, now);
    assert_eq!(desk.dvm.withdrawal().expect("signed").created_at, now);
}
