//! The only room that dials. Every outbound byte of the agent passes the guard here.

pub mod dial;
pub mod http;
pub mod info;
pub mod live;
pub mod lookup;
pub mod permits;
pub mod reconcile;
pub mod session;
pub mod tls;
pub mod tor;
pub mod transport;

pub use dial::{DialError, Dialer, Trace};
pub use lookup::Lookup;
pub use permits::Purpose;
pub use session::{End, Page, Session, Verdict};
pub use tls::{Certificate, Tls};
pub use tor::{Tor, TorStatus};
