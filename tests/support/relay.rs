//! A relay that answers by script: honestly, or with one of the faults of real relays.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use nostr::Event;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::counts::Counts;
use crate::house::House;
use crate::script::Script;

/// A relay on a port of 127.0.0.1; it ends when this is dropped.
pub struct ScriptedRelay {
    /// Its URL, `ws://127.0.0.1:port`.
    pub url: String,
    /// Its counts.
    pub counts: Arc<Counts>,
    house: House,
    server: JoinHandle<()>,
}

impl ScriptedRelay {
    /// Starts a relay.
    ///
    /// # Errors
    /// Fails if no port is free.
    pub async fn start(script: Script) -> anyhow::Result<Self> {
        Self::start_at(std::net::Ipv4Addr::LOCALHOST, script).await
    }

    /// Starts a relay on another address of 127.0.0.0/8, which counts as another host.
    ///
    /// # Errors
    /// Fails if no port is free.
    pub async fn start_at(host: std::net::Ipv4Addr, script: Script) -> anyhow::Result<Self> {
        Self::start_on((host, 0), script).await
    }

    /// Starts a relay on this address and port.
    ///
    /// # Errors
    /// Fails if the port is in use.
    pub async fn start_on(place: (std::net::Ipv4Addr, u16), script: Script) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(place).await?;
        let url = format!("ws://{}", listener.local_addr()?);
        let house = House::new(script);
        let doors = house.clone();
        let server = tokio::spawn(async move {
            let mut guests = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                doors.counts.connections.fetch_add(1, Ordering::Relaxed);
                let house = doors.clone();
                guests.spawn(async move {
                    // A guest who leaves is no failure of the house.
                    let _ = house.serve(stream).await;
                });
            }
        });
        Ok(Self { url, counts: house.counts.clone(), house, server })
    }

    /// Returns how many WebSockets are open.
    #[must_use]
    pub fn connected(&self) -> usize {
        self.house.connected()
    }

    /// Replaces its events.
    pub fn replace(&self, events: Vec<Event>) {
        self.house.replace(events);
    }

    /// Returns its events.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.house.events()
    }
}

impl Drop for ScriptedRelay {
    fn drop(&mut self) {
        self.server.abort();
    }
}
