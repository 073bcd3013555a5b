//! What a scripted relay holds and how it behaves.

use nostr::Event;

/// One way to be wrong. The numbers are those of the list of faults in `docs/DEVELOPMENT.md`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// An honest relay.
    None,
    /// 1: the connection is accepted and nothing ever said on it.
    TarPit,
    /// 2: the upgrade is answered with this status and an HTML page.
    WrongUpgrade(u16),
    /// 3: a WebSocket server that never speaks.
    Mute,
    /// 3: a WebSocket server of another protocol: binary frames, and JSON that is no array.
    Babble,
    /// 4: silence after so many events, the connection open.
    HalfOpen(usize),
    /// 5: a NOTICE every 100 ms and nothing else, so that no idle timer runs out.
    Trickle,
    /// 6: the connection is closed after so many requests, and refused for two seconds.
    ReconnectBan(usize),
    /// 7: a message of 64 MiB before the events.
    Huge,
    /// 7: fragments without end.
    Fragments,
    /// 8: an information document of 64 MiB, and one that says it is compressed.
    Nip11Bomb,
    /// 9: events, and EOSE never.
    NoEose,
    /// 10: EOSE at once, the stored events after it.
    EoseFirst,
    /// 11: half the events, then CLOSED with this reason.
    Closed(String),
    /// 12: a NOTICE instead of any answer.
    NoticeOnly,
    /// 15 and others: the connection ends in the middle of a page, after so many events.
    Drop(usize),
    /// 16: `since` and `until` are ignored.
    IgnoresWindow,
    /// 16, milder: `since` and `until` leave their seconds out.
    ExclusiveWindow,
    /// 18: oldest first.
    OldestFirst,
    /// 17: the stored events again and again, and no EOSE.
    Endless,
    /// 18: the newest events of what it holds, this many, come out of order.
    Jitter(usize),
    /// 11: each request of this many ends in the middle of its page, with the connection.
    FailsEach(usize),
    /// 17: an event every 200 ms, again and again, and no EOSE.
    Drip,
    /// 5: an answer takes this many milliseconds, and has one event.
    SlowPages(u64),
    /// 11: requests that name this kind are refused.
    RefusesKind(u16),
    /// 11: requests that name ids are refused.
    RefusesIds,
    /// 16: `until` is ignored when it is 0.
    ZeroIsNone,
    /// 18: in no order.
    Shuffled,
    /// 18: each event so many times.
    Repeats(usize),
    /// 13: requests for more than so many events are refused.
    Scrape(usize),
    /// 19: every event's signature is wrong.
    BadSignatures,
    /// 19 to 22: after events these texts, as if they were events.
    Also(Vec<String>),
    /// 21: after the events a text frame that is not UTF-8.
    NotText,
    /// 27: events are never answered.
    NoOk,
    /// 27: events with this content are never answered, others are.
    SilentAbout(&'static str),
    /// 27: events with this content are refused in words of no form, others are taken.
    RefusesOnly(&'static str),
    /// 27: events are passed on to those who subscribed to them, and never answered with OK.
    PassesOn,
    /// 27: every OK is about another event.
    OkOfAnother,
    /// Takes so many events a second, and refuses more with `rate-limited:`.
    TakesASecond(usize),
    /// 28: it hangs up when it has sent so many bytes within a second.
    Throttle(usize),
    /// 23: so many challenges (NIP-42) before the events.
    Challenges(usize),
}

/// How a relay takes NIP-77.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Negentropy {
    /// It does not know it, and is silent.
    Ignores,
    /// It compares, and does not give so many of the events that it names.
    Speaks {
        /// How many.
        withholds: usize,
    },
    /// It hangs up on who tries.
    HangsUp,
    /// It says this to each message, with the subscription in place of `$`.
    Says(&'static str),
}

/// What a relay holds and how it behaves.
#[derive(Debug, Clone)]
pub struct Script {
    /// What it stores.
    pub events: Vec<Event>,
    /// At most so many events for one filter, whatever is asked.
    pub cap: usize,
    /// How it is wrong.
    pub fault: Fault,
    /// Its information document (NIP-11); without one it answers 404.
    pub nip11: Option<String>,
    /// Refuses events with this message.
    pub refuses: Option<String>,
    /// How it takes NIP-77.
    pub negentropy: Negentropy,
    /// Whether it serves only who says who they are (NIP-42).
    pub auth: bool,
}

impl Script {
    /// An honest relay with these events.
    #[must_use]
    pub fn honest(events: Vec<Event>) -> Self {
        Self {
            events,
            cap: 500,
            fault: Fault::None,
            nip11: None,
            refuses: None,
            negentropy: Negentropy::Ignores,
            auth: false,
        }
    }

    /// The same with a fault.
    #[must_use]
    pub fn wrong(events: Vec<Event>, fault: Fault) -> Self {
        Self { fault, ..Self::honest(events) }
    }
}
