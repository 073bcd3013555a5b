//! Location and network of an address, from MaxMind's databases, which the operator may add, replace and remove.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use maxminddb::{Reader, geoip2};
use serde::Serialize;

use crate::config;
use tokio::time::Instant;

/// How often files are checked for replacement.
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
    /// The autonomous system's number.
    pub asn: Option<u32>,
    /// The autonomous system's organisation.
    pub organisation: Option<String>,
}

impl Place {
    /// Returns true if the location is known.
    #[must_use]
    pub fn is_located(&self) -> bool {
        self.country.is_some() || self.latitude.is_some()
    }

    /// Returns the geohash with this many characters, if the coordinates are known.
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
    /// Modification time of the file that was read.
    written: Option<SystemTime>,
    reader: Option<Arc<Reader<Vec<u8>>>>,
}

impl Database {
    fn new(path: &Option<PathBuf>) -> Option<Self> {
        Some(Self { path: path.clone()?, state: Mutex::default() })
    }

    /// Returns the database, reading it again if the file was replaced. If that fails, the last one stays in use.
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

/// The configured databases.
#[derive(Debug, Default)]
pub struct Places {
    city: Option<Database>,
    asn: Option<Database>,
}

impl Places {
    /// Returns the databases that the configuration names.
    #[must_use]
    pub fn new(config: &config::Geo) -> Self {
        Self { city: Database::new(&config.city), asn: Database::new(&config.asn) }
    }

    /// Describes the database in a file.
    ///
    /// # Errors
    /// Fails if it is not a MaxMind database.
    pub fn readable(file: &std::path::Path) -> Result<String, String> {
        let reader = Reader::open_readfile(file).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(format!("{} in {}", reader.metadata().database_type, file.display()))
    }

    /// Returns true if locations can be looked up.
    #[must_use]
    pub fn tell_cities(&self) -> bool {
        self.city.is_some()
    }

    /// Looks up an address. Reads files, so it must not run on a thread of the runtime.
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
