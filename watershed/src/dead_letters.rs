//! Records set aside: `<pipeline>/<run start>.jsonl`, one JSON object a record.

use serde::Serialize;

use crate::connectors::objects::Object;
use crate::error::{OrFail as _, Remedy, Result};
use crate::pipeline::DeadLetter;

/// A store without appending gets a further object once this much is in one.
const OBJECT_BYTES: usize = 4 << 20;

/// The dead letters of one run.
#[derive(Debug)]
pub struct DeadLetters {
    /// Nothing in a dry run.
    folder: Option<Object>,
    run: String,
    part: u32,
    /// What the object in hand holds, for a store that cannot append.
    held: Vec<u8>,
    /// The object that was written last.
    place: Option<String>,
}

#[derive(Serialize)]
struct Line<'a> {
    run: &'a str,
    key: Option<&'a str>,
    position: &'a str,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<&'a serde_json::Value>,
}

impl DeadLetters {
    /// The dead letters of the run that started at `run`, below `folder`.
    pub fn new(folder: &Object, pipeline: &str, run: &str) -> DeadLetters {
        let folder = Some(folder.below(pipeline));
        DeadLetters {
            folder,
            run: run.to_owned(),
            part: 1,
            held: Vec::new(),
            place: None,
        }
    }

    /// Counts and forgets, for dry runs.
    pub fn forgotten() -> DeadLetters {
        DeadLetters {
            folder: None,
            run: String::new(),
            part: 1,
            held: Vec::new(),
            place: None,
        }
    }

    /// Keeps the letters; they are durable when this returns (P1).
    pub async fn keep(&mut self, letters: &[DeadLetter]) -> Result<()> {
        if letters.is_empty() {
            return Ok(());
        }
        // Only now: until there is more to keep, the newest object is the one that is full.
        if self.held.len() > OBJECT_BYTES {
            self.held.clear();
            self.part += 1;
        }
        let Some(object) = self.object() else {
            return Ok(());
        };
        let mut lines = Vec::new();
        for letter in letters {
            let line = Line {
                run: &self.run,
                key: letter.key.as_deref(),
                position: &letter.position,
                reason: &letter.reason,
                record: letter.record.as_ref(),
            };
            serde_json::to_writer(&mut lines, &line)
                .or_fail(Remedy::ReportBug, || format!("writing {object}"))?;
            lines.push(b'\n');
        }
        object.append(&self.held, &lines).await?;
        self.place = Some(object.to_string());
        if !object.appends_cheaply() {
            self.held.extend(lines);
        }
        Ok(())
    }

    /// The object that the letters go to.
    fn object(&self) -> Option<Object> {
        let name = match self.part {
            1 => format!("{}.jsonl", self.run),
            part => format!("{}-{part}.jsonl", self.run),
        };
        self.folder.as_ref().map(|folder| folder.below(&name))
    }

    /// Where letters were written, if any were.
    pub fn place(&self) -> Option<&str> {
        self.place.as_deref()
    }
}
