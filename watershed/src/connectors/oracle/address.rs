//! What a URL says about a server, in the words of Oracle's client.

use percent_encoding::percent_decode_str;
use url::Url;

use crate::error::{Error, Remedy, Result};
use crate::privacy::Secret;

const PORT: u16 = 1521;

/// Who connects, and where to.
#[derive(Clone, Debug)]
pub(super) struct Address {
    pub(super) user: Secret,
    pub(super) password: Secret,
    /// A connect descriptor, which needs no `tnsnames.ora`.
    pub(super) descriptor: String,
}

impl Address {
    /// Reads `oracle://user:password@host:port/SERVICE`, or with `?sid=SID` in place of the
    /// service; all parts are percent-decoded, and the port is 1521 unless it is given.
    pub(super) fn read(url: &Secret, name: &str) -> Result<Address> {
        let refused = |why: &str| {
            Error::new(
                Remedy::FixSettings,
                format!("reading the URL of {name}: {why}"),
            )
            .with_hint(
                "expected oracle://user:password@host:port/SERVICE or oracle://user:password@host:port?sid=SID",
            )
        };
        // The parser's own message is not shown: it could repeat a password.
        let parsed = Url::parse(url.expose()).map_err(|_| refused("it is no URL"))?;
        let decoded = |text: &str| -> Result<Option<String>> {
            let text = percent_decode_str(text)
                .decode_utf8()
                .map_err(|_| refused("it is not UTF-8"))?;
            Ok(Some(text.into_owned()).filter(|text| !text.is_empty()))
        };
        let user = decoded(parsed.username())?.ok_or_else(|| refused("it has no user"))?;
        let password = decoded(parsed.password().unwrap_or_default())?
            .ok_or_else(|| refused("it has no password"))?;
        let host = decoded(parsed.host_str().unwrap_or_default())?
            .ok_or_else(|| refused("it has no host"))?;
        let host = host.trim_matches(['[', ']']);

        let mut sid = None;
        for (parameter, value) in parsed.query_pairs() {
            match &*parameter {
                "sid" if !value.is_empty() => sid = Some(value.into_owned()),
                // Oracle's client and server agree on encryption by themselves, as `prefer` has it.
                "sslmode" if value == "prefer" => {}
                "sslmode" => {
                    return Err(refused(
                        "its sslmode can only be prefer; sqlnet.ora of Oracle's client, in the folder that TNS_ADMIN names, can demand encryption",
                    ));
                }
                other => return Err(refused(&format!("it has an unknown parameter `{other}`"))),
            }
        }
        let database = match (decoded(parsed.path().trim_start_matches('/'))?, sid) {
            (Some(service), None) => ("SERVICE_NAME", service),
            (None, Some(sid)) => ("SID", sid),
            (Some(_), Some(_)) => return Err(refused("it names a service and a SID")),
            (None, None) => return Err(refused("it names neither a service nor a SID")),
        };
        // What is put into the descriptor must not be able to say more than its own part.
        let plain = |text: &str, more: &str| {
            text.chars()
                .all(|c| c.is_ascii_alphanumeric() || more.contains(c))
        };
        if !plain(host, ".-_:") {
            return Err(refused("its host has a character that no host has"));
        }
        if !plain(&database.1, "._-$#") {
            return Err(refused(
                "its service or SID has a character other than letters, digits and ._-$#",
            ));
        }
        Ok(Address {
            user: Secret::new(user),
            password: Secret::new(password),
            descriptor: descriptor(host, parsed.port().unwrap_or(PORT), database),
        })
    }
}

/// Limits in seconds, for the connection and for the whole log-in: without them the client waits
/// for minutes. `ENABLE=BROKEN` is the client's word for TCP keepalive.
fn descriptor(host: &str, port: u16, (kind, database): (&str, String)) -> String {
    format!(
        "(DESCRIPTION=(ENABLE=BROKEN)(TRANSPORT_CONNECT_TIMEOUT=15)(CONNECT_TIMEOUT=30)\
         (ADDRESS=(PROTOCOL=TCP)(HOST={host})(PORT={port}))(CONNECT_DATA=({kind}={database})))"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<Address> {
        Address::read(&Secret::new(url), "the warehouse")
    }

    #[test]
    fn a_url_names_a_service_or_a_sid() {
        for (url, data, address) in [
            (
                "oracle://u:p@db.example.org:1522/dw.example.org",
                "SERVICE_NAME=dw.example.org",
                "(HOST=db.example.org)(PORT=1522)",
            ),
            (
                "oracle://u:p@h?sid=DW%24A&sslmode=prefer",
                "SID=DW$A",
                "(HOST=h)(PORT=1521)",
            ),
            (
                "oracle://u:p@[::1]/?sid=DW",
                "SID=DW",
                "(HOST=::1)(PORT=1521)",
            ),
        ] {
            let descriptor = read(url).unwrap().descriptor;
            assert!(
                descriptor.contains(&format!("(CONNECT_DATA=({data}))")),
                "{descriptor}"
            );
            assert!(descriptor.contains(address), "{descriptor}");
        }
    }

    #[test]
    fn user_and_password_are_percent_decoded() {
        let address = read("oracle://Zo%C3%AB:a%2Fb%3A%40%25@h/S").unwrap();
        assert_eq!(address.user.expose(), "Zoë");
        assert_eq!(address.password.expose(), "a/b:@%");
    }

    #[test]
    fn a_url_of_another_form_is_refused_and_not_repeated() {
        for (url, why) in [
            ("oracle://", "no user"),
            ("oracle://u@h/S", "no password"),
            ("oracle://u:Zerlina-7@/S", "it is no URL"),
            ("oracle://u:Zerlina-7@h:99999/S", "it is no URL"),
            ("oracle://u:Zerlina-7@h", "neither a service nor a SID"),
            ("oracle://u:Zerlina-7@h/S?sid=T", "a service and a SID"),
            ("oracle://u:Zerlina-7@h/S)(X=Y", "its service or SID has"),
            ("oracle://u:Zerlina-7@h?sid=S%29", "its service or SID has"),
            ("oracle://u:Zerlina-7@h%29/S", "its host has"),
            ("oracle://u:Zerlina-7@h/S?sslmode=require", "sqlnet.ora"),
            (
                "oracle://u:Zerlina-7@h/S?wallet=x",
                "unknown parameter `wallet`",
            ),
        ] {
            let error = read(url).unwrap_err();
            assert_eq!(error.remedy(), Remedy::FixSettings);
            assert!(error.in_one_line().contains(why), "{url}: {error:?}");
            assert!(!format!("{error:?}").contains("Zerlina"), "{error:?}");
        }
    }
}
