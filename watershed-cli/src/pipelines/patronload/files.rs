//! The files of one kind of patrons: XML in zips, cut where Alma's limits or the settings want it,
//! and stored while they are written.

use jiff::civil::DateTime;
use tokio::sync::mpsc::Sender;
use tokio::task::JoinHandle;
use watershed::connectors::objects::{Folder, PART_BYTES, Stored, Upload};
use watershed::error::{Error, Remedy, Result};
use watershed::formats::zip::{ZipBytes, ZipFiles, zip};

use super::user_xml::{HEAD, TAIL};

/// How much XML is handed to the deflating thread at a time.
const PIECE_BYTES: usize = 256 << 10;

/// Where a file or a zip ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub patrons_per_file: u64,
    /// Bytes of one XML file.
    pub file_bytes: u64,
    pub files_per_zip: u64,
    /// Bytes of one zip.
    pub zip_bytes: u64,
}

impl Limits {
    /// Zips that Alma takes in one import.
    pub(super) const ZIPS: usize = 20;

    /// Those of Alma's import: zips of 4 GB, and 50 files in each. A file ends before 4 GB, too,
    /// because beyond them zips have another form, which not every reader knows.
    pub(super) fn of_alma(patrons_per_file: Option<u64>) -> Limits {
        const MOST: u64 = 4_000_000_000;
        // What is on its way to the zip's end when its length is asked.
        const ON_THE_WAY: u64 = 64 << 20;
        Limits {
            patrons_per_file: patrons_per_file.unwrap_or(u64::MAX),
            file_bytes: MOST,
            files_per_zip: 50,
            zip_bytes: MOST - ON_THE_WAY,
        }
    }
}

/// The files of one kind on their way.
pub(super) struct Files<'a> {
    /// Name without number and ending: `staff_2024-02-29_00.00.00`.
    base: String,
    at: DateTime,
    limits: Limits,
    /// Whether the files' names bear numbers, as those of several do.
    numbered: bool,
    /// Nothing in a dry run.
    folder: Option<&'a Folder>,
    /// Held by every upload until it has left no trace or a file.
    working: Sender<()>,
    zip: Option<Zip>,
    xml: Vec<u8>,
    files: u64,
    patrons_of_file: u64,
    bytes_of_file: u64,
    stored: Vec<Stored>,
    zips: usize,
}

/// A zip on its way into its folder.
struct Zip {
    inlet: ZipFiles,
    files: u64,
    storing: JoinHandle<Result<Option<Stored>>>,
}

/// Whether the next patron has found a place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Room {
    Found,
    /// A second file is needed, and the first one bears no number.
    NumbersNeeded,
}

impl<'a> Files<'a> {
    pub(super) fn new(
        kind: &str,
        at: DateTime,
        limits: Limits,
        numbered: bool,
        folder: Option<&'a Folder>,
        working: Sender<()>,
    ) -> Files<'a> {
        Files {
            base: format!("{kind}_{}", at.strftime("%Y-%m-%d_%H.%M.%S")),
            at,
            limits,
            numbered,
            folder,
            working,
            zip: None,
            xml: Vec::with_capacity(PIECE_BYTES + (8 << 10)),
            files: 0,
            patrons_of_file: 0,
            bytes_of_file: 0,
            stored: Vec::new(),
            zips: 0,
        }
    }

    /// Writes one patron, where there is room for it.
    pub(super) async fn patron(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<Room> {
        if self.files == 0 {
            self.begin_file().await?;
        } else if self.file_is_full() {
            if !self.numbered {
                return Ok(Room::NumbersNeeded);
            }
            self.end_file().await?;
            self.begin_file().await?;
        }
        let before = self.xml.len();
        write(&mut self.xml);
        self.bytes_of_file += (self.xml.len() - before) as u64;
        self.patrons_of_file += 1;
        if self.xml.len() >= PIECE_BYTES {
            self.hand_on().await?;
        }
        Ok(Room::Found)
    }

    fn file_is_full(&self) -> bool {
        // A patron takes some kilobytes; one of a megabyte would be no patron.
        const A_PATRON: u64 = 1 << 20;
        let zip = self.zip.as_ref().map_or(0, |zip| zip.inlet.bytes());
        self.patrons_of_file >= self.limits.patrons_per_file
            || self.bytes_of_file + A_PATRON > self.limits.file_bytes
            || zip > self.limits.zip_bytes
    }

    async fn begin_file(&mut self) -> Result<()> {
        let full = |zip: &Zip, limits: &Limits| {
            zip.files >= limits.files_per_zip || zip.inlet.bytes() > limits.zip_bytes
        };
        if self.zip.as_ref().is_some_and(|zip| full(zip, &self.limits)) {
            self.end_zip().await?;
        }
        self.files += 1;
        let name = match self.numbered {
            true => format!("{}_{}.xml", self.base, self.files),
            false => format!("{}.xml", self.base),
        };
        if self.zip.is_none() {
            self.zip = Some(self.begin_zip());
        }
        let zip = self.zip.as_mut().expect("it was begun above");
        zip.files += 1;
        zip.inlet.begin(&name).await?;
        self.patrons_of_file = 0;
        self.bytes_of_file = 0;
        self.xml.extend_from_slice(HEAD.as_bytes());
        Ok(())
    }

    fn begin_zip(&mut self) -> Zip {
        self.zips += 1;
        let part = match self.zips {
            1 => format!("{}.zip.part", self.base),
            number => format!("{}_{number}.zip.part", self.base),
        };
        let (inlet, outlet) = zip(PART_BYTES, self.at);
        let upload = self.folder.map(|folder| folder.upload(&part));
        let working = self.working.clone();
        let storing = tokio::spawn(async move {
            let stored = store(outlet, upload).await;
            drop(working);
            stored
        });
        Zip {
            inlet,
            files: 0,
            storing,
        }
    }

    async fn end_file(&mut self) -> Result<()> {
        self.xml.extend_from_slice(TAIL.as_bytes());
        self.hand_on().await
    }

    /// Hands the XML on to the deflating thread, unless its zip has come to grief: what went wrong
    /// is told at once, and not when the last patron is read.
    async fn hand_on(&mut self) -> Result<()> {
        let xml = std::mem::replace(&mut self.xml, Vec::with_capacity(PIECE_BYTES + (8 << 10)));
        let zip = self.zip.as_mut().expect("a file is in a zip");
        if zip.storing.is_finished() {
            let zip = self.zip.take().expect("it was there above");
            return Err(match ended(zip.storing.await) {
                Err(error) => error,
                Ok(_) => Error::new(Remedy::ReportBug, "storing a zip: it ended too early"),
            });
        }
        zip.inlet.write(xml).await
    }

    async fn end_zip(&mut self) -> Result<()> {
        if let Some(zip) = self.zip.take() {
            zip.inlet.finish().await?;
            self.stored.extend(ended(zip.storing.await)?);
        }
        Ok(())
    }

    /// Ends the last file; gives the parts that are stored, under names that end in `.part`.
    pub(super) async fn finish(mut self) -> Result<Finished> {
        if self.files == 0 {
            // Of nobody, there is a file all the same.
            self.begin_file().await?;
        }
        self.end_file().await?;
        self.end_zip().await?;
        Ok(Finished {
            base: self.base,
            files: self.files,
            parts: self.stored,
        })
    }

    /// Zips that were begun.
    pub(super) fn zips(&self) -> usize {
        self.zips
    }
}

/// The files of one kind, complete and stored.
#[derive(Debug)]
pub(super) struct Finished {
    base: String,
    pub files: u64,
    pub parts: Vec<Stored>,
}

impl Finished {
    /// Each part, and the name that it shall have.
    pub(super) fn names(&self) -> Vec<(&Stored, String)> {
        let several = self.parts.len() > 1;
        let name = |(number, part)| match several {
            true => (part, format!("{}_{number}.zip", self.base)),
            false => (part, format!("{}.zip", self.base)),
        };
        (1..).zip(&self.parts).map(name).collect()
    }
}

/// Stores a zip as it comes. One that does not come to its end leaves no trace.
async fn store(mut bytes: ZipBytes, mut upload: Option<Upload>) -> Result<Option<Stored>> {
    match pump(&mut bytes, &mut upload).await {
        Ok(()) => match upload {
            Some(upload) => upload.finish().await.map(Some),
            None => Ok(None),
        },
        Err(error) => {
            if let Some(upload) = upload {
                upload.abandon().await;
            }
            Err(error)
        }
    }
}

async fn pump(bytes: &mut ZipBytes, upload: &mut Option<Upload>) -> Result<()> {
    while let Some(chunk) = bytes.next().await? {
        if let Some(upload) = upload {
            upload.write(chunk).await?;
        }
    }
    Ok(())
}

fn ended<T>(joined: Result<Result<T>, tokio::task::JoinError>) -> Result<T> {
    // The cause would repeat the words of a panic (P6).
    joined.unwrap_or_else(|_| Err(Error::new(Remedy::ReportBug, "storing a zip")))
}
