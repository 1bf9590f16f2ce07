use std::time::Duration;

use jiff::tz::TimeZone;
use watershed::connectors::aws::Aws;
use watershed::connectors::objects::Object;
use watershed::error::{Error, Remedy, Result};
use watershed::retry::Policy;
use watershed::settings::{Kind, Setting, Settings};
use watershed::state::{Members, State};
use watershed::time::{
    format_instant, format_wall_time, parse_date, parse_instant, parse_wall_time,
};

use super::args::StateAction;
use super::{find, screen, sources};
use crate::pipelines::Job;
use crate::pipelines::poller::state_url;

/// Shows or changes a state document.
pub(super) async fn state(action: StateAction) -> Result<u8> {
    match action {
        StateAction::Show { job, settings } => {
            let job = find(&job)?;
            let (object, _) = place(job, &sources::gather(job, &settings, &[]).await?).await?;
            let state = open(&object).await?.ok_or_else(|| nothing(&object))?;
            screen::print(&pretty(state.members()));
        }
        StateAction::Set {
            job,
            members,
            settings,
        } => {
            let job = find(&job)?;
            let (object, zone) = place(job, &sources::gather(job, &settings, &[]).await?).await?;
            let changes = changes(job, &members, &zone)?;
            let mut state = open(&object)
                .await?
                .unwrap_or_else(|| State::fresh(&object, BY_HAND));
            // P2: a person may move a cursor backward.
            state
                .save(|members| {
                    for (member, tie_break) in job.tie_breaks {
                        if changes.contains_key(*member) {
                            members.shift_remove(*tie_break);
                        }
                    }
                    members.extend(changes);
                })
                .await?;
            screen::print(&pretty(state.members()));
        }
        StateAction::Reset { job, settings } => {
            let job = find(&job)?;
            let (object, _) = place(job, &sources::gather(job, &settings, &[]).await?).await?;
            let mut state = open(&object).await?.ok_or_else(|| nothing(&object))?;
            let own = job.state.iter().map(|member| member.name);
            let own: Vec<&str> = own
                .chain(job.tie_breaks.iter().map(|(_, tie_break)| *tie_break))
                .chain(job.own_members.iter().copied())
                .collect();
            state
                .save(|members| members.retain(|name, _| !own.contains(&name.as_str())))
                .await?;
            screen::print(&pretty(state.members()));
        }
    }
    Ok(0)
}

/// Who a document says it was saved by when a person did it.
const BY_HAND: &str = "watershed state";

/// The document's place, which is all that is asked of the settings.
async fn place(job: &Job, settings: &Settings) -> Result<(Object, TimeZone)> {
    if job.state.is_empty() {
        let what = format!("looking for the state of {}: it has none", job.name);
        return Err(Error::new(Remedy::FixSettings, what)
            .with_hint("each of its runs is whole, or its place stands in the target itself"));
    }
    let url = state_url(settings);
    settings.complete(())?;
    let url = url.ok_or_else(|| {
        Error::new(
            Remedy::FixSettings,
            format!("looking for the state of {}", job.name),
        )
        .caused_by("STATE_URL is not set, and neither are S3_BUCKET and S3_RESOURCE")
    })?;
    let aws = Aws::new(settings.aws()).await;
    let object = Object::open(&url, &aws, Policy::within(Duration::from_secs(30)))?;
    Ok((object, settings.zone("TIME_ZONE")))
}

async fn open(object: &Object) -> Result<Option<State>> {
    State::open(object, BY_HAND).await
}

/// Values as the pipeline writes them, after they were read as the pipeline reads them.
fn changes(job: &Job, pairs: &[(String, String)], zone: &TimeZone) -> Result<Members> {
    let mut changes = Members::new();
    let names: Vec<&str> = job.state.iter().map(|member| member.name).collect();
    for (name, text) in pairs {
        let refused = |expected: String| {
            let what = format!("setting {name} to `{text}` in the state of {}", job.name);
            Error::new(Remedy::FixSettings, what).with_hint(expected)
        };
        let member = job.state.iter().find(|member| member.name == name.as_str());
        let member =
            member.ok_or_else(|| refused(format!("expected one of {}", names.join(", "))))?;
        let value = written(member, text, zone)
            .ok_or_else(|| refused(format!("expected {}", member.kind)))?;
        changes.insert(name.clone(), value.into());
    }
    Ok(changes)
}

fn written(member: &Setting, text: &str, zone: &TimeZone) -> Option<String> {
    match &member.kind {
        Kind::Instant => parse_instant(text, zone).map(|instant| format_instant(instant, zone)),
        Kind::Date => parse_date(text).map(|date| date.to_string()),
        Kind::WallTime => parse_wall_time(text).map(format_wall_time),
        Kind::Integer(range) => {
            let number = text.trim().parse().ok();
            let number = number.filter(|number| range.contains(number))?;
            Some(number.to_string())
        }
        _ => Some(text.to_owned()),
    }
}

fn pretty(members: &Members) -> String {
    let text = serde_json::to_string_pretty(members).expect("a JSON object can be written");
    text + "\n"
}

fn nothing(object: &Object) -> Error {
    Error::new(
        Remedy::FixSettings,
        format!("reading the state in {object}"),
    )
    .caused_by("there is no such document")
}
