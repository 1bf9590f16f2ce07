//! The databases that several pipelines read, Sierra and Redshift: settings and roles.

use watershed::connectors::aws::Aws;
use watershed::connectors::postgres::{Tls, TlsReport};
use watershed::connectors::sql::{Database, Protocol, Role, Row, Unfit, identifier};
use watershed::error::Result;
use watershed::privacy::Secret;
use watershed::retry::Policy;
use watershed::settings::{Parts, Setting, Settings, database_name, database_url};

use super::SettingGroup;

/// Settings of Sierra, as a group of the reference.
pub const SIERRA_GROUP: SettingGroup = SettingGroup {
    title: "Sierra",
    settings: SIERRA_SETTINGS,
};

const SIERRA_SETTINGS: &[Setting] = &[
    Setting::text(
        "SIERRA_URL",
        "`postgres://…` or `sqlite:` and a path; else it is made of the parts below.",
    )
    .secret(),
    Setting::text("SIERRA_DB_HOST", "Host. Required without a URL.").secret(),
    Setting::integer("SIERRA_DB_PORT", 1..=65_535, "Port.").default("1032"),
    Setting::text(
        "SIERRA_DB_NAME",
        "Database, percent-encoded; may carry `?sslmode=`.",
    )
    .default("iii"),
    Setting::text(
        "SIERRA_DB_USER",
        "User, percent-encoded. Required without a URL.",
    )
    .secret(),
    Setting::text(
        "SIERRA_DB_PASSWORD",
        "Password, percent-encoded. Required without a URL.",
    )
    .secret(),
    Setting::choice("SIERRA_SSLMODE", SSL_MODES, "TLS, as libpq has it.").default("require"),
];

/// Settings of Redshift, as a group of the reference.
pub const REDSHIFT_GROUP: SettingGroup = SettingGroup {
    title: "Redshift",
    settings: REDSHIFT_SETTINGS,
};

/// Settings of Redshift.
pub const REDSHIFT_SETTINGS: &[Setting] = &[
    Setting::text(
        "REDSHIFT_URL",
        "`postgres://…` or `sqlite:` and a path; else it is made of the parts below.",
    )
    .secret(),
    Setting::text("REDSHIFT_DB_HOST", "Host. Required without a URL.").secret(),
    Setting::integer("REDSHIFT_DB_PORT", 1..=65_535, "Port.").default("5439"),
    Setting::text("REDSHIFT_DB_NAME", "Database. Required without a URL."),
    Setting::text("REDSHIFT_DB_USER", "User. Required without a URL.").secret(),
    Setting::text("REDSHIFT_DB_PASSWORD", "Password. Required without a URL.").secret(),
    Setting::choice("REDSHIFT_SSLMODE", SSL_MODES, "TLS, as libpq has it.").default("verify-full"),
    Setting::text(
        "REDSHIFT_CLUSTER",
        "Cluster whose host, port and temporary password AWS gives (IAM), instead of host and password.",
    ),
];

/// What a TLS mode may be.
pub const SSL_MODES: &[&str] = &["disable", "prefer", "require", "verify-ca", "verify-full"];

const SIERRA_PARTS: Parts = Parts {
    url: "SIERRA_URL",
    scheme: "postgres",
    host: "SIERRA_DB_HOST",
    port: "SIERRA_DB_PORT",
    name: "SIERRA_DB_NAME",
    user: "SIERRA_DB_USER",
    password: "SIERRA_DB_PASSWORD",
    sslmode: "SIERRA_SSLMODE",
    percent_encoded: true,
};

const REDSHIFT_PARTS: Parts = Parts {
    url: "REDSHIFT_URL",
    scheme: "postgres",
    host: "REDSHIFT_DB_HOST",
    port: "REDSHIFT_DB_PORT",
    name: "REDSHIFT_DB_NAME",
    user: "REDSHIFT_DB_USER",
    password: "REDSHIFT_DB_PASSWORD",
    sslmode: "REDSHIFT_SSLMODE",
    percent_encoded: false,
};

/// What the pipelines expect of Sierra.
pub const SIERRA: Role = Role {
    name: "Sierra",
    schema: Some("sierra_view"),
    protocol: Protocol::Extended,
    tls: Tls::Require,
};

/// What the pipelines expect of Redshift.
pub const REDSHIFT: Role = Role {
    name: "Redshift",
    schema: None,
    protocol: Protocol::Simple,
    tls: Tls::VerifyFull,
};

/// Sierra's URL; faults are noted there.
pub fn sierra_url(settings: &Settings) -> Secret {
    database_url(settings, SIERRA_PARTS)
}

/// How Redshift is reached.
pub enum RedshiftLogin {
    /// By its URL, or what the parts make of it.
    Url(Secret),
    /// As a cluster, with credentials that AWS gives.
    Cluster {
        /// Its identifier.
        cluster: String,
        /// The database.
        database: String,
        /// The user to ask credentials for.
        user: String,
        /// TLS.
        tls: Tls,
    },
}

impl RedshiftLogin {
    /// Reads the settings; faults are noted there.
    pub fn read(settings: &Settings) -> RedshiftLogin {
        let Some(cluster) = settings.text("REDSHIFT_CLUSTER") else {
            return RedshiftLogin::Url(database_url(settings, REDSHIFT_PARTS));
        };
        for other in [
            "REDSHIFT_URL",
            "REDSHIFT_DB_HOST",
            "REDSHIFT_DB_PASSWORD",
            "REDSHIFT_DB_PORT",
        ] {
            if settings.is_given(other) {
                let (other, cluster) =
                    (settings.origin(other), settings.origin("REDSHIFT_CLUSTER"));
                settings.fault(format!("{other}: it has no place beside {cluster}"));
            }
        }
        let mode = settings.required("REDSHIFT_SSLMODE");
        RedshiftLogin::Cluster {
            cluster,
            database: settings.required("REDSHIFT_DB_NAME"),
            user: settings.required("REDSHIFT_DB_USER"),
            // A mode of another name is a fault already.
            tls: Tls::from_mode(&mode).unwrap_or(Tls::VerifyFull),
        }
    }

    /// Opens the database; asks nothing of the network yet.
    pub fn open(&self, aws: &Aws, policy: Policy) -> Result<Database> {
        match self {
            RedshiftLogin::Url(url) => Database::open(url, REDSHIFT, policy),
            RedshiftLogin::Cluster {
                cluster,
                database,
                user,
                tls,
            } => {
                let role = Role {
                    tls: *tls,
                    ..REDSHIFT
                };
                Ok(Database::redshift_by_iam(
                    aws, cluster, database, user, role, policy,
                ))
            }
        }
    }

    /// The database's name; nothing for an embedded file.
    fn database(&self) -> Option<String> {
        match self {
            RedshiftLogin::Url(url) => database_name(url),
            RedshiftLogin::Cluster { database, .. } => Some(database.clone()),
        }
    }
}

/// Replaces the suffix of Redshift's tables.
pub const TABLE_SUFFIX: Setting = Setting::text(
    "REDSHIFT_TABLE_SUFFIX",
    "Suffix of Redshift's tables, such as `_qa`, or `none`; else it is made of the database's name: none for `production` and for `sqlite:`, `_` and the name for others.",
);

/// Redshift's table of this name with the suffix that belongs to the database, quoted; a fault is
/// noted there.
pub fn suffixed(settings: &Settings, table: &str, redshift: &RedshiftLogin) -> String {
    let suffix = match settings.text(TABLE_SUFFIX.name) {
        Some(suffix) if suffix == "none" => String::new(),
        Some(suffix) => suffix,
        None => match redshift.database().as_deref() {
            None | Some("production") => String::new(),
            Some(name) => format!("_{name}"),
        },
    };
    settings
        .check(identifier(&format!("{table}{suffix}")))
        .unwrap_or_default()
}

/// The code of a patron's home library; blanks around it are no part of it, and the empty one
/// and `none` mean that there is none.
pub fn home_library_code(row: &Row) -> Result<Option<String>, Unfit> {
    let code = row.text("home_library_code")?;
    let code = code.map(|code| code.trim_matches(' ').to_owned());
    Ok(code.filter(|code| !matches!(code.as_str(), "" | "none")))
}

/// The version, how the connection is protected, and the fingerprint that pins its certificate.
pub async fn with_tls(version: String, database: &Database) -> Result<String> {
    match database.tls().await? {
        Some(tls) => {
            if !matches!(tls, TlsReport::Encrypted { verified: true, .. }) {
                tracing::warn!("a connection is not verified: {tls}");
            }
            Ok(format!("{version}; {tls}"))
        }
        None => Ok(version),
    }
}
