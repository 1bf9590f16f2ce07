//! The statements that are sent: the names in them, their values, and the rows that they change.

use watershed::connectors::sql::Value;
use watershed::error::Remedy;

use super::{URL, alone, count, failure, log, numbered, numbers, open};
use crate::support::policy;

#[test]
fn what_does_not_exist_is_named() {
    alone(
        "statements::what_does_not_exist_is_named",
        &numbered(1, ""),
        async || {
            let database = open(URL, policy());
            database
                .check_columns("people", &["id", "name"])
                .await
                .unwrap();
            let error = database.check_columns("people", &["id", "krb"]).await;
            let error = error.unwrap_err();
            assert_eq!(error.remedy(), Remedy::FixAccess);
            assert!(
                error.in_one_line().contains("ORA-00904: \"KRB\""),
                "{error:?}"
            );

            let error = failure(&database, "SELECT id FROM absent").await;
            assert_eq!(error.remedy(), Remedy::FixAccess);
            assert!(error.in_one_line().contains("ORA-00942"), "{error:?}");
            assert!(error.hint().unwrap().contains("may this user read it"));
        },
    );
}

#[test]
fn values_are_bound() {
    let fixture = numbered(3_000, "");
    alone("statements::values_are_bound", &fixture, async || {
        let database = open(URL, policy());
        let instant = "2024-06-15T03:30:00.000001Z".parse().unwrap();
        let values = [
            Value::Text("'; DROP TABLE people; --".into()),
            Value::Integer(2_718),
            Value::Null,
            Value::Instant(instant),
            Value::Date(jiff::civil::date(2024, 2, 29)),
            Value::Boolean(true),
        ];
        let sql = "SELECT id FROM people WHERE id IN ($2, $1, $3, $4, $5, $6, $2)";
        let rows = database.query(sql, &values).await.unwrap();
        assert_eq!(numbers(&rows), [1, 2_718]);
        let log = log();
        assert!(
            log.contains(
                &"prepare SELECT id FROM people WHERE id IN (:p2, :p1, :p3, :p4, :p5, :p6, :p2)"
                    .to_owned()
            ),
            "{log:?}"
        );
        for bound in [
            // Texts are bound as VARCHAR2.
            "bind P1 type 1 '; DROP TABLE people; --",
            "bind P2 type 6 2718",
            "bind P3 type 1 NULL",
            "bind P4 type 187 2024-06-15 03:30:00.000001000",
            "bind P5 type 156 2024-02-29 00:00:00",
            "bind P6 type 6 1",
        ] {
            assert!(log.contains(&bound.to_owned()), "{bound}: {log:?}");
        }
        let rows = database
            .query("SELECT id FROM people WHERE id = $1", &[])
            .await;
        assert_eq!(rows.unwrap_err().remedy(), Remedy::ReportBug);

        // The server takes lists of a thousand.
        let ids: Vec<Value> = (500..3_100).map(Value::Integer).collect();
        let by_list = "SELECT id FROM people WHERE id IN ({list})";
        let rows = database.query_lists(by_list, &ids).await.unwrap();
        assert_eq!(numbers(&rows), (500..3_000).collect::<Vec<i64>>());
        assert_eq!(count("prepare SELECT id FROM people WHERE id IN"), 1 + 3);
    });
}

#[test]
fn rows_are_changed_and_counted() {
    alone(
        "statements::rows_are_changed_and_counted",
        "changes\t7",
        async || {
            let database = open(URL, policy());
            let update = "UPDATE people SET name = $2 WHERE id = $1";
            let values = [Value::Integer(-100), Value::Text("Zoë".into())];
            assert_eq!(database.execute(update, &values).await.unwrap(), 7);
            let ids: Vec<Value> = (0..2_001).map(Value::Integer).collect();
            let delete = "DELETE FROM people WHERE id IN ({list})";
            assert_eq!(database.execute_lists(delete, &ids).await.unwrap(), 21);
            let log = log();
            let start = log.iter().position(|line| line.contains("UPDATE")).unwrap();
            assert_eq!(
                log[start..start + 4],
                [
                    "prepare UPDATE people SET name = :p2 WHERE id = :p1",
                    "bind P2 type 1 Zoë",
                    "bind P1 type 6 -100",
                    "commit"
                ]
            );
        },
    );
}
