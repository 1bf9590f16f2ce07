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
mod tests {
    use super::*;
    use crate::privacy::Personal;

    const HEADER: &str = "street,zip,side,from,to,tract";

    fn address(street: &str, postal_code: &str) -> Address {
        Address {
            street: Personal::new(street.to_owned()),
            city: Personal::default(),
            region: Personal::default(),
            postal_code: Personal::new(postal_code.to_owned()),
        }
    }

    fn build(folder: &Path, rows: &[&str]) -> Result<BuildReport> {
        let csv = format!("{HEADER}\n{}\n", rows.join("\n"));
        Ranges::build(csv.as_bytes(), "streets.csv", &folder.join("ranges"))
    }

    /// The geocoder of these rows, in a folder that goes away with it.
    fn ranges(rows: &[&str]) -> (Ranges, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        build(folder.path(), rows).unwrap();
        (Ranges::open(&folder.path().join("ranges")).unwrap(), folder)
    }

    /// Whether each address is found in the tract whose last digit is given.
    #[track_caller]
    fn assert_found(rows: &[&str], expected: &[(&str, &str, Option<u8>)]) {
        let (ranges, _folder) = ranges(rows);
        for (street, postal_code, digit) in expected {
            let geocoded = ranges.look_up(&[address(street, postal_code)]).unwrap();
            let found = geocoded.tracts[0]
                .as_ref()
                .map(|tract| tract.as_str().as_bytes()[10] - b'0');
            assert_eq!(found, *digit, "{street}, {postal_code}");
        }
    }

    #[test]
    fn sides_and_bounds_decide() {
        assert_found(
            &[
                "Otter St,10099,even,2,98,36000000001",
                "OTTER STREET,10099,odd,1,99,36000000002",
                "Quill Ave,10099,both,10,20,36000000003",
            ],
            &[
                ("2 Otter St", "10099", Some(1)),
                ("98 otter street", "10099", Some(1)),
                ("100 Otter St", "10099", None),
                ("1 Otter St", "10099", Some(2)),
                ("99 Otter St Apt 3", "10099", Some(2)),
                ("9 Quill Ave", "10099", None),
                ("10 Quill Ave", "10099", Some(3)),
                ("15 Quill Ave", "10099", Some(3)),
                ("20 Quill Avenue, #4", "10099", Some(3)),
                ("21 Quill Ave", "10099", None),
                ("15 Quill St", "10099", None),
            ],
        );
    }

    #[test]
    fn the_zip_code_decides() {
        assert_found(
            &[
                "Otter St,10098,both,1,9,36000000001",
                "Otter St,01099,both,1,9,25000000002",
            ],
            &[
                ("5 Otter St", "10098", Some(1)),
                ("5 Otter St", " 10098-1234", Some(1)),
                ("5 Otter St", "100981234", Some(1)),
                ("5 Otter St", "01099", Some(2)),
                ("5 Otter St", "10097", None),
                ("5 Otter St", "1099", None),
                ("5 Otter St", "", None),
                ("5 Otter St", "1009🐟", None),
                ("5 Otter St", "１００９８", None),
            ],
        );
    }

    #[test]
    fn numbers_of_queens_are_compared_in_two_parts() {
        assert_found(
            &[
                "182nd St,11399,even,37-02,37-98,36081000001",
                "182nd St,11399,odd,37-1,37-99,36081000002",
                "182nd St,11399,both,38-01,38-99,36081000003",
            ],
            &[
                ("37-12 182nd St", "11399", Some(1)),
                ("3712 182nd St", "11399", Some(1)),
                ("37-2 182 Street", "11399", Some(1)),
                ("37-01 182nd St 2nd Fl", "11399", Some(2)),
                ("38-12A 182nd St", "11399", Some(3)),
                ("37 182nd St", "11399", None),
                ("39-01 182nd St", "11399", None),
            ],
        );
    }

    #[test]
    fn the_narrowest_range_wins_and_a_tie_does_not() {
        assert_found(
            &[
                "Otter St,10099,both,1,999,36000000001",
                "Otter St,10099,both,100,200,36000000002",
                "Otter St,10099,even,150,250,36000000003",
                "Otter St,10099,even,300,310,36000000004",
                "Otter St,10099,even,300,310,36000000004",
            ],
            &[
                ("50 Otter St", "10099", Some(1)),
                ("149 Otter St", "10099", Some(2)),
                ("150 Otter St", "10099", None),
                ("151 Otter St", "10099", Some(2)),
                ("250 Otter St", "10099", Some(3)),
                ("304 Otter St", "10099", Some(4)),
            ],
        );
    }

    #[tokio::test]
    async fn every_address_has_its_entry_and_is_counted() {
        let (ranges, _folder) = ranges(&["Otter St,10099,both,1,9,36000000001"]);
        let mut city_alone = address("", "");
        city_alone.city = Personal::new("Otterville".to_owned());
        let addresses = [
            address("🐟 ' OR 1=1; -- 🐟", "\0\0\0\0\0"),
            address("5 Otter St", "10099"),
            address(" ", "\t"),
            address("99999999999999999999 Otter St", "10099"),
            address("7 OTTER STREET", "10099"),
            city_alone,
        ];
        let geocoded = ranges.geocode(&addresses).await.unwrap();
        let tract = Tract::new("36000000001");
        let expected = [None, tract.clone(), None, None, tract, None];
        assert_eq!(geocoded.tracts, expected);
        assert_eq!(
            geocoded.counts.iter().collect::<Vec<_>>(),
            [
                ("geocoded by ranges", 2),
                ("no address", 1),
                ("not geocoded", 3)
            ]
        );
        assert!(ranges.geocode(&[]).await.unwrap().tracts.is_empty());
    }

    #[test]
    fn a_failed_build_leaves_the_file_alone_and_a_good_one_replaces_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ranges");
        let find = || {
            let ranges = Ranges::open(&path).unwrap();
            let mut geocoded = ranges.look_up(&[address("5 Otter St", "10099")]).unwrap();
            geocoded.tracts.remove(0)
        };
        let streets = [
            "Otter St,10099,both,1,9,36000000001",
            "Otter Street,10098,both,1,9,36000000001",
        ];
        let report = build(folder.path(), &streets).unwrap();
        assert_eq!(
            report,
            BuildReport {
                ranges: 2,
                streets: 1
            }
        );
        // What a killed build has left does not matter.
        fs::write(folder.path().join("ranges.part"), "half").unwrap();
        let error = build(folder.path(), &[streets[0], "Otter St"]).unwrap_err();
        assert_eq!(error.remedy(), Remedy::FixData);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        assert_eq!(find(), Tract::new("36000000001"));
        build(folder.path(), &["Otter St,10099,both,1,9,36000000002"]).unwrap();
        assert_eq!(find(), Tract::new("36000000002"));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_opened_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ranges");
        let open = || {
            let error = Ranges::open(&path).unwrap_err();
            assert_eq!(error.remedy(), Remedy::FixSettings);
            assert!(
                error.to_string().contains(path.to_str().unwrap()),
                "{error}"
            );
            error.in_one_line()
        };
        assert!(open().contains("cannot be read: No such file"));
        for content in ["", "street,zip\n", &"street,zip\n".repeat(1000)] {
            fs::write(&path, content).unwrap();
            assert!(
                open().contains("not a file of address ranges"),
                "{content:.20}"
            );
        }
        fs::remove_file(&path).unwrap();
        let foreign = Connection::open(&path).unwrap();
        foreign.execute(CREATE, ()).unwrap();
        assert!(open().contains("not a file of address ranges"));
        foreign
            .pragma_update(None, "application_id", APPLICATION_ID)
            .unwrap();
        foreign.pragma_update(None, "user_version", 99).unwrap();
        assert!(open().contains("its version is 99, and this program reads version 1"));
        foreign
            .pragma_update(None, "user_version", VERSION)
            .unwrap();
        foreign.execute("DROP TABLE ranges", ()).unwrap();
        assert!(open().contains("not a file of address ranges"));
    }

    #[test]
    fn a_target_that_cannot_be_written_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let rows = ["Otter St,10099,both,1,9,36000000001"];
        let error = build(&folder.path().join("missing"), &rows).unwrap_err();
        assert_eq!(error.remedy(), Remedy::FixAccess);
        assert!(error.to_string().contains("missing/ranges"), "{error}");
    }

    #[tokio::test]
    async fn a_city_of_ranges_serves_a_large_page() {
        let mut csv = HEADER.to_owned();
        for i in 0..100_000 {
            let (street, first) = (i / 100, i % 100 * 10);
            let last = first + 9;
            csv.push_str(&format!(
                "\nOtter {street} St,10099,both,{first},{last},{:011}",
                i
            ));
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ranges");
        let report = Ranges::build(csv.as_bytes(), "streets.csv", &path).unwrap();
        assert_eq!(
            report,
            BuildReport {
                ranges: 100_000,
                streets: 1000
            }
        );

        let addresses: Vec<Address> = (0..10_000)
            .map(|i| {
                address(
                    &format!("{} Otter {} Street Apt 1", i % 1000, i / 10),
                    "10099-1234",
                )
            })
            .collect();
        let geocoded = Ranges::open(&path)
            .unwrap()
            .geocode(&addresses)
            .await
            .unwrap();
        for (i, tract) in geocoded.tracts.into_iter().enumerate() {
            let range = i / 10 * 100 + i % 1000 / 10;
            assert_eq!(tract, Tract::new(format!("{range:011}")), "address {i}");
        }
    }
}
