//! Ours of Oracle's errors: what failed, and what its reader should do.

use oracle::{DbError, ErrorKind};

use crate::error::{Error, Remedy};

/// ODPI-C's own errors that tell more than that our code is wrong.
const NO_CLIENT: i32 = 1047;
const OLD_CLIENT: i32 = 1050;
const UNSUPPORTED_CLIENT: i32 = 1072;
const NOT_CONNECTED: i32 = 1010;
const COLUMN_FETCH: i32 = 1037;
const CALL_TIMEOUT: i32 = 1067;
const CONNECTION_CLOSED: i32 = 1080;

const INSTALL: &str = "install Oracle Instant Client (the package Basic or Basic Light, 64 bits; version 19 also reaches servers as old as 11.2) and let ORACLE_LIB_DIR name its folder, the one that holds libclntsh.so; on Linux the loader must know that folder, too (ldconfig, or LD_LIBRARY_PATH before the start), and the library libaio must be there";

/// What the words of a server's message may be about.
enum Words {
    /// Names, permissions and connections: shown as they are.
    OfNames,
    /// Ours in their place, because theirs may name the user, who is a secret here.
    Ours(&'static str),
    /// Perhaps a value (P6).
    Withheld,
}

pub(super) fn error(what: &str, cause: &oracle::Error) -> Error {
    match (cause.kind(), cause.db_error()) {
        (ErrorKind::OciError, Some(answer)) => of_server(what, answer),
        (ErrorKind::DpiError, Some(answer)) => of_odpi(what, cause.dpi_code(), answer),
        // A type that the crate does not know.
        (ErrorKind::InternalError, _) => {
            Error::new(Remedy::FixAccess, what).caused_by(cause.to_string())
        }
        // The crate's own words could hold what it was given.
        (kind, _) => Error::new(Remedy::ReportBug, what).caused_by(format!("{kind:?}")),
    }
}

fn of_odpi(what: &str, code: Option<i32>, answer: &DbError) -> Error {
    let message = first_line(answer.message());
    let error = |remedy| Error::new(remedy, what).caused_by(message);
    match code {
        Some(NO_CLIENT) => error(Remedy::FixSettings).with_hint(INSTALL),
        Some(OLD_CLIENT | UNSUPPORTED_CLIENT) => error(Remedy::FixSettings)
            .with_hint("the client must be of version 11.2 or later; see ORACLE_LIB_DIR"),
        Some(NOT_CONNECTED | CALL_TIMEOUT | CONNECTION_CLOSED) => error(Remedy::TryAgain),
        Some(COLUMN_FETCH) => error(Remedy::FixData),
        _ => error(Remedy::ReportBug),
    }
}

fn of_server(what: &str, answer: &DbError) -> Error {
    let code = answer.code();
    let (remedy, words) = meaning(code);
    let error = Error::new(remedy, what).caused_by(match words {
        Words::OfNames => first_line(answer.message()).to_owned(),
        Words::Ours(words) => format!("ORA-{code:05}: {words}"),
        Words::Withheld => format!("ORA-{code:05}: see the server's log"),
    });
    match hint(code) {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// What an error of the server asks of its reader, and whether its words may be shown.
fn meaning(code: i32) -> (Remedy, Words) {
    use Remedy::{FixAccess, FixData, TryAgain};
    match code {
        1005 | 1017 => (FixAccess, Words::Ours("the user or the password is wrong")),
        28000 => (FixAccess, Words::Ours("the user's account is locked")),
        28001 => (FixAccess, Words::Ours("the password has expired")),
        1045 => (
            FixAccess,
            Words::Ours("the user may not log in (CREATE SESSION)"),
        ),
        // No common way to log in or to encrypt: versions, or sqlnet.ora.
        3134 | 28040 | 28041 | 12599 | 12638 | 12640..=12699 => (FixAccess, Words::OfNames),
        // The descriptor is ours, so that it is the host, the port or the name in the URL.
        12154 => (Remedy::FixSettings, Words::OfNames),
        // The listener, the network, a server that starts or stops, and its limits.
        12150..=12639 => (TryAgain, Words::OfNames),
        18 | 20 | 28 | 54 | 60 | 1012 | 1013 | 1033 | 1034 | 1089 | 1090 | 1092 | 1555 | 1652
        | 2391 | 2396 | 3113 | 3114 | 3135 | 3136 | 4031 | 8103 | 8177 | 27101 => {
            (TryAgain, Words::OfNames)
        }
        // Syntax, names and permissions. The text is ours, and its values are bound.
        900..=999 | 1031 | 1039 | 1723..=1789 | 2019 | 2063 | 4043 => (FixAccess, Words::OfNames),
        // Numbers, dates, texts and characters that do not fit.
        1401..=1499 | 1722 | 1790..=1899 | 6502 | 12700..=12899 | 29275 => {
            (FixData, Words::Withheld)
        }
        _ => (TryAgain, Words::Withheld),
    }
}

fn hint(code: i32) -> Option<&'static str> {
    Some(match code {
        942 => "does the table exist, and may this user read it? Oracle says the same of both",
        12505 => {
            "the listener knows no such SID: the database is starting, or the URL needs its service, as /SERVICE"
        }
        12514 => {
            "the listener knows no such service: the database is starting, or the URL needs its SID, as ?sid=SID"
        }
        12541 => "nobody listens there: see host and port in the URL",
        3134 | 28040 => {
            "server and client are too many versions apart: version 19 of the client reaches servers from 11.2 on"
        }
        12640..=12699 => "client and server agree on no encryption: see sqlnet.ora on both sides",
        _ => return None,
    })
}

/// Newer servers add the address of a help page, and calls within the server a trace.
fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: i32, message: &str) -> Error {
        let answer = DbError::new(code, 0, message, "OCIStmtExecute", "execute");
        of_server("querying the warehouse", &answer)
    }

    #[test]
    fn an_error_of_the_server_says_what_to_do() {
        for (code, remedy) in [
            (942, Remedy::FixAccess),
            (904, Remedy::FixAccess),
            (1017, Remedy::FixAccess),
            (1031, Remedy::FixAccess),
            (28000, Remedy::FixAccess),
            (28040, Remedy::FixAccess),
            (12660, Remedy::FixAccess),
            (12154, Remedy::FixSettings),
            (1033, Remedy::TryAgain),
            (1555, Remedy::TryAgain),
            (3113, Remedy::TryAgain),
            (12170, Remedy::TryAgain),
            (12505, Remedy::TryAgain),
            (12514, Remedy::TryAgain),
            (12541, Remedy::TryAgain),
            (600, Remedy::TryAgain),
            (1722, Remedy::FixData),
            (1843, Remedy::FixData),
            (12899, Remedy::FixData),
        ] {
            assert_eq!(server(code, "").remedy(), remedy, "ORA-{code:05}");
        }
    }

    #[test]
    fn p6_a_message_that_may_hold_a_value_or_the_user_is_not_repeated() {
        for code in [
            1, 600, 1005, 1017, 1045, 1722, 1858, 12899, 20001, 28000, 28001,
        ] {
            let words = format!("{:?}", server(code, "ORA: Zerlina Quux"));
            assert!(!words.contains("Zerlina"), "{words}");
            assert!(words.contains(&format!("ORA-{code:05}: ")), "{words}");
        }
    }

    #[test]
    fn a_message_about_names_is_repeated_in_one_line() {
        let message = "ORA-00904: \"KRB\": invalid identifier\nHelp: https://docs.oracle.com/";
        let error = server(904, message);
        assert_eq!(
            error.in_one_line(),
            "querying the warehouse: ORA-00904: \"KRB\": invalid identifier"
        );
    }
}
