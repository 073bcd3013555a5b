//! The outbox.

use super::*;

pub(super) fn outgoing(id: nostr::EventId, relay: &str) -> Outgoing {
    Outgoing { event: id, relay: relay.into(), body: "{}".into(), slot: None, attempts: 0, rank: 0 }
}

pub(super) async fn the_outbox_keeps_undelivered_events(archive: Arc<dyn Archive>, _: String) {
    let ids: Vec<_> = (0..3).map(|i| event(&i.to_string(), vec![], 1).event().id).collect();
    let list: Vec<_> = ids.iter().map(|id| outgoing(*id, RELAY)).collect();
    archive.enqueue(&list, 10).await.expect("queued");
    archive.enqueue(&list, 11).await.expect("queued again, once");
    archive.delivered(&[(list[0].clone(), Delivery::Accepted)], 12).await.expect("kept");
    archive.delivered(&[(list[1].clone(), Delivery::Refused("blocked: no".into()))], 12).await.expect("kept");
    assert_eq!(archive.due_relays(12).await.expect("due"), [(RELAY.to_owned(), Lane::Answers)]);
    let later = Delivery::Delayed { reason: "timeout".into(), due_at: 50 };
    archive.delivered(&[(list[2].clone(), later.clone())], 12).await.expect("kept");
    assert!(archive.due_outgoing(RELAY, Lane::Answers, 49, 10).await.expect("due").is_empty());
    let due = archive.due_outgoing(RELAY, Lane::Answers, 50, 10).await.expect("due");
    assert_eq!(due, [Outgoing { attempts: 1, ..list[2].clone() }]);
    // What waits behind a delayed event waits with it; other relays do not.
    let behind = [
        outgoing(ids[0], "wss://slow.example/"),
        outgoing(ids[1], "wss://slow.example/"),
        outgoing(ids[2], "wss://quick.example/"),
    ];
    archive.enqueue(&behind, 60).await.expect("queued");
    let later = Delivery::Delayed { reason: "rate-limited: slow".into(), due_at: 90 };
    archive.delivered(&[(behind[0].clone(), later.clone())], 61).await.expect("kept");
    archive.delivered(&[(list[2].clone(), Delivery::Accepted)], 61).await.expect("kept");
    assert_eq!(archive.due_relays(89).await.expect("due"), [("wss://quick.example/".to_owned(), Lane::Answers)]);
    // A newer version takes the place of one that waits, and of nothing else.
    let version = |n: usize| Outgoing { slot: Some("30166:d".into()), ..outgoing(ids[n], "wss://r.example/") };
    archive.enqueue(&[version(0), outgoing(ids[2], "wss://r.example/")], 62).await.expect("queued");
    archive.enqueue(&[version(1)], 63).await.expect("queued");
    let waiting = async |lane| {
        let due = archive.due_outgoing("wss://r.example/", lane, 63, 9).await.expect("due");
        due.iter().map(|one| one.event).collect::<Vec<_>>()
    };
    assert_eq!((waiting(Lane::Answers).await, waiting(Lane::Versions).await), (vec![ids[2]], vec![ids[1]]));
    // What is done with is forgotten, what waits is not.
    assert_eq!(archive.prune(60).await.expect("pruned"), 3);
    assert_eq!(waiting(Lane::Answers).await.len() + waiting(Lane::Versions).await.len(), 2);
    let due = archive.due_relays(63).await.expect("due");
    assert!(due.contains(&("wss://r.example/".to_owned(), Lane::Versions)), "{due:?}");
    let slow = archive.due_outgoing("wss://slow.example/", Lane::Answers, 90, 10).await.expect("due");
    assert_eq!(slow.iter().map(|one| one.attempts).collect::<Vec<_>>(), [1, 0]);
    // One that the relay does not like holds up no other.
    let postponed = Delivery::Postponed { reason: "too long".into(), due_at: 900 };
    archive.delivered(&[(slow[0].clone(), postponed.clone())], 91).await.expect("kept");
    let rest = archive.due_outgoing("wss://slow.example/", Lane::Answers, 92, 10).await.expect("due");
    assert_eq!(rest.iter().map(|one| one.event).collect::<Vec<_>>(), [ids[1]]);
}
