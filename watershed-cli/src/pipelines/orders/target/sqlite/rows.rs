use rusqlite::types::Value;
use rusqlite::{Connection, ErrorCode, Statement, params};
use watershed::error::Result;
use watershed::formats::values::{ColumnType, Scalar, date_text, time_text, timestamp_text};

use super::super::super::entities::Entity;
use super::super::super::rows::{Operation, Reject, Rows, Unfit};
use super::super::Delivery;
use super::{failed, sql};

/// Rows on their way into the staging table.
pub(super) struct Inserting<'c> {
    connection: &'c Connection,
    stage: Statement<'c>,
    entity: &'c Entity,
    delivery: &'c Delivery,
    owner: &'c (String, String),
    /// The line, whether the row is deleted, and the columns.
    values: Vec<Value>,
}

impl<'c> Inserting<'c> {
    pub(super) fn new(
        connection: &'c Connection,
        entity: &'c Entity,
        delivery: &'c Delivery,
        owner: &'c (String, String),
    ) -> Result<Inserting<'c>> {
        let changes = !delivery.place.is_full_load();
        let stage = connection.prepare(&sql::stage(entity, changes));
        Ok(Inserting {
            connection,
            stage: stage.map_err(failed)?,
            entity,
            delivery,
            owner,
            values: vec![Value::Null; entity.columns.len() + 2],
        })
    }

    /// The row whose key is that of the one in hand.
    fn duplicate(&self) -> rusqlite::Result<Unfit> {
        let mut statement = self
            .connection
            .prepare_cached(&sql::staged_line(self.entity))?;
        for place in &self.entity.key {
            statement.raw_bind_parameter(place + 3, &self.values[place + 2])?;
        }
        let mut rows = statement.raw_query();
        let line: i64 = rows.next()?.map_or(Ok(0), |row| row.get(0))?;
        let place = self.entity.key[0];
        let value = match &self.values[place + 2] {
            Value::Integer(number) => number.to_string(),
            Value::Text(text) => text.clone(),
            _ => String::new(),
        };
        Ok(Unfit::of_column(
            &self.entity.columns[place].name,
            value.as_bytes(),
            format!("a key that comes once, line {line} has it, too"),
        ))
    }
}

impl Rows for Inserting<'_> {
    fn begin(&mut self, line: u64, operation: Operation) {
        self.values[0] = Value::Integer(line as i64);
        self.values[1] = Value::Integer((operation == Operation::Delete).into());
    }

    fn value(&mut self, place: usize, _: ColumnType, value: Option<Scalar<'_>>) {
        self.values[place + 2] = value.map_or(Value::Null, of_scalar);
    }

    fn undo(&mut self) {}

    fn end(&mut self) -> Result<Option<Unfit>> {
        let inserted = self.stage.execute(rusqlite::params_from_iter(&self.values));
        match inserted {
            Ok(_) => Ok(None),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                self.duplicate().map(Some).map_err(failed)
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn reject(&mut self, reject: Reject) -> Result<()> {
        let statement = self.connection.prepare_cached(sql::INSERT_REJECT);
        let (source, process) = self.owner;
        statement
            .and_then(|mut statement| {
                statement.execute(params![
                    self.delivery.id,
                    reject.line as i64,
                    reject.raw,
                    reject.reason,
                    source,
                    process
                ])
            })
            .map(|_| ())
            .map_err(failed)
    }
}

fn of_scalar(scalar: Scalar<'_>) -> Value {
    match scalar {
        Scalar::Integer(number) => Value::Integer(number),
        Scalar::Boolean(truth) => Value::Integer(truth.into()),
        Scalar::Double(number) => Value::Real(number),
        Scalar::Numeric(number) => Value::Text(number.to_string()),
        Scalar::Text(text) => Value::Text(text.to_owned()),
        Scalar::Date(days) => Value::Text(date_text(days)),
        Scalar::Time(micros) => Value::Text(time_text(micros)),
        Scalar::Timestamp(micros) => Value::Text(timestamp_text(micros)),
        Scalar::Bytes(bytes) => Value::Blob(bytes.to_vec()),
        Scalar::Uuid(bytes) => {
            let digits = format!("{:032x}", u128::from_be_bytes(bytes));
            let groups = [0..8, 8..12, 12..16, 16..20, 20..32].map(|group| &digits[group]);
            Value::Text(groups.join("-"))
        }
    }
}
