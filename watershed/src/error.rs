//! The library's one error, and what its reader should do about it.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

/// What happened, on what, and what to do about it.
///
/// [`Display`](fmt::Display) says what was being tried, in lowercase; the cause is in
/// [`source`](StdError::source); the advice is apart, in [`Error::hint`]. None of the three ever
/// holds a value about a person (P6).
pub struct Error(Box<Inner>);

struct Inner {
    what: String,
    remedy: Remedy,
    hint: Option<String>,
    retry_after: Option<Duration>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The library's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the reader of an error should do; drives retry, exit code and hint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// The outside system may yet answer: [`retry`](crate::retry::retry) tries again.
    TryAgain,
    /// A setting is missing or wrong.
    FixSettings,
    /// Credentials, permissions or the existence of something outside.
    FixAccess,
    /// Data that a person must mend before the work can go on.
    FixData,
    /// Another runner works on the same state.
    StopOtherRunner,
    /// The program is wrong.
    ReportBug,
}

impl Remedy {
    /// The exit code of a program that ends with such an error.
    pub fn exit_code(self) -> u8 {
        match self {
            Remedy::ReportBug => 1,
            Remedy::FixSettings | Remedy::FixAccess => 3,
            Remedy::TryAgain => 4,
            Remedy::StopOtherRunner => 5,
            Remedy::FixData => 7,
        }
    }
}

impl Error {
    /// An error that says what was being tried, on what, in lowercase and without a full stop.
    pub fn new(remedy: Remedy, what: impl Into<String>) -> Error {
        Error(Box::new(Inner {
            what: what.into(),
            remedy,
            hint: None,
            retry_after: None,
            source: None,
        }))
    }

    /// Adds the cause. It must hold no value about a person.
    pub fn caused_by(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        self.0.source = Some(cause.into());
        self
    }

    /// Adds a sentence of advice for the reader.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Error {
        self.0.hint = Some(hint.into());
        self
    }

    /// Changes the remedy, where the caller knows better than the call that failed.
    pub fn with_remedy(mut self, remedy: Remedy) -> Error {
        self.0.remedy = remedy;
        self
    }

    /// Notes how long the other side asked us to wait.
    pub fn with_retry_after(mut self, wait: Option<Duration>) -> Error {
        self.0.retry_after = wait;
        self
    }

    /// What the reader should do.
    pub fn remedy(&self) -> Remedy {
        self.0.remedy
    }

    /// A sentence of advice, if there is more to say than the error itself does.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// How long the other side asked us to wait before the next try.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The error and its causes in one line, for a log.
    pub fn in_one_line(&self) -> String {
        let mut line = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            line.push_str(": ");
            line.push_str(&error.to_string());
            cause = error.source();
        }
        line
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.what)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.0.remedy, self.in_one_line())?;
        match self.hint() {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|e| e as &(dyn StdError + 'static))
    }
}

/// Turns a foreign error into ours.
pub trait OrFail<T> {
    /// Keeps the foreign error as the cause of one that says what was being tried.
    fn or_fail(self, remedy: Remedy, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Box<dyn StdError + Send + Sync>>> OrFail<T> for Result<T, E> {
    fn or_fail(self, remedy: Remedy, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|cause| Error::new(remedy, what()).caused_by(cause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_was_tried_once_and_its_cause_apart() {
        let cause = std::io::Error::other("disk full");
        let error = Error::new(Remedy::FixAccess, "writing file:state.json").caused_by(cause);
        assert_eq!(error.to_string(), "writing file:state.json");
        assert_eq!(error.in_one_line(), "writing file:state.json: disk full");
        assert_eq!(error.remedy().exit_code(), 3);
    }
}
