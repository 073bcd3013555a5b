//! What becomes of requests: refused, answered once, chained, cancelled, encrypted.

use super::*;

#[tokio::test]
async fn an_invalid_request_gets_a_specific_error() {
    let desk = desk().await;
    let many = format!("[{}]", vec!["{}"; 21].join(","));
    let four = [&["param", "group", "pubkey"][..]; 4];
    let table: [(&str, &[&[&str]], &str); 11] = [
        ("how many?", &[], "not a JSON list of filters"),
        (r#"[{"kindz":[1]}]"#, &[], "kindz"),
        (r#"[{"kinds":["one"]}]"#, &[], "not a filter"),
        (r#"[{"search":"cats"}]"#, &[], "full-text"),
        ("[3]", &[], "JSON object"),
        (&many, &[], "too many filters"),
        ("", &four, "groups within groups"),
        ("", &[&["param", "group", "pubkey"], &["param", "relay", "wss://a.example"]], "leave relay out"),
        ("", &[&["param", "relay", "http://x"]], "not a wss:// address"),
        ("", &[&["i", "https://x.example", "url"]], "not fetched"),
        ("", &[&["i", &"0".repeat(64), "job"]], "no result of the job"),
    ];
    for (content, tags, wanted) in table {
        let answer = desk.ask(content, tags).await;
        assert_eq!((answer.status, answer.event.kind.as_u16()), (JobStatus::Failed, 7_000), "{content}");
        assert!(answer.event.content.contains(wanted), "{content} {tags:?} gave {}", answer.event.content);
        let status = answer.event.tags.find(TagKind::custom("status")).expect("a status");
        assert_eq!(status.as_slice()[1], "error");
    }
}

#[tokio::test]
async fn requests_for_others_are_ignored() {
    let desk = desk().await;
    let other = Signer::throwaway().public_key().to_hex();
    let ours = desk.agent.public_key().to_hex();
    let ignored = |request: nostr::Event| async {
        let request = request;
        matches!(desk.dvm.accept(&request, NOW).await.expect("looked at"), Acceptance::Ignored(_))
    };
    assert!(ignored(desk.request("", &[&["p", &other]], NOW)).await, "to another");
    assert!(ignored(desk.request("", &[], NOW - 3_601)).await, "too old");
    let (past, future) = ((NOW - 1).to_string(), (NOW + 60).to_string());
    assert!(ignored(desk.request("", &[&["expiration", &past]], NOW)).await, "expired");
    assert!(!ignored(desk.request("", &[&["expiration", &future]], NOW)).await, "not expired yet");
    assert!(ignored(desk.request("", &[], NOW + 901)).await, "from the future");
    assert!(ignored(desk.request(&" ".repeat(70_000), &[], NOW)).await, "too large");
    assert!(ignored(desk.customer.sign(EventBuilder::text_note("5400")).expect("signed")).await, "no job");
    assert!(!ignored(desk.request("", &[&["p", &other], &["p", &ours]], NOW)).await, "to us among others");
}

#[tokio::test]
async fn a_request_is_stored_once() {
    let desk = desk().await;
    let request = desk.request("", &[&["relays", "wss://r.example", "http://no", "wss://s.example/"]], NOW);
    assert_eq!(desk.dvm.accept(&request, NOW).await.expect("kept"), Acceptance::New);
    assert_eq!(desk.dvm.accept(&request, NOW + 1).await.expect("kept"), Acceptance::Known);
    let job = desk.archive.take_job(1).await.expect("asked").expect("there");
    assert_eq!(desk.archive.take_job(1).await.expect("asked"), None);
    assert_eq!(
        desk.dvm.reply_relays(&desk.dvm.prepare(job.clone()).await).await.expect("asked"),
        ["wss://r.example/", "wss://s.example/"]
    );
    let feedback = desk.dvm.processing(&desk.dvm.prepare(job.clone()).await).await.expect("signed");
    assert_eq!(feedback.kind.as_u16(), 7_000);
    assert!(feedback.tags.find(TagKind::Expiration).is_some(), "feedback is of no use for ever (NIP-40)");
    let announcement = desk.dvm.announcement(&serde_json::json!({"name": "x"})).expect("signed");
    assert_eq!(announcement.kind.as_u16(), 31_990);
    let kinds: Vec<_> = announcement.tags.filter(TagKind::k()).filter_map(|tag| tag.content()).collect();
    assert_eq!(kinds, ["5300", "5301", "5302", "5303", "5400"]);
    let says: Value = serde_json::from_str(&announcement.content).expect("JSON");
    assert_eq!((&says["name"], &says["encryptionSupported"]), (&json!("x"), &json!(true)));
    assert!(says["nip90Params"]["group"]["values"].as_array().is_some_and(|values| values.contains(&json!("pubkey"))));
    assert_eq!(job_kinds(), [5_300, 5_301, 5_302, 5_303, 5_400]);
}

#[tokio::test]
async fn an_encrypted_request_gets_an_encrypted_answer() {
    let desk = desk().await;
    let ours = desk.agent.public_key();
    let plain = json!([["i", r#"{"kinds":[1]}"#, "text"], ["relays", "wss://secret.example"]]).to_string();
    let bare = plain[1..plain.len() - 1].to_owned();
    let customer = &desk.customer;
    let sealed = [
        customer.nip44_encrypt(&ours, &plain).await.expect("encrypted"),
        customer.nip04_encrypt(&ours, &plain).await.expect("encrypted"),
        customer.nip44_encrypt(&ours, &bare).await.expect("encrypted"),
    ];
    for (n, content) in sealed.iter().enumerate() {
        let request = desk.request(content, &[&["encrypted"], &["p", &ours.to_hex()]], NOW);
        assert_eq!(desk.dvm.accept(&request, NOW).await.expect("kept"), Acceptance::New);
        let job = desk.archive.take_job(1).await.expect("asked").expect("there");
        assert_eq!(
            desk.dvm.reply_relays(&desk.dvm.prepare(job.clone()).await).await.expect("asked"),
            ["wss://secret.example/"]
        );
        let open = async |event: &nostr::Event| match n {
            1 => customer.nip04_decrypt(&ours, &event.content).await.expect("decrypted"),
            _ => customer.nip44_decrypt(&ours, &event.content).await.expect("decrypted"),
        };
        let feedback = desk.dvm.processing(&desk.dvm.prepare(job.clone()).await).await.expect("signed");
        assert!(feedback.tags.find(TagKind::custom("status")).is_none(), "{feedback:?}");
        let hidden: Vec<Vec<String>> = serde_json::from_str(&open(&feedback).await).expect("tags");
        assert_eq!(hidden[0], ["status", "processing"]);
        let answer = ran(&desk.dvm, &job).await;
        assert_eq!((answer.status, open(&answer.event).await.as_str()), (JobStatus::Answered, "3"));
        assert_eq!(answer.event.tags.filter(TagKind::i()).count(), 0, "the inputs would tell");
        assert!(!answer.event.as_json().contains("kinds\\\":[1]"), "{}", answer.event.as_json());
        desk.archive.end_job(job.id, answer.status, NOW, &[]).await.expect("ended");
    }
    // What was encrypted to another, or is no list of tags, gets one error.
    let nonsense = customer.nip44_encrypt(&ours, "how many?").await.expect("encrypted");
    for (content, wanted) in [("not encrypted", "cannot be decrypted"), (nonsense.as_str(), "no JSON list of tags")] {
        let request = desk.request(content, &[&["encrypted"], &["p", &ours.to_hex()]], NOW);
        let answer = desk.answer(request).await;
        assert_eq!(answer.status, JobStatus::Failed);
        let hidden = customer.nip44_decrypt(&ours, &answer.event.content).await.expect("decrypted");
        assert!(hidden.contains(wanted), "{hidden}");
    }
    let request = desk.request(&sealed[0], &[&["encrypted"]], NOW);
    assert!(matches!(desk.dvm.accept(&request, NOW).await.expect("looked at"), Acceptance::Ignored(_)), "to nobody");
}

#[tokio::test]
async fn jobs_are_chained_cancelled_and_answered_where_the_customer_reads() {
    let desk = desk().await;
    let first = desk.request(r#"{"kinds":[1]}"#, &[], NOW);
    assert_eq!(desk.answer(first.clone()).await.event.content, "3");
    // The result of the first is a tag value to the second.
    let note = desk.archive(&desk.agent, 1, "three", &[&["k", "3"]], 50).await;
    assert_eq!(desk.said(5_400, &[&["i", &first.id.to_hex(), "job"]]).await, "1", "{}", note.id);
    // What names the events of a list, as other jobs give it.
    let list = json!([["e", note.id], ["e", first.id]]).to_string();
    desk.archive(&desk.agent, 7, "+", &[&["e", &note.id.to_hex()]], 51).await;
    assert_eq!(desk.said(5_400, &[&["i", &list]]).await, "1");
    // A secret result is opened for whom it was meant, and for nobody else.
    let ours = desk.agent.public_key();
    let hidden = json!([["i", r#"{"kinds":[1]}"#]]).to_string();
    let sealed = desk.customer.nip44_encrypt(&ours, &hidden).await.expect("encrypted");
    let secret = desk.request(&sealed, &[&["encrypted"], &["p", &ours.to_hex()]], NOW);
    assert_eq!(desk.answer(secret.clone()).await.status, JobStatus::Answered);
    desk.archive(&desk.agent, 1, "four", &[&["k", "4"]], 52).await;
    assert_eq!(desk.said(5_400, &[&["i", &secret.id.to_hex(), "job"]]).await, "1", "four notes, and one says so");
    let builder =
        EventBuilder::new(Kind::from(5_400), "").tag(Tag::custom(TagKind::i(), [secret.id.to_hex(), "job".into()]));
    let stranger = Signer::throwaway();
    let request = stranger.sign(builder.custom_created_at(Timestamp::from(NOW.cast_unsigned()))).expect("signed");
    assert_eq!(desk.dvm.accept(&request, NOW).await.expect("kept"), Acceptance::New);
    let job = desk.archive.take_job(1).await.expect("asked").expect("there");
    let answer = ran(&desk.dvm, &job).await;
    assert!(answer.event.content.contains("encrypted to another"), "{}", answer.event.content);
    desk.archive.end_job(job.id, answer.status, NOW, &[]).await.expect("ended");
    // A customer without `relays` is answered where they read.
    let tags: &[&[&str]] =
        &[&["r", "wss://in.example", "read"], &["r", "wss://out.example", "write"], &["r", "wss://both.example"]];
    desk.archive(&desk.customer, 10_002, "", tags, 60).await;
    let request = desk.request("", &[], NOW + 1);
    desk.dvm.accept(&request, NOW).await.expect("kept");
    let job = desk.archive.take_job(1).await.expect("asked").expect("there");
    assert_eq!(
        desk.dvm.reply_relays(&desk.dvm.prepare(job.clone()).await).await.expect("asked"),
        ["wss://in.example/", "wss://both.example/"]
    );
    // Taken back by the customer, and by nobody else.
    let deletion =
        |by: &Signer| by.sign(EventBuilder::new(Kind::EventDeletion, "").tag(Tag::event(job.id))).expect("signed");
    let stranger = desk.dvm.accept(&deletion(&Signer::throwaway()), NOW).await.expect("looked at");
    assert!(matches!(stranger, Acceptance::Ignored(_)));
    assert_eq!(desk.dvm.accept(&deletion(&desk.customer), NOW).await.expect("taken back"), Acceptance::Cancelled);
    assert!(!desk.archive.end_job(job.id, JobStatus::Answered, NOW, &[]).await.expect("asked"), "no result afterwards");
}

#[tokio::test]
async fn invalid_requests_do_not_delay_honest_customers() {
    let limits = Limits { per_minute: 5, open: 3, ..Limits::default() };
    let desk = desk_with(Options::default(), limits).await;
    let loud = Signer::throwaway();
    let mut kept = 0;
    for n in 0..300_i64 {
        let builder = EventBuilder::new(Kind::from(5_400), n.to_string());
        let request = loud.sign(builder.custom_created_at(Timestamp::from(NOW.cast_unsigned()))).expect("signed");
        kept += u32::from(desk.dvm.accept(&request, NOW).await.expect("looked at") == Acceptance::New);
    }
    assert_eq!(kept, 3, "as many as may wait");
    let honest = desk.request("", &[], NOW);
    assert_eq!(desk.dvm.accept(&honest, NOW).await.expect("kept"), Acceptance::New);
    let first = desk.archive.take_job(1).await.expect("asked").expect("there").id;
    let second = desk.archive.take_job(1).await.expect("asked").expect("there").id;
    assert!([first, second].contains(&honest.id), "the honest one is the second at the latest");
    let (allowed, denied) = (Signer::throwaway(), Signer::throwaway());
    let limits = Limits { allow: vec![allowed.public_key()], deny: vec![denied.public_key()], ..Limits::default() };
    let desk = desk_with(Options::default(), limits).await;
    for (by, wanted) in [(&allowed, true), (&denied, false), (&loud, false)] {
        let builder = EventBuilder::new(Kind::from(5_400), "").custom_created_at(Timestamp::from(NOW.cast_unsigned()));
        let taken = desk.dvm.accept(&by.sign(builder).expect("signed"), NOW).await.expect("looked at");
        assert_eq!(taken == Acceptance::New, wanted);
    }
    let desk = desk_with(Options::default(), Limits { pow: 8, ..Limits::default() }).await;
    for (bits, wanted) in [(0, false), (8, true)] {
        let builder = EventBuilder::new(Kind::from(5_400), "x").custom_created_at(Timestamp::from(NOW.cast_unsigned()));
        let builder = if bits > 0 { builder.pow(bits) } else { builder.tag(Tag::hashtag("seven")) };
        let request = loud.sign(builder).expect("signed");
        if bits == 0 && request.check_pow(8) {
            continue;
        }
        assert_eq!(desk.dvm.accept(&request, NOW).await.expect("looked at") == Acceptance::New, wanted);
    }
}

#[tokio::test]
async fn a_ping_is_answered_once() {
    let desk = desk().await;
    let ping = |to: &Signer, at: i64| {
        let builder = EventBuilder::new(Kind::Custom(7_007), "").tag(Tag::public_key(to.public_key()));
        let builder = builder.allow_self_tagging().custom_created_at(Timestamp::from(at.cast_unsigned()));
        desk.customer.sign(builder).expect("signed")
    };
    let ours = ping(&desk.agent, NOW);
    assert_eq!(desk.dvm.accept(&ours, NOW).await.expect("asked"), Acceptance::Ping);
    for other in [ping(&desk.customer, NOW), ping(&desk.agent, NOW - 100)] {
        assert!(matches!(desk.dvm.accept(&other, NOW).await.expect("asked"), Acceptance::Ignored(_)));
    }
    let (pong, again) = (desk.dvm.pong(&ours).expect("signed"), desk.dvm.pong(&ours).expect("signed"));
    assert_eq!((pong.kind, pong.id), (Kind::Custom(7_000), again.id), "the same event, however often it is heard");
    assert!(pong.tags.iter().any(|tag| tag.as_slice() == ["status", "pong"]), "{pong:?}");
    assert_eq!(pong.tags.event_ids().next(), Some(&ours.id));
}

#[tokio::test]
async fn a_job_that_depends_on_another_blocks_no_worker() {
    let desk = desk().await;
    let now = i64::try_from(Timestamp::now().as_secs()).expect("a time");
    let first = desk.request(r#"{"kinds":[1]}"#, &[], now);
    let second = desk.request("", &[&["i", &first.id.to_hex(), "job"]], now);
    let (partial, _) = tokio::sync::watch::channel(String::new());
    // In the wrong order.
    assert_eq!(desk.dvm.accept(&second, now).await.expect("kept"), Acceptance::New);
    let job = desk.archive.take_job(now).await.expect("asked").expect("there");
    let prepared = desk.dvm.prepare(job.clone()).await;
    let Outcome::Later(other) = desk.dvm.run(&prepared, &partial).await.expect("signed") else { panic!("too early") };
    assert_eq!(other, first.id);
    assert!(desk.archive.postpone_job(job.id, now + 60, other).await.expect("put back"));
    assert_eq!(desk.archive.take_job(now).await.expect("asked"), None, "it is not in anybody's way");
    assert_eq!(desk.dvm.accept(&first, now).await.expect("kept"), Acceptance::New);
    let earlier = desk.archive.take_job(now).await.expect("asked").expect("there");
    let Outcome::Later(_) = desk.dvm.run(&prepared, &partial).await.expect("signed") else { panic!("too early") };
    let answer = ran(&desk.dvm, &earlier).await;
    desk.archive.end_job(earlier.id, answer.status, now, &[on_its_way(&answer)]).await.expect("ended");
    // Its end wakes the other, which takes its result: "3", a tag value that nothing has.
    let job = desk.archive.take_job(now).await.expect("asked").expect("at once");
    assert_eq!((job.id, job.waits_for), (second.id, Some(first.id)));
    assert_eq!(ran(&desk.dvm, &job).await.event.content, "0");
    // What never comes is told so.
    let late = brotr_storage::Job { received_at: now - 5, ..job };
    let unknown = desk.request("", &[&["i", &"ab".repeat(32), "job"]], now);
    let late = brotr_storage::Job { request: unknown.as_json(), ..late };
    assert!(ran(&desk.dvm, &late).await.event.content.contains("ask for it first"));
}

#[tokio::test]
async fn kinds_beyond_sixteen_bits_are_no_other_kinds() {
    let desk = desk().await;
    // 65,537 is 1 in sixteen bits, and there are three events of kind 1.
    for filter in [r#"{"kinds":[65537]}"#, r##"[{"#kinds":[65537]}]"##, r#"{"kinds":[4294967297]}"#] {
        let answer = desk.ask(filter, &[]).await;
        let counted = answer.status == JobStatus::Answered;
        assert!(!counted || answer.event.content == "0", "{filter}: {}", answer.event.content);
    }
}
