//! The only room that dials. Every outbound byte of the agent passes the guard here.

pub mod address;
pub mod dial;
pub mod guard;
pub mod http;
pub mod info;
pub mod live;
pub mod reconcile;
pub mod session;
pub mod transport;

pub use address::{Address, BadAddress};
pub use dial::{DialError, Dialer};
pub use guard::Guard;
pub use session::{End, Page, Session, Verdict};
