//! AWS KMS: the encrypted values of settings files.

use std::time::Duration;

use aws_sdk_kms::Client;
use aws_sdk_kms::config::Builder;
use aws_sdk_kms::primitives::Blob;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::aws::{Aws, sdk_error};
use crate::error::{Error, Remedy, Result};
use crate::privacy::Secret;
use crate::retry::{Policy, retry};

/// Encrypts and decrypts single values, at most 4,096 bytes each (Encrypt, API reference).
#[derive(Debug)]
pub struct Kms {
    client: Client,
    policy: Policy,
}

impl Kms {
    /// Asks nothing of the network yet.
    pub fn new(aws: &Aws) -> Kms {
        let mut config = Builder::from(aws.config());
        if let Some(endpoint) = aws.endpoint("kms") {
            config = config.endpoint_url(endpoint);
        }
        let policy = Policy::within(Duration::from_secs(30)).each(Duration::from_secs(10));
        Kms {
            client: Client::from_conf(config.build()),
            policy,
        }
    }

    /// The text of a base64 ciphertext. The key is named in the ciphertext; there is no
    /// encryption context. `name` is what is decrypted, for messages.
    pub async fn decrypt(&self, name: &str, base64: &str) -> Result<Secret> {
        let what = format!("decrypting {name} with KMS");
        let unusable = |why: &str| Error::new(Remedy::FixSettings, &*what).caused_by(why);
        let blob = STANDARD
            .decode(base64.trim())
            .map_err(|_| unusable("it is not base64"))?;
        let answer = retry(&self.policy, &what, || async {
            let call = self
                .client
                .decrypt()
                .ciphertext_blob(Blob::new(blob.clone()));
            call.send()
                .await
                .map_err(|error| sdk_error(what.clone(), error))
        })
        .await?;
        let plain = answer.plaintext.map(Blob::into_inner).unwrap_or_default();
        let text = String::from_utf8(plain).map_err(|_| unusable("what came out is not UTF-8"))?;
        Ok(Secret::new(text))
    }

    /// The base64 ciphertext of a value; `key` is the id, ARN or alias of a KMS key.
    pub async fn encrypt(&self, key: &str, value: &Secret) -> Result<String> {
        let what = format!("encrypting with the KMS key {key}");
        let answer = retry(&self.policy, &what, || async {
            let plain = Blob::new(value.expose().as_bytes());
            let call = self.client.encrypt().key_id(key).plaintext(plain);
            call.send()
                .await
                .map_err(|error| sdk_error(what.clone(), error))
        })
        .await?;
        Ok(STANDARD.encode(answer.ciphertext_blob.unwrap_or_else(|| Blob::new([]))))
    }
}
