use std::fs::File;
use std::io::{BufReader, ErrorKind};
use std::path::{Component, Path, PathBuf};

use jiff::civil::Date;
use tokio::task::spawn_blocking;
use watershed::error::{Error, OrFail as _, Remedy, Result};

use super::{Question, Reply, document};

/// Recorded answers: `allsites/YYYYMMDD.xml`, `site/<id>/YYYYMMDD.xml`.
pub(super) struct Folder(pub PathBuf);

impl Folder {
    pub async fn ask(&self, question: Question<'_>, day: Date) -> Result<Reply> {
        let file = format!("{}.xml", day.strftime("%Y%m%d"));
        let path = match question {
            Question::AllSites => self.0.join("allsites").join(file),
            // An id is a name below the folder, and nothing that leads out of it.
            Question::Site(id) if is_below(id) => self.0.join("site").join(id).join(file),
            Question::Site(_) => return Ok(Reply::NotRecorded),
        };
        let what = || format!("{}, in file:{}", question.tried(day), path.display());
        let file = match File::open(&path) {
            Err(cause) if cause.kind() == ErrorKind::NotFound && self.0.is_dir() => {
                return Ok(Reply::NotRecorded);
            }
            opened => opened.or_fail(Remedy::FixAccess, what)?,
        };
        let read = spawn_blocking(move || document::read(BufReader::new(file), day, false)).await;
        let read = read.map_err(|_| Error::new(Remedy::ReportBug, what()))?;
        Ok(Reply::Document(read))
    }

    /// That there is one; for `check`.
    pub fn check(&self) -> Result<String> {
        let place = format!("file:{}", self.0.display());
        std::fs::read_dir(&self.0)
            .or_fail(Remedy::FixAccess, || format!("looking into {place}"))?;
        Ok(place)
    }
}

fn is_below(id: &str) -> bool {
    let mut parts = Path::new(id).components();
    parts.all(|part| matches!(part, Component::Normal(_)))
}
