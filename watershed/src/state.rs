//! Where a pipeline stopped: one JSON document with compare-and-set, in any object store.
//!
//! A run opens the document once and hands it from mode to mode. [`State::save`] merges the
//! members of one cursor, keeps all others (older programs' and people's), and writes only if
//! nobody else wrote since (P5).

use bytes::Bytes;
use serde_json::Value;

use crate::connectors::objects::{Object, Replaced, Version};
use crate::error::{Error, OrFail as _, Remedy, Result};

/// The members of the state document.
pub type Members = serde_json::Map<String, Value>;

/// The member that says which run wrote the document last. It makes every run's document its
/// own, so that two runners who save the same cursor are not taken for one (P5).
const SAVED_BY: &str = "saved_by";

/// The state document of one run.
#[derive(Debug)]
pub struct State {
    target: Target,
    members: Members,
    run: String,
}

#[derive(Debug)]
enum Target {
    /// Saved by compare-and-set against the version that was read or written last.
    Document {
        object: Object,
        version: Option<Version>,
    },
    /// Kept in this process: dry runs, and runs that ignore the stored state.
    Memory,
}

impl State {
    /// Reads the document; `run` names this run in it. Nothing is returned where there is none.
    ///
    /// # Errors
    /// [`Remedy::FixData`] when the document is not a JSON object: it is never taken for an empty
    /// one, which would start from the beginning.
    pub async fn open(object: &Object, run: &str) -> Result<Option<State>> {
        let Some((bytes, version)) = object.read().await? else {
            return Ok(None);
        };
        let members = parse(object, &bytes)?;
        let target = Target::Document {
            object: object.clone(),
            version: Some(version),
        };
        Ok(Some(State {
            target,
            members,
            run: run.to_owned(),
        }))
    }

    /// A state for a place that has no document yet; the first save makes it.
    pub fn fresh(object: &Object, run: &str) -> State {
        let target = Target::Document {
            object: object.clone(),
            version: None,
        };
        State {
            target,
            members: Members::new(),
            run: run.to_owned(),
        }
    }

    /// A state that is kept in memory alone.
    pub fn in_memory(members: Members) -> State {
        State {
            target: Target::Memory,
            members,
            run: String::new(),
        }
    }

    /// The document's members as last read or written.
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// Changes members and writes the document, if nobody else wrote it since (P5).
    ///
    /// # Errors
    /// [`Remedy::StopOtherRunner`] when somebody did; then the document is theirs.
    pub async fn save(&mut self, change: impl FnOnce(&mut Members)) -> Result<()> {
        let mut members = self.members.clone();
        change(&mut members);
        if let Target::Document { object, version } = &mut self.target {
            members.insert(SAVED_BY.into(), self.run.as_str().into());
            let bytes = Bytes::from(
                serde_json::to_vec(&members)
                    .or_fail(Remedy::ReportBug, || format!("writing {object}"))?,
            );
            // P5: the write happens against the version this run has seen, or not at all.
            let replaced = object.replace(version.as_ref(), bytes.clone()).await?;
            *version = Some(match replaced {
                Replaced::Done(version) => version,
                Replaced::Conflict => confirm(object, &bytes).await?,
            });
        }
        self.members = members;
        Ok(())
    }
}

/// After a conflict: if the document is exactly what was being written, an answer was lost on the
/// way and the document is ours.
async fn confirm(object: &Object, ours: &Bytes) -> Result<Version> {
    match object.read().await? {
        Some((there, version)) if there == ours => Ok(version),
        _ => Err(Error::new(
            Remedy::StopOtherRunner,
            format!("saving the state in {object}"),
        )
        .caused_by("another runner, or a person, has written or removed it since this run read it")
        .with_hint("let one runner work on a state at a time; this run saved nothing more")),
    }
}

fn parse(object: &Object, bytes: &[u8]) -> Result<Members> {
    let what = || format!("reading the state in {object}");
    let value: Value = serde_json::from_slice(bytes)
        .map_err(|cause| Error::new(Remedy::FixData, what()).caused_by(cause))?;
    match value {
        Value::Object(members) => Ok(members),
        _ => Err(Error::new(Remedy::FixData, what()).caused_by("it must be a JSON object")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_save_keeps_the_members_it_does_not_own() {
        let object = Object::in_memory("state.json");
        object
            .write(r#"{"theirs": [1], "mine": 1}"#.into())
            .await
            .unwrap();
        let mut state = State::open(&object, "run-a").await.unwrap().unwrap();
        state
            .save(|members| drop(members.insert("mine".into(), 2.into())))
            .await
            .unwrap();
        let (bytes, _) = object.read().await.unwrap().unwrap();
        assert_eq!(&bytes[..], br#"{"theirs":[1],"mine":2,"saved_by":"run-a"}"#);
    }

    #[tokio::test]
    async fn a_document_that_is_no_object_is_an_error_and_not_a_new_start() {
        for text in ["", "{", "null", "[]", "\"x\"", "<html>"] {
            let object = Object::in_memory("state.json");
            object.write(text.into()).await.unwrap();
            let error = State::open(&object, "run").await.unwrap_err();
            assert_eq!(error.remedy(), Remedy::FixData, "{text}");
        }
        assert!(
            State::open(&Object::in_memory("none"), "run")
                .await
                .unwrap()
                .is_none()
        );
    }
}
