//! Mail: SES (`ses:` or `ses:region`), SMTP (`smtp://`, `smtps://`), and files that any mail program
//! opens (`file:dir`).

mod ses;
mod smtp;

use std::path::PathBuf;

use jiff::Timestamp;
use lettre::message::header::ContentType;
use lettre::message::{Mailbox, MessageBuilder};
use tokio::task::spawn_blocking;

use self::ses::Ses;
use self::smtp::Smtp;
use super::aws::Aws;
use super::objects::{local_path, write_whole};
use crate::error::{Error, OrFail as _, Remedy, Result};
use crate::privacy::Secret;
use crate::retry::Policy;

/// Who writes to whom.
#[derive(Clone, Debug)]
pub struct Addresses {
    from: Mailbox,
    to: Vec<Mailbox>,
}

impl Addresses {
    /// Reads addresses, with or without names; the recipients are cut at commas.
    ///
    /// # Errors
    /// [`Remedy::FixSettings`] with the text that is no address.
    pub fn parse(from: &str, to: &str) -> Result<Addresses> {
        let mailbox = |text: &str| -> Result<Mailbox> {
            text.trim().parse().or_fail(Remedy::FixSettings, || {
                format!("reading `{}` as the address of a mail", text.trim())
            })
        };
        let recipients = to.split(',').filter(|text| !text.trim().is_empty());
        let to: Vec<Mailbox> = recipients.map(mailbox).collect::<Result<_>>()?;
        if to.is_empty() {
            return Err(Error::new(
                Remedy::FixSettings,
                "reading the addresses of a mail: there is none",
            ));
        }
        Ok(Addresses {
            from: mailbox(from)?,
            to,
        })
    }
}

/// Where mail goes.
#[derive(Clone, Debug)]
pub struct Mail(Transport);

#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a run has one of them")]
enum Transport {
    Ses(Ses),
    Smtp(Smtp),
    Folder(PathBuf),
}

impl Mail {
    /// Opens the way that a URL names; asks nothing of the network yet.
    ///
    /// # Errors
    /// [`Remedy::FixSettings`] for a URL of another form.
    pub fn open(url: &Secret, aws: &Aws, policy: Policy) -> Result<Mail> {
        let text = url.expose();
        if let Some(region) = text.strip_prefix("ses:") {
            return Ok(Mail(Transport::Ses(Ses::new(aws, region, policy)?)));
        }
        if let Some(path) = text.strip_prefix("file:").filter(|path| !path.is_empty()) {
            return Ok(Mail(Transport::Folder(local_path(path))));
        }
        if text.starts_with("smtp://") || text.starts_with("smtps://") {
            return Ok(Mail(Transport::Smtp(Smtp::new(url, policy)?)));
        }
        Err(Error::new(
            Remedy::FixSettings,
            "opening the mail: a URL of unknown form",
        )
        .with_hint("expected ses:region, smtp://user:password@host:port or file:dir"))
    }

    /// Sends a plain text. Whoever takes it has it when this returns; what becomes of it then, no
    /// program knows.
    ///
    /// # Errors
    /// [`Remedy::FixAccess`] when the sender, the recipient or we are refused.
    pub async fn send(&self, addresses: &Addresses, subject: &str, body: &str) -> Result<()> {
        let written = written(addresses, subject, body)?;
        match &self.0 {
            Transport::Ses(ses) => ses.send(addresses, &written.formatted()).await,
            Transport::Smtp(smtp) => smtp.send(&written).await,
            Transport::Folder(folder) => {
                // Microseconds, so that two mails never share a file.
                let name = Timestamp::now().strftime("%Y-%m-%d_%H.%M.%S.%6f.eml");
                let path = folder.join(name.to_string());
                let what = format!("writing file:{}", path.display());
                let bytes = written.formatted();
                spawn_blocking(move || write_whole(&path, &bytes))
                    .await
                    // Its cause would repeat the words of a panic (P6).
                    .map_err(|_| Error::new(Remedy::ReportBug, &*what))?
                    .or_fail(Remedy::FixAccess, || what)
            }
        }
    }

    /// Connects and sends nothing, for `check`; gives the place.
    pub async fn check(&self) -> Result<String> {
        match &self.0 {
            Transport::Ses(ses) => ses.check().await,
            Transport::Smtp(smtp) => smtp.check().await,
            Transport::Folder(folder) => Ok(format!("file:{}", folder.display())),
        }
    }
}

fn written(addresses: &Addresses, subject: &str, body: &str) -> Result<lettre::Message> {
    let mut message = MessageBuilder::new()
        .from(addresses.from.clone())
        .subject(subject)
        .message_id(None)
        .date_now()
        .header(ContentType::TEXT_PLAIN);
    for recipient in &addresses.to {
        message = message.to(recipient.clone());
    }
    message
        .body(body.to_owned())
        .or_fail(Remedy::ReportBug, || "writing a mail".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_has_its_headers_and_its_text() {
        let addresses = Addresses::parse(
            "Library <noreply@mit.example>",
            "a@mit.example, b@mit.example,",
        )
        .unwrap();
        let body = format!("1 read – ready\n{}\n", "x".repeat(2_000));
        let mail = written(
            &addresses,
            "PROD Patronload file creation 2024-02-29",
            &body,
        )
        .unwrap();
        let text = String::from_utf8(mail.formatted()).unwrap();
        for line in [
            "From: Library <noreply@mit.example>\r\n",
            "To: a@mit.example, b@mit.example\r\n",
            "Subject: PROD Patronload file creation 2024-02-29\r\n",
            "Content-Type: text/plain; charset=utf-8\r\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(text.lines().all(|line| line.len() < 1_000), "{text}");
        assert_eq!(mail.envelope().to().len(), 2);
    }

    #[test]
    fn what_is_no_address_is_named() {
        for (from, to) in [
            ("nobody", "a@mit.example"),
            ("a@mit.example", "b@mit.example,nobody"),
        ] {
            let error = Addresses::parse(from, to).unwrap_err();
            assert_eq!(error.remedy(), Remedy::FixSettings);
            assert!(error.to_string().contains("`nobody`"), "{error:?}");
        }
        assert!(Addresses::parse("a@mit.example", " , ").is_err());
    }
}
