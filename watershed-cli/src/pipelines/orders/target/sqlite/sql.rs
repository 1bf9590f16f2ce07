//! The statements of the embedded twin.

use watershed::formats::values::ColumnType;

use super::super::super::entities::{Column, Entity};

pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS loader_deliveries (id INTEGER NOT NULL, key TEXT NOT NULL,
        etag TEXT NOT NULL, bytes INTEGER NOT NULL, last_modified TEXT NOT NULL, entity TEXT NOT NULL,
        \"rows\" INTEGER NOT NULL, created INTEGER NOT NULL, amended INTEGER NOT NULL,
        removed INTEGER NOT NULL, unchanged INTEGER NOT NULL, max_event_id INTEGER,
        started_at TEXT NOT NULL, finished_at TEXT NOT NULL, notified_at TEXT, host TEXT NOT NULL,
        version TEXT NOT NULL, source TEXT NOT NULL, process TEXT NOT NULL, message TEXT,
        PRIMARY KEY (source, process, id), UNIQUE (source, process, key, etag));
    CREATE INDEX IF NOT EXISTS loader_deliveries_pending ON loader_deliveries (source, process, id)
        WHERE message IS NOT NULL AND notified_at IS NULL;
    CREATE TABLE IF NOT EXISTS loader_rejects (delivery INTEGER NOT NULL, line INTEGER NOT NULL,
        raw TEXT NOT NULL, reason TEXT NOT NULL, source TEXT NOT NULL, process TEXT NOT NULL,
        PRIMARY KEY (source, process, delivery, line));";

pub(super) const HISTORY: &str = "SELECT id, key, etag, entity, max_event_id \
    FROM loader_deliveries WHERE source = ?1 AND process = ?2";

pub(super) const INSERT_DELIVERY: &str = "INSERT INTO loader_deliveries (id, key, etag, bytes, \
    last_modified, entity, \"rows\", created, amended, removed, unchanged, max_event_id, started_at, \
    finished_at, host, version, source, process, message) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)";

pub(super) const INSERT_REJECT: &str = "INSERT INTO loader_rejects \
    (delivery, line, raw, reason, source, process) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

pub(super) const PENDING: &str = "SELECT id, message FROM loader_deliveries WHERE source = ?1 \
    AND process = ?2 AND message IS NOT NULL AND notified_at IS NULL ORDER BY id LIMIT ?3";

pub(super) const COUNT_PENDING: &str = "SELECT count(*) FROM loader_deliveries WHERE source = ?1 \
    AND process = ?2 AND message IS NOT NULL AND notified_at IS NULL";

pub(super) const NOTIFIED: &str = "UPDATE loader_deliveries SET notified_at = ?4 \
    WHERE source = ?1 AND process = ?2 AND id = ?3";

/// Name, type, whether it is not null, its default, and its place in the primary key.
pub(super) const COLUMNS_OF: &str =
    "SELECT name, type, \"notnull\", dflt_value, pk FROM pragma_table_info(?1)";

/// The twin's type: decimals and times are text, which keeps them exact and in order.
pub(super) fn kind(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::SmallInt | ColumnType::Int | ColumnType::BigInt | ColumnType::Boolean => {
            "INTEGER"
        }
        ColumnType::Double => "REAL",
        ColumnType::Bytea => "BLOB",
        _ => "TEXT",
    }
}

/// A file has no schemas: a name's dot is a letter of it.
pub(super) fn table(entity: &Entity) -> String {
    format!("\"{}\"", entity.table)
}

pub(super) fn create_table(entity: &Entity) -> String {
    format!(
        "CREATE TABLE {} ({}PRIMARY KEY ({}))",
        table(entity),
        declared(entity, true),
        names(entity.key_columns(), "")
    )
}

pub(super) fn create_staging(entity: &Entity) -> String {
    format!(
        "DROP TABLE IF EXISTS temp.loader_staging; CREATE TABLE temp.loader_staging \
         (loader_line INTEGER, loader_deleted INTEGER, {}PRIMARY KEY ({}))",
        declared(entity, false),
        names(entity.key_columns(), "")
    )
}

fn declared(entity: &Entity, constrained: bool) -> String {
    let columns = entity.columns.iter().map(|column| {
        let not_null = match column.not_null && constrained {
            true => " NOT NULL",
            false => "",
        };
        format!("{} {}{not_null}, ", column.quoted, kind(column.kind))
    });
    columns.collect()
}

/// Of changes the last row of a key counts; of a full load there is only one.
pub(super) fn stage(entity: &Entity, changes: bool) -> String {
    let or = if changes { " OR REPLACE" } else { "" };
    let places = vec!["?"; entity.columns.len() + 2].join(", ");
    format!("INSERT{or} INTO temp.loader_staging VALUES ({places})")
}

/// The line of a key that is staged.
pub(super) fn staged_line(entity: &Entity) -> String {
    let key: Vec<String> = entity
        .key
        .iter()
        .map(|place| format!("{} = ?{}", entity.columns[*place].quoted, place + 3))
        .collect();
    format!(
        "SELECT loader_line FROM temp.loader_staging WHERE {}",
        key.join(" AND ")
    )
}

pub(super) const COUNT_STAGED: &str = "SELECT count(*) FROM temp.loader_staging";

pub(super) fn delete_deleted(entity: &Entity) -> String {
    format!(
        "DELETE FROM {} AS t WHERE EXISTS (SELECT 1 FROM temp.loader_staging s WHERE {} AND s.loader_deleted)",
        table(entity),
        joined(entity)
    )
}

pub(super) fn delete_lacking(entity: &Entity) -> String {
    format!(
        "DELETE FROM {} AS t WHERE NOT EXISTS (SELECT 1 FROM temp.loader_staging s WHERE {})",
        table(entity),
        joined(entity)
    )
}

/// Nothing where the key is all that there is.
pub(super) fn update(entity: &Entity) -> Option<String> {
    let others: Vec<&Column> = entity.other_columns().collect();
    let each = |form: fn(&str) -> String, between: &str| {
        let parts: Vec<String> = others.iter().map(|column| form(&column.quoted)).collect();
        parts.join(between)
    };
    (!others.is_empty()).then(|| {
        format!(
            "UPDATE {} AS t SET {} FROM temp.loader_staging s WHERE {} AND NOT s.loader_deleted AND ({})",
            table(entity),
            each(|name| format!("{name} = s.{name}"), ", "),
            joined(entity),
            each(|name| format!("t.{name} IS NOT s.{name}"), " OR ")
        )
    })
}

pub(super) fn insert(entity: &Entity) -> String {
    let columns = names(entity.columns.iter(), "");
    format!(
        "INSERT INTO {0} ({columns}) SELECT {1} FROM temp.loader_staging s \
         WHERE NOT s.loader_deleted AND NOT EXISTS (SELECT 1 FROM {0} t WHERE {2})",
        table(entity),
        names(entity.columns.iter(), "s."),
        joined(entity)
    )
}

fn names<'a>(columns: impl Iterator<Item = &'a Column>, prefix: &str) -> String {
    let names: Vec<String> = columns
        .map(|column| format!("{prefix}{}", column.quoted))
        .collect();
    names.join(", ")
}

fn joined(entity: &Entity) -> String {
    let pairs: Vec<String> = entity
        .key_columns()
        .map(|column| format!("t.{0} = s.{0}", column.quoted))
        .collect();
    pairs.join(" AND ")
}
