//! Makes the tables that are missing, and checks those that are there; it never alters one.

use watershed::connectors::postgres::Session;
use watershed::connectors::sql::Value;
use watershed::error::{Error, Remedy, Result};

use super::super::super::entities::Entity;
use super::sql;

/// A column of a table that is there.
struct Existing {
    name: String,
    kind: String,
    not_null: bool,
    has_default: bool,
}

/// Makes what is missing. A table's own `not null` is taken over, so that a value that it would
/// refuse is told with its line.
///
/// # Errors
/// [`Remedy::FixSettings`] with every difference between entities and tables.
pub(super) async fn prepare(session: &Session, entities: &mut [Entity]) -> Result<()> {
    let mut faults = check(session, entities).await?;
    if faults.is_empty() {
        session.batch(sql::DELIVERIES).await?;
        session.batch(sql::REJECTS).await?;
        session.batch(sql::PENDING_INDEX).await?;
        for entity in entities.iter() {
            if kind_of(session, &entity.quoted_table).await?.is_none() {
                session.batch(&sql::create_table(entity)).await?;
                tracing::info!("made the table {}", entity.table);
            }
        }
        return Ok(());
    }
    faults.sort();
    Err(mismatch(&faults))
}

/// Every difference between the entities and the tables that are there.
pub(super) async fn check(session: &Session, entities: &mut [Entity]) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for (table, columns) in sql::OWN_TABLES {
        if kind_of(session, table).await?.is_some() {
            let existing = columns_of(session, table).await?;
            for (column, kind) in columns {
                faults.extend(compare(table, column, kind, "this program has", &existing));
            }
        }
    }
    for entity in entities {
        let table = &entity.table;
        match kind_of(session, &entity.quoted_table).await?.as_deref() {
            None => continue,
            Some("r" | "p") => {}
            Some(_) => {
                faults.push(format!("`{table}` is no table"));
                continue;
            }
        }
        let existing = columns_of(session, &entity.quoted_table).await?;
        for column in &mut entity.columns {
            let kind = column.kind.in_postgres();
            faults.extend(compare(
                table,
                &column.name,
                &kind,
                "the entities have",
                &existing,
            ));
            let there = existing.iter().find(|there| there.name == column.name);
            column.not_null |= there.is_some_and(|there| there.not_null);
        }
        for there in existing {
            let declared = entity
                .columns
                .iter()
                .any(|column| column.name == there.name);
            if !declared && there.not_null && !there.has_default {
                faults.push(format!("table {table}, column {}: the table has it as not null without a default, the entities have no such column", there.name));
            }
        }
        let mut key: Vec<&str> = entity.key_columns().map(|column| &*column.name).collect();
        key.sort_unstable();
        let key = key.join(", ");
        let indexes = session
            .query(
                sql::UNIQUE_INDEXES,
                &[Value::Text(entity.quoted_table.clone())],
            )
            .await?;
        if !indexes.iter().any(|index| index.get::<_, String>(0) == key) {
            faults.push(format!("table {table}: the entities have the key ({key}), the table has no primary key or unique index of these columns"));
        }
    }
    Ok(faults)
}

pub(super) fn mismatch(faults: &[String]) -> Error {
    let lines: String = faults.iter().map(|fault| format!("\n  {fault}")).collect();
    let what = format!("comparing the target's tables with the entities:{lines}");
    Error::new(Remedy::FixSettings, what)
        .with_hint("change the entities, or alter the tables yourself: the loader never does")
}

fn compare(
    table: &str,
    column: &str,
    kind: &str,
    who: &str,
    existing: &[Existing],
) -> Option<String> {
    match existing.iter().find(|there| there.name == column) {
        Some(there) if there.kind == kind => None,
        Some(there) => Some(format!(
            "table {table}, column {column}: {who} {kind}, the table has {}",
            there.kind
        )),
        None => Some(format!(
            "table {table}, column {column}: {who} {kind}, the table has no such column"
        )),
    }
}

async fn kind_of(session: &Session, table: &str) -> Result<Option<String>> {
    let found = session
        .query(sql::KIND_OF, &[Value::Text(table.to_owned())])
        .await?;
    Ok(found.first().map(|row| row.get(0)))
}

async fn columns_of(session: &Session, table: &str) -> Result<Vec<Existing>> {
    let found = session
        .query(sql::COLUMNS_OF, &[Value::Text(table.to_owned())])
        .await?;
    let columns = found.iter().map(|row| Existing {
        name: row.get(0),
        kind: row.get(1),
        not_null: row.get(2),
        has_default: row.get(3),
    });
    Ok(columns.collect())
}
