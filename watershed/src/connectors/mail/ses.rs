use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::StatusCode;

use super::Addresses;
use crate::connectors::aws::{Aws, remedy_of_code};
use crate::connectors::aws_query::{CALL, QueryApi, code_and_message, remedy_of_status};
use crate::connectors::http::{Http, connects};
use crate::error::{Error, Remedy, Result};
use crate::retry::{Policy, retry};

const API: QueryApi = QueryApi {
    service: "ses",
    host: "email",
    version: "2010-12-01",
};

/// Amazon's Simple Email Service, by its call `SendRawEmail`.
#[derive(Clone, Debug)]
pub(super) struct Ses {
    aws: Aws,
    http: Http,
    policy: Policy,
}

impl Ses {
    /// In another region than that of the settings, if one is named.
    pub(super) fn new(aws: &Aws, region: &str, policy: Policy) -> Result<Ses> {
        let aws = match region {
            "" => aws.clone(),
            region => aws.in_region(region),
        };
        Ok(Ses {
            aws,
            http: Http::without_redirects(CALL)?,
            policy,
        })
    }

    pub(super) async fn send(&self, addresses: &Addresses, written: &[u8]) -> Result<()> {
        let what = "sending a mail by SES";
        let source = addresses.from.to_string();
        let data = STANDARD.encode(written);
        let destinations: Vec<(String, String)> = (1..)
            .zip(&addresses.to)
            .map(|(i, to)| (format!("Destinations.member.{i}"), to.email.to_string()))
            .collect();
        let mut parameters = vec![("Source", &*source), ("RawMessage.Data", &*data)];
        parameters.extend(destinations.iter().map(|(name, to)| (&**name, &**to)));
        retry(&self.policy, what, || async {
            let send = API.call(
                &self.aws,
                &self.http,
                what,
                "SendRawEmail",
                &parameters,
                |status, xml| refusal(what, status, xml),
            );
            send.await.map(drop)
        })
        .await
    }

    pub(super) async fn check(&self) -> Result<String> {
        let region = self.aws.region();
        let endpoint = match self.aws.endpoint(API.service) {
            Some(endpoint) => endpoint.to_owned(),
            None => format!("https://{}.{region}.amazonaws.com/", API.host),
        };
        let place = connects(&endpoint).await?;
        Ok(format!("SES in {region} at {place}"))
    }
}

fn refusal(what: &str, status: StatusCode, xml: &str) -> Error {
    let Some((code, message)) = code_and_message(xml) else {
        return Error::new(remedy_of_status(status), what)
            .caused_by(format!("the answer was {status}"));
    };
    let remedy = match &*code {
        "MessageRejected"
        | "MailFromDomainNotVerified"
        | "MailFromDomainNotVerifiedException"
        | "AccountSendingPausedException"
        | "ConfigurationSetDoesNotExist" => Remedy::FixAccess,
        code => remedy_of_code(code),
    };
    let refused = Error::new(remedy, what).caused_by(format!("{code}: {message}"));
    match &*code {
        "AccessDenied" | "AccessDeniedException" => refused.with_hint(
            "allow `ses:SendRawEmail` to the AWS identity that runs this",
        ),
        "MessageRejected" => refused.with_hint(
            "verify the sender in SES, in this region; while the account is in its sandbox, the recipients too",
        ),
        _ => refused,
    }
}
