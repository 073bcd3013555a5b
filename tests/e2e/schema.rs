//! What the agent publishes, against the schema of its kind in `tests/schemas`.

use nostr::Event;

/// The schemas, by kind.
const SCHEMAS: [(u16, &str); 7] = [
    (0, include_str!("../schemas/0.json")),
    (5, include_str!("../schemas/5.json")),
    (10_002, include_str!("../schemas/10002.json")),
    (10_166, include_str!("../schemas/10166.json")),
    (11_998, include_str!("../schemas/11998.json")),
    (30_166, include_str!("../schemas/30166.json")),
    (31_990, include_str!("../schemas/31990.json")),
];

/// An event that verifies and is as its kind's schema says.
pub(crate) fn assert_sound(event: &Event) {
    event.verify().expect("signed");
    let kind = event.kind.as_u16();
    let (_, schema) =
        SCHEMAS.iter().find(|(one, _)| *one == kind).unwrap_or_else(|| panic!("no schema of kind {kind}"));
    let schema = serde_json::from_str(schema).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let value = serde_json::to_value(event).expect("JSON");
    let errors: Vec<String> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{event:?}: {errors:?}");
}

#[test]
fn the_schemas_accept_valid_and_refuse_invalid_events() {
    let keys = nostr::Keys::generate();
    let event = |tags: &[&[&str]]| {
        let tags = tags.iter().map(|tag| nostr::Tag::parse(tag.iter().copied()).expect("a tag"));
        nostr::EventBuilder::new(nostr::Kind::from(30_166), "").tags(tags).sign_with_keys(&keys).expect("signed")
    };
    let (d, n) = (&["d", "wss://relay.example/"][..], &["n", "clearnet"][..]);
    assert_sound(&event(&[d, n, &["rtt-open", "12"], &["R", "!auth"]]));
    for wrong in [
        &[d][..],
        &[n],
        &[d, n, d],
        &[&["d", "wss://Relay.example"], n],
        &[d, n, &["rtt-open", "1.5"]],
        &[d, n, &["R", "no"]],
        &[d, n, &["N", "1", "2"]],
        &[d, n, &["made-up", "x"]],
    ] {
        let event = event(wrong);
        assert!(std::panic::catch_unwind(|| assert_sound(&event)).is_err(), "{wrong:?}");
    }
}
