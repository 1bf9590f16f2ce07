//! Calls of AWS signed here: those of the query APIs (Redshift, SES), whose own clients take minutes
//! to compile for one call, and one of S3 that `object_store` lacks.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4::SigningParams;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

use super::aws::{Aws, chain, remedy_of_code};
use super::http::Http;
use crate::error::{Error, OrFail as _, Remedy, Result};

/// One signed call is answered within a second or two; after this it is given up.
pub(super) const CALL: Duration = Duration::from_secs(30);

const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

/// A service that takes its calls as forms and answers in XML.
pub(super) struct QueryApi {
    /// Its name in endpoint settings and signatures.
    pub service: &'static str,
    /// What its host's name begins with.
    pub host: &'static str,
    /// The version of the API.
    pub version: &'static str,
}

impl QueryApi {
    /// Makes one call, tried once; gives the XML of its answer. `refusal` makes an error of an
    /// answer that is one.
    pub(super) async fn call(
        &self,
        aws: &Aws,
        http: &Http,
        what: &str,
        action: &str,
        parameters: &[(&str, &str)],
        refusal: impl FnOnce(StatusCode, &str) -> Error,
    ) -> Result<Zeroizing<String>> {
        let endpoint = match aws.endpoint(self.service) {
            Some(endpoint) => endpoint.to_owned(),
            None => format!("https://{}.{}.amazonaws.com/", self.host, aws.region()),
        };
        let endpoint = Url::parse(&endpoint).or_fail(Remedy::FixSettings, || {
            format!("{what}: its endpoint is no URL")
        })?;
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("Action", action)
            .append_pair("Version", self.version)
            .extend_pairs(parameters)
            .finish();
        let credentials = aws.sign_with().await?;
        let now = SystemTime::now();
        let mut request = http.post(endpoint.as_str()).header(CONTENT_TYPE, FORM);
        for (name, value) in form_signature(
            &credentials,
            aws.region(),
            self.service,
            &endpoint,
            &body,
            now,
        )? {
            request = request.header(name, value);
        }
        // Not `Http::send`: AWS says in the body of an error what is wrong.
        let answer = request.body(body).send().await;
        let (status, text) = read(what, answer).await?;
        match status.is_success() {
            true => Ok(text),
            false => Err(refusal(status, &text)),
        }
    }
}

/// Status and text of an answer.
async fn read(
    what: &str,
    answer: reqwest::Result<Response>,
) -> Result<(StatusCode, Zeroizing<String>)> {
    let broken = |cause: reqwest::Error| {
        Error::new(Remedy::TryAgain, what).caused_by(chain(&cause.without_url()))
    };
    let answer = answer.map_err(broken)?;
    let status = answer.status();
    Ok((status, Zeroizing::new(answer.text().await.map_err(broken)?)))
}

/// A signed GET of S3, tried once; gives the XML of its answer.
pub(super) async fn get_of_s3(aws: &Aws, http: &Http, what: &str, url: &Url) -> Result<String> {
    let credentials = aws.sign_with().await?;
    let settings = {
        // S3 alone wants the path as it stands, and the body's checksum in a header.
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings
    };
    let request = SignableRequest::new(
        "GET",
        url.as_str(),
        std::iter::empty(),
        SignableBody::Bytes(b""),
    )
    .or_fail(Remedy::ReportBug, || what.to_owned())?;
    let now = SystemTime::now();
    let mut get = http.get(url.as_str());
    for (name, value) in signature(&credentials, aws.region(), "s3", request, settings, now)? {
        get = get.header(name, value);
    }
    let (status, text) = read(what, get.send().await).await?;
    if status.is_success() {
        return Ok(text.to_string());
    }
    #[derive(Deserialize)]
    #[serde(rename = "Error", rename_all = "PascalCase")]
    struct Refused {
        code: String,
        #[serde(default)]
        message: String,
    }
    Err(match quick_xml::de::from_str::<Refused>(&text) {
        Ok(Refused { code, message }) => {
            let message = message.trim().lines().next().unwrap_or_default();
            Error::new(remedy_of_code(&code), what).caused_by(format!("{code}: {message}"))
        }
        Err(_) => {
            Error::new(remedy_of_status(status), what).caused_by(format!("the answer was {status}"))
        }
    })
}

/// The headers that sign a form: date, signature, and the session's token where there is one.
pub(super) fn form_signature(
    credentials: &Credentials,
    region: &str,
    service: &str,
    endpoint: &Url,
    body: &str,
    now: SystemTime,
) -> Result<Vec<(String, String)>> {
    let headers = [(CONTENT_TYPE.as_str(), FORM)];
    let body = SignableBody::Bytes(body.as_bytes());
    let request = SignableRequest::new("POST", endpoint.as_str(), headers.into_iter(), body)
        .or_fail(Remedy::ReportBug, || format!("signing a call of {service}"))?;
    let settings = SigningSettings::default();
    signature(credentials, region, service, request, settings, now)
}

fn signature(
    credentials: &Credentials,
    region: &str,
    service: &str,
    request: SignableRequest<'_>,
    settings: SigningSettings,
    now: SystemTime,
) -> Result<Vec<(String, String)>> {
    let what = || format!("signing a call of {service}");
    let identity = credentials.clone().into();
    let parameters = SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(service)
        .time(now)
        .settings(settings)
        .build()
        .or_fail(Remedy::ReportBug, what)?;
    let (instructions, _) = sign(request, &parameters.into())
        .or_fail(Remedy::ReportBug, what)?
        .into_parts();
    let headers = instructions.headers();
    Ok(headers
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}

/// Code and message of an answer with an error; of the message the first line alone: below it, AWS
/// repeats the signed request, and with it the session's token, when a signature does not match.
pub(super) fn code_and_message(xml: &str) -> Option<(String, String)> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct ErrorResponse {
        error: Details,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Details {
        code: String,
        #[serde(default)]
        message: String,
    }
    let Details { code, message } = quick_xml::de::from_str::<ErrorResponse>(xml).ok()?.error;
    let message = message.trim().lines().next().unwrap_or_default().to_owned();
    Some((code, message))
}

/// What an error without a code asks of its reader.
pub(super) fn remedy_of_status(status: StatusCode) -> Remedy {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Remedy::FixAccess,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Remedy::TryAgain,
        _ if status.is_server_error() => Remedy::TryAgain,
        _ => Remedy::FixSettings,
    }
}
