//! The embedded geocoder, behind `GEOCODER_URL=ranges:path`: house numbers on one side of a
//! street, in one ZIP code, lie in one census tract.
//!
//! [`Ranges::build`] makes a SQLite file from a CSV of such ranges, [`Ranges::open`] opens it,
//! and from then on nothing leaves the machine.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use rusqlite::{Connection, OpenFlags};

use super::{Address, Geocoded, Geocoder, Tract, ranges_csv, street};
use crate::error::{Error, OrFail, Remedy, Result};

/// Marks a SQLite file as ours: `WSRG`, in the place that SQLite keeps for it.
const APPLICATION_ID: i32 = i32::from_be_bytes(*b"WSRG");

/// Rises with every change of the table, or of how streets and house numbers are written in it.
const VERSION: i32 = 1;

const CREATE: &str = "
    CREATE TABLE ranges (
        street TEXT NOT NULL,
        zip TEXT NOT NULL,
        side TEXT NOT NULL,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL,
        tract TEXT NOT NULL
    ) STRICT";

const INSERT: &str = "
    INSERT INTO ranges (street, zip, side, first, last, tract) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

/// Made when all ranges are in, which is faster than keeping it up to date.
const CREATE_INDEX: &str = "CREATE INDEX ranges_of_street ON ranges (zip, street)";

const COUNT: &str = "SELECT count(*), count(DISTINCT street) FROM ranges";

/// The narrowest range first. A second row of the same width is another tract: a tie.
const FIND: &str = "
    SELECT DISTINCT last - first AS width, tract
    FROM ranges
    WHERE zip = ?1 AND street = ?2 AND ?3 BETWEEN first AND last AND side IN (?4, 'both')
    ORDER BY width
    LIMIT 2";

/// A geocoder that looks addresses up in a file of address ranges.
///
/// An address matches by house number, street and the first five digits of its postal code;
/// city and state are not looked at. Of several ranges the narrowest counts, and if those of
/// different tracts are equally narrow, none does.
///
/// It counts `geocoded by ranges`, `not geocoded` and `no address`.
#[derive(Clone, Debug)]
pub struct Ranges {
    path: PathBuf,
    /// One look-up takes microseconds: a connection for all is enough.
    connection: Arc<Mutex<Connection>>,
}

/// What [`Ranges::build`] has put into the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuildReport {
    /// Ranges, one a row of the CSV.
    pub ranges: u64,
    /// Different names of streets; one that runs through several ZIP codes counts once.
    pub streets: u64,
}

impl Ranges {
    /// Opens a file that [`Ranges::build`] has made, for reading only.
    ///
    /// # Errors
    /// [`Remedy::FixSettings`] when there is no such file, when it is something else, or when it
    /// is of another version.
    pub fn open(path: &Path) -> Result<Ranges> {
        let fault = |fault: String| {
            Error::new(
                Remedy::FixSettings,
                format!("opening address ranges {}: {fault}", path.display()),
            )
            .with_hint("build the file from its CSV again, or correct the path in GEOCODER_URL")
        };
        // SQLite would not say why it cannot.
        File::open(path)
            .map_err(|cause| fault("the file cannot be read".into()).caused_by(cause))?;

        let foreign = |cause| fault("this is not a file of address ranges".into()).caused_by(cause);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(foreign)?;
        let mark = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
        if mark("application_id").map_err(foreign)? != APPLICATION_ID {
            return Err(fault("this is not a file of address ranges".into()));
        }
        let version = mark("user_version").map_err(foreign)?;
        if version != VERSION {
            return Err(fault(format!(
                "its version is {version}, and this program reads version {VERSION}"
            )));
        }
        connection.prepare_cached(FIND).map_err(foreign)?;
        Ok(Ranges {
            path: path.to_owned(),
            connection: Arc::new(Mutex::new(connection)),
        })
    }

    /// Makes the file `target` from a CSV, in place of one that may be there. Blocks.
    ///
    /// The CSV has a header with the columns `street`, `zip` (five digits), `side` (`even`, `odd`
    /// or `both`), `from` and `to` (house numbers, both included, those of Queens with their
    /// hyphen) and `tract` (a GEOID of eleven digits). `csv_name` is what errors call it.
    ///
    /// The file is written beside `target`, with `.part` added to its name, and takes its place
    /// when it is complete and on disk: a build that fails leaves an existing file alone.
    ///
    /// # Errors
    /// [`Remedy::FixData`] with up to twenty faults of the CSV, each with its line, its column, the
    /// value and what was expected; [`Remedy::FixAccess`] when the CSV cannot be read or the file
    /// not be written.
    pub fn build(csv: impl Read, csv_name: &str, target: &Path) -> Result<BuildReport> {
        let mut part = target.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);

        let written = write(csv, csv_name, &part).and_then(|report| {
            replace(&part, target).or_fail(Remedy::FixAccess, || {
                format!("putting address ranges in place as {}", target.display())
            })?;
            Ok(report)
        });
        if written.is_err() {
            // The error that is already there says more than one about cleaning up would.
            let _ = fs::remove_file(&part);
        }
        written
    }

    /// Looks a page of addresses up. Blocks.
    fn look_up(&self, addresses: &[Address]) -> Result<Geocoded> {
        // A look-up that panicked has changed nothing: the connection only reads.
        let connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut geocoded = Geocoded::default();
        for address in addresses {
            // The cause is SQLite's own, and never quotes what was looked for (P6).
            let tract = find(&connection, address).or_fail(Remedy::FixSettings, || {
                format!("looking up address ranges in {}", self.path.display())
            })?;
            let count = match &tract {
                Some(_) => "geocoded by ranges",
                None if address.is_empty() => "no address",
                None => "not geocoded",
            };
            geocoded.counts.add(count, 1);
            geocoded.tracts.push(tract);
        }
        Ok(geocoded)
    }
}

impl Geocoder for Ranges {
    fn geocode<'a>(&'a self, addresses: &'a [Address]) -> BoxFuture<'a, Result<Geocoded>> {
        let ranges = self.clone();
        let addresses = addresses.to_vec();
        Box::pin(async move {
            tokio::task::spawn_blocking(move || ranges.look_up(&addresses))
                .await
                // Not with its cause, which quotes the panic (P6).
                .map_err(|_| {
                    Error::new(Remedy::ReportBug, "looking up address ranges: broken off")
                })?
        })
    }
}

/// The tract of the narrowest range that has this address.
fn find(connection: &Connection, address: &Address) -> rusqlite::Result<Option<Tract>> {
    let Some((number, street)) = street::number_and_street(address.street.for_geocoder()) else {
        return Ok(None);
    };
    let postal_code = address.postal_code.for_geocoder().trim_start();
    let Some(zip) = street::zip(&postal_code.chars().take(5).collect::<String>()) else {
        return Ok(None);
    };
    let side = if number % 2 == 0 { "even" } else { "odd" };
    let narrowest = connection
        .prepare_cached(FIND)?
        .query_map((zip, street, number, side), |row| {
            Ok((row.get("width")?, row.get("tract")?))
        })?
        .collect::<rusqlite::Result<Vec<(u32, String)>>>()?;
    Ok(match narrowest.as_slice() {
        [] => None,
        [(width, _), (next_width, _)] if width == next_width => None,
        [(_, geoid), ..] => Tract::new(geoid),
    })
}

/// Writes all ranges of the CSV to a new file.
fn write(csv: impl Read, csv_name: &str, part: &Path) -> Result<BuildReport> {
    let writing = || format!("writing address ranges to {}", part.display());
    match fs::remove_file(part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
    .or_fail(Remedy::FixAccess, writing)?;
    let mut connection = Connection::open(part).or_fail(Remedy::FixAccess, writing)?;
    let transaction = begin(&mut connection).or_fail(Remedy::FixAccess, writing)?;

    let mut insert = transaction
        .prepare(INSERT)
        .or_fail(Remedy::FixAccess, writing)?;
    ranges_csv::read(csv, csv_name, |range| {
        insert
            .execute((
                range.street,
                range.zip,
                range.side,
                range.first,
                range.last,
                range.tract.as_str(),
            ))
            .or_fail(Remedy::FixAccess, writing)?;
        Ok(())
    })?;
    drop(insert);

    let report = finish(transaction).or_fail(Remedy::FixAccess, writing)?;
    connection
        .close()
        .map_err(|(_, cause)| cause)
        .or_fail(Remedy::FixAccess, writing)?;
    Ok(report)
}

/// Makes the empty table, in a transaction for all that is to come.
fn begin(connection: &mut Connection) -> rusqlite::Result<rusqlite::Transaction<'_>> {
    // A file that is not yet in place needs no journal; `replace` waits for the disk once.
    connection.pragma_update(None, "journal_mode", "OFF")?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", VERSION)?;
    let transaction = connection.transaction()?;
    transaction.execute(CREATE, ())?;
    Ok(transaction)
}

fn finish(transaction: rusqlite::Transaction<'_>) -> rusqlite::Result<BuildReport> {
    transaction.execute(CREATE_INDEX, ())?;
    let report = transaction.query_row(COUNT, (), |row| {
        Ok(BuildReport {
            ranges: row.get::<_, u32>(0)?.into(),
            streets: row.get::<_, u32>(1)?.into(),
        })
    })?;
    transaction.commit()?;
    Ok(report)
}

/// Puts a complete file in the place of another, so that a crash leaves the one or the other.
fn replace(part: &Path, target: &Path) -> io::Result<()> {
    File::open(part)?.sync_all()?;
    fs::rename(part, target)?;
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests;
