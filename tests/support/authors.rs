//! Authors who publish on relays of their own choice, and relay lists (NIP-65) that are true, stale or wrong.
//!
//! Of the authors, 40 % moved to other relays at some time and 30 % of all did not tell; 15 % list relays on which they never
//! published. Each relay takes a post with a chance of 95 %. Two relays copy a third of everything. The last eighth of the relays
//! is down by now, and holds what was published there.

use nostr::{Event, EventBuilder, Keys, Kind, Tag, Timestamp};

use crate::lifelike::{self, Dice};

/// The time of the last post.
pub const END: u64 = 1_790_000_000;
/// Seconds over which an author posts.
const YEARS: usize = 2 * 365 * 86_400;

/// A post, and the relays that hold it, by number.
#[derive(Debug)]
pub struct Post {
    /// The post.
    pub event: Event,
    /// The relays.
    pub relays: Vec<usize>,
    /// Whether the archive never saw it: what was chosen is judged by such posts.
    pub is_held_out: bool,
}

/// An author.
#[derive(Debug)]
pub struct Author {
    /// The key.
    pub keys: Keys,
    /// The relays of the author's list, by number.
    pub list: Vec<usize>,
    /// All posts, the list among them.
    pub posts: Vec<Post>,
}

/// Authors and relays.
#[derive(Debug)]
pub struct World {
    /// How many relays there are.
    pub relays: usize,
    /// The authors.
    pub authors: Vec<Author>,
}

impl World {
    /// Makes authors who have published a number of posts each, and holds out a quarter of these.
    #[must_use]
    pub fn new(relays: usize, authors: usize, posts: usize, seed: u64) -> Self {
        let keys = lifelike::authors(authors, seed);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let make = |(n, keys): (usize, &Keys)| author(relays, posts, keys, &mut Dice::new(seed ^ (n as u64 + 1) << 20));
        let keys: Vec<_> = keys.iter().enumerate().collect();
        let authors = std::thread::scope(|scope| {
            let parts = keys.chunks(keys.len().div_ceil(threads).max(1));
            let parts: Vec<_> =
                parts.map(|part| scope.spawn(move || part.iter().copied().map(make).collect::<Vec<_>>())).collect();
            parts.into_iter().flat_map(|part| part.join().expect("signing does not panic")).collect()
        });
        Self { relays, authors }
    }

    /// Returns the URL of a relay.
    #[must_use]
    pub fn url(relay: usize) -> String {
        format!("wss://r{relay:03}.example/")
    }

    /// Returns whether a relay can be read.
    #[must_use]
    pub fn is_up(&self, relay: usize) -> bool {
        relay < self.relays - self.relays / 8
    }

    /// Returns the posts that a relay holds and the archive saw.
    pub fn held_by(&self, relay: usize) -> impl Iterator<Item = &Event> {
        let posts = self.authors.iter().flat_map(|author| &author.posts);
        posts.filter(move |post| !post.is_held_out && post.relays.contains(&relay)).map(|post| &post.event)
    }

    /// Returns the share of an author's held-out posts that these relays give, from 0 to 1.
    #[must_use]
    pub fn recall(&self, author: &Author, relays: &[String]) -> f64 {
        let held_out: Vec<_> = author.posts.iter().filter(|post| post.is_held_out).collect();
        let is_given = |relay: &usize| self.is_up(*relay) && relays.contains(&Self::url(*relay));
        let given = held_out.iter().filter(|post| post.relays.iter().any(is_given)).count();
        given as f64 / held_out.len().max(1) as f64
    }

    /// Returns the first relays of an author's own list that are up.
    #[must_use]
    pub fn listed(&self, author: &Author, most: usize) -> Vec<String> {
        author.list.iter().filter(|relay| self.is_up(**relay)).take(most).map(|relay| Self::url(*relay)).collect()
    }
}

/// Draws different relays, the low numbers most often.
fn draw(dice: &mut Dice, relays: usize, n: usize) -> Vec<usize> {
    let mut drawn = Vec::new();
    while drawn.len() < n.min(relays) {
        let relay = dice.low(relays);
        if !drawn.contains(&relay) {
            drawn.push(relay);
        }
    }
    drawn
}

fn author(relays: usize, posts: usize, keys: &Keys, dice: &mut Dice) -> Author {
    let at_first = 2 + dice.below(3);
    let first = draw(dice, relays, at_first);
    let (moved, then) = (dice.below(100) < 40, 2 + dice.below(3));
    let second = if moved { draw(dice, relays, then) } else { first.clone() };
    let list = match dice.below(100) {
        0..30 => first.clone(),
        30..45 => draw(dice, relays, 3),
        _ => second.clone(),
    };
    let move_at = posts / 4 + dice.below(posts.max(2) / 2);
    // The oldest first.
    let mut ages: Vec<usize> = (0..posts).map(|_| dice.below(YEARS)).collect();
    ages.sort_unstable_by_key(|age| std::cmp::Reverse(*age));
    let tags = list.iter().map(|relay| Tag::parse(["r".to_owned(), World::url(*relay)]).expect("a tag"));
    let own = EventBuilder::new(Kind::RelayList, "").tags(tags).custom_created_at(Timestamp::from(END));
    let own = own.sign_with_keys(keys).expect("signed");
    let mut made = vec![Post { event: own, relays: second.clone(), is_held_out: false }];
    for (n, age) in ages.into_iter().enumerate() {
        let homes = if n < move_at { &first } else { &second };
        let mut held: Vec<usize> = homes.iter().copied().filter(|_| dice.below(100) < 95).collect();
        held.extend([0, 1].into_iter().filter(|_| dice.below(3) == 0));
        held.sort_unstable();
        held.dedup();
        let note = EventBuilder::text_note(format!("post {n}")).custom_created_at(Timestamp::from(END - age as u64));
        let event = note.sign_with_keys(keys).expect("signed");
        made.push(Post { event, relays: held, is_held_out: dice.below(4) == 0 });
    }
    Author { keys: keys.clone(), list, posts: made }
}
