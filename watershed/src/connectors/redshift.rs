//! Temporary credentials of a Redshift cluster, for whoever may ask AWS for them.
//!
//! Two calls of Redshift's [query API]: `DescribeClusters` tells the cluster's host and port,
//! `GetClusterCredentials` a user name and a password that last 15 minutes. They are signed here,
//! because AWS's own client takes minutes to compile for these two.
//!
//! [query API]: https://docs.aws.amazon.com/redshift/latest/APIReference/Welcome.html

use std::fmt;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

use super::aws::{Aws, chain, remedy_of_code};
use super::http::Http;
use crate::error::{Error, OrFail as _, Remedy, Result};
use crate::privacy::Secret;
use crate::retry::{Policy, retry};

/// The only version of the API.
const VERSION: &str = "2012-12-01";

/// One signed call is answered within a second or two; after this it is given up.
const CALL: Duration = Duration::from_secs(30);

const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

/// Where a cluster answers, and who may log in there until when.
#[derive(Clone)]
pub struct Endpoint {
    /// Host name of the cluster.
    pub host: String,
    /// Port of the cluster.
    pub port: u16,
    /// The user name to log in with, as AWS returned it: `IAM:name` for the user `name`.
    pub user: String,
    /// The password that belongs to it.
    pub password: Secret,
    /// No login is possible with them from then on; a connection that is open stays open.
    pub expires: Timestamp,
}

impl fmt::Debug for Endpoint {
    /// Host and user are secret settings where they are settings, so that neither is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// Asks AWS for the endpoint of a cluster and for credentials of one of its databases, valid for
/// 15 minutes. The user must exist: none is created.
///
/// The endpoint of the API itself is that of the AWS settings (service `redshift`), else AWS's own
/// in the region of `aws`.
///
/// # Errors
/// [`Remedy::FixAccess`] without AWS credentials, without the permissions
/// `redshift:DescribeClusters` and `redshift:GetClusterCredentials`, or for a cluster that does not
/// exist; [`Remedy::FixSettings`] for a parameter that AWS refuses; [`Remedy::TryAgain`] when the
/// policy is used up.
pub async fn credentials(
    aws: &Aws,
    cluster: &str,
    database: &str,
    user: &str,
    policy: &Policy,
) -> Result<Endpoint> {
    let login = IamLogin::new(aws, cluster, database, user);
    let what = format!("asking for credentials of the Redshift cluster {cluster}");
    retry(policy, &what, || login.endpoint()).await
}

/// Whose credentials are asked for, and of which cluster.
#[derive(Clone, Debug)]
pub(super) struct IamLogin {
    aws: Aws,
    cluster: String,
    database: String,
    user: String,
}

impl IamLogin {
    pub(super) fn new(aws: &Aws, cluster: &str, database: &str, user: &str) -> IamLogin {
        IamLogin {
            aws: aws.clone(),
            cluster: cluster.to_owned(),
            database: database.to_owned(),
            user: user.to_owned(),
        }
    }

    /// Both calls, tried once.
    pub(super) async fn endpoint(&self) -> Result<Endpoint> {
        let http = Http::without_redirects(CALL)?;
        let (what, answer) = self
            .call(
                &http,
                "DescribeClusters",
                &[("ClusterIdentifier", &self.cluster)],
            )
            .await?;
        let (host, port) = address(&what, &answer)?;
        let (what, answer) = self
            .call(
                &http,
                "GetClusterCredentials",
                &[
                    ("ClusterIdentifier", &self.cluster),
                    ("DbName", &self.database),
                    ("DbUser", &self.user),
                    ("AutoCreate", "false"),
                ],
            )
            .await?;
        let login = login(&what, &answer)?;
        Ok(Endpoint {
            host,
            port,
            user: login.db_user,
            password: Secret::new(login.db_password),
            expires: login.expiration,
        })
    }

    /// One call: what was tried, and the XML of its answer.
    async fn call(
        &self,
        http: &Http,
        action: &str,
        parameters: &[(&str, &str)],
    ) -> Result<(String, Zeroizing<String>)> {
        let what = format!(
            "calling Redshift's {action} for the cluster {}",
            self.cluster
        );
        let endpoint = match self.aws.endpoint("redshift") {
            Some(endpoint) => endpoint.to_owned(),
            None => format!("https://redshift.{}.amazonaws.com/", self.aws.region()),
        };
        let endpoint = Url::parse(&endpoint).or_fail(Remedy::FixSettings, || {
            format!("{what}: its endpoint is no URL")
        })?;
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("Action", action)
            .append_pair("Version", VERSION)
            .extend_pairs(parameters)
            .finish();
        let credentials = self.aws.sign_with().await?;
        let now = SystemTime::now();
        let mut request = http.post(endpoint.as_str()).header(CONTENT_TYPE, FORM);
        for (name, value) in signature(&credentials, self.aws.region(), &endpoint, &body, now)? {
            request = request.header(name, value);
        }
        // Not `Http::send`: AWS says in the body of an error what is wrong.
        let broken = |cause: reqwest::Error| {
            Error::new(Remedy::TryAgain, &*what).caused_by(chain(&cause.without_url()))
        };
        let answer = request.body(body).send().await.map_err(broken)?;
        let status = answer.status();
        let text = Zeroizing::new(answer.text().await.map_err(broken)?);
        if !status.is_success() {
            return Err(refusal(&what, action, status, &text));
        }
        Ok((what, text))
    }
}

/// The headers that sign a request: date, signature, and the session's token where there is one.
fn signature(
    credentials: &Credentials,
    region: &str,
    endpoint: &Url,
    body: &str,
    now: SystemTime,
) -> Result<Vec<(String, String)>> {
    let what = || "signing a call of Redshift".to_owned();
    let identity = credentials.clone().into();
    let parameters = SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("redshift")
        .time(now)
        .settings(SigningSettings::default())
        .build()
        .or_fail(Remedy::ReportBug, what)?;
    let headers = [(CONTENT_TYPE.as_str(), FORM)];
    let body = SignableBody::Bytes(body.as_bytes());
    let request = SignableRequest::new("POST", endpoint.as_str(), headers.into_iter(), body)
        .or_fail(Remedy::ReportBug, what)?;
    let (instructions, _) = sign(request, &parameters.into())
        .or_fail(Remedy::ReportBug, what)?
        .into_parts();
    let headers = instructions.headers();
    Ok(headers
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DescribeClustersResponse {
    describe_clusters_result: DescribeClustersResult,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DescribeClustersResult {
    #[serde(default)]
    clusters: Clusters,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Clusters {
    #[serde(default)]
    cluster: Vec<Cluster>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Cluster {
    #[serde(default)]
    cluster_status: String,
    endpoint: Option<Address>,
}

/// Both are absent while the cluster is being made.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Address {
    address: Option<String>,
    port: Option<u16>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetClusterCredentialsResponse {
    get_cluster_credentials_result: Login,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Login {
    db_user: String,
    db_password: String,
    expiration: Timestamp,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ErrorResponse {
    error: ErrorDetails,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ErrorDetails {
    code: String,
    #[serde(default)]
    message: String,
}

/// Host and port in the answer to `DescribeClusters`.
fn address(what: &str, xml: &str) -> Result<(String, u16)> {
    let answer: DescribeClustersResponse = read(what, xml)?;
    let clusters = answer.describe_clusters_result.clusters.cluster;
    let Some(cluster) = clusters.into_iter().next() else {
        return Err(Error::new(Remedy::FixAccess, what).caused_by("there is no such cluster"));
    };
    match cluster.endpoint {
        Some(Address {
            address: Some(host),
            port: Some(port),
        }) if !host.is_empty() => Ok((host, port)),
        _ => Err(Error::new(Remedy::TryAgain, what).caused_by(format!(
            "the cluster has no endpoint, its status is `{}`",
            cluster.cluster_status
        ))),
    }
}

/// User, password and end in the answer to `GetClusterCredentials`.
fn login(what: &str, xml: &str) -> Result<Login> {
    let answer: GetClusterCredentialsResponse = read(what, xml)?;
    Ok(answer.get_cluster_credentials_result)
}

/// The parser's own message is left out: it may quote the answer, and so a password.
fn read<'xml, T: Deserialize<'xml>>(what: &str, xml: &'xml str) -> Result<T> {
    quick_xml::de::from_str(xml).map_err(|_| {
        Error::new(Remedy::TryAgain, what).caused_by("the answer is not that of Redshift's API")
    })
}

/// What an answer with an error asks of its reader.
fn refusal(what: &str, action: &str, status: StatusCode, xml: &str) -> Error {
    let Ok(ErrorResponse { error }) = quick_xml::de::from_str(xml) else {
        let remedy = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Remedy::FixAccess,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Remedy::TryAgain,
            _ if status.is_server_error() => Remedy::TryAgain,
            _ => Remedy::FixSettings,
        };
        return Error::new(remedy, what).caused_by(format!("the answer was {status}"));
    };
    // The first line alone: below it, AWS repeats the signed request, and with it the session's
    // token, when a signature does not match.
    let message = error.message.trim().lines().next().unwrap_or_default();
    let refused = Error::new(remedy_of_code(&error.code), what)
        .caused_by(format!("{}: {message}", error.code));
    match &*error.code {
        "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" => {
            refused.with_hint(format!("allow `redshift:{action}` to the AWS identity that runs this; GetClusterCredentials asks for it on the `dbuser` and on the `dbname`"))
        }
        "ClusterNotFound" | "ClusterNotFoundFault" => {
            refused.with_hint("see the name of the cluster, AWS_REGION, and whose AWS credentials these are")
        }
        _ => refused,
    }
}

#[cfg(test)]
mod tests;
