//! Temporary credentials of a Redshift cluster, for whoever may ask AWS for them.
//!
//! Two calls of Redshift's [query API]: `DescribeClusters` tells the cluster's host and port,
//! `GetClusterCredentials` a user name and a password that last 15 minutes.
//!
//! [query API]: https://docs.aws.amazon.com/redshift/latest/APIReference/Welcome.html

use std::fmt;

use jiff::Timestamp;
use reqwest::StatusCode;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::aws::{Aws, remedy_of_code};
use super::aws_query::{CALL, QueryApi, code_and_message, remedy_of_status};
use super::http::Http;
use crate::error::{Error, Remedy, Result};
use crate::privacy::Secret;
use crate::retry::{Policy, retry};

/// With the only version that there is.
const API: QueryApi = QueryApi {
    service: "redshift",
    host: "redshift",
    version: "2012-12-01",
};

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
        let refused = |status, xml: &str| refusal(&what, action, status, xml);
        let answer = API
            .call(&self.aws, http, &what, action, parameters, refused)
            .await?;
        Ok((what, answer))
    }
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
    let Some((code, message)) = code_and_message(xml) else {
        return Error::new(remedy_of_status(status), what)
            .caused_by(format!("the answer was {status}"));
    };
    let refused = Error::new(remedy_of_code(&code), what).caused_by(format!("{code}: {message}"));
    match &*code {
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
