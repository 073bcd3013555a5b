//! The only crate that opens connections. Every outbound byte of the agent passes the guard here.

mod dial;
mod failure;
pub mod http;
pub mod info;
mod internet;
mod live;
mod lookup;
mod message;
mod page;
mod permits;
mod publish;
mod reconcile;
pub mod robots;
mod session;
mod settings;
mod shared;
mod socket;
mod stream;
mod tls;
mod tor;
mod transport;
mod turn;

pub use dial::{Dialer, Trace};
pub use failure::{ConnectFailure, DialError};
pub use internet::{Internet, Listener};
pub use live::{Live, Received};
pub use lookup::{Lookup, LookupError};
pub use message::Count;
#[cfg(fuzzing)]
pub use message::parse_any;
pub use page::{End, Hints, Page, Verdict};
pub use permits::{ATTEMPTS_PER_SUBNET, LIVE_PER_HOST, Permits, Purpose, VISITS_PER_HOST};
pub use reconcile::{Difference, Refusal};
pub use session::Session;
pub use settings::{Direct, Limits, Proxied, Settings, SettingsError, TorSettings};
pub use socket::Connection;
pub use stream::Stream;
pub use tls::{Certificate, Tls, TlsError};
pub use tor::{Tor, TorStatus};
pub use transport::GuardedTransport;
