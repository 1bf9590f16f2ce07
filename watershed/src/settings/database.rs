use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::Url;

use super::Settings;
use crate::privacy::Secret;

/// The settings that a database's URL can be put together from.
#[derive(Clone, Copy, Debug)]
pub struct Parts {
    /// The URL itself.
    pub url: &'static str,
    /// Scheme of the assembled URL.
    pub scheme: &'static str,
    /// Host name or address.
    pub host: &'static str,
    /// Port.
    pub port: &'static str,
    /// Database.
    pub name: &'static str,
    /// User.
    pub user: &'static str,
    /// Password.
    pub password: &'static str,
    /// TLS mode.
    pub sslmode: &'static str,
    /// User, password and name stand percent-encoded in the settings, because the old program
    /// pasted them into a URI; the name may then carry `?sslmode=`.
    pub percent_encoded: bool,
}

/// All but the unreserved characters of RFC 3986.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A database's URL: the one that is given, with the parts that it lacks, or the one that the
/// parts make. A part that contradicts the URL is a fault, and so is one that is missing.
pub fn database_url(settings: &Settings, parts: Parts) -> Secret {
    match settings.text(parts.url) {
        Some(url) if has_parts(&url, parts.scheme) => merged(settings, parts, &url),
        Some(url) => {
            for part in [
                parts.host,
                parts.port,
                parts.name,
                parts.user,
                parts.password,
                parts.sslmode,
            ] {
                // A table suffix may still need the database's name beside an embedded file.
                if settings.is_given(part) && part != parts.name {
                    settings.fault(format!(
                        "{}: it has no place in {}",
                        settings.origin(part),
                        settings.origin(parts.url)
                    ));
                }
            }
            Secret::new(url)
        }
        None => assembled(settings, parts),
    }
}

fn has_parts(url: &str, scheme: &str) -> bool {
    let start = url.split("://").next().unwrap_or_default();
    start == scheme || (scheme == "postgres" && start == "postgresql")
}

/// The name of the database in a server's URL; nothing for an embedded one.
pub fn database_name(url: &Secret) -> Option<String> {
    let url = Url::parse(url.expose()).ok().filter(Url::has_host)?;
    let name = percent_decode_str(url.path().trim_start_matches('/')).decode_utf8_lossy();
    Some(name.into_owned()).filter(|name| !name.is_empty())
}

fn assembled(settings: &Settings, parts: Parts) -> Secret {
    let host = settings.required(parts.host);
    let user = settings.required(parts.user);
    let password = settings.required(parts.password);
    let name = settings.required(parts.name);
    let port = settings.text(parts.port).unwrap_or_default();
    let (name, query) = name
        .split_once('?')
        .map_or((&*name, None), |(name, query)| (name, Some(query)));
    let encode = |text: &str| {
        let plain = if parts.percent_encoded {
            percent_decode_str(text).decode_utf8_lossy().into_owned()
        } else {
            text.to_owned()
        };
        utf8_percent_encode(&plain, ENCODED).to_string()
    };
    let host = if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]")
    } else {
        host
    };
    let mut url = format!(
        "{}://{}:{}@{host}:{port}/{}",
        parts.scheme,
        encode(&user),
        encode(&password),
        encode(name)
    );
    match (query, settings.text(parts.sslmode)) {
        (Some(query), mode) => {
            if let Some(mode) = mode.filter(|_| settings.is_given(parts.sslmode))
                && !query
                    .split('&')
                    .any(|pair| pair == format!("sslmode={mode}"))
            {
                settings.contradiction(parts.sslmode, parts.name);
            }
            url.push_str(&format!("?{query}"));
        }
        (None, Some(mode)) => url.push_str(&format!("?sslmode={mode}")),
        (None, None) => {}
    }
    Secret::new(url)
}

/// Adds to a URL the parts that it lacks, and compares those that it has.
fn merged(settings: &Settings, parts: Parts, url: &str) -> Secret {
    let Ok(mut url) = Url::parse(url) else {
        settings.fault(format!("{}: it is no URL", settings.origin(parts.url)));
        return Secret::new("");
    };
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let contradiction = |part: &str| settings.contradiction(part, parts.url);
    let given = |part: &str| {
        settings
            .is_given(part)
            .then(|| settings.text(part))
            .flatten()
    };
    let plain = |text: String| {
        if parts.percent_encoded {
            decoded(&text)
        } else {
            text
        }
    };

    if let Some(host) = given(parts.host) {
        match url.host_str().filter(|there| !there.is_empty()) {
            Some(there) if !there.eq_ignore_ascii_case(&host) => contradiction(parts.host),
            Some(_) => {}
            None => drop(url.set_host(Some(&host))),
        }
    }
    if let Some(port) = given(parts.port).and_then(|port| port.parse().ok()) {
        match url.port() {
            Some(there) if there != port => contradiction(parts.port),
            _ => drop(url.set_port(Some(port))),
        }
    } else if url.port().is_none()
        && let Some(port) = settings.text(parts.port).and_then(|port| port.parse().ok())
    {
        let _ = url.set_port(Some(port));
    }
    if let Some(user) = given(parts.user).map(plain) {
        match url.username() {
            "" => drop(url.set_username(&utf8_percent_encode(&user, ENCODED).to_string())),
            there if decoded(there) != user => contradiction(parts.user),
            _ => {}
        }
    }
    if let Some(password) = given(parts.password).map(plain) {
        match url.password() {
            None => {
                let _ =
                    url.set_password(Some(&utf8_percent_encode(&password, ENCODED).to_string()));
            }
            Some(there) if decoded(there) != password => contradiction(parts.password),
            Some(_) => {}
        }
    }
    let there = decoded(url.path().trim_start_matches('/'));
    let name = given(parts.name);
    let query = name
        .as_deref()
        .and_then(|name| name.split_once('?'))
        .map(|(_, query)| query.to_owned());
    if let Some(query) = query {
        match url.query() {
            Some(own) if own != query => contradiction(parts.name),
            _ => url.set_query(Some(&query)),
        }
    }
    match name.map(|name| plain(name.split('?').next().unwrap_or_default().to_owned())) {
        Some(name) if there.is_empty() => {
            url.set_path(&utf8_percent_encode(&name, ENCODED).to_string())
        }
        Some(name) if name != there => contradiction(parts.name),
        Some(_) => {}
        None if there.is_empty() => {
            if let Some(name) = settings.text(parts.name) {
                url.set_path(&utf8_percent_encode(&name, ENCODED).to_string());
            }
        }
        None => {}
    }
    let mode = url
        .query_pairs()
        .find(|(name, _)| name == "sslmode")
        .map(|(_, mode)| mode.into_owned());
    match (mode, settings.text(parts.sslmode)) {
        (Some(there), Some(mode)) if settings.is_given(parts.sslmode) && there != mode => {
            contradiction(parts.sslmode)
        }
        (None, Some(mode)) if settings.is_given(parts.sslmode) => {
            url.query_pairs_mut().append_pair("sslmode", &mode);
        }
        _ => {}
    }
    for (name, missing) in [
        (parts.host, url.host_str().is_none_or(str::is_empty)),
        (parts.user, url.username().is_empty()),
        (parts.name, url.path().trim_start_matches('/').is_empty()),
    ] {
        if missing {
            settings.fault(format!(
                "{name}: not set, and not in {} either",
                settings.origin(parts.url)
            ));
        }
    }
    Secret::new(url)
}
