//! The change from the old files to the new ones.
//!
//! Alma loads every `.zip` that it finds, so that there are never two of one kind: the new ones wait
//! under names that end in `.part`; when all are complete, the old ones are removed, and only then
//! the new ones get their names. A run that is killed in between leaves no second one, and its
//! parts are cleared by the next.
//!
//! Of two runs at once at most one delivers. Each removes the other's parts before it looks whether
//! its own are all there: of two such looks the later one finds nothing. And each removes only the
//! zips that it found before it looked: who comes to it late, when the other one has delivered
//! meanwhile, leaves those files alone.

use std::collections::HashSet;

use watershed::connectors::objects::{Folder, Stored};
use watershed::error::{Error, Remedy, Result};

use super::files::Finished;

const PART: &str = ".zip.part";
const ZIP: &str = ".zip";

/// Clears what runs before this one left unfinished.
pub(super) async fn clear(folder: &Folder) -> Result<()> {
    clear_but(folder, &[]).await?;
    tracing::trace!(room = "cleared");
    Ok(())
}

async fn clear_but(folder: &Folder, ours: &[&Stored]) -> Result<()> {
    // Uploads first: one that is finished meanwhile is found among the parts below.
    match folder.end_unfinished(PART).await {
        Ok(0) => {}
        Ok(number) => tracing::info!("{number} unfinished uploads were ended"),
        // They cost a little and harm nobody.
        Err(error) if error.remedy() == Remedy::FixAccess => {
            tracing::warn!("unfinished uploads are left alone: {}", error.in_one_line());
        }
        Err(error) => return Err(error),
    }
    let ours: HashSet<&str> = ours.iter().map(|part| &*part.name).collect();
    let parts = folder.list(PART).await?.into_iter().map(|part| part.name);
    let left: Vec<String> = parts.filter(|name| !ours.contains(&**name)).collect();
    if !left.is_empty() {
        tracing::info!("{} unfinished files were removed", left.len());
    }
    folder.remove(&left).await
}

/// Puts the new files in the place of the old ones; gives their names.
///
/// # Errors
/// [`Remedy::StopOtherRunner`] when another run has removed our parts. It has delivered, or is about
/// to; the zips that were there before may be gone already.
pub(super) async fn deliver(folder: &Folder, finished: &[Finished]) -> Result<Vec<String>> {
    let named: Vec<(&Stored, String)> = finished.iter().flat_map(Finished::names).collect();
    let ours: Vec<&Stored> = named.iter().map(|(part, _)| *part).collect();
    // A run whose parts are gone already must not take those of the other one along: both would end.
    look(folder, &ours).await?;
    clear_but(folder, &ours).await?;
    tracing::trace!(room = "fenced");
    // Behind the fence, where no other run can add to them unseen, and before the look.
    let stay: HashSet<&str> = named.iter().map(|(_, name)| &**name).collect();
    let zips = folder.list(ZIP).await?.into_iter().map(|zip| zip.name);
    let old: Vec<String> = zips.filter(|name| !stay.contains(&**name)).collect();
    tracing::trace!(room = "listed");
    look(folder, &ours).await?;
    tracing::trace!(room = "looked");

    folder.remove(&old).await?;
    if !old.is_empty() {
        tracing::info!("{} old files were removed", old.len());
    }
    tracing::trace!(room = "removed");

    for (part, name) in &named {
        if let Err(error) = folder.rename(&part.name, name).await {
            return Err(match folder.find(&part.name).await {
                Ok(None) => overtaken(folder, part),
                _ => error,
            });
        }
        tracing::info!("file uploaded: {name}");
        tracing::trace!(room = "renamed");
    }
    Ok(named.into_iter().map(|(_, name)| name).collect())
}

/// Whether these parts are all there, and are still ours.
async fn look(folder: &Folder, ours: &[&Stored]) -> Result<()> {
    for part in ours {
        if folder.find(&part.name).await?.as_ref() != Some(*part) {
            return Err(overtaken(folder, part));
        }
    }
    Ok(())
}

fn overtaken(folder: &Folder, part: &Stored) -> Error {
    let what = format!("looking for {} in {folder}", part.name);
    Error::new(Remedy::StopOtherRunner, what)
        .caused_by("another run has removed or replaced it")
        .with_hint("let one run at a time")
}

/// Removes the parts of a run that does not deliver; whatever stays is cleared by the next one.
pub(super) async fn give_up(folder: &Folder, parts: &[String]) {
    if let Err(error) = folder.remove(parts).await {
        tracing::info!("{}", error.in_one_line());
    }
}
