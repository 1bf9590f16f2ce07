//! The statements. Names come from the entities, quoted; values are bound.

use super::super::super::entities::{Column, Entity};

pub(super) const DELIVERIES: &str = "CREATE TABLE IF NOT EXISTS loader_deliveries (\
    id bigint NOT NULL, key text NOT NULL, etag text NOT NULL, bytes bigint NOT NULL, \
    last_modified timestamptz NOT NULL, entity text NOT NULL, rows bigint NOT NULL, \
    created bigint NOT NULL, amended bigint NOT NULL, removed bigint NOT NULL, \
    unchanged bigint NOT NULL, max_event_id bigint, started_at timestamptz NOT NULL, \
    finished_at timestamptz NOT NULL, notified_at timestamptz, host text NOT NULL, \
    version text NOT NULL, source text NOT NULL, process text NOT NULL, message text, \
    PRIMARY KEY (source, process, id), UNIQUE (source, process, key, etag))";

/// Messages wait among very many that do not.
pub(super) const PENDING_INDEX: &str = "CREATE INDEX IF NOT EXISTS loader_deliveries_pending \
    ON loader_deliveries (source, process, id) WHERE message IS NOT NULL AND notified_at IS NULL";

pub(super) const REJECTS: &str = "CREATE TABLE IF NOT EXISTS loader_rejects (\
    delivery bigint NOT NULL, line bigint NOT NULL, raw text NOT NULL, reason text NOT NULL, \
    source text NOT NULL, process text NOT NULL, PRIMARY KEY (source, process, delivery, line))";

/// Our own tables, as `columns_of` finds them.
pub(super) const OWN_TABLES: [(&str, &[(&str, &str)]); 2] = [
    (
        "loader_deliveries",
        &[
            ("id", "bigint"),
            ("key", "text"),
            ("etag", "text"),
            ("bytes", "bigint"),
            ("last_modified", "timestamp with time zone"),
            ("entity", "text"),
            ("rows", "bigint"),
            ("created", "bigint"),
            ("amended", "bigint"),
            ("removed", "bigint"),
            ("unchanged", "bigint"),
            ("max_event_id", "bigint"),
            ("started_at", "timestamp with time zone"),
            ("finished_at", "timestamp with time zone"),
            ("notified_at", "timestamp with time zone"),
            ("host", "text"),
            ("version", "text"),
            ("source", "text"),
            ("process", "text"),
            ("message", "text"),
        ],
    ),
    (
        "loader_rejects",
        &[
            ("delivery", "bigint"),
            ("line", "bigint"),
            ("raw", "text"),
            ("reason", "text"),
            ("source", "text"),
            ("process", "text"),
        ],
    ),
];

pub(super) const HISTORY: &str = "SELECT id, key, etag, entity, max_event_id \
    FROM loader_deliveries WHERE source = $1 AND process = $2";

pub(super) const INSERT_DELIVERY: &str = "INSERT INTO loader_deliveries (id, key, etag, bytes, \
    last_modified, entity, rows, created, amended, removed, unchanged, max_event_id, started_at, \
    finished_at, host, version, source, process, message) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, clock_timestamp(), $14, $15, $16, $17, $18)";

pub(super) const COPY_REJECTS: &str = "COPY loader_rejects \
    (delivery, line, raw, reason, source, process) FROM STDIN (FORMAT binary)";

pub(super) const PENDING: &str = "SELECT id, message, (SELECT count(*) FROM loader_deliveries p \
    WHERE p.source = $1 AND p.process = $2 AND p.message IS NOT NULL AND p.notified_at IS NULL) AS pending \
    FROM loader_deliveries WHERE source = $1 AND process = $2 AND message IS NOT NULL \
    AND notified_at IS NULL ORDER BY id LIMIT $3";

pub(super) const NOTIFIED: &str = "UPDATE loader_deliveries SET notified_at = clock_timestamp() \
    WHERE source = $1 AND process = $2 AND id = $3";

/// The server ends a statement whose client is gone, instead of holding the lock until it is done.
/// Versions that lack a setting are left as they are.
pub(super) const SESSION: &str = "SELECT set_config(name, value, false) FROM (VALUES \
    ('client_connection_check_interval', '1s'), ('temp_buffers', '32MB'), ('work_mem', '64MB'), \
    ('statement_timeout', '0'), ('idle_in_transaction_session_timeout', '0'), ('idle_session_timeout', '0')) \
    AS wanted (name, value) WHERE name IN (SELECT s.name FROM pg_settings s)";

pub(super) const LOCK: &str = "SELECT pg_try_advisory_lock($1)";

/// Who has it.
pub(super) const LOCK_HOLDER: &str = "SELECT coalesce('process ' || a.pid || coalesce(' at ' || host(a.client_addr), '') \
    || ', connected since ' || date_trunc('second', a.backend_start), 'process ' || l.pid) \
    FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory' AND l.granted \
    AND l.objsubid = 1 AND (l.classid::bigint << 32 | l.objid::bigint) = $1 \
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) LIMIT 1";

/// What kind of thing a name is, if there is one.
pub(super) const KIND_OF: &str =
    "SELECT relkind::text FROM pg_class WHERE oid = to_regclass($1::text)";

pub(super) const COLUMNS_OF: &str = "SELECT attname::text, format_type(atttypid, atttypmod), \
    attnotnull, atthasdef OR attidentity <> '' FROM pg_attribute \
    WHERE attrelid = to_regclass($1::text) AND attnum > 0 AND NOT attisdropped ORDER BY attnum";

/// Columns of each unique index, in the order of their names.
pub(super) const UNIQUE_INDEXES: &str = "SELECT string_agg(a.attname, ', ' ORDER BY a.attname) \
    FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) \
    WHERE i.indrelid = to_regclass($1::text) AND i.indisunique AND i.indisvalid \
    AND i.indpred IS NULL AND i.indexprs IS NULL GROUP BY i.indexrelid";

pub(super) const CHANGES: &str = "pg_temp.loader_changes";
pub(super) const STAGING: &str = "pg_temp.loader_staging";

pub(super) fn create_table(entity: &Entity) -> String {
    let columns: String = entity
        .columns
        .iter()
        .map(|column| {
            let not_null = if column.not_null { " NOT NULL" } else { "" };
            format!(
                "{} {}{not_null}, ",
                column.quoted,
                column.kind.in_postgres()
            )
        })
        .collect();
    format!(
        "CREATE TABLE {} ({columns}PRIMARY KEY ({}))",
        entity.quoted_table,
        names(entity.key_columns(), "")
    )
}

pub(super) fn is_empty(entity: &Entity) -> String {
    format!("SELECT NOT EXISTS (SELECT FROM {})", entity.quoted_table)
}

/// Into the table itself.
pub(super) fn copy_directly(entity: &Entity) -> String {
    let columns = names(entity.columns.iter(), "");
    format!(
        "COPY {} ({columns}) FROM STDIN (FORMAT binary)",
        entity.quoted_table
    )
}

/// The columns without constraints, the line, and for changes whether the row is deleted.
pub(super) fn create_staging(entity: &Entity, changes: bool) -> String {
    let columns: String = entity
        .columns
        .iter()
        .map(|column| format!(", {} {}", column.quoted, column.kind.in_postgres()))
        .collect();
    let deleted = if changes {
        ", loader_deleted boolean"
    } else {
        ""
    };
    format!(
        "CREATE TEMPORARY TABLE loader_staging (loader_line bigint{deleted}{columns}) ON COMMIT DROP"
    )
}

pub(super) fn copy_to_staging() -> String {
    format!("COPY {STAGING} FROM STDIN (FORMAT binary)")
}

/// Lines whose key came before, the line where it did, and the key.
pub(super) fn duplicates(entity: &Entity) -> String {
    let key = names(entity.key_columns(), "");
    let first = entity
        .key_columns()
        .next()
        .map_or("", |column| &column.quoted);
    format!(
        "SELECT s.loader_line, d.first, s.{first}::text FROM {STAGING} s JOIN \
         (SELECT {key}, min(loader_line) AS first FROM {STAGING} GROUP BY {key} HAVING count(*) > 1) d \
         ON {} WHERE s.loader_line > d.first ORDER BY s.loader_line",
        joined(entity, "s", "d")
    )
}

/// Removes from the staging table the rows whose key comes again later in the file.
pub(super) fn delete_replaced(entity: &Entity) -> String {
    let key = names(entity.key_columns(), "");
    format!(
        "DELETE FROM {STAGING} s USING (SELECT {key}, max(loader_line) AS last FROM {STAGING} \
         GROUP BY {key} HAVING count(*) > 1) d WHERE {} AND s.loader_line < d.last",
        joined(entity, "s", "d")
    )
}

/// As `delete_replaced`, but the first row stays.
pub(super) fn delete_duplicates(entity: &Entity) -> String {
    let key = names(entity.key_columns(), "");
    format!(
        "DELETE FROM {STAGING} s USING (SELECT {key}, min(loader_line) AS first FROM {STAGING} \
         GROUP BY {key} HAVING count(*) > 1) d WHERE {} AND s.loader_line > d.first",
        joined(entity, "s", "d")
    )
}

pub(super) fn analyze_staging(entity: &Entity) -> String {
    format!("ANALYZE {STAGING} ({})", names(entity.key_columns(), ""))
}

/// The rows that differ from the table, and whether their key is there. Whatever it leaves out is
/// unchanged.
pub(super) fn create_changes(entity: &Entity, changes: bool) -> String {
    let key = entity
        .key_columns()
        .next()
        .map_or("", |column| &column.quoted);
    let mut differs = format!("t.{key} IS NULL");
    for column in entity.other_columns() {
        differs.push_str(&format!(" OR t.{0} IS DISTINCT FROM s.{0}", column.quoted));
    }
    let (deleted, differs) = if changes {
        (
            "s.loader_deleted, ",
            format!("CASE WHEN s.loader_deleted THEN t.{key} IS NOT NULL ELSE {differs} END"),
        )
    } else {
        ("", differs)
    };
    format!(
        "CREATE TEMPORARY TABLE loader_changes ON COMMIT DROP AS SELECT {deleted}{}, \
         t.{key} IS NOT NULL AS loader_present FROM {STAGING} s LEFT JOIN {} t ON {} WHERE {differs}",
        names(entity.columns.iter(), "s."),
        entity.quoted_table,
        joined(entity, "t", "s")
    )
}

pub(super) fn delete_deleted(entity: &Entity) -> String {
    format!(
        "DELETE FROM {} t USING {CHANGES} c WHERE {} AND c.loader_deleted",
        entity.quoted_table,
        joined(entity, "t", "c")
    )
}

/// Removes what a snapshot lacks.
pub(super) fn delete_lacking(entity: &Entity) -> String {
    format!(
        "DELETE FROM {} t WHERE NOT EXISTS (SELECT FROM {STAGING} s WHERE {})",
        entity.quoted_table,
        joined(entity, "t", "s")
    )
}

/// Nothing where the key is all that there is.
pub(super) fn update(entity: &Entity, changes: bool) -> Option<String> {
    let set: Vec<String> = entity
        .other_columns()
        .map(|column| format!("{0} = c.{0}", column.quoted))
        .collect();
    (!set.is_empty()).then(|| {
        format!(
            "UPDATE {} t SET {} FROM {CHANGES} c WHERE {} AND c.loader_present{}",
            entity.quoted_table,
            set.join(", "),
            joined(entity, "t", "c"),
            kept(changes, "c.")
        )
    })
}

pub(super) fn insert(entity: &Entity, changes: bool) -> String {
    let columns = names(entity.columns.iter(), "");
    format!(
        "INSERT INTO {} ({columns}) SELECT {columns} FROM {CHANGES} WHERE NOT loader_present{}",
        entity.quoted_table,
        kept(changes, "")
    )
}

fn kept(changes: bool, prefix: &str) -> String {
    match changes {
        true => format!(" AND NOT {prefix}loader_deleted"),
        false => String::new(),
    }
}

/// Names of columns, each behind `prefix`.
fn names<'a>(columns: impl Iterator<Item = &'a Column>, prefix: &str) -> String {
    let names: Vec<String> = columns
        .map(|column| format!("{prefix}{}", column.quoted))
        .collect();
    names.join(", ")
}

/// That the key of two tables is the same.
fn joined(entity: &Entity, one: &str, other: &str) -> String {
    let pairs: Vec<String> = entity
        .key_columns()
        .map(|column| format!("{one}.{0} = {other}.{0}", column.quoted))
        .collect();
    pairs.join(" AND ")
}
