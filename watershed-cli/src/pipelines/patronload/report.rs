//! The report by mail: how a run ended, its own log lines, and what it counted.

use comfy_table::{CellAlignment, Table, presets};
use jiff::civil::Date;
use watershed::engine::Report;
use watershed::error::{Error, Result};

use super::settings::Recipients;

/// How a run ended.
pub(super) enum Ended<'a> {
    Well,
    Failed(&'a Error),
}

/// Sends the report of a run of this day. Nothing in it is personal (P6): log lines, errors and
/// counts are not.
pub(super) async fn send(
    recipients: &Recipients,
    day: Date,
    ended: Ended<'_>,
    lines: &[String],
    report: &Report,
) -> Result<()> {
    let subject = subject(&recipients.workspace, day, &ended);
    let body = body(&ended, lines, report);
    let mail = &recipients.mail;
    mail.send(&recipients.addresses, &subject, &body).await?;
    tracing::info!("report sent: {subject}");
    tracing::trace!(room = "reported");
    Ok(())
}

fn subject(workspace: &str, day: Date, ended: &Ended<'_>) -> String {
    match ended {
        Ended::Well => format!("{workspace} Patronload file creation {day}"),
        Ended::Failed(_) => format!("{workspace} Patronload FAILED {day}"),
    }
}

fn body(ended: &Ended<'_>, lines: &[String], report: &Report) -> String {
    let mut body = String::new();
    for line in lines {
        body.push_str(line);
        body.push('\n');
    }
    if let Ended::Failed(error) = ended {
        body.push_str(&format!("\nThe run failed: {}\n", error.in_one_line()));
        if let Some(hint) = error.hint() {
            body.push_str(&format!("Hint: {hint}\n"));
        }
    }
    if !report.modes.is_empty() {
        body.push_str(&format!("\n{}", counts(report)));
    }
    body
}

fn counts(report: &Report) -> String {
    let mut table = Table::new();
    let header = ["kind", "read", "written", "skipped", "set aside"];
    table.load_preset(presets::NOTHING).set_header(header);
    let mut below = String::new();
    for mode in &report.modes {
        let numbers = [
            mode.read,
            mode.delivered,
            mode.skipped.total(),
            mode.set_aside,
        ];
        let numbers = numbers.iter().map(u64::to_string);
        table.add_row(std::iter::once(mode.name.to_owned()).chain(numbers));
        for (reason, number) in mode.skipped.iter() {
            below.push_str(&format!("{}, skipped: {number} {reason}\n", mode.name));
        }
        for (noted, number) in mode.noted.iter() {
            below.push_str(&format!("{}, noted: {number} {noted}\n", mode.name));
        }
    }
    for column in 1..5 {
        let column = table.column_mut(column).expect("the table has this column");
        column.set_cell_alignment(CellAlignment::Right);
    }
    let rows: String = table
        .lines()
        .map(|row| format!("{}\n", row.trim()))
        .collect();
    format!("{rows}{below}")
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use watershed::engine::ModeReport;
    use watershed::error::Remedy;

    use super::*;

    #[test]
    fn a_report_tells_what_was_done() {
        let mut staff = ModeReport {
            name: "staff",
            read: 12,
            delivered: 9,
            set_aside: 1,
            ..ModeReport::default()
        };
        staff.skipped.add("no name", 2);
        let report = Report {
            modes: vec![
                staff,
                ModeReport {
                    name: "student",
                    read: 600_000,
                    delivered: 600_000,
                    ..ModeReport::default()
                },
            ],
            stopped: false,
        };
        let lines = ["2024-02-29 00:00:00,000 - patronload starts".to_owned()];
        let error = Error::new(Remedy::FixAccess, "renaming x.zip.part").with_hint("allow it");
        insta::assert_snapshot!(body(&Ended::Failed(&error), &lines, &report), @r"
        2024-02-29 00:00:00,000 - patronload starts

        The run failed: renaming x.zip.part
        Hint: allow it

        kind       read  written  skipped  set aside
        staff        12        9        2          1
        student  600000   600000        0          0
        staff, skipped: 2 no name
        ");
        let day = date(2024, 2, 29);
        let subjects =
            [Ended::Well, Ended::Failed(&error)].map(|ended| subject("PROD", day, &ended));
        assert_eq!(subjects[0], "PROD Patronload file creation 2024-02-29");
        assert_eq!(subjects[1], "PROD Patronload FAILED 2024-02-29");
    }
}
