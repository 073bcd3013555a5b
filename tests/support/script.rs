//! The events of a scripted relay and its behaviour.

use nostr::Event;

/// A fault of real relays, as listed in `docs/DEVELOPMENT.md`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// An honest relay.
    None,
    /// The connection is accepted, and nothing is sent on it.
    TarPit,
    /// The upgrade is answered with this status and an HTML page.
    WrongUpgrade(u16),
    /// A WebSocket server that sends nothing.
    Mute,
    /// A WebSocket server of another protocol: binary frames, and JSON that is not an array.
    Babble,
    /// Silence after this many events, with the connection open.
    HalfOpen(usize),
    /// A NOTICE every 100 ms and nothing else, so that no idle timer expires.
    Trickle,
    /// The connection is closed after this many requests, and refused for two seconds.
    ReconnectBan(usize),
    /// A message of 64 MiB before the events.
    Huge,
    /// Endless fragments.
    Fragments,
    /// An information document of 64 MiB, and one that claims to be compressed.
    Nip11Bomb,
    /// Events, and never EOSE.
    NoEose,
    /// EOSE at once, the stored events after it.
    EoseFirst,
    /// Half the events, then CLOSED with this reason.
    Closed(String),
    /// A NOTICE instead of any answer.
    NoticeOnly,
    /// The connection ends in the middle of a page, after this many events.
    Drop(usize),
    /// `since` and `until` are ignored.
    IgnoresWindow,
    /// `since` and `until` exclude their seconds.
    ExclusiveWindow,
    /// Oldest first.
    OldestFirst,
    /// The stored events again and again, and no EOSE.
    Endless,
    /// The newest events, this many, are out of order.
    Jitter(usize),
    /// One request of this many ends in the middle of its page, with the connection.
    FailsEach(usize),
    /// An event every 200 ms, again and again, and no EOSE.
    Drip,
    /// An answer takes this many milliseconds, and has one event.
    SlowPages(u64),
    /// Requests for this kind are refused.
    RefusesKind(u16),
    /// Requests by id are refused.
    RefusesIds,
    /// `until` is ignored if it is 0.
    ZeroIsNone,
    /// Random order.
    Shuffled,
    /// Each event this many times.
    Repeats(usize),
    /// A connection has one subscription at a time, and further ones are refused.
    OneSubscription,
    /// Requests for more than this many events are refused.
    Scrape(usize),
    /// Every event's signature is invalid.
    BadSignatures,
    /// After the events these texts, as if they were events.
    Also(Vec<String>),
    /// After the events a text frame that is not UTF-8.
    NotText,
    /// Events are never answered.
    NoOk,
    /// Each event is answered after this many milliseconds.
    SlowOks(u64),
    /// Events with this content are never answered, others are.
    SilentAbout(&'static str),
    /// Events with this content are refused without a prefix, others are accepted.
    RefusesOnly(&'static str),
    /// Events are forwarded to subscribers, and never answered with OK.
    PassesOn,
    /// Every OK is about another event.
    OkOfAnother,
    /// Accepts this many events per second, and refuses more with `rate-limited:`.
    TakesASecond(usize),
    /// Disconnects when it has sent this many bytes within a second.
    Throttle(usize),
    /// This many challenges (NIP-42) before the events.
    Challenges(usize),
}

/// How a relay handles NIP-77.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Negentropy {
    /// It does not support it, and is silent.
    Ignores,
    /// It compares, and withholds some of the events that it names.
    Speaks {
        /// The number of withheld events.
        withholds: usize,
    },
    /// It disconnects clients that try.
    HangsUp,
    /// It sends this in reply to each message, with the subscription in place of `$`.
    Says(&'static str),
}

/// What a relay says with EOSE of what is left (NIP-67).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hints {
    /// Nothing.
    None,
    /// `finish` or `more`, as it is.
    True,
    /// `finish`, always.
    Finish,
}

/// The events of a relay and its behaviour.
#[derive(Debug, Clone)]
pub struct Script {
    /// Its events.
    pub events: Vec<Event>,
    /// The most events per filter, whatever is requested.
    pub cap: usize,
    /// Its fault.
    pub fault: Fault,
    /// Its information document (NIP-11); without one it answers 404.
    pub nip11: Option<String>,
    /// Its `robots.txt`; without one it answers 404.
    pub robots: Option<&'static str>,
    /// Refuses events with this message.
    pub refuses: Option<String>,
    /// How it handles NIP-77.
    pub negentropy: Negentropy,
    /// Whether it serves authenticated clients only (NIP-42).
    pub auth: bool,
    /// Whether it sends new events to those who subscribed.
    pub live: bool,
    /// What it says with EOSE.
    pub hints: Hints,
}

impl Script {
    /// Returns an honest relay with these events.
    #[must_use]
    pub fn honest(events: Vec<Event>) -> Self {
        Self {
            events,
            cap: 500,
            fault: Fault::None,
            nip11: None,
            robots: None,
            refuses: None,
            negentropy: Negentropy::Ignores,
            auth: false,
            live: false,
            hints: Hints::None,
        }
    }

    /// Returns the same with a fault.
    #[must_use]
    pub fn wrong(events: Vec<Event>, fault: Fault) -> Self {
        Self { fault, ..Self::honest(events) }
    }
}
