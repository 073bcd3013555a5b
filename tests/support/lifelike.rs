//! Events in the proportions in which relays hold them, for measuring: kinds, sizes, tags and authors after a sample of
//! a thousand taken from public relays, with nothing in them that anybody wrote.

use nostr::{EventBuilder, JsonUtil, Keys, Kind, Tag, Timestamp};

/// xorshift64*: the same events from the same seed, wherever it runs.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Dice that fall the same way for the same seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    /// A number below `n`, the low ones far more often: half of the throws fall into the first eighth.
    pub fn low(&mut self, n: usize) -> usize {
        let unit = self.below(1 << 20) as f64 / f64::from(1 << 20);
        ((unit * unit * unit) * n as f64) as usize
    }

    fn hex(&mut self) -> String {
        (0..4).map(|_| format!("{:016x}", self.next() << 11 | self.next() & 0x7FF)).collect()
    }

    fn words(&mut self, bytes: usize) -> String {
        const SYLLABLES: [&str; 24] = [
            "no", "str", "re", "lay", "ev", "ent", "key", "zap", "sat", "bit", "coin", "the", "and", "to", "of", "is",
            "you", "for", "on", "ing", "er", "ly", "un", "it",
        ];
        let mut text = String::new();
        while text.len() < bytes {
            for _ in 0..=self.below(3) {
                text.push_str(SYLLABLES[self.low(SYLLABLES.len())]);
            }
            text.push(if self.below(12) == 0 { '\n' } else { ' ' });
        }
        text
    }
}

/// The authors, by number; the low numbers write most.
#[must_use]
pub fn authors(n: usize, seed: u64) -> Vec<Keys> {
    let mut dice = Dice::new(seed);
    let secret = |dice: &mut Dice| nostr::SecretKey::from_hex(&dice.hex());
    (0..n).map(|_| Keys::new(secret(&mut dice).expect("below the curve's order"))).collect()
}

/// `n` signed events as JSON, newest first, a second or more apart; 995 bytes each, more or less.
#[must_use]
pub fn lifelike(n: usize, seed: u64, authors: &[Keys]) -> Vec<String> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = n.div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let parts: Vec<_> = (0..n)
            .step_by(share)
            .map(|from| {
                scope.spawn(move || {
                    let mut dice = Dice::new(seed ^ (from as u64) << 32);
                    (from..n.min(from + share)).map(|i| one(&mut dice, i, authors)).collect::<Vec<_>>()
                })
            })
            .collect();
        parts.into_iter().flat_map(|part| part.join().expect("signing does not panic")).collect()
    })
}

fn one(dice: &mut Dice, i: usize, authors: &[Keys]) -> String {
    let author = &authors[dice.low(authors.len())];
    let relay = |dice: &mut Dice| format!("wss://relay{}.example.com", dice.low(60));
    let e = |dice: &mut Dice, relay: &str, marker: &str| Tag::parse(["e", &dice.hex(), relay, marker]).expect("a tag");
    let p = |dice: &mut Dice| Tag::public_key(authors[dice.low(authors.len())].public_key());
    let (kind, content, tags) = match dice.below(100) {
        0..50 => {
            let mut tags = Vec::new();
            if dice.below(10) < 6 {
                let at = relay(dice);
                tags.extend([e(dice, &at, "root"), p(dice)]);
            }
            if dice.below(4) == 0 {
                tags.push(Tag::hashtag(format!("topic{}", dice.low(3_000))));
            }
            let length = 20 + dice.low(1_280);
            (1, dice.words(length), tags)
        }
        50..80 => (7, "+".to_owned(), vec![e(dice, "", ""), p(dice)]),
        80..91 => {
            let at = relay(dice);
            let content = if dice.below(4) == 0 { dice.words(600) } else { String::new() };
            (6, content, vec![e(dice, &at, ""), p(dice)])
        }
        91..95 => {
            let content = serde_json::json!({"name": dice.words(8), "about": dice.words(200), "picture": format!("https://{}.example/{}.jpg", dice.words(6).trim(), dice.hex()), "lud16": dice.words(12)});
            (0, content.to_string(), vec![])
        }
        95..98 => {
            let tags = (0..5).map(|_| Tag::parse(["r", &relay(dice)]).expect("a tag")).collect();
            (10_002, String::new(), tags)
        }
        98 => {
            let d = Tag::identifier(format!("post-{}", dice.below(1_000)));
            (30_023, dice.words(2_500), vec![d, Tag::hashtag(format!("topic{}", dice.low(3_000)))])
        }
        _ => {
            let follows = 100 + dice.below(720);
            (3, String::new(), (0..follows).map(|_| p(dice)).collect())
        }
    };
    let created_at = 1_760_000_000 - i as u64 * 3 + dice.below(3) as u64;
    EventBuilder::new(Kind::from(kind), content)
        .tags(tags)
        .allow_self_tagging()
        .dedup_tags()
        .custom_created_at(Timestamp::from(created_at))
        .sign_with_keys(author)
        .expect("a key signs")
        .as_json()
}
