//! Reading one kind of patrons, all of them, into files.

use std::collections::HashMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;
use watershed::connectors::objects::Folder;
use watershed::connectors::sql::Database;
use watershed::dead_letters::DeadLetters;
use watershed::engine::{ModeReport, Report};
use watershed::error::{Error, OrFail as _, Remedy, Result};
use watershed::pipeline::DeadLetter;
use watershed::privacy::Seen;

use super::super::Options;
use super::files::{Files, Finished, Limits, Room, Traces};
use super::patron::{Kind, Patron, Role, Text};
use super::settings::Config;
use super::user_xml::UserXml;

const NO_NAME: &str = "no name";
const NAME_USED: &str = "name already used";

/// A snapshot of all patrons in the making.
pub(super) struct Snapshot<'a> {
    pub config: &'a Config,
    pub options: &'a Options,
    pub database: &'a Database,
    /// Nothing in a dry run.
    pub folder: Option<&'a Folder>,
    pub limits: Limits,
    pub letters: DeadLetters,
    pub report: Report,
    /// What is stored, under names that end in `.part`.
    pub finished: Vec<Finished>,
    /// Names of accounts, which are the patrons' primary ids: no two in both files.
    names: Seen<u128>,
    /// Other identifiers, which should not come twice either; Alma would refuse the second one.
    identifiers: Seen<u64>,
}

impl<'a> Snapshot<'a> {
    pub(super) fn new(
        config: &'a Config,
        options: &'a Options,
        database: &'a Database,
        folder: Option<&'a Folder>,
        letters: DeadLetters,
    ) -> Snapshot<'a> {
        Snapshot {
            config,
            options,
            database,
            folder,
            limits: Limits::of_alma(config.patrons_per_file),
            letters,
            report: Report::default(),
            finished: Vec::new(),
            names: Seen::default(),
            identifiers: Seen::default(),
        }
    }

    /// Reads all patrons and stores their files. Gives the time of the last one's.
    pub(super) async fn build(&mut self, traces: &Traces) -> Result<Timestamp> {
        let mut at = self.config.now();
        for kind in Kind::ALL {
            at = self.config.now();
            // Their number decides how files are named, and it is known only when all are read. So
            // it is guessed, and who guessed wrong reads once more.
            let mut numbered = self.guess(kind).await?;
            let mut finished = self.read(kind, at, numbered, traces).await?;
            if finished
                .as_ref()
                .is_none_or(|done| numbered && done.files == 1)
            {
                numbered = finished.is_none();
                self.forget(kind, finished).await?;
                finished = self.read(kind, at, numbered, traces).await?;
            }
            // The warehouse has grown over a limit between the two: a number in a name more or less.
            let finished = finished.ok_or_else(|| {
                Error::new(
                    Remedy::TryAgain,
                    format!("numbering the files of {}", kind.name()),
                )
            })?;
            tracing::info!("{}: XML created and zipped", kind.name());
            self.finished.push(finished);
            self.names.begin_layer();
            self.identifiers.begin_layer();
            tracing::trace!(
                room = match kind {
                    Kind::Staff => "staff stored",
                    Kind::Student => "student stored",
                }
            );
        }
        Ok(at)
    }

    /// Whether there will be more than one file.
    async fn guess(&self, kind: Kind) -> Result<bool> {
        let Some(most) = self.config.patrons_per_file else {
            return Ok(false);
        };
        let rows = self.database.query(&kind.count(), &[]).await?;
        let what = || format!("counting the rows of {}", kind.table());
        let count = rows.first().map(|row| row.integer("patrons"));
        let count = count
            .transpose()
            .or_fail(Remedy::ReportBug, what)?
            .flatten();
        Ok(count.is_some_and(|count| count.unsigned_abs() > most))
    }

    /// Takes back a reading whose files have the wrong names.
    async fn forget(&mut self, kind: Kind, finished: Option<Finished>) -> Result<()> {
        self.report.modes.retain(|mode| mode.name != kind.name());
        self.names.forget_layer();
        self.identifiers.forget_layer();
        if let (Some(folder), Some(finished)) = (self.folder, finished) {
            let parts = finished.parts.into_iter().map(|part| part.name);
            folder.remove(&parts.collect::<Vec<_>>()).await?;
        }
        Ok(())
    }

    /// Nothing when the files' names need numbers and have none.
    async fn read(
        &mut self,
        kind: Kind,
        at: Timestamp,
        numbered: bool,
        traces: &Traces,
    ) -> Result<Option<Finished>> {
        let local = TimeZone::UTC.to_datetime(at);
        let xml = UserXml::new(&self.config.institution, kind, local.date());
        let mut files = Files::new(
            kind.name(),
            local,
            self.limits,
            numbered,
            self.folder,
            traces.clone(),
        );
        self.report.modes.push(ModeReport {
            name: kind.name(),
            ..ModeReport::default()
        });
        let mut reasons = HashMap::new();
        let mut rows = self.database.stream(&kind.select(), &[]);
        let mut batches = 0;
        while self.config.max_batches.is_none_or(|most| batches < most) {
            let Some(batch) = rows.next().await? else {
                break;
            };
            batches += 1;
            let mut letters = Vec::new();
            for row in batch {
                let place = self.mode().read + 1;
                self.mode().read = place;
                let patron = match Patron::read(kind, row) {
                    Ok(patron) => patron,
                    Err(reason) => {
                        letters.push(set_aside(kind, place, reason));
                        continue;
                    }
                };
                match self.admit(&patron) {
                    Admitted::Yes => {}
                    Admitted::No(reason) => {
                        self.mode().skipped.add(reason, 1);
                        continue;
                    }
                }
                self.show(kind, &patron);
                if files.patron(|out| xml.write(&patron, out)).await? == Room::NumbersNeeded {
                    files.abandon().await;
                    return Ok(None);
                }
                self.mode().delivered += 1;
            }
            self.keep(letters, &mut reasons).await?;
            self.check_zips(&files)?;
            self.options.tell(&self.report);
        }
        let finished = files.finish().await?;
        self.mode().pages = finished.files;
        self.conclude(kind, &reasons)?;
        Ok(Some(finished))
    }

    fn mode(&mut self) -> &mut ModeReport {
        let mode = self.report.modes.last_mut();
        mode.expect("`read` has pushed this mode")
    }

    /// Whether a patron is written; counts what is worth knowing of one that is.
    fn admit(&mut self, patron: &Patron) -> Admitted {
        match &patron.name {
            None => return Admitted::No(NO_NAME),
            Some(name) if !self.names.first_time("name", name) => return Admitted::No(NAME_USED),
            Some(_) => {}
        }
        let no_barcode = &self.config.institution.identifiers.no_barcode;
        let mut again = |kind, text: &Text| match text {
            Some(text) if text.for_alma() != no_barcode => !self.identifiers.first_time(kind, text),
            _ => false,
        };
        let (same_id, same_barcode) = (
            again("id", &patron.institution_id),
            again("barcode", &patron.barcode),
        );
        let noted = &mut self.mode().noted;
        noted.add("with the id of another patron", same_id.into());
        noted.add("with the barcode of another patron", same_barcode.into());
        noted.add("characters dropped that XML forbids", patron.dropped);
        Admitted::Yes
    }

    /// Shows what of a patron is not personal, for `sample`.
    fn show(&self, kind: Kind, patron: &Patron) {
        let Some(shown) = &self.options.show else {
            return;
        };
        let given = |text: &Text| text.is_some();
        let phones = match &patron.role {
            Role::Staff { phone, .. } => usize::from(given(phone)),
            Role::Student {
                term_phones,
                office_phone,
                ..
            } => usize::from(given(office_phone)) + term_phones.iter().filter(|t| given(t)).count(),
        };
        let record = json!({
            "kind": kind.name(),
            "email": given(&patron.email),
            "barcode": given(&patron.barcode),
            "phones": phones,
            "preferred_name": patron.preferred.iter().any(given),
        });
        shown.add(std::iter::once(record));
    }

    async fn keep(
        &mut self,
        letters: Vec<DeadLetter>,
        reasons: &mut HashMap<String, u64>,
    ) -> Result<()> {
        for letter in &letters {
            *reasons.entry(letter.reason.clone()).or_default() += 1;
        }
        self.mode().set_aside += letters.len() as u64;
        // P1: what is set aside is durable before the files are Alma's.
        self.letters.keep(&letters).await
    }

    fn check_zips(&self, files: &Files<'_>) -> Result<()> {
        let before: usize = self.finished.iter().map(|done| done.parts.len()).sum();
        if before + files.zips() <= Limits::ZIPS {
            return Ok(());
        }
        let what = format!("cutting the patrons into more than {} zips", Limits::ZIPS);
        Err(Error::new(Remedy::FixSettings, what)
            .caused_by("Alma takes no more in one import")
            .with_hint("raise PATRONS_PER_FILE, or leave it out"))
    }

    /// What must hold when all rows are read.
    fn conclude(&mut self, kind: Kind, reasons: &HashMap<String, u64>) -> Result<()> {
        let mode = self.mode();
        let name = kind.name();
        tracing::info!(
            "{name}: {} rows read, {} patrons written, {} skipped, {} set aside",
            mode.read,
            mode.delivered,
            mode.skipped.total(),
            mode.set_aside
        );
        // P3
        if mode.read != mode.delivered + mode.skipped.total() + mode.set_aside {
            let what = format!("counting the patrons of {name}: they do not add up");
            return Err(Error::new(Remedy::ReportBug, what));
        }
        for (noted, number) in mode.noted.iter() {
            tracing::warn!("{name}: {number} {noted}");
        }
        let most = reasons.iter().max_by_key(|(_, number)| **number);
        match most {
            Some((reason, number)) if changed_source(*number, mode.read) => {
                let what = format!("setting aside {number} of the {} rows of {name}", mode.read);
                Err(Error::new(Remedy::FixSettings, what)
                    .caused_by(reason.as_str())
                    .with_hint("so many for one reason are a changed source; the files that are there were left alone"))
            }
            _ => Ok(()),
        }
    }
}

/// All rows, or more than a tenth and at least ten, set aside for one reason: Alma must not forget
/// these people for it. A table of a single row cannot tell.
fn changed_source(number: u64, all: u64) -> bool {
    all > 1 && (number == all || (number >= 10 && number * 10 > all))
}

enum Admitted {
    Yes,
    /// Skipped, with the reason.
    No(&'static str),
}

/// Rows have no order and patrons no pseudonym here: the place is that of this one reading.
fn set_aside(kind: Kind, place: u64, reason: String) -> DeadLetter {
    DeadLetter {
        key: None,
        position: format!("{}, row {place}", kind.table()),
        reason,
        record: None,
    }
}
