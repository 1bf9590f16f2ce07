use bytes::Bytes;

use crate::connectors::objects::{Object, Replaced, Version};
use crate::error::Remedy;
use crate::state::{Members, State};

/// The contract of the place that a state is kept in: compare-and-set as [`Object::replace`] has
/// it, and what [`State`] makes of it (P5). `folder` is a place below which nobody else writes.
///
/// # Panics
/// When the contract is broken.
pub async fn state(folder: Object) {
    what_is_missing_is_made_once(&folder.below("made.json")).await;
    only_what_is_unchanged_is_replaced(&folder.below("replaced.json")).await;
    what_was_deleted_meanwhile_is_a_conflict(&folder).await;
    the_members_of_others_are_kept(&folder.below("kept.json")).await;
    of_two_runners_one_saves(&folder.below("two.json")).await;
    of_two_beginners_one_saves(&folder.below("beginners.json")).await;
    a_lost_answer_is_no_conflict(&folder.below("lost.json")).await;
}

async fn what_is_missing_is_made_once(object: &Object) {
    assert_eq!(content(object).await, None, "{object} must not exist yet");
    let made = replace(object, None, "ours").await;
    assert!(matches!(made, Replaced::Done(_)), "{object} was missing");
    assert_eq!(replace(object, None, "theirs").await, Replaced::Conflict);
    assert_eq!(content(object).await.as_deref(), Some("ours"));
}

async fn only_what_is_unchanged_is_replaced(object: &Object) {
    let first = done(replace(object, None, "first").await);
    let (_, read) = object
        .read()
        .await
        .expect("reading succeeds")
        .expect("it is there");
    assert_eq!(read, first, "reading and writing agree on the version");
    let second = done(replace(object, Some(&first), "second").await);
    assert_eq!(
        replace(object, Some(&first), "late").await,
        Replaced::Conflict
    );
    assert_eq!(content(object).await.as_deref(), Some("second"));
    done(replace(object, Some(&second), "third").await);
    assert_eq!(content(object).await.as_deref(), Some("third"));
}

async fn what_was_deleted_meanwhile_is_a_conflict(folder: &Object) {
    let version = done(replace(&folder.below("there.json"), None, "there").await);
    // Nothing tells a deleted object from one that never was.
    let gone = folder.below("gone.json");
    assert_eq!(
        replace(&gone, Some(&version), "ours").await,
        Replaced::Conflict
    );
    assert_eq!(content(&gone).await, None, "a conflict writes nothing");
}

async fn the_members_of_others_are_kept(object: &Object) {
    done(replace(object, None, r#"{"theirs":[1,{"a":null}],"at":1}"#).await);
    let mut state = opened(object, "run-a").await;
    state
        .save(|members| at(members, 2))
        .await
        .expect("nobody else wrote");
    state
        .save(|members| at(members, 3))
        .await
        .expect("nobody else wrote");
    assert_eq!(
        content(object).await.as_deref(),
        Some(r#"{"theirs":[1,{"a":null}],"at":3,"saved_by":"run-a"}"#)
    );
}

async fn of_two_runners_one_saves(object: &Object) {
    done(replace(object, None, r#"{"at":1}"#).await);
    let mut first = opened(object, "run-a").await;
    let mut second = opened(object, "run-b").await;
    first
        .save(|members| at(members, 2))
        .await
        .expect("the first to save");
    // The very same cursor: it is the run that makes the document its own.
    let conflict = second.save(|members| at(members, 2)).await;
    let remedy = conflict.expect_err("the second must not save").remedy();
    assert_eq!(remedy, Remedy::StopOtherRunner);
    let theirs = Some(r#"{"at":2,"saved_by":"run-a"}"#);
    assert_eq!(content(object).await.as_deref(), theirs);
    assert_eq!(
        second.members()["at"],
        1,
        "what was not saved is not remembered"
    );
    first
        .save(|members| at(members, 3))
        .await
        .expect("the first goes on");
}

async fn of_two_beginners_one_saves(object: &Object) {
    let mut first = State::fresh(object, "run-a");
    let mut second = State::fresh(object, "run-b");
    first
        .save(|members| at(members, 1))
        .await
        .expect("the first to save");
    let conflict = second.save(|members| at(members, 1)).await;
    let remedy = conflict.expect_err("the second must not save").remedy();
    assert_eq!(remedy, Remedy::StopOtherRunner);
    assert_eq!(
        content(object).await.as_deref(),
        Some(r#"{"at":1,"saved_by":"run-a"}"#)
    );
}

/// The write arrived and its answer did not: the document is exactly what is being written.
async fn a_lost_answer_is_no_conflict(object: &Object) {
    done(replace(object, None, r#"{"at":1}"#).await);
    let mut state = opened(object, "run-a").await;
    object
        .write(r#"{"at":2,"saved_by":"run-a"}"#.into())
        .await
        .expect("writing succeeds");
    state
        .save(|members| at(members, 2))
        .await
        .expect("the document is ours");
    state
        .save(|members| at(members, 3))
        .await
        .expect("its version is known");
    assert_eq!(opened(object, "run-b").await.members()["at"], 3);
}

fn at(members: &mut Members, place: u64) {
    members.insert("at".into(), place.into());
}

async fn opened(object: &Object, run: &str) -> State {
    let state = State::open(object, run).await.expect("opening succeeds");
    state.expect("there is a document")
}

async fn replace(object: &Object, expected: Option<&Version>, text: &str) -> Replaced {
    let replaced = object
        .replace(expected, Bytes::copy_from_slice(text.as_bytes()))
        .await;
    replaced.expect("a conflict is an answer and not an error")
}

fn done(replaced: Replaced) -> Version {
    match replaced {
        Replaced::Done(version) => version,
        Replaced::Conflict => panic!("nobody else wrote"),
    }
}

async fn content(object: &Object) -> Option<String> {
    let read = object.read().await.expect("reading succeeds");
    read.map(|(bytes, _)| String::from_utf8_lossy(&bytes).into_owned())
}
