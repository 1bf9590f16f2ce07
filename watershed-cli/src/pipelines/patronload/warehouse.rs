//! The data warehouse: its settings, from which its URL is put together.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Map, Value as Json};
use url::Url;
use watershed::connectors::postgres::Tls;
use watershed::connectors::sql::{Database, Protocol, Role};
use watershed::error::Result;
use watershed::privacy::Secret;
use watershed::retry::Policy;
use watershed::settings::{Setting, Settings};

use super::super::databases::with_tls;
use super::patron::Kind;

pub(super) const SETTINGS: &[Setting] = &[
    Setting::text(
        "DATA_WAREHOUSE_URL",
        "`oracle://user:password@host:port/SERVICE`, or with `?sid=SID` in place of the service; or `postgres://…`, `mysql://…`, or `sqlite:` and a path; else it is made of the parts below.",
    )
    .secret(),
    Setting::text("DATA_WAREHOUSE_USER", "User. Required without a URL.").secret(),
    Setting::text(
        "DATA_WAREHOUSE_PASSWORD",
        "Password. Required without a URL.",
    )
    .secret(),
    Setting::text("DATA_WAREHOUSE_HOST", "Host. Required without a URL."),
    Setting::integer("DATA_WAREHOUSE_PORT", 1..=65_535, "Port.").default("1521"),
    Setting::text(
        "DATA_WAREHOUSE_SID",
        "SID of the database. Without a URL it or the service is required.",
    ),
    Setting::text("DATA_WAREHOUSE_SERVICE", "Service name of the database."),
    Setting::text(
        "DATAWAREHOUSE_CLOUDCONNECTOR_JSON",
        "The parts as a JSON object with `USER`, `PASSWORD`, `HOST`, `PORT` and `PATH`, the SID.",
    )
    .secret(),
    Setting::text(
        "ORACLE_LIB_DIR",
        "Folder of Oracle's client library; else the machine's loader looks for it.",
    ),
];

const URL: &str = "DATA_WAREHOUSE_URL";
const USER: &str = "DATA_WAREHOUSE_USER";
const PASSWORD: &str = "DATA_WAREHOUSE_PASSWORD";
const HOST: &str = "DATA_WAREHOUSE_HOST";
const PORT: &str = "DATA_WAREHOUSE_PORT";
const SID: &str = "DATA_WAREHOUSE_SID";
const SERVICE: &str = "DATA_WAREHOUSE_SERVICE";
const CONNECTOR: &str = "DATAWAREHOUSE_CLOUDCONNECTOR_JSON";

/// All but the unreserved characters of RFC 3986.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

const ROLE: Role = Role {
    name: "the data warehouse",
    schema: None,
    protocol: Protocol::Extended,
    tls: Tls::Prefer,
};

/// Where the data warehouse is, and as whom it is read.
pub(super) struct Warehouse {
    url: Secret,
    /// Folder of Oracle's client library, if the loader is not to look for it.
    oracle_client: Option<String>,
}

impl Warehouse {
    /// Reads the settings, and notes their faults.
    pub(super) fn read(settings: &Settings) -> Warehouse {
        let parts = Parts::read(settings);
        let url = match settings.text(URL) {
            Some(url) => parts.merged(settings, &url),
            None => parts.assembled(settings),
        };
        Warehouse {
            url: Secret::new(url),
            oracle_client: settings.text("ORACLE_LIB_DIR"),
        }
    }

    pub(super) fn open(&self, policy: Policy) -> Result<Database> {
        let database = Database::open(&self.url, ROLE, policy)?;
        Ok(match &self.oracle_client {
            Some(folder) => database.with_oracle_client(folder),
            None => database,
        })
    }

    /// What the old program said when it was asked whether it can connect.
    pub(super) async fn greeting(&self, policy: Policy) -> Result<String> {
        let version = self.open(policy)?.version().await?;
        Ok(match version.strip_prefix("Oracle Database ") {
            Some(number) => {
                format!("Successfully connected to Oracle Database version: {number}")
            }
            None => format!("Successfully connected to the data warehouse, version: {version}"),
        })
    }

    /// Version and protection of the connection, after a look at both tables.
    pub(super) async fn check(&self, policy: Policy) -> Result<String> {
        let database = self.open(policy)?;
        let version = with_tls(database.version().await?, &database).await?;
        for kind in Kind::ALL {
            database.check_columns(kind.table(), kind.columns()).await?;
        }
        Ok(version)
    }
}

/// The parts of the URL, from either of their two places, each with the name it has there.
#[derive(Default)]
struct Parts {
    user: Option<(String, String)>,
    password: Option<(String, String)>,
    host: Option<(String, String)>,
    port: Option<(String, String)>,
    sid: Option<(String, String)>,
    service: Option<(String, String)>,
}

impl Parts {
    fn read(settings: &Settings) -> Parts {
        let connector = connector(settings);
        let part = |name: &str, member: &str| {
            let given = settings
                .is_given(name)
                .then(|| settings.text(name))
                .flatten();
            let there = connector.as_ref().and_then(|json| json.get(member));
            let there = there.and_then(|value| match value {
                Json::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
                Json::Number(number) => Some(number.to_string()),
                Json::Null => None,
                _ => {
                    let origin = settings.origin(CONNECTOR);
                    settings.fault(format!("{member} in {origin}: expected a text"));
                    None
                }
            });
            if let (Some(given), Some(there)) = (&given, &there)
                && given != there
            {
                settings.fault(format!(
                    "{} contradicts {member} in {}",
                    settings.origin(name),
                    settings.origin(CONNECTOR)
                ));
            }
            let given = given.map(|text| (text, settings.origin(name)));
            given
                .or(there.map(|text| (text, format!("{member} in {}", settings.origin(CONNECTOR)))))
        };
        let parts = Parts {
            user: part(USER, "USER"),
            password: part(PASSWORD, "PASSWORD"),
            host: part(HOST, "HOST"),
            port: part(PORT, "PORT"),
            sid: part(SID, "PATH"),
            service: part(SERVICE, ""),
        };
        if let (Some((_, sid)), Some((_, service))) = (&parts.sid, &parts.service) {
            settings.fault(format!(
                "{sid} and {service}: there can be only one of them"
            ));
        }
        if let Some((text, origin)) = &parts.port
            && text.parse::<u16>().is_err()
        {
            settings.fault(format!("{origin}: expected a port"));
        }
        parts
    }

    fn all(&self) -> [&Option<(String, String)>; 6] {
        [
            &self.user,
            &self.password,
            &self.host,
            &self.port,
            &self.sid,
            &self.service,
        ]
    }

    fn assembled(&self, settings: &Settings) -> String {
        if self.all().iter().all(|part| part.is_none()) && !settings.is_given(CONNECTOR) {
            settings.fault(format!(
                "{URL}: not set, and neither are {USER}, {PASSWORD}, {HOST} and {SID}, or {CONNECTOR}"
            ));
            return String::new();
        }
        let required = |part: &Option<(String, String)>, name: &str| {
            if part.is_none() {
                settings.fault(format!("{name}: not set, and neither is {URL}"));
            }
            encoded(part.as_ref().map_or("", |(text, _)| text))
        };
        let (user, password) = (
            required(&self.user, USER),
            required(&self.password, PASSWORD),
        );
        let host = self.host.as_ref().map_or("", |(text, _)| text);
        if host.is_empty() {
            required(&None, HOST);
        }
        let default = settings.text(PORT).unwrap_or_default();
        let port = self.port.as_ref().map_or(&*default, |(text, _)| text);
        let database = match &self.service {
            Some((service, _)) => format!("/{}", encoded(service)),
            None => format!("?sid={}", required(&self.sid, SID)),
        };
        format!(
            "oracle://{user}:{password}@{}:{port}{database}",
            bracketed(host)
        )
    }

    /// Adds to a URL the parts that it lacks, and compares those that it has.
    fn merged(&self, settings: &Settings, text: &str) -> String {
        let fault = |part: &Option<(String, String)>, words: &str| {
            if let Some((_, origin)) = part {
                settings.fault(format!("{origin}{words} {}", settings.origin(URL)));
            }
        };
        if !text.contains("://") {
            for part in self.all() {
                fault(part, ": it has no place in");
            }
            return text.to_owned();
        }
        let Ok(mut url) = Url::parse(text) else {
            // The parser's own message could repeat a password.
            settings.fault(format!("{}: it is no URL", settings.origin(URL)));
            return String::new();
        };
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let differs = |part: &Option<(String, String)>, there: &str| {
            if part.as_ref().is_some_and(|(text, _)| text != there) {
                fault(part, " contradicts");
            }
        };
        match url
            .host_str()
            .map(str::to_owned)
            .filter(|there| !there.is_empty())
        {
            Some(there) => differs(&self.host, there.trim_matches(['[', ']'])),
            None => {
                if let Some((host, _)) = &self.host {
                    let _ = url.set_host(Some(&bracketed(host)));
                }
            }
        }
        match url.port() {
            Some(there) => differs(&self.port, &there.to_string()),
            None => {
                let port = self.port.as_ref().and_then(|(text, _)| text.parse().ok());
                let _ = url.set_port(port);
            }
        }
        match decoded(url.username()) {
            there if !there.is_empty() => differs(&self.user, &there),
            _ => {
                if let Some((user, _)) = &self.user {
                    let _ = url.set_username(&encoded(user));
                }
            }
        }
        match url.password().map(decoded) {
            Some(there) => differs(&self.password, &there),
            None => {
                if let Some((password, _)) = &self.password {
                    let _ = url.set_password(Some(&encoded(password)));
                }
            }
        }
        let path = decoded(url.path().trim_start_matches('/'));
        let sid = url.query_pairs().find(|(name, _)| name == "sid");
        let sid = sid.map(|(_, sid)| sid.into_owned());
        match (path, sid) {
            (path, None) if path.is_empty() => {
                if let Some((service, _)) = &self.service {
                    url.set_path(&encoded(service));
                } else if let Some((sid, _)) = &self.sid {
                    url.query_pairs_mut().append_pair("sid", sid);
                }
            }
            (path, None) => {
                differs(&self.service, &path);
                fault(&self.sid, " contradicts");
            }
            (_, Some(there)) => {
                differs(&self.sid, &there);
                fault(&self.service, " contradicts");
            }
        }
        url.into()
    }
}

/// The members of the JSON, if it is some.
fn connector(settings: &Settings) -> Option<Map<String, Json>> {
    let text = settings.text(CONNECTOR)?;
    // The parser's own message is not shown: it could repeat a password.
    match serde_json::from_str(&text) {
        Ok(Json::Object(members)) => Some(members),
        _ => {
            settings.fault(format!(
                "{}: expected a JSON object with USER, PASSWORD, HOST, PORT and PATH",
                settings.origin(CONNECTOR)
            ));
            None
        }
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// An IPv6 address as a URL has it.
fn bracketed(host: &str) -> String {
    match host.contains(':') && !host.starts_with('[') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use watershed::settings::Sources;

    use super::*;

    const JSON: &str = r#"{"USER": "u", "PASSWORD": "p@ss/w", "HOST": "warehouse.example", "PORT": "1521", "PATH": "DWRHS"}"#;

    fn url(values: &[(&str, &str)]) -> Result<String, String> {
        let pairs = values
            .iter()
            .map(|(name, text)| (name.to_string(), text.to_string()));
        let sources = Sources {
            environment: pairs.collect::<BTreeMap<_, _>>(),
            ..Sources::default()
        };
        let settings = Settings::gather(SETTINGS, &[], &sources);
        let warehouse = Warehouse::read(&settings);
        match settings.complete(()) {
            Ok(()) => Ok(warehouse.url.expose().to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn the_url_is_made_of_the_parts_or_of_the_json() {
        let parts = [
            (USER, "u"),
            (PASSWORD, "p@ss/w"),
            (HOST, "warehouse.example"),
        ];
        let expected = "oracle://u:p%40ss%2Fw@warehouse.example:1521";
        let with = |more: &[(&'static str, &'static str)]| [&parts, more].concat();
        let of_sid = Ok(format!("{expected}?sid=DWRHS"));
        assert_eq!(url(&with(&[(SID, "DWRHS")])), of_sid);
        assert_eq!(
            url(&with(&[(SERVICE, "dw.example")])),
            Ok(format!("{expected}/dw.example"))
        );
        assert_eq!(url(&[(CONNECTOR, JSON)]), of_sid);
        // A port that is a number, and parts that say the same twice.
        assert_eq!(
            url(&[(CONNECTOR, &JSON.replace("\"1521\"", "1521")), (USER, "u")]),
            of_sid
        );
        assert_eq!(
            url(&[(URL, "oracle://warehouse.example"), (CONNECTOR, JSON)]),
            of_sid
        );
    }

    #[test]
    fn other_urls_stay_as_they_are() {
        for given in [
            "sqlite:warehouse.db",
            "postgres://u:p@h:5432/warehouse?sslmode=require",
            "oracle://u:p%40@h:1/service",
            "mysql://u:p@h/warehouse",
        ] {
            assert_eq!(url(&[(URL, given)]).as_deref(), Ok(given));
        }
        let completed = url(&[
            (URL, "postgres://h/warehouse"),
            (USER, "u"),
            (PASSWORD, "p"),
        ]);
        assert_eq!(completed.as_deref(), Ok("postgres://u:p@h/warehouse"));
    }

    #[test]
    fn contradictions_and_gaps_are_told_by_name_and_without_a_value() {
        for (values, words) in [
            (vec![], "DATA_WAREHOUSE_URL: not set"),
            (vec![(USER, "u")], "DATA_WAREHOUSE_HOST: not set"),
            (vec![(CONNECTOR, "{\"USER\": ")], "expected a JSON object"),
            (vec![(CONNECTOR, "{}")], "DATA_WAREHOUSE_USER: not set"),
            (
                vec![(CONNECTOR, r#"{"HOST": ["hunter2"]}"#)],
                "HOST in DATAWAREHOUSE_CLOUDCONNECTOR_JSON (environment): expected a text",
            ),
            (vec![(CONNECTOR, JSON), (HOST, "h")], "contradicts HOST in"),
            (vec![(CONNECTOR, JSON), (SERVICE, "s")], "only one of them"),
            (
                vec![(URL, "sqlite:w.db"), (HOST, "h")],
                "it has no place in",
            ),
            (
                vec![(URL, "oracle://hunter2:x@h/s"), (USER, "u")],
                "contradicts DATA_WAREHOUSE_URL",
            ),
            (
                vec![(URL, "oracle://u:hunter2@h/s"), (SID, "s")],
                "contradicts DATA_WAREHOUSE_URL",
            ),
        ] {
            let told = url(&values).expect_err(words);
            assert!(told.contains(words), "{words}: {told}");
            assert!(
                !told.contains("hunter2") && !told.contains("p@ss"),
                "{told}"
            );
        }
    }
}
