//! The vocabulary of Brotr, without I/O: relays and their URLs, the addresses that may be dialed, events and the proof that
//! they were verified, filters, and coverage.

pub mod clock;
mod coverage;
mod event;
mod filter;
mod guard;
mod interval;
mod network;
mod raw_event;
mod relay_url;
mod sanitize;
mod sketch;
mod state;
mod words;

pub use coverage::{Covered, Gap, GapReason, Method};
pub use event::{Event, Identified, InvalidEvent, Verified};
pub use filter::{FilterError, MAX_FILTER_VALUES, indexed_tags, matches, parse_filter};
pub use guard::{Guard, PrivateAddress};
pub use interval::{Interval, IntervalSet};
pub use network::Network;
pub use raw_event::RawEvent;
pub use relay_url::{MAX_RELAY_URL, RelayUrl, RelayUrlError};
pub use sanitize::{escape, is_unsafe_to_show, sanitize};
pub use sketch::{InvalidSketch, Offset, Sketch};
pub use state::RelayState;
pub use words::UnknownWord;
