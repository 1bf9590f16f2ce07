//! The first rows of the first file, for `watershed sample`: as they stand in it, and nothing is
//! applied.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use serde_json::{Map, Value as Json};
use tokio::task::spawn_blocking;
use watershed::connectors::aws::Aws;
use watershed::connectors::objects::Inbox;
use watershed::error::{Error, OrFail as _, Remedy, Result};
use watershed::formats::csv::CsvReader;

use super::entities::Entity;
use super::feed::Feed;
use super::settings::Config;
use super::target::History;
use super::waiting::{self, Waiting};

/// Rows of a sample.
const ROWS: usize = 1_000;

/// Reads the first rows of the first file in the order of delivery, whether it was delivered or
/// not: the target is not asked.
pub(super) async fn rows(config: &Config) -> Result<Vec<Json>> {
    let aws = Aws::new(config.aws.clone()).await;
    let folder = Inbox::open(&config.source, &aws, config.policy.clone())?;
    let found = waiting::list(&folder, &config.entities, &History::new()).await?;
    let Some(first) = found.waiting.into_iter().next() else {
        return Ok(Vec::new());
    };
    let entity = config.entities.list[first.entity].clone();
    let feed = Feed::open(&folder, &first.file);
    let what = format!("reading {}", first.file.key);
    spawn_blocking(move || read(&entity, &first, feed))
        .await
        .map_err(|_| Error::new(Remedy::ReportBug, what))?
}

fn read(entity: &Entity, file: &Waiting, feed: Feed) -> Result<Vec<Json>> {
    let key = &file.file.key;
    let source: Box<dyn Read> = match key.ends_with(".gz") {
        true => Box::new(MultiGzDecoder::new(feed)),
        false => Box::new(feed),
    };
    let mut names: Vec<&str> = Vec::new();
    if !file.place.is_full_load() || entity.form.operation_in_full_load {
        names.push("operation");
    }
    if entity.form.timestamp_column {
        names.push("committed at");
    }
    names.extend(entity.columns.iter().map(|column| &*column.name));
    let mut csv = CsvReader::new(source);
    let mut rows = Vec::new();
    let mut header = entity.form.header;
    while rows.len() < ROWS {
        let row = csv
            .read()
            .or_fail(Remedy::FixData, || format!("reading {key}"))?;
        let Some(row) = row else {
            break;
        };
        if std::mem::take(&mut header) {
            continue;
        }
        let mut object = Map::new();
        for (place, name) in names.iter().enumerate() {
            let value = (place < row.len()).then(|| row.field(place));
            let value = value
                .filter(|field| field.quoted || field.text != entity.form.null_value.as_bytes());
            let value = value.map(|field| String::from_utf8_lossy(field.text).into_owned());
            object.insert((*name).to_owned(), value.map_or(Json::Null, Json::String));
        }
        rows.push(Json::Object(object));
    }
    Ok(rows)
}
