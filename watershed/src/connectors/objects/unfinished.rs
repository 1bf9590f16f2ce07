//! S3's list of unfinished uploads, which `object_store` does not have.

use object_store::MultipartId;
use object_store::path::Path;
use serde::Deserialize;
use url::Url;

use crate::connectors::aws::Aws;
use crate::connectors::aws_query::{CALL, get_of_s3};
use crate::connectors::http::Http;
use crate::error::{OrFail as _, Remedy, Result};

/// The unfinished uploads below a prefix of a bucket.
#[derive(Clone)]
pub(super) struct UnfinishedUploads {
    aws: Aws,
    http: Http,
    /// The bucket.
    url: Url,
    prefix: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    next_key_marker: String,
    #[serde(default)]
    next_upload_id_marker: String,
    #[serde(default)]
    is_truncated: bool,
    #[serde(default)]
    upload: Vec<Begun>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Begun {
    key: String,
    upload_id: String,
}

impl UnfinishedUploads {
    pub(super) fn of(aws: &Aws, bucket: &str, prefix: &Path) -> Result<UnfinishedUploads> {
        let url = match aws.endpoint("s3") {
            Some(endpoint) => format!("{}/{bucket}", endpoint.trim_end_matches('/')),
            None => format!("https://{bucket}.s3.{}.amazonaws.com/", aws.region()),
        };
        Ok(UnfinishedUploads {
            aws: aws.clone(),
            http: Http::without_redirects(CALL)?,
            url: Url::parse(&url)
                .or_fail(Remedy::FixSettings, || format!("opening s3://{bucket}"))?,
            prefix: format!("{prefix}/"),
        })
    }

    /// Those of keys that end like this; all pages of the list, tried once.
    pub(super) async fn list(&self, what: &str, ending: &str) -> Result<Vec<(Path, MultipartId)>> {
        let mut found = Vec::new();
        let mut markers: Option<(String, String)> = None;
        loop {
            let mut url = self.url.clone();
            // In the order of the alphabet, which is that of the signature.
            let mut query = url.query_pairs_mut();
            if let Some((key, _)) = &markers {
                query.append_pair("key-marker", key);
            }
            query.append_pair("prefix", &self.prefix);
            if let Some((_, upload)) = &markers {
                query.append_pair("upload-id-marker", upload);
            }
            query.append_pair("uploads", "");
            drop(query);
            let xml = get_of_s3(&self.aws, &self.http, what, &url).await?;
            let answer: Answer = quick_xml::de::from_str(&xml)
                .or_fail(Remedy::TryAgain, || format!("{what}: reading the answer"))?;
            for upload in answer.upload {
                let ours = upload.key.starts_with(&self.prefix) && upload.key.ends_with(ending);
                if let Some(path) = Path::parse(&upload.key).ok().filter(|_| ours) {
                    found.push((path, upload.upload_id));
                }
            }
            let next = (answer.next_key_marker, answer.next_upload_id_marker);
            if !answer.is_truncated || next.0.is_empty() || markers.as_ref() == Some(&next) {
                return Ok(found);
            }
            markers = Some(next);
        }
    }
}
