use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::connectors::sql::{Database, LIST_VALUES, Row, Value};
use crate::time::{parse_date, parse_instant};

/// Makes and fills the table that [`sql`] reads. It runs on PostgreSQL and on SQLite as it is; a
/// system with other names for its types gets the same values under them.
pub const SQL_FIXTURE: &str = include_str!("sql_fixture.sql");

const ROWS: &str = "SELECT * FROM contract_values ORDER BY id";
const BEHIND: &str =
    "SELECT id FROM contract_values WHERE (changed, id) > ($1, $2) ORDER BY changed, id";

/// The numbers from 0 to 7,775.
const MANY: &str = "SELECT (((a.id - 1) * 6 + b.id - 1) * 6 + c.id - 1) * 36 + (d.id - 1) * 6 + e.id - 1 AS id \
     FROM contract_values a CROSS JOIN contract_values b CROSS JOIN contract_values c \
     CROSS JOIN contract_values d CROSS JOIN contract_values e ORDER BY id";

/// The texts of the fixture, by id.
const TEXTS: [(i64, &str); 5] = [
    (2, "O'Brien"),
    (3, r"back\slash"),
    (4, "Žofie 🦦 $1 \"quoted\" {list}"),
    (5, ""),
    (6, "'; DROP TABLE contract_values; --"),
];

/// The contract of a [`Database`] that holds [`SQL_FIXTURE`]: the same SQL text gives the same
/// rows, whichever it is.
///
/// `unreadable` is an expression that this database gives as bytes which are no text, if it can
/// hold such: it must spoil its own value alone.
///
/// # Panics
/// When the contract is broken.
pub async fn sql(database: &Database, unreadable: Option<&str>) {
    values_arrive_as_they_are(database).await;
    bound_values_find_their_rows(database).await;
    rows_behind_a_cursor_come_in_strict_order(database).await;
    lists_are_looked_up_in_chunks(database).await;
    what_does_not_fit_is_named_by_its_column(database).await;
    rows_are_streamed(database).await;
    rows_are_changed_and_counted(database).await;
    if let Some(expression) = unreadable {
        let text = format!("SELECT {expression} AS spoiled, 'plain' AS plain, 7 AS number");
        let row = &query(database, &text, &[]).await[0];
        assert!(row.text("spoiled").is_err(), "{expression} is no text");
        assert_eq!(row.text("plain"), Ok(Some("plain".into())));
        assert_eq!(row.integer("number"), Ok(Some(7)));
    }
}

async fn values_arrive_as_they_are(database: &Database) {
    let rows = query(database, ROWS, &[]).await;
    assert_eq!(ids(&rows), [1, 2, 3, 4, 5, 6]);

    let null = &rows[0];
    for number in ["small", "whole", "big"] {
        assert_eq!(null.integer(number), Ok(None), "{number}");
    }
    assert_eq!(null.text("name"), Ok(None));
    assert_eq!(null.instant("changed"), Ok(None));
    assert_eq!(null.instant("changed_local"), Ok(None));
    assert_eq!(null.date("born"), Ok(None));
    assert_eq!(null.boolean("truth"), Ok(None));

    let widths = |row: &Row| {
        ["small", "whole", "big"].map(|number| row.integer(number).expect(number).expect(number))
    };
    assert_eq!(
        widths(&rows[1]),
        [i16::MIN.into(), i32::MIN.into(), i64::MIN]
    );
    assert_eq!(
        widths(&rows[2]),
        [i16::MAX.into(), i32::MAX.into(), i64::MAX]
    );
    assert_eq!(rows[2].integer32("whole"), Ok(Some(i32::MAX)));

    for (id, text) in TEXTS {
        assert_eq!(rows[id as usize - 1].text("name"), Ok(Some(text.into())));
    }
    for (id, text) in [
        (2, "2024-06-15 03:30:00.000001"),
        (5, "2024-11-03 05:30:00"),
        (6, "1969-12-31 23:59:59.999999"),
    ] {
        let expected = Some(instant(text));
        assert_eq!(rows[id - 1].instant("changed"), Ok(expected), "{text}");
        assert_eq!(
            rows[id - 1].instant("changed_local"),
            Ok(expected),
            "{text}"
        );
    }
    for (id, text) in [(2, "2024-02-29"), (3, "1901-01-01"), (6, "1969-12-31")] {
        assert_eq!(rows[id - 1].date("born"), Ok(Some(date(text))), "{text}");
    }
    assert_eq!(rows[1].boolean("truth"), Ok(Some(true)));
    assert_eq!(rows[2].boolean("truth"), Ok(Some(false)));
}

async fn bound_values_find_their_rows(database: &Database) {
    for (column, value, expected) in [
        ("small", Value::Integer(i16::MIN.into()), vec![2]),
        ("whole", Value::Integer(i32::MAX.into()), vec![3]),
        ("big", Value::Integer(i64::MIN), vec![2]),
        ("big", Value::Integer(i64::MAX), vec![3]),
        (
            "changed",
            Value::Instant(instant("2024-06-15 03:30:00.000001")),
            vec![2, 3],
        ),
        (
            "changed_local",
            Value::Instant(instant("1969-12-31 23:59:59.999999")),
            vec![6],
        ),
        ("born", Value::Date(date("2024-02-29")), vec![2]),
        ("truth", Value::Boolean(true), vec![2, 4, 6]),
        ("name", Value::Null, vec![]),
        ("name", Value::Text("' OR 'a' = 'a".into()), vec![]),
    ] {
        let text = format!("SELECT id FROM contract_values WHERE {column} = $1 ORDER BY id");
        let rows = query(database, &text, &[value]).await;
        assert_eq!(ids(&rows), expected, "{column}");
    }
    for (id, name) in TEXTS {
        let text = "SELECT id FROM contract_values WHERE name = $1";
        let rows = query(database, text, &[Value::Text(name.into())]).await;
        assert_eq!(ids(&rows), [id], "{name}");
    }
    // A value used twice, and numbers out of their order.
    let text = "SELECT id FROM contract_values WHERE id > $2 AND small = $1 AND whole = $1";
    let rows = query(database, text, &[Value::Integer(1), Value::Integer(4)]).await;
    assert_eq!(ids(&rows), [5]);
}

async fn rows_behind_a_cursor_come_in_strict_order(database: &Database) {
    for (changed, id, expected) in [
        ("1900-01-01", 0, vec![6, 2, 3, 4, 5]),
        ("2024-06-15 03:30:00.000001", i64::MIN, vec![2, 3, 4, 5]),
        ("2024-06-15 03:30:00.000001", 2, vec![3, 4, 5]),
        ("2024-06-15 03:30:00.000001", 3, vec![4, 5]),
        ("2024-11-03 05:30:00", 5, vec![]),
    ] {
        let cursor = [Value::Instant(instant(changed)), Value::Integer(id)];
        let rows = query(database, BEHIND, &cursor).await;
        assert_eq!(ids(&rows), expected, "behind ({changed}, {id})");
    }
}

async fn lists_are_looked_up_in_chunks(database: &Database) {
    let by_id = "SELECT id FROM contract_values WHERE id IN ({list})";
    // A value in the first list and one in the third, on its own.
    let mut numbers: Vec<Value> = (100..100 + 2 * LIST_VALUES as i64)
        .map(Value::Integer)
        .collect();
    numbers[0] = Value::Integer(6);
    numbers.push(Value::Integer(2));
    assert_eq!(
        ids(&query_lists(database, by_id, &numbers).await),
        [6, 2],
        "in the order of the lists"
    );
    assert!(query_lists(database, by_id, &[]).await.is_empty());

    let by_name = "SELECT id FROM contract_values WHERE name IN ({list}) ORDER BY id";
    let names = TEXTS.map(|(_, text)| Value::Text(text.into()));
    assert_eq!(
        ids(&query_lists(database, by_name, &names).await),
        [2, 3, 4, 5, 6]
    );
}

async fn what_does_not_fit_is_named_by_its_column(database: &Database) {
    let rows = query(database, ROWS, &[]).await;
    for (unfit, column) in [
        (rows[1].integer("name").map(drop), "name"),
        (rows[1].instant("name").map(drop), "name"),
        (rows[1].boolean("name").map(drop), "name"),
        (rows[1].date("name").map(drop), "name"),
        (rows[2].integer32("big").map(drop), "big"),
        (rows[1].text("absent").map(drop), "absent"),
    ] {
        let words = unfit.expect_err(column).to_string();
        assert!(
            words.starts_with(&format!("column {column}: expected ")),
            "{words}"
        );
        // P6
        assert!(
            !words.contains("Brien") && !words.contains("9223"),
            "{words}"
        );
    }
}

/// Rows of a stream come as those of a query do: all of them, in order, once.
async fn rows_are_streamed(database: &Database) {
    let mut stream = database.stream(ROWS, &[]);
    let rows = stream.next().await.expect("rows").expect("not the end");
    assert_eq!(ids(&rows), [1, 2, 3, 4, 5, 6]);
    assert_eq!(rows[1].text("name"), Ok(Some(TEXTS[0].1.into())));
    assert!(stream.next().await.expect("the end").is_none());
    assert!(stream.next().await.expect("still the end").is_none());

    let cursor = [
        Value::Instant(instant("2024-06-15 03:30:00.000001")),
        Value::Integer(3),
    ];
    let mut stream = database.stream(BEHIND, &cursor);
    assert_eq!(
        ids(&stream.next().await.expect("rows").expect("not the end")),
        [4, 5]
    );

    let mut stream = database.stream("SELECT id FROM contract_values WHERE id > 6", &[]);
    assert!(stream.next().await.expect("the end").is_none());

    let mut numbers = Vec::new();
    let mut batches = 0;
    let mut stream = database.stream(MANY, &[]);
    while let Some(rows) = stream.next().await.expect("rows") {
        numbers.extend(ids(&rows));
        batches += 1;
    }
    let expected: Vec<i64> = (0..6_i64.pow(5)).collect();
    assert!(
        numbers == expected,
        "{} rows, not in order or not once",
        numbers.len()
    );
    assert!(batches > 5, "{batches} batches of {} rows", numbers.len());

    // One that is left half-way does not keep others from reading.
    let mut stream = database.stream(MANY, &[]);
    assert!(stream.next().await.expect("rows").is_some());
    drop(stream);
    assert_eq!(ids(&query(database, ROWS, &[]).await).len(), 6);
    let mut first = database.stream(MANY, &[]);
    let mut second = database.stream(ROWS, &[]);
    assert!(first.next().await.expect("rows").is_some());
    assert!(
        second
            .next()
            .await
            .expect("rows, beside another stream")
            .is_some()
    );

    let mut stream = database.stream("SELECT absent FROM contract_values", &[]);
    assert!(
        stream.next().await.is_err(),
        "a query that fails is no empty result"
    );
    assert!(
        stream
            .next()
            .await
            .expect("the end, behind the error")
            .is_none()
    );
}

/// Last of the tests, and only with rows that it has made.
async fn rows_are_changed_and_counted(database: &Database) {
    let insert = "INSERT INTO contract_values (id, name, changed, truth) VALUES ($1, $2, $3, $4)";
    let at = Value::Instant(instant("2030-01-01 00:00:00"));
    for (id, name) in [(101, "O'Brien \\"), (102, ""), (103, "$1")] {
        let truth = Value::Boolean(id == 103);
        let row = [
            Value::Integer(id),
            Value::Text(name.into()),
            at.clone(),
            truth,
        ];
        assert_eq!(execute(database, insert, &row).await, 1);
    }
    let update = "UPDATE contract_values SET truth = FALSE, name = NULL WHERE id IN ({list})";
    // Values of three lists: one in the first, one in the last, one that is nobody's.
    let mut numbers: Vec<Value> = (1_000..1_000 + 2 * LIST_VALUES as i64)
        .map(Value::Integer)
        .collect();
    numbers[0] = Value::Integer(103);
    numbers.push(Value::Integer(101));
    // The second time nothing is different, and the rows count all the same.
    for _ in 0..2 {
        let changed = database.execute_lists(update, &numbers).await;
        assert_eq!(changed.expect(update), 2);
    }
    assert_eq!(database.execute_lists(update, &[]).await.expect(update), 0);
    let left = "SELECT id FROM contract_values WHERE id > 100 AND name = $1";
    let rows = query(database, left, &[Value::Text(String::new())]).await;
    assert_eq!(ids(&rows), [102]);

    let none = "UPDATE contract_values SET name = $2 WHERE id = $1";
    let nobody = [Value::Integer(999), Value::Text("x".into())];
    assert_eq!(execute(database, none, &nobody).await, 0);
    let delete = "DELETE FROM contract_values WHERE id > $1";
    let bound = [Value::Integer(100)];
    assert_eq!(execute(database, delete, &bound).await, 3);
    assert_eq!(execute(database, delete, &bound).await, 0);
}

fn ids(rows: &[Row]) -> Vec<i64> {
    rows.iter()
        .map(|row| {
            row.integer("id")
                .expect("a number")
                .expect("every row has one")
        })
        .collect()
}

async fn query(database: &Database, sql: &str, values: &[Value]) -> Vec<Row> {
    let rows = database.query(sql, values).await;
    rows.unwrap_or_else(|error| panic!("{sql}: {error:?}"))
}

async fn execute(database: &Database, sql: &str, values: &[Value]) -> u64 {
    let changed = database.execute(sql, values).await;
    changed.unwrap_or_else(|error| panic!("{sql}: {error:?}"))
}

async fn query_lists(database: &Database, sql: &str, values: &[Value]) -> Vec<Row> {
    let rows = database.query_lists(sql, values).await;
    rows.unwrap_or_else(|error| panic!("{sql}: {error:?}"))
}

fn instant(text: &str) -> Timestamp {
    parse_instant(text, &TimeZone::UTC).expect("an instant of the fixture")
}

fn date(text: &str) -> Date {
    parse_date(text).expect("a date of the fixture")
}
