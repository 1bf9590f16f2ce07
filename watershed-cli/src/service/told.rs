//! Of which failures others were told already: a pass that is tried again for days is one failure.

use std::sync::Mutex;

use watershed::error::{Error, Remedy};

/// More failures than these between two good passes are not told. No service has so many that differ,
/// unless their words change from try to try.
const MOST: usize = 10;

/// The failures since the last good pass that were told.
#[derive(Default)]
pub(super) struct Told(Mutex<Vec<(Remedy, String)>>);

impl Told {
    /// Whether others are to be told of this failure, who are then told.
    ///
    /// What was tried, on what, and the remedy make a failure. Its cause does not: there an outside
    /// system may give each of its answers a number.
    pub(super) fn is_news(&self, error: &Error) -> bool {
        // Whoever stands by is well.
        if error.remedy() == Remedy::StopOtherRunner {
            return false;
        }
        let failure = (error.remedy(), error.to_string());
        let mut told = self.0.lock().expect("nothing panics while it holds this");
        let news = told.len() < MOST && !told.contains(&failure);
        if news {
            told.push(failure);
        }
        news
    }

    /// A pass ended well: every failure is a new one again.
    pub(super) fn forget(&self) {
        let mut told = self.0.lock().expect("nothing panics while it holds this");
        told.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_once_until_a_pass_goes_well() {
        let told = Told::default();
        let error = |remedy, what: &str, cause: &'static str| {
            let error = Error::new(remedy, what).caused_by(cause);
            told.is_news(&error)
        };
        assert!(error(Remedy::TryAgain, "listing a", "answer 1"));
        assert!(!error(Remedy::TryAgain, "listing a", "answer 2"));
        assert!(error(Remedy::FixAccess, "listing a", "answer 3"));
        assert!(error(Remedy::FixData, "reading b", "line 1"));
        assert!(!error(Remedy::TryAgain, "listing a", "answer 4"));
        assert!(!error(Remedy::StopOtherRunner, "locking", "another has it"));
        told.forget();
        assert!(error(Remedy::TryAgain, "listing a", "answer 5"));
    }

    #[test]
    fn words_that_change_with_each_try_come_to_an_end() {
        let told = Told::default();
        let news = (0..100).filter(|try_number| {
            told.is_news(&Error::new(
                Remedy::TryAgain,
                format!("asking {try_number}"),
            ))
        });
        assert_eq!(news.count(), MOST);
    }
}
