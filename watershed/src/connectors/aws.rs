//! What every AWS client shares: region, credentials, endpoints.

use std::collections::BTreeMap;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use aws_smithy_http_client::{Builder as HttpClientBuilder, tls};

use crate::error::{Error, Remedy, Result};
use crate::privacy::Secret;

/// Region, credentials and endpoints, as the settings give them.
#[derive(Clone, Debug, Default)]
pub struct AwsSettings {
    /// Region of every client.
    pub region: String,
    /// Access key and secret key; without them the SDK's own chain is asked.
    pub keys: Option<(Secret, Secret)>,
    /// Session token that belongs to the keys.
    pub session_token: Option<Secret>,
    /// Profile of the shared configuration files.
    pub profile: Option<String>,
    /// Endpoint of every service, by service name in lower case; under `""` the one of all others.
    pub endpoints: BTreeMap<String, String>,
}

/// The AWS account that the connectors work in.
#[derive(Clone, Debug)]
pub struct Aws {
    config: SdkConfig,
    endpoints: BTreeMap<String, String>,
}

impl Aws {
    /// Sets the clients up; asks nothing of the network yet.
    pub async fn new(settings: AwsSettings) -> Aws {
        let http = HttpClientBuilder::new()
            .tls_provider(tls::Provider::Rustls(
                tls::rustls_provider::CryptoMode::Ring,
            ))
            .build_https();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(settings.region))
            .http_client(http)
            // The connectors retry by themselves, so that one policy holds everywhere.
            .retry_config(aws_config::retry::RetryConfig::disabled());
        if let Some(profile) = settings.profile {
            loader = loader.profile_name(profile);
        }
        if let Some((key, secret)) = settings.keys {
            loader = loader.credentials_provider(Credentials::new(
                key.expose(),
                secret.expose(),
                settings
                    .session_token
                    .map(|token| token.expose().to_owned()),
                None,
                "watershed settings",
            ));
        }
        Aws {
            config: loader.load().await,
            endpoints: settings.endpoints,
        }
    }

    /// The same account in another region.
    pub(crate) fn in_region(&self, region: &str) -> Aws {
        let config = self.config.clone().into_builder();
        Aws {
            config: config.region(Region::new(region.to_owned())).build(),
            endpoints: self.endpoints.clone(),
        }
    }

    /// What the SDK's clients are made from.
    pub fn config(&self) -> &SdkConfig {
        &self.config
    }

    /// The region's name.
    pub fn region(&self) -> &str {
        self.config
            .region()
            .map_or("us-east-1", |region| region.as_ref())
    }

    /// The endpoint of a service (`s3`, `kinesis`, …), where it is not AWS's own.
    pub fn endpoint(&self, service: &str) -> Option<&str> {
        self.endpoints
            .get(service)
            .or_else(|| self.endpoints.get(""))
            .map(String::as_str)
    }

    pub(crate) fn credentials(&self) -> Option<SharedCredentialsProvider> {
        self.config.credentials_provider()
    }

    /// The credentials to sign a request with.
    ///
    /// # Errors
    /// [`Remedy::FixAccess`] when nobody has any, [`Remedy::TryAgain`] when who has them did not
    /// answer in time.
    pub(crate) async fn sign_with(&self) -> Result<Credentials> {
        use aws_credential_types::provider::error::CredentialsError;
        let missing = |remedy| Error::new(remedy, "looking for AWS credentials");
        let provider = self.credentials();
        let provider =
            provider.ok_or_else(|| missing(Remedy::FixAccess).with_hint(GIVE_CREDENTIALS))?;
        let found = provider.provide_credentials().await;
        found.map_err(|cause| match &cause {
            CredentialsError::ProviderTimedOut(_) => {
                missing(Remedy::TryAgain).caused_by(chain(&cause))
            }
            _ => missing(Remedy::FixAccess)
                .caused_by(chain(&cause))
                .with_hint(GIVE_CREDENTIALS),
        })
    }
}

pub(crate) const GIVE_CREDENTIALS: &str = "give AWS credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or a role of the machine";

/// What an error code of AWS asks of its reader. The codes are those of the services' references.
pub(crate) fn remedy_of_code(code: &str) -> Remedy {
    const ACCESS: &[&str] = &[
        "AccessDenied",
        "AccessDeniedException",
        "DisabledException",
        "AuthFailure",
        "ClusterNotFound",
        "ClusterNotFoundFault",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "KMSAccessDeniedException",
        "KMSDisabledException",
        "KMSInvalidStateException",
        "NoSuchBucket",
        "NotAuthorized",
        "NotFoundException",
        "OptInRequired",
        "RequestExpired",
        "ResourceNotFoundException",
        "SignatureDoesNotMatch",
        "UnauthorizedOperation",
        "UnrecognizedClientException",
    ];
    const SETTINGS: &[&str] = &[
        "IncorrectKeyException",
        "InvalidArgumentException",
        "InvalidCiphertextException",
        "ValidationError",
        "ValidationException",
        "InvalidAction",
        "InvalidParameterCombination",
        "InvalidParameterValue",
        "MalformedQueryString",
        "MissingParameter",
        "UnsupportedOperation",
    ];
    if ACCESS.contains(&code) {
        Remedy::FixAccess
    } else if SETTINGS.contains(&code) {
        Remedy::FixSettings
    } else {
        // Throttling, time-outs and 5xx pass; for a code that nobody knows, time will tell.
        Remedy::TryAgain
    }
}

/// Turns an SDK error into ours: the code decides the remedy, its message is the cause.
pub(crate) fn sdk_error<E, R>(what: String, error: aws_sdk_kinesis::error::SdkError<E, R>) -> Error
where
    E: aws_sdk_kinesis::error::ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    use aws_sdk_kinesis::error::SdkError;
    match &error {
        SdkError::ServiceError(service) => {
            let meta = service.err().meta();
            let code = meta.code().unwrap_or("an answer without an error code");
            let message = meta.message().unwrap_or("no message");
            Error::new(remedy_of_code(code), what).caused_by(format!("{code}: {message}"))
        }
        SdkError::ConstructionFailure(_) => {
            Error::new(Remedy::ReportBug, what).caused_by(chain(&error))
        }
        SdkError::DispatchFailure(failure) if failure.is_other() || failure.is_user() => {
            // The SDK says so when its chain of credential providers had nothing to offer.
            Error::new(Remedy::FixAccess, what)
                .caused_by(chain(&error))
                .with_hint(GIVE_CREDENTIALS)
        }
        _ => Error::new(Remedy::TryAgain, what).caused_by(chain(&error)),
    }
}

/// The whole chain of causes in one line: the SDK hides the telling one deep down.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}
