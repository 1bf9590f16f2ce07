//! The rows that come: their values, their order, and what cannot be read.

use watershed::error::Remedy;

use super::{URL, alone, asked, count, failure, numbered, numbers, open};
use crate::support::{once, policy};

#[test]
fn values_arrive_as_they_are() {
    let fixture = "table\tKINDS
column\tNAME\tVARCHAR2\t40
column\tNATIONAL\tNVARCHAR2\t40
column\tCODE\tCHAR\t4
column\tNATIONAL_CODE\tNCHAR\t4
column\tSMALL\tNUMBER\t9\t0
column\tAMOUNT\tNUMBER\t38\t10
column\tANY_NUMBER\tNUMBER
column\tENDS\tDATE
column\tAT\tTIMESTAMP
column\tAT_ZONE\tTIMESTAMP_TZ
column\tAT_LOCAL\tTIMESTAMP_LTZ
column\tquoted Name\tVARCHAR2\t9
column\tSHARE\tBINARY_DOUBLE
column\tRAW\tRAW\t9
row\tŽofie 🦦 O'Brien \\\\ $1\tŽofie 🦦\tAB\tÉ\t-481036337\t-12345678901234567890.0123456789\t0.000001\t2024-02-29 23:59:58\t2024-06-15 03:30:00.000001\t2024-06-15 03:30:00.5-04:00\t1969-12-31 23:59:59.999999999+00:00\tq\t1.5\t\\x00\\xff
row\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N
row\t\\xff\t \tABCD\tabcd\t0\t0\t9900000000000000000000000000000000000000\t-4712-01-01 00:00:00\t9999-12-31 23:59:59\t2024-06-15 03:30:00+05:30\t2024-06-15 03:30:00+00:00\tx\t0\tx
";
    alone("rows::values_arrive_as_they_are", fixture, async || {
        let database = open(URL, policy());
        let rows = database.query("SELECT * FROM kinds", &[]).await.unwrap();
        assert_eq!(rows.len(), 3);
        for (column, text) in [
            ("name", "Žofie 🦦 O'Brien \\ $1"),
            ("national", "Žofie 🦦"),
            ("code", "AB  "),
            ("small", "-481036337"),
            ("amount", "-12345678901234567890.0123456789"),
            ("any_number", "0.000001"),
            ("ends", "2024-02-29 23:59:58"),
            ("quoted Name", "q"),
        ] {
            assert_eq!(rows[0].text(column), Ok(Some(text.into())), "{column}");
        }
        assert_eq!(rows[0].integer32("small"), Ok(Some(-481_036_337)));
        assert_eq!(
            rows[0].date("ends").unwrap().unwrap().to_string(),
            "2024-02-29"
        );
        for (row, column, instant) in [
            (0, "ends", "2024-02-29T23:59:58Z"),
            (0, "at", "2024-06-15T03:30:00.000001Z"),
            (0, "at_zone", "2024-06-15T07:30:00.5Z"),
            (0, "at_local", "1969-12-31T23:59:59.999999999Z"),
            (2, "at_zone", "2024-06-14T22:00:00Z"),
        ] {
            let read = rows[row].instant(column).unwrap().unwrap();
            assert_eq!(read.to_string(), instant, "{column}");
        }
        for column in ["name", "national", "code", "small", "amount", "ends", "raw"] {
            assert_eq!(rows[1].text(column), Ok(None), "{column}");
        }
        assert_eq!(rows[1].instant("at"), Ok(None));
        // What is no text, no number and no date spoils itself alone.
        for (row, column) in [(2, "name"), (2, "ends"), (0, "share"), (0, "raw")] {
            assert!(rows[row].text(column).is_err(), "{column}");
        }
        assert_eq!(rows[2].text("national"), Ok(Some(" ".into())));
        assert_eq!(rows[2].integer("small"), Ok(Some(0)));
        assert_eq!(rows[2].text("amount"), Ok(Some("0".into())));
        let large = "9900000000000000000000000000000000000000";
        assert_eq!(rows[2].text("any_number"), Ok(Some(large.into())));
    });
}

#[test]
fn thousands_of_rows_come_in_order_and_once() {
    alone(
        "rows::thousands_of_rows_come_in_order_and_once",
        &numbered(5_000, ""),
        async || {
            let database = open(URL, policy());
            let expected: Vec<i64> = (0..5_000).collect();
            let sql = "SELECT id, name FROM people";
            assert_eq!(numbers(&database.query(sql, &[]).await.unwrap()), expected);

            let mut stream = database.stream(sql, &[]);
            let mut streamed = Vec::new();
            let mut batches = 0;
            while let Some(rows) = stream.next().await.unwrap() {
                assert_eq!(rows[0].text("name"), Ok(Some("Zoë".into())));
                streamed.extend(numbers(&rows));
                batches += 1;
            }
            assert_eq!(streamed, expected);
            assert!(batches >= 10, "{batches} batches");
            assert_eq!(count("fetch 250 of 250"), 2 * 20);
            assert!(stream.next().await.unwrap().is_none());

            let mut nothing = database.stream("SELECT id FROM people WHERE 1 = 0", &[]);
            assert!(nothing.next().await.unwrap().is_none());
        },
    );
}

#[test]
fn a_stream_that_is_left_reads_no_further() {
    let fixture = numbered(20_000, "");
    alone(
        "rows::a_stream_that_is_left_reads_no_further",
        &fixture,
        async || {
            let database = open(URL, policy());
            let mut stream = database.stream("SELECT id FROM people", &[]);
            let rows = stream.next().await.unwrap().unwrap();
            assert_eq!(numbers(&rows)[..3], [0, 1, 2]);
            // Another query need not wait for it.
            let absent = "SELECT id FROM people WHERE 1 = 0";
            assert!(database.query(absent, &[]).await.unwrap().is_empty());
            drop(stream);
            asked("detach", 1).await;
            let fetched = count("fetch 250 of 250");
            assert!(fetched < 20, "{fetched} of 80 fetches for one batch");
        },
    );
}

#[test]
fn p3_rows_that_fail_half_way_are_an_error_and_not_the_end() {
    let fixture = numbered(
        1_100,
        "fail\t1555\tsnapshot too old: rollback segment number 5",
    );
    let test = "rows::p3_rows_that_fail_half_way_are_an_error_and_not_the_end";
    alone(test, &fixture, async || {
        let database = open(URL, once());
        let sql = "SELECT id FROM people";
        let error = failure(&database, sql).await;
        assert_eq!(error.remedy(), Remedy::TryAgain);
        assert!(
            error.in_one_line().contains("ORA-01555: snapshot too old"),
            "{error:?}"
        );

        let mut stream = database.stream(sql, &[]);
        let mut read = 0;
        let error = loop {
            match stream.next().await {
                Ok(Some(rows)) => read += rows.len(),
                Ok(None) => panic!("the end after {read} rows"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.remedy(), Remedy::TryAgain);
        assert!(read < 1_100, "{read}");
    });
}

#[test]
fn a_large_object_is_refused_by_name() {
    let fixture = "table\tPEOPLE\ncolumn\tID\tNUMBER\t9\ncolumn\tPHOTO\tBLOB\ncolumn\tNOTES\tCLOB\nrow\t1\tx\tx";
    alone(
        "rows::a_large_object_is_refused_by_name",
        fixture,
        async || {
            let database = open(URL, policy());
            for (column, kind) in [("PHOTO", "BLOB"), ("NOTES", "CLOB")] {
                let error = failure(&database, &format!("SELECT id, {column} FROM people")).await;
                assert_eq!(error.remedy(), Remedy::FixAccess);
                let why = format!("column {column} is of type {kind}, which is not read");
                assert!(error.in_one_line().contains(&why), "{error:?}");
            }
            assert_eq!(count("fetch"), 0);
            assert_eq!(
                database
                    .query("SELECT id FROM people", &[])
                    .await
                    .unwrap()
                    .len(),
                1
            );
        },
    );
}

#[test]
fn p6_data_that_cannot_be_read_is_for_a_person_to_mend_and_is_not_repeated() {
    let fixture = "table\tSHORT\ncolumn\tNAME\tVARCHAR2\t1\nrow\tZerlina Quux
table\tODD\ncolumn\tNAME\tVARCHAR2\t9\nfail\t1722\tunable to convert string value containing 'Zerlina' to a number";
    let test = "rows::p6_data_that_cannot_be_read_is_for_a_person_to_mend_and_is_not_repeated";
    alone(test, fixture, async || {
        let database = open(URL, policy());
        for (table, code) in [
            ("short", "DPI-1037"),
            ("odd", "ORA-01722: see the server's log"),
        ] {
            let error = failure(&database, &format!("SELECT name FROM {table}")).await;
            assert_eq!(error.remedy(), Remedy::FixData);
            let words = format!("{error:?}");
            assert!(
                words.contains(code) && !words.contains("Zerlina"),
                "{words}"
            );
        }
    });
}
