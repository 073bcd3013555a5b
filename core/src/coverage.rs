//! What is proven of a relay's history, and what could not be.

use crate::{Interval, words};

words! {
    /// How a span of time was proven complete.
    Method, "coverage method" {
        /// Pages of a REQ, each ended by EOSE.
        Paged = "paged",
        /// A comparison of ids (NIP-77) that came to its end.
        Negentropy = "negentropy",
    }
}

words! {
    /// Why a span of time could not be proven complete.
    GapReason, "gap reason" {
        /// The relay went silent.
        Timeout = "timeout",
        /// The relay ended the subscription with CLOSED.
        Closed = "closed",
        /// The relay said NOTICE and nothing more.
        Notice = "notice",
        /// The connection ended.
        Disconnect = "disconnect",
        /// One second holds as many events as the relay gives at a time.
        DenseSecond = "dense second",
        /// The relay sent more than was asked for and was cut off.
        Overflow = "overflow",
        /// The relay sent events that the filter or the window excludes.
        FilterIgnored = "filter ignored",
        /// The events did not come newest first, so a page proves nothing about its span.
        Disorder = "disorder",
        /// Events came after EOSE.
        LateEvents = "events after EOSE",
        /// A page held nothing that could be verified.
        InvalidEvents = "invalid events",
        /// The relay named events (NIP-77) and did not give them when asked.
        NotGiven = "not given",
    }
}

/// A claim that everything a relay held between two seconds, and the filter asks for, is in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Covered {
    /// The span.
    pub interval: Interval,
    /// How it was proven.
    pub method: Method,
    /// When; of a span that grew, when its last part was.
    pub proven_at: i64,
}

/// A span that could not be proven complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The span.
    pub interval: Interval,
    /// Why.
    pub reason: GapReason,
    /// How many events were seen in it, where that says something.
    pub count: Option<i64>,
    /// When it was tried.
    pub tried_at: i64,
}
