//! Where an address is and whose it is, from MaxMind's databases, which the operator may put there, exchange and take away.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use maxminddb::{Reader, geoip2};
use serde::Serialize;

use crate::config;

/// How often to look whether a file is another one.
const LOOK: Duration = Duration::from_secs(2);

/// What is known of an address.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Place {
    /// The country, by its two letters (ISO 3166-1).
    pub country: Option<String>,
    /// The city, in English.
    pub city: Option<String>,
    /// Degrees.
    pub latitude: Option<f64>,
    /// Degrees.
    pub longitude: Option<f64>,
    /// The time zone, as IANA names it.
    pub time_zone: Option<String>,
    /// The number of the network (AS).
    pub asn: Option<u32>,
    /// Whose network it is.
    pub organisation: Option<String>,
}

impl Place {
    /// Whether it is known where it is.
    #[must_use]
    pub fn is_located(&self) -> bool {
        self.country.is_some() || self.latitude.is_some()
    }

    /// The geohash of so many characters, where the coordinates are known.
    #[must_use]
    pub fn geohash(&self, characters: usize) -> Option<String> {
        geohash::encode(geohash::Coord { x: self.longitude?, y: self.latitude? }, characters).ok()
    }
}

/// A database file.
#[derive(Debug)]
struct Database {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    looked_at: Option<Instant>,
    /// When the file that was read had been written.
    written: Option<SystemTime>,
    reader: Option<Arc<Reader<Vec<u8>>>>,
}

impl Database {
    fn new(path: &Option<PathBuf>) -> Option<Self> {
        Some(Self { path: path.clone()?, state: Mutex::default() })
    }

    /// The database, read again when the file is another one. One that cannot be read leaves the last one in place.
    fn reader(&self) -> Option<Arc<Reader<Vec<u8>>>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked_at.is_none_or(|at| at.elapsed() >= LOOK) {
            state.looked_at = Some(Instant::now());
            let written = std::fs::metadata(&self.path).and_then(|meta| meta.modified()).ok();
            if written.is_some() && written != state.written {
                state.written = written;
                match Reader::open_readfile(&self.path) {
                    Ok(reader) => {
                        tracing::info!(file = %self.path.display(), "read a database of places");
                        state.reader = Some(Arc::new(reader));
                    }
                    Err(error) => {
                        tracing::warn!(file = %self.path.display(), %error, "failed to read a database of places");
                    }
                }
            }
        }
        state.reader.clone()
    }
}

/// The databases that there are.
#[derive(Debug, Default)]
pub struct Places {
    city: Option<Database>,
    asn: Option<Database>,
}

impl Places {
    /// Those that the configuration names.
    #[must_use]
    pub fn new(config: &config::Geo) -> Self {
        Self { city: Database::new(&config.city), asn: Database::new(&config.asn) }
    }

    /// What a file holds.
    ///
    /// # Errors
    /// When it is no such database.
    pub fn readable(file: &std::path::Path) -> Result<String, String> {
        let reader = Reader::open_readfile(file).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(format!("{} in {}", reader.metadata().database_type, file.display()))
    }

    /// Whether places can be told.
    #[must_use]
    pub fn tell_cities(&self) -> bool {
        self.city.is_some()
    }

    /// What is known of an address. Reads files: not for a thread that must not wait.
    #[must_use]
    pub fn of(&self, ip: IpAddr) -> Place {
        let mut place = Place::default();
        if let Some(reader) = self.city.as_ref().and_then(Database::reader)
            && let Ok(Some(found)) = reader.lookup(ip).and_then(|found| found.decode::<geoip2::City>())
        {
            place.country = found.country.iso_code.map(str::to_owned);
            place.city = found.city.names.english.map(str::to_owned);
            (place.latitude, place.longitude) = (found.location.latitude, found.location.longitude);
            place.time_zone = found.location.time_zone.map(str::to_owned);
        }
        if let Some(reader) = self.asn.as_ref().and_then(Database::reader)
            && let Ok(Some(found)) = reader.lookup(ip).and_then(|found| found.decode::<geoip2::Asn>())
        {
            place.asn = found.autonomous_system_number;
            place.organisation = found.autonomous_system_organization.map(str::to_owned);
        }
        place
    }
}
