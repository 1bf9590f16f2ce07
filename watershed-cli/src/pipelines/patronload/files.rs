//! The files of one kind of patrons: XML in zips, cut where Alma's limits or the settings want it,
//! and stored while they are written.

use std::sync::{Arc, Mutex};

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

/// What a run may have left in the folder.
#[derive(Clone)]
pub(super) struct Traces {
    /// Names of the parts that were begun.
    pub begun: Arc<Mutex<Vec<String>>>,
    /// Held by every upload until it has left a file, or no trace.
    pub working: Sender<()>,
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
    traces: Traces,
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
        traces: Traces,
    ) -> Files<'a> {
        Files {
            base: format!("{kind}_{}", at.strftime("%Y-%m-%d_%H.%M.%S")),
            at,
            limits,
            numbered,
            folder,
            traces,
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
        let working = self.traces.working.clone();
        let mut begun = self.traces.begun.lock().expect("no holder panics");
        begun.push(part);
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

    /// Gives the files up, and waits until nothing is left of them.
    pub(super) async fn abandon(mut self) {
        if let Some(zip) = self.zip.take() {
            drop(zip.inlet);
            // That it did not come to its end is what was wanted.
            let _ = zip.storing.await;
        }
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

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read as _};

    use jiff::civil::date;
    use tokio::sync::mpsc::channel;
    use watershed::connectors::aws::AwsSettings;
    use watershed::retry::Policy;

    use super::*;

    const NO_LIMITS: Limits = Limits {
        patrons_per_file: u64::MAX,
        file_bytes: u64::MAX,
        files_per_zip: u64::MAX,
        zip_bytes: u64::MAX,
    };

    /// Writes patrons of so many random bytes; gives the names of the zips, of the files in them,
    /// and the bytes of these.
    async fn written(
        limits: Limits,
        patrons: u64,
        bytes: usize,
    ) -> Vec<(String, Vec<(String, usize)>)> {
        let place = tempfile::tempdir().unwrap();
        let aws = watershed::connectors::aws::Aws::new(AwsSettings::default()).await;
        let url = format!("file:{}", place.path().display());
        let folder = Folder::open(&url, &aws, Policy::within(Default::default())).unwrap();
        let (working, mut worked) = channel(1);
        let traces = Traces {
            begun: Arc::default(),
            working,
        };
        let at = date(2024, 2, 29).at(0, 0, 0, 0);
        let mut files = Files::new("staff", at, limits, true, Some(&folder), traces);
        for _ in 0..patrons {
            let write = |out: &mut Vec<u8>| out.extend((0..bytes).map(|_| fastrand::u8(..)));
            assert_eq!(files.patron(write).await.unwrap(), Room::Found);
        }
        let finished = files.finish().await.unwrap();
        assert!(worked.recv().await.is_none(), "nobody works any more");
        let mut zips = Vec::new();
        for (part, name) in finished.names() {
            let bytes = std::fs::read(place.path().join(&part.name)).unwrap();
            let mut archive = ::zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
            let mut files = Vec::new();
            for i in 0..archive.len() {
                let mut text = Vec::new();
                let mut file = archive.by_index(i).unwrap();
                file.read_to_end(&mut text).unwrap();
                assert!(text.starts_with(HEAD.as_bytes()) && text.ends_with(TAIL.as_bytes()));
                files.push((file.name().unwrap().into_owned(), text.len()));
            }
            zips.push((name, files));
        }
        zips
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_ends_before_it_is_too_large() {
        let limits = Limits {
            file_bytes: 3 << 20,
            ..NO_LIMITS
        };
        let zips = written(limits, 9, 900 << 10).await;
        assert_eq!(zips.len(), 1);
        assert_eq!(zips[0].0, "staff_2024-02-29_00.00.00.zip");
        let files = &zips[0].1;
        assert_eq!(files.len(), 3, "{files:?}");
        assert!(
            files.iter().all(|(_, bytes)| *bytes <= 3 << 20),
            "{files:?}"
        );
        assert_eq!(files[2].0, "staff_2024-02-29_00.00.00_3.xml");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_zip_ends_before_it_is_too_large() {
        let limits = Limits {
            zip_bytes: 2 << 20,
            ..NO_LIMITS
        };
        let zips = written(limits, 30, 900 << 10).await;
        assert!(zips.len() > 3, "{zips:?}");
        // What was on its way when the limit was reached; 64 MiB are left for it.
        let most = (2 << 20) + (8 << 20);
        for (i, (name, files)) in zips.iter().enumerate() {
            assert_eq!(*name, format!("staff_2024-02-29_00.00.00_{}.zip", i + 1));
            assert_eq!(files.len(), 1);
            assert!(files[0].1 < most, "{files:?}");
        }
        let bytes: usize = zips.iter().map(|(_, files)| files[0].1).sum();
        let around = zips.len() * (HEAD.len() + TAIL.len());
        assert_eq!(
            bytes - around,
            30 * (900 << 10),
            "nobody is lost between two zips"
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn of_nobody_there_is_a_file() {
        let zips = written(NO_LIMITS, 0, 0).await;
        assert_eq!(zips[0].1[0].1, HEAD.len() + TAIL.len());
    }
}
