//! Coverage: what is proven of a relay's history, and what is not.

use crate::{Interval, words};

words! {
    /// How a span of time was proven complete.
    Method, "coverage method" {
        /// Pages of REQs, each ended by EOSE.
        Paged = "paged",
        /// The same, but instead of the request that would have shown that nothing is older, the relay said so (NIP-67). It is
        /// believed if that was true of larger pages before. Once it was wrong, these claims are taken back.
        Hinted = "hinted",
        /// A complete comparison of ids (NIP-77).
        Negentropy = "negentropy",
    }
}

words! {
    /// Why a span of time could not be proven complete.
    GapReason, "gap reason" {
        /// The relay timed out.
        Timeout = "timeout",
        /// The relay ended the subscription with CLOSED.
        Closed = "closed",
        /// The relay sent NOTICE and nothing more.
        Notice = "notice",
        /// The connection ended.
        Disconnect = "disconnect",
        /// One second has as many events as the relay returns per request.
        DenseSecond = "dense second",
        /// The relay sent more than was requested and was cut off.
        Overflow = "overflow",
        /// The relay sent events that the filter or the window excludes.
        FilterIgnored = "filter ignored",
        /// The events were not newest first, so a page proves nothing about its span.
        Disorder = "disorder",
        /// Events came after EOSE.
        LateEvents = "events after EOSE",
        /// A page had no valid event.
        InvalidEvents = "invalid events",
        /// The relay named events (NIP-77), or said that it has more (NIP-67), and did not return them.
        NotGiven = "not given",
    }
}

/// A claim: all events that a relay held between two seconds and that match the filter are in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Covered {
    /// The span.
    pub interval: Interval,
    /// How it was proven.
    pub method: Method,
    /// When it was proven; of a span that grew, when its last part was.
    pub proven_at: i64,
}

/// A span that could not be proven complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The span.
    pub interval: Interval,
    /// Why.
    pub reason: GapReason,
    /// How many events were seen in it, if that is meaningful.
    pub count: Option<i64>,
    /// When it was last tried.
    pub tried_at: i64,
}
