use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde::de::IgnoredAny;
use tokio::task::spawn_blocking;

use crate::connectors::objects::sync_folder;
use crate::error::{Error, OrFail as _, Remedy, Result};

/// How much of the file's end is searched for a message that stands there already. What a crash
/// repeats is always among the last messages; to search the whole file would cost more with each.
const SEARCHED: u64 = 1 << 20;

/// A file of JSON lines, one a message: `message_id`, `subject`, `payload`. It may be read, and
/// written by several processes, at any time.
#[derive(Debug)]
pub(super) struct Lines(PathBuf);

impl Lines {
    pub(super) fn new(path: PathBuf) -> Lines {
        Lines(path)
    }

    pub(super) async fn append(
        &self,
        what: &str,
        subject: &str,
        message_id: &str,
        payload: &[u8],
    ) -> Result<()> {
        let start = format!("{{\"message_id\":{},", quoted(message_id));
        let mut line = format!("{start}\"subject\":{},\"payload\":", quoted(subject)).into_bytes();
        let is_json = serde_json::from_slice::<IgnoredAny>(payload).is_ok();
        if is_json && !payload.contains(&b'\n') {
            // As it is: to read and write it anew could change its numbers.
            line.extend(payload);
        } else {
            let text = str::from_utf8(payload);
            let text = text.or_fail(Remedy::ReportBug, || format!("{what}: it is no text"))?;
            line.extend(quoted(text).bytes());
        }
        line.extend(b"}\n");
        let path = self.0.clone();
        spawn_blocking(move || append_once(&path, start.as_bytes(), &line))
            .await
            // Its cause would repeat the words of a panic (P6).
            .map_err(|_| Error::new(Remedy::ReportBug, what))?
            .or_fail(Remedy::FixAccess, || what.to_owned())
    }
}

impl fmt::Display for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "file:{}", self.0.display())
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Appends the line, unless one that begins like it is there; it is durable when this returns.
fn append_once(path: &Path, start: &[u8], line: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)?;
    // The lock is the kernel's: it goes with the process, so that no stale one can stay.
    file.lock()?;
    let (end, tail) = whole_lines(&mut file)?;
    if !tail
        .split(|byte| *byte == b'\n')
        .any(|line| line.starts_with(start))
    {
        // What a crash has left of a line was never acknowledged, and is written over.
        file.set_len(end)?;
        file.seek(SeekFrom::Start(end))?;
        file.write_all(line)?;
    }
    // Also for a line that is there: whoever wrote it may not have come this far.
    file.sync_all()?;
    sync_folder(path)
}

/// Where the file's last whole line ends, and the lines before it as far as they are searched.
fn whole_lines(file: &mut File) -> io::Result<(u64, Vec<u8>)> {
    let length = file.metadata()?.len();
    let mut searched = SEARCHED;
    loop {
        let from = length.saturating_sub(searched);
        let mut tail = Vec::new();
        file.seek(SeekFrom::Start(from))?;
        file.read_to_end(&mut tail)?;
        let last = tail.iter().rposition(|byte| *byte == b'\n');
        if last.is_none() && from > 0 {
            // A piece of a line longer than that.
            searched *= 2;
            continue;
        }
        tail.truncate(last.map_or(0, |last| last + 1));
        return Ok((from + tail.len() as u64, tail));
    }
}
