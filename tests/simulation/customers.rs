//! Customers of the agent: some are owed an answer, some take their request back, and some ask far too much.

use nostr::{Event, EventBuilder, Keys, Kind, Tag, TagKind};

use crate::scenario::{Act, Draw, MINUTE, date, keys};

/// Requests of a customer within a minute.
const FLOOD: usize = 120;

/// A request for a job that somebody sends.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) request: Event,
    /// Whether it must be answered: not if it is taken back, or one of a flood.
    pub(crate) is_owed: bool,
}

impl Draw {
    /// Returns a request for a job.
    fn request(&mut self, at: i64, customer: &Keys) -> Event {
        self.written += 1;
        let builder = EventBuilder::new(Kind::from(5_400), "").tag(Tag::hashtag(format!("job {}", self.written)));
        builder.custom_created_at(date(at)).sign_with_keys(customer).expect("signed")
    }

    pub(crate) fn requests(&mut self, seed: u64) {
        for i in 0..self.days * 6 {
            let at = self.below(self.length());
            let request = self.request(at, &keys(seed, 1_000 + u64::try_from(i % 5).expect("small")));
            self.acts.push((at, Act::Ask(Ask { request, is_owed: true })));
        }
        for _ in 0..self.days {
            // A customer who takes a request back, at once or after it was answered.
            let (at, after) = (self.below(self.length() - MINUTE), self.below(20));
            let customer = keys(seed, 1_010);
            let request = self.request(at, &customer);
            let back = EventBuilder::new(Kind::EventDeletion, "").tag(Tag::event(request.id));
            let back = back.tag(Tag::custom(TagKind::custom("k"), ["5400"])).custom_created_at(date(at + after));
            let back = back.sign_with_keys(&customer).expect("signed");
            self.acts.push((at, Act::Ask(Ask { request, is_owed: false })));
            self.acts.push((at + after, Act::Post(back, vec![0])));
            // One who asks far more than anybody is entitled to, while others ask.
            let at = self.below(self.length() - MINUTE);
            for _ in 0..FLOOD {
                let at = at + self.below(MINUTE);
                let request = self.request(at, &keys(seed, 1_020));
                self.acts.push((at, Act::Ask(Ask { request, is_owed: false })));
            }
            for i in 0..3 {
                let at = at + self.below(MINUTE);
                let request = self.request(at, &keys(seed, 1_000 + i));
                self.acts.push((at, Act::Ask(Ask { request, is_owed: true })));
            }
        }
    }
}
